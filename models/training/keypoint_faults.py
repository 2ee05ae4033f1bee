# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with keypoints when they reach decoding: an estimator's faults, for all training alike."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import correlate1d

from ..body import BodyModel
from ..keypoints import BONES
from ..shaped_body import ShapedBody

NOISE_SIGMA = 0.025
"""Largest standard deviation (m) of the noise drawn for each window."""

LENGTH_ERROR = 0.012
"""Largest standard deviation (m) of the errors that bone lengths are measured with."""


def spoil(windows: np.ndarray, rng: np.random.Generator, sigma: float = NOISE_SIGMA) -> np.ndarray:
    """Add an estimator's faults to keypoints ``(N, L, 23, 3)``: jitter, drift, bias, depth, gaps.

    ``sigma`` is the largest standard deviation (m) of the jitter; each of the N windows has its own.
    """
    count, length = windows.shape[:2]

    def some(share: float, low: float, high: float) -> np.ndarray:
        drawn = rng.uniform(low, high, (count, 1, 1, 1))
        return np.where(rng.random((count, 1, 1, 1)) < share, drawn, 0.0)

    noise = some(0.8, 0.0, sigma) * rng.normal(size=windows.shape)
    faulty = rng.random((count, 1, 1, 1)) < 0.5  # the other half sees independent noise alone
    kernel = np.exp(-0.5 * (np.arange(-6, 7) / 2.5) ** 2)
    kernel /= np.sqrt((kernel**2).sum())
    drift = correlate1d(rng.normal(size=windows.shape), kernel, axis=1, mode="wrap")
    bias = rng.normal(size=(count, 1, *windows.shape[2:]))
    noise = noise + faulty * (some(0.6, 0.0, 0.015) * drift + some(0.6, 0.0, 0.01) * bias)
    uneven = np.exp(rng.normal(0, 0.4, (count, 1, windows.shape[2], 1)))
    noise *= np.where(faulty, uneven, 1.0)
    depth = rng.normal(size=(count, 1, 1, 3))
    depth /= np.linalg.norm(depth, axis=-1, keepdims=True)
    noise += faulty * some(0.6, 0.0, 1.5) * (noise * depth).sum(-1, keepdims=True) * depth
    spoilt = windows + noise

    gap = faulty & (rng.random((count, 1, windows.shape[2], 1)) < 0.08)
    start = rng.integers(0, length, (count, 1, windows.shape[2], 1))
    lasting = rng.integers(2, length, start.shape)
    moments = np.arange(length)[None, :, None, None]
    before, after = np.clip(start - 1, 0, length - 1), np.clip(start + lasting, 0, length - 1)
    share = np.clip((moments - before) / np.maximum(after - before, 1), 0, 1)
    ends = [
        np.take_along_axis(spoilt, np.broadcast_to(at, (*at.shape[:3], 3)), axis=1) for at in (before, after)
    ]
    bridged = ends[0] * (1 - share) + ends[1] * share
    return np.where(gap & (moments > before) & (moments < after), bridged, spoilt)


def fitted_shape(body: BodyModel, shape: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the shape ``(S,)`` as fitted from the body's bone lengths, measured with a random error."""
    points = ShapedBody(body, shape).keypoints
    first, second = np.array(BONES).T
    lengths = np.linalg.norm(points[first] - points[second], axis=-1)
    return body.fit_shape(lengths + rng.normal(0, rng.uniform(0, LENGTH_ERROR), len(lengths)))
