# SPDX-License-Identifier: GPL-3.0-or-later
"""A moving camera as bytes: where the corners of every frame's canvas lie in the plate, a few bits a frame.

Four corners are a homography, and unlike its matrix they can be rounded. Their displacements are coded as
eight coefficients (shift, the two gradients that make turn, zoom and shear, and twist; each in x and y), in
units of 1/2048 of the canvas's shorter side. A coefficient is predicted from the two decoded frames before by
whichever of three guesses has erred least lately, and a group of frames decodes alone::

    last two frames ──▶ three guesses ──▶ the best so far ──(+ residual)──▶ decoded
    last residuals  ──▶ their size    ──▶ which residual statistics to code with

Everything that a decoder repeats is integer arithmetic.
"""

from __future__ import annotations

import numpy as np

from ...models.errors import InputError
from ...models.keypoint_motion import load_tables
from .range_coding import GroupReader, pack_group

UNITS = 2048  # a canvas's shorter side
_COEFFICIENTS = 8
_ONE = 4096  # fixed-point one of running means
_ROUNDS_UP = 0.35  # unit: rounding toward the prediction saves bits, and errs 0.65 unit at most
_FURTHEST = 16  # shorter sides that a corner may lie from its place
_SMALLEST = 1 / 64  # of the canvas's sides: a frame that shows less of the plate is no view of it
_SIGNS = np.array([[1, -1, -1, 1], [1, 1, -1, -1], [1, 1, 1, 1], [1, -1, 1, -1]])  # (corner, coefficient)


def canvas_corners(width: int, height: int) -> np.ndarray:
    """Return a canvas's corners ``(4, 2)`` float64, pixels, from the top left, clockwise."""
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)


def encode_group(corners: np.ndarray, width: int, height: int) -> bytes:
    """Code ``(n, 4, 2)``, the corners of ``n`` frames in the plate, in pixels of the canvas, as one group."""
    unit = min(width, height) / UNITS
    wanted = _SIGNS.T @ (corners - canvas_corners(width, height)) / (4 * unit)  # (n, 4, 2)
    wanted = wanted.reshape(len(corners), _COEFFICIENTS)
    first = np.rint(wanted[0]).astype(np.int64)
    predictor = _Predictor(first)
    residuals = np.zeros((len(corners) - 1, _COEFFICIENTS), np.int64)
    rows = np.zeros_like(residuals)
    for t, target in enumerate(wanted[1:]):
        error = target - predictor.predict()
        residuals[t] = np.sign(error) * np.floor(np.abs(error) + _ROUNDS_UP)
        rows[t] = predictor.rows()
        predictor.accept(residuals[t])
    return pack_group(first.tolist(), residuals.ravel(), rows.ravel())


def decode_group(data: bytes, frames: int, width: int, height: int) -> np.ndarray:
    """Decode what :func:`encode_group` made of ``frames`` frames to ``(frames, 4, 2)`` float32 pixels.

    Raises InputError if the bytes are not such a group, or a view that no camera has.
    """
    reader = GroupReader(data, _COEFFICIENTS, "camera's motions")
    decoded = np.zeros((frames, _COEFFICIENTS), np.int64)
    decoded[0] = reader.numbers
    predictor = _Predictor(decoded[0])
    for t in range(1, frames):
        decoded[t] = predictor.accept(reader.residuals(predictor.rows()))
    unit = min(width, height) / UNITS
    corners = canvas_corners(width, height) + _SIGNS @ decoded.reshape(frames, 4, 2) * unit
    check_corners(corners, width, height)
    return corners.astype(np.float32)


def check_corners(corners: np.ndarray, width: int, height: int) -> None:
    """Raise InputError unless all of ``(n, 4, 2)`` pixels are views that a camera can have of the plate.

    Corners must be near enough, in order around a convex quadrilateral, and that not a speck or a line.
    """
    far = _FURTHEST * min(width, height)
    with np.errstate(invalid="ignore"):  # comparisons with NaN are False
        near = np.abs(corners - canvas_corners(width, height)).max(initial=0) <= far
        edges = np.roll(corners, -1, axis=1) - corners
        after = np.roll(edges, -1, axis=1)
        turns = edges[..., 0] * after[..., 1] - edges[..., 1] * after[..., 0]
    if not near or not (turns >= width * height * _SMALLEST**2).all():
        raise InputError("bad_camera_motion", "the camera's motion is impossible: a frame shows no view.")


class _Predictor:
    """What encoder and decoder of a group both know of the eight coefficients, ``(8,)`` int64 each."""

    def __init__(self, first: np.ndarray) -> None:
        self._last, self._before = first, first
        self._costs = np.zeros((3, _COEFFICIENTS), np.int64)  # running mean error of each guess
        self._fast = np.full(_COEFFICIENTS, _ONE, np.int64)  # running means of the residuals' sizes
        self._slow = self._fast.copy()
        self._guess()

    def _guess(self) -> None:
        step = self._last - self._before
        self._guesses = self._last + np.stack([0 * step, step >> 1, step])  # (3, 8)
        self._best = np.take_along_axis(self._guesses, self._costs.argmin(0)[None], 0)[0]

    def predict(self) -> np.ndarray:
        """Return the predictions of the next frame's coefficients."""
        return self._best

    def rows(self) -> np.ndarray:
        """Return the rows of the frequency table that their residuals are coded with."""
        return np.searchsorted(load_tables().scale_edges, self._fast + self._slow >> 1)

    def accept(self, residuals: np.ndarray) -> np.ndarray:
        """Learn from the next frame's residuals; returns its coefficients."""
        decoded = self._best + residuals
        self._costs += (_ONE * np.abs(decoded - self._guesses) - self._costs) >> 3
        size = _ONE * np.abs(residuals)
        self._fast = self._fast + (size - self._fast >> 2)
        self._slow = self._slow + (size - self._slow >> 4)
        self._before, self._last = self._last, decoded
        self._guess()
        return decoded
