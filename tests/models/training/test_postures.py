# SPDX-License-Identifier: GPL-3.0-or-later
"""Postures are what their names say, and leave alone what they do not name."""

import numpy as np
import pytest

pytest.importorskip("anny")

from sparse2dense.models.keypoints import HIPS, KEYPOINT_INDEX
from sparse2dense.models.rotations import from_vectors
from sparse2dense.models.shaped_body import ShapedBody
from sparse2dense.models.training.postures import (
    VARIED,
    Posing,
    elbow_hinges,
    move_anyhow,
    unbent,
    upright_windows,
)

SHOULDERS, KNEES = (
    [KEYPOINT_INDEX[f"{side}_{j}"] for side in ("left", "right")] for j in ("shoulder", "knee")
)


@pytest.fixture
def motion(body, held_out):
    motion = Posing(body.bone_names, held_out["rotations"].astype(float), held_out["translation"])
    motion.face_ahead()
    return motion


def keypoints(body, motion):
    mean = ShapedBody(body, np.zeros(body.shape_size))
    return mean.pose_keypoints(motion.rotations.astype(np.float32), motion.places.astype(np.float32))


def rising(points):
    """How much of the trunk's direction is up, 1 for who stands and -1 for who is upside down."""
    trunk = points[:, SHOULDERS].mean(axis=1) - points[:, HIPS].mean(axis=1)
    return -(trunk / np.linalg.norm(trunk, axis=-1, keepdims=True))[:, 1]


def angles_at_hips(points):
    """Degrees between trunk and thighs, the smaller side's."""
    up = points[:, SHOULDERS] - points[:, HIPS]
    thighs = points[:, KNEES] - points[:, HIPS]
    cosines = (up * thighs).sum(-1) / np.linalg.norm(up, axis=-1) / np.linalg.norm(thighs, axis=-1)
    return np.degrees(np.arccos(cosines)).min(axis=1)


def postures(body, held_out, name):
    rng = np.random.default_rng(0)
    for _ in range(40):
        motion = Posing(body.bone_names, held_out["rotations"].astype(float), held_out["translation"])
        motion.face_ahead()
        VARIED[name](motion, rng)
        yield keypoints(body, motion)


def test_who_sits_has_the_thighs_in_front_and_the_trunk_up(body, held_out, motion):
    as_captured = np.median(angles_at_hips(keypoints(body, motion)))
    for points in postures(body, held_out, "sitting"):
        assert np.median(angles_at_hips(points)) < as_captured - 20
        assert np.median(rising(points)) > 0.6


def test_people_on_the_floor_lie_are_on_all_fours_and_kneel(body, held_out):
    up = np.array([np.median(rising(points)) for points in postures(body, held_out, "floor")])
    assert 0.5 < (np.abs(up) < 0.7).mean() < 1
    assert (up > 0.8).any()


def test_people_are_upside_down_throughout_or_turn_over(body, held_out):
    up = [rising(points) for points in postures(body, held_out, "inverted")]
    assert any(one.max() < -0.5 for one in up)
    assert any(np.ptp(one) > 1.5 for one in up)


def test_the_two_sides_bend_each_as_told(body, motion):
    before = keypoints(body, motion)
    motion.bend("upperleg01", np.array([80.0, 0.0]))
    left, right = np.moveaxis(keypoints(body, motion)[:, KNEES] - before[:, KNEES], 1, 0)
    assert np.linalg.norm(left, axis=-1).min() > 0.3
    np.testing.assert_allclose(right, 0, atol=1e-5)


def test_limbs_that_move_anyhow_leave_trunk_and_head_alone(body, motion):
    before, rng = keypoints(body, motion), np.random.default_rng(0)
    move_anyhow(motion, elbow_hinges(body), rng)
    apart = np.linalg.norm(keypoints(body, motion) - before, axis=-1)
    trunk = [*range(3), *SHOULDERS, *HIPS]
    np.testing.assert_allclose(apart[:, trunk], 0, atol=0.03)
    assert apart.max() > 0.3


def test_windows_begin_where_somebody_stands(held_out):
    """Who lies down for a second is in no window that reaches into it."""
    points = np.tile(held_out["keypoints"][:1], (90, 1, 1))
    lying = points[60:75][..., [1, 0, 2]]
    points = np.concatenate([points[:60], lying, points[75:]])
    starts = upright_windows(points, 30)
    assert starts.tolist() == [0, 15, 30]


def test_knees_that_the_conversion_bent_are_straighter_and_feet_stay_as_they_are(body, motion):
    """Hips and ankles are 4 % farther apart, in the same direction, as far as the leg gets."""
    before = keypoints(body, motion)
    motion.rotations = unbent(body, motion.rotations)
    after = keypoints(body, motion)
    for hip, knee, ankle, heel, toe in ((13, 15, 17, 19, 21), (14, 16, 18, 20, 22)):
        legs = [points[:, ankle] - points[:, hip] for points in (before, after)]
        long = [np.linalg.norm(leg, axis=-1) for leg in legs]
        assert (long[1] > long[0] - 1e-3).all()
        assert np.median(long[1] / long[0]) == pytest.approx(1.04, abs=0.02)
        cosine = (legs[0] * legs[1]).sum(-1) / long[0] / long[1]
        assert np.degrees(np.arccos(np.minimum(cosine, 1))).max() < 5
        feet = [points[:, toe] - points[:, heel] for points in (before, after)]
        assert np.linalg.norm(feet[0] - feet[1], axis=-1).max() < 0.05
        for a, b in ((hip, knee), (knee, ankle)):
            bones = [np.linalg.norm(points[:, a] - points[:, b], axis=-1) for points in (before, after)]
            np.testing.assert_allclose(bones[0], bones[1], atol=0.02)


def test_forearms_bend_about_their_hinges(body):
    """From the rest pose, by a right angle, and both alike."""
    rest = np.tile(np.eye(3), (1, body.bone_count, 1, 1))
    motion = Posing(body.bone_names, rest, np.zeros((1, 3)))

    def angles():
        points = keypoints(body, motion)[0]
        upper, lower = points[[3, 4]] - points[[5, 6]], points[[7, 8]] - points[[5, 6]]
        cosines = (upper * lower).sum(-1) / np.linalg.norm(upper, axis=-1) / np.linalg.norm(lower, axis=-1)
        return np.degrees(np.arccos(cosines))

    before = angles()
    for side, hinge in elbow_hinges(body).items():
        motion.flex(f"lowerarm01.{side}", from_vectors(np.pi / 2 * hinge))
    np.testing.assert_allclose(before - angles(), 90, atol=3)
