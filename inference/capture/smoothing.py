# SPDX-License-Identifier: GPL-3.0-or-later
"""Values over time: smoothed without delay, filled in, their speeds and runs."""

from __future__ import annotations

import numpy as np


def smooth(values: np.ndarray, weights: np.ndarray, cutoff: float, fps: float) -> np.ndarray:
    """Smooth ``values (T, K, C)`` in time without delay; ``weights (T, K)`` of zero are filled in.

    Penalised least squares on second differences (Whittaker 1922, Hodrick and Prescott 1997): where the
    weight is one, a swing of ``cutoff`` Hz is halved; gaps become cubic curves.
    """
    frames = len(values)
    if frames < 3:
        return values.copy()
    penalty = (2 - 2 * np.cos(np.pi * min(1.0, 2 * cutoff / fps))) ** -2
    diagonal = np.full((frames, 1), 6.0)
    diagonal[[0, -1]], diagonal[[1, -2]] = 1.0, 5.0
    if frames == 3:
        diagonal[1] = 4.0
    beside = np.full(frames - 1, -4.0)
    beside[[0, -1]] = -2.0
    middle = weights + penalty * diagonal
    first = np.zeros_like(middle)  # the factors of L D L^T, one row a frame
    second = np.zeros_like(middle)
    pivot = np.zeros_like(middle)
    solution = values * weights[..., None]
    for t in range(frames):
        pivot[t] = middle[t]
        off = np.full(weights.shape[1], penalty * beside[t]) if t < frames - 1 else 0.0
        if t >= 1:
            pivot[t] -= pivot[t - 1] * first[t - 1] ** 2
            off = off - pivot[t - 1] * first[t - 1] * second[t - 1]
            solution[t] -= first[t - 1, :, None] * solution[t - 1]
        if t >= 2:
            pivot[t] -= pivot[t - 2] * second[t - 2] ** 2
            solution[t] -= second[t - 2, :, None] * solution[t - 2]
        first[t] = off / pivot[t]
        second[t] = penalty / pivot[t] if t < frames - 2 else 0.0
    solution /= pivot[..., None]
    for t in range(frames - 2, -1, -1):
        solution[t] -= first[t, :, None] * solution[t + 1]
        if t < frames - 2:
            solution[t] -= second[t, :, None] * solution[t + 2]
    return solution


def speeds(points: np.ndarray, fps: float) -> np.ndarray:
    """Return the speeds ``(T, K)``, a second, of ``points (T, K, C)``; zeros for a single frame."""
    if len(points) < 2:
        return np.zeros(points.shape[:-1])
    return np.linalg.norm(np.gradient(points, axis=0), axis=-1) * fps


def fill(values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return ``values (T, ...)`` with straight lines between the frames that were ``seen (T,)``."""
    known = np.flatnonzero(seen)
    times = np.arange(len(values))
    after = np.clip(np.searchsorted(known, times), 0, len(known) - 1)
    before = np.clip(after - (known[after] > times), 0, None)
    span = np.maximum(known[after] - known[before], 1)
    share = np.clip((times - known[before]) / span, 0, 1).reshape(-1, *[1] * (values.ndim - 1))
    return values[known[before]] * (1 - share) + values[known[after]] * share


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Return the ``(start, stop)`` of each run of True in ``flags (T,)``."""
    edges = np.flatnonzero(np.diff(np.r_[False, flags, False].astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
