# SPDX-License-Identifier: GPL-3.0-or-later
"""The floor is found below people who walk, jump, climb or stand, filmed by a camera that is not level."""

from pathlib import Path

import numpy as np
import pytest
from sparse2dense.inference.decoding.floor import Floor, estimate_floor, facing
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


@pytest.mark.parametrize(
    ("motion", "fps", "up", "point", "forward"),
    [
        (
            "walk",
            30,
            (-0.04167, -0.98742, -0.15252),
            (0.90282, 0.52487, 5.61934),
            (-0.49635, 0.15294, -0.85454),
        ),
        (
            "jump",
            30,
            (-0.03959, -0.98964, -0.13802),
            (0.29894, 0.81084, 4.16179),
            (-0.07989, 0.14083, -0.98681),
        ),
        (
            "step",
            30,
            (-0.04583, -0.99178, -0.11947),
            (0.81028, 0.92031, 3.19886),
            (-0.9916, 0.03069, 0.12562),
        ),
        ("stand", 30, (-0.04451, -0.98915, -0.14), (0.30323, 0.9228, 3.33138), (0.04066, 0.13823, -0.98957)),
        (
            "jump",
            60,
            (-0.03845, -0.98957, -0.1388),
            (0.29793, 0.81029, 4.1624),
            (-0.04321, 0.14042, -0.98915),
        ),
        (
            "stand",
            12,
            (-0.04606, -0.98969, -0.13564),
            (0.30458, 0.92313, 3.32757),
            (0.02288, 0.1347, -0.99062),
        ),
    ],
)
def test_a_clip_decoded_again_stands_where_it_stood(held_out_motions, body, motion, fps, up, point, forward):
    """Scenes keep a clip's place: another version that finds another floor would shift what they show."""
    keypoints = held_out_motions[motion] @ camera_turn(8, -3).T + [0.3, 0.9, 3.5]
    floor = estimate_floor(keypoints, fps, ShapedBody(body, np.zeros(body.shape_size)))
    np.testing.assert_allclose(floor.up, up, atol=3e-5)
    np.testing.assert_allclose(floor.point, point, atol=1e-4)
    np.testing.assert_allclose(floor.forward, forward, atol=3e-5)


@pytest.fixture(scope="module")
def person(body):
    return ShapedBody(body, np.zeros(body.shape_size))


def test_feet_that_only_pass_below_are_no_contacts(person):
    """Bouncing: three moments in four on the floor, then down into a pit and out of it."""
    standing = person.keypoints + np.array([0, 0, 4])
    depth = np.where(np.arange(120) % 20 < 15, 0, np.array([0, 0.2, 0.4, 0.4, 0.2])[np.arange(120) % 5])
    floor = estimate_floor(standing + depth[:, None, None] * [0, 1, 0], 30, person)
    sole = person.vertices[:, 1].max()
    assert floor.heights(np.array([0, sole, 4])) == pytest.approx(0, abs=0.02)


def test_a_level_camera_is_believed_where_nobody_stands_on_anything(person):
    """Someone who hangs in the air, knees drawn up, turning over, tells nothing of where up is."""
    curled = person.keypoints.copy()
    curled[13:] = curled[13:15].mean(axis=0)  # legs drawn up to the hips
    turns = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    turn = np.zeros((40, 3, 3))
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = np.cos(turns)
    turn[:, 2, 1] = np.sin(turns)
    turn[:, 1, 2] = -turn[:, 2, 1]
    falling = 3 * np.linspace(-1, 1, 40)[:, None, None] * [0, 1, 0]
    floor = estimate_floor(curled @ np.swapaxes(turn, 1, 2) + falling + [0, 0, 5], 30, person)
    assert floor.up @ [0, -1, 0] > np.cos(np.radians(3))


