# SPDX-License-Identifier: GPL-3.0-or-later
"""How certain the parts of a body are over time: as bytes, as runs, and in words.

Certainty is ``(T, 6)`` float32 for :data:`.BODY_REGIONS`, from 0 (a guess) to 1 (seen). It is sent in four
levels, five times a second at most: 60 bits a second before they are compressed, which bounds the rate
whatever the motion. Its bytes: ``docs/FORMAT.md``, section 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ...models.errors import InputError
from ...models.frame_rates import clock
from ...models.keypoints import BODY_REGIONS
from .fields import deflate, inflate

_MOST = 3  # the highest level: seen
_A_SECOND = 5  # levels, at most
_GUESS = 0.5  # what is less certain is a guess
_SHORTEST = Fraction(1, 5)  # second, of a doubt that is told of, and of a gap between two


def encode_certainty(certainty: np.ndarray, fps: Fraction) -> bytes:
    """Code ``(T, 6)`` from 0 to 1: the mean of each fifth of a second, rounded to a level.

    Raises InputError ``bad_certainty`` for anything else.
    """
    if certainty.shape[1:] != (len(BODY_REGIONS),) or not ((certainty >= 0) & (certainty <= 1)).all():
        raise InputError(
            "bad_certainty", f"certainty must be (frames, {len(BODY_REGIONS)}) numbers from 0 to 1."
        )
    starts = np.arange(0, len(certainty), _spacing(fps))
    counts = np.diff(starts, append=len(certainty))
    means = np.add.reduceat(certainty.astype(np.float64), starts) / counts[:, None]
    levels = np.rint(_MOST * means).astype(np.uint8)
    changes = np.diff(levels.T, axis=1, prepend=np.uint8(_MOST)) & 3  # (6, m), all 0 where all is seen
    bits = np.stack([changes >> 1, changes & 1], axis=-1)
    return deflate(np.packbits(bits).tobytes())


def decode_certainty(data: bytes, frames: int, fps: Fraction) -> np.ndarray:
    """Decode what :func:`encode_certainty` made of so many frames to ``(frames, 6)`` float32.

    Raises InputError, before anything is allocated, if the bytes are not such a part.
    """
    spacing = _spacing(fps)
    count = len(BODY_REGIONS) * -(-frames // spacing)
    packed = inflate(data, -(-count // 4), "the body's certainty")
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=2 * count).reshape(len(BODY_REGIONS), -1, 2)
    levels = _MOST + np.cumsum(2 * bits[..., 0] + bits[..., 1], axis=1, dtype=np.int64) & 3
    return np.repeat(levels.T, spacing, axis=0)[:frames].astype(np.float32) / np.float32(_MOST)


def _spacing(fps: Fraction) -> int:
    """Return for how many frames a level holds."""
    return math.ceil(fps / _A_SECOND)


def certainty_runs(certainty: np.ndarray) -> dict[str, list[tuple[int, float]]]:
    """Return for each region the frames of ``(T, 6)`` from which on its certainty is another, and which."""
    runs = {}
    for region, values in zip(BODY_REGIONS, certainty.T, strict=True):
        starts = np.flatnonzero(np.diff(values, prepend=-1))
        runs[region] = [(int(start), round(float(values[start]), 2)) for start in starts]
    return runs


@dataclass(frozen=True)
class Doubt:
    """A span of time, in seconds, in which the motion of a region of the body is a guess."""

    region: str  # of BODY_REGIONS
    start: float
    stop: float

    @property
    def span(self) -> str:
        """When it is, such as ``0:02.1-0:02.6``."""
        return f"{clock(self.start)}-{clock(self.stop)}"

    @property
    def part(self) -> str:
        """The region in words."""
        return self.region.replace("_", " ")

    def describe(self) -> str:
        """Say in one line what the user should know."""
        return f"{self.span}: the {self.part} is not seen well; its motion is a guess"


def doubts(certainty: np.ndarray, fps: Fraction) -> list[Doubt]:
    """Return in which spans of ``(T, 6)`` the motion of a region is a guess, in order of time.

    A span counts from a fifth of a second on, and goes on over gaps that are shorter than that.
    """
    found = []
    for region, values in zip(BODY_REGIONS, certainty.T, strict=True):
        edges = np.flatnonzero(np.diff(values < _GUESS, prepend=False, append=False))
        spans: list[tuple[int, int]] = []
        for start, stop in edges.reshape(-1, 2).tolist():
            bridged = spans and start - spans[-1][1] < _SHORTEST * fps
            spans.append((spans.pop()[0] if bridged else start, stop))
        found += [
            Doubt(region, float(start / fps), float(stop / fps))
            for start, stop in spans
            if stop - start >= _SHORTEST * fps
        ]
    return sorted(found, key=lambda doubt: doubt.start)
