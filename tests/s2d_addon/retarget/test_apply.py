# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying a clip's motion: the curves that are written move the armature as the person moves."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.models.errors import InputError
from sparse2dense.s2d_addon.bake.rig import Motion
from sparse2dense.s2d_addon.retarget.fit_report import direction_errors

from .people import NAMES, OWN, moving, person
from .stand_in import Hero, Scene, settings

FRAMES = 20
FIRST, LAST = 3, 14  # in and out point
START, STEP = 5.0, 1.25  # scene frames


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    """A decoded clip's folder with the skeleton of a person who moves."""
    folder, rig = tmp_path_factory.mktemp("clip"), person()
    motion = moving(rig, FRAMES, step=0.02)
    turns = []
    for j, parent in enumerate(rig.parents):
        above = motion.rotations[:, parent] if parent >= 0 else np.eye(3)
        own = np.swapaxes(above @ rig.offsets[j, :3, :3], -1, -2) @ motion.rotations[:, j]
        turns.append(Rotation.from_matrix(own).as_quat(scalar_first=True))
    np.savez(
        folder / "skeleton.npz",
        names=NAMES,
        parents=rig.parents,
        heads=rig.rest[:, :3, 3],
        tails=rig.tails,
        matrices=rig.rest,
        rest_vertices=np.zeros((1, 3), np.float32),
        weight_bones=np.zeros((1, 1), np.uint8),
        weight_values=np.ones((1, 1), np.float32),
        rotations=np.stack(turns, axis=1),
        locations=motion.heads[:, 0],
    )
    return folder


@pytest.fixture
def stage(addon, clip_folder, monkeypatch):
    """Where a clip is applied: ``apply(hero, **settings)`` does; ``context`` and ``grouped`` show how."""
    made = SimpleNamespace(grouped=[], updates=[], noted=[])

    def new_fcurves(owner, name):
        owner.animation_data = SimpleNamespace(action=SimpleNamespace(name=name, use_fake_user=False))
        owner.curves = {}
        return owner.curves

    def add_curve(curves, path, times, values, index=0):
        assert (path, index) not in curves
        curves[path, index] = times, values

    clip = SimpleNamespace(
        frames_shown=lambda _root: range(FIRST, LAST + 1),
        motion_folder=lambda _root: clip_folder,
        floor_placement=lambda _root: np.eye(4),
        scene_frames=lambda _root, frames, _scene: START + STEP * (frames - FIRST),
    )
    monkeypatch.setattr(addon.apply, "scene", clip)
    monkeypatch.setattr(addon.apply, "add_curve", add_curve)
    compat = SimpleNamespace(new_fcurves=new_fcurves, group_curves=made.grouped.append)
    monkeypatch.setattr(addon.apply, "compat", compat)
    monkeypatch.setattr(addon.apply, "note_motion", lambda *given: made.noted.append(given))
    root = SimpleNamespace(name="Clip", matrix_world=np.eye(4))

    def apply(hero, bones=OWN, **changes):
        view_layer = SimpleNamespace(update=lambda: made.updates.append(True))
        made.context = SimpleNamespace(scene=Scene(hero), view_layer=view_layer)
        return addon.apply.apply_motion(root, settings(hero, bones, **changes), made.context)

    made.apply = apply
    return made


def keys_of(hero):
    """How many keys Blender counts: those of all curves."""
    return sum(len(times) for times, _ in hero.curves.values())


TIMES = START + STEP * np.arange(LAST - FIRST + 1)


def persons():
    motion = moving(person(), FRAMES, step=0.02)
    return Motion(motion.rig, motion.rotations[FIRST : LAST + 1], motion.heads[FIRST : LAST + 1])


# ---- the curves ------------------------------------------------------------------------------


