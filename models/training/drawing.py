# SPDX-License-Identifier: GPL-3.0-or-later
"""Drawing an avatar before a camera, several frames at a time: by numba, or on a device of PyTorch.

Both draw the same: numba's functions (:mod:`.renderer`) a frame at a time, or their equals for a batch
of frames (:mod:`.renderer_torch`). Everything around them takes and gives NumPy arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np

from ...inference.clip import Camera
from . import renderer
from .avatars import CLOSED, RECESS, Avatar

TOLERANCE = 0.02
"""Metres by which a visible point may lie behind the nearest one."""


@dataclass(frozen=True)
class Drawing:
    """Frames of one avatar, and what their labels are read off."""

    colour: np.ndarray  # (n, H, W, 3) float32 premultiplied by the coverage, 0..255
    coverage: np.ndarray  # (n, H, W) float32 0..1
    points: np.ndarray  # (n, G, 3) float32 camera space; the first V are the naked body
    posed: Any  # these points, and the samples, where the renderer keeps them
    triangle: Any  # (n, h, w)
    place: Any  # (n, h, w, 2)
    depth: Any  # (n, h, w)

    def __getitem__(self, frames: slice) -> Drawing:
        """Return some of the frames."""
        return Drawing(**{field.name: getattr(self, field.name)[frames] for field in fields(self)})


class Renderer(Protocol):
    """Draws one avatar before one camera."""

    def draw(self, transforms: np.ndarray, light: np.ndarray) -> Drawing:
        """Draw frames under bone ``transforms (n, B, 3, 4)``, from rest to camera space, and lights.

        Of each frame ``light (n, 4, 3)`` is as :func:`.renderer.shade` takes it; both are float32.
        """

    def trace(self, drawing: Drawing, reference: Drawing) -> tuple[np.ndarray, np.ndarray]:
        """Return ``flow (n, H, W, 2)`` of every pixel to the one frame of ``reference``, in pixels.

        And ``visible (n, H, W)``: that place shows the same point. See :func:`.renderer.trace`.
        """


def open_renderer(
    avatar: Avatar, camera: Camera, size: tuple[int, int], device: str | None = None
) -> Renderer:
    """Return what draws ``avatar`` on canvases of ``size (H, W)``; ``device`` as PyTorch names it.

    None stands for numba on this processor.
    """
    if device is None:
        return _NumbaRenderer(avatar, camera, size)
    from .renderer_torch import TorchRenderer

    return TorchRenderer(avatar, camera, size, device)


class _NumbaRenderer:
    def __init__(self, avatar: Avatar, camera: Camera, size: tuple[int, int]) -> None:
        self._avatar = avatar
        self._samples = [side * renderer.SAMPLES for side in size]
        self._lens = [np.float32(renderer.SAMPLES * x) for x in (camera.fx, camera.cx, camera.cy)]

    def draw(self, transforms: np.ndarray, light: np.ndarray) -> Drawing:
        frames = [self._draw(*frame) for frame in zip(transforms, light, strict=True)]
        colour, coverage, points, triangle, place, depth = (
            np.stack(values) for values in zip(*frames, strict=True)
        )
        return Drawing(colour, coverage, points, points, triangle, place, depth)

    def _draw(self, transforms: np.ndarray, light: np.ndarray) -> tuple[np.ndarray, ...]:
        avatar = self._avatar
        points = np.empty_like(avatar.rest)
        renderer.skin(avatar.rest, avatar.bones, avatar.weights, transforms, points)
        triangle, place, depth = renderer.rasterise(
            points, avatar.faces, avatar.uv, avatar.material, RECESS, CLOSED, avatar.textures,
            *self._lens, *self._samples,
        )  # fmt: skip
        normals = renderer.vertex_normals(points, avatar.faces)
        colour, coverage = renderer.shade(
            triangle, place, points, normals, avatar.faces, avatar.uv, avatar.material, avatar.textures,
            avatar.tint, light,
        )  # fmt: skip
        return colour, coverage, points, triangle, place, depth

    def trace(self, drawing: Drawing, reference: Drawing) -> tuple[np.ndarray, np.ndarray]:
        traced = [
            renderer.trace(
                *samples, self._avatar.faces, reference.points[0], reference.depth[0],
                *self._lens, np.float32(TOLERANCE),
            )
            for samples in zip(drawing.triangle, drawing.place, drawing.depth, strict=True)
        ]  # fmt: skip
        flow, visible = (np.stack(values) for values in zip(*traced, strict=True))
        return flow, visible
