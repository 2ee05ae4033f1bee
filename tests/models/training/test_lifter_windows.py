# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows that the pose lifter trains on are what capture would see, and their truth what it should say."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("anny")

from sparse2dense.inference.capture.pose_lifter import FEATURES, RATE, Landmarks, keypoints_of, view_of
from sparse2dense.models.camera import Camera
from sparse2dense.models.keypoints import BONES, KEYPOINT_INDEX, MIRRORED
from sparse2dense.models.training import estimator_faults, lifter_windows
from sparse2dense.models.training.estimator_faults import EstimatorFaults, about_trunk, followed
from sparse2dense.models.training.filmed_windows import FilmedWindows
from sparse2dense.models.training.lifter_windows import (
    LifterWindows,
    before_cameras,
    resized,
    truth_of,
)

CAMERA = Camera(800.0, 800.0, 300.0, 200.0)
FIRST, SECOND = np.array(BONES).T


@pytest.fixture(scope="module", autouse=True)
def few():
    """Few motions at hand, soon forgotten."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"PART": 8, "PARTS": 2, "STEPS_A_PART": 3}.items():
            patch.setattr(lifter_windows, name, value)
        yield


@pytest.fixture(scope="module")
def faults(made_clips):
    return EstimatorFaults([followed(clip) for clip in made_clips])


@pytest.fixture(scope="module")
def windows(posed_motions, faults):
    return LifterWindows(posed_motions, faults, seed=0)


def as_landmarks(seen, which):
    """What capture would have of a window."""
    image = seen.rays[which] * (CAMERA.fx, CAMERA.fy) + (CAMERA.cx, CAMERA.cy)
    frames = len(image)
    return Landmarks(image, seen.world[which], seen.visibility[which], np.ones(frames))


class Told:
    """A network that says what it was told, and remembers what it saw."""

    def __init__(self, truth):
        self.truth, self.features = truth, None

    def __call__(self, features):
        self.features = features
        points = np.stack([self.truth, self.truth[:, MIRRORED] * (-1, 1, 1)])
        shape = points.shape[:2]
        return {
            "points": points,
            "spread": np.full((*shape, points.shape[2]), 0.02),
            "bone_spread": np.full((*shape, len(BONES)), 0.03),
        }


def test_capture_sees_what_training_sees_and_makes_the_truth_of_what_it_should_say(windows):
    seen = windows.seen(0, 6)
    features, truth = windows.batch(0, 6)
    assert features.shape == (*truth.shape[:2], FEATURES)
    assert features.dtype == truth.dtype == np.float32
    for which in range(6):
        network = Told(truth[which])
        lifted = keypoints_of(as_landmarks(seen, which), CAMERA, RATE, network)
        np.testing.assert_allclose(network.features[0], features[which], atol=1e-4)
        keypoints = seen.keypoints[which]
        np.testing.assert_allclose(lifted.image, CAMERA.project(keypoints), atol=0.05)
        middle = np.linalg.norm(keypoints[:, [3, 4, 13, 14]].mean(axis=1), axis=-1)
        larger = (middle / lifted.distance)[:, None, None]
        # What is farther away lies on its own ray, not beside the trunk's: a little aside for who is near.
        np.testing.assert_allclose(larger * lifted.points, about_trunk(keypoints), atol=0.05)


def test_a_step_s_windows_do_not_depend_on_those_before(posed_motions, faults, windows):
    for step in (0, 4, 7):
        windows.batch(step, 3)
    fresh = LifterWindows(posed_motions, faults, seed=0)
    for ours, theirs in zip(windows.batch(8, 3), fresh.batch(8, 3), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(windows.batch(9, 3)[0], windows.batch(8, 3)[0])


def test_every_other_motion_is_mirrored(windows, monkeypatch):
    class OneArmed:
        def draw(self, count, rng):
            points = np.zeros((count, lifter_windows.LENGTH, 23, 3))
            points[:, :, KEYPOINT_INDEX["left_wrist"]] = (1.0, 0.5, 0.2)
            return points, np.zeros(count, int)

    played, _ = LifterWindows(OneArmed(), None, 0)._played(0, 40, np.random.default_rng(0))
    left, right = (played[:, 0, KEYPOINT_INDEX[f"{side}_wrist"]] for side in ("left", "right"))
    mirrored = np.abs(right).sum(axis=-1) > 0
    assert 0.2 < mirrored.mean() < 0.8
    np.testing.assert_allclose(right[mirrored], np.tile((-1.0, 0.5, 0.2), (mirrored.sum(), 1)))
    np.testing.assert_allclose(left[~mirrored], np.tile((1.0, 0.5, 0.2), ((~mirrored).sum(), 1)))
    assert not left[mirrored].any()


def test_a_longer_forearm_takes_the_hand_along_and_nothing_else(held_out, monkeypatch):
    monkeypatch.setattr(
        lifter_windows, "_LIMB_SIZES", ((("elbow", "wrist"), ("wrist", "pinky", "index"), 0.2),)
    )
    monkeypatch.setattr(lifter_windows, "_TRUNK_SIZE", 0)
    monkeypatch.setattr(lifter_windows, "_WIDTH_SIZE", 0)
    before = held_out["keypoints"][None].astype(float)
    after = resized(before, np.random.default_rng(0))
    hands = [KEYPOINT_INDEX[f"{s}_{j}"] for s in ("left", "right") for j in ("wrist", "pinky", "index")]
    others = [i for i in range(23) if i not in hands]
    np.testing.assert_array_equal(after[:, :, others], before[:, :, others])
    shares = []
    for side in ("left", "right"):
        elbow, wrist, index = (KEYPOINT_INDEX[f"{side}_{joint}"] for joint in ("elbow", "wrist", "index"))
        longer = (after[:, :, wrist] - after[:, :, elbow]) / (before[:, :, wrist] - before[:, :, elbow])
        shares.append(longer)
        np.testing.assert_allclose(
            after[:, :, index] - after[:, :, wrist], before[:, :, index] - before[:, :, wrist], atol=1e-6
        )
    np.testing.assert_allclose(shares, np.full_like(shares, shares[0][0, 0, 0]), rtol=1e-4)
    assert abs(shares[0][0, 0, 0] - 1) > 0.01


def test_all_sizes_change_what_they_name_and_keep_people_even(held_out):
    before = np.tile(held_out["keypoints"][None].astype(float), (30, 1, 1, 1))
    after = resized(before, np.random.default_rng(0))

    def bones(points):
        return np.linalg.norm(points[:, :, FIRST] - points[:, :, SECOND], axis=-1)

    change = np.log(bones(after) / bones(before)).mean(axis=1)
    names = [frozenset(bone) for bone in BONES]

    def of(first, second):
        return change[:, names.index(frozenset((KEYPOINT_INDEX[first], KEYPOINT_INDEX[second])))]

    for joints, spread in ((("shoulder", "elbow"), 0.05), (("hip", "knee"), 0.04), (("knee", "ankle"), 0.04)):
        left, right = (of(*(f"{side}_{joint}" for joint in joints)) for side in ("left", "right"))
        np.testing.assert_allclose(left, right, atol=1e-6)
        assert 0.5 * spread < left.std() < 1.7 * spread
    np.testing.assert_allclose(of("nose", "left_ear"), 0, atol=1e-6)
    assert of("left_shoulder", "right_shoulder").std() > 0.02


def test_cameras_move_nobody_s_limbs_and_come_not_too_near(posed_motions):
    rng = np.random.default_rng(0)
    points = posed_motions.draw(60, rng)[0].astype(float)
    seen, elevation = before_cameras(points, rng)
    np.testing.assert_allclose(
        np.linalg.norm(seen[:, :, FIRST] - seen[:, :, SECOND], axis=-1),
        np.linalg.norm(points[:, :, FIRST] - points[:, :, SECOND], axis=-1),
        atol=1e-5,
    )
    assert seen[..., 2].min() > 0.5
    assert (elevation > 0.45).any() and (elevation < 0.2).any()


def test_without_further_faults_a_filmed_person_is_seen_as_they_were(made_clips, monkeypatch):
    """What is learnt of a clip, put on its own keypoints again, gives its own landmarks."""
    clip = followed(made_clips[3])
    faults = EstimatorFaults([clip])
    own = faults._tracks["upright"][0]
    monkeypatch.setattr(EstimatorFaults, "draw", lambda self, kind, facing, rng: own.values)
    for name in ("_FAULT_SIZES", "_DEPTH_FAULT_SIZES", "_BODY_SIZES"):
        monkeypatch.setattr(lifter_windows, name, 0.0)
    monkeypatch.setattr(lifter_windows, "biases", lambda count, rng: 0.0)
    monkeypatch.setattr(lifter_windows, "longer_trunk", lambda points, rng: points)
    windows = LifterWindows(None, faults, 0)
    seen = windows._estimated(clip.keypoints[None], np.array(["upright"]), np.random.default_rng(0))
    np.testing.assert_allclose(seen.rays[0], clip.rays, atol=1e-5)
    middle = clip.world[:, [11, 12, 23, 24]].mean(axis=1, keepdims=True)
    world = seen.world[0] - seen.world[0][:, [11, 12, 23, 24]].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(world, clip.world - middle, atol=1e-4)
    np.testing.assert_allclose(seen.visibility[0], clip.visibility, atol=1e-6)


def test_lower_hips_and_higher_shoulders_move_nothing_else(made_clips, monkeypatch):
    monkeypatch.setattr(estimator_faults, "_HIPS_LOWER", (0.1, 0))
    monkeypatch.setattr(estimator_faults, "_SHOULDERS_HIGHER", (0.05, 0))
    points = np.stack([followed(clip).rays for clip in made_clips])
    moved = estimator_faults.longer_trunk(points, np.random.default_rng(0)) - points
    assert not np.delete(moved, [11, 12, 23, 24], axis=2).any()
    trunk = points[:, :, [23, 24]].mean(axis=2) - points[:, :, [11, 12]].mean(axis=2)
    for joint, share in ((23, 0.1), (24, 0.1), (11, -0.05), (12, -0.05)):
        np.testing.assert_allclose(moved[:, :, joint], share * trunk, atol=1e-9)


def test_filmed_windows_are_the_clips_mirrored_and_backwards(made_clips, monkeypatch):
    """Nothing else is done to them where landmarks are left where they are."""
    from sparse2dense.models.training import filmed_windows

    for name in ("_BIASES", "_JITTER", "_BODY_SIZES", "_WORLD_BIAS"):
        monkeypatch.setattr(filmed_windows, name, 0.0)
    monkeypatch.setattr(filmed_windows, "longer_trunk", lambda points, rng: points)
    clip = followed(made_clips[2])
    clip = replace(clip, inside=np.ones_like(clip.inside))
    windows = FilmedWindows([clip], seed=0)
    features, truth, weight = windows.batch(5, 40)
    np.testing.assert_array_equal(windows.batch(5, 40)[0], features)
    view = view_of(clip.rays[None], clip.world[None], clip.visibility[None], clip.seen[None])
    as_filmed = truth_of(view, clip.keypoints[None])[0]
    mirrored = as_filmed[:, MIRRORED] * np.array([-1, 1, 1], np.float32)
    ways = [wanted[::step] for wanted in (as_filmed, mirrored) for step in (1, -1)]
    kinds = [[np.allclose(one, wanted, atol=1e-4) for wanted in ways] for one in truth]
    assert (np.sum(kinds, axis=1) == 1).all()
    assert np.any(kinds, axis=0).all()
    assert (weight == 1).all()


def test_what_is_outside_and_unseen_counts_little(made_clips):
    clip = followed(made_clips[2])
    inside, seen = clip.inside.copy(), clip.seen.copy()
    inside[:, KEYPOINT_INDEX["left_knee"]], seen[:4] = False, False
    weight = FilmedWindows([replace(clip, inside=inside, seen=seen)], seed=0).batch(0, 8)[2]
    assert set(np.unique(weight.round(4))) == {np.float32(x) for x in (1, 0.3, 0.15, 0.045)}
