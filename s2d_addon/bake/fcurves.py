# SPDX-License-Identifier: GPL-3.0-or-later
"""Keyframes in bulk, without an operator a key: straight lines, or smooth curves with few keys."""

from __future__ import annotations

from typing import cast

import bpy
import numpy as np

from .keys import smooth_handles


def add_curve(
    curves: bpy.types.ActionChannelbagFCurves,
    path: str,
    times: np.ndarray,
    values: np.ndarray,
    index: int = 0,
) -> None:
    """Add a curve of the property at ``path`` with keys at ``times`` ``(K,)``, joined by straight lines."""
    _add_keys(curves, path, index, times, values, "LINEAR")


def add_smooth_curve(
    curves: bpy.types.ActionChannelbagFCurves,
    path: str,
    times: np.ndarray,
    values: np.ndarray,
    kept: np.ndarray,
    index: int = 0,
) -> None:
    """Add a smooth curve through ``values`` ``(T,)`` at ``times`` ``(T,)``, keys at the ``kept`` frames."""
    points = _add_keys(curves, path, index, times[kept], values[kept], "BEZIER")
    free = np.full(len(kept), _number("handle_left_type", "FREE"))
    for side, places in zip(("left", "right"), smooth_handles(times, values, kept), strict=True):
        points.foreach_set(f"handle_{side}", places.ravel())
        points.foreach_set(f"handle_{side}_type", free)


def _add_keys(
    curves: bpy.types.ActionChannelbagFCurves,
    path: str,
    index: int,
    times: np.ndarray,
    values: np.ndarray,
    interpolation: str,
) -> bpy.types.FCurveKeyframePoints:
    points = curves.new(path, index=index).keyframe_points
    points.add(len(times))
    points.foreach_set("co", np.stack([times, values], axis=1).ravel())
    points.foreach_set("interpolation", np.full(len(times), _number("interpolation", interpolation)))
    return points


def _number(setting: str, name: str) -> np.int32:
    """Return the number that stands for an option of a keyframe's setting."""
    options = cast(bpy.types.EnumProperty, bpy.types.Keyframe.bl_rna.properties[setting])
    return np.int32(options.enum_items[name].value)
