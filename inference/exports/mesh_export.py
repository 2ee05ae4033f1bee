# SPDX-License-Identifier: GPL-3.0-or-later
"""One frame's mesh as a file of its own, for other programs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from trimesh import Trimesh
from trimesh.exchange.gltf import export_glb
from trimesh.exchange.obj import export_obj
from trimesh.exchange.ply import export_ply
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from ...models.body import BodyModel
from .uv_corners import split_at_seams

_TURN = np.array([1, -1, -1], np.float32)  # from camera space to y up, the person facing +z


def export_mesh(path: Path, vertices: np.ndarray, body: BodyModel) -> None:
    """Write one frame's mesh as GLB, OBJ or PLY (by ``path``'s ending), with UVs and smooth normals.

    ``vertices`` is ``(V, 3)`` in camera space, metres; the file is y up, the person facing +z, as glTF has
    it.
    """
    chosen, chosen_uv, faces = split_at_seams(body)
    # Normals are the body's own, so that no seam shows where UVs split a vertex. They and a material that has
    # no picture are given, since trimesh would have SciPy and Pillow make them.
    points, normals = (np.stack([vertices, body.normals(vertices)]) * _TURN)[:, chosen]
    mesh = Trimesh(
        points,
        faces,
        vertex_normals=normals,
        visual=TextureVisuals(uv=body.uv[chosen_uv], material=PBRMaterial()),
        process=False,
    )
    path.write_bytes(_EXPORTS[path.suffix](mesh))


def _glb(mesh: Trimesh) -> bytes:
    return export_glb(mesh.scene(), include_normals=True)


def _obj(mesh: Trimesh) -> bytes:
    text = export_obj(mesh, include_normals=True)
    return re.sub(r"(?m)^(mtllib|usemtl) .*\n", "", text).encode()  # the material's file is not written


def _ply(mesh: Trimesh) -> bytes:
    return export_ply(mesh, vertex_normal=True)


_EXPORTS = {".glb": _glb, ".obj": _obj, ".ply": _ply}
