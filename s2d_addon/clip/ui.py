# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operators and panels of the active clip have in common."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Literal

import bpy

from ..typed import present
from . import scene

_PIXELS_A_LETTER = 7


def active_clip(context: bpy.types.Context) -> bpy.types.Object:
    """Return the empty of the active object's clip, where ``poll`` has seen that there is one."""
    return present(scene.find_root(context.object))


class ClipOperator(bpy.types.Operator):
    """An operator on the clip of the active object."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow it in object mode with a part of a clip active, unless it belongs to a library."""
        root = scene.find_root(context.object)
        if root is None:
            cls.poll_message_set("Select an imported clip")
            return False
        if root.library:
            cls.poll_message_set("The clip is linked from another file: make a library override first")
            return False
        return context.mode == "OBJECT"


class ClipPanel(bpy.types.Panel):
    """A panel of the active clip, inside the tab *Sparse2Dense*."""

    layout: bpy.types.UILayout  # always there to draw in
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Sparse2Dense"
    bl_parent_id = "S2D_PT_clip"
    bl_order = 1  # after what is wrong with the clip

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Show it while a part of a clip is active."""
        return scene.find_root(context.object) is not None


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
        for i, line in enumerate(textwrap.wrap(message, width)):
            box.label(text=line, icon=icon if i == 0 else "BLANK1")
