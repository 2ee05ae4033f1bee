# SPDX-License-Identifier: GPL-3.0-or-later
"""People in all kinds of postures, filmed from where phones film people: :data:`KINDS`.

What :class:`.people.People` offers stands and walks before a camera at eye level, its knees bent as captured.
Here the same motions are also straightened, sat down, laid on the floor, put on all fours, stood on their
hands and turned over. The capture bench measures on such films of the held-out split; the pose lifter learns
from those of the training split how the estimator errs, and from motions posed in the wider ranges of
:data:`VARIED` what people do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from ..body import ELBOW_BENDS, BodyModel, rest_hinge
from ..camera import Camera
from ..errors import InputError
from ..keypoints import HIPS, KEYPOINT_INDEX
from ..rotations import apply, from_vectors, to_vectors, unit
from ..shaped_body import ShapedBody
from .motion import FPS as MOTION_FPS
from .motion import bone_roles
from .people import People

SIDE = 384
"""Pixels of the square pictures."""

_STRIDE = 15  # frames of a motion between two windows of it
_HIPS_HIGH, _TRUNK_UP = 0.88, 25.0  # share of the standing height, degrees: nobody sits or stoops there
_LEGS, _ARMS = ("upperleg", "lowerleg", "foot"), ("clavicle", "shoulder", "upperarm", "lowerarm", "wrist")
_FLESH = 0.08  # metres between a joint and the floor it lies on
_WITHIN = 0.8  # of the half picture: whoever is whole in it has their joints there, and heads go on above
_LEGS_TOO_LONG, _STRAIGHTEST = 1.04, 0.9985  # see unbent; how straight a leg gets, of its length
_ROAM = 0.8  # metres either way from the middle: who walks further walks as if on a treadmill


@dataclass(frozen=True)
class Situation:
    """How people are posed, and the ranges that a camera is drawn from.

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


KINDS: dict[str, Situation] = {
    "upright": Situation("standing and walking"),
    "sitting": Situation("sitting", poses=("sitting",)),
    "floor": Situation("on the floor", poses=("lying", "all fours"), height=(0.6, 2.0)),
    "inverted": Situation("handstands and cartwheels", poses=("handstand", "cartwheel")),
    "low": Situation("camera at knee height", height=(0.2, 0.5), distance=(2.0, 3.5)),
    "above": Situation("camera above", height=(3.0, 4.5), distance=(2.0, 3.5)),
    "rolled": Situation("camera rolled", roll=(20.0, 180.0)),
    "near": Situation("near, wide angle", distance=(1.2, 1.7), part=(0.75, 0.9)),
    "far": Situation("far away", distance=(6.0, 14.0), part=(0.24, 0.35)),
    "cut_off": Situation("cut off below", distance=(1.5, 3.0), part=(1.3, 1.9), aim=(0.66, 0.74)),
}
"""What is filmed, by the names of the results; all but ``poses`` of the first four is about the camera."""

VARIED_KINDS = KINDS | {
    "upright": replace(KINDS["upright"], height=(0.5, 2.8), distance=(2.5, 6.0)),
    "sitting": replace(KINDS["sitting"], height=(0.6, 2.2)),
}
"""Those of :class:`VariedPeople`."""


class PosedPeople(People):
    """People of a split in a kind of situation; clip after clip is another person, motion and camera.

    A clip of the same index is the same person in all kinds, so that they compare. ``kind`` may be changed
    between clips, which last up to ``seconds``. InputError ``no_data`` where nobody stands for so long.
    """

    def __init__(
        self, data: Path, split: str, seconds: float, seed: int = 0, backgrounds: Path | None = None
    ) -> None:
        super().__init__(data, split, (SIDE, SIDE), seed, backgrounds=backgrounds)
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
            raise InputError("no_data", f"Nobody stands for {seconds:g} s in a motion of the split {split}.")

    def _choose_motion(self, rng: np.random.Generator, extra: np.random.Generator) -> Any:
        chosen = super()._choose_motion(rng, extra)
        which, starts = self._upright[rng.integers(len(self._upright))]
        first = int(rng.choice(starts))
        rotations, places = (part[first : first + self._length] for part in self._motions[which][1:])
        motion = Posing(self.body.bone_names, rotations.astype(np.float64), places.astype(np.float64))
        self._pose_motion(motion, rng)
        return replace(
            chosen,
            rotations=motion.rotations.astype(np.float32),
            translation=motion.places.astype(np.float32),
        )

    def _pose_motion(self, motion: Posing, rng: np.random.Generator) -> None:
        motion.face_ahead()
        _POSES[str(rng.choice(self.kind.poses))](motion, rng)

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


