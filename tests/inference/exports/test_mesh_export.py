# SPDX-License-Identifier: GPL-3.0-or-later
"""One frame's mesh for other programs, written where only the README's packages are installed."""

import json
import struct
import subprocess
import sys

import numpy as np
import pytest
import trimesh
from sparse2dense.models.body_catalogue import load_body

BODY = load_body()
VERTICES = (BODY.rest(np.zeros(BODY.shape_size))[0] + [0.2, -0.1, 3]).astype(np.float32)
TURN = np.array([1, -1, -1])
FORMATS = ("glb", "obj", "ply")

EXPORT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("PIL", "scipy"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import numpy as np
from pathlib import Path
from sparse2dense.inference.exports.mesh_export import export_mesh
from sparse2dense.models.body_catalogue import load_body

for ending in ("glb", "obj", "ply"):
    export_mesh(Path(sys.argv[1]) / f"frame.{ending}", np.load(sys.argv[2]), load_body())
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The mesh in all formats, written by a Python that has neither Pillow nor SciPy."""
    folder = tmp_path_factory.mktemp("export é")
    np.save(folder / "vertices.npy", VERTICES)
    command = [sys.executable, "-c", EXPORT, folder, folder / "vertices.npy"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    return folder


def corners_of_obj(path):
    """Positions, UVs and normals ``(F, 3, ...)`` at the corners of an OBJ's faces."""
    values = {"v": [], "vt": [], "vn": []}
    faces = []
    for line in filter(None, path.read_text().splitlines()):
        kind, *rest = line.split()
        if kind in values:
            values[kind].append([float(number) for number in rest])
        elif kind == "f":
            faces.append([[int(index) - 1 for index in corner.split("/")] for corner in rest])
    faces = np.array(faces)
    return tuple(np.array(values[kind])[faces[..., i]] for i, kind in enumerate(("v", "vt", "vn")))


def corners_of_glb(path):
    """The same of a GLB, whose UVs begin at the top."""
    data = path.read_bytes()
    magic, version, length, size, kind = struct.unpack("<4sIII4s", data[:20])
    assert (magic, version, length, kind) == (b"glTF", 2, len(data), b"JSON")
    content = json.loads(data[20 : 20 + size])
    binary = data[28 + size :]

    def accessor(number):
        given = content["accessors"][number]
        view = content["bufferViews"][given["bufferView"]]
        width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}[given["type"]]
        dtype = {5126: "<f4", 5125: "<u4"}[given["componentType"]]
        start = view.get("byteOffset", 0) + given.get("byteOffset", 0)
        return np.frombuffer(binary, dtype, given["count"] * width, start).reshape(-1, width)

    (mesh,) = content["meshes"]
    (primitive,) = mesh["primitives"]
    assert "images" not in content and "textures" not in content
    faces = accessor(primitive["indices"]).reshape(-1, 3)
    names = ("POSITION", "TEXCOORD_0", "NORMAL")
    places, uv, normals = (accessor(primitive["attributes"][name])[faces] for name in names)
    return places, np.stack([uv[..., 0], 1 - uv[..., 1]], axis=-1), normals


def corners_of_ply(path):
    head, _, data = path.read_bytes().partition(b"end_header\n")
    lines = head.decode().splitlines()
    assert lines[1] == "format binary_little_endian 1.0"
    counts = [int(line.split()[2]) for line in lines if line.startswith("element")]
    kinds = {"float": "<f4", "double": "<f8"}
    fields = [line.split()[1:] for line in lines if line.startswith("property") and "list" not in line]
    vertices = np.frombuffer(data, [(name, kinds[kind]) for kind, name in fields], counts[0])
    rest = data[vertices.nbytes :]
    faces = np.frombuffer(rest, [("count", "u1"), ("corners", "<i4", 3)], counts[1])
    assert len(rest) == faces.nbytes and (faces["count"] == 3).all()
    groups = (("x", "y", "z"), ("s", "t"), ("nx", "ny", "nz"))
    return tuple(np.stack([vertices[name] for name in group], axis=-1)[faces["corners"]] for group in groups)


READERS = {"glb": corners_of_glb, "obj": corners_of_obj, "ply": corners_of_ply}


@pytest.mark.parametrize("ending", FORMATS)
def test_mesh_is_whole_upright_in_metres_with_uvs_and_smooth_normals(exported, ending):
    places, uv, normals = READERS[ending](exported / f"frame.{ending}")
    np.testing.assert_allclose(places, VERTICES[BODY.faces] * TURN, atol=1e-6)
    np.testing.assert_allclose(uv, BODY.uv[BODY.faces_uv], atol=1e-6)
    np.testing.assert_allclose(normals, (BODY.normals(VERTICES) * TURN)[BODY.faces], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-5)
    height = np.ptp(places[..., 1])
    assert 1.5 < height < 1.9 and height > np.ptp(places[..., 0]), "metres, the person tallest along y"


@pytest.mark.parametrize("ending", FORMATS)
def test_normals_point_outwards_and_the_person_faces_ahead(exported, ending):
    places, _, normals = READERS[ending](exported / f"frame.{ending}")
    across = np.cross(places[:, 1] - places[:, 0], places[:, 2] - places[:, 0])
    assert ((normals.mean(axis=1) * across).sum(axis=1) > 0).mean() > 0.99
    nose = BODY.keypoints(VERTICES)[0] * TURN
    assert nose[2] > places[..., 2].mean(), "the person faces +z"


@pytest.mark.parametrize("ending", FORMATS)
def test_other_programs_read_it(exported, ending):
    mesh = trimesh.load(exported / f"frame.{ending}", force="mesh", process=False)
    np.testing.assert_allclose(mesh.vertices[mesh.faces], VERTICES[BODY.faces] * TURN, atol=1e-5)
    np.testing.assert_allclose(mesh.visual.uv[mesh.faces], BODY.uv[BODY.faces_uv], atol=1e-5)


def test_an_obj_names_no_material_file_that_is_not_there(exported):
    text = (exported / "frame.obj").read_text()
    assert "mtllib" not in text and "usemtl" not in text
