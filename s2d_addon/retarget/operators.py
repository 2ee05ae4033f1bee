# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying the active clip's motion to the user's own armature: operators, list of bones and panel."""

from __future__ import annotations

from typing import Annotated, Any

import bpy

from ...models.errors import InputError
from ..bake.actions import draw_actions
from ..bake.armature import armature_of
from ..bake.bake_report import told
from ..clip import scene
from ..clip.ui import ClipOperator, ClipPanel, active_clip, draw_messages
from ..registering import registration
from ..translating import label_text, say
from ..typed import OperatorResult, present
from . import bone_maps
from .apply import apply_motion
from .options import (
    S2DBonePair,
    S2DRetargetSettings,
    add_to_scenes,
    bone_names,
    fill_map,
    limbs_with_ik,
    mapped_bones,
    own_folder,
    remove_from_scenes,
    retarget_settings,
)


class MapOperator(ClipOperator):
    """An operator on the map of bones."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow it once an armature is chosen."""
        if not super().poll(context):
            return False
        if retarget_settings(context).target is None:
            cls.poll_message_set(say("Choose the armature first"))
            return False
        return True


class S2D_OT_bone_map_preset(MapOperator):
    """Replace the map of bones by a preset"""

    bl_idname = "s2d.bone_map_preset"
    bl_label = "Bone Map Preset"
    bl_options = {"UNDO"}

    preset: Annotated[
        str,
        bpy.props.StringProperty(
            name="Preset", description="A preset's name, or one of your own. Empty: find the one that fits"
        ),
    ]

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Fill in what the armature has of the preset's bones."""
        settings = retarget_settings(context)
        rig, names = present(settings.target).name, bone_names(settings)
        try:
            label, bones = bone_maps.find(self.preset, rig, names, own_folder())
        except (OSError, InputError) as error:
            self.report({"ERROR"}, told(error, say("Save the map again, or choose another preset.")))
            return {"CANCELLED"}
        found = bone_maps.match(bones, names)
        fill_map(settings, found, label)
        if missing := len(bones) - len(found):
            said = say(
                '{count} bones of "{preset}" are not in "{rig}".', count=missing, preset=label, rig=rig
            )
            self.report({"WARNING"}, said)
        return {"FINISHED"}


class S2D_OT_bone_map_clear(MapOperator):
    """Empty the map of bones"""

    bl_idname = "s2d.bone_map_clear"
    bl_label = "Clear Bone Map"
    bl_options = {"UNDO"}

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Empty every line."""
        fill_map(retarget_settings(context), {}, "")
        return {"FINISHED"}


class S2D_OT_bone_map_save(MapOperator):
    """Keep the map of bones as a preset of your own"""

    bl_idname = "s2d.bone_map_save"
    bl_label = "Save Bone Map"

    name: Annotated[
        str, bpy.props.StringProperty(name="Name", description="What the preset is called", default="My Rig")
    ]

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> OperatorResult:
        """Ask for a name."""
        return present(context.window_manager).invoke_props_dialog(self)

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Write the preset's file."""
        settings = retarget_settings(context)
        try:
            path = bone_maps.save(own_folder(), self.name, mapped_bones(settings))
        except (OSError, InputError) as error:
            self.report({"ERROR"}, told(error, say("Make room there, or free the folder for writing.")))
            return {"CANCELLED"}
        settings.preset = self.name
        self.report({"INFO"}, say("Saved {path}.", path=path))
        return {"FINISHED"}


class S2D_MT_bone_map(bpy.types.Menu):
    """Presets of the map of bones."""

    bl_idname = "S2D_MT_bone_map"
    bl_label = "Bone Map Presets"

    def draw(self, _context: bpy.types.Context | None) -> None:
        """Draw an entry a preset, the user's own below."""
        layout, operator = present(self.layout), S2D_OT_bone_map_preset.bl_idname
        present(layout.operator(operator, text="Detect", icon="VIEWZOOM")).preset = ""
        layout.separator()
        for preset in bone_maps.PRESETS:
            present(layout.operator(operator, text=preset.label, translate=False)).preset = preset.label
        own = bone_maps.own_presets(own_folder())
        if own:
            layout.separator()
        for name in own:
            present(layout.operator(operator, text=name, translate=False)).preset = name
        layout.separator()
        layout.operator(S2D_OT_bone_map_save.bl_idname, icon="FILE_TICK")


