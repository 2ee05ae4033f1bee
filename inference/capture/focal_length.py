# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera of a video: from a field of view, from what the phone wrote into the file, or assumed."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ...models.camera import Camera
from ...models.errors import InputError
from ..film.reader import VideoReader

DEFAULT_FOV = 60.0
"""Degrees across the picture's longer side when nothing else is known: a phone's main camera, filming."""

_FOCAL_KEY = b"com.apple.quicktime.camera.focal_length.35mm_equivalent"
_FILM_DIAGONAL = float(np.hypot(36, 24))
_MOST_META = 1 << 20


def camera_of(reader: VideoReader, fov: float | None) -> Camera:
    """Return the pinhole camera of a video's canvas.

    ``fov`` is the angle in degrees across the picture's longer side (as Blender's cameras have it). Without
    it the focal length that a phone wrote into a QuickTime file counts, and without that
    :data:`DEFAULT_FOV`. The principal point is the canvas's middle.
    """
    width, height = reader.width, reader.height
    if fov is not None:
        if not 5 <= fov <= 150:
            raise InputError("bad_fov", f"The field of view {fov:g} is outside 5 to 150 degrees.")
        focal = _focal(fov, max(reader.source_width, reader.source_height))
    elif (film := film_focal_length(reader.path)) is not None:
        focal = film / _FILM_DIAGONAL * float(np.hypot(reader.source_width, reader.source_height))
    else:
        focal = _focal(DEFAULT_FOV, max(reader.source_width, reader.source_height))
    return Camera(
        fx=focal * width / reader.source_width,
        fy=focal * height / reader.source_height,
        cx=width / 2,
        cy=height / 2,
    )


def film_focal_length(path: Path) -> float | None:
    """Return the 35 mm equivalent focal length in millimetres that a QuickTime file names, or None."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        for kind, start, stop in _boxes(file, 0, end):
            if kind == b"moov":
                for inner, begin, finish in _boxes(file, start, stop):
                    if inner == b"meta" and finish - begin <= _MOST_META:
                        file.seek(begin)
                        return _focal_in(file.read(finish - begin))
    return None


def _focal(fov: float, side: int) -> float:
    return side / 2 / float(np.tan(np.radians(fov) / 2))


def _boxes(file: BinaryIO, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield ``(kind, start, stop)`` of the contents of each ISO media box between two offsets."""
    while start + 8 <= stop:
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        header = 8
        if size == 1:
            wide = file.read(8)
            size, header = (struct.unpack(">Q", wide)[0] if len(wide) == 8 else 0), 16
        elif size == 0:
            size = stop - start
        if size < header or start + size > stop:
            return
        yield kind, start + header, start + size
        start += size


def _focal_in(meta: bytes) -> float | None:
    """Find the focal length in a ``meta`` box: ``keys`` names the entries that ``ilst`` holds by number."""
    keys, items = meta.find(b"keys"), meta.find(b"ilst")
    at = meta.find(_FOCAL_KEY)
    if min(keys, items, at) < 0:
        return None
    number, offset = 1, keys + 12
    while offset + 8 < at:
        size = int.from_bytes(meta[offset : offset + 4], "big")
        if size < 8:
            return None
        offset, number = offset + size, number + 1
    entry = items + 4
    while entry + 24 <= len(meta):
        size, index = struct.unpack(">II", meta[entry : entry + 8])
        if size < 24:
            return None
        if index == number and meta[entry + 12 : entry + 16] == b"data":
            value = _number(
                int.from_bytes(meta[entry + 16 : entry + 20], "big"), meta[entry + 24 : entry + size]
            )
            return value if value is not None and 5 <= value <= 500 else None
        entry += size
    return None


def _number(kind: int, data: bytes) -> float | None:
    """Read a value by its QuickTime type: 1 text, 21 and 22 whole numbers, 23 and 24 floats."""
    try:
        if kind == 1:
            return float(data.decode())
        if kind in (21, 22):
            return float(int.from_bytes(data, "big", signed=kind == 21))
        if kind in (23, 24):
            return float(struct.unpack(">f" if kind == 23 else ">d", data)[0])
    except (ValueError, struct.error):
        pass
    return None
