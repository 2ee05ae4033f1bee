# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's things by their types.

Blender says of nearly everything that it may be None, such as the scene of a context or what a button does.
Where an add-on's code runs, most of it is there; here it is asked for as what it is, and is an error in words
where it is missing all the same.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import bpy

OperatorResult = set[Literal["RUNNING_MODAL", "CANCELLED", "FINISHED", "PASS_THROUGH", "INTERFACE"]]
"""What an operator answers to Blender."""

Thing = TypeVar("Thing")


def present(thing: Thing | None) -> Thing:
    """Return what is there. Raises LookupError where it is None."""
    if thing is None:
        raise LookupError("Blender has nothing where there should be something.")
    return thing


def mesh_of(item: bpy.types.Object) -> bpy.types.Mesh:
    """Return the mesh of a mesh object. Raises TypeError where it is of another kind."""
    if not isinstance(item.data, bpy.types.Mesh):
        raise TypeError(f"{item.name} is no mesh.")
    return item.data


def view_3d(context: bpy.types.Context) -> bpy.types.SpaceView3D | None:
    """Return the 3D view that something is done in, None where it is done elsewhere."""
    space = context.space_data
    return space if isinstance(space, bpy.types.SpaceView3D) else None


def windows(context: bpy.types.Context) -> list[bpy.types.Window]:
    """Return Blender's windows; none where it runs in the background."""
    return list(context.window_manager.windows) if context.window_manager else []
