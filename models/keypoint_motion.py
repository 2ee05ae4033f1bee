# SPDX-License-Identifier: GPL-3.0-or-later
"""How people move, as integer tables: what the keypoint coder predicts, expects and smooths with.

Everything that a decoder repeats is 64-bit integer arithmetic on tables that ship with the program
(``weights/keypoint_motion.npz``, made by ``s2d train keypoints``), so it is exact on every machine.

A frame is coded in seven levels, from the left hip outward, and each level is predicted from the past and
from the levels before it::

    past frames ──┐                                     ┌─▶ predict ──▶ prediction ──(+ residual)──▶ decoded
                  ├─▶ class: how fast the point turns ──┤
    this frame's  │                                     └─▶ scale ────▶ which residual statistics to code with
    levels so far ┘

    decoded, predicted ──▶ refine ──▶ keypoints with less quantisation noise (uses frames on both sides)

Arrays are ``(..., 23, 3)`` int64 in units of 1/64 quantiser step; leading axes are clips coded side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from .keypoints import KEYPOINT_INDEX, KEYPOINT_NAMES
from .shipped import WEIGHTS

UNITS = 64  # lattice units a quantiser step
WEIGHT_ONE = 4096  # fixed-point one of every table of weights
ROUNDS_UP = 42  # lattice units
LARGEST_RESIDUAL = 24  # steps; a larger residual is escaped
TABLES = WEIGHTS / "keypoint_motion.npz"

_RELATIVES = {
    "left_hip": ("right_shoulder", "right_hip", "left_shoulder", "left_knee"),
    "right_hip": ("left_hip", "right_shoulder", "left_shoulder", "right_knee"),
    "shoulder": ("same_hip", "other_hip", "other_shoulder", "same_elbow"),
    "knee": ("same_hip", "other_hip", "same_shoulder", "same_ankle"),
    "elbow": ("same_shoulder", "other_shoulder", "same_hip", "same_wrist"),
    "nose": ("left_shoulder", "right_shoulder", "left_hip", "right_hip"),
    "ankle": ("same_knee", "same_hip", "other_hip", "same_heel"),
    "wrist": ("same_elbow", "same_shoulder", "other_shoulder", "same_index"),
    "left_ear": ("nose", "left_shoulder", "right_shoulder", "right_ear"),
    "right_ear": ("nose", "right_shoulder", "left_shoulder", "left_ear"),
    "heel": ("same_ankle", "same_knee", "same_hip", "same_foot_index"),
    "pinky": ("same_wrist", "same_elbow", "same_shoulder", "same_index"),
    "foot_index": ("same_heel", "same_ankle", "same_knee", "same_hip"),
    "index": ("same_pinky", "same_wrist", "same_elbow", "same_shoulder"),
}
"""Kinds of keypoints (left and right share tables) and the four relatives that each is predicted from."""

_LEVEL_KINDS = (
    ("left_hip",),
    ("right_hip",),
    ("shoulder",),
    ("knee", "elbow", "nose"),
    ("ankle", "wrist", "left_ear"),
    ("right_ear", "heel", "pinky"),
    ("foot_index", "index"),
)

KINDS: tuple[str, ...] = tuple(_RELATIVES)


def _kind_of(name: str) -> str:
    return name if name in _RELATIVES else name.split("_", 1)[1]


def _relatives_of(name: str) -> list[int]:
    same, other = ("left", "right") if name.startswith("left") else ("right", "left")
    return [
        KEYPOINT_INDEX[relative.replace("same", same).replace("other", other)]
        for relative in _RELATIVES[_kind_of(name)]
    ]


KIND = np.array([KINDS.index(_kind_of(name)) for name in KEYPOINT_NAMES])  # (23,)
RELATIVES = np.array([_relatives_of(name) for name in KEYPOINT_NAMES])  # (23, 4)
LEVELS: tuple[np.ndarray, ...] = tuple(
    np.array([i for i, name in enumerate(KEYPOINT_NAMES) if _kind_of(name) in kinds])
    for kinds in _LEVEL_KINDS
)
"""Indices of the keypoints that are coded together, in coding order."""


_PAST_TAPS, PREDICTION_TAPS = 12, 16
_PAST_SIZES, SCALE_FEATURES = 8, 12
REFINE_TAPS = 16
_FIRST_TURN = 4 * UNITS
_FIRST_RESIDUAL = 2800  # 1/4096 step
_TURN_FILTER = (1, 2, 3, 2, 1)


@dataclass(frozen=True)
class MotionTables:
    """The learned integers. C classes of turning, L levels of scale, kinds in the order of ``KINDS``."""

    class_edges: np.ndarray  # (C - 1,) ascending, lattice units
    prediction: np.ndarray  # (kinds, C, PREDICTION_TAPS), weights
    scale: np.ndarray  # (kinds, SCALE_FEATURES), weights
    scale_edges: np.ndarray  # (L - 1,) ascending
    frequencies: np.ndarray  # (L, 2 * LARGEST_RESIDUAL + 2), sums of 65536; the last entry is the escape
    refine_edges: np.ndarray  # (R - 1,) ascending
    refine: np.ndarray  # (kinds, R, REFINE_TAPS), weights


@cache
def load_tables() -> MotionTables:
    """Read the shipped tables."""
    with np.load(TABLES, allow_pickle=False) as file:
        return MotionTables(**{name: file[name].astype(np.int64) for name in file.files})


class MotionPredictor:
    """Walks through a track frame by frame, level by level, knowing what a decoder knows at that point.

    For each frame after the first, and for each of ``LEVELS``: :meth:`predict` and :meth:`scale`, then
    :meth:`accept` with the residuals; at the end of the frame :meth:`next_frame`.
    """

    def __init__(self, tables: MotionTables, first: np.ndarray) -> None:
        """Start from the decoded first frame ``(..., 23, 3)`` int64, at rest."""
        self._tables = tables
        self._past = [first] * 5  # decoded frames, newest first
        self._turn = np.full(first.shape[:-1], _FIRST_TURN, np.int64)
        self._fast = np.full(first.shape, _FIRST_RESIDUAL, np.int64)
        self._slow = np.full(first.shape[:-1], 3 * _FIRST_RESIDUAL, np.int64)
        self._start_frame()

    def _start_frame(self) -> None:
        past, tables = self._past, self._tables
        self._change = np.zeros_like(past[0])  # this frame less the last, 0 for points not coded yet
        self._residual = np.zeros_like(past[0])  # |residual| in 1/4096 step, likewise
        self._steps = np.stack([past[i] - past[i + 1] for i in range(4)], -2)  # (..., 23, 4, 3)
        self._classes = np.searchsorted(tables.class_edges, self._turn)
        weights = tables.prediction[KIND, self._classes]
        self._change_weights = weights[..., _PAST_TAPS:, None]
        self._taps, self._sizes = self._past_taps(), self._past_sizes()
        self._moved = (self._taps * weights[..., :_PAST_TAPS, None]).sum(-2)
        self._past_scale = (self._sizes * tables.scale[KIND, None, :_PAST_SIZES]).sum(-1)

    def _past_taps(self) -> np.ndarray:
        relative_steps = self._steps[..., RELATIVES, :2, :]  # (..., 23, 4, 2, 3)
        return np.concatenate([self._steps, relative_steps[..., 0, :], relative_steps[..., 1, :]], -2)

    def _past_sizes(self) -> np.ndarray:
        speed = np.abs(self._steps[..., 0, :]) * (WEIGHT_ONE // UNITS)
        turn = np.abs(self._steps[..., 0, :] - self._steps[..., 1, :]) * (WEIGHT_ONE // UNITS)
        fast = self._fast.sum(-1)
        sizes = np.empty((*speed.shape, _PAST_SIZES), np.int64)
        sizes[..., 0] = WEIGHT_ONE
        sizes[..., 1] = self._fast
        sizes[..., 2] = fast[..., None]
        sizes[..., 3] = self._slow[..., None]
        sizes[..., 4] = speed
        sizes[..., 5] = speed.sum(-1)[..., None]
        sizes[..., 6] = turn.sum(-1)[..., None]
        sizes[..., 7] = fast.sum(-1)[..., None, None]
        return sizes

    def _present_sizes(self, points: np.ndarray) -> np.ndarray:
        first, second = (self._residual[..., RELATIVES[points, i], :] for i in range(2))
        sizes = np.empty((*first.shape, SCALE_FEATURES - _PAST_SIZES), np.int64)
        sizes[..., 0] = first
        sizes[..., 1] = first.sum(-1)[..., None]
        sizes[..., 2] = second.sum(-1)[..., None]
        sizes[..., 3] = self._residual.sum((-1, -2))[..., None, None]
        return sizes

    @property
    def latest(self) -> np.ndarray:
        """The frame decoded last, ``(..., 23, 3)``."""
        return self._past[0]

    def classes(self, points: np.ndarray) -> np.ndarray:
        """Return ``(..., n)``: which of the C predictors serves each of ``points``."""
        return self._classes[..., points]

    def features(self, points: np.ndarray) -> np.ndarray:
        """Return what ``points`` are predicted from, ``(..., n, PREDICTION_TAPS, 3)`` in lattice units.

        Own last four steps; of the four relatives the last step, the one before, and this frame's step (0
        where it is not coded yet). Steps alone, so that who stands still is predicted to.
        """
        return np.concatenate([self._taps[..., points, :, :], self._change[..., RELATIVES[points], :]], -2)

    def predict(self, points: np.ndarray) -> np.ndarray:
        """Return the prediction of ``points`` in this frame, ``(..., n, 3)``."""
        change = self._change[..., RELATIVES[points], :] * self._change_weights[..., points, :, :]
        moved = self._moved[..., points, :] + change.sum(-2)
        return self._past[0][..., points, :] + (moved + WEIGHT_ONE // 2 >> 12)

    def scale_features(self, points: np.ndarray) -> np.ndarray:
        """Return what the residuals' size is guessed from, ``(..., n, 3, SCALE_FEATURES)``, none negative.

        In 1/4096 step: one; recent residuals of the axis, of the point quickly and slowly forgotten; speed of
        the axis and the point; turn; recent residuals of the body; then of this frame the first relative's
        residual on the axis, its sum, the second relative's sum, and the sum of all coded so far.
        """
        return np.concatenate([self._sizes[..., points, :, :], self._present_sizes(points)], -1)

    def scale(self, points: np.ndarray) -> np.ndarray:
        """Return the rows of ``frequencies`` for the residuals of ``points``, ``(..., n, 3)``."""
        weights = self._tables.scale[KIND[points], None, _PAST_SIZES:]
        size = self._past_scale[..., points, :] + (self._present_sizes(points) * weights).sum(-1)
        return np.searchsorted(self._tables.scale_edges, size >> 12)

    def accept(self, points: np.ndarray, predicted: np.ndarray, residuals: np.ndarray) -> None:
        """Take the residuals of ``points`` in steps, ``(..., n, 3)``."""
        self._change[..., points, :] = predicted + residuals * UNITS - self._past[0][..., points, :]
        self._residual[..., points, :] = np.abs(residuals) * WEIGHT_ONE

    def next_frame(self) -> np.ndarray:
        """End the frame and return it decoded, ``(..., 23, 3)``."""
        decoded = self._past[0] + self._change
        turn = np.abs(self._change - self._steps[..., 0, :]).sum(-1)
        self._turn = self._turn + ((turn - self._turn) * 80 >> 8)
        self._fast = self._fast + (self._residual - self._fast >> 1)
        self._slow = self._slow + (self._residual.sum(-1) - self._slow >> 4)
        self._past = [decoded, *self._past[:-1]]
        self._start_frame()
        return decoded


@dataclass(frozen=True)
class CodedTrack:
    """A track after closed-loop quantisation; every array is ``(..., T, 23, 3)`` int64."""

    decoded: np.ndarray  # lattice units
    predicted: np.ndarray  # lattice units; the first frame predicts itself
    residuals: np.ndarray  # steps; the first frame's are 0
    scales: np.ndarray  # rows of the frequency table; the first frame's are 0


def quantise(
    tables: MotionTables,
    track: np.ndarray,
    observe: Callable[[MotionPredictor, np.ndarray, int, np.ndarray], None] | None = None,
) -> CodedTrack:
    """Quantise a track ``(..., T, 23, 3)`` int64 lattice units as the decoder will predict it.

    The first frame is rounded to whole steps. A residual is rounded toward the prediction unless it is
    ``ROUNDS_UP`` into the next step: smoothing takes back the error, and a tenth of the bits is saved.
    ``observe`` is told of each level, before it is taken in: predictor, points, frame and residuals.
    """
    coded = CodedTrack(*(np.zeros_like(track) for _ in range(4)))
    first = (track[..., 0, :, :] + UNITS // 2) // UNITS * UNITS
    coded.decoded[..., 0, :, :] = coded.predicted[..., 0, :, :] = first
    predictor = MotionPredictor(tables, first)
    for t in range(1, track.shape[-3]):
        for points in LEVELS:
            predicted = predictor.predict(points)
            error = track[..., t, points, :] - predicted
            residuals = np.sign(error) * ((np.abs(error) + UNITS - ROUNDS_UP) // UNITS)
            coded.predicted[..., t, points, :] = predicted
            coded.residuals[..., t, points, :] = residuals
            coded.scales[..., t, points, :] = predictor.scale(points)
            if observe is not None:
                observe(predictor, points, t, residuals)
            predictor.accept(points, predicted, residuals)
        coded.decoded[..., t, :, :] = predictor.next_frame()
    return coded


def refine_classes(tables: MotionTables, decoded: np.ndarray) -> np.ndarray:
    """Return ``(..., T, 23)``: which of the R smoothing filters serves each point of ``(..., T, 23, 3)``."""
    turn = np.abs(_shifted(decoded, 1) - 2 * decoded + _shifted(decoded, -1)).sum(-1, keepdims=True)
    reach = len(_TURN_FILTER) // 2
    smooth = np.zeros_like(turn)
    for k, weight in enumerate(_TURN_FILTER):
        smooth += weight * _shifted(turn, k - reach)
    return np.searchsorted(tables.refine_edges, smooth[..., 0])


def refine_features(decoded: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return what the correction of ``(..., T, 23, 3)`` is made from, ``(..., T, 23, REFINE_TAPS, 3)``.

    The point's four frames either side and its first relative's two, less the frame itself; then prediction
    less decoded of the point in this frame and the two after, and of the relative. The ends are held.
    """
    parent = RELATIVES[:, 0]
    surprise = predicted - decoded
    around = {k: _shifted(decoded, k) - decoded for k in range(-4, 5)}
    return np.stack(
        [
            *(around[k] for k in (-1, 1, -2, 2, -3, 3, -4, 4)),
            *(around[k][..., parent, :] for k in (-1, 1, -2, 2)),
            surprise,
            _shifted(surprise, 1),
            _shifted(surprise, 2),
            surprise[..., parent, :],
        ],
        -2,
    )


def refine(tables: MotionTables, decoded: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return ``decoded`` with less quantisation noise, ``(..., T, 23, 3)`` int64 in 1/4096 lattice unit."""
    weights = tables.refine[KIND, refine_classes(tables, decoded)]  # (..., T, 23, REFINE_TAPS)
    correction = (refine_features(decoded, predicted) * weights[..., None]).sum(-2)
    return decoded * WEIGHT_ONE + correction


def _shifted(track: np.ndarray, frames: int) -> np.ndarray:
    """Return the track (time is its third last axis) ``frames`` later at each frame; the ends are held."""
    length = track.shape[-3]
    return track[..., np.clip(np.arange(length) + frames, 0, length - 1), :, :]
