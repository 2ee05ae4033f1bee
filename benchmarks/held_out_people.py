# SPDX-License-Identifier: GPL-3.0-or-later
"""Films of synthetic people whose motion is known: held-out bodies, clothes and motions, in hard situations.

What :class:`..models.training.people.People` offers of the held-out split stands and walks before a camera at
eye level, its knees bent as captured. Here the same motions are also straightened, sat down, laid on the
floor, put on all fours, stood on their hands and turned over, and filmed from where phones film people:
:data:`KINDS`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from ..inference.film.writer import VideoWriter
from ..models.camera import Camera
from ..models.errors import InputError
from ..models.keypoints import HIPS, KEYPOINT_INDEX
from ..models.rotations import apply, unit
from ..models.shaped_body import ShapedBody
from ..models.training import people as people_module
from ..models.training.motion import FPS as MOTION_FPS
from ..models.training.people import People
from ..models.whole_files import whole_file

FPS = 25
SECONDS = 4.0
SIDE = 384
"""Pixels of the square pictures."""

_STRIDE = 15  # frames of a motion between two windows of it
_HIPS_HIGH, _TRUNK_UP = 0.88, 25.0  # share of the standing height, degrees: nobody sits or stoops there
_LEGS, _ARMS = ("upperleg", "lowerleg", "foot"), ("clavicle", "shoulder", "upperarm", "lowerarm", "wrist")
_FLESH = 0.08  # metres between a joint and the floor it lies on
_WITHIN = 0.8  # of the half picture: whoever is whole in it has their joints there, and heads go on above
_ROAM = 0.8  # metres either way from the middle: who walks further walks as if on a treadmill


@dataclass(frozen=True)
class Kind:
    """A situation: how people are posed, and the ranges that a camera is drawn from.

    ``poses`` are names of :data:`_POSES`; ``height`` metres above the floor; ``distance`` metres; ``part`` of
    the picture that the person takes; ``roll`` degrees, to either side; ``aim`` is the height that the
    camera looks at, of the person's, 0 at the lowest point.
    """

    title: str
    poses: tuple[str, ...] = ("as captured", "straight")
    height: tuple[float, float] = (1.1, 1.7)
    distance: tuple[float, float] = (2.5, 5.0)
    part: tuple[float, float] = (0.6, 0.85)
    roll: tuple[float, float] = (0.0, 3.0)
    aim: tuple[float, float] = (0.48, 0.52)


KINDS: dict[str, Kind] = {
    "upright": Kind("standing and walking"),
    "sitting": Kind("sitting", poses=("sitting",)),
    "floor": Kind("on the floor", poses=("lying", "all fours"), height=(0.6, 2.0)),
    "inverted": Kind("handstands and cartwheels", poses=("handstand", "cartwheel")),
    "low": Kind("camera at knee height", height=(0.2, 0.5), distance=(2.0, 3.5)),
    "above": Kind("camera above", height=(3.0, 4.5), distance=(2.0, 3.5)),
    "rolled": Kind("camera rolled", roll=(20.0, 180.0)),
    "near": Kind("near, wide angle", distance=(1.2, 1.7), part=(0.75, 0.9)),
    "far": Kind("far away", distance=(6.0, 14.0), part=(0.24, 0.35)),
    "cut_off": Kind("cut off below", distance=(1.5, 3.0), part=(1.3, 1.9), aim=(0.66, 0.74)),
}
"""What is filmed, by the names of the results; all but ``poses`` of the first four is about the camera."""


class PosedPeople(People):
    """The held-out people in a kind of situation; clip after clip is another person, motion and camera.

    A clip of the same index is the same person in all kinds, so that they compare. ``kind`` may be changed
    between clips.
    """

    def __init__(self, data: Path, seconds: float = SECONDS, seed: int = 0) -> None:
        super().__init__(data, "held_out", (SIDE, SIDE), seed)
        self.kind = KINDS["upright"]
        self.seconds = seconds
        self._length = round(seconds * MOTION_FPS) + 1
        mean = ShapedBody(self.body, np.zeros(self.body.shape_size))
        starts = [
            upright_windows(mean.pose_keypoints(rotations, places), self._length)
            for _, rotations, places in self._motions
        ]
        self._upright = [(which, found) for which, found in enumerate(starts) if len(found)]
        if not self._upright:
            raise InputError("no_data", f"In no held-out motion somebody stands for {seconds:g} s.")

    def _choose_motion(self, rng: np.random.Generator, extra: np.random.Generator) -> Any:
        chosen = super()._choose_motion(rng, extra)
        which, starts = self._upright[rng.integers(len(self._upright))]
        first = int(rng.choice(starts))
        rotations, places = (part[first : first + self._length] for part in self._motions[which][1:])
        motion = _Posing(self.body.bone_names, rotations.astype(np.float64), places.astype(np.float64))
        motion.face_ahead()
        _POSES[str(rng.choice(self.kind.poses))](motion, rng)
        return replace(
            chosen,
            rotations=motion.rotations.astype(np.float32),
            translation=motion.places.astype(np.float32),
        )

    def _set_camera(
        self,
        rest: np.ndarray,
        joints: np.ndarray,
        transforms: np.ndarray,
        path: np.ndarray,
        seconds: np.ndarray,
        rng: np.random.Generator,
        extra: np.random.Generator,
    ) -> tuple[Camera, np.ndarray, None, np.ndarray]:
        """Put the person's lowest joint on the floor, frame by frame, and a still camera before them."""
        kind, side = self.kind, SIDE
        facing = rng.normal(0, 0.9) if rng.random() < 0.7 else rng.uniform(-np.pi, np.pi)
        yaw = Rotation.from_euler("y", facing).as_matrix()
        world = (yaw @ transforms).astype(np.float64)
        placed = apply(world[..., :3], joints) + world[..., 3]
        root = placed[:, 0] * (1, 0, 1)
        middle = (root.min(axis=0) + root.max(axis=0)) / 2
        keep = np.minimum(1, _ROAM / (np.ptp(root, axis=0) / 2 + 1e-6))
        shift = (middle - root) * (1 - keep) - middle
        shift[:, 1] = -placed[..., 1].max(axis=1) - _FLESH
        world[..., 3] += shift[:, None]
        placed += shift[:, None]

        low, high = placed.min(axis=(0, 1)), placed.max(axis=(0, 1))
        target = (low + high) / 2
        target[1] = high[1] + rng.uniform(*kind.aim) * (low[1] - high[1])
        distance = rng.uniform(*kind.distance)
        eye = np.array([target[0], -rng.uniform(*kind.height), target[2] - distance])
        forward = unit(target - eye)
        right = unit(np.cross((0, 1, 0), forward))
        rotation = np.stack([right, np.cross(forward, right), forward])
        roll = np.radians(rng.uniform(*kind.roll)) * rng.choice([-1, 1])
        rotation = Rotation.from_euler("z", roll).as_matrix() @ rotation
        seen = (placed - eye) @ rotation.T
        flat = seen[..., :2] / seen[..., 2:]
        focal = rng.uniform(*kind.part) * side / float(np.ptp(flat, axis=1).max())
        if kind.part[1] <= 1:
            focal = min(focal, _WITHIN * side / 2 / float(np.abs(flat).max()))
        camera = Camera(focal, focal, side / 2, side / 2)
        return camera, np.column_stack([rotation, -rotation @ eye]), None, world.astype(np.float32)


