# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera that filmed a clip, and the plane that shows its video, behind the person or beside.

A video's colours are what a screen shows, and a scene's are light, which a view transform such as AgX makes
a picture of. So that the video looks as it is, what is rendered of it goes the way back first: Blender has a
colour space for that of most view transforms. Solid shading has no view transform, and shows another image of
the same file.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ..engine.decoded import FILM_FILE, DecodedClip
from ..typed import mesh_of, present
from .drivers import CLIP_FRAME, drive
from .storage import link_path

OPACITY = "video_opacity"
_OWN_PATHS = {f'["{CLIP_FRAME}"]', f'["{OPACITY}"]'}  # what the plane's drivers read of the clip's empty
_MARGIN = 0.5  # metres between the person's farthest reach and the video
_SENSOR = 36.0  # millimetres
_BEFORE_ALL_FRAMES = -1_000_000
_PICTURE_NODE = "Video"  # which Solid shading shows
_RENDERED_NODE = "Rendered Video"
_PLAIN = "sRGB"  # the colour space of what a screen shows
_MOVIES = (".webm", ".mp4")  # what the engine writes
_RAY_KINDS = ("diffuse", "glossy", "transmission", "volume_scatter", "shadow")


def build_camera(clip: DecodedClip, scene: bpy.types.Scene) -> bpy.types.Object:
    """Build the camera that filmed the clip, at the empty's origin, the whole picture in its view."""
    camera = bpy.data.cameras.new(f"{clip.name} camera")
    item = bpy.data.objects.new(camera.name, camera)
    item.rotation_euler = (math.pi / 2, 0, 0)
    fit_camera(camera, (clip.width, clip.height), clip.focal, clip.centre, scene)
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
    present(data.uv_layers.new(name="UVMap")).data.foreach_set("uv", [0, 0, 1, 0, 1, 1, 0, 1])
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
    places = [bounds[[i, j, k], [0, 1, 2]].tolist() for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    corners = [floor @ Vector(place) for place in places]
    distance = floor.inverted().translation.y
    left, low = (min(corner.co[axis] for corner in mesh_of(plane).vertices) * distance for axis in (0, 2))
    right = max(corner.x for corner in corners) + _MARGIN
    card = Matrix.Translation((right - left, -distance, -low)) @ Matrix.Scale(distance, 4)
    plane.matrix_basis = floor.inverted() @ card


def is_card(plane: bpy.types.Object) -> bool:
    """Whether the plane stands elsewhere than where the camera filmed its video."""
    return plane.matrix_basis.translation.length > 1e-6


def picture_images(plane: bpy.types.Object) -> list[bpy.types.Image]:
    """Return what the plane shows, the reference picture or the video; none where the user changed that."""
    return [node.image for node in _picture_nodes(plane) if node.image]


def shows_film(plane: bpy.types.Object) -> bool:
    """Whether the plane shows the film that the clip was made of."""
    return any(Path(image.filepath).name == FILM_FILE for image in picture_images(plane))


def show_picture(plane: bpy.types.Object, path: Path) -> None:
    """Let the plane show the picture or video at ``path``, unless the user has given it another material."""
    for node in _picture_nodes(plane):
        # Not images.load, which reads the file at once: a tenth of a second the first time.
        image = bpy.data.images.new(path.name, 1, 1)
        image.source = "MOVIE" if path.suffix in _MOVIES else "FILE"
        image.filepath = link_path(path)
        before, node.image = node.image, image
        if before and not before.users:
            bpy.data.images.remove(before)
    match_view(plane)


def match_view(plane: bpy.types.Object) -> None:
    """Let the video look in renders as it is, under the view transform that the plane's scene has now."""
    scenes = plane.users_scene
    view = present(scenes[0].view_settings).view_transform if scenes else ""
    for node in _picture_nodes(plane):
        if node.name == _RENDERED_NODE and node.image and not node.image.library:
            space: Any = node.image.colorspace_settings
            wanted = _colour_space(space, view)
            if space.name != wanted:  # to set it reads the file anew
                space.name = wanted


def _colour_space(space: bpy.types.ColorManagedInputColorspaceSettings, view: str) -> str:
    """Return the colour space that a view transform turns into what a screen shows, if there is one."""
    known = cast(bpy.types.EnumProperty, space.bl_rna.properties["name"]).enum_items
    names = (f"{view} {_PLAIN}", f"{view} Base {_PLAIN}")  # such as Filmic sRGB, AgX Base sRGB
    return next((name for name in names if name in known), _PLAIN)


def shows_other_clip(plane: bpy.types.Object, root: bpy.types.Object) -> bool:
    """Whether the plane reads another clip's time, as in Blender's duplicates, which share materials."""
    return any(variable.targets[0].id != root for variable in _material_variables(plane))


def own_material(plane: bpy.types.Object, root: bpy.types.Object) -> None:
    """Give the plane a material of its own, that reads its own clip's time."""
    slot = plane.material_slots[0]
    material = present(slot.material).copy()
    slot.link = "OBJECT"  # a linked duplicate shares its mesh, and with it the mesh's material
    slot.material = material
    for variable in _material_variables(plane):
        variable.targets[0].id = root


def _picture_nodes(plane: bpy.types.Object) -> list[bpy.types.ShaderNodeTexImage]:
    tree = _node_tree(plane)
    nodes: list[Any] = [tree.nodes.get(name) for name in (_PICTURE_NODE, _RENDERED_NODE)] if tree else []
    return [node for node in nodes if isinstance(node, bpy.types.ShaderNodeTexImage)]


def _node_tree(plane: bpy.types.Object) -> bpy.types.NodeTree | None:
    return plane.active_material.node_tree if plane.active_material else None


def _material_variables(plane: bpy.types.Object) -> list[bpy.types.DriverVariable]:
    tree = _node_tree(plane)
    animation = tree.animation_data if tree else None
    drivers = [curve.driver for curve in animation.drivers if curve.driver] if animation else []
    variables = [variable for driver in drivers for variable in driver.variables]
    return [variable for variable in variables if variable.targets[0].data_path in _OWN_PATHS]


def _build_material(clip: DecodedClip, root: bpy.types.Object) -> bpy.types.Material:
    material = bpy.data.materials.new(f"{clip.name} video")
    if not material.node_tree:
        material.use_nodes = True
    material.surface_render_method = "BLENDED"
    tree = present(material.node_tree)
    nodes, links = tree.nodes, tree.links
    nodes.clear()
    pictures = [_picture_node(tree, name, root) for name in (_PICTURE_NODE, _RENDERED_NODE)]
    nodes.active, rendered = pictures
    nodes.active.location = (0, 300)
    emission, nothing, mix, output = (
        nodes.new(f"ShaderNode{kind}")
        for kind in ("Emission", "BsdfTransparent", "MixShader", "OutputMaterial")
    )
    for column, node in enumerate((rendered, emission, mix, output)):
        node.location = (300 * column, 0)
    nothing.location = (300, 150)
    links.new(present(rendered.outputs)["Color"], emission.inputs["Color"])
    links.new(nothing.outputs["BSDF"], mix.inputs[1])
    links.new(emission.outputs["Emission"], mix.inputs[2])
    links.new(mix.outputs["Shader"], output.inputs["Surface"])
    drive(tree, f'nodes["{mix.name}"].inputs[0].default_value', "opacity", root, opacity=OPACITY)
    return material


def _picture_node(
    tree: bpy.types.NodeTree, name: str, root: bpy.types.Object
) -> bpy.types.ShaderNodeTexImage:
    """Make a node that shows the frame of the video that the clip is at."""
    picture = cast(bpy.types.ShaderNodeTexImage, tree.nodes.new("ShaderNodeTexImage"))
    picture.name = picture.label = name
    picture.extension = "EXTEND"
    # A movie of one frame that began long ago stands at its last frame, 1, whatever the scene's frame is,
    # so that the offset alone chooses the picture.
    user = picture.image_user
    user.use_auto_refresh = True
    user.frame_duration = 1
    user.frame_start = _BEFORE_ALL_FRAMES
    frame = f'nodes["{picture.name}"].image_user.frame_offset'
    drive(tree, frame, "floor(clip_frame + 0.5)", root, clip_frame=CLIP_FRAME)
    return picture
