# SPDX-License-Identifier: GPL-3.0-or-later
"""The training of the pose lifter on what the estimator sees of synthetic people.

``s2d train lifter --data DIR --out DIR`` films people of the training split, lets the pose estimator follow
them, and keeps its landmarks beside the truth, a file a clip; a run that was stopped goes on where it ended.
Once all clips are there the network trains on them, for some minutes, and is measured on people and motions
of the held-out split. ``--export DIR`` writes the weights that capture loads.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from ...inference.capture.blazepose import PoseDetector, PoseLandmarker
from ...inference.capture.camera_space import look_along
from ...inference.capture.pose_lifter import (
    FEATURES,
    RATE,
    Landmarks,
    join,
    keypoints_of,
    mirror,
    split,
    view_of,
)
from ...inference.capture.tracking import Still, find_people, follow
from ...inference.runtime.backends import OnnxNetwork
from ..camera import Camera
from ..errors import InputError, S2DError
from ..keypoints import MIRRORED, TRUNK
from ..outputs import JSON, ONNX, Kind
from ..pose_lifter import PoseLifter
from ..shipped import WEIGHTS
from ..whole_files import check_writable, whole_file, write_whole
from .model_card import put_into_card
from .motion import data_dir
from .people import People
from .schedule import running_average, warm_cosine

NETWORK_NAME = "pose_lifter"
FRAMES = 64
"""Of a clip, at :data:`...inference.capture.pose_lifter.RATE` a second."""
SIZES = ((256, 256), (256, 256), (384, 384), (320, 320), (448, 256), (256, 448))
"""Canvases ``(H, W)`` that clips are filmed on, in turn."""
HELD_OUT_CLIPS = 48
METRICS = ("image_mm", "depth_mm", "pose_mm", "acceleration_mm")

_SEED = 4242  # of the people
_CLIPS_A_STEP = 12
_LEARNING_RATE, _WEIGHT_DECAY, _WARM_UP = 1e-3, 1e-2, 100
_LEAST_RATE = 0.01  # share of the largest learning rate
_AVERAGING, _AVERAGING_RAMP = 0.995, 5
_IMAGE, _ACROSS, _DEPTH, _CHANGE = 0.03, 0.03, 0.06, 0.033  # metres of error that weigh as much each
_OUTSIDE, _UNSEEN = 0.1, 0.2  # weight of points outside the picture, and of frames without the person
_LEAST_SEEN = 0.6  # of a clip's frames
_ROLL, _SIZE, _ZOOM, _JITTER = 0.12, 0.08, 0.05, 0.01  # standard deviations of how clips are varied


# ---- clips -------------------------------------------------------------------------------------


def film(
    people: People, index: int, estimators: tuple[PoseDetector, PoseLandmarker]
) -> dict[str, np.ndarray]:
    """Film a clip and follow the person in it.

    Returns :class:`Landmarks`' arrays by name, ``size`` (width, height), ``camera`` (fx, fy, cx, cy) and the
    true ``keypoints`` ``(T, 23, 3)`` in camera space.
    """
    detector, landmarker = estimators
    head, frames = people.clip(index, FRAMES, RATE)
    drawn = list(frames)
    pictures = [Still(frame["frame"]) for frame in drawn]
    landmarks = Landmarks.unseen(FRAMES)
    found, _ = find_people(pictures, RATE, detector.detect)
    if found:
        for t, (_, pose) in enumerate(follow(pictures, RATE, found[0], landmarker)):
            if pose is not None:
                landmarks.put(t, pose)
    camera = head["camera"]
    return vars(landmarks) | {
        "size": np.array(pictures[0].source.shape[1::-1]),
        "camera": np.array([camera.fx, camera.fy, camera.cx, camera.cy]),
        "keypoints": np.stack([frame["keypoints"] for frame in drawn]),
    }


@dataclass(frozen=True)
class Filming:
    """Where clips are filmed to and from what.

    Attributes:
        data: folder of the assets.
        out: folder of the filmed clips, one folder a split.
        backgrounds: folder of photographs to stand people before.
        renderers: processes that film.
        deadline: seconds since the epoch after which no clip is begun.
    """

    data: Path
    out: Path
    backgrounds: Path | None
    renderers: int
    deadline: float


def collect(filming: Filming, split: str, clips: int) -> list[Path]:
    """Film what is missing of ``clips`` clips of a split; return the files that there are after that.

    S2DError ``filming`` where a process that films fails.
    """
    folder = filming.out / split
    folder.mkdir(parents=True, exist_ok=True)
    start = multiprocessing.get_context("spawn").Process
    shares = [range(first, clips, filming.renderers) for first in range(filming.renderers)]
    workers = [
        start(target=_film_share, args=(filming, folder, split, share))
        for share in shares
        if any(not _file(folder, index).is_file() for index in share)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise S2DError(
            "filming", f"Filming clips to {folder} failed: run it again with --debug to see why, or go on."
        )
    return [path for path in (_file(folder, index) for index in range(clips)) if path.is_file()]


def _file(folder: Path, index: int) -> Path:
    return folder / f"{index:05d}.npz"


def _film_share(filming: Filming, folder: Path, split: str, indices: range) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    estimators = PoseDetector(1), PoseLandmarker(1)
    people: dict[tuple[int, int], People] = {}
    for index in indices:
        path = _file(folder, index)
        if path.is_file():
            continue
        if time.time() > filming.deadline:
            return
        size = SIZES[index % len(SIZES)]
        if size not in people:
            people[size] = People(filming.data, split, size, _SEED, backgrounds=filming.backgrounds)
        filmed = film(people[size], index, estimators)
        with whole_file(path) as aside:
            values = {name: value.astype(np.float32) for name, value in filmed.items()}
            np.savez(aside, allow_pickle=False, **values)


# ---- examples ----------------------------------------------------------------------------------


@dataclass
class Example:
    """A clip as the network sees it, and what it should say; metres, float32."""

    features: np.ndarray  # (T, FEATURES)
    image: np.ndarray  # (T, 23, 2), of the landmarks
    world: np.ndarray  # (T, 23, 3)
    true_image: np.ndarray  # (T, 23, 2), of the body's keypoints
    true_world: np.ndarray  # (T, 23, 3)
    weight: np.ndarray  # (T, 23)


def load_example(path: Path) -> Example | None:
    """Load a filmed clip, None where the person is seen too seldom. InputError for a damaged file."""
    return _example(_read(path))


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name].astype(np.float64) for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError("clip", f"{path} is damaged: delete it, and it is filmed anew.") from error


def _example(clip: dict[str, np.ndarray]) -> Example | None:
    landmarks = _landmarks(clip)
    seen = landmarks.score > 0
    if seen.mean() < _LEAST_SEEN:
        return None
    view = view_of(landmarks, tuple(clip["size"]))
    camera, points = Camera(*clip["camera"]), clip["keypoints"]
    pixels = camera.project(points)
    true_image = (pixels - view.centre[:, None]) / view.scale[:, None, None]
    true_world = _as_seen(points, view.image * view.scale[:, None, None] + view.centre[:, None], camera)
    # How tall the person really is cannot be seen: as tall as the landmarks have them.
    true_world *= np.sqrt((view.world**2).sum() / (true_world**2).sum())
    inside = np.all((pixels >= 0) & (pixels < clip["size"]), axis=-1)
    weight = np.where(inside, 1, _OUTSIDE) * np.where(seen, 1, _UNSEEN)[:, None]
    return Example(
        view.features,
        *(value.astype(np.float32) for value in (view.image, view.world, true_image, true_world, weight)),
    )


def _landmarks(clip: dict[str, np.ndarray]) -> Landmarks:
    return Landmarks(*(clip[name] for name in ("image", "world", "visibility", "score")))


def _as_seen(points: np.ndarray, image: np.ndarray, camera: Camera) -> np.ndarray:
    """Return ``points (T, 23, 3)`` about the trunk's middle, in axes of a picture centred on the person."""
    back = look_along(np.broadcast_to(np.eye(3), (len(points), 3, 3)), image, camera)
    turned = np.einsum("tij,tkj->tki", back, points)
    return turned - turned[:, TRUNK].mean(axis=1, keepdims=True)


