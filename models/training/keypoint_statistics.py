# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the keypoint coder's tables (:mod:`..keypoint_motion`) from CMU motion on Anny bodies.

Predictors and smoothing filters are ridge regressions on what the closed loop itself decoded, found again a
few times because the loop's quantisation noise follows from them. Beside motion as captured at 30 frames a
second, the tables see it at other frame rates, with pauses and with the jitter of an estimator, so that they
serve filmed clips too.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from ..body_catalogue import load_body
from ..keypoint_motion import (
    KIND,
    KINDS,
    LARGEST_RESIDUAL,
    PREDICTION_TAPS,
    REFINE_TAPS,
    SCALE_FEATURES,
    TABLES,
    UNITS,
    WEIGHT_ONE,
    CodedTrack,
    MotionPredictor,
    MotionTables,
    quantise,
    refine_classes,
    refine_features,
)
from ..outputs import ARRAYS, Kind
from ..shaped_body import ShapedBody
from ..whole_files import whole_file
from .motion import FPS, TRAINING_SUBJECTS, load_motions

STEP_MM = 6.2
CHUNK_FRAMES = 100
ROUNDS = 2
CLASS_EDGES = np.geomspace(1.5, 40, 7) * UNITS
REFINE_EDGES = np.geomspace(2.7, 135, 7) * UNITS
SCALE_EDGES = np.geomspace(0.02, 12, 39) * WEIGHT_ONE
PREDICTION_RIDGE, REFINE_RIDGE = 30.0, 20.0  # in squared steps, against some 10,000 samples
SHARED = 0.02  # of every class's regression is taken from the kind's other classes
HIGHEST_PROBABILITY = 0.985  # so that a frame costs over a bit, and a file cannot claim frames for nothing
FREQUENCY_SUM = 1 << 16
WARM_UP = 4  # frames that start from rest, unlike the rest of a clip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``s2d train keypoints``."""
    parser.add_argument("--data", type=Path, help="folder of the motion archive (default: S2D_DATA)")
    parser.add_argument("--output", type=Path, default=TABLES, help="where to write the tables")
    parser.add_argument("--seed", type=int, default=1)


def outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    """Return the files that :func:`run` writes, each with its kind."""
    return {args.output: ARRAYS}


def run(args: argparse.Namespace) -> None:
    """Make the tables and write them to ``args.output``."""
    rng = np.random.default_rng(args.seed)
    tracks = to_lattice(design_tracks(args.data, rng))
    tables = fit_tables(tracks)
    small = {name: value.astype(np.int32) for name, value in vars(tables).items()}
    with whole_file(args.output) as aside:
        np.savez_compressed(aside, allow_pickle=False, **small)


def posed_keypoints(
    folder: Path | None, subjects: tuple[str, ...], rng: np.random.Generator
) -> list[np.ndarray]:
    """Return each motion of ``subjects`` as keypoints ``(T, 23, 3)`` metres of a random Anny body.

    Every motion is seen by a still camera of random direction, 3.5 m from its middle.
    """
    body = load_body()
    tracks = []
    for _, rotations, translation in load_motions(folder, subjects):
        shape = rng.normal(0, 0.7, body.shape_size)
        points = ShapedBody(body, shape).pose_keypoints(rotations, translation).astype(np.float64)
        turn = Rotation.random(random_state=rng).as_matrix()
        tracks.append((points - points.mean((0, 1))) @ turn.T + [0, 0, 3.5])
    return tracks


def design_tracks(folder: Path | None, rng: np.random.Generator) -> np.ndarray:
    """Return training chunks ``(S, CHUNK_FRAMES, 23, 3)`` metres: captured, and changed likewise."""
    chunks = []
    for repeat in range(4):
        for captured in posed_keypoints(folder, TRAINING_SUBJECTS, rng):
            track = captured
            if repeat == 2:
                track = _pause(_resample(captured, rng.choice([24, 25, 50, 60, 120])), rng)
            if repeat == 3:
                track = captured + _jitter(captured.shape, rng)
            start = rng.integers(0, CHUNK_FRAMES)
            starts = range(start, len(track) - CHUNK_FRAMES + 1, CHUNK_FRAMES)
            chunks += [track[start : start + CHUNK_FRAMES] for start in starts]
    return np.array(chunks)


