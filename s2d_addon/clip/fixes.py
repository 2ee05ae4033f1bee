# SPDX-License-Identifier: GPL-3.0-or-later
"""What is mended in a part of a clip: from which frame to which, what, and the list of it in *Clean-up*."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, cast

import bpy
import numpy as np

from ..registering import registration
from ..translating import translatable
from ..typed import OperatorResult, present
from . import cleanup_properties, scene
from .ui import ClipOperator, active_clip

FROM, TO = "s2d_fix_from", "s2d_fix_to"
"""Properties of the clip's empty: the scene frames between which something is to be mended."""

_ENDS = {FROM: ("fix_from", scene.CLIP_IN), TO: ("fix_to", scene.CLIP_OUT)}
"""The custom properties that keep them, in the clip's frames, and what they are at first."""

_KINDS = (
    ("swap", translatable("Swap Left and Right"), translatable("Left and right are exchanged")),
    ("redo", translatable("Redo"), translatable("The motion is filled in from what is around")),
    ("straighten", translatable("Straighten"), translatable("Knees and trunk are straightened")),
)
_PARTS = (
    ("all", translatable("Whole Body"), translatable("All of the body")),
    ("head", translatable("Head"), translatable("The head alone")),
    ("left_arm", translatable("Left Arm"), translatable("The left arm alone")),
    ("right_arm", translatable("Right Arm"), translatable("The right arm alone")),
    ("left_leg", translatable("Left Leg"), translatable("The left leg alone")),
    ("right_leg", translatable("Right Leg"), translatable("The right leg alone")),
)
_NAMES = {kind: name for kind, name, _ in _KINDS}


def _shown_at(root: bpy.types.Object, frame: int) -> int:
    """Return the scene frame that shows a clip's frame."""
    return round(float(scene.scene_frames(root, np.array(frame), present(bpy.context.scene))))


def _clip_frame(root: bpy.types.Object, scene_frame: int) -> int:
    """Return the clip's frame that a scene frame shows, of those that there are."""
    frame = round(scene.clip_frame_at(root, scene_frame, present(bpy.context.scene)))
    return min(max(frame, 0), root[scene.CLIP_FRAMES] - 1)


def _owner(span: S2DSpan) -> bpy.types.Object:
    return cast(bpy.types.Object, span.id_data)


def _first(span: S2DSpan) -> int:
    return _shown_at(_owner(span), span.start)


def _set_first(span: S2DSpan, value: int) -> None:
    span.start = min(_clip_frame(_owner(span), value), span.stop - 1)


def _last(span: S2DSpan) -> int:
    return _shown_at(_owner(span), span.stop - 1)


def _set_last(span: S2DSpan, value: int) -> None:
    span.stop = max(_clip_frame(_owner(span), value), span.start) + 1


class S2DSpan(bpy.types.PropertyGroup):
    """A part of a clip, and what is mended in it."""

    kind: Annotated[str, bpy.props.EnumProperty(name="Kind", items=_KINDS)]
    start: Annotated[int, bpy.props.IntProperty(name="Start", min=0)]  # of the clip's frames
    stop: Annotated[int, bpy.props.IntProperty(name="Stop", min=1)]  # the first after it
    part: Annotated[
        str, bpy.props.EnumProperty(name="Part", description="What of the body is redone", items=_PARTS)
    ]
    strength: Annotated[
        float,
        bpy.props.FloatProperty(
            name="Strength",
            description="How far knees and trunk are straightened: 0 not at all, 1 completely",
            min=0.0,
            max=1.0,
            default=1.0,
            subtype="FACTOR",
        ),
    ]
    first: Annotated[
        int,
        bpy.props.IntProperty(
            name="From", description="Scene frame at which it begins", get=_first, set=_set_first
        ),
    ]
    last: Annotated[
        int,
        bpy.props.IntProperty(
            name="To", description="Scene frame at which it ends", get=_last, set=_set_last
        ),
    ]


