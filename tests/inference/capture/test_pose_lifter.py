"""The pose lifter as capture uses it, on what the estimator really sees."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sparse2dense.inference
from sparse2dense.inference.capture.blazepose import PoseDetector, PoseLandmarker
from sparse2dense.inference.capture.pose_lifter import Landmarks, keypoints_of
from sparse2dense.inference.capture.tracking import find_people, follow
from sparse2dense.inference.film.reader import VideoReader
from sparse2dense.inference.runtime.backends import load_network
from sparse2dense.models.keypoints import BLAZEPOSE_INDEX

pytest.importorskip("ai_edge_litert")

CLIP = Path(sparse2dense.inference.__file__).parent / "data" / "balance.mp4"
NETWORK = load_network("pose_lifter", "cpu")


@pytest.fixture(scope="module")
def filmed():
    """The packaged clip's landmarks, its size and frame rate."""
    reader = VideoReader(CLIP)
    fps = float(reader.fps)
    people, count = find_people(reader.pictures(), fps, PoseDetector().detect)
    landmarks = Landmarks.unseen(count)
    for t, (_, pose) in enumerate(follow(reader.pictures(), fps, people[0], PoseLandmarker())):
        landmarks.put(t, pose)
    return landmarks, (reader.source_width, reader.source_height), fps


def test_how_large_a_picture_is_does_not_matter(filmed):
    landmarks, size, fps = filmed
    image, world = keypoints_of(landmarks, size, fps, NETWORK)
    larger = replace(landmarks, image=3 * landmarks.image)
    image_of_larger, world_of_larger = keypoints_of(larger, (3 * size[0], 3 * size[1]), fps, NETWORK)
    np.testing.assert_allclose(image_of_larger, 3 * image, atol=0.01 * size[0] / 100)
    np.testing.assert_allclose(world_of_larger, world, atol=1e-3)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_person_who_lies_or_stands_on_their_hands_is_lifted_as_one_who_stands(filmed, quarters):
    landmarks, size, fps = filmed
    image, world = keypoints_of(landmarks, size, fps, NETWORK)

    def turned(points, size=(0, 0)):
        for _ in range(quarters):
            points = np.concatenate([size[1] - points[..., 1:2], points[..., :1], points[..., 2:]], axis=-1)
            size = size[::-1]
        return points

    lying = replace(landmarks, image=turned(landmarks.image, size), world=turned(landmarks.world))
    sides = size if quarters == 2 else size[::-1]
    image_lying, world_lying = keypoints_of(lying, sides, fps, NETWORK)
    np.testing.assert_allclose(image_lying, turned(image, size), atol=0.01)
    np.testing.assert_allclose(world_lying, turned(world), atol=1e-4)


def test_the_frame_rate_does_not_matter(filmed):
    landmarks, size, fps = filmed
    image, world = keypoints_of(landmarks, size, fps, NETWORK)
    image_of_half, world_of_half = keypoints_of(landmarks.part(slice(None, None, 2)), size, fps / 2, NETWORK)
    tall = np.ptp(image[0, :, 1])
    assert np.linalg.norm(image_of_half - image[::2], axis=-1).mean() < 0.01 * tall
    assert np.linalg.norm(world_of_half - world[::2], axis=-1).mean() < 0.02


def test_frames_without_the_person_are_bridged(filmed):
    landmarks, size, fps = filmed
    whole, _ = keypoints_of(landmarks, size, fps, NETWORK)
    gappy = Landmarks(*(values.copy() for values in vars(landmarks).values()))
    gap = slice(20, 26)
    for values in vars(gappy).values():
        values[gap] = 0
    image, world = keypoints_of(gappy, size, fps, NETWORK)
    assert np.isfinite(world).all()
    assert np.linalg.norm(image - whole, axis=-1)[gap].mean() < 0.05 * np.ptp(whole[0, :, 1])


@pytest.mark.parametrize("frames", [1, 2])
def test_the_shortest_clips_are_lifted(filmed, frames):
    landmarks, size, fps = filmed
    image, world = keypoints_of(landmarks.part(slice(frames)), size, fps, NETWORK)
    assert image.shape == (frames, 23, 2)
    assert world.shape == (frames, 23, 3)
    assert np.isfinite(image).all()


@pytest.mark.parametrize("frame", [0, 7, 8])
def test_a_person_seen_for_a_moment_is_lifted(filmed, frame):
    landmarks, size, fps = filmed
    short = Landmarks.unseen(40)
    for name, values in vars(short).items():
        values[frame] = getattr(landmarks, name)[frame]
    image, world = keypoints_of(short, size, fps, NETWORK)
    assert np.isfinite(world).all()
    apart = np.linalg.norm(image[frame] - landmarks.image[frame, list(BLAZEPOSE_INDEX)], axis=-1)
    assert np.median(apart) < 0.1 * np.ptp(landmarks.image[frame, :, 1])


def test_a_clip_without_anybody_is_refused(filmed):
    with pytest.raises(ValueError, match="nobody"):
        keypoints_of(Landmarks.unseen(5), filmed[1], filmed[2], NETWORK)
