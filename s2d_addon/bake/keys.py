# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frames get keys, so that the curves between them stay close to a motion. NumPy alone.

Two kinds of curves: straight lines, and smooth ones that have at each key the slope which the motion itself
has there (cubic Hermite splines, which Blender's Bézier handles draw exactly when they reach a third of the
way to the next key). Frames of a clip are numbered from 0 and evenly spaced.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

_MIXED_AT_ONCE = 240  # frames
_MIXED_HELD = 1e-9  # of a frame's mean square: keeps weights of frames that are nearly alike small

Progress = Callable[[float], None]
"""Called with the share of the work that is done, 0 to 1."""


# ---- few keys --------------------------------------------------------------------------------


def keys_within(strayed: Callable[[np.ndarray], np.ndarray], frames: int, tolerance: float) -> np.ndarray:
    """Choose frames ``(K,)``, the first and last of ``frames`` among them, that none strays from far.

    ``strayed`` says how far each frame strays with the keys that it is given, ``(K,)`` to ``(T,)``; none does
    by more than ``tolerance``, and at 0 every frame is kept. Begins with the ends and sets a key where each
    stretch strays furthest (Ramer-Douglas-Peucker), until nothing strays too far or every frame has a key.
    """
    if tolerance == 0:
        return np.arange(frames)
    kept = np.unique([0, frames - 1])
    while True:
        far = strayed(kept)
        more = furthest_added(kept, np.flatnonzero(~(far <= tolerance)), far)
        if len(more) == len(kept):
            return kept
        kept = more


def furthest_added(kept: np.ndarray, frames: np.ndarray, strayed: np.ndarray) -> np.ndarray:
    """Add to the ``kept`` frames, between two of them each, that of ``frames`` which ``strayed`` furthest.

    Frames that are kept already are passed over, even where rounding lets them stray.
    """
    stretch = np.searchsorted(kept, frames)
    free = kept[stretch] != frames
    frames, stretch = frames[free], stretch[free]
    order = np.lexsort((strayed[frames], stretch))
    furthest = np.diff(stretch[order], append=0) != 0
    return np.sort(np.append(kept, frames[order[furthest]]))


# ---- straight lines --------------------------------------------------------------------------


