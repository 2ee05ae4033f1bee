# SPDX-License-Identifier: GPL-3.0-or-later
"""The way from a video to a clip: find people, follow one, lift it to 3D, pick pictures and background."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import numpy as np

from ...models.body import BodyModel
from ...models.body_catalogue import load_body
from ...models.camera import Camera
from ...models.errors import InputError
from ...models.keypoints import BLAZEPOSE_INDEX, BONES, KEYPOINT_INDEX
from ...models.shaped_body import ShapedBody
from ..decoding.vertices import VertexDecoder, vertex_network
from ..film.reader import VideoReader
from ..format.clip import Clip, Reference
from ..format.header import MAX_REFERENCES
from ..runtime.backends import load_network
from ..runtime.progress import Progress, unwatched
from .alignment import outline_offsets, picture_offsets
from .background import (
    Sample,
    Samples,
    background_plate,
    camera_moved,
    clean_mask,
    moving_plate,
    whole_mask,
)
from .blazepose import PoseDetector, PoseLandmarker
from .camera_motion import follow_camera, people_in, seen_from
from .camera_space import (
    bone_lengths,
    complete,
    lift,
    look_along,
    move_in_picture,
    runs,
    smooth,
    speeds,
    steady,
)
from .focal_length import camera_of
from .pose_lifter import Landmarks, keypoints_of
from .references import choose_references, shown_surfaces
from .sides import settle_sides
from .silhouettes import Silhouettes
from .stature import filmed_shape
from .tracking import Track, find_people, follow

LONG_GAP = 0.5
"""Seconds without the person that are left out at a video's ends, and reported where they were filled in."""

_MOVE_CUTOFF = 6.0  # Hz that smoothing of strength 1 halves in how the body is moved in the picture
_UNSEEN_WEIGHT = 1e-3  # of a landmark in a frame without the person: only what is filled in holds it
_LEAST_WEIGHT = 0.02  # of a hidden landmark, which the network still guesses well
_GUESS_WEIGHT = 0.05  # at most, of a landmark outside the picture
_EDGE, _VISIBLE = 0.1, 0.5  # of the picture's shorter side, within which a landmark less visible is outside

_T = TypeVar("_T")


@dataclass(frozen=True)
class CaptureOptions:
    """What a user may choose.

    ``fov``: degrees across the picture's longer side. ``person``: 1 for the one seen largest and longest
    (the default), 2 for the next, and so on. ``start``, ``end``: seconds. ``fps``: of the clip, by default
    the video's. ``size``: short side of the canvas in pixels. ``smoothing``: strength, 0 for none.
    ``references``: how many reference pictures to choose, 1 to 4; by default as many as pay for their bytes.
    ``whole``: keep what the video shows before the person is first seen and after they are last.
    """

    fov: float | None = None
    person: int | None = None
    start: float | None = None
    end: float | None = None
    fps: Fraction | float | None = None
    size: int = 256
    smoothing: float = 1.0
    references: int | None = None
    whole: bool = False
    body: str = "anny"
    body_path: str | Path | None = None


@dataclass
class Capture:
    """What was captured: the clip, what to tell the user, and the seconds in which nobody was seen.

    ``first`` is the frame of the video, at the clip's rate, with which the clip begins.
    """

    clip: Clip
    first: int
    warnings: list[str] = field(default_factory=list)
    gaps: list[tuple[float, float]] = field(default_factory=list)


@dataclass
class _Seen:
    """One person's keypoints over a clip, in canvas pixels and in metres, filled in where not present."""

    image: np.ndarray  # (T, 23, 2)
    world: np.ndarray  # (T, 23, 3), axes of a picture centred on the person
    visibility: np.ndarray  # (T, 23), of the landmarks that feed them
    present: np.ndarray  # (T,) bool


@dataclass(frozen=True)
class _Film:
    """The part of a video that becomes the clip."""

    reader: VideoReader
    part: slice  # of the reader's frames

    def frames(self) -> Iterator[np.ndarray]:
        """Read it again, at canvas size."""
        return itertools.islice(self.reader, self.part.start, self.part.stop)

    def seconds(self, frame: int) -> float:
        """Return when in the video the clip's ``frame`` begins."""
        return self.reader.start + (self.part.start + frame) / float(self.reader.fps)


