# SPDX-License-Identifier: GPL-3.0-or-later
"""One body of one shape: its rest, what its keypoints say of its feet and legs, its pose and back."""

import numpy as np
import pytest
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.keypoints import FEET, KEYPOINT_INDEX
from sparse2dense.models.shaped_body import ShapedBody


@pytest.fixture(scope="module")
def person():
    model = load_body()
    shape = np.zeros(model.shape_size, np.float32)
    shape[:2] = 1.5, -1.0
    return ShapedBody(model, shape)


def test_the_rest_is_the_models_own(person):
    vertices, joints = person.model.rest(person.shape)
    np.testing.assert_array_equal(person.vertices, vertices)
    np.testing.assert_array_equal(person.joints, joints)
    np.testing.assert_array_equal(person.keypoints, person.model.keypoints(vertices))


def test_feet_stand_on_the_ground_and_hips_above_them(person):
    ground = person.vertices[:, 1].max()  # y points down
    np.testing.assert_allclose(person.sole_heights, ground - person.keypoints[FEET, 1], atol=1e-6)
    assert (
        person.sole_heights.shape == (4,)
        and (person.sole_heights > 0).all()
        and (person.sole_heights < 0.1).all()
    )
    hips = (person.keypoints[KEYPOINT_INDEX["left_hip"]] + person.keypoints[KEYPOINT_INDEX["right_hip"]]) / 2
    assert person.hip_height == pytest.approx(ground - hips[1], abs=1e-6)
    ankles = (
        person.keypoints[KEYPOINT_INDEX["left_ankle"]] + person.keypoints[KEYPOINT_INDEX["right_ankle"]]
    ) / 2
    assert person.leg_length == pytest.approx(np.linalg.norm(hips - ankles), abs=1e-6)


def test_the_rest_pose_gives_the_rest_where_the_root_goes(person):
    still = np.tile(np.eye(3, dtype=np.float32), (2, person.model.bone_count, 1, 1))
    away = person.joints[0] + np.float32([[0, 0, 3], [1, 0, 4]])
    posed = person.pose(still, away)
    np.testing.assert_allclose(posed, person.vertices + np.float32([[[0, 0, 3]], [[1, 0, 4]]]), atol=2e-5)
    np.testing.assert_allclose(person.pose_keypoints(still, away), person.model.keypoints(posed), atol=2e-5)


def test_keypoints_solve_back_to_the_pose(person):
    """A bent knee: the closed form finds the bones that stand there, and skins the same mesh."""
    turns = np.tile(np.eye(3, dtype=np.float32), (1, person.model.bone_count, 1, 1))
    shin = person.model.bone_names.index("lowerleg01.L")
    turns[0, shin] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    vertices = person.pose(turns, person.joints[:1] + np.float32([0, 0, 3]))
    world, places = person.solve_pose(person.model.keypoints(vertices))
    foot = vertices[0, :, 1] > vertices[0, :, 1].max() - 0.1
    error = np.linalg.norm(person.skin(world, places)[0] - vertices[0], axis=-1)
    assert error.mean() < 0.01 and error[foot].max() < 0.05
