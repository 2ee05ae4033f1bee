# SPDX-License-Identifier: GPL-3.0-or-later
"""Baking to keyframes and to files."""

import itertools
import re
import sys
import types
from pathlib import Path

import addon_utils
import bpy
import numpy as np
from mathutils import Matrix
from session import (
    DESCRIPTION,
    PACKAGE,
    START,
    VERTICES,
    WORK,
    cache_gone,
    check,
    contents,
    import_clip,
    new_scene,
    part,
    shown_vertices,
    vertex_error,
)

FRAMES = DESCRIPTION["frames"]
SOME = (0, 1, 7, FRAMES - 1)


def imported(fps=25):
    new_scene(fps)
    import_clip()
    bpy.context.view_layer.objects.active = part("mesh")


def bake_error(**options):
    try:
        bpy.ops.s2d.bake(**options)
    except RuntimeError as error:
        said = str(error).strip()
        assert "\n" not in said and "Traceback" not in said
        return said
    raise AssertionError("no error was reported")


def distances(frames=range(FRAMES), first=START, item=None, truth=None, clip_from=0):
    """How far the mesh's vertices are from ``truth``, by default the clip's, in the world."""
    if truth is None:
        matrix = np.array(clip().matrix_world)
        truth = VERTICES[clip_from:] @ matrix[:3, :3].T + matrix[:3, 3]
    item = item or part("mesh")
    return np.stack([np.linalg.norm(world_vertices(item, first + i) - truth[i], axis=1) for i in frames])


def clip():
    return next(item for item in bpy.data.objects if "clip_frame" in item)


def reported():
    """Mean and largest error in metres, as the panel shows them."""
    said = clip()["clip_baked"]
    return [float(number) / 1000 for number in re.findall(r"([\d.]+) mm", said)]


@check
def bake_keeps_every_position_without_the_cache():
    for kind, fps in (("EXPORTABLE", 24), ("FAST", 60)):
        imported(fps)
        bpy.ops.ed.undo_push(message="imported")
        assert bpy.ops.s2d.bake("EXEC_DEFAULT", True, kind=kind, tolerance=0) == {"FINISHED"}
        assert not part("mesh").modifiers
        assert part("mesh").data.shape_keys.use_relative == (kind == "EXPORTABLE")
        with cache_gone():
            assert vertex_error() < 1e-5, f"{kind}: {vertex_error()}"
        bpy.ops.ed.undo()
        assert [modifier.type for modifier in part("mesh").modifiers] == ["MESH_CACHE"]
        assert part("mesh").data.shape_keys is None
        assert vertex_error() < 1e-5


@check
def bake_thins_keys_within_the_tolerance():
    for kind in ("EXPORTABLE", "FAST"):
        imported()
        bpy.ops.s2d.bake(kind=kind, tolerance=50)
        assert 2 < len(part("mesh").data.shape_keys.key_blocks) < FRAMES
        error = distances()
        assert 1e-3 < error.max() <= 0.05 + 1e-5
        np.testing.assert_allclose((error.mean(), error.max()), reported(), atol=1e-5)


@check
def mixed_keys_are_few_and_go_through_gltf_and_fbx():
    imported()
    bpy.ops.s2d.bake(kind="EXPORTABLE", tolerance=5)
    plain = len(part("mesh").data.shape_keys.key_blocks)
    bpy.ops.s2d.bake(kind="EXPORTABLE", tolerance=5, mixed=True)
    blocks = part("mesh").data.shape_keys.key_blocks
    assert len(blocks) < 0.75 * plain, f"{len(blocks)} of {plain}"
    assert f" {len(blocks)} keys" in clip()["clip_baked"], "as Blender counts them"
    error = distances()
    assert 1e-3 < error.max() <= 0.005 + 1e-5
    np.testing.assert_allclose((error.mean(), error.max()), reported(), atol=1e-5)
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = START, START + FRAMES - 1
    for item in scene.objects:
        item.select_set(item.get("clip_part") == "mesh")
    truth = {frame: world_vertices(part("mesh"), START + frame) for frame in SOME}
    paths = [str(WORK / f"mixed{suffix}") for suffix in (".glb", ".fbx")]
    write_gltf(paths[0], shape_keys=True)
    write_fbx(paths[1], shape_keys=True)
    for path, read in zip(paths, (read_gltf, read_fbx), strict=True):
        new_scene(25)
        read(path)
        mesh = max((item for item in bpy.data.objects if item.type == "MESH"), key=vertex_count)
        for block in mesh.data.shape_keys.key_blocks:  # which the glTF importer leaves at 0 to 1
            block.slider_min, block.slider_max = -10, 10
        off = [from_nearest(truth[i][::29], world_vertices(mesh, START + i)) for i in SOME]
        assert max(off) < 5e-4, f"{path}: {off}"


