# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera that filmed a clip, and the plane that shows its video, behind the person or beside."""

from __future__ import annotations

import math
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ..engine.cache import link_path
from ..engine.decoded import DecodedClip
from .drivers import CLIP_FRAME, drive

OPACITY = "video_opacity"
_OWN_PATHS = {f'["{CLIP_FRAME}"]', f'["{OPACITY}"]'}  # what the plane's drivers read of the clip's empty
_MARGIN = 0.5  # metres between the person's farthest reach and the video
_SENSOR = 36.0  # millimetres
_BEFORE_ALL_FRAMES = -1_000_000
_PICTURE_NODE = "Video"
_RAY_KINDS = ("diffuse", "glossy", "transmission", "volume_scatter", "shadow")


def build_camera(clip: DecodedClip, scene: bpy.types.Scene) -> bpy.types.Object:
    """Build the camera that filmed the clip, at the empty's origin, the whole picture in its view."""
    item = bpy.data.objects.new(f"{clip.name} camera", bpy.data.cameras.new(f"{clip.name} camera"))
    item.rotation_euler = (math.pi / 2, 0, 0)
    fit_camera(item.data, (clip.width, clip.height), clip.focal, clip.centre, scene)
    return item


def fit_camera(
    camera: bpy.types.Camera,
    size: tuple[int, int],
    focal: tuple[float, float],
    centre: tuple[float, float],
    scene: bpy.types.Scene,
) -> None:
    """Let ``camera`` see the whole picture at the scene's aspect; all measures are in pixels."""
    (width, height), render = size, scene.render
    scene_aspect = render.resolution_x * render.pixel_aspect_x / (render.resolution_y * render.pixel_aspect_y)
    wider = scene_aspect > width / height
    camera.sensor_fit = "VERTICAL" if wider else "HORIZONTAL"
    camera.sensor_width = camera.sensor_height = _SENSOR
    side, focal_side = (height, focal[1]) if wider else (width, focal[0])
    camera.lens = focal_side / side * _SENSOR
    camera.shift_x = (width / 2 - centre[0]) / side
    camera.shift_y = (centre[1] - height / 2) / side


def build_plane(clip: DecodedClip, root: bpy.types.Object) -> bpy.types.Object:
    """Build the video's plane: one metre from the camera, and exactly as large as its view is there."""
    pixels = np.array([(0, clip.height), (clip.width, clip.height), (clip.width, 0), (0, 0)], np.float64)
    right, down = ((pixels - clip.centre) / clip.focal).T
    data = bpy.data.meshes.new(f"{clip.name} video")
    data.from_pydata(np.stack([right, np.ones(4), -down], axis=1).tolist(), [], [(0, 1, 2, 3)])
    data.uv_layers.new(name="UVMap").data.foreach_set("uv", [0, 0, 1, 0, 1, 1, 0, 1])
    data.materials.append(_build_material(clip, root))
    item = bpy.data.objects.new(f"{clip.name} video", data)
    for kind in _RAY_KINDS:  # it shows the video and neither lights nor shades the scene
        setattr(item, f"visible_{kind}", False)
    return item


def place_behind(plane: bpy.types.Object, farthest: float) -> None:
    """Put the plane behind what is at most ``farthest`` metres from the camera, as the camera filmed it."""
    plane.matrix_basis = Matrix.Scale(farthest + _MARGIN, 4)


