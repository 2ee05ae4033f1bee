# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading armatures: mapped bones at rest, and what carries them, in control rigs too."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.s2d_addon.bake.rig import simple_rig

from .people import NAMES, OWN, person
from .stand_in import Hero


@pytest.fixture
def hero(addon):
    return Hero(addon.bpy, person())


@pytest.fixture
def read(addon, hero):
    return lambda bones=OWN: addon.reading.read_rig(hero, bones)


def carried(rig, name):
    """What carries a bone, and whether as it is."""
    j = rig.index(name)
    parent = rig.parents[j]
    return rig.names[parent] if parent >= 0 else None, np.array_equal(rig.offsets[j], np.eye(4))


# ---- at rest ---------------------------------------------------------------------------------


def test_a_plain_armature_is_read_as_it_is(hero, read):
    rig = read()
    wanted = hero.rig
    assert rig.names == wanted.names
    for field in ("parents", "rest", "tails", "basis", "turns", "shifts", "deforming"):
        np.testing.assert_array_equal(getattr(rig, field), getattr(wanted, field), err_msg=field)
    np.testing.assert_allclose(rig.offsets, wanted.offsets)


def test_bones_that_carry_mapped_ones_are_read_before_them_and_others_are_not(read):
    rig = read({"hand.L": "hand.L", "spine": "spine"})
    assert rig.names == ("spine", "spine.001", "spine.003", "upper_arm.L", "forearm.L", "hand.L")
    assert rig.parents.tolist() == [-1, 0, 1, 2, 3, 4]


def test_fingers_are_read_too(addon):
    plain = person()
    wrist = plain.index("hand.L")
    rest = np.concatenate([plain.rest, plain.rest[wrist : wrist + 1]])
    names = [*NAMES, "thumb"]
    rig = simple_rig(names, np.append(plain.parents, wrist), rest, np.zeros((len(names), 3)))
    read = addon.reading.read_rig
    assert "thumb" in read(Hero(addon.bpy, rig), OWN).names
    assert "thumb" not in read(Hero(addon.bpy, rig), {"spine": "spine", "forearm.L": "hand.L"}).names


def test_how_bones_hang_is_read(hero, read):
    hero.data.bones["thigh.L"].use_inherit_rotation = False
    hero.data.bones["spine"].use_local_location = False
    hero.data.bones["toe.R"].use_deform = False
    rig = read()
    assert [rig.names[j] for j in np.flatnonzero(~rig.turns)] == ["thigh.L"]
    assert [rig.names[j] for j in np.flatnonzero(~rig.shifts)] == ["spine"]
    assert [rig.names[j] for j in np.flatnonzero(~rig.deforming)] == ["toe.R"]


@pytest.mark.parametrize(
    ("mode", "field", "value"),
    [
        ("QUATERNION", "rotation_quaternion", (np.cos(0.2), 0, np.sin(0.2), 0)),
        ("AXIS_ANGLE", "rotation_axis_angle", (0.4, 0, 1, 0)),
        ("XYZ", "rotation_euler", (0, 0.4, 0)),
        ("ZXY", "rotation_euler", (0, 0.4, 0)),
    ],
)
def test_what_a_bone_does_already_is_read_in_its_own_mode(addon, hero, read, mode, field, value):
    bone = hero.pose.bones["toe.L"]
    bone.rotation_mode, bone.location = mode, (1, 2, 3)
    setattr(bone, field, value)
    assert addon.reading.rotation_property(bone) == field
    basis = read().basis[hero.rig.index("toe.L")]
    np.testing.assert_allclose(basis[:3, :3], Rotation.from_rotvec((0, 0.4, 0)).as_matrix(), atol=1e-12)
    np.testing.assert_array_equal(basis[:, 3], (1, 2, 3, 1))


# ---- constraints -----------------------------------------------------------------------------


def constraint(addon, kind, hero=None, **fields):
    """A constraint that hangs a bone whole on the head, but for ``fields``."""
    classes = {"COPY_TRANSFORMS": "CopyTransformsConstraint", "ARMATURE": "ArmatureConstraint"}
    made = getattr(addon.bpy.types, classes.get(kind, "Constraint"))()
    values = {"type": kind, "mute": False, "influence": 1.0, "mix_mode": "REPLACE", "subtarget": "spine.006"}
    values |= {"owner_space": "WORLD", "target_space": "WORLD", "target": hero}
    values["targets"] = [SimpleNamespace(weight=1.0, target=hero, subtarget="spine.006")]
    for name, value in (values | fields).items():
        setattr(made, name, value)
    return made


