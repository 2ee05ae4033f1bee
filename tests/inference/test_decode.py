# SPDX-License-Identifier: GPL-3.0-or-later
"""Decoding gives every file that was asked for, equal whichever way it is read, in flat memory."""

import json
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import trimesh
from sparse2dense.inference.decode import decode, decode_frame
from sparse2dense.inference.decoding import point_cache
from sparse2dense.inference.decoding.edits import Edits
from sparse2dense.inference.decoding.floor import Floor
from sparse2dense.inference.decoding.vertices import VertexDecoder
from sparse2dense.inference.format.container import S2DFile, read_clip, write_clip
from sparse2dense.inference.runtime.backends import load_network
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.shaped_body import ShapedBody

from ..models.made_smpl import model_fields

MESH_FILES = [
    "body.npz",
    "clip.json",
    "keypoints.pc2",
    "mannequin.png",
    "mesh.npz",
    "mesh.pc2",
    "skeleton.npz",
]


@pytest.fixture(scope="session")
def filmed_file(write_filmed, tmp_path_factory):
    return write_filmed(40, tmp_path_factory.mktemp("filmed") / "filmed.s2d")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def video_frames(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1][..., ::-1])
    return frames, capture.get(cv2.CAP_PROP_FPS)


def test_mesh_is_the_predictors_whatever_the_batches(make_motion, tmp_path):
    write_clip(make_motion(70), tmp_path / "clip.s2d")
    decode(tmp_path / "clip.s2d", tmp_path / "out", vertices=True)

    file = S2DFile.open(tmp_path / "clip.s2d")
    keypoints = file.keypoints(0, 70)
    predictor = VertexDecoder(
        ShapedBody(load_body(), file.header.shape), file.header.fps, load_network("vertex_predictor", "cpu")
    )
    expected = predictor.predict(keypoints, 0, 70)
    with np.load(tmp_path / "out" / "mesh.npz", allow_pickle=False) as data:
        np.testing.assert_array_equal(data["keypoints"], keypoints)
        np.testing.assert_allclose(data["vertices"], expected, atol=1e-5)
        np.testing.assert_array_equal(data["faces"], load_body().faces)
        assert data["uv"].shape == (*data["faces"].shape, 2)
        np.testing.assert_array_equal(data["camera"], [[300, 0, 128], [0, 300, 128], [0, 0, 1]])
        assert data["fps"].tolist() == [30, 1]
        assert data["keypoint_names"][0] == "nose"
    np.testing.assert_allclose(
        point_cache.read_pc2(tmp_path / "out" / "mesh.pc2", 0, 70), expected, atol=1e-5
    )


def test_motion_without_pictures_decodes_to_a_mesh_alone(motion_file, tmp_path):
    decode(motion_file, tmp_path / "sortie é")
    assert names(tmp_path / "sortie é") == MESH_FILES


@pytest.mark.parametrize("video_format", ["webm", "mp4"])
def test_filmed_clip_decodes_to_a_video_too(filmed_file, tmp_path, video_format):
    decode(filmed_file, tmp_path, video_format=video_format)
    video = f"video.{video_format}"
    assert names(tmp_path) == sorted([*MESH_FILES, "reference.png", "texture.png", video])

    frames, fps = video_frames(tmp_path / video)
    assert (len(frames), fps) == (40, 30)
    assert frames[0].shape == (96, 64, 3)
    np.testing.assert_allclose(frames[20][:8, :8].mean(axis=(0, 1)), (60, 120, 180), atol=8)
    clip = description(tmp_path)
    assert clip["files"]["video"] == video
    assert (clip["frames"], clip["fps"], clip["width"], clip["height"]) == (40, [30, 1], 64, 96)
    assert clip["camera"] == {"fx": 100, "fy": 100, "cx": 32, "cy": 48}


