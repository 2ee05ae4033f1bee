# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn a mesh that plays a point cache into a mesh with shape keys and keyframes of its own.

Two kinds. *Exportable*: relative shape keys, each with its own curve, as glTF and FBX know them; slow to play
beyond some hundred keys. *Fast*: absolute shape keys along one curve, which only Blender plays. Between two
keys both go in a straight line, so frames that lie on that line within a tolerance need no key.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from . import compat, scene
from .decoded import open_point_cache

_LINEAR = bpy.types.Keyframe.bl_rna.properties["interpolation"].enum_items["LINEAR"].value


@dataclass(frozen=True)
class Baked:
    """What a bake made: how many keys for how many frames, and the largest error, in metres."""

    keys: int
    frames: int
    error: float


def bake_shape_keys(
    root: bpy.types.Object,
    mesh: bpy.types.Object,
    active: bpy.types.Scene,
    *,
    absolute: bool,
    tolerance: float,
) -> Baked:
    """Bake the clip's whole motion into shape keys of ``mesh`` and remove its point cache.

    ``tolerance`` is in metres; 0 makes a key for every frame. Raises OSError where the point cache cannot
    be read.
    """
    modifier = scene.point_cache(mesh)
    points = open_point_cache(Path(bpy.path.abspath(modifier.filepath)))
    kept = keyframes_within(points, tolerance)
    error = interpolation_error(points, kept)
    _remove_point_cache(mesh, modifier)
    mesh.data.vertices.foreach_set("co", points[0].ravel())
    times = scene.scene_frames(root, np.array(kept), active)
    if absolute:
        _absolute_keys(mesh, points, kept, times)
    else:
        _relative_keys(mesh, points, kept, times)
    return Baked(len(kept), len(points), error)


def keyframes_within(points: np.ndarray, tolerance: float) -> list[int]:
    """Choose frames of ``(T, V, 3)`` so that straight lines between them stay within ``tolerance`` metres.

    One pass (a swing door): the slopes that would still pass every frame since the last key are narrowed
    frame by frame, a key is set where the next frame no longer lies among them.
    """
    slack = tolerance / math.sqrt(3)  # a coordinate's share, so that the distance stays within
    kept = [0]
    origin = points[0]
    lowest, highest = np.full_like(origin, -np.inf), np.full_like(origin, np.inf)
    for frame in range(1, len(points)):
        slope = (points[frame] - origin) / (frame - kept[-1])
        if not ((slope >= lowest) & (slope <= highest)).all():
            kept.append(frame - 1)
            origin = points[frame - 1]
            slope = points[frame] - origin
            lowest, highest = np.full_like(origin, -np.inf), np.full_like(origin, np.inf)
        reach = slack / (frame - kept[-1])
        lowest, highest = np.maximum(lowest, slope - reach), np.minimum(highest, slope + reach)
    return kept if kept[-1] == len(points) - 1 else [*kept, len(points) - 1]


def interpolation_error(points: np.ndarray, kept: list[int]) -> float:
    """Return the largest distance of a vertex from the straight lines between the ``kept`` frames."""
    worst = 0.0
    for start, stop in itertools.pairwise(kept):
        for frame in range(start + 1, stop):
            share = (frame - start) / (stop - start)
            line = points[start] + share * (points[stop] - points[start])
            worst = max(worst, float(np.linalg.norm(points[frame] - line, axis=1).max()))
    return worst


def _remove_point_cache(mesh: bpy.types.Object, modifier: bpy.types.Modifier) -> None:
    mesh.driver_remove(f'modifiers["{modifier.name}"].eval_frame')
    mesh.modifiers.remove(modifier)


def _add_key(mesh: bpy.types.Object, points: np.ndarray, frame: int) -> bpy.types.ShapeKey:
    key = mesh.shape_key_add(name=f"frame {frame:05d}", from_mix=False)
    key.points.foreach_set("co", points[frame].ravel())
    return key


def _absolute_keys(mesh: bpy.types.Object, points: np.ndarray, kept: list[int], times: np.ndarray) -> None:
    keys = [_add_key(mesh, points, frame) for frame in kept]
    data = mesh.data.shape_keys
    data.use_relative = False
    for key in keys:
        key.interpolation = "KEY_LINEAR"
    curves = compat.new_fcurves(data, mesh.name)
    _add_curve(curves, "eval_time", times, np.array([key.frame for key in keys]))


def _relative_keys(mesh: bpy.types.Object, points: np.ndarray, kept: list[int], times: np.ndarray) -> None:
    mesh.shape_key_add(name="Basis", from_mix=False)
    curves = compat.new_fcurves(mesh.data.shape_keys, mesh.name)
    for i in range(1, len(kept)):
        key = _add_key(mesh, points, kept[i])
        around = times[i - 1 : i + 2]
        _add_curve(
            curves, f'key_blocks["{key.name}"].value', around, np.array([0.0, 1.0, 0.0])[: len(around)]
        )


def _add_curve(
    curves: bpy.types.bpy_prop_collection, path: str, times: np.ndarray, values: np.ndarray
) -> None:
    points = curves.new(path).keyframe_points
    points.add(len(times))
    points.foreach_set("co", np.stack([times, values], axis=1).ravel())
    points.foreach_set("interpolation", np.full(len(times), _LINEAR, np.int32))
