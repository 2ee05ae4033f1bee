# SPDX-License-Identifier: GPL-3.0-or-later
"""Posing bones as Blender does."""

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation
from sparse2dense.s2d_addon.bake.rig import pose, simple_rig

NAMES = ["hips", "thigh", "shin"]
REST = np.tile(np.eye(4), (3, 1, 1))
REST[:, :3, :3] = Rotation.random(3, random_state=0).as_matrix()
REST[:, :3, 3] = [(0, 0, 1), (0.1, 0, 0.9), (0.1, 0, 0.5)]
TAILS = np.array([(0, 0, 1.2), (0.1, 0, 0.5), (0.1, 0, 0.1)])
STILL = np.zeros((1, 3))


def rig():
    return simple_rig(NAMES, np.array([-1, 0, 1]), REST, TAILS)


def turn(vector):
    return Rotation.from_rotvec(vector).as_matrix()[None]


def in_rest_axes(vector, bone):
    """What a bone does, in its own axes, to turn by a vector of the armature's space."""
    return turn(REST[bone, :3, :3].T @ np.array(vector))


def test_a_rig_that_does_nothing_is_at_rest():
    motion = pose(rig(), {}, "hips", np.zeros((4, 3)))
    np.testing.assert_allclose(motion.rotations, np.tile(REST[:, :3, :3], (4, 1, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(motion.heads, np.tile(REST[:, :3, 3], (4, 1, 1)), atol=1e-12)
    assert motion.rig.index("shin") == 2


def test_bones_turn_with_what_they_hang_on():
    motion = pose(rig(), {"thigh": in_rest_axes((np.pi / 2, 0, 0), 1)}, "hips", STILL)
    np.testing.assert_allclose(motion.heads[0], [(0, 0, 1), (0.1, 0, 0.9), (0.1, 0.4, 0.9)], atol=1e-12)
    quarter = turn((np.pi / 2, 0, 0))[0]
    np.testing.assert_allclose(motion.rotations[0, 1:], quarter @ REST[1:, :3, :3], atol=1e-12)
    both = {"thigh": in_rest_axes((np.pi / 2, 0, 0), 1), "shin": in_rest_axes((-np.pi / 2, 0, 0), 2)}
    motion = pose(rig(), both, "hips", STILL)
    np.testing.assert_allclose(motion.rotations[0, 2], REST[2, :3, :3], atol=1e-12)


def test_the_root_travels_along_its_own_axes():
    motion = pose(rig(), {}, "hips", np.array([[0.0, 2, 0], [0, 0, 0]]))
    np.testing.assert_allclose(motion.heads[0] - motion.heads[1], np.tile(2 * REST[0, :3, 1], (3, 1)))


def test_bones_that_do_not_turn_with_their_parent_only_travel_with_it():
    free = replace(rig(), turns=np.array([True, False, True]))
    motion = pose(free, {"hips": in_rest_axes((0, 0, np.pi / 2), 0)}, "hips", STILL)
    np.testing.assert_allclose(motion.heads[0, 1], (0, 0.1, 0.9), atol=1e-12)
    np.testing.assert_allclose(motion.rotations[0, 1:], REST[1:, :3, :3], atol=1e-12)


def test_locations_that_are_not_local_are_in_the_armatures_axes():
    plain = replace(rig(), shifts=np.array([False, True, True]))
    motion = pose(plain, {}, "hips", np.array([[0.0, 2, 0]]))
    np.testing.assert_allclose(motion.heads[0], REST[:, :3, 3] + (0, 2, 0), atol=1e-12)


def test_bones_keep_what_they_did_before():
    basis = np.tile(np.eye(4), (3, 1, 1))
    basis[1, :3, :3] = in_rest_axes((np.pi / 2, 0, 0), 1)[0]
    basis[1, :3, 3] = REST[1, :3, :3].T @ (0, 0, 0.5)
    motion = pose(replace(rig(), basis=basis), {}, "hips", STILL)
    np.testing.assert_allclose(motion.heads[0, 1:], [(0.1, 0, 1.4), (0.1, 0.4, 1.4)], atol=1e-12)
    turned = pose(replace(rig(), basis=basis), {"thigh": turn((0, 0, 0))}, "hips", STILL)
    np.testing.assert_allclose(turned.heads[0, 1:], [(0.1, 0, 1.4), (0.1, 0, 1.0)], atol=1e-12)
