# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way by the command line: the packaged filmed clip, encoded, described, decoded, measured."""

import json
import struct
import subprocess
import sys

import cv2
import numpy as np
import pytest
from sparse2dense.inference.decoding import point_cache
from sparse2dense.inference.demo import PACKAGED_CLIP
from sparse2dense.inference.film.reader import VideoReader
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.camera import Camera
from sparse2dense.models.keypoints import KEYPOINT_INDEX

pytestmark = pytest.mark.slow

FRAMES = 60
SEEN_BY_EYE = {
    0: {
        "left_ankle": (98, 257),
        "right_ankle": (79, 238),
        "right_wrist": (64, 172),
        "left_wrist": (131, 170),
    },
    59: {"left_ankle": (97, 258), "right_wrist": (161, 109), "left_wrist": (159, 215)},
}
"""Where points of the person are in the packaged clip at 256x456, read off the pictures."""


def s2d(*arguments):
    command = [sys.executable, "-m", "sparse2dense.inference", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Encode one second of the packaged clip and decode it, under a path with spaces and other letters."""
    folder = tmp_path_factory.mktemp("é 人") / "a b"
    s2d("encode", PACKAGED_CLIP, "-o", folder / "balançe.s2d", "--end", "1", "--texture")
    s2d("decode", folder / "balançe.s2d", "-o", folder / "décodé")
    return folder


@pytest.fixture(scope="module")
def decoded(folder):
    return folder / "décodé"


@pytest.fixture(scope="module")
def camera(decoded):
    return Camera(**json.loads((decoded / "clip.json").read_text(encoding="utf-8"))["camera"])


@pytest.fixture(scope="module")
def vertices(decoded):
    return point_cache.read_pc2(decoded / "mesh.pc2", 0, FRAMES)


@pytest.fixture(scope="module")
def drawn(decoded):
    capture = cv2.VideoCapture(str(decoded / "video.webm"))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1][..., ::-1])
    return np.array(frames)


@pytest.fixture(scope="module")
def filmed():
    return np.array(list(VideoReader(PACKAGED_CLIP, end=1.0)))


def test_info_breaks_the_file_down(folder):
    info = json.loads(s2d("info", folder / "balançe.s2d", "--json"))
    assert (info["frames"], info["fps"], info["size"], info["body"]) == (FRAMES, [60, 1], [256, 456], "anny")
    parts = {name: size for name, size in info["bytes"].items() if name != "total"}
    assert {"header", "reference", "plate", "keypoints", "index", "texture"} <= set(parts)
    assert 4_000 < parts["texture"] < 15_000
    assert sum(parts.values()) == info["bytes"]["total"] == (folder / "balançe.s2d").stat().st_size
    assert info["kbps"]["total"] == pytest.approx(info["bytes"]["total"] * 8 / 1000, rel=1e-3)
    assert info["bytes"]["total"] < 20_000, "a filmed person in a few kilobytes"


def test_point_cache_is_whole(decoded, vertices):
    count = len(load_body().vertices_mean)
    data = (decoded / "mesh.pc2").read_bytes()
    assert struct.unpack("<12siiffi", data[:32]) == (b"POINTCACHE2\0", 1, count, 0.0, 1.0, FRAMES)
    assert len(data) == 32 + FRAMES * count * 12
    assert np.isfinite(vertices).all()


def test_mesh_stands_where_the_person_was_filmed(vertices, camera):
    keypoints = load_body().keypoints(vertices)
    for frame, points in SEEN_BY_EYE.items():
        for name, place in points.items():
            found = camera.project(keypoints[frame, KEYPOINT_INDEX[name]])
            assert np.linalg.norm(found - place) < 12, f"{name} of frame {frame} is at {found}, not {place}"


def test_mesh_follows_its_keypoints(decoded, vertices):
    with np.load(decoded / "mesh.npz", allow_pickle=False) as data:
        keypoints = data["keypoints"]
    error = np.linalg.norm(load_body().keypoints(vertices) - keypoints, axis=-1)
    assert error.mean() < 0.04, f"mean distance {error.mean() * 1000:.1f} mm"


def test_mesh_is_a_grown_person_before_the_camera(vertices):
    assert 1.4 < np.ptp(vertices[0, :, 1]) < 2.1
    assert 1.5 < vertices[..., 2].min() < vertices[..., 2].max() < 8


def test_video_plays_frame_by_frame(drawn, filmed):
    assert drawn.shape == filmed.shape == (FRAMES, 456, 256, 3)


def test_video_shows_the_filmed_motion(drawn, filmed):
    """Nearer to the filmed frames than a picture held still is, where the person moves."""
    drawn, filmed = drawn[::6].astype(np.int16), filmed[::6].astype(np.int16)
    still = filmed[5]
    moved = np.abs(filmed - still).max(axis=-1) > 40
    assert moved[-1].sum() > 2000, "the person has moved by then"

    def error(pictures):
        return np.abs(pictures - filmed).mean(axis=-1)[moved].mean()

    assert error(drawn) < 0.7 * error(drawn[5][None])
