# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a clip's skeleton, moving it, and how far its skin is from the clip's vertices."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from sparse2dense.models.errors import InputError
from sparse2dense.s2d_addon.bake.clip_skeleton import read_skeleton, skinned_errors

from .skeletons import skinned, small_skeleton


def written(folder, **changes):
    np.savez(folder / "skeleton.npz", **asdict(small_skeleton()) | changes)


def test_the_frames_that_are_asked_for_are_read(tmp_path):
    whole = small_skeleton()
    written(tmp_path, rotations=whole.rotations.astype(np.float32))
    read = read_skeleton(tmp_path, np.arange(4, 13))
    assert read.names == whole.names
    assert read.rotations.dtype == read.locations.dtype == read.matrices.dtype == np.float64
    np.testing.assert_allclose(read.rotations, whole.rotations[4:13], atol=1e-6)
    np.testing.assert_array_equal(read.locations, whole.locations[4:13])
    np.testing.assert_array_equal(read.rest_vertices, whole.rest_vertices)


def test_a_skeleton_that_is_not_there_yet_is_waited_for(tmp_path):
    with pytest.raises(InputError, match="wait") as raised:
        read_skeleton(tmp_path, np.arange(2))
    assert raised.value.code == "no_skeleton"


def test_a_damaged_skeleton_is_named(tmp_path):
    written(tmp_path)
    path = tmp_path / "skeleton.npz"
    whole = path.read_bytes()
    for content in (b"", b"nonsense", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"skeleton\.npz is damaged: import"):
            read_skeleton(tmp_path, np.arange(2))
    np.savez(path, names=["hips"])
    with pytest.raises(InputError, match="damaged"):
        read_skeleton(tmp_path, np.arange(2))


def test_the_root_goes_where_the_clip_says_and_bones_turn_as_it_says():
    skeleton = small_skeleton()
    channels = skeleton.channels()
    assert [values.shape for values in channels] == [(40, 4)] * 4 + [(40, 3)]
    motion = skeleton.move(channels)
    np.testing.assert_allclose(motion.heads[:, 0], skeleton.locations, atol=1e-12)
    np.testing.assert_allclose(motion.rotations[0], skeleton.matrices[:, :3, :3], atol=1e-12)
    upper, fore = motion.heads[:, 1], motion.heads[:, 2]
    length = np.linalg.norm(skeleton.heads[2] - skeleton.heads[1])
    np.testing.assert_allclose(np.linalg.norm(fore - upper, axis=1), length)
    assert np.ptp(fore - upper, axis=0).max() > 0.05, "the arm moves"


def test_the_skins_distance_is_measured_over_all_frames():
    skeleton = small_skeleton(frames=70)
    motion = skeleton.move(skeleton.channels())
    points, done = skinned(skeleton, motion), []
    mean, worst = skinned_errors(skeleton, motion, points, done.append)
    assert worst < 1e-5
    assert done[0] == 0 and 0.9 < done[-1] < 1 and done == sorted(set(done))
    points = points.copy()
    points[-1, 5] += (0, 0.3, 0.4)
    mean, worst = skinned_errors(skeleton, motion, points, done.append)
    assert worst == pytest.approx(0.5, abs=1e-5)
    assert mean == pytest.approx(0.5 / (70 * 60), rel=0.05)


def test_vertices_on_one_bone_follow_it_alone():
    skeleton = small_skeleton()
    ones = np.tile(np.array([1, 0], np.float32), (60, 1))
    rigid = replace(skeleton, weight_values=ones, weight_bones=np.tile(np.array([2, 0], np.uint8), (60, 1)))
    motion = rigid.move(rigid.channels())
    assert skinned_errors(rigid, motion, skinned(rigid, motion), lambda _: None)[1] < 1e-5
