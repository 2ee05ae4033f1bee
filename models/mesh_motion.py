# SPDX-License-Identifier: GPL-3.0-or-later
"""The dense motion that the mesh gives for free: where each point of a frame's body lies in the reference.

Both meshes are projected; every triangle that faces the camera is splatted at its centre with the
displacement from there to the same triangle in the reference. Only numpy and OpenCV, because decoding
and training must compute exactly the same thing. Displacements are backward: ``position in the reference
- position in the frame``, in canvas pixels, so that they say where to sample the reference.
"""

from __future__ import annotations

import cv2
import numpy as np

GRID = 2
"""Canvas pixels a cell of the motion map."""

MOTION_CHANNELS = 4
"""Displacement x, displacement y (pixels), coverage by the body, visibility in the reference (0 to 1)."""

SAME_SURFACE = 0.05  # metres behind the nearest triangle of a cell that still count as its surface
NOTHING = 1e3  # metres, farther than any body
VISIBLE_WITHIN = 0.04  # metres behind the reference's depth map that still count as visible


class MeshMotion:
    """The motion of a body mesh between a fixed reference frame and any other frame.

    ``faces`` is ``(F, 3)``; ``pixels`` ``(V, 2)`` and ``depth`` ``(V,)`` are the projected vertices of
    the reference (canvas pixels, metres); ``width`` and ``height`` are the canvas, multiples of 8.
    ``coverage`` ``(H/2, W/2)`` float32 is then the part of each cell that the reference's body covers, and
    ``visible`` ``(F,)`` float32 is 1 for the triangles that the reference shows.
    """

    def __init__(
        self, faces: np.ndarray, pixels: np.ndarray, depth: np.ndarray, width: int, height: int
    ) -> None:
        self._corners = np.ascontiguousarray(faces.T, np.int64)
        self._columns, self._rows = width // GRID, height // GRID
        self._reference, distance, facing = self._centres(pixels, depth)
        cells, inside = self._cells(self._reference)
        seen = np.flatnonzero(facing & inside)
        nearest = self._nearest(cells[seen], distance[seen])
        self.visible = np.zeros(len(faces), np.float32)
        self.visible[seen] = distance[seen] < nearest[cells[seen]] + VISIBLE_WITHIN
        self.coverage = self._cover(np.isfinite(nearest).reshape(self._rows, self._columns))

    def __call__(self, pixels: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Return the motion map ``(4, H/2, W/2)`` float32 of a frame's projected vertices.

        Channels as in :data:`MOTION_CHANNELS`. Displacement and visibility go on outside the body, so
        that clothes and hair, which stand out from the naked mesh, move with the nearest part of it.
        """
        centres, distance, facing = self._centres(pixels, depth)
        cells, inside = self._cells(centres)
        seen = np.flatnonzero(facing & inside)
        cells, distance = cells[seen], distance[seen]
        nearest = self._nearest(cells, distance)
        front = distance < nearest[cells] + SAME_SURFACE
        seen, cells = seen[front], cells[front]
        moved = self._reference[seen] - centres[seen]
        size = self._rows * self._columns
        sums = np.stack(
            [
                np.bincount(cells, values, size)
                for values in (moved[:, 0], moved[:, 1], self.visible[seen], np.ones(len(seen)))
            ],
            axis=-1,
        )
        known = (sums / np.maximum(sums[:, 3:], 1)).astype(np.float32)
        known = known.reshape(self._rows, self._columns, 4)
        filled = _fill_outward(known)
        coverage = self._cover(known[..., 3] > 0)
        return np.stack([filled[..., 0], filled[..., 1], coverage, filled[..., 2]])

    def _centres(self, pixels: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return each triangle's centre ``(F, 2)``, its depth and whether it faces the camera."""
        points = np.column_stack([pixels, depth]).astype(np.float32)
        a, b, c = (points.take(corner, axis=0) for corner in self._corners)
        ab, ac = b - a, c - a
        # Counter-clockwise seen from outside is clockwise on a canvas whose y points down.
        facing = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0] < 0
        centres = a + (ab + ac) / 3
        return centres[:, :2], centres[:, 2], facing

    def _cells(self, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the flat cell index of each centre, and whether it lies on the canvas."""
        column = np.floor(centres[:, 0] * (1 / GRID))
        row = np.floor(centres[:, 1] * (1 / GRID))
        inside = (column >= 0) & (column < self._columns) & (row >= 0) & (row < self._rows)
        return np.where(inside, row * self._columns + column, 0).astype(np.int64), inside

    def _nearest(self, cells: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Return the depth of the surface in front in each cell, infinite where there is none.

        Where triangles are larger than a cell, what lies behind shows between their centres: a cell
        that is farther than most of its neighbours is taken for such a hole.
        """
        nearest = np.full(self._rows * self._columns, np.inf, np.float32)
        np.minimum.at(nearest, cells, distance)
        around = np.minimum(nearest, NOTHING).reshape(self._rows, self._columns)
        typical = cv2.medianBlur(around, 5).ravel()
        return np.where(np.isfinite(nearest), np.minimum(nearest, typical), nearest)

    def _cover(self, hit: np.ndarray) -> np.ndarray:
        """Close the pinholes between triangle centres without growing the outline, and soften it."""
        closed = cv2.morphologyEx(hit.astype(np.float32), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        return cv2.blur(closed, (3, 3))


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
    its :attr:`MeshMotion.coverage`; ``background`` and ``motion``, as :meth:`MeshMotion.__call__` returns it,
    are the frame's. The opacity is the one that the generator starts from: the warped person mask, outside
    the body only as far as the sampled point was outside the reference's body too.
    """
    height, width = mask.shape
    moved = cv2.resize(motion[:3].transpose(1, 2, 0), (width, height), interpolation=cv2.INTER_LINEAR)[part]
    rows, columns = (np.arange(side, dtype=np.float32)[of] for side, of in zip(mask.shape, part, strict=True))
    at = moved[..., 0] + columns, moved[..., 1] + rows[:, None]

    def warp(values: np.ndarray) -> np.ndarray:
        return cv2.remap(values, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    covered = moved[..., 2]
    beside = 1 - warp(cv2.resize(reference_coverage, (width, height), interpolation=cv2.INTER_LINEAR))
    opacity = warp(mask.astype(np.float32) / 255) * (covered + (1 - covered) * beside)
    behind = background[part].astype(np.float32)
    mixed = behind + opacity[..., None] * (warp(picture) - behind)
    return np.rint(mixed).astype(np.uint8)


def _fill_outward(known: np.ndarray) -> np.ndarray:
    """Spread values ``(H, W, C)`` whose last channel is their weight (0 or 1) over the whole grid.

    Push-pull (Gortler et al., The Lumigraph, 1996, section 3.4.3): average down a pyramid, then fill
    each level's unknown cells from the level above.
    """
    levels = [known * known[..., 3:]]
    levels[0][..., 3] = known[..., 3]
    while max(levels[-1].shape[:2]) > 2:
        rows, columns = levels[-1].shape[:2]
        half = cv2.resize(levels[-1], ((columns + 1) // 2, (rows + 1) // 2), interpolation=cv2.INTER_AREA)
        # Saturating keeps a value's reach short where there is plenty of it, long where there is little.
        half *= np.minimum(1, 2 * half[..., 3:]) / np.maximum(half[..., 3:], 1e-6)
        levels.append(half)
    filled = levels[-1][..., :3] / np.maximum(levels[-1][..., 3:], 1e-6)
    for level in reversed(levels[:-1]):
        rows, columns = level.shape[:2]
        above = cv2.resize(filled, (columns, rows), interpolation=cv2.INTER_LINEAR)
        filled = level[..., :3] + (1 - level[..., 3:]) * above
    return filled
