# SPDX-License-Identifier: GPL-3.0-or-later
"""What an imported clip is in Blender: one collection of mesh, video plane and camera under one empty.

The empty's ``clip_frame`` is driven by the scene's frame and frame rate, and says which frame of the clip
is shown. The mesh's point cache and the video both read it, so they stay in step in a scene of any frame
rate; all drivers are simple expressions, which Blender evaluates with Python scripts switched off.
"""

from __future__ import annotations

import math
from pathlib import Path

import bpy
import numpy as np

from .cache import link_path
from .decoded import DecodedClip, open_point_cache

CLIP_FRAME = "clip_frame"
START_FRAME = "start_frame"
CLIP_FPS = "clip_fps"
CLIP_FRAMES = "clip_frames"
CLIP_PART = "clip_part"

CACHE_MODIFIER = "Sparse2Dense"
_PLANE_MARGIN = 0.5  # metres between the person's farthest reach and the video
_SENSOR = 36.0  # millimetres
_BEFORE_ALL_FRAMES = -1_000_000


def build_clip(clip: DecodedClip, scene: bpy.types.Scene, start_frame: int) -> bpy.types.Object:
    """Build a clip in a new collection of ``scene`` and return its mesh object.

    The person stands on the floor at the world's origin, as seen in the first frame, facing -Y; moving the
    empty moves everything.
    """
    collection = bpy.data.collections.new(clip.name)
    scene.collection.children.link(collection)
    points = open_point_cache(clip.mesh)
    root = _build_root(clip, start_frame)
    first_middle = (points[0].min(axis=0) + points[0].max(axis=0)) / 2
    root.location = (-first_middle[0], -first_middle[1], -clip.bounds[0, 2])
    mesh = _build_mesh(clip, points[0], root)
    parts = {"mesh": mesh, "camera": _build_camera(clip, scene)}
    if clip.video:
        parts["video"] = _build_plane(clip, root)
    collection.objects.link(root)
    for part, item in parts.items():
        item[CLIP_PART] = part
        item.parent = root
        collection.objects.link(item)
    return mesh


def find_root(item: bpy.types.Object | None) -> bpy.types.Object | None:
    """Return the empty of the clip that ``item`` belongs to, or None."""
    while item and CLIP_FRAME not in item:
        item = item.parent
    return item


def find_part(root: bpy.types.Object, part: str) -> bpy.types.Object | None:
    """Return the clip's ``mesh``, ``camera`` or ``video``, or None where the user has deleted it."""
    return next((child for child in root.children if child.get(CLIP_PART) == part), None)


def point_cache(mesh: bpy.types.Object) -> bpy.types.Modifier | None:
    """Return the modifier that plays the clip's point cache, or None once the mesh is baked."""
    return mesh.modifiers.get(CACHE_MODIFIER)


def missing_files(root: bpy.types.Object) -> list[str]:
    """Return the decoded files that the clip plays and that are not where they should be."""
    mesh, plane = find_part(root, "mesh"), find_part(root, "video")
    owners = [point_cache(mesh)] if mesh else []
    if plane:
        nodes = plane.active_material.node_tree.nodes
        owners += [node.image for node in nodes if node.type == "TEX_IMAGE"]
    paths = [bpy.path.abspath(owner.filepath, library=owner.id_data.library) for owner in owners if owner]
    return [path for path in paths if not Path(path).is_file()]


def scene_fps(scene: bpy.types.Scene) -> float:
    """Return the scene's frames a second."""
    return scene.render.fps / scene.render.fps_base


def scene_frames(root: bpy.types.Object, clip_frames: np.ndarray, scene: bpy.types.Scene) -> np.ndarray:
    """Return the scene frames (fractions too) at which the given clip frames are shown."""
    return root[START_FRAME] + clip_frames * scene_fps(scene) / root[CLIP_FPS]


def set_frame_rate(scene: bpy.types.Scene, clip: DecodedClip) -> None:
    """Give the scene the clip's frame rate; 30000/1001 becomes 30 with a base of 1.001."""
    scene.render.fps = math.ceil(clip.fps)
    scene.render.fps_base = scene.render.fps / float(clip.fps)


def set_frame_range(scene: bpy.types.Scene, clip: DecodedClip, start_frame: int) -> None:
    """Let the scene start with the clip and end with it."""
    scene.frame_start = start_frame
    scene.frame_end = start_frame + math.ceil((clip.frames - 1) * scene_fps(scene) / float(clip.fps))


def set_resolution(scene: bpy.types.Scene, clip: DecodedClip) -> None:
    """Give the scene the clip's resolution, so that the camera sees the video and nothing beside it."""
    scene.render.resolution_x, scene.render.resolution_y = clip.width, clip.height
    scene.render.pixel_aspect_x = scene.render.pixel_aspect_y = 1.0


def _build_root(clip: DecodedClip, start_frame: int) -> bpy.types.Object:
    root = bpy.data.objects.new(clip.name, None)
    root.empty_display_type = "PLAIN_AXES"
    root.empty_display_size = 0.25
    root[START_FRAME] = float(start_frame)
    root[CLIP_FPS] = float(clip.fps)
    root[CLIP_FRAMES] = clip.frames
    root[CLIP_FRAME] = 0.0
    root.id_properties_ui(START_FRAME).update(description="Scene frame at which the clip starts")
    driver = root.driver_add(f'["{CLIP_FRAME}"]').driver
    for name, path in (("fps", "render.fps"), ("base", "render.fps_base")):
        variable = driver.variables.new()
        variable.name = name
        variable.type = "CONTEXT_PROP"
        variable.targets[0].context_property = "ACTIVE_SCENE"
        variable.targets[0].data_path = path
    for name, key in (("start", START_FRAME), ("rate", CLIP_FPS), ("count", CLIP_FRAMES)):
        _read_property(driver, name, root, key)
    driver.expression = "min(max((frame - start) * rate * base / fps, 0), count - 1)"
    return root


