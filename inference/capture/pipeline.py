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

from ...models.articulation import Articulation
from ...models.body import BodyModel
from ...models.body_catalogue import load_body
from ...models.camera import Camera
from ...models.errors import InputError
from ...models.keypoints import BLAZEPOSE_INDEX, BODY_REGIONS, KEYPOINT_INDEX, REGION_KEYPOINTS
from ...models.shaped_body import ShapedBody
from ..decoding.vertices import VertexDecoder, vertex_network
from ..film.reader import Picture, VideoReader
from ..format.certainty import doubts
from ..format.clip import Clip, Reference
from ..format.header import MAX_REFERENCES
from ..format.picture_coding import MAX_TEXTURE_SIDE, MIN_TEXTURE_SIDE
from ..runtime.backends import load_network
from ..runtime.progress import Progress, unwatched
from .alignment import Offsets, looked_at, outline_offsets, picture_offsets
from .background import (
    Sample,
    Samples,
    background_plate,
    camera_moved,
    clean_mask,
    moving_plate,
    whole_mask,
)
from .blazepose import PoseLandmarker
from .camera_motion import follow_camera, people_in, seen_from
from .focal_length import camera_of
from .motion_fit import Motion, MotionFit
from .pose_lifter import Landmarks, Lifted, keypoints_of
from .references import choose_references, shown_surfaces
from .sides import settle_sides
from .silhouettes import Silhouettes
from .smoothing import runs, speeds
from .survey import Survey, survey
from .tracking import Track, follow

SEXES = {"woman": 0.0, "man": 1.0}
"""Of bodies, by what the user says of the person; a film hardly tells."""

LONG_GAP = 0.5
"""Seconds without the person that are left out at a video's ends, and reported where they were filled in."""

_LOOKS = 30.0  # frames a second that the landmark network looks at, of a film that has more
_FIRST_STEPS, _FURTHER_STEPS = 8, 4  # of Gauss-Newton, from the lifted points and from a motion near the end
_UNSEEN, _CUT_OFF = 30.0, 8.0  # times the expected error, of points in a frame without the person; outside it
_KNOWN, _GUESSED = 0.06, 0.20  # metres of error that are expected of what is seen, and of a mere guess
_TOLD = 6  # guesses that are told of one by one
_EDGE, _VISIBLE = 0.1, 0.5  # of the picture's shorter side, within which a landmark less visible is outside

_T = TypeVar("_T")


@dataclass(frozen=True)
class CaptureOptions:
    """What a user may choose.

    ``fov``: degrees across the picture's longer side. ``person``: 1 for the one seen largest and longest
    (the default), 2 for the next, and so on; ``person_at``: or whoever is there at a second of the film, at a
    share of the picture's width and height from its upper left corner. ``start``, ``end``: seconds. ``fps``:
    of the clip, by default the video's. ``size``: short side of the canvas in pixels. ``smoothing``:
    strength, 0 for none. ``references``: how many reference pictures to choose, 1 to 4; by default as many
    as pay for their bytes.
    ``whole``: keep what the video shows before the person is first seen and after they are last.
    ``sex``: of the body, one of :data:`SEXES`; by default it is between the two. ``texture``: pixels along
    the edges of the body's texture, if one is to be gathered of the whole film and sent.
    """

    fov: float | None = None
    person: int | None = None
    person_at: tuple[float, float, float] | None = None
    start: float | None = None
    end: float | None = None
    fps: Fraction | float | None = None
    size: int = 256
    smoothing: float = 1.0
    references: int | None = None
    whole: bool = False
    sex: str | None = None
    texture: int | None = None
    body: str = "anny"
    body_path: str | Path | None = None


@dataclass(frozen=True)
class Filmed:
    """What of a film became the clip, and what was done for it.

    The clip begins at the film's second ``start``. So many ``frames`` were looked over, ``rate`` a second;
    the film's pictures have ``size``, upright, the clip's ``canvas``: width and height in pixels.
    """

    start: float
    frames: int
    rate: float
    size: tuple[int, int]
    canvas: tuple[int, int]


@dataclass
class _Seen:
    """What is known of one person over a clip, in canvas pixels, filled in where not present."""

    lifted: Lifted
    visibility: np.ndarray  # (T, 23), of the landmarks that feed the keypoints
    present: np.ndarray  # (T,) bool


@dataclass(frozen=True)
class Film:
    """The part of a video that becomes a clip."""

    reader: VideoReader
    part: slice  # of the reader's frames

    def pictures(self) -> Iterator[Picture]:
        """Read it again, at either size."""
        return itertools.islice(self.reader.pictures(), self.part.start, self.part.stop)

    def frames(self) -> Iterator[np.ndarray]:
        """Read it again, at canvas size."""
        return (picture.canvas for picture in self.pictures())

    def seconds(self, frame: int) -> float:
        """Return when in the video the clip's ``frame`` begins."""
        return self.reader.start + (self.part.start + frame) / float(self.reader.fps)


