# SPDX-License-Identifier: GPL-3.0-or-later
"""Models in SMPL's format, made here: cubes round a skeleton, since the real files may not be shipped."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.models.body import load_body
from sparse2dense.models.keypoints import KEYPOINT_INDEX, KEYPOINT_NAMES
from sparse2dense.models.skeleton import build_skeleton, fit_pose

smplx = pytest.importorskip("smplx")
torch = pytest.importorskip("torch")

PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]
JOINTS = np.array(
    [
        (0, 0, 0), (0.07, -0.09, 0), (-0.07, -0.09, 0), (0, 0.11, -0.03), (0.1, -0.47, 0), (-0.1, -0.47, 0),
        (0, 0.25, 0), (0.09, -0.87, -0.04), (-0.09, -0.87, -0.04), (0, 0.3, 0.03), (0.11, -0.93, 0.08),
        (-0.11, -0.93, 0.08), (0, 0.51, -0.01), (0.08, 0.42, 0), (-0.08, 0.42, 0), (0, 0.58, 0.04),
        (0.17, 0.45, -0.01), (-0.17, 0.45, -0.01), (0.43, 0.44, -0.04), (-0.43, 0.44, -0.04),
        (0.68, 0.44, -0.04), (-0.68, 0.44, -0.04), (0.77, 0.43, -0.05), (-0.77, 0.43, -0.05),
    ]
)  # fmt: skip


def model_fields(joints=24):
    """A ring of eight vertices round every joint: y up, facing +z, as SMPL is."""
    rng = np.random.default_rng(0)
    places, parents = JOINTS, list(PARENTS)
    if joints > 24:
        places = JOINTS[:22]
        parents = parents[:22]
        extra = joints - 52
        for _ in range(extra):  # jaw and eyes
            places = np.concatenate([places, JOINTS[15:16] + np.array([0, 0.03, 0.08])])
            parents.append(15)
        for wrist, out in ((20, 1), (21, -1)):
            for finger in range(5):
                for knuckle in range(3):
                    at = JOINTS[wrist] + [out * (0.09 + 0.03 * knuckle), 0, 0.04 - 0.02 * finger]
                    places = np.concatenate([places, at[None]])
                    parents.append(len(places) - 2 if knuckle else wrist)
    corners = 0.05 * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    count = 8 * len(places)
    regressor, weights = np.zeros((len(places), count)), np.zeros((count, len(places)))
    for joint in range(len(places)):
        regressor[joint, 8 * joint : 8 * joint + 8] = 1 / 8
        weights[8 * joint : 8 * joint + 8, joint] = 0.75
        weights[8 * joint : 8 * joint + 8, max(parents[joint], 0)] += 0.25
    first = np.arange(0, count - 2, 2)
    return {
        "v_template": (places[:, None] + corners).reshape(-1, 3),
        "shapedirs": 0.01 * rng.normal(size=(count, 3, 10)),
        "posedirs": 0.002 * rng.normal(size=(count, 3, 9 * (len(places) - 1))),
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": np.array([[max(p, 0) for p in parents], range(len(places))]),
        "f": np.stack([first, first + 1, first + 2], axis=1),
    }


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
        posed = body.pose(shape, rotations[None].astype(np.float32), root)[0]
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
    keypoints = body.pose_keypoints(np.zeros(10), rotations, np.zeros((1, 3)))
    solved = body.solve_pose(keypoints, np.zeros(10))[0][0]
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
    vertices = body.pose(np.zeros(10), rotations, np.ones((3, 3)))
    skeleton = build_skeleton(body, np.zeros(10))
    assert {"spine.004", "spine.006", "hand.L", "toe.R"} < set(skeleton.names)
    assert len(skeleton.names) == 22, "fingers ride on hands, jaw and eyes on the head"
    assert np.abs(skeleton.pose(*fit_pose(skeleton, vertices)) - vertices).max() < 1e-3


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    path.write_bytes(pickle.dumps({"v_template": print}))
    with pytest.raises(ValueError, match="cannot be read as an SMPL model"):
        load_body("smpl", path)


def test_a_missing_or_wrong_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="needs its model file"):
        load_body("smpl", tmp_path / "SMPL_NEUTRAL.pkl")
    path = tmp_path / "SMPL_NEUTRAL.npz"
    np.savez(path, v_template=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="lacks"):
        load_body("smpl", path)
    np.savez(path, **model_fields())
    with pytest.raises(ValueError, match="'smplx' has 55"):
        load_body("smplx", path)