class VariedPeople(PosedPeople):
    """People likewise, in more postures yet: straight, bent and leaning, with limbs that go anywhere.

    What the pose lifter sees of filmed people in training; its kinds are :data:`VARIED_KINDS`.
    """

    def _pose_motion(self, motion: Posing, rng: np.random.Generator) -> None:
        motion.rotations = unbent(self.body, motion.rotations)
        if rng.random() < 0.7:
            motion.flex("spine04", Rotation.from_euler("x", rng.normal(-3, 5), degrees=True).as_matrix())
        motion.face_ahead()
        if self.kind.poses == Situation.poses:
            if rng.random() < 0.5:
                motion.straighten(_LEGS, rng.uniform(0.5, 1.0))
            if rng.random() < 0.3:
                motion.straighten(_ARMS, rng.uniform(0.3, 1.0))
            if rng.random() < 0.5:
                move_anyhow(motion, elbow_hinges(self.body), rng)
        else:
            _POSES[str(rng.choice(self.kind.poses))](motion, rng)
        if rng.random() < 0.3:  # as who keeps the balance
            motion.turn(Rotation.from_euler("xz", rng.normal(0, 8, 2), degrees=True).as_matrix())


def unbent(body: BodyModel, local: np.ndarray) -> np.ndarray:
    """Return captured motions' local rotations ``(T, B, 3, 3)`` with the knees of who stands straightened.

    The skeleton that the motions were converted to has longer legs than the captured people, so that it bends
    them. Here hips and ankles are as far apart as if it had not: by 4 % of the leg, in its plane.
    """
    rest = body.keypoints(body.vertices_mean)
    hip, knee, ankle = (rest[KEYPOINT_INDEX[f"left_{joint}"]] for joint in ("hip", "knee", "ankle"))
    at_rest = np.arccos(np.clip(unit(knee - hip) @ unit(ankle - knee), -1, 1))
    roles, local = bone_roles(body), local.copy()
    for side in "LR":
        thigh, shin, foot = (roles.index(f"{bone}.{side}") for bone in ("upperleg01", "lowerleg01", "foot"))
        bend = np.maximum(to_vectors(local[:, shin])[:, 0] + at_rest, 0)
        less = bend - 2 * np.arccos(np.minimum(np.cos(bend / 2) * _LEGS_TOO_LONG, _STRAIGHTEST))
        less = np.maximum(less, 0)[:, None] * (1, 0, 0)
        local[:, thigh] = local[:, thigh] @ from_vectors(less / 2)
        local[:, shin] = from_vectors(-less) @ local[:, shin]
        local[:, foot] = from_vectors(less / 2) @ local[:, foot]
    return local


def elbow_hinges(body: BodyModel) -> dict[str, np.ndarray]:
    """Return the axes ``(3,)`` about which the forearms of a body bend at rest, by ``"L"`` and ``"R"``."""
    rest, hinges = body.keypoints(body.vertices_mean), {}
    for side in ("left", "right"):
        arm = (rest[KEYPOINT_INDEX[f"{side}_{joint}"]] for joint in ("shoulder", "elbow", "wrist"))
        shoulder, elbow, wrist = arm
        hinges[side[0].upper()] = unit(rest_hinge(elbow - shoulder, wrist - elbow, ELBOW_BENDS))
    return hinges


def upright_windows(keypoints: np.ndarray, length: int) -> np.ndarray:
    """Return where windows of ``length`` frames begin in which ``(T, 23, 3)`` stands, walks or hops."""
    hips = keypoints[:, HIPS].mean(axis=1)
    shoulders = keypoints[:, [KEYPOINT_INDEX[f"{side}_shoulder"] for side in ("left", "right")]].mean(axis=1)
    rising = unit(shoulders - hips)[:, 1]
    height = keypoints[..., 1].max(axis=1) - hips[:, 1]
    upright = (height > _HIPS_HIGH * np.quantile(height, 0.95)) & (rising < -np.cos(np.radians(_TRUNK_UP)))
    starts = np.arange(0, len(keypoints) - length + 1, _STRIDE)
    return np.array([start for start in starts if upright[start : start + length].all()], int)


