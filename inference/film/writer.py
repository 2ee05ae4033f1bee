# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing a film frame by frame, whole or not at all."""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from ...models.errors import InputError, S2DError
from ...models.whole_files import unwritable, whole_file
from ..runtime.quiet import quiet_stderr

_CODECS = {".webm": "VP80", ".mp4": "mp4v"}


class VideoWriter:
    """Write RGB frames to a ``.webm`` (VP8) or ``.mp4`` (MPEG-4) file as they come, in a ``with`` block.

    The file appears under its name when the block ends without an error, never before, and replaces what was
    there. Sides must be even. Containers hold the rate as a decimal or in milliseconds: 30000/1001 is written
    as 29.97 (one millionth off).

    Raises :class:`InputError` for another file type or a place that cannot be written, and :class:`S2DError`
    where the disk is full.
    """

    def __init__(self, path: str | Path, fps: Fraction, width: int, height: int) -> None:
        """Prepare to write ``path``; ``fps`` frames a second, ``width`` by ``height`` pixels."""
        self.path = Path(path)
        codec = _CODECS.get(self.path.suffix.lower())
        if codec is None:
            raise InputError("bad_format", f"{self.path}: a video is written as .webm or .mp4.")
        self._codec = cv2.VideoWriter.fourcc(*codec)
        self._rate = float(fps)
        self._size = width, height
        self._frames = 0

    def __enter__(self) -> VideoWriter:
        """Open a file beside the one that will be."""
        with ExitStack() as opened:
            try:
                self._aside = opened.enter_context(whole_file(self.path))
            except OSError as error:
                raise unwritable(self.path, error) from error
            with quiet_stderr():  # OpenCV prints that WebM names its codecs without such a tag
                self._writer = cv2.VideoWriter(
                    str(self._aside), cv2.CAP_FFMPEG, self._codec, self._rate, self._size
                )
            if not self._writer.isOpened():
                raise S2DError(
                    "cannot_write", f"{self.path}: the video cannot be written; is the folder writable?"
                )
            opened.push(self._finish)
            self._opened = opened.pop_all()
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append one ``(height, width, 3)`` uint8 RGB frame."""
        width, height = self._size
        if frame.shape != (height, width, 3):
            raise ValueError(f"frame has shape {frame.shape}, the video {(height, width, 3)}")
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self._frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file and give it its name, or discard it after an error."""
        try:
            self._opened.__exit__(kind, error, trace)
        except OSError as failed:
            raise unwritable(self.path, failed) from failed

    def _finish(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.release()
        # OpenCV does not report a full disk: what was written has to be read back to be believed.
        if kind is None and self._count_frames() != self._frames:
            raise S2DError("cannot_write", f"{self.path}: the video is incomplete; is the disk full?")

    def _count_frames(self) -> int:
        # Format -1 is packets as they are: to count them they need not be decoded.
        capture = cv2.VideoCapture(str(self._aside), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
        count = 0
        while capture.grab():
            count += 1
        capture.release()
        return count
