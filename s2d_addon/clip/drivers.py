# SPDX-License-Identifier: GPL-3.0-or-later
"""Custom properties and the drivers that read them: what keeps a clip alive without this add-on."""

from __future__ import annotations

from typing import Any, cast

import bpy

from ..typed import present

CLIP_FRAME = "clip_frame"
"""The custom property of a clip's empty that says which of its frames is shown."""


def add_property(
    owner: bpy.types.Object, key: str, value: float | bool, description: str, **limits: Any
) -> None:
    """Give ``owner`` a custom property with tooltip, default and limits that library overrides may change."""
    owner[key] = value
    present(owner.id_properties_ui(key)).update(default=value, description=description, **limits)
    owner.property_overridable_library_set(f'["{key}"]', True)
    owner.update_tag()  # drivers that read it before it is evaluated would stay invalid


def drive(
    target: bpy.types.ID, path: str, expression: str, owner: bpy.types.Object, **keys: str
) -> bpy.types.Driver:
    """Drive the property at ``path`` by an expression of variables, each a custom property of ``owner``."""
    curve = cast(bpy.types.FCurve, target.driver_add(path))  # a list of them for a whole vector alone
    driver = present(curve.driver)
    for name, key in keys.items():
        variable = driver.variables.new()
        variable.name = name
        variable.targets[0].id = owner
        variable.targets[0].data_path = f'["{key}"]'
    driver.expression = expression
    return driver


def read_scene(driver: bpy.types.Driver, **paths: str) -> None:
    """Give a driver variables that read the scene it is shown in."""
    for name, path in paths.items():
        variable = driver.variables.new()
        variable.name = name
        variable.type = "CONTEXT_PROP"
        variable.targets[0].context_property = "ACTIVE_SCENE"
        variable.targets[0].data_path = path
    driver.expression = driver.expression  # read again, now that all its variables are there
