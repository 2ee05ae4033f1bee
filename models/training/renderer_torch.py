# SPDX-License-Identifier: GPL-3.0-or-later
"""The rasteriser of :mod:`.renderer` on any device of PyTorch, several frames of one avatar at a time.

The functions bear the names of those they equal and take the same arrays as tensors, with a first axis
of ``n`` frames where those take one frame. No loop runs over triangles: every sample in a triangle's
bounding box is a candidate, candidates are numbered through all triangles of all frames, and the nearest
of each sample wins by the least of 64-bit keys (depth, then triangle), whatever order they come in. So the
result is the same each time, and memory is bounded by :data:`CANDIDATES` however large the triangles are.
The host waits for the device only to learn how many candidates, covered samples and pixels there are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..camera import Camera
from .avatars import CLOSED, RECESS, Avatar
from .renderer import AMBIENT, FAR, NEAR, SAMPLES, SHADOW_CELL, TOLERANCE, Drawing

CANDIDATES = 1 << 21
"""Samples in bounding boxes that are tried at a time: half a gigabyte of device memory."""

_NEAREST = 0x7FFFFFFF  # above the bits of any float32 that is a number
_FIXED = 2.0**44  # parts of a square metre in which sums of normals are counted


class TorchRenderer:
    """Draws one avatar before one camera as a :class:`.drawing.Renderer`, on ``device``."""

    def __init__(
        self, avatar: Avatar, camera: Camera, size: tuple[int, int], device: str | torch.device
    ) -> None:
        self._device = torch.device(device)
        self._rest, self._weights, self._tint, uv, textures, recess, closed = map(
            self._upload,
            (avatar.rest, avatar.weights, avatar.tint, avatar.uv, avatar.textures, RECESS, CLOSED),
        )
        self._bones, self._faces, material = (
            self._upload(x).long() for x in (avatar.bones, avatar.faces, avatar.material)
        )
        self._mesh = self._faces, uv, material
        self._substance = recess, closed, textures
        self._lens = SAMPLES * camera.fx, SAMPLES * camera.cx, SAMPLES * camera.cy
        self._samples = SAMPLES * size[0], SAMPLES * size[1]

    def _upload(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self._device)

    @torch.no_grad()
    def draw(self, transforms: Sequence[np.ndarray], light: np.ndarray) -> Drawing:
        """Draw frames: see :meth:`.drawing.Renderer.draw`."""
        times = [len(frame) for frame in transforms]
        points = skin(self._rest, self._bones, self._weights, self._upload(np.concatenate(transforms)))
        samples = rasterise(points, *self._mesh, *self._substance, *self._lens, *self._samples)
        normals = vertex_normals(points, self._faces)
        lights = self._upload(np.repeat(light, times, 0))
        open_to = openness(points, normals, lights) if light[:, 4, :2].any() else None
        pictures = shade(
            *samples[:2], points, normals, *self._mesh, self._substance[-1], self._tint, lights, open_to
        )
        colour, coverage = (
            torch.stack([frame.mean(0) for frame in values.split(times)]) for values in pictures
        )
        first = self._upload(np.cumsum([0, *times[:-1]]))
        points, triangle, place, depth = (values[first] for values in (points, *samples))
        nearest = _pixels(depth).amin(-1)
        distance = torch.where(nearest < FAR, nearest, 0)
        colours, covered, distances, seen = (
            values.cpu().numpy() for values in (colour, coverage, distance, points)
        )
        return Drawing(colours, covered, distances, seen, points, triangle, place, depth)

    @torch.no_grad()
    def trace(self, drawing: Drawing, reference: Drawing) -> tuple[np.ndarray, np.ndarray]:
        """Return flow and visibility: see :meth:`.drawing.Renderer.trace`."""
        flow, visible = trace(
            drawing.triangle, drawing.place, drawing.depth, self._faces,
            reference.posed[0], reference.depth[0], *self._lens, TOLERANCE,
        )  # fmt: skip
        return flow.cpu().numpy(), visible.cpu().numpy()


def skin(rest: Tensor, bones: Tensor, weights: Tensor, transforms: Tensor) -> Tensor:
    """Return the vertices ``(n, G, 3)`` posed by linear blend skinning, ``transforms (n, B, 3, 4)``."""
    frames, count = transforms.shape[:2]
    table = transforms.permute(1, 0, 2, 3).reshape(count, -1)
    blended = torch.nn.functional.embedding_bag(
        bones, table, per_sample_weights=weights, mode="sum"
    )  # one kernel, and nothing of the size vertices x bones between
    blended = blended.view(-1, frames, 3, 4).transpose(0, 1)
    return (blended[..., :3] * rest[:, None]).sum(-1) + blended[..., 3]


def vertex_normals(points: Tensor, faces: Tensor) -> Tensor:
    """Return area-weighted unit normals ``(n, G, 3)`` of ``points (n, G, 3)`` under ``faces (F, 3)``."""
    first, second, third = (points[:, faces[:, corner]] for corner in range(3))
    # Whole numbers add up to the same sum in any order, so that a picture is a function of its seed.
    normals = (torch.linalg.cross(second - first, third - first) * _FIXED).long()
    sums = torch.zeros(points.shape, dtype=torch.int64, device=points.device)
    for corner in range(3):
        sums.index_add_(1, faces[:, corner], normals)
    sums = sums.float() / _FIXED
    return sums / (sums.square().sum(-1, keepdim=True).sqrt() + 1e-20)


def rasterise(
    points: Tensor,
    faces: Tensor,
    uv: Tensor,
    material: Tensor,
    recess: Tensor,
    closed: Tensor,
    textures: Tensor,
    focal: float,
    centre_x: float,
    centre_y: float,
    height: int,
    width: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw triangles with a depth buffer: ``triangle``, ``place`` and ``depth`` of ``(n, h, w)`` samples."""
    frames, device = len(points), points.device
    shape = (frames, height, width)
    recess, closed = recess[material], closed[material]
    planes, boxes, counts = _set_up(
        points, faces, uv, recess, closed, focal, centre_x, centre_y, height, width
    )
    ends = counts.cumsum(0)
    starts = ends - counts
    layers = (material * textures.shape[1] ** 2).repeat(frames)
    solid = (textures[..., 3] >= 128).flatten()
    nothing = _key(torch.tensor([1 / FAR], device=device), 0)
    keys = nothing.repeat(frames * height * width)
    total = int(ends[-1])
    for begin in range(0, total, CANDIDATES):
        number = torch.arange(begin, min(begin + CANDIDATES, total), device=device)
        which = torch.searchsorted(ends, number, right=True)  # triangle, counted through all frames
        first, columns = boxes[which].unbind(-1)
        number = number - starts[which]
        row = number // columns
        column = number - row * columns
        second, third, near, u, v, deeper = _evaluate(planes, which, column, row)
        inside = second.minimum(third).minimum(1 - second - third) >= 0
        near = near.clamp(min=1 / FAR)
        texel = layers[which] + _texel(u / near, v / near, textures.shape[1])
        key = torch.where(inside & solid[texel], _key(near / (1 + deeper * near), which), nothing)
        keys.scatter_reduce_(0, first + row * width + column, key, "amin")

    covered = (keys < nothing).nonzero().squeeze(1)
    keys = keys[covered]
    which = keys & 0xFFFFFFFF
    away = covered - boxes[which, 0]
    second, third, near, *_ = _evaluate(planes, which, away % width, away // width)
    shares = 1 / points[..., 2].clamp(min=NEAR)[:, faces[:, 1:]].view(-1, 2)[which]
    triangle = torch.full(shape, -1, dtype=torch.int32, device=device)
    place = torch.zeros(*shape, 2, device=device)
    depth = torch.full(shape, FAR, device=device)
    triangle.view(-1)[covered] = (which % len(faces)).int()
    place.view(-1, 2)[covered] = torch.stack([second, third], 1) * shares / near[:, None]
    depth.view(-1)[covered] = 1 / (_NEAREST - (keys >> 32)).int().view(torch.float32)
    return triangle, place, depth


def _set_up(
    points: Tensor,
    faces: Tensor,
    uv: Tensor,
    recess: Tensor,
    closed: Tensor,
    focal: float,
    centre_x: float,
    centre_y: float,
    height: int,
    width: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Prepare the triangles of all frames; ``recess`` and ``closed (F,)`` are those of their materials.

    Returns what :func:`_evaluate` needs of each, ``(n F, 3, 6)``; of the box of samples around it the
    first, counted through all frames, and the number of columns, ``(n F, 2)`` int64; and the number of
    samples in that box ``(n F,)`` int64, 0 for a triangle that is not drawn.
    """
    nearness = 1 / points[..., 2].clamp(min=NEAR)
    x = (points[..., 0] * nearness * focal + centre_x)[:, faces]  # (n, F, 3)
    y = (points[..., 1] * nearness * focal + centre_y)[:, faces]
    nearness = nearness[:, faces]
    x0, y0 = x[..., 0], y[..., 0]
    dx1, dx2, dy1, dy2 = x[..., 1] - x0, x[..., 2] - x0, y[..., 1] - y0, y[..., 2] - y0
    area = dx1 * dy2 - dx2 * dy1
    # Sample m lies at m + 1/2; positive numbers are cut off towards 0.
    left = (x.amin(-1).clamp(0.5, width) + 0.5).long()
    top = (y.amin(-1).clamp(0.5, height) + 0.5).long()
    columns = ((x.amax(-1) + 0.5).clamp(0, width).long() - left).clamp(min=0)
    rows = ((y.amax(-1) + 0.5).clamp(0, height).long() - top).clamp(min=0)
    drawn = (area != 0) & ~(closed & (area > 0)) & (nearness.amax(-1) < 1 / NEAR)
    frame = torch.arange(len(points), device=points.device)[:, None]
    boxes = torch.stack([(frame * height + top) * width + left, columns], -1)

    scale = 1 / area
    right, down = (
        torch.stack([dy2, -dy1], -1) * scale[..., None],
        torch.stack([-dx2, dx1], -1) * scale[..., None],
    )
    begin = right * (left + 0.5 - x0)[..., None] + down * (top + 0.5 - y0)[..., None]
    hung = torch.cat([nearness[..., None], nearness[..., None] * uv], -1)  # (n, F, 3, 3)
    weights = torch.stack([begin, right, down], -2)  # (n, F, 3, 2)
    # No matrix product: on a GPU those may be rounded to TF32.
    linear = (weights[..., None] * (hung[..., 1:, :] - hung[..., :1, :])[..., None, :, :]).sum(-2)
    linear[..., 0, :] += hung[..., 0, :]
    deeper = torch.zeros_like(weights[..., :1])
    deeper[..., 0, 0] = recess
    planes = torch.cat([weights, linear, deeper], -1)
    return planes.flatten(0, 1), boxes.flatten(0, 1), (columns * rows * drawn).flatten()


def _evaluate(planes: Tensor, which: Tensor, column: Tensor, row: Tensor) -> tuple[Tensor, ...]:
    """Return what is linear in the picture, at samples of the boxes of triangles.

    These are the weights of the second and third corner, nearness, u and v times nearness, and recess.
    """
    plane = planes[which]
    values = plane[:, 0].addcmul(plane[:, 1], column[:, None].float())
    return values.addcmul_(plane[:, 2], row[:, None].float()).unbind(-1)


def _texel(u: Tensor, v: Tensor, size: int) -> Tensor:
    """Return which texel of a layer holds each place."""
    column, row = ((x * size).clamp(0, size - 1).long() for x in (u, v))
    return row * size + column


def _key(nearness: Tensor, triangle: Tensor | int) -> Tensor:
    """Return int64 keys, the less the nearer: the bits of positive floats are in the floats' order."""
    return ((_NEAREST - nearness.view(torch.int32).long()) << 32) | triangle


def reach(points: Tensor, directions: Tensor) -> Tensor:
    """Return how much ``(n, D, G)`` of the light from ``directions (n, D, 3)`` reaches each of the points."""
    x, y, z = directions[..., None].unbind(2)  # (n, D, 1)
    sign = torch.where(z >= 0, 1.0, -1.0)
    a = -1 / (sign + z)
    b = x * y * a
    axes = torch.stack(
        [
            torch.cat([1 + sign * x * x * a, sign * b, -sign * x], -1),
            torch.cat([b, sign + y * y * a, -y], -1),
            torch.cat([x, y, z], -1),
        ],
        2,
    )  # (n, D, 3, 3)
    # No matrix product: on a GPU those may be rounded to TF32.
    scaled = points[:, None] / SHADOW_CELL
    u, v, near = ((scaled * axis[:, :, None]).sum(-1) for axis in axes.unbind(2))
    u, v = u - u.amin(-1, keepdim=True), v - v.amin(-1, keepdim=True)
    columns, rows = (torch.stack([u.amax(), v.amax()]).long() + 3).tolist()
    nearest = torch.full((*directions.shape[:2], rows * columns), -1e9, device=points.device)
    cell = (v.long() + 1) * columns + u.long() + 1
    nearest.scatter_reduce_(-1, cell, near, "amax")
    u, v = u + 0.5, v + 0.5
    cell = v.long() * columns + u.long()
    lit = torch.zeros_like(near)
    for step, share in (
        (0, (1 - u.frac()) * (1 - v.frac())),
        (1, u.frac() * (1 - v.frac())),
        (columns, (1 - u.frac()) * v.frac()),
        (columns + 1, u.frac() * v.frac()),
    ):
        lit += share * (1 - (nearest.gather(-1, cell + step) - near - 1).clamp(0, 1))
    return lit


def openness(points: Tensor, normals: Tensor, light: Tensor) -> Tensor:
    """Return what is left ``(n, G, 2)`` of the lamp's light and of that from around at each vertex."""
    ambient = torch.from_numpy(AMBIENT).to(points.device)
    directions = torch.cat([light[:, :1], ambient.expand(len(points), -1, -1)], 1)
    reached = reach(points, directions)
    facing = ((normals[:, None] * ambient[:, None]).sum(-1) + 0.1).clamp(min=0)  # (n, D - 1, G)
    around = ((facing * reached[:, 1:]).sum(1) + 1e-6) / (facing.sum(1) + 1e-6)
    return 1 - light[:, 4, None, :2] * (1 - torch.stack([reached[:, 0], around], -1))


def shade(
    triangle: Tensor,
    place: Tensor,
    points: Tensor,
    normals: Tensor,
    faces: Tensor,
    uv: Tensor,
    material: Tensor,
    textures: Tensor,
    tint: Tensor,
    light: Tensor,
    open_to: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return colour ``(n, H, W, 3)`` and coverage ``(n, H, W)`` of samples under ``light (n, 5, 3)``.

    ``open_to (n, G, 2)`` is the body's :func:`openness`, if it shades itself.
    """
    frames, height, width = triangle.shape
    covered = (triangle.flatten() >= 0).nonzero().squeeze(1)
    frame, face = covered // (height * width), triangle.flatten()[covered].long()
    share = _shares(place.view(-1, 2)[covered])
    corner = faces[face] + (frame * points.shape[1])[:, None]
    normal = (share * normals.flatten(0, 1)[corner]).sum(1)
    length = normal.square().sum(-1, keepdim=True).sqrt() + 1e-12
    away = (normal * points.flatten(0, 1)[corner[:, 0]]).sum(-1, keepdim=True) > 0
    normal = normal / torch.where(away, -length, length)
    light = light[frame]
    lamp = (normal * light[:, 0]).sum(-1, keepdim=True).clamp(min=0)
    up = 0.5 - 0.5 * normal[:, 1:2]
    around = light[:, 2] * up + light[:, 3] * (1 - up)
    if open_to is not None:
        to_lamp, to_sky = (share * open_to.flatten(0, 1)[corner]).sum(1)[..., None].unbind(1)
        lamp, around = lamp * to_lamp, around * to_sky
    lit = light[:, 1] * lamp + around

    size = textures.shape[1]
    at = ((share * uv[face]).sum(1) * size - 0.5).clamp(0, size - 1.001)
    (column, row), (across, down) = at.long().unbind(-1), at.frac()[..., None].unbind(-2)
    texel = (material[face] * size + row) * size + column
    texels = textures.view(-1, 4)
    above = texels[texel, :3] * (1 - across) + texels[texel + 1, :3] * across
    below = texels[texel + size, :3] * (1 - across) + texels[texel + size + 1, :3] * across
    value = (above + (below - above) * down) / 255
    tinted = value.square() * (share * tint[faces[face]]).sum(1)
    drawn = torch.zeros(frames * height * width, 4, device=points.device)
    drawn[covered] = torch.cat([(tinted * lit).sqrt().clamp(max=1) * 255, torch.ones_like(up)], -1)
    drawn = drawn.view(frames, height // SAMPLES, SAMPLES, width // SAMPLES, SAMPLES, 4).mean((2, 4))
    return drawn[..., :3], drawn[..., 3]


def _shares(place: Tensor) -> Tensor:
    """Return the weights of all three corners ``(k, 3, 1)`` of ``place (k, 2)``."""
    return torch.cat([1 - place.sum(1, keepdim=True), place], 1)[..., None]


def trace(
    triangle: Tensor,
    place: Tensor,
    depth: Tensor,
    faces: Tensor,
    reference_points: Tensor,
    reference_depth: Tensor,
    focal: float,
    centre_x: float,
    centre_y: float,
    tolerance: float,
) -> tuple[Tensor, Tensor]:
    """Return ``flow (n, H, W, 2)`` to one reference, ``(G, 3)`` and ``(h, w)``, and ``visible (n, H, W)``."""
    height, width = triangle.shape[1:]
    pixels = _pixels(depth)
    shape = pixels.shape[:3]
    nearest = pixels.argmin(-1).flatten()  # the first of equals
    pixel = (pixels.amin(-1).flatten() < FAR).nonzero().squeeze(1)
    nearest = nearest[pixel]
    row = pixel // shape[2] * SAMPLES + nearest // SAMPLES  # counted through all frames
    column = pixel % shape[2] * SAMPLES + nearest % SAMPLES
    sample = row * width + column
    face = triangle.flatten()[sample].long()
    x, y, z = (_shares(place.view(-1, 2)[sample]) * reference_points[faces[face]]).sum(1).unbind(-1)
    z = z.clamp(min=NEAR)
    x, y = x / z * focal + centre_x, y / z * focal + centre_y
    moved = torch.stack([x - (column + 0.5), y - (row % height + 0.5)], -1) / SAMPLES
    inside = (x >= 0) & (x < reference_depth.shape[1]) & (y >= 0) & (y < reference_depth.shape[0])
    there = torch.where(inside, y, 0).long() * reference_depth.shape[1] + torch.where(inside, x, 0).long()
    flow = torch.zeros(*shape, 2, device=place.device)
    visible = torch.zeros(shape, dtype=torch.bool, device=place.device)
    flow.view(-1, 2)[pixel] = moved
    visible.view(-1)[pixel] = inside & (z < reference_depth.flatten()[there] + tolerance)
    return flow, visible


def _pixels(samples: Tensor) -> Tensor:
    """Return ``samples (n, h, w)`` by pixel, ``(n, H, W, samples of a pixel)``."""
    return samples.unflatten(2, (-1, SAMPLES)).unflatten(1, (-1, SAMPLES)).transpose(2, 3).flatten(3)