def to_lattice(tracks: np.ndarray) -> np.ndarray:
    """Return metres as int64 lattice units of the design step."""
    return np.rint(tracks * (1000 * UNITS / STEP_MM)).astype(np.int64)


def fit_tables(tracks: np.ndarray) -> MotionTables:
    """Fit every table to ``(S, T, 23, 3)`` int64 lattice units."""
    kinds, classes = len(KINDS), len(CLASS_EDGES) + 1
    prediction = np.zeros((kinds, classes, PREDICTION_TAPS), np.int64)
    prediction[..., 0] = WEIGHT_ONE * 3 // 4
    tables = MotionTables(
        class_edges=CLASS_EDGES.astype(np.int64),
        prediction=prediction,
        scale=np.zeros((kinds, SCALE_FEATURES), np.int64),
        scale_edges=SCALE_EDGES.astype(np.int64),
        frequencies=np.zeros((len(SCALE_EDGES) + 1, 2 * LARGEST_RESIDUAL + 2), np.int64),
        refine_edges=REFINE_EDGES.astype(np.int64),
        refine=np.zeros((kinds, len(REFINE_EDGES) + 1, REFINE_TAPS), np.int64),
    )
    for _ in range(ROUNDS):
        tables = replace(tables, prediction=_fit_prediction(tables, tracks))
    tables = replace(tables, scale=_fit_scale(tables, tracks))
    coded = quantise(tables, tracks)
    tables = replace(tables, frequencies=_count_residuals(coded, len(SCALE_EDGES) + 1))
    return replace(tables, refine=_fit_refine(tables, tracks, coded))


class _Regressions:
    """Ridge regressions side by side, one a kind and class."""

    def __init__(self, classes: int, taps: int) -> None:
        self._squares = np.zeros((len(KINDS), classes, taps, taps))
        self._products = np.zeros((len(KINDS), classes, taps))

    def add(self, kind: int, classes: np.ndarray, features: np.ndarray, targets: np.ndarray) -> None:
        """Add samples: ``classes (N,)``, ``features (N, taps, 3)`` and ``targets (N, 3)``, in steps."""
        for label in np.unique(classes):
            chosen = np.swapaxes(features[classes == label], 1, 2).reshape(-1, features.shape[1])
            self._squares[kind, label] += chosen.T @ chosen
            self._products[kind, label] += chosen.T @ targets[classes == label].ravel()

    def solve(self, ridge: float) -> np.ndarray:
        """Return the weights ``(kinds, classes, taps)`` in fixed point."""
        squares = self._squares + SHARED * self._squares.sum(1, keepdims=True)
        products = self._products + SHARED * self._products.sum(1, keepdims=True)
        squares += ridge * np.eye(squares.shape[-1])
        return np.rint(np.linalg.solve(squares, products[..., None])[..., 0] * WEIGHT_ONE).astype(np.int64)


def _fit_prediction(tables: MotionTables, tracks: np.ndarray) -> np.ndarray:
    regressions = _Regressions(len(CLASS_EDGES) + 1, PREDICTION_TAPS)

    def observe(predictor: MotionPredictor, points: np.ndarray, frame: int, residuals: np.ndarray) -> None:
        if frame < WARM_UP:
            return
        classes, features = predictor.classes(points), predictor.features(points) / UNITS
        targets = (tracks[:, frame, points] - predictor.latest[:, points]) / UNITS
        for i, point in enumerate(points):
            regressions.add(KIND[point], classes[:, i], features[:, i], targets[:, i])

    quantise(tables, tracks, observe)
    return regressions.solve(PREDICTION_RIDGE)