def place_beside(plane: bpy.types.Object, floor: Matrix, bounds: np.ndarray) -> None:
    """Stand the plane on the floor as a card beside the person, upright, the person on it at true size.

    ``floor`` takes the clip's space to the floor's, ``bounds`` are those of the person in the clip's space.
    """
    corners = [floor @ Vector(bounds[[i, j, k], [0, 1, 2]]) for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    distance = (floor.inverted() @ Vector((0, 0, 0))).y
    left, low = (min(corner.co[axis] for corner in plane.data.vertices) * distance for axis in (0, 2))
    right = max(corner.x for corner in corners) + _MARGIN
    card = Matrix.Translation((right - left, -distance, -low)) @ Matrix.Scale(distance, 4)
    plane.matrix_basis = floor.inverted() @ card


def is_card(plane: bpy.types.Object) -> bool:
    """Whether the plane stands elsewhere than where the camera filmed its video."""
    return plane.matrix_basis.translation.length > 1e-6


def picture_image(plane: bpy.types.Object) -> bpy.types.Image | None:
    """Return what the plane shows: the reference picture or the video, None where the user changed that."""
    material = plane.active_material
    node = material.node_tree.nodes.get(_PICTURE_NODE) if material and material.node_tree else None
    return node.image if node else None


def show_picture(plane: bpy.types.Object, path: Path) -> None:
    """Let the plane show the picture or video at ``path``."""
    node = plane.active_material.node_tree.nodes[_PICTURE_NODE]
    before, node.image = node.image, bpy.data.images.new(path.name, 1, 1)
    # Not images.load, which reads the file at once: a tenth of a second the first time.
    node.image.source = "MOVIE" if path.suffix in bpy.path.extensions_movie else "FILE"
    node.image.filepath = link_path(path)
    if before and not before.users:
        bpy.data.images.remove(before)


def shows_other_clip(plane: bpy.types.Object, root: bpy.types.Object) -> bool:
    """Whether the plane reads another clip's time, as in Blender's duplicates, which share materials."""
    return any(variable.targets[0].id != root for variable in _material_variables(plane))


def own_material(plane: bpy.types.Object, root: bpy.types.Object) -> None:
    """Give the plane a material of its own, that reads its own clip's time."""
    slot = plane.material_slots[0]
    material = slot.material.copy()
    slot.link = "OBJECT"  # a linked duplicate shares its mesh, and with it the mesh's material
    slot.material = material
    for variable in _material_variables(plane):
        variable.targets[0].id = root


def _material_variables(plane: bpy.types.Object) -> list[bpy.types.DriverVariable]:
    material = plane.active_material
    animation = material.node_tree.animation_data if material and material.node_tree else None
    variables = [v for curve in animation.drivers for v in curve.driver.variables] if animation else []
    return [variable for variable in variables if variable.targets[0].data_path in _OWN_PATHS]


def _build_material(clip: DecodedClip, root: bpy.types.Object) -> bpy.types.Material:
    material = bpy.data.materials.new(f"{clip.name} video")
    if not material.node_tree:
        material.use_nodes = True
    material.surface_render_method = "BLENDED"
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    picture, emission, nothing, mix, output = (
        nodes.new(f"ShaderNode{kind}")
        for kind in ("TexImage", "Emission", "BsdfTransparent", "MixShader", "OutputMaterial")
    )
    for column, node in enumerate((picture, emission, mix, output)):
        node.location = (300 * column, 0)
    nothing.location = (300, 150)
    picture.name = picture.label = _PICTURE_NODE
    picture.extension = "EXTEND"
    nodes.active = picture  # which Solid shading shows
    links.new(picture.outputs["Color"], emission.inputs["Color"])
    links.new(nothing.outputs["BSDF"], mix.inputs[1])
    links.new(emission.outputs["Emission"], mix.inputs[2])
    links.new(mix.outputs["Shader"], output.inputs["Surface"])
    drive(
        material.node_tree, f'nodes["{mix.name}"].inputs[0].default_value', "opacity", root, opacity=OPACITY
    )
    # A movie of one frame that began long ago stands at its last frame, 1, whatever the scene's frame is,
    # so that the offset alone chooses the picture.
    user = picture.image_user
    user.use_auto_refresh = True
    user.frame_duration = 1
    user.frame_start = _BEFORE_ALL_FRAMES
    frame = f'nodes["{picture.name}"].image_user.frame_offset'
    drive(material.node_tree, frame, "floor(clip_frame + 0.5)", root, clip_frame=CLIP_FRAME)
    return material
