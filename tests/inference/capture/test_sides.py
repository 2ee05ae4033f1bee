# SPDX-License-Identifier: GPL-3.0-or-later
"""Which side is left, over a whole clip in which the estimator exchanges them now and then."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sparse2dense.inference.capture.pose_lifter import Landmarks
from sparse2dense.inference.capture.sides import settle_sides

RATE = 30.0
# BlazePose's points by side; the nose is in the middle.
LEFT, RIGHT = [1, 2, 3, 7, 9, *range(11, 33, 2)], [4, 5, 6, 8, 10, *range(12, 33, 2)]


@pytest.fixture(scope="module")
def walk():
    """Landmarks of the held-out walk, seen by a camera that goes once around in two seconds."""
    path = Path(__file__).parents[2] / "data" / "held_out_keypoints.npz"
    with np.load(path) as stored:
        keypoints = stored["walk"][:60].astype(float) / 10_000
    points = keypoints - keypoints[:, 13:15].mean(axis=1, keepdims=True)
    angle = np.linspace(0, 2 * np.pi, len(points))
    across = np.cos(angle)[:, None] * points[..., 0] + np.sin(angle)[:, None] * points[..., 2]
    depth = np.cos(angle)[:, None] * points[..., 2] - np.sin(angle)[:, None] * points[..., 0]
    seen = np.stack([across, points[..., 1], depth], axis=-1)
    named = [0, 7, 8, *range(11, 33)]  # of the 33; the keypoints are those of them that are not thumbs
    named = [point for point in named if point not in (21, 22)]
    world = np.repeat(seen[:, :1], 33, axis=1)
    world[:, named] = seen
    world[:, 21], world[:, 22] = world[:, 15], world[:, 16]
    image = 128 + 100 * world[..., :2]
    return Landmarks(image, world, np.full(world.shape[:2], 0.9), np.ones(len(world)))


def wrong(landmarks, frames):
    """Exchange left and right, and reverse depth, in ``frames``, point by point."""
    found = Landmarks(*(value.copy() for value in vars(landmarks).values()))
    for frame in frames:
        for one, other in ((LEFT, RIGHT), (RIGHT, LEFT)):
            found.image[frame, one] = landmarks.image[frame, other]
            found.world[frame, one] = landmarks.world[frame, other]
        found.world[frame, :, 2] *= -1
    return found


def assert_alike(found, expected):
    for name, value in vars(expected).items():
        np.testing.assert_array_equal(vars(found)[name], value, err_msg=name)


@pytest.mark.parametrize("frames", [[20], [0, 1, 2], [59], range(10, 35), [5, 6, 20, 22, 24, *range(40, 55)]])
def test_frames_that_are_exchanged_are_found_and_put_right(walk, frames):
    sides = settle_sides(wrong(walk, frames), RATE)
    found, exchanged = sides.landmarks, sides.exchanged
    assert np.flatnonzero(exchanged).tolist() == list(frames)
    assert_alike(found, walk)


def test_a_person_who_turns_around_is_left_alone(walk):
    sides = settle_sides(walk, RATE)
    found, exchanged = sides.landmarks, sides.exchanged
    assert not exchanged.any()
    assert_alike(found, walk)


def test_what_the_estimator_says_most_often_is_right(walk):
    sides = settle_sides(wrong(walk, range(25)), RATE)
    found, exchanged = sides.landmarks, sides.exchanged
    assert exchanged.sum() == 25
    assert_alike(found, walk)
    mostly = wrong(walk, range(40))
    sides = settle_sides(mostly, RATE)
    found, exchanged = sides.landmarks, sides.exchanged
    assert np.flatnonzero(exchanged).tolist() == list(range(40, 60))
    assert_alike(found, wrong(walk, range(60)))


def test_frames_without_the_person_hold_nothing_up(walk):
    gone = replace(walk, score=np.where(np.isin(np.arange(60), (19, 20, 21)), 0.0, walk.score))
    sides = settle_sides(wrong(gone, [18, 19, *range(22, 30)]), RATE)
    found, exchanged = sides.landmarks, sides.exchanged
    assert np.flatnonzero(exchanged).tolist() == [18, *range(22, 30)]
    assert_alike(found, wrong(gone, [19]))


def test_a_person_who_came_back_the_other_way_round_is_believed(walk):
    """Two seconds later somebody may well have turned around: what was seen before tells nothing."""
    late = np.concatenate([np.arange(10), np.arange(10, 60)])
    score = np.where((late >= 10) & (late < 45), 0.0, 1.0)
    turned = wrong(replace(walk, score=score), range(45, 60))
    sides = settle_sides(turned, 10.0)
    found, exchanged = sides.landmarks, sides.exchanged
    assert not exchanged.any()
    assert_alike(found, turned)


@pytest.mark.parametrize("seen", [0, 1])
def test_the_shortest_clips(walk, seen):
    few = replace(walk, score=np.where(np.arange(60) < seen, 1.0, 0.0))
    sides = settle_sides(few, RATE)
    found, exchanged = sides.landmarks, sides.exchanged
    assert not exchanged.any()
    assert_alike(found, few)


def test_frames_between_which_an_exchange_would_not_show_are_in_doubt(walk):
    """For a quarter of a second the person is a line: left and right lie on each other."""
    flat = Landmarks(*(value.copy() for value in vars(walk).values()))
    hidden = slice(30, 38)
    for one, other in zip(LEFT, RIGHT, strict=True):
        for points in (flat.image, flat.world):
            points[hidden, one] = points[hidden, other] = (points[hidden, one] + points[hidden, other]) / 2
    flat.world[hidden, :, 2] = 0
    unsure = settle_sides(flat, RATE).unsure
    assert unsure[hidden].all()
    assert not unsure[14:28].any()
