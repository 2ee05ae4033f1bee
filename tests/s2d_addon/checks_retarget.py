# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying the clip's motion to the user's own armature: rigs as their makers name and pose them."""

import contextlib
import math
import os
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import bpy
import numpy as np
from mathutils import Euler, Matrix, Vector
from session import PACKAGE, START, check, import_clip, new_scene, part

# Bones from the hips up, of an arm and of a leg; "|" where the next of the body's parts begins.
RIGS = {
    "Mixamo": (
        "Hips | Spine | Spine1 | Spine2 | Neck | Head",
        "*Shoulder | *Arm | *ForeArm | *Hand",
        "*UpLeg | *Leg | *Foot | *ToeBase",
        ("mixamorig:Left", "mixamorig:Right"),
    ),
    "Unreal 4, MPFB Game Engine": (
        "pelvis | spine_01 | spine_02 | spine_03 | neck_01 | head",
        "clavicle_* | upperarm_* | lowerarm_* | hand_*",
        "thigh_* | calf_* | foot_* | ball_*",
        ("l", "r"),
    ),
    "Unreal 5": (
        "pelvis | spine_01 spine_02 | spine_03 spine_04 | spine_05 | neck_01 neck_02 | head",
        "clavicle_* | upperarm_* | lowerarm_* | hand_*",
        "thigh_* | calf_* | foot_* | ball_*",
        ("l", "r"),
    ),
    "MPFB Default, MakeHuman": (
        "root | spine05 spine04 | spine03 | spine02 spine01 | neck01 neck02 neck03 | head",
        "clavicle.* shoulder01.* | upperarm01.* upperarm02.* | lowerarm01.* lowerarm02.* | wrist.*",
        "upperleg01.* upperleg02.* | lowerleg01.* lowerleg02.* | foot.* | toe1-1.*",
        ("L", "R"),
    ),
    "MPFB CMU, MotionBuilder": (
        "Hips | LowerBack | Spine | Spine1 | Neck Neck1 | Head",
        "*Shoulder | *Arm | *ForeArm | *Hand",
        "*UpLeg | *Leg | *Foot | *ToeBase",
        ("Left", "Right"),
    ),
}
TRUNK = "spine", "spine.003", "spine.006"
LIMBS = ("upper_arm", "forearm", "hand"), ("thigh", "shin", "foot")


def skeleton():
    """The clip's skeleton, as the decoder wrote it."""
    root = part("mesh").parent
    with np.load(Path(bpy.path.abspath(root["clip_folder"])) / "skeleton.npz", allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays}


class Person:
    """The clip's own skeleton as an armature that Blender poses: what others are compared with."""

    def __init__(self):
        self.data = skeleton()
        self.names = self.data["names"].tolist()
        self.item = new_armature("person", [(name, *ends) for name, *ends in self._bones()])
        bpy.ops.object.mode_set(mode="EDIT")
        for name, matrix in zip(self.names, self.data["matrices"], strict=True):
            self.item.data.edit_bones[name].matrix = Matrix(matrix)
        bpy.ops.object.mode_set(mode="OBJECT")
        self.item.matrix_world = part("mesh").parent.matrix_world

    def _bones(self):
        data = self.data
        for name, parent, head, tail in zip(
            self.names, data["parents"], data["heads"], data["tails"], strict=True
        ):
            yield name, head, tail, None if parent < 0 else self.names[parent]

    def show(self, frame):
        """Pose it as in a frame of the clip."""
        for name, quaternion in zip(self.names, self.data["rotations"][frame], strict=True):
            self.item.pose.bones[name].rotation_quaternion = quaternion
        rest = self.data["matrices"][0][:3, :3]
        shift = self.data["locations"][frame] - self.data["heads"][0]
        self.item.pose.bones[self.names[0]].location = rest.T @ shift
        bpy.context.view_layer.update()

    def limbs(self):
        """Where the limbs' bones point in the world."""
        world = self.item.matrix_world.to_3x3()
        bones = self.item.pose.bones
        return {
            f"{limb}.{side}": (
                world @ (bones[f"{limb}.{side}"].tail - bones[f"{limb}.{side}"].head)
            ).normalized()
            for side in "LR"
            for limb in ("upper_arm", "forearm", "hand", "thigh", "shin")
        }


