# SPDX-License-Identifier: GPL-3.0-or-later
"""Synthetic dressed people with exact labels, drawn while training: nothing is stored.

One sample is one avatar (a body of some shape in clothes) in some motion before a still camera: a
reference picture and a few target pictures at other times, with the flow back to the reference. All
of it is a function of ``(seed, split, index)`` alone. ``python -m sparse2dense.models.training.people
--data DIR -o sheet.png`` draws a contact sheet.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...inference.clip import Camera
from ..body import load_body
from . import renderer
from .avatars import CLOSED, RECESS, Avatar, Wardrobe
from .backgrounds import FOLDER, Backgrounds
from .motion import FPS as MOTION_FPS
from .motion import HELD_OUT_SUBJECTS, TRAINING_SUBJECTS, load_motions

_TOLERANCE = 0.02  # metres by which a visible point may lie behind the nearest one
_NOISE = 512  # pixels along the edge of the sheet of noise that all pictures take theirs from


@dataclass(frozen=True)
class _Drawn:
    """A picture and what its labels are read from."""

    picture: np.ndarray  # (H, W, 3) uint8
    mask: np.ndarray  # (H, W) uint8
    points: np.ndarray  # (G, 3) float32 camera space; the first V are the naked body
    triangle: np.ndarray
    place: np.ndarray
    depth: np.ndarray


class _Scene:
    """One avatar before one camera, background and light: draws it in any pose."""

    def __init__(
        self,
        avatar: Avatar,
        shape: np.ndarray,
        camera: Camera,
        view: np.ndarray,
        plate: np.ndarray,
        noise: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        self.avatar, self.shape, self.camera, self.view, self.plate = avatar, shape, camera, view, plate
        self._noise_sheet = noise
        self._lens = [np.float32(renderer.SAMPLES * x) for x in (camera.fx, camera.cx, camera.cy)]
        lamp = rng.normal(0, 1, 3) * (1, 0, 1)
        lamp[1] = -rng.uniform(0.7, 2.5)
        self._lamp_world = lamp / np.linalg.norm(lamp)
        strength = rng.uniform(0.2, 1.1)
        warm = rng.uniform(0.85, 1.15, 3)
        sky, ground = rng.uniform(0.35, 0.9), rng.uniform(0.15, 0.5)
        self._light = np.stack(
            [
                view[:, :3] @ self._lamp_world,
                strength * warm,
                sky * (2 - warm),
                ground * rng.uniform(0.85, 1.15, 3),
            ]
        ).astype(np.float32)
        self._shadow = rng.uniform(0.1, 0.75)
        self._blur = rng.uniform(0.3, 0.8) if rng.random() < 0.5 else 0.0
        self._noise = rng.uniform(0, 5) if rng.random() < 0.7 else 0.0
        self._quality = int(rng.integers(35, 95)) if rng.random() < 0.3 else None
        self._background = plate.astype(np.float32)
        # How many half-size pixels of floor the surface round every fourth vertex can cover, seen slanted.
        distance = np.linalg.norm(view[:, 3])
        slant = max(-(view[:, :3].T @ -view[:, 3])[1] / distance, 0.1)
        self._cover = avatar.areas[::4] * 4 * (camera.fx / 2 / distance) ** 2 * slant

    def draw(self, transforms: np.ndarray, rng: np.random.Generator) -> _Drawn:
        """Draw the avatar under bone ``transforms (B, 3, 4)`` float32 from rest to camera space."""
        avatar, samples = self.avatar, renderer.SAMPLES
        points = np.empty_like(avatar.rest)
        renderer.skin(avatar.rest, avatar.bones, avatar.weights, transforms, points)
        height, width = self.plate.shape[:2]
        triangle, place, depth = renderer.rasterise(
            points, avatar.faces, avatar.uv, avatar.material, RECESS, CLOSED, avatar.textures,
            *self._lens, height * samples, width * samples,
        )  # fmt: skip
        normals = renderer.vertex_normals(points, avatar.faces)
        colour, coverage = renderer.shade(
            triangle, place, points, normals, avatar.faces, avatar.uv, avatar.material, avatar.textures,
            avatar.tint, self._light,
        )  # fmt: skip
        picture = self._background * (1 - self._cast_shadow(points))[..., None]
        picture *= (1 - coverage)[..., None]
        picture += colour
        mask = np.round(coverage * 255).astype(np.uint8)
        return _Drawn(self._film(picture, rng), mask, points, triangle, place, depth)

    def flow(self, target: _Drawn, reference: _Drawn) -> tuple[np.ndarray, np.ndarray]:
        """Return ``flow (H, W, 2)`` from ``target`` to ``reference`` and ``visible (H, W)``."""
        return renderer.trace(
            target.triangle, target.place, target.depth, self.avatar.faces, reference.points, reference.depth,
            *self._lens, np.float32(_TOLERANCE),
        )  # fmt: skip

    def _cast_shadow(self, points: np.ndarray) -> np.ndarray:
        """Return how much ``(H, W)`` the floor is darkened, less the higher what darkens it."""
        height, width = self.plate.shape[:2]
        rows, columns = height // 2, width // 2
        world = (points[::4] - self.view[:, 3]) @ self.view[:, :3]  # floor at y = 0
        above = np.maximum(-world[:, 1:2], 0)
        ground = world + above * (self._lamp_world / self._lamp_world[1])
        ground[:, 1] = 0
        pixel = (self.camera.project(ground @ self.view[:, :3].T + self.view[:, 3]) / 2).astype(np.int32)
        inside = (pixel >= 0).all(1) & (pixel[:, 0] < columns) & (pixel[:, 1] < rows)
        cell = pixel[inside, 1] * columns + pixel[inside, 0]
        cover = self._cover[inside] * np.exp(-above[inside, 0] / 1.2)
        hits = np.bincount(cell, cover, rows * columns).reshape(rows, columns).astype(np.float32)
        soft = cv2.GaussianBlur(hits, (0, 0), 1.6 * rows / 128)
        return cv2.resize(self._shadow * (1 - np.exp(-soft)), (width, height), interpolation=cv2.INTER_LINEAR)

    def _film(self, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return ``picture`` as a camera would give it: blurred a little, noisy, perhaps compressed."""
        height, width = picture.shape[:2]
        if self._blur:
            picture = cv2.GaussianBlur(picture, (0, 0), self._blur)
        if self._noise:
            top, left = (
                rng.integers(self._noise_sheet.shape[0] - height),
                rng.integers(self._noise_sheet.shape[1] - width),
            )
            picture = picture + self._noise * self._noise_sheet[top : top + height, left : left + width]
        filmed = np.clip(picture, 0, 255).astype(np.uint8)
        if self._quality is not None:
            coded = cv2.imencode(".jpg", filmed, [cv2.IMWRITE_JPEG_QUALITY, self._quality])[1]
            filmed = cv2.imdecode(coded, cv2.IMREAD_UNCHANGED)
        return filmed


