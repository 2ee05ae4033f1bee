# SPDX-License-Identifier: GPL-3.0-or-later
"""The pose lifter as capture uses it, on what the estimator really sees."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sparse2dense.inference
from sparse2dense.inference.capture.blazepose import PoseDetector, PoseLandmarker
from sparse2dense.inference.capture.pose_lifter import OPPOSITE, Landmarks, keypoints_of, mirror, view_of
from sparse2dense.inference.capture.tracking import find_people, follow
from sparse2dense.inference.film.reader import VideoReader
from sparse2dense.inference.runtime.backends import load_network
from sparse2dense.models.camera import Camera
from sparse2dense.models.keypoints import BLAZEPOSE_INDEX, KEYPOINT_INDEX, MIRRORED, MIRRORED_BONES
from sparse2dense.models.rotations import from_vectors

CLIP = Path(sparse2dense.inference.__file__).parent / "data" / "balance.mp4"
NETWORK = load_network("pose_lifter", "cpu")


@pytest.fixture(scope="module")
def filmed():
    """The packaged clip's landmarks, a camera in the middle of its picture, and its frame rate."""
    reader = VideoReader(CLIP)
    fps = float(reader.fps)
    people, count = find_people(reader.pictures(), fps, PoseDetector().detect)
    landmarks = Landmarks.unseen(count)
    for t, (_, pose) in enumerate(follow(reader.pictures(), fps, people[0], PoseLandmarker())):
        landmarks.put(t, pose)
    width, height = reader.source_width, reader.source_height
    return landmarks, Camera(1.2 * height, 1.2 * height, width / 2, height / 2), fps


def tall(lifted):
    """How tall the person is in the picture, pixels."""
    return np.ptp(lifted.image[..., 1], axis=1).mean()


def test_how_large_a_picture_is_does_not_matter(filmed):
    landmarks, camera, fps = filmed
    lifted = keypoints_of(landmarks, camera, fps, NETWORK)
    larger_camera = Camera(*(3 * value for value in vars(camera).values()))
    larger = keypoints_of(replace(landmarks, image=3 * landmarks.image), larger_camera, fps, NETWORK)
    np.testing.assert_allclose(larger.image, 3 * lifted.image, atol=0.05)
    np.testing.assert_allclose(larger.image_spread, 3 * lifted.image_spread, rtol=1e-3)
    np.testing.assert_allclose(larger.points, lifted.points, atol=1e-4)


@pytest.mark.parametrize("degrees", [30, 90, 180])
def test_whichever_way_up_a_person_is_filmed_they_are_lifted_alike(filmed, degrees):
    """Who lies or stands on their hands is one who stands, seen by a camera that is turned."""
    landmarks, camera, fps = filmed
    turn = from_vectors(np.array([0, 0, np.radians(degrees)]))
    centre = np.array([camera.cx, camera.cy])
    turned = replace(
        landmarks,
        image=(landmarks.image - centre) @ turn[:2, :2].T + centre,
        world=landmarks.world @ turn.T,
    )
    upright, found = (keypoints_of(of, camera, fps, NETWORK) for of in (landmarks, turned))
    np.testing.assert_allclose(found.image, (upright.image - centre) @ turn[:2, :2].T + centre, atol=0.01)
    np.testing.assert_allclose(found.points, upright.points @ turn.T, atol=1e-4)
    np.testing.assert_allclose(found.line, upright.line @ turn.T, atol=1e-5)
    np.testing.assert_allclose(found.distance, upright.distance, rtol=1e-4)
    np.testing.assert_allclose(found.image_spread, upright.image_spread, rtol=1e-3)
    np.testing.assert_allclose(found.bone_spread, upright.bone_spread, rtol=1e-3)


def test_a_mirrored_film_has_the_mirrored_keypoints(filmed):
    landmarks, camera, fps = filmed
    width = 2 * camera.cx
    mirrored = Landmarks(
        landmarks.image[:, OPPOSITE] * (-1, 1) + (width, 0),
        landmarks.world[:, OPPOSITE] * (-1, 1, 1),
        landmarks.visibility[:, OPPOSITE],
        landmarks.score,
    )
    ours, theirs = (keypoints_of(of, camera, fps, NETWORK) for of in (landmarks, mirrored))
    np.testing.assert_allclose(theirs.image, ours.image[:, MIRRORED] * (-1, 1) + (width, 0), atol=0.01)
    np.testing.assert_allclose(theirs.points, ours.points[:, MIRRORED] * (-1, 1, 1), atol=1e-4)
    np.testing.assert_allclose(theirs.image_spread, ours.image_spread[:, MIRRORED], rtol=1e-3)
    np.testing.assert_allclose(theirs.bone_spread, ours.bone_spread[:, MIRRORED_BONES], rtol=1e-3)
    views = [
        view_of(
            (of.image[None] - (camera.cx, camera.cy)) / camera.fx,
            of.world[None],
            of.visibility[None],
            (of.score > 0)[None],
        ).features
        for of in (landmarks, mirrored)
    ]
    np.testing.assert_allclose(mirror(views[0]), views[1], atol=1e-5)
    np.testing.assert_array_equal(mirror(mirror(views[0])), views[0])