@check
def armature_moves_the_mesh_as_the_report_says():
    imported()
    assert bpy.ops.s2d.bake(kind="ARMATURE", tolerance=0) == {"FINISHED"}
    assert f" {key_count()} keys" in clip()["clip_baked"], "as Blender counts them"
    error = distances()
    assert error.mean() < 0.001
    assert error.max() < 0.015
    np.testing.assert_allclose((error.mean(), error.max()), reported(), atol=1e-5)
    armature = part("armature")
    assert {bone.rotation_mode for bone in armature.pose.bones} == {"QUATERNION"}
    assert [bone.name for bone in armature.data.bones if not bone.parent] == ["root"]
    assert {"upper_arm.L", "forearm.L", "hand.R", "shin.R", "foot.L", "spine.006"} <= {
        *armature.data.bones.keys()
    }
    assert not any(bone.use_connect for bone in armature.data.bones), "connected bones cannot move"
    with cache_gone():
        assert np.array_equal(distances(SOME), error[list(SOME)])
    bpy.ops.s2d.bake(kind="ARMATURE", rest_pose="T", tolerance=0)
    assert distances().max() < 0.010, "the skin of armpits is fitted anew"


@check
def armature_stands_on_the_floor_without_a_transform_of_its_own():
    for pose, along in (("A", (np.sqrt(0.5), 0, -np.sqrt(0.5))), ("T", (1, 0, 0))):
        imported()
        clip().location.x += 0.4  # where the clip is, its motion is; at rest the body is at the origin
        bpy.context.view_layer.update()
        bpy.ops.s2d.bake(kind="ARMATURE", rest_pose=pose)
        armature, mesh = part("armature"), part("mesh")
        assert armature.parent is None and mesh.parent == armature
        for item in (armature, mesh):
            np.testing.assert_array_equal(np.array(item.matrix_world), np.eye(4))
        assert distances(SOME).max() < 0.025
        rest = np.array([vertex.co for vertex in mesh.data.vertices])
        bones = armature.data.bones
        assert abs(rest[:, 2].min()) < 1e-5 and rest[:, 2].max() > 1
        assert np.abs(np.array(bones["root"].head_local)).max() < 1e-6
        assert np.abs(np.array(bones["spine"].head_local)[:2]).max() < 1e-5
        for name in ("upper_arm.L", "forearm.L", "hand.L"):
            np.testing.assert_allclose(direction(bones[name]), along, atol=1e-3)
        for name in ("thigh.R", "shin.R"):
            np.testing.assert_allclose(direction(bones[name]), (0, 0, -1), atol=1e-3)
        assert direction(bones["toe.L"])[1] < -0.9, "it faces -Y"
        groups = {group.index: group.name for group in mesh.vertex_groups}
        assert "toe.R" in groups.values() and "root" not in groups.values()
        for vertex in list(mesh.data.vertices)[::97]:
            assert 1 <= len(vertex.groups) <= 4
            assert abs(sum(group.weight for group in vertex.groups) - 1) < 1e-4


def direction(bone):
    return np.array((bone.tail_local - bone.head_local).normalized())