@dataclass
class Capture:
    """What was captured: the clip, what to tell the user, and the seconds in which nobody was seen.

    ``first`` is the frame of the video, at the clip's rate, with which the clip begins; ``film`` is its part
    of the video, ``silhouettes`` the person's masks in it, ``predictor`` that of the clip's body, and
    ``filmed`` what is told of the film.
    """

    clip: Clip
    first: int
    film: Film
    silhouettes: Silhouettes
    predictor: VertexDecoder
    filmed: Filmed
    warnings: list[str] = field(default_factory=list)
    gaps: list[tuple[float, float]] = field(default_factory=list)


def capture(
    video_path: str | Path,
    options: CaptureOptions = CaptureOptions(),
    progress: Progress = unwatched,
    surveyed: Survey | None = None,
) -> Capture:
    """Capture one person's motion from a video.

    The video is read frame by frame: once to find the people (stage ``people``), once to follow one
    (stage ``pose``); then come ``fit``, which lays the body on the person's outlines, and ``pictures``, and
    it is read once more to lay the body on the pictures (stage ``align``). For a moving camera it is read one
    time more (stage ``camera``). ``progress(stage, done, total)`` is called often (``total`` 0 if unknown),
    and whatever it raises stops the work.

    Without ``options.whole`` the clip begins where the person is first seen and ends where they are last,
    where either is more than :data:`LONG_GAP` off the video's own ends. Of a video with cuts it is of
    the shot that shows the person largest and longest. ``surveyed`` is what :func:`look_over`
    returned for the same video and options, if it was called.

    Raises:
        InputError: the video cannot be read, nobody is in it (``no_person``), or an option is wrong.
    """
    _check(options)
    surveyed = surveyed or look_over(video_path, options, progress)
    person = options.person
    if options.person_at is None:
        shot = surveyed.chosen(person)
    else:
        shot, person = surveyed.found_at(*options.person_at)
    reader, people = surveyed.part(shot), surveyed.shots[shot].people
    track, frames = people[(person or 1) - 1], surveyed.shots[shot].length
    told = surveyed.reader.remarks + surveyed.remarks(shot, person)
    camera = camera_of(reader, options.fov)
    body = load_body(options.body, options.body_path)
    threads = _threads()

    landmarks, unsure, samples, silhouettes = _follow(reader, track, people, frames, threads, progress)
    if not landmarks.score.any():
        raise InputError("no_person", f"{reader.path}: nobody is seen well enough to follow.")

    film = Film(reader, slice(0, frames) if options.whole else _part_seen(landmarks, float(reader.fps)))
    landmarks, silhouettes = landmarks.part(film.part), silhouettes.part(film.part)
    unsure = unsure[film.part]
    samples = [replace(sample, frame=sample.frame - film.part.start) for sample in samples]

    progress("fit", 0, len(landmarks.score))
    seen = _seen(landmarks, reader, camera)
    gaps = [(film.seconds(start), film.seconds(stop)) for start, stop in _long_gaps(seen, float(reader.fps))]
    moving = camera_moved(samples)
    fit = MotionFit(
        Articulation(body),
        seen.lifted,
        camera,
        float(reader.fps),
        strength=options.smoothing,
        contacts=not moving,
        sex=None if options.sex is None else SEXES[options.sex],
    )
    motion = fit.solve(fit.start(), _FIRST_STEPS)
    fit.hold(motion)
    motion = fit.solve(motion, _FURTHER_STEPS)
    clip = _clip(fit.keypoints(motion), motion.shape, camera, body, reader, moving)
    clip.certainty = _certainty(seen, unsure, camera)
    named = vertex_network(body.name, options.body_path)
    network = None if named is None else load_network(named, "cpu")
    predictor = VertexDecoder(ShapedBody(body, clip.shape), float(clip.fps), network)
    laid = _report(
        outline_offsets(clip, silhouettes, body, predictor),
        "fit",
        len(looked_at(clip, silhouettes)),
        progress,
    )
    motion = _laid(fit, motion, clip, laid, seen.present)

    others = [other for other in people if other is not track]
    _add_pictures(clip, body, film, samples, seen, others, options.references, progress)
    seen_again = _report(film.frames(), "align", clip.frames, progress)
    laid = picture_offsets(clip, seen_again, silhouettes, body, predictor)
    _laid(fit, motion, clip, laid, seen.present)
    first = surveyed.shots[shot].frames.start + film.part.start
    told += _remarks(film, frames, gaps, clip) + _told(clip, seen.present)
    filmed = Filmed(
        film.seconds(0),
        surveyed.frames,
        float(reader.fps),
        (reader.source_width, reader.source_height),
        (reader.width, reader.height),
    )
    return Capture(clip, first, film, silhouettes, predictor, filmed, told, gaps)


