# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn a mesh that plays a point cache into a mesh on an armature with keyframes.

Armature and mesh stand in the world, without a transform of their own, as exporters want them. Each bone's
rotation, and its location where it has one, get keys of their own, joined by smooth curves; frames that lie
on them need no key.
"""

from __future__ import annotations

from typing import cast

import bpy
import numpy as np
from mathutils import Matrix, Vector

from .. import compat
from ..typed import mesh_of, present
from .actions import motion_of
from .bake_report import Baked
from .clip_skeleton import ClipSkeleton, Points, skinned_errors
from .fcurves import add_smooth_curve
from .keys import Progress, smooth_between
from .skeleton_keys import skeleton_keys

_MEETS = 1e-5  # metres


def bake_armature(
    mesh: bpy.types.Object,
    name: str,
    skeleton: ClipSkeleton,
    points: Points,
    times: np.ndarray,
    context: bpy.types.Context,
    *,
    tolerance: float,
    cyclic: bool,
    progress: Progress,
) -> tuple[bpy.types.Object, Baked]:
    """Put ``mesh`` on a new armature that moves as ``skeleton`` does at the scene frames ``times`` ``(T,)``.

    No vertex strays further than ``tolerance`` metres from where keys at all frames would have it; 0 makes
    them. ``cyclic`` lets the motion repeat, the root's way going on. ``points`` ``(T, V, 3)`` are the clip's
    vertices in the world, which the outcome is compared with. Returns the armature, called ``name``, and
    what was made.
    """
    channels = skeleton.channels()
    kept = skeleton_keys(skeleton, channels, tolerance)
    item = _build(mesh, name, skeleton, context)
    curves = compat.new_fcurves(item, item.name)
    bones = [f'pose.bones["{name}"]' for name in skeleton.names]
    paths = [f"{bone}.rotation_quaternion" for bone in bones]
    paths += [f"{bone}.location" for bone in bones[: skeleton.located]]
    for path, values, keys in zip(paths, channels, kept, strict=True):
        for index, column in enumerate(values.T):
            add_smooth_curve(curves, path, times, column, keys, index)
    action = present(present(item.animation_data).action)
    compat.group_curves(action)
    if cyclic:
        _repeat(action, curves, f"{bones[0]}.location", times)
    _skin(mesh, skeleton, item)
    motion = skeleton.move([smooth_between(*channel) for channel in zip(channels, kept, strict=True)])
    mean, worst = skinned_errors(skeleton, motion, points, progress)
    count = sum(len(keys) * values.shape[1] for keys, values in zip(kept, channels, strict=True))
    return item, Baked(len(times), mean, worst, count)


def armature_of(item: bpy.types.Object) -> bpy.types.Armature:
    """Return the bones of an armature object. Raises TypeError where it is of another kind."""
    if not isinstance(item.data, bpy.types.Armature):
        raise TypeError(f"{item.name} is no armature.")
    return item.data


def remove_armature(mesh: bpy.types.Object, armatures: list[bpy.types.Object]) -> None:
    """Take ``mesh`` off that of ``armatures`` which moves it, and this out of the file with its curves.

    An armature that moves other meshes too stays.
    """
    for modifier in _armature_modifiers(mesh):
        item = modifier.object
        if item is None:  # the user has deleted it
            mesh.modifiers.remove(modifier)
        elif item in armatures:
            mesh.modifiers.remove(modifier)
            data = armature_of(item)
            for bone in data.bones:
                group = mesh.vertex_groups.get(bone.name)
                if group:
                    mesh.vertex_groups.remove(group)
            if not any(
                item == mover.object for other in bpy.data.objects for mover in _armature_modifiers(other)
            ):
                action = motion_of(item)
                bpy.data.armatures.remove(data)  # and the object with it
                if action and not action.users:  # an asset has one
                    bpy.data.actions.remove(action)


def _armature_modifiers(item: bpy.types.Object) -> list[bpy.types.ArmatureModifier]:
    return [modifier for modifier in item.modifiers if isinstance(modifier, bpy.types.ArmatureModifier)]


def _repeat(
    action: bpy.types.Action, curves: bpy.types.ActionChannelbagFCurves, way: str, times: np.ndarray
) -> None:
    """Let an action repeat before and after itself; those at the path ``way`` go on from their end."""
    action.use_frame_range = action.use_cyclic = True
    action.frame_start, action.frame_end = float(times[0]), float(times[-1])
    for curve in curves:
        cycles = cast(bpy.types.FModifierCycles, curve.modifiers.new("CYCLES"))
        cycles.mode_before = cycles.mode_after = "REPEAT_OFFSET" if curve.data_path == way else "REPEAT"


# ---- objects ---------------------------------------------------------------------------------


def _build(
    mesh: bpy.types.Object, name: str, skeleton: ClipSkeleton, context: bpy.types.Context
) -> bpy.types.Object:
    """Build the armature at rest, in the collections of ``mesh``."""
    data = bpy.data.armatures.new(name)
    item = bpy.data.objects.new(name, data)
    item.show_in_front = True
    objects, in_view = present(context.view_layer).objects, present(context.scene).collection.objects
    active = objects.active
    in_view.link(item)  # bones are made in edit mode, for which it must be in view
    objects.active = item
    bpy.ops.object.mode_set(mode="EDIT")
    _add_bones(data, skeleton)
    bpy.ops.object.mode_set(mode="OBJECT")
    objects.active = active
    in_view.unlink(item)
    for collection in mesh.users_collection:
        collection.objects.link(item)
    for bone in present(item.pose).bones:
        bone.rotation_mode = "QUATERNION"
    return item


def _add_bones(data: bpy.types.Armature, skeleton: ClipSkeleton) -> None:
    for bone, name in enumerate(skeleton.names):
        made = data.edit_bones.new(name)
        made.head, made.tail = skeleton.heads[bone], skeleton.tails[bone]
        made.align_roll(Vector(skeleton.matrices[bone, :3, 2].tolist()))
        made.use_deform = bool((skeleton.weight_values[skeleton.weight_bones == bone] > 0).any())
        parent = skeleton.parents[bone]
        if parent >= 0:
            made.parent = data.edit_bones[skeleton.names[parent]]
            # What is connected cannot go anywhere.
            meets = np.abs(skeleton.tails[parent] - skeleton.heads[bone]).max() < _MEETS
            made.use_connect = bool(meets and bone >= skeleton.located)


def _skin(mesh: bpy.types.Object, skeleton: ClipSkeleton, item: bpy.types.Object) -> None:
    """Put the mesh at rest below the armature and let it be moved by it, before whatever else changes it."""
    mesh.parent = item
    mesh.matrix_parent_inverse, mesh.matrix_basis = Matrix(), Matrix()
    data = mesh_of(mesh)
    data.vertices.foreach_set("co", np.ascontiguousarray(skeleton.rest_vertices).ravel())
    data.update()
    for bone, name in enumerate(skeleton.names):
        if name in mesh.vertex_groups:
            mesh.vertex_groups.remove(mesh.vertex_groups[name])
        chosen = (skeleton.weight_bones == bone) & (skeleton.weight_values > 0)
        if not chosen.any():
            continue
        group = mesh.vertex_groups.new(name=name)
        vertices, values = np.nonzero(chosen)[0], skeleton.weight_values[chosen]
        for value in np.unique(values):  # one call for all vertices of a weight: most have the weight 1
            group.add(vertices[values == value].tolist(), float(value), "REPLACE")
    modifier = cast(bpy.types.ArmatureModifier, mesh.modifiers.new("Armature", "ARMATURE"))
    modifier.object = item
    mesh.modifiers.move(len(mesh.modifiers) - 1, 0)