@check
def root_bone_goes_the_way_or_stays():
    for root_motion in (True, False):
        imported()
        clip().matrix_world = Matrix.Translation((2, 1, 0)) @ clip().matrix_world
        bpy.context.view_layer.update()
        bpy.ops.s2d.bake(kind="ARMATURE", root_motion=root_motion, tolerance=0)
        pose = part("armature").pose.bones
        for frame in SOME:
            bpy.context.scene.frame_set(START + frame)
            place, hips = np.array(pose["root"].head), np.array(pose["spine"].head)
            assert abs(place[2]) < 1e-6
            off = np.linalg.norm(hips[:2] - place[:2])
            assert off < 0.2 if root_motion else np.abs(place).max() < 1e-6 and off > 1.5
        assert distances(SOME).max() < 0.025


@check
def bones_that_only_turn_stay_connected():
    imported()
    bpy.ops.s2d.bake(kind="ARMATURE", stretch=False, tolerance=0)
    assert part("armature").data.bones["forearm.L"].use_connect
    lengths = []
    for frame in SOME:
        bpy.context.scene.frame_set(START + frame)
        bones = part("armature").pose.bones
        lengths.append((bones["hand.L"].head - bones["forearm.L"].head).length)
    assert np.ptp(lengths) < 1e-5
    assert distances(SOME).max() < 0.04


@check
def loop_goes_on_without_a_jump():
    imported()
    bpy.ops.s2d.bake(kind="ARMATURE", seam=14, tolerance=0)
    assert distances((0, 3, 5)).max() < 0.025, "only the seam is changed"
    assert reported()[1] < 0.025
    armature, length = part("armature"), FRAMES - 1
    way = joints(armature, START + length)["root"] - joints(armature, START)["root"]
    assert np.abs(way).max() > 1e-4
    for frame in (0, 1, 8):
        once, again = (joints(armature, START + frame + passes * length) for passes in (0, 2))
        for name, place in once.items():
            np.testing.assert_allclose(again[name], place + 2 * way, atol=1e-4)
    steps = [joints(armature, START + frame) for frame in range(length - 8, length + 8)]
    jumps = [max(np.linalg.norm(b[name] - a[name]) for name in a) for a, b in itertools.pairwise(steps)]
    assert max(jumps) < 2 * np.median(jumps)


@check
def armature_that_is_selected_belongs_to_its_clip():
    imported()
    bpy.ops.s2d.bake(kind="ARMATURE")
    bpy.context.view_layer.objects.active = part("armature")
    assert bpy.ops.s2d.unbake() == {"FINISHED"}
    assert part("mesh").parent == clip()
    assert vertex_error() < 1e-5
    assert not [item for item in bpy.data.objects if item.type == "ARMATURE"]


@check
def action_is_an_asset_with_a_picture_in_one_click():
    imported()
    bpy.ops.s2d.bake(kind="ARMATURE", preset="MIXAMO")
    frame = bpy.context.scene.frame_current
    assert bpy.ops.s2d.mark_asset() == {"FINISHED"}
    assert bpy.context.scene.frame_current == frame
    assert bpy.ops.s2d.mark_asset() == {"FINISHED"}, "again, to draw the picture anew"
    action = part("armature").animation_data.action
    about = action.asset_data
    assert clip().name in about.description
    assert f"{FRAMES} frames at 25 a second" in about.description
    assert sorted(tag.name for tag in about.tags) == ["Mixamo", "Motion Capture"]
    name, path = action.name, WORK / "library ö.blend"
    bpy.ops.s2d.unbake()
    assert name in bpy.data.actions, "an asset stays"
    bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True)
    new_scene(25)
    with bpy.data.libraries.load(str(path), assets_only=True) as (there, here):
        here.actions = there.actions
    assert [action.name for action in here.actions] == [name]
    picture = np.empty(256 * 256 * 4, np.float32)
    here.actions[0].preview.image_pixels_float.foreach_get(picture)
    drawn = picture.reshape(256, 256, 4)[..., 3] > 0.5
    assert 0.1 < drawn.mean() < 0.6
    figures = [drawn[:, third : third + 86].mean() for third in (0, 85, 170)]
    assert min(figures) > 0.08, "three moments stand beside each other"


