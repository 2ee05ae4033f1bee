# SPDX-License-Identifier: GPL-3.0-or-later
"""Lifting to camera space, on the packaged body walking in front of a known camera."""

import numpy as np
import pytest
from sparse2dense.inference.capture.camera_space import (
    bone_lengths,
    complete,
    fill,
    lift,
    look_along,
    place,
    runs,
    smooth,
    steady,
)
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.camera import Camera
from sparse2dense.models.keypoints import BONES, KEYPOINT_INDEX

CAMERA = Camera(400, 400, 128, 228)
FPS = 30.0
FIRST, SECOND = np.array(BONES).T
LOW = ("ankle", "heel", "foot_index")


@pytest.fixture(scope="module")
def truth():
    """Two seconds of a body that sways, turns and lifts its left arm; its feet stand still."""
    body = load_body()
    rest = body.keypoints(body.rest(np.zeros(body.shape_size))[0]).astype(np.float64)
    time = np.arange(60) / FPS
    points = np.repeat(rest[None], 60, axis=0)
    shoulder = KEYPOINT_INDEX["left_shoulder"]
    arm = [KEYPOINT_INDEX[f"left_{part}"] for part in ("elbow", "wrist", "pinky", "index")]
    for frame, angle in enumerate(0.8 * np.sin(2 * np.pi * time / 2)):
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        points[frame, arm] = (points[frame, arm] - points[frame, shoulder]) @ turn.T + points[frame, shoulder]
    return points + np.array([0.2, 0.1, 3.5])


def measured(truth, seed=0, pixels=0.0, metres=0.0):
    random = np.random.default_rng(seed)
    image = CAMERA.project(truth) + random.normal(0, 1, (*truth.shape[:2], 2)) * pixels
    world = truth - truth.mean(axis=1, keepdims=True) + random.normal(0, 1, truth.shape) * metres
    return image, world, np.ones(truth.shape[:2])


def true_lengths(truth):
    return np.linalg.norm(truth[0, FIRST] - truth[0, SECOND], axis=-1)


def test_exact_landmarks_give_the_exact_place(truth):
    image, world, weights = measured(truth)
    start = place(image, world, weights, CAMERA)
    np.testing.assert_allclose(world + start[:, None], truth, atol=1e-5)
    points = lift(image, world, weights, true_lengths(truth), CAMERA, FPS, strength=0)
    np.testing.assert_allclose(points, truth, atol=1e-4)


def test_noise_is_taken_out_and_the_depth_held(truth):
    image, world, weights = measured(truth, pixels=1.5, metres=0.03)
    lengths = true_lengths(truth)
    rough = lift(image, world, weights, lengths, CAMERA, FPS, strength=0)
    points = lift(image, world, weights, lengths, CAMERA, FPS)
    error, rough_error = (np.linalg.norm(each - truth, axis=-1).mean() for each in (points, rough))
    assert error < 0.04
    assert error < 0.6 * rough_error
    found = np.linalg.norm(points[:, FIRST] - points[:, SECOND], axis=-1)
    assert np.abs(found / lengths - 1).max() < 0.01
    depth = points[:, [KEYPOINT_INDEX["left_hip"], KEYPOINT_INDEX["right_hip"]], 2].mean(axis=1)
    assert np.abs(np.diff(depth)).mean() < 0.004
    feet = points[:, [KEYPOINT_INDEX["left_heel"], KEYPOINT_INDEX["right_foot_index"]]]
    assert np.linalg.norm(np.diff(feet, axis=0), axis=-1).mean() < 0.004


