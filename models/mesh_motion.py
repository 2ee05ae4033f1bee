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

MOST_LOOKED_AT = 1 << 24
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
        a, b, c = (self.points.take(corner, axis=0) for corner in np.ascontiguousarray(faces.T, np.int64))
        ab, ac = b - a, c - a
        # Counter-clockwise seen from outside is clockwise on a canvas whose y points down.
        area = ab[:, 1] * ac[:, 0] - ab[:, 0] * ac[:, 1]
        self.facing, self.area = area > LEAST_AREA, np.abs(area) / 2
        drawn = np.flatnonzero(self.facing)
        a, ab, ac, area = (each.take(drawn, axis=0) for each in (a, ab, ac, area))
        self._draw(drawn, a, ab, ac, area)
        hit = np.zeros(height * width, np.float32)
        hit[self.cells] = 1
        self.coverage = cv2.blur(hit.reshape(self.size), (_SOFT, _SOFT))

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
        self, drawn: np.ndarray, a: np.ndarray, ab: np.ndarray, ac: np.ndarray, area: np.ndarray
    ) -> None:
        """Fill the depth buffer with the triangles ``drawn``: their first corners, edges and double areas."""
        height, width = self.size
        step, boxes = 1, self._boxes(a, ab, ac, 1)
        while boxes[2].sum() > MOST_LOOKED_AT:
            step *= 2
            boxes = self._boxes(a, ab, ac, step)
        first, columns, count = boxes
        found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), *[np.zeros(0, np.float32)] * 3)]
        ends = np.cumsum(count)
        start = 0
        while start < len(count):
            before = ends[start] - count[start]
            stop = max(start + 1, int(np.searchsorted(ends, before + _CHUNK, "right")))
            of = np.repeat(np.arange(start, stop), count[start:stop])
            place = np.arange(len(of)) - (ends[of] - count[of] - before)
            down, across = np.divmod(place, columns[of])
            column, row = first[of, 0] + across, first[of, 1] + down
            x = (column + 0.5) * step - a[of, 0]
            y = (row + 0.5) * step - a[of, 1]
            u = (y * ac[of, 0] - x * ac[of, 1]) / area[of]
            v = (x * ab[of, 1] - y * ab[of, 0]) / area[of]
            inside = np.flatnonzero((u >= -ON_EDGE) & (v >= -ON_EDGE) & (u + v <= 1 + ON_EDGE))
            of, u, v = of[inside], u[inside].astype(np.float32), v[inside].astype(np.float32)
            z = a[of, 2] + u * ab[of, 2] + v * ac[of, 2]
            found.append((row[inside] * self._grid(step)[0] + column[inside], drawn[of], u, v, z))
            start = stop
        cells, triangles, u, v, z = (np.concatenate(each) for each in zip(*found, strict=True))
        # Of what is written twice to a place the last stays: the nearest.
        order = np.argsort(-z, kind="stable")
        winner = np.full(self._grid(step)[::-1], -1, np.int64)
        winner.ravel()[cells[order]] = order
        if step > 1:
            winner = winner.repeat(step, 0).repeat(step, 1)[:height, :width]
        winner = winner.ravel()
        self.cells = np.flatnonzero(winner >= 0)
        winner = winner[self.cells]
        self.triangles = triangles[winner]
        self.weights = np.stack([1 - u - v, u, v], axis=1)[winner]
        distance = np.full(height * width, NOWHERE, np.float32)
        distance[self.cells] = z[winner]
        self.distance = distance.reshape(self.size)

    def _grid(self, step: int) -> tuple[int, int]:
        """Return how many columns and rows of pixels of ``step`` canvas pixels a side there are."""
        return -(-self.size[1] // step), -(-self.size[0] // step)

    def _boxes(
        self, a: np.ndarray, ab: np.ndarray, ac: np.ndarray, step: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the first pixel ``(T, 2)`` of each triangle's box, its columns and how many pixels it holds.

        Pixels are of ``step`` canvas pixels a side, their middles inside the box and on the canvas.
        """
        limits = np.array(self._grid(step))
        low = np.minimum(np.minimum(ab[:, :2], ac[:, :2]), 0) + a[:, :2]
        high = np.maximum(np.maximum(ab[:, :2], ac[:, :2]), 0) + a[:, :2]
        first = np.clip(np.ceil(low / step - 0.5), 0, limits).astype(np.int64)
        last = np.clip(np.floor(high / step - 0.5), -1, limits - 1).astype(np.int64)
        sides = np.maximum(last - first + 1, 0)
        return first, np.maximum(sides[:, 0], 1), sides[:, 0] * sides[:, 1]


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
    half = cv2.resize(known, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    half /= np.maximum(half[..., 3:], 1e-6)
    half[..., 3] = half[..., 3] > 0.5
    levels = [half]
    while max(levels[-1].shape[:2]) > 2:
        rows, columns = levels[-1].shape[:2]
        coarse = cv2.resize(levels[-1], ((columns + 1) // 2, (rows + 1) // 2), interpolation=cv2.INTER_AREA)
        # Saturating keeps a value's reach short where there is plenty of it, long where there is little.
        coarse *= np.minimum(1, 2 * coarse[..., 3:]) / np.maximum(coarse[..., 3:], 1e-6)
        levels.append(coarse)
    filled = levels[-1][..., :3] / np.maximum(levels[-1][..., 3:], 1e-6)
    for level in [*reversed(levels[:-1]), known]:
        rows, columns = level.shape[:2]
        above = cv2.resize(filled, (columns, rows), interpolation=cv2.INTER_LINEAR)
        filled = level[..., :3] + (1 - level[..., 3:]) * above
    return filled
