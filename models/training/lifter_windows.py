# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows of motion to train the pose lifter on, as the pose estimator would see them: none is filmed.

Captured motions are posed anew all the time: legs, backs and arms straightened by any share, limbs moved
anyhow, people sat down, laid on the floor and turned over (:mod:`.postures`). They are given limbs of other
lengths, put before virtual cameras, and seen with the estimator's own faults (:mod:`.estimator_faults`). All
of it is a function of ``(seed, step)`` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...inference.capture.pose_lifter import View, across, axes_of, rolled, view_of
from ..body import BodyModel
from ..keypoints import HIPS, KEYPOINT_INDEX, KEYPOINT_NAMES, MIRRORED, TRUNK
from ..rotations import from_vectors, swing, to_vectors, unit
from .estimator_faults import EstimatorFaults, about_trunk, biases, facing_of, longer_trunk
from .lifter_clips import FRAMES
from .postures import VARIED, Posing, elbow_hinges, move_anyhow, unbent
from .window_sampler import MixedMotions

LENGTH = 80
"""Frames of a posed motion, 30 a second, of which an example plays :data:`.lifter_clips.FRAMES` moments."""

PART, PARTS, STEPS_A_PART = 300, 16, 25
"""Motions posed at a time, how many times as many are at hand, and steps after which the oldest go."""

_KINDS = ("upright", *VARIED)
_SHARES = (0.69, 0.13, 0.09, 0.09)  # of upright, sitting, floor, inverted
_MIXED = (0.2, 0.15, 0.15)  # how often limbs are of other motions
_SLACK = 0.7  # of the turns that joints get beyond the captured poses
_FREE = 0.4  # how often limbs of who is upright move anyhow
_BACK = (-3.0, 4.0, 0.7)  # degrees that backs are bent by, mean and standard deviation, and how often
_ON_THE_SPOT = 0.3  # how often the root does not travel at all

_SPEED = (0.7, 1.25)  # frames a moment; 1.2 is as captured
_TOWARDS = 0.45  # how often people face the camera more or less
_TILTED = 0.06  # how often people lean anyhow, whatever they do
_TREADMILL = 0.25  # how often people stay before the camera
_DISTANCE = (1.8, 9.0)  # metres
_LEVEL = 0.8  # how often the camera is about level, and about upright
_FROM_ABOVE = 0.45  # radians of elevation from which on faults are those of people seen from above
_NEAREST = 0.5  # metres between the camera and any point
_LEAST_FORWARD = 0.05  # of z, of points seen far aside

_LIMB_SIZES = (
    (("shoulder", "elbow"), ("elbow", "wrist", "pinky", "index"), 0.05),
    (("elbow", "wrist"), ("wrist", "pinky", "index"), 0.05),
    (("hip", "knee"), ("knee", "ankle", "heel", "foot_index"), 0.04),
    (("knee", "ankle"), ("ankle", "heel", "foot_index"), 0.04),
)  # between which joints, what moves along, standard deviation of the length's logarithm
_TRUNK_SIZE, _WIDTH_SIZE = 0.04, 0.06
_ARM, _LEG = ("shoulder", "elbow", "wrist", "pinky", "index"), ("hip", "knee", "ankle", "heel", "foot_index")
_SHOULDERS = [KEYPOINT_INDEX[f"{side}_shoulder"] for side in ("left", "right")]
_UPPER = [i for i, name in enumerate(KEYPOINT_NAMES) if not name.endswith(_LEG)]  # the trunk carries these

_FAULT_SIZES, _DEPTH_FAULT_SIZES, _BODY_SIZES = 0.3, 0.25, 0.12  # standard deviations of the logarithms
_AS_IF_UPRIGHT = 0.4  # how often who sits is seen as well as who stands