def test_only_what_was_asked_for_is_made_and_is_the_same(filmed_file, tmp_path):
    for only in ("mesh", "video"):
        decode(filmed_file, tmp_path / only, only=only)
    decode(filmed_file, tmp_path / "both")
    assert names(tmp_path / "mesh") == sorted([*MESH_FILES, "reference.png", "texture.png"])
    assert names(tmp_path / "video") == [
        "body.npz",
        "clip.json",
        "mannequin.png",
        "reference.png",
        "video.webm",
    ]
    alone, both = (video_frames(tmp_path / folder / "video.webm")[0] for folder in ("video", "both"))
    difference = np.abs(np.array(alone, int) - np.array(both, int))
    assert difference.max() <= 2, "one pass or two over the vertices draw the same pictures"


def description(folder):
    return json.loads((folder / "clip.json").read_text(encoding="utf-8"))


def test_parts_appear_one_after_the_other_each_named_once_it_is_there(filmed_file, tmp_path):
    seen = {}
    decode(filmed_file, tmp_path, finished=lambda part: seen.update({part: description(tmp_path)["files"]}))
    assert list(seen) == ["body", "mesh", "skeleton", "video"]
    assert sorted(seen["body"]) == ["body", "mannequin", "reference"]
    assert sorted(set(seen["mesh"]) - set(seen["body"])) == ["keypoints", "mesh", "mesh_data", "texture"]
    assert set(seen["skeleton"]) - set(seen["mesh"]) == {"skeleton"}
    assert set(seen["video"]) - set(seen["skeleton"]) == {"video"}
    assert description(tmp_path)["has_video"]


def test_body_stands_at_rest_on_the_floor_facing_the_viewer(motion_file, tmp_path):
    decode(motion_file, tmp_path, only="mesh")
    with np.load(tmp_path / "body.npz") as data:
        vertices, faces, uv = data["vertices"], data["faces"], data["uv"]
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    np.testing.assert_allclose([low[2], low[0] + high[0], low[1] + high[1]], 0, atol=1e-5)
    assert 1.5 < high[2] < 1.9
    nose, left_ear, right_ear = load_body().keypoints(vertices)[:3]
    assert nose[1] < left_ear[1] - 0.05 and left_ear[0] > right_ear[0] and nose[2] > 1.4
    assert faces.shape == uv.shape[:2] and faces.max() == len(vertices) - 1


def test_floor_lies_below_the_feet_in_camera_space(motion_file, tmp_path):
    decode(motion_file, tmp_path, only="mesh")
    floor = {name: np.array(value) for name, value in description(tmp_path)["floor"].items()}
    assert floor["up"] @ [0, -1, 0] > 0.99 and floor["forward"] @ [0, 0, -1] > 0.99
    heights = (point_cache.read_pc2(tmp_path / "mesh.pc2", 0, 30) - floor["point"]) @ floor["up"]
    np.testing.assert_allclose(heights.min(axis=1), 0, atol=0.02)


def test_bounds_and_keypoints_are_those_of_the_mesh(motion_file, tmp_path):
    decode(motion_file, tmp_path, only="mesh")
    mesh = point_cache.to_blender(point_cache.read_pc2(tmp_path / "mesh.pc2", 0, 30))
    expected = [mesh.min(axis=(0, 1)), mesh.max(axis=(0, 1))]
    np.testing.assert_allclose(description(tmp_path)["bounds"], expected, atol=1e-6)
    keypoints = point_cache.read_pc2(tmp_path / "keypoints.pc2", 0, 30)
    np.testing.assert_allclose(keypoints, S2DFile.open(motion_file).keypoints(0, 30), atol=1e-6)


def test_video_is_drawn_from_the_mesh_that_is_there_unless_it_is_of_another_clip(
    filmed_file, motion_file, tmp_path, monkeypatch
):
    decode(filmed_file, tmp_path / "same", only="mesh")
    decode(motion_file, tmp_path / "other", only="mesh")
    predicted = []
    predict = VertexDecoder.predict
    monkeypatch.setattr(
        VertexDecoder, "predict", lambda *given: predicted.append(given[2:]) or predict(*given)
    )
    decode(filmed_file, tmp_path / "same", only="video")
    assert not predicted, "the mesh was there"
    assert sorted(description(tmp_path / "same")["files"]) == [
        "body", "keypoints", "mannequin", "mesh", "mesh_data", "reference", "skeleton", "texture", "video",
    ]  # fmt: skip
    decode(filmed_file, tmp_path / "other", only="video")
    assert predicted, "the other clip's mesh is of no use"
    assert sorted(description(tmp_path / "other")["files"]) == ["body", "mannequin", "reference", "video"]


