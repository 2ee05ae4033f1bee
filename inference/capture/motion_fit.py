# SPDX-License-Identifier: GPL-3.0-or-later
"""One body, fitted to a whole clip: its shape, the pose of its joints and its place in every frame at once.

What is known of a film comes together here as one sparse least-squares problem (:mod:`.block_band`), solved
by Gauss-Newton with robust weights:

- where each keypoint is seen, and how far each bone points away from the camera, with the error that the
  lifter expects of either (:mod:`.pose_lifter`; Laplace distributions: a few gross errors count little);
- one shape for the whole clip, the same left and right, built as adults are: what a film shows of bones has
  errors that are the same throughout, so that it tells less of them than what people are like;
- knees and elbows that bend one way; spine, neck, hands and feet that stay near where they rest;
- points that accelerate as people do: mostly little, sometimes much;
- feet, hands, knees and hips that stay where they are while they stand still in the picture;
- where outlines and pictures show the keypoints (:mod:`.alignment`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np

from ...models.articulation import JOINTS, Articulation
from ...models.body import ELBOW_BENDS, KNEE_BENDS, rest_hinge
from ...models.camera import Camera
from ...models.keypoints import BONES, FEET, HIPS, KEYPOINT_INDEX, KEYPOINT_NAMES, TRUNK
from ...models.measures import BodyMeasures
from ...models.rotations import apply, cross_matrices, from_vectors, orthonormal_frames, to_vectors
from ...models.shaped_body import ShapedBody
from .block_band import BlockBand
from .pose_lifter import Lifted
from .smoothing import runs, smooth, speeds

_FIRST, _SECOND = np.array(BONES).T
_COUNT = len(KEYPOINT_NAMES)
_IMAGE_FLOOR, _BONE_FLOOR = 0.004, 0.010  # metres: nothing is known better than that
_NEAR_ZERO = 0.5  # of a spread: errors below it are weighed as if they were of this size
_ACCELERATION = 8.0  # metres a second squared, mean, of points of people who move
_LEAST_ACCELERATION = 0.3  # of that
_STATURE, _STATURE_SPREAD = 1.70, 0.055  # metres, and of its logarithm: adults
_MEASURED_SPREAD = 0.12  # of the logarithm of how large the estimator takes people
_SCALE_SPREAD = 0.003  # of the stature's logarithm: a picture does not tell it, and shrinking is no fit
_BODY_MASS_INDEX, _BODY_MASS_SPREAD = 23.0, 0.03  # kilogrammes a square metre, and of its logarithm
_NEUTRAL, _SEX_SPREAD = 0.5, 0.05  # clothes and bones in a picture hardly tell: 0 is a woman, 1 a man
_LOOKS = 0.5  # moments as much as a clip tells of the shape: its errors are the same throughout
_SPREADS = {
    "spine.001": 0.25, "spine.002": 0.25, "spine.004": 0.3, "spine.006": 0.4,
    "shoulder": 0.2, "upper_arm": 1.5, "forearm": 1.5, "hand": 0.5,
    "thigh": 1.5, "shin": 1.5, "foot": 0.35,
}  # fmt: skip
"""Radians by which a joint turns from where it rests, standard deviations; hinges have limits besides."""
_ASIDE = {"forearm": 0.5, "shin": 0.12}  # radians, hinges about other axes than their own
_BACKWARD = 0.03  # radians, standard deviation of a hinge bent the wrong way
_STILL = FEET + HIPS + [
    KEYPOINT_INDEX[f"{side}_{point}"] for side in ("left", "right") for point in ("knee", "wrist")
]  # fmt: skip
_STILL_UNIT = np.array([0.1] * len(FEET) + [0.4] * (len(_STILL) - len(FEET)))
"""Metres a second, mean, of what stands still in the picture: feet stand on something."""
_STILL_SPEED, _STILL_TIME, _STILL_CUTOFF = 0.15, 0.2, 2.0  # metres a second, seconds, Hz
_STILL_SPREAD = 0.1  # metres: of what is expected to be further off nobody knows whether it moves
_DAMPING = 1e-3  # of a radian and a metre, against steps that nothing tells
_STEP = 0.6  # radians, the longest
_WINDOW, _OVERLAP = 400, 50  # frames that are solved for at once, and beyond either end of what is kept


@dataclass
class Motion:
    """A body's motion over T frames, in the camera's axes."""

    shape: np.ndarray  # (S,)
    rotations: np.ndarray  # (T, J, 3, 3) of the joints since rest
    root: np.ndarray  # (T, 3) metres

    def part(self, frames: slice) -> Motion:
        """Return that of some of the frames."""
        return Motion(self.shape, self.rotations[frames], self.root[frames])


class MotionFit:
    """The problem of one clip.

    Args:
        articulation: of the body.
        lifted: what is known of T frames.
        camera: the pinhole camera of its pixels.
        fps: frames a second.
        strength: of the smoothing, 0 for none.
        contacts: whether what stands still in the picture stands still in space (a still camera).
        sex: of the body, 0 a woman's, 1 a man's; None for one between the two.
    """

    def __init__(
        self,
        articulation: Articulation,
        lifted: Lifted,
        camera: Camera,
        fps: float,
        *,
        strength: float = 1.0,
        contacts: bool = True,
        sex: float | None = None,
    ) -> None:
        self._joints, self._lifted, self._camera, self._fps = articulation, lifted, camera, fps
        self._strength, self._contacts = strength, contacts
        self._focal = float(np.sqrt(camera.fx * camera.fy))
        self._measures = BodyMeasures(articulation.body)
        self._limits = _Limits(articulation)
        frames = len(lifted.image)
        self._held = np.zeros((frames, len(_STILL)))
        self._shown = np.zeros((frames, _COUNT, 2))
        self._certainty = np.zeros((frames, _COUNT, 2, 2))
        self._stature = _STATURE
        self._sex = _NEUTRAL if sex is None else sex

    def start(self) -> Motion:
        """Return the average adult in the poses of the lifted points, joint by joint."""
        body, lifted = self._joints.body, self._lifted
        shape = body.grown_up[0].astype(np.float32)
        if "stature" in self._measures.of(shape):
            shape = self._measures.shape_of(shape, {"stature": _STATURE})
        shaped = ShapedBody(body, shape)
        sizes = [
            np.linalg.norm(points[..., _FIRST, :] - points[..., _SECOND, :], axis=-1).mean(axis=-1)
            for points in (shaped.keypoints, lifted.points)
        ]
        larger = float(np.median(sizes[0] / sizes[1]))
        trust = 1 / (1 + (_MEASURED_SPREAD / _STATURE_SPREAD) ** 2)
        self._stature = _STATURE * larger**-trust
        points = lifted.points * larger
        world, _ = body.solve_pose(points, shaped.keypoints, shaped.joints)
        rotations = world[:, self._joints.bones].astype(np.float64)
        motion = Motion(shape.astype(np.float64), rotations, np.zeros((len(points), 3)))
        motion.root = self._placed(motion)
        return motion

    def _placed(self, motion: Motion) -> np.ndarray:
        """Return the roots ``(T, 3)`` that bring the body nearest to where it is seen."""
        points = self.keypoints(motion)
        ray = self._rays()
        across = np.zeros((*ray.shape, 3))
        across[..., 0, 0] = across[..., 1, 1] = 1
        across[..., 2] = -ray
        weighted = across / self._lifted.image_spread[..., None, None] ** 2
        normal = np.einsum("tkri,tkrj->tij", weighted, across)
        right = -np.einsum("tkri,tkrj,tkj->ti", weighted, across, points)
        return motion.root + np.linalg.solve(normal, right[..., None])[..., 0]

    def _rays(self) -> np.ndarray:
        """Return where the keypoints are seen ``(T, 23, 2)``, x / z and y / z."""
        camera = self._camera
        return (self._lifted.image - (camera.cx, camera.cy)) / (camera.fx, camera.fy)

    def solve(self, motion: Motion, steps: int, fit_shape: bool = True) -> Motion:
        """Return the motion after so many Gauss-Newton steps; the shape stays unless ``fit_shape``.

        A long clip is solved window by window, and has the mean of the shapes that they find.
        """
        frames = len(motion.root)
        starts = range(0, frames, _WINDOW) if frames > _WINDOW + _OVERLAP else [0]
        inner = [slice(start, stop) for start, stop in zip(starts, [*starts[1:], frames], strict=True)]
        outer = [slice(max(0, part.start - _OVERLAP), min(frames, part.stop + _OVERLAP)) for part in inner]
        if fit_shape and len(inner) > 1:
            shapes = [self._part(part)._steps(motion.part(part), steps, True).shape for part in outer]
            motion, fit_shape = replace(motion, shape=np.mean(shapes, axis=0)), False
        solved = [self._part(part)._steps(motion.part(part), steps, fit_shape) for part in outer]
        kept = [
            each.part(slice(mine.start - whole.start, mine.stop - whole.start))
            for each, mine, whole in zip(solved, inner, outer, strict=True)
        ]
        return Motion(
            solved[0].shape,
            np.concatenate([each.rotations for each in kept]),
            np.concatenate([each.root for each in kept]),
        )

    def _part(self, frames: slice) -> MotionFit:
        part = copy.copy(self)
        part._lifted = self._lifted.part(frames)
        for name in ("_held", "_shown", "_certainty"):
            setattr(part, name, getattr(self, name)[frames])
        return part

    def _steps(self, motion: Motion, steps: int, fit_shape: bool) -> Motion:
        for _ in range(steps):
            motion = self._step(motion, fit_shape)
        return motion

    def hold(self, motion: Motion) -> None:
        """Find what stands still in the picture, from a motion that is nearly right."""
        if not self._contacts:
            return
        depth, ray = self.keypoints(motion)[:, _STILL, 2:], self._rays()[:, _STILL]
        speed = speeds(smooth(ray * depth, np.ones(ray.shape[:2]), _STILL_CUTOFF, self._fps), self._fps)
        known = self._lifted.image_spread[:, _STILL] * depth[..., 0] < _STILL_SPREAD * self._focal
        for k in range(len(_STILL)):
            for start, stop in runs((speed[:, k] < _STILL_SPEED) & known[:, k]):
                if stop - start >= _STILL_TIME * self._fps:
                    self._held[start : stop - 1, k] = 1

    def keypoints(self, motion: Motion) -> np.ndarray:
        """Return the fitted body's keypoints ``(T, 23, 3)`` in camera space."""
        return self._joints.keypoints(motion.shape, motion.rotations, motion.root)

    def show(self, pixels: np.ndarray, certainty: np.ndarray) -> None:
        """Take in where pictures show the keypoints: ``(T, 23, 2)``, and inverse covariances of that."""
        self._shown, self._certainty = pixels, certainty

    # ---- one step ------------------------------------------------------------------------------

    def _step(self, motion: Motion, fit_shape: bool) -> Motion:
        joints = self._joints
        frames, count = len(motion.root), len(JOINTS)
        size, common = 3 * count + 3, len(motion.shape) if fit_shape else 0
        arms = np.einsum("taij,kaj->tkai", motion.rotations, joints.arms(motion.shape), optimize=True)
        points = motion.root[:, None] + arms.sum(axis=2)
        moved = np.zeros((frames, _COUNT, 3, size))  # of keypoints, by the unknowns of their frame
        moved[..., :-3] = -cross_matrices(arms).transpose(0, 1, 3, 2, 4).reshape(frames, _COUNT, 3, -1)
        moved[..., -3:] = np.eye(3)
        grown = np.zeros((frames, _COUNT, 3, 0))  # and by the shape
        if common:
            grown = np.einsum("taij,skaj->tkis", motion.rotations, joints.arms_basis, optimize=True)

        band = BlockBand.empty(frames, size, common)
        rows, away, weight = self._observed(points)
        self._add(band, rows, away, weight, moved, grown)
        self._add_smoothness(band, points, moved, grown)
        self._limits.add(band, motion.rotations)
        if common:
            self._add_shape(band, motion.shape)
        band.blocks[0][:, range(size), range(size)] += _DAMPING
        own, shape = band.solve()
        own *= np.minimum(1, _STEP / np.maximum(np.abs(own).max(axis=1, keepdims=True), 1e-9))
        turned = from_vectors(own[:, :-3].reshape(frames, count, 3)) @ motion.rotations
        shape = motion.shape + shape if common else motion.shape
        return Motion(shape, turned, motion.root + own[:, -3:])

    def _observed(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rows ``(T, R, 69)`` on the keypoints, what is missing along them ``(T, R)``, and weights."""
        lifted, camera = self._lifted, self._camera
        frames = len(points)
        z = np.maximum(points[..., 2], 0.1)
        pixels = camera.project(points)
        image = np.zeros((frames, _COUNT, 2, _COUNT, 3))
        k = np.arange(_COUNT)
        image[:, k, 0, k, 0], image[:, k, 1, k, 1] = camera.fx / z, camera.fy / z
        image[:, k, 0, k, 2] = -(pixels[..., 0] - camera.cx) / z
        image[:, k, 1, k, 2] = -(pixels[..., 1] - camera.cy) / z
        apart = lifted.image - pixels
        spread = np.maximum(lifted.image_spread, _IMAGE_FLOOR * self._focal / z)
        off = np.linalg.norm(apart, axis=-1)
        certain = 1 / (spread * np.maximum(off, _NEAR_ZERO * spread))
        both = certain[..., None, None] * np.eye(2) + self._certainty
        pull = certain[..., None] * apart + apply(self._certainty, self._shown - pixels)
        root = np.swapaxes(np.linalg.cholesky(both), -1, -2)  # of the weights: what follows is of weight one
        apart = apply(root, np.linalg.solve(both, pull[..., None])[..., 0])
        of_image = (root @ image.reshape(frames, _COUNT, 2, -1)).reshape(frames, 2 * _COUNT, -1)
        bones = np.zeros((frames, len(BONES), _COUNT, 3))
        b = np.arange(len(BONES))
        bones[:, b, _FIRST] = lifted.line[:, None]
        bones[:, b, _SECOND] = -lifted.line[:, None]
        larger = (np.linalg.norm(points[:, TRUNK].mean(axis=1), axis=-1) / lifted.distance)[:, None]
        behind = (lifted.points * lifted.line[:, None]).sum(axis=-1) * larger
        now = (points * lifted.line[:, None]).sum(axis=-1)
        missing = (behind[:, _FIRST] - behind[:, _SECOND]) - (now[:, _FIRST] - now[:, _SECOND])
        wide = np.maximum(lifted.bone_spread * larger, _BONE_FLOOR)
        sure = 1 / (wide * np.maximum(np.abs(missing), _NEAR_ZERO * wide))
        rows = np.concatenate([of_image, bones.reshape(frames, len(BONES), -1)], axis=1)
        away = np.concatenate([apart.reshape(frames, -1), missing], axis=1)
        weight = np.concatenate([np.ones((frames, 2 * _COUNT)), sure], axis=1)
        return rows, away, weight

    def _add(
        self,
        band: BlockBand,
        rows: np.ndarray,
        away: np.ndarray,
        weight: np.ndarray,
        moved: np.ndarray,
        grown: np.ndarray,
    ) -> None:
        """Add rows on the keypoints ``(T, R, 69)``, of which ``away (T, R)`` is missing, to the equations.

        ``moved (T, 23, 3, P)`` and ``grown (T, 23, 3, S)`` are how keypoints follow the unknowns.
        """
        frames = len(rows)
        by_pose = rows @ moved.reshape(frames, 3 * _COUNT, -1)
        by_shape = rows @ grown.reshape(frames, 3 * _COUNT, -1)
        weighted = np.swapaxes(by_pose * weight[..., None], 1, 2)
        band.blocks[0] += weighted @ by_pose
        band.border += weighted @ by_shape
        band.right += (weighted @ away[..., None])[..., 0]
        band.corner += np.einsum("trs,tr,trq->sq", by_shape, weight, by_shape, optimize=True)
        band.common += np.einsum("trs,tr,tr->s", by_shape, weight, away, optimize=True)

    def _add_smoothness(
        self, band: BlockBand, points: np.ndarray, moved: np.ndarray, grown: np.ndarray
    ) -> None:
        """Add that points accelerate little, and that what is held does not move."""
        frames = len(points)
        flat, places = moved.reshape(frames, 3 * _COUNT, -1), points.reshape(frames, -1)
        of_shape = grown.reshape(frames, 3 * _COUNT, -1)
        weights = np.zeros((3, frames, 3 * _COUNT))  # that couple frames 0, 1 and 2 apart
        pull = np.zeros_like(places)
        bent = np.zeros_like(of_shape)  # weights times the terms' change with the shape, gathered at frames
        if frames > 2 and self._strength > 0:
            acceleration = points[2:] - 2 * points[1:-1] + points[:-2]
            unit = _ACCELERATION / self._strength / self._fps**2
            size = np.linalg.norm(acceleration, axis=-1)
            weight = 1 / (unit * np.maximum(size, _LEAST_ACCELERATION * unit))
            weight = np.repeat(weight, 3, axis=1)
            flat_acceleration = weight * acceleration.reshape(frames - 2, -1)
            second = of_shape[2:] - 2 * of_shape[1:-1] + of_shape[:-2]
            bend = weight[..., None] * second
            for at, factor in enumerate((1, -2, 1)):
                part = slice(at, frames - 2 + at)
                weights[0, part] += factor**2 * weight
                pull[part] -= factor * flat_acceleration
                bent[part] += factor * bend
            weights[1, :-2] += -2 * weight
            weights[1, 1:-1] += -2 * weight
            weights[2, :-2] += weight
            band.corner += np.einsum("trs,tr,trq->sq", second, weight, second, optimize=True)
            band.common -= np.einsum("trs,tr->s", second, flat_acceleration, optimize=True)
        if frames > 1 and self._held.any():  # of which the shape is no matter
            weight = np.zeros((frames - 1, _COUNT))
            weight[:, _STILL] = self._held[:-1] * (self._fps / _STILL_UNIT) ** 2
            weight = np.repeat(weight, 3, axis=1)
            step = weight * np.diff(places, axis=0)
            for at, factor in enumerate((-1, 1)):
                part = slice(at, frames - 1 + at)
                weights[0, part] += weight
                pull[part] -= factor * step
            weights[1, :-1] -= weight
        for apart in range(3):
            if frames > apart:
                here = slice(0, frames - apart)
                scaled = flat[here] * weights[apart, here, :, None]
                band.blocks[apart, here] += np.swapaxes(scaled, 1, 2) @ flat[apart:]
        turned = np.swapaxes(flat, 1, 2)
        band.right += (turned @ pull[..., None])[..., 0]
        band.border += turned @ bent

    def _add_shape(self, band: BlockBand, shape: np.ndarray) -> None:
        weight = max(1.0, len(self._held) / _LOOKS)
        usual, certain = self._joints.body.grown_up
        band.corner += weight * certain
        band.common += weight * certain @ (usual - shape)
        values, slopes = self._measures.quantities(shape)
        expected = []
        if "stature" in values:
            expected.append((values["stature"], slopes["stature"], np.log(self._stature), _SCALE_SPREAD))
        if "weight" in values:
            index = values["weight"] - 2 * values["stature"]
            slope = slopes["weight"] - 2 * slopes["stature"]
            expected.append((index, slope, np.log(_BODY_MASS_INDEX), _BODY_MASS_SPREAD))
        if "sex" in values:
            expected.append((values["sex"], slopes["sex"], self._sex, _SEX_SPREAD))
        for value, slope, wanted, spread in expected:
            band.corner += weight / spread**2 * np.outer(slope, slope)
            band.common += weight / spread**2 * slope * (wanted - value)


class _Limits:
    """How joints turn beside their parents: near rest, and hinges one way."""

    def __init__(self, articulation: Articulation) -> None:
        self._parents = articulation.parents
        body = articulation.body
        rest = ShapedBody(body, np.zeros(body.shape_size)).keypoints.astype(np.float64)
        count = len(JOINTS)
        self._axes = np.tile(np.eye(3), (count, 1, 1))  # rows; of hinges the first is the hinge's own
        self._spread = np.ones((count, 3))
        self._least = np.full(count, -np.inf)  # radians about the hinge
        for joint, name in enumerate(JOINTS[1:], start=1):
            part, _, side = name.partition(".") if name[-1] in "LR" else (name, "", "")
            self._spread[joint] = _SPREADS[part]
            if part in _ASIDE:
                word = {"L": "left", "R": "right"}[side]
                points = ("shoulder", "elbow", "wrist") if part == "forearm" else ("hip", "knee", "ankle")
                a, b, c = (rest[KEYPOINT_INDEX[f"{word}_{point}"]] for point in points)
                hinge = rest_hinge(b - a, c - b, ELBOW_BENDS if part == "forearm" else KNEE_BENDS)
                self._axes[joint] = orthonormal_frames(hinge, b - a).T
                self._spread[joint, 1:] = _ASIDE[part]
                cosine = (b - a) @ (c - b) / np.linalg.norm(b - a) / np.linalg.norm(c - b)
                self._least[joint] = -np.arccos(np.clip(cosine, -1, 1))

    def add(self, band: BlockBand, rotations: np.ndarray) -> None:
        """Add the limits of joints turned by ``rotations (T, J, 3, 3)`` to the equations."""
        parents = self._parents[1:]
        above = rotations[:, parents]
        turned = to_vectors(np.swapaxes(above, -1, -2) @ rotations[:, 1:])
        cross = cross_matrices(turned)
        # How the vector grows with a further turn (the inverse left Jacobian of SO(3), to second order).
        grows = np.eye(3) - cross / 2 + cross @ cross / 12
        # By a turn of the joint; by one of its parent, the same with the other sign.
        rows = self._axes[1:] @ grows @ np.swapaxes(above, -1, -2)
        angle = (self._axes[1:] @ turned[..., None])[..., 0]
        weight = np.broadcast_to(1 / self._spread[1:] ** 2, angle.shape).copy()
        away = -angle
        below = angle[..., 0] - self._least[1:]
        wrong = below < 0
        # Bent the wrong way, a hinge is pulled to where it is straight instead of to where it rests.
        weight[..., 0] = np.where(wrong, 1 / _BACKWARD**2, weight[..., 0])
        away[..., 0] = np.where(wrong, -below, away[..., 0])
        weighted = np.swapaxes(rows * weight[..., None], -1, -2)
        normal, pull = weighted @ rows, (weighted @ away[..., None])[..., 0]
        for joint, parent in enumerate(parents.tolist(), start=1):
            one, other = (slice(3 * at, 3 * at + 3) for at in (joint, parent))
            block, force = normal[:, joint - 1], pull[:, joint - 1]
            band.blocks[0][:, one, one] += block
            band.blocks[0][:, other, other] += block
            band.blocks[0][:, one, other] -= block
            band.blocks[0][:, other, one] -= block
            band.right[:, one] += force
            band.right[:, other] -= force
