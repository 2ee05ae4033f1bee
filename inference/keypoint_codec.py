# SPDX-License-Identifier: GPL-3.0-or-later
"""The keypoint track as bytes: closed-loop prediction (:mod:`..models.keypoint_motion`) and range coding.

A group of frames decodes alone: its first frame and its rare large residuals stand as plain numbers, and the
residuals of the other frames are range coded over ``constriction``, with integer frequencies that the decoder
picks from what it has decoded so far.
"""

from __future__ import annotations

import constriction
import numpy as np

from ..models.keypoint_motion import (
    LARGEST_RESIDUAL,
    LEVELS,
    RELATIVES,
    UNITS,
    WEIGHT_ONE,
    MotionPredictor,
    load_tables,
    quantise,
    refine,
)
from ..models.keypoints import KEYPOINT_NAMES
from .errors import InputError
from .fields import ByteReader, pack_varint

_POINTS = len(KEYPOINT_NAMES)
_ESCAPE = 2 * LARGEST_RESIDUAL + 1
_CODING_ORDER = np.concatenate(LEVELS)
_LIMIT_M = 1000  # no keypoint of a filmed person lies further away
_LIMIT_RESIDUAL = 1 << 26
_FREE_FRAMES, _FRAMES_A_BYTE = 64, 8  # no frequency is so high that a frame costs less than a bit
_MODEL = constriction.stream.model.Categorical(perfect=False)


def encode_group(keypoints: np.ndarray, step_um: int) -> bytes:
    """Code ``(n, 23, 3)`` metres as one group, quantised in steps of ``step_um`` micrometres.

    Raises InputError if a keypoint is further than a kilometre away.
    """
    if not np.abs(keypoints).max() < _LIMIT_M:
        raise InputError("bad_keypoints", "a keypoint is over a kilometre away: keypoints must be in metres.")
    tables = load_tables()
    track = np.rint(np.asarray(keypoints, np.float64) * (1e6 * UNITS / step_um)).astype(np.int64)
    coded = quantise(tables, track)
    residuals = coded.residuals[1:, _CODING_ORDER].ravel()
    large = np.abs(residuals) > LARGEST_RESIDUAL
    symbols = np.where(large, _ESCAPE, residuals + LARGEST_RESIDUAL).astype(np.int32)
    coder = constriction.stream.queue.RangeEncoder()
    frequencies = tables.frequencies[coded.scales[1:, _CODING_ORDER].ravel()]
    coder.encode(symbols, _MODEL, frequencies.astype(np.float64))
    escaped = residuals[large].tolist()
    numbers = [*_first_differences(coded.decoded[0] // UNITS), *escaped]
    return (
        pack_varint(len(escaped))
        + b"".join(pack_varint(2 * n if n >= 0 else -2 * n - 1) for n in numbers)
        + coder.get_compressed().astype("<u4").tobytes()
    )


def decode_group(data: bytes, frames: int, step_um: int) -> np.ndarray:
    """Decode what :func:`encode_group` made of ``frames`` frames to ``(frames, 23, 3)`` float32 metres.

    Raises InputError if the bytes are not such a group.
    """
    check_group_size(frames, len(data))
    reader = ByteReader(data)
    count = reader.varint()
    if count > len(data):
        raise _damaged()
    numbers = [n >> 1 ^ -(n & 1) for n in (reader.varint() for _ in range(_POINTS * 3 + count))]
    escaped = iter(numbers[_POINTS * 3 :])
    words = reader.rest()
    if len(words) % 4 or max(map(abs, numbers)) > _LIMIT_RESIDUAL:
        raise _damaged()
    coder = constriction.stream.queue.RangeDecoder(np.frombuffer(words, "<u4").astype(np.uint32))
    tables = load_tables()
    frequencies = tables.frequencies.astype(np.float64)
    decoded = np.zeros((frames, _POINTS, 3), np.int64)
    decoded[0] = _first_frame(numbers[: _POINTS * 3]) * UNITS
    predictions = decoded.copy()
    predictor = MotionPredictor(tables, decoded[0])
    for t in range(1, frames):
        for points in LEVELS:
            predicted = predictor.predict(points)
            try:
                symbols = coder.decode(_MODEL, frequencies[predictor.scale(points).ravel()])
            except (AssertionError, ValueError):
                raise _damaged() from None
            residuals = symbols.astype(np.int64) - LARGEST_RESIDUAL
            for i in np.flatnonzero(symbols == _ESCAPE):
                residuals[i] = next(escaped, 0)
            predictor.accept(points, predicted, residuals.reshape(-1, 3))
            predictions[t, points] = predicted
        decoded[t] = predictor.next_frame()
    if np.abs(decoded).max() > _LIMIT_M * 1_000_000 * UNITS // step_um + UNITS * 64:
        raise _damaged()
    metres = refine(tables, decoded, predictions) * (step_um * 1e-6 / (UNITS * WEIGHT_ONE))
    return metres.astype(np.float32)


def check_group_size(frames: int, size: int) -> None:
    """Raise InputError if ``size`` bytes cannot hold ``frames`` frames, before any are allocated."""
    if frames > _FREE_FRAMES + size * _FRAMES_A_BYTE:
        raise InputError("damaged", f"it claims {frames} frames in {size} bytes of keypoints.")


def _damaged() -> InputError:
    return InputError("damaged", "the keypoints are damaged.")


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
