# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the pose estimator puts its points on a body, and how far it strays from there, as filmed clips show.

The estimator's 33 points are fixed linear maps of the body's 23 keypoints, and what remains is its faults:
tracks of them, kept by how people are posed and which way they face, which are as correlated among points and
in time as real ones. They are in metres, as a camera sees them that follows the trunk and turns with it
(:func:`...inference.capture.pose_lifter.axes_of`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...inference.capture.blazepose import HIPS, LANDMARKS, SHOULDERS
from ...inference.capture.pose_lifter import OPPOSITE, RATE, across, axes_of, rolled
from ...inference.capture.sides import settle_sides
from ...inference.capture.smoothing import fill
from ..errors import InputError
from ..keypoints import BLAZEPOSE_INDEX, KEYPOINT_INDEX, KEYPOINT_NAMES, TRUNK
from .lifter_clips import LifterClip

KINDS = ("upright", "sitting", "floor", "inverted", "above")
"""What faults are kept by: postures, and people seen from above."""

PARTS: tuple[tuple[int, ...], ...] = (
    tuple(range(11)), (11, 12, 23, 24), (13, 15, 17, 19, 21), (14, 16, 18, 20, 22),
    (25, 27, 29, 31), (26, 28, 30, 32),
)  # fmt: skip
"""Landmarks of head, trunk, left and right arm, left and right leg, whose faults mix."""

_LEAST_SEEN = 0.9  # of a clip's frames
_ADULT_LEG = 0.68  # metres: of children, which the estimator hardly knows, nothing is learnt
_LOST = 0.6  # lengths of the trunk in the picture, off on average: the estimator saw something else
_TOLERANCE = 0.05  # metres of error from which on a point counts little in the map
_SHRUNK, _SUM_TO_ONE = 1e-3, 10.0  # of the map's weights; square metres a point that they are worth
_ROUNDS = 4
_ALIKE, _AT_LEAST = 4, 8  # one in how many tracks faces alike enough, but so many at least
_BIAS = 0.01  # metres that a point is off all the time
_COMMON_BIAS = (
    ((11, 12), 0.015), ((23, 24), 0.02), ((13, 14), 0.01), ((15, 16, 17, 18, 19, 20, 21, 22), 0.012),
    ((25, 26), 0.012), ((27, 28, 29, 30, 31, 32), 0.015), (tuple(range(11)), 0.012),
)  # fmt: skip
"""Landmarks that are off together all the time, and by how much, metres."""
_HIPS_LOWER, _SHOULDERS_HIGHER = (0.03, 0.05), (0.01, 0.03)  # trunks: mean and standard deviation
_WHOLE = 0.5  # how often a part has the fault of the same clip as the others

_TRUNK = [BLAZEPOSE_INDEX[point] for point in TRUNK]  # among the landmarks


@dataclass(frozen=True)
class Followed:
    """A clip of which the estimator saw enough, its gaps filled."""

    kind: str  # of :data:`KINDS`
    rays: np.ndarray  # (T, 33, 2) landmarks in the picture, x / z and y / z
    world: np.ndarray  # (T, 33, 3) metres, axes parallel to the picture's
    visibility: np.ndarray  # (T, 33) 0 to 1
    keypoints: np.ndarray  # (T, 23, 3) true, camera space, metres
    seen: np.ndarray  # (T,) bool; elsewhere the landmarks are filled in
    inside: np.ndarray  # (T, 23) bool: the true keypoint lies in the picture

    @property
    def true_rays(self) -> np.ndarray:
        """The true keypoints in the picture ``(T, 23, 2)``, x / z and y / z."""
        return self.keypoints[..., :2] / self.keypoints[..., 2:]

    @property
    def distance(self) -> np.ndarray:
        """How far ``(T, 1, 1)`` the trunk's middle is away, metres."""
        return np.linalg.norm(self.keypoints[:, TRUNK].mean(axis=1), axis=-1)[:, None, None]


def followed(clip: LifterClip) -> Followed | None:
    """Return a clip as it is learnt from; None of children, people seldom seen, and where others were."""
    landmarks = settle_sides(clip.landmarks, RATE).landmarks
    seen = landmarks.score > 0
    points = clip.keypoints[0]
    hip, knee, ankle = (points[KEYPOINT_INDEX[f"left_{joint}"]] for joint in ("hip", "knee", "ankle"))
    if seen.mean() < _LEAST_SEEN or np.linalg.norm(hip - knee) + np.linalg.norm(knee - ankle) < _ADULT_LEG:
        return None
    camera, inside = clip.camera, clip.inside() & seen[:, None]
    pixels = camera.project(clip.keypoints)
    off = np.linalg.norm(landmarks.image[:, BLAZEPOSE_INDEX] - pixels, axis=-1)
    of_body = pixels[:, TRUNK].reshape(-1, 2, 2, 2).mean(axis=1)  # hips, shoulders
    trunk = of_body[:, 1] - of_body[:, 0]
    if not inside.any() or off[inside].mean() > _LOST * np.linalg.norm(trunk, axis=-1).mean():
        return None
    rays = (landmarks.image - (camera.cx, camera.cy)) / (camera.fx, camera.fy)
    return Followed(
        clip.kind if clip.kind in KINDS else "upright",
        fill(rays, seen),
        fill(landmarks.world, seen),
        fill(landmarks.visibility, seen) * seen[:, None],
        clip.keypoints,
        seen,
        clip.inside(),
    )


def fit_map(clips: Sequence[Followed]) -> np.ndarray:
    """Return the linear map ``(33, 23)`` from the body's keypoints to where the estimator puts its points.

    Its rows sum to one, so that it moves, turns and scales as the body does. Ridge regression on the
    pictures whose keypoints are all inside, in metres about the trunk, weighed by visibility, and again by
    how well a point fits (iteratively, with Cauchy's weights).
    """
    parts = []
    for clip in clips:
        middle = clip.true_rays[:, TRUNK].mean(axis=1, keepdims=True)
        about = ((rays - middle) * clip.distance for rays in (clip.true_rays, clip.rays))
        parts.append([values[clip.inside.all(axis=1)] for values in (*about, clip.visibility)])
    bodies, points, seen = (np.concatenate(values) for values in zip(*parts, strict=True))
    count = len(KEYPOINT_NAMES)
    body = bodies.swapaxes(1, 2).reshape(-1, count)
    wanted = points.swapaxes(1, 2).reshape(-1, LANDMARKS)
    visibility = np.repeat(seen, 2, axis=0)
    found = np.zeros((LANDMARKS, count))
    for landmark in range(LANDMARKS):
        certain = weight = visibility[:, landmark] ** 2
        for _ in range(_ROUNDS):
            weighed, total = body * weight[:, None], weight.sum()
            left = weighed.T @ body + total * (_SHRUNK * np.eye(count) + _SUM_TO_ONE)
            found[landmark] = np.linalg.solve(left, weighed.T @ wanted[:, landmark] + total * _SUM_TO_ONE)
            off = body @ found[landmark] - wanted[:, landmark]
            weight = certain / (1 + (off / _TOLERANCE) ** 2)
    return found / found.sum(axis=1, keepdims=True)


class EstimatorFaults:
    """The map of :func:`fit_map` and tracks of what the estimator does otherwise, of clips and mirrored.

    InputError ``clips`` where there are no clips.

    Attributes:
        map: ``(33, 23)``.
        size: the logarithm of how large the estimator takes people, of their true size, on average.
    """

    def __init__(self, clips: Sequence[Followed]) -> None:
        if not clips:
            raise InputError("clips", "In no filmed clip the estimator sees the person: film more (--clips).")
        self.map = fit_map(clips)
        tracks = [self._track(clip) for clip in clips]
        self.size = float(np.mean([track.size for track in tracks]))
        tracks += [track.mirrored() for track in tracks]
        # A kind that no clip shows has the faults of all others.
        self._tracks = {kind: [track for track in tracks if track.kind == kind] or tracks for kind in KINDS}
        self._facing = {kind: np.array([t.facing for t in of_kind]) for kind, of_kind in self._tracks.items()}

    def points_of(self, keypoints: np.ndarray) -> np.ndarray:
        """Return where the estimator puts its points ``(..., 33, C)`` on keypoints ``(..., 23, C)``."""
        return np.einsum("kj,...jc->...kc", self.map, keypoints)

    def draw(
        self, kind: str, facing: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw faults for a person of a ``kind`` of :data:`KINDS` who is ``facing`` so (:func:`facing_of`).

        Parts of the body may have those of several clips of people who face alike, forth or back in time.

        Returns:
            What the points are off by in the picture ``(T, 33, 2)`` and about the trunk ``(T, 33, 3)``,
            metres, and the visibility ``(T, 33)``.
        """
        apart = np.abs((self._facing[kind] - facing + np.pi) % (2 * np.pi) - np.pi)
        alike = np.argsort(apart)[: max(_AT_LEAST, len(apart) // _ALIKE)]
        whole, step = rng.choice(alike), rng.choice((-1, 1))
        image, world, visibility = (np.empty_like(x) for x in self._tracks[kind][whole].values)
        for part in map(list, PARTS):
            chosen = self._tracks[kind][whole if rng.random() < _WHOLE else rng.choice(alike)]
            for ours, theirs in zip((image, world, visibility), chosen.values, strict=True):
                ours[:, part] = theirs[::step, part]
        return image, world, visibility

    def _track(self, clip: Followed) -> _Track:
        """Return what the estimator did otherwise than the map says."""
        points = self.points_of(clip.true_rays)
        axes, roll = (values[0] for values in axes_of(points[None], np.ones((1, len(points)), bool)))
        turn = axes @ rolled(roll)
        image = (across(clip.rays, turn) - across(points, turn)) * clip.distance
        keypoints = about_trunk(clip.keypoints @ turn)
        said = clip.world @ rolled(roll)
        wanted, said = (
            points - points[:, _TRUNK].mean(axis=1, keepdims=True)
            for points in (self.points_of(keypoints), said)
        )
        size = np.sqrt((said**2).sum() / (wanted**2).sum())
        return _Track(
            clip.kind,
            tuple(x.astype(np.float32) for x in (image, said / size - wanted, clip.visibility)),
            float(facing_of(keypoints[None])[0]),
            float(np.log(size)),
        )


@dataclass(frozen=True)
class _Track:
    kind: str
    values: tuple[np.ndarray, ...]  # as EstimatorFaults.draw returns them, float32
    facing: float
    size: float  # the logarithm of how large the estimator took the person, of the true size

    def mirrored(self) -> _Track:
        image, world, visibility = (values[:, OPPOSITE] for values in self.values)
        flip = np.array([-1, 1, 1], np.float32)
        return _Track(self.kind, (image * flip[:2], world * flip, visibility), -self.facing, self.size)


def biases(count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw what landmarks are off by all the time, one by one and as groups: ``(count, 1, 33, 2)`` metres."""
    bias = rng.normal(0, _BIAS, (count, 1, LANDMARKS, 2))
    for landmarks, spread in _COMMON_BIAS:
        bias[:, :, landmarks] += rng.normal(0, spread, (count, 1, 1, 2))
    return bias


def longer_trunk(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return landmarks ``(N, T, 33, 2)`` with lower hips and higher shoulders.

    That is where the estimator has them on filmed people, compared with rendered ones.
    """
    trunk = points[:, :, HIPS].mean(axis=2) - points[:, :, SHOULDERS].mean(axis=2)
    points = points.copy()
    for joints, sign, (mean, spread) in ((HIPS, 1, _HIPS_LOWER), (SHOULDERS, -1, _SHOULDERS_HIGHER)):
        share = sign * rng.normal(mean, spread, (len(points), 1, 1))
        points[:, :, joints] += (share * trunk)[:, :, None]
    return points


def about_trunk(keypoints: np.ndarray) -> np.ndarray:
    """Return keypoints ``(..., 23, 3)`` from the trunk's middle."""
    return keypoints - keypoints[..., TRUNK, :].mean(axis=-2, keepdims=True)


def facing_of(keypoints: np.ndarray) -> np.ndarray:
    """Return which way people ``(N, T, 23, 3)`` face on average over time, radians; 0 is towards the camera.

    Their trunks stand, as a camera sees them that turns with them.
    """
    left, right = (
        keypoints[:, :, [KEYPOINT_INDEX[f"{side}_{joint}"] for joint in ("shoulder", "hip")]].sum(axis=(1, 2))
        for side in ("left", "right")
    )
    return np.arctan2((left - right)[:, 2], (left - right)[:, 0])
