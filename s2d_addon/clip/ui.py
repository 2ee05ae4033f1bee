# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operators and panels of the active clip have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import bpy

from ..engine.job import Job
from ..translating import broken, label_text, say, translatable
from ..typed import present, windows
from . import scene

_PIXELS_A_LETTER = 7
_STAGES = {
    "": translatable("Starting"),
    "people": translatable("Finding people"),
    "pose": translatable("Following the person"),
    "camera": translatable("Following the camera"),
    "fit": translatable("Solving the motion"),
    "pictures": translatable("Choosing pictures"),
    "align": translatable("Aligning the body"),
    "texture": translatable("Gathering the texture"),
    "keypoints": translatable("Keypoints"),
    "vertices": translatable("Mesh"),
    "skeleton": translatable("Skeleton"),
    "video": translatable("Video"),
    "place": translatable("Finding the clip in the film"),
    "film": translatable("Film"),
}
"""What users call the engine's stages."""


class _Last:
    """The clip that was used last, by the name and the ``session_uid`` of its empty."""

    name = ""
    uid = 0


def remember(root: bpy.types.Object) -> None:
    """Let ``root`` be the clip that was used last."""
    _Last.name, _Last.uid = root.name, root.session_uid


def clip_in_use(context: bpy.types.Context) -> bpy.types.Object | None:
    """Return the empty of the active object's clip, or else of the clip used last, None without either."""
    if root := scene.find_root(context.object):
        remember(root)
        return root
    last = bpy.data.objects.get(_Last.name)
    there = last is not None and last.session_uid == _Last.uid and context.scene in last.users_scene
    return last if there else None


def active_clip(context: bpy.types.Context) -> bpy.types.Object:
    """Return :func:`clip_in_use`, where ``poll`` has seen that there is one."""
    return present(clip_in_use(context))


class ClipOperator(bpy.types.Operator):
    """An operator on the clip in use."""

    modes = {"OBJECT", "POSE"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow it in its modes where there is a clip, unless that belongs to a library."""
        root = clip_in_use(context)
        if root is None:
            cls.poll_message_set(say("Select an imported clip"))
            return False
        if root.library:
            cls.poll_message_set(say("The clip is linked from another file: make a library override first"))
            return False
        return in_mode(cls, context, cls.modes)


def in_mode(operator: type[bpy.types.Operator], context: bpy.types.Context, modes: set[str]) -> bool:
    """Return whether Blender is in one of ``modes``, and have the button say so where it is not."""
    if context.mode not in modes:
        operator.poll_message_set(say("Go to Object Mode first"))
    return context.mode in modes


class ClipPanel(bpy.types.Panel):
    """A panel of the clip in use, inside the tab *Sparse2Dense*."""

    layout: bpy.types.UILayout  # always there to draw in
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Sparse2Dense"
    bl_parent_id = "S2D_PT_clip"
    bl_order = 2  # after what is wrong with the clip, and what it is mostly imported for

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Show it where there is a clip, whatever is active."""
        return clip_in_use(context) is not None


def redraw_panels() -> None:
    """Redraw the sidebars of all 3D views, and the status bars."""
    for window in windows(bpy.context):
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()
        window.workspace.status_text_set(None)


def stage_text(job: Job) -> str:
    """Return what the engine is at, and how much of that is done."""
    return f"{label_text(_STAGES.get(job.stage, job.stage))} {job.fraction:.0%}"


def draw_messages(
    layout: bpy.types.UILayout,
    context: bpy.types.Context,
    messages: Sequence[str],
    icon: Literal["ERROR", "INFO"],
) -> None:
    """Draw messages in a box, each broken into lines that fit the panel."""
    box = layout.box().column(align=True)
    scale = present(context.preferences).system.ui_scale
    width = max(int(present(context.region).width / (_PIXELS_A_LETTER * scale)) - 8, 16)
    for message in messages:
        for i, line in enumerate(broken(message, width)):
            box.label(text=line, translate=False, icon=icon if i == 0 else "BLANK1")
