# SPDX-License-Identifier: GPL-3.0-or-later
"""What capture makes of films, and what the pose estimator sees in them, kept so that it is done once.

Both are kept by all that they depend on: the film's bytes, the options, and the code and weights of capture.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..inference.capture.background import clean_mask
from ..inference.capture.blazepose import PoseDetector, PoseLandmarker
from ..inference.capture.pipeline import CaptureOptions, capture
from ..inference.capture.pose_lifter import Landmarks
from ..inference.capture.tracking import Track, find_people, follow
from ..inference.film.reader import VideoReader
from ..models.camera import Camera
from ..models.errors import InputError, S2DError
from ..models.shipped import WEIGHTS
from ..models.whole_files import whole_file

_ROOT = Path(__file__).resolve().parent.parent
_CODE = ("inference/capture", "inference/film", "inference/decoding", "models")
_WEIGHTS = ("*.npz", "pose_*.onnx", "vertex_predictor.onnx", "blazepose/*.onnx")
_THREADS = 2


class OutOfTimeError(S2DError):
    """Work was left for another run."""

    def __init__(self) -> None:
        super().__init__("minutes", "The time is up: run it again, and it goes on.")


@dataclass(frozen=True)
class Motion:
    """What capture made of a film."""

    keypoints: np.ndarray  # (T, 23, 3) metres, camera space
    shape: np.ndarray  # (S,) of the body
    camera: Camera  # over the canvas
    size: tuple[int, int]  # of the canvas: width, height
    fps: Fraction
    first: int  # the film's frame, at that rate, with which the motion begins
    moving: bool  # the camera

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """Return which frames show the film at ``seconds`` ``(N,)``; below 0 or beyond the end: none."""
        return np.round(seconds * float(self.fps)).astype(int) - self.first


@dataclass(frozen=True)
class Seen:
    """What the estimator sees of the same person, on the canvas, frame by frame of the whole film."""

    landmarks: Landmarks
    masks: np.ndarray  # (T, H, W) bool: where the person is


class Films:
    """Films gone through capture, in a folder ``work``; what is there is not done again.

    Nothing is begun after ``deadline`` (seconds since the epoch): :class:`OutOfTimeError`. ``end`` (seconds)
    cuts all films short.
    """

    def __init__(self, work: Path, deadline: float = float("inf"), end: float | None = None) -> None:
        self.work, self._deadline, self.end = work, deadline, end

    def begin(self) -> None:
        """Raise :class:`OutOfTimeError` where nothing may be begun any more."""
        if time.time() > self._deadline:
            raise OutOfTimeError

    def motion(self, film: Path, options: CaptureOptions) -> Motion | None:
        """Capture a film, as it was captured before if it was; None where nobody is found in it."""
        options = replace(options, end=self.end)
        path = self._path("motion", film, asdict(options))
        if not path.is_file():
            self.begin()
            with whole_file(path) as aside:
                np.savez_compressed(aside, **_captured(film, options))
        with np.load(path, allow_pickle=False) as stored:
            if "keypoints" not in stored:
                return None
            return Motion(
                keypoints=stored["keypoints"],
                shape=stored["shape"],
                camera=Camera(*stored["camera"].tolist()),
                size=tuple(stored["size"].tolist()),
                fps=Fraction(*stored["fps"].tolist()),
                first=int(stored["first"]),
                moving=bool(stored["moving"]),
            )

    def seen(self, film: Path, person: int = 1) -> Seen | None:
        """Let the estimator follow a person, counted as capture does; None where they are never seen."""
        path = self._path("seen", film, {"person": person, "end": self.end})
        if not path.is_file():
            self.begin()
            with whole_file(path) as aside:
                np.savez_compressed(aside, **_followed(film, person, self.end))
        with np.load(path, allow_pickle=False) as stored:
            if "masks" not in stored:
                return None
            masks = np.unpackbits(stored["masks"], axis=2, count=int(stored["width"])).astype(bool)
            landmarks = Landmarks(*(stored[name] for name in ("image", "world", "visibility", "score")))
            return Seen(landmarks, masks) if landmarks.score.any() else None

    @cached_property
    def _capture_sha256(self) -> str:
        digest = hashlib.sha256()
        for folder in _CODE:
            for path in sorted((_ROOT / folder).glob("*.py")):
                digest.update(path.read_bytes())
        for pattern in _WEIGHTS:
            for path in sorted(WEIGHTS.glob(pattern)):
                digest.update(path.read_bytes())
        return digest.hexdigest()

    def _path(self, what: str, film: Path, options: dict[str, Any]) -> Path:
        told = [self._capture_sha256, hashlib.sha256(film.read_bytes()).hexdigest(), repr(options)]
        return self.work / what / f"{hashlib.sha256(repr(told).encode()).hexdigest()[:16]}.npz"


def people_in(film: Path, end: float | None = None) -> list[Track]:
    """Return the tracks of those whom capture finds in a film, in its order: person 1 is the first."""
    reader, detector = VideoReader(film, end=end), PoseDetector(_THREADS)
    for detect in (detector.detect, detector.detect_far):
        people, _ = find_people(reader.pictures(), float(reader.fps), detect)
        if people:
            return people
    return []


def _captured(film: Path, options: CaptureOptions) -> dict[str, Any]:
    try:
        found = capture(film, options)
    except InputError as error:
        if error.code != "no_person":
            raise
        return {}
    clip = found.clip
    return {
        "keypoints": clip.keypoints,
        "shape": clip.shape,
        "camera": [clip.camera.fx, clip.camera.fy, clip.camera.cx, clip.camera.cy],
        "size": [clip.width, clip.height],
        "fps": [Fraction(clip.fps).numerator, Fraction(clip.fps).denominator],
        "first": found.first,
        "moving": clip.moving_camera,
    }


def _followed(film: Path, person: int, end: float | None) -> dict[str, Any]:
    people = people_in(film, end)
    if len(people) < person:
        return {}
    reader, track = VideoReader(film, end=end), people[person - 1]
    canvas = reader.width, reader.height
    scale = np.array(canvas) / (reader.source_width, reader.source_height)
    poses, masks = [], []
    for _, pose in follow(reader.pictures(), float(reader.fps), track, PoseLandmarker(_THREADS)):
        poses.append(pose)
        mask = (
            np.zeros(canvas[::-1], bool) if pose is None else clean_mask(pose.mask_on(*canvas, *scale)) > 127
        )
        masks.append(np.packbits(mask, axis=1))
    landmarks = Landmarks.unseen(len(poses))
    for frame, pose in enumerate(poses):
        if pose is not None:
            landmarks.put(frame, pose, scale)
    return vars(landmarks) | {"masks": np.stack(masks), "width": reader.width}
