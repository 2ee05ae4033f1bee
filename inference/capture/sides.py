# SPDX-License-Identifier: GPL-3.0-or-later
"""Which side is left: decided over the whole clip, where the estimator decides frame by frame.

Of a person seen from behind an estimator may take the back for the front: the points lie where they should in
the picture, but left and right are exchanged and depth is reversed. From one frame to the next that is a leap
of every limb to where the other was, which nobody can do. So each frame is taken as it was seen or exchanged,
whichever leads most smoothly through the clip (the path of least cost; Viterbi 1967). What the estimator said
in most frames is right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .blazepose import HIPS, LANDMARKS, SHOULDERS
from .pose_lifter import Landmarks

_BODY = slice(SHOULDERS[0], LANDMARKS)
_DEPTH, _TRUNK = 0.5, 0.5  # how much a leap in depth counts beside one in the picture; metres of a trunk
_EXCHANGED = (
    0.002  # trunks a frame that taking the estimator to be wrong costs: who is right is right more often
)
_UNSURE = 0.08  # trunks: where exchanging would be less of a leap than this more, nobody can tell
_REMEMBERED = 0.15  # seconds without the person after which where a limb was tells half as much


@dataclass(frozen=True)
class Sides:
    """What :func:`settle_sides` decides."""

    landmarks: Landmarks  # with left and right as the whole clip has them
    exchanged: np.ndarray  # (T,) bool, the frames that this changed
    unsure: np.ndarray  # (T,) bool, the frames between which an exchange would not show


def settle_sides(landmarks: Landmarks, fps: float) -> Sides:
    """Decide which side is left in every frame of a clip."""
    seen = np.flatnonzero(landmarks.score > 0)
    exchanged, unsure = np.zeros((2, len(landmarks.score)), bool)
    if len(seen) < 2:
        return Sides(landmarks, exchanged, unsure)
    points = _places(landmarks, seen)
    others = _places(landmarks.exchanged(np.ones(len(exchanged), bool)), seen)
    told = 0.5 ** ((np.diff(seen) / fps - 1 / fps) / _REMEMBERED)
    same, other = (told * np.linalg.norm(to[1:] - points[:-1], axis=-1).mean(1) for to in (points, others))
    cost = np.array([0.0, _EXCHANGED])
    came = np.zeros((len(seen), 2), int)
    for t in range(1, len(seen)):
        steps = np.array([[same[t - 1], other[t - 1]], [other[t - 1], same[t - 1]]])  # to, from
        total = steps + cost
        came[t] = total.argmin(axis=1)
        cost = total.min(axis=1) + np.array([0.0, _EXCHANGED])
    state = int(cost.argmin())
    for t in range(len(seen) - 1, -1, -1):
        exchanged[seen[t]] = bool(state)
        state = came[t, state]
    alike = np.abs(other - same) < _UNSURE
    unsure[seen[1:]] |= alike
    unsure[seen[:-1]] |= alike
    return Sides(landmarks.exchanged(exchanged), exchanged, unsure)


def _places(landmarks: Landmarks, seen: np.ndarray) -> np.ndarray:
    """Return where the body's points are ``(N, 22, 3)`` in the frames ``seen``, in lengths of the trunk."""
    image, depth = landmarks.image[seen], landmarks.world[seen][..., 2:]
    trunk = np.linalg.norm(image[:, SHOULDERS].mean(axis=1) - image[:, HIPS].mean(axis=1), axis=-1)
    places = [image / max(1.0, float(np.median(trunk))), _DEPTH * depth / _TRUNK]
    return np.concatenate(places, axis=-1)[:, _BODY]
