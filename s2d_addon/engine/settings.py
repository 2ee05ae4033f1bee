# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user chose in the add-on's preferences, for all that the engine does."""

from __future__ import annotations

from typing import Protocol, cast

import bpy

from .job import Engine

PACKAGE = __package__.removesuffix(".s2d_addon.engine")
"""The extension's own name, by which Blender files its preferences and its folders."""


class Settings(Protocol):
    """What the preferences hold; paths as Blender stores them, empty where nothing was chosen."""

    device: str  # CPU or TORCH
    python: str
    torch_device: str
    cache_folder: str
    cache_limit: float  # GB
    body_folder: str
    set_scene: str  # NEW, ALWAYS or NEVER
    set_resolution: bool
    hold_feet: bool
    pack: bool


def settings() -> Settings | None:
    """Return the preferences, or None where this is no extension but an imported Python package."""
    preferences = bpy.context.preferences
    addon = preferences.addons.get(PACKAGE) if preferences else None
    return cast(Settings, addon.preferences) if addon else None


def chosen_engine() -> Engine:
    """Return the engine that the user chose."""
    chosen = settings()
    if chosen is None:
        return Engine()
    body_folder = bpy.path.abspath(chosen.body_folder)
    if chosen.device == "CPU" or not chosen.python:
        return Engine(body_folder=body_folder)
    return Engine(bpy.path.abspath(chosen.python), chosen.torch_device, body_folder)
