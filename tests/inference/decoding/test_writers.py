# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that decoding leaves can be read by others and appear whole or not at all."""

import struct

import cv2
import numpy as np
import pytest
import trimesh
from sparse2dense.inference.decoding import point_cache, writers
from sparse2dense.models import whole_files
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.errors import InputError, S2DError

POINTS = np.random.default_rng(1).normal(size=(5, 7, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def body():
    return load_body()


def test_pc2_has_the_documented_bytes_in_blender_axes(tmp_path):
    path = tmp_path / "mesh.pc2"
    with point_cache.PC2Writer(path, vertices=7, frames=5) as cache:
        cache.write(POINTS[:2])
        cache.write(POINTS[2:])

    data = path.read_bytes()
    assert struct.unpack("<12siiffi", data[:32]) == (b"POINTCACHE2\0", 1, 7, 0.0, 1.0, 5)
    stored = np.frombuffer(data[32:], "<f4").reshape(5, 7, 3)
    x, y, z = np.moveaxis(POINTS, -1, 0)
    np.testing.assert_array_equal(stored, np.stack([x, z, -y], axis=-1))
    np.testing.assert_array_equal(point_cache.read_pc2(path, 1, 4), POINTS[1:4])


def test_pc2_with_missing_or_surplus_frames_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="3 frames"),
        point_cache.PC2Writer(tmp_path / "few.pc2", 7, 5) as cache,
    ):
        cache.write(POINTS[:2])
    with (
        pytest.raises(ValueError, match="at most"),
        point_cache.PC2Writer(tmp_path / "many.pc2", 7, 2) as cache,
    ):
        cache.write(POINTS)


def test_streamed_npz_equals_what_numpy_would_have_written(tmp_path):
    path = tmp_path / "mesh.npz"
    stream = POINTS.shape, (POINTS[i : i + 2] for i in range(0, 5, 2))
    writers.write_npz(path, {"names": np.array(["a", "ü"])}, {"points": stream})

    with np.load(path, allow_pickle=False) as read:
        assert list(read["names"]) == ["a", "ü"]
        np.testing.assert_array_equal(read["points"], POINTS)


@pytest.mark.parametrize("mesh_format", writers.MESH_FORMATS)
def test_single_mesh_stands_upright_with_its_uvs(tmp_path, body, mesh_format):
    vertices = body.rest(np.zeros(body.shape_size))[0] + np.array([0, 0, 3], np.float32)
    path = tmp_path / f"frame.{mesh_format}"
    writers.write_mesh(path, vertices, body)

    mesh = trimesh.load(path, force="mesh", process=False)
    corners, expected = mesh.vertices[mesh.faces], vertices[body.faces] * [1, -1, -1]
    np.testing.assert_allclose(corners, expected, atol=1e-5)
    np.testing.assert_allclose(mesh.visual.uv[mesh.faces], body.uv[body.faces_uv], atol=1e-5)
    size = np.ptp(mesh.vertices, axis=0)
    assert size.argmax() == 1, "the person is tallest along y"
    assert b"mtllib" not in path.read_bytes(), "an OBJ names no material file that is not there"


def test_reference_picture_keeps_its_colours(tmp_path):
    picture = np.zeros((8, 16, 3), np.uint8)
    picture[:, :8, 0] = 255
    writers.write_picture(tmp_path / "référence 1.png", picture)
    read = cv2.imdecode(np.frombuffer((tmp_path / "référence 1.png").read_bytes(), np.uint8), 1)
    np.testing.assert_array_equal(read[..., ::-1], picture)


def test_failed_work_leaves_neither_files_nor_folders(tmp_path):
    out = tmp_path / "a" / "b"
    with pytest.raises(RuntimeError), whole_files.staging_folder(out) as staging:
        (staging / "mesh.pc2").write_bytes(b"half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_finished_files_replace_older_ones_and_the_staging_folder_goes(tmp_path):
    (tmp_path / "clip.json").write_text("old")
    with whole_files.staging_folder(tmp_path) as staging:
        writers.write_json(staging / "clip.json", {"name": "ü"})
        assert (tmp_path / "clip.json").read_text() == "old"
        whole_files.publish(staging / "clip.json", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.json"]
    assert "ü" in (tmp_path / "clip.json").read_text(encoding="utf-8")


def test_folder_that_cannot_be_made_is_said_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="Cannot write") as caught,
        whole_files.staging_folder(tmp_path / "file" / "x"),
    ):
        pass
    assert caught.value.code == "output_unwritable"


def test_too_small_a_disk_is_found_before_the_work(tmp_path):
    whole_files.check_space(tmp_path / "new" / "folder", 1000)
    with pytest.raises(S2DError, match="MB") as caught:
        whole_files.check_space(tmp_path / "new" / "folder", 10**18)
    assert caught.value.code == "disk_full"
