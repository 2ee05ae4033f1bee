# SPDX-License-Identifier: GPL-3.0-or-later
"""Onion skin: the clip's keypoints, joined to stick figures, some frames before and after the one shown."""

from __future__ import annotations

import bpy
import numpy as np

from ..engine.decoded import DecodedClip, open_point_cache, read_bones, read_decoded
from . import scene
from .drivers import add_property
from .ui import ClipOperator, ClipPanel

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

    before: bpy.props.IntProperty(
        name="Before", description="How many figures before the current frame", default=3, min=0, max=20
    )
    after: bpy.props.IntProperty(
        name="After", description="How many figures after the current frame", default=3, min=0, max=20
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Build the figures anew."""
        root = scene.find_root(context.object)
        folder = scene.motion_folder(root)
        try:
            clip = read_decoded(folder, root.name)
            points, bones = open_point_cache(clip.keypoints)[0], read_bones(clip.mesh_data)
        except (OSError, KeyError, AttributeError):  # gone, of an older version, not decoded yet
            message = f"The keypoints are not in {folder}: wait for the import, use Relink, or import again."
            self.report({"ERROR"}, message)
            return {"CANCELLED"}
        remove_ghosts(root)
        if STEP not in root:
            tip = "Clip frames from one figure to the next"
            add_property(root, STEP, _DEFAULT_STEP, tip, min=1, soft_max=50)
        for count, colour, sign in ((self.before, _BEFORE_COLOUR, -1), (self.after, _AFTER_COLOUR, 1)):
            for number in range(1, count + 1):
                share = (number - 1) / count  # the nearest in time has the fullest colour
                figure = bpy.data.meshes.new(f"{clip.name} ghost {sign * number:+d}")
                figure.from_pydata(points.tolist(), bones.tolist(), [])
                material = _build_material(figure.name, colour, share)
                _build_ghost(root, clip, figure, sign * number).node_group = _build_tubes(material)
        return {"FINISHED"}


class S2D_OT_remove_onion_skin(ClipOperator):
    """Take the stick figures of the onion skin away"""

    bl_idname = "s2d.remove_onion_skin"
    bl_label = "Remove Onion Skin"
    bl_options = {"UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Remove the figures."""
        remove_ghosts(scene.find_root(context.object))
        return {"FINISHED"}


def remove_ghosts(root: bpy.types.Object) -> None:
    """Remove the clip's stick figures with all that only they used."""
    scene.remove_objects(scene.find_parts(root, "ghost"))


def _build_ghost(
    root: bpy.types.Object, clip: DecodedClip, figure: bpy.types.Mesh, number: int
) -> bpy.types.NodesModifier:
    """Build the figure ``number`` steps away in time and return its modifier that gives it thickness."""
    ghost = bpy.data.objects.new(figure.name, figure)
    ghost[scene.CLIP_PART] = "ghost"
    ghost.parent = root
    ghost.hide_render = ghost.hide_select = ghost.show_in_front = True
    for collection in root.users_collection:
        collection.objects.link(ghost)
    keys = {"clip_frame": scene.CLIP_FRAME, "step": STEP, "first": scene.CLIP_IN, "last": scene.CLIP_OUT}
    expression = f"min(max(clip_frame + step * {number}, first), last)"
    scene.play_points(ghost, root, clip.keypoints, expression, **keys)
    return ghost.modifiers.new("Thickness", "NODES")


def _build_material(name: str, colour: np.ndarray, faded: float) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    material.diffuse_color = (*((1 - faded) * colour + faded * _FADED_COLOUR), 1.0)
    return material


def _build_tubes(material: bpy.types.Material) -> bpy.types.GeometryNodeTree:
    """Build the nodes that make a tube of ``material`` of every edge."""
    group = bpy.data.node_groups.new(material.name, "GeometryNodeTree")
    for side in ("INPUT", "OUTPUT"):
        group.interface.new_socket("Geometry", in_out=side, socket_type="NodeSocketGeometry")
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
    circle.inputs["Resolution"].default_value = 6
    circle.inputs["Radius"].default_value = _RADIUS
    coloured.inputs["Material"].default_value = material
    for start, stop in (
        (edges.outputs[0], curves.inputs["Mesh"]),
        (curves.outputs["Curve"], tubes.inputs["Curve"]),
        (circle.outputs["Curve"], tubes.inputs["Profile Curve"]),
        (tubes.outputs["Mesh"], coloured.inputs["Geometry"]),
        (coloured.outputs["Geometry"], output.inputs[0]),
    ):
        group.links.new(start, stop)
    return group


class S2D_PT_onion(ClipPanel, bpy.types.Panel):
    """The onion skin."""

    bl_label = "Onion Skin"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw how to show and to remove it."""
        layout, root = self.layout, scene.find_root(context.object)
        shown = bool(scene.find_parts(root, "ghost"))
        row = layout.row(align=True)
        row.operator(S2D_OT_onion_skin.bl_idname, text="Rebuild" if shown else "Show", icon="ONIONSKIN_ON")
        if shown:
            row.operator(S2D_OT_remove_onion_skin.bl_idname, text="", icon="X")
            layout.prop(root, f'["{STEP}"]', text="Step")


_CLASSES = (S2D_OT_onion_skin, S2D_OT_remove_onion_skin, S2D_PT_onion)

register, unregister = bpy.utils.register_classes_factory(_CLASSES)
