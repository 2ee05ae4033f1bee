# SPDX-License-Identifier: GPL-3.0-or-later
"""Decimal frame rates stand for exact ones."""

from fractions import Fraction

import pytest
from sparse2dense.models.frame_rates import parse_rate, rate_of_frame_time, rational_rate


@pytest.mark.parametrize(
    ("rate", "exact"),
    [
        (29.97, Fraction(30000, 1001)),
        (23.976, Fraction(24000, 1001)),
        (25.0, 25),
        (25.0004, 25),
        (59.94, Fraction(60000, 1001)),
        (12.5, Fraction(25, 2)),
        (1 / 3, Fraction(1, 3)),
    ],
)
def test_decimal_rates_stand_for_exact_ones(rate, exact):
    assert rational_rate(rate) == exact


def test_a_rate_is_exact_only_where_it_is_within_two_in_a_hundred_thousand():
    assert rational_rate(25 * (1 + 1.9e-5)) == 25
    assert rational_rate(25 * (1 + 2.1e-5)) != 25
    assert rational_rate(120 * (1 - 1.9e-5)) == 120
    assert rational_rate(120 * (1 + 2e-4)) != 120
    assert rational_rate(75 * (1 + 1.9e-5)) == 75
    assert rational_rate(24 + 1 / 1002).denominator <= 1001


@pytest.mark.parametrize(
    ("value", "exact"),
    [
        (25, 25),
        (29.97, Fraction(30000, 1001)),
        ("29.97", Fraction(30000, 1001)),
        ("29,97", Fraction(30000, 1001)),
        ("30000/1001", Fraction(30000, 1001)),
        (b"60", 60),
        ((29.97, 1.0), Fraction(30000, 1001)),
        ([30000, 1001], Fraction(30000, 1001)),
        ((2997, 100), Fraction(2997, 100)),
        (Fraction(24000, 1001), Fraction(24000, 1001)),
    ],
)
def test_rates_are_read_in_every_form(value, exact):
    assert parse_rate(value) == exact


@pytest.mark.parametrize(
    "value",
    [0, -25, "fast", "", "30/0", "1/2/3", (30, 1, 1), (), float("nan"), float("inf"), None, True, "1e400"],
)
def test_what_is_no_rate_is_refused(value):
    with pytest.raises(ValueError, match=r"rate|convert"):
        parse_rate(value)


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("0.0333333", 30),
        ("0.03333", 30),
        ("0.033", 30),
        ("0.033367", Fraction(30000, 1001)),
        ("0.0333667", Fraction(30000, 1001)),
        ("0.0083333", 120),
        ("0.0083", 120),
        ("0.0416667", 24),
        ("0.041708", Fraction(24000, 1001)),
        ("0.0166667", 60),
        ("0.016683", Fraction(60000, 1001)),
        ("0.04", 25),
        ("0.02", 50),
        ("8.33333e-03", 120),
        ("1", 1),
        ("0.0123456", Fraction(81)),
    ],
)
def test_the_time_of_a_frame_tells_the_rate_that_it_was_rounded_from(text, exact):
    assert rate_of_frame_time(text) == exact


@pytest.mark.parametrize("text", ["0", "-0.04", "soon", "nan", "inf", "1e-9"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match=r"time|convert"):
        rate_of_frame_time(text)
