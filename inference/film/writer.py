# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing a film frame by frame, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import (
    ColorPrimaries,
    ColorRange,
    Colorspace,
    ColorTrc,
    Interpolation,
    VideoReformatter,
)
from av.video.stream import VideoStream

from ...models.errors import InputError, S2DError
from ...models.whole_files import unwritable, whole_file
from .source import SAMPLE_RATE

_SCRUBBED = {"g": "12"}  # frames from one that stands alone to the next: programs leap about in it
_KINDS = {
    # Constant quality at the speed that frames are drawn with.
    ".webm": (
        "libvpx-vp9",
        {"crf": "18", "b": "0", "deadline": "realtime", "cpu-used": "8", "row-mt": "1"},
        "libopus",
    ),
    ".mp4": ("libx264", {"crf": "17", "preset": "fast", "profile": "high"}, "aac"),
}
"""Codecs of pictures, with options, and of sound, by a file's ending."""

_EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP | Interpolation.BICUBIC


class VideoWriter:
    """Write RGB frames to a ``.webm`` (VP9) or ``.mp4`` (H.264) file as they come, in a ``with`` block.

    Pictures are coded, and tagged, as BT.709 in the range of television, 4:2:0, which all players show alike.
    The file appears under its name when the block ends without an error, never before, and replaces what was
    there. Sides must be even. ``.mp4`` holds the rate exactly, ``.webm`` its pictures' times in milliseconds.

    Raises :class:`InputError` for another file type or a place that cannot be written, and :class:`S2DError`
    where frames of such a size cannot be coded or the disk is full.
    """

    def __init__(
        self,
        path: str | Path,
        fps: Fraction,
        width: int,
        height: int,
        sound: Iterator[np.ndarray] | None = None,
    ) -> None:
        """Prepare to write ``path``; ``fps`` frames a second, ``width`` by ``height`` pixels.

        ``sound`` yields pieces ``(2, N)`` float32 at :data:`.source.SAMPLE_RATE`, from the first frame on;
        as much of it is taken as there are frames for.
        """
        self.path = Path(path)
        kind = _KINDS.get(self.path.suffix.lower())
        if kind is None:
            raise InputError("bad_format", f"{self.path}: a video is written as .webm or .mp4.")
        self._codec, self._options, self._sound_codec = kind
        self._fps, self._size, self._sound = fps, (width, height), sound
        self._frames = self._samples = 0
        self._reformatter = VideoReformatter()
        self._audio: AudioStream | None = None

    def __enter__(self) -> VideoWriter:
        """Open a file beside the one that will be."""
        with ExitStack() as opened:
            try:
                aside = opened.enter_context(whole_file(self.path))
            except OSError as error:
                raise unwritable(self.path, error) from error
            self._container = self._open(aside)
            opened.push(self._finish)
            self._opened = opened.pop_all()
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append one ``(height, width, 3)`` uint8 RGB frame."""
        width, height = self._size
        if frame.shape != (height, width, 3):
            raise ValueError(f"frame has shape {frame.shape}, the video {(height, width, 3)}")
        picture = self._reformatter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=_EXACT,
        )
        picture.pts, picture.time_base = self._frames, 1 / self._fps
        self._container.mux(self._video.encode(picture))
        self._frames += 1
        self._write_sound(round(self._frames / self._fps * SAMPLE_RATE))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file and give it its name, or discard it after an error."""
        try:
            self._opened.__exit__(kind, error, trace)
        except OSError as failed:
            raise unwritable(self.path, failed) from failed

    def _open(self, aside: Path) -> OutputContainer:
        width, height = self._size
        try:
            kind = self.path.suffix[1:].lower()
            options = {"movflags": "+faststart"} if kind == "mp4" else {}
            container = av.open(str(aside), "w", format=kind, container_options=options)
            video = container.add_stream(self._codec, rate=self._fps, options=self._options | _SCRUBBED)
            self._video = cast(VideoStream, video)
            self._video.width, self._video.height, self._video.pix_fmt = width, height, "yuv420p"
            context = self._video.codec_context
            context.thread_count = min(8, os.cpu_count() or 1)
            context.color_range, context.colorspace = ColorRange.MPEG, Colorspace.ITU709
            context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
            if self._sound is not None:
                audio = container.add_stream(self._sound_codec, rate=SAMPLE_RATE, layout="stereo")
                self._audio = cast(AudioStream, audio)
            context.open()
        except (ValueError, av.FFmpegError) as error:
            raise S2DError(
                "cannot_write", f"{self.path}: a video of {width}x{height} cannot be written."
            ) from error
        return container

    def _write_sound(self, until: int) -> None:
        """Write sound up to sample number ``until``."""
        while self._sound is not None and self._audio is not None and self._samples < until:
            piece = next(self._sound, None)
            if piece is None:
                self._sound = None
                return
            frame = AudioFrame.from_ndarray(np.ascontiguousarray(piece), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = (
                SAMPLE_RATE,
                self._samples,
                Fraction(1, SAMPLE_RATE),
            )
            self._container.mux(self._audio.encode(frame))
            self._samples += piece.shape[1]

    def _finish(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._container.close()
            return
        self._container.mux(self._video.encode(None))
        if self._audio is not None:
            self._container.mux(self._audio.encode(None))
        self._container.close()
