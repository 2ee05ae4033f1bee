# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a clip's mesh to Alembic or USD with Blender's own exporters, and measure what they wrote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy
import numpy as np

from ...models.errors import InputError
from ...models.whole_files import whole_file
from ..translating import say
from ..typed import present
from .bake_report import Baked

SUFFIXES = {"ALEMBIC": ".abc", "USD": ".usdc"}
_NAMES = {"ALEMBIC": "Alembic", "USD": "USD"}
_MEASURED_FRAMES = 12


def lacking(kind: str) -> str:
    """Return what to say where this Blender was built without a kind of file, as by some distributions.

    Empty where it was built with it.
    """
    if kind not in SUFFIXES or getattr(bpy.app.build_options, kind.lower()):
        return ""
    return say(
        "This Blender was built without {kind}: use another kind, or Blender from blender.org",
        kind=_NAMES[kind],
    )


def with_ending(path: str, kind: str) -> str:
    """Return ``path`` with the ending of a kind of file, added where it is not there."""
    ending = SUFFIXES[kind]
    return path if path.lower().endswith(ending) else path + ending


def export_mesh(mesh: bpy.types.Object, path: Path, frames: range, context: bpy.types.Context) -> Baked:
    """Write ``mesh`` alone, in the world's space, at the scene frames ``frames`` to ``path``.

    The kind is told by ``path``'s ending. Frames spread over the range are read back and compared. Raises
    OSError where the file cannot be written, InputError ``hidden`` where the mesh is: then it would not be,
    ``kind`` where this Blender has no such files and ``export`` where its exporter fails.
    """
    if not mesh.visible_get():
        raise InputError("hidden", say("The clip's mesh is hidden: show it to have it written."))
    scene, alembic = present(context.scene), path.suffix.lower() == SUFFIXES["ALEMBIC"]
    write = _write_alembic if alembic else _write_usd
    if said := lacking("ALEMBIC" if alembic else "USD"):
        raise InputError("kind", f"{said}.")
    with whole_file(path) as staged, _alone(mesh, context), _kept_time(scene):
        try:
            write(str(staged), frames, scene)
            before = _contents()
            (bpy.ops.wm.alembic_import if alembic else bpy.ops.wm.usd_import)(filepath=str(staged))
        except RuntimeError as error:  # how Blender's own operators tell what went wrong
            said = say("{path} could not be written. {why}", path=path, why=str(error).strip())
            raise InputError("export", said) from error
        mean, worst = _differences(mesh, _contents() - before, frames, context)
    return Baked(len(frames), mean, worst, file=path)


def _write_alembic(path: str, frames: range, _scene: bpy.types.Scene) -> None:
    bpy.ops.wm.alembic_export(
        filepath=path, start=frames[0], end=frames[-1], selected=True, flatten=True, as_background_job=False
    )


def _write_usd(path: str, frames: range, scene: bpy.types.Scene) -> None:
    scene.frame_start, scene.frame_end = frames[0], frames[-1]
    bpy.ops.wm.usd_export(
        filepath=path,
        selected_objects_only=True,
        export_animation=True,
        export_materials=False,
        export_armatures=False,  # the mesh as they move it
        export_shapekeys=False,
    )


@contextmanager
def _alone(mesh: bpy.types.Object, context: bpy.types.Context) -> Iterator[None]:
    """Let ``mesh`` be all that is selected."""
    objects = present(context.view_layer).objects
    selected, active = list(context.selected_objects), objects.active
    for item in selected:
        item.select_set(False)
    mesh.select_set(True)
    objects.active = mesh
    try:
        yield
    finally:
        for item in context.selected_objects:
            item.select_set(False)
        for item in selected:
            item.select_set(True)
        objects.active = active


@contextmanager
def _kept_time(scene: bpy.types.Scene) -> Iterator[None]:
    before = scene.frame_start, scene.frame_end, scene.frame_current, scene.frame_subframe
    try:
        yield
    finally:
        scene.frame_start, scene.frame_end = before[:2]
        scene.frame_set(before[2], subframe=before[3])


def _differences(
    mesh: bpy.types.Object, made: set[bpy.types.ID], frames: range, context: bpy.types.Context
) -> tuple[float, float]:
    """Return the mean and largest distance, in metres, of vertices read back from a file from the mesh's.

    What reading ``made`` is taken out of the blend file again.
    """
    try:
        copy = next(item for item in made if isinstance(item, bpy.types.Object) and item.type == "MESH")
        distances = []
        for frame in np.unique(np.linspace(frames[0], frames[-1], _MEASURED_FRAMES).astype(int)):
            present(context.scene).frame_set(int(frame))
            shown = [_world_vertices(item, context) for item in (mesh, copy)]
            distances.append(np.linalg.norm(shown[0] - shown[1], axis=1))
    finally:
        bpy.data.batch_remove(made)
    return float(np.mean(distances)), float(np.max(distances))


def _contents() -> set[bpy.types.ID]:
    """Return all that reading a file may add to the blend file."""
    data = bpy.data
    return {*data.objects, *data.meshes, *data.materials, *data.cache_files, *data.collections}


def _world_vertices(item: bpy.types.Object, context: bpy.types.Context) -> np.ndarray:
    shown = item.evaluated_get(context.evaluated_depsgraph_get())
    data = present(shown.to_mesh())
    points = np.empty(3 * len(data.vertices), np.float32)
    data.vertices.foreach_get("co", points)
    shown.to_mesh_clear()
    matrix = np.array(shown.matrix_world)
    return points.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]