def new_armature(name, bones):
    """Build an armature of ``(name, head, tail, parent)``."""
    data = bpy.data.armatures.new(name)
    item = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(item)
    bpy.context.view_layer.objects.active = item
    bpy.ops.object.mode_set(mode="EDIT")
    for bone, head, tail, parent in bones:
        edit = data.edit_bones.new(bone)
        edit.head, edit.tail = head, tail
        edit.parent = data.edit_bones[parent] if parent else None
    bpy.ops.object.mode_set(mode="OBJECT")
    return item


def new_rig(
    kind, *, droop=0.0, size=1.0, up="Z", roll=0.0, mode="QUATERNION", scale=1.0, turn=0.0, loose=False
):
    """Build a person as a kind of rig, and return it with the bone that each of the body's parts begins with.

    ``droop`` lowers the arms from the T-pose (radians), ``size`` is the person's, in the armature's units,
    ``up`` the axis that is up in the armature's space, ``scale`` and ``turn`` the object's. ``loose`` bones
    do not point to the next joint, as other programs' axes often do not.
    """
    trunk, arm, leg, sides = RIGS[kind]
    bones, parts = [], {}

    def chain(text, points, parent, keys):
        parts_names = [names.split() for names in text.split("|")]
        for key, names, (start, stop) in zip(keys, parts_names, pairwise(points), strict=True):
            steps = [Vector(start).lerp(Vector(stop), i / len(names)) for i in range(len(names) + 1)]
            parts[key] = names[0]
            for name, (head, tail) in zip(names, pairwise(steps), strict=True):
                bones.append((name, head, tail, parent))
                parent = name

    heights = (0.98, 1.08, 1.2, 1.32, 1.48, 1.58, 1.8)
    keys = ("spine", "spine.001", "spine.002", "spine.003", "spine.004", "spine.006")
    chain(trunk, [(0, 0.02 * (i % 2), z) for i, z in enumerate(heights)], None, keys)
    chest = next(name for name, head, *_ in bones if abs(head[2] - 1.32) < 1e-6)
    for side, letter, sign in zip(sides, "LR", (1, -1), strict=True):
        out = Vector((sign * math.cos(droop), 0.0, -math.sin(droop)))
        shoulder = Vector((sign * 0.19, 0.02, 1.44))
        points = [Vector((sign * 0.03, 0, 1.42)), *(shoulder + out * way for way in (0, 0.3, 0.56, 0.66))]
        keys = [f"{part}.{letter}" for part in ("shoulder", "upper_arm", "forearm", "hand")]
        chain(arm.replace("*", side), points, chest, keys)
        x = sign * 0.1
        points = [(x, 0, 0.94), (x, -0.01, 0.5), (x, 0.02, 0.09), (x, -0.11, 0.02), (x, -0.18, 0.02)]
        keys = [f"{part}.{letter}" for part in ("thigh", "shin", "foot", "toe")]
        chain(leg.replace("*", side), points, parts["spine"], keys)
    stand = Matrix.Scale(size, 4) @ (Matrix.Rotation(-math.pi / 2, 4, "X") if up == "Y" else Matrix())
    item = new_armature(kind, [(name, stand @ Vector(h), stand @ Vector(t), p) for name, h, t, p in bones])
    bpy.ops.object.mode_set(mode="EDIT")
    for i, bone in enumerate(item.data.edit_bones):
        bone.roll += roll * (i + 1)
        if loose:
            bone.use_connect = False
            bone.tail = bone.head + Vector((0.02, 0.05, 0.04)) * size
    bpy.ops.object.mode_set(mode="OBJECT")
    item["loose"] = loose
    for bone in item.pose.bones:
        bone.rotation_mode = mode
    lift = Matrix.Rotation(math.pi / 2, 4, "X") if up == "Y" else Matrix()
    item.matrix_world = Matrix.LocRotScale((2, 1, 0), Euler((0, 0, turn)), (scale,) * 3) @ lift
    return item, parts


def choose(item, **options):
    """Choose an armature for the clip's motion, with the clip active again."""
    bpy.context.view_layer.objects.active = part("mesh")
    settings = bpy.context.scene.s2d_retarget
    if settings.target != item:
        settings.target = item
    for name, value in options.items():
        setattr(settings, name, value)
    return settings


def apply(item, **options):
    settings = choose(item, **options)
    assert bpy.ops.s2d.retarget("EXEC_DEFAULT", True) == {"FINISHED"}
    return settings


