# SPDX-License-Identifier: GPL-3.0-or-later
"""The rate out of time stamps, and the clock that they set."""

from fractions import Fraction

import pytest
from sparse2dense.inference.film.pace import Clock, clip_rate, commonest_rate, intervals

MILLI, TICK = Fraction(1, 1000), Fraction(1, 90_000)
NTSC = Fraction(30000, 1001)


def stamped(rate, count, tick, first=0):
    return [first + round(index / Fraction(rate) / tick) for index in range(count)]


@pytest.mark.parametrize(
    ("stamps", "tick", "told", "rate"),
    [
        (stamped(30, 10, MILLI), MILLI, Fraction(30), 30),
        (stamped(NTSC, 10, MILLI), MILLI, NTSC, NTSC),  # the same stamps to the millisecond
        (stamped(30, 10, MILLI), MILLI, Fraction(25), 30),  # what is told does not fit
        (stamped(30, 10, MILLI), MILLI, None, 30),
        (stamped(Fraction(12001, 50), 60, Fraction(1, 12001)), Fraction(1, 12001), None, Fraction(12001, 50)),
        # With pictures missing the mean that a container tells is wrong.
        ([*stamped(30, 20, TICK), *stamped(30, 20, TICK, 90_000)], TICK, Fraction(39, 2), 30),
        ([*stamped(30, 20, MILLI), *stamped(30, 20, MILLI, 1000)], MILLI, Fraction(59, 2), 30),
        ([0, 3060, 6000, 8960, 12_030, 15_010, 17_990, 21_000], TICK, None, 30),  # a phone's clock trembles
        ([0, 5, 9, 14, 18, 23, 27, 32], Fraction(1, 100), None, 22),  # as near as hundredths tell
        ([7], MILLI, Fraction(24), 24),  # a single picture: what is told counts
        ([7], MILLI, None, None),
        ([], MILLI, Fraction(24000, 1001), Fraction(24000, 1001)),
    ],
)
def test_the_rate_of_the_commonest_interval(stamps, tick, told, rate):
    assert commonest_rate(stamps, tick, told) == rate


def test_intervals_are_between_neighbours_in_time_and_not_between_takes():
    assert intervals([0, 3, 1, 2, 4], Fraction(1, 2)).tolist() == [1, 1, 1, 1]  # stored out of order
    assert intervals([0, 1, 2, 10, 11, 5, 6], Fraction(1)).tolist() == [1, 1, 1, 1]
    assert intervals([0, 2, 2, 4], Fraction(1, 10)).tolist() == [2, 2]
    assert intervals([5], Fraction(1)).tolist() == []


@pytest.mark.parametrize(
    ("source", "clip"),
    [(None, 30), (Fraction(1, 2), 30), (1, 1), (NTSC, NTSC), (1000, 1000), (2500, Fraction(2500, 3))],
)
def test_the_rate_of_a_clip_is_one_that_it_can_have(source, clip):
    assert clip_rate(None if source is None else Fraction(source)) == clip


def times(clock, stamps):
    return [None if time is None else round(time, 6) for time in map(clock.time, stamps)]


def test_stamps_count_from_the_first_and_what_has_none_follows_evenly():
    assert times(Clock(0.5, False, None), [7.0, 7.25, 8.0]) == [0, 0.25, 1.0]
    assert times(Clock(0.5, False, None), [None, None, None]) == [0, 0.5, 1.0]
    assert times(Clock(0.5, False, 5.0), [7.0, 7.5]) == [2.0, 2.5]  # read from a later place on
    assert times(Clock(0.25, False, None), [1.0, 1.0, 1.0, 2.0]) == [0, 0.25, 0.5, 1.0]  # one that repeats
    assert times(Clock(0.0, False, 5.0), [4.0, 4.5, 5.5]) == [-1.0, -0.5, 0.5]  # sound before the picture


def test_a_picture_that_comes_too_late_has_no_time():
    assert times(Clock(0.1, False, None), [0.0, 0.3, 0.1, 0.2, 0.4]) == [0, 0.3, None, None, 0.4]


def test_a_leap_back_is_closed_anywhere_and_one_ahead_only_in_a_joined_stream():
    for joined in (False, True):
        clock = Clock(0.1, joined, None)
        assert times(clock, [5.0, 5.1, 0.0, 0.1]) == [0, 0.1, 0.2, 0.3]
        assert [(round(at, 6), round(ahead, 6)) for at, ahead in clock.leaps] == [(0.2, -5.2)]
    clock = Clock(0.1, True, None)
    assert times(clock, [0.0, 0.1, 60.0, 60.1, 62.0]) == [0, 0.1, 0.2, 0.3, 2.2]
    assert len(clock.leaps) == 1
    clock = Clock(0.1, False, None)
    assert times(clock, [0.0, 0.1, 60.0]) == [0, 0.1, 60.0]  # a picture that stands for a minute
    assert clock.leaps == []
