# SPDX-License-Identifier: GPL-3.0-or-later
"""What an imported clip is in Blender: one collection of mesh, video plane and camera under one empty.

The empty is the clip: its custom properties say when and how the clip plays, and its ``clip_frame`` is driven
by them, the scene's frame and its frame rate. The mesh's point cache and the video both read ``clip_frame``,
so they stay in step in a scene of any frame rate. All drivers are simple expressions on custom properties,
which Blender evaluates with Python scripts switched off and without this add-on.

A clip stands as soon as its body is known, at rest before its reference picture, and is brought up to date
part by part while it is decoded.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import bpy
import numpy as np
from mathutils import Matrix

from ..engine.decoded import DESCRIPTION_FILE, DecodedClip, Floor, open_point_cache, read_decoded
from ..translating import translatable
from ..typed import mesh_of, present
from . import cleanup_properties, mesh_material, picture
from .drivers import CLIP_FRAME, add_property, drive, read_scene
from .storage import CLIP_FOLDER, clip_folder_of, link_path

START_FRAME = "start_frame"
CLIP_IN = "clip_in"
CLIP_OUT = "clip_out"
SPEED = "speed"
LOOP = "loop"
CLIP_FPS = "clip_fps"
CLIP_FRAMES = "clip_frames"
CLIP_KEY = "clip_key"
CLIP_EDIT = "clip_edit"  # name of the folder, inside the clip's own, with the cleaned-up motion it shows
CLIP_INFO = "clip_info"  # what operators need to know of the clip where its files are missing
CLIP_PART = "clip_part"
CLIP_OWNER = "clip_owner"  # on a part that is no child of the clip's empty: the empty
CLIP_LOOSE = "clip_loose_"  # on the empty, before the name of such a part: the part
_PLACE = "clip_place"  # on such a part: where it was below the empty
WAITING = "clip_waiting"  # on a part that stands in for what is still being decoded

CACHE_MODIFIER = "Sparse2Dense"
_APART = 0.5  # metres between two clips' people
_PICTURE_FILL = 0.8  # of the picture's height that a person still at rest takes

# Times are rounded to 1/4096 of a frame before they are wrapped, so that a frame a hair before the loop's end
# does not repeat the last one.
_TIME = "max((frame-start)*rate*speed*base/fps,0)"
_CLIP_FRAME_EXPRESSION = (
    f"min(first+(fmod(floor({_TIME}*4096+0.5)/4096,max(min(last,count-1)-first+1,1)) if loop else {_TIME})"
    ",last,count-1)"
)


def build_clip(
    clip: DecodedClip,
    scene: bpy.types.Scene,
    start_frame: int,
    edits: dict[str, Any] | None = None,
    look: str = "",
) -> bpy.types.Object:
    """Build a clip in a new collection of ``scene`` from the parts it has so far, and return its empty.

    Its motion is the one cleaned up by ``edits``, in the folder inside the clip's own that is named for them;
    ``look`` is which of :data:`.mesh_material.LOOKS` its mesh has as soon as it can, empty for the best.
    The person stands on the floor at the world's origin, facing -Y; moving the empty moves everything.
    """
    collection = bpy.data.collections.new(clip.name)
    scene.collection.children.link(collection)
    root = _build_root(clip, start_frame)
    if edits:
        cleanup_properties.set_edits(root, edits)
        root[CLIP_EDIT] = cleanup_properties.folder_name(edits)
    distance = _rest_distance(clip)
    mesh = _build_mesh(clip)
    if look:
        mesh_material.choose_look(mesh, look)
    if clip.mannequin:
        mesh_material.dress(mesh, "MANNEQUIN", clip.mannequin)
    parts = {"mesh": mesh, "camera": picture.build_camera(clip, scene)}
    if clip.has_video:
        plane = parts["video"] = picture.build_plane(clip, root)
        picture.place_behind(plane, distance)
        if clip.reference:
            picture.show_picture(plane, clip.reference)
    collection.objects.link(root)
    for part, item in parts.items():
        item[CLIP_PART] = part
        item.parent = root
        collection.objects.link(item)
    for part in ("mesh", "video"):
        if part in parts:
            parts[part][WAITING] = True
    if clip.has_video:
        picture.match_view(parts["video"])
    _place_apart(root, _rest_placement(clip), roots_of(scene))
    update_clip(root, clip)
    return root


def update_clip(root: bpy.types.Object, clip: DecodedClip) -> None:
    """Show the parts of ``clip`` that are decoded by now in place of those that stood in for them.

    What is up to date, what the user has deleted and what is baked stays as it is.
    """
    root[CLIP_FOLDER] = link_path(clip.folder)
    mesh, plane = find_part(root, "mesh"), find_part(root, "video")
    motion = _motion_of(root, clip)
    if motion and motion.mesh and motion.bounds is not None:
        if motion.floor:
            root[CLIP_INFO]["floor"] = np.ravel(_rows(_floor_matrix(motion.floor))).tolist()
        _remember_bounds(root, motion.bounds)
        if mesh and mesh.get(WAITING):
            play_motion(root, motion.mesh)
            if clip.texture:
                mesh_material.dress(mesh, "TEXTURED", clip.texture)
            del mesh[WAITING]
        if plane and plane.get(WAITING) and not picture.is_card(plane):
            picture.place_behind(plane, motion.bounds[1][1])
        # Where the user has not moved it meanwhile. Clips that are still at rest go apart in their turn.
        if _same_matrix(root.matrix_basis, _moved_aside(root, _rest_placement(clip))):
            others = [other for place in root.users_scene for other in roots_of(place) if is_moving(other)]
            _place_apart(root, floor_placement(root), others)
    if plane and plane.get(WAITING) and clip.video:
        if not picture.shows_film(plane):
            picture.show_picture(plane, clip.video)
        del plane[WAITING]


def _motion_of(root: bpy.types.Object, clip: DecodedClip) -> DecodedClip | None:
    """Return the motion that the clip is to show, its own or a cleaned-up one; None where it is not there."""
    edit = root.get(CLIP_EDIT)
    if not edit:
        return clip
    if (clip.folder / edit / DESCRIPTION_FILE).is_file():
        return read_decoded(clip.folder / edit, clip.name)
    return None


def await_missing(root: bpy.types.Object, clip: DecodedClip) -> None:
    """Let the parts whose files are gone wait for those of ``clip``; meanwhile the plane shows a still."""
    mesh, plane = find_part(root, "mesh"), find_part(root, "video")
    gone = {link for link, path in zip(_links(root), played_files(root), strict=True) if not path.is_file()}
    if mesh and point_cache(mesh) in gone:
        mesh[WAITING] = True
    if plane and gone.intersection(picture.picture_images(plane)):
        plane[WAITING] = True
        if clip.reference:
            picture.show_picture(plane, clip.reference)


def is_moving(root: bpy.types.Object) -> bool:
    """Whether the clip's mesh shows its motion, and not the body at rest."""
    mesh = find_part(root, "mesh")
    return mesh is not None and not mesh.get(WAITING)


