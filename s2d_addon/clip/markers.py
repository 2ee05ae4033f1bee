# SPDX-License-Identifier: GPL-3.0-or-later
"""Markers of a clip on the scene's timeline: their names begin with the clip's and end with what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import bpy
import numpy as np

from . import scene


def prefix(root: bpy.types.Object) -> str:
    """Return how the names of a clip's markers begin."""
    return f"{root.name}: "


def add(
    root: bpy.types.Object, target: bpy.types.Scene, marks: Iterable[tuple[int, str]]
) -> list[bpy.types.TimelineMarker]:
    """Mark clip frames, each with its words, at the scene frames that show them now."""
    given = list(marks)
    frames = scene.scene_frames(root, np.array([frame for frame, _ in given], float), target)
    return [
        target.timeline_markers.new(f"{prefix(root)}{words}", frame=round(float(frame)))
        for frame, (_, words) in zip(frames, given, strict=True)
    ]


def said(marker: bpy.types.TimelineMarker, begin: str) -> str | None:
    """Return the words of a marker whose name begins so, or has no clip's name, in small letters."""
    name = marker.name
    if name.startswith(begin):
        return name.removeprefix(begin).strip().casefold()
    return None if ": " in name else name.strip().casefold()


def remove(target: bpy.types.Scene, is_meant: Callable[[bpy.types.TimelineMarker], bool]) -> None:
    """Take those markers off the timeline that are meant."""
    for marker in list(target.timeline_markers):
        if is_meant(marker):
            target.timeline_markers.remove(marker)
