# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn a mesh that plays a point cache into a mesh with shape keys and keyframes of its own.

Two kinds. *Exportable*: relative shape keys, each with its own curve, as glTF and FBX know them; slow to play
beyond some hundred keys. *Fast*: absolute shape keys along one curve, which only Blender plays. Between two
keys both go in a straight line, so frames that lie on that line within a tolerance need no key. *Exportable*
may also mix keys, more than two at a time and with weights below 0, and then needs far fewer.
"""

from __future__ import annotations

import bpy
import numpy as np

from .. import compat
from ..typed import mesh_of, present
from .bake_report import Baked
from .fcurves import add_curve
from .keys import Progress, mixed_keys, vertex_errors, vertex_keys


def bake_shape_keys(
    mesh: bpy.types.Object,
    points: np.ndarray,
    times: np.ndarray,
    *,
    absolute: bool,
    mixed: bool,
    tolerance: float,
    progress: Progress,
) -> Baked:
    """Give ``mesh`` shape keys that go through ``points`` ``(T, V, 3)`` at the scene frames ``times``.

    ``times`` is ``(T,)``, ``tolerance`` in metres; 0 makes a key for every frame. ``absolute`` ones are
    *Fast*, others *Exportable*, and ``mixed`` where there is a tolerance.
    """

    def first(done: float) -> None:
        progress(0.5 * done)

    def then(done: float) -> None:
        progress(0.5 + 0.5 * done)

    mesh_of(mesh).vertices.foreach_set("co", np.ascontiguousarray(points[0]).ravel())
    if mixed and tolerance and not absolute:
        kept, weights, mean, worst = mixed_keys(points, tolerance, first)
        _mixed_keys(mesh, points, kept, weights, times, then)
    else:
        kept = vertex_keys(points, tolerance, first)
        mean, worst = vertex_errors(points, kept)
        make = _absolute_keys if absolute else _relative_keys
        make(mesh, points, kept, times[kept], then)
    return Baked(len(points), mean, worst, len(present(mesh_of(mesh).shape_keys).key_blocks))


def remove_shape_keys(mesh: bpy.types.Object) -> None:
    """Take the shape keys off ``mesh`` again, and their curves out of the file."""
    keys = mesh_of(mesh).shape_keys
    if keys:
        action = keys.animation_data.action if keys.animation_data else None
        mesh.shape_key_clear()
        if action and not action.users:
            bpy.data.actions.remove(action)


def _add_key(mesh: bpy.types.Object, points: np.ndarray, frame: int) -> bpy.types.ShapeKey:
    key = mesh.shape_key_add(name=f"frame {frame:05d}", from_mix=False)
    key.points.foreach_set("co", np.ascontiguousarray(points[frame]).ravel())
    return key


def _absolute_keys(
    mesh: bpy.types.Object, points: np.ndarray, kept: np.ndarray, times: np.ndarray, progress: Progress
) -> None:
    keys = []
    for frame in kept:
        keys.append(_add_key(mesh, points, frame))
        progress(len(keys) / len(kept))
    data = present(mesh_of(mesh).shape_keys)
    data.use_relative = False
    for key in keys:
        key.interpolation = "KEY_LINEAR"
    curves = compat.new_fcurves(data, mesh.name)
    add_curve(curves, "eval_time", times, np.array([key.frame for key in keys]))


def _relative_keys(
    mesh: bpy.types.Object, points: np.ndarray, kept: np.ndarray, times: np.ndarray, progress: Progress
) -> None:
    mesh.shape_key_add(name="Basis", from_mix=False)
    curves = compat.new_fcurves(present(mesh_of(mesh).shape_keys), mesh.name)
    for i in range(1, len(kept)):
        key = _add_key(mesh, points, kept[i])
        around = times[i - 1 : i + 2]
        add_curve(curves, f'key_blocks["{key.name}"].value', around, np.array([0.0, 1.0, 0.0])[: len(around)])
        progress(i / len(kept))


def _mixed_keys(
    mesh: bpy.types.Object,
    points: np.ndarray,
    kept: np.ndarray,
    weights: np.ndarray,
    times: np.ndarray,
    progress: Progress,
) -> None:
    mesh.shape_key_add(name="Basis", from_mix=False)
    curves = compat.new_fcurves(present(mesh_of(mesh).shape_keys), mesh.name)
    for i, (frame, values) in enumerate(zip(kept, weights.T, strict=True)):
        key = _add_key(mesh, points, frame)
        # Blender plays no value outside them.
        key.slider_min, key.slider_max = min(float(values.min()), 0.0), max(float(values.max()), 1.0)
        add_curve(curves, f'key_blocks["{key.name}"].value', times, values)
        progress(i / len(kept))
