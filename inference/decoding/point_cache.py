# SPDX-License-Identifier: GPL-3.0-or-later
"""Point caches in Blender's axes: where camera space ends, and the one place that writes PC2 files."""

from __future__ import annotations

import struct
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from ...models.shaped_body import ShapedBody

_PC2_HEADER = struct.Struct("<12siiffi")


def to_blender(points: np.ndarray) -> np.ndarray:
    """Turn ``(..., 3)`` camera space (y down, z forward) into Blender's axes (z up, y away)."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


def from_blender(points: np.ndarray) -> np.ndarray:
    """Undo :func:`to_blender`, exactly."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


def rest_for_blender(body: ShapedBody) -> np.ndarray:
    """Return rest vertices ``(V, 3)`` float32 as Blender is given them: its axes, facing -y, on the floor."""
    vertices = to_blender(body.vertices)
    return vertices - floor_origin(vertices)


def floor_origin(vertices: np.ndarray) -> np.ndarray:
    """Return the point ``(3,)`` below the middle of the extent of ``(V, 3)`` vertices, at the soles' height.

    In Blender's axes; it is what a body at rest has for its origin.
    """
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    return np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]], vertices.dtype)


class PC2Writer:
    """A PC2 point cache in Blender's axes, written batch by batch.

    Little-endian: ``POINTCACHE2\\0``, int32 version 1, int32 vertices, float32 start 0, float32
    sampling 1, int32 frames; then frames × vertices × 3 float32. ``bounds`` ``(2, 3)`` are the lowest and
    highest coordinates written so far, in the file's axes.
    """

    def __init__(self, path: Path, vertices: int, frames: int) -> None:
        self._shape = (vertices, 3)
        self._left = frames
        self._path = path
        self.bounds = np.array(
            [[np.inf] * 3, [-np.inf] * 3], np.float32
        )  # lowest, highest, in the file's axes
        self._file = path.open("wb")
        self._file.write(_PC2_HEADER.pack(b"POINTCACHE2\0", 1, vertices, 0.0, 1.0, frames))

    def write(self, vertices: np.ndarray) -> None:
        """Append ``(N, V, 3)`` float32 vertices in camera space."""
        if vertices.shape[1:] != self._shape or len(vertices) > self._left:
            raise ValueError(f"expected at most {self._left} frames of {self._shape}, got {vertices.shape}")
        points = to_blender(vertices)
        # One axis after the other: numpy takes fifteen times as long over both at once.
        self.bounds[0] = np.minimum(self.bounds[0], points.min(axis=0).min(axis=0))
        self.bounds[1] = np.maximum(self.bounds[1], points.max(axis=0).max(axis=0))
        self._file.write(points.astype("<f4").tobytes())
        self._left -= len(vertices)

    def __enter__(self) -> Self:
        """Start writing."""
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file; ValueError where frames are missing."""
        self._file.close()
        if error is None and self._left:
            raise ValueError(f"{self._path.name}: {self._left} frames were never written")


def read_pc2(path: Path, start: int, stop: int) -> np.ndarray:
    """Read frames ``start`` to ``stop`` of a PC2 file as ``(N, V, 3)`` float32 in camera space."""
    with path.open("rb") as file:
        vertices = _PC2_HEADER.unpack(file.read(_PC2_HEADER.size))[2]
        file.seek(_PC2_HEADER.size + start * vertices * 12)
        data = file.read((stop - start) * vertices * 12)
    return from_blender(np.frombuffer(data, "<f4").reshape(stop - start, vertices, 3))
