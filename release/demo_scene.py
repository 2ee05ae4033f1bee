# SPDX-License-Identifier: GPL-3.0-or-later
"""Import a ``.s2d`` into Blender without a window, save it, and render a picture of it.

``python -m sparse2dense.release.demo_scene CLIP.s2d OUT.blend PICTURE.png``, in a Python that has ``bpy``:
the mesh stands over the video, seen through the clip's camera. Prints one line of JSON with the seconds that
each step took.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import bpy

from ..s2d_addon import register
from ..s2d_addon.clip import scene

_HEIGHT = 720  # of the picture; small clips are drawn larger, so that the mesh is seen well
_SAMPLES = 16
_MESH_COLOUR = (0.2, 0.45, 0.75, 1.0)
_SKY_COLOUR = (0.35, 0.35, 0.35, 1.0)


def make_scene(clip: Path, blend: Path, picture: Path) -> dict[str, float]:
    """Import, save and render; returns the seconds of each.

    Only the add-on's public operators touch the clip. Raises RuntimeError with Blender's own words where one
    of them fails, OSError where an output cannot be written.
    """
    seconds: dict[str, float] = {}
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.context.preferences.filepaths.save_version = 0  # the second save would leave a .blend1
    blend.parent.mkdir(parents=True, exist_ok=True)
    with _timed(seconds, "save"):
        bpy.ops.wm.save_as_mainfile(filepath=str(blend))  # so that the decoded clip is kept beside it
    with _timed(seconds, "import"):
        bpy.ops.s2d.import_clip(filepath=str(clip), set_scene=True, set_resolution=True)
    root = scene.find_root(bpy.context.object)
    _light(bpy.context.scene, scene.find_part(root, "mesh"))
    with _timed(seconds, "save"):
        bpy.ops.wm.save_mainfile()
    with _timed(seconds, "render"):
        _render(bpy.context.scene, picture)
    return seconds


def _light(active: bpy.types.Scene, mesh: bpy.types.Object) -> None:
    material = bpy.data.materials.new("Person")
    mesh.data.materials.append(material)
    active.world = bpy.data.worlds.new("Sky")
    for owner, node, socket, colour in (
        (material, "Principled BSDF", "Base Color", _MESH_COLOUR),
        (active.world, "Background", "Color", _SKY_COLOUR),
    ):
        if not owner.node_tree:
            owner.use_nodes = True
        owner.node_tree.nodes[node].inputs[socket].default_value = colour
    data = bpy.data.lights.new("Sun", "SUN")
    data.energy = 2.0
    sun = bpy.data.objects.new("Sun", data)
    sun.rotation_euler = (0.8, 0.2, 0.6)
    active.collection.objects.link(sun)
    active.view_settings.view_transform = "Standard"  # the video's colours as they are


def _render(active: bpy.types.Scene, picture: Path) -> None:
    render = active.render
    render.engine = "CYCLES"
    active.cycles.samples = _SAMPLES
    active.cycles.use_denoising = False
    render.resolution_percentage = max(round(100 * _HEIGHT / render.resolution_y), 100)
    render.image_settings.file_format = "PNG"
    render.filepath = str(picture)
    active.frame_set((active.frame_start + active.frame_end) // 2)
    bpy.ops.render.render(write_still=True)


@contextlib.contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[step] = round(seconds.get(step, 0.0) + time.perf_counter() - start, 3)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="sparse2dense.release.demo_scene", description=__doc__.splitlines()[0]
    )
    for name in ("clip", "blend", "picture"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args(arguments)
    register()
    try:
        seconds = make_scene(options.clip.resolve(), options.blend.resolve(), options.picture.resolve())
    except (RuntimeError, OSError) as error:
        print(str(error).strip(), file=sys.stderr)
        return 1
    print(json.dumps({"seconds": seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
