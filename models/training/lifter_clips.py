# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pose estimator sees of synthetic people whose keypoints are known: a file of landmarks a clip.

People are filmed in the postures of :data:`FILMED`, and now and then as :class:`.people.People` has them, on
canvases of several sizes; capture's own tracking follows them. A run that was stopped goes on where it ended.
"""

from __future__ import annotations

import multiprocessing
import time
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch

from ...inference.capture.blazepose import PoseDetector, PoseLandmarker
from ...inference.capture.pose_lifter import RATE, Landmarks
from ...inference.capture.tracking import Still, find_people, follow
from ..camera import Camera
from ..errors import InputError, S2DError
from ..whole_files import whole_file
from .people import People
from .postures import VARIED_KINDS, VariedPeople

FRAMES = 64
"""Of a clip, at :data:`...inference.capture.pose_lifter.RATE` a second."""

PLAIN = "plain"
"""The kind of clips of people as :class:`.people.People` has them, on canvases of :data:`SIZES` in turn."""

FILMED = (
    "upright", "sitting", "floor", "inverted", "upright", "above", PLAIN, "low", "upright", "near", "cut_off",
    "upright", "sitting", "floor", "upright", "inverted", "upright", "above", "far", "upright", "low", "near",
    "upright",
)  # fmt: skip
"""Kinds of clips, in turn: those of :data:`.postures.KINDS`, but no rolled cameras, which capture undoes."""

SIZES = ((256, 256), (256, 256), (384, 384), (320, 320), (448, 256), (256, 448))

_SEED = 4242  # of the people
_SPARE = 0.1  # seconds of motion beyond a clip


@dataclass(frozen=True)
class LifterClip:
    """What the estimator saw of a person, and the truth."""

    kind: str
    landmarks: Landmarks
    size: np.ndarray  # (2,) width and height, pixels
    camera: Camera
    keypoints: np.ndarray  # (T, 23, 3) camera space, metres

    def inside(self) -> np.ndarray:
        """Return which of the true keypoints ``(T, 23)`` lie in the picture."""
        pixels = self.camera.project(self.keypoints)
        return np.all((pixels >= 0) & (pixels < self.size), axis=-1)


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

    @cache
    def plain(size: tuple[int, int]) -> People:
        return People(filming.data, split, size, _SEED, backgrounds=filming.backgrounds)

    @cache
    def posed() -> VariedPeople:
        return VariedPeople(filming.data, split, FRAMES / RATE + _SPARE, _SEED, filming.backgrounds)

    for index in indices:
        path, kind = _file(folder, index), FILMED[index % len(FILMED)]
        if path.is_file():
            continue
        if time.time() > filming.deadline:
            return
        people = plain(SIZES[index % len(SIZES)]) if kind == PLAIN else posed()
        if isinstance(people, VariedPeople):
            people.kind = VARIED_KINDS[kind]
        values = {name: value.astype(np.float32) for name, value in film(people, index, estimators).items()}
        with whole_file(path) as aside:
            np.savez(aside, allow_pickle=False, kind=kind, **values)


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


def load_clip(path: Path) -> LifterClip:
    """Load a filmed clip, its arrays as float64. InputError ``clip`` for a damaged file."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            kind = str(stored["kind"])
            values = {name: stored[name].astype(np.float64) for name in stored.files if name != "kind"}
        seen = Landmarks(*(values[name] for name in ("image", "world", "visibility", "score")))
        return LifterClip(kind, seen, values["size"], Camera(*values["camera"]), values["keypoints"])
    except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError("clip", f"{path} is damaged: delete it, and it is filmed anew.") from error
