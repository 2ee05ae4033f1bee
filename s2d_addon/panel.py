# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user sees: the tab *Sparse2Dense* in the 3D view's sidebar, and the import in the status bar."""

from __future__ import annotations

import bpy

from . import encoding, importing
from .clip.ui import draw_messages
from .engine.job import IMPORTING, ImportJob
from .registering import registration
from .typed import present

_STATUS_WIDTH = 14  # in the interface's units, about two letters each
_STAGES = {
    "": "Starting",
    "people": "Finding people",
    "pose": "Following the person",
    "camera": "Following the camera",
    "fit": "Solving the motion",
    "pictures": "Choosing pictures",
    "align": "Aligning the body",
    "keypoints": "Keypoints",
    "vertices": "Mesh",
    "skeleton": "Skeleton",
    "video": "Video",
}


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
            column.operator(encoding.S2D_OT_encode_video.bl_idname, text="Video to .s2d", icon="FILE_MOVIE")
        if job and job.errors:
            draw_messages(layout, context, job.errors, "ERROR")


def _draw_progress(layout: bpy.types.UILayout, job: ImportJob) -> None:
    layout.label(text=_clip_text(job), icon="FILE_MOVIE")
    layout.progress(factor=job.fraction, text=_progress_text(job))
    layout.operator(importing.S2D_OT_cancel.bl_idname, text="Cancel", icon="X")


def _clip_text(job: ImportJob) -> str:
    if job.current is None:
        return ""
    number = f" ({job.tasks.index(job.current) + 1} of {len(job.tasks)})" if len(job.tasks) > 1 else ""
    return job.current.path.stem + number


def _progress_text(job: ImportJob) -> str:
    text = f"{_STAGES.get(job.stage, job.stage)} {job.fraction:.0%}"
    left = job.seconds_left
    return text if left is None else f"{text}, {left:.0f} s left"


def _draw_status(self: bpy.types.Header, _context: bpy.types.Context) -> None:
    job = IMPORTING.current
    if job and job.running:
        row = present(self.layout).row(align=True)
        row.ui_units_x = _STATUS_WIDTH
        row.progress(factor=job.fraction, text=f"{_clip_text(job)}: {_progress_text(job)}")
        row.operator(importing.S2D_OT_cancel.bl_idname, text="", icon="X")


_register, _unregister = registration((S2D_PT_main,))


def register() -> None:
    """Register the panel and the status bar's entry."""
    _register()
    bpy.types.STATUSBAR_HT_header.append(_draw_status)  # type: ignore[arg-type]  # given the header too


def unregister() -> None:
    """Remove what :func:`register` added."""
    bpy.types.STATUSBAR_HT_header.remove(_draw_status)  # type: ignore[arg-type]
    _unregister()
