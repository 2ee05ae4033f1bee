# SPDX-License-Identifier: GPL-3.0-or-later
"""The keypoint track as bytes: closed-loop prediction (:mod:`..models.keypoint_motion`) and range coding.

A group of frames decodes alone: its first frame and its rare large residuals stand as plain numbers, and the
residuals of the other frames are range coded over ``constriction``, with integer frequencies that the decoder
picks from what it has decoded so far. Slow motion needs no number every frame: of a group with a *spacing* of
k only every k-th frame is coded, and the decoder draws cubic curves through them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..models.keypoint_motion import (
    LEVELS,
    RELATIVES,
    UNITS,
    WEIGHT_ONE,
    CodedTrack,
    MotionPredictor,
    load_tables,
    quantise,
    refine,
)
from ..models.keypoints import KEYPOINT_NAMES
from .errors import InputError
from .range_coding import GroupReader, pack_group

_POINTS = len(KEYPOINT_NAMES)
_CODING_ORDER = np.concatenate(LEVELS)
_LIMIT_M = 1000  # no keypoint of a filmed person lies further away
_FREE_FRAMES, _FRAMES_A_BYTE = 64, 8  # no frequency is so high that a frame costs less than a bit

MAX_SPACING = 8
SPARSE_ERROR = 0.65  # some two fifths more than where every frame is coded
_FITTING_STEPS = 8  # of conjugate gradients, after which the curves' error does not fall any more


@dataclass(frozen=True)
class CodedGroup:
    """A group as it is coded: every ``spacing``-th frame of it."""

    data: bytes
    spacing: int
    error: float  # of all frames: root mean square, metres
    track: CodedTrack  # what the bytes say


def encode_sparsely(keypoints: np.ndarray, step_um: int) -> CodedGroup:
    """Code ``(n, 23, 3)`` metres at the spacing that takes fewest bytes, of those that are true enough.

    A root mean square error of up to :data:`SPARSE_ERROR` steps will do. Raises InputError as
    :func:`encode_group`.
    """
    best = encode_group(keypoints, step_um)
    for spacing in range(2, min(MAX_SPACING, len(keypoints) - 1) + 1):
        group = encode_group(keypoints, step_um, spacing)
        if group.error > SPARSE_ERROR * step_um * 1e-6:
            break
        best = min(best, group, key=lambda one: len(one.data))
    return best


def encode_group(keypoints: np.ndarray, step_um: int, spacing: int = 1) -> CodedGroup:
    """Code ``(n, 23, 3)`` metres as one group, quantised in steps of ``step_um`` micrometres.

    Raises InputError if a keypoint is further than a kilometre away.
    """
    if not np.abs(keypoints).max() < _LIMIT_M:
        raise InputError("bad_keypoints", "a keypoint is over a kilometre away: keypoints must be in metres.")
    keypoints = np.asarray(keypoints, np.float64)
    track = np.rint(_samples(keypoints, spacing) * (1e6 * UNITS / step_um)).astype(np.int64)
    tables = load_tables()
    coded = quantise(tables, track)
    data = pack_group(
        _first_differences(coded.decoded[0] // UNITS),
        coded.residuals[1:, _CODING_ORDER].ravel(),
        coded.scales[1:, _CODING_ORDER].ravel(),
    )
    refined = refine(tables, coded.decoded, coded.predicted)
    error = _metres(refined, len(keypoints), step_um, spacing) - keypoints
    return CodedGroup(data, spacing, float(np.sqrt((error**2).sum(axis=-1).mean())), coded)


def decode_group(data: bytes, frames: int, step_um: int, spacing: int = 1) -> np.ndarray:
    """Decode what :func:`encode_group` made of ``frames`` frames to ``(frames, 23, 3)`` float32 metres.

    Raises InputError if the bytes are not such a group.
    """
    check_group_size(frames, len(data), spacing)
    count = coded_frames(frames, spacing)
    reader = GroupReader(data, _POINTS * 3, "keypoints")
    tables = load_tables()
    decoded = np.zeros((count, _POINTS, 3), np.int64)
    decoded[0] = _first_frame(reader.numbers) * UNITS
    predictions = decoded.copy()
    predictor = MotionPredictor(tables, decoded[0])
    for t in range(1, count):
        for points in LEVELS:
            predicted = predictor.predict(points)
            residuals = reader.residuals(predictor.scale(points).ravel())
            predictor.accept(points, predicted, residuals.reshape(-1, 3))
            predictions[t, points] = predicted
        decoded[t] = predictor.next_frame()
    if np.abs(decoded).max() > _LIMIT_M * 1_000_000 * UNITS // step_um + UNITS * 64:
        raise InputError("damaged", "the keypoints are damaged.")
    return _metres(refine(tables, decoded, predictions), frames, step_um, spacing).astype(np.float32)


def coded_frames(frames: int, spacing: int) -> int:
    """Return how many frames are coded of a group of ``frames``; the last may lie beyond its end."""
    return -(-(frames - 1) // spacing) + 1


def check_group_size(frames: int, size: int, spacing: int = 1) -> None:
    """Raise InputError if ``size`` bytes cannot hold ``frames`` frames, before any are allocated."""
    if coded_frames(frames, spacing) > _FREE_FRAMES + size * _FRAMES_A_BYTE:
        raise InputError("damaged", f"it claims {frames} frames in {size} bytes of keypoints.")


def _first_differences(first: np.ndarray) -> list[int]:
    """Return the first frame (steps) as each point less its first relative, in coding order."""
    differences = first - first[RELATIVES[:, 0]]
    root = _CODING_ORDER[0]
    differences[root] = first[root]
    return differences[_CODING_ORDER].ravel().tolist()


def _first_frame(numbers: list[int]) -> np.ndarray:
    differences = np.array(numbers, np.int64).reshape(_POINTS, 3)
    first = np.zeros_like(differences)
    first[_CODING_ORDER[0]] = differences[0]
    for point, difference in zip(_CODING_ORDER[1:], differences[1:], strict=True):
        first[point] = first[RELATIVES[point, 0]] + difference
    return first


def _metres(refined: np.ndarray, frames: int, step_um: int, spacing: int) -> np.ndarray:
    """Return ``(frames, 23, 3)`` float64 metres of coded frames in 1/4096 lattice unit."""
    return _between(refined, spacing)[:frames] * (step_um * 1e-6 / (UNITS * WEIGHT_ONE * 2 * spacing**3))


def _curves(spacing: int) -> np.ndarray:
    """Return the weights ``(spacing, 4)``, times ``2 spacing**3``, of four samples at places from the second.

    Cubic curves through the samples with the slope between their neighbours (Catmull and Rom, 1974).
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


