# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the active clip and its video stand, and how they are looked at: the operators and their panels."""

from __future__ import annotations

import math
from typing import Annotated

import bpy
from mathutils import Matrix

from ..registering import registration
from ..translating import label_text, say
from ..typed import OperatorResult, present, view_3d
from . import film, mesh_material, picture, scene
from .ui import ClipOperator, ClipPanel, active_clip


class S2D_OT_view_clip(ClipOperator):
    """Look through the clip's camera, with the video behind the mesh as it was filmed"""

    bl_idname = "s2d.view_clip"
    bl_label = "View Through Clip Camera"
    bl_options = {"UNDO"}

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Make the clip's camera the scene's and turn the viewport to it."""
        root, target = active_clip(context), present(context.scene)
        item, plane = scene.find_part(root, "camera"), scene.find_part(root, "video")
        camera = item.data if item else None
        if not isinstance(camera, bpy.types.Camera):
            self.report({"ERROR"}, "The clip's camera was deleted: import the clip again.")
            return {"CANCELLED"}
        info = root[scene.CLIP_INFO]
        picture.fit_camera(camera, info["size"], info["focal"], info["centre"], target)
        target.camera = item
        bounds = scene.clip_bounds(root)
        if plane and bounds is not None:
            picture.place_behind(plane, bounds[1, 1])
        _show_textures(context)
        view = view_3d(context)
        if context.area and view and view.region_3d:
            view.region_3d.view_perspective = "CAMERA"
            region = next(region for region in context.area.regions if region.type == "WINDOW")
            with context.temp_override(region=region):
                bpy.ops.view3d.view_center_camera()
        return {"FINISHED"}


class S2D_OT_place_clip(ClipOperator):
    """Place the person, and with it video and camera, in the scene. A baked armature stays where it is"""

    bl_idname = "s2d.place_clip"
    bl_label = "Place Clip"
    bl_options = {"REGISTER", "UNDO"}

    mode: Annotated[
        str,
        bpy.props.EnumProperty(
            name="Place",
            description="What the clip is aligned with",
            items=(
                (
                    "FLOOR",
                    "On the Floor",
                    "Stand the person upright at the world's origin, facing the front view",
                ),
                ("CAMERA", "Camera Space", "Put the clip's camera at the world's origin, looking along Y"),
            ),
        ),
    ]
    height: Annotated[
        float,
        bpy.props.FloatProperty(
            name="Height",
            description="How far the floor is raised",
            unit="LENGTH",
            soft_min=-2.0,
            soft_max=2.0,
        ),
    ]
    tilt: Annotated[
        float,
        bpy.props.FloatProperty(
            name="Tilt",
            description="Lean the clip forward or back, where the floor was estimated wrongly",
            subtype="ANGLE",
            soft_min=-math.pi / 4,
            soft_max=math.pi / 4,
        ),
    ]
    roll: Annotated[
        float,
        bpy.props.FloatProperty(
            name="Roll",
            description="Lean the clip to the side, where the floor was estimated wrongly",
            subtype="ANGLE",
            soft_min=-math.pi / 4,
            soft_max=math.pi / 4,
        ),
    ]
    turn: Annotated[
        float,
        bpy.props.FloatProperty(name="Turn", description="Turn the clip about the vertical", subtype="ANGLE"),
    ]

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Move the clip's empty."""
        root = active_clip(context)
        base = scene.floor_placement(root) if self.mode == "FLOOR" else Matrix()
        turns = Matrix.Rotation(self.turn, 4, "Z") @ Matrix.Rotation(self.roll, 4, "Y")
        turns @= Matrix.Rotation(self.tilt, 4, "X")
        root.matrix_world = Matrix.Translation((0, 0, self.height)) @ turns @ base
        return {"FINISHED"}


class S2D_OT_place_video(ClipOperator):
    """Show the video behind the person as it was filmed, or on a card that stands beside"""

    bl_idname = "s2d.place_video"
    bl_label = "Place Video"
    bl_options = {"REGISTER", "UNDO"}

    mode: Annotated[
        str,
        bpy.props.EnumProperty(
            name="Place",
            description="Where the video is shown",
            items=(
                ("BEHIND", "Behind", "Behind the person, exactly as the clip's camera filmed it"),
                ("BESIDE", "Beside", "On an upright card beside the person, life-size"),
            ),
        ),
    ]

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow it on a clip whose motion is decoded and that has a video."""
        if not super().poll(context):
            return False
        root = active_clip(context)
        if not scene.find_part(root, "video") or scene.clip_bounds(root) is None:
            cls.poll_message_set(say("The clip has no video, or is still being decoded"))
            return False
        return True

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Move the plane."""
        root = active_clip(context)
        plane, bounds = present(scene.find_part(root, "video")), present(scene.clip_bounds(root))
        if self.mode == "BEHIND":
            picture.place_behind(plane, bounds[1, 1])
        else:
            picture.place_beside(plane, scene.floor_placement(root), bounds)
        _show_textures(context)
        return {"FINISHED"}


