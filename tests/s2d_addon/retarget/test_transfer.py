# SPDX-License-Identifier: GPL-3.0-or-later
"""Carrying a motion over to another skeleton: it moves as the person does, feet on the floor."""

import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.models.errors import InputError
from sparse2dense.models.rotations import angles_between
from sparse2dense.s2d_addon.bake.rig import Motion, simple_rig
from sparse2dense.s2d_addon.retarget.channels import rotation_keys, to_channels
from sparse2dense.s2d_addon.retarget.fit_report import direction_errors
from sparse2dense.s2d_addon.retarget.rest_pose import pointing
from sparse2dense.s2d_addon.retarget.transfer import retarget

from .people import HEADS, NAMES, OWN, Y_UP, moving, person, place, shown, turned_from_rest

TRUNK = ("spine", "spine.001", "spine.003", "spine.006")
LIMBS = [f"{bone}.{side}" for side in "LR" for bone in ("upper_arm", "forearm", "thigh", "shin")]


def joint_directions(motion, bones=OWN):
    """Where limbs point, from joint to joint, over time."""
    after = {"upper_arm": "forearm", "forearm": "hand", "thigh": "shin", "shin": "foot"}
    directions = {}
    for name in LIMBS:
        part, _, side = name.partition(".")
        ends = [motion.heads[:, motion.rig.index(bones[b])] for b in (name, f"{after[part]}.{side}")]
        directions[name] = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0], axis=1, keepdims=True)
    return directions


def assert_same_limbs(motion, posed, bones=OWN, turn=None):
    turn = np.eye(3) if turn is None else turn
    ours, theirs = joint_directions(motion), joint_directions(posed, bones)
    for name in LIMBS:
        np.testing.assert_allclose(theirs[name], ours[name] @ turn.T, atol=1e-9, err_msg=name)


# ---- the same and other rest poses -----------------------------------------------------------


def test_the_same_skeleton_gets_the_same_motion():
    rig = person()
    motion = moving(rig, 50)
    result = retarget(motion, rig, OWN, place(), keep_feet=False)
    posed = shown(rig, result)
    np.testing.assert_allclose(posed.rotations, motion.rotations, atol=1e-9)
    np.testing.assert_allclose(posed.heads, motion.heads, atol=1e-9)
    assert max(angles.max() for angles in direction_errors(posed, result.wanted).values()) < 1e-4
    assert result.root == "spine"
    assert list(result.rotations) == NAMES


def test_an_armature_of_other_axes_gets_the_same_motion_turned():
    source, target = person(), person(Y_UP, seed=8)
    motion = moving(source, 20)
    result = retarget(motion, target, OWN, place(turn=Y_UP), keep_feet=False)
    posed = shown(target, result)
    np.testing.assert_allclose(posed.heads, motion.heads @ Y_UP.T, atol=1e-9)


def test_a_larger_armature_elsewhere_gets_the_motion_larger_and_there():
    source, target = person(), person(size=3, seed=8)
    motion = moving(source, 20)
    there = place(scale=3.0, floor=np.array([0.1, 0.2, 0]), origin=np.array([5.0, 6, 1]))
    posed = shown(target, retarget(motion, target, OWN, there, keep_feet=False))
    np.testing.assert_allclose(posed.heads, 3 * (motion.heads - there.floor) + there.origin, atol=1e-9)


def test_limbs_of_another_rest_pose_and_proportions_point_where_the_persons_do():
    tall = {"forearm.L": (0.55, 0, 1.4), "hand.L": (0.7, 0.1, 1.4), "shin.R": (-0.3, -0.02, 0.6)}
    source, target = person(), person(moved=tall, seed=8)
    motion = moving(source, 30)
    result = retarget(motion, target, OWN, place(), keep_feet=False)
    posed = shown(target, result)
    assert_same_limbs(motion, posed)
    hips = [posed.heads[:, NAMES.index(f"thigh.{side}")] for side in "LR"]
    wanted = [motion.heads[:, NAMES.index(f"thigh.{side}")] for side in "LR"]
    np.testing.assert_allclose(np.mean(hips, axis=0), np.mean(wanted, axis=0), atol=1e-9)
    for name in TRUNK:
        np.testing.assert_allclose(turned_from_rest(posed, name), turned_from_rest(motion, name), atol=1e-9)


