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
from typing import cast

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
    preferences, active = bpy.context.preferences, bpy.context.scene
    if preferences is None or active is None:
        raise RuntimeError("Blender has no scene to import into: run this in a Blender of its own.")
    preferences.filepaths.save_version = 0  # the second save would leave a .blend1
    blend.parent.mkdir(parents=True, exist_ok=True)
    with _timed(seconds, "save"):
        bpy.ops.wm.save_as_mainfile(filepath=str(blend))  # so that the decoded clip is kept beside it
    with _timed(seconds, "import"):
        operators = bpy.ops.s2d  # type: ignore[attr-defined]  # registered by the add-on
        operators.import_clip(filepath=str(clip), set_scene=True, set_resolution=True)
    root = scene.find_root(bpy.context.object)
    mesh = scene.find_part(root, "mesh") if root else None
    if mesh is None:
        raise RuntimeError(f"{clip} was imported without a mesh.")
    _light(active, cast(bpy.types.Mesh, mesh.data))
    with _timed(seconds, "save"):
        bpy.ops.wm.save_mainfile()
    with _timed(seconds, "render"):
        _render(active, picture)
    return seconds


def _light(active: bpy.types.Scene, mesh: bpy.types.Mesh) -> None:
    material, sky = bpy.data.materials.new("Person"), bpy.data.worlds.new("Sky")
    mesh.materials.append(material)
    active.world = sky
    _colour(material, "Principled BSDF", "Base Color", _MESH_COLOUR)
    _colour(sky, "Background", "Color", _SKY_COLOUR)
    data = cast(bpy.types.SunLight, bpy.data.lights.new("Sun", "SUN"))
    data.energy = 2.0
    sun = bpy.data.objects.new("Sun", data)
    sun.rotation_euler = (0.8, 0.2, 0.6)
    active.collection.objects.link(sun)
    settings = cast(bpy.types.ColorManagedViewSettings, active.view_settings)
    # The video's colours as they are; which ways there are is the colour configuration's, not the stubs'.
    settings.view_transform = "Standard"  # type: ignore[assignment]


def _colour(
    owner: bpy.types.Material | bpy.types.World, node: str, name: str, colour: tuple[float, ...]
) -> None:
    if not owner.node_tree:
        owner.use_nodes = True
    tree = cast(bpy.types.ShaderNodeTree, owner.node_tree)
    socket = cast(bpy.types.NodeSocketColor, tree.nodes[node].inputs[name])
    socket.default_value = colour  # type: ignore[assignment]  # any sequence will do


def _render(active: bpy.types.Scene, picture: Path) -> None:
    render = active.render
    render.engine = "CYCLES"  # type: ignore[assignment]  # an add-on of Blender's, as are its settings
    cycles = active.cycles  # type: ignore[attr-defined]
    cycles.samples = _SAMPLES
    cycles.use_denoising = False
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
