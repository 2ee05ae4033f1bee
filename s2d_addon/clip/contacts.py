# SPDX-License-Identifier: GPL-3.0-or-later
"""When a foot is held: markers on the scene's timeline, which the user moves, deletes and adds."""

from __future__ import annotations

import contextlib
import json
from typing import Annotated, Any

import bpy

from ...models.errors import explain
from ..engine.decoded import read_description
from ..registering import registration
from ..translating import label_text, say, translatable
from ..typed import OperatorResult, present
from . import cleanup_properties, markers, scene
from .ui import ClipOperator, active_clip

SHOWN = "contacts_shown"
"""The custom property of a clip's empty that says which markers were set, and what for, empty for none."""

Contact = tuple[int, int, str]  # the first frame of the clip, the first after it, and which foot

_WORDS = {
    "left": (translatable("Left foot down"), translatable("Left foot up")),
    "right": (translatable("Right foot down"), translatable("Right foot up")),
}


def show(root: bpy.types.Object, target: bpy.types.Scene) -> None:
    """Mark when feet are held in the motion that the clip shows.

    Raises OSError where that is not there, or was decoded by a version that did not note it.
    """
    folder = scene.motion_folder(root)
    contacts = read_description(folder).contacts
    if contacts is None:
        raise OSError(
            say(
                "{folder} does not tell when feet are held: change a value of Clean-up and Apply.",
                folder=folder,
            )
        )
    hide(root, target)
    marks = [
        (at, _WORDS[foot][end]) for *span, foot in contacts if foot in _WORDS for end, at in enumerate(span)
    ]
    made = markers.add(root, target, [(at, label_text(words)) for at, words in marks])
    set_ = [[marker.frame, words, at] for marker, (at, words) in zip(made, marks, strict=True)]
    root[SHOWN] = json.dumps({"begin": markers.prefix(root), "marks": set_})


def hide(root: bpy.types.Object, target: bpy.types.Scene) -> None:
    """Take the clip's markers off the timeline."""
    if shown := _shown(root):
        begin, known = shown["begin"], _known()
        markers.remove(
            target, lambda marker: marker.name.startswith(begin) and markers.said(marker, begin) in known
        )
    root[SHOWN] = ""


def is_shown(root: bpy.types.Object) -> bool:
    """Whether the clip's contacts are marked on the timeline."""
    return bool(root.get(SHOWN))


def are_changed(root: bpy.types.Object, target: bpy.types.Scene) -> bool:
    """Whether the user has changed the markers since they were set or applied."""
    shown = _shown(root)
    return bool(shown) and sorted(_marks(root, target)) != sorted(map(tuple, shown["marks"]))


def take(root: bpy.types.Object, target: bpy.types.Scene) -> None:
    """Let feet be held as the markers say, where they are shown."""
    if not (shown := _shown(root)):
        return
    marks = _marks(root, target)
    root[cleanup_properties.CONTACTS] = json.dumps(_contacts(marks, root[scene.CLIP_FRAMES]))
    root[SHOWN] = json.dumps({"begin": shown["begin"], "marks": marks})


def _shown(root: bpy.types.Object) -> dict[str, Any]:
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        shown = json.loads(root.get(SHOWN) or "{}")
        if isinstance(shown, dict) and {"begin", "marks"} <= set(shown):
            return shown
    return {}


def _known() -> dict[str, str]:
    """Return what markers may say, in English and the user's language, small letters, and what it means."""
    meant = [words for pair in _WORDS.values() for words in pair]
    return {said.casefold(): words for words in meant for said in (words, label_text(words))}


def _marks(root: bpy.types.Object, target: bpy.types.Scene) -> list[tuple[int, str, int]]:
    """Return the markers as they are now: scene frame, words, and the clip's frame.

    One that was not moved stands for the frame it was set for, also where the scene has fewer frames.
    """
    shown = _shown(root)
    meant = {(frame, words): at for frame, words, at in shown["marks"]}
    known = _known()
    marks = []
    for marker in target.timeline_markers:
        words = known.get(markers.said(marker, shown["begin"]) or "")
        if words:
            at = round(scene.clip_frame_at(root, marker.frame, target))
            marks.append((marker.frame, words, meant.get((marker.frame, words), at)))
    return marks