WITHOUT = {ours: theirs for ours, theirs in OWN.items() if ours not in ("forearm.L", "spine.003")}


def test_a_bone_may_take_anothers_pose_as_it_is(addon, hero, read):
    hero.pose.bones["forearm.L"].constraints = [constraint(addon, "COPY_TRANSFORMS", hero)]
    assert carried(read(WITHOUT), "forearm.L") == ("spine.006", True)
    local = constraint(addon, "COPY_TRANSFORMS", hero, owner_space="POSE", target_space="POSE")
    hero.pose.bones["forearm.L"].constraints = [local]
    rig = read(WITHOUT)
    assert carried(rig, "forearm.L") == ("spine.006", True)
    assert rig.index("spine.006") < rig.index("forearm.L")


def test_a_bone_may_hang_on_another_by_an_armature_constraint(addon, hero, read):
    hero.pose.bones["forearm.L"].constraints = [constraint(addon, "ARMATURE", hero)]
    rig = read(WITHOUT)
    assert carried(rig, "forearm.L") == ("spine.006", False)
    j, head = rig.index("forearm.L"), rig.index("spine.006")
    np.testing.assert_allclose(rig.rest[head] @ rig.offsets[j], rig.rest[j], atol=1e-12)
    spare = SimpleNamespace(weight=0.0, target=hero, subtarget="hand.R")
    both = constraint(addon, "ARMATURE", hero)
    both.targets.append(spare)
    hero.pose.bones["forearm.L"].constraints = [both]
    assert carried(read(WITHOUT), "forearm.L") == ("spine.006", False)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("COPY_TRANSFORMS", {"mute": True}),
        ("COPY_TRANSFORMS", {"influence": 0.0}),
        ("COPY_TRANSFORMS", {"influence": 0.5}),
        ("COPY_TRANSFORMS", {"mix_mode": "BEFORE"}),
        ("COPY_TRANSFORMS", {"owner_space": "LOCAL", "target_space": "LOCAL"}),
        ("COPY_TRANSFORMS", {"owner_space": "POSE"}),
        ("COPY_TRANSFORMS", {"target": None}),
        ("COPY_TRANSFORMS", {"subtarget": "gone"}),
        ("ARMATURE", {"influence": 0.5}),
        ("ARMATURE", {"targets": []}),
        ("LIMIT_ROTATION", {}),
    ],
)
def test_other_constraints_leave_a_bone_on_its_parent(addon, hero, read, kind, fields):
    hero.pose.bones["forearm.L"].constraints = [constraint(addon, kind, hero, **fields)]
    assert carried(read(WITHOUT), "forearm.L") == ("upper_arm.L", False)


def test_armature_constraints_on_two_bones_or_others_objects_are_left_out(addon, hero, read):
    two = constraint(addon, "ARMATURE", hero)
    two.targets.append(SimpleNamespace(weight=1.0, target=hero, subtarget="hand.R"))
    elsewhere = constraint(addon, "ARMATURE", None)
    for one in (two, elsewhere):
        hero.pose.bones["forearm.L"].constraints = [one]
        assert carried(read(WITHOUT), "forearm.L") == ("upper_arm.L", False)


def test_the_last_constraint_that_acts_decides(addon, hero, read):
    whole, scale = constraint(addon, "COPY_TRANSFORMS", hero), constraint(addon, "COPY_SCALE")
    muted, limit = constraint(addon, "LIMIT_ROTATION", mute=True), constraint(addon, "LIMIT_ROTATION")
    bone = hero.pose.bones["forearm.L"]
    bone.constraints = [limit, whole, scale, muted]
    assert carried(read(WITHOUT), "forearm.L") == ("spine.006", True)
    bone.constraints = [whole, limit]
    assert carried(read(WITHOUT), "forearm.L") == ("upper_arm.L", False)


def test_mapped_bones_hang_on_their_parents_whatever_holds_them(addon, hero, read):
    hero.pose.bones["forearm.L"].constraints = [constraint(addon, "COPY_TRANSFORMS", hero)]
    assert carried(read(), "forearm.L") == ("upper_arm.L", False)


def test_bones_that_hang_on_one_another_hang_on_their_parents(addon, hero, read):
    hero.pose.bones["spine.003"].constraints = [constraint(addon, "COPY_TRANSFORMS", hero)]
    rig = read(WITHOUT)
    assert carried(rig, "spine.003") == ("spine.001", False), "the head hangs on it"
    assert carried(rig, "spine.006") == ("spine.003", False)
