# SPDX-License-Identifier: GPL-3.0-or-later
"""The keypoint track as bytes: closed-loop prediction (:mod:`...models.keypoint_motion`) and range coding.

A group of frames decodes alone: its first frame and its rare large residuals stand as plain numbers, and the
residuals of the other frames are range coded over ``constriction``, with integer frequencies that the decoder
picks from what it has decoded so far. Slow motion needs no number every frame: of a group with a *spacing* of
k only every k-th frame is coded, and the decoder draws cubic curves through them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...models.errors import InputError
from ...models.keypoint_motion import (
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
from ...models.keypoints import KEYPOINT_NAMES
from .curve_coding import coded_frames, draw_curves, fit_curves
from .range_coding import GroupReader, pack_group

_POINTS = len(KEYPOINT_NAMES)
_CODING_ORDER = np.concatenate(LEVELS)
_LIMIT_M = 1000  # no keypoint of a filmed person lies further away
_FREE_FRAMES, _FRAMES_A_BYTE = 64, 8  # no frequency is so high that a frame costs less than a bit

MAX_SPACING = 8
SPARSE_ERROR = 0.65  # some two fifths more than where every frame is coded


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
    track = np.rint(fit_curves(keypoints, spacing) * (1e6 * UNITS / step_um)).astype(np.int64)
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
    return draw_curves(refined, spacing)[:frames] * (step_um * 1e-6 / (UNITS * WEIGHT_ONE * 2 * spacing**3))
