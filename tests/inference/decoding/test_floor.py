# SPDX-License-Identifier: GPL-3.0-or-later
"""The floor is found below people who walk, jump, climb or stand, filmed by a camera that is not level."""

from pathlib import Path

import numpy as np
import pytest
from sparse2dense.inference.decoding.floor import estimate_floor
from sparse2dense.inference.format.container import S2DFile
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.shaped_body import ShapedBody

DATA = Path(__file__).parents[2] / "data"


def camera_turn(pitch, roll):
    """Camera space after the camera looked up by ``pitch`` and was rolled by ``roll`` degrees."""
    (a, b), (c, d) = np.cos(np.radians([pitch, roll])), np.sin(np.radians([pitch, roll]))
    return np.array([[b, -d, 0], [d, b, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, a, -c], [0, c, a]])


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.mark.parametrize(
    ("motion", "degrees", "centimetres"),
    [("walk", 2, 5), ("jump", 1.5, 2), ("step", 2.5, 3), ("stand", 2, 2)],  # the walker's captured feet hover
)
@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (12, -3), (-10, 2)])
def test_tilt_and_height_of_a_known_floor_are_found(
    held_out_motions, body, motion, degrees, centimetres, pitch, roll
):
    """Motions captured on a floor at y = 0, with 8 mm of noise on every point."""
    keypoints = held_out_motions[motion]
    turn, away = camera_turn(pitch, roll), np.array([0.3, 0.9, 3.5])
    noise = np.random.default_rng(3).normal(0, 0.008, keypoints.shape)
    floor = estimate_floor(
        (keypoints + noise) @ turn.T + away, 30, ShapedBody(body, np.zeros(body.shape_size))
    )

    assert np.degrees(np.arccos(floor.up @ turn @ [0, -1, 0])) < degrees
    hips = keypoints[0, 13:15].mean(axis=0)
    below = (hips * [1, 0, 1]) @ turn.T + away
    assert np.linalg.norm(floor.point - below) * 100 < centimetres + 100 * np.sin(np.radians(degrees))
    assert abs(floor.heights(below)) * 100 < centimetres


def test_walker_faces_where_they_go(held_out_motions, body):
    keypoints = held_out_motions["walk"][60:]  # after the first step
    floor = estimate_floor(keypoints, 30, ShapedBody(body, np.zeros(body.shape_size)))
    way = keypoints[30, 13:15].mean(axis=0) - keypoints[0, 13:15].mean(axis=0)
    assert floor.forward @ way / np.linalg.norm(way) > 0.95
    np.testing.assert_allclose([floor.forward @ floor.up, floor.forward @ floor.forward], [0, 1], atol=1e-6)


def test_treadmill_is_a_floor_though_the_feet_slide(held_out_motions, body):
    """The walk brought to stand on the spot: no foot ever rests."""
    keypoints = held_out_motions["walk"].copy()
    keypoints[..., [0, 2]] -= keypoints[:, 13:15].mean(axis=1)[:, None, [0, 2]]
    turn = camera_turn(8, 2)
    floor = estimate_floor(keypoints @ turn.T + [0, 1, 3], 30, ShapedBody(body, np.zeros(body.shape_size)))
    assert np.degrees(np.arccos(floor.up @ turn @ [0, -1, 0])) < 2.5
    assert abs(floor.heights(np.array([0, 1, 3]))) < 0.05


def test_one_frame_stands_on_its_lower_foot(body):
    vertices, _ = body.rest(np.zeros(body.shape_size))
    keypoints = body.keypoints(vertices)[None] + np.array([0, 0, 3])
    floor = estimate_floor(keypoints, 30, ShapedBody(body, np.zeros(body.shape_size)))
    assert abs(floor.point[1] - vertices[:, 1].max()) < 0.01
    assert floor.up @ [0, -1, 0] > np.cos(np.radians(3))
    np.testing.assert_allclose(floor.forward, [0, 0, -1], atol=0.1)


def test_filmed_clip_stands_on_its_treadmill(body):
    """The camera looks down and is rolled: the edges of a cupboard and a door in the picture show it.

    Their lines meet 702 pixels left of and 3,336 below the middle of the filmed picture of 1,080 pixels'
    width, whose focal length is 1,663 pixels.
    """
    file = S2DFile.open(DATA / "balance_short.s2d")
    keypoints = file.keypoints(0, file.header.frames)
    floor = estimate_floor(keypoints, file.header.fps, ShapedBody(body, file.header.shape))
    down = np.array([-702, 3336, 1663]) / np.linalg.norm([-702, 3336, 1663])
    assert np.degrees(np.arccos(-floor.up @ down)) < 10
    heights = floor.heights(keypoints)
    assert abs(heights.min(axis=1).mean()) < 0.05, "he stands on one foot after the other"
    assert floor.forward @ [0, 0, -1] > 0.7, "he faces the camera"
