# SPDX-License-Identifier: GPL-3.0-or-later
"""When and how fast the active clip plays: the operator that sets the scene to it, and the panel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import bpy

from ..registering import registration
from ..translating import label_text, translatable
from ..typed import OperatorResult, present
from . import scene
from .ui import ClipOperator, ClipPanel, active_clip

IN_POINT, OUT_POINT = "s2d_in_point", "s2d_out_point"
"""Properties of the clip's empty that set its in and out point, and never one beyond the other."""


class S2D_OT_match_scene(ClipOperator):
    """Give the scene the clip's frame rate, or its beginning and end, or its resolution"""

    bl_idname = "s2d.match_scene"
    bl_label = "Set Scene to Clip"
    bl_options = {"REGISTER", "UNDO"}

    frame_rate: Annotated[
        bool,
        bpy.props.BoolProperty(
            name="Frame Rate",
            description="Give the scene the clip's frame rate. The clip plays at its right speed either way",
            default=True,
        ),
    ]
    frame_range: Annotated[
        bool,
        bpy.props.BoolProperty(
            name="Frame Range", description="Let the scene start and end with the clip", default=True
        ),
    ]
    resolution: Annotated[
        bool,
        bpy.props.BoolProperty(
            name="Resolution", description="Give the scene the resolution of the clip's video"
        ),
    ]

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Set what was chosen."""
        root, target = active_clip(context), present(context.scene)
        if self.frame_rate:
            scene.set_frame_rate(target, root)
        if self.frame_range:
            scene.set_frame_range(target, [root])
        if self.resolution:
            scene.set_resolution(target, root)
        return {"FINISHED"}


class S2D_PT_time(ClipPanel):
    """When and how fast the clip plays."""

    bl_label = "Time"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the clip's place in time."""
        layout, root = self.layout, active_clip(context)
        layout.use_property_split = True
        layout.use_property_decorate = False
        mesh = scene.find_part(root, "mesh")
        if mesh and not scene.point_cache(mesh) and not mesh.get(scene.WAITING):
            layout.label(text="Baked: moves only the video", icon="INFO")
        column = layout.column(align=True)
        column.prop(root, f'["{scene.START_FRAME}"]', text="Start Frame")
        column.prop(root, IN_POINT, text="In Point")
        column.prop(root, OUT_POINT, text="Out Point")
        layout.prop(root, f'["{scene.SPEED}"]', text=label_text("Speed"), translate=False)
        layout.prop(root, f'["{scene.LOOP}"]', text="Loop")
        layout.operator(S2D_OT_match_scene.bl_idname, icon="SCENE_DATA")


def _point(
    key: str, name: str, description: str, limits: Callable[[bpy.types.Object], tuple[int, int]]
) -> Any:
    """Return a property that shows a custom property of the clip's empty, and sets it within limits."""

    def get(root: bpy.types.Object) -> int:
        return root.get(key, 0)

    def set_(root: bpy.types.Object, value: int) -> None:
        first, last = limits(root)
        root[key] = max(min(value, last), first)
        root.update_tag()

    return bpy.props.IntProperty(
        name=name, description=description, min=0, get=get, set=set_, override={"LIBRARY_OVERRIDABLE"}
    )


_POINTS = {
    IN_POINT: (
        scene.CLIP_IN,
        translatable("In Point"),
        translatable("First frame of the clip that is shown, at most the out point"),
        lambda root: (0, root[scene.CLIP_OUT]),
    ),
    OUT_POINT: (
        scene.CLIP_OUT,
        translatable("Out Point"),
        translatable("Last frame of the clip that is shown, at least the in point"),
        lambda root: (root[scene.CLIP_IN], root[scene.CLIP_FRAMES] - 1),
    ),
}

_register, _unregister = registration((S2D_OT_match_scene, S2D_PT_time))


def register() -> None:
    """Register operator and panel, and the in and out point as the panel sets them."""
    _register()
    for name, point in _POINTS.items():
        setattr(bpy.types.Object, name, _point(*point))


def unregister() -> None:
    """Remove what :func:`register` added."""
    for name in _POINTS:
        delattr(bpy.types.Object, name)
    _unregister()
