# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rest pose says: where it faces and stands, where bones point, how it differs from the clip's."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.models.errors import InputError
from sparse2dense.models.rotations import unit
from sparse2dense.s2d_addon.bake.rig import simple_rig
from sparse2dense.s2d_addon.retarget import rest_pose

from .people import HEADS, NAMES, OWN, Y_UP, person

AXES = np.eye(3)
UP = np.array([0.0, 0, 1])


def without(*names):
    return {ours: theirs for ours, theirs in OWN.items() if ours not in names}


def only(*names):
    return {name: name for name in names}


# ---- facing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [AXES, Y_UP, Y_UP.T, np.diag([-1.0, -1, 1]), np.diag([1.0, -1, -1])])
def test_facing_is_told_by_trunk_and_sides(turned):
    facing = rest_pose.rest_facing(person(), person(turned), OWN)
    np.testing.assert_allclose(facing, turned, atol=1e-12)


@pytest.mark.parametrize("pair", ["thigh", "upper_arm", "shin", "forearm"])
def test_any_pair_of_limbs_tells_the_sides(pair):
    bones = only("spine", "spine.006", f"{pair}.L", f"{pair}.R")
    np.testing.assert_allclose(rest_pose.rest_facing(person(), person(Y_UP), bones), Y_UP, atol=1e-12)


@pytest.mark.parametrize("size", [1e-3, 100])
def test_facing_is_told_whatever_the_size(size):
    np.testing.assert_allclose(rest_pose.rest_facing(person(), person(size=size), OWN), AXES, atol=1e-12)
    flat = person(size=size, moved={"thigh.L": (1e-5, 0, 0.9), "thigh.R": (-1e-5, 0, 0.9)})
    with pytest.raises(InputError, match="faces"):
        rest_pose.rest_facing(person(), flat, only("spine", "spine.006", "thigh.L", "thigh.R"))


def test_a_person_who_leans_and_turns_a_little_faces_where_the_sides_say():
    lean = Rotation.from_euler("XZ", [0.2, 0.3]).as_matrix()
    facing = rest_pose.rest_facing(person(), person(lean), OWN)
    np.testing.assert_allclose(facing[:, 2], UP)
    assert np.degrees(Rotation.from_matrix(facing).magnitude()) == pytest.approx(np.degrees(0.3), abs=2)


@pytest.mark.parametrize(
    "bones",
    [
        ["spine", "spine.003"],
        ["spine", "thigh.L", "thigh.R"],
        ["spine", "spine.003", "thigh.L", "upper_arm.R"],
    ],
)
def test_facing_that_the_map_leaves_open_is_an_error(bones):
    with pytest.raises(InputError, match=r"map the hips.*both thighs or both upper arms") as raised:
        rest_pose.rest_facing(person(), person(), only(*bones))
    assert raised.value.code == "bone_map"


def test_sides_that_lie_on_the_trunk_leave_the_facing_open():
    rig = person(moved={"thigh.L": (0, 0, 0.9), "thigh.R": (0, 0, 0.8)})
    with pytest.raises(InputError, match="faces"):
        rest_pose.rest_facing(person(), rig, only("spine", "spine.006", "thigh.L", "thigh.R"))


# ---- heights ---------------------------------------------------------------------------------


def test_hips_are_as_high_as_the_thighs_begin():
    assert rest_pose.hip_joints(OWN) == (["thigh.L", "thigh.R"], ["thigh.L", "thigh.R"])
    assert rest_pose.hip_height(person(), OWN, AXES) == pytest.approx(0.9)
    assert rest_pose.hip_height(person(Y_UP, size=3), OWN, Y_UP) == pytest.approx(2.7)
    uneven = person(moved={"thigh.L": (0.1, 0, 0.94)})
    assert rest_pose.hip_height(uneven, OWN, AXES) == pytest.approx(0.92)


def test_hips_without_both_thighs_are_where_the_root_is():
    bones = without("thigh.R")
    assert rest_pose.hip_joints({"spine": "Hips", "thigh.L": "Leg"}) == (["spine"], ["Hips"])
    assert rest_pose.hip_height(person(), bones, AXES) == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("lowered", "level"),
    [(0.0, 0), (0.03, 0), (0.05, -0.03), (-0.09, 0), (-0.12, 0.14), (1.0, -0.98)],
)
@pytest.mark.parametrize("size", [1, 100])
def test_the_floor_is_at_the_origin_unless_the_feet_are_elsewhere(lowered, level, size):
    rig = person(size=size, moved={name: np.array(head) - (0, 0, lowered) for name, head in HEADS.items()})
    ends = [name.partition(".")[0] in ("spine", "hand", "toe") for name in NAMES]
    rig.tails[:, 2] -= size * lowered * np.array(ends)
    assert rest_pose.floor_level(rig, OWN, AXES) == pytest.approx(size * level, abs=1e-9)


