# SPDX-License-Identifier: GPL-3.0-or-later
"""Keyframes in bulk: curves of straight lines, without an operator a key."""

from __future__ import annotations

import bpy
import numpy as np

_LINEAR = bpy.types.Keyframe.bl_rna.properties["interpolation"].enum_items["LINEAR"].value


def add_curve(
    curves: bpy.types.bpy_prop_collection, path: str, times: np.ndarray, values: np.ndarray, index: int = 0
) -> None:
    """Add a curve of the property at ``path`` with keys at ``times`` ``(K,)``, joined by straight lines."""
    points = curves.new(path, index=index).keyframe_points
    points.add(len(times))
    points.foreach_set("co", np.stack([times, values], axis=1).ravel())
    points.foreach_set("interpolation", np.full(len(times), _LINEAR, np.int32))