@check
def action_plays_from_the_nla_as_before():
    imported()
    bpy.context.scene.frame_end = START + 3 * FRAMES
    for seam in (0, 14):
        bpy.ops.s2d.bake(kind="ARMATURE", seam=seam)
        frames = [START - 2, START, START + 7.5, START + FRAMES - 1, START + FRAMES + 4, START + 2.5 * FRAMES]
        before = [joints(part("armature"), frame) for frame in frames]
        assert bpy.ops.s2d.push_to_nla() == {"FINISHED"}
        animation = part("armature").animation_data
        assert animation.action is None
        assert [track.name for track in animation.nla_tracks] == [clip().name]
        assert animation.nla_tracks[0].strips[0].frame_start == START
        assert not bpy.ops.s2d.push_to_nla.poll(), "it is there already"
        for frame, places in list(zip(frames, before, strict=True))[bool(seam) :]:
            for name, place in joints(part("armature"), frame).items():
                np.testing.assert_allclose(place, places[name], atol=1e-5)
        assert bpy.ops.s2d.mark_asset() == {"FINISHED"}, "from the NLA, too"
        action = animation.nla_tracks[0].strips[0].action
        assert ("Loop" in action.asset_data.tags) == bool(seam)
        action.asset_clear()


@check
def armature_of_a_clip_that_is_scaled_is_not():
    imported()
    clip().scale = (0.5, 0.5, 0.5)
    bpy.context.view_layer.update()
    bpy.ops.s2d.bake(kind="ARMATURE")
    assert distances(SOME).max() < 0.025
    assert tuple(part("armature").scale) == (1, 1, 1)
    bpy.ops.s2d.unbake()
    clip().scale = (0.5, 0.5, 0.6)
    bpy.context.view_layer.update()
    before = contents()
    assert "scaled unevenly" in bake_error(kind="ARMATURE")
    assert contents() == before
    assert vertex_error() < 1e-5


HIERARCHIES = {
    "RIGIFY": "root spine spine.001 spine.002 spine.003 spine.004 spine.005 spine.006",
    "MIXAMO": "root mixamorig:Hips mixamorig:Spine mixamorig:Spine1 mixamorig:Spine2 mixamorig:Neck "
    "mixamorig:Head",
    "UNREAL": "root pelvis spine_01 spine_02 spine_03 spine_04 spine_05 neck_01 neck_02 head",
    "VRM": "root hips spine chest upperChest neck head",
}
LEFT_LEGS = {
    "RIGIFY": "spine thigh.L shin.L foot.L toe.L",
    "MIXAMO": "mixamorig:Hips mixamorig:LeftUpLeg mixamorig:LeftLeg mixamorig:LeftFoot mixamorig:LeftToeBase",
    "UNREAL": "pelvis thigh_l calf_l foot_l ball_l",
    "VRM": "hips leftUpperLeg leftLowerLeg leftFoot leftToes",
}
RECOGNISED = {
    "RIGIFY": "Rigify Metarig",
    "MIXAMO": "Mixamo",
    "UNREAL": "Unreal 5",
    "VRM": "VRM, Unity Humanoid",
}


