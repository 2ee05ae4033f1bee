# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.errors import InputError
from sparse2dense.models.keypoints import BONES, KEYPOINT_INDEX, KEYPOINT_NAMES, measure_bone_lengths
from sparse2dense.models.shaped_body import ShapedBody

RNG_SEED = 3


def random_pose(body, frames, degrees=40):
    rng = np.random.default_rng(RNG_SEED)
    turns = Rotation.from_rotvec(np.radians(degrees) * rng.normal(size=(frames * body.bone_count, 3)) / 2)
    rotations = turns.as_matrix().reshape(frames, body.bone_count, 3, 3).astype(np.float32)
    return rotations, rng.normal(size=(frames, 3)).astype(np.float32)


def skin_one_vertex(body, shape, rotations, translation, vertex):
    """Skin by homogeneous matrices down the chain of parents: another way than the body's own."""
    vertices, joints = body.rest(shape)

    def placed(rotation, at):
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = rotation, at
        return matrix

    chain = [placed(rotations[0], translation)]
    for bone in range(1, body.bone_count):
        parent = body.parents[bone]
        chain.append(chain[parent] @ placed(rotations[bone], joints[bone] - joints[parent]))
    point = np.zeros(3)
    for bone in np.flatnonzero(body.weights[vertex]):
        since_rest = chain[bone] @ np.linalg.inv(placed(np.eye(3), joints[bone]))
        point += body.weights[vertex, bone] * (since_rest @ np.append(vertices[vertex], 1))[:3]
    return point


def test_posed_vertices_equal_an_independent_skinning(body):
    shape = np.random.default_rng(1).normal(size=body.shape_size)
    rotations, translation = random_pose(body, 2)
    posed = ShapedBody(body, shape).pose(rotations, translation)
    for vertex in range(0, len(body.weights), 997):
        expected = skin_one_vertex(body, shape, rotations[1], translation[1], vertex)
        np.testing.assert_allclose(posed[1, vertex], expected, atol=1e-5)


def test_rest_stands_upright_and_faces_the_camera(body):
    vertices, _ = body.rest(np.zeros(body.shape_size))
    at = dict(zip(KEYPOINT_NAMES, body.keypoints(vertices), strict=True))
    assert at["nose"][1] < at["left_hip"][1] < at["left_knee"][1] < at["left_heel"][1]  # y points down
    assert at["left_shoulder"][0] > 0.1 > -0.1 > at["right_shoulder"][0]
    assert at["nose"][2] < at["left_ear"][2] and at["left_foot_index"][2] < at["left_heel"][2]
    height = np.ptp(vertices[:, 1])
    assert 1.4 < height < 1.9
    assert abs(at["left_foot_index"][1] - vertices[:, 1].max()) < 0.03


def test_keypoints_are_a_convex_linear_map(body):
    keypoint, vertex, weight = body.keypoint_map
    sums = np.bincount(keypoint.astype(int), weight)
    np.testing.assert_allclose(sums, np.ones(len(KEYPOINT_NAMES)), atol=1e-5)
    assert (weight > 0).all()
    vertices = np.random.default_rng(2).normal(size=(len(body.vertices_mean), 3)).astype(np.float32)
    by_hand = np.zeros((len(KEYPOINT_NAMES), 3))
    np.add.at(by_hand, keypoint.astype(int), weight[:, None] * vertices[vertex.astype(int)])
    np.testing.assert_allclose(body.keypoints(vertices), by_hand, atol=1e-5)


def test_keypoints_without_the_mesh_equal_those_of_the_mesh(body):
    shape = np.random.default_rng(4).normal(size=body.shape_size)
    rotations, translation = random_pose(body, 3)
    of_mesh = body.keypoints(ShapedBody(body, shape).pose(rotations, translation))
    np.testing.assert_allclose(
        ShapedBody(body, shape).pose_keypoints(rotations, translation), of_mesh, atol=1e-5
    )