def scene_frame(frame):
    """The scene's frame at which a frame of the clip is shown."""
    render, root = bpy.context.scene.render, part("mesh").parent
    return START + frame * render.fps / render.fps_base / root["clip_fps"]


def show(frame):
    exact = scene_frame(frame)
    bpy.context.scene.frame_set(math.floor(exact), subframe=exact % 1)


def limb_directions(item, parts):
    """Where an armature's limbs point in the world, from joint to joint."""
    world, bones = item.matrix_world.to_3x3(), item.pose.bones
    directions = {}
    for side in "LR":
        for chain in LIMBS:
            names = [parts[f"{limb}.{side}"] for limb in chain]
            for limb, (name, after) in zip(chain, pairwise(names), strict=False):
                directions[f"{limb}.{side}"] = (world @ (bones[after].head - bones[name].head)).normalized()
        hand = bones[parts[f"hand.{side}"]]
        if not item.get("loose"):  # else a hand without fingers does not show where it points
            directions[f"hand.{side}"] = (world @ (hand.tail - hand.head)).normalized()
    return directions


def worst_angle(person, item, parts, frames, turn=None):
    """The largest angle in degrees between the person's limbs, turned by ``turn``, and an armature's."""
    turn = turn or Matrix.Identity(3)
    worst = 0.0
    for frame in frames:
        show(frame)
        person.show(frame)
        ours, theirs = person.limbs(), limb_directions(item, parts)
        worst = max(worst, *(math.degrees((turn @ ours[limb]).angle(theirs[limb])) for limb in theirs))
    return worst


def frames():
    return (0, 7, 12, part("mesh").parent["clip_frames"] - 1)


@check
def motion_fits_every_kind_of_rig_and_rest_pose():
    new_scene(25)
    import_clip()
    person = Person()
    poses = {
        "Mixamo": {"size": 100.0, "up": "Y", "scale": 0.01},
        "Unreal 4, MPFB Game Engine": {
            "droop": 0.8,
            "roll": 0.5,
            "mode": "XYZ",
            "size": 100.0,
            "scale": 0.01,
            "loose": True,
        },
        "Unreal 5": {"droop": 0.6, "roll": -1.1, "mode": "ZYX", "turn": 1.0},
        "MPFB Default, MakeHuman": {"droop": 0.75, "mode": "AXIS_ANGLE", "size": 0.1, "scale": 12.0},
        "MPFB CMU, MotionBuilder": {"droop": 1.4, "roll": 2.0, "mode": "YXZ"},
    }
    for kind, options in poses.items():
        item, parts = new_rig(kind, **options)
        settings = apply(item, place="CLIP", angle=0.0)
        assert settings.preset == kind, settings.preset
        off = worst_angle(person, item, parts, frames())
        assert off < 0.1, f"{kind}: {off:.2f} degrees"


def turn_between(rig, name, other, other_name):
    """The angle in degrees between how far two bones have turned from their rest pose, in the world."""
    turns = [
        item.matrix_world.to_quaternion()
        @ item.pose.bones[bone].matrix.to_quaternion()
        @ item.data.bones[bone].matrix_local.to_quaternion().inverted()
        for item, bone in ((rig, name), (other, other_name))
    ]
    return math.degrees(turns[0].rotation_difference(turns[1]).angle % math.tau)


def rigify_rig(generated):
    """Rigify's metarig, or the rig that Rigify generates of it."""
    bpy.ops.preferences.addon_enable(module="rigify")
    bpy.ops.object.armature_basic_human_metarig_add()
    if generated:
        bpy.ops.pose.rigify_generate()
    item = bpy.context.object
    parts = {f"{limb}.{side}": f"{limb}.{side}" for side in "LR" for chain in LIMBS for limb in chain}
    if generated:  # what the controls move in the end, and meshes follow
        parts = {ours: f"ORG-{theirs}" for ours, theirs in parts.items()}
    return item, parts


@check
def motion_fits_rigifys_metarig_and_generated_rig():
    for generated, preset in ((False, "Rigify Metarig"), (True, "Rigify Controls (FK)")):
        new_scene(24)
        import_clip()
        person = Person()
        item, parts = rigify_rig(generated)
        settings = apply(item, place="CLIP", angle=0.0)
        assert settings.preset == preset, settings.preset
        off = worst_angle(person, item, parts, frames())
        assert off < 0.1, f"{preset}: {off:.2f} degrees"
        for ours in TRUNK:
            off = turn_between(person.item, ours, item, f"ORG-{ours}" if generated else ours)
            assert off < 0.1, f"{preset}, {ours}: {off:.2f} degrees"


