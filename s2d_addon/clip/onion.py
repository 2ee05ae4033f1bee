# SPDX-License-Identifier: GPL-3.0-or-later
"""Onion skin: the clip's keypoints, joined to stick figures, some frames before and after the one shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import bpy
import numpy as np

from ..engine.decoded import open_point_cache, read_bones, read_decoded
from ..registering import registration
from ..translating import say, translatable
from ..typed import OperatorResult, present
from . import scene
from .drivers import CLIP_FRAME, add_property
from .ui import ClipOperator, ClipPanel, active_clip

STEP = "onion_step"
_BEFORE_COLOUR = np.array([0.9, 0.25, 0.15])
_AFTER_COLOUR = np.array([0.1, 0.65, 0.3])
_FADED_COLOUR = np.array([0.6, 0.6, 0.6])
_RADIUS = 0.01  # metres
_DEFAULT_STEP = 5


class S2D_OT_onion_skin(ClipOperator):
    """Show the keypoints as stick figures at frames before (red) and after (green) the current one"""

    bl_idname = "s2d.onion_skin"
    bl_label = "Onion Skin"
    bl_options = {"REGISTER", "UNDO"}

    before: Annotated[
        int,
        bpy.props.IntProperty(
            name="Before", description="How many figures before the current frame", default=3, min=0, max=20
        ),
    ]
    after: Annotated[
        int,
        bpy.props.IntProperty(
            name="After", description="How many figures after the current frame", default=3, min=0, max=20
        ),
    ]

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Build the figures anew."""
        root = active_clip(context)
        folder = scene.motion_folder(root)
        try:
            clip = read_decoded(folder, root.name)
            if clip.keypoints is None or clip.mesh_data is None:
                raise FileNotFoundError("they are not decoded yet")
            points, bones = open_point_cache(clip.keypoints)[0], read_bones(clip.mesh_data)
        except OSError:
            said = say(
                "The keypoints are not in {folder}: wait for the import, use Relink, or import again.",
                folder=folder,
            )
            self.report({"ERROR"}, said)
            return {"CANCELLED"}
        remove_ghosts(root)
        if root.get(STEP) is None:
            tip = translatable("Clip frames from one figure to the next")
            add_property(root, STEP, _DEFAULT_STEP, tip, min=1, soft_max=50)
        for count, colour, sign in ((self.before, _BEFORE_COLOUR, -1), (self.after, _AFTER_COLOUR, 1)):
            for number in range(1, count + 1):
                share = (number - 1) / count  # the nearest in time has the fullest colour
                figure = bpy.data.meshes.new(f"{clip.name} ghost {sign * number:+d}")
                figure.from_pydata(points.tolist(), bones.tolist(), [])
                material = _build_material(figure.name, colour, share)
                _build_ghost(root, clip.keypoints, figure, sign * number, _build_tubes(material))
        return {"FINISHED"}


class S2D_OT_remove_onion_skin(ClipOperator):
    """Take the stick figures of the onion skin away"""

    bl_idname = "s2d.remove_onion_skin"
    bl_label = "Remove Onion Skin"
    bl_options = {"UNDO"}

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Remove the figures."""
        remove_ghosts(active_clip(context))
        return {"FINISHED"}


def remove_ghosts(root: bpy.types.Object) -> None:
    """Remove the clip's stick figures with all that only they used."""
    scene.remove_objects(scene.find_parts(root, "ghost"))


def _build_ghost(
    root: bpy.types.Object, keypoints: Path, figure: bpy.types.Mesh, number: int, tubes: bpy.types.NodeTree
) -> None:
    """Build the figure that plays ``keypoints`` ``number`` steps away in time, as thick as ``tubes``."""
    ghost = bpy.data.objects.new(figure.name, figure)
    ghost[scene.CLIP_PART] = "ghost"
    ghost.parent = root
    ghost.hide_render = ghost.hide_select = ghost.show_in_front = True
    for collection in root.users_collection:
        collection.objects.link(ghost)
    keys = {"clip_frame": CLIP_FRAME, "step": STEP, "first": scene.CLIP_IN, "last": scene.CLIP_OUT}
    expression = f"min(max(clip_frame + step * {number}, first), last)"
    scene.play_points(ghost, root, keypoints, expression, **keys)
    cast(bpy.types.NodesModifier, ghost.modifiers.new("Thickness", "NODES")).node_group = tubes


def _build_material(name: str, colour: np.ndarray, faded: float) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    shown = *((1 - faded) * colour + faded * _FADED_COLOUR), 1.0
    material.diffuse_color = shown  # type: ignore[assignment]  # Blender takes any four numbers
    return material


def _build_tubes(material: bpy.types.Material) -> bpy.types.NodeTree:
    """Build the nodes that make a tube of ``material`` of every edge."""
    group = present(bpy.data.node_groups.new(material.name, "GeometryNodeTree"))
    sockets, kind = present(group.interface), "NodeSocketGeometry"
    for side in ("INPUT", "OUTPUT"):
        sockets.new_socket("Geometry", in_out=side, socket_type=kind)  # type: ignore[arg-type]  # no names
    edges, curves, circle, tubes, coloured, output = (
        group.nodes.new(kind)
        for kind in (
            "NodeGroupInput",
            "GeometryNodeMeshToCurve",
            "GeometryNodeCurvePrimitiveCircle",
            "GeometryNodeCurveToMesh",
            "GeometryNodeSetMaterial",
            "NodeGroupOutput",
        )
    )
    cast(bpy.types.NodeSocketInt, circle.inputs["Resolution"]).default_value = 6
    cast(bpy.types.NodeSocketFloat, circle.inputs["Radius"]).default_value = _RADIUS
    cast(bpy.types.NodeSocketMaterial, coloured.inputs["Material"]).default_value = material
    for start, stop in (
        (edges.outputs[0], curves.inputs["Mesh"]),
        (curves.outputs["Curve"], tubes.inputs["Curve"]),
        (circle.outputs["Curve"], tubes.inputs["Profile Curve"]),
        (tubes.outputs["Mesh"], coloured.inputs["Geometry"]),
        (coloured.outputs["Geometry"], output.inputs[0]),
    ):
        group.links.new(start, stop)
    return group


class S2D_PT_onion(ClipPanel):
    """The onion skin."""

    bl_label = "Onion Skin"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw how to show and to remove it."""
        layout, root = self.layout, active_clip(context)
        shown = bool(scene.find_parts(root, "ghost"))
        row = layout.row(align=True)
        row.operator(S2D_OT_onion_skin.bl_idname, text="Rebuild" if shown else "Show", icon="ONIONSKIN_ON")
        if shown:
            row.operator(S2D_OT_remove_onion_skin.bl_idname, text="", icon="X")
            layout.prop(root, f'["{STEP}"]', text="Step")


register, unregister = registration((S2D_OT_onion_skin, S2D_OT_remove_onion_skin, S2D_PT_onion))