def _between(samples: np.ndarray, spacing: int) -> np.ndarray:
    """Return the frames on the curves through ``samples (m, ...)``, times ``2 spacing**3``.

    They are ``(m - 1) * spacing + 1``. Before the first sample and after the last the line goes on.
    """
    frames = np.empty(((len(samples) - 1) * spacing + 1, *samples.shape[1:]), samples.dtype)
    frames[-1] = samples[-1] * (2 * spacing**3)
    if len(samples) > 1:
        ends = 2 * samples[0] - samples[1], 2 * samples[-1] - samples[-2]
        around = np.concatenate([ends[0][None], samples, ends[1][None]])
        for j, weights in enumerate(_curves(spacing)):
            frames[j:-1:spacing] = sum(w * around[q : q + len(samples) - 1] for q, w in enumerate(weights))
    return frames


def _gathered(frames: np.ndarray, spacing: int) -> np.ndarray:
    """Apply the transpose of :func:`_between` to ``frames``."""
    count = (len(frames) - 1) // spacing + 1
    around = np.zeros((count + 2, *frames.shape[1:]))
    around[count] = frames[-1] * (2 * spacing**3)
    for j, weights in enumerate(_curves(spacing)):
        for q, w in enumerate(weights):
            around[q : q + count - 1] += w * frames[j:-1:spacing]
    samples = around[1:-1].copy()
    samples[0] += 2 * around[0]
    samples[1] -= around[0]
    samples[-1] += 2 * around[-1]
    samples[-2] -= around[-1]
    return samples


def _samples(keypoints: np.ndarray, spacing: int) -> np.ndarray:
    """Return the samples whose curves lie nearest to ``keypoints (n, ...)``: least squares.

    By conjugate gradients from the keypoints themselves; few steps, so that a sample beyond the last frame
    does not run away.
    """
    if spacing == 1 or len(keypoints) == 1:
        return keypoints
    count, scale = coded_frames(len(keypoints), spacing), 2.0 * spacing**3
    samples = keypoints[np.minimum(np.arange(count) * spacing, len(keypoints) - 1)]

    def curve(x: np.ndarray) -> np.ndarray:
        frames = _between(x, spacing) / scale
        frames[len(keypoints) :] = 0
        return frames

    missed = -curve(samples)
    missed[: len(keypoints)] += keypoints
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
