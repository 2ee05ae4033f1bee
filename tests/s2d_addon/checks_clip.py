# SPDX-License-Identifier: GPL-3.0-or-later
"""An imported clip: its place in time and space, its clean-up, and what keeps it alive."""

import importlib
import json
import math
import os
import shutil

import bpy
import numpy as np
from mathutils import Matrix, Vector
from session import (
    CLIP_FPS,
    DECODED,
    DESCRIPTION,
    PACKAGE,
    START,
    TRUTH,
    VERTICES,
    WORK,
    cache_gone,
    check,
    clip_frame,
    contents,
    expected_vertices,
    import_clip,
    new_scene,
    part,
    read_picture,
    shown_vertices,
    shown_video_frame,
    through_camera,
    vertex_error,
    video_frames,
)

LAST = DESCRIPTION["frames"] - 1
KEYPOINTS = TRUTH["keypoints"][..., [0, 2, 1]] * np.array([1, 1, -1], np.float32)
NAMES = list(TRUTH["keypoint_names"])


def root():
    return next(item for item in bpy.data.objects if "clip_frame" in item)


def duplicate_of_all(linked):
    """Duplicate the one clip there is; returns the copy's empty."""
    first = root()
    bpy.ops.object.select_all(action="SELECT")
    bpy.ops.object.duplicate(linked=linked)
    return next(item for item in bpy.data.objects if "clip_frame" in item and item != first)


def activate(item):
    bpy.context.view_layer.objects.active = item


def set_properties(owner, **values):
    for key, value in values.items():
        owner[key] = value
    owner.update_tag()


def evaluated(item):
    return item.evaluated_get(bpy.context.evaluated_depsgraph_get())


def vertices_of(item):
    mesh = evaluated(item).to_mesh()
    points = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", points)
    return points.reshape(-1, 3)


def children(owner, name):
    return [child for child in owner.children if child.get("clip_part") == name]


def video_frame(plane):
    """The frame of the video that a plane is told to show."""
    tree = evaluated(plane).material_slots[0].material.node_tree
    return next(node for node in tree.nodes if node.type == "TEX_IMAGE").image_user.frame_offset


def vertices_at(time):
    before = int(time)
    after = min(before + 1, LAST)
    return VERTICES[before] + (time - before) * (VERTICES[after] - VERTICES[before])


def assert_shows(owner, time, tolerance=1e-4):
    mesh, plane = children(owner, "mesh")[0], children(owner, "video")[0]
    off = np.abs(vertices_of(mesh) - vertices_at(time)).max()
    assert off < tolerance, f"mesh is {off:.2g} m from where it is at {time:.2f}"
    assert abs(video_frame(plane) - time) <= 0.5 + 1e-3, f"video is at {video_frame(plane)}, not {time:.2f}"


def drivers():
    owners = [*bpy.data.objects, *(item.node_tree for item in bpy.data.materials if item.node_tree)]
    animations = [owner.animation_data for owner in owners if owner.animation_data]
    return [curve.driver for animation in animations for curve in animation.drivers]


# ---- time ------------------------------------------------------------------------------------


@check
def clip_keeps_its_rate_when_the_scenes_changes():
    new_scene(25)
    import_clip()
    bpy.context.scene.render.fps = 60
    assert vertex_error() < 1e-5
    assert shown_video_frame(START + 31) == round(clip_frame(START + 31)) > 0


@check
def video_and_mesh_show_the_same_frame():
    new_scene(24)
    import_clip()
    for frame in (START, START + 1, START + 14, 1, 90):
        shown = shown_video_frame(frame)
        assert abs(shown - clip_frame(frame)) <= 0.5
        assert np.abs(shown_vertices(frame) - expected_vertices(frame)).max() < 1e-5


@check
def speed_start_in_and_out_points_and_loop_move_mesh_and_video_together():
    scene_fps = 24
    new_scene(scene_fps)
    import_clip()
    for start, first, last, speed, loop in (
        (START, 0, LAST, 0.5, False),
        (-3.5, 4, 11, 1.0, False),
        (START, 4, 11, 2.0, True),
        (START, 3, 3, 1.0, True),
        (START, 0, LAST + 50, 1.0, True),
    ):
        values = {"start_frame": start, "clip_in": first, "clip_out": last, "speed": speed, "loop": loop}
        set_properties(root(), **values)
        for frame in (START - 30, START, START + 1, START + 9, START + 40):
            time = max(frame - start, 0) / scene_fps * CLIP_FPS * speed
            if loop:
                time %= min(last, LAST) - first + 1
            bpy.context.scene.frame_set(frame)
            assert_shows(root(), min(first + time, last, LAST))
    assert drivers()
    assert all(driver.is_simple_expression and driver.is_valid for driver in drivers())


@check
def loop_repeats_every_frame_without_a_hitch():
    new_scene(25)
    import_clip()
    set_properties(root(), loop=True)
    for frame in range(2 * len(VERTICES) - 2, 2 * len(VERTICES) + 3):
        bpy.context.scene.frame_set(START + frame)
        assert_shows(root(), frame % len(VERTICES), 1e-5)


