# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user sees: the tab *Sparse2Dense* in the 3D view's sidebar, and the import in the status bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy

from . import importing, new_clip
from .bake import actions
from .bake import operators as bake
from .clip import place, timing
from .clip.redecoding import REDECODING, RedecodingJob, S2D_OT_cancel_redecoding
from .clip.ui import draw_messages, stage_text
from .engine.job import IMPORTING, ImportJob, Job
from .registering import registration
from .retarget import operators as retarget
from .translating import label_text, translatable
from .typed import present

_STATUS_WIDTH = 14  # in the interface's units, about two letters each


class S2D_PT_main(bpy.types.Panel):
    """The tab *Sparse2Dense*."""

    bl_label = "Sparse2Dense"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Sparse2Dense"

    layout: bpy.types.UILayout  # always there to draw in

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the import: to start, at work, or failed."""
        layout, job = self.layout, IMPORTING.current
        if job and job.running:
            _draw_progress(layout, job)
        else:
            column = layout.column(align=True)
            column.scale_y = 1.4
            column.operator(importing.S2D_OT_import_clip.bl_idname, text="Import .s2d", icon="IMPORT")
            column.operator(new_clip.S2D_OT_new_clip.bl_idname, text="Video to .s2d", icon="FILE_MOVIE")
        if job and job.errors:
            draw_messages(layout, context, job.errors, "ERROR")


def _draw_progress(layout: bpy.types.UILayout, job: ImportJob) -> None:
    layout.label(text=_clip_text(job), translate=False, icon="FILE_MOVIE")
    layout.progress(factor=job.fraction, text=_progress_text(job), translate=False)
    layout.operator(importing.S2D_OT_cancel.bl_idname, text="Cancel", icon="X")


def _clip_text(job: ImportJob | RedecodingJob) -> str:
    if job.current is None:
        return ""
    if isinstance(job, ImportJob):
        name, number, count = job.current.path.stem, job.tasks.index(job.current) + 1, len(job.tasks)
    else:
        name, number, count = job.current.name, job.orders.index(job.current) + 1, len(job.orders)
    if count == 1:
        return name
    return label_text("{name} ({number} of {count})", name=name, number=number, count=count)


def _progress_text(job: Job) -> str:
    text = stage_text(job)
    left = job.seconds_left
    return text if left is None else label_text("{stage}, {left:.0f} s left", stage=text, left=left)


def _draw_status(self: bpy.types.Header, _context: bpy.types.Context) -> None:
    for job, cancel in (
        (IMPORTING.current, importing.S2D_OT_cancel),
        (REDECODING.current, S2D_OT_cancel_redecoding),
    ):
        if job and job.running:
            row = present(self.layout).row(align=True)
            row.ui_units_x = _STATUS_WIDTH
            text = f"{_clip_text(job)}: {_progress_text(job)}"
            row.progress(factor=job.fraction, text=text, translate=False)
            row.operator(cancel.bl_idname, text="", icon="X")


class S2D_MT_motion_capture(bpy.types.Menu):
    """All that is done with clips, under the words that people search for."""

    bl_idname = "S2D_MT_motion_capture"
    bl_label = "Motion Capture (Mocap)"

    def draw(self, _context: bpy.types.Context | None) -> None:
        """Draw an entry an operator."""
        layout = present(self.layout)
        layout.operator_context = "INVOKE_DEFAULT"
        for operator, text in _MENU:
            layout.operator(operator.bl_idname, text=text)
        layout.separator()
        bake.draw_kinds(layout, translatable("Bake to {kind}"))


_MENU = (
    (importing.S2D_OT_import_clip, translatable("Import Clip (.s2d)")),
    (new_clip.S2D_OT_new_clip, translatable("Capture from Video")),
    (place.S2D_OT_view_clip, translatable("View Through Clip Camera")),
    (timing.S2D_OT_match_scene, translatable("Set Scene to Clip")),
    (retarget.S2D_OT_retarget, translatable("Retarget: Apply Motion to Armature")),
    (actions.S2D_OT_mark_asset, translatable("Mark Motion as Asset")),
    (actions.S2D_OT_push_to_nla, translatable("Push Motion to NLA")),
)


def _draw_menu(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    layout = present(self.layout)
    layout.separator()
    layout.menu(S2D_MT_motion_capture.bl_idname)


_register, _unregister = registration((S2D_PT_main, S2D_MT_motion_capture))
_DRAWN_IN: tuple[tuple[Any, Callable[..., None]], ...] = (
    (bpy.types.STATUSBAR_HT_header, _draw_status),
    (bpy.types.VIEW3D_MT_object, _draw_menu),
    (bpy.types.VIEW3D_MT_object_animation, _draw_menu),
    (bpy.types.VIEW3D_MT_pose, _draw_menu),
)


def register() -> None:
    """Register the panel and the menu, and the entries in Blender's own menus and the status bar."""
    _register()
    for place_, draw in _DRAWN_IN:
        place_.append(draw)


def unregister() -> None:
    """Remove what :func:`register` added."""
    for place_, draw in _DRAWN_IN:
        place_.remove(draw)
    _unregister()