def _contacts(marks: list[tuple[int, str, int]], frames: int) -> list[Contact]:
    """Return when feet are held by markers: from down to up; before and after all, to the clip's end."""
    contacts = []
    for foot, pair in _WORDS.items():
        down, up = pair
        # Of two at the same frame, up comes first: one step ends where the next begins.
        mine = [(at, words == down) for _, words, at in marks if words in (down, up)]
        steps = sorted((min(max(at, 0), frames), is_down) for at, is_down in mine)
        start = 0 if steps and not steps[0][1] else None
        for at, is_down in steps:
            if is_down and start is None:
                start = at
            elif not is_down and start is not None:
                contacts.append((start, at, foot))
                start = None
        if start is not None:
            contacts.append((start, frames, foot))
    return sorted(contact for contact in contacts if contact[0] < contact[1])


class S2D_OT_show_contacts(ClipOperator):
    """Mark on the timeline from when to when a foot is held. Move, delete or add markers, then Apply"""

    bl_idname = "s2d.show_contacts"
    bl_label = "Show Contacts"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow it where the motion that is shown has feet that are held."""
        if not super().poll(context):
            return False
        root = active_clip(context)
        if not (root.get(scene.CLIP_EDIT) and root.get(cleanup_properties.FOOT_LOCK)):
            cls.poll_message_set(say("No foot is held: set Foot Lock and Apply first"))
            return False
        return True

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Mark them, or take the marks off."""
        root, target = active_clip(context), present(context.scene)
        if is_shown(root):
            hide(root, target)
            return {"FINISHED"}
        try:
            show(root, target)
        except OSError as error:
            cure = say("Find the clip's files with Relink, or import it again.")
            self.report({"ERROR"}, f"{explain(error)} {cure}")
            return {"CANCELLED"}
        return {"FINISHED"}


class S2D_OT_add_contact(ClipOperator):
    """Mark here that the foot comes down to stand, or goes up"""

    bl_idname = "s2d.add_contact"
    bl_label = "Add Contact"
    bl_options = {"UNDO", "INTERNAL"}

    foot: Annotated[str, bpy.props.EnumProperty(items=(("left", "Left", ""), ("right", "Right", "")))]
    up: Annotated[bool, bpy.props.BoolProperty(name="Up")]

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Set the marker at the scene's frame."""
        root, target = active_clip(context), present(context.scene)
        begin = _shown(root).get("begin", markers.prefix(root))
        target.timeline_markers.new(
            f"{begin}{label_text(_WORDS[self.foot][self.up])}", frame=target.frame_current
        )
        return {"FINISHED"}


class S2D_OT_find_contacts(ClipOperator):
    """Let contacts be found by themselves again, in place of what markers said"""

    bl_idname = "s2d.find_contacts"
    bl_label = "Find Contacts Anew"
    bl_options = {"UNDO"}

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Forget what markers said."""
        root = active_clip(context)
        hide(root, present(context.scene))
        if root.get(cleanup_properties.CONTACTS) is not None:
            del root[cleanup_properties.CONTACTS]
        return {"FINISHED"}


def draw_contacts(layout: bpy.types.UILayout, root: bpy.types.Object) -> None:
    """Draw the button that marks contacts, and those that add one."""
    shown = is_shown(root)
    column = layout.column(align=True)
    row = column.row(align=True)
    row.operator(S2D_OT_show_contacts.bl_idname, icon="MARKER_HLT", depress=shown)
    if root.get(cleanup_properties.CONTACTS) is not None:
        row.operator(S2D_OT_find_contacts.bl_idname, text="", icon="LOOP_BACK")
    if shown:
        row = column.row(align=True)
        for foot, up, text in (
            ("left", False, "L Down"),
            ("left", True, "L Up"),
            ("right", False, "R Down"),
            ("right", True, "R Up"),
        ):
            button = present(row.operator(S2D_OT_add_contact.bl_idname, text=text))
            button.foot, button.up = foot, up


register, unregister = registration((S2D_OT_show_contacts, S2D_OT_add_contact, S2D_OT_find_contacts))
