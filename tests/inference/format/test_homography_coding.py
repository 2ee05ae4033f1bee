# SPDX-License-Identifier: GPL-3.0-or-later
"""A moving camera as bytes: how far off it is, which views are possible, and what it must survive."""

import numpy as np
import pytest
from sparse2dense.inference.format.homography_coding import (
    canvas_corners,
    check_corners,
    decode_group,
    encode_group,
)
from sparse2dense.models.errors import InputError

WIDTH, HEIGHT = 136, 200
HOME = np.array([[0, 0], [136, 0], [136, 200], [0, 200]], float)
UNIT = 136 / 2048


def test_corners_go_round_clockwise_from_the_top_left():
    corners = canvas_corners(WIDTH, HEIGHT)
    np.testing.assert_array_equal(corners, HOME)
    assert corners.dtype == np.float64


def test_a_view_comes_back_to_two_thirds_of_a_unit_a_coefficient(panned):
    """Four coefficients a corner and axis, each at most 0.65 units off, half a unit in the first frame."""
    group = encode_group(panned.views, WIDTH, HEIGHT)
    back = decode_group(group, len(panned.views), WIDTH, HEIGHT)
    assert back.dtype == np.float32
    error = np.abs(back - panned.views)
    assert error[0].max() <= 4 * 0.5 * UNIT + 1e-4
    assert error.max() <= 4 * 0.65 * UNIT + 1e-4
    assert len(group) * 8 / len(panned.views) < 16


@pytest.mark.parametrize(
    "corner_moves",
    [
        [[1, 0]] * 4,
        [[0, 1]] * 4,
        [[1, 0], [-1, 0], [-1, 0], [1, 0]],
        [[0, 1], [0, 1], [0, -1], [0, -1]],
        [[0, 0], [1, 1], [0, 0], [0, 0]],
        [[0, 0], [0, 0], [1, -1], [0, 0]],
    ],
)
def test_each_way_that_a_canvas_moves_is_followed(corner_moves):
    """Shift, zoom, shear and twist, faster and faster, and steps that are larger than the tables hold."""
    time = np.concatenate([np.arange(20) ** 2 / 16, [0.0, 40.0, 0.0]])
    views = HOME + np.array(corner_moves) * time[:, None, None]
    back = decode_group(encode_group(views, WIDTH, HEIGHT), len(views), WIDTH, HEIGHT)
    assert np.abs(back - views).max() < 0.2


def test_a_camera_that_rests_costs_next_to_nothing():
    still = np.repeat(HOME[None] + [3, -5], 300, axis=0)
    group = encode_group(still, WIDTH, HEIGHT)
    assert len(group) * 8 / 300 < 3
    np.testing.assert_allclose(decode_group(group, 300, WIDTH, HEIGHT), still, atol=UNIT)


def test_the_way_of_a_camera_is_guessed_from_its_last_steps(panned):
    """A steady pan costs little more than a camera that rests, one that shakes as much costs a lot."""
    rng = np.random.default_rng(2)
    steps = np.full((300, 1, 2), 20 * UNIT)
    steady = HOME + steps.cumsum(0)
    shaken = HOME + (steps * rng.choice([-1, 1], steps.shape)).cumsum(0)
    rests = np.repeat(HOME[None], 300, axis=0)
    sizes = [len(encode_group(views, WIDTH, HEIGHT)) for views in (rests, steady, shaken)]
    assert sizes[1] < sizes[0] + 40
    assert sizes[2] > 4 * sizes[1]


def test_one_frame_is_a_group():
    back = decode_group(encode_group(HOME[None] + 2.5, WIDTH, HEIGHT), 1, WIDTH, HEIGHT)
    assert back.shape == (1, 4, 2)
    np.testing.assert_allclose(back[0], HOME + 2.5, atol=UNIT)


@pytest.mark.parametrize("corner", range(4))
@pytest.mark.parametrize("axis", [0, 1])
def test_a_corner_lies_at_most_sixteen_sides_away(corner, axis):
    far = HOME[None] * 20 - np.array([1000, 1000])  # a large quadrilateral, about the canvas
    for sign in (-1, 1):
        shifted = HOME[None] + np.eye(2)[axis] * sign * 16 * 136
        check_corners(shifted, WIDTH, HEIGHT)
        shifted[0, corner, axis] += sign * 1e-6
        with pytest.raises(InputError, match="motion is impossible") as caught:
            check_corners(shifted, WIDTH, HEIGHT)
        assert caught.value.code == "bad_camera_motion"
    with pytest.raises(InputError):
        check_corners(far, WIDTH, HEIGHT)


def test_the_smallest_view_is_a_64th_of_the_canvas():
    """At every corner the edges span at least width × height / 4096."""
    small = HOME / 64
    check_corners(np.stack([HOME, small]), WIDTH, HEIGHT)
    with pytest.raises(InputError):
        check_corners(np.stack([HOME, small * 0.9999]), WIDTH, HEIGHT)
    check_corners(np.array([[[0, 0], [136 / 4096, 0], [136 / 4096, 200], [0, 200]]]), WIDTH, HEIGHT)


@pytest.mark.parametrize(
    "wrong",
    [
        HOME[::-1],  # seen from behind
        HOME[[1, 0, 2, 3]],  # crossed
        np.array([[0, 0], [136, 0], [10, 10], [0, 200]]),  # not convex
        np.array([[0, 0], [68, 0], [136, 0], [0, 200]]),  # a triangle
        np.zeros((4, 2)),
        np.full((4, 2), np.nan),
        np.where(np.arange(8).reshape(4, 2) == 5, np.nan, HOME),
        np.where(np.arange(8).reshape(4, 2) == 5, np.inf, HOME),
    ],
)
def test_what_no_camera_sees(wrong):
    with pytest.raises(InputError, match="motion"):
        check_corners(np.stack([HOME, wrong, HOME]), WIDTH, HEIGHT)


def test_impossible_views_are_refused_when_they_are_decoded():
    folded = np.stack([HOME, HOME[::-1]])
    with pytest.raises(InputError, match="motion is impossible"):
        decode_group(encode_group(folded, WIDTH, HEIGHT), 2, WIDTH, HEIGHT)


def test_camera_motions_from_strangers(panned):
    """Random bytes as a group: views that a camera can have, or one InputError."""
    rng = np.random.default_rng(4)
    group = encode_group(panned.views[:40], WIDTH, HEIGHT)
    refused = 0
    for turn in range(40):
        altered = bytearray(group) if turn % 2 else bytearray(rng.bytes(len(group)))
        for _ in range(3):
            altered[rng.integers(len(altered))] = rng.integers(256)
        try:
            decoded = decode_group(bytes(altered), 40, WIDTH, HEIGHT)
            check_corners(decoded, WIDTH, HEIGHT)
        except InputError:
            refused += 1
    assert refused > 10