@check
def scene_is_set_to_the_clip_on_request():
    new_scene(30)
    import_clip()
    set_properties(root(), clip_in=2, clip_out=12, speed=0.5)
    assert bpy.ops.s2d.match_scene(resolution=True) == {"FINISHED"}
    scene = bpy.context.scene
    assert scene.render.fps / scene.render.fps_base == CLIP_FPS
    assert (scene.frame_start, scene.frame_end) == (START, START + 20)
    assert (scene.render.resolution_x, scene.render.resolution_y) == (256, 456)
    for frame, time in ((scene.frame_start, 2), (scene.frame_end, 12)):
        scene.frame_set(frame)
        assert_shows(root(), time)


@check
def in_point_never_comes_after_the_out_point():
    new_scene()
    import_clip()
    owner = root()
    for first, last, expected in (
        (4, 11, (4, 11)),
        (15, None, (11, 11)),
        (3, 1, (3, 3)),
        (None, LAST + 9, (3, LAST)),
    ):
        if first is not None:
            owner.s2d_in_point = first
        if last is not None:
            owner.s2d_out_point = last
        assert (owner["clip_in"], owner["clip_out"]) == expected
    bpy.context.scene.frame_set(START)
    assert_shows(owner, 3)


# ---- place -----------------------------------------------------------------------------------


@check
def mesh_and_video_line_up_through_the_camera():
    for width, height in ((256, 456), (1920, 1080), (1000, 1000)):
        new_scene()
        bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = width, height
        import_clip()
        bpy.context.view_layer.update()
        assert_lined_up()
    bpy.context.scene.render.resolution_x = 400  # after the import: the view follows
    bpy.ops.s2d.place_video(mode="BESIDE")
    root().matrix_world = Matrix.Rotation(0.4, 4, "Z") @ Matrix.Translation((1, 2, 3))
    bpy.ops.s2d.view_clip()
    bpy.context.view_layer.update()
    assert bpy.context.scene.camera == part("camera")
    assert_lined_up()


def assert_lined_up():
    corners = [through_camera(part("video"), corner.co) for corner in part("video").data.vertices]
    (left, low), (right, high) = np.min(corners, axis=0), np.max(corners, axis=0)
    scale = right - left
    assert min(left, low) > -1e-4 and max(right, high) < 1 + 1e-4, "the whole video is in view"
    assert max(scale, high - low) > 1 - 1e-4, "and fills it"
    point, size = VERTICES[0][123], (DESCRIPTION["width"], DESCRIPTION["height"])
    camera = DESCRIPTION["camera"]
    pixel = (
        camera["fx"] * point[0] / point[1] + camera["cx"],
        camera["fy"] * -point[2] / point[1] + camera["cy"],
    )
    seen = (np.array(through_camera(part("mesh"), Vector(point))) - (left, low)) / (scale, high - low)
    assert np.allclose(seen, (pixel[0] / size[0], 1 - pixel[1] / size[1]), atol=1e-4)
    distance = [
        (part("camera").matrix_world.inverted() @ part(name).matrix_world).to_3x3() for name in ("mesh",)
    ]
    assert abs(distance[0].determinant() - 1) < 1e-5, "at true size"


@check
def person_stands_on_the_floor_facing_the_viewer():
    new_scene()
    import_clip()
    bpy.context.view_layer.update()

    def placed(points):
        matrix = np.array(root().matrix_world)
        return points @ matrix[:3, :3].T + matrix[:3, 3]

    standing = placed(VERTICES[0])
    assert np.abs(standing[:, :2].mean(axis=0)).max() < 0.5
    assert abs(placed(VERTICES.reshape(-1, 3))[:, 2].min()) < 0.1, "the feet are on the floor"
    assert 1 < standing[:, 2].max() < 2.3
    left, right = (placed(KEYPOINTS[0][NAMES.index(f"{side}_hip")]) for side in ("left", "right"))
    assert left[0] > right[0] and abs(left[0] - right[0]) > abs(left[1] - right[1]), "faces the front view"

    bpy.ops.s2d.place_clip(mode="CAMERA")
    assert root().matrix_world == Matrix()
    bpy.ops.s2d.place_clip(mode="FLOOR", height=0.5, turn=math.pi)
    moved = placed(VERTICES[0])
    assert np.abs(moved - (standing * (-1, -1, 1) + (0, 0, 0.5))).max() < 1e-4


@check
def video_stands_beside_the_person_as_a_card():
    new_scene()
    import_clip()
    bpy.ops.s2d.place_video(mode="BESIDE")
    bpy.context.view_layer.update()
    card = np.array([(part("video").matrix_world @ corner.co)[:] for corner in part("video").data.vertices])
    person = np.array(
        [(root().matrix_world @ Vector(point))[:] for point in VERTICES[::5, ::50].reshape(-1, 3)]
    )
    assert card[:, 0].min() > person[:, 0].max(), "beside"
    assert np.ptp(card[:, 1]) < 1e-4, "upright, facing the front view"
    assert abs(card[:, 2].min()) < 1e-4, "on the floor"
    camera, distance = DESCRIPTION["camera"], Vector(DESCRIPTION["floor"]["point"]).z
    assert abs(np.ptp(card[:, 2]) - DESCRIPTION["height"] / camera["fy"] * distance) < 1e-3, "life-size"


