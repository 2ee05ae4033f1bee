# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done with the active clip: its panel and its operators."""

import bpy

from . import panel, scene


class ClipOperator(bpy.types.Operator):
    """An operator on the clip of the active object."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow it in object mode with a part of a clip active."""
        if scene.find_root(context.object) is None:
            cls.poll_message_set("Select an imported clip")
            return False
        return context.mode == "OBJECT"


class S2D_OT_view_clip(ClipOperator):
    """Look through the clip's camera, with the video shown behind the mesh"""

    bl_idname = "s2d.view_clip"
    bl_label = "View Through Clip Camera"
    bl_options = {"UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Make the clip's camera the scene's, and turn the viewport to it."""
        camera = scene.find_part(scene.find_root(context.object), "camera")
        if camera is None:
            self.report({"ERROR"}, "The clip's camera was deleted: import the clip again.")
            return {"CANCELLED"}
        context.scene.camera = camera
        space = context.space_data
        if space and space.type == "VIEW_3D":
            space.region_3d.view_perspective = "CAMERA"
            space.shading.color_type = "TEXTURE"
        return {"FINISHED"}


class S2D_PT_clip(bpy.types.Panel):
    """The active clip."""

    bl_label = "Clip"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Sparse2Dense"
    bl_parent_id = "S2D_PT_main"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Show it while a part of a clip is active."""
        return scene.find_root(context.object) is not None

    def draw(self, context: bpy.types.Context) -> None:
        """Draw what the clip is, its place in time, and what can be done with it."""
        layout, root = self.layout, scene.find_root(context.object)
        frames, fps = root[scene.CLIP_FRAMES], root[scene.CLIP_FPS]
        box = layout.box().column()
        box.label(text=root.name, icon="ARMATURE_DATA")
        box.label(text=f"{frames} frames, {fps:.6g} fps, {frames / fps:.1f} s")
        mesh = scene.find_part(root, "mesh")
        if mesh and not scene.point_cache(mesh):
            box.label(text="Baked to keyframes")  # whose place in time the start frame would no longer move
        else:
            box.prop(root, f'["{scene.START_FRAME}"]', text="Start Frame")
        layout.operator(S2D_OT_view_clip.bl_idname, icon="VIEW_CAMERA")
        missing = scene.missing_files(root)
        if missing:
            lines = [f"{path} is missing: put it back, or import the clip again." for path in missing]
            panel.draw_messages(layout, context, lines, "ERROR")


_CLASSES = (S2D_OT_view_clip, S2D_PT_clip)


def register() -> None:
    """Register the panel and the operators."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    """Remove what :func:`register` added."""
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