def vary(example: Example, rng: np.random.Generator) -> Example:
    """Mirror, roll and scale an example at random, and let its landmarks tremble."""
    features, weight, turn = example.features, example.weight, np.eye(3)
    keypoints = [example.image, example.world, example.true_image, example.true_world]
    if rng.random() < 0.5:
        features, weight = mirror(features), weight[:, MIRRORED]
        keypoints = [points[:, MIRRORED] * (-1, 1, 1)[: points.shape[-1]] for points in keypoints]
    angle = rng.normal(0, _ROLL)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    size, zoom = np.exp(rng.normal(0, (_SIZE, _ZOOM)))
    of_image, of_world = turn[:2, :2].T * size * zoom, turn.T * size
    image, world, visibility, score, velocity, edges = split(features)
    image = image @ of_image
    image += rng.random() * rng.normal(0, _JITTER, image.shape)
    features = join([image, world @ of_world, visibility, score, velocity @ turn[:2, :2].T, edges])
    keypoints = [points @ (of_image if points.shape[-1] == 2 else of_world) for points in keypoints]
    return Example(*(np.asarray(value, np.float32) for value in (features, *keypoints, weight)))


# ---- learning ----------------------------------------------------------------------------------


def loss_of(network: PoseLifter, examples: list[Example]) -> Tensor:
    """Return the loss of ``network`` on clips of equal length: places, depth, and how they change."""
    features, image, world, true_image, true_world, weight = (
        torch.from_numpy(np.stack([vars(example)[name] for example in examples]))
        for name in Example.__dataclass_fields__
    )
    moved_image, moved_world = network(features)
    off_image, off_world = image + moved_image - true_image, world + moved_world - true_world
    places = (
        off_image.norm(dim=-1) / _IMAGE
        + off_world[..., :2].norm(dim=-1) / _ACROSS
        + off_world[..., 2].abs() / _DEPTH
    )
    changes = off_image.diff(dim=1).abs().mean() + off_world.diff(dim=1).abs().mean()
    return (weight * places).mean() + changes / _CHANGE


