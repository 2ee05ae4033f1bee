# SPDX-License-Identifier: GPL-3.0-or-later
"""A film's pace: its rate out of its time stamps, and the time of each picture since the first."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from ...models.frame_rates import rational_rate

MAX_RATE = 1000
"""Largest frame rate of a clip, in frames a second."""
DEFAULT_RATE = Fraction(30)
"""The rate of a clip whose film has none, or one picture in more than a second."""

_AWRY = 0.1  # intervals within so much of each other, either way, are one interval that jitters
_JITTER = 0.005  # a rate within so much of a nominal one, of a film that jitters, is that
_REPAIRED = 0.5  # seconds backwards from which time stamps begin anew, and are not only out of order
_LEAP = 2.0  # seconds without a picture that a stream for broadcasting has only where it was joined
_NOMINAL = [*map(Fraction, range(1, 1001)), *(Fraction(1000 * n, 1001) for n in (24, 30, 48, 60, 120, 240))]


def clip_rate(source: Fraction | None) -> Fraction:
    """Return the rate of a clip of a film: its own, or the largest whole part of it that a clip can have."""
    if source is None or source < 1:
        return DEFAULT_RATE
    return source / -(-source // MAX_RATE)


def intervals(stamps: Sequence[int], tick: Fraction) -> np.ndarray:
    """Return the times between pictures ``(N,)`` int64, in ticks, of stamps in stored order.

    That is nearly the order of time: where it leaps by seconds another take begins, and no interval is
    counted.
    """
    times = np.asarray(stamps, np.int64)
    take = np.cumsum(np.abs(np.diff(times, prepend=times[:1])) > _LEAP / tick)
    order = np.lexsort((times, take))
    between = np.diff(times[order])[np.diff(take[order]) == 0]
    return between[between > 0]


def commonest_rate(stamps: Sequence[int], tick: Fraction, told: Fraction | None) -> Fraction | None:
    """Return the rate of the commonest interval between pictures; None where there is no interval.

    ``stamps`` are the pictures' times in the order in which they are stored, in ``tick`` seconds; ``told`` is
    the mean rate that the container tells, which counts where it tells no other rate, only more exactly. A
    mean of all intervals would be wrong where pictures are missing, and the container's ticks are often too
    coarse for the rate: milliseconds tell 29.97 as 33, 33, 34.
    """
    between = np.sort(intervals(stamps, tick)).astype(np.float64)
    if not len(between):
        return None if told is None else rational_rate(float(told))
    until = np.searchsorted(between, np.maximum(between * (1 + 2 * _AWRY), between + 1), "right")
    first = int(np.argmax(until - np.arange(len(between))))
    common = between[first : until[first]]
    rate = 1 / (Fraction(float(common.mean())).limit_denominator(1 << 20) * tick)
    rounding = 0 if common[0] == common[-1] else 1 / len(common) / common.mean()
    even = common[-1] - common[0] <= 1 and len(common) == len(between)
    if even and told is not None and abs(told / rate - 1) <= rounding + 1e-6:
        return rational_rate(float(told))
    if even and not rounding:
        return rational_rate(float(rate))
    nominal = min(_NOMINAL, key=lambda near: abs(near / rate - 1))
    return nominal if abs(nominal / rate - 1) <= max(_JITTER, rounding) else rational_rate(float(rate))


class Clock:
    """Turns time stamps into seconds since the first picture, which only go forward.

    Attributes: ``leaps``, a ``(seconds, length)`` for each place where the stamps begin anew or, ``joined``
    being True, leap ahead as only a stream of several takes does: time goes on there at once.
    """

    def __init__(self, step: float, joined: bool, first: float | None) -> None:
        """``step`` is the time between pictures without usable stamps, ``first`` the first stamp; seconds."""
        self.leaps: list[tuple[float, float]] = []
        self._step, self._joined, self._first = step, joined, first
        self._time: float | None = None
        self._stamp: float | None = None

    def time(self, stamp: float | None) -> float | None:
        """Return the time of the next picture, which is stamped with so many seconds, or not at all.

        None is a picture that comes too late, after one that is stamped later, as decoders let them out where
        a film is damaged.
        """
        expected = 0.0 if self._time is None else self._time + self._step
        if stamp is None:
            self._time = expected
            return expected
        if self._first is None:
            self._first = stamp
        back = 0.0 if self._stamp is None else self._stamp - stamp
        if 0 < back < _REPAIRED:
            return None
        self._stamp = stamp
        ahead = stamp - self._first - expected
        if back > 0 or (self._joined and self._time is not None and ahead > _LEAP):
            self.leaps.append((expected, ahead))
            self._first += ahead
        time = stamp - self._first
        self._time = time if self._time is None or time > self._time else expected
        return self._time