def test_steadying_takes_jitter_out_of_depth_and_leaves_the_picture(truth):
    """Each bone shakes about its parent, mostly in depth, and keeps its length."""
    random = np.random.default_rng(3)
    shaken = lift(
        CAMERA.project(truth),
        truth + random.normal(0, 0.03, truth.shape) * (0.2, 0.2, 1),
        np.full(truth.shape[:2], 0.2),
        true_lengths(truth),
        CAMERA,
        FPS,
        strength=0,
    )
    calm = steady(shaken, CAMERA, FPS)
    before, after = (np.abs(np.diff(each - truth, 2, axis=0)).mean(axis=(0, 1)) for each in (shaken, calm))
    assert after[2] < 0.25 * before[2]
    assert np.linalg.norm(calm - truth, axis=-1).mean() < 0.9 * np.linalg.norm(shaken - truth, axis=-1).mean()
    moved = np.linalg.norm(CAMERA.project(calm) - CAMERA.project(truth), axis=-1)
    assert np.percentile(moved, 95) < 2
    lengths = np.linalg.norm(calm[:, FIRST] - calm[:, SECOND], axis=-1)
    np.testing.assert_allclose(lengths, np.broadcast_to(true_lengths(truth), lengths.shape), rtol=0.01)


@pytest.mark.parametrize("name", ["right_wrist", "left_elbow", "left_knee", "nose"])
def test_one_wild_landmark_in_one_frame_does_not_show(truth, name):
    """Smoothing alone would spread it over the frames around, by 17 mm at the least."""
    image, world, weights = measured(truth)
    image[30, KEYPOINT_INDEX[name]] += (40, -30)
    points = lift(image, world, weights, true_lengths(truth), CAMERA, FPS)
    assert np.linalg.norm(points - truth, axis=-1)[25:36].max() < 0.005


def test_a_fast_swing_in_depth_keeps_its_reach(truth):
    """What moves fast is smoothed less than what rests, where the picture does not hold it too."""
    fast, still = truth.copy(), KEYPOINT_INDEX["left_elbow"]
    hand = [KEYPOINT_INDEX[f"left_{part}"] for part in ("wrist", "pinky", "index")]
    for frame, angle in enumerate(0.9 * np.sin(2 * np.pi * 2.5 * np.arange(60) / FPS)):
        turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        fast[frame, hand] = (truth[frame, hand] - truth[frame, still]) @ turn.T + truth[frame, still]
    image, world, weights = measured(fast)
    points = lift(image, world, weights, true_lengths(truth), CAMERA, FPS)
    reach, wanted = (np.ptp((each[:, hand[0]] - each[:, still])[10:50, 2]) for each in (points, fast))
    assert reach > 0.8 * wanted


@pytest.mark.parametrize("middle", [(128.0, 228.0), (28.0, 100.0), (250.0, 400.0)])
def test_a_person_off_the_middle_is_turned_with_the_ray_that_sees_them(middle):
    """What the network sees straight ahead lies along the ray; nothing rolls, nothing changes its size."""
    ray = np.array([(middle[0] - CAMERA.cx) / CAMERA.fx, (middle[1] - CAMERA.cy) / CAMERA.fy, 1.0])
    ray /= np.linalg.norm(ray)
    image = np.tile(np.array(middle), (2, 23, 1))
    world = np.zeros((2, 23, 3))
    world[:, 0], world[:, 1], world[:, 2] = (0, 0, 1), (1, 0, 0), (0, 1, 0)
    turned = look_along(world, image, CAMERA)[1]
    np.testing.assert_allclose(turned[0], ray, atol=1e-9)
    np.testing.assert_allclose(turned[:3] @ turned[:3].T, np.eye(3), atol=1e-9)
    assert np.linalg.det(turned[[1, 2, 0]]) == pytest.approx(1)
    across = np.cross((0, 0, 1), ray)  # the one axis that the smallest turn leaves as it is
    np.testing.assert_allclose(across @ turned[[1, 2, 0]].T, across, atol=1e-9)


