# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn a mesh that plays a point cache into a mesh on an armature with keyframes, from ``skeleton.npz``.

The skeleton was fitted to the vertices by the engine. Here each bone's rotation, and the root's location, get
keys of their own, joined by smooth curves; frames that lie on them need no key. How far they may stray is
told by what they do: the corners of a box round each bone's vertices bound how far any vertex strays.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector

from .. import compat
from ..retarget.transfer import Motion, pose, simple_rig, to_matrices
from .keyframes import add_smooth_curve, furthest_added, smooth_between, smooth_keys
from .shape_keys import Baked, Progress

_SKELETON_FILE = "skeleton.npz"
_FRAMES_AT_ONCE = 32
_MEETS = 1e-5  # metres
_SHORTEST_REACH = 1e-3  # metres


@dataclass(frozen=True)
class Skeleton:
    """A skeleton's rest pose and skin, and its motion in T frames: the arrays of ``skeleton.npz``."""

    names: list[str]
    parents: np.ndarray
    heads: np.ndarray
    tails: np.ndarray
    matrices: np.ndarray
    rest_vertices: np.ndarray
    weight_bones: np.ndarray
    weight_values: np.ndarray
    rotations: np.ndarray
    locations: np.ndarray

    def move(self, rotations: list[np.ndarray], location: np.ndarray) -> Motion:
        """Pose the bones by quaternions ``(T, 4)`` each and the root pose bone's ``location`` ``(T, 3)``."""
        rig = simple_rig(self.names, self.parents, self.matrices, self.tails)
        turns = (to_matrices(values) for values in rotations)
        return pose(rig, dict(zip(self.names, turns, strict=True)), self.names[0], location)


def read_skeleton(folder: Path, frames: np.ndarray) -> Skeleton:
    """Read the skeleton in a decoded clip's folder, and its motion in the given frames.

    Raises ValueError where it is missing; the message says what to do.
    """
    path = folder / _SKELETON_FILE
    if not path.is_file():
        raise ValueError("The clip's skeleton is not there yet: wait for the import's end, or import again.")
    with np.load(path, allow_pickle=False) as arrays:
        data = {name: arrays[name] for name in Skeleton.__dataclass_fields__}
    for name in ("matrices", "rotations", "locations"):
        data[name] = data[name].astype(np.float64)
    data |= {name: data[name][frames] for name in ("rotations", "locations")}
    return Skeleton(**data | {"names": data["names"].tolist()})


def bake_armature(
    mesh: bpy.types.Object,
    skeleton: Skeleton,
    points: np.ndarray,
    times: np.ndarray,
    context: bpy.types.Context,
    *,
    tolerance: float,
    progress: Progress,
) -> tuple[bpy.types.Object, Baked]:
    """Put ``mesh`` on a new armature that moves as ``skeleton`` does at the scene frames ``times`` ``(T,)``.

    No vertex strays further than ``tolerance`` metres from where keys at all frames would have it; 0 makes
    them. ``points`` ``(T, V, 3)`` are the clip's vertices, which the outcome is compared with. Returns the
    armature, at the mesh's place, and what was made.
    """
    rotations = list(np.swapaxes(skeleton.rotations, 0, 1))
    rest = skeleton.matrices[0]
    location = (skeleton.locations - rest[:3, 3]) @ rest[:3, :3]
    kept = _keys_within(skeleton, rotations, location, tolerance)
    item = _build(mesh, skeleton, context)
    curves = compat.new_fcurves(item, item.name)
    bones = [f'pose.bones["{name}"]' for name in skeleton.names]
    paths = [*(f"{bone}.rotation_quaternion" for bone in bones), f"{bones[0]}.location"]
    for path, values, keep in zip(paths, [*rotations, location], kept, strict=True):
        for index, column in enumerate(values.T):
            add_smooth_curve(curves, path, times, column, keep, index)
    compat.group_curves(item.animation_data.action)
    _skin(mesh, skeleton, item)
    *turns, place = map(smooth_between, [*rotations, location], kept)
    motion = skeleton.move(turns, place)
    mean, worst = _distances(skeleton, motion, points, progress)
    return item, Baked(sum(map(len, kept)), len(points), mean, worst)


