# SPDX-License-Identifier: GPL-3.0-or-later
"""The training of the pose lifter: landmarks of seconds of a film in, keypoints and how sure they are out.

``s2d train lifter --data DIR --out DIR`` films people of the training split, from whom it learns how the
estimator errs (:mod:`.estimator_faults`), and of the held-out split, to measure on. Once all clips are there
the network trains on virtual windows (:mod:`.lifter_windows`) and on the clips (:mod:`.filmed_windows`) for
some minutes, and is exported and measured. Whatever stops it, the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ...inference.capture.blazepose import PoseLandmarker
from ...inference.capture.pose_lifter import FEATURES, RATE, keypoints_of
from ...inference.capture.sides import settle_sides
from ...inference.runtime.backends import Network, OnnxNetwork
from ..body_catalogue import load_body
from ..errors import InputError
from ..keypoints import BLAZEPOSE_INDEX, BONES, KEYPOINT_INDEX, TRUNK
from ..outputs import JSON, ONNX, Kind
from ..pose_lifter import PoseLifter
from ..rotations import unit
from ..shipped import WEIGHTS
from ..whole_files import check_writable, whole_file, write_whole
from .checkpoints import CHECKPOINTS, of_this_training, read_checkpoint, write_checkpoint
from .estimator_faults import KINDS, EstimatorFaults, about_trunk, followed
from .filmed_windows import FilmedWindows
from .lifter_clips import FILMED, FRAMES, Filming, LifterClip, collect, load_clip
from .lifter_windows import LifterWindows, PosedMotions
from .model_card import put_into_card
from .motion import data_dir
from .schedule import running_average, warm_cosine

NETWORK_NAME = "pose_lifter"
CHECKPOINT = "lifter.pt"
CLIPS, HELD_OUT_CLIPS = 50 * len(FILMED), 2 * len(FILMED)
"""Filmed to train on, and to learn the estimator's faults from, and to measure on."""
MINUTES = 90.0
"""Of the whole training, on one processor core."""
VIRTUAL, FILMED_TOO = 26, 24
"""Windows a step."""
WARM_UP = 100
SAVE_SECONDS = 45

METRICS = ("image_mm", "depth_mm", "bone_mm", "knee_degrees")
EXPECTED = ("expected_image_mm", "expected_bone_mm")

_LEARNING_RATE, _LEAST_RATE, _WEIGHT_DECAY = 1e-3, 0.01, 1e-2
_AVERAGING, _AVERAGING_RAMP = 0.995, 5
_FIRST_LOOK = 8  # batches that give the inputs' means
_IMAGE, _DEPTH, _BONE, _CHANGE = 0.03, 0.06, 0.05, 0.033  # metres of error that weigh as much each
_BONES_WEIGHT, _SPREADS_WEIGHT = 0.6, 0.3
_USUAL_SPREAD = 0.04  # metres: whose likelihood is 0
_SHOWN_EVERY = 50  # steps

_FIRST, _SECOND = np.array(BONES).T
_KNEES = [[KEYPOINT_INDEX[f"{side}_{j}"] for j in ("hip", "knee", "ankle")] for side in ("left", "right")]


