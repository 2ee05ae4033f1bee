# SPDX-License-Identifier: GPL-3.0-or-later
"""Where capture could only guess: a list of those times in the panel, and markers on the scene's timeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import bpy
import numpy as np

from ..registering import registration
from ..translating import label_text, translatable
from ..typed import OperatorResult, present
from . import cleanup, fixes, markers, scene
from .ui import ClipOperator, ClipPanel, active_clip, clip_in_use

MARKED = "doubts_marked"
"""The custom property of a clip's empty that holds its markers' names, line by line, empty for none."""

_MOST_LISTED = 12
_MARKERS = translatable("{part} unsure"), translatable("{part} seen")


@dataclass(frozen=True)
class Doubt:
    """Frames of a clip in which the motion of a part of the body is a guess."""

    start: int
    stop: int  # the first after it
    part: str


def doubts_of(root: bpy.types.Object) -> list[Doubt]:
    """Return the doubts of a clip, in order of time."""
    return [
        Doubt(each["start"], each["stop"], each["part"]) for each in root[scene.CLIP_INFO].get("doubts", ())
    ]


def mark(root: bpy.types.Object, target: bpy.types.Scene) -> None:
    """Mark beginning and end of each doubt on the timeline, at the scene frames that show them now."""
    unmark(root, target)
    names: list[str] = []
    for doubt in doubts_of(root):
        part, ends = label_text(doubt.part), (doubt.start, doubt.stop)
        marks = [(frame, label_text(text, part=part)) for frame, text in zip(ends, _MARKERS, strict=True)]
        names += [marker.name for marker in markers.add(root, target, marks)]
    root[MARKED] = "\n".join(names)


def unmark(root: bpy.types.Object, target: bpy.types.Scene) -> None:
    """Take the clip's markers off the timeline."""
    names = root.get(MARKED, "").splitlines()
    markers.remove(target, lambda marker: marker.name in names)
    root[MARKED] = ""


class S2D_OT_mark_doubts(ClipOperator):
    """Mark on the timeline where the motion of a part of the body is a guess, or take the marks off"""

    bl_idname = "s2d.mark_doubts"
    bl_label = "Mark on Timeline"
    bl_options = {"UNDO"}

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Do the one or the other."""
        root, target = active_clip(context), present(context.scene)
        (unmark if root.get(MARKED) else mark)(root, target)
        return {"FINISHED"}


class S2D_OT_go_to_doubt(ClipOperator):
    """Go to the moment at which the motion begins to be a guess"""

    bl_idname = "s2d.go_to_doubt"
    bl_label = "Go to Doubt"
    bl_options = {"INTERNAL"}

    number: Annotated[int, bpy.props.IntProperty(min=0)]

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Set the scene's frame."""
        root, target = active_clip(context), present(context.scene)
        found = doubts_of(root)
        if self.number >= len(found):
            return {"CANCELLED"}
        frame = scene.scene_frames(root, np.array([found[self.number].start]), target)[0]
        target.frame_set(round(float(frame)))
        return {"FINISHED"}


class S2D_PT_doubts(ClipPanel):
    """Where the motion is a guess."""

    bl_label = "Doubts"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Show it where there are any."""
        root = clip_in_use(context)
        return root is not None and bool(doubts_of(root))

    def draw(self, context: bpy.types.Context) -> None:
        """Draw a button for each."""
        layout, root = self.layout, active_clip(context)
        found = doubts_of(root)
        column = layout.column(align=True)
        for number, doubt in enumerate(found[:_MOST_LISTED]):
            seconds = (doubt.stop - doubt.start) / root[scene.CLIP_FPS]
            text = f"{_clock(doubt.start / root[scene.CLIP_FPS])}  {label_text(doubt.part)}, {seconds:.1f} s"
            row = column.row(align=True)
            go_to = row.operator(S2D_OT_go_to_doubt.bl_idname, text=text, translate=False)
            present(go_to).number = number
            fixes.draw_for_doubt(row, root, doubt.start, doubt.stop, doubt.part)
        if len(found) > _MOST_LISTED:
            more = len(found) - _MOST_LISTED
            column.label(text=label_text("and {count} more, on the timeline", count=more))
        marked = bool(root.get(MARKED))
        layout.operator(S2D_OT_mark_doubts.bl_idname, icon="MARKER_HLT", depress=marked)
        if cleanup.is_pending(root, present(context.scene)):
            apply = cleanup.S2D_OT_apply_edits.bl_idname
            layout.operator(apply, text="Apply", icon="CHECKMARK", depress=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}"


register, unregister = registration((S2D_OT_mark_doubts, S2D_OT_go_to_doubt, S2D_PT_doubts))
