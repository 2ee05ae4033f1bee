# SPDX-License-Identifier: GPL-3.0-or-later
"""Point caches in Blender's axes: where camera space ends, and the one place that knows PC2 files.

A PC2 file is little-endian: ``POINTCACHE2\\0``, int32 version 1, int32 vertices, float32 start 0, float32
sampling 1, int32 frames; then frames × vertices × 3 float32. Only NumPy is needed: Blender's side reads them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ...models.shaped_body import ShapedBody

_HEADER = struct.Struct("<12siiffi")
_MAGIC, _VERSION = b"POINTCACHE2\0", 1


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


def write_pc2(path: Path, frames: int, vertices: int, batches: Iterable[np.ndarray]) -> np.ndarray:
    """Write ``batches`` ``(N, vertices, 3)`` in camera space, ``frames`` of them together, as a PC2 file.

    Returns the lowest and the highest coordinates ``(2, 3)`` float32 of all of them, in the file's axes.
    ValueError for batches of another shape, or of too many or too few frames.
    """
    lowest, highest = np.full(3, np.inf, np.float32), np.full(3, -np.inf, np.float32)
    left = frames
    with path.open("wb") as file:
        file.write(_HEADER.pack(_MAGIC, _VERSION, vertices, 0.0, 1.0, frames))
        for batch in batches:
            if batch.shape[1:] != (vertices, 3) or len(batch) > left:
                raise ValueError(
                    f"{path.name}: at most {left} frames of {(vertices, 3)} expected, not {batch.shape}"
                )
            points = to_blender(batch)
            # One axis after the other: numpy takes fifteen times as long over both at once.
            lowest = np.minimum(lowest, points.min(axis=0).min(axis=0))
            highest = np.maximum(highest, points.max(axis=0).max(axis=0))
            file.write(points.astype("<f4").tobytes())
            left -= len(batch)
    if left:
        raise ValueError(f"{path.name}: {left} frames were never written")
    return np.stack([lowest, highest])


def open_pc2(path: Path) -> np.ndarray:
    """Map a PC2 file into memory: ``(T, V, 3)`` float32 in Blender's axes, read-only.

    OSError where it cannot be read, is no such file, or is shorter than its header says.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
        size = path.stat().st_size
    if len(header) < _HEADER.size or not header.startswith(_MAGIC):
        raise OSError(f"{path} is no PC2 point cache")
    _, version, vertices, _, _, frames = _HEADER.unpack(header)
    if version != _VERSION or vertices < 1 or frames < 1:
        raise OSError(f"{path} is damaged: its header holds {frames} frames of {vertices} vertices")
    if size < _HEADER.size + 12 * frames * vertices:
        raise OSError(f"{path} is damaged: it is too short for {frames} frames of {vertices} vertices")
    return np.memmap(path, "<f4", "r", offset=_HEADER.size, shape=(frames, vertices, 3))


def read_pc2(path: Path, start: int, stop: int) -> np.ndarray:
    """Read frames ``start`` to ``stop`` of a PC2 file: ``(N, V, 3)`` float32 in camera space.

    OSError as of :func:`open_pc2`, ValueError for frames that it does not have.
    """
    points = open_pc2(path)
    if not 0 <= start <= stop <= len(points):
        raise ValueError(f"{path.name} has {len(points)} frames, not {start} to {stop}")
    return from_blender(points[start:stop])
