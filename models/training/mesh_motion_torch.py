# SPDX-License-Identifier: GPL-3.0-or-later
"""The mesh's dense motion in PyTorch, many bodies at once, with a gradient to every vertex.

It computes what :class:`..mesh_motion.MeshMotion` computes, which decoding runs and which stays the
reference (a test holds the two together). Which triangle lies in which cell, faces the camera and is seen
is decided without a gradient; the displacements, filled outward, carry it to the vertices of the frame and
of its references. So the losses of a picture reach the network that predicted the vertices.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..mesh_motion import GRID, NOTHING, SAME_SURFACE, VISIBLE_WITHIN


class MeshMotion:
    """The motion between N bodies' references and their frames.

    ``faces`` is ``(F, 3)`` int64; ``points`` ``(N, R, V, 3)`` are the projected vertices of R references of
    each body: canvas pixels and depth in metres. ``coverage`` ``(N, R, 1, H/2, W/2)`` is then the part of
    each cell that the reference's body covers.
    """

    def __init__(self, faces: Tensor, points: Tensor, height: int, width: int) -> None:
        self._faces, self._points = faces, points
        self._rows, self._columns = height // GRID, width // GRID
        cells, distance, seen = self._assign(points.flatten(0, 1))
        nearest = self._nearest(cells, distance, seen)
        visible = seen & (distance < nearest.gather(1, cells) + VISIBLE_WITHIN)
        self._visible = visible.to(points.dtype).unflatten(0, points.shape[:2])  # (N, R, F)
        self.coverage = self._cover(torch.isfinite(nearest)).unflatten(0, points.shape[:2])

    def __call__(self, points: Tensor) -> Tensor:
        """Return motion maps ``(N, T, R, 4, H/2, W/2)`` of T frames' projected vertices ``(N, T, V, 3)``.

        Channels as in :data:`..mesh_motion.MOTION_CHANNELS`.
        """
        (bodies, frames), references = points.shape[:2], self._points.shape[1]
        points = points.flatten(0, 1)
        cells, distance, seen = self._assign(points)
        front = seen & (distance < self._nearest(cells, distance, seen).gather(1, cells) + SAME_SURFACE)
        frame, face = front.nonzero(as_tuple=True)
        body = (frame // frames)[:, None] * references + torch.arange(references, device=frame.device)
        here = self._centres_of(points, frame, face)
        there = self._centres_of(self._points.flatten(0, 1), body, face[:, None])  # (P, R, 2)
        shown = self._visible.flatten(0, 1)[body, face[:, None]]
        values = torch.cat([there - here[:, None], shown[..., None]], -1).flatten(1)  # (P, 3 R)

        cell = frame * (self._rows * self._columns) + cells[frame, face]
        total = len(points) * self._rows * self._columns
        count = torch.bincount(cell, minlength=total)[:, None]
        means = values.new_zeros(total, values.shape[1]).index_add(0, cell, values) / count.clamp(min=1)
        grid = (len(points), self._rows, self._columns)
        known = (count > 0).view(grid)
        filled = _fill_outward(means.view(*grid, -1).permute(0, 3, 1, 2), known[:, None].to(values.dtype))
        filled = filled.unflatten(1, (references, 3))  # (N T, R, 3, H/2, W/2)
        coverage = self._cover(known.flatten(1))[:, None].expand(-1, references, -1, -1, -1).to(values.dtype)
        maps = torch.cat([filled[:, :, :2], coverage, filled[:, :, 2:]], 2)
        return maps.unflatten(0, (bodies, frames))

    @torch.no_grad()
    def _assign(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return each triangle's flat cell, its depth, and whether it faces the camera within the canvas."""
        points = points.transpose(1, 2).contiguous()  # (M, 3, V)
        a, b, c = (points.index_select(2, corner) for corner in self._faces.unbind(1))
        ab, ac = b - a, c - a
        facing = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0] < 0
        centres = a + (ab + ac) / 3
        column, row = (centres[:, axis].mul(1 / GRID).floor() for axis in (0, 1))
        inside = (column >= 0) & (column < self._columns) & (row >= 0) & (row < self._rows)
        cells = torch.where(inside, row * self._columns + column, 0).long()
        return cells, centres[:, 2], facing & inside

    def _centres_of(self, points: Tensor, index: Tensor, face: Tensor) -> Tensor:
        """Return where on the canvas the triangles ``face`` of the meshes ``index`` of ``points`` lie."""
        corners = self._faces[face] + (index * points.shape[1])[..., None]
        found = points[..., :2].flatten(0, 1).index_select(0, corners.flatten())
        return found.view(*corners.shape, 2).mean(-2)

    @torch.no_grad()
    def _nearest(self, cells: Tensor, distance: Tensor, seen: Tensor) -> Tensor:
        """Return the depth ``(M, cells)`` of the surface in front, without the holes between triangles."""
        nearest = distance.new_full((len(cells), self._rows * self._columns), torch.inf)
        nearest.scatter_reduce_(1, cells, distance.masked_fill(~seen, torch.inf), "amin")
        grid = nearest.view(-1, self._rows, self._columns)
        around = F.pad(grid.clamp(max=NOTHING)[:, None], (2, 2, 2, 2), mode="replicate")[:, 0]
        hit = torch.isfinite(grid).nonzero(as_tuple=True)
        typical = around.unfold(1, 5, 1).unfold(2, 5, 1)[hit].flatten(1).median(1).values
        grid[hit] = torch.minimum(grid[hit], typical)
        return nearest

    def _cover(self, hit: Tensor) -> Tensor:
        """Close the pinholes in ``hit`` ``(M, cells)`` and soften the outline: ``(M, 1, H/2, W/2)``."""
        hit = hit.float().view(-1, 1, self._rows, self._columns)
        closed = -F.max_pool2d(-F.max_pool2d(hit, 5, 1, 2), 5, 1, 2)
        return F.avg_pool2d(F.pad(closed, (1, 1, 1, 1), mode="reflect"), 3, 1)


def _fill_outward(values: Tensor, weight: Tensor) -> Tensor:
    """Spread ``values`` ``(M, C, H, W)`` from where ``weight`` ``(M, 1, H, W)`` is 1 over the whole grid."""
    levels = [(values * weight, weight)]
    while max(weight.shape[2:]) > 2:
        size = tuple((side + 1) // 2 for side in weight.shape[2:])
        values, weight = (_resize(x, size, cv2.INTER_AREA) for x in levels[-1])
        share = (2 * weight).clamp(max=1) / weight.clamp(min=1e-6)
        values, weight = values * share, weight * share
        levels.append((values, weight))
    filled = values / weight.clamp(min=1e-6)
    for values, weight in reversed(levels[:-1]):
        filled = values + (1 - weight) * _resize(filled, weight.shape[2:], cv2.INTER_LINEAR)
    return filled


def _resize(x: Tensor, size: tuple[int, int], interpolation: int) -> Tensor:
    """Resize ``(M, C, H, W)`` as OpenCV does, by its own matrices."""
    rows, columns = (
        _resizing(old, new, interpolation).to(x) for old, new in zip(x.shape[2:], size, strict=True)
    )
    return rows @ x @ columns.T


@lru_cache(maxsize=128)
def _resizing(old: int, new: int, interpolation: int) -> Tensor:
    """Return the matrix ``(new, old)`` by which OpenCV resizes one axis."""
    identity = np.eye(old, dtype=np.float32)
    return torch.from_numpy(cv2.resize(identity, (old, new), interpolation=interpolation))
