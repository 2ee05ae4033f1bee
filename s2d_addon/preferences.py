# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences."""

import bpy

PACKAGE = __package__.rpartition(".")[0]
"""The extension's own name, by which Blender files its preferences and its folders."""


class S2DPreferences(bpy.types.AddonPreferences):
    """Settings that hold for all files."""

    bl_idname = PACKAGE

    cache_folder: bpy.props.StringProperty(
        name="Cache Folder",
        description="Where decoded clips are kept. Empty: beside the .blend file, so that both move together",
        subtype="DIR_PATH",
    )

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw the settings."""
        self.layout.prop(self, "cache_folder")


def cache_folder() -> str:
    """Return the folder the user chose for decoded clips, or an empty string."""
    addon = bpy.context.preferences.addons.get(PACKAGE)
    return bpy.path.abspath(addon.preferences.cache_folder) if addon and addon.preferences else ""


def register() -> None:
    """Register the preferences."""
    bpy.utils.register_class(S2DPreferences)


def unregister() -> None:
    """Remove the preferences."""
    bpy.utils.unregister_class(S2DPreferences)
