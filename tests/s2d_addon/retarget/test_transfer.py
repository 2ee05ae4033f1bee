# SPDX-License-Identifier: GPL-3.0-or-later
"""Retargeting without Blender: rotations as channels, keys, alignment of rest poses, bone maps."""

import itertools
import json
import time
from dataclasses import replace

import numpy as np
import pytest
from sparse2dense.s2d_addon.retarget import bone_maps
from sparse2dense.s2d_addon.retarget import transfer as rm

MODES = ["QUATERNION", "AXIS_ANGLE", *("".join(order) for order in itertools.permutations("XYZ"))]
HEADS = {
    "spine": (0, 0, 0.95),
    "spine.001": (0, 0, 1.1),
    "spine.003": (0, 0, 1.3),
    "spine.006": (0, 0, 1.55),
    "upper_arm.L": (0.2, 0, 1.4),
    "forearm.L": (0.45, 0, 1.2),
    "hand.L": (0.6, -0.1, 1.1),
    "upper_arm.R": (-0.2, 0, 1.4),
    "forearm.R": (-0.45, 0, 1.2),
    "hand.R": (-0.6, -0.1, 1.1),
    "thigh.L": (0.1, 0, 0.9),
    "shin.L": (0.12, -0.02, 0.5),
    "foot.L": (0.14, 0.02, 0.08),
    "thigh.R": (-0.1, 0, 0.9),
    "shin.R": (-0.12, -0.02, 0.5),
    "foot.R": (-0.14, 0.02, 0.08),
}
PARENTS = [-1, 0, 1, 2, 2, 4, 5, 2, 7, 8, 0, 10, 11, 0, 13, 14]
ENDS = {"spine.006": (0, 0, 1.8), "hand": (0.1, -0.07, -0.05), "foot": (0.01, -0.2, -0.06)}


def turning(frames, seed, step=0.15):
    """A rotation that wanders over the whole sphere."""
    rng = np.random.default_rng(seed)
    quaternions = np.cumsum(rng.normal(size=(frames, 4)) * step, axis=0) + rng.normal(size=4)
    return rm.to_matrices(quaternions)


def person(rotate=None):
    """A small person at rest, facing -Y, or turned by a rotation of the whole armature's space."""
    turn = np.eye(3) if rotate is None else rotate
    names, heads = list(HEADS), np.array(list(HEADS.values()), float)
    tails = np.empty_like(heads)
    for j, name in enumerate(names):
        part, _, side = name.partition(".")
        children = [c for c, parent in enumerate(PARENTS) if parent == j]
        if name in ENDS:
            tails[j] = ENDS[name]
        elif part in ENDS:
            tails[j] = heads[j] + np.array(ENDS[part]) * (1 if side == "L" else -1, 1, 1)
        else:
            tails[j] = heads[children[0]]
    rest = np.tile(np.eye(4), (len(names), 1, 1))
    rest[:, :3, :3] = turn @ turning(len(names), seed=5)  # bones' own axes are anything
    rest[:, :3, 3] = heads @ turn.T
    return rm.simple_rig(names, np.array(PARENTS), rest, tails @ turn.T)


def moving(rig, frames):
    own = {name: turning(frames, seed, 0.05) for seed, name in enumerate(rig.names)}
    steps = np.random.default_rng(3).normal(scale=0.02, size=(frames, 3))
    return rm.pose(rig, own, rig.names[0], np.cumsum(steps, axis=0))


def place(scale=1.0):
    return rm.Place(np.eye(3), np.zeros(3), np.zeros(3), np.array([0.0, 0.0, 1.0]), scale)


@pytest.mark.parametrize("mode", MODES)
def test_channels_are_continuous_and_make_the_same_rotations(mode):
    rotations = turning(400, seed=1)
    channels = rm.to_channels(rotations, mode)
    assert np.abs(rm.from_channels(channels, mode) - rotations).max() < 1e-6
    assert np.abs(np.diff(channels, axis=0)).max() < (2.2 if len(mode) == 3 else 1.2)
    assert np.median(np.abs(np.diff(channels, axis=0))) < 0.1


def test_a_bone_that_never_turns_has_channels_in_every_mode():
    for mode in MODES:
        still = rm.to_channels(np.tile(np.eye(3), (5, 1, 1)), mode)
        assert np.allclose(rm.from_channels(still, mode), np.eye(3))