def upright_windows(keypoints: np.ndarray, length: int) -> np.ndarray:
    """Return where windows of ``length`` frames begin in which ``(T, 23, 3)`` stands, walks or hops."""
    hips = keypoints[:, HIPS].mean(axis=1)
    shoulders = keypoints[:, [KEYPOINT_INDEX[f"{side}_shoulder"] for side in ("left", "right")]].mean(axis=1)
    rising = unit(shoulders - hips)[:, 1]
    height = keypoints[..., 1].max(axis=1) - hips[:, 1]
    upright = (height > _HIPS_HIGH * np.quantile(height, 0.95)) & (rising < -np.cos(np.radians(_TRUNK_UP)))
    starts = np.arange(0, len(keypoints) - length + 1, _STRIDE)
    return np.array([start for start in starts if upright[start : start + length].all()], int)


class _Posing:
    """A motion as it is put into another pose: angles are degrees, axes the body's own at rest.

    x is the person's left, y down, z behind them. ``rotations`` ``(T, B, 3, 3)`` are relative to the parent
    bone, ``places`` ``(T, 3)`` the root's, metres.
    """

    def __init__(self, bones: tuple[str, ...], rotations: np.ndarray, places: np.ndarray) -> None:
        self._bones, self.rotations, self.places = bones, rotations.copy(), places - places.mean(axis=0)

    def face_ahead(self) -> None:
        """Turn the whole motion so that the person faces away from z in its first frame."""
        ahead = self.rotations[0, 0] @ (0, 0, -1)
        self.turn(Rotation.from_euler("y", -np.arctan2(-ahead[0], -ahead[2])).as_matrix())

    def turn(self, turns: np.ndarray) -> None:
        """Turn the whole person, by one matrix ``(3, 3)`` or one a frame ``(T, 3, 3)``."""
        self.rotations[:, 0] = turns @ self.rotations[:, 0]
        self.places = (turns @ self.places[..., None])[..., 0]

    def straighten(self, limb: tuple[str, ...], share: float) -> None:
        """Take so much of what legs or arms are bent by on average, over the clip, back: at 1 all of it."""
        for at, bone in enumerate(self._bones):
            if bone.startswith(limb):
                mean = Rotation.from_matrix(self.rotations[:, at]).mean()
                self.rotations[:, at] = (mean**-share).as_matrix() @ self.rotations[:, at]

    def bend(self, bone: str, forward: float, outward: float = 0.0) -> None:
        """Turn a bone of both sides forward (a thigh up in front, a shin up in front) and outward."""
        for side, sign in (("L", 1), ("R", -1)):
            turn = Rotation.from_euler("xz", [-forward, -sign * outward], degrees=True).as_matrix()
            at = self._bones.index(f"{bone}.{side}")
            self.rotations[:, at] = turn @ self.rotations[:, at]


