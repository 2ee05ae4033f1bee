# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing decoded clips that nothing plays: those beyond the size that the preferences allow, or all.

Clips beside a ``.blend`` are never removed, nor those that another Blender or a saved ``.blend`` plays.
"""

from __future__ import annotations

import threading
from pathlib import Path

import bpy

from ..engine import cache, settings
from ..engine.job import IMPORTING
from ..registering import registration
from ..translating import say
from ..typed import OperatorResult, present
from . import storage
from .redecoding import REDECODING


def make_room() -> None:
    """Remove the clips used longest ago, aside, until the rest is as small as the preferences ask."""
    chosen = settings.settings()
    if chosen:
        idle, limit = _idle_folders(), int(chosen.cache_limit * 1e9)
        threading.Thread(target=cache.remove_oldest, args=(idle, limit), daemon=True).start()


def _idle_folders() -> dict[Path, int]:
    """Return the decoded clips that no open or saved file plays and no job works on, and their last use."""
    busy = storage.linked_folders()
    if IMPORTING.current and IMPORTING.running():
        busy |= {task.folder for task in IMPORTING.current.tasks if task.folder}
    if REDECODING.current and REDECODING.running():
        busy |= {order.folder for order in REDECODING.current.orders}
    return cache.idle_folders(storage.roots(), busy)


class S2D_OT_clear_cache(bpy.types.Operator):
    """Remove the decoded clips that no open or saved file plays. Importing such a clip decodes it again"""

    bl_idname = "s2d.clear_cache"
    bl_label = "Clear"
    bl_options = {"INTERNAL"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> OperatorResult:
        """Say how much it frees, and ask."""
        idle = _idle_folders()
        told = say(
            "This frees {size:,.1f} MB: {count} decoded clips that no open and no saved file plays.",
            size=cache.size(idle) / 1e6,
            count=len(idle),
        )
        return present(context.window_manager).invoke_confirm(
            self, event, title="Clear Cache", message=told, confirm_text="Clear"
        )

    def execute(self, _context: bpy.types.Context) -> OperatorResult:
        """Remove them."""
        freed = cache.remove_oldest(_idle_folders())
        self.report({"INFO"}, say("Freed {size:,.1f} MB.", size=freed / 1e6))
        return {"FINISHED"}


register, unregister = registration((S2D_OT_clear_cache,))
