# SPDX-License-Identifier: GPL-3.0-or-later
"""Baking the active clip's motion to keyframes: the operator and its panel."""

import bpy

from . import bake, scene
from .clip import ClipOperator


class S2D_OT_bake(ClipOperator):
    """Turn the clip's motion into shape keys with keyframes, so that the mesh needs its cache no longer"""

    bl_idname = "s2d.bake"
    bl_label = "Bake to Keyframes"
    bl_options = {"REGISTER", "UNDO"}

    kind: bpy.props.EnumProperty(
        name="Kind",
        items=(
            (
                "EXPORTABLE",
                "Exportable",
                "Relative shape keys: glTF and FBX carry them. Slow beyond some hundred keys",
            ),
            ("FAST", "Fast", "Absolute shape keys along one curve: plays fast, in Blender only"),
        ),
    )
    tolerance: bpy.props.FloatProperty(
        name="Tolerance (mm)",
        description="How far a vertex may stray between two keys. 0: a key for every frame",
        default=1.0,
        min=0.0,
        soft_max=20.0,
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow it on a clip that still plays its cache."""
        if not super().poll(context):
            return False
        mesh = scene.find_part(scene.find_root(context.object), "mesh")
        if mesh is None or scene.point_cache(mesh) is None:
            cls.poll_message_set("The clip is baked already")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Bake, and say how well it went."""
        root = scene.find_root(context.object)
        mesh = scene.find_part(root, "mesh")
        try:
            baked = bake.bake_shape_keys(
                root, mesh, context.scene, absolute=self.kind == "FAST", tolerance=self.tolerance / 1000
            )
        except OSError as error:
            self.report({"ERROR"}, f"{error.filename}: {error.strerror}. Import the clip again to bake it.")
            return {"CANCELLED"}
        self.report(
            {"INFO"},
            f"Baked {baked.frames} frames to {baked.keys} keys, at most {baked.error * 1000:.2f} mm off.",
        )
        return {"FINISHED"}


class S2D_PT_bake(bpy.types.Panel):
    """Baking of the active clip."""

    bl_label = "Bake to Keyframes"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Sparse2Dense"
    bl_parent_id = "S2D_PT_main"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Show it for a clip that can be baked."""
        return S2D_OT_bake.poll(context)

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw a button a kind."""
        column = self.layout.column(align=True)
        for kind, text in (("EXPORTABLE", "Exportable Shape Keys"), ("FAST", "Fast Shape Keys")):
            column.operator(S2D_OT_bake.bl_idname, text=text, icon="SHAPEKEY_DATA").kind = kind


_CLASSES = (S2D_OT_bake, S2D_PT_bake)


def register() -> None:
    """Register the operator and its panel."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    """Remove what :func:`register` added."""
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
