# SPDX-License-Identifier: GPL-3.0-or-later
"""One body fitted to a whole clip: on a body of known shape and motion, seen with faults."""

from dataclasses import replace

import numpy as np
import pytest
from sparse2dense.inference.capture import motion_fit
from sparse2dense.inference.capture.motion_fit import MotionFit
from sparse2dense.inference.capture.pose_lifter import Lifted
from sparse2dense.models.articulation import JOINTS, Articulation
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.camera import Camera
from sparse2dense.models.keypoints import BONES, FEET, KEYPOINT_INDEX, TRUNK
from sparse2dense.models.measures import BodyMeasures
from sparse2dense.models.rotations import from_vectors, unit

CAMERA = Camera(400.0, 400.0, 128.0, 228.0)
FPS = 25.0
FRAMES = 50
FIRST, SECOND = np.array(BONES).T
ARTICULATION = Articulation(load_body())
MEASURES = BodyMeasures(ARTICULATION.body)


def turned(joints):
    """Return rotations of all joints over the clip, of those named by vectors ``(3,)`` or ``(T, 3)``."""
    vectors = np.zeros((FRAMES, len(JOINTS), 3))
    for name, vector in joints.items():
        vectors[:, JOINTS.index(name)] = vector
    world = from_vectors(vectors)
    for joint, parent in enumerate(ARTICULATION.parents):
        if parent >= 0:
            world[:, joint] = world[:, parent] @ world[:, joint]
    return world


@pytest.fixture(scope="module")
def truth():
    """Two seconds of an adult who stands, sways and lifts both arms."""
    shape = MEASURES.shape_of(np.zeros(ARTICULATION.body.shape_size), {"stature": 1.70, "weight": 66.0})
    swing = np.sin(2 * np.pi * np.arange(FRAMES) / FRAMES)[:, None]
    arms = {"upper_arm.L": swing * (0, 0, -0.9), "upper_arm.R": swing * (-0.6, 0, 0)}
    rotations = turned({**arms, "spine.001": swing * (0, 0.2, 0)})
    return ARTICULATION.keypoints(shape, rotations, np.tile((0.2, 0.0, 4.0), (FRAMES, 1)))


def lifted(points, metres=0.0, pixels=0.0, size=1.0, seed=0):
    """Return what a lifter says of ``points``: it errs by so much, and takes people ``size`` as large."""
    random = np.random.default_rng(seed)
    middle = points[:, TRUNK].mean(axis=1)
    line = unit(middle)
    about = (
        points - middle[:, None] + random.laplace(0, metres + 1e-9, (*points.shape[:2], 1)) * line[:, None]
    )
    return Lifted(
        image=CAMERA.project(points) + random.laplace(0, pixels + 1e-9, (*points.shape[:2], 2)),
        image_spread=np.full(points.shape[:2], max(pixels, 0.3)),
        points=size * about,
        line=line,
        distance=size * np.linalg.norm(middle, axis=-1),
        bone_spread=np.full((len(points), len(BONES)), max(metres, 0.01)),
    )


def fitted(seen, steps=12, **options):
    fit = MotionFit(ARTICULATION, seen, CAMERA, FPS, **options)
    motion = fit.solve(fit.start(), steps)
    fit.hold(motion)
    motion = fit.solve(motion, 5)
    return fit.keypoints(motion), motion


def about_hips(points):
    return points - points[:, TRUNK].mean(axis=1, keepdims=True)


def error(points, truth):
    return float(np.linalg.norm(about_hips(points) - about_hips(truth), axis=-1).mean())


def test_what_is_seen_exactly_is_found_with_its_body(truth):
    points, motion = fitted(lifted(truth))
    assert error(points, truth) < 0.012
    assert np.linalg.norm(CAMERA.project(points) - CAMERA.project(truth), axis=-1).mean() < 0.4
    assert MEASURES.of(motion.shape)["stature"].value == pytest.approx(1.70, abs=0.02)


def test_bones_have_one_length_and_noise_is_taken_out(truth):
    seen = lifted(truth, metres=0.05, pixels=2.0)
    points, _ = fitted(seen)
    lengths = np.linalg.norm(points[:, FIRST] - points[:, SECOND], axis=-1)
    limbs = [i for i, bone in enumerate(BONES) if not set(bone) <= set(TRUNK)]
    np.testing.assert_allclose(lengths[:, limbs] / lengths[:1, limbs], 1, atol=0.03)  # skin gives a little
    assert error(points, truth) < 0.5 * error(seen.points, truth)
    shaking, true = (np.abs(np.diff(each, 2, axis=0)).mean() for each in (points, truth))
    assert shaking < 2 * true


def test_a_person_taken_too_small_is_an_adult_all_the_same(truth):
    _, motion = fitted(lifted(truth, size=0.8))
    measures = MEASURES.of(motion.shape)
    assert 1.60 < measures["stature"].value < 1.72
    assert 50 < measures["weight"].value < 78