def test_where_bones_should_point_is_what_the_person_shows():
    straight = {"forearm.L": (0.5, 0, 1.4), "hand.L": (0.8, 0, 1.4)}
    source, target = person(), person(moved=straight, seed=8)
    motion = moving(source, 10)
    result = retarget(motion, target, OWN, place(turn=Y_UP), keep_feet=False)
    local, direction = result.wanted["upper_arm.L"]
    np.testing.assert_allclose(direction, joint_directions(motion)["upper_arm.L"] @ Y_UP.T, atol=1e-9)
    j = target.index("upper_arm.L")
    np.testing.assert_allclose(
        target.rest[j, :3, :3] @ local, pointing(target, OWN, "upper_arm.L"), atol=1e-9
    )
    local, direction = result.wanted["spine.003"]
    np.testing.assert_array_equal(local, (0, 1, 0))
    j = target.index("spine.003")
    turned = Y_UP @ turned_from_rest(motion, "spine.003") @ target.rest[j, :3, 1]
    np.testing.assert_allclose(direction, turned, atol=1e-9)
    assert result.wanted.keys() == OWN.keys()


def test_bones_that_are_not_mapped_are_left_as_they_are():
    source, target = person(), person(seed=8)
    bones = {ours: theirs for ours, theirs in OWN.items() if not ours.startswith(("toe", "spine.001"))}
    basis = target.basis.copy()
    toe = target.index("toe.L")
    basis[toe, :3, :3] = Rotation.from_rotvec((0.3, 0, 0)).as_matrix()
    target = replace(target, basis=basis, deforming=np.zeros(len(NAMES), bool))
    result = retarget(moving(source, 10), target, bones, place(), keep_feet=False)
    assert result.rotations.keys() == bones.keys()
    posed, motion = shown(target, result), moving(source, 10)
    assert_same_limbs(motion, posed, bones)
    foot = target.index("foot.L")
    hanging = np.linalg.inv(target.rest[foot]) @ target.rest[toe] @ basis[toe]
    np.testing.assert_allclose(posed.rotations[:, toe], posed.rotations[:, foot] @ hanging[:3, :3], atol=1e-9)


def test_names_of_the_targets_bones_are_the_maps():
    source = person()
    target = replace(person(seed=8), names=tuple(f"β {name}" for name in NAMES))
    bones = {name: f"β {name}" for name in NAMES} | {"shoulder.L": "β toe.L"}  # which the clip does not have
    del bones["toe.L"]
    result = retarget(moving(source, 10), target, bones, place(), keep_feet=True)
    assert set(result.rotations) == {f"β {name}" for name in NAMES if name != "toe.L"}
    assert_same_limbs(moving(source, 10), shown(target, result), bones)


def test_facing_that_the_map_leaves_open_is_an_error():
    rig = person()
    with pytest.raises(InputError, match="map the hips"):
        retarget(moving(rig, 3), rig, {"spine": "spine", "spine.003": "spine.003"}, place(), keep_feet=False)


# ---- how bones hang on one another -----------------------------------------------------------


@pytest.mark.parametrize("parented", [False, True])
@pytest.mark.parametrize("field", ["turns", "shifts"])
def test_bones_that_hang_otherwise_move_the_same(field, parented):
    """Bones that do not turn with their parents, and locations that are not along the bone's own axes."""
    source, target = person(), person(seed=8)
    if parented:  # a root that stands still and carries the hips
        rest = np.concatenate([target.rest[:1], target.rest])
        rest[0, :3, :3] = Rotation.random(random_state=9).as_matrix()
        rest[0, :3, 3] = 0
        tails = np.concatenate([target.tails[:1], target.tails])
        target = simple_rig(["root", *NAMES], np.append(-1, target.parents + 1), rest, tails)
        basis = target.basis.copy()
        basis[0, :3, :3] = Rotation.random(random_state=2).as_matrix()
        basis[0, :3, 3] = (0.3, 0.1, 0.2)
        target = replace(target, basis=basis)
    motion = moving(source, 12)
    hanging = np.random.default_rng(0).random(len(target.names)) < 0.5
    for values in (hanging, ~hanging):
        rig = replace(target, **{field: values})
        posed = shown(rig, retarget(motion, rig, OWN, place(), keep_feet=False))
        np.testing.assert_allclose(posed.heads[:, -len(NAMES) :], motion.heads, atol=1e-9)


def test_what_the_root_did_before_is_in_its_location():
    rig = person()
    basis = rig.basis.copy()
    basis[0, :3, 3] = (0.5, -0.2, 0.1)
    motion = moving(rig, 5)
    before = replace(rig, basis=basis)
    posed = shown(before, retarget(motion, before, OWN, place(), keep_feet=False))
    np.testing.assert_allclose(posed.heads, motion.heads, atol=1e-9)


# ---- the trunk -------------------------------------------------------------------------------