def capture(
    video_path: str | Path,
    options: CaptureOptions = CaptureOptions(),
    progress: Progress = unwatched,
) -> Capture:
    """Capture one person's motion from a video.

    The video is read frame by frame: once to find the people (stage ``people``), once to follow one
    (stage ``pose``); then come ``fit``, which lays the body on the person's outlines, and ``pictures``, and
    it is read once more to lay the body on the pictures (stage ``align``). For a moving camera it is read one
    time more (stage ``camera``). ``progress(stage, done, total)`` is called often (``total`` 0 if unknown),
    and whatever it raises stops the work.

    Without ``options.whole`` the clip begins where the person is first seen and ends where they are last,
    where either is more than :data:`LONG_GAP` off the video's own ends.

    Raises:
        InputError: the video cannot be read, nobody is in it (``no_person``), or an option is wrong.
    """
    _check(options)
    reader = VideoReader(video_path, start=options.start, end=options.end, fps=options.fps, size=options.size)
    camera = camera_of(reader, options.fov)
    body = load_body(options.body, options.body_path)
    threads = min(4, os.cpu_count() or 1)

    expected, detector = reader.expected_frames, PoseDetector(threads)
    for detect in (detector.detect, detector.detect_far):
        watched = _report(reader.pictures(), "people", expected, progress)
        people, frames = find_people(watched, float(reader.fps), detect)
        if people:
            break
    track = _choose(people, options.person, reader.path)
    landmarks, samples, silhouettes = _follow(reader, track, frames, threads, progress)
    if not landmarks.score.any():
        raise InputError("no_person", f"{reader.path}: nobody is seen well enough to follow.")
    landmarks, _ = settle_sides(landmarks, float(reader.fps))

    film = _Film(reader, slice(0, frames) if options.whole else _part_seen(landmarks, float(reader.fps)))
    landmarks, silhouettes = landmarks.part(film.part), silhouettes.part(film.part)
    samples = [replace(sample, frame=sample.frame - film.part.start) for sample in samples]

    progress("fit", 0, len(landmarks.score))
    seen = _seen(landmarks, reader)
    gaps = [(film.seconds(start), film.seconds(stop)) for start, stop in _long_gaps(seen, float(reader.fps))]
    clip = _to_space(seen, camera, body, reader, options.smoothing, camera_moved(samples))
    named = vertex_network(body.name, options.body_path)
    network = None if named is None else load_network(named, "cpu")
    predictor = VertexDecoder(ShapedBody(body, clip.shape), float(clip.fps), network)
    laid = outline_offsets(clip, silhouettes, body, predictor)
    laid = _report(laid, "fit", clip.frames, progress)
    clip.keypoints = _moved(clip, laid, seen.present, options.smoothing)

    others = [other for other in people if other is not track]
    _add_pictures(clip, body, film, samples, seen, others, options.references, progress)
    seen_again = _report(film.frames(), "align", clip.frames, progress)
    laid = picture_offsets(clip, seen_again, silhouettes, body, predictor)
    clip.keypoints = _moved(clip, laid, seen.present, options.smoothing)
    return Capture(clip, film.part.start, reader.remarks + _remarks(film, frames, gaps, clip), gaps)


def _check(options: CaptureOptions) -> None:
    if not 0 <= options.smoothing <= 20:
        raise InputError("bad_smoothing", f"The smoothing {options.smoothing:g} is outside 0 to 20.")
    if options.references is not None and not 1 <= options.references <= MAX_REFERENCES:
        raise InputError(
            "bad_references", f"{options.references} references were asked for; 1 to {MAX_REFERENCES} can be."
        )


def _report(items: Iterable[_T], stage: str, expected: int, progress: Progress) -> Iterator[_T]:
    progress(stage, 0, expected)
    done = 0
    for done, item in enumerate(items, start=1):
        yield item
        progress(stage, done, max(expected, done) if expected else 0)
    progress(stage, done, done)


def _choose(people: list[Track], person: int | None, path: Path) -> Track:
    if not people:
        raise InputError("no_person", f"{path}: nobody is found in the video.")
    number = 1 if person is None else person
    if not 1 <= number <= len(people):
        raise InputError(
            "no_person", f"{path}: person {number} was asked for, and {len(people)} can be followed."
        )
    return people[number - 1]


