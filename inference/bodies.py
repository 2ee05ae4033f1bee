# SPDX-License-Identifier: GPL-3.0-or-later
"""Opening the body model that a file or a user names, and finding the network trained for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..models.body import BodyModel, load_body
from ..models.smpl import model_file, predictor_name
from .errors import InputError
from .writers import to_blender


def open_body(name: str, path: str | Path | None = None) -> BodyModel:
    """Load a body model as :func:`~..models.body.load_body` does; InputError ``body`` where it cannot be."""
    try:
        return load_body(name, path)
    except ValueError as error:
        raise InputError("body", str(error)) from error


def vertex_network(name: str, path: str | Path | None = None) -> str | Path | None:
    """Return the network that predicts the vertices of an opened body, as :func:`.load_network` takes it.

    That of a user's own body lies beside its model file; None where none has been trained for it.
    """
    if name == "anny":
        return "vertex_predictor"
    file = model_file(name, path)
    network = file.with_name(predictor_name(file)).absolute()
    return network if Path(f"{network}.onnx").is_file() else None


def untrained_warning(name: str, path: str | Path | None) -> str:
    """Return what to say of a body that :func:`vertex_network` has no network for."""
    return (
        f"No vertex predictor has been trained for {model_file(name, path)}, so the mesh follows the "
        "keypoints in closed form, less exactly: train one with "
        f"s2d train vertices --body {name} --body-path FILE."
    )


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