def is_finished(root: bpy.types.Object) -> bool:
    """Whether no part of the clip stands in for what is still to be decoded."""
    return not any(child.get(WAITING) for child in root.children)


def remove_clip(root: bpy.types.Object) -> None:
    """Take a clip out of the file, with all that only it used."""
    collections = root.users_collection
    remove_objects(list(dict.fromkeys([root, *root.children_recursive, *_loose(root)])))
    bpy.data.batch_remove([item for item in collections if not item.all_objects and not item.children])


def remove_objects(items: list[bpy.types.Object]) -> None:
    """Remove objects with their meshes, cameras, materials, images and nodes that nothing else uses."""
    modifiers = [modifier for item in items for modifier in item.modifiers]
    groups = {m.node_group for m in modifiers if isinstance(m, bpy.types.NodesModifier) and m.node_group}
    materials = {slot.material for item in items for slot in item.material_slots if slot.material}
    materials |= {material for group in groups for material in _materials_of(group)}
    nodes = [node for m in materials if m.node_tree for node in m.node_tree.nodes]
    images = {node.image for node in nodes if isinstance(node, bpy.types.ShaderNodeTexImage) and node.image}
    data = {item.data for item in items if item.data}
    bpy.data.batch_remove(items)
    for used in (data, groups, materials, images):
        bpy.data.batch_remove([item for item in used if not item.users])


def _materials_of(group: bpy.types.NodeTree) -> list[bpy.types.Material]:
    sockets = [socket for node in group.nodes for socket in node.inputs]
    given = [socket for socket in sockets if isinstance(socket, bpy.types.NodeSocketMaterial)]
    return [socket.default_value for socket in given if socket.default_value]


