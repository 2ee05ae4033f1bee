# SPDX-License-Identifier: GPL-3.0-or-later
"""The dense motion that the mesh gives for free: where each point of a frame's body lies in the reference.

Both meshes are projected. A frame's is drawn with a depth buffer: every pixel knows the point of the surface
that it shows, and that point's place in the reference's mesh is where to sample the reference. Only numpy and
OpenCV, because decoding and training must compute exactly the same thing. Displacements are backward:
``position in the reference - position in the frame``, in canvas pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .body import BodyModel

MOTION_CHANNELS = 4
"""Displacement x, displacement y (pixels), coverage by the body, visibility in the reference (0 to 1)."""

VISIBLE_WITHIN = 0.04
"""Metres behind the reference's depth buffer that still count as visible."""

NOWHERE = 1e3
"""Metres, the depth of pixels that show nothing: farther than any body."""

LEAST_AREA = 1e-6
"""Twice the area, square pixels, of the smallest triangle that is drawn."""

ON_EDGE = 1e-4
"""How far outside a triangle, as a share of it, still counts as inside, so that no crack opens at edges."""

MOST_LOOKED_AT = 1 << 23
"""Pixels, in all, that the boxes around the triangles may hold: beyond that a body is drawn more coarsely."""

_CHUNK = 1 << 20  # of them at a time
_SOFT = 3  # pixels over which an outline is softened