def still_but(rig, turns):
    """A motion of one frame in which bones are turned from rest by vectors of the armature's space."""
    rotations = rig.rest[None, :, :3, :3].copy()
    for name, vector in turns.items():
        j = rig.index(name)
        rotations[0, j] = Rotation.from_rotvec(vector).as_matrix() @ rig.rest[j, :3, :3]
    return Motion(rig, rotations, rig.rest[None, :, :3, 3].copy())


def test_deforming_bones_between_mapped_ones_share_the_bend():
    source, target = person(), person(seed=8)
    bones = {ours: theirs for ours, theirs in OWN.items() if ours not in ("spine.001", "spine.003")}
    motion = still_but(source, {"spine": (0.2, 0, 0), "spine.006": (0.8, 0, 0)})
    posed = shown(target, retarget(motion, target, bones, place(), keep_feet=False))
    for name, angle in (("spine", 0.2), ("spine.001", 0.4), ("spine.003", 0.6), ("spine.006", 0.8)):
        wanted = Rotation.from_rotvec((angle, 0, 0)).as_matrix()
        np.testing.assert_allclose(turned_from_rest(posed, name)[0], wanted, atol=1e-9, err_msg=name)


def test_bones_that_deform_nothing_share_nothing():
    source, target = person(), person(seed=8)
    deforming = np.array([name != "spine.001" for name in NAMES])
    target = replace(target, deforming=deforming)
    bones = {ours: theirs for ours, theirs in OWN.items() if ours not in ("spine.001", "spine.003")}
    motion = still_but(source, {"spine": (0.2, 0, 0), "spine.006": (0.8, 0, 0)})
    result = retarget(motion, target, bones, place(), keep_feet=False)
    assert "spine.001" not in result.rotations
    posed = shown(target, result)
    for name, angle in (("spine", 0.2), ("spine.001", 0.2), ("spine.003", 0.5), ("spine.006", 0.8)):
        wanted = Rotation.from_rotvec((angle, 0, 0)).as_matrix()
        np.testing.assert_allclose(turned_from_rest(posed, name)[0], wanted, atol=1e-9, err_msg=name)


def test_only_the_trunk_shares_its_bends():
    source, target = person(), person(seed=8)
    bones = {ours: theirs for ours, theirs in OWN.items() if not ours.startswith("forearm")}
    result = retarget(moving(source, 4), target, bones, place(), keep_feet=False)
    assert not {"forearm.L", "forearm.R"} & result.rotations.keys()


def test_shared_bends_go_the_shortest_way_all_along():
    source, target = person(), person(seed=8)
    bones = {ours: theirs for ours, theirs in OWN.items() if ours not in ("spine.001", "spine.003")}
    motion = moving(source, 80, step=0.2)
    posed = shown(target, retarget(motion, target, bones, place(), keep_feet=False))
    ends = [turned_from_rest(posed, name) for name in ("spine", "spine.006")]
    whole = angles_between(*ends)
    for name, share in (("spine.001", 1 / 3), ("spine.003", 2 / 3)):
        turned = turned_from_rest(posed, name)
        np.testing.assert_allclose(angles_between(ends[0], turned), share * whole, atol=1e-6)


# ---- feet ------------------------------------------------------------------------------------


def soles(motion):
    """How high the lowest of heels, balls and toes is, which lie on the floor at rest; hips are 0.9 high."""
    rig = motion.rig
    heights = []
    for side in "LR":
        foot, toe = rig.index(f"foot.{side}"), rig.index(f"toe.{side}")
        ankle = rig.rest[foot, :3, 3]
        ahead = (rig.rest[toe, :3, 3] - ankle) * (1, 1, 0)
        ahead /= np.linalg.norm(ahead)
        for bone, way in ((foot, -0.05), (foot, 0.15), (toe, 0.21)):
            ground = ankle * (1, 1, 0) + 0.9 * way * ahead
            local = rig.rest[bone, :3, :3].T @ (ground - rig.rest[bone, :3, 3])
            heights.append((motion.heads[:, bone] + motion.rotations[:, bone] @ local)[:, 2])
    return np.min(heights, axis=0)


def test_feet_never_go_below_the_floor_and_stay_in_the_air():
    rig = person()
    motion = moving(rig, 60)
    motion.heads[..., 2] += np.linspace(-2, 1, 60)[:, None]
    posed = shown(rig, retarget(motion, rig, OWN, place(), keep_feet=True))
    lift = posed.heads - motion.heads
    np.testing.assert_allclose(lift[..., :2], 0, atol=1e-9)
    assert (np.ptp(lift[..., 2], axis=1) < 1e-9).all()
    np.testing.assert_allclose(soles(posed), np.maximum(soles(motion), 0), atol=1e-9)
    lifted = lift[:, 0, 2] > 1e-3
    assert 0 < lifted.sum() < 60