def _stand(motion: _Posing, rng: np.random.Generator) -> None:
    """As captured: with knees at 130 to 150 degrees, where others have them straight."""


def _stand_straight(motion: _Posing, rng: np.random.Generator) -> None:
    motion.straighten(_LEGS, rng.uniform(0.7, 1.0))


def _sit(motion: _Posing, rng: np.random.Generator) -> None:
    bent = rng.uniform(70, 95)
    motion.bend("upperleg01", bent, rng.uniform(0, 15))
    motion.bend("lowerleg01", -bent * rng.uniform(0.7, 1.1))


def _lie(motion: _Posing, rng: np.random.Generator) -> None:
    """On the back, the belly or a side, the head anywhere; in every second clip with the legs drawn up."""
    if rng.random() < 0.5:
        _sit(motion, rng)
    down = Rotation.from_euler("x", rng.choice([-1, 1]) * rng.uniform(75, 95), degrees=True)
    rolled = Rotation.from_euler("y", rng.choice([0, 90, -90]) + rng.normal(0, 10), degrees=True)
    motion.turn((_anywhere(rng) * down * rolled).as_matrix())


def _crawl(motion: _Posing, rng: np.random.Generator) -> None:
    motion.bend("upperleg01", rng.uniform(75, 95))
    motion.bend("lowerleg01", -rng.uniform(80, 100))
    motion.bend("upperarm01", rng.uniform(75, 95))
    motion.turn((_anywhere(rng) * Rotation.from_euler("x", rng.uniform(70, 90), degrees=True)).as_matrix())


def _hand_stand(motion: _Posing, rng: np.random.Generator) -> None:
    _reach_up(motion, rng)
    motion.bend("upperleg01", rng.uniform(-15, 15), rng.uniform(0, 25))
    motion.turn((_anywhere(rng) * Rotation.from_euler("x", 180, degrees=True)).as_matrix())


def _turn_a_cartwheel(motion: _Posing, rng: np.random.Generator) -> None:
    _reach_up(motion, rng)
    motion.bend("upperleg01", 0, rng.uniform(20, 40))
    frames = len(motion.places)
    angles = rng.choice([-1, 1]) * 360 * np.arange(frames) / (MOTION_FPS * rng.uniform(1.6, 3.0))
    motion.turn(Rotation.from_rotvec(angles[:, None] * (0, 0, 1), degrees=True).as_matrix())


def _reach_up(motion: _Posing, rng: np.random.Generator) -> None:
    motion.straighten(_ARMS, rng.uniform(0.8, 1.0))
    motion.bend("upperarm01", 0, rng.uniform(105, 130))


def _anywhere(rng: np.random.Generator) -> Rotation:
    return Rotation.from_euler("y", rng.uniform(0, 360), degrees=True)


_POSES = {
    "as captured": _stand,
    "straight": _stand_straight,
    "sitting": _sit,
    "lying": _lie,
    "all fours": _crawl,
    "handstand": _hand_stand,
    "cartwheel": _turn_a_cartwheel,
}


def film(
    people: PosedPeople, name: str, index: int, folder: Path, before: Callable[[], None] = lambda: None
) -> tuple[Path, np.ndarray]:
    """Film a clip of the kind ``name`` in ``folder``, if it is not there yet.

    ``before`` is called before it is filmed, and may raise.
    Returns the film and its true keypoints ``(T, 23, 3)``, camera space.
    """
    path = folder / f"{name}_{index:03d}_{people.seed}_{people.seconds:g}_{_made_by()}.mp4"
    truth = path.with_suffix(".npz")
    if not (path.is_file() and truth.is_file()):
        before()
        people.kind = KINDS[name]
        frames = list(people.clip(index, round(people.seconds * FPS), FPS)[1])
        with VideoWriter(path, Fraction(FPS), SIDE, SIDE) as writer:
            for frame in frames:
                writer.write(frame["frame"])
        with whole_file(truth) as aside:
            np.savez_compressed(aside, keypoints=np.stack([frame["keypoints"] for frame in frames]))
    with np.load(truth, allow_pickle=False) as stored:
        return path, stored["keypoints"]


@cache
def _made_by() -> str:
    """Return digits of the code that a film depends on."""
    sources = [Path(__file__), *sorted(Path(people_module.__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:8]
