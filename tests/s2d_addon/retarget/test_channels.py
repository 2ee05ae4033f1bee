# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotations as the channels of Blender's rotation modes, and the keys that they need."""

import itertools
import time

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.models.rotations import angles_between
from sparse2dense.s2d_addon.bake.keys import straight_between
from sparse2dense.s2d_addon.retarget.channels import from_channels, rotation_keys, to_channels

from .people import wandering

ORDERS = ["".join(order) for order in itertools.permutations("XYZ")]
MODES = ["QUATERNION", "AXIS_ANGLE", *ORDERS]


def slow(frames=300):
    """A smooth motion through large turns."""
    t = np.linspace(0, 6, frames)
    quaternions = np.stack([np.cos(t), np.sin(t), 0.1 * t, np.full(frames, 0.3)], axis=1)
    return Rotation.from_quat(quaternions, scalar_first=True).as_matrix()


def about(axis, angles):
    return Rotation.from_rotvec(np.outer(angles, axis)).as_matrix()


# ---- there and back --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_channels_are_continuous_and_make_the_same_rotations(mode):
    rotations = wandering(400, seed=1, step=0.15)
    channels = to_channels(rotations, mode)
    assert np.abs(from_channels(channels, mode) - rotations).max() < 1e-6
    steps = np.abs(np.diff(channels, axis=0))
    assert steps.max() < (2.2 if mode in ORDERS else 1.2)
    assert np.median(steps) < 0.1


def test_quaternions_have_w_first_and_axis_angles_the_angle():
    turns = about((0, 0.6, 0.8), [0.5])
    half = np.sin(0.25)
    np.testing.assert_allclose(to_channels(turns, "QUATERNION"), [[np.cos(0.25), 0, 0.6 * half, 0.8 * half]])
    np.testing.assert_allclose(to_channels(turns, "AXIS_ANGLE"), [[0.5, 0, 0.6, 0.8]])


@pytest.mark.parametrize("order", ORDERS)
def test_euler_angles_turn_about_the_first_axis_first(order):
    angles = np.random.default_rng(0).uniform(-1.2, 1.2, (50, 3))
    wanted = Rotation.from_euler(order.lower(), angles[:, ["XYZ".index(axis) for axis in order]]).as_matrix()
    np.testing.assert_allclose(from_channels(angles, order), wanted, atol=1e-12)
    for i in range(50):
        np.testing.assert_allclose(to_channels(wanted[i : i + 1], order), angles[i : i + 1], atol=1e-9)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sign", [1, -1])
def test_euler_angles_at_the_gimbals_lock_make_the_rotation(order, sign):
    angles = np.zeros((8, 3))
    angles[:, "XYZ".index(order[0])] = np.linspace(-2, 2, 8)
    angles[:, "XYZ".index(order[1])] = sign * np.pi / 2
    angles[:, "XYZ".index(order[2])] = 0.7
    rotations = from_channels(angles, order)
    channels = to_channels(rotations, order)
    np.testing.assert_allclose(from_channels(channels, order), rotations, atol=1e-6)
    assert np.abs(np.diff(channels, axis=0)).max() < 1


@pytest.mark.parametrize("order", ORDERS)
def test_euler_angles_run_on_through_whole_turns(order):
    turns = np.linspace(0, 6 * np.pi, 120)
    for axis in range(3):
        channels = to_channels(about(np.eye(3)[axis], turns), order)
        assert np.abs(np.diff(channels, axis=0)).max() < 0.2
        np.testing.assert_allclose(from_channels(channels, order), about(np.eye(3)[axis], turns), atol=1e-6)
        if axis != "XYZ".index(order[1]):
            assert np.ptp(channels[:, axis]) == pytest.approx(6 * np.pi)


