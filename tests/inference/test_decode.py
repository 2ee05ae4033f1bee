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
from sparse2dense.inference import writers
from sparse2dense.inference.backends import load_network
from sparse2dense.inference.clip import Camera, Reference
from sparse2dense.inference.decode import decode, decode_frame
from sparse2dense.inference.s2d_file import S2DFile, write_clip
from sparse2dense.inference.vertices import VertexPredictor
from sparse2dense.models.body import load_body


@pytest.fixture(scope="session")
def write_filmed(make_motion):
    """Write a motion with a small made-up reference picture: a grey person on coloured ground."""

    def write(frames, path):
        picture = np.full((96, 64, 3), (60, 120, 180), np.uint8)
        mask = np.zeros((96, 64), np.uint8)
        mask[20:76, 22:42] = 255
        picture[mask > 0] = 128
        clip = replace(
            make_motion(frames),
            width=64,
            height=96,
            camera=Camera(100, 100, 32, 48),
            references=[Reference(3, picture, mask)],
            plate=np.full((96, 64, 3), (60, 120, 180), np.uint8),
        )
        write_clip(clip, path)
        return path

    return write


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
    predictor = VertexPredictor(
        load_body(), file.header.shape, file.header.fps, load_network("vertex_predictor", "cpu")
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
    np.testing.assert_allclose(writers.read_pc2(tmp_path / "out" / "mesh.pc2", 0, 70), expected, atol=1e-5)


def test_motion_without_pictures_decodes_to_a_mesh_alone(motion_file, tmp_path):
    decode(motion_file, tmp_path / "sortie é")
    assert names(tmp_path / "sortie é") == ["clip.json", "mesh.npz", "mesh.pc2"]


@pytest.mark.parametrize("video_format", ["webm", "mp4"])
def test_filmed_clip_decodes_to_a_video_too(filmed_file, tmp_path, video_format):
    decode(filmed_file, tmp_path, video_format=video_format)
    video = f"video.{video_format}"
    assert names(tmp_path) == ["clip.json", "mesh.npz", "mesh.pc2", "reference.png", video]

    frames, fps = video_frames(tmp_path / video)
    assert (len(frames), fps) == (40, 30)
    assert frames[0].shape == (96, 64, 3)
    np.testing.assert_allclose(frames[20][:8, :8].mean(axis=(0, 1)), (60, 120, 180), atol=8)
    clip = json.loads((tmp_path / "clip.json").read_text(encoding="utf-8"))
    assert clip["files"]["video"] == video
    assert (clip["frames"], clip["fps"], clip["width"], clip["height"]) == (40, [30, 1], 64, 96)
    assert clip["camera"] == {"fx": 100, "fy": 100, "cx": 32, "cy": 48}


def test_only_what_was_asked_for_is_made_and_is_the_same(filmed_file, tmp_path):
    for only in ("mesh", "video"):
        decode(filmed_file, tmp_path / only, only=only)
    decode(filmed_file, tmp_path / "both")
    assert names(tmp_path / "mesh") == ["clip.json", "mesh.npz", "mesh.pc2", "reference.png"]
    assert names(tmp_path / "video") == ["clip.json", "reference.png", "video.webm"]
    alone, both = (video_frames(tmp_path / folder / "video.webm")[0] for folder in ("video", "both"))
    difference = np.abs(np.array(alone, int) - np.array(both, int))
    assert difference.max() <= 2, "one pass or two over the vertices draw the same pictures"


def test_one_frame_is_that_frame_of_the_whole(motion_file, tmp_path):
    decode(motion_file, tmp_path)
    decode_frame(motion_file, tmp_path, 17, "ply")
    mesh = trimesh.load(tmp_path / "frame_000017.ply", force="mesh", process=False)
    expected = writers.read_pc2(tmp_path / "mesh.pc2", 17, 18)[0][load_body().faces] * [1, -1, -1]
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
