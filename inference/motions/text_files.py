# SPDX-License-Identifier: GPL-3.0-or-later
"""Text that other programs wrote, on any system and in any country, and the numbers in it."""

from __future__ import annotations

import codecs
import warnings
from pathlib import Path

import numpy as np

from ...models.errors import InputError

_MOST_BYTES = 1 << 29
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def read_text(path: Path, most: int = _MOST_BYTES) -> str:
    """Read a text file of at most ``most`` bytes, with line feeds alone between its lines.

    A byte order mark says the encoding; without one it is UTF-8, and what is none is replaced. Raises
    OSError, and InputError ``not_motion`` for a file that is too large.
    """
    if path.stat().st_size > most:
        raise InputError("not_motion", f"it is larger than {most >> 20} MB: cut it into parts.")
    return decode(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")


def decode(data: bytes) -> str:
    """Return the text of bytes, whose byte order mark says the encoding, UTF-8 where there is none."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    return data.decode("utf-8", "replace")


def parse_numbers(text: str, first_line: int) -> np.ndarray:
    """Parse numbers between white space, with points or commas before their decimals: ``(N,)`` float64.

    Raises InputError ``not_motion`` that names the line, counted from ``first_line``, with what is no number.
    """
    text = text.replace(",", ".")
    try:
        return _numbers(text)
    except (ValueError, DeprecationWarning):
        for number, line in enumerate(text.split("\n"), first_line):
            for word in line.split():
                try:
                    float(word)
                except ValueError:
                    raise InputError("not_motion", f"line {number}: '{word[:30]}' is no number.") from None
        return np.array(text.split(), np.float64)  # float knows some that NumPy's parser does not


def _numbers(text: str) -> np.ndarray:
    if not text.strip():  # for which the parser has a number all the same
        return np.zeros(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return np.fromstring(text, np.float64, sep=" ")