def test_feet_of_longer_legs_are_as_high_above_the_floor_to_scale():
    longer = {
        name: np.array(head) * (1, 1, 1.5) if name.startswith(("thigh", "shin", "foot", "toe")) else head
        for name, head in HEADS.items()
    }
    source = person()
    motion = moving(source, 40)
    motion.heads[..., 2] += np.linspace(-1, 2, 40)[:, None]
    there = place(scale=2.0, origin=np.array([3.0, 4, 5]))
    target = person(moved=longer, size=2)
    posed = shown(target, retarget(motion, target, OWN, there, keep_feet=True))
    hips = 2 * 1.35 / 0.9
    lowest = []
    rig = target
    for side in "LR":
        foot, toe = rig.index(f"foot.{side}"), rig.index(f"toe.{side}")
        ahead = (rig.rest[toe, :3, 3] - rig.rest[foot, :3, 3]) * (1, 1, 0)
        ahead /= np.linalg.norm(ahead)
        for bone, way in ((foot, -0.05), (foot, 0.15), (toe, 0.21)):
            ground = rig.rest[foot, :3, 3] * (1, 1, 0) + 0.9 * hips * way * ahead
            local = rig.rest[bone, :3, :3].T @ (ground - rig.rest[bone, :3, 3])
            lowest.append((posed.heads[:, bone] + posed.rotations[:, bone] @ local)[:, 2])
    np.testing.assert_allclose(np.min(lowest, axis=0) - 5, 2 * np.maximum(soles(motion), 0), atol=1e-9)


def test_one_mapped_foot_is_enough():
    rig = person()
    motion = still_but(rig, {"shin.R": (1.5, 0, 0)})
    motion.heads[..., 2] -= 0.5
    bones = {ours: theirs for ours, theirs in OWN.items() if ours not in ("foot.R", "toe.R", "toe.L")}
    posed = shown(rig, retarget(motion, rig, bones, place(), keep_feet=True))
    left = posed.heads[0, rig.index("foot.L"), 2]
    assert left == pytest.approx(HEADS["foot.L"][2], abs=0.05)


def test_feet_stand_on_a_floor_that_is_elsewhere_and_leans():
    lean = Rotation.from_rotvec((0.4, 0, 0)).as_matrix()
    up = lean @ (0, 0, 1)
    rig = person()
    upright = moving(rig, 20)
    leaning = Motion(rig, lean @ upright.rotations, upright.heads @ lean.T + up * 3)
    leaning.heads[:10] -= up
    there = place(floor=up * 3, up=up, turn=lean.T)
    posed = shown(rig, retarget(leaning, rig, OWN, there, keep_feet=True))
    wanted = soles(
        Motion(
            rig,
            upright.rotations,
            upright.heads - np.where(np.arange(20) < 10, 1, 0)[:, None, None] * (0, 0, 1),
        )
    )
    np.testing.assert_allclose(soles(posed), np.maximum(wanted, 0), atol=1e-9)


def test_feet_that_point_down_stand_where_the_person_faces():
    pointing_down = {"toe.L": (0.14, 0.0, 0.0), "toe.R": (-0.14, 0.0, 0.0)}
    rig = person(moved=pointing_down)
    motion = still_but(person(), {"spine": (0, 0, 0)})
    motion.heads[..., 2] -= 0.3
    posed = shown(rig, retarget(motion, rig, OWN, place(), keep_feet=True))
    np.testing.assert_allclose(posed.heads[0], rig.rest[:, :3, 3], atol=1e-9)
    forward = {"thigh.L": (-0.5, 0, 0), "shin.L": (-0.5, 0, 0), "foot.L": (-0.5, 0, 0), "toe.L": (-0.5, 0, 0)}
    raised = still_but(rig, forward | {name.replace("L", "R"): turn for name, turn in forward.items()})
    standing = shown(rig, retarget(raised, rig, OWN, place(), keep_feet=True))
    heel = standing.heads[0, rig.index("foot.L"), 2]
    assert heel == pytest.approx(0.08 * np.cos(0.5) + 0.05 * 0.9 * np.sin(0.5), abs=0.02), (
        "it stands on heels"
    )


# ---- speed -----------------------------------------------------------------------------------


def test_three_thousand_frames_take_seconds():
    rig = person()
    motion = moving(rig, 3000)
    started = time.perf_counter()
    result = retarget(motion, rig, OWN, place(), keep_feet=True)
    for rotations in result.rotations.values():
        rotation_keys(to_channels(rotations, "XYZ"), "XYZ", np.radians(1))
    assert time.perf_counter() - started < 20
