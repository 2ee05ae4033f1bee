# SPDX-License-Identifier: GPL-3.0-or-later
from pathlib import Path

import numpy as np
import pytest
from sparse2dense.inference.decoding.vertices import (
    VertexDecoder,
    batches,
    untrained_warning,
    vertex_network,
)
from sparse2dense.inference.runtime.backends import load_network
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.rotations import orthonormal_frames
from sparse2dense.models.shaped_body import ShapedBody


@pytest.fixture(scope="module")
def motion():
    """A held-out motion: body, shape, keypoints at 30 frames a second, and its vertices."""
    body = load_body()
    path = Path(__file__).parents[2] / "data" / "held_out_motion.npz"
    with np.load(path, allow_pickle=False) as stored:
        rotations = stored["rotations"].astype(np.float32)
        rotations = orthonormal_frames(rotations[..., 0], rotations[..., 1])
        vertices = ShapedBody(body, stored["shape"]).pose(rotations, stored["translation"])
        return body, stored["shape"], body.keypoints(vertices), vertices


@pytest.fixture(scope="module", params=[True, False], ids=["network", "closed form"])
def predictor(request, motion):
    body, shape, _, _ = motion
    network = load_network("vertex_predictor", "cpu") if request.param else None

    def make(fps):
        return VertexDecoder(ShapedBody(body, shape), fps, network)

    return make


def test_a_part_of_a_clip_gives_what_the_whole_gives(predictor, motion):
    keypoints = motion[2]
    whole = predictor(30).predict(keypoints, 0, len(keypoints))
    part = predictor(30).predict(keypoints, 17, 23)
    np.testing.assert_allclose(part, whole[17:23], atol=1e-5)


def test_a_long_part_too(predictor, motion):
    """It goes through the network in several batches."""
    keypoints = motion[2]
    whole = predictor(30).predict(keypoints, 0, len(keypoints))
    np.testing.assert_allclose(predictor(30).predict(keypoints, 3, 42), whole[3:42], atol=1e-5)
    assert list(batches(3, 70)) == [(3, 35), (35, 67), (67, 70)]


def test_the_network_of_a_users_own_body_lies_beside_its_file(tmp_path, monkeypatch):
    body = tmp_path / "SMPL_NEUTRAL.npz"
    body.write_bytes(b"")
    assert vertex_network("smpl", body) is vertex_network("smpl", tmp_path) is None
    (tmp_path / "SMPL_NEUTRAL_vertex_predictor.onnx").write_bytes(b"")
    expected = tmp_path / "SMPL_NEUTRAL_vertex_predictor"
    assert vertex_network("smpl", body) == vertex_network("smpl", tmp_path) == expected
    monkeypatch.chdir(tmp_path)
    assert vertex_network("smpl", body.name) == expected, "whole, since a job may run elsewhere"
    assert vertex_network("anny") == "vertex_predictor"


def test_where_none_is_trained_it_is_said_how_to(tmp_path):
    body = tmp_path / "SMPLX_NEUTRAL.npz"
    body.write_bytes(b"")
    said = untrained_warning("smplx", tmp_path)
    assert str(body) in said and "s2d train vertices --body smplx" in said


def test_a_frame_depends_on_its_radius_alone(predictor, motion):
    keypoints, vertices = motion[2], predictor(30)
    reach = vertices.radius_frames
    middle = len(keypoints) // 2
    changed = keypoints.copy()
    changed[: middle - reach] = 9.0
    changed[middle + reach + 1 :] = 9.0
    expected = vertices.predict(keypoints, middle, middle + 1)
    np.testing.assert_array_equal(vertices.predict(changed, middle, middle + 1), expected)


def test_twice_the_frame_rate_gives_the_same_vertices(predictor, motion):
    keypoints = motion[2]
    frames = len(keypoints)
    between = np.arange(2 * frames - 1) / 2
    doubled = np.stack(
        [np.interp(between, np.arange(frames), track) for track in keypoints.reshape(frames, -1).T], axis=1
    ).reshape(-1, *keypoints.shape[1:])
    at_30 = predictor(30).predict(keypoints, 10, 20)
    at_60 = predictor(60).predict(doubled.astype(np.float32), 20, 40)
    np.testing.assert_allclose(at_60[::2], at_30, atol=1e-4)


def test_vertices_lie_where_the_person_is(predictor, motion):
    body, _, keypoints, vertices = motion
    predicted = predictor(30).predict(keypoints, 0, len(keypoints))
    assert predicted.dtype == np.float32
    assert np.linalg.norm(predicted - vertices, axis=-1).mean() < 0.008
    assert np.linalg.norm(body.keypoints(predicted) - keypoints, axis=-1).mean() < 0.02


def test_where_the_person_stands_and_faces_does_not_matter(predictor, motion):
    keypoints = motion[2]
    turn = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], np.float32)
    shift = np.array([1.5, -0.3, 4.0], np.float32)
    still = predictor(30).predict(keypoints, 5, 8)
    moved = predictor(30).predict(keypoints @ turn.T + shift, 5, 8)
    np.testing.assert_allclose(moved, still @ turn.T + shift, atol=1e-4)


def test_a_clip_of_one_frame_has_vertices(predictor, motion):
    vertices = predictor(25).predict(motion[2][:1], 0, 1)
    assert np.isfinite(vertices).all() and np.linalg.norm(vertices - motion[3][:1], axis=-1).mean() < 0.02