@pytest.fixture(scope="module")
def own_bodies(tmp_path_factory):
    """Two model files of a user's own, as of a woman and of a man."""
    pytest.importorskip("smplx")
    folder = tmp_path_factory.mktemp("bodies")
    fields = model_fields()
    np.savez(folder / "SMPL_FEMALE.npz", **fields)
    np.savez(folder / "SMPL_MALE.npz", **(fields | {"v_template": 1.1 * fields["v_template"]}))
    return folder / "SMPL_FEMALE.npz", folder / "SMPL_MALE.npz"


@pytest.fixture
def own_body_decoded(own_bodies, filmed_file, tmp_path):
    """A clip of a user's own body, and the folder with its mesh as of a woman."""
    clip = replace(read_clip(filmed_file), body="smpl", shape=np.zeros(10, np.float32))
    write_clip(clip, tmp_path / "clip.s2d")
    decode(tmp_path / "clip.s2d", tmp_path / "out", only="mesh", body_file=own_bodies[0])
    assert "mesh" in description(tmp_path / "out")["files"]
    return tmp_path / "clip.s2d", tmp_path / "out"


def test_video_is_not_drawn_from_another_body_files_mesh(own_body_decoded, own_bodies):
    clip, folder = own_body_decoded
    decode(clip, folder, only="video", body_file=own_bodies[0])
    assert {"mesh", "video"} <= set(description(folder)["files"])
    decode(clip, folder, only="video", body_file=own_bodies[1])
    assert sorted(description(folder)["files"]) == ["body", "mannequin", "reference", "video"]


def test_video_is_not_drawn_from_the_mesh_of_a_network_that_is_gone(own_body_decoded, own_bodies):
    clip, folder = own_body_decoded
    made = description(folder) | {"weights": {"vertex_predictor": "0123456789ab"}}
    (folder / "clip.json").write_text(json.dumps(made))
    decode(clip, folder, only="video", body_file=own_bodies[0])
    assert sorted(description(folder)["files"]) == ["body", "mannequin", "reference", "video"]


def test_one_frame_is_that_frame_of_the_whole(motion_file, tmp_path):
    decode(motion_file, tmp_path)
    decode_frame(motion_file, tmp_path, 17, "ply")
    mesh = trimesh.load(tmp_path / "frame_000017.ply", force="mesh", process=False)
    expected = point_cache.read_pc2(tmp_path / "mesh.pc2", 17, 18)[0][load_body().faces] * [1, -1, -1]
    np.testing.assert_allclose(mesh.vertices[mesh.faces], expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the resource module is Unix's")
def test_memory_does_not_grow_with_the_clip(write_filmed, tmp_path):
    program = (
        "import resource, sys\n"
        "from sparse2dense.inference.decode import decode\n"
        "decode(sys.argv[1], sys.argv[2], vertices=True)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = []
    for frames in (60, 400):
        clip = write_filmed(frames, tmp_path / f"{frames}.s2d")
        out = subprocess.run(
            [sys.executable, "-c", program, clip, tmp_path / str(frames)],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(out.stdout))
    assert peaks[1] < 1.1 * peaks[0], f"peak memory {peaks} for 60 and 400 frames"


def test_feet_rest_on_the_floor_where_they_are_snapped_to_it(motion_file, tmp_path, monkeypatch):
    rested = []
    rest = Floor.rest
    monkeypatch.setattr(Floor, "rest", lambda *given: rested.append(len(given[1])) or rest(*given))
    decode(motion_file, tmp_path / "plain", only="mesh")
    assert not rested
    decode(motion_file, tmp_path / "snapped", only="mesh", edits=Edits(ground_snap=True))
    assert sum(rested) == 30
    floor = {name: np.array(value) for name, value in description(tmp_path / "snapped")["floor"].items()}
    heights = (point_cache.read_pc2(tmp_path / "snapped" / "mesh.pc2", 0, 30) - floor["point"]) @ floor["up"]
    assert heights.min() > -0.008
