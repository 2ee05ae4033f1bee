# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside ``bpy``: imports a BVH and a GLB with Blender's own importers and writes down what is seen.

``python blender_reader.py FILE.bvh FILE.glb OUT.npz [FRAME...]``: bones in all frames, and the skinned mesh
at the given ones.
"""

import sys

import bpy
import numpy as np

BVH, GLB, OUT, *FRAMES = sys.argv[1:]


def fresh_scene(fps):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.render.fps, bpy.context.scene.render.fps_base = fps, 1.0


def armature():
    return next(item for item in bpy.data.objects if item.type == "ARMATURE")


def key_frames(action):
    """The frames at which any of its curves has a key."""
    layers = getattr(action, "layers", ())  # from 4.4 on
    bags = [bag for layer in layers for strip in layer.strips for bag in strip.channelbags] or [action]
    curves = [curve for bag in bags for curve in bag.fcurves]
    return sorted({point.co[0] for curve in curves for point in curve.keyframe_points})


def show(frame):
    bpy.context.scene.frame_set(int(frame), subframe=frame % 1)


def bones_at(frames):
    """World rotations since rest and heads of all bones at those frames."""
    item = armature()
    world = np.array(item.matrix_world)
    rotations, heads = [], []
    for frame in frames:
        show(frame)
        matrices = [world @ np.array(bone.matrix) for bone in item.pose.bones]
        rest = [world @ np.array(bone.bone.matrix_local) for bone in item.pose.bones]
        rotations.append([(a @ np.linalg.inv(b))[:3, :3] for a, b in zip(matrices, rest, strict=True)])
        heads.append([matrix[:3, 3] for matrix in matrices])
    return np.array(rotations), np.array(heads)


def skinned_at(frames):
    """Vertices of the mesh in the world at those frames."""
    item = next(item for item in bpy.data.objects if item.type == "MESH" and item.find_armature())
    shown = []
    for frame in frames:
        show(frame)
        evaluated = item.evaluated_get(bpy.context.evaluated_depsgraph_get())
        mesh = evaluated.to_mesh()
        points = np.empty(3 * len(mesh.vertices), np.float32)
        mesh.vertices.foreach_get("co", points)
        world = np.array(evaluated.matrix_world)
        shown.append(points.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3])
        evaluated.to_mesh_clear()
    return np.array(shown), item


seen = {}
fresh_scene(24)
bpy.ops.import_anim.bvh(filepath=BVH, global_scale=0.01, update_scene_fps=True, rotate_mode="QUATERNION")
frames = key_frames(armature().animation_data.action)
seen["bvh_rotations"], seen["bvh_heads"] = bones_at(frames)
seen["bvh_names"] = [bone.name for bone in armature().pose.bones]
render = bpy.context.scene.render
seen["bvh_fps"] = render.fps / render.fps_base

fresh_scene(1000)
bpy.ops.import_scene.gltf(filepath=GLB)
frames = key_frames(armature().animation_data.action)
seen["glb_seconds"] = np.array(frames) / 1000
seen["glb_rotations"], seen["glb_heads"] = bones_at(frames)
seen["glb_names"] = [bone.name for bone in armature().pose.bones]
seen["glb_skinned"], item = skinned_at([frames[int(frame)] for frame in FRAMES])
seen["glb_uv"] = len(item.data.uv_layers)
np.savez(OUT, **seen)
