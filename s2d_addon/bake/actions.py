# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of an action that holds a clip's motion: an asset with a picture, a strip of the NLA.

An action that was made of a clip says so itself, so that this needs neither the clip nor its files.
"""

from __future__ import annotations

import math
from typing import Any

import bpy
import numpy as np

from ...models.errors import InputError
from ..clip import scene as clips
from ..clip.ui import clip_in_use, in_mode
from ..registering import registration
from ..translating import say
from ..typed import OperatorResult, present
from .preview_picture import SIZE, draw_motion

_NOTE = "clip_motion"  # on an action: which clip's motion it is, and which bones of whose rig it moves
_ARMATURE = "s2d_armature"  # in the context of a button: whose motion it is about
_TAG = "Motion Capture"
_MOMENTS = 3  # in the picture


def note_motion(
    action: bpy.types.Action, root: bpy.types.Object, frames: int, rig: str, bones: dict[str, str]
) -> None:
    """Let an action say that it is ``frames`` of a clip's motion, for what is called a ``rig``.

    ``bones`` are the rig's names of bones of the clip's skeleton.
    """
    rate = root[clips.CLIP_FPS] * root[clips.SPEED]
    action[_NOTE] = {"clip": root.name, "frames": frames, "rate": float(rate), "rig": rig, "bones": bones}


def motion_of(item: bpy.types.Object | None) -> bpy.types.Action | None:
    """Return the action made of a clip that moves an armature, by itself or in the NLA, None where none does.

    Of several in the NLA, the uppermost.
    """
    animation = item.animation_data if item and item.type == "ARMATURE" else None
    if animation is None:
        return None
    strips = [strip.action for track in reversed(animation.nla_tracks) for strip in track.strips]
    return next((action for action in (animation.action, *strips) if action and action.get(_NOTE)), None)


# ---- assets ----------------------------------------------------------------------------------


def mark_asset(item: bpy.types.Object, context: bpy.types.Context) -> bpy.types.Action:
    """Make an asset of the action that :func:`motion_of` finds, with a picture, a description and tags.

    InputError ``hidden`` where the armature does not move now, so that there is nothing to draw.
    """
    action = present(motion_of(item))
    if not item.visible_get() or getattr(item.data, "pose_position", "") == "REST":
        said = say(
            '"{name}" is hidden or shows its rest position: let it be seen in its motion.', name=item.name
        )
        raise InputError("hidden", said)
    note = action[_NOTE]
    picture = draw_motion(_moments(item, action, note["bones"].to_dict(), context))
    action.asset_mark()
    about = present(action.asset_data)
    seconds = note["frames"] / note["rate"]
    about.description = say(
        'Motion of "{clip}": {seconds:.1f} s, {frames} frames at {rate:.5g} a second',
        clip=note["clip"],
        seconds=seconds,
        frames=note["frames"],
        rate=note["rate"],
    )
    for tag in (_TAG, note["rig"], *(["Loop"] if action.use_cyclic else [])):
        if tag and tag not in about.tags:
            about.tags.new(tag)
    preview: Any = action.preview_ensure()  # typed as if arrays of numbers could be set by their like alone
    preview.image_size = (SIZE, SIZE)
    preview.image_pixels_float.foreach_set(picture.ravel())
    return action


def _moments(
    item: bpy.types.Object, action: bpy.types.Action, bones: dict[str, str], context: bpy.types.Context
) -> dict[str, np.ndarray]:
    """Return where an armature's bones begin and end ``(M, 2, 3)`` in the world at moments of an action."""
    scene, posed = present(context.scene), present(item.pose).bones
    bones = {ours: theirs for ours, theirs in bones.items() if theirs in posed}
    if not bones:
        said = say(
            '"{name}" has none of the bones that "{action}" moves.', name=item.name, action=action.name
        )
        raise InputError("bone_map", said)
    before, first, last = scene.frame_current_final, *action.frame_range.to_tuple()
    if animation := item.animation_data:  # in the NLA it may play at another time
        strips = [strip for track in animation.nla_tracks for strip in track.strips]
        if not animation.action and (found := [strip for strip in strips if strip.action == action]):
            first, last = found[-1].frame_start, found[-1].frame_end
    places = []
    for moment in range(_MOMENTS):
        frame = first + (2 * moment + 1) / (2 * _MOMENTS) * (last - first)
        scene.frame_set(math.floor(frame), subframe=frame % 1)
        ends = [(posed[name].head, posed[name].tail) for name in bones.values()]
        places.append([[item.matrix_world @ end for end in both] for both in ends])
    scene.frame_set(math.floor(before), subframe=before % 1)
    return dict(zip(bones, np.swapaxes(np.array(places), 0, 1), strict=True))


