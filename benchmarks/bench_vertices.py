# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the vertex predictor on motion and people that it never saw: ``s2d bench vertices``.

The middle of every motion of CMU subjects 11 and 13, each on another held-out person. Keypoints are exact, or
have independent noise, or were coded and decoded. Every method knows the person's true shape and sees the
same keypoints. The rivals are inverse kinematics + skinning, a linear map and an optimisation;
where one needs to know how wrong its keypoints are, it is told the truth.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..inference.format.keypoint_coding import decode_group, encode_sparsely
from ..inference.runtime.backends import load_network
from ..models.body import BodyModel
from ..models.body_catalogue import load_body
from ..models.keypoints import FEET, HIPS, measure_bone_lengths
from ..models.outputs import JSON, PNG, Kind
from ..models.shipped import weights_sha256
from ..models.training.evaluate_vertices import (
    EXCERPT,
    LINEAR_BATCHES,
    HeldOutClip,
    LinearMap,
    frame_inverse_kinematics,
    held_out_clips,
    predict_vertices,
    vertex_errors,
)
from ..models.training.motion import FPS, HELD_OUT_SUBJECTS, TRAINING_SUBJECTS, load_motions
from ..models.windows import VertexNetwork, denoise, follow_trunk, sample_windows
from .body_fit import ITERATIONS, PosePrior, fit_body
from .results import OUT, save_figure, write_results

STANDING = 0.1
"""A foot's point stands still in a frame that moves it slower than this (m/s)."""

ERRORS = ("raw_mm", "root_aligned_mm", "procrustes_mm", "joints_mm", "acceleration_m_s2")
COLUMNS = {
    "raw_mm": "raw mm",
    "root_aligned_mm": "root-aligned mm",
    "procrustes_mm": "Procrustes mm",
    "joints_mm": "joints mm",
    "acceleration_m_s2": "acceleration m/s²",
    "sliding_mm_s": "sliding mm/s",
    "frames_per_second": "frames/s",
}

PARTS = {
    "head": ("head", "neck"),
    "trunk": ("root", "spine", "clavicle", "shoulder"),
    "arms": ("upperarm", "lowerarm"),
    "hands": ("wrist",),
    "legs": ("upperleg", "lowerleg"),
    "feet": ("foot",),
}
"""Parts of the body by how the names of their bones begin."""

PUBLISHED = (
    (
        "Pose2Mesh (Choi, Moon and Lee, ECCV 2020, arXiv 2008.09047)",
        "9.9 to 13.9 mm joint error from true 3D poses",
        "other bodies and motion, no noise, the shape not given, single frames",
    ),
)
"""What others have published: source, figure, and why it is not the same work."""

_POSES = 3000  # of captured motion, for the optimisation's prior
_HEAT_CONDITION = "noise 10 mm"
_HEAT_PICTURE = "vertices_heat.png"
_HEAT_METHODS = ("network", "optimisation, smoothed", "inverse kinematics, smoothed")

_VIEWS = {"front": 1.0, "back": -1.0}


@dataclass(frozen=True)
class Condition:
    """How keypoints are spoilt: independent noise of a deviation, or the coder at a quantiser step (mm)."""

    name: str
    noise_mm: float = 0.0
    step_mm: float = 0.0

    def spoil(self, keypoints: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the keypoints ``(T, 23, 3)`` as a method gets to see them."""
        if self.step_mm:
            step_um = round(self.step_mm * 1000)
            group = encode_sparsely(keypoints, step_um)
            return decode_group(group.data, len(keypoints), step_um, group.spacing)
        return (keypoints + rng.normal(0, self.noise_mm / 1000, keypoints.shape)).astype(np.float32)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``s2d bench vertices``."""
    parser.add_argument("--data", type=Path, help="folder of the motion archive (default: S2D_DATA)")
    parser.add_argument("--noise", type=float, nargs="*", default=[0, 10, 20], help="of the keypoints, mm")
    parser.add_argument("--steps", type=float, nargs="*", default=[4, 8, 12], help="of the coder, mm")
    parser.add_argument("--excerpt", type=int, default=EXCERPT, help="frames of the middle of each motion")
    parser.add_argument("--seed", type=int, default=7, help="of the keypoints' noise")
    parser.add_argument("--threads", type=int, default=1, help="of the network")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="where the results go")
    parser.add_argument("--quick", action="store_true", help="a few short motions, to try the measurement")


def outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    """Return the files that :func:`run` writes, each with its kind."""
    return {args.out / "vertices.json": JSON, args.out / _HEAT_PICTURE: PNG}


def run(args: argparse.Namespace) -> None:
    """Measure every method, writing the figures after each condition; draw the heat map, print the tables."""
    body = load_body()
    clips = list(held_out_clips(body, args.data, 20 if args.quick else args.excerpt))
    if args.quick:
        clips, args.noise, args.steps = clips[::9], [0, 10], [6]
    conditions = [Condition(f"noise {level:g} mm", noise_mm=level) for level in args.noise]
    conditions += [Condition(f"coded, step {step:g} mm", step_mm=step) for step in args.steps]
    network = load_network("vertex_predictor", "cpu", args.threads)
    linear = LinearMap(body, args.data, batches=4 if args.quick else LINEAR_BATCHES)
    poses = np.concatenate([piece for _, piece, _ in load_motions(args.data, TRAINING_SUBJECTS)])
    prior = PosePrior.of_poses(poses[:: len(poses) // _POSES])
    rivals, rng = Rivals(body, network, linear.fit, prior), np.random.default_rng(args.seed)
    results: dict[str, Any] = {
        "quick": args.quick,
        "weights": weights_sha256("vertex_predictor.onnx")[:12],
        "subjects": HELD_OUT_SUBJECTS,
        "motions": len(clips),
        "frames": sum(len(clip.vertices) for clip in clips),
        "threads": args.threads,
        "truth_sliding_mm_s": sliding(*[[clip.keypoints for clip in clips]] * 2),
        "conditions": {},
        "pictures": {},
    }
    for condition in conditions:
        results["conditions"][condition.name], heat = measure(rivals, clips, condition, rng)
        if condition.name == _HEAT_CONDITION:
            draw_heat_map(body, {name: heat[name] for name in _HEAT_METHODS}, args.out / _HEAT_PICTURE)
            results["pictures"][_HEAT_PICTURE] = f"Mean error of every vertex, {condition.name}."
        write_results("vertices", results, args.out)
    print("\n".join(tables(results)))


@dataclass(frozen=True)
class Rivals:
    """All that the methods are made of."""

    body: BodyModel
    network: VertexNetwork
    fit_linear: Callable[[float], Callable[[np.ndarray, np.ndarray], np.ndarray]]
    prior: PosePrior

    def methods(
        self, clip: HeldOutClip, seen: np.ndarray, linear: Callable[[np.ndarray, np.ndarray], np.ndarray]
    ) -> dict[str, Callable[[], np.ndarray]]:
        """Return by name what predicts the vertices ``(T, V, 3)`` of ``clip`` from the keypoints ``seen``."""
        body, shape = self.body, clip.shape

        def windows() -> np.ndarray:
            return sample_windows(seen, FPS, 0, len(seen))

        def optimised(keypoints: np.ndarray) -> np.ndarray:
            return fit_body(body, keypoints, shape, deviation(keypoints, clip.keypoints), self.prior).vertices

        def fitted_shape() -> np.ndarray:
            return body.fit_shape(measure_bone_lengths(seen))

        return {
            "network": lambda: predict_vertices(body, seen, shape, self.network),
            "network, shape fitted": lambda: predict_vertices(body, seen, fitted_shape(), self.network),
            "optimisation": lambda: optimised(seen),
            "optimisation, smoothed": lambda: optimised(denoise(follow_trunk(windows()))[0]),
            "inverse kinematics": lambda: frame_inverse_kinematics(body, seen, shape),
            "inverse kinematics, smoothed": lambda: predict_vertices(body, seen, shape, None),
            "linear map": lambda: linear(windows(), shape),
        }


def measure(
    rivals: Rivals, clips: Sequence[HeldOutClip], condition: Condition, rng: np.random.Generator
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the keypoints' error and every method's under a condition, and the heat maps.

    A heat map is the mean error (mm) of every vertex, by method.
    """
    body, truth = rivals.body, [clip.keypoints for clip in clips]
    seen = [condition.spoil(keypoints, rng) for keypoints in truth]
    linear = rivals.fit_linear(deviation(np.concatenate(seen), np.concatenate(truth)))
    frames = sum(map(len, truth))
    sums: dict[str, np.ndarray] = {}
    heat: dict[str, np.ndarray] = {}
    points: dict[str, list[np.ndarray]] = {}
    seconds: dict[str, float] = {}
    for clip, keypoints in zip(clips, seen, strict=True):
        for name, predict in rivals.methods(clip, keypoints, linear).items():
            begun = time.perf_counter()
            vertices = predict()
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - begun
            sums[name] = sums.get(name, 0.0) + len(vertices) * errors_of(body, vertices, clip.vertices)
            points.setdefault(name, []).append(body.keypoints(vertices))
            off = np.linalg.norm(vertices - clip.vertices, axis=-1).sum(axis=0)
            heat[name] = heat.get(name, 0.0) + 1000 / frames * off
    parts = part_of_vertices(body)
    methods = {
        name: {
            **dict(zip(ERRORS, (total / frames).tolist(), strict=True)),
            "sliding_mm_s": sliding(points[name], truth),
            "frames_per_second": frames / seconds[name],
            "parts_mm": {part: float(heat[name][parts == i].mean()) for i, part in enumerate(PARTS)},
        }
        for name, total in sums.items()
    }
    off = np.linalg.norm(np.concatenate(seen) - np.concatenate(truth), axis=-1)
    return {"keypoints_mm": 1000 * float(off.mean()), "methods": methods}, heat


def errors_of(body: BodyModel, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the :data:`ERRORS` of vertices ``(T, V, 3)``, means over frames.

    Joints are the 23 keypoints read off the mesh, with the hips' middle laid on the true one.
    """
    raw, rooted, procrustes, acceleration = vertex_errors(body, predicted, true)
    points = [body.keypoints(vertices) for vertices in (predicted, true)]
    aligned = [k - k[:, HIPS].mean(axis=1, keepdims=True) for k in points]
    joints = 1000 * np.linalg.norm(aligned[0] - aligned[1], axis=-1).mean()
    return np.array([raw, rooted, procrustes, joints, acceleration])


def sliding(predicted: Sequence[np.ndarray], true: Sequence[np.ndarray]) -> float:
    """Return how fast (mm/s) heels and toes go while the true ones stand still; 0 if they never do.

    Both are clips of keypoints ``(T, 23, 3)``.
    """
    speeds = [
        np.concatenate([FPS * np.linalg.norm(np.diff(k[:, FEET], axis=0), axis=-1) for k in clips])
        for clips in (predicted, true)
    ]
    still = speeds[1] < STANDING
    return 1000 * float(speeds[0][still].mean()) if still.any() else 0.0


def deviation(seen: np.ndarray, true: np.ndarray) -> float:
    """Return the standard deviation a coordinate of how far ``seen`` is from ``true``."""
    return float(np.sqrt(((seen - true) ** 2).mean()))


def part_of_vertices(body: BodyModel) -> np.ndarray:
    """Return for each vertex the index in :data:`PARTS` of the part whose bone moves it most."""
    of_bone = [
        next(i for i, starts in enumerate(PARTS.values()) if name.startswith(starts))
        for name in body.bone_names
    ]
    return np.array(of_bone)[body.weights.argmax(axis=1)]


def draw_heat_map(body: BodyModel, heat: dict[str, np.ndarray], path: Path) -> None:
    """Draw mean errors (mm) of the vertices ``(V,)``, by method, on the body at rest from front and back."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.collections import PolyCollection

    vertices = body.vertices_mean
    top = max(np.quantile(values, 0.98) for values in heat.values())
    figure, rows = pyplot.subplots(
        len(_VIEWS), len(heat), figsize=(2.6 * len(heat) + 1, 6.6), squeeze=False, layout="constrained"
    )
    for (view, sign), row in zip(_VIEWS.items(), rows, strict=True):
        for axes, (name, values) in zip(row, heat.items(), strict=True):
            corners = vertices[body.faces] * np.array([sign, -1, sign])
            normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
            lit = np.abs(normal[:, 2]) / np.maximum(np.linalg.norm(normal, axis=1), 1e-12)
            order = np.argsort(-corners[..., 2].mean(axis=1))  # the farthest is drawn first
            order = order[normal[order, 2] > 0]  # of those that face the viewer
            colours = matplotlib.colormaps["turbo"](values[body.faces].mean(axis=1) / top)
            colours[:, :3] *= (0.6 + 0.4 * lit)[:, None]
            shown = PolyCollection(corners[order, :, :2], facecolors=colours[order], antialiaseds=False)
            axes.add_collection(shown)
            axes.set(title=f"{name}, {view}", aspect="equal")
            axes.title.set_fontsize(8)
            axes.autoscale_view()
            axes.axis("off")
    scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(0, top), "turbo")
    figure.colorbar(scale, ax=rows, label="mean error, mm", shrink=0.6)
    save_figure(figure, path)


def summary(results: dict[str, Any]) -> list[str]:
    """Return, a condition a line, where the network stands among the methods."""
    lines = []
    for condition, values in results["conditions"].items():
        raw = {name: errors["raw_mm"] for name, errors in values["methods"].items()}
        ours = raw.pop("network")
        del raw["network, shape fitted"]
        best = min(raw, key=raw.get)
        verdict = "ahead of" if ours < raw[best] else "behind"
        lines.append(
            f"Vertices, {condition}: {ours:.1f} mm, {verdict} the best rival, {best}: {raw[best]:.1f}."
        )
    return lines


def tables(results: dict[str, Any]) -> list[str]:
    """Return the lines of Markdown that say what was measured, and how it came out."""
    lines = [
        f"{results['frames']} frames of {results['motions']} motions of CMU subjects "
        f"{' and '.join(results['subjects'])}, the middle of each, on held-out people; weights "
        f"{results['weights']}. Every method has the person's true shape, but for *shape fitted*, which has "
        "it from the bone lengths of the keypoints it sees. The optimisation is Gauss-Newton on bone "
        "rotations with a prior from the training motions, frame by frame (at most "
        f"{ITERATIONS} iterations); *smoothed* has the keypoints denoised in time as the network's are.",
        "",
        "*Raw* is the distance to the true vertex; *root-aligned* with the hips laid on the true ones; "
        "*Procrustes* moved, turned and scaled to fit best. *Joints* are the 23 keypoints read off the mesh, "
        "root-aligned. *Sliding* is the speed of heels and toes while the true ones stand still (below "
        f"{1000 * STANDING:g} mm/s): {results['truth_sliding_mm_s']:.1f} mm/s for the truth itself. "
        f"*Frames/s* is from keypoints to all vertices, threads of the network: {results['threads']}.",
        "",
    ]
    for condition, values in results["conditions"].items():
        lines += [
            f"**{condition}** (keypoints {values['keypoints_mm']:.1f} mm off on average)",
            "",
            f"| | {' | '.join(COLUMNS.values())} |",
            f"| --- |{' ---: |' * len(COLUMNS)}",
        ]
        for method, errors in values["methods"].items():
            cells = [f"{errors[name]:.{0 if name == 'frames_per_second' else 1}f}" for name in COLUMNS]
            lines.append(f"| {method} | {' | '.join(cells)} |")
        lines.append("")
    lines += ["Mean error in mm by part of the body, raw:", "", f"| | | {' | '.join(PARTS)} |"]
    lines.append(f"| --- | --- |{' ---: |' * len(PARTS)}")
    for condition, values in results["conditions"].items():
        for method in ("network", "optimisation, smoothed"):
            cells = " | ".join(f"{values['methods'][method]['parts_mm'][part]:.1f}" for part in PARTS)
            lines.append(f"| {condition} | {method} | {cells} |")
    lines += ["", "Published by others, **not the same work**:", ""]
    lines += [f"- {source}: {figure} ({why})." for source, figure, why in PUBLISHED]
    return lines
