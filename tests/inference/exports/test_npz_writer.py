# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``.npz`` file goes the whole way round: exported, encoded again, decoded."""

import numpy as np
from sparse2dense.inference.encode import encode_motion
from sparse2dense.inference.format.container import STEP_MM, read_clip
from sparse2dense.models.keypoints import KEYPOINT_NAMES


def test_encoded_again_the_motion_is_the_same_to_within_the_coders_step(walk, exported, tmp_path):
    encode_motion(exported["npz"], tmp_path / "again.s2d")
    first, again = read_clip(walk), read_clip(tmp_path / "again.s2d")
    assert (again.fps, again.camera, again.width, again.height) == (
        first.fps,
        first.camera,
        first.width,
        first.height,
    )
    distances = 1000 * np.linalg.norm(again.keypoints - first.keypoints, axis=-1)
    assert distances.mean() < 0.55 * STEP_MM and distances.max() < 2 * STEP_MM
    encode_motion(exported["npz"], tmp_path / "fine.s2d", coding={"step_mm": 0.2})
    fine = 1000 * np.linalg.norm(read_clip(tmp_path / "fine.s2d").keypoints - first.keypoints, axis=-1)
    assert fine.mean() < 0.2 and fine.max() < 1


def test_one_frame_is_encoded_again(single, tmp_path):
    encode_motion(single["npz"], tmp_path / "again.s2d")
    assert read_clip(tmp_path / "again.s2d").frames == 1


def test_the_file_holds_the_clips_own_numbers(walk, exported):
    clip = read_clip(walk)
    with np.load(exported["npz"], allow_pickle=False) as data:
        assert sorted(data) == ["camera", "fps", "keypoint_names", "keypoints", "size"]
        np.testing.assert_array_equal(data["keypoints"], clip.keypoints)
        assert data["keypoint_names"].tolist() == list(KEYPOINT_NAMES)
        assert data["fps"].tolist() == [30000, 1001]
        np.testing.assert_array_equal(data["camera"], clip.camera.matrix())
        assert data["size"].tolist() == [clip.width, clip.height]