def test_somebody_who_lies_on_one_side_is_taken_to_face_the_camera():
    up = np.array([0, -np.cos(0.3), -np.sin(0.3)])
    across = np.zeros((1, 23, 3))
    across[:, [3, 13]] = up  # the left straight above the right
    ahead = facing(across, up)
    np.testing.assert_allclose(ahead, [0, np.sin(0.3), -np.cos(0.3)], atol=1e-6)
    np.testing.assert_allclose([ahead @ up, np.linalg.norm(ahead)], [0, 1], atol=1e-9)


def test_a_quarter_turn_to_the_left_is_faced_to_the_left(person):
    """Left is the person's: at +x for the camera of one who faces it."""
    up = np.array([0.0, -1, 0])
    np.testing.assert_allclose(facing(person.keypoints[None], up), [0, 0, -1], atol=0.05)
    to_the_left = person.keypoints @ np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0]]).T
    np.testing.assert_allclose(facing(to_the_left[None], up), [1, 0, 0], atol=0.05)


def test_where_the_person_faces_is_told_by_the_first_second(person):
    """Then they turn right round."""
    turned = person.keypoints * np.array([-1, 1, -1])
    keypoints = np.stack([person.keypoints] * 30 + [turned] * 90) + np.array([0, 0, 4])
    assert estimate_floor(keypoints, 30, person).forward @ [0, 0, -1] > 0.99
    assert estimate_floor(keypoints[10:], 20, person).forward @ [0, 0, -1] > 0.99
    assert estimate_floor(keypoints[14:], 30, person).forward @ [0, 0, -1] > 0.99
    assert estimate_floor(keypoints[16:], 30, person).forward @ [0, 0, -1] < -0.99
    assert estimate_floor(keypoints[29:31], 1, person).forward @ [0, 0, -1] > 0.99


def test_a_long_clip_is_looked_at_every_so_manieth_frame(person, held_out_motions):
    """Eleven minutes, and the same filmed at three times the rate: more than are looked at one by one."""
    jump = (held_out_motions["jump"] @ camera_turn(8, -3).T + [0.3, 0.9, 3.5]).astype(np.float32)
    long = np.tile(jump, (190, 1, 1))
    slow, fast = estimate_floor(long, 30, person), estimate_floor(np.repeat(long, 3, axis=0), 90, person)
    np.testing.assert_allclose(fast.up, slow.up, atol=1e-5)
    np.testing.assert_allclose(fast.point, slow.point, atol=1e-4)
    np.testing.assert_allclose(fast.forward, slow.forward, atol=1e-5)


def test_heights_are_metres_above_the_floor():
    floor = Floor(np.array([0.0, -1, 0]), np.array([5.0, 1, 5]), np.array([0.0, 0, -1]))
    np.testing.assert_array_equal(floor.heights(np.array([[0.0, 1, 0], [1, -0.5, 2]])), [0, 1.5])


def test_feet_press_against_the_floor_and_do_not_go_through_it(body):
    shaped = ShapedBody(body, np.zeros(body.shape_size))
    up = np.array([0.0, -1.0, 0.0])
    sole = shaped.vertices[:, 1].max()
    feet = body.share_of(("left_foot", "right_foot"))

    def rested(sunk):
        """The body at rest, whose soles lie so far below the floor."""
        floor = Floor(up, np.array([0, sole - sunk, 0]), np.array([0.0, 0, -1]))
        return floor.heights(floor.rest(shaped.vertices[None], feet)[0]), floor.heights(shaped.vertices)

    after, before = rested(0.021)
    assert -0.008 < after.min() < 0 and before.min() < -0.02
    same = (feet <= 0.5) | (before >= 0)
    np.testing.assert_allclose(after[same], before[same], atol=1e-6)
    assert (np.diff(after[np.argsort(before)][before[np.argsort(before)] < 0]) > -1e-6).all(), "in order"
    after, before = rested(0.3)
    np.testing.assert_allclose(after[before < -0.1], before[before < -0.1], atol=1e-6)  # on a lower step