@check
def ik_controls_of_a_generated_rig_pose_it_as_its_fk_controls():
    new_scene(25)
    import_clip()
    item, _ = rigify_rig(generated=True)
    item.pose.bones["upper_arm_parent.R"]["IK_parent"] = 2  # this hand goes along with the torso
    for drives, options in (("IK", {}), ("FK", {}), ("IK", {"angle": 0.0, "distance": 0.0})):
        apply(item, place="CLIP", **{"angle": math.radians(1), "distance": 2.0, **options}, ik=drives)
        ends, middles = [], []
        for frame in range(part("mesh").parent["clip_frames"]):
            show(frame)
            moved = drives == "IK"
            for side in "LR":
                for end, middle, settings in (
                    ("hand", "forearm", "upper_arm_parent"),
                    ("foot", "shin", "thigh_parent"),
                ):
                    assert item.pose.bones[f"{settings}.{side}"]["IK_FK"] == (0 if moved else 1)
                    ends.append(apart(item, f"ORG-{end}.{side}", f"{end}_fk.{side}"))
                    solved = {"hand": "MCH-upper_arm_ik_target", "foot": "MCH-thigh_ik_target"}[end]
                    ends.append(apart(item, f"{solved}.{side}", f"{end}_fk.{side}"))
                    middles.append(apart(item, f"MCH-{middle}_ik.{side}", f"{middle}_fk.{side}"))
        places, turns = np.array(ends).T
        print(
            f"IK against FK, {drives} drives: {places.max() * 1000:.1f} mm, {turns.max():.2f} degrees, "
            f"elbows and knees {np.max(middles, axis=0)[0] * 1000:.1f} mm"
        )
        assert places.max() < (0.001 if options else 0.005)
        assert turns.max() < (0.1 if options else 1.5)
        assert np.max(middles, axis=0)[0] < 0.006
    bpy.context.view_layer.objects.active = item
    assert bpy.ops.s2d.mark_asset() == {"FINISHED"} and bpy.ops.s2d.push_to_nla() == {"FINISHED"}
    action = item.animation_data.nla_tracks[0].strips[0].action
    assert "Rigify Controls (FK)" in action.asset_data.tags


def apart(item, bone, other):
    """How far apart two bones' heads are in metres, and their turns in degrees."""
    matrices = [item.pose.bones[name].matrix for name in (bone, other)]
    rests = [item.data.bones[name].matrix_local.to_quaternion() for name in (bone, other)]
    turns = [matrix.to_quaternion() @ rest.inverted() for matrix, rest in zip(matrices, rests, strict=True)]
    angle = math.degrees(turns[0].rotation_difference(turns[1]).angle)
    return (matrices[0].translation - matrices[1].translation).length, min(angle, 360 - angle)


@check
def armature_performs_where_it_stands_and_faces():
    new_scene(25)
    import_clip()
    person = Person()
    for turn in (0.0, 1.9):
        item, parts = new_rig("Mixamo", size=100.0, up="Y", scale=0.01, turn=turn)
        apply(item, place="ARMATURE", angle=0.0)
        assert worst_angle(person, item, parts, frames(), Matrix.Rotation(turn, 3, "Z")) < 0.1
        show(0)
        hips = item.matrix_world @ item.pose.bones[parts["spine"]].head
        assert (hips.xy - Vector((2, 1))).length < 0.2, hips


def sole_height(item, feet, size):
    """The lowest height of points of the feet that lie on the floor at rest; ``size`` is the hips' height."""
    heights = []
    for name in feet:
        bone, posed = item.data.bones[name], item.pose.bones[name].matrix
        ahead = (bone.tail_local - bone.head_local).xy.normalized()
        for way in (-0.05, 0.15, 0.21):
            ground = Vector((*(bone.head_local.xy + way * size * ahead), 0))
            heights.append((item.matrix_world @ posed @ bone.matrix_local.inverted() @ ground).z)
    return min(heights) / size


