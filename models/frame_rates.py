# SPDX-License-Identifier: GPL-3.0-or-later
"""Frame rates, the exact fractions that decimals, pairs and times of frames stand for, and times in words."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any


def rational_rate(rate: float) -> Fraction:
    """Return the exact rate that a decimal one stands for: 29.97 is 30000/1001, 25.0 is 25."""
    for base in (Fraction(1), Fraction(1000, 1001)):
        nominal = round(rate / base)
        if nominal and abs(nominal * base / Fraction(rate) - 1) < 2e-5:
            return nominal * base
    return Fraction(rate).limit_denominator(1001)


def parse_rate(value: Any) -> Fraction:
    """Return the rate that is written as a number, as ``"30000/1001"``, or as numerator and denominator.

    Decimals stand for exact rates as in :func:`rational_rate`, also in a pair: (29.97, 1.0) is 30000/1001.
    Raises ValueError for what is no rate of more than 0.
    """
    if isinstance(value, (bytes, str)):
        text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
        parts: list[Any] = list(text.strip().replace(",", ".").split("/"))
    elif isinstance(value, Fraction):
        parts = [value.numerator, value.denominator]
    else:
        parts = list(value) if isinstance(value, Iterable) else [value]
    if len(parts) not in (1, 2) or any(isinstance(part, bool) for part in parts):
        raise ValueError("a rate is one number, or numerator and denominator")
    try:
        numbers = [float(part) for part in parts]
    except (TypeError, OverflowError) as error:
        raise ValueError("a rate is made of numbers") from error
    if not all(0 < number < 1e12 for number in numbers):
        raise ValueError("a rate is more than 0")
    numerator, denominator = numbers[0], (numbers[1:] or [1.0])[0]
    if numerator.is_integer() and denominator.is_integer():
        return Fraction(int(numerator), int(denominator))
    return rational_rate(numerator / denominator)


_USUAL = (24, 25, 30, 48, 50, 60, 72, 75, 90, 100, 120, 144, 150, 180, 200, 240, 250, 300, 480, 500, 1000)


def rate_of_frame_time(text: str) -> Fraction:
    """Return the rate whose frames take the seconds that ``text`` gives, rounded as it is.

    0.0333333 is 30, 0.033367 is 30000/1001, 0.0083 is 120: the nearest usual rate that rounds to that text,
    where one does. Raises ValueError for what is no time.
    """
    seconds = float(text)
    if not 1e-6 < seconds < 1e6:
        raise ValueError("a frame takes some time")
    mantissa, _, exponent = text.lower().partition("e")
    rounding = 0.501 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    for base in (Fraction(1), Fraction(1000, 1001)):
        off, rate = min((abs(1 / float(rate * base) - seconds), rate * base) for rate in _USUAL)
        if off < rounding < seconds / 4:
            return rate
    return rational_rate(1 / seconds)


def clock(seconds: float) -> str:
    """Return a time in minutes, seconds and tenths, such as ``0:04.2``."""
    minutes, tenths = divmod(round(seconds * 10), 600)
    return f"{minutes}:{tenths / 10:04.1f}"
