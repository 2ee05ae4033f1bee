# SPDX-License-Identifier: GPL-3.0-or-later
"""Encoding: a filmed clip, or a motion alone, becomes a ``.s2d``.

video ── capture ──▶ keypoints, camera, shape, reference, plate ──▶ clip.s2d
motion file ── the named points, the missing ones estimated ──────▶ clip.s2d
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from ..models.errors import InputError
from ..models.whole_files import check_writable
from .format.clip import Clip
from .format.container import write_clip
from .runtime.progress import Progress, unwatched

if TYPE_CHECKING:
    from .capture.motion_input import MotionOptions
    from .capture.pipeline import CaptureOptions


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
    return _write(captured.clip, output, coding, time.perf_counter() - start, captured.warnings)


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


def _write(
    clip: Clip, output: Path, coding: Coding | None, capture_seconds: float, warnings: list[str]
) -> EncodeResult:
    start = time.perf_counter()
    sizes = write_clip(clip, output, **(coding or {}))
    seconds = {"capture": capture_seconds, "code": time.perf_counter() - start}
    return EncodeResult(str(output), clip.frames, sizes, seconds, warnings)


def _checked_output(output: Path) -> Path:
    """Try the output's folder, so that minutes of capture do not end in an error."""
    if output.is_dir():
        raise InputError("output_unwritable", f"{output} is a folder: name a file, such as clip.s2d.")
    check_writable(output.parent)
    return output