def test_the_armature_moves_as_the_person_from_the_in_to_the_out_point(addon, stage):
    hero = Hero(addon.bpy, person())
    for bone, mode in (("forearm.L", "XYZ"), ("shin.R", "AXIS_ANGLE"), ("spine", "ZXY")):
        hero.pose.bones[bone].rotation_mode = mode
    applied = stage.apply(hero)
    shown = hero.motion(TIMES)
    np.testing.assert_allclose(shown.heads, persons().heads, atol=1e-9)
    np.testing.assert_allclose(shown.rotations, persons().rotations, atol=1e-9)
    assert (applied.frames, applied.bones, applied.keys) == (12, 18, keys_of(hero))
    assert applied.worst < 1e-5
    assert applied.warnings == ()
    counts = {len(times) for times, _ in hero.curves.values()}
    assert counts == {12}
    assert len(hero.curves) == 15 * 4 + 3 + 4 + 3 + 3
    assert ('pose.bones["shin.R"].rotation_axis_angle', 3) in hero.curves
    assert ('pose.bones["spine"].rotation_euler', 2) in hero.curves
    assert ('pose.bones["spine"].location', 2) in hero.curves


def test_few_keys_are_as_good_as_the_tolerance_and_the_report_says_so(addon, stage):
    hero = Hero(addon.bpy, person(size=2))
    exact = stage.apply(hero).keys
    applied = stage.apply(hero, angle=np.radians(3), distance=30.0)
    assert applied.keys == keys_of(hero) < 0.8 * exact
    shown, wanted = hero.motion(TIMES), persons()
    along = {name: (np.array([0.0, 1, 0]), wanted.rotations[:, j, :, 1]) for j, name in enumerate(NAMES)}
    errors = direction_errors(shown, along)
    assert max(angles.max() for angles in errors.values()) < 3 * 6
    assert 0 < applied.mean < applied.worst < 18
    assert applied.worst_bone in NAMES
    off = np.linalg.norm(shown.heads[:, 0] - 2 * wanted.heads[:, 0], axis=1)
    assert 0.01 < off.max() < 0.12


def test_hips_stray_by_no_more_than_the_distance_to_scale(addon, stage):
    hero = Hero(addon.bpy, person(size=2))
    stage.apply(hero, distance=10.0)
    places = [hero.curves['pose.bones["spine"].location', axis] for axis in range(3)]
    assert 2 < len(places[0][0]) < 12
    shown = np.stack([np.interp(TIMES, *curve) for curve in places], axis=1)
    finer = Hero(addon.bpy, person(size=2))
    stage.apply(finer)
    every = [finer.curves['pose.bones["spine"].location', axis][1] for axis in range(3)]
    off = np.linalg.norm(shown - np.stack(every, axis=1), axis=1).max()
    assert 0.01 < off <= 0.02, "ten millimetres of a person half the size"


def test_the_action_it_had_is_kept(addon, stage):
    hero = Hero(addon.bpy, person())
    stage.apply(hero)
    assert hero.animation_data.action.name == "Clip"
    assert stage.grouped == [hero.animation_data.action]
    before = hero.animation_data.action
    stage.apply(hero)
    assert before.use_fake_user
    assert hero.animation_data.action is not before
    assert not hero.animation_data.action.use_fake_user
    hero.animation_data.action = None
    stage.apply(hero)


def test_feet_and_place_are_as_the_settings_say(addon, stage):
    longer = person(moved={"shin.L": (0.12, -0.02, 0.6), "shin.R": (-0.12, -0.02, 0.6)})
    low, high = (Hero(addon.bpy, longer) for _ in range(2))
    stage.apply(low)
    stage.apply(high, keep_feet=True)
    lifted = high.motion(TIMES).heads - low.motion(TIMES).heads
    np.testing.assert_allclose(lifted[..., :2], 0, atol=1e-9)
    assert np.abs(lifted[..., 2]).max() > 0.01
    aside = Hero(addon.bpy, person())
    aside.matrix_world[0, 3] = 3
    stage.apply(aside)
    np.testing.assert_allclose(aside.motion(TIMES).heads[..., 0], persons().heads[..., 0] - 3, atol=1e-9)
    stage.apply(aside, place="ARMATURE")
    np.testing.assert_allclose(aside.motion(TIMES).heads, persons().heads, atol=1e-9)


# ---- what is in the way ----------------------------------------------------------------------