def find_root(item: bpy.types.Object | None) -> bpy.types.Object | None:
    """Return the empty of the clip that ``item`` belongs to, or None."""
    while item and not _is_root(item):
        owner = item.get(CLIP_OWNER)
        if isinstance(owner, bpy.types.Object) and _is_root(owner):
            return owner
        item = item.parent
    return item


def find_part(root: bpy.types.Object, part: str) -> bpy.types.Object | None:
    """Return the clip's ``mesh``, ``camera``, ``video`` or other part, or None where there is none."""
    return next(iter(find_parts(root, part)), None)


def find_parts(root: bpy.types.Object, part: str) -> list[bpy.types.Object]:
    """Return all children of the clip's empty, and what was taken off it, that are such a part."""
    return [item for item in (*root.children, *_loose(root)) if item.get(CLIP_PART) == part]


def set_loose(root: bpy.types.Object, item: bpy.types.Object) -> None:
    """Take a child off the clip's empty, so that it stands in the world by itself, and still find it."""
    place = item.matrix_parent_inverse @ item.matrix_basis
    item[_PLACE] = np.ravel(_rows(place)).tolist()
    item.parent = None
    item.matrix_basis = Matrix()
    link_loose(root, item)


def link_loose(root: bpy.types.Object, item: bpy.types.Object) -> None:
    """Let an object that is no child of the clip's empty be a part of the clip."""
    item[CLIP_OWNER] = root
    root[CLIP_LOOSE + item[CLIP_PART]] = item


def place_below(root: bpy.types.Object, item: bpy.types.Object) -> Matrix:
    """Return where in the world a part of the clip is, or would be if :func:`bring_back` were called."""
    place = item.get(_PLACE)
    return world_place(root) @ _matrix(place) if place else world_place(item)


def bring_back(root: bpy.types.Object, item: bpy.types.Object) -> None:
    """Hang a part that :func:`set_loose` took off the clip's empty on it again, where it was."""
    if place := item.get(_PLACE):
        item.parent = root
        item.matrix_parent_inverse = Matrix()
        item.matrix_basis = _matrix(place)
        del item[_PLACE], item[CLIP_OWNER], root[CLIP_LOOSE + item[CLIP_PART]]


def world_place(item: bpy.types.Object) -> Matrix:
    """Return where an object is in the world, though it was placed only just now."""
    above = item.parent
    return (world_place(above) @ item.matrix_parent_inverse if above else Matrix()) @ item.matrix_basis


def _loose(root: bpy.types.Object) -> list[bpy.types.Object]:
    """Return the clip's parts that stand in the world by themselves, and are in a scene."""
    items = [value for key, value in root.items() if key.startswith(CLIP_LOOSE)]
    return [item for item in items if isinstance(item, bpy.types.Object) and item.users_scene]


def all_roots() -> list[bpy.types.Object]:
    """Return the empties of all clips in the file."""
    return [item for item in bpy.data.objects if _is_root(item)]