class People:
    """Endless synthetic people of one split (``"train"`` or ``"held_out"``), each known by its index.

    Clothes, shoes, hair, skins and photographs of the two splits differ, and so do motions (CMU
    subjects). ``size`` is the canvas ``(H, W)``; ``backgrounds`` a folder of photographs (by default
    ``data_dir/backgrounds`` if there is one, else places are drawn).
    """

    def __init__(
        self,
        data_dir: Path,
        split: str = "train",
        size: tuple[int, int] = (256, 256),
        seed: int = 0,
        targets: int = 2,
        backgrounds: Path | None = None,
    ) -> None:
        self.size, self.seed, self.targets = size, seed, targets
        self.body = load_body("anny")
        self._split = ("train", "held_out").index(split)
        self.wardrobe = Wardrobe(self.body, data_dir, split)
        if backgrounds is None and (Path(data_dir) / FOLDER).is_dir():
            backgrounds = Path(data_dir) / FOLDER
        self._backgrounds = Backgrounds(backgrounds, split)
        self._motions = load_motions(data_dir, (TRAINING_SUBJECTS, HELD_OUT_SUBJECTS)[self._split])
        lengths = np.array([len(rotations) for _, rotations, _ in self._motions])
        self._motion_odds = lengths / lengths.sum()
        noise = np.random.default_rng(0).standard_normal(
            (max(size) + _NOISE, max(size) + _NOISE, 3), np.float32
        )
        self._noise = cv2.GaussianBlur(noise, (0, 0), 0.5) * 1.6
        names = list(self.body.bone_names)
        self._thighs = names.index("upperleg01.L"), names.index("upperleg01.R")

    def sample(self, index: int) -> dict[str, Any]:
        """Draw one avatar at a reference time and at ``targets`` others 0.1 to 5 s away.

        Returns ``reference (H, W, 3)`` uint8, ``reference_mask (H, W)`` uint8, ``plate (H, W, 3)``
        uint8, ``reference_vertices (V, 3)`` and ``reference_keypoints (23, 3)`` float32 in camera space
        (the naked body), ``camera``, ``shape (S,)``; and with a first axis of n targets ``frames``,
        ``masks``, ``vertices``, ``keypoints``, ``flow (n, H, W, 2)`` float32 (of every pixel on the
        person: its place in the reference less its own, pixels) and ``visible (n, H, W)`` bool
        (that place shows the same point).
        """
        rng = np.random.default_rng([self.seed, self._split, 0, index])
        rotations, translation = self._motions[rng.choice(len(self._motions), p=self._motion_odds)][1:]
        start = int(rng.integers(len(rotations)))
        offsets = np.exp(rng.uniform(np.log(0.1), np.log(5), self.targets)) * rng.choice(
            [-1, 1], self.targets
        )
        times = np.clip(start + offsets * MOTION_FPS, 0, len(rotations) - 1)
        scene, transforms = self._stage(rotations, translation, np.array([start, *times]), rng)
        head, reference = self._head(scene, transforms[0], rng)
        frames = [self._frame(scene, reference, t, rng) for t in transforms[1:]]
        return head | {key: np.stack([f[single] for f in frames]) for key, single in _PLURAL.items()}

    def clip(
        self, index: int, frames: int = 250, fps: float = 25
    ) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
        """Draw a continuous clip: what is fixed, and an iterator over its frames.

        The first has the entries of :meth:`sample` that have no target axis (the reference is frame 0)
        and ``fps``; each frame has ``frame``, ``mask``, ``vertices``, ``keypoints``, ``flow``, ``visible``.
        Motions shorter than the clip are played forth and back.
        """
        rng = np.random.default_rng([self.seed, self._split, 1, index])
        rotations, translation = self._motions[rng.choice(len(self._motions), p=self._motion_odds)][1:]
        last = len(rotations) - 1
        time = np.arange(frames) * (MOTION_FPS / fps)
        if time[-1] <= last:
            times = rng.uniform(0, last - time[-1]) + time
        else:
            times = last - np.abs(time % (2 * last) - last)
        scene, transforms = self._stage(rotations, translation, times, rng)
        head, reference = self._head(scene, transforms[0], rng)
        return head | {"fps": fps}, (self._frame(scene, reference, t, rng) for t in transforms)

    def _stage(
        self, rotations: np.ndarray, translation: np.ndarray, times: np.ndarray, rng: np.random.Generator
    ) -> tuple[_Scene, np.ndarray]:
        """Choose a person, a camera and a place; return them and bone transforms ``(n, B, 3, 4)``."""
        shape = self._shape(rng)
        rest, joints = self.body.rest(shape)
        before = np.floor(times).astype(int)
        around = np.concatenate([before, np.minimum(before + 1, len(rotations) - 1)])
        turned, place = self.body.forward_kinematics(joints, rotations[around], translation[around])
        moves = np.concatenate([turned, (place - (turned @ joints[..., None])[..., 0])[..., None]], axis=-1)
        share = (times - before)[:, None, None, None]
        # Skinning is linear in the transforms, so blending them blends the vertices.
        transforms = moves[: len(times)] * (1 - share) + moves[len(times) :] * share
        camera, view, world = self._set_camera(rest, joints, transforms, rng)
        plate = self._backgrounds.make(self.size, camera, view, rng)
        scale = camera.fx * renderer.SAMPLES / float(np.linalg.norm(view[:, 3]))  # samples a metre
        detail = int(np.clip(np.round(np.log2(400 / scale)), 0, 2))
        avatar = self.wardrobe.dress(rest, detail, rng)
        scene = _Scene(avatar, shape, camera, view, plate, self._noise, rng)
        return scene, _compose(view, world)

    def _shape(self, rng: np.random.Generator) -> np.ndarray:
        return rng.normal(0, 1, self.body.shape_size).clip(-2, 2).astype(np.float32)

    def _set_camera(
        self, rest: np.ndarray, joints: np.ndarray, transforms: np.ndarray, rng: np.random.Generator
    ) -> tuple[Camera, np.ndarray, np.ndarray]:
        """Place the person on the floor and a camera before it.

        Returns the camera, the view ``(3, 4)`` from the world (floor at y = 0) to it, and the bone
        transforms to the world.
        """
        height, width = self.size
        placed = _place(transforms, joints)
        left, right = placed[0, self._thighs[0]], placed[0, self._thighs[1]]
        facing = np.arctan2(left[2] - right[2], left[0] - right[0])
        turn = facing + (rng.normal(0, 0.6) if rng.random() < 0.8 else rng.uniform(-np.pi, np.pi))
        yaw = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
        world = _compose(np.column_stack([yaw, np.zeros(3)]), transforms)
        placed = _place(world, joints)
        sole = rest[:, 1].max() - joints[:, 1].max()
        floor = placed[..., 1].max() + sole

        tall = float(np.ptp(rest[:, 1]))
        focal = max(self.size) * np.exp(rng.uniform(np.log(0.8), np.log(2.2)))
        distance = focal * tall / (rng.uniform(0.45, 0.95) * height)
        # Where the motion leaves the picture, the person stays on the spot as if on a treadmill.
        path = placed[:, 0]
        centre = (path.min(0) + path.max(0)) / 2
        room = np.array([max(0.5 * width * distance / focal - 0.5 * tall, 0.1), np.inf, 0.2 * distance])
        keep = np.minimum(1, room / (np.ptp(path, axis=0) / 2 + 1e-6))
        shift = (centre - path) * (1 - keep) - (centre[0], floor, centre[2])
        world[..., 3] += shift[:, None]
        placed += shift[:, None]

        middle = (placed.min((0, 1)) + placed.max((0, 1))) / 2
        eye = middle * (1, 0, 1) + (0, -rng.uniform(0.4, 1.9), -distance)
        forward = (middle - eye) / np.linalg.norm(middle - eye)
        side = np.cross((0, 1, 0), forward)
        side /= np.linalg.norm(side)
        rotation = np.stack([side, np.cross(forward, side), forward])
        seen = (placed - eye) @ rotation.T
        pixel = focal * seen[..., :2] / seen[..., 2:]
        slack = np.maximum((np.array([width, height]) - np.ptp(pixel, axis=(0, 1))) / 2 - 0.06 * height, 0)
        pan, tilt = np.arctan(rng.uniform(-0.9, 0.9, 2) * slack / focal)
        rotation = _turn(pan, tilt, rng.normal(0, 0.02)) @ rotation
        camera = Camera(float(focal), float(focal), width / 2, height / 2)
        return camera, np.column_stack([rotation, -rotation @ eye]), world

    def _head(
        self, scene: _Scene, transforms: np.ndarray, rng: np.random.Generator
    ) -> tuple[dict[str, Any], _Drawn]:
        drawn = scene.draw(transforms, rng)
        vertices = drawn.points[: len(self.body.weights)]
        return {
            "reference": drawn.picture,
            "reference_mask": drawn.mask,
            "plate": scene.plate,
            "reference_vertices": vertices,
            "reference_keypoints": self.body.keypoints(vertices),
            "camera": scene.camera,
            "shape": scene.shape,
        }, drawn

    def _frame(
        self, scene: _Scene, reference: _Drawn, transforms: np.ndarray, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        drawn = scene.draw(transforms, rng)
        flow, visible = scene.flow(drawn, reference)
        vertices = drawn.points[: len(self.body.weights)]
        return {
            "frame": drawn.picture,
            "mask": drawn.mask,
            "vertices": vertices,
            "keypoints": self.body.keypoints(vertices),
            "flow": flow,
            "visible": visible,
        }


_PLURAL = {
    "frames": "frame",
    "masks": "mask",
    "vertices": "vertices",
    "keypoints": "keypoints",
    "flow": "flow",
    "visible": "visible",
}


def _place(transforms: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Return the joints ``(n, B, 3)`` moved by bone transforms ``(n, B, 3, 4)``."""
    return (transforms[..., :3] @ joints[:, :, None])[..., 0] + transforms[..., 3]


def _compose(outer: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Return bone transforms ``(n, B, 3, 4)`` float32 followed by the rigid motion ``outer (3, 4)``."""
    composed = outer[:, :3] @ transforms
    composed[..., 3] += outer[:, 3]
    return composed.astype(np.float32)


def _turn(pan: float, tilt: float, roll: float) -> np.ndarray:
    """Return a camera's rotation ``(3, 3)`` that moves what it sees right, down and clockwise."""
    return (
        cv2.Rodrigues(np.array([0, 0, roll]))[0]
        @ cv2.Rodrigues(np.array([-tilt, 0, 0]))[0]
        @ cv2.Rodrigues(np.array([0, pan, 0.0]))[0]
    )


def contact_sheet(people: People, first: int = 0, rows: int = 6) -> np.ndarray:
    """Draw samples, two a row: plate, reference, target, reference warped by the flow, flow, visibility."""
    tiles = []
    for index in range(first, first + 2 * rows):
        sample = people.sample(index)
        flow, visible = sample["flow"][0], sample["visible"][0]
        height, width = visible.shape
        at = flow + np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
        warped = cv2.remap(sample["reference"], at, None, cv2.INTER_LINEAR)
        person = sample["masks"][0] > 0
        hue = np.uint8(np.arctan2(flow[..., 1], flow[..., 0]) / np.pi * 89 + 90)
        speed = np.uint8(np.clip(np.hypot(flow[..., 0], flow[..., 1]) * 8, 0, 255))
        colours = cv2.cvtColor(np.dstack([hue, np.full_like(hue, 255), speed]), cv2.COLOR_HSV2RGB)
        seen = np.dstack([person & ~visible, visible, person & ~visible]).astype(np.uint8) * 200
        picture = sample["reference"].copy()
        for x, y in sample["camera"].project(sample["reference_keypoints"]):
            cv2.circle(picture, (int(x), int(y)), 1, (255, 0, 0), -1)
        tiles.append(
            np.hstack(
                [sample["plate"], picture, sample["frames"][0], warped * visible[..., None], colours, seen]
            )
        )
    return np.vstack([np.hstack(tiles[i : i + 2]) for i in range(0, len(tiles), 2)])


def main() -> None:
    """Write a contact sheet."""
    parser = argparse.ArgumentParser(description="Draw a contact sheet of synthetic people.")
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("S2D_DATA"), help="folder of assets and motion"
    )
    parser.add_argument("--backgrounds", type=Path, help="folder of photographs to stand people before")
    parser.add_argument("--split", choices=("train", "held_out"), default="train")
    parser.add_argument("--size", type=int, nargs=2, default=(256, 256), metavar=("H", "W"))
    parser.add_argument("--first", type=int, default=0, help="index of the first sample")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    if options.data is None:
        parser.error("say where the data is: --data DIR, or the environment variable S2D_DATA")
    people = People(options.data, options.split, tuple(options.size), backgrounds=options.backgrounds)
    sheet = contact_sheet(people, options.first)
    picture = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1]
    options.output.write_bytes(picture.tobytes())


if __name__ == "__main__":
    main()