def test_axes_run_on_where_nothing_is_turned():
    angles = np.array([0, 0, 0.4, 0.8, 0.4, 0, 0, 0.3])
    channels = to_channels(about((1, 0, 0), angles), "AXIS_ANGLE")
    np.testing.assert_allclose(channels, [(angle, 1, 0, 0) for angle in angles], atol=1e-7)


@pytest.mark.parametrize("mode", MODES)
def test_a_bone_that_never_turns_has_channels_in_every_mode(mode):
    still = to_channels(np.tile(np.eye(3), (5, 1, 1)), mode)
    wanted = {"QUATERNION": (1, 0, 0, 0), "AXIS_ANGLE": (0, 0, 1, 0)}.get(mode, (0, 0, 0))
    np.testing.assert_array_equal(still, np.tile(wanted, (5, 1)))
    np.testing.assert_array_equal(from_channels(still, mode), np.tile(np.eye(3), (5, 1, 1)))


def test_channels_without_length_are_turned_as_blender_turns_them():
    np.testing.assert_allclose(from_channels(np.zeros((1, 4)), "QUATERNION")[0], np.diag([1, -1, -1]))
    nowhere = from_channels(np.array([[2.0, 0, 0, 0], [np.pi, 0, 0, 0]]), "AXIS_ANGLE")
    np.testing.assert_allclose(nowhere, np.tile(np.eye(3), (2, 1, 1)), atol=1e-12)
    long = from_channels(np.array([[2.0, 0, 7, 0]]), "AXIS_ANGLE")
    np.testing.assert_allclose(long, about((0, 1, 0), [2.0]))


# ---- keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["QUATERNION", "AXIS_ANGLE", "XYZ", "ZXY"])
def test_rotations_stay_within_the_angle_of_few_keys(mode):
    channels = to_channels(slow(), mode)
    counts = []
    for angle in np.radians((0.2, 2)):
        kept = rotation_keys(channels, mode, angle)
        assert (kept[0], kept[-1]) == (0, 299)
        off = angles_between(from_channels(straight_between(channels, kept), mode), slow())
        assert angle / 3 < off.max() <= angle + 1e-9
        counts.append(len(kept))
    assert counts[1] < counts[0] < 150


@pytest.mark.parametrize("mode", MODES)
def test_an_angle_of_nothing_keeps_every_frame(mode):
    assert rotation_keys(to_channels(slow(20), mode), mode, 0.0).tolist() == list(range(20))


@pytest.mark.parametrize("mode", ["QUATERNION", "AXIS_ANGLE", "XYZ"])
@pytest.mark.parametrize("angle", [5e-324, 1e-300, 1e-17, 1e-9, 1e-8, 2e-8, 1e-7, 1e-4, 0.1, 3.0, 10.0])
def test_choosing_ends_for_every_angle_and_motion(mode, angle):
    motions = [wandering(60, 2), wandering(1, 2), wandering(2, 2), np.tile(np.eye(3), (40, 1, 1))]
    channels = [to_channels(motion, mode) for motion in motions]
    channels += [1e100 * channels[0], 1e-100 * channels[0], 0 * channels[0]]
    for values in channels:
        kept = rotation_keys(values, mode, angle)
        assert (kept[0], kept[-1]) == (0, len(values) - 1)
    assert rotation_keys(channels[3], mode, angle).tolist() == [0, 39]


def test_minute_turns_are_told_apart():
    """Far below what a cosine can tell."""
    turns = about((0, 0, 1), 1e-9 * np.array([0, 1, 2, 3, 2, 1, 0]))
    assert rotation_keys(to_channels(turns, "XYZ"), "XYZ", 1e-10).tolist() == [0, 3, 6]
    assert rotation_keys(to_channels(turns, "XYZ"), "XYZ", 1e-8).tolist() == [0, 6]


def test_a_long_clip_takes_seconds():
    channels = to_channels(slow(20_000), "QUATERNION")
    started = time.perf_counter()
    rotation_keys(channels, "QUATERNION", np.radians(0.01))
    assert time.perf_counter() - started < 30