def straight_between(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return what straight lines between the ``kept`` frames make of channels ``(T, C)``."""
    frames = np.arange(len(values))
    return np.stack([np.interp(frames, kept, column[kept]) for column in values.T], axis=1)


def straight_keys(values: np.ndarray, tolerance: float) -> np.ndarray:
    """Choose frames ``(K,)`` of points ``(T, C)`` from whose straight lines none strays by more."""
    return keys_within(
        lambda kept: _distances(straight_between(values, kept), values), len(values), tolerance
    )


def vertex_keys(points: np.ndarray, tolerance: float, progress: Progress) -> np.ndarray:
    """Choose frames ``(K,)`` of vertices ``(T, V, 3)`` from whose straight lines none strays by more metres.

    One pass, since a clip's vertices may fill gigabytes on disk (a swing door): the slopes that would still
    pass every frame since the last key are narrowed frame by frame, a key is set where the next frame no
    longer lies among them. A tolerance of 0 keeps every frame.
    """
    if tolerance == 0:
        return np.arange(len(points))
    slack = tolerance / math.sqrt(3)  # a coordinate's share, so that the distance stays within
    kept = [0]
    origin = points[0]
    lowest, highest = np.full_like(origin, -np.inf), np.full_like(origin, np.inf)
    for frame in range(1, len(points)):
        slope = (points[frame] - origin) / (frame - kept[-1])
        if not ((slope >= lowest) & (slope <= highest)).all():
            kept.append(frame - 1)
            origin = points[frame - 1]
            slope = points[frame] - origin
            lowest, highest = np.full_like(origin, -np.inf), np.full_like(origin, np.inf)
        reach = slack / (frame - kept[-1])
        lowest, highest = np.maximum(lowest, slope - reach), np.minimum(highest, slope + reach)
        progress(frame / len(points))
    return np.unique([*kept, len(points) - 1])


def vertex_errors(points: np.ndarray, kept: np.ndarray) -> tuple[float, float]:
    """Return the vertices' mean and largest distance from the straight lines between the ``kept`` frames."""
    total, worst = 0.0, 0.0
    for start, stop in itertools.pairwise(kept.tolist()):
        for frame in range(start + 1, stop):
            share = (frame - start) / (stop - start)
            distances = _distances(points[start] + share * (points[stop] - points[start]), points[frame])
            total, worst = total + float(distances.mean()), max(worst, float(distances.max()))
    return total / len(points), worst


# ---- mixtures of frames ----------------------------------------------------------------------


def mixed_keys(
    points: np.ndarray, tolerance: float, progress: Progress
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Choose frames of vertices ``(T, V, 3)`` of which all others are mixtures, within ``tolerance`` metres.

    Returns them ``(K,)``, weights ``(T, K)``, so that frame 0 and the weights times how far the chosen frames
    are from it make each frame, and the vertices' mean and largest distance from where they should be. A
    weight may be below 0: poses go on beyond those that were chosen. Since these are poses of the clip, the
    normals of their mixtures are those of the surface, too; those of principal components are far from it.
    Some seconds at a time are done by themselves, so that the work grows only with the clip's length.
    """
    chosen, parts, total, worst = [], [], 0.0, 0.0
    for start in range(0, len(points), _MIXED_AT_ONCE):
        apart = (points[start : start + _MIXED_AT_ONCE] - points[0]).reshape(-1, points[0].size)
        kept, weights, off = _mixed(apart, tolerance)
        chosen.append(start + kept)
        parts.append(weights)
        total, worst = total + float(off.sum()), max(worst, float(off.max()))
        progress(min(start + _MIXED_AT_ONCE, len(points)) / len(points))
    weights = np.zeros((len(points), sum(map(len, chosen))))
    row = column = 0
    for part in parts:
        weights[row : row + len(part), column : column + part.shape[1]] = part
        row, column = row + len(part), column + part.shape[1]
    return np.concatenate(chosen), weights, total / (len(points) * len(points[0])), worst


def _mixed(apart: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choose those of frames ``(T, 3 V)`` that mix to all; return them, weights, and vertices' errors."""
    wide = apart.astype(np.float64)
    gram = wide @ wide.T
    kept = np.zeros(0, int)
    while True:
        held = _MIXED_HELD * np.trace(gram) / len(gram) * np.eye(len(kept))
        weights = np.linalg.solve(gram[np.ix_(kept, kept)] + held, gram[kept]).T
        left = apart - weights.astype(np.float32) @ apart[kept]
        off = np.linalg.norm(left.reshape(len(apart), -1, 3), axis=2)
        far = off.max(axis=1)
        far[kept] = 0.0
        if far.max() <= tolerance:
            return kept, weights, off
        # One a moment, and few at a time: one more pose mends those around it.
        before, after = np.append(-np.inf, far[:-1]), np.append(far[1:], -np.inf)
        peaks = np.flatnonzero((far > tolerance) & (far >= before) & (far > after))
        peaks = peaks if len(peaks) else np.array([far.argmax()])
        most = max(1, len(kept) // 8)
        kept = np.sort(np.append(kept, peaks[np.argsort(-far[peaks])][:most]))


# ---- smooth curves ---------------------------------------------------------------------------


def smooth_between(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return what smooth curves with keys at the ``kept`` frames make of channels ``(T, C)``."""
    frames = np.arange(len(values))
    segment = np.searchsorted(kept[1:-1], frames, side="right")
    start, stop = kept[segment], kept[np.minimum(segment + 1, len(kept) - 1)]
    length = np.maximum(stop - start, 1)[:, None]
    u = (frames - start)[:, None] / length
    slopes = _slopes(values)
    risen = u * u * (3 - 2 * u)
    bent = u * (1 - u) * ((1 - u) * slopes[start] - u * slopes[stop]) * length
    return values[start] + risen * (values[stop] - values[start]) + bent


def smooth_keys(values: np.ndarray, tolerance: float) -> np.ndarray:
    """Choose frames ``(K,)`` of points ``(T, C)`` from whose smooth curves none strays by more."""
    return keys_within(lambda kept: _distances(smooth_between(values, kept), values), len(values), tolerance)


def smooth_handles(times: np.ndarray, values: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the left and right Bézier handles ``(K, 2)``, time and value, of a smooth curve's keys.

    The curve goes through ``values`` ``(T,)`` at the scene's ``times`` ``(T,)``.
    """
    slopes, spacing = _slopes(values)[kept], (times[-1] - times[0]) / max(len(times) - 1, 1)
    before, after = -np.diff(kept, prepend=kept[0]) / 3, np.diff(kept, append=kept[-1]) / 3
    left, right = (
        np.stack([times[kept] + third * spacing, values[kept] + third * slopes], axis=1)
        for third in (before, after)
    )
    return left, right


def _slopes(values: np.ndarray) -> np.ndarray:
    """Return the change a frame of values ``(T, ...)``."""
    return np.gradient(values, axis=0) if len(values) > 1 else np.zeros_like(values)


def _distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points - others, axis=-1)