class Posing:
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

    def bend(self, bone: str, forward: float | np.ndarray, outward: float | np.ndarray = 0.0) -> None:
        """Turn a bone of both sides forward (a thigh up in front, a shin up in front) and outward.

        Either is one angle, or ``(2,)`` of the left and the right.
        """
        angles = np.broadcast_to(forward, 2), np.broadcast_to(outward, 2)
        for side, sign, ahead, aside in zip("LR", (1, -1), *angles, strict=True):
            turn = Rotation.from_euler("xz", [-ahead, -sign * aside], degrees=True).as_matrix()
            self.move(f"{bone}.{side}", turn)

    def move(self, bone: str, turns: np.ndarray) -> None:
        """Turn a bone in its parent's axes, by one matrix ``(3, 3)`` or one a frame ``(T, 3, 3)``."""
        at = self._bones.index(bone)
        self.rotations[:, at] = turns @ self.rotations[:, at]

    def flex(self, bone: str, turns: np.ndarray) -> None:
        """Turn a bone likewise, in its own axes."""
        at = self._bones.index(bone)
        self.rotations[:, at] = self.rotations[:, at] @ turns


def _stand(motion: Posing, rng: np.random.Generator) -> None:
    """As captured: with knees at 130 to 150 degrees, where others have them straight."""


def _stand_straight(motion: Posing, rng: np.random.Generator) -> None:
    motion.straighten(_LEGS, rng.uniform(0.7, 1.0))


def _sit(motion: Posing, rng: np.random.Generator) -> None:
    bent = rng.uniform(70, 95)
    motion.bend("upperleg01", bent, rng.uniform(0, 15))
    motion.bend("lowerleg01", -bent * rng.uniform(0.7, 1.1))


def _lie(motion: Posing, rng: np.random.Generator) -> None:
    """On the back, the belly or a side, the head anywhere; in every second clip with the legs drawn up."""
    if rng.random() < 0.5:
        _sit(motion, rng)
    down = Rotation.from_euler("x", rng.choice([-1, 1]) * rng.uniform(75, 95), degrees=True)
    rolled = Rotation.from_euler("y", rng.choice([0, 90, -90]) + rng.normal(0, 10), degrees=True)
    motion.turn((_anywhere(rng) * down * rolled).as_matrix())


def _crawl(motion: Posing, rng: np.random.Generator) -> None:
    motion.bend("upperleg01", rng.uniform(75, 95))
    motion.bend("lowerleg01", -rng.uniform(80, 100))
    motion.bend("upperarm01", rng.uniform(75, 95))
    motion.turn((_anywhere(rng) * Rotation.from_euler("x", rng.uniform(70, 90), degrees=True)).as_matrix())


def _hand_stand(motion: Posing, rng: np.random.Generator) -> None:
    _reach_up(motion, rng)
    motion.bend("upperleg01", rng.uniform(-15, 15), rng.uniform(0, 25))
    motion.turn((_anywhere(rng) * Rotation.from_euler("x", 180, degrees=True)).as_matrix())


def _turn_a_cartwheel(motion: Posing, rng: np.random.Generator) -> None:
    _reach_up(motion, rng)
    motion.bend("upperleg01", 0, rng.uniform(20, 40))
    frames = len(motion.places)
    angles = rng.choice([-1, 1]) * 360 * np.arange(frames) / (MOTION_FPS * rng.uniform(1.6, 3.0))
    motion.turn(Rotation.from_rotvec(angles[:, None] * (0, 0, 1), degrees=True).as_matrix())


def _reach_up(motion: Posing, rng: np.random.Generator) -> None:
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


def _sit_anyhow(motion: Posing, rng: np.random.Generator) -> None:
    _draw_up_legs(motion, rng)
    if rng.random() < 0.4:  # leaning back, or forward
        motion.turn(Rotation.from_euler("x", rng.normal(0, 12), degrees=True).as_matrix())