class S2D_OT_show_look(ClipOperator):
    """Show the person's mesh in the colours of the clip's pictures, as a mannequin, or plain"""

    bl_idname = "s2d.show_look"
    bl_label = "Show Look"
    bl_options = {"REGISTER", "UNDO"}

    mode: Annotated[
        str,
        bpy.props.EnumProperty(
            name="Look",
            description="What the mesh's surface shows",
            items=tuple((look, *texts) for look, texts in mesh_material.LOOKS.items()),
        ),
    ]

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow it on a clip whose mesh has its own material still."""
        if not super().poll(context):
            return False
        mesh = scene.find_part(active_clip(context), "mesh")
        if mesh is None or not mesh_material.looks(mesh):
            cls.poll_message_set(say("The clip's mesh has another material"))
            return False
        return True

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Let the mesh's material show it; of a duplicate, its own."""
        mesh = present(scene.find_part(active_clip(context), "mesh"))
        if self.mode not in mesh_material.looks(mesh):
            self.report({"ERROR"}, "This clip has no pictures to take the person's colours from.")
            return {"CANCELLED"}
        others = [scene.find_part(root, "mesh") for root in scene.all_roots()]
        if any(other.active_material == mesh.active_material for other in others if other and other != mesh):
            mesh_material.own_material(mesh)
        mesh_material.show_look(mesh, self.mode)
        if self.mode != "PLAIN":
            _show_textures(context)
        return {"FINISHED"}


def _show_textures(context: bpy.types.Context) -> None:
    """Let Solid shading show the video and the texture too."""
    view = view_3d(context)
    if view and view.shading.type == "SOLID":
        view.shading.color_type = "TEXTURE"


class S2D_PT_clip(ClipPanel):
    """The active clip."""

    bl_label = "Clip"
    bl_parent_id = "S2D_PT_main"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw what the clip is, and what is most often wanted of it."""
        layout, root = self.layout, active_clip(context)
        frames, fps = root[scene.CLIP_FRAMES], root[scene.CLIP_FPS]
        box = layout.box().column()
        box.label(text=root.name, translate=False, icon="ARMATURE_DATA")
        text = label_text(
            "{frames} frames, {fps:.6g} fps, {seconds:.1f} s", frames=frames, fps=fps, seconds=frames / fps
        )
        box.label(text=text, translate=False)
        layout.operator(S2D_OT_view_clip.bl_idname, icon="VIEW_CAMERA")
        mesh = scene.find_part(root, "mesh")
        if mesh and (looks := mesh_material.looks(mesh)):
            row, shown = layout.row(align=True), mesh_material.shown_look(mesh)
            for look in looks:
                text, pressed = mesh_material.LOOKS[look][0], look == shown
                present(row.operator(S2D_OT_show_look.bl_idname, text=text, depress=pressed)).mode = look


class S2D_PT_place(ClipPanel):
    """Where the clip and its video stand."""

    bl_label = "Place"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the places of the person and of the video."""
        layout, root = self.layout, active_clip(context)
        row = layout.row(align=True)
        for mode, text in (("FLOOR", "On the Floor"), ("CAMERA", "Camera Space")):
            present(row.operator(S2D_OT_place_clip.bl_idname, text=text)).mode = mode
        plane = scene.find_part(root, "video")
        if plane is None:
            return
        column = layout.column(align=True)
        column.label(text="Video", icon="FILE_MOVIE")
        row = column.row(align=True)
        for mode, text in (("BEHIND", "Behind"), ("BESIDE", "Beside")):
            pressed = picture.is_card(plane) == (mode == "BESIDE")
            present(row.operator(S2D_OT_place_video.bl_idname, text=text, depress=pressed)).mode = mode
        column.prop(root, f'["{picture.OPACITY}"]', text="Opacity", slider=True)
        film.draw_film(layout, context, root)


register, unregister = registration(
    (
        S2D_OT_view_clip,
        S2D_OT_place_clip,
        S2D_OT_place_video,
        S2D_OT_show_look,
        S2D_PT_clip,
        S2D_PT_place,
    )
)