def spans_of(root: bpy.types.Object) -> Any:
    """Return the collection of what is mended in a clip."""
    return getattr(root, cleanup_properties.SPANS)


def listed(root: bpy.types.Object, kind: str, start: int, stop: int, part: str) -> int:
    """Return which of a clip's list mends these frames in this way, -1 for none."""
    wanted = kind, start, stop, part
    spans = [(span.kind, span.start, span.stop, span.part) for span in spans_of(root)]
    return spans.index(wanted) if wanted in spans else -1


class _FixOperator(ClipOperator):
    """An operator that puts a part of the clip on the list of what is mended, or takes it off again."""

    kind = ""
    bl_options = {"UNDO"}

    start: Annotated[int, bpy.props.IntProperty(default=-1, options={"HIDDEN", "SKIP_SAVE"})]
    stop: Annotated[int, bpy.props.IntProperty(default=-1, options={"HIDDEN", "SKIP_SAVE"})]
    part: Annotated[str, bpy.props.EnumProperty(items=_PARTS, options={"HIDDEN", "SKIP_SAVE"})]

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Do it to the given frames of the clip, or to those that the panel has."""
        root = active_clip(context)
        start, stop = self.start, self.stop
        if start < 0 or stop < 0:
            start, stop = _end(root, FROM), _end(root, TO) + 1
        stop = min(stop, root[scene.CLIP_FRAMES])
        if start >= stop:
            self.report({"ERROR"}, "From comes after To: set one of them anew.")
            return {"CANCELLED"}
        if self.kind == "redo" and stop - start == root[scene.CLIP_FRAMES]:
            self.report({"ERROR"}, "The whole clip cannot be redone: set From or To to a part of it.")
            return {"CANCELLED"}
        spans, number = spans_of(root), listed(root, self.kind, start, stop, self.part)
        if number >= 0:
            spans.remove(number)
            return {"FINISHED"}
        span = spans.add()
        span.kind, span.start, span.stop, span.part = self.kind, start, stop, self.part
        self.report({"INFO"}, "Listed in Clean-up: Apply decodes the motion with it.")
        return {"FINISHED"}


class S2D_OT_swap_sides(_FixOperator):
    """Exchange left and right between From and To, where capture took the one side for the other"""

    bl_idname = "s2d.swap_sides"
    bl_label = "Swap Left and Right"
    kind = "swap"


class S2D_OT_redo_motion(_FixOperator):
    """Drop the motion between From and To, and fill it in smoothly from what is before and after it"""

    bl_idname = "s2d.redo_motion"
    bl_label = "Redo"
    kind = "redo"


class S2D_OT_straighten(_FixOperator):
    """Straighten knees and trunk between From and To, of who was filmed upright. Feet stay where they are"""

    bl_idname = "s2d.straighten"
    bl_label = "Straighten"
    kind = "straighten"


class S2D_OT_fix_here(ClipOperator):
    """Set it to the current frame"""

    bl_idname = "s2d.fix_here"
    bl_label = "Here"
    bl_options = {"UNDO", "INTERNAL"}

    end: Annotated[str, bpy.props.EnumProperty(items=((FROM, "From", ""), (TO, "To", "")))]

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Set the beginning or the end."""
        setattr(active_clip(context), self.end, present(context.scene).frame_current)
        return {"FINISHED"}