def _follow(
    reader: VideoReader, track: Track, frames: int, threads: int, progress: Progress
) -> tuple[Landmarks, list[Sample], Silhouettes]:
    """Run the landmark network over the video; keep landmarks and silhouettes, and pictures of some frames.

    Landmarks are in canvas pixels.
    """
    canvas = reader.width, reader.height
    scale = np.array([reader.width / reader.source_width, reader.height / reader.source_height])
    landmarks = Landmarks.unseen(frames)
    samples, silhouettes = Samples(*canvas), Silhouettes(*canvas)
    watched = _report(reader.pictures(), "pose", frames, progress)
    followed = follow(watched, float(reader.fps), track, PoseLandmarker(threads))
    for frame, (picture, pose) in enumerate(followed):
        if pose is None:
            continue
        landmarks.put(frame, pose, scale)
        mask = clean_mask(pose.mask_on(*canvas, *scale))
        silhouettes.put(frame, mask)
        if samples.wants(frame):
            samples.add(Sample(frame, picture.canvas, mask))
    return landmarks, samples.kept, silhouettes


def _seen(landmarks: Landmarks, reader: VideoReader) -> _Seen:
    size = reader.width, reader.height
    image, world = keypoints_of(landmarks, size, float(reader.fps), load_network("pose_lifter", "cpu"))
    return _Seen(image, world, landmarks.visibility[:, list(BLAZEPOSE_INDEX)], landmarks.score > 0)


def _part_seen(landmarks: Landmarks, fps: float) -> slice:
    """Return the frames from where the person is first seen to where they are last, all but short waits."""
    seen, count = np.flatnonzero(landmarks.score > 0), len(landmarks.score)
    first, stop = int(seen[0]), int(seen[-1]) + 1
    return slice(first if first / fps > LONG_GAP else 0, stop if (count - stop) / fps > LONG_GAP else count)


def _long_gaps(seen: _Seen, fps: float) -> list[tuple[int, int]]:
    return [(first, stop) for first, stop in runs(~seen.present) if (stop - first) / fps > LONG_GAP]


def _remarks(film: _Film, frames: int, gaps: list[tuple[float, float]], clip: Clip) -> list[str]:
    """Return what to tell of when the person is seen, in a video of ``frames`` frames, and of the camera."""
    remarks = []
    if film.part != slice(0, frames):
        begin, end = film.seconds(0), film.seconds(film.part.stop - film.part.start)
        remarks.append(f"The person is seen from {begin:.1f} s to {end:.1f} s: the clip is that part.")
    for start, end in gaps:
        remarks.append(
            f"The person is not seen from {start:.1f} s to {end:.1f} s; the motion there is made up."
        )
    if clip.moving_camera:
        remarks.append(
            "The camera moves: the background follows it, but the person's motion is as seen from it."
            if clip.views is not None
            else "The camera moves: the background behind the person is painted in, not filmed."
        )
    return remarks


def _to_space(
    seen: _Seen, camera: Camera, body: BodyModel, reader: VideoReader, smoothing: float, moving: bool
) -> Clip:
    """Return the motion alone: keypoints in camera space, and the body's shape."""
    image, world = seen.image, look_along(seen.world, seen.image, camera)
    weights = np.where(seen.present[:, None], np.maximum(seen.visibility**2, _LEAST_WEIGHT), _UNSEEN_WEIGHT)
    known = seen.present
    cut_off = known[:, None] & _cut_off(image, seen.visibility, (reader.width, reader.height))
    measured = bone_lengths(world, known[:, None] & ~cut_off)
    shape = filmed_shape(body, measured)
    rest = ShapedBody(body, shape).keypoints.astype(np.float64)
    first, second = np.array(BONES).T
    lengths = np.linalg.norm(rest[first] - rest[second], axis=-1)
    larger = lengths / measured
    world = world * (np.nanmedian(larger) if np.isfinite(larger).any() else 1.0)
    points = lift(
        image,
        complete(world, cut_off, rest),
        np.where(cut_off, np.minimum(weights, _GUESS_WEIGHT), weights),
        lengths,
        camera,
        float(reader.fps),
        cut_off=cut_off,
        strength=smoothing,
        contacts=not moving,
    )
    return Clip(
        fps=reader.fps,
        camera=camera,
        width=reader.width,
        height=reader.height,
        keypoints=points.astype(np.float32),
        body=body.name,
        shape=shape,
        moving_camera=moving,
    )