@check
def feet_are_as_high_above_the_floor_as_the_persons():
    new_scene(25)
    import_clip()
    person = Person()
    hips = person.item.data.bones["thigh.L"].head_local.z
    item, parts = new_rig("Mixamo", size=3.0)
    off = {}
    for keep_feet in (True, False):
        apply(item, place="CLIP", angle=0.0, distance=0.0, keep_feet=keep_feet)
        off[keep_feet] = 0.0
        for frame in range(0, part("mesh").parent["clip_frames"], 3):
            show(frame)
            person.show(frame)
            ours = sole_height(person.item, ("foot.L", "foot.R"), hips)
            theirs = sole_height(item, [parts[f"foot.{side}"] for side in "LR"], 3 * 0.94)
            off[keep_feet] = max(off[keep_feet], abs(theirs - max(ours, 0)) * hips)
    assert off[True] < 0.002, f"{off[True]} m at a person's size"
    assert off[False] > 2 * off[True], "without it, legs of another shape do not reach the floor"


@check
def motion_keeps_the_clips_time():
    new_scene(24)
    import_clip()
    person = Person()
    root = part("mesh").parent
    root["clip_in"], root["clip_out"], root["speed"] = 4, 12, 0.5
    item, parts = new_rig("Mixamo")
    apply(item, place="CLIP", angle=0.0)
    last = START + 8 * 2 * 24 / root["clip_fps"]
    assert np.allclose(item.animation_data.action.frame_range, (START, last))
    for frame, clip_frame in ((START - 3, 4), (math.ceil(last) + 9, 12)):
        bpy.context.scene.frame_set(frame)
        person.show(clip_frame)
        ours, theirs = person.limbs(), limb_directions(item, parts)
        assert all(math.degrees(ours[limb].angle(theirs[limb])) < 0.1 for limb in theirs)


@check
def keys_are_fewer_within_the_tolerance():
    new_scene(25)
    import_clip()
    person = Person()
    counts = []
    for mode in ("QUATERNION", "XZY", "AXIS_ANGLE"):
        item, parts = new_rig("Mixamo", mode=mode)
        apply(item, place="CLIP", angle=1e-9, distance=1e-9)  # less than can be told apart
        for angle in (0.0, 2.0):
            settings = apply(item, place="CLIP", angle=math.radians(angle), distance=2.0)
            curves = fcurves(item)
            counts.append(sum(len(curve.keyframe_points) for curve in curves))
            off = worst_angle(person, item, parts, frames())
            assert off < 0.1 + 3 * angle, off
        assert counts[-1] < 0.85 * counts[-2], counts
    said = [float(word[:-1]) for word in settings.outcome.split() if word.endswith("°")]
    assert 0 < said[0] < said[1] < 8 and off < said[1] + 0.1, settings.outcome


def fcurves(item):
    action = item.animation_data.action
    return action.layers[0].strips[0].channelbags[0].fcurves if hasattr(action, "layers") else action.fcurves


@check
def map_can_be_edited_saved_and_loaded():
    new_scene(25)
    import_clip()
    person = Person()
    item, parts = new_rig("Unreal 5")
    for bone in item.data.bones:
        bone.name = f"β {bone.name}"
    parts = {ours: f"β {theirs}" for ours, theirs in parts.items()}
    settings = choose(item)
    assert not settings.preset and not any(pair.theirs for pair in settings.pairs)
    assert "hips" in error_of(bpy.ops.s2d.retarget)
    assert "choose" in error_of(bpy.ops.s2d.bone_map_preset)
    for pair in settings.pairs:
        pair.theirs = parts.get(pair.name, "")
    apply(item, place="CLIP", angle=0.0)
    assert worst_angle(person, item, parts, frames()) < 0.1
    for name in ("my rig ö", "my rig ö"):
        assert bpy.ops.s2d.bone_map_save("EXEC_DEFAULT", name=name) == {"FINISHED"}
    assert "name" in error_of(bpy.ops.s2d.bone_map_save, name="../outside")
    chosen = {pair.name: pair.theirs for pair in settings.pairs}
    assert bpy.ops.s2d.bone_map_clear() == {"FINISHED"}
    assert not any(pair.theirs for pair in settings.pairs)
    assert bpy.ops.s2d.bone_map_preset(preset="my rig ö") == {"FINISHED"}
    assert {pair.name: pair.theirs for pair in settings.pairs} == chosen
    settings.pairs["upper_arm.L"].theirs = "no such bone"
    assert "no such bone" in error_of(bpy.ops.s2d.retarget)
    settings.pairs["upper_arm.L"].theirs = parts["upper_arm.R"]
    assert "twice" in error_of(bpy.ops.s2d.retarget)
    settings.pairs["upper_arm.L"].theirs = ""
    apply(item)
    assert not any(parts["upper_arm.L"] in curve.data_path for curve in fcurves(item))
    settings.pairs["foot.L"].theirs = settings.pairs["foot.R"].theirs = ""
    assert "foot" in error_of(bpy.ops.s2d.retarget)
    apply(item, keep_feet=False)
    settings.pairs["thigh.L"].theirs = settings.pairs["upper_arm.R"].theirs = ""
    settings.pairs["shin.L"].theirs = settings.pairs["forearm.R"].theirs = ""
    assert "faces" in error_of(bpy.ops.s2d.retarget)
    item.scale.x = 2
    bpy.context.view_layer.update()
    assert "scale" in error_of(bpy.ops.s2d.retarget)


