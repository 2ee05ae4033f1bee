# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera of a video: from a field of view, from what the phone wrote into the file, or assumed."""

from __future__ import annotations

import numpy as np

from ...models.camera import Camera
from ...models.errors import InputError
from ..film.reader import VideoReader

DEFAULT_FOV = 60.0
"""Degrees across the picture's longer side when nothing else is known: a phone's main camera, filming."""

_FOCAL_KEY = "com.apple.quicktime.camera.focal_length.35mm_equivalent"
_FILM_DIAGONAL = float(np.hypot(36, 24))


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
    elif (film := film_focal_length(reader.metadata)) is not None:
        focal = film / _FILM_DIAGONAL * float(np.hypot(reader.source_width, reader.source_height))
    else:
        focal = _focal(DEFAULT_FOV, max(reader.source_width, reader.source_height))
    return Camera(
        fx=focal * width / reader.source_width,
        fy=focal * height / reader.source_height,
        cx=width / 2,
        cy=height / 2,
    )


def film_focal_length(metadata: dict[str, str]) -> float | None:
    """Return the 35 mm equivalent focal length in millimetres that a phone wrote into a film, or None."""
    try:
        value = float(metadata.get(_FOCAL_KEY, ""))
    except ValueError:
        return None
    return value if 5 <= value <= 500 else None


def film_fov(reader: VideoReader) -> float | None:
    """Return the angle across the picture's longer side, in degrees, that a phone's focal length tells."""
    film = film_focal_length(reader.metadata)
    if film is None:
        return None
    width, height = reader.source_width, reader.source_height
    side = max(width, height) / float(np.hypot(width, height)) * _FILM_DIAGONAL
    return float(np.degrees(2 * np.arctan(side / 2 / film)))


def _focal(fov: float, side: int) -> float:
    return side / 2 / float(np.tan(np.radians(fov) / 2))