def test_bones_that_something_holds_are_named(addon, stage):
    hero = Hero(addon.bpy, person())
    quarter = Rotation.from_euler("x", 40, degrees=True).as_matrix()
    hero.held = {"forearm.L": quarter, "hand.L": quarter}
    (said,) = stage.apply(hero).warnings
    assert 'turn "forearm.L" and the bones on it by 40°' in said
    scene = stage.context.scene
    assert scene.visited[-1] == 7.25, "the frame that was shown is shown again"
    np.testing.assert_allclose(scene.visited[:-1], TIMES[[0, 3, 6, 8, 11]])


def test_an_armature_at_rest_or_hidden_is_not_compared(addon, stage):
    hero = Hero(addon.bpy, person())
    hero.held = {"forearm.L": Rotation.from_euler("x", 1.0).as_matrix()}
    hero.visible = False
    assert stage.apply(hero).warnings == ()
    hero.data.pose_position = "REST"
    (said,) = stage.apply(hero).warnings
    assert "rest position" in said and "Pose Position" in said
    assert not stage.context.scene.visited


def test_maps_that_cannot_be_used_change_nothing(addon, stage):
    hero = Hero(addon.bpy, person())
    hero.data.bones["spine"].use_connect = True
    with pytest.raises(InputError, match='"spine" is connected'):
        stage.apply(hero)
    bones = {ours: theirs for ours, theirs in OWN.items() if not ours.startswith("foot")}
    hero.data.bones["spine"].use_connect = False
    with pytest.raises(InputError, match="No foot"):
        stage.apply(hero, bones, keep_feet=True)
    with pytest.raises(InputError, match='"Hero" has no bone "gone"'):
        stage.apply(hero, OWN | {"toe.L": "gone"})
    assert hero.animation_data is None
    assert stage.apply(hero, {**bones, "foot.L": ""}).bones == 16, "empty lines are no bones"


# ---- Rigify ----------------------------------------------------------------------------------


def test_rigifys_rigs_are_switched_to_their_fk_controls(addon, stage):
    rig = person()
    controls = {name: name.replace(".", "_fk.") if "." in name else name for name in NAMES}
    names = [*controls.values(), "hips"]
    rig = type(rig)(
        tuple(names),
        np.append(rig.parents, -1),
        *(np.concatenate([values, values[:1]]) for values in (rig.rest, rig.tails, rig.offsets, rig.basis)),
        *(np.append(values, True) for values in (rig.turns, rig.shifts, rig.deforming)),
    )
    hero = Hero(addon.bpy, rig)
    arm, hips = hero.pose.bones["upper_arm_fk.L"], hero.pose.bones["hips"]
    arm.properties = {"IK_FK": 0.0, "FK_limb_follow": 1.0, "rubber_tweak": 0.3}
    hips.rotation_mode = "XYZ"
    applied = stage.apply(hero, controls)
    assert arm.properties == {"IK_FK": 1.0, "FK_limb_follow": 0.0, "rubber_tweak": 0.3}
    assert stage.updates == [True]
    times, values = hero.curves['pose.bones["upper_arm_fk.L"]["IK_FK"]', 0]
    assert (times.tolist(), values.tolist()) == ([START], [1.0])
    assert ('pose.bones["upper_arm_fk.L"]["rubber_tweak"]', 0) not in hero.curves
    assert sum("hips" in path for path, _ in hero.curves) == 6
    for path in ('pose.bones["hips"].rotation_euler', 'pose.bones["hips"].location'):
        for axis in range(3):
            times, values = hero.curves[path, axis]
            assert (times.tolist(), values.tolist()) == ([START], [0.0])
    assert not isinstance(hips.matrix_basis, np.ndarray), "it is put at rest"
    assert isinstance(arm.matrix_basis, np.ndarray)
    assert applied.keys == keys_of(hero), "those that keep the switches are counted too"


def test_other_rigs_are_not_switched(addon, stage):
    hero = Hero(addon.bpy, person())
    hero.pose.bones["upper_arm.L"].properties = {"IK_FK": 0.0}
    stage.apply(hero)
    assert hero.pose.bones["upper_arm.L"].properties == {"IK_FK": 0.0}
    assert not stage.updates
