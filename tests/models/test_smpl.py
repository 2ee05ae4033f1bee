# SPDX-License-Identifier: GPL-3.0-or-later
"""Bodies of the SMPL family, from files that are made here."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.errors import InputError
from sparse2dense.models.keypoints import KEYPOINT_INDEX, KEYPOINT_NAMES
from sparse2dense.models.shaped_body import ShapedBody
from sparse2dense.models.skeleton import build_skeleton, fit_pose

from .made_smpl import JOINTS, model_fields

smplx = pytest.importorskip("smplx")
torch = pytest.importorskip("torch")


@pytest.fixture(scope="module", params=["npz", "pkl"])
def model_file(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("smpl") / f"SMPL_NEUTRAL.{request.param}"
    if request.param == "npz":
        np.savez(path, **model_fields())
    else:
        path.write_bytes(pickle.dumps(model_fields()))
    return path


def test_it_poses_as_smplx_itself_does(model_file):
    body = load_body("smpl", model_file)
    rng = np.random.default_rng(1)
    pose = 0.4 * rng.normal(size=(2, 24, 3))
    shape = rng.normal(size=10).astype(np.float32)
    reference = smplx.SMPL(
        "", data_struct=smplx.utils.Struct(**model_fields()), create_body_pose=False,
        vertex_ids=dict.fromkeys(("nose", "reye", "leye", "rear", "lear"), 0), use_hands=False,
        use_feet_keypoints=False,
    )  # fmt: skip
    flip = np.diag([1.0, -1.0, -1.0])
    for frame in range(2):
        with torch.no_grad():
            expected = reference(
                betas=torch.tensor(shape[None]),
                global_orient=torch.tensor(pose[frame : frame + 1, 0], dtype=torch.float32),
                body_pose=torch.tensor(pose[frame : frame + 1, 1:].reshape(1, -1), dtype=torch.float32),
            ).vertices[0].numpy()  # fmt: skip
        rotations = flip @ Rotation.from_rotvec(pose[frame]).as_matrix() @ flip
        root = body.rest(shape)[1][:1]
        posed = ShapedBody(body, shape).pose(rotations[None].astype(np.float32), root)[0]
        np.testing.assert_allclose(posed @ flip, expected, atol=2e-5)


def test_keypoints_are_the_models_joints_and_its_outermost_points(model_file):
    body = load_body("smpl", model_file)
    np.testing.assert_allclose(
        np.bincount(body.keypoint_map[0].astype(int), body.keypoint_map[2]), 1, atol=1e-6
    )
    at = dict(zip(KEYPOINT_NAMES, body.keypoints(body.rest(np.zeros(10))[0]), strict=True))
    np.testing.assert_allclose(at["left_knee"], JOINTS[4] * [1, -1, -1], atol=1e-6)
    np.testing.assert_allclose(at["right_wrist"], JOINTS[21] * [1, -1, -1], atol=1e-6)
    assert at["nose"][2] < -0.05 and at["left_ear"][0] > 0.03 > -0.03 > at["right_ear"][0]
    assert at["left_foot_index"][2] < at["left_heel"][2]
    assert at["left_index"][2] < at["left_pinky"][2]


@pytest.mark.parametrize(("name", "joints"), [("smplh", 52), ("smplx", 55)])
def test_finger_joints_give_the_knuckles(name, joints, tmp_path):
    path = tmp_path / f"{name}.npz"
    np.savez(path, **model_fields(joints))
    body = load_body(name, path)
    assert body.bone_count == joints
    points = body.keypoints(body.rest(np.zeros(10))[0])
    index, pinky = (points[KEYPOINT_INDEX[f"right_{finger}"]] for finger in ("index", "pinky"))
    np.testing.assert_allclose(index, (JOINTS[21] + [-0.09, 0, 0.04]) * [1, -1, -1], atol=1e-6)
    np.testing.assert_allclose(pinky, (JOINTS[21] + [-0.09, 0, 0.0]) * [1, -1, -1], atol=1e-6)


def test_closed_form_pose_follows_a_bent_limb_from_a_straight_rest(model_file):
    body = load_body("smpl", model_file)
    rotations = np.tile(np.eye(3, dtype=np.float32), (1, 24, 1, 1))
    rotations[0, 18] = Rotation.from_euler("y", 70, degrees=True).as_matrix()  # left elbow, forward
    keypoints = ShapedBody(body, np.zeros(10)).pose_keypoints(rotations, np.zeros((1, 3)))
    solved = ShapedBody(body, np.zeros(10)).solve_pose(keypoints)[0][0]
    turned = Rotation.from_matrix(solved[body.bone_names.index("left_shoulder")]).magnitude()
    bent = Rotation.from_matrix(solved[body.bone_names.index("left_elbow")]).magnitude()
    assert turned < np.radians(20)
    assert bent == pytest.approx(np.radians(70), abs=np.radians(20))


def test_it_gets_the_standard_skeleton(tmp_path):
    path = tmp_path / "smplx.npz"
    np.savez(path, **model_fields(55))
    body = replace(load_body("smplx", path), pose_basis=None)
    turns = Rotation.from_rotvec(0.3 * np.sin(np.arange(3 * 22 * 3)).reshape(-1, 3)).as_matrix()
    rotations = np.tile(np.eye(3), (3, 55, 1, 1))
    rotations[:, :22] = turns.reshape(3, 22, 3, 3)
    vertices = ShapedBody(body, np.zeros(10)).pose(rotations, np.ones((3, 3)))
    skeleton = build_skeleton(ShapedBody(body, np.zeros(10)))
    assert {"spine.004", "spine.006", "hand.L", "toe.R"} < set(skeleton.names)
    assert len(skeleton.names) == 22, "fingers ride on hands, jaw and eyes on the head"
    assert np.abs(skeleton.pose(*fit_pose(skeleton, vertices)) - vertices).max() < 1e-3


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    path.write_bytes(pickle.dumps({"v_template": print}))
    with pytest.raises(InputError, match="cannot be read as an SMPL model"):
        load_body("smpl", path)


def test_a_missing_or_wrong_file_is_named(tmp_path):
    with pytest.raises(InputError, match="needs its model file"):
        load_body("smpl", tmp_path / "SMPL_NEUTRAL.pkl")
    path = tmp_path / "SMPL_NEUTRAL.npz"
    np.savez(path, v_template=np.zeros((3, 3)))
    with pytest.raises(InputError, match="lacks"):
        load_body("smpl", path)
    np.savez(path, **model_fields())
    with pytest.raises(InputError, match="'smplx' has 55"):
        load_body("smplx", path)
