# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the encoding of a film will take on this machine, as far as its last encodings tell.

Nothing here touches Blender. What an encoding consists of is known: steps that take the same for each frame
that is looked at, more for a larger picture of the clip or of the film, and a start. How long that takes is
another on each machine: each encoding that is done is noted in a file, and until there is one the estimate is
that of an ordinary computer with two cores.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path

from ...models.errors import S2DError
from ...models.whole_files import write_whole

_SECONDS = 0.055  # for one frame's work, until one is measured
_KEPT = 5  # encodings, the latest
_START = 50.0  # frames' work before the first and after the last
_LOOKS = 30.0  # frames a second that are looked at, of a film that has more
_CANVAS, _CANVAS_PIXELS = 0.4, 256 * 456  # work of a frame that grows with the clip's picture: at this size
_FILM = 0.1  # work a frame for each million pixels of the film's, to decode them some three times

_PICTURE_BYTES, _FURTHER_BYTES, _SECOND_BYTES = 6000, 2300, 700  # of a clip's file, at the same size
_QUALITIES = {"SMALL": (0.9, 0.6), "BALANCED": (1.0, 1.0), "HIGH": (3.5, 1.0)}  # of pictures and of motion


@dataclass(frozen=True)
class Encoding:
    """What is to be encoded: so many frames at a rate, film's and clip's pictures of these pixels."""

    frames: int
    rate: float
    film_pixels: int
    canvas_pixels: int

    def work(self) -> float:
        """Return how much there is to do, in frames of the usual size."""
        looked_at = self.frames / max(1, round(self.rate / _LOOKS))
        canvas = _CANVAS * self.canvas_pixels / _CANVAS_PIXELS
        return _START + looked_at * (1 + canvas) + self.frames * _FILM * self.film_pixels / 1e6

    def size(self, quality: str, references: int = 1) -> float:
        """Return about how many bytes the clip's file will have."""
        pictures, motion = _QUALITIES[quality]
        share = (self.canvas_pixels / _CANVAS_PIXELS) ** 0.65
        shown = (_PICTURE_BYTES + _FURTHER_BYTES * (references - 1)) * share * pictures
        return shown + motion * _SECOND_BYTES * self.frames / self.rate


def estimate(encoding: Encoding, measured: Path) -> tuple[float, bool]:
    """Return the seconds that an encoding will take, and whether those are of this machine's encodings."""
    noted = _noted(measured)
    return encoding.work() * (statistics.median(noted) if noted else _SECONDS), bool(noted)


def note(encoding: Encoding, seconds: float, measured: Path) -> None:
    """Note how long an encoding took in the file ``measured``; where that cannot be written, nothing is."""
    noted = [*_noted(measured), seconds / encoding.work()][-_KEPT:]
    try:
        measured.parent.mkdir(parents=True, exist_ok=True)
        write_whole(measured, json.dumps(noted))
    except (OSError, S2DError):
        return


def _noted(measured: Path) -> list[float]:
    """Return the seconds a frame's work that the file holds; none where there is no such file, or another."""
    try:
        noted = json.loads(measured.read_text(encoding="utf-8"))
        return [float(seconds) for seconds in noted if 0 < float(seconds) < 1e4][-_KEPT:]
    except (OSError, ValueError, TypeError):
        return []