def test_keypoints_stay_on_their_joints_in_any_pose(body):
    rotations, translation = random_pose(body, 20)
    shape = np.zeros(body.shape_size)
    keypoints = ShapedBody(body, shape).pose_keypoints(rotations, translation)
    place = body.forward_kinematics(body.rest(shape)[1], rotations, translation)[1]
    for name, bone, limit in (
        ("elbow", "lowerarm01", 0.012),
        ("wrist", "wrist", 0.01),
        ("ankle", "foot", 0.01),
    ):
        error = keypoints[:, KEYPOINT_INDEX[f"left_{name}"]] - place[:, body.bone_names.index(f"{bone}.L")]
        assert np.linalg.norm(error, axis=-1).mean() < limit


def test_shape_fit_recovers_a_held_out_body(body, held_out):
    lengths = measure_bone_lengths(held_out["keypoints"])
    fitted = body.fit_shape(lengths)
    rest = body.keypoints(body.rest(fitted)[0])
    first, second = np.array(BONES).T
    limbs = [i for i, (a, b) in enumerate(BONES) if a > KEYPOINT_INDEX["right_ear"]]
    away = np.linalg.norm(rest[first] - rest[second], axis=-1) - lengths
    assert np.abs(away[limbs]).mean() < 0.006
    true, guess = body.rest(held_out["shape"])[0], body.rest(fitted)[0]
    average = body.rest(np.zeros(body.shape_size))[0]
    assert np.ptp(guess[:, 1]) == pytest.approx(np.ptp(true[:, 1]), abs=0.03)
    assert np.abs(guess - true).mean() < np.abs(average - true).mean()


def test_shape_fit_ignores_unknown_lengths(body):
    person = np.zeros(body.shape_size)
    person[0] = 1.5
    points = body.keypoints(body.rest(person)[0])
    first, second = np.array(BONES).T
    lengths = np.linalg.norm(points[first] - points[second], axis=-1)
    lengths[8:14] = np.nan  # hands
    assert body.fit_shape(lengths)[0] == pytest.approx(1.5, abs=0.3)


def test_bone_lengths_are_measured_through_noise(held_out):
    noise = np.random.default_rng(5).normal(0, 0.02, held_out["keypoints"].shape)
    clean = measure_bone_lengths(held_out["keypoints"])
    noisy = measure_bone_lengths(held_out["keypoints"] + noise)
    naive = np.sqrt(
        ((held_out["keypoints"] + noise)[:, 9] - (held_out["keypoints"] + noise)[:, 11]) ** 2
    ).sum(-1)
    hand = BONES.index((KEYPOINT_INDEX["left_pinky"], KEYPOINT_INDEX["left_index"]))
    assert abs(noisy[hand] - clean[hand]) < 0.5 * abs(naive.mean() - clean[hand])
    assert np.abs(noisy - clean).mean() < 0.008


def test_closed_form_pose_is_exact_at_rest_and_close_in_motion(body, held_out):
    vertices, joints = body.rest(held_out["shape"])
    rotations, positions = ShapedBody(body, held_out["shape"]).solve_pose(body.keypoints(vertices)[None])
    np.testing.assert_allclose(rotations[0], np.broadcast_to(np.eye(3), rotations[0].shape), atol=1e-5)
    np.testing.assert_allclose(positions[0], joints, atol=1e-5)
    solved = ShapedBody(body, held_out["shape"]).solve_pose(held_out["keypoints"])[1]
    true = body.forward_kinematics(joints, held_out["rotations"], held_out["translation"])[1]
    assert np.linalg.norm(solved - true, axis=-1).mean() < 0.02


def test_faces_and_texture_coordinates_belong_together(body):
    assert body.faces.shape == body.faces_uv.shape
    assert body.faces.max() < len(body.vertices_mean) and body.faces_uv.max() < len(body.uv)
    assert body.uv.min() >= 0 and body.uv.max() <= 1


def test_an_unknown_body_is_refused_by_name():
    with pytest.raises(InputError, match=r"'blob'.*anny"):
        load_body("blob")