@pytest.mark.parametrize(("sex", "expected"), [(None, 0.5), (0.0, 0.0), (1.0, 1.0)])
def test_the_body_is_an_adults_and_of_the_sex_that_is_said(truth, sex, expected):
    """Bones that nobody has, by an error that is the same throughout, make no old woman of a young man."""
    seen = lifted(truth, metres=0.05, pixels=2.0)
    wrong = np.random.default_rng(4).normal(0, 3.0, (len(KEYPOINT_INDEX), 2))
    measures = MEASURES.of(fitted(replace(seen, image=seen.image + wrong), sex=sex)[1].shape)
    assert measures["sex"].value == pytest.approx(expected, abs=0.1)
    assert 20 < measures["age"].value < 60
    assert 0.2 < measures["muscle"].value < 0.8


def test_gross_errors_of_a_few_frames_do_not_show(truth):
    seen = lifted(truth, metres=0.01, pixels=0.5)
    clean, _ = fitted(seen)
    seen.image[20, KEYPOINT_INDEX["right_wrist"]] += (40, -30)
    seen.image[31, KEYPOINT_INDEX["left_knee"]] += (-25, 0)
    points, _ = fitted(seen)
    assert np.linalg.norm(points - clean, axis=-1).max() < 0.03


def test_knees_do_not_bend_backwards(truth):
    """The lifter has both knees pushed back, which no leg does."""
    seen = lifted(truth, metres=0.04)
    knees = [KEYPOINT_INDEX["left_knee"], KEYPOINT_INDEX["right_knee"]]
    seen.points[:, knees] += 0.10 * seen.line[:, None]
    points, _ = fitted(seen)
    for side in ("left", "right"):
        hip, knee, ankle = (
            points[:, KEYPOINT_INDEX[f"{side}_{joint}"]] for joint in ("hip", "knee", "ankle")
        )
        behind = knee[:, 2] - (hip[:, 2] + ankle[:, 2]) / 2
        assert behind.max() < 0.035


def test_feet_that_stand_still_in_the_picture_stand_still_in_space(truth):
    seen = lifted(truth, metres=0.04, pixels=1.0, seed=2)
    (held, _), (free, _) = fitted(seen), fitted(seen, contacts=False)
    slid, without = (np.linalg.norm(np.diff(each[:, FEET], axis=0), axis=-1).mean() for each in (held, free))
    assert slid < 0.0015
    assert slid < 0.7 * without


def test_what_the_pictures_show_moves_the_body_there(truth):
    """Outlines have the left hand 6 pixels from where the lifter does, and are certain of it."""
    seen = lifted(truth, pixels=1.0)
    wrist = KEYPOINT_INDEX["left_wrist"]
    fit = MotionFit(ARTICULATION, seen, CAMERA, FPS)
    motion = fit.solve(fit.start(), 12)
    shown = CAMERA.project(truth)
    shown[:, wrist] += (6, 0)
    certainty = np.zeros((*shown.shape, 2))
    certainty[:, wrist] = 4.0 * np.eye(2)
    fit.show(shown, certainty)
    moved = CAMERA.project(fit.keypoints(fit.solve(motion, 5, fit_shape=False))) - CAMERA.project(truth)
    assert moved[:, wrist, 0].mean() > 3.5
    assert np.abs(moved[:, KEYPOINT_INDEX["right_wrist"]]).mean() < 1


def test_a_long_clip_is_solved_window_by_window(truth, monkeypatch):
    seen = lifted(truth, metres=0.02, pixels=1.0)
    whole, _ = fitted(seen)
    monkeypatch.setattr(motion_fit, "_WINDOW", 20)
    monkeypatch.setattr(motion_fit, "_OVERLAP", 12)
    points, motion = fitted(seen)
    assert points.shape == whole.shape and motion.shape.shape == (ARTICULATION.body.shape_size,)
    assert np.linalg.norm(about_hips(points) - about_hips(whole), axis=-1).mean() < 0.01
    steps = np.linalg.norm(np.diff(points, axis=0), axis=-1).max(axis=1)
    assert steps[[19, 39]].max() < 1.5 * np.median(steps) + 0.01  # no leap where windows meet


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_very_short_clips(truth, frames):
    points, _ = fitted(lifted(truth[:frames]))
    assert error(points, truth[:frames]) < 0.02


def test_without_smoothing_every_frame_is_as_it_is_seen(truth):
    seen = lifted(truth, pixels=3.0)
    calm, rough = (fitted(seen, strength=strength)[0] for strength in (1.0, 0.0))
    shaking, less = (np.abs(np.diff(each, 2, axis=0)).mean() for each in (rough, calm))
    assert shaking > 2 * less