@pytest.mark.parametrize("mode", ["QUATERNION", "AXIS_ANGLE", "XYZ", "ZXY"])
def test_keys_stay_within_the_angle(mode):
    frames = np.linspace(0, 6, 300)
    slow = rm.to_matrices(np.stack([np.cos(frames), np.sin(frames), frames * 0.1, 0 * frames + 0.3], axis=1))
    channels = [rm.to_channels(slow, mode)]
    for angle in (np.radians(0.2), np.radians(2)):
        (keep,) = rm.keys_within(channels, [mode], angle)
        shown = rm.from_channels(rm.between_keys(channels[0], keep), mode)
        assert rm.angles_between(shown, slow).max() <= angle + 1e-6
        assert keep.sum() < 150
    assert rm.keys_within(channels, [mode], 0.0)[0].all()


def test_the_same_skeleton_gets_the_same_motion():
    rig = person()
    motion = moving(rig, 50)
    own = {name: name for name in rig.names}
    result = rm.retarget(motion, rig, own, place(), keep_feet=False)
    posed = rm.pose(rig, result.rotations, result.root, result.location)
    assert np.abs(posed.rotations - motion.rotations).max() < 1e-6
    assert np.abs(posed.heads - motion.heads).max() < 1e-6
    assert rm.direction_errors(posed, result.wanted).max() < 1e-4


def test_an_armature_of_other_axes_gets_the_same_motion_turned():
    y_up = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])  # up is Y, and it faces -X
    source, target = person(), person(y_up)
    motion, own = moving(source, 20), {name: name for name in source.names}
    upright = rm.rest_facing(source, target, own)
    assert np.allclose(upright, y_up)
    turned = replace(place(), turn=upright)
    result = rm.retarget(motion, target, own, turned, keep_feet=False)
    posed = rm.pose(target, result.rotations, result.root, result.location)
    assert np.abs(posed.heads - motion.heads @ y_up.T).max() < 1e-6


def test_facing_that_the_map_leaves_open_is_an_error():
    rig = person()
    for bones in (["spine", "spine.003"], ["spine", "thigh.L", "thigh.R"], ["thigh.L", "thigh.R"]):
        with pytest.raises(rm.RetargetError, match="map the hips"):
            rm.rest_facing(rig, rig, {name: name for name in bones})


def test_feet_never_go_below_the_floor():
    rig = person()
    motion = moving(rig, 60)
    motion.heads[..., 2] += np.linspace(-2, 1, 60)[:, None]
    own = {name: name for name in rig.names}
    result = rm.retarget(motion, rig, own, place(), keep_feet=True)
    posed = rm.pose(rig, result.rotations, result.root, result.location)
    lift = posed.heads - motion.heads
    assert np.abs(lift[..., :2]).max() < 1e-6
    assert lift[..., 2].min() > -1e-6, "feet that are in the air stay there"
    assert (np.ptp(lift[..., 2], axis=1) < 1e-6).all()
    lifted = lift[:, 0, 2] > 1e-3
    assert 0 < lifted.sum() < 60, "feet below the floor are lifted to it"


def test_three_thousand_frames_take_seconds():
    rig = person()
    motion = moving(rig, 3000)
    own = {name: name for name in rig.names}
    started = time.perf_counter()
    result = rm.retarget(motion, rig, own, place(), keep_feet=True)
    channels = [rm.to_channels(rotations, "XYZ") for rotations in result.rotations.values()]
    rm.keys_within(channels, ["XYZ"] * len(channels), np.radians(1))
    assert time.perf_counter() - started < 10


# ---- bone maps -------------------------------------------------------------------------------


def test_names_are_found_in_any_case_and_namespace():
    mixamo = bone_maps.PRESETS[[preset.label for preset in bone_maps.PRESETS].index("Mixamo")]
    for before in ("", "mixamorig:", "mixamorig5:", "mixamorig_", "Rig|mixamorig:"):
        names = [f"{before}{name}" for name in mixamo.bones.values()]
        assert bone_maps.detect(names) is mixamo
        assert list(bone_maps.match(mixamo.bones, names).values()) == names
    assert bone_maps.detect(["Bone", "Bone.001"]) is None


def test_own_maps_are_kept_and_bad_files_refused(tmp_path):
    bones = {"spine": "Becken ü", "upper_arm.L": "腕"}
    path = bone_maps.save(tmp_path, "mein rig", bones)
    assert bone_maps.own_presets(tmp_path) == ["mein rig"]
    assert bone_maps.load(path) == bones
    for content in ("", "[]", "{}", '{"bones": []}', json.dumps({"bones": {"spine": 3}}), "[" * 5000):
        path.write_text(content)
        with pytest.raises(ValueError, match="mein rig"):
            bone_maps.load(path)
    for name in ("", "a/b", "..", "nul\0", " x "):
        with pytest.raises(ValueError, match="name"):
            bone_maps.save(tmp_path, name, bones)