@check
def opacity_fades_the_video_in_a_render():
    new_scene()
    import_clip()
    bpy.context.scene.world = None  # black
    shown_video_frame(START)
    bpy.context.scene.render.resolution_percentage = 25
    brightness = []
    for opacity in (1.0, 0.5, 0.0):
        set_properties(root(), video_opacity=opacity)
        bpy.context.scene.cycles.samples = 4
        bpy.ops.render.render(write_still=True)
        brightness.append(read_picture(WORK / "picture.png").mean())
    assert brightness[2] < 2 < 0.5 * brightness[0] < brightness[1] < 0.95 * brightness[0]


def colour_input(owner):
    """What a clip's mesh has for the colour of its surface: the picture joined to it, or None."""
    tree = children(owner, "mesh")[0].active_material.node_tree
    surface = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    links = surface.inputs["Base Color"].links
    return links[0].from_node.image if links else None


@check
def mesh_wears_the_clips_texture_until_it_is_made_plain():
    home = WORK / "worn"
    new_scene(25)
    import_clip()
    worn = colour_input(root())
    assert tuple(worn.size) == (512, 512)
    assert os.path.samefile(bpy.path.abspath(worn.filepath), clip_folder() / "texture.png")
    shown = render_mesh("worn")
    activate(part("mesh"))
    nodes = part("mesh").active_material.node_tree.nodes
    assert nodes.active.image is not None, "what Solid shading shows"
    bpy.ops.s2d.show_look(mode="PLAIN")
    assert colour_input(root()) is None
    assert nodes.active.type == "TEX_IMAGE" and nodes.active.image is None
    plain = render_mesh("plain")
    assert colourfulness(shown) > 3 * colourfulness(plain)
    bpy.ops.s2d.show_look(mode="MANNEQUIN")
    assert os.path.samefile(bpy.path.abspath(colour_input(root()).filepath), clip_folder() / "mannequin.png")
    dummy = render_mesh("mannequin")
    assert colourfulness(dummy) < colourfulness(shown) / 3, "nobody in particular"
    assert (np.abs(dummy.astype(float) - plain).max(axis=2) > 25).mean() > 0.005, "underwear"
    bpy.ops.s2d.show_look(mode="PLAIN")
    home.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(home / "worn.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(home / "worn.blend"))
    assert colour_input(root()) is None, "the choice is kept"
    activate(part("mesh"))
    bpy.ops.s2d.show_look(mode="TEXTURED")
    again = render_mesh("again")
    assert np.abs(shown.astype(int) - again).mean() < 0.5


def clip_folder():
    return addon("clip.scene").clip_folder(root())


def render_mesh(name):
    """A picture of the mesh alone through the clip's camera, by the light of the world."""
    scene = bpy.context.scene
    scene.camera, part("video").hide_render = part("camera"), True
    scene.render.engine, scene.cycles.samples = "CYCLES", 4
    scene.cycles.use_denoising = False
    scene.render.film_transparent = True
    scene.world = bpy.data.worlds.new("light")
    scene.render.resolution_x, scene.render.resolution_y = DESCRIPTION["width"], DESCRIPTION["height"]
    scene.render.filepath = str(WORK / f"{name}.png")
    scene.frame_set(START)
    bpy.ops.render.render(write_still=True)
    return read_picture(WORK / f"{name}.png")


def colourfulness(picture):
    return np.ptp(picture.astype(float), axis=-1).mean()


@check
def texture_of_a_duplicate_is_shown_or_not_on_its_own():
    for linked in (False, True):
        new_scene(25)
        import_clip()
        first, second = root(), duplicate_of_all(linked)
        activate(second)
        bpy.ops.s2d.show_look(mode="PLAIN")
        assert colour_input(second) is None
        assert colour_input(first) is not None


@check
def lost_texture_is_told_of_and_made_again():
    new_scene(25)
    import_clip()
    activate(part("mesh"))
    bpy.ops.s2d.pack_clip()
    path = clip_folder() / "texture.png"
    before = path.read_bytes()
    path.unlink()
    assert addon("clip.keeping").missing_files(root()) == [path]
    assert bpy.ops.s2d.restore_clips() == {"FINISHED"}
    assert path.read_bytes() == before
    assert tuple(colour_input(root()).size) == (512, 512)


@check
def video_looks_as_it_is_under_every_view_transform():
    video = video_frames()
    new_scene(25)
    import_clip()
    shown_video_frame(START)  # sets the render up
    bpy.context.scene.frame_set(START + 8)
    for view in ("AgX", "Filmic", "Standard"):
        bpy.context.scene.view_settings.view_transform = view
        bpy.ops.render.render(write_still=True)
        off = np.abs(read_picture(WORK / "picture.png").astype(float) - video[8])
        print(f"{view}: {off.mean():.2f} levels off, {np.quantile(off, 0.99):.0f} at 99 %")
        assert off.mean() < 3, view


@check
def onion_skin_shows_the_keypoints_around_the_current_frame():
    new_scene(25)
    import_clip()
    before = contents()
    assert bpy.ops.s2d.onion_skin(before=1, after=2) == {"FINISHED"}
    set_properties(root(), onion_step=3)
    bpy.context.scene.frame_set(START + 6)
    ghosts = children(root(), "ghost")
    assert all(ghost.hide_render for ghost in ghosts)
    shown = set()
    for ghost in ghosts:
        assert len(vertices_of(ghost)) > len(NAMES), "the bones have a thickness"
        middle = vertices_of(ghost).mean(axis=0)
        ghost.modifiers[-1].show_viewport = False
        bpy.context.view_layer.update()
        errors = np.abs(KEYPOINTS - vertices_of(ghost)).max(axis=(1, 2))
        assert errors.min() < 1e-4
        assert np.abs(KEYPOINTS[errors.argmin()].mean(axis=0) - middle).max() < 0.3
        shown.add(int(errors.argmin()))
    assert shown == {3, 9, 12}
    bpy.ops.s2d.remove_onion_skin()
    assert contents() == before
    assert not bpy.data.node_groups


# ---- clean-up --------------------------------------------------------------------------------


@check
def clean_up_changes_motion_and_body_and_goes_back():
    new_scene(25)
    import_clip()
    bpy.ops.s2d.onion_skin(before=0, after=1)
    bpy.ops.ed.undo_push(message="imported")
    tallest = root().id_properties_ui("measure_stature").as_dict()["max"]
    grown = tallest / root()["measure_stature"]
    set_properties(root(), edit_mirror=True, edit_smoothing=1.0, measure_stature=tallest)
    bpy.ops.ed.undo_push(message="set")
    assert bpy.ops.s2d.apply_edits("EXEC_DEFAULT", True) == {"FINISHED"}

    def assert_edited():
        changed = shown_vertices(START + 6)
        assert abs(np.ptp(changed[:, 2]) / np.ptp(VERTICES[6][:, 2]) / grown - 1) < 0.1, "a taller person"
        raised = [KEYPOINTS[6][NAMES.index(f"{side}_wrist")][2] for side in ("left", "right")]
        ghost = children(root(), "ghost")[0]
        ghost.modifiers[-1].show_viewport = False
        bpy.context.view_layer.update()
        points = vertices_of(ghost)
        mirrored = [points[NAMES.index(f"{side}_wrist")][2] for side in ("left", "right")]
        assert np.sign(raised[0] - raised[1]) == -np.sign(mirrored[0] - mirrored[1]), "mirrored"

    assert_edited()
    bpy.ops.ed.undo()
    assert vertex_error() < 1e-5
    bpy.ops.ed.redo()
    assert_edited()
    activate(part("mesh"))
    assert bpy.ops.s2d.reset_edits() == {"FINISHED"}
    assert not root()["edit_mirror"]
    assert vertex_error() < 1e-5


@check
def damaged_files_are_decoded_anew():
    new_scene(25)
    import_clip()
    body = addon("clip.scene").clip_folder(root()) / "body.npz"
    size = body.stat().st_size
    os.truncate(body, size // 2)
    set_properties(root(), edit_mirror=True)
    assert bpy.ops.s2d.apply_edits("EXEC_DEFAULT", True) == {"FINISHED"}
    assert body.stat().st_size == size
    assert bpy.ops.s2d.reset_edits() == {"FINISHED"}
    assert vertex_error() < 1e-5


# ---- keeps -----------------------------------------------------------------------------------


def addon(module):
    return importlib.import_module(f"{PACKAGE}.s2d_addon.{module}")


@check
def saved_file_plays_after_its_folder_has_moved():
    home, moved = WORK / "önce 人 🕺", WORK / "sonra 人 🕺"
    home.mkdir()
    new_scene(24)
    import_clip()  # before the first save: the clip waits elsewhere, and saving takes it along
    bpy.ops.wm.save_as_mainfile(filepath=str(home / "first.blend"))
    shutil.copytree(home / "first_s2d", home / "second_s2d")
    new_scene(24)
    bpy.ops.wm.save_as_mainfile(filepath=str(home / "second.blend"))
    import_clip()
    bpy.ops.wm.save_mainfile()
    new_scene()
    home.rename(moved)
    with cache_gone():
        for name in ("first", "second"):
            bpy.ops.wm.open_mainfile(filepath=str(moved / f"{name}.blend"))
            assert vertex_error() < 1e-5
            assert shown_video_frame(START + 8) == round(clip_frame(START + 8))
            assert root()["clip_folder"].startswith("//")


def half_decoded():
    """Let a clip stand in a new scene as while its video is drawn; returns its folder in the cache."""
    new_scene(25)
    import_clip()
    folder = addon("clip.scene").clip_folder(root())
    description = json.loads((folder / "clip.json").read_text())
    (folder / description["files"].pop("video")).unlink()
    (folder / "clip.json").write_text(json.dumps(description))
    new_scene(25)
    clip = addon("engine.decoded").read_decoded(folder, "early")
    addon("clip.scene").build_clip(clip, bpy.context.scene, START)
    bpy.context.view_layer.update()
    return folder


def draw_video(folder):
    """Have the rest of the clip in ``folder`` decoded, as the import at work does."""
    shutil.copy(DECODED / DESCRIPTION["files"]["video"], folder)
    description = json.loads((folder / "clip.json").read_text())
    description["files"]["video"] = DESCRIPTION["files"]["video"]
    (folder / "clip.json").write_text(json.dumps(description))
    addon("clip.scene").update_clip(root(), addon("engine.decoded").read_decoded(folder, "early"))


def played_folders():
    return {path.resolve().parent for path in addon("clip.scene").played_files(root())}


@check
def clip_saved_while_its_video_is_drawn_plays_from_beside_its_file():
    home = WORK / "early"
    home.mkdir()
    folder = half_decoded()
    bpy.ops.wm.save_as_mainfile(filepath=str(home / "early.blend"))
    beside = home / "early_s2d" / folder.name
    draw_video(folder)
    bpy.ops.wm.save_mainfile()
    assert played_folders() == {beside}
    bpy.ops.s2d.clear_cache()
    assert not folder.exists(), "nothing plays it any more"
    for _ in range(2):
        assert vertex_error() < 1e-5
        assert shown_video_frame(START + 8) == 8
        bpy.ops.wm.open_mainfile(filepath=str(home / "early.blend"))
    moved = home.with_name("early moved")
    home.rename(moved)
    bpy.ops.wm.open_mainfile(filepath=str(moved / "early.blend"))
    assert vertex_error() < 1e-5


@check
def feet_are_held_while_the_clips_own_mesh_is_decoded_and_when_it_is_finished_later():
    new_scene(25)
    import_clip(hold_feet=True)
    edit, folder = root()["clip_edit"], addon("clip.scene").clip_folder(root())
    held = shown_vertices(START + 8)
    whole = json.loads((folder / "clip.json").read_text())
    files = {what: name for what, name in whole["files"].items() if what in ("body", "reference", "texture")}
    (folder / "clip.json").write_text(json.dumps(whole | {"files": files}))
    home = WORK / "held early"
    home.mkdir()
    for there in (True, False):
        new_scene(25)
        if not there:
            shutil.rmtree(folder / edit)
        clip = addon("engine.decoded").read_decoded(folder, "early")
        edits = addon("clip.cleanup_properties").HELD_FEET
        addon("clip.scene").build_clip(clip, bpy.context.scene, START, edits)
        bpy.context.view_layer.update()
        assert bool(part("mesh").get("clip_waiting")) != there
        if there:
            np.testing.assert_allclose(shown_vertices(START + 8), held, atol=1e-6)
            assert part("mesh").data.materials, "it wears its texture"
    bpy.ops.wm.save_as_mainfile(filepath=str(home / "early.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(home / "early.blend"))  # which decodes what is missing
    np.testing.assert_allclose(shown_vertices(START + 8), held, atol=1e-5)
    assert addon("clip.scene").is_finished(root()) and root()["clip_edit"] == edit
    assert shown_video_frame(START + 8) == 8, "the video is that of the clip as filmed"


@check
def undo_to_before_saving_and_clearing_loses_nothing():
    new_scene(25)
    import_clip()
    bpy.ops.ed.undo_push(message="imported")
    bpy.ops.wm.save_as_mainfile(filepath=str(WORK / "undone.blend"))
    bpy.ops.s2d.place_clip(mode="CAMERA")
    bpy.ops.ed.undo_push(message="placed")
    (played,) = played_folders()
    bpy.ops.s2d.clear_cache()
    bpy.ops.ed.undo()
    bpy.ops.ed.undo()
    assert played_folders() == {played}
    assert vertex_error() < 1e-5


@check
def clip_saved_while_its_video_is_drawn_is_finished_when_its_file_is_opened():
    home = WORK / "closed"
    home.mkdir()
    folder = half_decoded()
    bpy.ops.wm.save_as_mainfile(filepath=str(home / "closed.blend"))
    new_scene()
    bpy.ops.s2d.clear_cache()
    assert not folder.exists()
    bpy.ops.wm.open_mainfile(filepath=str(home / "closed.blend"))
    assert vertex_error() < 1e-5
    assert shown_video_frame(START + 8) == 8
    assert played_folders() == {home / "closed_s2d" / folder.name}
    assert not bpy.ops.s2d.restore_clips.poll(), "nothing is left to do"


@check
def cache_keeps_what_a_saved_file_plays_however_it_spells_it():
    home = WORK / "spelled"
    home.mkdir()
    half_decoded()
    draw_video(addon("clip.scene").clip_folder(root()))
    folder = addon("clip.scene").clip_folder(root())
    preferences = bpy.context.preferences.addons[PACKAGE].preferences
    preferences.cache_folder = str(folder.parent)  # so that saving leaves it there
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(home / "spelled.blend"))
        assert ".." in part("mesh").modifiers[0].filepath, "as Blender spells it"
        bpy.ops.s2d.clear_cache()
        assert vertex_error() < 1e-5
        new_scene()
        bpy.ops.s2d.clear_cache()
        assert folder.exists(), "the saved file plays it"
        bpy.ops.wm.open_mainfile(filepath=str(home / "spelled.blend"))
        assert vertex_error() < 1e-5
    finally:
        preferences.property_unset("cache_folder")
    bpy.ops.wm.save_mainfile()  # now it goes along, as what older versions have left in the cache does
    assert played_folders() == {home / "spelled_s2d" / folder.name}
    bpy.ops.s2d.clear_cache()
    assert not folder.exists()
    assert vertex_error() < 1e-5


@check
def saving_elsewhere_takes_the_clip_along_and_a_copy_leaves_the_open_file_alone():
    here, there, copied = (WORK / name for name in ("here", "there", "copied"))
    for folder in (here, there, copied):
        folder.mkdir()
    new_scene(25)
    import_clip()
    bpy.ops.wm.save_as_mainfile(filepath=str(here / "scene.blend"))
    bpy.ops.wm.save_as_mainfile(filepath=str(copied / "copy.blend"), copy=True)
    (played,) = played_folders()
    assert played.parent == here / "scene_s2d"
    assert part("mesh").modifiers[0].filepath.startswith("//scene_s2d")
    bpy.ops.wm.save_as_mainfile(filepath=str(there / "scene 2.blend"))
    assert played_folders() == {there / "scene 2_s2d" / played.name}
    bpy.ops.wm.save_as_mainfile(filepath=str(there / "scene 3.blend"))
    assert not (there / "scene 3_s2d").exists(), "it shares what is in its folder already"
    here.rename(here.with_name("away"))
    there.rename(there.with_name("there moved"))
    for blend in (copied / "copy.blend", WORK / "there moved" / "scene 2.blend"):
        bpy.ops.wm.open_mainfile(filepath=str(blend))
        assert played_folders() == {blend.parent / f"{blend.stem}_s2d" / played.name}
        assert vertex_error() < 1e-5
        assert shown_video_frame(START + 8) == 8


@check
def cleaned_up_motion_is_taken_along_to_where_the_clip_already_is():
    home = WORK / "twice.blend"
    for edited in (False, True):
        new_scene(25)
        import_clip()
        if edited:
            set_properties(root(), edit_mirror=True)
            assert bpy.ops.s2d.apply_edits("EXEC_DEFAULT", True) == {"FINISHED"}
        bpy.ops.wm.save_as_mainfile(filepath=str(home))
        assert not addon("clip.keeping").missing_files(root())
        assert addon("clip.scene").clip_folder(root()).parent == WORK / "twice_s2d"


@check
def material_of_the_users_on_the_video_plane_is_left_alone():
    new_scene(25)
    import_clip()
    part("video")["clip_waiting"] = True  # as while its video is still being drawn
    part("video").material_slots[0].material = bpy.data.materials.new("mine")
    clip = addon("engine.decoded").read_decoded(addon("clip.scene").clip_folder(root()), "clip")
    addon("clip.scene").update_clip(root(), clip)
    assert part("video").material_slots[0].material.name == "mine"


@check
def packed_clip_comes_back_from_the_blend_alone_and_relink_finds_moved_files():
    home = WORK / "packed"
    home.mkdir()
    new_scene(25)
    import_clip()
    bpy.ops.wm.save_as_mainfile(filepath=str(home / "alone 人.blend"))
    shutil.rmtree(home / "alone 人_s2d")
    bpy.ops.wm.open_mainfile(filepath=str(home / "alone 人.blend"))
    assert vertex_error() < 1e-5
    assert shown_video_frame(START + 8) == 8

    (home / "alone 人_s2d").rename(WORK / "elsewhere")
    assert addon("clip.keeping").missing_files(root())
    activate(part("mesh"))
    assert bpy.ops.s2d.relink_clip(directory=str(WORK)) == {"FINISHED"}
    assert not addon("clip.keeping").missing_files(root())
    assert vertex_error() < 1e-5
    try:
        bpy.ops.s2d.relink_clip(directory=str(home))
    except RuntimeError as error:
        assert "import it again" in str(error)
    else:
        raise AssertionError("nothing was there to find")


@check
def clip_decoded_meanwhile_plays_when_its_file_is_opened():
    home = WORK / "meanwhile"
    folder = home / "late_s2d" / "clip"
    folder.mkdir(parents=True)
    new_scene(25)
    bpy.ops.wm.save_as_mainfile(filepath=str(home / "late.blend"))
    files = {name: DESCRIPTION["files"][name] for name in ("body", "reference")}
    for name in files.values():
        shutil.copy(DECODED / name, folder)
    early = {key: value for key, value in DESCRIPTION.items() if key not in ("floor", "bounds")}
    (folder / "clip.json").write_text(json.dumps(early | {"files": files}))
    clip = addon("engine.decoded").read_decoded(folder, "late")
    addon("clip.scene").build_clip(clip, bpy.context.scene, START)
    bpy.context.view_layer.update()
    body = shown_vertices(START) + np.array(root().matrix_world.translation)
    assert np.abs(body[:, 2].min()) < 1e-4 and np.abs(body[:, :2].mean(axis=0)).max() < 0.3, (
        "stands in for it"
    )
    bpy.ops.wm.save_mainfile()
    for path in DECODED.iterdir():
        shutil.copy(path, folder)
    bpy.ops.wm.open_mainfile(filepath=str(home / "late.blend"))
    assert vertex_error() < 1e-5
    assert shown_video_frame(START + 8) == 8


@check
def duplicates_keep_their_own_time():
    for linked in (False, True):
        new_scene(25)
        import_clip()
        first, second = root(), duplicate_of_all(linked)
        bpy.context.view_layer.update()
        set_properties(second, start_frame=START + 7.0)
        bpy.context.scene.frame_set(START + 10)
        assert_shows(first, 10)
        assert_shows(second, 3)


@check
def clip_plays_appended_linked_and_overridden():
    home = WORK / "library 人"
    home.mkdir()
    new_scene(25)
    import_clip()
    bpy.ops.wm.save_as_mainfile(filepath=str(home / "library.blend"))
    for link, override in ((False, False), (True, False), (True, True)):
        new_scene(25)
        bpy.ops.wm.save_as_mainfile(filepath=str(WORK / "user.blend"))
        with bpy.data.libraries.load(str(home / "library.blend"), link=link) as (found, wanted):
            wanted.collections = found.collections
        collection = wanted.collections[0]
        scene = bpy.context.scene
        scene.collection.children.link(collection)
        time = 10
        if override:
            collection = collection.override_hierarchy_create(
                scene, bpy.context.view_layer, do_fully_editable=True
            )
        owner = next(item for item in collection.all_objects if "clip_frame" in item)
        assert bool(owner.library) == (link and not override)
        if override or not link:
            set_properties(owner, start_frame=START + 7.0)
            time = 3
            bpy.ops.wm.save_mainfile()
            bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath)
            owner = next(item for item in bpy.data.objects if "clip_frame" in item and not item.library)
        bpy.context.scene.frame_set(START + 10)
        assert_shows(owner, time)
        assert not addon("clip.keeping").missing_files(owner)


@check
def rendered_animation_has_every_frame_right():
    new_scene(25)
    import_clip()
    shown_video_frame(START)
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = START + 3, START + 7
    scene.render.filepath = str(WORK / "frame ")
    bpy.ops.render.render(animation=True)
    video = video_frames()
    for frame in range(3, 8):
        picture = read_picture(WORK / f"frame {START + frame:04d}.png").astype(float)
        assert int(np.argmin([np.abs(picture - other).mean() for other in video])) == frame


@check
def long_paths_play():
    folder = WORK / "/".join(["a folder with a long name as Windows users have them 人"] * 5)
    folder.mkdir(parents=True)
    new_scene(25)
    import_clip()
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "szene 🎬.blend"))
    with cache_gone():
        bpy.ops.wm.open_mainfile(filepath=str(folder / "szene 🎬.blend"))
        assert vertex_error() < 1e-5
        assert shown_video_frame(START + 8) == 8