def test_shins_tell_the_floor_where_there_are_no_feet():
    sunk = person(moved={name: np.array(head) - (0, 0, 2) for name, head in HEADS.items()})
    assert rest_pose.floor_level(sunk, only("spine", "thigh.L", "thigh.R"), AXES) == 0
    bones = only("spine", "thigh.L", "thigh.R", "shin.L")
    assert rest_pose.floor_level(sunk, bones, AXES) == pytest.approx(0.08 - 2)


# ---- directions ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bone", "after"),
    [("upper_arm", "forearm"), ("forearm", "hand"), ("thigh", "shin"), ("shin", "foot"), ("foot", "toe")],
)
@pytest.mark.parametrize("side", "LR")
def test_limbs_point_to_the_next_joint_whatever_their_tails(bone, after, side):
    rig = person()
    rig.tails[:] = 7
    wanted = unit(np.array(HEADS[f"{after}.{side}"], float) - HEADS[f"{bone}.{side}"])
    np.testing.assert_allclose(rest_pose.pointing(rig, OWN, f"{bone}.{side}"), wanted)


def test_bones_without_a_mapped_next_joint_point_to_their_tails():
    rig = person()
    j = rig.index("forearm.L")
    rig.tails[j] = rig.rest[j, :3, 3] + (0, 0, -2)
    np.testing.assert_allclose(rest_pose.pointing(rig, without("hand.L"), "forearm.L"), (0, 0, -1))
    k = rig.index("spine.006")
    rig.tails[k] = rig.rest[k, :3, 3] + (0, 3, 4)
    np.testing.assert_allclose(rest_pose.pointing(rig, OWN, "spine.006"), (0, 0.6, 0.8))


def hand_with(fingers):
    """A person whose left hand has fingers that begin at places relative to its wrist."""
    rig = person()
    wrist = rig.index("hand.L")
    rest = np.concatenate([rig.rest, np.tile(np.eye(4), (len(fingers), 1, 1))])
    rest[len(rig.names) :, :3, 3] = rig.rest[wrist, :3, 3] + fingers
    names = [*rig.names, *(f"finger {i}" for i in range(len(fingers)))]
    parents = np.append(rig.parents, [wrist] * len(fingers))
    tails = np.concatenate([rig.tails, rest[len(rig.names) :, :3, 3] + 0.01])
    return simple_rig(names, parents, rest, tails)


def test_hands_point_to_their_knuckles_but_not_to_the_thumbs():
    rig = hand_with(np.array([(0.1, 0, 0.02), (0.1, 0, -0.02), (0.02, -0.03, 0)]))
    np.testing.assert_allclose(rest_pose.pointing(rig, OWN, "hand.L"), (1, 0, 0), atol=1e-12)


def test_hands_with_a_single_finger_point_to_their_tails():
    rig = hand_with(np.array([(0.0, 0.1, 0), (0.001, 0, 0)]))
    wanted = unit(rig.tails[rig.index("hand.L")] - rig.rest[rig.index("hand.L"), :3, 3])
    np.testing.assert_allclose(rest_pose.pointing(rig, OWN, "hand.L"), wanted)


def test_limbs_point_as_the_person_and_trunk_head_and_feet_do_not():
    rig = person()
    pointing = {name for name in NAMES if rest_pose.points_as_person(rig, OWN, name)}
    kinds = ("upper_arm", "forearm", "hand", "thigh", "shin")
    assert pointing == {f"{kind}.{side}" for kind in kinds for side in "LR"}


@pytest.mark.parametrize(("angle", "shows"), [(50, True), (70, False), (180, False)])
def test_a_hand_far_off_its_forearm_does_not_show_where_it_points(angle, shows):
    rig = person()
    forearm = rest_pose.pointing(rig, OWN, "forearm.L")
    across = unit(np.cross(forearm, UP))
    off = Rotation.from_rotvec(np.radians(angle) * across).apply(forearm)
    j = rig.index("hand.L")
    rig.tails[j] = rig.rest[j, :3, 3] + 0.1 * off
    assert rest_pose.points_as_person(rig, OWN, "hand.L") is shows
    assert rest_pose.points_as_person(rig, without("forearm.L"), "hand.L")


