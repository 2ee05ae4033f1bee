# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in a Python that has ``bpy``: imports a clip, plays, bakes and saves it, and says how long each took.

``python -m … blender_session CLIP.s2d FOLDER``. Prints a line of JSON as soon as each way to play is known,
so that one that takes too long does not take the others with it. Only the add-on's operators touch the clip.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bpy

from ..s2d_addon import register
from ..s2d_addon.clip import scene

_PLAYED = 60  # frames of which the median is taken
_FILES = {"ALEMBIC": ".abc", "USD": ".usdc"}


def measure(clip: Path, folder: Path) -> None:
    """Import ``clip`` into a new file in ``folder`` and measure the point cache, then every kind of bake."""
    blend = folder / "clip.blend"
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.context.preferences.filepaths.save_version = 0  # no .blend1 beside it
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))  # so that the decoded clip is kept beside it
    values = {
        "make_s": _seconds(
            lambda: bpy.ops.s2d.import_clip(filepath=str(clip), set_scene=True, hold_feet=False)
        )
    }
    _tell("point cache", values | _played() | _saved(blend))
    kinds = bpy.ops.s2d.bake.get_rna_type().properties["kind"].enum_items
    for kind in kinds:
        bpy.ops.wm.open_mainfile(filepath=str(blend))
        root = _find_root()
        mesh = scene.find_part(root, "mesh")
        bpy.context.view_layer.objects.active = mesh
        mesh.select_set(True)
        target = folder / f"baked{_FILES.get(kind.identifier, '.blend')}"
        options = {"filepath": str(target)} if kind.identifier in _FILES else {}
        values = {"make_s": _seconds(lambda kind=kind, more=options: _bake(kind.identifier, more))}
        if options:
            values |= {"bytes": target.stat().st_size}
        else:
            values |= {"keys": _keys(mesh)} | _played() | _saved(target)
        _tell(kind.name, values)


def _bake(kind: str, options: dict[str, str]) -> None:
    bpy.ops.s2d.bake(kind=kind, **options)


def _find_root() -> bpy.types.Object:
    return next(item for item in bpy.data.objects if scene.find_root(item) == item)


def _keys(mesh: bpy.types.Object) -> int | None:
    keys = mesh.data.shape_keys
    return len(keys.key_blocks) if keys else None


def _played() -> dict[str, float]:
    """Return the median milliseconds of going to the next frame, the mesh evaluated."""
    active = bpy.context.scene
    first = (active.frame_start + active.frame_end - _PLAYED) // 2
    times = []
    for frame in range(max(first, active.frame_start), min(first + _PLAYED, active.frame_end)):
        times.append(_seconds(lambda frame=frame: active.frame_set(frame)))
    return {"play_ms": 1000 * statistics.median(times)}


def _saved(path: Path) -> dict[str, float]:
    seconds = _seconds(lambda: bpy.ops.wm.save_as_mainfile(filepath=str(path)))
    return {"save_s": seconds, "bytes": path.stat().st_size}


def _seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _tell(name: str, values: dict[str, Any]) -> None:
    print(json.dumps({"name": name} | values), flush=True)


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    clip, folder = map(Path, arguments)
    register()
    measure(clip, folder)
    os._exit(0)  # bpy as a module may crash or hang while Python shuts down


if __name__ == "__main__":
    main(sys.argv[1:])
