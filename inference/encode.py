# SPDX-License-Identifier: GPL-3.0-or-later
"""Encoding: a filmed clip, or a motion alone, becomes a ``.s2d``.

video ── capture ──▶ keypoints, camera, shape, reference, plate ──▶ clip.s2d
motion file ── the named points, the missing ones estimated ──────▶ clip.s2d
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from ..models.errors import InputError
from ..models.whole_files import check_writable
from .format.clip import Clip
from .format.container import STEP_MM, as_decoded, write_clip
from .runtime.progress import Progress, unwatched

if TYPE_CHECKING:
    from .capture.motion_input import MotionOptions
    from .capture.pipeline import Capture, CaptureOptions, Filmed


class Coding(TypedDict, total=False):
    """How a clip is coded, see :func:`.container.write_clip`; what is left out is as there."""

    step_mm: float
    reference_quality: int
    plate_quality: int


@dataclass
class EncodeResult:
    """What :func:`encode_video` or :func:`encode_motion` wrote."""

    path: str
    frames: int
    bytes: dict[str, int]  # by part, and ``total``
    seconds: dict[str, float] = field(default_factory=dict)  # by stage: capture, code
    film: Filmed | None = None  # which part of the film the clip is; None of a motion alone
    warnings: list[str] = field(default_factory=list)


@dataclass
class EncodedShots:
    """What :func:`encode_shots` wrote: a clip for each shot with a person, and what to tell the user."""

    clips: list[EncodeResult] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def encode_video(
    video: str | Path,
    output: str | Path,
    options: CaptureOptions,
    coding: Coding | None = None,
    progress: Progress = unwatched,
) -> EncodeResult:
    """Capture the person in ``video`` and write a ``.s2d``.

    Raises InputError for a file that is no video, a video with no person, or an output that cannot be written
    (found before the work begins).
    """
    from .capture.pipeline import capture  # with its neural networks, which a motion alone does not need

    output = _checked_output(Path(output))
    start = time.perf_counter()
    captured = capture(Path(video), options, progress)
    _gather_texture(captured, options, coding, progress)
    seconds = time.perf_counter() - start
    return _write(captured.clip, output, coding, seconds, captured.warnings, captured.filmed)


def encode_shots(
    video: str | Path,
    output: str | Path,
    options: CaptureOptions,
    coding: Coding | None = None,
    progress: Progress = unwatched,
) -> EncodedShots:
    """Capture the person in each shot of ``video`` and write a ``.s2d`` for each, named as :func:`shot_path`.

    A shot without a person has none, and a warning names it. Raises InputError as :func:`encode_video`, and
    where no shot shows anybody (``no_person``). Clips that are there under those names are replaced: look
    with :func:`shot_paths` before.
    """
    from .capture.pipeline import capture, look_over

    if options.person_at is not None:
        raise InputError("option", "A person's place is in one shot: leave it out with --shots.")
    output = _checked_output(Path(output))
    surveyed = look_over(Path(video), options, progress)
    surveyed.chosen(options.person)  # raises where nobody is in any shot
    shots, encoded = len(surveyed.shots), EncodedShots()
    without = []
    for shot in range(shots):
        start = time.perf_counter()
        try:
            captured = capture(Path(video), options, progress, surveyed.only(shot))
        except InputError as error:
            if error.code != "no_person":
                raise
            without.append(f"{shot + 1} ({surveyed.span(shot)})")
            continue
        _gather_texture(captured, options, coding, progress)
        seconds = time.perf_counter() - start
        own = [line for line in captured.warnings if line not in surveyed.reader.remarks]
        told = [f"Shot {shot + 1} ({surveyed.span(shot)}): {line}" for line in own]
        path = shot_path(output, shot + 1)
        encoded.clips.append(_write(captured.clip, path, coding, seconds, told, captured.filmed))
        encoded.warnings.extend(told)
    if not encoded.clips:
        raise InputError("no_person", f"{video}: nobody is seen well enough to follow.")
    if without:
        whom = "Nobody" if options.person is None else f"No person {options.person}"
        listed = " and ".join([*([", ".join(without[:-1])] if without[1:] else []), without[-1]])
        encoded.warnings.insert(0, f"{whom} is seen in shot {listed} of {shots}.")
    encoded.warnings[:0] = surveyed.reader.remarks
    return encoded


def shot_path(output: Path, number: int) -> Path:
    """Return where the clip of a film's shot goes, counted from 1: ``CLIP_1.s2d`` beside ``CLIP.s2d``."""
    return output.with_name(f"{output.stem}_{number}{output.suffix}")


def shot_paths(output: Path) -> list[Path]:
    """Return what is there already under names that :func:`encode_shots` may write to."""
    name = re.compile(re.escape(output.stem) + r"_[1-9]\d*" + re.escape(output.suffix))
    beside = output.parent.iterdir() if output.parent.is_dir() else ()
    return sorted(path for path in beside if name.fullmatch(path.name))


def encode_motion(
    keypoints: str | Path,
    output: str | Path,
    options: MotionOptions | None = None,
    coding: Coding | None = None,
) -> EncodeResult:
    """Read a motion file of another program, or named 3D keypoints, and write a ``.s2d`` without pictures.

    The files are those of :mod:`.motions`; :mod:`.capture.motion_input` estimates the points that they lack.
    Raises InputError for a file that is not as described, options that do not fit it, or an output that
    cannot be written.
    """
    from .capture.motion_input import MotionOptions, read_motion

    output = _checked_output(Path(output))
    start = time.perf_counter()
    clip, warnings = read_motion(Path(keypoints), options or MotionOptions())
    return _write(clip, output, coding, time.perf_counter() - start, warnings)


def _gather_texture(
    captured: Capture, options: CaptureOptions, coding: Coding | None, progress: Progress
) -> None:
    """Give the clip its texture, if one is asked for: of the mesh that decoding will make of it."""
    if options.texture is None:
        return
    from .capture.film_texture import gather_texture

    captured.clip.texture = gather_texture(
        as_decoded(captured.clip, (coding or {}).get("step_mm", STEP_MM)),
        captured.film.pictures(),
        captured.silhouettes,
        captured.predictor,
        options.texture,
        progress,
    )


def _write(
    clip: Clip,
    output: Path,
    coding: Coding | None,
    capture_seconds: float,
    warnings: list[str],
    film: Filmed | None = None,
) -> EncodeResult:
    start = time.perf_counter()
    sizes = write_clip(clip, output, **(coding or {}))
    seconds = {"capture": capture_seconds, "code": time.perf_counter() - start}
    return EncodeResult(str(output), clip.frames, sizes, seconds, film, warnings)


def _checked_output(output: Path) -> Path:
    """Try the output's folder, so that minutes of capture do not end in an error."""
    if output.is_dir():
        raise InputError("output_unwritable", f"{output} is a folder: name a file, such as clip.s2d.")
    check_writable(output.parent)
    return output
