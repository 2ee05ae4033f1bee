# SPDX-License-Identifier: GPL-3.0-or-later
"""A group's bytes: plain numbers, then small residuals, range coded over ``constriction``.

The frequencies are integers that encoder and decoder pick from what was coded before, a row a residual;
a residual beyond the rows is escaped and stands among the plain numbers.
"""

from __future__ import annotations

import constriction
import numpy as np

from ...models.errors import InputError
from ...models.keypoint_motion import LARGEST_RESIDUAL, load_tables
from .fields import ByteReader, pack_varint

_ESCAPE = 2 * LARGEST_RESIDUAL + 1
_LARGEST_NUMBER = 1 << 26
_MODEL = constriction.stream.model.Categorical(perfect=False)


def pack_group(numbers: list[int], residuals: np.ndarray, rows: np.ndarray) -> bytes:
    """Code ``numbers`` as they are and ``residuals`` ``(N,)`` with the frequencies of ``rows`` ``(N,)``."""
    large = np.abs(residuals) > LARGEST_RESIDUAL
    symbols = np.where(large, _ESCAPE, residuals + LARGEST_RESIDUAL).astype(np.int32)
    coder = constriction.stream.queue.RangeEncoder()
    coder.encode(symbols, _MODEL, load_tables().frequencies[rows].astype(np.float64))
    escaped = residuals[large].tolist()
    return (
        pack_varint(len(escaped))
        + b"".join(pack_varint(2 * n if n >= 0 else -2 * n - 1) for n in [*numbers, *escaped])
        + coder.get_compressed().astype("<u4").tobytes()
    )


class GroupReader:
    """Reads what :func:`pack_group` made. Raises InputError if the bytes are not such a group."""

    def __init__(self, data: bytes, count: int, what: str) -> None:
        """Read the ``count`` plain numbers; ``what`` the group holds is named in errors."""
        self._damaged = InputError("damaged", f"the {what} are damaged.")
        reader = ByteReader(data)
        escapes = reader.varint()
        numbers = [n >> 1 ^ -(n & 1) for n in (reader.varint() for _ in range(count + escapes))]
        words = reader.rest()
        if len(words) % 4 or max(map(abs, numbers)) > _LARGEST_NUMBER:
            raise self._damaged
        self.numbers = numbers[:count]
        self._escaped = iter(numbers[count:])
        self._coder = constriction.stream.queue.RangeDecoder(np.frombuffer(words, "<u4").astype(np.uint32))
        self._frequencies = load_tables().frequencies.astype(np.float64)

    def residuals(self, rows: np.ndarray) -> np.ndarray:
        """Return the next residuals, int64, one for each of ``rows`` ``(N,)``."""
        try:
            symbols = self._coder.decode(_MODEL, self._frequencies[rows])
        except (AssertionError, ValueError):
            raise self._damaged from None
        residuals = symbols.astype(np.int64) - LARGEST_RESIDUAL
        for i in np.flatnonzero(symbols == _ESCAPE):
            escaped = next(self._escaped, None)
            if escaped is None:
                raise self._damaged
            residuals[i] = escaped
        return residuals
