# SPDX-License-Identifier: GPL-3.0-or-later
"""Opening the body model that a file or a user names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..models.body import BodyModel, load_body
from .errors import InputError
from .writers import to_blender

_BODY_FILES = (".npz", ".pkl")
_USUAL_NAMES = {
    "smpl": ("SMPL_NEUTRAL.*", "basic[mM]odel_neutral_*.*", "SMPL_*.*", "basic[mM]odel_*.*"),
    "smplh": ("SMPLH_NEUTRAL.*", "neutral/model.npz", "SMPLH_*.*"),
    "smplx": ("SMPLX_NEUTRAL*.*", "SMPLX_*.*"),
}
"""Patterns of the names that the files are published by, the neutral body first."""


def open_body(name: str, path: str | Path | None = None) -> BodyModel:
    """Load a body model as :func:`~..models.body.load_body` does; InputError ``body`` where it cannot be.

    ``path`` may also be a folder of SMPL-family files under the names they are published by, of which the
    neutral one is taken; the packaged body needs none of them.
    """
    try:
        return load_body(name, _file_in(Path(path), name) if path and Path(path).is_dir() else path)
    except ValueError as error:
        raise InputError("body", str(error)) from error


def _file_in(folder: Path, name: str) -> Path | None:
    if name == "anny":
        return None
    found = (path for pattern in _USUAL_NAMES.get(name, ()) for path in sorted(folder.rglob(pattern)))
    file = next((path for path in found if path.suffix in _BODY_FILES), None)
    if file is None:
        raise ValueError(
            f"No file of the body model '{name}' is in {folder}: "
            f"put it there under the name it comes with, such as {name.upper()}_NEUTRAL.npz."
        )
    return file


def rest_for_blender(body: BodyModel, shape: np.ndarray) -> np.ndarray:
    """Return rest vertices ``(V, 3)`` float32 as Blender is given them: its axes, facing -y, on the floor."""
    vertices = to_blender(body.rest(shape)[0])
    return vertices - floor_origin(vertices)


def floor_origin(vertices: np.ndarray) -> np.ndarray:
    """Return the point ``(3,)`` below the middle of the extent of ``(V, 3)`` vertices, at the soles' height.

    In Blender's axes; it is what a body at rest has for its origin.
    """
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    return np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]], vertices.dtype)
