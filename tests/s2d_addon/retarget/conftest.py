# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that touch Blender, with stand-ins in its place."""

from types import SimpleNamespace

import pytest

from . import stand_in


@pytest.fixture(scope="session")
def addon():
    """What stands in for ``bpy``, the modules of the room that need it, and all ``modules`` by name."""
    names = "apply", "operators", "options", "reading"
    modules = stand_in.load(*(f"retarget.{name}" for name in names))
    room = {name: modules[f"sparse2dense.s2d_addon.retarget.{name}"] for name in names}
    return SimpleNamespace(bpy=modules["bpy"], modules=modules, **room)
