# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotations as matrices and quaternions, against SciPy's."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.models import rotations as rm


def some(count=50, seed=0):
    return Rotation.random(count, random_state=seed)


def directions(count=40, seed=1):
    return np.random.default_rng(seed).normal(size=(count, 3))


def assert_rotations(matrices, tolerance=1e-12):
    wanted = np.broadcast_to(np.eye(3), matrices.shape)
    np.testing.assert_allclose(matrices @ np.swapaxes(matrices, -1, -2), wanted, atol=tolerance)
    np.testing.assert_allclose(np.linalg.det(matrices), 1, atol=tolerance)


def as_matrices(quaternions):
    return Rotation.from_quat(quaternions, scalar_first=True).as_matrix()


# ---- directions ------------------------------------------------------------------------------


def test_unit_vectors_have_length_one_and_nothing_stays_nothing():
    vectors = np.array([[3.0, 0, 4], [0, -1e-6, 0], [0, 0, 0]])
    np.testing.assert_allclose(rm.unit(vectors), [[0.6, 0, 0.8], [0, -1, 0], [0, 0, 0]])


def test_rotations_are_applied_to_columns():
    turn = Rotation.from_rotvec([0, 0, np.pi / 2]).as_matrix()
    np.testing.assert_allclose(rm.apply(turn, np.array([1.0, 0, 2])), [0, 1, 2], atol=1e-12)
    many, points = some(20), directions(20)
    np.testing.assert_allclose(rm.apply(many.as_matrix(), points), many.apply(points))


def test_frames_keep_the_first_direction_and_lean_to_the_second():
    primary, secondary = directions(seed=1), directions(seed=2)
    frames = rm.orthonormal_frames(primary, secondary)
    assert_rotations(frames)
    np.testing.assert_allclose(frames[..., 0], rm.unit(primary))
    assert (np.sum(frames[..., 1] * secondary, axis=-1) > 0).all()
    np.testing.assert_allclose(np.sum(frames[..., 2] * secondary, axis=-1), 0, atol=1e-12)
    np.testing.assert_allclose(rm.orthonormal_frames(3 * primary, secondary / 7), frames)


# ---- swing -----------------------------------------------------------------------------------


def test_swing_takes_one_direction_to_the_other_by_the_smallest_turn():
    start, end = directions(seed=1), directions(seed=2)
    turns = rm.swing(start, end)
    assert_rotations(turns)
    np.testing.assert_allclose(rm.apply(turns, rm.unit(start)), rm.unit(end), atol=1e-12)
    angles = np.arccos(np.sum(rm.unit(start) * rm.unit(end), axis=-1))
    np.testing.assert_allclose(Rotation.from_matrix(turns).magnitude(), angles, atol=1e-7)


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, -2), (1, 1, 1), (0.1, -3, 0.2)])
def test_swing_between_opposite_directions_is_half_a_turn(axis):
    start = np.array(axis, float)
    turn = rm.swing(start, -start)
    assert_rotations(turn)
    np.testing.assert_allclose(turn @ start, -start, atol=1e-12)


def test_swing_between_nearly_opposite_directions_arrives():
    start, aside = np.array([0.0, 0, 1]), np.array([0.6, 0.8, 0])
    for off in (1e-2, 1e-3, 3e-4):
        end = rm.unit(-start + off * aside)
        turn = rm.swing(start, end)
        assert_rotations(turn)
        np.testing.assert_allclose(turn @ start, end, atol=1e-9)


def test_swing_from_a_direction_to_itself_turns_nothing():
    start = directions()
    np.testing.assert_allclose(rm.swing(start, 5 * start), np.tile(np.eye(3), (40, 1, 1)), atol=1e-12)


def test_swing_without_a_direction_turns_nothing():
    nowhere, up = np.zeros(3), np.array([0.0, 0, 1])
    for start, end in ((nowhere, up), (up, nowhere), (nowhere, nowhere), (1e-9 * up, -up)):
        np.testing.assert_array_equal(rm.swing(start, end), np.eye(3))
    both = rm.swing(np.stack([nowhere, up]), np.stack([up, -up]))
    assert_rotations(both)
    np.testing.assert_allclose(both[1] @ up, -up)


def test_swing_keeps_single_precision():
    start, end = (vectors.astype(np.float32) for vectors in (directions(seed=1), directions(seed=2)))
    assert rm.swing(start, end).dtype == np.float32


# ---- matrices --------------------------------------------------------------------------------


def test_cross_matrices_multiply_as_the_cross_product_does():
    ours, theirs = directions(seed=1), directions(seed=2)
    np.testing.assert_allclose(rm.apply(rm.cross_matrices(ours), theirs), np.cross(ours, theirs))


def test_rotation_vectors_turn_by_their_length_about_themselves():
    lengths = np.array([0.0, 1e-9, 1e-4, 0.5, np.pi / 2, 3.0, np.pi, 5.0])
    vectors = rm.unit(directions(len(lengths))) * lengths[:, None]
    turns = rm.from_vectors(vectors)
    assert_rotations(turns)
    np.testing.assert_allclose(turns, Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)


