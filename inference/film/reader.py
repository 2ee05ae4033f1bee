# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a film: upright frames of one size at a constant rational rate, as they are wanted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from ...models.errors import InputError
from ...models.frame_rates import rational_rate

MAX_SOURCE_SIDE = 8192
"""Largest width or height of a video that is read, in pixels."""
MAX_RATE = 240
"""Largest frame rate, in frames a second."""
DEFAULT_RATE = Fraction(30)
"""The rate assumed where the container names none that a clip can have."""

_LONGEST_STILL = 1.0  # seconds that one picture is expected to be shown at most


def canvas_size(width: int, height: int, size: int) -> tuple[int, int]:
    """Return the canvas ``(width, height)`` for a picture: short side about ``size``, both multiples of 8.

    Nothing is cropped or padded: each side is rounded by itself, so the aspect ratio changes by at most
    4 pixels' worth, which the camera's ``fx`` and ``fy`` take up.
    """
    scale = size / min(width, height)
    return round(width * scale / 8) * 8, round(height * scale / 8) * 8


class VideoReader:
    """The frames of a video from ``start`` to ``end`` seconds at ``fps`` frames a second.

    A frame is turned upright as the container's rotation says. The rate is constant: each moment shows the
    source's frame of that time, so a variable rate or another ``fps`` repeats or skips frames and never
    shifts them. Each iteration opens the file anew and holds two frames.

    Attributes: ``fps`` (rational), ``width`` and ``height`` of the canvas, ``source_width`` and
    ``source_height`` (pixels, upright), ``expected_frames`` (an estimate for progress; 0 if unknown).

    Raises :class:`InputError` for a file that is no video, holds no frame, is larger than
    :data:`MAX_SOURCE_SIDE`, breaks off (when that point is reached), or for times outside it.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        start: float | None = None,
        end: float | None = None,
        fps: Fraction | float | None = None,
        size: int = 256,
    ) -> None:
        """Look at the video's first frame; ``start`` and ``end`` in seconds, ``size`` the short side."""
        self.path = Path(path)
        self.start = start or 0.0
        self.end = end
        if self.start < 0 or (end is not None and end <= self.start):
            raise InputError(
                "bad_time", f"The time from {self.start:g} s to {end} s is empty: end must follow start."
            )
        if not 64 <= size <= 2048:
            raise InputError("bad_size", f"The size {size} is outside 64 to 2048 pixels.")
        if not self.path.is_file():
            raise InputError("not_found", f"{self.path}: there is no such file.")
        with self._opened() as capture:
            found, frame = capture.read()
            if not found:
                raise InputError(
                    "no_frames", f"{self.path}: no frame can be read; the file is empty or broken."
                )
            self.source_height, self.source_width = frame.shape[:2]
            told = capture.get(cv2.CAP_PROP_FPS)
            self._source_rate = rational_rate(told) if 0 < told <= MAX_RATE else DEFAULT_RATE
            # Of a film without an even rate the container tells its finest step, and counts such steps.
            counted = capture.get(cv2.CAP_PROP_FRAME_COUNT)
            self._duration = max(0.0, counted / (told if told > 0 else float(DEFAULT_RATE)))
            shown_width = self.source_width * self._pixel_aspect(capture)
        own_rate = self._source_rate if self._source_rate >= 1 else DEFAULT_RATE
        self.fps = own_rate if fps is None else self._checked_rate(fps)
        self.width, self.height = canvas_size(round(shown_width), self.source_height, size)
        last = self._duration if end is None else min(end, self._duration or end)
        self.expected_frames = max(0, round((last - self.start) * self.fps))

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the frames at canvas size, ``(height, width, 3)`` uint8 RGB."""
        for frame in self.source_frames():
            yield self.to_canvas(frame)

    def to_canvas(self, frame: np.ndarray) -> np.ndarray:
        """Resize one frame of :meth:`source_frames` to the canvas."""
        shrinks = self.width < frame.shape[1]
        return cv2.resize(
            frame, (self.width, self.height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        )

    def source_frames(self) -> Iterator[np.ndarray]:
        """Yield the same frames at the source's size, ``(source_height, source_width, 3)`` uint8 RGB."""
        half = 0.5 / max(self.fps, self._source_rate)  # time stamps may be rounded
        stop = float("inf") if self.end is None else self.end
        shown: np.ndarray | None = None
        made = 0
        for time, frame in self._timed_frames():
            while shown is not None and self.start + made / self.fps + half < time:
                if self.start + (made + 0.5) / self.fps > stop:
                    return
                yield shown
                made += 1
            shown = frame
        # The last frame lasts as long as the nominal rate says.
        stop = min(stop, self._read_to)
        while shown is not None and self.start + (made + 0.5) / self.fps <= stop:
            yield shown
            made += 1
        if not made:
            raise InputError("bad_time", f"{self.path}: no frame follows {self.start:g} s.")

    def _timed_frames(self) -> Iterator[tuple[float, np.ndarray]]:
        """Yield ``(seconds since the first frame, RGB frame)`` from a little before ``start``."""
        step = 1 / self._source_rate
        self._read_to = 0.0
        first: float | None = None
        time = -float(step)
        with self._opened() as capture:
            while capture.grab():
                stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                first = stamp if first is None else first
                # Containers without usable time stamps repeat one value: then the nominal rate counts.
                time = stamp - first if stamp - first > time else time + float(step)
                self._read_to = time + float(step)
                # At a variable rate the picture at either end of what is asked for may stand for long.
                if time < self.start - _LONGEST_STILL:
                    continue
                if self.end is not None and time > self.end + _LONGEST_STILL:
                    return
                found, frame = capture.retrieve()
                if not found:
                    raise InputError("bad_video", f"{self.path}: the picture at {time:.2f} s cannot be read.")
                yield time, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        wanted = self._duration if self.end is None else min(self.end, self._duration)
        if wanted - self._read_to > max(0.1 * self._duration, float(3 * step)):
            raise InputError(
                "truncated_video",
                f"{self.path}: the video breaks off at {self._read_to:.2f} s of {self._duration:.2f} s; "
                f"copy it again, or take what is there with --end {self._read_to:.2f}.",
            )

    @contextmanager
    def _opened(self) -> Iterator[cv2.VideoCapture]:
        capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        try:
            sides = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
            if min(sides) <= 0:
                raise InputError("not_a_video", f"{self.path}: this is not a video that can be read.")
            if max(sides) > MAX_SOURCE_SIDE:
                raise InputError(
                    "video_too_large",
                    f"{self.path}: its sides exceed {MAX_SOURCE_SIDE} pixels; make it smaller first.",
                )
            yield capture
        finally:
            capture.release()

    @staticmethod
    def _checked_rate(fps: Fraction | float) -> Fraction:
        if not 1 <= fps <= MAX_RATE:
            raise InputError(
                "bad_rate", f"The rate {float(fps):g} is outside 1 to {MAX_RATE} frames a second."
            )
        return fps if isinstance(fps, Fraction) else rational_rate(float(fps))

    @staticmethod
    def _pixel_aspect(capture: cv2.VideoCapture) -> float:
        across, up = capture.get(cv2.CAP_PROP_SAR_NUM), capture.get(cv2.CAP_PROP_SAR_DEN)
        aspect = across / up if across > 0 else 1.0  # 0/1 where it is not told
        turned = round(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 180 == 90
        return float(np.clip(1 / aspect if turned else aspect, 0.25, 4))
