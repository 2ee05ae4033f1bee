# SPDX-License-Identifier: GPL-3.0-or-later
"""Decimal frame rates stand for exact ones."""

from fractions import Fraction

import pytest
from sparse2dense.models.frame_rates import rational_rate


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
