# SPDX-License-Identifier: GPL-3.0-or-later
"""Measuring the vertex predictor on held-out subjects and people, beside two baselines.

Inverse kinematics + skinning: the same body's bones in closed form from the same keypoints, of the frame
alone and after smoothing in time. Linear map: ridge regression from the keypoint window and the shape to all
vertices in the trunk's frame, fitted on the training subjects for each noise level by itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..body import BodyModel
from ..body_catalogue import load_body
from ..keypoints import HIPS, KEYPOINT_NAMES, measure_bone_lengths
from ..shaped_body import ShapedBody
from ..shipped import WEIGHTS
from ..whole_files import write_whole
from ..windows import WINDOW, VertexNetwork, network_inputs, predict_bones, sample_windows
from .model_card import put_into_card
from .motion import FPS, HELD_OUT_SUBJECTS, load_motions
from .pack_body import people_of
from .window_sampler import CHUNK_WINDOWS, WindowSampler

NETWORK_NAME = "vertex_predictor"

NOISE_LEVELS_MM = (0, 10, 20)
EXCERPT = 90
"""Frames taken from the middle of each held-out motion."""

METRICS = ("raw_mm", "root_aligned_mm", "procrustes_mm", "acceleration_m_s2")
LINEAR_BATCHES = 100
SPEED_BATCH = 32


@dataclass(frozen=True)
class HeldOutClip:
    """One held-out motion on one held-out person: the truth and what may be known of it."""

    name: str
    shape: np.ndarray
    vertices: np.ndarray  # (T, V, 3)
    keypoints: np.ndarray  # (T, 23, 3)


def held_out_clips(body: BodyModel, folder: Path | None, excerpt: int = EXCERPT) -> Iterator[HeldOutClip]:
    """Yield the held-out motions' middles, each on another held-out person."""
    people = people_of(body, held_out=True)
    for index, (name, rotations, translation) in enumerate(load_motions(folder, HELD_OUT_SUBJECTS, body)):
        start = max(0, (len(rotations) - excerpt) // 2)
        span, shape = slice(start, start + excerpt), people[index % len(people)]
        vertices = ShapedBody(body, shape).pose(rotations[span], translation[span])
        yield HeldOutClip(name, shape, vertices, body.keypoints(vertices))


def vertex_errors(body: BodyModel, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the :data:`METRICS` of vertices ``(T, V, 3)``, means over frames and vertices.

    Root-aligned: the hips' middle laid on the true one. Procrustes: moved, turned and scaled to fit best,
    frame by frame. Acceleration: of the vertices, by second differences.
    """
    raw = np.linalg.norm(predicted - true, axis=-1).mean()
    hips = [body.keypoints(points)[:, HIPS].mean(axis=1)[:, None] for points in (predicted, true)]
    rooted = np.linalg.norm((predicted - hips[0]) - (true - hips[1]), axis=-1).mean()
    centred = [points - points.mean(axis=1, keepdims=True) for points in (predicted, true)]
    u, scale, vt = np.linalg.svd(np.swapaxes(centred[1], 1, 2) @ centred[0])
    sign = np.ones_like(scale)
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    size = (scale * sign).sum(-1) / (centred[0] ** 2).sum((1, 2))
    turn = (u * sign[:, None]) @ vt
    fitted = size[:, None, None] * centred[0] @ np.swapaxes(turn, 1, 2)
    procrustes = np.linalg.norm(fitted - centred[1], axis=-1).mean()
    shake = np.diff(predicted - true, n=2, axis=0) * FPS**2
    return np.array([1000 * raw, 1000 * rooted, 1000 * procrustes, np.linalg.norm(shake, axis=-1).mean()])


class LinearMap:
    """The plain linear baseline: ridge regression from windows and shape to vertices in the trunk's frame."""

    def __init__(
        self, body: BodyModel, folder: Path | None, seed: int = 0, batches: int = LINEAR_BATCHES
    ) -> None:
        sampler = WindowSampler(body, folder, seed, noisy=False)
        self._body = body
        size = 3 * WINDOW * len(KEYPOINT_NAMES) + body.shape_size + 1
        self._gram = np.zeros((size, size), np.float32)
        self._cross = np.zeros((size, body.vertices_mean.size), np.float32)
        self._count = 0
        for _ in range(batches):
            drawn = sampler.draw(128)
            rest_keypoints, joints = sampler.rest_of(drawn["shape"])
            inputs, axes, origin = network_inputs(
                body, drawn["windows"], drawn["shape"], rest_keypoints, joints
            )
            features = self._features(inputs)
            chunks = range(0, len(features), CHUNK_WINDOWS)
            vertices = np.concatenate([self._skinned(drawn, first) for first in chunks])
            target = ((vertices - origin[:, None]) @ axes).reshape(len(features), -1)
            self._gram += features.T @ features
            self._cross += features.T @ target.astype(np.float32)
            self._count += len(features)

    def _skinned(self, drawn: dict[str, np.ndarray], first: int) -> np.ndarray:
        """Skin the ``CHUNK_WINDOWS`` windows from ``first`` on, which are of one person."""
        span = slice(first, first + CHUNK_WINDOWS)
        person = ShapedBody(self._body, drawn["shape"][first])
        return person.skin(drawn["rotations"][span], drawn["positions"][span])

    @staticmethod
    def _features(inputs: dict[str, np.ndarray]) -> np.ndarray:
        count = len(inputs["windows"])
        parts = [inputs["windows"].reshape(count, -1), 0.1 * inputs["shape"], np.ones((count, 1))]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def fit(self, sigma: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """Return the map for noise of ``sigma`` metres, from windows and a shape to vertices.

        Training on noisy windows is, in expectation, ridge regression with the noise's power as its weight.
        """
        body, size = self._body, len(self._gram)
        power = np.full(size, 1e-6)
        power[: size - body.shape_size - 1] += sigma**2
        weights = np.linalg.solve(
            self._gram.astype(np.float64) + self._count * np.diag(power), self._cross.astype(np.float64)
        ).astype(np.float32)

        def predict(windows: np.ndarray, shape: np.ndarray) -> np.ndarray:
            person = ShapedBody(body, shape)
            inputs, axes, origin = network_inputs(body, windows, shape, person.keypoints, person.joints)
            flat = self._features(inputs) @ weights
            return flat.reshape(len(windows), -1, 3) @ np.swapaxes(axes, 1, 2) + origin[:, None]

        return predict


def predict_vertices(
    body: BodyModel, keypoints: np.ndarray, shape: np.ndarray, network: VertexNetwork | None
) -> np.ndarray:
    """Predict the vertices ``(T, V, 3)`` of keypoints ``(T, 23, 3)`` at :data:`FPS` frames a second."""
    person = ShapedBody(body, shape)
    return person.skin(*predict_bones(person, sample_windows(keypoints, FPS, 0, len(keypoints)), network))


def frame_inverse_kinematics(body: BodyModel, keypoints: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Skin the bones solved from each frame's keypoints alone: vertices ``(T, V, 3)``."""
    person = ShapedBody(body, shape)
    return person.skin(*person.solve_pose(keypoints))


def exported_network(folder: Path = WEIGHTS, name: str = NETWORK_NAME) -> VertexNetwork:
    """Load the exported network ``name`` of ``folder`` on two CPU threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(
        str(folder / f"{name}.onnx"), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return lambda **inputs: dict(zip(names, session.run(None, inputs), strict=True))


def measure_speed(network: VertexNetwork, body: BodyModel, clip: HeldOutClip, seconds: float = 5.0) -> float:
    """Return how many frames a second go from keypoints to vertices, the way decoding does it."""
    begun, frames = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        predict_vertices(body, clip.keypoints[:SPEED_BATCH], clip.shape, network)
        frames += SPEED_BATCH
    return round(frames / (time.perf_counter() - begun), 1)


def evaluate(
    network: VertexNetwork,
    folder: Path | None,
    seed: int = 7,
    excerpt: int = EXCERPT,
    linear_batches: int = LINEAR_BATCHES,
    body: BodyModel | None = None,
) -> dict[str, Any]:
    """Measure the network and the baselines at every noise level; see :data:`METRICS`.

    ``body`` is the one that the network was trained for, Anny when None. Returns what :func:`record`
    writes: for every noise level (mm) and method its metrics, and the network's speed in frames a second,
    skinning included.
    """
    body, rng = body or load_body(), np.random.default_rng(seed)
    linear = LinearMap(body, folder, batches=linear_batches)
    clips = list(held_out_clips(body, folder, excerpt))
    levels: dict[str, dict[str, dict[str, float]]] = {}
    for level in NOISE_LEVELS_MM:
        linear_map = linear.fit(level / 1000)
        sums: dict[str, np.ndarray] = {}
        frames = 0
        for clip in clips:
            noisy = clip.keypoints + rng.normal(0, level / 1000, clip.keypoints.shape)
            noisy = noisy.astype(np.float32)
            fitted = body.fit_shape(measure_bone_lengths(noisy))
            predictions = {
                "network": predict_vertices(body, noisy, clip.shape, network),
                "network, shape fitted": predict_vertices(body, noisy, fitted, network),
                "inverse kinematics": frame_inverse_kinematics(body, noisy, clip.shape),
                "inverse kinematics, smoothed": predict_vertices(body, noisy, clip.shape, None),
                "linear map": linear_map(sample_windows(noisy, FPS, 0, len(noisy)), clip.shape),
            }
            for method, vertices in predictions.items():
                errors = len(noisy) * vertex_errors(body, vertices, clip.vertices)
                sums[method] = sums.get(method, 0.0) + errors
            frames += len(noisy)
        levels[str(level)] = {
            method: dict(zip(METRICS, (total / frames).astype(np.float64).round(3).tolist(), strict=True))
            for method, total in sums.items()
        }
    return {
        "frames": frames,
        "motions": len(clips),
        "noise_mm": levels,
        "frames_per_second": measure_speed(network, body, clips[0]),
    }


def record(folder: Path, name: str, data: Path | None, body: BodyModel, training: dict[str, float]) -> None:
    """Measure the exported network ``name`` of ``folder``; write ``NAME.json`` beside it, print the table.

    ``training`` says how it was trained. The table of the shipped network goes into the model card too.
    """
    results = evaluate(exported_network(folder, name), data, body=body) | {"training": training}
    write_whole(folder / f"{name}.json", json.dumps(results, indent=1) + "\n")
    table = results_table(results)
    if folder.resolve() == WEIGHTS.resolve() and name == NETWORK_NAME:
        put_into_card(WEIGHTS / "MODEL_CARD.md", "vertex table", [table])
    print(table)


def results_table(results: dict[str, Any]) -> str:
    """Return the results as a Markdown table for the model card."""
    lines = [
        "| noise mm | method | raw mm | root-aligned mm | Procrustes mm | acceleration m/s² |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for level, methods in results["noise_mm"].items():
        for method, values in methods.items():
            cells = " | ".join(f"{values[metric]:.1f}" for metric in METRICS)
            lines.append(f"| {level} | {method} | {cells} |")
    speed = f"{results['frames_per_second']:.0f} frames a second from keypoints to vertices on two CPU cores"
    counts = f"{results['frames']} frames of {results['motions']} held-out motions; {speed}."
    return "\n".join([*lines, "", counts])