@check
def doubts_are_listed_and_marked():
    new_scene()
    import_clip()
    clip = root()
    markers = bpy.context.scene.timeline_markers
    markers.new("the user's own", frame=3)
    clip["clip_info"]["doubts"] = [{"start": 4, "stop": 9, "part": "left arm"}]
    assert bpy.ops.s2d.mark_doubts() == {"FINISHED"}
    frames = {marker.name: clip_frame(marker.frame) for marker in markers if marker.name != "the user's own"}
    unsure, seen = (f"{clip.name}: left arm {word}" for word in ("unsure", "seen"))
    assert set(frames) == {unsure, seen}
    assert abs(frames[unsure] - 4) < 1.01 and abs(frames[seen] - 9) < 1.01, "to the nearest scene frame"
    bpy.context.scene.frame_set(1)
    assert bpy.ops.s2d.go_to_doubt(number=0) == {"FINISHED"}
    assert abs(clip_frame(bpy.context.scene.frame_current) - 4) < 1.01
    assert bpy.ops.s2d.mark_doubts() == {"FINISHED"}
    assert [marker.name for marker in markers] == ["the user's own"]


# ---- parts of a clip, and contacts -----------------------------------------------------------


def motion_shown():
    """What the decoded folder of the motion that the clip shows tells of it, and its keypoints."""
    folder = addon("clip.scene").motion_folder(root())
    with np.load(folder / "mesh.npz") as arrays:
        keypoints = arrays["keypoints"]
    return json.loads((folder / "clip.json").read_text()), keypoints


