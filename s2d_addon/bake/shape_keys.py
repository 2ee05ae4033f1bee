# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn a mesh that plays a point cache into a mesh with shape keys and keyframes of its own.

Two kinds. *Exportable*: relative shape keys, each with its own curve, as glTF and FBX know them; slow to play
beyond some hundred keys. *Fast*: absolute shape keys along one curve, which only Blender plays. Between two
keys both go in a straight line, so frames that lie on that line within a tolerance need no key.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import bpy
import numpy as np

from .. import compat
from .keyframes import add_curve

Progress = Callable[[float], None]
"""Called with the share of the work that is done, 0 to 1."""


@dataclass(frozen=True)
class Baked:
    """What a bake made: keys for frames, and vertices' mean and largest distance from the clip's, metres."""

    keys: int
    frames: int
    mean: float
    worst: float


def bake_shape_keys(
    mesh: bpy.types.Object,
    points: np.ndarray,
    times: np.ndarray,
    *,
    absolute: bool,
    tolerance: float,
    progress: Progress,
) -> Baked:
    """Give ``mesh`` shape keys that go through ``points`` ``(T, V, 3)`` at the scene frames ``times``.

    ``times`` is ``(T,)``, ``tolerance`` in metres; 0 makes a key for every frame.
    """
    kept = keyframes_within(points, tolerance, lambda done: progress(0.5 * done))
    mean, worst = interpolation_error(points, kept)
    mesh.data.vertices.foreach_set("co", np.ascontiguousarray(points[0]).ravel())
    make = _absolute_keys if absolute else _relative_keys
    make(mesh, points, kept, times[kept], lambda done: progress(0.5 + 0.5 * done))
    return Baked(len(kept), len(points), mean, worst)


def remove_shape_keys(mesh: bpy.types.Object) -> None:
    """Take the shape keys off ``mesh`` again, and their curves out of the file."""
    keys = mesh.data.shape_keys
    if keys:
        action = keys.animation_data.action if keys.animation_data else None
        mesh.shape_key_clear()
        if action and not action.users:
            bpy.data.actions.remove(action)


def keyframes_within(points: np.ndarray, tolerance: float, progress: Progress) -> list[int]:
    """Choose frames of ``(T, V, 3)`` so that straight lines between them stay within ``tolerance`` metres.

    One pass (a swing door): the slopes that would still pass every frame since the last key are narrowed
    frame by frame, a key is set where the next frame no longer lies among them.
    """
    if tolerance == 0:
        return list(range(len(points)))
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
        progress(frame / len(points))
    return kept if kept[-1] == len(points) - 1 else [*kept, len(points) - 1]


def interpolation_error(points: np.ndarray, kept: list[int]) -> tuple[float, float]:
    """Return the vertices' mean and largest distance from the straight lines between the ``kept`` frames."""
    total, worst = 0.0, 0.0
    for start, stop in itertools.pairwise(kept):
        for frame in range(start + 1, stop):
            share = (frame - start) / (stop - start)
            line = points[start] + share * (points[stop] - points[start])
            distances = np.linalg.norm(points[frame] - line, axis=1)
            total, worst = total + float(distances.mean()), max(worst, float(distances.max()))
    return total / len(points), worst


def _add_key(mesh: bpy.types.Object, points: np.ndarray, frame: int) -> bpy.types.ShapeKey:
    key = mesh.shape_key_add(name=f"frame {frame:05d}", from_mix=False)
    key.points.foreach_set("co", np.ascontiguousarray(points[frame]).ravel())
    return key


def _absolute_keys(
    mesh: bpy.types.Object, points: np.ndarray, kept: list[int], times: np.ndarray, progress: Progress
) -> None:
    keys = []
    for frame in kept:
        keys.append(_add_key(mesh, points, frame))
        progress(len(keys) / len(kept))
    data = mesh.data.shape_keys
    data.use_relative = False
    for key in keys:
        key.interpolation = "KEY_LINEAR"
    curves = compat.new_fcurves(data, mesh.name)
    add_curve(curves, "eval_time", times, np.array([key.frame for key in keys]))


def _relative_keys(
    mesh: bpy.types.Object, points: np.ndarray, kept: list[int], times: np.ndarray, progress: Progress
) -> None:
    mesh.shape_key_add(name="Basis", from_mix=False)
    curves = compat.new_fcurves(mesh.data.shape_keys, mesh.name)
    for i in range(1, len(kept)):
        key = _add_key(mesh, points, kept[i])
        around = times[i - 1 : i + 2]
        add_curve(curves, f'key_blocks["{key.name}"].value', around, np.array([0.0, 1.0, 0.0])[: len(around)])
        progress(i / len(kept))
