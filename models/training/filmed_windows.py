# SPDX-License-Identifier: GPL-3.0-or-later
"""Filmed people to train the pose lifter on, beside virtual windows: what the estimator really said of them.

Clips are mirrored and played backwards, and their landmarks moved a little, as the estimator might have had
them on somebody else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...inference.capture.blazepose import LANDMARKS
from ...inference.capture.pose_lifter import OPPOSITE, view_of
from ..keypoints import MIRRORED, TRUNK
from .estimator_faults import Followed, biases, longer_trunk
from .lifter_windows import truth_of

_OUTSIDE, _UNSEEN = 0.15, 0.3  # weight of keypoints outside the picture, and of frames without the person
_BACKWARDS = 0.3  # how often
_BIASES, _JITTER = 0.5, 0.004  # of the virtual windows' biases; metres
_BODY_SIZES, _WORLD_BIAS = 0.08, 0.012  # standard deviations: of the size's logarithm; metres


class FilmedWindows:
    """Draws examples of filmed clips, all equally long; a function of ``(seed, step)`` alone."""

    def __init__(self, clips: Sequence[Followed], seed: int) -> None:
        self._clips, self._seed = clips, seed

    def batch(self, step: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what the network sees and should say of ``count`` clips, and how much each keypoint counts.

        The first two are as :meth:`.lifter_windows.LifterWindows.batch` returns them, the last is
        ``(count, T, 23)`` float32.
        """
        rng = np.random.default_rng([self._seed, 2, step])
        drawn = [_varied(self._clips[at], rng) for at in rng.integers(0, len(self._clips), count)]
        rays, world, visibility, keypoints, seen, inside = (np.stack(x) for x in zip(*drawn, strict=True))
        distance = np.linalg.norm(keypoints[:, :, TRUNK].mean(axis=2), axis=-1)[..., None, None]
        jitter = _JITTER * rng.random((count, 1, 1, 1)) * rng.normal(size=rays.shape)
        rays = longer_trunk(rays + (_BIASES * biases(count, rng) + jitter) / distance, rng)
        world = world * np.exp(rng.normal(0, _BODY_SIZES, (count, 1, 1, 1)))
        world = world + rng.normal(0, _WORLD_BIAS, (count, 1, LANDMARKS, 3))
        view = view_of(rays, world, visibility, seen)
        weight = np.where(inside, 1, _OUTSIDE) * np.where(seen, 1, _UNSEEN)[..., None]
        return view.features, truth_of(view, keypoints), weight.astype(np.float32)


def _varied(clip: Followed, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return a clip's rays, world, visibility, keypoints, seen and inside, mirrored or not, forth or back."""
    landmarks = [clip.rays, clip.world, clip.visibility]
    keypoints, inside = clip.keypoints, clip.inside
    if rng.random() < 0.5:
        flip = np.array([-1, 1, 1])
        landmarks = [values[:, OPPOSITE] for values in landmarks]
        landmarks[:2] = landmarks[0] * flip[:2], landmarks[1] * flip
        keypoints, inside = keypoints[:, MIRRORED] * flip, inside[:, MIRRORED]
    step = -1 if rng.random() < _BACKWARDS else 1
    return tuple(values[::step] for values in (*landmarks, keypoints, clip.seen, inside))