def test_lengths_are_those_of_most_frames_and_of_both_sides(truth):
    """One arm is never seen, and a third of the frames see the other leg twice as long."""
    _, world, _ = measured(truth)
    seen = np.ones(world.shape[:2], bool)
    wrist, elbow = KEYPOINT_INDEX["left_wrist"], KEYPOINT_INDEX["left_elbow"]
    seen[:, [wrist, elbow]] = False
    world[::3, KEYPOINT_INDEX["right_ankle"]] += (
        world[::3, KEYPOINT_INDEX["right_ankle"]] - world[::3, KEYPOINT_INDEX["right_knee"]]
    )
    lengths = bone_lengths(world, seen)
    bones = [BONES.index((KEYPOINT_INDEX[a], KEYPOINT_INDEX[b])) for a, b in (
        ("left_elbow", "left_wrist"), ("right_knee", "right_ankle"), ("left_hip", "left_knee"),
    )]  # fmt: skip
    np.testing.assert_allclose(lengths[bones], true_lengths(truth)[bones], rtol=0.05)


def test_what_the_picture_cuts_off_is_whole_and_does_not_move_what_is_seen(truth):
    """Below the knees the network sees nothing, and squeezes the legs up to the edge."""
    image, world, weights = measured(truth)
    low = [KEYPOINT_INDEX[f"{side}_{part}"] for side in ("left", "right") for part in LOW]
    knees = [KEYPOINT_INDEX["left_knee"], KEYPOINT_INDEX["right_knee"]]
    image[:, low] = image[:, 3 * knees[:1] + 3 * knees[1:]] + (0, 8)
    world[:, low] = world[:, 3 * knees[:1] + 3 * knees[1:]] + (0, 0.05, 0.05)
    cut_off = np.zeros(weights.shape, bool)
    cut_off[:, low] = True
    lengths = bone_lengths(world, ~cut_off)
    hidden = np.isin(FIRST, low) | np.isin(SECOND, low)
    assert np.isnan(lengths[hidden]).all()
    np.testing.assert_allclose(lengths[~hidden], true_lengths(truth)[~hidden], rtol=0.05)
    done = complete(world, cut_off, truth[0])
    points = lift(
        image, done, np.where(cut_off, 0.05, weights), true_lengths(truth), CAMERA, FPS, cut_off=cut_off
    )
    error = np.linalg.norm(points - truth, axis=-1)
    assert error[:, ~cut_off[0]].mean() < 0.02
    assert error[:, low].mean() < 0.1


def test_smoothing_has_no_delay_and_keeps_slow_motion():
    time = np.arange(120) / 60
    slow = np.sin(2 * np.pi * time)[:, None, None]
    jitter = 0.1 * np.sin(2 * np.pi * 20 * time)[:, None, None]
    weights = np.ones((120, 1))
    np.testing.assert_allclose(smooth(slow + jitter, weights, 5, 60)[10:-10], slow[10:-10], atol=0.02)
    half = np.sin(2 * np.pi * 5 * time)[:, None, None]
    ratio = smooth(half, weights, 5, 60)[30:-30].std() / half[30:-30].std()
    assert ratio == pytest.approx(0.5, abs=0.01)


def test_smoothing_bridges_what_has_no_weight():
    time = np.arange(60) / 30
    curve = (time**2)[:, None, None]
    weights = np.ones((60, 1))
    weights[20:30] = 0
    broken = curve.copy()
    broken[20:30] = 99
    np.testing.assert_allclose(smooth(broken, weights, 6, 30), curve, atol=0.05)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5])
def test_very_short_clips(truth, frames):
    image, world, weights = (part[:frames] for part in measured(truth))
    points = lift(image, world, weights, true_lengths(truth), CAMERA, FPS)
    np.testing.assert_allclose(points, truth[:frames], atol=0.01)


def test_gaps_are_filled_by_straight_lines():
    seen = np.array([False, True, False, False, True, False])
    values = np.array([9.0, 1.0, 9.0, 9.0, 4.0, 9.0])[:, None]
    np.testing.assert_allclose(fill(values, seen)[:, 0], [1, 1, 2, 3, 4, 4])
    assert runs(~seen) == [(0, 1), (2, 4), (5, 6)]
