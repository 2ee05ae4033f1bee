# SPDX-License-Identifier: GPL-3.0-or-later
"""Each part's files hold what is said of them, and the work on them is told as it goes on."""

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
from sparse2dense.inference.decoding import parts
from sparse2dense.inference.decoding.decoded_folder import read_bones, read_rest_body
from sparse2dense.inference.decoding.parts import spool_keypoints, write_body, write_mesh, write_video
from sparse2dense.inference.decoding.point_cache import read_pc2, to_blender, write_pc2
from sparse2dense.inference.decoding.session import Session
from sparse2dense.inference.decoding.vertices import VertexDecoder
from sparse2dense.inference.format.clip import Reference
from sparse2dense.inference.format.container import S2DFile, read_clip, write_clip
from sparse2dense.models.keypoints import BONES, KEYPOINT_NAMES

FRAMES = 70  # more than two batches


class Told:
    """Progress as it was told, stage by stage."""

    def __init__(self):
        self.stages = {}

    def __call__(self, stage, done, total):
        self.stages.setdefault(stage, []).append((done, total))


@pytest.fixture(scope="module")
def file(make_motion, tmp_path_factory):
    clip = make_motion(FRAMES)
    clip.fps = Fraction(3)  # thirty frames in a group
    path = tmp_path_factory.mktemp("parts") / "clip.s2d"
    write_clip(clip, path)
    return S2DFile.open(path)


@pytest.fixture(scope="module")
def filmed(write_filmed, tmp_path_factory):
    return S2DFile.open(write_filmed(35, tmp_path_factory.mktemp("filmed") / "filmed.s2d"))


@pytest.fixture(scope="module")
def mesh(file, tmp_path_factory):
    """The mesh's files with every vertex, its bounds, its keypoints, and what was told."""
    folder, told = tmp_path_factory.mktemp("mesh"), Told()
    keypoints = file.keypoints(0, FRAMES)
    predictor = VertexDecoder(Session(file).body, 3.0, None)
    bounds = write_mesh(folder, file.header, keypoints, predictor, True, told)
    return folder, bounds, keypoints, predictor.predict(keypoints, 0, FRAMES), told


def test_body_is_written_with_the_first_reference_picture(tmp_path, file):
    session = Session(file)
    picture = np.zeros((8, 16, 3), np.uint8)
    picture[:, :8, 0] = 255
    other = Reference(1, np.full_like(picture, 9), np.zeros((8, 16), np.uint8))
    write_body(tmp_path, session, [Reference(0, picture, np.zeros((8, 16), np.uint8)), other])
    np.testing.assert_array_equal(read_rest_body(tmp_path / "body.npz").vertices, session.rest.vertices)
    read = cv2.imdecode(np.frombuffer((tmp_path / "reference.png").read_bytes(), np.uint8), 1)
    np.testing.assert_array_equal(read[..., ::-1], picture)


def test_motion_without_pictures_has_no_reference(tmp_path, file):
    write_body(tmp_path, Session(file), [])
    assert {path.name for path in tmp_path.iterdir()} == {"body.npz", "mannequin.png"}


def test_keypoints_are_spooled_group_by_group(tmp_path, file):
    told = Told()
    spooled = spool_keypoints(file, tmp_path / "keypoints.f32", told)
    np.testing.assert_array_equal(spooled, file.keypoints(0, FRAMES))
    assert spooled.dtype == np.float32 and not spooled.flags.writeable
    assert told.stages == {"keypoints": [(30, 70), (60, 70), (70, 70)]}


def test_mesh_is_the_predictors_in_every_frame_and_its_bounds_are_the_meshs(mesh):
    folder, bounds, _, vertices, told = mesh
    np.testing.assert_allclose(read_pc2(folder / "mesh.pc2", 0, FRAMES), vertices, atol=1e-6)
    shown = to_blender(vertices)
    np.testing.assert_allclose(bounds, [shown.min(axis=(0, 1)), shown.max(axis=(0, 1))], atol=1e-6)
    assert told.stages == {"vertices": [(32, 70), (64, 70), (70, 70)]}


def test_mesh_data_says_what_the_caches_hold(mesh, file):
    folder, _, keypoints, vertices, _ = mesh
    model = Session(file).body.model
    np.testing.assert_array_equal(read_pc2(folder / "keypoints.pc2", 0, FRAMES), keypoints)
    with np.load(folder / "mesh.npz", allow_pickle=False) as data:
        np.testing.assert_array_equal(data["keypoints"], keypoints)
        np.testing.assert_allclose(data["vertices"], vertices, atol=1e-6)
        np.testing.assert_array_equal(data["faces"], model.faces)
        np.testing.assert_array_equal(data["uv"], model.uv[model.faces_uv])
        np.testing.assert_array_equal(data["camera"], [[300, 0, 128], [0, 300, 128], [0, 0, 1]])
        assert data["fps"].tolist() == [3, 1]
        assert data["keypoint_names"].tolist() == list(KEYPOINT_NAMES)
    np.testing.assert_array_equal(read_bones(folder / "mesh.npz"), BONES)


def test_vertices_are_in_mesh_data_only_if_asked_for(tmp_path, file):
    predictor = VertexDecoder(Session(file).body, 3.0, None)
    write_mesh(tmp_path, file.header, file.keypoints(0, 2), predictor, False, Told())
    with np.load(tmp_path / "mesh.npz", allow_pickle=False) as data:
        assert "vertices" not in data.files and "keypoints" in data.files


