# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a film: upright pictures of one size at a constant rational rate, as they are wanted."""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from av.buffer import Buffer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

from ...models.errors import InputError, one_line
from ...models.frame_rates import rational_rate
from .pace import DEFAULT_RATE, MAX_RATE, clip_rate
from .screen import Screen, Turn, deinterlaced
from .source import PictureSequence, Trouble, open_film

_ENOUGH = 1.0  # seconds of a broken film that are worth having
_MOST_TOLD = 3  # of a kind
_WORTH_A_LEAP = 4.0  # seconds between two moments from which a film is not read through

GLANCE_SIDE = 64
"""Pixels of either side of :attr:`Picture.glance`."""
_LUMA_FIRST = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "gray")


def canvas_size(width: int, height: int, size: int) -> tuple[int, int]:
    """Return the canvas ``(width, height)`` for a picture: short side about ``size``, both multiples of 8.

    Nothing is cropped or padded: each side is rounded by itself, so the aspect ratio changes by at most
    4 pixels' worth, which the camera's ``fx`` and ``fy`` take up.
    """
    scale = size / min(width, height)
    return round(width * scale / 8) * 8, round(height * scale / 8) * 8


class Picture:
    """A film's picture at one moment, made when it is asked for."""

    def __init__(self, frame: VideoFrame, source: Screen, canvas: Screen) -> None:
        self._frame, self._source, self._canvas = frame, source, canvas

    @cached_property
    def source(self) -> np.ndarray:
        """The picture at the film's own size, ``(source_height, source_width, 3)`` uint8 RGB."""
        return self._source.show(self._frame)

    @cached_property
    def canvas(self) -> np.ndarray:
        """The picture at canvas size, ``(height, width, 3)`` uint8 RGB."""
        return self._canvas.show(self._frame)

    @cached_property
    def glance(self) -> np.ndarray:
        """The picture as ``(64, 64)`` uint8 grey, squeezed and not turned: to compare pictures, fast."""
        frame, size = self._frame, (GLANCE_SIDE, GLANCE_SIDE)
        if frame.format.name not in _LUMA_FIRST:
            return frame.reformat(*size, format="gray", interpolation=Interpolation.AREA).to_ndarray()
        plane = frame.planes[0]
        values = np.frombuffer(memoryview(cast(Buffer, plane)), np.uint8)
        rows = values.reshape(plane.height, plane.line_size)
        apart = max(1, plane.height // (2 * GLANCE_SIDE))  # enough rows for a mean
        return cv2.resize(rows[::apart, : frame.width], size, interpolation=cv2.INTER_AREA)


class VideoReader:
    """The pictures of a film from ``start`` to ``end`` seconds at ``fps`` frames a second.

    ``path`` is a file, a folder of numbered pictures, or a pattern of their names such as ``shot_%04d.png``,
    whose own rate ``fps`` then is. Pictures are upright, in one piece, and in a screen's colours
    (:mod:`.screen`). The rate is constant, by default that of the film's commonest interval: each moment
    shows the film's picture of that time, so a variable rate or another ``fps`` repeats or skips pictures and
    never shifts them. Each iteration opens the film anew and holds few pictures.

    Attributes: ``fps`` (rational), ``width`` and ``height`` of the canvas, ``source_width`` and
    ``source_height`` (pixels, upright), ``expected_frames`` (an estimate for progress; 0 if unknown),
    ``metadata`` (what a camera wrote into the film).

    Raises :class:`InputError` for a file that is no film, cannot be decoded, is larger than
    :data:`.source.MAX_SOURCE_SIDE`, breaks off before its second second (when that point is reached), or for
    times outside it.
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
        """Look at the film's first picture; ``start`` and ``end`` in seconds, ``size`` the short side."""
        self.path = Path(path)
        self.start, self.end = start or 0.0, end
        if self.start < 0 or (end is not None and end <= self.start):
            raise InputError(
                "bad_time", f"The time from {self.start:g} s to {end} s is empty: end must follow start."
            )
        if not 64 <= size <= 2048:
            raise InputError("bad_size", f"The size {size} is outside 64 to 2048 pixels.")
        rate = None if fps is None else _checked_rate(fps)
        self._film = open_film(self.path, rate)
        facts = self._film.facts
        turn = Turn.of(facts.first)
        self.source_width, self.source_height = turn.size(facts.first.width, facts.first.height)
        aspect = float(np.clip(facts.pixel_aspect, 0.25, 4))
        across, up = turn.size(round(facts.first.width * aspect), facts.first.height)
        self.width, self.height = canvas_size(across, up, size)
        self.metadata = facts.metadata
        self.fps = rate or clip_rate(facts.rate)
        self._step = 1 / (facts.rate or DEFAULT_RATE)
        last = facts.duration if end is None else min(end, facts.duration or end)
        self.expected_frames = max(0, round((last - self.start) * self.fps))
        self._rate_is_made_up = isinstance(self._film, PictureSequence) and rate is None
        self._enough = _ENOUGH
        self._told: list[str] = []
        self._trouble = Trouble()

    def part(self, frames: slice) -> VideoReader:
        """Return a reader of some of its frames alone, for a film that was read and told of already."""
        part = copy.copy(self)
        part.start = self.start + frames.start / float(self.fps)
        part.end = self.start + frames.stop / float(self.fps)
        part.expected_frames = frames.stop - frames.start
        part._enough, part._told = 0.0, []
        return part

    @property
    def leaps(self) -> list[float]:
        """Seconds from ``start`` at which the film's own time leaps, in what was read of it."""
        return [at - self.start for at, _ in self._trouble.leaps if at > self.start]

    @property
    def remarks(self) -> list[str]:
        """Lines to tell the user, complete once the film was read to its end."""
        name = one_line(str(self.path))
        made_up = f"{name} does not tell its rate: {DEFAULT_RATE} pictures a second are taken (--fps)."
        return [*([made_up] if self._rate_is_made_up else ()), *self._told]

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the frames at canvas size, ``(height, width, 3)`` uint8 RGB."""
        for picture in self.pictures():
            yield picture.canvas

    def source_frames(self) -> Iterator[np.ndarray]:
        """Yield the same frames at the film's size, ``(source_height, source_width, 3)`` uint8 RGB."""
        for picture in self.pictures():
            yield picture.source

    def pictures(self) -> Iterator[Picture]:
        """Yield the same frames, to be made at either size; one that stands comes as the same again."""
        film = self.source_width, self.source_height
        source, canvas = Screen(film, film), Screen(film, (self.width, self.height))
        half = float(min(1 / self.fps, self._step)) / 2  # time stamps may be rounded
        trouble = self._trouble = Trouble()
        stop = float("inf") if self.end is None else self.end
        picture: Picture | None = None
        made, read_to = 0, 0.0
        for time, frame in deinterlaced(self._film.pictures(self.start, trouble)):
            while picture is not None and self.start + made / self.fps + half < time:
                if self.start + (made + 0.5) / self.fps > stop:
                    return
                yield picture
                made += 1
            read_to = time + float(self._step)
            picture = Picture(frame, source, canvas)
        self._look_into(trouble)
        # The last picture lasts as long as the others.
        while picture is not None and self.start + (made + 0.5) / self.fps <= min(stop, read_to):
            yield picture
            made += 1
        if not made:
            raise InputError("bad_time", f"{self.path}: no frame follows {self.start:g} s.")

    def pictures_at(self, seconds: Sequence[float]) -> Iterator[tuple[float, Picture]]:
        """Yield ``(seconds, picture)`` for each of some moments of the film, which rise, as far as it goes.

        Where they lie far apart the film is leapt through, if its kind allows it.
        """
        frames = [max(0, round((second - self.start) * float(self.fps))) for second in seconds]
        apart = max((after - before for before, after in itertools.pairwise(frames)), default=0)
        if not self._film.leaps or apart / self.fps < _WORTH_A_LEAP:
            wanted = dict(zip(frames, seconds, strict=True))
            for frame, picture in enumerate(self.pictures()):
                if frame in wanted:
                    yield wanted.pop(frame), picture
                if not wanted:
                    return
            return
        for frame, second in zip(frames, seconds, strict=True):
            with contextlib.suppress(InputError):  # the film is shorter than it tells
                yield second, next(self.part(slice(frame, frame + 1)).pictures())

    def _look_into(self, trouble: Trouble) -> None:
        """Note what went wrong on the way to the film's end; InputError if that was too soon."""
        name, told = one_line(str(self.path)), self._told
        told.clear()
        if trouble.broke_off is not None:
            said = f" ({trouble.said})" if trouble.said else ""
            reached, length = trouble.broke_off
            broken = f"{name}: the video breaks off at {reached:.2f} s of {length:.2f} s{said}"
            if reached - self.start < self._enough:
                raise InputError("truncated_video", f"{broken}; copy it again from where it came.")
            told.append(f"{broken}: what comes before is used.")
        elif trouble.said:
            told.append(f"{name}: pictures from {trouble.at:.2f} s on are damaged ({trouble.said}).")
        for at, ahead in trouble.leaps[:_MOST_TOLD]:
            told.append(f"{name}: its time leaps by {ahead:.1f} s at {at:.2f} s (two takes?): closed.")
        if trouble.missing:
            numbers = ", ".join(trouble.missing[:_MOST_TOLD])
            told.append(f"{name}: the sequence lacks {numbers}; the picture before stands in.")


def _checked_rate(fps: Fraction | float) -> Fraction:
    if not 1 <= fps <= MAX_RATE:
        raise InputError("bad_rate", f"The rate {float(fps):g} is outside 1 to {MAX_RATE} frames a second.")
    return fps if isinstance(fps, Fraction) else rational_rate(float(fps))