def loss_of(network: PoseLifter, features: Tensor, truth: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss on N windows, and its errors in the picture, in depth and of bones ``(3,)``, metres.

    Places in the picture and in depth, bones in depth, how all of it changes, and how likely the errors are
    under the spreads, which learn from the errors but not the other way round (Laplace distributions).

    Args:
        network: in training.
        features: ``(N, T, FEATURES)``.
        truth: ``(N, T, 23, 3)``, see :func:`.lifter_windows.truth_of`.
        weight: ``(N, T, 23)`` how much each keypoint counts.
    """
    points, spread, bone_spread = network(features)
    off = points - truth
    image, depth = off[..., :2].norm(dim=-1), off[..., 2].abs()
    bones = (off[..., _FIRST, 2] - off[..., _SECOND, 2]).abs()
    of_bone = torch.minimum(weight[..., _FIRST], weight[..., _SECOND])
    likely = (weight * (image.detach() / spread + 2 * (spread / _USUAL_SPREAD).log())).mean()
    in_depth = bones.detach() / bone_spread + (bone_spread / _USUAL_SPREAD).log()
    likely = likely + (of_bone * in_depth).mean()
    loss = (
        (weight * (image / _IMAGE + depth / _DEPTH)).mean()
        + _BONES_WEIGHT * (of_bone * bones / _BONE).mean()
        + (off.diff(dim=1) / _CHANGE).abs().mean()
        + _SPREADS_WEIGHT * likely
    )
    return loss, torch.stack([errors.detach().mean() for errors in (image, depth, bones)])


class Trainer:
    """The network, its optimiser and all else that a checkpoint holds, so that a slice resumes exactly."""

    def __init__(self, virtual: LifterWindows, filmed: FilmedWindows, minutes: float = MINUTES) -> None:
        torch.manual_seed(0)
        self.virtual, self.filmed, self.minutes = virtual, filmed, minutes
        self.network = PoseLifter(FEATURES)
        self.average = running_average(self.network, _AVERAGING, _AVERAGING_RAMP)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), weight_decay=_WEIGHT_DECAY)
        self.step, self.seconds = 0, 0.0

    @property
    def done(self) -> float:
        """How far the whole training has come, 0 to 1."""
        return min(1.0, self.seconds / (60 * self.minutes))

    def train(self, seconds: float, checkpoint: Path) -> None:
        """Train to the end or for ``seconds``; the checkpoint is never more than a minute behind."""
        if self.done >= 1:
            return
        deadline = time.monotonic() + seconds
        if self.step == 0:
            first = torch.cat([self.batch(step)[0] for step in range(_FIRST_LOOK)])
            self.network.standardise(first.reshape(-1, FEATURES))
        self.virtual.prepare(self.step)
        shown: list[Tensor] = []
        before = saved = time.monotonic()
        while self.done < 1:
            shown.append(self.learn())
            now = time.monotonic()
            self.seconds += now - before
            before = now
            if now - saved > SAVE_SECONDS:
                self.save(checkpoint)
                saved = now
            if self.step % _SHOWN_EVERY == 0:
                off = 1000 * torch.stack(shown).mean(dim=0)
                image, depth, bones = (f"{error:.1f}" for error in off.tolist())
                at = f"step {self.step} minute {self.seconds / 60:.1f} of {self.minutes:g}"
                print(f"{at}: image {image}, depth {depth}, bones {bones} mm", flush=True)
                shown.clear()
            if now > deadline:
                break
        self.save(checkpoint)

    def learn(self) -> Tensor:
        """Take a step; return :func:`loss_of`'s errors."""
        torch.manual_seed(
            self.step
        )  # what drops out is, like the windows, the same in a training that resumed
        rate = warm_cosine(self.step, self.done, WARM_UP, _LEAST_RATE)
        for group in self.optimiser.param_groups:
            group["lr"] = _LEARNING_RATE * rate
        loss, errors = loss_of(self.network.train(), *self.batch(self.step))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.average.update_parameters(self.network)
        self.step += 1
        return errors

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return a step's features, truth and weights, see :func:`loss_of`."""
        seen, said = self.virtual.batch(step, VIRTUAL)
        virtual = seen, said, np.ones(said.shape[:-1], np.float32)
        both = zip(virtual, self.filmed.batch(step, FILMED_TOO), strict=True)
        features, truth, weight = (torch.from_numpy(np.concatenate(values)) for values in both)
        return features, truth, weight

    def averaged(self) -> PoseLifter:
        """Return the network with the running average of its weights, ready to run."""
        network = PoseLifter(FEATURES)
        network.load_state_dict(self.average.module.state_dict())
        return network.eval()

    def save(self, checkpoint: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "network": self.network.state_dict(), "average": self.average.module.state_dict(),
            "optimiser": self.optimiser.state_dict(), "step": self.step, "seconds": self.seconds,
        }  # fmt: skip
        write_checkpoint(checkpoint, state)

    def resume(self, checkpoint: Path) -> None:
        """Go on from a checkpoint exactly where it was written. InputError ``checkpoint`` for another's."""
        state = read_checkpoint(checkpoint)
        with of_this_training(checkpoint):
            self.network.load_state_dict(state["network"])
            self.average.module.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.seconds = state["step"], state["seconds"]
        self.average.n_averaged.fill_(self.step)


def export(network: PoseLifter, folder: Path = WEIGHTS) -> None:
    """Write the network as ``pose_lifter.onnx`` into ``folder``; any number of clips and moments go in."""
    names = ("points", "spread", "bone_spread")
    with whole_file(folder / f"{NETWORK_NAME}.onnx") as aside, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, about itself
        torch.onnx.export(
            network, (torch.rand(1, FRAMES, FEATURES),), aside, input_names=["features"],
            output_names=list(names), opset_version=17, dynamo=False,
            dynamic_axes={name: {0: "clips", 1: "moments"} for name in ("features", *names)},
        )  # fmt: skip


# ---- measuring ---------------------------------------------------------------------------------


def measure(clip: LifterClip, network: Network) -> dict[str, dict[str, float]]:
    """Measure a network, and the estimator's own landmarks, on a clip.

    Returns the :data:`METRICS` of ``estimator`` and ``lifted``, means over the frames in which the person is
    seen and the points in the picture: how far a point lies from where it is seen (millimetres at the
    person's depth), how far in depth about the trunk, how far off bones are in depth; and how much straighter
    knees are than they should be, degrees. ``lifted`` has the :data:`EXPECTED` errors, too.
    """
    landmarks = settle_sides(clip.landmarks, RATE).landmarks
    lifted = keypoints_of(landmarks, clip.camera, RATE, network)
    seen = landmarks.score > 0
    inside = clip.inside() & seen[:, None]
    both = inside[:, _FIRST] & inside[:, _SECOND]
    distance = np.linalg.norm(clip.keypoints[:, TRUNK].mean(axis=1), axis=-1)
    millimetres = 1000 * distance / np.sqrt(clip.camera.fx * clip.camera.fy)  # a pixel
    larger = (distance / lifted.distance)[:, None]  # than the estimator takes people
    pixels, true = clip.camera.project(clip.keypoints), about_trunk(clip.keypoints)
    true_depth = np.einsum("tkc,tc->tk", true, lifted.line)
    own = list(BLAZEPOSE_INDEX)
    found = {}
    for name, image, points, depth in (
        (
            "estimator",
            landmarks.image[:, own],
            landmarks.world[:, own],
            about_trunk(landmarks.world[:, own])[..., 2],
        ),
        ("lifted", lifted.image, lifted.points, np.einsum("tkc,tc->tk", lifted.points, lifted.line)),
    ):
        off = larger * depth - true_depth
        bones = np.abs(off[:, _FIRST] - off[:, _SECOND])
        values = (
            (np.linalg.norm(image - pixels, axis=-1) * millimetres[:, None])[inside].mean(),
            1000 * np.abs(off)[inside].mean(),
            1000 * bones[both].mean(),
            (_knees(points) - _knees(clip.keypoints))[seen].mean(),
        )
        found[name] = dict(zip(METRICS, map(float, values), strict=True))
    expected = 2 * lifted.image_spread * millimetres[:, None], 1000 * larger * lifted.bone_spread
    image_error, bone_error = expected[0][inside].mean(), expected[1][both].mean()
    found["lifted"] |= dict(zip(EXPECTED, (float(image_error), float(bone_error)), strict=True))
    return found


def _knees(points: np.ndarray) -> np.ndarray:
    """Return the angles ``(T, 2)`` at the knees of keypoints ``(T, 23, 3)``, degrees."""
    hips, knees, ankles = (points[:, [knee[i] for knee in _KNEES]] for i in range(3))
    return np.degrees(np.arccos(np.clip((unit(hips - knees) * unit(ankles - knees)).sum(-1), -1, 1)))


def evaluate(clips: Sequence[LifterClip], folder: Path) -> dict[str, dict[str, float]]:
    """Measure the exported network, and the estimator's own landmarks, on clips: means of :func:`measure`.

    Those of ``estimator`` and ``lifted`` are over all clips of adults whom the estimator sees, those by the
    names of :data:`.estimator_faults.KINDS` of ``lifted`` over the clips of that kind. InputError ``clips``
    where there are none.
    """
    network = OnnxNetwork(folder / f"{NETWORK_NAME}.onnx", 1)
    usable = [(seen.kind, clip) for clip in clips if (seen := followed(clip)) is not None]
    if not usable:
        raise InputError(
            "clips", "In no held-out clip the estimator sees the person: film more (--held-out)."
        )
    measured = [(kind, measure(clip, network)) for kind, clip in usable]
    groups = {name: [of[name] for _, of in measured] for name in ("estimator", "lifted")}
    groups |= {kind: [of["lifted"] for each, of in measured if each == kind] for kind in KINDS}
    results = {
        name: {metric: float(np.mean([one[metric] for one in group])) for metric in group[0]}
        for name, group in groups.items()
        if group
    }
    return results | {"clips": {"measured": len(measured)}}


def results_table(results: dict[str, dict[str, float]]) -> str:
    """Return the results as a Markdown table."""
    titles = (
        "in the picture",
        "expected",
        "depth",
        "bones in depth",
        "expected",
        "knees too straight, degrees",
    )
    columns = ("image_mm", "expected_image_mm", "depth_mm", "bone_mm", "expected_bone_mm", "knee_degrees")
    rows = {"estimator": "BlazePose's landmarks", "lifted": "lifted keypoints"}
    rows |= {kind: f"of clips {kind}" for kind in KINDS}
    lines = [f"| | {' | '.join(titles)} |", "|" + " --- |" * (len(titles) + 1)]
    for name, title in rows.items():
        if name in results:
            said = (f"{results[name][column]:z.0f}" if column in results[name] else "" for column in columns)
            lines.append(f"| {title} | {' | '.join(said)} |")
    return "\n".join(lines)


def record(clips: Sequence[LifterClip], folder: Path, training: dict[str, float]) -> None:
    """Measure the network in ``folder``; write ``pose_lifter.json`` there and print the table.

    ``training`` are figures of it, which go along. The package's own weights' results go into the model card.
    """
    results = evaluate(clips, folder) | {"training": training}
    write_whole(folder / f"{NETWORK_NAME}.json", json.dumps(results, indent=2) + "\n")
    table = results_table(results)
    if folder == WEIGHTS:
        put_into_card(WEIGHTS / "MODEL_CARD.md", "lifter table", [table])
    print(table)


# ---- the command -------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``s2d train lifter``."""
    parser.add_argument("--data", type=Path, default=os.environ.get("S2D_DATA"), help="folder of the assets")
    parser.add_argument("--backgrounds", type=Path, help="folder of photographs to stand people before")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the filmed clips and the checkpoint"
    )
    parser.add_argument("--clips", type=int, default=CLIPS, help=f"to train on ({CLIPS})")
    parser.add_argument("--held-out", type=int, default=HELD_OUT_CLIPS, help="clips to measure on")
    parser.add_argument("--renderers", type=int, default=os.cpu_count(), help="processes that film")
    parser.add_argument(
        "--minutes", type=float, default=9, help="of this slice (9); then go on by the same command"
    )
    parser.add_argument(
        "--schedule", type=float, default=MINUTES, help=f"minutes of the whole training ({MINUTES:g})"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads of the training")
    parser.add_argument("--export", type=Path, metavar="DIR", help="write the weights there (the package's)")


def outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    """Return the files that :func:`run` writes, each with its kind."""
    folder = args.export or WEIGHTS
    weights = {folder / f"{NETWORK_NAME}.onnx": ONNX, folder / f"{NETWORK_NAME}.json": JSON}
    return {args.out / CHECKPOINT: CHECKPOINTS} | weights


def run(args: argparse.Namespace) -> None:
    """Film what is missing, train a slice, and once trained to the end export and measure."""
    deadline = time.time() + 60 * args.minutes
    data, folder, checkpoint = data_dir(args.data), args.export or WEIGHTS, args.out / CHECKPOINT
    PoseLandmarker(1)  # what is missing is said here, once, and not by every process
    check_writable(args.out)
    filming = Filming(data, args.out, args.backgrounds, args.renderers, deadline)
    files, measured = collect(filming, "train", args.clips), collect(filming, "held_out", args.held_out)
    if len(files) < args.clips or len(measured) < args.held_out:
        print(
            f"{len(files)} of {args.clips} clips, {len(measured)} of {args.held_out} held out: run it again"
        )
        return
    check_writable(folder)
    torch.set_num_threads(args.threads)
    clips = [clip for clip in (followed(load_clip(path)) for path in files) if clip is not None]
    virtual = LifterWindows(PosedMotions(load_body(), data), EstimatorFaults(clips), seed=0)
    trainer = Trainer(virtual, FilmedWindows(clips, seed=0), args.schedule)
    if checkpoint.is_file():
        trainer.resume(checkpoint)
    trainer.train(deadline - time.time(), checkpoint)
    if trainer.done < 1:
        print(f"step {trainer.step}, minute {trainer.seconds / 60:.1f} of {args.schedule:g}: run it again")
        return
    export(trainer.averaged(), folder)
    figures = {"clips": len(clips), "steps": trainer.step, "minutes": round(trainer.seconds / 60, 1)}
    record([load_clip(path) for path in measured], folder, figures)