def remove_armature(mesh: bpy.types.Object, armatures: list[bpy.types.Object]) -> None:
    """Take ``mesh`` off that of ``armatures`` which moves it, and this out of the file with its curves.

    An armature that moves other meshes too stays.
    """
    for modifier in [modifier for modifier in mesh.modifiers if modifier.type == "ARMATURE"]:
        item = modifier.object
        if item is None:  # the user has deleted it
            mesh.modifiers.remove(modifier)
        elif item in armatures:
            mesh.modifiers.remove(modifier)
            for bone in item.data.bones:
                group = mesh.vertex_groups.get(bone.name)
                if group:
                    mesh.vertex_groups.remove(group)
            if not any(_moves(item, other) for other in bpy.data.objects):
                action = item.animation_data.action if item.animation_data else None
                bpy.data.armatures.remove(item.data)  # and the object with it
                if action and not action.users:
                    bpy.data.actions.remove(action)


def _moves(armature: bpy.types.Object, other: bpy.types.Object) -> bool:
    return any(modifier.type == "ARMATURE" and modifier.object == armature for modifier in other.modifiers)


# ---- keys ------------------------------------------------------------------------------------


def _keys_within(
    skeleton: Skeleton, rotations: list[np.ndarray], location: np.ndarray, tolerance: float
) -> list[np.ndarray]:
    """Choose the frames ``(K,)`` that get keys, for each bone's rotation and last for the root's location."""
    channels = [*rotations, location]
    if tolerance == 0:
        return [np.arange(len(location))] * len(channels)
    corners = _corners(skeleton)
    wanted = _corner_places(skeleton, skeleton.move(rotations, location), corners)
    arms = np.append(2 * _reach(skeleton), 1.0)  # metres for a unit of a quaternion, or of the location
    kept = [smooth_keys(values, tolerance / arm) for values, arm in zip(channels, arms, strict=True)]
    above = _above(skeleton)
    while True:
        *turns, place = shown = [smooth_between(*channel) for channel in zip(channels, kept, strict=True)]
        corners_shown = _corner_places(skeleton, skeleton.move(turns, place), corners)
        strayed = np.linalg.norm(corners_shown - wanted, axis=-1).max(axis=2)
        worst = strayed.max(axis=1)
        frames = np.flatnonzero(worst > tolerance)
        if not len(frames):
            return kept
        # A chain's strays add up there: of its channels the one that strays most gets a key.
        own = [np.linalg.norm(has - values, axis=1) for has, values in zip(shown, channels, strict=True)]
        shares = np.stack(own, axis=1)[frames] * arms * above[strayed[frames].argmax(axis=1)]
        guilty = shares.argmax(axis=1)
        for channel in np.unique(guilty):
            kept[channel] = furthest_added(kept[channel], frames[guilty == channel], worst)


def _above(skeleton: Skeleton) -> np.ndarray:
    """Tell ``(J, J + 1)`` which channels move each bone: its own, those above it and the root's location."""
    above = np.eye(len(skeleton.names), len(skeleton.names) + 1, dtype=bool)
    above[:, -1] = True
    for bone, parent in enumerate(skeleton.parents):
        if parent >= 0:
            above[bone] |= above[parent]
    return above


def _corners(skeleton: Skeleton) -> np.ndarray:
    """Return the corners ``(J, 8, 3)`` of a box round the vertices of each bone, in its own axes at rest."""
    corners = np.zeros((len(skeleton.names), 8, 3))
    pick = np.array([[i >> axis & 1 for axis in range(3)] for i in range(8)])
    for bone, matrix in enumerate(skeleton.matrices):
        moved = ((skeleton.weight_bones == bone) & (skeleton.weight_values > 0)).any(axis=1)
        if moved.any():
            local = (skeleton.rest_vertices[moved] - matrix[:3, 3]) @ matrix[:3, :3]
            corners[bone] = np.where(pick, local.max(axis=0), local.min(axis=0))
    return corners


def _corner_places(skeleton: Skeleton, motion: Motion, corners: np.ndarray) -> np.ndarray:
    """Return where the corners stand, ``(T, J, 8, 3)``."""
    return corners @ np.swapaxes(motion.rotations, -1, -2) + motion.heads[:, :, None]


def _reach(skeleton: Skeleton) -> np.ndarray:
    """Return how far from each bone's head the furthest vertex lies that it carries, at rest."""
    strongest = np.take_along_axis(skeleton.weight_bones, skeleton.weight_values.argmax(1)[:, None], 1)[:, 0]
    reach = np.full(len(skeleton.names), _SHORTEST_REACH)
    for moved in range(len(reach)):
        vertices, bone = skeleton.rest_vertices[strongest == moved], moved
        while bone >= 0 and len(vertices):
            reach[bone] = max(reach[bone], np.linalg.norm(vertices - skeleton.heads[bone], axis=1).max())
            bone = int(skeleton.parents[bone])
    return reach


