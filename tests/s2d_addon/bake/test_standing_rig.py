# SPDX-License-Identifier: GPL-3.0-or-later
"""The skeleton that an armature is baked of: at rest, in motion, and with others' names."""

from pathlib import Path

import numpy as np
import pytest
from sparse2dense.inference.decode import decode
from sparse2dense.inference.decoding.point_cache import read_pc2, to_blender
from sparse2dense.models.errors import InputError
from sparse2dense.s2d_addon.bake.clip_skeleton import read_skeleton, skinned_errors
from sparse2dense.s2d_addon.bake.rig_presets import RIG_PRESETS
from sparse2dense.s2d_addon.bake.standing_rig import PlacedPoints, RigOptions, even_scale, standing_rig

FRAMES, FPS = 20, 25.0


@pytest.fixture(scope="module")
def clip(filmed_clip, tmp_path_factory):
    """The clip's skeleton, and its vertices in Blender's axes."""
    folder = tmp_path_factory.mktemp("standing")
    decode(Path(filmed_clip), folder, only="mesh")
    points = to_blender(read_pc2(folder / "mesh.pc2", 0, FRAMES))
    return read_skeleton(folder, np.arange(FRAMES)), points


def made(clip, preset="RIGIFY", scale=1.0, place=None, **options):
    skeleton, points = clip
    matrix = np.diag([scale, scale, scale, 1.0]) if place is None else place
    placed = PlacedPoints(points, matrix)
    rig = standing_rig(
        skeleton, placed, scale, FPS, RigOptions(RIG_PRESETS[preset], **options), lambda _: None
    )
    return rig, placed


def errors(rig, placed):
    return skinned_errors(rig, rig.move(rig.channels()), placed, lambda _: None)


@pytest.mark.parametrize("preset", RIG_PRESETS)
@pytest.mark.parametrize("pose", "AT")
def test_the_skin_is_where_the_clip_has_it(clip, preset, pose):
    mean, worst = errors(*made(clip, preset, rest_pose=pose))
    assert mean < 0.0006
    assert worst < 0.02


def test_bones_that_only_turn_follow_less_closely_and_keep_their_lengths(clip):
    rig, placed = made(clip, stretch=False)
    assert errors(rig, placed)[1] > errors(*made(clip))[1]
    assert errors(rig, placed)[1] < 0.04
    assert rig.located == 2, "the root bone and the hips"
    hand, forearm = (
        rig.move(rig.channels()).heads[:, rig.names.index(name)] for name in ("hand.L", "forearm.L")
    )
    assert np.ptp(np.linalg.norm(hand - forearm, axis=1)) < 1e-6


def test_it_stands_upright_over_the_origin_whatever_the_clip_does(clip):
    turned = np.eye(4)
    turned[:3, :3] = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    turned[:3, 3] = (3, -2, 5)
    for place, stretch in ((np.eye(4), True), (turned, False), (turned, True)):
        rig, placed = made(clip, place=place, stretch=stretch)
        bones = dict(zip(rig.names, rig.heads, strict=True))
        assert abs(rig.rest_vertices[:, 2].min()) < 1e-6
        np.testing.assert_allclose(bones["root"], 0, atol=1e-12)
        np.testing.assert_allclose(bones["spine"][:2], 0, atol=1e-9)
        assert bones["spine.006"][2] > bones["spine"][2] > bones["shin.L"][2] > bones["foot.L"][2] > 0
        assert bones["hand.L"][0] > 0.3
        assert bones["toe.L"][1] < bones["foot.L"][1] - 0.05
        assert 0.005 < bones["toe.L"][2] < 0.04
        assert errors(rig, placed)[1] < 0.04
    arm = bones["hand.R"] - bones["upper_arm.R"]
    np.testing.assert_allclose(arm / np.linalg.norm(arm), (-np.sqrt(0.5), 0, -np.sqrt(0.5)), atol=1e-6)


def test_the_toes_and_the_feet_share_the_skin_and_move_as_one(clip):
    rig, _ = made(clip, stretch=False)
    foot, toe = rig.names.index("foot.L"), rig.names.index("toe.L")
    on_toe = ((rig.weight_bones == toe) * rig.weight_values).sum(axis=1)
    assert ((on_toe > 0.05) & (on_toe < 0.95)).any(), "the skin bends, and has no crease"
    assert rig.rest_vertices[on_toe > 0.95, 1].max() < rig.rest_vertices[on_toe > 0.05, 1].max()
    assert rig.parents[toe] == foot
    np.testing.assert_allclose(np.abs(rig.rotations[:, toe, 0]), 1, atol=1e-3)


def test_the_root_goes_the_way_on_the_floor_or_stays(clip):
    there = np.eye(4)
    there[:3, 3] = (3, -2, 0.5)
    walking = there.copy()
    walking[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    straight, turned = (made(clip, place=place)[0] for place in (there, walking))
    for rig in (straight, turned):
        np.testing.assert_array_equal(rig.locations[:, 2], 0)
        hips = rig.move(rig.channels()).heads[:, 1]
        assert np.linalg.norm(hips[:, :2] - rig.locations[:, :2], axis=1).max() < 0.1
        assert np.ptp(rig.locations, axis=0).max() < np.ptp(hips[:, :2], axis=0).max()
    quarter = 2 * np.arctan2(turned.rotations[:, 0, 3], turned.rotations[:, 0, 0])
    quarter -= 2 * np.arctan2(straight.rotations[:, 0, 3], straight.rotations[:, 0, 0])
    np.testing.assert_allclose(np.cos(quarter - np.pi / 2), 1, atol=1e-3)
    still = made(clip, place=there, root_motion=False)[0]
    np.testing.assert_array_equal(still.locations, 0)
    np.testing.assert_array_equal(still.rotations[:, 0], [(1, 0, 0, 0)] * FRAMES)


def test_a_larger_clip_gives_a_larger_armature(clip):
    small, large = made(clip)[0], made(clip, scale=2.0)
    np.testing.assert_allclose(large[0].heads, 2 * small.heads, atol=2e-4)
    assert errors(*large)[1] < 0.04


def test_a_scale_of_its_own_for_each_axis_is_refused():
    assert even_scale(np.diag([2.0, 2, 2, 1]), "walk") == 2
    for scales in ([1.0, 1, 1.2, 1], [-1.0, 1, 1, 1]):
        with pytest.raises(InputError, match='"walk" is scaled unevenly'):
            even_scale(np.diag(scales), "walk")


@pytest.mark.parametrize("preset", RIG_PRESETS)
def test_bones_carry_what_a_preset_says_and_axes_as_it_has_them(clip, preset):
    rig, _ = made(clip, preset)
    assert rig.names[0] == "root" and len(set(rig.names)) == len(rig.names)
    assert all(parent < bone for bone, parent in enumerate(rig.parents))
    np.testing.assert_allclose(np.linalg.det(rig.matrices[:, :3, :3]), 1, atol=1e-9)
    np.testing.assert_allclose(rig.weight_values.sum(axis=1), 1, atol=1e-5)
    forearm = next(
        name
        for name in ("forearm.L", "mixamorig:LeftForeArm", "lowerarm_l", "leftLowerArm")
        if name in rig.names
    )
    bone = rig.names.index(forearm)
    below = rig.heads[np.flatnonzero(rig.parents == bone)[0]] - rig.heads[bone]
    along = rig.matrices[bone, :3, 0 if preset == "UNREAL" else 1]
    assert along @ below / np.linalg.norm(below) > 0.9999
