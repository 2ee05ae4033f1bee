# SPDX-License-Identifier: GPL-3.0-or-later
"""Clips to learn an estimator's faults from: of one that is made up, and as the real one sees films."""

import contextlib

import numpy as np
import pytest
from sparse2dense.inference.capture.pose_lifter import Landmarks
from sparse2dense.models.camera import Camera
from sparse2dense.models.keypoints import BLAZEPOSE_INDEX, HIPS, KEYPOINT_INDEX, KEYPOINT_NAMES
from sparse2dense.models.rotations import from_vectors


def made_map():
    """Where an estimator that is made up puts its points: shoulders too low, all of the face on the nose."""
    made = np.zeros((33, len(KEYPOINT_NAMES)))
    made[:, KEYPOINT_INDEX["nose"]] = 1
    for keypoint, landmark in enumerate(BLAZEPOSE_INDEX):
        made[landmark] = np.eye(len(KEYPOINT_NAMES))[keypoint]
    for landmark, side in ((11, "left"), (12, "right")):
        made[landmark, KEYPOINT_INDEX[f"{side}_shoulder"]] = 0.9
        made[landmark, KEYPOINT_INDEX[f"{side}_hip"]] = 0.1
    return made


@pytest.fixture(scope="session")
def made_clips(held_out):
    """Ten clips of an adult in a held-out motion, seen from all sides by an estimator that is a bit off."""
    from sparse2dense.models.training.lifter_clips import FRAMES, LifterClip

    rng = np.random.default_rng(3)
    there = np.concatenate([held_out["keypoints"], held_out["keypoints"][::-1]])[:FRAMES].astype(float)
    leg = sum(np.linalg.norm(there[0, a] - there[0, b]) for a, b in ((13, 15), (15, 17)))
    there = 0.85 / leg * (there - there[:, HIPS].mean(axis=(0, 1)))
    camera, clips = Camera(500.0, 500.0, 200.0, 200.0), []
    for number in range(10):
        turn = from_vectors(np.array([0, 2 * np.pi * number / 10, 0]))
        keypoints = there @ turn.T + (0.1, 0.0, 4.5)
        points = np.einsum("kj,tjc->tkc", made_map(), keypoints)
        off = 0.01 * rng.normal(size=(1, 33, 2)) + 0.005 * rng.normal(size=(FRAMES, 33, 2))
        image = camera.project(points) + camera.fx * off / points[..., 2:]
        world = 0.9 * (points - points[:, 23:25].mean(axis=1, keepdims=True))
        world += 0.01 * rng.normal(size=world.shape)
        landmarks = Landmarks(image, world, rng.uniform(0.5, 1, (FRAMES, 33)), np.ones(FRAMES))
        kind = ("upright", "sitting", "floor", "inverted", "above")[number % 5]
        clips.append(LifterClip(kind, landmarks, np.array([400.0, 400.0]), camera, keypoints))
    return clips


@pytest.fixture(scope="session")
def clip_files(data_folder, tmp_path_factory):
    """The files of eight clips as training films them, most of another kind."""
    from sparse2dense.models.training.lifter_clips import Filming, collect

    filming = Filming(data_folder, tmp_path_factory.mktemp("films"), None, renderers=1, deadline=float("inf"))
    return collect(filming, "held_out", 8)


@pytest.fixture(scope="session")
def little_motion(held_out):
    """A context in which motions are mixed of the one in tests/data alone, of few people."""
    from sparse2dense.models.training import window_sampler

    @contextlib.contextmanager
    def context():
        motion = ("excerpt", held_out["rotations"], held_out["translation"])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(window_sampler, "load_motions", lambda folder, subjects, body: [motion])
            patch.setattr(window_sampler, "FIT_POOL", 20)
            yield

    return context


@pytest.fixture(scope="session")
def posed_motions(body, little_motion):
    """Postures of the motion in tests/data alone, of few people."""
    from sparse2dense.models.training.lifter_windows import PosedMotions

    with little_motion():
        return PosedMotions(body, None)