def _distances(
    skeleton: Skeleton, motion: Motion, points: np.ndarray, progress: Progress
) -> tuple[float, float]:
    """Return the skinned vertices' mean and largest distance from ``points`` over all frames."""
    bones = len(skeleton.names)
    weights = np.zeros((len(skeleton.rest_vertices), bones), np.float32)
    np.put_along_axis(weights, skeleton.weight_bones.astype(np.int64), skeleton.weight_values, axis=1)
    ones = np.ones((len(weights), 1), np.float32)
    rest = np.concatenate([skeleton.rest_vertices, ones], axis=1)
    readout = (weights[:, :, None] * rest[:, None]).reshape(len(weights), -1)
    turns = motion.rotations @ np.swapaxes(skeleton.matrices[:, :3, :3], -1, -2)
    shifts = motion.heads - (turns @ skeleton.heads[..., None])[..., 0]
    stacked = np.concatenate([np.swapaxes(turns, -1, -2), shifts[:, :, None]], axis=2).astype(np.float32)
    total, worst = 0.0, 0.0
    for start in range(0, len(points), _FRAMES_AT_ONCE):
        some = stacked[start : start + _FRAMES_AT_ONCE]
        wide = readout @ some.reshape(len(some), 4 * bones, 3).transpose(1, 0, 2).reshape(4 * bones, -1)
        shown = wide.reshape(-1, len(some), 3).transpose(1, 0, 2)
        distances = np.linalg.norm(shown - points[start : start + len(some)], axis=-1)
        total, worst = total + float(distances.sum()), max(worst, float(distances.max()))
        progress(start / len(points))
    return total / (len(points) * len(weights)), worst


# ---- objects ---------------------------------------------------------------------------------


def _build(mesh: bpy.types.Object, skeleton: Skeleton, context: bpy.types.Context) -> bpy.types.Object:
    """Build the armature at rest, where ``mesh`` is."""
    name = f"{mesh.parent.name} armature"
    item = bpy.data.objects.new(name, bpy.data.armatures.new(name))
    item.show_in_front = True
    item.parent = mesh.parent
    item.matrix_parent_inverse, item.matrix_basis = mesh.matrix_parent_inverse, mesh.matrix_basis
    layer = context.view_layer
    active = layer.objects.active
    context.scene.collection.objects.link(item)  # bones are made in edit mode, for which it must be in view
    layer.objects.active = item
    bpy.ops.object.mode_set(mode="EDIT")
    _add_bones(item.data, skeleton)
    bpy.ops.object.mode_set(mode="OBJECT")
    layer.objects.active = active
    context.scene.collection.objects.unlink(item)
    for collection in mesh.users_collection:
        collection.objects.link(item)
    for bone in item.pose.bones:
        bone.rotation_mode = "QUATERNION"
    return item


def _add_bones(data: bpy.types.Armature, skeleton: Skeleton) -> None:
    for bone, name in enumerate(skeleton.names):
        made = data.edit_bones.new(name)
        made.head, made.tail = skeleton.heads[bone], skeleton.tails[bone]
        made.align_roll(Vector(skeleton.matrices[bone, :3, 2]))
        parent = skeleton.parents[bone]
        if parent >= 0:
            made.parent = data.edit_bones[skeleton.names[parent]]
            made.use_connect = bool(np.abs(skeleton.tails[parent] - skeleton.heads[bone]).max() < _MEETS)


def _skin(mesh: bpy.types.Object, skeleton: Skeleton, item: bpy.types.Object) -> None:
    """Put the mesh at rest and let the armature move it, before whatever else changes it."""
    mesh.data.vertices.foreach_set("co", np.ascontiguousarray(skeleton.rest_vertices).ravel())
    mesh.data.update()
    for bone, name in enumerate(skeleton.names):
        if name in mesh.vertex_groups:
            mesh.vertex_groups.remove(mesh.vertex_groups[name])
        group = mesh.vertex_groups.new(name=name)
        chosen = (skeleton.weight_bones == bone) & (skeleton.weight_values > 0)
        vertices, values = np.nonzero(chosen)[0], skeleton.weight_values[chosen]
        for value in np.unique(values):  # one call for all vertices of a weight: most have the weight 1
            group.add(vertices[values == value].tolist(), float(value), "REPLACE")
    modifier = mesh.modifiers.new("Armature", "ARMATURE")
    modifier.object = item
    mesh.modifiers.move(len(mesh.modifiers) - 1, 0)