def _fit_scale(tables: MotionTables, tracks: np.ndarray) -> np.ndarray:
    """Find weights that are not negative, so that features x weights = mean |residual|, by scaled updates."""
    samples: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in KINDS]

    def observe(predictor: MotionPredictor, points: np.ndarray, frame: int, residuals: np.ndarray) -> None:
        if frame < WARM_UP:
            return
        features = (predictor.scale_features(points) / WEIGHT_ONE).astype(np.float32)
        for i, point in enumerate(points):
            pair = features[:, i].reshape(-1, SCALE_FEATURES), np.abs(residuals[:, i]).ravel()
            samples[KIND[point]].append(pair)

    quantise(tables, tracks, observe)
    weights = np.full((len(KINDS), SCALE_FEATURES), 0.05)
    for kind, pairs in enumerate(samples):
        features, sizes = (np.concatenate(column) for column in zip(*pairs, strict=True))
        for _ in range(60):
            expected = features @ weights[kind] + 1e-3
            trust = 1 / (expected**2 + 0.3 * expected)  # inverse variance of |residual|, as measured
            weights[kind] *= (features.T @ (trust * sizes) + 1e-9) / (features.T @ (trust * expected) + 1e-9)
    return np.rint(weights * WEIGHT_ONE).astype(np.int64)


def _count_residuals(coded: CodedTrack, levels: int) -> np.ndarray:
    """Return integer frequencies ``(levels, symbols)``: symmetric, none zero, each row summing to 65536."""
    sizes = np.minimum(np.abs(coded.residuals[:, WARM_UP:]), LARGEST_RESIDUAL + 1).ravel()
    counts = np.zeros((levels, LARGEST_RESIDUAL + 2))
    np.add.at(counts, (coded.scales[:, WARM_UP:].ravel(), sizes), 1.0)
    smooth = counts.copy()
    smooth[1:] += 0.2 * counts[:-1]
    smooth[:-1] += 0.2 * counts[1:]
    share = smooth + 20 * (counts.sum(0) + 0.1) / counts.sum()
    share /= share.sum(1, keepdims=True)
    share[:, 0] = np.minimum(share[:, 0], HIGHEST_PROBABILITY)
    share[:, 1:] *= (1 - share[:, :1]) / share[:, 1:].sum(1, keepdims=True)
    half = share[:, 1:-1] / 2
    both = np.concatenate([half[:, ::-1], share[:, :1], half, share[:, -1:]], axis=1)
    frequencies = np.maximum(np.floor(both * FREQUENCY_SUM).astype(np.int64), 1)
    excess = frequencies.sum(1) - FREQUENCY_SUM
    frequencies[np.arange(levels), frequencies.argmax(1)] -= excess
    return frequencies


def _fit_refine(tables: MotionTables, tracks: np.ndarray, coded: CodedTrack) -> np.ndarray:
    regressions = _Regressions(len(REFINE_EDGES) + 1, REFINE_TAPS)
    classes = refine_classes(tables, coded.decoded)
    features = refine_features(coded.decoded, coded.predicted)
    for point, kind in enumerate(KIND):
        targets = (tracks[:, :, point] - coded.decoded[:, :, point]) / UNITS
        chosen = features[:, :, point].reshape(-1, REFINE_TAPS, 3) / UNITS
        regressions.add(kind, classes[:, :, point].ravel(), chosen, targets.reshape(-1, 3))
    return regressions.solve(REFINE_RIDGE)


def _resample(track: np.ndarray, fps: int) -> np.ndarray:
    times = np.arange(len(track)) / FPS
    return CubicSpline(times, track)(np.arange(0, times[-1], 1 / fps))


def _pause(track: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Stop the motion for two chunks at one place in ten chunks."""
    stops = rng.random(len(track)) < 0.1 / CHUNK_FRAMES
    return np.repeat(track, np.where(stops, 2 * CHUNK_FRAMES, 1), axis=0)


def _jitter(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return the error of an estimator, metres: a few millimetres, partly smoothed, worse in depth."""
    noise = rng.normal(0, 1, (shape[0] + 4, *shape[1:]))
    smooth = sum(noise[k : k + shape[0]] for k in range(5)) / np.sqrt(5)
    return (noise[: shape[0]] + 2 * smooth) * 0.001 * rng.uniform(0.3, 2) * [1, 1, 2]
