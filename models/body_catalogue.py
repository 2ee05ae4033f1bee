# SPDX-License-Identifier: GPL-3.0-or-later
"""The bodies there are, by the names that a file or a user gives them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .body import CLOTHING_NAME, BodyModel
from .errors import InputError
from .shipped import WEIGHTS
from .smpl import load_smpl


def load_body(name: str = "anny", path: str | Path | None = None) -> BodyModel:
    """Load a body model: ``"anny"`` from the packaged file, or one of the SMPL family from the user's own.

    Args:
        name: ``"anny"``, ``"smpl"``, ``"smplh"`` or ``"smplx"``.
        path: the model file of the SMPL family, or its folder; Anny is packaged and needs none.

    Raises:
        InputError: ``body``, for an unknown name, or an SMPL model without its file.
    """
    if name in ("smpl", "smplh", "smplx"):
        return load_smpl(name, path)
    if name != "anny":
        raise InputError("body", f"The body model '{name}' is not known; use anny, smpl, smplh or smplx.")
    with np.load(WEIGHTS / "anny.npz", allow_pickle=False) as pack:
        data = {key: pack[key] for key in pack.files}
    weights = np.zeros((len(data["vertices_mean"]), len(data["parents"])), np.float32)
    np.put_along_axis(weights, data["weight_bones"].astype(np.int64), data["weight_values"], axis=1)
    return BodyModel(
        name="anny",
        vertices_mean=data["vertices_mean"],
        vertices_basis=data["vertices_basis"].astype(np.float32),
        joints_mean=data["joints_mean"],
        joints_basis=data["joints_basis"],
        weights=weights,
        parents=data["parents"].astype(np.int64),
        bone_names=tuple(str(bone) for bone in data["bone_names"]),
        faces=data["faces"].astype(np.int32),
        uv=data["uv"],
        faces_uv=data["faces_uv"].astype(np.int32),
        keypoint_map=data["keypoint_map"],
        bone_parts=data["bone_parts"].astype(np.int64),
        bone_blend=data["bone_blend"],
        clothing=_load_clothing(),
        traits=dict(zip(data["trait_names"].tolist(), data["traits"].astype(np.float64), strict=True)),
        adults=(data["adults_mean"].astype(np.float64), data["adults_covariance"].astype(np.float64)),
    )


def _load_clothing() -> np.ndarray | None:
    path = WEIGHTS / CLOTHING_NAME
    if not path.is_file():  # it is measured on this body, so the body comes first
        return None
    with np.load(path, allow_pickle=False) as pack:
        return pack["anny"].astype(np.float32)
