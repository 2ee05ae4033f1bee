# SPDX-License-Identifier: GPL-3.0-or-later
import zipfile

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.models.errors import InputError
from sparse2dense.models.keypoints import KEYPOINT_INDEX
from sparse2dense.models.shaped_body import ShapedBody
from sparse2dense.models.training.motion import ARCHIVE, captured_motion, load_motions, repair

BVH = """HIERARCHY
ROOT hip
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
  JOINT chest
  {
    OFFSET 0 20 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 10 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.0333333
1 2 3 0 0 0 90 0 0
1 2 4 0 90 0 10 20 30
"""


def test_bvh_is_read_in_the_order_of_its_channels():
    motion = captured_motion(BVH)
    assert motion.names == ("hip", "chest", "chest_End") and motion.parents == (-1, 0, 1)
    np.testing.assert_allclose(motion.rest_positions()[2], [0, 30, 0])
    np.testing.assert_allclose(motion.translation, [[1, 2, 3], [1, 2, 4]])
    local = motion.local.as_matrix().reshape(2, 3, 3, 3)
    np.testing.assert_allclose(local[0, 1] @ [1, 0, 0], [0, 1, 0], atol=1e-9)
    np.testing.assert_allclose(local[1, 0] @ [0, 0, 1], [1, 0, 0], atol=1e-9)
    expected = (
        Rotation.from_euler("z", 10, degrees=True)
        * Rotation.from_euler("x", 20, degrees=True)
        * Rotation.from_euler("y", 30, degrees=True)
    )  # BVH multiplies the channels from left to right
    turned = Rotation.from_matrix(local[1, 1])
    assert (expected.inv() * turned).magnitude() < 1e-6


def test_a_file_that_is_no_captured_motion_is_refused():
    with pytest.raises(InputError, match="Frames:"):
        captured_motion("HIERARCHY\nMOTION\n")
    with pytest.raises(InputError, match="cut off"):
        captured_motion(BVH.replace("1 2 4 0 90 0 10 20 30", "1 2 4"))
    two = BVH.replace("3 Zrotation Xrotation Yrotation", "2 Zrotation Xrotation")
    with pytest.raises(InputError, match="the joint chest has other channels"):
        captured_motion(two.replace(" 90 0 0", " 90 0").replace(" 10 20 30", " 10 20"))


def test_data_that_are_missing_or_damaged_are_named(tmp_path, monkeypatch):
    monkeypatch.delenv("S2D_DATA", raising=False)
    with pytest.raises(InputError, match="Say where the data is") as refused:
        load_motions()
    assert refused.value.code == "no_data"
    with pytest.raises(InputError, match=ARCHIVE) as refused:
        load_motions(tmp_path)
    assert refused.value.code == "no_data"
    with zipfile.ZipFile(tmp_path / ARCHIVE, "w") as archive:
        archive.writestr("01/01_01.bvh", "HIERARCHY")
        archive.writestr("99/99_01.bvh", "HIERARCHY")
    monkeypatch.setenv("S2D_DATA", str(tmp_path))
    with pytest.raises(InputError, match=rf"{ARCHIVE} is damaged \(it has no line MOTION") as refused:
        load_motions(subjects=["01"])
    assert refused.value.code == "motion"
    assert load_motions(subjects=["02"]) == []


def still(frames):
    return np.tile(np.eye(3, dtype=np.float32), (frames, 4, 1, 1)), np.zeros((frames, 3), np.float32)


def test_a_short_flip_is_bridged():
    rotations, translation = still(80)
    rotations[40:43, 2] = Rotation.from_euler("x", 170, degrees=True).as_matrix()
    pieces = repair(rotations, translation)
    assert len(pieces) == 1 and len(pieces[0][0]) == 80
    np.testing.assert_allclose(pieces[0][0], still(80)[0], atol=1e-6)


def test_a_long_flip_cuts_the_motion():
    rotations, translation = still(120)
    rotations[50:70, 1] = Rotation.from_euler("y", 120, degrees=True).as_matrix()
    lengths = sorted(len(piece) for piece, _ in repair(rotations, translation))
    assert lengths == [50, 50]


def test_a_walking_subject_walks_upright_on_the_floor(body, data_folder):
    motions = {name: (rotations, place) for name, rotations, place in load_motions(data_folder, ["02"])}
    rotations, translation = motions["02_01"]
    shape = np.zeros(body.shape_size)
    points = ShapedBody(body, shape).pose_keypoints(rotations, translation)
    at = {name: points[:, index] for name, index in KEYPOINT_INDEX.items()}
    height = at["left_heel"][:, 1] - at["nose"][:, 1]
    assert (height > 1.1).all()
    lowest = np.maximum(at["left_heel"][:, 1], at["right_heel"][:, 1])
    assert np.abs(lowest - np.median(lowest)).max() < 0.12  # one foot is always near the floor
    ahead = (at["nose"] - (at["left_ear"] + at["right_ear"]) / 2)[:, [0, 2]]
    travel = np.gradient((at["left_hip"] + at["right_hip"])[:, [0, 2]], axis=0)
    cosine = (ahead * travel).sum(1) / np.linalg.norm(ahead, axis=1) / np.linalg.norm(travel, axis=1)
    assert np.median(cosine) > 0.8  # it looks where it goes
    for side in ("left", "right"):
        knee = at[f"{side}_knee"] - (at[f"{side}_hip"] + at[f"{side}_ankle"]) / 2
        assert np.median((knee[:, [0, 2]] * travel).sum(1)) > 0  # knees bend forward
        assert (at[f"{side}_wrist"][:, 1] > at[f"{side}_shoulder"][:, 1]).mean() > 0.9  # arms hang