def roots_of(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    """Return the empties of all clips in a scene."""
    return [item for item in scene.objects if _is_root(item)]


def _is_root(item: bpy.types.Object) -> bool:
    return item.get(CLIP_FRAME) is not None


def point_cache(item: bpy.types.Object) -> bpy.types.MeshCacheModifier | None:
    """Return the modifier that plays a point cache on a part of a clip, or None once the part is baked."""
    return cast("bpy.types.MeshCacheModifier | None", item.modifiers.get(CACHE_MODIFIER))


# ---- files -----------------------------------------------------------------------------------


def clip_folder(root: bpy.types.Object) -> Path:
    """Return the folder that the clip was decoded to.

    It is where the files lie that the clip plays: Blender keeps those paths right when the clip is appended
    to another file. The custom property is for clips that play none.
    """
    for path in played_files(root):
        return clip_folder_of(path)
    return Path(bpy.path.abspath(root[CLIP_FOLDER], library=root.library))


def motion_folder(root: bpy.types.Object) -> Path:
    """Return the folder with the motion that the clip shows: its own, or the cleaned-up one's inside it."""
    return clip_folder(root) / root.get(CLIP_EDIT, "")


def played_files(root: bpy.types.Object) -> list[Path]:
    """Return the decoded files that the clip plays."""
    links = [(link.filepath, present(link.id_data).library) for link in _links(root)]
    return [Path(bpy.path.abspath(path, library=library)) for path, library in links]


def relink(root: bpy.types.Object, folder: Path) -> None:
    """Let the clip play the files of the same names in another folder."""
    old = clip_folder(root)
    name = old.name
    for sound in bpy.data.sounds:  # of the clip's film
        path = Path(bpy.path.abspath(sound.filepath, library=sound.library))
        if not sound.library and path.parent == old:
            sound.filepath = link_path(folder / path.name)
    for link, path in zip(_links(root), played_files(root), strict=True):
        before = clip_folder_of(path)
        if before.name == name:  # otherwise it is the user's own picture
            link.filepath = link_path(folder / path.relative_to(before))
    root[CLIP_FOLDER] = link_path(folder)


def _links(root: bpy.types.Object) -> list[bpy.types.MeshCacheModifier | bpy.types.Image]:
    caches = [point_cache(child) for child in root.children]
    pictures = [image for plane in find_parts(root, "video") for image in picture.picture_images(plane)]
    skins = [image for mesh in find_parts(root, "mesh") for image in mesh_material.pictures(mesh)]
    return [link for link in (*caches, *pictures, *skins) if link]


# ---- time ------------------------------------------------------------------------------------


def scene_fps(scene: bpy.types.Scene) -> float:
    """Return the scene's frames a second."""
    return scene.render.fps / scene.render.fps_base


def frames_shown(root: bpy.types.Object) -> range:
    """Return the clip frames from the in point to the out point."""
    last = min(root[CLIP_OUT], root[CLIP_FRAMES] - 1)
    return range(min(root[CLIP_IN], last), last + 1)


def scene_frames(root: bpy.types.Object, clip_frames: np.ndarray, scene: bpy.types.Scene) -> np.ndarray:
    """Return the scene frames (fractions too) at which the given clip frames are shown.

    Of a loop, its first pass. Frames outside the in and out points are never shown: see :func:`frames_shown`.
    """
    rate = root[CLIP_FPS] * root[SPEED]
    return root[START_FRAME] + (np.asarray(clip_frames) - root[CLIP_IN]) * scene_fps(scene) / rate


def clip_frame_at(root: bpy.types.Object, scene_frame: float, scene: bpy.types.Scene) -> float:
    """Return which frame of the clip (a fraction too) a scene frame is for; :func:`scene_frames` undone."""
    rate = root[CLIP_FPS] * root[SPEED]
    return root[CLIP_IN] + (scene_frame - root[START_FRAME]) * rate / scene_fps(scene)


def set_frame_rate(scene: bpy.types.Scene, root: bpy.types.Object) -> None:
    """Give the scene the clip's frame rate; 30000/1001 becomes 30 with a base of 1.001."""
    scene.render.fps = math.ceil(root[CLIP_FPS])
    scene.render.fps_base = scene.render.fps / root[CLIP_FPS]


def set_frame_range(scene: bpy.types.Scene, roots: list[bpy.types.Object]) -> None:
    """Let the scene start with the first of the clips and end with the last."""
    ends = [scene_frames(root, np.array(frames_shown(root))[[0, -1]], scene) for root in roots]
    first, last = np.min(ends, axis=0)[0], np.max(ends, axis=0)[1]
    scene.frame_start, scene.frame_end = math.floor(first), math.ceil(last - 1e-3)


def set_resolution(scene: bpy.types.Scene, root: bpy.types.Object) -> None:
    """Give the scene the clip's resolution, so that the camera sees the video and nothing beside it."""
    scene.render.resolution_x, scene.render.resolution_y = root[CLIP_INFO]["size"]
    scene.render.pixel_aspect_x = scene.render.pixel_aspect_y = 1.0


# ---- place -----------------------------------------------------------------------------------


def floor_placement(root: bpy.types.Object) -> Matrix:
    """Return where the clip's empty has to be for the person to stand at the origin, facing -Y."""
    floor = root[CLIP_INFO].get("floor")
    return _matrix(floor) if floor else root.matrix_basis.copy()


def _matrix(values: Sequence[float]) -> Matrix:
    """Return a matrix that was kept as its sixteen numbers, row by row."""
    return Matrix([values[row : row + 4] for row in range(0, 16, 4)])


def clip_bounds(root: bpy.types.Object) -> np.ndarray | None:
    """Return the person's lowest and highest coordinates ``(2, 3)`` in the clip's space, once decoded."""
    bounds = root[CLIP_INFO].get("bounds")
    return np.reshape(bounds, (2, 3)) if bounds else None


def _place_apart(root: bpy.types.Object, place: Matrix, others: list[bpy.types.Object]) -> None:
    """Put the clip to ``place``, or as far beside as its person stands inside none of the other clips'."""
    low, high = reach(root, place)
    aside = 0.0
    reaches = [reach(other) for other in others if other != root]
    for other_low, other_high in sorted(reaches, key=lambda other: other[1][0]):
        shift = np.array([aside, 0, 0])
        if np.all(low + shift < other_high) and np.all(other_low < high + shift):
            aside = other_high[0] - low[0] + _APART
    root[CLIP_INFO]["aside"] = float(aside)
    root.matrix_basis = _moved_aside(root, place)


def _moved_aside(root: bpy.types.Object, place: Matrix) -> Matrix:
    return Matrix.Translation((root[CLIP_INFO].get("aside", 0.0), 0, 0)) @ place


def reach(root: bpy.types.Object, place: Matrix | None = None) -> np.ndarray:
    """Return the person's lowest and highest coordinates ``(2, 3)`` in the world, the clip at ``place``.

    By default where it is.
    """
    if place is None:
        place = world_place(root)
    bounds, mesh = clip_bounds(root), find_part(root, "mesh")
    if bounds is None:  # of the body at rest
        points = np.zeros((1, 3), np.float32)
        if mesh:
            points = np.empty((len(mesh_of(mesh).vertices), 3), np.float32)
            mesh_of(mesh).vertices.foreach_get("co", points.reshape(-1))
        bounds = np.stack([points.min(axis=0), points.max(axis=0)])
    corners = np.array([bounds[[i, j, k], [0, 1, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    matrix = np.array(place)
    corners = corners @ matrix[:3, :3].T + matrix[:3, 3]
    return np.stack([corners.min(axis=0), corners.max(axis=0)])


def _remember_bounds(root: bpy.types.Object, bounds: np.ndarray) -> None:
    root[CLIP_INFO]["bounds"] = [float(value) for value in np.ravel(bounds)]


def _floor_matrix(floor: Floor) -> Matrix:
    """Return where the clip's empty has to be for the floor to be the world's, and the person to face -Y."""
    back = -(floor.forward - floor.forward @ floor.up * floor.up)
    back /= np.linalg.norm(back)
    turn = np.stack([np.cross(back, floor.up), back, floor.up])
    return Matrix(turn.tolist()).to_4x4() @ Matrix.Translation((-floor.point).tolist())


def _rest_distance(clip: DecodedClip) -> float:
    """Return how far from the camera a person at rest fills the picture's height."""
    return float(np.ptp(clip.rest[:, 2])) * clip.focal[1] / (clip.height * _PICTURE_FILL)


def _rest_placement(clip: DecodedClip) -> Matrix:
    return Matrix.Translation((0, -_rest_distance(clip), float(np.ptp(clip.rest[:, 2])) / 2))


def _same_matrix(one: Matrix, other: Matrix) -> bool:
    return np.allclose(_rows(one), _rows(other), atol=1e-4)


def _rows(matrix: Matrix) -> list[tuple[float, ...]]:
    return [matrix[row].to_tuple() for row in range(4)]


# ---- building --------------------------------------------------------------------------------


def _build_root(clip: DecodedClip, start_frame: int) -> bpy.types.Object:
    root = bpy.data.objects.new(clip.name, None)
    root.empty_display_type = "PLAIN_AXES"
    root.empty_display_size = 0.25
    last = clip.frames - 1
    add_property(root, START_FRAME, float(start_frame), translatable("Scene frame at which the clip starts"))
    add_property(root, CLIP_IN, 0, translatable("First frame of the clip that is shown"), min=0, max=last)
    add_property(root, CLIP_OUT, last, translatable("Last frame of the clip that is shown"), min=0, max=last)
    tip = translatable("How fast the clip plays: 1 as it was filmed, 0.5 in slow motion at half the speed")
    add_property(root, SPEED, 1.0, tip, min=0.01, max=100.0, soft_min=0.1, soft_max=4.0)
    tip = translatable("Begin again after the out point; otherwise its frame is held")
    add_property(root, LOOP, False, tip)
    tip = translatable(
        "How much of the video plane is seen: 0 nothing, 1 all of it (in Material Preview and Rendered)"
    )
    add_property(root, picture.OPACITY, 1.0, tip, min=0.0, max=1.0)
    cleanup_properties.add_edits(root, clip.measures)
    root[CLIP_FPS] = float(clip.fps)
    root[CLIP_FRAMES] = clip.frames
    root[CLIP_KEY] = clip.key
    root[CLIP_INFO] = {
        "size": [clip.width, clip.height],
        "focal": [float(value) for value in clip.focal],
        "centre": [float(value) for value in clip.centre],
        "doubts": [{"start": start, "stop": stop, "part": part} for start, stop, part in clip.doubts],
    }
    root[CLIP_FRAME] = 0.0
    clip_time = {"start": START_FRAME, "rate": CLIP_FPS, "speed": SPEED, "loop": LOOP}
    clip_span = {"first": CLIP_IN, "last": CLIP_OUT, "count": CLIP_FRAMES}
    driver = drive(root, f'["{CLIP_FRAME}"]', _CLIP_FRAME_EXPRESSION, root, **clip_time, **clip_span)
    read_scene(driver, fps="render.fps", base="render.fps_base")
    return root


def _build_mesh(clip: DecodedClip) -> bpy.types.Object:
    """Build the body at rest, as far before the camera as it fills the picture."""
    offset = -np.array(_rest_placement(clip).translation, np.float32)
    data = bpy.data.meshes.new(clip.name)
    corners = clip.faces.size
    data.vertices.add(len(clip.rest))
    data.loops.add(corners)
    data.polygons.add(len(clip.faces))
    # Attributes take a whole array at once; vertices, loops and faces would be set one by one.
    places = cast(bpy.types.FloatVectorAttribute, data.attributes["position"])
    places.data.foreach_set("vector", (clip.rest + offset).astype(np.float32).ravel())
    corner_vertices = cast(bpy.types.IntAttribute, data.attributes[".corner_vert"])
    corner_vertices.data.foreach_set("value", clip.faces.ravel())
    data.polygons.foreach_set("loop_start", np.arange(0, corners, 3, dtype=np.int32))
    present(data.uv_layers.new(name="UVMap")).uv.foreach_set("vector", clip.uv.ravel())
    data.shade_smooth()
    data.update(calc_edges=True)
    return bpy.data.objects.new(f"{clip.name} mesh", data)


def play_motion(root: bpy.types.Object, cache: Path) -> None:
    """Let the clip's mesh play the point cache ``cache``, and rest at its first frame without it."""
    mesh = present(find_part(root, "mesh"))
    data = mesh_of(mesh)
    data.vertices.foreach_set("co", np.ascontiguousarray(open_point_cache(cache)[0]).ravel())
    data.update()
    play_points(mesh, root, cache, "clip_frame", clip_frame=CLIP_FRAME)


def show_motion(root: bpy.types.Object, edit: str) -> None:
    """Let the clip play the cleaned-up motion in the folder ``edit`` inside its own; empty: its own motion.

    Raises OSError where that motion is not there.
    """
    folder = clip_folder(root) / edit
    clip = read_decoded(folder, root.name)
    if clip.mesh is None or clip.keypoints is None or clip.bounds is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    mesh, plane = find_part(root, "mesh"), find_part(root, "video")
    if mesh and point_cache(mesh):
        play_motion(root, clip.mesh)
    for ghost in find_parts(root, "ghost"):
        present(point_cache(ghost)).filepath = link_path(clip.keypoints)
    _remember_bounds(root, clip.bounds)
    if plane and not picture.is_card(plane):
        picture.place_behind(plane, clip.bounds[1][1])
    root[CLIP_EDIT] = edit


def play_points(
    item: bpy.types.Object, root: bpy.types.Object, cache: Path, expression: str, **keys: str
) -> None:
    """Let ``item`` play a point cache, at the frame that ``expression`` makes of the clip's properties."""
    modifier = point_cache(item)
    if modifier is None:
        modifier = cast(bpy.types.MeshCacheModifier, item.modifiers.new(CACHE_MODIFIER, "MESH_CACHE"))
        modifier.cache_format = "PC2"
        modifier.play_mode = "CUSTOM"
        drive(item, f'modifiers["{CACHE_MODIFIER}"].eval_frame', expression, root, **keys)
    modifier.filepath = link_path(cache)
