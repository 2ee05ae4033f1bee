# SPDX-License-Identifier: GPL-3.0-or-later
"""Clean-up of the active clip's motion: set what is wanted, apply it, go back; the file stays as it is."""

from __future__ import annotations

import bpy

from ...models.errors import explain
from ..registering import registration
from ..translating import label_text, say
from ..typed import OperatorResult, mesh_of, present
from . import cleanup_properties, contacts, fixes, redecoding, scene
from .redecoding import REDECODING
from .ui import ClipOperator, ClipPanel, active_clip, clip_in_use, draw_messages


def is_pending(root: bpy.types.Object, target: bpy.types.Scene) -> bool:
    """Whether what is set is not what is shown."""
    wanted = cleanup_properties.folder_name(cleanup_properties.wanted_edits(root))
    return root.get(scene.CLIP_EDIT, "") != wanted or contacts.are_changed(root, target)


class _MotionOperator(ClipOperator):
    """An operator that changes the motion of a clip's mesh."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow it on a clip that plays its decoded motion, while the engine rests."""
        if not super().poll(context):
            return False
        mesh = scene.find_part(active_clip(context), "mesh")
        if mesh is None or scene.point_cache(mesh) is None:
            said = say("The mesh is baked or still being decoded: its motion cannot be changed")
            cls.poll_message_set(said)
            return False
        if mesh_of(mesh).library:
            cls.poll_message_set(say("The clip's mesh belongs to another file: clean it up there"))
            return False
        if redecoding.busy():
            cls.poll_message_set(say("A clip is being decoded: wait for it, or cancel it"))
            return False
        return True


class S2D_OT_apply_edits(_MotionOperator):
    """Decode the motion again, cleaned up and on the body as set here. Nothing is lost: Reset goes back"""

    bl_idname = "s2d.apply_edits"
    bl_label = "Apply Clean-up"
    bl_options = {"UNDO"}

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Have the engine do it aside."""
        root = active_clip(context)
        if is_pending(root, present(context.scene)):
            contacts.take(root, present(context.scene))
        order = redecoding.order(root, scene.clip_folder(root), cleanup_properties.wanted_edits(root))
        errors = redecoding.decode_again([order])
        for error in errors:
            self.report({"ERROR"}, error)
        return {"CANCELLED"} if errors else {"FINISHED"}


class S2D_OT_reset_edits(_MotionOperator):
    """Go back to the motion and the body as they were filmed"""

    bl_idname = "s2d.reset_edits"
    bl_label = "Reset"
    bl_options = {"UNDO"}

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Show the clip's own motion."""
        root = active_clip(context)
        cleanup_properties.reset_edits(root)
        contacts.hide(root, present(context.scene))
        try:
            scene.show_motion(root, "")
        except OSError as error:
            cure = say("Find the clip's files with Relink, or import it again.")
            self.report({"ERROR"}, f"{explain(error)} {cure}")
            return {"CANCELLED"}
        return {"FINISHED"}


class S2D_PT_cleanup(ClipPanel):
    """Clean-up of the clip's motion."""

    bl_label = "Clean-up"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the sliders, and what to do with them."""
        layout, root = self.layout, active_clip(context)
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        for key in cleanup_properties.LABELS:
            column.prop(root, f'["{key}"]', text=cleanup_properties.label(key))
        contacts.draw_contacts(layout, root)
        fixes.draw_fixes(layout, root)
        if redecoding.draw_redecoding(layout):
            return
        row = layout.row(align=True)
        pending = is_pending(root, present(context.scene))
        row.operator(S2D_OT_apply_edits.bl_idname, text="Apply", icon="CHECKMARK", depress=pending)
        row.operator(S2D_OT_reset_edits.bl_idname, icon="LOOP_BACK")
        if REDECODING.current and REDECODING.current.errors:
            draw_messages(layout, context, REDECODING.current.errors, "ERROR")


class S2D_PT_body(ClipPanel):
    """The body that the motion goes to."""

    bl_label = "Body"
    bl_options = {"DEFAULT_CLOSED"}
    bl_parent_id = "S2D_PT_cleanup"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Show it where the body has measures that can be changed."""
        root = clip_in_use(context)
        return root is not None and bool(cleanup_properties.measure_keys(root))

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the measures."""
        layout, root = self.layout, active_clip(context)
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column(align=True)
        for key in cleanup_properties.measure_keys(root):
            text = label_text(cleanup_properties.label(key))
            column.prop(root, f'["{key}"]', text=text, translate=False)


register, unregister = registration((S2D_OT_apply_edits, S2D_OT_reset_edits, S2D_PT_cleanup, S2D_PT_body))
