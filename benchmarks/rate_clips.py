# SPDX-License-Identifier: GPL-3.0-or-later
"""The clips that pictures are compared on: ten seconds each, square, 25 frames a second.

Filmed ones are cut to the square around the person; longer ones are cut short, shorter ones played forth and
back. Rendered ones are synthetic people of the held-out split, in clothes, motions and places that no
training saw. Everyone who codes a clip, this project or a block codec, is given the same lossless video.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..inference.capture.background import clean_mask
from ..inference.capture.blazepose import PoseDetector, PoseLandmarker
from ..inference.capture.pipeline import CaptureOptions, capture
from ..inference.capture.tracking import Still, find_people, follow
from ..inference.film.reader import VideoReader
from ..inference.format.clip import Clip, Reference
from ..models.camera import Camera
from ..models.errors import InputError, S2DError
from ..models.fetch import fetch
from ..models.training.people import People
from ..models.whole_files import whole_file
from .rate_codecs import write_lossless

FPS = 25
SECONDS = 10
FRAMES = FPS * SECONDS
MOST_REFERENCES = 4

PACKAGED = Path(__file__).resolve().parent.parent / "inference" / "data" / "balance.mp4"
_VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi")


@dataclass(frozen=True)
class Source:
    """Where a clip comes from: a filmed video, or the number of a rendered person."""

    name: str
    title: str
    video: Path | None = None
    person: int | None = None
    seed: int = 0


@dataclass
class Prepared:
    """A clip at one size, as the codecs are given it."""

    name: str
    title: str
    video: Path  # lossless
    frames: np.ndarray  # (T, H, W, 3) uint8 RGB
    captured: Clip  # with MOST_REFERENCES pictures
    drawn_masks: np.ndarray | None  # (T, H, W) uint8 of a rendered clip

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.frames) / FPS

    def masks(self, numbers: list[int]) -> dict[int, np.ndarray]:
        """Return where the person is in the frames ``numbers``, ``(H, W)`` uint8; nowhere if not seen.

        Rendered clips know it; in filmed ones the pose estimator says it as it follows the person, whatever
        capture made of that.
        """
        if self.drawn_masks is not None:
            return {number: self.drawn_masks[number] for number in numbers}
        height, width = self.frames.shape[1:3]
        people, _ = find_people(map(Still, self.frames), FPS, PoseDetector(threads=1).detect)
        followed = follow(map(Still, self.frames), FPS, people[0], PoseLandmarker(threads=1))
        wanted = set(numbers)
        poses = {number: pose for number, (_, pose) in enumerate(followed) if number in wanted}
        nowhere = np.zeros((height, width), np.uint8)
        return {
            number: nowhere if pose is None else clean_mask(pose.mask_on(width, height, 1, 1))
            for number, pose in poses.items()
        }


def standard_clips(data: Path | None, work: Path, held_out: int, seed: int) -> list[Source]:
    """Return the set that is measured by default, what matters most first.

    ``work`` receives Sports2D's clip; ``data`` (the folder of training data) adds the dancer where it
    holds him, and is needed for the ``held_out`` rendered clips.
    """
    if held_out and data is None:
        raise InputError(
            "no_data",
            "Rendered clips need the data's folder: give --data or S2D_DATA, or --held-out 0.",
        )
    fetch("sports2d", work)
    rendered = [
        Source(f"rendered_{i}", f"rendered, held-out person {i}", person=i, seed=seed)
        for i in range(held_out)
    ]
    filmed = [
        Source("balance", "filmed, packaged clip", PACKAGED),
        Source("sports2d", "filmed, Sports2D's demo", work / "sports2d" / "demo.mp4"),
    ]
    dance = Path(data or "") / "clips" / "dance_still_camera.mp4"
    if data is not None and dance.is_file():
        filmed.append(Source("dance", "filmed, dancer (measured only)", dance))
    return [*filmed[:1], *rendered[:2], *filmed[1:], *rendered[2:]]


def own_clips(folder: Path) -> list[Source]:
    """Return every video in ``folder``. InputError if there is none."""
    videos = sorted(path for path in folder.glob("*") if path.suffix.lower() in _VIDEOS)
    if not videos:
        raise InputError("no_video", f"{folder}: no video in this folder ({', '.join(_VIDEOS)}).")
    return [Source(path.stem, path.name, path) for path in videos]


def prepare(
    source: Source,
    size: int,
    work: Path,
    data: Path | None,
    backgrounds: Path | None,
    frames: int = FRAMES,
    before: Callable[[], None] = lambda: None,
) -> Prepared:
    """Make a clip at ``size`` pixels a side and capture it, or take both from ``work`` where they are done.

    ``before`` is called before either of them is made, and may raise.
    Raises InputError for a video that cannot be read or shows nobody.
    """
    base = work / f"{source.name}_{size}_{frames}_{_digest(source, backgrounds)}"
    video, masks = base.with_suffix(".mkv"), base.with_name(base.name + "_masks.npz")
    if not video.is_file():
        before()
        if source.video is None:
            pictures, drawn = _render(source, size, data, backgrounds, frames)
            _save(masks, masks=drawn)
        else:
            pictures = _square(source.video, size, frames)
        write_lossless(pictures, video, FPS)
    pictures = np.stack(list(VideoReader(video, size=size)))
    if len(pictures) != frames:
        raise S2DError("frames", f"{video} has {len(pictures)} frames instead of {frames}: delete it.")
    drawn = np.load(masks)["masks"] if masks.is_file() else None
    captured = base.with_name(base.name + "_clip.npz")
    if not captured.is_file():
        before()
        _capture(video, size, captured)
    return Prepared(source.name, source.title, video, pictures, _read(captured), drawn)


def forth_and_back(count: int, wanted: int) -> np.ndarray:
    """Return ``wanted`` frame numbers of a clip of ``count``, turning round at either end."""
    return np.pad(np.arange(count), (0, max(wanted - count, 0)), mode="reflect")[:wanted]


def _square(path: Path, size: int, frames: int) -> np.ndarray:
    """Read a filmed video as ``(frames, size, size, 3)``: the largest square about the person."""
    reader = VideoReader(path, fps=FPS, end=SECONDS)
    side = min(reader.source_width, reader.source_height)
    people, _ = find_people(reader.pictures(), FPS, PoseDetector(threads=1).detect)
    if not people:
        raise InputError("no_person", f"{path}: nobody is found in the video.")
    hips = np.array([(roi.x, roi.y) for roi in people[0].rois])
    middle = (hips.min(0) + hips.max(0)) / 2
    room = np.array([reader.source_width, reader.source_height]) - side
    left, top = np.clip(np.round(middle - side / 2), 0, room).astype(int)
    interpolation = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    pictures = [
        cv2.resize(frame[top : top + side, left : left + side], (size, size), interpolation=interpolation)
        for frame in reader.source_frames()
    ]
    return np.stack(pictures)[forth_and_back(len(pictures), frames)]


def _render(
    source: Source, size: int, data: Path | None, backgrounds: Path | None, frames: int
) -> tuple[np.ndarray, np.ndarray]:
    people = People(data, "held_out", (size, size), seed=source.seed, backgrounds=backgrounds)
    drawn = list(people.clip(source.person, frames, FPS)[1])
    return np.stack([frame["frame"] for frame in drawn]), np.stack([frame["mask"] for frame in drawn])


def _capture(video: Path, size: int, path: Path) -> None:
    """Capture the lossless video, with as many references as are to be tried."""
    clip = capture(video, CaptureOptions(size=size, references=MOST_REFERENCES, whole=True)).clip
    _save(
        path,
        camera=[clip.camera.fx, clip.camera.fy, clip.camera.cx, clip.camera.cy],
        keypoints=clip.keypoints,
        shape=clip.shape,
        reference_frames=[reference.frame for reference in clip.references],
        reference_pictures=[reference.picture for reference in clip.references],
        reference_masks=[reference.mask for reference in clip.references],
        plate=clip.plate,
        plate_origin=clip.plate_origin,
        views=np.zeros((0, 4, 2)) if clip.views is None else clip.views,
        moving_camera=clip.moving_camera,
    )


def _save(path: Path, **arrays: Any) -> None:
    with whole_file(path) as aside:
        np.savez_compressed(aside, **arrays)


def _read(path: Path) -> Clip:
    with np.load(path) as stored:
        height, width = stored["reference_pictures"].shape[1:3]
        views = stored["views"]
        return Clip(
            fps=Fraction(FPS),
            camera=Camera(*stored["camera"].tolist()),
            width=width,
            height=height,
            keypoints=stored["keypoints"],
            body="anny",
            shape=stored["shape"],
            references=[
                Reference(int(frame), picture, mask)
                for frame, picture, mask in zip(
                    stored["reference_frames"],
                    stored["reference_pictures"],
                    stored["reference_masks"],
                    strict=True,
                )
            ],
            plate=stored["plate"],
            plate_origin=tuple(stored["plate_origin"].tolist()),
            views=views if len(views) else None,
            moving_camera=bool(stored["moving_camera"]),
        )


def _digest(source: Source, backgrounds: Path | None) -> str:
    if source.video is None:
        photographs = sorted(p.name for p in backgrounds.iterdir()) if backgrounds else []
        told = repr((source.person, source.seed, photographs)).encode()
    else:
        told = source.video.read_bytes()
    return hashlib.sha256(told).hexdigest()[:8]
