# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frames of a skeleton get keys: as few as keep every vertex within the tolerance."""

import numpy as np
import pytest
from sparse2dense.s2d_addon.bake.keys import smooth_between
from sparse2dense.s2d_addon.bake.skeleton_keys import skeleton_keys

from .skeletons import rope, skinned, small_skeleton


def strayed(skeleton, kept):
    """The largest distance of a vertex from where it is with keys at all frames, and the count of keys."""
    channels = skeleton.channels()
    shown = [smooth_between(values, keys) for values, keys in zip(channels, kept, strict=True)]
    off = skinned(skeleton, skeleton.move(shown)) - skinned(skeleton, skeleton.move(channels))
    return np.linalg.norm(off, axis=-1).max(), sum(map(len, kept))


def test_vertices_stay_within_the_tolerance_of_few_keys():
    skeleton = small_skeleton(frames=120)
    counts = [5 * 120]
    for tolerance in (0.002, 0.01, 0.05):
        kept = skeleton_keys(skeleton, skeleton.channels(), tolerance)
        worst, count = strayed(skeleton, kept)
        assert tolerance / 5 < worst <= tolerance
        assert count < 0.8 * counts[-1]
        counts.append(count)


def test_no_tolerance_keeps_every_frame_of_every_channel():
    skeleton = small_skeleton(frames=9)
    kept = skeleton_keys(skeleton, skeleton.channels(), 0)
    assert [keys.tolist() for keys in kept] == [list(range(9))] * 5


@pytest.mark.parametrize("tolerance", [5e-324, 1e-17, 1e-13, 1e-9])
@pytest.mark.parametrize("frames", [1, 2, 25])
def test_choosing_ends_for_every_tolerance(tolerance, frames):
    skeleton = small_skeleton(frames=frames)
    kept = skeleton_keys(skeleton, skeleton.channels(), tolerance)
    assert strayed(skeleton, kept)[0] <= tolerance + 1e-15


def test_what_does_not_move_gets_keys_at_the_ends_alone():
    still = small_skeleton(frames=30)
    still.rotations[:, 1:] = (1, 0, 0, 0)
    kept = skeleton_keys(still, still.channels(), 0.001)
    assert [keys.tolist() for keys in kept[1:4]] == [[0, 29]] * 3
    assert len(kept[0]) > 2 and len(kept[4]) > 2


def test_far_vertices_are_kept_as_well_as_near_ones():
    far = small_skeleton(frames=120)
    far.rest_vertices[far.weight_bones[:, 0] == 2] += (10, 0, 0)
    kept = skeleton_keys(far, far.channels(), 0.01)
    assert strayed(far, kept)[0] <= 0.01
    near = skeleton_keys(small_skeleton(frames=120), small_skeleton(frames=120).channels(), 0.01)
    assert len(kept[2]) > len(near[2]), "the longer the arm, the more its turns matter"


def test_a_bone_without_vertices_and_a_point_at_its_joint_are_no_trouble():
    skeleton = small_skeleton()
    skeleton.weight_bones[skeleton.weight_bones == 3] = 0
    kept = skeleton_keys(skeleton, skeleton.channels(), 0.005)
    assert strayed(skeleton, kept)[0] <= 0.005


def test_strays_of_a_chain_add_up_to_no_more_than_the_tolerance():
    chain = rope()
    kept = skeleton_keys(chain, chain.channels(), 0.01)
    worst, count = strayed(chain, kept)
    assert 0.002 < worst <= 0.01
    assert count < 140