def pending():
    return addon("clip.cleanup").is_pending(root(), bpy.context.scene)


@check
def parts_of_a_clip_are_mended_from_the_panel_and_from_a_doubt():
    new_scene(50)  # twice the clip's rate: the panel counts the scene's frames
    import_clip()
    for name, frame in (("s2d_fix_from", 12), ("s2d_fix_to", 15)):
        bpy.context.scene.frame_set(START + 2 * frame)
        assert bpy.ops.s2d.fix_here(end=name) == {"FINISHED"}
        assert getattr(root(), name) == START + 2 * frame
    assert bpy.ops.s2d.redo_motion() == {"FINISHED"}
    assert bpy.ops.s2d.swap_sides(start=4, stop=9) == {"FINISHED"}, "as a doubt's button does"
    assert bpy.ops.s2d.straighten(start=17, stop=LAST + 1) == {"FINISHED"}
    assert bpy.ops.s2d.redo_motion(start=10, stop=12, part="left_arm") == {"FINISHED"}
    spans = root().s2d_spans
    assert [(span.first - START, span.last - START) for span in spans] == [
        (24, 30),
        (8, 16),
        (34, 2 * LAST),
        (20, 22),
    ]
    spans[2].strength = 0.5
    spans[2].first = START + 36
    assert pending() and bpy.ops.s2d.apply_edits("EXEC_DEFAULT", True) == {"FINISHED"} and not pending()
    told, keypoints = motion_shown()
    swap = {"kind": "swap", "start": 4, "stop": 9}
    redo = {"kind": "redo", "start": 12, "stop": 16}
    arm = {"kind": "redo", "start": 10, "stop": 12, "part": "left_arm"}
    straighten = {"kind": "straighten", "start": 18, "stop": LAST + 1, "strength": 0.5}
    assert told["edits"] == {"spans": [arm, redo, straighten, swap]}
    moved = np.linalg.norm(keypoints - TRUTH["keypoints"], axis=-1)
    assert moved[[0, 1, 2, 3, 9]].max() == 0 and moved[4:9].mean() > 0.05 and moved[12:16].min() > 0
    wrist, other = (moved[10:12, NAMES.index(f"{side}_wrist")].max() for side in ("left", "right"))
    assert wrist > 1e-4 > other
    assert np.abs(shown_vertices(START + 12) - expected_vertices(START + 12)).max() > 0.1

    bpy.ops.wm.save_as_mainfile(filepath=str(WORK / "mended.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(WORK / "mended.blend"))
    assert len(root().s2d_spans) == 4 and not pending(), "the list is saved"
    assert bpy.ops.s2d.swap_sides(start=4, stop=9) == {"FINISHED"}, "again: it is taken off"
    assert bpy.ops.s2d.remove_fix(number=1) == {"FINISHED"}
    assert [span.kind for span in root().s2d_spans] == ["redo", "redo"] and pending()
    try:
        bpy.ops.s2d.redo_motion(start=0, stop=LAST + 1)
    except RuntimeError as error:
        assert "part of it" in str(error)
    else:
        raise AssertionError("nothing is left to redo it from")
    assert bpy.ops.s2d.reset_edits() == {"FINISHED"}
    assert len(root().s2d_spans) == 0 and not pending()
    assert vertex_error() < 1e-5


def markers_of(*words):
    found = {f"{root().name}: {each}" for each in words}
    return [marker for marker in bpy.context.scene.timeline_markers if marker.name in found]


@check
def contacts_are_markers_that_are_moved_deleted_and_added():
    new_scene(24)  # fewer frames than the clip has
    import_clip(hold_feet=True)
    found = motion_shown()[0]["contacts"]
    assert found
    root()["clip_info"]["doubts"] = [{"start": 4, "stop": 9, "part": "left arm"}]
    assert bpy.ops.s2d.show_contacts() == {"FINISHED"}
    feet = [f"{side} foot {way}" for side in ("Left", "Right") for way in ("down", "up")]
    assert len(markers_of(*feet)) == 2 * len(found)
    bpy.ops.s2d.mark_doubts()
    bpy.ops.s2d.mark_doubts()
    assert len(markers_of(*feet)) == 2 * len(found), "marks of doubts are others"
    assert not pending(), "shown, and nothing changed"
    bpy.ops.s2d.show_contacts()
    bpy.context.scene.render.fps = 7
    bpy.ops.s2d.show_contacts()
    assert not pending(), "nor where the scene's frames are so few that markers lie beside the clip's"
    bpy.ops.s2d.show_contacts()
    bpy.context.scene.render.fps = 24
    bpy.ops.s2d.show_contacts()

    for marker in markers_of(*feet):
        bpy.context.scene.timeline_markers.remove(marker)
    assert pending()
    for foot, up, frame in (("left", False, 2), ("left", True, 8), ("right", True, 5)):
        bpy.context.scene.frame_set(START + frame)
        bpy.ops.s2d.add_contact(foot=foot, up=up)
    markers_of("Left foot up")[0].frame += 4
    bpy.context.scene.timeline_markers.new("right foot DOWN", frame=START + 12)  # as somebody types it
    assert bpy.ops.s2d.apply_edits("EXEC_DEFAULT", True) == {"FINISHED"} and not pending()
    wanted = sorted([[0, 5, "right"], [2, 12, "left"], [12, LAST + 1, "right"]])
    told, held = motion_shown()
    assert told["edits"]["contacts"] == wanted and sorted(told["contacts"]) == wanted
    toe = NAMES.index("left_foot_index")
    assert np.linalg.norm(np.ptp(held[3:11, toe], axis=0)) < 0.01, "it stands"

    bpy.ops.wm.save_as_mainfile(filepath=str(WORK / "held.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(WORK / "held.blend"))
    assert not pending()
    assert bpy.ops.s2d.find_contacts() == {"FINISHED"}
    assert not markers_of(*feet) and pending()
    assert bpy.ops.s2d.apply_edits("EXEC_DEFAULT", True) == {"FINISHED"}
    assert motion_shown()[0]["contacts"] == found
    assert bpy.ops.s2d.reset_edits() == {"FINISHED"}
    assert not bpy.ops.s2d.show_contacts.poll(), "no foot is held"
