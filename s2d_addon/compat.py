# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Blender 4.2 to 5.2 differ: a small function each, asking with ``hasattr``, never by version."""

from __future__ import annotations

from typing import cast

import bpy


def new_fcurves(owner: bpy.types.ID, name: str) -> bpy.types.ActionChannelbagFCurves:
    """Give ``owner`` a new action and return the (empty) collection of its F-curves.

    Actions are layered since Blender 4.4: their curves lie in a channel bag of a slot.
    """
    action = bpy.data.actions.new(name)
    animation = cast(bpy.types.AnimData, owner.animation_data_create())
    animation.action = action
    if hasattr(action, "layers"):
        animation.action_slot = slot = action.slots.new(id_type=owner.id_type, name=owner.name)
        strip = action.layers.new("Layer").strips.new(type="KEYFRAME")
        cast("bpy.types.ActionKeyframeStrip", strip).channelbag(slot, ensure=True)
    return _channels(action).fcurves


def group_curves(action: bpy.types.Action) -> None:
    """Group the F-curves of an armature's new action by bone, as Blender itself does."""
    channels = _channels(action)
    for curve in channels.fcurves:
        bone = curve.data_path.split('"')[1]
        curve.group = channels.groups.get(bone) or channels.groups.new(bone)


def _channels(action: bpy.types.Action) -> bpy.types.ActionChannelbag:
    """Return what holds a new action's curves and their groups: before Blender 4.4, the action itself."""
    if not hasattr(action, "layers"):
        return cast("bpy.types.ActionChannelbag", action)
    return cast("bpy.types.ActionKeyframeStrip", action.layers[0].strips[0]).channelbags[0]