class Surface:
    """What a canvas shows of a projected mesh.

    ``faces`` is ``(F, 3)``; ``pixels`` ``(V, 2)`` and ``depth`` ``(V,)`` are the projected vertices (canvas
    pixels, metres); ``width`` and ``height`` are the canvas, even numbers.

    Of the P pixels that show the body, ``cells`` ``(P,)`` are their places, row by row, ``triangles``
    ``(P,)`` what they show and ``weights`` ``(P, 3)`` where in it; ``distance`` ``(H, W)`` is the depth
    buffer and ``coverage`` ``(H, W)`` float32, 0 to 1, the body's outline. Of the triangles, ``facing``
    ``(F,)`` bool says which face the camera, and ``area`` ``(F,)`` holds square pixels.
    """

    def __init__(
        self, faces: np.ndarray, pixels: np.ndarray, depth: np.ndarray, width: int, height: int
    ) -> None:
        self.faces, self.size = faces, (height, width)
        self.points = np.column_stack([pixels, depth]).astype(np.float32)
        by_axis = np.ascontiguousarray(self.points.T)  # whole rows of one axis are what is fast here
        a, b, c = (by_axis.take(corner, axis=1) for corner in np.ascontiguousarray(faces.T, np.int64))
        ab, ac = b - a, c - a
        # Counter-clockwise seen from outside is clockwise on a canvas whose y points down.
        area = ab[1] * ac[0] - ab[0] * ac[1]
        self.facing, self.area = area > LEAST_AREA, np.abs(area) / 2
        drawn = np.flatnonzero(self.facing)
        a, ab, ac = (edge.take(drawn, axis=1) for edge in (a, ab, ac))
        self.cells, found, self.weights, z = _draw(a, ab, ac, width, height)
        self.triangles = drawn[found]
        self.distance = np.full(self.size, NOWHERE, np.float32)
        self.distance.ravel()[self.cells] = z
        hit = np.zeros(self.size, np.float32)
        hit.ravel()[self.cells] = 1
        self.coverage = cv2.blur(hit, (_SOFT, _SOFT))

    def visible(self) -> np.ndarray:
        """Return which triangles ``(F,)`` bool the canvas shows, by their middles."""
        middle = self.points[self.faces].mean(axis=1)
        return self.facing & self._shows(middle[:, :2], middle[:, 2])

    def motion_to(self, reference: Surface) -> np.ndarray:
        """Return the motion map ``(4, H, W)`` float32 from this frame to a ``reference`` of the same mesh.

        Channels as in :data:`MOTION_CHANNELS`. Displacement and visibility go on outside the body, so that
        clothes and hair, which stand out from it, move with the nearest part of it.
        """
        height, width = self.size
        corners = self.faces.take(self.triangles, axis=0)
        there = np.zeros((len(corners), 3), np.float32)
        for corner in range(3):
            there += self.weights[:, corner, None] * reference.points.take(corners[:, corner], axis=0)
        known = np.zeros((height * width, 4), np.float32)
        known[self.cells, 0] = there[:, 0] - (self.cells % width + 0.5)
        known[self.cells, 1] = there[:, 1] - (self.cells // width + 0.5)
        known[self.cells, 2] = reference.facing.take(self.triangles) & reference._shows(
            there[:, :2], there[:, 2]
        )
        known[self.cells, 3] = 1
        moved = fill_outward(known.reshape(height, width, 4))
        return np.stack([moved[..., 0], moved[..., 1], self.coverage, moved[..., 2]])

    def _shows(self, pixels: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Say of which points ``(N, 2)`` at ``depth`` ``(N,)`` nothing on the canvas lies in front."""
        height, width = self.size
        column, row = np.floor(pixels).astype(np.int64).T
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        before = self.distance.ravel().take(np.where(inside, row * width + column, 0))
        return inside & (depth < before + VISIBLE_WITHIN)


def _draw(
    a: np.ndarray, ab: np.ndarray, ac: np.ndarray, width: int, height: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw T triangles of first corners ``a`` ``(3, T)`` and edges from there with a depth buffer.

    Returns of each of the P pixels that one fills: its place, row by row, the triangle, the weights of its
    corners ``(P, 3)`` and the depth.
    """
    step, size = 1, (width, height)
    first, sides = _boxes(a, ab, ac, size)
    while (sides[0] * sides[1]).sum() > MOST_LOOKED_AT:
        step *= 2
        size = -(-width // step), -(-height // step)
        a, ab, ac = (each * np.array([[0.5], [0.5], [1]], np.float32) for each in (a, ab, ac))
        first, sides = _boxes(a, ab, ac, size)
    count = sides[0] * sides[1]
    boxed = np.flatnonzero(count)
    first, columns, count = first[:, boxed], sides[0, boxed], count[boxed]
    a, ab, ac = (each.take(boxed, axis=1) for each in (a, ab, ac))
    # How far a pixel lies along both edges grows evenly over the box, from its first pixel on.
    x, y = first + np.float32(0.5) - a[:2]
    rises = np.stack([-ac[1], ac[0], ab[1], -ab[0]]) / (ab[1] * ac[0] - ab[0] * ac[1])
    planes = np.stack([rises[0] * x + rises[1] * y, *rises[:2], rises[2] * x + rises[3] * y, *rises[2:]])
    nothing = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((2, 0), np.float32)
    found = [nothing]
    ends, start = np.cumsum(count), 0
    while start < len(count):
        before = ends[start] - count[start]
        stop = max(start + 1, int(np.searchsorted(ends, before + _CHUNK, "right")))
        of = np.repeat(np.arange(start, stop), count[start:stop])
        down, across = np.divmod(np.arange(len(of)) - (ends - count - before)[of], columns[of])
        plane = planes.take(of, axis=1)
        along = plane[::3] + plane[1::3] * across.astype(np.float32) + plane[2::3] * down.astype(np.float32)
        inside = np.flatnonzero((along >= -ON_EDGE).all(axis=0) & (along.sum(axis=0) <= 1 + ON_EDGE))
        of = of[inside]
        place = (first[1, of] + down[inside]) * size[0] + first[0, of] + across[inside]
        found.append((place, of, along[:, inside]))
        start = stop
    place, of, along = (np.concatenate(each, axis=-1) for each in zip(*found, strict=True))
    u, v = along
    z = a[2, of] + u * ab[2, of] + v * ac[2, of]
    # Of what is written twice to a place the last stays: the nearest.
    order = np.argsort(-z, kind="stable")
    winner = np.full((size[1], size[0]), -1, np.int64)
    winner.ravel()[place[order]] = order
    if step > 1:
        winner = winner.repeat(step, axis=0).repeat(step, axis=1)[:height, :width]
    cells = np.flatnonzero(winner >= 0)
    winner = winner.ravel()[cells]
    return cells, boxed[of[winner]], np.stack([1 - u - v, u, v], axis=1)[winner], z[winner]


def _boxes(
    a: np.ndarray, ab: np.ndarray, ac: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first pixel ``(2, T)`` in the box around each triangle, and its columns and rows ``(2, T)``.

    The pixels are those whose middles lie in the box and on the canvas of ``size`` (width, height).
    """
    limit, half = np.array(size, np.float32)[:, None], np.float32(0.5)
    low = a[:2] + np.minimum(np.minimum(ab[:2], ac[:2]), 0)
    high = a[:2] + np.maximum(np.maximum(ab[:2], ac[:2]), 0)
    first = np.clip(np.ceil(low - half), 0, limit)
    last = np.clip(np.floor(high - half), -1, limit - 1)
    return first.astype(np.int64), np.maximum(last - first + 1, 0).astype(np.int64)


def see_body(
    body: BodyModel,
    vertices: np.ndarray,
    project: Callable[[np.ndarray], np.ndarray],
    width: int,
    height: int,
) -> Surface:
    """Return what a canvas shows of a body of ``vertices`` ``(V, 3)``, metres, in its usual clothes.

    ``project`` takes points ``(N, 3)`` to canvas pixels ``(N, 2)``.
    """
    dressed = body.dressed(vertices)
    return Surface(body.faces, project(dressed), dressed[:, 2], width, height)


def warp_over_plate(
    picture: np.ndarray,
    mask: np.ndarray,
    background: np.ndarray,
    motion: np.ndarray,
    reference_coverage: np.ndarray,
    part: tuple[slice, slice] = (slice(None), slice(None)),
) -> np.ndarray:
    """Draw a frame ``(H, W, 3)`` uint8 by the mesh's motion and no network, or ``part`` (rows, columns).

    ``picture`` ``(H, W, 3)`` and ``mask`` ``(H, W)`` uint8 are the reference's and ``reference_coverage`` is
    its :attr:`Surface.coverage`; ``background`` and ``motion``, as :meth:`Surface.motion_to` returns it,
    are the frame's. The opacity is the one that the generator starts from: the warped person mask, outside
    the body only as far as the sampled point was outside the reference's body too.
    """
    x, y, covered, _ = motion[(slice(None), *part)]
    rows, columns = (np.arange(side, dtype=np.float32)[of] for side, of in zip(mask.shape, part, strict=True))
    at = x + columns, y + rows[:, None]

    def warp(values: np.ndarray) -> np.ndarray:
        return cv2.remap(values, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    opacity = warp(mask.astype(np.float32) / 255) * (covered + (1 - covered) * (1 - warp(reference_coverage)))
    behind = background[part].astype(np.float32)
    mixed = behind + opacity[..., None] * (warp(picture) - behind)
    return np.rint(mixed).astype(np.uint8)


def fill_outward(known: np.ndarray) -> np.ndarray:
    """Spread values ``(H, W, 4)`` whose last channel is their weight (0 or 1) over the whole canvas.

    From half size on: push-pull (Gortler et al., The Lumigraph, 1996, section 3.4.3): average down a pyramid,
    then fill each level's unknown cells from the level above. H and W are even. Returns ``(H, W, 3)``.
    """
    height, width = known.shape[:2]
    half = _resize(known, height // 2, width // 2, cv2.INTER_AREA)
    half /= np.maximum(half[..., 3:], 1e-6)
    half[..., 3] = half[..., 3] > 0.5
    levels = [half]
    while max(levels[-1].shape[:2]) > 2:
        rows, columns = levels[-1].shape[:2]
        coarse = _resize(levels[-1], (rows + 1) // 2, (columns + 1) // 2, cv2.INTER_AREA)
        # Saturating keeps a value's reach short where there is plenty of it, long where there is little.
        coarse *= np.minimum(1, 2 * coarse[..., 3:]) / np.maximum(coarse[..., 3:], 1e-6)
        levels.append(coarse)
    filled = levels[-1][..., :3] / np.maximum(levels[-1][..., 3:], 1e-6)
    for level in [*reversed(levels[:-1]), known]:
        rows, columns = level.shape[:2]
        above = _resize(filled, rows, columns, cv2.INTER_LINEAR)
        filled = level[..., :3] + (1 - level[..., 3:]) * above
    return filled


def _resize(values: np.ndarray, rows: int, columns: int, interpolation: int) -> np.ndarray:
    return np.asarray(cv2.resize(values, (columns, rows), interpolation=interpolation))
