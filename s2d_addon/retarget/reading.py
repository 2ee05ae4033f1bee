# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the user's armatures: their bones at rest, and what carries each."""

from __future__ import annotations

from collections.abc import Sequence

import bpy
import numpy as np

from ..bake.armature import armature_of
from ..bake.rig import Rig
from ..typed import present
from .channels import from_channels


def pose_bones(target: bpy.types.Object) -> bpy.types.bpy_prop_collection[bpy.types.PoseBone]:
    """Return the bones of an armature object's pose."""
    return present(target.pose).bones


def rotation_property(bone: bpy.types.PoseBone) -> str:
    """Return the property that holds a bone's rotation channels in its rotation mode."""
    names = {"QUATERNION": "rotation_quaternion", "AXIS_ANGLE": "rotation_axis_angle"}
    return names.get(bone.rotation_mode, "rotation_euler")


def read_rig(target: bpy.types.Object, bone_map: dict[str, str], others: Sequence[str] = ()) -> Rig:
    """Read an armature's mapped bones and ``others`` at rest, with all that carry them, and the fingers.

    Constraints are left out, except where they hang a bone whole on another one.
    """
    posed = pose_bones(target)
    order: dict[str, tuple[str | None, bool]] = {}  # of each bone: what carries it, and whether as it is

    def add(bone: bpy.types.PoseBone, above: tuple[str, ...] = ()) -> None:
        if bone.name in order:
            return
        carrier, same = _carrier(target, bone) if bone.name not in mapped else (bone.parent, False)
        if carrier and carrier.name in above:
            carrier, same = bone.parent, False
        if carrier:
            add(carrier, (*above, bone.name))
        order[bone.name] = carrier.name if carrier else None, same

    mapped = [*bone_map.values(), *others]
    for name in mapped:
        add(posed[name])
    for ours, theirs in bone_map.items():
        if ours.startswith("hand"):
            for finger in posed[theirs].children:
                add(finger)
    places = {name: j for j, name in enumerate(order)}
    bones = [armature_of(target).bones[name] for name in order]
    rest = np.array([bone.matrix_local for bone in bones])
    parents = np.array([-1 if carrier is None else places[carrier] for carrier, _ in order.values()])
    offsets = [
        np.eye(4) if same else rest[j] if parents[j] < 0 else np.linalg.inv(rest[parents[j]]) @ rest[j]
        for j, (_, same) in enumerate(order.values())
    ]
    return Rig(
        names=tuple(order),
        parents=parents,
        rest=rest,
        tails=np.array([bone.tail_local for bone in bones]),
        offsets=np.array(offsets),
        basis=np.array([_unscaled(posed[name]) for name in order]),
        turns=np.array([bone.use_inherit_rotation for bone in bones]),
        shifts=np.array([bone.use_local_location for bone in bones]),
        deforming=np.array([bone.use_deform for bone in bones]),
    )


def _carrier(target: bpy.types.Object, bone: bpy.types.PoseBone) -> tuple[bpy.types.PoseBone | None, bool]:
    """Return the bone that carries ``bone``, and whether it takes that bone's pose just as it is.

    The carrier is the parent, unless a constraint hangs the bone whole on another one, as in control rigs.
    """
    for constraint in reversed(bone.constraints):
        if constraint.mute or not constraint.influence or constraint.type == "COPY_SCALE":
            continue
        whole, name, same = constraint.influence == 1, "", False
        if isinstance(constraint, bpy.types.CopyTransformsConstraint):
            spaces = {constraint.owner_space, constraint.target_space}
            whole &= constraint.mix_mode == "REPLACE" and spaces in ({"WORLD"}, {"POSE"})
            if constraint.target == target:
                name, same = constraint.subtarget, True
        elif isinstance(constraint, bpy.types.ArmatureConstraint):
            carriers = [entry for entry in constraint.targets if entry.weight]
            if len(carriers) == 1 and carriers[0].target == target:
                name = carriers[0].subtarget
        carrier = pose_bones(target).get(name)
        return (carrier, same) if whole and carrier else (bone.parent, False)
    return bone.parent, False


def _unscaled(bone: bpy.types.PoseBone) -> np.ndarray:
    """Return what a bone itself does ``(4, 4)``, without its scale."""
    turn = np.array([getattr(bone, rotation_property(bone))])
    matrix = np.eye(4)
    matrix[:3, :3] = from_channels(turn, bone.rotation_mode)[0]
    matrix[:3, 3] = np.array(bone.location)
    return matrix
