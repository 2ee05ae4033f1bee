# SPDX-License-Identifier: GPL-3.0-or-later
"""The keypoint track as bytes: closed-loop prediction (:mod:`..models.keypoint_motion`) and range coding.

A group of frames decodes alone: its first frame and its rare large residuals stand as plain numbers, and the
residuals of the other frames are range coded over ``constriction``, with integer frequencies that the decoder
picks from what it has decoded so far.
"""

from __future__ import annotations

import numpy as np

from ..models.keypoint_motion import (
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
from .range_coding import GroupReader, pack_group

_POINTS = len(KEYPOINT_NAMES)
_CODING_ORDER = np.concatenate(LEVELS)
_LIMIT_M = 1000  # no keypoint of a filmed person lies further away
_FREE_FRAMES, _FRAMES_A_BYTE = 64, 8  # no frequency is so high that a frame costs less than a bit


def encode_group(keypoints: np.ndarray, step_um: int) -> bytes:
    """Code ``(n, 23, 3)`` metres as one group, quantised in steps of ``step_um`` micrometres.

    Raises InputError if a keypoint is further than a kilometre away.
    """
    if not np.abs(keypoints).max() < _LIMIT_M:
        raise InputError("bad_keypoints", "a keypoint is over a kilometre away: keypoints must be in metres.")
    track = np.rint(np.asarray(keypoints, np.float64) * (1e6 * UNITS / step_um)).astype(np.int64)
    coded = quantise(load_tables(), track)
    return pack_group(
        _first_differences(coded.decoded[0] // UNITS),
        coded.residuals[1:, _CODING_ORDER].ravel(),
        coded.scales[1:, _CODING_ORDER].ravel(),
    )


def decode_group(data: bytes, frames: int, step_um: int) -> np.ndarray:
    """Decode what :func:`encode_group` made of ``frames`` frames to ``(frames, 23, 3)`` float32 metres.

    Raises InputError if the bytes are not such a group.
    """
    check_group_size(frames, len(data))
    reader = GroupReader(data, _POINTS * 3, "keypoints")
    tables = load_tables()
    decoded = np.zeros((frames, _POINTS, 3), np.int64)
    decoded[0] = _first_frame(reader.numbers) * UNITS
    predictions = decoded.copy()
    predictor = MotionPredictor(tables, decoded[0])
    for t in range(1, frames):
        for points in LEVELS:
            predicted = predictor.predict(points)
            residuals = reader.residuals(predictor.scale(points).ravel())
            predictor.accept(points, predicted, residuals.reshape(-1, 3))
            predictions[t, points] = predicted
        decoded[t] = predictor.next_frame()
    if np.abs(decoded).max() > _LIMIT_M * 1_000_000 * UNITS // step_um + UNITS * 64:
        raise InputError("damaged", "the keypoints are damaged.")
    metres = refine(tables, decoded, predictions) * (step_um * 1e-6 / (UNITS * WEIGHT_ONE))
    return metres.astype(np.float32)


def check_group_size(frames: int, size: int) -> None:
    """Raise InputError if ``size`` bytes cannot hold ``frames`` frames, before any are allocated."""
    if frames > _FREE_FRAMES + size * _FRAMES_A_BYTE:
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