def _be_on_the_floor(motion: Posing, rng: np.random.Generator) -> None:
    """Lie, be on all fours, or kneel, squat and lunge."""
    drawn = rng.random()
    if drawn < 0.6:
        if rng.random() < 0.5:
            _draw_up_legs(motion, rng)
        down = Rotation.from_euler("x", rng.choice([-1, 1]) * rng.uniform(60, 100), degrees=True)
        rolled = rng.choice([0, 90, -90, 45, -45]) + rng.normal(0, 15)
        motion.turn((down * Rotation.from_euler("y", rolled, degrees=True)).as_matrix())
    elif drawn < 0.85:
        motion.bend("upperleg01", *_about(rng.uniform(60, 110), 0, 10, rng))
        motion.bend("lowerleg01", *_about(-rng.uniform(60, 115), 0, 10, rng))
        motion.bend("upperarm01", *_about(rng.uniform(50, 100), 0, 10, rng))
        motion.turn(Rotation.from_euler("x", rng.uniform(55, 95), degrees=True).as_matrix())
    else:
        motion.bend("upperleg01", *_about(rng.uniform(20, 110), rng.uniform(0, 20), 15, rng))
        motion.bend("lowerleg01", *_about(-rng.uniform(60, 140), 0, 15, rng))


def _be_upside_down(motion: Posing, rng: np.random.Generator) -> None:
    """Stand on the hands, or turn over sideways or forward, whatever moment of it comes first."""
    motion.bend("upperarm01", *_about(0, rng.uniform(80, 135), 8, rng))
    motion.bend("upperleg01", *_about(rng.uniform(-30, 30), rng.uniform(-5, 40), 10, rng))
    if rng.random() < 0.5:
        motion.turn(Rotation.from_euler("x", 180 + rng.normal(0, 15), degrees=True).as_matrix())
    else:
        frames = len(motion.places)
        since = (np.arange(frames) - rng.uniform(0, frames)) / MOTION_FPS
        angles = rng.choice([-1, 1]) * 360 * since / rng.uniform(1.2, 3.5)
        axis = (0, 0, 1) if rng.random() < 0.75 else (1, 0, 0)
        motion.turn(Rotation.from_rotvec(angles[:, None] * axis, degrees=True).as_matrix())


def _draw_up_legs(motion: Posing, rng: np.random.Generator) -> None:
    bent = rng.uniform(55, 105)
    motion.bend("upperleg01", *_about(bent, rng.uniform(-5, 25), 8, rng))
    motion.bend("lowerleg01", *_about(-bent * rng.uniform(0.3, 1.15), 0, 8, rng))


def _about(
    forward: float, outward: float, uneven: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return angles forward and outward ``(2,)`` about given ones, as unlike on the two sides as said."""
    return forward + rng.normal(0, uneven, 2), outward + rng.normal(0, uneven / 2, 2)


def move_anyhow(motion: Posing, elbows: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    """Let some arms and legs go anywhere and back, as in dance and gymnastics; the others stay.

    ``elbows`` are the axes ``(3,)`` about which forearms bend at rest, by ``"L"`` and ``"R"``.
    """
    seconds = np.arange(len(motion.places)) / MOTION_FPS

    def wave() -> np.ndarray:
        swings = 0.5 - 0.5 * np.cos(2 * np.pi * (seconds / rng.uniform(1.2, 5) + rng.random()))
        return (rng.random() < 0.7) * swings + (rng.random() if rng.random() < 0.3 else 0.0)

    def turns(ahead: tuple[float, float], twist: float, out: tuple[float, float], sign: int) -> np.ndarray:
        most = np.array([-rng.uniform(*ahead), rng.normal(0, twist), -sign * rng.uniform(*out)])
        return Rotation.from_euler("xyz", wave()[:, None] * most, degrees=True).as_matrix()

    def bent() -> np.ndarray:
        return np.radians(rng.uniform(0, 120) * wave()[:, None] * (rng.random() < 0.6))

    for side, sign in (("L", 1), ("R", -1)):
        if rng.random() < 0.45:
            motion.move(f"upperleg01.{side}", turns((-35, 115), 25, (-15, 95), sign))
            motion.move(f"lowerleg01.{side}", from_vectors(bent() * (1, 0, 0)))
        if rng.random() < 0.45:
            motion.move(f"upperarm01.{side}", turns((-40, 150), 35, (-45, 110), sign))
            motion.flex(f"lowerarm01.{side}", from_vectors(bent() * elbows[side]))


VARIED: dict[str, Callable[[Posing, np.random.Generator], None]] = {
    "sitting": _sit_anyhow,
    "floor": _be_on_the_floor,
    "inverted": _be_upside_down,
}
"""What poses the motion of somebody who faces ahead in more of the ways in which people sit, are on the floor
and are upside down. Which way they face then is left to the camera."""
