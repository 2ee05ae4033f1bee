# SPDX-License-Identifier: GPL-3.0-or-later
"""Following a camera, and the plate that follows it, on windows cut out of one large picture."""

import cv2
import numpy as np
import pytest
from sparse2dense.inference.capture.background import MOST_CANVASES, Sample, moving_plate
from sparse2dense.inference.capture.camera_motion import follow_camera, people_in, seen_from
from sparse2dense.inference.format.homography_coding import canvas_corners

WIDTH, HEIGHT, FRAMES = 200, 160, 40
HOME = canvas_corners(WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(3)
    sizes = ((30, 40), (75, 100), (150, 200))
    layers = [
        cv2.resize(rng.normal(0, 30, (*size, 3)), (800, 600), interpolation=cv2.INTER_CUBIC) for size in sizes
    ]
    return np.clip(128 + sum(layers), 0, 255).astype(np.uint8)


def hand_held(frames, pan):
    """Where a shaken, turned, zoomed and tilted window's corners lie in the world."""
    time = np.arange(frames)
    turn, zoom = 0.03 * np.sin(time / 5), 1 + 0.03 * np.sin(time / 7)
    rotation = np.stack([np.cos(turn), np.sin(turn), -np.sin(turn), np.cos(turn)], -1).reshape(-1, 2, 2)
    middle = HOME.mean(0)
    corners = (HOME - middle) @ rotation * zoom[:, None, None]
    corners[:, :2] *= 1 + 0.02 * np.sin(time / 6)[:, None, None]  # a keystone
    shift = np.stack([170 + pan * time + 2 * np.sin(time / 2), 220 + 3 * np.cos(time / 3)], -1)
    return corners + middle + shift[:, None]


def film(world, corners, person=None):
    """Pictures of the windows, and the masks of a red block that stands in front at ``person(t)``."""
    canvas = (HOME - 0.5).astype(np.float32)
    for t, window in enumerate(corners):
        to_world = cv2.getPerspectiveTransform(canvas, (window - 0.5).astype(np.float32))
        picture = cv2.warpPerspective(
            world, to_world, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        if person:
            x = person(t)
            mask[30:140, x : x + 40] = 255
            picture[mask > 0] = (230, 20, 20)
            picture[40:130:10, x : x + 40 : 7] = 0  # something to follow on it
        yield picture, mask


def walking(t):
    return 20 + 3 * t


def truth(corners, frame):
    to_frame = cv2.getPerspectiveTransform(corners[frame].astype(np.float32), HOME.astype(np.float32))
    return cv2.perspectiveTransform(corners.reshape(1, -1, 2), to_frame)[0].reshape(corners.shape)


def test_a_hand_held_camera_is_followed_past_a_walking_person(world):
    corners = hand_held(FRAMES, pan=4)
    filmed = list(film(world, corners, walking))
    found = follow_camera((picture for picture, _ in filmed), lambda t: filmed[t][1] > 0, 25)
    views = seen_from(found, 25, WIDTH, HEIGHT)
    np.testing.assert_array_equal(views[25], HOME)
    error = np.linalg.norm(views - truth(corners, 25), axis=-1)
    assert error.mean() < 0.3
    assert error.max() < 1.5


def test_a_person_who_is_not_masked_leads_nobody_astray(world):
    corners = hand_held(FRAMES, pan=2)
    pictures = [picture for picture, _ in film(world, corners, walking)]
    found = follow_camera(pictures, lambda t: np.zeros((HEIGHT, WIDTH), bool), 25)
    assert np.linalg.norm(found - truth(corners, 0), axis=-1).mean() < 0.5


def test_frames_that_show_nothing_are_passed_over(world):
    corners = hand_held(FRAMES, pan=1)
    pictures = [picture for picture, _ in film(world, corners)]
    for t in (0, 1, 10, 11, 12, FRAMES - 1):
        pictures[t] = np.full_like(pictures[t], 90)
    found = follow_camera(pictures, lambda t: np.zeros((HEIGHT, WIDTH), bool), 25)
    error = np.linalg.norm(found - truth(corners, 2), axis=-1).mean(-1)
    assert error[2:-1].mean() < 0.5
    assert error[[0, 1, -1]].max() < 8


def test_a_camera_that_returns_finds_its_way_back(world):
    """To and fro twice past a person in the middle: what was lost from view is found again in its place."""
    corners = hand_held(150, pan=0)
    corners[..., 0] += (110 + 150 * np.sin(np.arange(150) / 75 * 2 * np.pi))[:, None]
    rng = np.random.default_rng(0)
    pictures = (
        np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
        for picture, _ in film(world, corners)
    )
    middle = np.zeros((HEIGHT, WIDTH), bool)
    middle[30:140, 60:140] = True
    found = follow_camera(pictures, lambda t: middle, 25)
    assert np.linalg.norm(found - truth(corners, 0), axis=-1)[-10:].mean() < 0.8


@pytest.mark.parametrize("kind", ["bare", "cut", "hidden"])
def test_a_camera_that_cannot_be_followed_is_not_made_up(world, kind):
    pictures = [picture for picture, _ in film(world, hand_held(FRAMES, pan=1))]
    if kind == "bare":
        pictures = [np.full_like(picture, 120) for picture in pictures]
    if kind == "cut":
        pictures[20:] = [255 - cv2.flip(picture, -1) for picture in pictures[20:]]
    everywhere = np.full((HEIGHT, WIDTH), kind == "hidden")
    assert follow_camera(pictures, lambda t: everywhere, 25) is None


def test_a_view_that_no_plane_can_show_is_none():
    corners = np.stack([HOME, HOME + 40 * WIDTH, HOME])
    assert seen_from(corners, 0, WIDTH, HEIGHT) is None
    assert seen_from(corners[[0, 2]], 0, WIDTH, HEIGHT) is not None


def test_people_are_kept_out():
    person = np.zeros((23, 2))
    person[:, 0], person[:, 1] = 60, np.linspace(20, 140, 23)
    mask = people_in(WIDTH, HEIGHT, person, [], (1, 1))
    assert mask[30:130, 55:66].all()
    assert not mask[:, 110:].any()


# ---- the plate -------------------------------------------------------------------------------


def samples_of(world, corners, person):
    return [Sample(t, *shown) for t, shown in enumerate(film(world, corners, person))]


def test_the_plate_is_what_all_frames_show_without_the_person(world):
    corners = hand_held(FRAMES, pan=4)
    samples = samples_of(world, corners, walking)
    views = truth(corners, 20).astype(np.float32)
    plate, (left, top) = moving_plate(samples[20], samples, views)
    assert left < -40 and left + plate.shape[1] > WIDTH + 40
    # What the reference's camera would see of the world in the plate's place:
    to_world = cv2.getPerspectiveTransform(
        (HOME - [left, top] - 0.5).astype(np.float32), (corners[20] - 0.5).astype(np.float32)
    )
    wanted = cv2.warpPerspective(
        world, to_world, plate.shape[1::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    seen = np.zeros(plate.shape[:2], np.uint8)
    for view in views:
        cv2.fillConvexPoly(seen, np.rint(view - [left, top]).astype(int), 1)
    error = np.abs(plate.astype(int) - wanted).mean(-1)[cv2.erode(seen, np.ones((9, 9))) > 0]
    assert error.mean() < 6
    assert (error > 60).mean() < 0.005  # nothing red is left


def test_the_plate_of_a_long_pan_is_the_part_that_is_seen_most(world):
    """The camera stays at the right end: what it passed at the left is given up."""
    shifts = np.concatenate([np.linspace(-7 * WIDTH, 0, 20), np.zeros(20)])
    views = (HOME + np.stack([shifts, 0 * shifts], -1)[:, None]).astype(np.float32)
    picture = cv2.resize(world, (WIDTH, HEIGHT))
    samples = [Sample(t, picture, np.zeros((HEIGHT, WIDTH), np.uint8)) for t in range(40)]
    plate, (left, top) = moving_plate(samples[39], samples, views)
    assert plate.shape[1] <= MOST_CANVASES * WIDTH
    assert (left + plate.shape[1], top, plate.shape[0]) == (WIDTH, 0, HEIGHT)
