# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that decoding leaves: PC2 point caches, ``mesh.npz``, single meshes, pictures, JSON.

Every file is written in a staging folder beside its final place and renamed when it is whole.
Long arrays are streamed, so that no writer's memory grows with the clip's length.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...models.body import BodyModel

MESH_FORMATS = ("glb", "obj", "ply")


# ---- mesh.npz --------------------------------------------------------------------------------


def write_npz(
    path: Path, arrays: dict[str, np.ndarray], streams: dict[str, tuple[tuple, Iterable[np.ndarray]]]
) -> None:
    """Write an ``.npz`` file: whole ``arrays``, and float32 ``streams`` of ``(shape, batches)``."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
        for name, (shape, batches) in streams.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                for batch in batches:
                    file.write(batch.astype("<f4").tobytes())


# ---- one mesh --------------------------------------------------------------------------------


def write_mesh(path: Path, vertices: np.ndarray, body: BodyModel) -> None:
    """Write one frame's mesh as GLB, OBJ or PLY (by ``path``'s ending), with UVs and smooth normals.

    ``vertices`` is ``(V, 3)`` in camera space; the file is y up, the person facing +z, as glTF has it.
    """
    import trimesh

    points = vertices * np.array([1, -1, -1], np.float32)
    corners = np.stack([body.faces.ravel(), body.faces_uv.ravel()], axis=1)
    pairs, faces = np.unique(corners, axis=0, return_inverse=True)
    # Normals are of the welded mesh, so that no seam shows where UVs split a vertex.
    normals = trimesh.Trimesh(points, body.faces, process=False).vertex_normals
    mesh = trimesh.Trimesh(
        points[pairs[:, 0]],
        faces.reshape(-1, 3),
        vertex_normals=normals[pairs[:, 0]],
        visual=trimesh.visual.TextureVisuals(uv=body.uv[pairs[:, 1]]),
        process=False,
    )
    options: dict[str, Any] = {"vertex_normal": True} if path.suffix == ".ply" else {"include_normals": True}
    data = mesh.export(file_type=path.suffix[1:], **options)
    if isinstance(data, str):  # an OBJ, which names a material file that is not written
        data = re.sub(r"(?m)^(mtllib|usemtl) .*\n", "", data).encode()
    path.write_bytes(data)


# ---- pictures and JSON -----------------------------------------------------------------------


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write an ``(H, W, 3)`` uint8 RGB picture in the format of ``path``'s ending."""
    path.write_bytes(cv2.imencode(path.suffix, np.ascontiguousarray(picture[..., ::-1]))[1].tobytes())


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object, indented, in UTF-8."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