def train(examples: list[Example], steps: int, seed: int = 0) -> PoseLifter:
    """Train a network from nothing; return the average of its weights, ready to run."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = PoseLifter(FEATURES)
    network.standardise(torch.from_numpy(np.concatenate([example.features for example in examples])))
    average = running_average(network, _AVERAGING, _AVERAGING_RAMP)
    optimiser = torch.optim.AdamW(network.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    schedule = LambdaLR(optimiser, lambda step: warm_cosine(step, step / steps, _WARM_UP, _LEAST_RATE))
    for step in range(steps):
        chosen = [vary(examples[i], rng) for i in rng.integers(0, len(examples), _CLIPS_A_STEP)]
        loss = loss_of(network, chosen)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        average.update_parameters(network)
        if step % 250 == 249 or step == steps - 1:
            print(f"step {step + 1} of {steps}: loss {float(loss.detach()):.3f}", flush=True)
    return cast(PoseLifter, average.module.eval())


def export(network: PoseLifter, folder: Path) -> None:
    """Write the network as ``pose_lifter.onnx`` into ``folder``."""
    with whole_file(folder / f"{NETWORK_NAME}.onnx") as aside, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, about itself
        torch.onnx.export(
            network, (torch.rand(1, FRAMES, FEATURES),), aside, input_names=["features"],
            output_names=["image", "world"], opset_version=17, dynamo=False,
            dynamic_axes={name: {0: "clips", 1: "moments"} for name in ("features", "image", "world")},
        )  # fmt: skip


# ---- measuring ---------------------------------------------------------------------------------


def evaluate(paths: list[Path], folder: Path) -> dict[str, dict[str, float]]:
    """Measure the exported network, and the estimator's own landmarks, on filmed clips.

    Returns the :data:`METRICS` of each, means over the points in the picture: how far a point lies from where
    it is seen (millimetres at the person's depth), in depth and altogether, about the trunk's middle; and how
    its path's second difference (millimetres a frame squared) differs from the true one's.
    """
    network = OnnxNetwork(folder / f"{NETWORK_NAME}.onnx", 1)
    found: dict[str, list[list[float]]] = {"estimator": [], "lifted": []}
    for path in paths:
        clip = _read(path)
        example = _example(clip)
        if example is None:
            continue
        landmarks, size = _landmarks(clip), tuple(clip["size"])
        view = view_of(landmarks, size)
        image, world = keypoints_of(landmarks, size, RATE, network)
        image = (image - view.centre[:, None]) / view.scale[:, None, None]
        counts = example.weight == 1
        for name, points, metres in (
            ("estimator", example.image, example.world),
            ("lifted", image, world),
        ):
            apart = metres - example.true_world
            bend = np.linalg.norm(np.diff(apart, 2, axis=0), axis=-1)
            values = (
                np.linalg.norm(points - example.true_image, axis=-1)[counts],
                np.abs(apart[..., 2])[counts],
                np.linalg.norm(apart, axis=-1)[counts],
                bend[counts[1:-1]],
            )
            found[name].append([1000 * float(value.mean()) for value in values])
    return {
        name: dict(zip(METRICS, np.mean(values, axis=0).tolist(), strict=True))
        for name, values in found.items()
    } | {"clips": {"measured": len(found["lifted"])}}


def results_table(results: dict[str, dict[str, float]]) -> str:
    """Return the results as a Markdown table."""
    titles = ("in the picture", "depth", "pose", "acceleration, mm a frame²")
    lines = [f"| | {' | '.join(titles)} |", "|" + " --- |" * (len(titles) + 1)]
    for name, title in (("estimator", "BlazePose's landmarks"), ("lifted", "lifted keypoints")):
        lines.append(f"| {title} | {' | '.join(f'{results[name][metric]:.0f}' for metric in METRICS)} |")
    return "\n".join(lines)


# ---- the command -------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``s2d train lifter``."""
    parser.add_argument("--data", type=Path, default=os.environ.get("S2D_DATA"), help="folder of the assets")
    parser.add_argument("--backgrounds", type=Path, help="folder of photographs to stand people before")
    parser.add_argument("--out", type=Path, required=True, help="folder of the filmed clips")
    parser.add_argument("--clips", type=int, default=1200, help="of 64 frames each to train on (1200)")
    parser.add_argument("--held-out", type=int, default=HELD_OUT_CLIPS, help="to measure on")
    parser.add_argument("--renderers", type=int, default=os.cpu_count(), help="processes that film")
    parser.add_argument("--minutes", type=float, default=9, help="start no clip after this; go on later")
    parser.add_argument("--steps", type=int, default=3000, help="of the training")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads of the training")
    parser.add_argument("--export", type=Path, metavar="DIR", help="write the weights there (the package's)")


def outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    """Return the files that :func:`run` writes, each with its kind."""
    folder = args.export or WEIGHTS
    return {folder / f"{NETWORK_NAME}.onnx": ONNX, folder / f"{NETWORK_NAME}.json": JSON}


def run(args: argparse.Namespace) -> None:
    """Film what is missing, and once all is there train, export and measure."""
    deadline = time.time() + 60 * args.minutes
    filming = Filming(data_dir(args.data), args.out, args.backgrounds, args.renderers, deadline)
    PoseLandmarker(1)  # what is missing is said here, once, and not by every process
    check_writable(args.out)
    files = collect(filming, "train", args.clips)
    measured = collect(filming, "held_out", args.held_out)
    if len(files) < args.clips or len(measured) < args.held_out:
        print(
            f"{len(files)} of {args.clips} clips, {len(measured)} of {args.held_out} held out: run it again"
        )
        return
    folder = args.export or WEIGHTS
    check_writable(folder)
    torch.set_num_threads(args.threads)
    examples = [example for example in map(load_example, files) if example is not None]
    started = time.monotonic()
    export(train(examples, args.steps), folder)
    minutes = (time.monotonic() - started) / 60
    results = evaluate(measured, folder)
    results["training"] = {"clips": len(examples), "steps": args.steps, "minutes": round(minutes, 1)}
    write_whole(folder / f"{NETWORK_NAME}.json", json.dumps(results, indent=2) + "\n")
    if folder == WEIGHTS:
        put_into_card(WEIGHTS / "MODEL_CARD.md", "lifter table", [results_table(results)])
    print(results_table(results))