def read_video(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1][..., ::-1].astype(int))
    return np.stack(frames), capture.get(cv2.CAP_PROP_FPS)


@pytest.fixture(scope="module")
def drawn(filmed, tmp_path_factory):
    """A video whose vertices are predicted as they are needed, and what was told."""
    path, told = tmp_path_factory.mktemp("video") / "video.webm", Told()
    write_video(path, Session(filmed), filmed.references(), filmed.keypoints(0, 35), None, told)
    return path, told


def test_video_shows_the_person_before_the_plate_in_every_frame(drawn, filmed):
    path, told = drawn
    frames, fps = read_video(path)
    assert frames.shape == (35, 96, 64, 3) and fps == 30
    assert told.stages == {"video": [(done, 35) for done in range(1, 36)]}
    np.testing.assert_allclose(frames[:, :8, :8].mean(axis=(1, 2)), [(60, 120, 180)] * 35, atol=8)
    reference = filmed.references()[0]
    person = reference.mask > 200
    assert np.abs(frames[reference.frame][person] - reference.picture[person]).mean() < 12


def test_video_is_drawn_from_the_mesh_that_is_there(drawn, filmed, tmp_path):
    """From a mesh that stands far away, the person is drawn far away."""
    session, keypoints = Session(filmed), filmed.keypoints(0, 35)
    vertices = session.predictor.predict(keypoints, 0, 35)
    same, other = tmp_path / "mesh.pc2", tmp_path / "other.pc2"
    write_pc2(same, 35, vertices.shape[1], [vertices])
    far = vertices.copy()
    far[20:] += np.float32([0, 0, 30])
    write_pc2(other, 35, vertices.shape[1], [far])
    shown = {}
    for cache in (same, other):
        write_video(tmp_path / f"{cache.stem}.webm", session, filmed.references(), keypoints, cache, Told())
        shown[cache.stem] = read_video(tmp_path / f"{cache.stem}.webm")[0]
    predicted = read_video(drawn[0])[0]
    assert np.abs(shown["mesh"] - predicted).max() <= 2
    person = filmed.references()[0].mask > 200
    plate = np.array((60, 120, 180))
    assert (
        np.abs(shown["other"][30][person] - plate).mean() < 0.5 * np.abs(predicted[30][person] - plate).mean()
    )
    assert np.abs(shown["other"][10] - predicted[10]).mean() < 3


def test_background_follows_a_moving_camera_from_the_first_frame_on(filmed, tmp_path):
    """The camera turns right by a pixel a frame, over a plate that grows lighter to the right."""
    clip, frames = read_clip(filmed.path), 24
    lighter = np.repeat(np.arange(88) * 2 + 20, 3).reshape(1, 88, 3).repeat(96, axis=0).astype(np.uint8)
    reference = clip.references[0]
    picture = np.where(reference.mask[..., None] > 127, reference.picture, lighter[:, :64])
    corners = np.float32([[0, 0], [64, 0], [64, 96], [0, 96]])
    panned = replace(
        clip,
        keypoints=clip.keypoints[:frames],
        references=[replace(reference, frame=0, picture=picture)],
        plate=lighter,
        moving_camera=True,
        views=corners + np.arange(frames)[:, None, None] * np.float32([1, 0]),
    )
    write_clip(panned, tmp_path / "panned.s2d")
    file = S2DFile.open(tmp_path / "panned.s2d")
    video = tmp_path / "video.webm"
    write_video(video, Session(file), file.references(), file.keypoints(0, frames), None, lambda *told: None)
    shown = read_video(video)[0][:, :6, :6].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(shown, 25 + 2 * np.arange(frames), atol=6)
    assert np.abs(np.diff(shown) - 2).mean() < 1


def test_reference_is_warped_from_its_own_frames_body(filmed, tmp_path):
    """The mesh of all other frames stands elsewhere: where the reference's frame is drawn, nothing moves."""
    keypoints = filmed.keypoints(0, 35)
    vertices = Session(filmed).predictor.predict(keypoints, 0, 35)
    reference = filmed.references()[0]
    others = np.arange(35) != reference.frame
    vertices[others] += np.float32([0.4, 0, 0])
    write_pc2(tmp_path / "mesh.pc2", 35, vertices.shape[1], [vertices])
    session, video = Session(filmed), tmp_path / "video.webm"
    write_video(video, session, [reference], keypoints, tmp_path / "mesh.pc2", lambda *told: None)
    drawn, person = read_video(video)[0], reference.mask > 200
    assert np.abs(drawn[reference.frame][person] - reference.picture[person]).mean() < 12
    assert np.abs(drawn[reference.frame - 1][person] - reference.picture[person]).mean() > 20


def test_networks_of_pictures_run_on_one_thread_each_where_they_are_asked_to(filmed, tmp_path, monkeypatch):
    asked = []
    load = parts.load_network
    monkeypatch.setattr(
        parts,
        "load_network",
        lambda name, device, threads: asked.append((name, device, threads)) or load(name),
    )
    session = Session(filmed, device="cpu", threads=2)
    write_video(
        tmp_path / "v.webm", session, filmed.references(), filmed.keypoints(0, 35), None, lambda *told: None
    )
    assert sorted(asked) == [("generator", "cpu", 1), ("reference_encoder", "cpu", 1)]