def look_over(
    video_path: str | Path, options: CaptureOptions = CaptureOptions(), progress: Progress = unwatched
) -> Survey:
    """Find the shots of a video and the people in them (stage ``people``). Raises InputError as above."""
    _check(options)
    reader = VideoReader(video_path, start=options.start, end=options.end, fps=options.fps, size=options.size)
    return survey(
        reader, _threads(), lambda pictures: _report(pictures, "people", reader.expected_frames, progress)
    )


def _threads() -> int:
    return min(4, os.cpu_count() or 1)


def _check(options: CaptureOptions) -> None:
    if options.person is not None and options.person_at is not None:
        raise InputError("two_people", "A person by number and one by place were asked for: leave out one.")
    if not 0 <= options.smoothing <= 20:
        raise InputError("bad_smoothing", f"The smoothing {options.smoothing:g} is outside 0 to 20.")
    if options.references is not None and not 1 <= options.references <= MAX_REFERENCES:
        raise InputError(
            "bad_references", f"{options.references} references were asked for; 1 to {MAX_REFERENCES} can be."
        )
    if options.texture is not None and not MIN_TEXTURE_SIDE <= options.texture <= MAX_TEXTURE_SIDE:
        raise InputError(
            "bad_texture",
            f"A texture of {options.texture} pixels a side was asked for; "
            f"{MIN_TEXTURE_SIDE} to {MAX_TEXTURE_SIDE} can be.",
        )
    if options.sex is not None and (options.sex not in SEXES or options.body != "anny"):
        raise InputError(
            "bad_sex", f"The sex '{options.sex}' is none of {', '.join(SEXES)}, of the body anny alone."
        )


def _report(items: Iterable[_T], stage: str, expected: int, progress: Progress) -> Iterator[_T]:
    progress(stage, 0, expected)
    done = 0
    for done, item in enumerate(items, start=1):
        yield item
        progress(stage, done, max(expected, done) if expected else 0)
    progress(stage, done, done)


def _follow(
    reader: VideoReader, track: Track, people: list[Track], frames: int, threads: int, progress: Progress
) -> tuple[Landmarks, np.ndarray, list[Sample], Silhouettes]:
    """Run the landmark network over the video; keep landmarks and silhouettes, and pictures of some frames.

    Landmarks are in canvas pixels, left and right settled; with them comes in which frames ``(T,)`` these are
    in doubt.
    """
    canvas = reader.width, reader.height
    scale = np.array([reader.width / reader.source_width, reader.height / reader.source_height])
    landmarks = Landmarks.unseen(frames)
    samples, silhouettes = Samples(*canvas), Silhouettes(*canvas)
    watched = _report(reader.pictures(), "pose", frames, progress)
    every = max(1, round(float(reader.fps) / _LOOKS))
    followed = follow(watched, float(reader.fps), track, PoseLandmarker(threads), people, every)
    for frame, (picture, pose) in enumerate(followed):
        if pose is None:
            continue
        landmarks.put(frame, pose, scale)
        mask = clean_mask(pose.mask_on(*canvas, *scale))
        silhouettes.put(frame, mask)
        if samples.wants(frame):
            samples.add(Sample(frame, picture.canvas, mask))
    sides = settle_sides(landmarks, float(reader.fps))
    unsure = np.repeat(sides.unsure[::every], every)[:frames]
    return sides.landmarks.between(every), unsure, samples.kept, silhouettes


def _seen(landmarks: Landmarks, reader: VideoReader, camera: Camera) -> _Seen:
    lifted = keypoints_of(landmarks, camera, float(reader.fps), load_network("pose_lifter", "cpu"))
    present, visibility = landmarks.score > 0, landmarks.visibility[:, list(BLAZEPOSE_INDEX)]
    cut_off = present[:, None] & _cut_off(lifted.image, visibility, (reader.width, reader.height))
    lifted.image_spread *= np.where(cut_off, _CUT_OFF, 1)
    lifted.image_spread *= np.where(present, 1, _UNSEEN)[:, None]
    lifted.bone_spread *= np.where(present, 1, _UNSEEN)[:, None]
    return _Seen(lifted, visibility, present)


def _certainty(seen: _Seen, unsure: np.ndarray, camera: Camera) -> np.ndarray:
    """Return how certain each of :data:`.BODY_REGIONS` is in every frame: ``(T, 6)`` float32, 0 to 1."""
    metre = float(np.sqrt(camera.fx * camera.fy)) / seen.lifted.distance
    error = 2 * seen.lifted.image_spread / metre[:, None]
    error = np.stack([error[:, points].mean(axis=1) for points in REGION_KEYPOINTS.values()], axis=1)
    certainty = np.clip((_GUESSED - error) / (_GUESSED - _KNOWN), 0, 1)
    certainty[~seen.present] = 0
    # Where sides may be exchanged, all but head and trunk may be somewhere else.
    sided = np.array([region.startswith(("left", "right")) for region in BODY_REGIONS])
    certainty[unsure[:, None] & sided] = 0
    return certainty.astype(np.float32)


