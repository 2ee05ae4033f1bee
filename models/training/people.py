# SPDX-License-Identifier: GPL-3.0-or-later
"""Synthetic dressed people with exact labels, drawn while training: nothing is stored.

One sample is one avatar (a body of some shape in clothes) in some motion before a camera: reference
pictures and a few target pictures in a row at another time, with the flow back to every reference. All
of it is a function of ``(seed, split, index)`` alone. ``s2d train people -o SHEET.png`` draws a contact
sheet.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from ..body import BodyModel, apply_readout
from ..body_catalogue import load_body
from ..camera import Camera
from ..outputs import PNG, Kind
from ..rotations import apply
from ..shaped_body import ShapedBody
from ..whole_files import write_whole
from ..windows import radius_frames
from .avatars import Avatar, Wardrobe
from .backgrounds import FOLDER, Backgrounds, Place
from .drawing import Renderer, bone_transforms, open_renderer
from .motion import FPS as MOTION_FPS
from .motion import HELD_OUT_SUBJECTS, TRAINING_SUBJECTS, data_dir, load_motions, mirrored
from .renderer import SAMPLES, Drawing

FPS = 25
"""Frames a second of the targets, and of the keypoint tracks around all moments."""

_RADIUS = radius_frames(FPS)
_NOISE = 512  # pixels along the edge of the sheet of noise that all pictures take theirs from
_GREY = 128  # behind a person seen from all sides
_SHUTTER = np.array([-1, -0.5, 0.5, 1])  # further times at which a blurred picture is drawn
_SHARP, _SMEARED = 1.0, 5.0  # pixels that a keypoint moves meanwhile: no blur below, all times above
_CANDIDATES = 6  # moments among which a further reference is chosen
_UPPER = ("spine", "neck", "head", "clavicle", "shoulder", "upperarm", "lowerarm", "wrist")


@dataclass(frozen=True)
class Variety:
    """How often (0 to 1) a scene has what makes it look filmed."""

    moving_camera: float = 0.2  # held in a hand, and turned after the person
    bystanders: float = 0.2  # others stand about
    motion_blur: float = 0.4
    motion: float = 0.5  # slower, faster, mirrored, arms and legs of two motions
    closeness: float = 0.15  # so near that the picture's edge cuts the person off
    clothes: float = 0.75  # a top and a bottom, dyed and printed, not a suit
    shadows: float = 0.8  # the body shades itself


PLAIN = Variety(0, 0, 0, 0, 0, 0, 0)
"""Still camera, nobody else: what the benchmarks' clips show, so that results compare over time."""