class S2D_OT_remove_fix(ClipOperator):
    """Take it off the list"""

    bl_idname = "s2d.remove_fix"
    bl_label = "Remove"
    bl_options = {"UNDO", "INTERNAL"}

    number: Annotated[int, bpy.props.IntProperty(min=0)]

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Remove it."""
        spans_of(active_clip(context)).remove(self.number)
        return {"FINISHED"}


def draw_fixes(layout: bpy.types.UILayout, root: bpy.types.Object) -> None:
    """Draw from where to where, what is to be done there, and the list of it."""
    column = layout.column(align=True)
    for end, text in ((FROM, "Fix From"), (TO, "To")):
        row = column.row(align=True)
        row.prop(root, end, text=text)
        present(row.operator(S2D_OT_fix_here.bl_idname, text="", icon="TRIA_DOWN_BAR")).end = end
    column.operator(S2D_OT_swap_sides.bl_idname, icon="ARROW_LEFTRIGHT")
    row = column.row(align=True)
    row.operator(S2D_OT_redo_motion.bl_idname, icon="IPO_BEZIER")
    row.operator(S2D_OT_straighten.bl_idname, icon="ARMATURE_DATA")
    spans = spans_of(root)
    if not len(spans):
        return
    box = layout.box().column(align=True)
    box.use_property_split = False
    for number, span in enumerate(spans):
        row = box.row(align=True)
        row.label(text=_NAMES.get(span.kind, ""), icon=_ICONS.get(span.kind, "NONE"))
        present(row.operator(S2D_OT_remove_fix.bl_idname, text="", icon="X", emboss=False)).number = number
        row = box.row(align=True)
        row.prop(span, "first", text="")
        row.prop(span, "last", text="")
        if span.kind == "straighten":
            row.prop(span, "strength", text="", slider=True)
        elif span.kind == "redo":
            row.prop(span, "part", text="")


_ICONS: dict[str, Any] = {"swap": "ARROW_LEFTRIGHT", "redo": "IPO_BEZIER", "straighten": "ARMATURE_DATA"}


def draw_for_doubt(
    layout: bpy.types.UILayout, root: bpy.types.Object, start: int, stop: int, of: str
) -> None:
    """Draw buttons that mend these frames of the clip, in which the motion of a part is a guess.

    Where that is the trunk, all of the body is redone, since all hangs on it.
    """
    limb = of.replace(" ", "_")
    redone = limb if limb in {part for part, _, _ in _PARTS} else "all"
    stop = min(stop, root[scene.CLIP_FRAMES])
    for operator, part in ((S2D_OT_swap_sides, "all"), (S2D_OT_redo_motion, redone)):
        chosen = listed(root, operator.kind, start, stop, part) >= 0
        button = layout.operator(operator.bl_idname, text="", icon=_ICONS[operator.kind], depress=chosen)
        present(button).start, present(button).stop, present(button).part = start, stop, part


def _end(root: bpy.types.Object, end: str) -> int:
    """Return the clip's frame at which something is to be mended first or last."""
    key, at_first = _ENDS[end]
    return min(root.get(key, root[at_first]), root[scene.CLIP_FRAMES] - 1)


def _end_property(end: str, name: str, description: str) -> Any:
    def get(root: bpy.types.Object) -> int:
        return _shown_at(root, _end(root, end))

    def set_(root: bpy.types.Object, value: int) -> None:
        root[_ENDS[end][0]] = _clip_frame(root, value)

    return bpy.props.IntProperty(name=name, description=description, get=get, set=set_)


_register, _unregister = registration(
    (
        S2DSpan,
        S2D_OT_swap_sides,
        S2D_OT_redo_motion,
        S2D_OT_straighten,
        S2D_OT_fix_here,
        S2D_OT_remove_fix,
    )
)
_PROPERTIES: dict[str, Callable[[], Any]] = {
    FROM: lambda: _end_property(
        FROM, translatable("From"), translatable("Scene frame from which on something is to be mended")
    ),
    TO: lambda: _end_property(
        TO, translatable("To"), translatable("Scene frame up to which something is to be mended")
    ),
    cleanup_properties.SPANS: lambda: bpy.props.CollectionProperty(type=S2DSpan),
}


def register() -> None:
    """Register the operators, and the clip's list of what is mended."""
    _register()
    for name, make in _PROPERTIES.items():
        setattr(bpy.types.Object, name, make())


def unregister() -> None:
    """Remove what :func:`register` added."""
    for name in _PROPERTIES:
        delattr(bpy.types.Object, name)
    _unregister()