def _read_property(driver: bpy.types.Driver, name: str, owner: bpy.types.Object, key: str) -> None:
    variable = driver.variables.new()
    variable.name = name
    variable.targets[0].id = owner
    variable.targets[0].data_path = f'["{key}"]'


def _build_mesh(clip: DecodedClip, vertices: np.ndarray, root: bpy.types.Object) -> bpy.types.Object:
    data = bpy.data.meshes.new(clip.name)
    corners = clip.faces.size
    data.vertices.add(len(vertices))
    data.vertices.foreach_set("co", np.ascontiguousarray(vertices, np.float32).ravel())
    data.loops.add(corners)
    data.loops.foreach_set("vertex_index", clip.faces.ravel())
    data.polygons.add(len(clip.faces))
    data.polygons.foreach_set("loop_start", np.arange(0, corners, 3, dtype=np.int32))
    data.polygons.foreach_set("use_smooth", np.ones(len(clip.faces), bool))
    data.uv_layers.new(name="UVMap").data.foreach_set("uv", clip.uv.ravel())
    data.update(calc_edges=True)
    item = bpy.data.objects.new(f"{clip.name} mesh", data)
    cache = item.modifiers.new(CACHE_MODIFIER, "MESH_CACHE")
    cache.cache_format = "PC2"
    cache.filepath = link_path(clip.mesh)
    cache.play_mode = "CUSTOM"
    driver = item.driver_add(f'modifiers["{CACHE_MODIFIER}"].eval_frame').driver
    _read_property(driver, "clip_frame", root, CLIP_FRAME)
    driver.expression = "clip_frame"
    return item


def _build_camera(clip: DecodedClip, scene: bpy.types.Scene) -> bpy.types.Object:
    """Build the camera that filmed the clip, at the empty's origin, the whole picture in its view."""
    data = bpy.data.cameras.new(f"{clip.name} camera")
    render = scene.render
    scene_aspect = render.resolution_x * render.pixel_aspect_x / (render.resolution_y * render.pixel_aspect_y)
    wider = scene_aspect > clip.width / clip.height
    data.sensor_fit = "VERTICAL" if wider else "HORIZONTAL"
    data.sensor_width = data.sensor_height = _SENSOR
    side, focal = (clip.height, clip.focal[1]) if wider else (clip.width, clip.focal[0])
    data.lens = focal / side * _SENSOR
    data.shift_x = (clip.width / 2 - clip.centre[0]) / side
    data.shift_y = (clip.centre[1] - clip.height / 2) / side
    item = bpy.data.objects.new(f"{clip.name} camera", data)
    item.rotation_euler = (math.pi / 2, 0, 0)
    return item


def _build_plane(clip: DecodedClip, root: bpy.types.Object) -> bpy.types.Object:
    """Build the video's plane: beyond the person, and exactly as large as the camera's view is there."""
    depth = float(clip.bounds[1, 1]) + _PLANE_MARGIN
    pixels = np.array([(0, clip.height), (clip.width, clip.height), (clip.width, 0), (0, 0)], np.float64)
    right, down = ((pixels - clip.centre) / clip.focal * depth).T
    data = bpy.data.meshes.new(f"{clip.name} video")
    data.from_pydata(np.stack([right, np.full(4, depth), -down], axis=1).tolist(), [], [(0, 1, 2, 3)])
    data.uv_layers.new(name="UVMap").data.foreach_set("uv", [0, 0, 1, 0, 1, 1, 0, 1])
    data.materials.append(_build_video_material(clip, root))
    return bpy.data.objects.new(f"{clip.name} video", data)


def _build_video_material(clip: DecodedClip, root: bpy.types.Object) -> bpy.types.Material:
    material = bpy.data.materials.new(f"{clip.name} video")
    if not material.node_tree:
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    picture = nodes.new("ShaderNodeTexImage")
    picture.image = bpy.data.images.load(str(clip.video))
    picture.image.filepath = link_path(clip.video)
    picture.extension = "EXTEND"
    emission = nodes.new("ShaderNodeEmission")
    output = nodes.new("ShaderNodeOutputMaterial")
    emission.location, output.location = (300, 0), (500, 0)
    links.new(picture.outputs["Color"], emission.inputs["Color"])
    links.new(emission.outputs["Emission"], output.inputs["Surface"])
    # A movie of one frame that began long ago stands at its last frame, 1, whatever the scene's frame is,
    # so that the offset alone chooses the picture.
    user = picture.image_user
    user.use_auto_refresh = True
    user.frame_duration = 1
    user.frame_start = _BEFORE_ALL_FRAMES
    driver = material.node_tree.driver_add(f'nodes["{picture.name}"].image_user.frame_offset').driver
    _read_property(driver, "clip_frame", root, CLIP_FRAME)
    driver.expression = "floor(clip_frame + 0.5)"
    return material