def _part_seen(landmarks: Landmarks, fps: float) -> slice:
    """Return the frames from where the person is first seen to where they are last, all but short waits."""
    seen, count = np.flatnonzero(landmarks.score > 0), len(landmarks.score)
    first, stop = int(seen[0]), int(seen[-1]) + 1
    return slice(first if first / fps > LONG_GAP else 0, stop if (count - stop) / fps > LONG_GAP else count)


def _told(clip: Clip, present: np.ndarray) -> list[str]:
    """Return in words where the motion of parts of the body is a guess, the longest first if that is often.

    That of all of them, where the person is not ``present (T,)``, is told of otherwise.
    """
    if clip.certainty is None:
        return []
    found = doubts(np.where(present[:, None], clip.certainty, 1), clip.fps)
    longest = sorted(found, key=lambda doubt: doubt.start - doubt.stop)[:_TOLD]
    lines = [f"{doubt.describe()}." for doubt in sorted(longest, key=lambda doubt: doubt.start)]
    if len(found) > _TOLD:
        lines.append(f"So it is at {len(found) - _TOLD} other, shorter times: s2d info lists them all.")
    return lines


def _long_gaps(seen: _Seen, fps: float) -> list[tuple[int, int]]:
    return [(first, stop) for first, stop in runs(~seen.present) if (stop - first) / fps > LONG_GAP]


def _remarks(film: Film, frames: int, gaps: list[tuple[float, float]], clip: Clip) -> list[str]:
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


def _clip(
    points: np.ndarray, shape: np.ndarray, camera: Camera, body: BodyModel, reader: VideoReader, moving: bool
) -> Clip:
    """Return the motion alone."""
    return Clip(
        fps=reader.fps,
        camera=camera,
        width=reader.width,
        height=reader.height,
        keypoints=points.astype(np.float32),
        body=body.name,
        shape=shape.astype(np.float32),
        moving_camera=moving,
    )


def _add_pictures(
    clip: Clip,
    body: BodyModel,
    film: Film,
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


def _views(film: Film, frame: int, seen: _Seen, others: list[Track], progress: Progress) -> np.ndarray | None:
    """Read the video again; give :attr:`.Clip.views` in the plane of ``frame``, None if they are unknown."""
    reader = film.reader
    scale = reader.width / reader.source_width, reader.height / reader.source_height
    reach = round(float(reader.fps))

    def hidden(t: int) -> np.ndarray:
        shown = (other.at(film.part.start + t, reach) for other in others)
        rois = [roi for roi in shown if roi is not None]
        return people_in(reader.width, reader.height, seen.lifted.image[t], rois, scale)

    watched = _report(film.frames(), "camera", len(seen.lifted.image), progress)
    corners = follow_camera(watched, hidden, float(reader.fps))
    return None if corners is None else seen_from(corners, frame, reader.width, reader.height)


def _laid(
    fit: MotionFit, motion: Motion, clip: Clip, found: Iterable[Offsets], present: np.ndarray
) -> Motion:
    """Fit the motion to what :mod:`.alignment` has ``found`` as well; it goes into the clip."""
    shown = clip.camera.project(clip.keypoints)
    certainty = np.zeros((*shown.shape, 2))
    measured = list(found)
    for each in measured:
        shown[each.frame] += each.moved
        # Each stands for the frames about it.
        certainty[each.frame] = each.certainty * (present[each.frame] * clip.frames / len(measured))
    fit.show(shown, certainty)
    motion = fit.solve(motion, _FURTHER_STEPS, fit_shape=False)
    clip.keypoints = fit.keypoints(motion).astype(np.float32)
    return motion


def _quality(frames: list[int], seen: _Seen, keypoints: np.ndarray, side: int) -> np.ndarray:
    """Return how good pictures of ``frames`` are whatever they show: seen well, sharp, from the front."""
    points = keypoints[frames]
    across = points[:, KEYPOINT_INDEX["left_shoulder"]] - points[:, KEYPOINT_INDEX["right_shoulder"]]
    facing = across[:, 0] / np.maximum(np.linalg.norm(across, axis=-1), 1e-6)  # 1 in front, -1 behind
    speed = speeds(seen.lifted.image, 1.0).mean(axis=-1)[frames] * 256 / side
    return seen.visibility[frames].mean(axis=1) * (1 + 0.15 * facing) / (1 + 0.03 * speed)