@check
def presets_of_bones_go_through_fbx_and_gltf_and_back():
    for preset, trunk in HIERARCHIES.items():
        for suffix, write, read in ((".glb", write_gltf, read_gltf), (".fbx", write_fbx, read_fbx)):
            imported()
            clip()["clip_out"] = 8
            bpy.ops.s2d.bake(kind="ARMATURE", preset=preset)
            armature, scene = part("armature"), bpy.context.scene
            for chain in (trunk, LEFT_LEGS[preset]):
                names = chain.split()
                for above, below in itertools.pairwise(names):
                    assert armature.data.bones[below].parent.name == above, f"{preset}: {below}"
            maps = sys.modules[f"{PACKAGE}.s2d_addon.retarget.bone_maps"]
            assert maps.detect(armature.data.bones.keys()).label == RECOGNISED[preset]
            assert distances((0, 3, 8)).max() < 0.025
            scene.frame_start, scene.frame_end = START, START + 8
            for item in scene.objects:
                item.select_set(item.get("clip_part") in ("mesh", "armature"))
            truth = {frame: joints(armature, START + frame) for frame in range(0, 9, 2)}
            path = WORK / f"{preset}{suffix}"
            write(str(path), shape_keys=False)
            new_scene(25)
            read(str(path))
            found = next(item for item in bpy.data.objects if item.type == "ARMATURE")
            first = min(action.frame_range[0] for action in bpy.data.actions)
            assert truth[0].keys() <= {*found.data.bones.keys()}
            worst = 0.0
            for frame, places in truth.items():
                shown = joints(found, first + frame)
                worst = max(worst, *(np.linalg.norm(shown[name] - places[name]) for name in places))
            print(f"{preset} through {suffix}: {worst * 1000:.4f} mm")
            assert worst < 5e-4, f"{preset} through {suffix}: {worst}"


def joints(armature, frame):
    """Where bones' heads are in the world, by name."""
    bpy.context.scene.frame_set(int(frame), subframe=frame % 1)
    return {bone.name: np.array(armature.matrix_world @ bone.head) for bone in armature.pose.bones}


@check
def armature_keys_are_thinned_within_the_tolerance():
    imported()
    bpy.ops.s2d.bake(kind="ARMATURE", tolerance=0)
    every = [world_vertices(part("mesh"), START + frame) for frame in range(FRAMES)]
    keys = key_count()
    bpy.ops.s2d.bake(kind="ARMATURE", tolerance=1e-9)  # less than can be told apart
    assert distances(truth=every).max() < 1e-6
    bpy.ops.s2d.bake(kind="ARMATURE", tolerance=20)
    assert key_count() < 0.8 * keys
    strayed = distances(truth=every).max()
    assert 1e-3 < strayed <= 0.02 + 1e-5


def key_count():
    action = part("armature").animation_data.action
    curves = (
        action.layers[0].strips[0].channelbags[0].fcurves if hasattr(action, "layers") else action.fcurves
    )
    return sum(len(curve.keyframe_points) for curve in curves)


@check
def armature_moves_without_the_extension():
    imported()
    bpy.ops.s2d.bake(kind="ARMATURE")
    before = distances(SOME)
    bpy.ops.preferences.addon_disable(module=PACKAGE)
    try:
        np.testing.assert_array_equal(distances(SOME), before)
    finally:
        bpy.ops.preferences.addon_enable(module=PACKAGE)


@check
def range_between_in_and_out_point_is_baked():
    for kind in ("FAST", "ARMATURE"):
        imported()
        root = clip()
        root["clip_in"], root["clip_out"] = 4, 12
        bpy.ops.s2d.bake(kind=kind, tolerance=0)
        error = distances(range(9), clip_from=4)
        assert error.max() < (1e-5 if kind == "FAST" else 0.03)
        assert " 9 frames" in root["clip_baked"]
        np.testing.assert_array_equal(shown_vertices(START - 3), shown_vertices(START))
        np.testing.assert_array_equal(shown_vertices(START + 30), shown_vertices(START + 8))


@check
def baked_clip_is_baked_again_and_plays_its_cache_again():
    imported()
    before = contents()
    for kind in ("ARMATURE", "EXPORTABLE", "ARMATURE", "FAST"):
        assert bpy.ops.s2d.bake(kind=kind, tolerance=0) == {"FINISHED"}
        assert distances(SOME).max() < (0.025 if kind == "ARMATURE" else 1e-5)
        assert bool(part("mesh").data.shape_keys) == (kind != "ARMATURE")
    assert bpy.ops.s2d.bake(kind="ARMATURE") == {"FINISHED"}
    assert bpy.ops.s2d.unbake() == {"FINISHED"}
    assert contents() == before
    assert not part("mesh").vertex_groups
    assert vertex_error() < 1e-5


