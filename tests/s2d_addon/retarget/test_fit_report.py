# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a motion that was applied is from the person's, and how people are told."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.s2d_addon.bake.rig import pose, simple_rig
from sparse2dense.s2d_addon.retarget import fit_report


def test_bones_are_off_by_the_angle_to_where_they_should_point():
    rest = np.tile(np.eye(4), (2, 1, 1))
    rig = simple_rig(["hips", "arm"], np.array([-1, 0]), rest, np.ones((2, 3)))
    turns = Rotation.from_euler("z", [[0], [30], [180]], degrees=True).as_matrix()
    motion = pose(rig, {"arm": turns}, "hips", np.zeros((3, 3)))
    along = np.array([0.0, 1, 0])
    errors = fit_report.direction_errors(
        motion, {"arm": (along, np.tile(along, (3, 1))), "hips": (along, along[None])}
    )
    assert list(errors) == ["arm", "hips"]
    np.testing.assert_allclose(errors["arm"], (0, 30, 180), atol=1e-9)
    np.testing.assert_allclose(errors["hips"], 0, atol=1e-9)


def test_tiny_angles_are_told_too():
    rest = np.tile(np.eye(4), (1, 1, 1))
    rig = simple_rig(["arm"], np.array([-1]), rest, np.ones((1, 3)))
    motion = pose(rig, {"arm": Rotation.from_euler("z", [[1e-9]]).as_matrix()}, "arm", np.zeros((1, 3)))
    along = np.array([0.0, 1, 0])
    errors = fit_report.direction_errors(motion, {"arm": (along, along[None])})
    assert errors["arm"][0] == pytest.approx(np.degrees(1e-9))


ERRORS = {
    "hips": np.array([0.0, 0.1]),
    "upper_arm": np.array([0.3, 1.4]),
    "forearm": np.array([40.0, 2.0]),
    "hand": np.array([40.4, 2.0]),
    "shin": np.array([2.0, 7.0]),
}


def test_the_worst_bone_is_named_with_its_own_angle():
    assert fit_report.furthest_off(ERRORS) == ("hand", 40.4)
    assert fit_report.furthest_off({"a": np.array([3.0, 1.0]), "b": np.array([0.0, 2.0])}) == ("a", 3.0)


def test_a_bone_that_is_held_is_named_with_its_own_angle():
    """Not the first that is off at all, with the angle of another."""
    (said,) = fit_report.held_elsewhere(ERRORS)
    assert 'turn "forearm" and the bones on it by 40°' in said
    assert "mute them" in said
    (said,) = fit_report.held_elsewhere({"shin": np.array([7.3, 0]), "foot": np.array([0, 1.2])})
    assert '"shin" and the bones on it by 7°' in said


def test_what_nobody_would_notice_is_not_told():
    assert fit_report.held_elsewhere({"a": np.array([1.0, 0.2]), "b": np.array([0.9, 0.3])}) == []
    assert len(fit_report.held_elsewhere({"a": np.array([1.001, 0.2])})) == 1


def test_what_was_applied_is_told_in_one_line():
    said = fit_report.Applied(120, 19, 345, 0.456, 3.21, "Hüfte", ()).describe()
    assert said == ("120 frames, 19 bones, 345 keys: bones point 0.46° off on average, 3.21° at most (Hüfte)")