# ---- the NLA ---------------------------------------------------------------------------------


def push_to_nla(item: bpy.types.Object, scene: bpy.types.Scene) -> bpy.types.NlaTrack:
    """Move an armature's own action, made of a clip, to a new track of the NLA, where it plays as before.

    A cyclic action goes on until the scene's end, in whole rounds.
    """
    animation = present(item.animation_data)
    action = present(animation.action)
    slot = getattr(animation, "action_slot", None)  # since Blender 4.4
    first, last = action.frame_range.to_tuple()
    lowest = not animation.nla_tracks
    track = animation.nla_tracks.new()
    track.name = action[_NOTE]["clip"]
    strip = track.strips.new(action.name, math.floor(first), action)
    if slot:
        strip.action_slot = slot
    rounds = 1
    if action.use_cyclic and last > first:  # the curves themselves repeat, and let the root's way go on
        rounds = max(math.ceil((scene.frame_end - first) / (last - first)), 1)
    strip.action_frame_start, strip.action_frame_end = first, first + rounds * (last - first)
    strip.frame_start, strip.frame_end = first, first + rounds * (last - first)
    strip.extrapolation = "HOLD" if lowest else "HOLD_FORWARD"
    animation.action = None
    return track


# ---- buttons ---------------------------------------------------------------------------------


class _ActionOperator(bpy.types.Operator):
    """An operator on the action, made of a clip, of an armature: the button's, the active one, the baked."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow it where there is such an action."""
        item = _armature(context)
        if item is None:
            said = say("Bake the clip to an armature or apply its motion to one, and select that")
            cls.poll_message_set(said)
            return False
        if item.library or present(motion_of(item)).library:
            cls.poll_message_set(say("The motion is linked from another file: do it there"))
            return False
        if present(item.animation_data).use_tweak_mode:
            cls.poll_message_set(say("Leave the tweak mode of the Nonlinear Animation editor first (Tab)"))
            return False
        return in_mode(cls, context, {"OBJECT", "POSE"})


class S2D_OT_mark_asset(_ActionOperator):
    """Make an asset of the action, with a picture, a description and tags, for the Asset Browser"""

    bl_idname = "s2d.mark_asset"
    bl_label = "Mark as Asset"
    bl_options = {"UNDO"}

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Mark it, and say where it is found."""
        try:
            action = mark_asset(present(_armature(context)), context)
        except InputError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        said = say('"{name}" is an asset: the Asset Browser has it under Current File.', name=action.name)
        self.report({"INFO"}, said)
        return {"FINISHED"}


class S2D_OT_push_to_nla(_ActionOperator):
    """Move the action to a track of the Nonlinear Animation editor, where it plays as before"""

    bl_idname = "s2d.push_to_nla"
    bl_label = "Push to NLA"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow it where the action is not there yet."""
        if not super().poll(context):
            return False
        item = present(_armature(context))
        if present(item.animation_data).action != motion_of(item):
            cls.poll_message_set(say("The motion is in the Nonlinear Animation editor already"))
            return False
        return True

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Push it, and say which track it is on."""
        track = push_to_nla(present(_armature(context)), present(context.scene))
        said = say('The motion is on the track "{name}" of the Nonlinear Animation editor.', name=track.name)
        self.report({"INFO"}, said)
        return {"FINISHED"}


def _armature(context: bpy.types.Context) -> bpy.types.Object | None:
    """Return the armature that a button is about: its own, the active one, or the clip's baked one."""
    root = clip_in_use(context)
    baked = clips.find_parts(root, "armature") if root else []
    candidates = (getattr(context, _ARMATURE, None), context.object, *baked)
    return next((item for item in candidates if motion_of(item)), None)


def draw_actions(layout: bpy.types.UILayout, item: bpy.types.Object) -> None:
    """Draw the buttons for the action of an armature, where it was made of a clip."""
    if motion_of(item):
        row = layout.row(align=True)
        row.context_pointer_set(_ARMATURE, item)
        row.operator(S2D_OT_mark_asset.bl_idname, icon="ASSET_MANAGER")
        row.operator(S2D_OT_push_to_nla.bl_idname, icon="NLA_PUSHDOWN")


register, unregister = registration((S2D_OT_mark_asset, S2D_OT_push_to_nla))