class S2D_UL_bone_map(bpy.types.UIList):
    """The map of bones: the clip's on the left, the armature's on the right."""

    def draw_item(
        self,
        context: bpy.types.Context | None,
        layout: bpy.types.UILayout,
        _settings: Any,  # whatever has a list, as Blender knows it
        item: Any,
        _icon: int | None,
        _active_settings: Any,
        _active_name: str | None,
        _index: int | None,
        _flag: int | None,
    ) -> None:
        """Draw a line."""
        target = present(retarget_settings(present(context)).target)
        row = layout.split(factor=0.4)
        row.label(text=bone_maps.label(item.name), translate=False)
        row.prop_search(item, "theirs", armature_of(target), "bones", text="")


class S2D_OT_retarget(MapOperator):
    """Give the armature a new action with the clip's motion; the action it has is kept in the file"""

    bl_idname = "s2d.retarget"
    bl_label = "Apply Motion"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow it where the armature may get an action."""
        if not super().poll(context):
            return False
        target = present(retarget_settings(context).target)
        mesh = scene.find_part(active_clip(context), "mesh")
        if mesh and mesh.get(scene.WAITING):
            cls.poll_message_set(say("The clip's motion is still being decoded"))
            return False
        if present(context.view_layer).objects.get(target.name) != target:
            said = say("The armature is not in this view layer: add it, or choose another")
            cls.poll_message_set(said)
            return False
        if target.library:
            said = say("The armature is linked from another file: make a library override first")
            cls.poll_message_set(said)
            return False
        if target.animation_data and target.animation_data.use_tweak_mode:
            said = say("Leave the tweak mode of the Nonlinear Animation editor first (Tab)")
            cls.poll_message_set(said)
            return False
        return True

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Apply the motion, and say how well it fits."""
        settings = retarget_settings(context)
        try:
            applied = apply_motion(active_clip(context), settings, context)
        except (InputError, OSError) as error:
            self.report({"ERROR"}, told(error, say("Relink the clip's folder, or import it again.")))
            return {"CANCELLED"}
        for warning in applied.warnings:
            self.report({"WARNING"}, warning)
        settings.outcome = applied.describe()
        said = say(
            'Applied to "{name}": {outcome}.', name=present(settings.target).name, outcome=settings.outcome
        )
        self.report({"INFO"}, said)
        return {"FINISHED"}


class S2D_PT_retarget(ClipPanel):
    """The clip's motion on the user's own armature."""

    bl_label = "Apply to Armature"
    bl_options = {"DEFAULT_CLOSED"}
    bl_order = 1

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the choice of armature, the map of bones, and the button."""
        layout, settings = self.layout, retarget_settings(context)
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(settings, "target", icon="ARMATURE_DATA")
        if settings.target is None:
            return
        row = layout.row(align=True)
        row.menu(
            S2D_MT_bone_map.bl_idname,
            text=settings.preset or label_text("Choose a Bone Map"),
            translate=False,
        )
        row.operator(S2D_OT_bone_map_clear.bl_idname, text="", icon="X")
        layout.template_list(S2D_UL_bone_map.__name__, "", settings, "pairs", settings, "active", rows=6)
        column = layout.column()
        for name in ("place", "keep_feet", "ik", "angle", "distance"):
            if name != "ik" or limbs_with_ik(settings):
                column.prop(settings, name)
        layout.operator(S2D_OT_retarget.bl_idname, icon="ARMATURE_DATA")
        if settings.outcome:
            draw_messages(layout, context, [settings.outcome], "INFO")
        draw_actions(layout, settings.target)


_add_classes, _remove_classes = registration(
    (
        S2DBonePair,
        S2DRetargetSettings,
        S2D_OT_bone_map_preset,
        S2D_OT_bone_map_clear,
        S2D_OT_bone_map_save,
        S2D_MT_bone_map,
        S2D_UL_bone_map,
        S2D_OT_retarget,
        S2D_PT_retarget,
    )
)


def register() -> None:
    """Register settings, operators and panel."""
    _add_classes()
    add_to_scenes()


def unregister() -> None:
    """Remove what :func:`register` added."""
    remove_from_scenes()
    _remove_classes()
