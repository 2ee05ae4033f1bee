# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a Blender with its window: imports a clip through the operator a user presses, and looks at it.

``blender --python window_session.py -- CLIP RESULTS.json PICTURE.png``: ``PICTURE`` is what the 3D view shows
through the clip's camera. A timer drives it, so that Blender's own loop runs in between, as for a user.
"""

import json
import os
import sys
import time
import traceback
from pathlib import Path

import bpy

CLIP, RESULTS, PICTURE = map(Path, sys.argv[sys.argv.index("--") + 1 :])
TICK = 0.05
results = {"ticks": 0}


def view3d():
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    return {"window": window, "area": area, "region": next(r for r in area.regions if r.type == "WINDOW")}


def use():
    """The user's way through the add-on; yields where Blender's loop should run."""
    results["background"] = bpy.app.background
    results["online"] = bpy.app.online_access
    results["panel"] = bpy.types.S2D_PT_main.bl_category
    for item in list(bpy.data.objects):
        bpy.data.objects.remove(item)
    view3d()["area"].spaces[0].show_region_ui = True
    yield
    with bpy.context.temp_override(**view3d()):
        results["started"] = sorted(
            bpy.ops.s2d.import_clip(
                "EXEC_DEFAULT", filepath=str(CLIP), set_frame_rate=True, set_resolution=True
            )
        )
    started = time.monotonic()
    while not bpy.data.collections.get(CLIP.stem):
        assert time.monotonic() - started < 300, "the import never ended"
        results["ticks"] += 1
        yield
    results["parts"] = sorted(item.get("clip_part", "root") for item in bpy.data.objects)
    yield
    with bpy.context.temp_override(**view3d()):
        results["viewed"] = sorted(bpy.ops.s2d.view_clip())
        space = view3d()["area"].spaces[0]
        results["perspective"] = space.region_3d.view_perspective
        space.overlay.show_overlays = False
    bpy.context.scene.frame_set(8)
    yield
    with bpy.context.temp_override(**view3d()):
        bpy.context.scene.render.filepath = str(PICTURE)
        bpy.ops.render.opengl(write_still=True, view_context=True)


steps = use()


def tick():
    try:
        next(steps)
        return TICK
    except StopIteration:
        pass
    except Exception:
        results["failure"] = traceback.format_exc()
    RESULTS.write_text(json.dumps(results))
    os._exit(0)


bpy.app.timers.register(tick, first_interval=2)
