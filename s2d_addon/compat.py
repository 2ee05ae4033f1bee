# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Blender 4.2 to 5.2 differ: a small function each, asking with ``hasattr``, never by version."""

from __future__ import annotations

import bpy


def new_fcurves(owner: bpy.types.ID, name: str) -> bpy.types.bpy_prop_collection:
    """Give ``owner`` a new action and return the (empty) collection of its F-curves.

    Actions are layered since Blender 4.4: their curves lie in a channel bag of a slot.
    """
    action = bpy.data.actions.new(name)
    animation = owner.animation_data_create()
    animation.action = action
    if not hasattr(action, "layers"):
        return action.fcurves
    slot = action.slots.new(id_type=owner.id_type, name=owner.name)
    animation.action_slot = slot
    strip = action.layers.new("Layer").strips.new(type="KEYFRAME")
    return strip.channelbag(slot, ensure=True).fcurves


def group_curves(action: bpy.types.Action) -> None:
    """Group the F-curves of an armature's new action by bone, as Blender itself does."""
    bag = action.layers[0].strips[0].channelbags[0] if hasattr(action, "layers") else action
    for curve in bag.fcurves:
        bone = curve.data_path.split('"')[1]
        curve.group = bag.groups.get(bone) or bag.groups.new(bone)