@check
def bake_leaves_duplicates_alone_and_mends_what_was_deleted():
    imported()
    bpy.ops.s2d.bake(kind="ARMATURE")
    mesh, armature = part("mesh"), part("armature")
    copy = mesh.copy()
    bpy.context.collection.objects.link(copy)
    shown = shown_vertices(START + 7, copy)
    assert bpy.ops.s2d.bake(kind="ARMATURE") == {"FINISHED"}
    np.testing.assert_allclose(shown_vertices(START + 7, copy), shown, atol=2e-6)
    bpy.data.objects.remove(copy)
    bpy.data.objects.remove(armature)
    bpy.data.objects.remove(part("armature"))
    assert bpy.ops.s2d.bake(kind="ARMATURE") == {"FINISHED"}
    assert [modifier.type for modifier in mesh.modifiers] == ["ARMATURE"]
    assert distances(SOME).max() < 0.03


@check
def armature_bake_is_one_step_to_undo_and_redo():
    imported()
    bpy.ops.ed.undo_push(message="imported")
    before = contents()
    bpy.ops.s2d.bake("EXEC_DEFAULT", True, kind="ARMATURE")
    after = contents()
    bpy.ops.ed.undo()
    assert contents() == before
    assert vertex_error() < 1e-5
    bpy.ops.ed.redo()
    assert contents() == after
    assert distances(SOME).max() < 0.03


@check
def bake_without_its_files_is_one_clear_line_and_changes_nothing():
    imported()
    before = contents()
    with cache_gone():
        for kind in ("FAST", "ARMATURE"):
            assert "elink" in bake_error(kind=kind)
    assert contents() == before
    assert vertex_error() < 1e-5


@check
def armature_waits_for_the_skeleton():
    imported()
    skeleton = Path(part("mesh").modifiers[0].filepath).with_name("skeleton.npz")
    away = skeleton.rename(WORK / skeleton.name)  # it is written a little after the mesh
    try:
        assert "wait" in bake_error(kind="ARMATURE")
    finally:
        away.rename(skeleton)
    assert vertex_error() < 1e-5


@check
def gltf_and_fbx_carry_baked_motion_there_and_back():
    for kind in ("EXPORTABLE", "ARMATURE"):
        for suffix, write, read in ((".glb", write_gltf, read_gltf), (".fbx", write_fbx, read_fbx)):
            imported()
            clip()["clip_out"] = 8  # exporting a shape key takes a second
            bpy.ops.s2d.bake(kind=kind, tolerance=20)
            scene = bpy.context.scene
            scene.frame_start, scene.frame_end = START, START + 8
            for item in scene.objects:
                item.select_set(item.get("clip_part") in ("mesh", "armature"))
            truth = {frame: world_vertices(part("mesh"), START + frame) for frame in (0, 3, 8)}
            path = WORK / f"round trip 人{suffix}"
            write(str(path), shape_keys=kind == "EXPORTABLE")
            new_scene(25)
            read(str(path))
            mesh = max((item for item in bpy.data.objects if item.type == "MESH"), key=vertex_count)
            first = min(action.frame_range[0] for action in bpy.data.actions)
            error = max(
                from_nearest(points[::29], world_vertices(mesh, first + frame))
                for frame, points in truth.items()
            )
            print(f"{kind} through {suffix}: {error * 1000:.4f} mm")
            assert error < 5e-4, f"{kind} through {suffix}: {error}"
            assert worn_by(mesh) == (512, 512), f"{kind} through {suffix} lost the texture"


def worn_by(mesh):
    """The size of the picture that a mesh's surface has for its colour."""
    tree = mesh.active_material.node_tree
    surface = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    return tuple(surface.inputs["Base Color"].links[0].from_node.image.size)