class PosedMotions(MixedMotions):
    """Windows of the captured motions, posed in all the ways in which people are filmed."""

    def __init__(self, body: BodyModel, folder: Path | None) -> None:
        super().__init__(body, folder)
        self.rotations = unbent(body, self.rotations)
        self._back, self._elbows = self.roles.index("spine04"), elbow_hinges(body)
        self._legs, self._spine, self._arms = (
            [bone for bone, role in enumerate(self.roles) if role.startswith(names)]
            for names in (
                ("upperleg", "lowerleg", "foot"),
                ("spine", "neck", "head"),
                ("upperarm", "lowerarm", "clavicle", "shoulder"),
            )
        )

    def draw(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw keypoints ``(count, LENGTH, 23, 3)`` float32 m, y down, and the indices of their kinds."""
        centre = self.mix(rng, count, _MIXED)
        local, travel = self.around(centre, np.arange(LENGTH) - LENGTH // 2)
        kinds = rng.choice(len(_KINDS), count, p=_SHARES)
        posed, inverted = kinds > 0, kinds == _KINDS.index("inverted")

        def share(odds: float, power: float, always: np.ndarray | bool = False) -> np.ndarray:
            some = np.where(rng.random(count) < odds, rng.random(count) ** power, 0.0)
            return np.where(always, rng.uniform(0.6, 1, count), some)

        mean, spread, odds = _BACK
        back = np.radians(rng.normal(mean, spread, count)) * (rng.random(count) < odds)
        local[:, :, self._back] = local[:, :, self._back] @ _turn("x", back)[:, None]
        legs, spine, arms = share(0.6, 0.5, posed), share(0.5, 0.7), share(0.15, 0.7, inverted)
        for bones, much in ((self._legs, legs), (self._spine, spine), (self._arms, arms)):
            _straighten(local, bones, much)
        upright = np.maximum(legs, spine) * (rng.random(count) < 0.8)
        upright = np.where(posed, rng.uniform(0.6, 1, count), upright)
        lean = to_vectors(swing(local[:, :, 0, :, 1], np.array([0.0, 1.0, 0.0], np.float32)))
        local[:, :, 0] = from_vectors(lean * upright[:, None, None]) @ local[:, :, 0]
        still = np.where(rng.random(count) < _ON_THE_SPOT, 0.0, np.sqrt(1 - upright))
        travel = travel * still[:, None, None]
        for at in np.flatnonzero(posed):
            motion = Posing(self.body.bone_names, local[at], travel[at])
            motion.face_ahead()
            VARIED[_KINDS[kinds[at]]](motion, rng)
            local[at], travel[at] = motion.rotations, motion.places
        for at in np.flatnonzero(~posed & (rng.random(count) < _FREE)):
            motion = Posing(self.body.bone_names, local[at], travel[at])
            move_anyhow(motion, self._elbows, rng)
            local[at] = motion.rotations
        self.wobble(rng, local, _SLACK)
        return self.posed(self.shapes[rng.integers(0, len(self.shapes), count)], local, travel)[0], kinds


def _straighten(local: np.ndarray, bones: list[int], share: np.ndarray) -> None:
    """Turn ``bones`` of local rotations ``(N, L, B, 3, 3)`` back to their rest, by a ``share (N,)`` each."""
    at = np.ix_(np.flatnonzero(share), np.arange(local.shape[1]), np.array(bones))
    local[at] = from_vectors(to_vectors(local[at]) * (1 - share[share > 0])[:, None, None, None])


@dataclass(frozen=True)
class SeenWindows:
    """N windows of T moments, as the estimator would see them, and the truth; seen all the time."""

    rays: np.ndarray  # (N, T, 33, 2) landmarks in the picture, x / z and y / z in the camera's axes
    world: np.ndarray  # (N, T, 33, 3) metres, axes parallel to the picture's
    visibility: np.ndarray  # (N, T, 33)
    keypoints: np.ndarray  # (N, T, 23, 3) true, camera space, metres


class LifterWindows:
    """Draws examples of ``motions`` as an estimator with such ``faults`` sees them."""

    def __init__(self, motions: PosedMotions, faults: EstimatorFaults, seed: int) -> None:
        self._motions, self._faults, self._seed = motions, faults, seed
        self._parts: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def prepare(self, step: int) -> None:
        """Pose what is missing of the motions that a step draws from, and forget those of steps before it."""
        wanted = range(step // STEPS_A_PART, step // STEPS_A_PART + PARTS)
        self._parts = {
            number: self._parts.get(number)
            or self._motions.draw(PART, np.random.default_rng([self._seed, 0, number]))
            for number in wanted
        }

    def batch(self, step: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the ``count`` examples of a step.

        That is what the network sees, ``(count, T, FEATURES)``, and what it should say,
        ``(count, T, 23, 3)``, float32; see :func:`truth_of`.
        """
        seen = self.seen(step, count)
        view = view_of(seen.rays, seen.world, seen.visibility, np.ones(seen.rays.shape[:2], bool))
        return view.features, truth_of(view, seen.keypoints)

    def seen(self, step: int, count: int) -> SeenWindows:
        """Return the windows of a step."""
        rng = np.random.default_rng([self._seed, 1, step])
        points, kinds = self._played(step, count, rng)
        keypoints, elevation = before_cameras(resized(points, rng), rng)
        above = (kinds == "upright") & (np.abs(elevation) > _FROM_ABOVE)
        eased = (kinds == "sitting") & (rng.random(count) < _AS_IF_UPRIGHT)
        return self._estimated(keypoints, np.where(above, "above", np.where(eased, "upright", kinds)), rng)

    def _played(self, step: int, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return motions ``(count, T, 23, 3)`` at many speeds, every other one mirrored, and their kinds."""
        self.prepare(step)
        first = step // STEPS_A_PART
        part, at = first + rng.integers(0, PARTS, count), rng.integers(0, PART, count)
        posed = np.stack([self._parts[n][0][i] for n, i in zip(part, at, strict=True)])
        kinds = np.array(_KINDS)[[self._parts[n][1][i] for n, i in zip(part, at, strict=True)]]
        speed = rng.uniform(*_SPEED, (count, 1))
        moments = LENGTH / 2 + (np.arange(FRAMES) - FRAMES / 2) * speed
        before = moments.astype(int)
        share = (moments - before)[..., None, None]
        window = np.arange(count)[:, None]
        points = posed[window, before] * (1 - share) + posed[window, before + 1] * share
        mirrored = rng.random(count) < 0.5
        points[mirrored] = points[mirrored][:, :, MIRRORED] * (-1, 1, 1)
        return points, kinds

    def _estimated(self, keypoints: np.ndarray, kinds: np.ndarray, rng: np.random.Generator) -> SeenWindows:
        """Return what the estimator would say of keypoints ``(N, T, 23, 3)`` in camera space."""
        count, length = keypoints.shape[:2]

        def size(spread: float) -> np.ndarray:
            return np.exp(rng.normal(0, spread, (count, 1, 1, 1)))

        points = self._faults.points_of(keypoints[..., :2] / keypoints[..., 2:])
        axes, roll = axes_of(points, np.ones((count, length), bool))
        turn = axes @ rolled(roll)
        standing = about_trunk(keypoints @ turn)
        drawn = [self._faults.draw(*of, rng) for of in zip(kinds, facing_of(standing), strict=True)]
        off, off_world, visibility = (np.stack(values) for values in zip(*drawn, strict=True))
        distance = np.linalg.norm(keypoints[:, :, TRUNK].mean(axis=2), axis=-1)[..., None, None]
        off = off * size(_FAULT_SIZES) + biases(count, rng)
        flat = longer_trunk(across(points, turn) + off / distance, rng)
        rays = np.concatenate([flat, np.ones((*flat.shape[:-1], 1))], axis=-1) @ np.swapaxes(turn, -1, -2)
        world = self._faults.points_of(standing) + off_world * size(_DEPTH_FAULT_SIZES)
        world = world @ np.swapaxes(rolled(roll), -1, -2) * np.exp(self._faults.size) * size(_BODY_SIZES)
        return SeenWindows(
            rays[..., :2] / np.maximum(rays[..., 2:], _LEAST_FORWARD), world, visibility, keypoints
        )


def resized(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return motions ``(N, T, 23, 3)`` of people with limbs and trunks of other sizes than bodies have.

    Both sides of a person are alike, and what hangs on a limb moves along.
    """
    points = points.copy()

    def change(spread: float) -> np.ndarray:
        return np.exp(rng.normal(0, spread, (len(points), 1, 1))) - 1

    for (start, end), moving, spread in _LIMB_SIZES:
        longer = change(spread)
        for side in ("left", "right"):
            near, far = _of(side, (start, end))
            points[:, :, _of(side, moving)] += ((points[:, :, far] - points[:, :, near]) * longer)[:, :, None]
    trunk = points[:, :, _SHOULDERS].mean(axis=2) - points[:, :, HIPS].mean(axis=2)
    points[:, :, _UPPER] += (trunk * change(_TRUNK_SIZE))[:, :, None]
    for limb in (_ARM, _LEG):
        left, right = _of("left", limb), _of("right", limb)
        wider = (points[:, :, left[0]] - points[:, :, right[0]]) * change(_WIDTH_SIZE) / 2
        points[:, :, left] += wider[:, :, None]
        points[:, :, right] -= wider[:, :, None]
    return points


def before_cameras(points: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Put motions ``(N, T, 23, 3)``, y down, before still cameras.

    Returns them in camera space, and the cameras' elevations ``(N,)`` above the person, radians.
    """
    count, length = points.shape[:2]
    middle = points[:, length // 2, HIPS]
    across_hips = middle[:, 0] - middle[:, 1]
    ahead = np.arctan2(across_hips[:, 2], across_hips[:, 0])
    towards = ahead + rng.normal(0, 0.8, count)
    yaw = np.where(rng.random(count) < _TOWARDS, towards, rng.uniform(-np.pi, np.pi, count))
    tilt = np.where(rng.random(count) < _TILTED, rng.normal(0, 1.2, count), 0.0)
    points = points @ np.swapaxes(_turn("x", tilt) @ _turn("y", yaw), -1, -2)[:, None]
    way = points[:, :, TRUNK].mean(axis=2)
    stays = rng.random((count, 1, 1)) < _TREADMILL
    walked = np.where(stays, way - way[:, :1], 0.0) * (1, 0, 1)
    points, target = points - walked[:, :, None], (way - walked).mean(axis=1)

    nearest, farthest = np.log(_DISTANCE)
    distance = np.exp(rng.uniform(nearest, farthest, count))
    level = rng.random(count) < _LEVEL
    elevation = np.where(level, rng.normal(0.04, 0.14, count), rng.uniform(-0.45, 1.0, count))
    away = distance[:, None] * np.stack([0 * elevation, np.sin(elevation), np.cos(elevation)], axis=-1)
    forward = unit(away)
    right = unit(np.cross((0.0, 1.0, 0.0), forward))
    camera = np.stack([right, np.cross(forward, right), forward], axis=-2)
    pitch, pan = rng.normal(0, 0.12, (2, count))
    upright = rng.random(count) < _LEVEL
    roll = np.where(upright, rng.normal(0, 0.08, count), rng.uniform(-np.pi, np.pi, count))
    camera = _turn("z", roll) @ _turn("x", pitch) @ _turn("y", pan) @ camera
    seen = (points - (target - away)[:, None, None]) @ np.swapaxes(camera, -1, -2)[:, None]

    # Whoever would come too near stays on the spot, and if need be a metre farther away.
    way = seen[:, :, TRUNK].mean(axis=2, keepdims=True)
    seen = np.where(_too_near(seen), seen - (way - way.mean(axis=1, keepdims=True)), seen)
    return seen + np.where(_too_near(seen), (0.0, 0.0, 1.0), 0.0), elevation


def _too_near(seen: np.ndarray) -> np.ndarray:
    return seen[..., 2:].min(axis=(1, 2), keepdims=True) < _NEAREST


def _turn(axis: str, angle: np.ndarray) -> np.ndarray:
    """Return rotations ``(N, 3, 3)`` about an axis by angles ``(N,)``, radians."""
    return from_vectors(angle[:, None] * np.eye(3)["xyz".index(axis)])


def truth_of(view: View, keypoints: np.ndarray) -> np.ndarray:
    """Return what the network should say ``(N, T, 23, 3)`` float32 of keypoints in camera space.

    That is where they are seen and how far behind the trunk's middle they lie, in metres as large as the
    estimator takes people.
    """
    turned = keypoints @ view.turn
    scale = view.scale[..., None, None]
    flat = turned[..., :2] / np.maximum(turned[..., 2:], _LEAST_FORWARD) / scale
    distance = np.linalg.norm(keypoints[:, :, TRUNK].mean(axis=2), axis=-1)[..., None, None]
    depth = about_trunk(turned)[..., 2:] / (distance * scale)
    return np.concatenate([flat, depth], axis=-1).astype(np.float32)


def _of(side: str, joints: tuple[str, ...]) -> list[int]:
    return [KEYPOINT_INDEX[f"{side}_{joint}"] for joint in joints]
