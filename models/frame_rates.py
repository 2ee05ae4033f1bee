# SPDX-License-Identifier: GPL-3.0-or-later
"""Frame rates: the exact fraction that a decimal one stands for."""

from __future__ import annotations

from fractions import Fraction


def rational_rate(rate: float) -> Fraction:
    """Return the exact rate that a decimal one stands for: 29.97 is 30000/1001, 25.0 is 25."""
    for base in (Fraction(1), Fraction(1000, 1001)):
        nominal = round(rate / base)
        if nominal and abs(nominal * base / Fraction(rate) - 1) < 2e-5:
            return nominal * base
    return Fraction(rate).limit_denominator(1001)
