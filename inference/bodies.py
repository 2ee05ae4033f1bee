# SPDX-License-Identifier: GPL-3.0-or-later
"""Opening the body model that a file or a user names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..models.body import BodyModel, load_body
from .errors import InputError
from .writers import to_blender


def open_body(name: str, path: str | Path | None = None) -> BodyModel:
    """Load a body model as :func:`~..models.body.load_body` does; InputError ``body`` where it cannot be."""
    try:
        return load_body(name, path)
    except ValueError as error:
        raise InputError("body", str(error)) from error


def rest_for_blender(body: BodyModel, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rest vertices ``(V, 3)`` and joints ``(B, 3)``, float32, as Blender is given them.

    Blender's axes: the soles at z = 0, facing -y, the middle of the body's extent at x = y = 0.
    """
    vertices, joints = (to_blender(points) for points in body.rest(shape))
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    origin = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]], np.float32)
    return vertices - origin, joints - origin
