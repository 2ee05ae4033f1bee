# SPDX-License-Identifier: GPL-3.0-or-later
"""How a clip's motion is cleaned up: custom properties of its empty, and the edits they ask for."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from typing import Any

import bpy

from ..translating import translatable
from ..typed import present
from .drivers import add_property

FOLDER_PREFIX = "edit-"
"""How the folders inside a clip's own begin that hold cleaned-up motion."""

SMOOTHING = "edit_smoothing"
FOOT_LOCK = "edit_foot_lock"
GROUND_SNAP = "edit_ground_snap"
MIRROR = "edit_mirror"
LABELS = {
    SMOOTHING: translatable("Smoothing"),
    FOOT_LOCK: translatable("Foot Lock"),
    GROUND_SNAP: translatable("Ground Snap"),
    MIRROR: translatable("Mirror"),
}
SPANS = "s2d_spans"
"""The property of a clip's empty that lists what is mended in parts of the clip (:mod:`.fixes`)."""

CONTACTS = "edit_contacts"
"""The custom property with when feet are held, as JSON; missing where that is found by itself."""

HELD_FEET: dict[str, Any] = {"foot_lock": 1.0, "ground_snap": True}
"""The edits that hold feet on the floor."""

_PREFIX = "edit_"
_MEASURE_PREFIX = "measure_"


def add_edits(root: bpy.types.Object, measures: dict[str, dict[str, Any]]) -> None:
    """Give the clip's empty a property for every edit, all doing nothing, and a measure's of its own body."""
    tip = translatable(
        "How much the motion is smoothed: 0 not at all, 1 takes shaking away, more takes details away too"
    )
    add_property(root, SMOOTHING, 0.0, tip, min=0.0, max=10.0, soft_max=3.0)
    tip = translatable("How firmly feet that stand are held where they stand: 0 not at all, 1 completely")
    add_property(root, FOOT_LOCK, 0.0, tip, min=0.0, max=1.0)
    add_property(root, GROUND_SNAP, False, translatable("Put the feet onto the floor wherever they touch it"))
    tip = translatable("Swap left and right. The video stays as it was filmed")
    add_property(root, MIRROR, False, tip)
    for name, measure in measures.items():
        limits = {"min": measure["min"], "max": measure["max"]}
        if measure["unit"] == "m":
            limits["subtype"] = "DISTANCE"
        key = _MEASURE_PREFIX + name
        add_property(root, key, float(measure["value"]), measure["description"], **limits)


def measure_keys(root: bpy.types.Object) -> list[str]:
    """Return the properties that change the body."""
    return [key for key in root.keys() if key.startswith(_MEASURE_PREFIX)]  # noqa: SIM118, it is no dict


def label(key: str) -> str:
    """Return what a property is called in the panel."""
    return LABELS.get(key) or key.removeprefix(_MEASURE_PREFIX).replace("_", " ").title()


def wanted_edits(root: bpy.types.Object) -> dict[str, Any]:
    """Return the edits that the properties ask for, as the engine takes them; empty for none."""
    wanted = {key.removeprefix(_PREFIX): root[key] for key in LABELS if root.get(key)}
    measures = {
        key.removeprefix(_MEASURE_PREFIX): root[key]
        for key in measure_keys(root)
        if not math.isclose(root[key], _default(root, key), rel_tol=1e-6)
    }
    if spans := sorted(map(_span, getattr(root, SPANS, ())), key=json.dumps):
        wanted["spans"] = spans
    if wanted.get("foot_lock") and root.get(CONTACTS) is not None:
        with contextlib.suppress(
            ValueError, TypeError, RecursionError
        ):  # a stranger's file may hold anything
            wanted["contacts"] = json.loads(root[CONTACTS])
    return wanted | ({"measures": measures} if measures else {})


def _span(span: Any) -> dict[str, Any]:
    """Return what is mended in a part of the clip as the engine takes it."""
    wanted = {"kind": span.kind, "start": span.start, "stop": span.stop}
    if span.kind == "straighten":
        wanted["strength"] = span.strength
    if span.kind == "redo" and span.part != "all":
        wanted["part"] = span.part
    return wanted


def set_edits(root: bpy.types.Object, edits: dict[str, Any]) -> None:
    """Let the properties ask for ``edits`` of the whole clip; measures that its body lacks are left out."""
    for name, value in edits.items():
        if name != "measures":
            root[_PREFIX + name] = value
    for name, value in edits.get("measures", {}).items():
        if root.get(_MEASURE_PREFIX + name) is not None:
            root[_MEASURE_PREFIX + name] = value


def reset_edits(root: bpy.types.Object) -> None:
    """Set all properties back to doing nothing."""
    for key in (*LABELS, *measure_keys(root)):
        if root.get(key) is not None:
            root[key] = _default(root, key)
    if spans := getattr(root, SPANS, None):
        spans.clear()
    if root.get(CONTACTS) is not None:
        del root[CONTACTS]


def folder_name(edits: dict[str, Any]) -> str:
    """Return the name of the folder for a motion with these edits; empty for the clip's own motion."""
    if not edits:
        return ""
    return FOLDER_PREFIX + hashlib.sha256(json.dumps(edits, sort_keys=True).encode()).hexdigest()[:12]


def _default(root: bpy.types.Object, key: str) -> float | bool:
    return present(root.id_properties_ui(key)).as_dict()["default"]
