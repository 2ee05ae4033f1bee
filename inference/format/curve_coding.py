# SPDX-License-Identifier: GPL-3.0-or-later
"""Cubic curves through every k-th frame, for motion that is too slow to be sent frame by frame.

Curves are those of Catmull and Rom (1974): between two samples the cubic whose slope at each is the slope
between its neighbours. In whole numbers they are exact.
"""

from __future__ import annotations

import numpy as np

_FITTING_STEPS = 8  # of conjugate gradients, after which the error does not fall any more


def coded_frames(frames: int, spacing: int) -> int:
    """Return how many frames are coded of a group of ``frames``; the last may lie beyond its end."""
    return -(-(frames - 1) // spacing) + 1


def draw_curves(samples: np.ndarray, spacing: int) -> np.ndarray:
    """Return the frames on the curves through ``samples (m, ...)``, times ``2 spacing**3``.

    They are ``(m - 1) * spacing + 1``. Before the first sample and after the last the line goes on.
    """
    frames = np.empty(((len(samples) - 1) * spacing + 1, *samples.shape[1:]), samples.dtype)
    frames[-1] = samples[-1] * (2 * spacing**3)
    if len(samples) > 1:
        ends = 2 * samples[0] - samples[1], 2 * samples[-1] - samples[-2]
        around = np.concatenate([ends[0][None], samples, ends[1][None]])
        for j, weights in enumerate(_weights(spacing)):
            frames[j:-1:spacing] = sum(w * around[q : q + len(samples) - 1] for q, w in enumerate(weights))
    return frames


def fit_curves(frames: np.ndarray, spacing: int) -> np.ndarray:
    """Return the samples ``(m, ...)`` whose curves lie nearest to ``frames (n, ...)``: least squares.

    By conjugate gradients from the frames themselves; few steps, so that a sample beyond the last frame
    does not run away.
    """
    if spacing == 1 or len(frames) == 1:
        return frames
    count, scale = coded_frames(len(frames), spacing), 2.0 * spacing**3
    samples = frames[np.minimum(np.arange(count) * spacing, len(frames) - 1)]

    def curve(x: np.ndarray) -> np.ndarray:
        drawn = draw_curves(x, spacing) / scale
        drawn[len(frames) :] = 0
        return drawn

    missed = -curve(samples)
    missed[: len(frames)] += frames
    residual = _gathered(missed, spacing) / scale
    direction, size = residual, (residual**2).sum()
    for _ in range(_FITTING_STEPS):
        if size < 1e-18:
            break
        along = curve(direction)
        step = size / (along**2).sum()
        samples = samples + step * direction
        residual = residual - step * _gathered(along, spacing) / scale
        size, before = (residual**2).sum(), size
        direction = residual + size / before * direction
    return samples


def _weights(spacing: int) -> np.ndarray:
    """Return the weights ``(spacing, 4)`` of four samples at each place from the second to the third.

    They are times ``2 spacing**3``.
    """
    k, j = spacing, np.arange(spacing, dtype=np.int64)
    return np.stack(
        [
            -(j**3) + 2 * k * j**2 - k**2 * j,
            3 * j**3 - 5 * k * j**2 + 2 * k**3,
            -3 * j**3 + 4 * k * j**2 + k**2 * j,
            j**3 - k * j**2,
        ],
        axis=1,
    )


def _gathered(frames: np.ndarray, spacing: int) -> np.ndarray:
    """Apply the transpose of :func:`draw_curves` to ``frames``."""
    count = (len(frames) - 1) // spacing + 1
    around = np.zeros((count + 2, *frames.shape[1:]))
    around[count] = frames[-1] * (2 * spacing**3)
    for j, weights in enumerate(_weights(spacing)):
        for q, w in enumerate(weights):
            around[q : q + count - 1] += w * frames[j:-1:spacing]
    samples = around[1:-1].copy()
    samples[0] += 2 * around[0]
    samples[1] -= around[0]
    samples[-1] += 2 * around[-1]
    samples[-2] -= around[-1]
    return samples
