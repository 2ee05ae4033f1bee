# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bake made or what went wrong, and how people are told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..translating import say

MANY_SHAPE_KEYS = 300
"""Beyond so many, relative shape keys play slowly."""


@dataclass(frozen=True)
class Baked:
    """What a bake made of ``frames`` frames: vertices' ``mean`` and ``worst`` distance from the clip's in
    metres, and how many ``keys`` there are (None in a file, which has every frame), or the ``file``."""

    frames: int
    mean: float
    worst: float
    keys: int | None = None
    file: Path | None = None

    def describe(self, kind: str) -> str:
        """Return it in words, parted by commas; ``kind`` is what the user calls the kind of bake."""
        parts = [say("{kind}: {frames} frames", kind=kind, frames=self.frames)]
        if self.keys is not None:
            parts.append(say("{count} keys", count=self.keys))
        parts.append(say("{mean:.2f} mm off on average", mean=self.mean * 1000))
        parts.append(say("{worst:.2f} mm at most", worst=self.worst * 1000))
        if self.file:
            size = self.file.stat().st_size / 1e6
            parts.append(say("{size:,.1f} MB in {path}", size=size, path=self.file))
        return ", ".join(parts)


def told(error: Exception, cure: str) -> str:
    """Return one line for people: what went wrong, where, and what to do: ``cure`` where it is a file."""
    if not isinstance(error, OSError):
        return str(error)
    return f"{error.filename}: {error.strerror}. {cure}" if error.strerror else f"{error}. {cure}"