def _add_pictures(
    clip: Clip,
    body: BodyModel,
    film: _Film,
    samples: list[Sample],
    seen: _Seen,
    others: list[Track],
    count: int | None,
    progress: Progress,
) -> None:
    """Give the clip its references, as many as pay if ``count`` is None, and its background."""
    fps, sampled = float(clip.fps), [sample.frame for sample in samples]
    predictor = VertexDecoder(ShapedBody(body, clip.shape), fps, None)  # closed form will do to choose by
    posed = (predictor.predict(clip.keypoints, frame, frame + 1)[0] for frame in sampled)
    shown, agreement = shown_surfaces(body, posed, (sample.mask for sample in samples), clip.camera)
    quality = agreement * _quality(sampled, seen, clip.keypoints, min(clip.width, clip.height))
    chosen = [samples[i] for i in choose_references(shown, quality, clip.frames / fps, count)]
    if clip.moving_camera:
        clip.views = _views(film, chosen[0].frame, seen, others, progress)
    else:
        chosen = [replace(sample, mask=whole_mask(sample, samples)) for sample in chosen]
    progress("pictures", 0, 1)
    if clip.views is None:
        clip.plate = background_plate(chosen[0], [] if clip.moving_camera else samples)
    else:
        clip.plate, clip.plate_origin = moving_plate(chosen[0], samples, clip.views)
    clip.references = [Reference(sample.frame, sample.picture, sample.mask) for sample in chosen]
    progress("pictures", 1, 1)


def _cut_off(image: np.ndarray, visibility: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return which points ``(T, 23)`` the network guesses beyond the picture's edge, or squeezed up to it."""
    margin = _EDGE * min(size)
    return (visibility < _VISIBLE) & np.any((image < margin) | (image > np.array(size) - margin), axis=-1)


def _views(
    film: _Film, frame: int, seen: _Seen, others: list[Track], progress: Progress
) -> np.ndarray | None:
    """Read the video again; give :attr:`.Clip.views` in the plane of ``frame``, None if they are unknown."""
    reader = film.reader
    scale = reader.width / reader.source_width, reader.height / reader.source_height
    reach = round(float(reader.fps))

    def hidden(t: int) -> np.ndarray:
        shown = (other.at(film.part.start + t, reach) for other in others)
        rois = [roi for roi in shown if roi is not None]
        return people_in(reader.width, reader.height, seen.image[t], rois, scale)

    watched = _report(film.frames(), "camera", len(seen.image), progress)
    corners = follow_camera(watched, hidden, float(reader.fps))
    return None if corners is None else seen_from(corners, frame, reader.width, reader.height)


def _moved(
    clip: Clip, found: Iterable[tuple[np.ndarray, np.ndarray]], present: np.ndarray, smoothing: float
) -> np.ndarray:
    """Return the clip's keypoints moved by what :mod:`.alignment` has ``found``, frame by frame."""
    offsets, certainty = (np.stack(values) for values in zip(*found, strict=True))
    certainty[~present] = 0
    fps = float(clip.fps)
    if smoothing > 0:
        offsets = smooth(offsets, np.maximum(certainty, _LEAST_WEIGHT), _MOVE_CUTOFF / smoothing, fps)
    points = clip.keypoints.astype(np.float64)
    points = move_in_picture(points, offsets, clip.camera, fps, not clip.moving_camera)
    if smoothing > 0:
        points = steady(points, clip.camera, fps, smoothing)
    return points.astype(np.float32)


def _quality(frames: list[int], seen: _Seen, keypoints: np.ndarray, side: int) -> np.ndarray:
    """Return how good pictures of ``frames`` are whatever they show: seen well, sharp, from the front."""
    points = keypoints[frames]
    across = points[:, KEYPOINT_INDEX["left_shoulder"]] - points[:, KEYPOINT_INDEX["right_shoulder"]]
    facing = across[:, 0] / np.maximum(np.linalg.norm(across, axis=-1), 1e-6)  # 1 in front, -1 behind
    speed = speeds(seen.image, 1.0).mean(axis=-1)[frames] * 256 / side
    return seen.visibility[frames].mean(axis=1) * (1 + 0.15 * facing) / (1 + 0.03 * speed)
