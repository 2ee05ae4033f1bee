# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a film cuts from one shot to the next.

Of one shot, each picture is the one before, moved: nearly all of its patches are found there again, wherever
they went. Across a cut hardly any is. So frames are taken as they come, as small grey pictures; where one
is unlike the frame before, its patches are looked for there and in the frames around. A flash, something that
passes before the lens and a moment of black end with the picture that was there before, which is found
again, and a film in which nothing is found again from one frame to the next, as in noise, has no cuts.

A cut between two takes of one camera that stands still changes a part of the picture only, as people do:
it is one where the film's time leaps as well. Dissolves are not told from motion.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np

_PATCH, _APART = 16, 12  # sides of the patches, and from one to the next, of a picture of 64
_BARE = 3.0  # grey levels: a picture with a smaller deviation shows nothing
_PLAIN, _FAINT = 0.1, 1.5  # of the picture's deviation; grey levels: a patch with less tells nothing
_FOUND = 0.75  # correlation from which a patch is found again; chance comes so far once in ten
_SAME = 0.36  # of the patches: pictures with so many in common are of one shot. Cuts: 0.33 at most; pans: 0.5
_STEADY, _FEWER = 0.45, 2.0  # of the patches that frames next to each other share; times those across a cut
_LEAST = 4  # patches that tell anything
_GLANCE = 0.9  # correlation of two frames from which they are not looked at closer
_SUDDEN = 1.5  # times as unlike as the frames around it a frame after a cut is
_FLASH = 0.3  # seconds that something may last without being a shot
_LOOKS = 5  # frames on each side of a cut that are compared
_LEAP, _SLIGHT = 5.0, 0.02  # the same at a leap of time, and how unlike such a frame is at least


class Cut(NamedTuple):
    """The shot before ends with the frame before ``end``; the next begins with the frame ``start``.

    Frames between, which are black, belong to neither.
    """

    end: int
    start: int


class CutFinder:
    """Finds the cuts of a film of ``fps`` frames a second, frame by frame."""

    def __init__(self, fps: float) -> None:
        self._fps, self._count = fps, 0
        self._flash = max(1, round(_FLASH * fps))
        self._recent: deque[tuple[int, np.ndarray]] = deque(maxlen=2 * self._flash + 2)  # that show something
        self._likeness: list[float] = []  # of each frame and the one before
        self._open: deque[int] = deque()  # frames unlike the one before, the frames after them yet to come
        self._found: list[Cut] = []

    def see(self, glance: np.ndarray) -> None:
        """Take the next frame, ``(64, 64)`` uint8 grey; the picture may be squeezed."""
        frame, self._count = self._count, self._count + 1
        before = self._recent[-1][1] if self._recent else None
        if before is glance:  # shown again
            self._likeness.append(1.0)
        elif glance.std() < _BARE:
            self._likeness.append(1.0)
            return
        else:
            self._likeness.append(1.0 if before is None else _likeness(before, glance))
        self._recent.append((frame, glance))
        if self._likeness[-1] < _GLANCE:
            self._open.append(frame)
        while self._open and frame - self._open[0] >= self._flash:
            self._decide(self._open.popleft())

    def cuts(self, leaps: Iterable[float] = ()) -> list[Cut]:
        """Return the cuts, once all frames were seen; at ``leaps`` (seconds) the film's time leaps."""
        while self._open:
            self._decide(self._open.popleft())
        found = list(self._found)
        for seconds in leaps:
            frame = self._leap_at(round(seconds * self._fps))
            if frame and all(not cut.end - 1 <= frame <= cut.start + 1 for cut in found):
                found.append(Cut(frame, frame))
        return sorted(found)

    def _decide(self, frame: int) -> None:
        """Note a cut before ``frame``, if no picture of before it is seen again after it."""
        unlike = 1 - np.array(self._likeness[max(0, frame - 2) : frame + 3])
        at = min(2, frame)
        around = np.delete(unlike, at)
        # All film long in noise or shaking: such frames need no closer look, which is what costs.
        if len(around) and unlike[at] < _SUDDEN * np.median(around):
            return
        numbers = [number for number, _ in self._recent if number < frame]
        last = numbers[-1] if numbers else -1  # black may be between
        before = [shown for number, shown in self._recent if last - self._flash < number <= last]
        after = [shown for number, shown in self._recent if frame <= number < frame + self._flash]
        if not before or not after or any(cut.end <= frame <= cut.start for cut in self._found):
            return
        before.reverse()
        across = _alike(before[0], after[0])
        steady = min((_alike(*side[:2]) for side in (before, after) if len(side) > 1), default=1.0)
        if across > _SAME or steady < max(_STEADY, _FEWER * across):
            return
        pairs = itertools.product(_some(before), _some(after))
        if all(_alike(one, other) <= _SAME for one, other in pairs):
            self._found.append(Cut(last + 1, frame))

    def _leap_at(self, frame: int) -> int:
        """Return at which frame next to ``frame`` the picture leaps too; 0 for none."""
        unlike = 1 - np.array(self._likeness)
        near = range(max(1, frame - 1), min(len(unlike), frame + 2))
        if not near:
            return 0
        at = max(near, key=lambda number: unlike[number])
        around = np.delete(unlike[max(1, at - 3) : at + 4], at - max(1, at - 3))
        usual = float(np.median(around)) if len(around) else 0.0
        return at if unlike[at] > max(_SLIGHT, _LEAP * usual) else 0


def shots_between(cuts: Iterable[Cut], frames: int) -> list[slice]:
    """Return the shots of a film of so many frames, one after the other."""
    cuts = list(cuts)
    starts, stops = [0, *(cut.start for cut in cuts)], [*(cut.end for cut in cuts), frames]
    return [slice(start, stop) for start, stop in zip(starts, stops, strict=True) if stop > start]


def _some(pictures: list[np.ndarray]) -> list[np.ndarray]:
    """Return a few of them, the first and the last among them."""
    which = np.unique(np.linspace(0, len(pictures) - 1, _LOOKS).round().astype(int))
    return [pictures[i] for i in which]


def _likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of two pictures, -1 to 1, whatever their brightness and contrast."""
    return float(cv2.matchTemplate(one, other, cv2.TM_CCOEFF_NORMED)[0, 0])


def _alike(one: np.ndarray, other: np.ndarray) -> float:
    """Return how much two pictures show the same, moved: the share of patches that both have, 0 to 1.

    That is 1 where too little is seen to tell.
    """
    there, back = _shared(one, other), _shared(other, one)
    known = [share for share in (there, back) if share is not None]
    return sum(known) / len(known) if known else 1.0


def _shared(one: np.ndarray, other: np.ndarray) -> float | None:
    """Return which share of the patches of ``one`` that show something is found anywhere in ``other``.

    None if hardly any shows something.
    """
    places = range(0, one.shape[0] - _PATCH + 1, _APART)
    patches = (one[y : y + _PATCH, x : x + _PATCH] for y, x in itertools.product(places, places))
    bare = max(_FAINT, _PLAIN * float(one.std()))
    telling = [patch for patch in patches if patch.std() > bare]
    if len(telling) < _LEAST:
        return None
    found = [cv2.matchTemplate(other, patch, cv2.TM_CCOEFF_NORMED).max() > _FOUND for patch in telling]
    return sum(found) / len(found)