def test_nearest_rotations_of_stretched_ones_are_those():
    turns = some().as_matrix()
    np.testing.assert_allclose(rm.nearest_rotations(3 * turns), turns, atol=1e-12)
    left, right = turns[:25], turns[25:]
    stretched = left @ np.diag([3.0, 2.0, 0.5]) @ right
    np.testing.assert_allclose(rm.nearest_rotations(stretched), left @ right, atol=1e-12)


def test_nearest_rotations_of_reflections_are_rotations_and_the_nearest():
    left, right = some().as_matrix()[:25], some().as_matrix()[25:]
    reflected = left @ np.diag([3.0, 2.0, -0.5]) @ right
    turns = rm.nearest_rotations(reflected)
    assert_rotations(turns)
    np.testing.assert_allclose(turns, left @ right, atol=1e-12)  # the least stretched axis gives way


# ---- angles ----------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", [0.0, 1e-15, 1e-12, 1e-8, 1e-4, 0.3, 1.5, 3.0])
def test_angles_are_exact_however_small(angle):
    turns = Rotation.from_rotvec(rm.unit(directions(50)) * angle).as_matrix()
    np.testing.assert_allclose(rm.angles_between(turns, np.eye(3)), angle, rtol=1e-9)
    starts = some().as_matrix()
    np.testing.assert_allclose(rm.angles_between(starts @ turns, starts), angle, rtol=1e-9, atol=5e-16)


def test_a_rotation_is_no_angle_away_from_itself():
    turns = some().as_matrix()
    assert (rm.angles_between(turns, turns.copy()) == 0).all()


def test_half_a_turn_is_the_largest_angle():
    half = np.diag([1.0, -1, -1])
    assert rm.angles_between(half, np.eye(3)) == pytest.approx(np.pi)
    assert rm.angles_between(1.0001 * half, np.eye(3)) == pytest.approx(np.pi)


# ---- quaternions -----------------------------------------------------------------------------


@pytest.mark.parametrize("largest", range(4))
def test_quaternions_and_matrices_are_one_rotation_whichever_component_is_largest(largest):
    quaternions = 0.3 * np.random.default_rng(largest).uniform(-1, 1, (30, 4))
    quaternions[:, largest] = np.where(np.arange(30) % 2, -0.9, 0.9)
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    assert (np.abs(quaternions).argmax(axis=1) == largest).all()
    matrices = rm.to_matrices(quaternions)
    np.testing.assert_allclose(matrices, as_matrices(quaternions), atol=1e-12)
    found = rm.to_quaternions(matrices)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)
    signs = np.sign(np.sum(found * quaternions, axis=1, keepdims=True))
    np.testing.assert_allclose(signs * found, quaternions, atol=1e-12)


def test_quaternions_of_half_turns_are_exact():
    halves = np.array([[0.0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]])
    found = rm.to_quaternions(as_matrices(halves))
    np.testing.assert_allclose(np.abs(found), halves, atol=1e-12)


def test_quaternions_of_any_length_are_one_rotation():
    quaternions = some().as_quat(scalar_first=True)
    np.testing.assert_allclose(rm.to_matrices(7 * quaternions), as_matrices(quaternions), atol=1e-12)
    np.testing.assert_allclose(rm.to_matrices(-quaternions), as_matrices(quaternions), atol=1e-12)


def test_any_number_of_axes_is_kept():
    turns = some(12).as_matrix().reshape(3, 4, 3, 3)
    quaternions = rm.to_quaternions(turns)
    assert quaternions.shape == (3, 4, 4)
    np.testing.assert_allclose(rm.to_matrices(quaternions), turns, atol=1e-12)


def test_continuous_quaternions_run_on_through_whole_turns():
    angles = np.linspace(0.1, 4 * np.pi, 80)
    wanted = np.stack([np.cos(angles / 2), 0 * angles, np.sin(angles / 2), 0 * angles], axis=1)
    signs = np.where(np.random.default_rng(0).random(80) < 0.5, -1, 1)[:, None]
    np.testing.assert_allclose(rm.continuous(signs * wanted), wanted)
    both = np.stack([signs * wanted, -signs * wanted], axis=1)
    np.testing.assert_allclose(rm.continuous(both), np.stack([wanted, wanted], axis=1))


def test_continuous_quaternions_begin_with_the_shorter_way():
    np.testing.assert_array_equal(rm.continuous(np.array([[-1.0, 0, 0, 0]])), [[1, 0, 0, 0]])
    np.testing.assert_array_equal(rm.continuous(np.array([[0.5, 0.5, 0.5, 0.5]])), [[0.5] * 4])


@pytest.mark.parametrize("angle", [0.0, 1e-7, 1e-3, 1.0, 3.0])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_slerp_goes_a_share_of_the_shortest_way(angle, share):
    starts = some()
    axes = rm.unit(directions(50))
    stops = Rotation.from_rotvec(axes * angle) * starts
    wanted = (Rotation.from_rotvec(axes * angle * share) * starts).as_matrix()
    start, stop = (turns.as_quat(scalar_first=True) for turns in (starts, stops))
    for sign in (1, -1):  # either quaternion of the same rotation
        between = rm.slerp(start, sign * stop, share)
        np.testing.assert_allclose(np.linalg.norm(between, axis=1), 1, atol=1e-9)
        np.testing.assert_allclose(rm.to_matrices(between), wanted, atol=1e-9)