def test_the_frame_rate_does_not_matter(filmed):
    """Half of the frames give half of the motion, and twice as many, the new ones in between, the same."""
    landmarks, camera, fps = filmed
    lifted = keypoints_of(landmarks, camera, fps, NETWORK)
    half = keypoints_of(landmarks.part(slice(None, None, 2)), camera, fps / 2, NETWORK)
    assert np.linalg.norm(half.image - lifted.image[::2], axis=-1).mean() < 0.01 * tall(lifted)
    assert np.linalg.norm(half.points - lifted.points[::2], axis=-1).mean() < 0.03
    count = len(landmarks.score)
    between = Landmarks(
        *(
            np.stack([x[:-1], (x[:-1] + x[1:]) / 2], axis=1).reshape(2 * count - 2, *x.shape[1:])
            for x in vars(landmarks).values()
        )
    )
    twice = keypoints_of(between, camera, 2 * fps, NETWORK)
    assert np.linalg.norm(twice.image[::2] - lifted.image[:-1], axis=-1).mean() < 0.01 * tall(lifted)
    assert np.linalg.norm(twice.points[::2] - lifted.points[:-1], axis=-1).mean() < 0.02


def test_frames_without_the_person_are_bridged(filmed):
    landmarks, camera, fps = filmed
    whole = keypoints_of(landmarks, camera, fps, NETWORK)
    gappy = Landmarks(*(values.copy() for values in vars(landmarks).values()))
    gap = slice(20, 26)
    for values in vars(gappy).values():
        values[gap] = 0
    lifted = keypoints_of(gappy, camera, fps, NETWORK)
    for values in vars(lifted).values():
        assert np.isfinite(values).all()
    assert np.linalg.norm(lifted.image - whole.image, axis=-1)[gap].mean() < 0.05 * tall(whole)


@pytest.mark.parametrize("frames", [1, 2])
def test_the_shortest_clips_are_lifted(filmed, frames):
    landmarks, camera, fps = filmed
    lifted = keypoints_of(landmarks.part(slice(frames)), camera, fps, NETWORK)
    assert lifted.image.shape == (frames, 23, 2)
    assert lifted.points.shape == (frames, 23, 3)
    for values in vars(lifted).values():
        assert np.isfinite(values).all()


@pytest.mark.parametrize("frame", [0, 7, 8])
def test_a_person_seen_for_a_moment_is_lifted(filmed, frame):
    landmarks, camera, fps = filmed
    short = Landmarks.unseen(40)
    for name, values in vars(short).items():
        values[frame] = getattr(landmarks, name)[frame]
    lifted = keypoints_of(short, camera, fps, NETWORK)
    assert np.isfinite(lifted.points).all()
    apart = np.linalg.norm(lifted.image[frame] - landmarks.image[frame, list(BLAZEPOSE_INDEX)], axis=-1)
    assert np.median(apart) < 0.1 * tall(lifted)


def test_who_is_hidden_is_less_certain(filmed):
    """An arm that the estimator does not see has wider spreads, and the rest about those it had."""
    landmarks, camera, fps = filmed
    hidden = landmarks.visibility.copy()
    hidden[:, [13, 15, 17, 19, 21]] = 0.02
    ours, theirs = (
        keypoints_of(of, camera, fps, NETWORK) for of in (landmarks, replace(landmarks, visibility=hidden))
    )
    arm = [KEYPOINT_INDEX[f"left_{joint}"] for joint in ("elbow", "wrist", "index")]
    leg = [KEYPOINT_INDEX[f"right_{joint}"] for joint in ("knee", "ankle")]
    wider = theirs.image_spread / ours.image_spread
    assert wider[:, arm].mean() > 1.1
    assert 0.8 < wider[:, leg].mean() < min(1.25, wider[:, arm].mean())


def test_a_clip_without_anybody_is_refused(filmed):
    with pytest.raises(ValueError, match="nobody"):
        keypoints_of(Landmarks.unseen(5), filmed[1], filmed[2], NETWORK)