def error_of(operator, **options):
    try:
        operator("EXEC_DEFAULT", **options)
    except RuntimeError as error:
        said = str(error).strip().removeprefix("Error: ")
        assert "Traceback" not in said and "\n" not in said, said
        return said
    raise AssertionError("no error was reported")


@check
def spine_of_more_or_fewer_bones_bends_as_the_persons():
    new_scene(25)
    import_clip()
    person = Person()
    item, _ = new_rig("MPFB Default, MakeHuman")
    settings = choose(item, place="CLIP", angle=0.0)
    for fewer in (False, True):
        if fewer:
            for ours in ("spine.001", "spine.002", "spine.005"):
                settings.pairs[ours].theirs = ""
        assert bpy.ops.s2d.retarget("EXEC_DEFAULT") == {"FINISHED"}
        show(12)
        person.show(12)
        for ours in TRUNK:
            assert turn_between(person.item, ours, item, settings.pairs[ours].theirs) < 0.1
        moved = {curve.data_path.split('"')[1] for curve in fcurves(item)}
        assert {"spine05", "spine02", "neck03"} <= moved, "bones between mapped ones share the bend"
    assert {"spine04", "spine03", "neck02"} <= moved


@check
def bones_held_by_constraints_are_reported():
    new_scene(25)
    import_clip()
    item, parts = new_rig("Mixamo")
    constraint = item.pose.bones[parts["forearm.R"]].constraints.new("LIMIT_ROTATION")
    constraint.use_limit_x = constraint.use_limit_y = constraint.use_limit_z = True
    choose(item)
    said = []
    with said_by_blender(said):
        assert bpy.ops.s2d.retarget("EXEC_DEFAULT") == {"FINISHED"}
    assert any("mixamorig:RightForeArm" in line and "mute" in line for line in said), said


@contextlib.contextmanager
def said_by_blender(lines):
    """Gather what operators report, which background Blender prints."""
    sys.stdout.flush()
    kept = os.dup(1)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        try:
            yield
        finally:
            sys.stdout.flush()
            os.dup2(kept, 1)
            os.close(kept)
            file.seek(0)
            lines += file.read().decode().splitlines()


@check
def motion_plays_without_the_add_on():
    new_scene(25)
    import_clip()
    person = Person()
    item, parts = new_rig("Mixamo")
    apply(item, place="CLIP", angle=0.0)
    add_on = sys.modules[PACKAGE]
    add_on.unregister()
    try:
        assert worst_angle(person, item, parts, frames()) < 0.1
    finally:
        add_on.register()


@check
def one_undo_takes_the_motion_back_and_keeps_what_was_there():
    new_scene(25)
    import_clip()
    item, _ = new_rig("Mixamo")
    item.keyframe_insert("location", frame=1)
    before = item.animation_data.action
    before.name = "mine ö"
    choose(item)
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.s2d.retarget("EXEC_DEFAULT", True)
    item = bpy.data.objects["Mixamo"]
    assert item.animation_data.action.name.startswith(part("mesh").parent.name)
    assert bpy.data.actions["mine ö"].use_fake_user
    bpy.ops.ed.undo()
    assert bpy.data.objects["Mixamo"].animation_data.action.name == "mine ö"
    assert [action.name for action in bpy.data.actions] == ["mine ö"]