def write_gltf(path, *, shape_keys):
    addon_utils.enable("io_scene_gltf2")
    options = {"export_morph_normal": False} if shape_keys else {}  # a minute faster
    bpy.ops.export_scene.gltf(filepath=path, use_selection=True, **options)


def read_gltf(path):
    bpy.ops.import_scene.gltf(filepath=path)


def write_fbx(path, *, shape_keys):
    addon_utils.enable("io_scene_fbx")
    # By default the exporter looks at objects' own actions alone, and those of shape keys are none; and it
    # drops keys, by which a mesh on an armature may move half a centimetre.
    options = {"bake_anim_use_nla_strips": False, "bake_anim_use_all_actions": False} if shape_keys else {}
    bpy.ops.export_scene.fbx(filepath=path, use_selection=True, bake_anim_simplify_factor=0, **options)


def read_fbx(path):
    bpy.ops.import_scene.fbx(filepath=path, anim_offset=0.0)  # by default all comes a frame late


def vertex_count(item):
    return len(item.data.vertices)


def world_vertices(item, frame):
    points = shown_vertices(frame, item)
    matrix = np.array(item.evaluated_get(bpy.context.evaluated_depsgraph_get()).matrix_world)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def from_nearest(points, others):
    """The largest distance of a point from the others: glTF splits vertices at seams and orders them anew."""
    return max(np.linalg.norm(others - point, axis=1).min() for point in points)


@check
def files_get_their_ending_and_replace_no_other():
    imported()
    named = WORK / "walk v1.2"
    assert bpy.ops.s2d.bake(kind="ALEMBIC", filepath=str(named)) == {"FINISHED"}
    made = WORK / "walk v1.2.abc"
    size = made.stat().st_size
    assert size > 10_000 and not named.exists()
    made.write_bytes(b"somebody's")
    assert "there already" in bake_error(kind="ALEMBIC", filepath=str(named)), "nobody was asked"
    assert made.read_bytes() == b"somebody's"
    bpy.ops.s2d.bake(kind="ALEMBIC", filepath=str(made))  # the file dialog asks
    assert made.stat().st_size > size / 2, "the motion is there again"
    for nothing in ("", str(WORK)):
        assert "No file was chosen" in bake_error(kind="USD", filepath=nothing)


@check
def kinds_of_files_that_blender_was_built_without_are_said():
    imported()
    module = sys.modules[f"{PACKAGE}.s2d_addon.bake.scene_files"]
    assert not module.lacking("ALEMBIC") and not module.lacking("USD")
    path = WORK / "lacking.abc"
    built = types.SimpleNamespace(alembic=False, usd=False)
    module.bpy = types.SimpleNamespace(app=types.SimpleNamespace(build_options=built))
    try:
        assert "without Alembic" in bake_error(kind="ALEMBIC", filepath=str(path))
        assert "without USD" in bake_error(kind="USD", filepath=str(path))
    finally:
        module.bpy = bpy
    assert not path.exists()


@check
def alembic_and_usd_files_hold_the_motion():
    for kind, suffix, read in (
        ("ALEMBIC", ".abc", bpy.ops.wm.alembic_import),
        ("USD", ".usdc", bpy.ops.wm.usd_import),
    ):
        imported()
        if kind == "USD":
            bpy.ops.s2d.bake(kind="ARMATURE")  # what moves the mesh does not matter
        before, frame = contents(), bpy.context.scene.frame_current
        path = WORK / f"dışa 人{suffix}"
        assert bpy.ops.s2d.bake(kind=kind, filepath=str(path)) == {"FINISHED"}
        assert contents() == before
        assert bpy.context.scene.frame_current == frame
        truth = {i: world_vertices(part("mesh"), START + i) for i in SOME}
        new_scene(25)
        read(filepath=str(path))
        mesh = next(item for item in bpy.data.objects if item.type == "MESH")
        for i in SOME:
            assert np.abs(world_vertices(mesh, START + i) - truth[i]).max() < 1e-5