def test_only_what_points_ahead_says_where_it_is_on_the_floor():
    np.testing.assert_allclose(rest_pose.on_floor(np.array([0.0, -0.8, -0.6]), UP), (0, -1, 0))
    assert rest_pose.on_floor(np.array([0.4, 0, -0.9]), UP) is None
    np.testing.assert_allclose(rest_pose.on_floor(np.array([0.0, -0.6, 0.8]), np.array([0.0, 1, 0])), UP)


# ---- alignment -------------------------------------------------------------------------------


def aligned(target, bones=OWN, upright=AXES):
    turns = rest_pose.alignment(person(), target, bones, upright)
    return {ours: turns[target.index(theirs)] for ours, theirs in bones.items()}


def test_a_rest_pose_like_the_clips_needs_no_alignment():
    for turn in aligned(person()).values():
        np.testing.assert_allclose(turn, AXES, atol=1e-12)
    for turn in aligned(person(Y_UP), upright=Y_UP).values():
        np.testing.assert_allclose(turn, AXES, atol=1e-12)


def test_limbs_are_aligned_joint_by_joint():
    straight = {"forearm.L": (0.5, 0, 1.4), "hand.L": (0.8, 0, 1.4), "shin.R": (-0.3, 0, 0.5)}
    rig = person(moved=straight)
    turns = aligned(rig)
    for name in ("upper_arm.L", "forearm.L", "thigh.R", "shin.R"):
        has, wanted = (rest_pose.pointing(one, OWN, name) for one in (rig, person()))
        np.testing.assert_allclose(turns[name] @ has, wanted, atol=1e-12)
        assert not np.allclose(turns[name], AXES, atol=1e-3)
    for name in ("upper_arm.R", "thigh.L", "spine", "spine.006"):
        np.testing.assert_allclose(turns[name], AXES, atol=1e-12)
    upper = Rotation.from_matrix(turns["upper_arm.L"])
    elbow = Rotation.from_matrix(turns["forearm.L"]) * upper.inv()
    has, wanted = (rest_pose.pointing(one, OWN, "forearm.L") for one in (rig, person()))
    angle = np.arccos(upper.apply(has) @ wanted)
    assert elbow.magnitude() == pytest.approx(angle), "the forearm turns no further than it must"


def test_a_bone_that_is_not_mapped_hands_its_alignment_on():
    rig = person(moved={"forearm.L": (0.5, 0, 1.4), "hand.L": (0.8, 0, 1.4)})
    bones = without("forearm.L")
    turns = aligned(rig, bones)
    above = turns["upper_arm.L"]
    has, wanted = (
        rest_pose.pointing(one, one_map, "hand.L") for one, one_map in ((rig, bones), (person(), OWN))
    )
    np.testing.assert_allclose(turns["hand.L"] @ has, wanted, atol=1e-12)
    turned = Rotation.from_matrix(turns["hand.L"] @ above.T).magnitude()
    assert turned == pytest.approx(np.arccos((above @ has) @ wanted))


def test_arms_and_legs_do_not_follow_the_trunks_alignment_nor_one_another():
    turns = aligned(person(moved={"shin.L": (0.4, 0, 0.6)}))
    assert not np.allclose(turns["thigh.L"], AXES, atol=1e-2)
    np.testing.assert_allclose(turns["upper_arm.L"], AXES, atol=1e-12)


def test_a_hand_that_shows_no_direction_is_aligned_as_its_forearm():
    rig = person(moved={"forearm.L": (0.5, 0, 1.4), "hand.L": (0.8, 0, 1.4)})
    j = rig.index("hand.L")
    rig.tails[j] = rig.rest[j, :3, 3] + (0, 0, 0.1)
    turns = aligned(rig)
    np.testing.assert_allclose(turns["hand.L"], turns["forearm.L"], atol=1e-12)


def test_feet_that_point_aside_are_turned_on_the_floor_alone():
    rig = person(moved={"toe.L": (0.32, -0.03, -0.02), "toe.R": (-0.15, -0.11, 0.05)})
    turns = aligned(rig)
    foot = turns["foot.L"]
    np.testing.assert_allclose(foot @ UP, UP, atol=1e-12)
    assert Rotation.from_matrix(foot).magnitude() > 0.5
    has, wanted = (rest_pose.on_floor(rest_pose.pointing(one, OWN, "foot.L"), UP) for one in (rig, person()))
    np.testing.assert_allclose(foot @ has, wanted, atol=1e-12)
    np.testing.assert_allclose(turns["toe.L"], foot, atol=1e-12)
    assert Rotation.from_matrix(turns["foot.R"]).magnitude() < 0.1


def test_feet_that_point_down_are_left_as_they_are():
    rig = person(moved={"toe.L": (0.14, 0.0, -0.1)})
    np.testing.assert_allclose(aligned(rig)["foot.L"], AXES, atol=1e-12)