@dataclass(frozen=True)
class _Motion:
    """A captured motion as it is played."""

    rotations: np.ndarray  # (T, B, 3, 3) float32
    translation: np.ndarray  # (T, 3) float32
    speed: float = 1.0
    mirror: bool = False
    upper: np.ndarray | None = None  # (T', B, 3, 3): the motion of trunk, head and arms, if another
    upper_shift: int = 0  # its frame at frame 0 of the rest

    def frames(self, body: BodyModel, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return local rotations ``(n, B, 3, 3)`` and root places ``(n, 3)`` of whole frames ``index``."""
        rotations, translation = self.rotations[index], self.translation[index]
        if self.upper is not None:
            other = self.upper[np.clip(index + self.upper_shift, 0, len(self.upper) - 1)]
            bones = [bone for bone, name in enumerate(body.bone_names) if name.startswith(_UPPER)]
            rotations[:, bones] = other[:, bones]
        if self.mirror:
            rotations, translation = mirrored(body, rotations), translation * np.array([-1, 1, 1], np.float32)
        return rotations, translation


@dataclass(frozen=True)
class _Moment:
    """How bones and camera stand when a picture is taken, and a little before and after if it is blurred."""

    transforms: np.ndarray  # (B, 3, 4) float32 from rest to camera space
    view: np.ndarray  # (3, 4) from the world to camera space
    during: np.ndarray  # (n, B, 3, 4) transforms at further times while the shutter is open


@dataclass(frozen=True)
class _Drawn:
    """Pictures of an avatar at n moments and what their labels are read from."""

    pictures: np.ndarray  # (n, H, W, 3) uint8
    masks: np.ndarray  # (n, H, W) uint8
    plates: np.ndarray  # (n, H, W, 3) uint8, the same without the person
    drawing: Drawing


class _Scene:
    """One avatar before one camera, in one place and light: draws it in any pose."""

    def __init__(
        self,
        avatar: Avatar,
        shape: np.ndarray,
        camera: Camera,
        view: np.ndarray,
        place: Place,
        noise: np.ndarray,
        rng: np.random.Generator,
        shades: tuple[float, float],
        device: str | None,
    ) -> None:
        self.avatar, self.shape, self.camera, self.view, self.place = avatar, shape, camera, view, place
        self._device = device
        self._renderer = self._open_renderer(avatar)
        self._bystanders: list[tuple[Avatar, Renderer, np.ndarray]] = []
        self._noise_sheet = noise
        lamp = rng.normal(0, 1, 3) * (1, 0, 1)
        lamp[1] = -rng.uniform(0.7, 2.5)
        self._lamp_world = lamp / np.linalg.norm(lamp)
        strength = rng.uniform(0.2, 1.1)
        warm = rng.uniform(0.85, 1.15, 3)
        sky, ground = rng.uniform(0.35, 0.9), rng.uniform(0.15, 0.5)
        ground_light = ground * rng.uniform(0.85, 1.15, 3)
        self._light = (strength * warm, sky * (2 - warm), ground_light, np.array([*shades, 0]))
        self._shadow = rng.uniform(0.1, 0.75)
        self._blur = rng.uniform(0.3, 0.8) if rng.random() < 0.5 else 0.0
        self._noise = rng.uniform(0, 5) if rng.random() < 0.7 else 0.0
        self._quality = int(rng.integers(35, 95)) if rng.random() < 0.3 else None
        self._empty: tuple[np.ndarray, np.ndarray] | None = None

    def add_bystander(self, avatar: Avatar, transforms: np.ndarray) -> None:
        """Let somebody else stand there, by bone ``transforms (B, 3, 4)`` from rest to the world."""
        self._bystanders.append((avatar, self._open_renderer(avatar), transforms))

    def draw(self, moments: Sequence[_Moment], rng: np.random.Generator) -> _Drawn:
        """Draw the avatar at moments; ``rng`` gives the sensor's noise."""
        times = [np.concatenate([moment.transforms[None], moment.during]) for moment in moments]
        drawing = self._renderer.draw(times, np.stack([self._light_from(moment.view) for moment in moments]))
        pictures, plates = [], []
        for moment, colour, coverage, points in zip(
            moments, drawing.colour, drawing.coverage, drawing.points, strict=True
        ):
            plate = self._plate(moment.view)
            shadow = self._cast_shadow(self.avatar, points, moment.view, plate.shape[:2])
            picture = plate.astype(np.float32) * (1 - shadow)[..., None]
            picture *= (1 - coverage)[..., None]
            picture += colour
            pictures.append(self._film(picture, rng))
            plates.append(plate)
        masks = np.round(drawing.coverage * 255).astype(np.uint8)
        return _Drawn(np.stack(pictures), masks, np.stack(plates), drawing)

    def draw_alone(self, transforms: np.ndarray, view: np.ndarray) -> Drawing:
        """Draw the avatar under bone ``transforms (B, 3, 4)`` to the camera space of ``view (3, 4)``."""
        return self._renderer.draw([transforms[None]], self._light_from(view)[None])

    def trace(self, targets: Drawing, references: Drawing) -> tuple[np.ndarray, np.ndarray]:
        """Return ``flow (n, R, H, W, 2)`` of n targets to R references and ``visible (n, R, H, W)``."""
        traced = [self._renderer.trace(targets, references[r : r + 1]) for r in range(len(references.points))]
        flow, visible = (np.stack(values, 1) for values in zip(*traced, strict=True))
        return flow, visible

    def _open_renderer(self, avatar: Avatar) -> Renderer:
        return open_renderer(avatar, self.camera, self.place.size, self._device)

    def _light_from(self, view: np.ndarray) -> np.ndarray:
        return np.stack([view[:, :3] @ self._lamp_world, *self._light]).astype(np.float32)

    def _plate(self, view: np.ndarray) -> np.ndarray:
        """Return the place ``(H, W, 3)`` uint8 as seen from ``view``, with all who stand about in it."""
        if self._empty is not None and self._empty[0] is view:
            return self._empty[1]
        plate = self.place.seen(view)
        for avatar, renderer, world in self._bystanders:
            drawing = renderer.draw([_compose(view, world)[None]], self._light_from(view)[None])
            shadow = self._cast_shadow(avatar, drawing.points[0], view, plate.shape[:2])
            drawn = plate * ((1 - shadow) * (1 - drawing.coverage[0]))[..., None] + drawing.colour[0]
            plate = np.clip(drawn, 0, 255).astype(np.uint8)
        self._empty = (view, plate)
        return plate

    def _cast_shadow(
        self, avatar: Avatar, points: np.ndarray, view: np.ndarray, size: tuple[int, int]
    ) -> np.ndarray:
        """Return how much ``(H, W)`` the floor is darkened, less the higher what darkens it."""
        height, width = size
        rows, columns = height // 2, width // 2
        # How many half-size pixels of floor the surface round every fourth vertex can cover, seen slanted.
        distance = np.linalg.norm(self.view[:, 3])
        slant = max(-(self.view[:, :3].T @ -self.view[:, 3])[1] / distance, 0.1)
        covered = avatar.areas[::4] * 4 * (self.camera.fx / 2 / distance) ** 2 * slant
        world = (points[::4] - view[:, 3]) @ view[:, :3]  # floor at y = 0
        above = np.maximum(-world[:, 1:2], 0)
        ground = world + above * (self._lamp_world / self._lamp_world[1])
        ground[:, 1] = 0
        pixel = (self.camera.project(ground @ view[:, :3].T + view[:, 3]) / 2).astype(np.int32)
        inside = (pixel >= 0).all(1) & (pixel[:, 0] < columns) & (pixel[:, 1] < rows)
        cell = pixel[inside, 1] * columns + pixel[inside, 0]
        cover = covered[inside] * np.exp(-above[inside, 0] / 1.2)
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
    subjects). ``size`` is the canvas ``(H, W)``; ``references`` and ``targets`` the pictures of a sample;
    ``backgrounds`` a folder of photographs (by default ``data_dir/backgrounds`` if there is one, else
    places are drawn); ``variety`` how much like filmed clips the scenes are; ``device`` what draws the
    people, as PyTorch names it (numba on this processor if None; the samples are the same).
    """

    def __init__(
        self,
        data_dir: Path,
        split: str = "train",
        size: tuple[int, int] = (256, 256),
        seed: int = 0,
        references: int = 1,
        targets: int = 2,
        backgrounds: Path | None = None,
        variety: Variety = PLAIN,
        device: str | None = None,
    ) -> None:
        self.device = device
        self.size, self.seed, self.references, self.targets = size, seed, references, targets
        self.variety = variety
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
        """Draw one avatar at n targets 1/25 s apart and at R reference times, the first 0.1 to 5 s away.

        Further references are moments at which the body stands unlike in those before.

        Returns, with a first axis of n, ``frames (n, H, W, 3)`` uint8, ``masks (n, H, W)`` uint8, ``plates``
        as ``frames`` without the person, ``depth (n, H, W)`` float32 metres, ``vertices (n, V, 3)`` and
        ``keypoints (n, 23, 3)`` float32 in camera space (the naked body); ``references``,
        ``reference_masks``, ``reference_plates``, ``reference_vertices`` and ``reference_keypoints`` with a
        first axis of R; ``flow (n, R, H, W, 2)`` float32 (of every pixel on the person: its place in the
        reference less its own, pixels) and ``visible (n, R, H, W)`` bool (that place shows the same
        point); ``track (n + 2r, 23, 3)``, keypoints from r frames before the first target to r after the last
        at 25 a second, and ``reference_tracks (R, 1 + 2r, 23, 3)`` likewise; ``homographies (n + R - 1, 3,
        3)``, how the place moves on the canvas from the first reference to the targets and to the other
        references, pixels; ``camera``, ``shape (S,)``. Where the camera moves, camera space moves with it.
        """
        rng, extra = (np.random.default_rng([self.seed, self._split, use, index]) for use in (0, 2))
        motion = self._choose_motion(rng, extra)
        last = (len(motion.rotations) - 1) / (MOTION_FPS * motion.speed)
        start = rng.uniform(0, last)
        starts = [start, *self._other_starts(motion, start, last, rng)]
        offset = np.exp(rng.uniform(np.log(0.1), np.log(5))) * rng.choice([-1, 1])
        first = np.clip(start + offset, 0, max(last - (self.targets - 1) / FPS, 0))
        around = np.arange(1 + 2 * _RADIUS) - _RADIUS
        tracks = [time + around / FPS for time in starts]
        tracks.append(first + (np.arange(self.targets + 2 * _RADIUS) - _RADIUS) / FPS)
        seconds = np.clip(np.concatenate(tracks), 0, last)
        drawn = np.array(
            [r * len(around) + _RADIUS for r in range(self.references)]
            + [self.references * len(around) + _RADIUS + t for t in range(self.targets)]
        )
        scene, moments, transforms = self._stage(motion, seconds, drawn, rng, extra)
        pictures = scene.draw(moments, rng)
        then, now = slice(self.references), slice(self.references, None)
        flow, visible = scene.trace(pictures.drawing[now], pictures.drawing[then])
        vertices = self._naked(pictures)
        track = self._read_keypoints(transforms, scene.shape)
        anchor = moments[0].view
        return {
            "references": pictures.pictures[then],
            "reference_masks": pictures.masks[then],
            "reference_plates": pictures.plates[then],
            "reference_vertices": vertices[then],
            "reference_keypoints": track[drawn[: self.references]],
            "frames": pictures.pictures[now],
            "masks": pictures.masks[now],
            "plates": pictures.plates[now],
            "depth": pictures.drawing.distance[now],
            "vertices": vertices[now],
            "keypoints": track[drawn[self.references :]],
            "flow": flow,
            "visible": visible,
            "track": track[self.references * len(around) :],
            "reference_tracks": track[: self.references * len(around)].reshape(
                self.references, len(around), *track.shape[1:]
            ),
            "homographies": np.stack(
                [
                    scene.place.homography(moment.view) @ np.linalg.inv(scene.place.homography(anchor))
                    for moment in moments[self.references :] + moments[1 : self.references]
                ]
            ),
            "camera": scene.camera,
            "shape": scene.shape,
        }

    def clip(
        self, index: int, frames: int = 250, fps: float = FPS
    ) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
        """Draw a continuous clip: what is fixed, and an iterator over its frames.

        The first has ``reference``, ``reference_mask``, ``plate``, ``reference_vertices``,
        ``reference_keypoints`` (all as in frame 0), ``camera``, ``shape`` and ``fps``; each frame has
        ``frame``, ``mask``, ``plate``, ``vertices``, ``keypoints``, and to frame 0 ``flow`` and ``visible``.
        Motions shorter than the clip are played forth and back.
        """
        scene, moments, rng = self._stage_clip(index, frames, fps)
        reference = scene.draw(moments[:1], rng)
        vertices = self._naked(reference)[0]
        head = {
            "reference": reference.pictures[0],
            "reference_mask": reference.masks[0],
            "plate": reference.plates[0],
            "reference_vertices": vertices,
            "reference_keypoints": self.body.keypoints(vertices),
            "camera": scene.camera,
            "shape": scene.shape,
            "fps": fps,
        }
        return head, (self._frame(scene, reference, moment, rng) for moment in moments)

    def turntable(
        self, index: int, frames: int = 250, fps: float = FPS, sides: int = 8
    ) -> Iterator[dict[str, np.ndarray]]:
        """Draw the last moment of what :meth:`clip` draws as a camera sees it that goes around the person.

        The light stays where it is. Each of the ``sides`` has ``frame (H, W, 3)`` uint8, the person before
        grey as a perfect camera sees them, ``mask (H, W)`` uint8 and the naked body's ``vertices (V, 3)``.
        """
        scene, moments, _ = self._stage_clip(index, frames, fps)
        last = moments[-1]
        back = last.view[:, :3].T  # from camera space to the world
        world = _compose(np.column_stack([back, -back @ last.view[:, 3]]), last.transforms[None])[0]
        middle = _place(world[None], self.body.rest(scene.shape)[1])[0].mean(0) * (1, 0, 1)
        for angle in 2 * np.pi * np.arange(sides) / sides:
            turn = _turn(angle)
            around = _compose(last.view, np.column_stack([turn, middle - turn @ middle])[None])[0]
            drawn = scene.draw_alone(_compose(around, world), around)
            coverage = drawn.coverage[0]
            frame = drawn.colour[0] + (1 - coverage[..., None]) * _GREY
            yield {
                "frame": np.clip(np.rint(frame), 0, 255).astype(np.uint8),
                "mask": np.rint(coverage * 255).astype(np.uint8),
                "vertices": drawn.points[0, : len(self.body.weights)],
            }

    def _stage_clip(
        self, index: int, frames: int, fps: float
    ) -> tuple[_Scene, list[_Moment], np.random.Generator]:
        """Stage the clip of that index: its scene, its moments, and what gives its pictures' noise."""
        rng, extra = (np.random.default_rng([self.seed, self._split, use, index]) for use in (1, 3))
        motion = self._choose_motion(rng, extra)
        last = (len(motion.rotations) - 1) / (MOTION_FPS * motion.speed)
        seconds = np.arange(frames) / fps
        if seconds[-1] <= last:
            seconds = rng.uniform(0, last - seconds[-1]) + seconds
        else:
            seconds = last - np.abs(seconds % (2 * last) - last)
        scene, moments, _ = self._stage(motion, seconds, np.arange(frames), rng, extra)
        return scene, moments, rng

    def _frame(
        self, scene: _Scene, reference: _Drawn, moment: _Moment, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        drawn = scene.draw([moment], rng)
        flow, visible = scene.trace(drawn.drawing, reference.drawing)
        vertices = self._naked(drawn)[0]
        return {
            "frame": drawn.pictures[0],
            "mask": drawn.masks[0],
            "plate": drawn.plates[0],
            "vertices": vertices,
            "keypoints": self.body.keypoints(vertices),
            "flow": flow[0, 0],
            "visible": visible[0, 0],
        }

    def _naked(self, drawn: _Drawn) -> np.ndarray:
        return drawn.drawing.points[:, : len(self.body.weights)]

    def _read_keypoints(self, transforms: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """Return keypoints ``(n, 23, 3)`` float32 under bone transforms ``(n, B, 3, 4)``."""
        stacked = np.swapaxes(transforms, -1, -2).reshape(len(transforms), -1, 3)
        return apply_readout(self.body.keypoint_skinning(shape), stacked)

    def _choose_motion(self, rng: np.random.Generator, extra: np.random.Generator) -> _Motion:
        rotations, translation = self._motions[rng.choice(len(self._motions), p=self._motion_odds)][1:]
        if extra.random() >= self.variety.motion:
            return _Motion(rotations, translation)
        upper, shift = None, 0
        if extra.random() < 0.4:
            upper = self._motions[extra.choice(len(self._motions), p=self._motion_odds)][1]
            shift = int(extra.integers(-len(rotations) // 2, max(len(upper) - len(rotations) // 2, 1)))
        speed = float(np.exp(extra.uniform(np.log(0.6), np.log(1.5))))
        return _Motion(rotations, translation, speed, bool(extra.random() < 0.5), upper, shift)

    def _other_starts(
        self, motion: _Motion, start: float, last: float, rng: np.random.Generator
    ) -> list[float]:
        """Choose the further references' times (s): each the least like those before of a few at random."""
        if self.references == 1:
            return []
        times = np.concatenate([[start], rng.uniform(0, last, _CANDIDATES)])
        frames = np.round(times * MOTION_FPS * motion.speed).astype(int)
        rotations, _ = motion.frames(self.body, frames)
        poses = ShapedBody(self.body, np.zeros(self.body.shape_size)).pose_keypoints(
            rotations, np.zeros((len(frames), 3), np.float32)
        )
        apart = np.linalg.norm(poses[:, None] - poses, axis=-1).mean(-1)
        chosen = [0]
        while len(chosen) < self.references:
            chosen.append(int(apart[:, chosen].min(1).argmax()))
        return list(times[chosen[1:]])

    def _stage(
        self,
        motion: _Motion,
        seconds: np.ndarray,
        drawn: np.ndarray,
        rng: np.random.Generator,
        extra: np.random.Generator,
    ) -> tuple[_Scene, list[_Moment], np.ndarray]:
        """Choose a person, a camera and a place.

        Returns the scene, the moments of those ``drawn`` among the times ``seconds (n,)`` of the motion, and
        bone transforms ``(n, B, 3, 4)`` to camera space at all of them.
        """
        shape = self._shape(rng)
        rest, joints = self.body.rest(shape)
        count = len(seconds)
        during = np.zeros(0)
        if extra.random() < self.variety.motion_blur:
            during = _SHUTTER * extra.uniform(0.1, 0.35) / FPS
            seconds = np.concatenate([seconds, (seconds[drawn, None] + during).ravel()])
        transforms, path = self._pose(motion, joints, seconds)
        camera, view, views, world = self._set_camera(rest, joints, transforms, path, seconds, rng, extra)
        place = self._backgrounds.make(self.size, camera, view, rng, None if views is None else views[drawn])
        avatar = self._dress(rest, camera, view, rng, extra)
        shades = (0.0, 0.0)
        if extra.random() < self.variety.shadows:
            shades = extra.uniform(0.5, 1.0), extra.uniform(0.3, 0.8)
        scene = _Scene(avatar, shape, camera, view, place, self._noise, rng, shades, self.device)
        if views is None:
            seen = _compose(view, world)
            of_moment = [view] * len(drawn)
        else:
            seen = _compose(views[:, None], world)
            of_moment = list(views[drawn])
        blurred = seen[count:].reshape(len(drawn), len(during), *seen.shape[1:])
        moments = [
            _Moment(seen[at], one, self._needed(further, shape, camera))
            for at, one, further in zip(drawn, of_moment, blurred, strict=True)
        ]
        if extra.random() < self.variety.bystanders:
            for _ in range(extra.integers(1, 4)):
                scene.add_bystander(*self._bystander(camera, view, extra))
        return scene, moments, seen[:count]

    def _needed(self, during: np.ndarray, shape: np.ndarray, camera: Camera) -> np.ndarray:
        """Return those of the transforms ``(n, B, 3, 4)`` that it takes to show the blur without copies."""
        if not len(during):
            return during
        pixels = camera.project(self._read_keypoints(during[[0, -1]], shape))
        moved = np.linalg.norm(pixels[1] - pixels[0], axis=-1).max()
        if moved < _SHARP:
            return during[:0]
        return during if moved > _SMEARED else during[1:-1]

    def _bystander(
        self, camera: Camera, view: np.ndarray, rng: np.random.Generator
    ) -> tuple[Avatar, np.ndarray]:
        """Choose somebody who stands still farther away: the avatar and its transforms to the world."""
        rest, joints = self.body.rest(self._shape(rng))
        rotations = self._motions[rng.choice(len(self._motions), p=self._motion_odds)][1]
        posed = rotations[[rng.integers(len(rotations))]]
        turned, place = self.body.forward_kinematics(joints, posed, np.zeros((1, 3), np.float32))
        moves = bone_transforms(turned, place, joints)
        away = np.linalg.norm(view[:, 3]) * rng.uniform(1.1, 1.5) + rng.uniform(0.3, 3)
        seen = np.array([rng.uniform(-0.55, 0.55) * self.size[1] / camera.fx * away, 0, away]) - view[:, 3]
        ground = (seen @ view[:, :3]) * (1, 0, 1)
        ground[1] = -(place[..., 1].max() + rest[:, 1].max() - joints[:, 1].max())
        yaw = _turn(rng.uniform(-np.pi, np.pi))
        return self._dress(rest, camera, view, rng, rng), _compose(np.column_stack([yaw, ground]), moves)[0]

    def _pose(
        self, motion: _Motion, joints: np.ndarray, seconds: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return bone transforms ``(n, B, 3, 4)`` at ``(n,)`` times and the root's smooth path ``(n, 3)``."""
        last = len(motion.rotations) - 1
        times = np.clip(seconds * (MOTION_FPS * motion.speed), 0, last)
        before = np.floor(times).astype(int)
        around = np.concatenate([before, np.minimum(before + 1, last)])
        rotations, translation = motion.frames(self.body, around)
        turned, place = self.body.forward_kinematics(joints, rotations, translation)
        moves = bone_transforms(turned, place, joints)
        share = (times - before)[:, None, None, None]
        # Skinning is linear in the transforms, so blending them blends the vertices.
        transforms = moves[: len(times)] * (1 - share) + moves[len(times) :] * share
        nearby = np.clip(np.round(times[:, None] + np.arange(-20, 21, 4)), 0, last).astype(int)
        return transforms, motion.frames(self.body, nearby.ravel())[1].reshape(*nearby.shape, 3).mean(1)

    def _dress(
        self,
        rest: np.ndarray,
        camera: Camera,
        view: np.ndarray,
        rng: np.random.Generator,
        extra: np.random.Generator,
    ) -> Avatar:
        scale = camera.fx * SAMPLES / float(np.linalg.norm(view[:, 3]))  # samples a metre
        detail = int(np.clip(np.round(np.log2(400 / scale)), 0, 2))
        mixed = extra if extra.random() < self.variety.clothes else None
        return self.wardrobe.dress(rest, detail, rng, mixed)

    def _shape(self, rng: np.random.Generator) -> np.ndarray:
        return rng.normal(0, 1, self.body.shape_size).clip(-2, 2).astype(np.float32)

    def _set_camera(
        self,
        rest: np.ndarray,
        joints: np.ndarray,
        transforms: np.ndarray,
        path: np.ndarray,
        seconds: np.ndarray,
        rng: np.random.Generator,
        extra: np.random.Generator,
    ) -> tuple[Camera, np.ndarray, np.ndarray | None, np.ndarray]:
        """Place the person on the floor and a camera before it.

        Returns the camera, the view ``(3, 4)`` from the world (floor at y = 0) to it, the views ``(n, 3, 4)``
        at all moments if it moves, and the bone transforms to the world.
        """
        height, width = self.size
        placed = _place(transforms, joints)
        left, right = placed[0, self._thighs[0]], placed[0, self._thighs[1]]
        facing = np.arctan2(left[2] - right[2], left[0] - right[0])
        turn = facing + (rng.normal(0, 0.6) if rng.random() < 0.8 else rng.uniform(-np.pi, np.pi))
        yaw = _turn(turn)
        world = _compose(np.column_stack([yaw, np.zeros(3)]), transforms)
        placed = _place(world, joints)
        sole = rest[:, 1].max() - joints[:, 1].max()
        floor = placed[..., 1].max() + sole
        moving = extra.random() < self.variety.moving_camera
        close = extra.random() < self.variety.closeness

        tall = float(np.ptp(rest[:, 1]))
        focal = max(self.size) * np.exp(rng.uniform(np.log(0.8), np.log(2.2)))
        part = rng.uniform(0.45, 0.95)
        distance = focal * tall / ((extra.uniform(1.0, 2.2) if close else part) * height)
        # Where the motion leaves the picture, the person stays on the spot as if on a treadmill.
        root = placed[:, 0]
        centre = (root.min(0) + root.max(0)) / 2
        room = np.array([max(0.5 * width * distance / focal - 0.5 * tall, 0.1), np.inf, 0.2 * distance])
        if moving:
            room[0] = distance
        keep = np.minimum(1, room / (np.ptp(root, axis=0) / 2 + 1e-6))
        shift = (centre - root) * (1 - keep) - (centre[0], floor, centre[2])
        world[..., 3] += shift[:, None]
        placed += shift[:, None]

        middle = (placed.min((0, 1)) + placed.max((0, 1))) / 2
        eye = middle * (1, 0, 1) + (0, -rng.uniform(0.4, 1.9), -distance)
        forward = (middle - eye) / np.linalg.norm(middle - eye)
        side = np.cross((0, 1, 0), forward)
        side /= np.linalg.norm(side)
        rotation = np.stack([side, np.cross(forward, side), forward])
        seen = (placed - eye) @ rotation.T
        if moving:
            smooth = (path @ yaw.T) * keep + centre * (1 - keep) - (centre[0], floor, centre[2])
            before = (smooth - eye) @ rotation.T
            follow = -extra.uniform(0.6, 1.0) * np.arctan2(before[:, 0], before[:, 2])
            seen = (_turn(follow) @ np.swapaxes(seen, 1, 2)).swapaxes(1, 2)
        pixel = focal * seen[..., :2] / seen[..., 2:]
        slack = np.maximum((np.array([width, height]) - np.ptp(pixel, axis=(0, 1))) / 2 - 0.06 * height, 0)
        pan, tilt = np.arctan(rng.uniform(-0.9, 0.9, 2) * slack / focal)
        if close:
            tilt = np.arctan((extra.uniform(-0.45, -0.3) * height - pixel[..., 1].min()) / focal)
        turned = _turn(pan, tilt, rng.normal(0, 0.02))
        camera = Camera(float(focal), float(focal), width / 2, height / 2)
        view = np.column_stack([turned @ rotation, -turned @ rotation @ eye])
        views = _held_in_a_hand(turned @ _turn(follow) @ rotation, eye, seconds, extra) if moving else None
        return camera, view, views, world


def _held_in_a_hand(
    rotations: np.ndarray, eye: np.ndarray, seconds: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return views ``(n, 3, 4)`` of a camera meant to be turned by ``rotations (n, 3, 3)`` at ``eye (3,)``.

    Angles and place waver as sums of waves of up to 4 Hz, the faster the smaller.
    """
    waves = 4
    frequency = np.exp(rng.uniform(np.log(0.15), np.log(4), (waves, 6)))
    phase = 2 * np.pi * (seconds[:, None, None] * frequency + rng.random((waves, 6)))
    swing = (np.sin(phase) * rng.normal(0, 1, (waves, 6)) / (0.4 + frequency)).sum(1)
    angles = swing[:, :3] * np.radians(np.exp(rng.uniform(np.log(0.1), np.log(0.8)))) * (1, 1, 0.6)
    eyes = eye + swing[:, 3:] * np.exp(rng.uniform(np.log(0.003), np.log(0.03)))
    held = _turn(*angles.T) @ rotations
    return np.concatenate([held, -held @ eyes[..., None]], axis=-1)


def _place(transforms: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Return the joints ``(n, B, 3)`` moved by bone transforms ``(n, B, 3, 4)``."""
    return apply(transforms[..., :3], joints) + transforms[..., 3]


def _compose(outer: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Return bone transforms ``(n, B, 3, 4)`` float32 and then rigid motions ``outer (3, 4)`` or one each."""
    composed = outer[..., :3] @ transforms
    composed[..., 3] += outer[..., 3]
    return composed.astype(np.float32)


def _turn(
    pan: float | np.ndarray, tilt: float | np.ndarray = 0.0, roll: float | np.ndarray = 0.0
) -> np.ndarray:
    """Return a camera's rotations ``(..., 3, 3)`` that move what it sees right, down and clockwise."""
    angles = np.stack(np.broadcast_arrays(roll, np.negative(tilt), pan), axis=-1)
    return Rotation.from_euler("ZXY", angles).as_matrix()


def contact_sheet(people: People, first: int = 0, rows: int = 6) -> np.ndarray:
    """Draw samples, two a row, uint8 RGB.

    Each: the references with their keypoints, a target, its plate, nearness, flow to the first reference
    (hue: direction, brightness: size), the first reference warped by it, and where references show the target
    (red, green, blue: the first, second, third; grey: none).
    """
    tiles = []
    for index in range(first, first + 2 * rows):
        sample = people.sample(index)
        references = sample["references"].copy()
        for picture, keypoints in zip(references, sample["reference_keypoints"], strict=True):
            for x, y in sample["camera"].project(keypoints):
                cv2.circle(picture, (int(x), int(y)), 1, (255, 0, 0), -1)
        flow, visible = sample["flow"][0, 0], sample["visible"][0]
        height, width = flow.shape[:2]
        x = flow[..., 0] + np.arange(width, dtype=np.float32)
        y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
        warped = cv2.remap(sample["references"][0], x, y, cv2.INTER_LINEAR) * visible[0, ..., None]
        hue = np.uint8(np.arctan2(flow[..., 1], flow[..., 0]) / np.pi * 89 + 90)
        speed = np.uint8(np.clip(np.hypot(flow[..., 0], flow[..., 1]) * 8, 0, 255))
        colours = cv2.cvtColor(np.dstack([hue, np.full_like(hue, 255), speed]), cv2.COLOR_HSV2RGB)
        depth = sample["depth"][0]
        nearest, farthest = depth[depth > 0].min(), depth.max()
        near = np.where(depth > 0, 255 - 200 * (depth - nearest) / (farthest - nearest), 0)
        shown = np.zeros((height, width, 3), np.uint8)
        shown[(sample["masks"][0] > 0) & ~visible.any(0)] = 60
        for channel, seen in enumerate(visible[:3]):
            shown[seen, channel] = 200
        row = [*references, sample["frames"][0], sample["plates"][0], np.dstack([np.uint8(near)] * 3)]
        tiles.append(np.hstack([*row, colours, warped, shown]))
    return np.vstack([np.hstack(tiles[i : i + 2]) for i in range(0, len(tiles), 2)])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``s2d train people``."""
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("S2D_DATA"), help="folder of assets and motion"
    )
    parser.add_argument("--backgrounds", type=Path, help="folder of photographs to stand people before")
    parser.add_argument("--split", choices=("train", "held_out"), default="train")
    parser.add_argument("--size", type=int, nargs=2, default=(256, 256), metavar=("H", "W"))
    parser.add_argument("--references", type=int, default=2, help="reference pictures of a person")
    parser.add_argument("--first", type=int, default=0, help="index of the first person")
    parser.add_argument("--plain", action="store_true", help="as the benchmarks' clips: still camera, alone")
    parser.add_argument("-o", "--output", type=Path, required=True, help="PNG file to write")


def outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    """Return the files that :func:`run` writes, each with its kind."""
    return {args.output: PNG}


def run(args: argparse.Namespace) -> None:
    """Write a contact sheet."""
    variety = PLAIN if args.plain else Variety()
    data, size = data_dir(args.data), tuple(args.size)
    people = People(data, args.split, size, 0, args.references, 1, args.backgrounds, variety)
    picture = cv2.imencode(".png", cv2.cvtColor(contact_sheet(people, args.first), cv2.COLOR_RGB2BGR))[1]
    write_whole(args.output, picture.tobytes())
