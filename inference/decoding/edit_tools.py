# SPDX-License-Identifier: GPL-3.0-or-later
"""What the edits of a motion share: bones that keep their lengths, smoothing in time, runs of frames."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ...models.keypoints import ANKLES, BONES, FEET, KEYPOINT_INDEX, KEYPOINT_NAMES

KNEES = [KEYPOINT_INDEX["left_knee"], KEYPOINT_INDEX["right_knee"]]
"""Left and right knee."""

LEGS = [*KNEES, *ANKLES, *FEET]
"""What of the keypoints is below the hips."""

LEG_BONES = np.array([i for i, bone in enumerate(BONES) if set(bone) & set(LEGS)])
"""The indices of those of :data:`..models.keypoints.BONES` that hold the legs together and to the hips."""

_FRAMES_AT_ONCE = 512


def hold_lengths(
    points: np.ndarray, bones: np.ndarray, lengths: np.ndarray, mobility: np.ndarray, passes: int = 6
) -> np.ndarray:
    """Move points ``(T, K, 3)`` as little as can be until bones have their lengths.

    ``bones`` is ``(N, 2)`` and ``lengths`` ``(T, N)``. ``mobility`` ``(K, K)`` is what one point's pull does
    to each: large where a point moves easily, off the diagonal where points move together. Newton's method on
    the constraints, each pass the least change in that metric (Goldenthal et al., SIGGRAPH 2007).
    """
    incidence = np.zeros((len(bones), points.shape[1]))
    incidence[np.arange(len(bones)), bones[:, 0]] = 1.0
    incidence[np.arange(len(bones)), bones[:, 1]] = -1.0
    spread = mobility @ incidence.T
    coupling = incidence @ spread
    damping = 1e-5 * np.trace(coupling) / len(bones) * np.eye(len(bones))
    points = points.astype(np.float64)
    for _ in range(passes):
        span = incidence @ points
        length = np.maximum(np.linalg.norm(span, axis=-1, keepdims=True), 1e-6)
        unit = span / length
        system = (unit @ np.swapaxes(unit, 1, 2)) * coupling + damping
        pull = np.linalg.solve(system, (lengths - length[..., 0])[..., None])
        points += spread @ (pull * unit)
    return points


def bone_lengths(points: np.ndarray, bones: np.ndarray) -> np.ndarray:
    """Return how far apart the points ``(T, K, 3)`` of each of ``bones (N, 2)`` are: ``(T, N)`` float64."""
    return np.linalg.norm(points[:, bones[:, 0]] - points[:, bones[:, 1]], axis=-1).astype(np.float64)


def cut_in_blocks(frames: int) -> Iterator[slice]:
    """Yield the parts in which a long motion is worked on."""
    for start in range(0, frames, _FRAMES_AT_ONCE):
        yield slice(start, start + _FRAMES_AT_ONCE)


def gaussian(values: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth ``(T, ...)`` in time by a Gaussian of ``sigma`` frames.

    Beyond its ends the motion is continued point-symmetrically, so that a steady one stays steady.
    """
    reach = min(math.ceil(3 * sigma), len(values) - 1)
    if reach < 1:
        return np.asarray(values, np.float64)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    before = 2 * values[:1] - values[reach:0:-1]
    after = 2 * values[-1:] - values[-2 : -reach - 2 : -1]
    padded = np.concatenate([before, values, after]).astype(np.float64)
    return sum(weight * padded[i : i + len(values)] for i, weight in enumerate(kernel))


def runs(flags: np.ndarray) -> list[list[int]]:
    """Return ``[start, stop]`` of every unbroken run of true ``flags (T,)``."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return edges.reshape(-1, 2).tolist()


def leg_mobility() -> np.ndarray:
    """Knees give way easily, ankles hardly, soles least; everything else moves as one, and hardly."""
    count = len(KEYPOINT_NAMES)
    mobility = np.zeros((count, count))
    rest = [point for point in range(count) if point not in LEGS]
    mobility[np.ix_(rest, rest)] = 0.02
    for points, ease in ((KNEES, 1.0), (ANKLES, 0.02), (FEET, 0.001)):
        mobility[points, points] = ease
    return mobility
