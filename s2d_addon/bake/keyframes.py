# SPDX-License-Identifier: GPL-3.0-or-later
"""Keyframes in bulk, without an operator a key: straight lines, or smooth curves with few keys.

A smooth curve has at each key the slope that the motion itself has there (a cubic Hermite spline), which
Blender's Bézier handles draw exactly when they reach a third of the way to the next key.
"""

from __future__ import annotations

import bpy
import numpy as np


def add_curve(
    curves: bpy.types.bpy_prop_collection, path: str, times: np.ndarray, values: np.ndarray, index: int = 0
) -> None:
    """Add a curve of the property at ``path`` with keys at ``times`` ``(K,)``, joined by straight lines."""
    _add_keys(curves, path, index, times, values, "LINEAR")


def add_smooth_curve(
    curves: bpy.types.bpy_prop_collection,
    path: str,
    times: np.ndarray,
    values: np.ndarray,
    kept: np.ndarray,
    index: int = 0,
) -> None:
    """Add a smooth curve through ``values`` ``(T,)`` at ``times`` ``(T,)``, keys at the ``kept`` frames."""
    points = _add_keys(curves, path, index, times[kept], values[kept], "BEZIER")
    slopes = _slopes(values)[kept]
    thirds = np.diff(kept, prepend=kept[0]) / 3, np.diff(kept, append=kept[-1]) / 3
    scale = (times[-1] - times[0]) / max(len(times) - 1, 1)
    for side, sign, third in (("left", -1, thirds[0]), ("right", 1, thirds[1])):
        places = times[kept] + sign * third * scale, values[kept] + sign * third * slopes
        points.foreach_set(f"handle_{side}", np.stack(places, axis=1).ravel())
        points.foreach_set(f"handle_{side}_type", np.full(len(kept), _number("handle_left_type", "FREE")))


def smooth_between(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return what smooth curves with keys at the ``kept`` frames make of channels ``(T, C)``."""
    frames = np.arange(len(values))
    segment = np.searchsorted(kept[1:-1], frames, side="right")
    start, stop = kept[segment], kept[np.minimum(segment + 1, len(kept) - 1)]
    length = np.maximum(stop - start, 1)[:, None]
    u = (frames - start)[:, None] / length
    slopes = _slopes(values)
    risen = u * u * (3 - 2 * u)
    bent = u * (1 - u) * ((1 - u) * slopes[start] - u * slopes[stop]) * length
    return values[start] + risen * (values[stop] - values[start]) + bent


def smooth_keys(values: np.ndarray, slack: float) -> np.ndarray:
    """Choose frames ``(K,)`` of ``(T, C)`` for smooth curves that stray at most ``slack``.

    Starts from the ends and sets a key where each stretch strays furthest, until none strays too far.
    """
    frames = np.arange(len(values))
    kept = np.unique([0, len(values) - 1])
    while True:
        strayed = np.linalg.norm(smooth_between(values, kept) - values, axis=1)
        far = frames[strayed > slack]
        if not len(far):
            return kept
        kept = furthest_added(kept, far, strayed)


def furthest_added(kept: np.ndarray, frames: np.ndarray, strayed: np.ndarray) -> np.ndarray:
    """Add to the ``kept`` frames, between two of them each, that of ``frames`` which ``strayed`` furthest."""
    stretch = np.searchsorted(kept, frames)
    order = np.lexsort((strayed[frames], stretch))
    furthest = order[np.append(np.diff(stretch[order]) > 0, True)]
    return np.union1d(kept, frames[furthest])


def _slopes(values: np.ndarray) -> np.ndarray:
    """Return the change a frame of values ``(T, ...)``."""
    return np.gradient(values, axis=0) if len(values) > 1 else np.zeros_like(values)


def _add_keys(
    curves: bpy.types.bpy_prop_collection,
    path: str,
    index: int,
    times: np.ndarray,
    values: np.ndarray,
    interpolation: str,
) -> bpy.types.bpy_prop_collection:
    points = curves.new(path, index=index).keyframe_points
    points.add(len(times))
    points.foreach_set("co", np.stack([times, values], axis=1).ravel())
    points.foreach_set("interpolation", np.full(len(times), _number("interpolation", interpolation)))
    return points


def _number(setting: str, name: str) -> np.int32:
    """Return the number that stands for an option of a keyframe's setting."""
    return np.int32(bpy.types.Keyframe.bl_rna.properties[setting].enum_items[name].value)
