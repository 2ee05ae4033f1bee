# SPDX-License-Identifier: GPL-3.0-or-later
"""The mesh's dense motion in PyTorch, many bodies at once, with a gradient to every vertex.

It computes what :mod:`..mesh_motion` computes, which decoding runs and which stays the reference (a test
holds the two together). Which point of the mesh a pixel shows, and whether a reference shows it too, is
decided without a gradient; the way that this point goes, filled outward, carries it to the vertices of the
frame and of its references. So the losses of a picture reach the network that predicted the vertices. What
decoding does about a body that fills the camera, drawing it more coarsely, training need not.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..mesh_motion import LEAST_AREA, NOWHERE, ON_EDGE, VISIBLE_WITHIN


class Surfaces:
    """What M canvases show, each of a mesh of its own.

    ``faces`` is ``(F, 3)`` int64; ``points`` ``(M, V, 3)`` are the projected vertices: canvas pixels, and
    depth in metres. ``coverage`` is then ``(M, 1, H, W)``; all else as in :class:`..mesh_motion.Surface`, of
    all canvases one after another.
    """

    def __init__(self, faces: Tensor, points: Tensor, height: int, width: int) -> None:
        self.faces, self.points, self.size = faces, points, (height, width)
        self._draw()
        hit = points.new_zeros(len(points) * height * width)
        hit[self.cells] = 1
        hit = F.pad(hit.view(-1, 1, height, width), (1, 1, 1, 1), mode="reflect")
        self.coverage = F.avg_pool2d(hit, 3, 1)

    def motion_to(self, references: Surfaces, bodies: int) -> Tensor:
        """Return motion maps ``(N, T, R, 4, H, W)``: N T frames of N ``bodies`` to their N R ``references``.

        Channels as in :data:`..mesh_motion.MOTION_CHANNELS`.
        """
        height, width = self.size
        frames, count = (len(each.points) // bodies for each in (self, references))
        frame = self.cells // (height * width)
        each = torch.arange(count, device=frame.device)
        of_references = (frame // frames)[:, None] * count + each  # (P, R)
        here = self._points_of(self, frame[:, None])
        there = self._points_of(references, of_references)  # (P, R, 3)
        with torch.no_grad():
            shown = references.facing[of_references, self.triangles[:, None]]
            shown &= references._shows(of_references, there)
        values = torch.cat([there[..., :2] - here[..., :2], shown[..., None].to(there.dtype)], -1)
        total = len(self.points) * height * width
        known = values.new_zeros(total, values[0].numel() if len(values) else 3 * count)
        known = known.index_copy(0, self.cells, values.flatten(1))
        weight = values.new_zeros(total, 1).index_fill(0, self.cells, 1)
        known, weight = (x.view(-1, height, width, x.shape[1]).permute(0, 3, 1, 2) for x in (known, weight))
        filled = fill_outward(known, weight).unflatten(1, (count, 3))  # (N T, R, 3, H, W)
        coverage = self.coverage[:, None].expand(-1, count, -1, -1, -1)
        maps = torch.cat([filled[:, :, :2], coverage, filled[:, :, 2:]], 2)
        return maps.unflatten(0, (bodies, frames))

    def _points_of(self, surfaces: Surfaces, index: Tensor) -> Tensor:
        """Return where ``(P, R, 3)`` the P points shown here lie in ``surfaces`` ``index`` ``(P, R)``."""
        corners = self.faces[self.triangles][:, None] + (index * surfaces.points.shape[1])[..., None]
        found = surfaces.points.flatten(0, 1).index_select(0, corners.flatten())
        return (found.view(*corners.shape, 3) * self.weights[:, None, :, None]).sum(-2)

    def _shows(self, index: Tensor, points: Tensor) -> Tensor:
        """Say of which ``points (…, 3)`` nothing lies in front on the canvases ``index (…)``."""
        height, width = self.size
        column, row = points[..., 0].floor().long(), points[..., 1].floor().long()
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        place = torch.where(inside, (index * height + row) * width + column, 0)
        return inside & (points[..., 2] < self.distance[place] + VISIBLE_WITHIN)

    @torch.no_grad()
    def _draw(self) -> None:
        height, width = self.size
        a, b, c = (self.points.index_select(1, corner) for corner in self.faces.unbind(1))
        ab, ac = b - a, c - a
        area = ab[..., 1] * ac[..., 0] - ab[..., 0] * ac[..., 1]
        self.facing = area > LEAST_AREA
        canvas, triangle = self.facing.nonzero(as_tuple=True)
        a, ab, ac, area = (each[canvas, triangle] for each in (a, ab, ac, area))
        limits = torch.tensor([width, height], device=a.device)
        low = a[:, :2] + torch.minimum(ab[:, :2], ac[:, :2]).clamp(max=0)
        high = a[:, :2] + torch.maximum(ab[:, :2], ac[:, :2]).clamp(min=0)
        zero = torch.zeros_like(limits)
        first = torch.ceil(low - 0.5).clamp(zero, limits).long()
        last = torch.floor(high - 0.5).clamp(zero - 1, limits - 1).long()
        sides = (last - first + 1).clamp(min=0)
        count = sides.prod(1)
        of = torch.arange(len(count), device=a.device).repeat_interleave(count)
        place = torch.arange(len(of), device=a.device) - (count.cumsum(0) - count)[of]
        columns = sides[:, 0].clamp(min=1)[of]
        column, row = first[of, 0] + place % columns, first[of, 1] + place // columns
        x, y = column + 0.5 - a[of, 0], row + 0.5 - a[of, 1]
        u = (y * ac[of, 0] - x * ac[of, 1]) / area[of]
        v = (x * ab[of, 1] - y * ab[of, 0]) / area[of]
        inside = ((u >= -ON_EDGE) & (v >= -ON_EDGE) & (u + v <= 1 + ON_EDGE)).nonzero()[:, 0]
        of, u, v = of[inside], u[inside], v[inside]
        z = a[of, 2] + u * ab[of, 2] + v * ac[of, 2]
        cell = (canvas[of] * height + row[inside]) * width + column[inside]
        self.distance = z.new_full((len(self.points) * height * width,), NOWHERE)
        self.distance.scatter_reduce_(0, cell, z, "amin")
        nearest = (z == self.distance[cell]).nonzero()[:, 0]
        winner = torch.full((len(self.distance),), -1, device=z.device)
        winner.scatter_reduce_(0, cell[nearest], nearest, "amax")
        self.cells = (winner >= 0).nonzero()[:, 0]
        winner = winner[self.cells]
        self.triangles = triangle[of[winner]]
        self.weights = torch.stack([1 - u - v, u, v], 1)[winner]


def fill_outward(values: Tensor, weight: Tensor) -> Tensor:
    """Spread ``values`` ``(M, C, H, W)`` over the canvas from where ``weight`` ``(M, 1, H, W)`` is 1."""
    known, share = F.avg_pool2d(values, 2), F.avg_pool2d(weight, 2)
    levels = [(values, weight), (known / share.clamp(min=1e-6), (share > 0).to(values.dtype))]
    while max(levels[-1][1].shape[2:]) > 2:
        rows, columns = ((side + 1) // 2 for side in levels[-1][1].shape[2:])
        known, share = (_resize(x, rows, columns, cv2.INTER_AREA) for x in levels[-1])
        reach = (2 * share).clamp(max=1) / share.clamp(min=1e-6)
        levels.append((known * reach, share * reach))
    known, share = levels.pop()
    filled = known / share.clamp(min=1e-6)
    for known, share in reversed(levels):
        rows, columns = known.shape[2:]
        filled = known + (1 - share) * _resize(filled, rows, columns, cv2.INTER_LINEAR)
    return filled


def _resize(x: Tensor, rows: int, columns: int, interpolation: int) -> Tensor:
    """Resize ``(M, C, H, W)`` as OpenCV does, by its own matrices."""
    height, width = x.shape[2:]
    down = _resizing(height, rows, interpolation).to(x)
    return down @ x @ _resizing(width, columns, interpolation).to(x).T


@lru_cache(maxsize=128)
def _resizing(old: int, new: int, interpolation: int) -> Tensor:
    """Return the matrix ``(new, old)`` by which OpenCV resizes one axis."""
    identity = np.eye(old, dtype=np.float32)
    return torch.from_numpy(cv2.resize(identity, (old, new), interpolation=interpolation))
