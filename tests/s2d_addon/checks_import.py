# SPDX-License-Identifier: GPL-3.0-or-later
"""Installing, importing, encoding, cancelling, bad files, preferences: through the operators."""

import contextlib
import importlib
import importlib.util
import itertools
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import bpy
import numpy as np
from session import (
    CLIP,
    CLIP_FPS,
    DESCRIPTION,
    PACKAGE,
    START,
    TRUTH,
    VERTICES,
    WORK,
    check,
    contents,
    import_clip,
    new_scene,
    part,
    reported_error,
    shown_vertices,
    vertex_error,
    waiting,
    while_at_work,
)

MOVIE = Path(__file__).parents[2] / "inference" / "data" / "balance.mp4"


def clip_folder():
    return Path(part("mesh").modifiers[0].filepath).parent


@check
def installs_offline_with_its_wheels():
    for package in ("onnxruntime", "cv2", "constriction"):
        assert "extensions" in importlib.util.find_spec(package).origin, f"{package} is not the extension's"
    assert not bpy.app.online_access
    assert PACKAGE in bpy.context.preferences.addons


@check
def import_shows_the_decoders_vertices_in_another_frame_rate():
    for fps in (30, 24, 60):
        new_scene(fps)
        assert import_clip() == {"FINISHED"}
        assert vertex_error() < 1e-5


@check
def import_shows_the_decoders_vertices_in_the_clips_frame_rate():
    new_scene()
    import_clip(set_scene=True, set_resolution=True)
    scene = bpy.context.scene
    assert scene.render.fps / scene.render.fps_base == CLIP_FPS
    assert (scene.frame_start, scene.frame_end) == (START, START + DESCRIPTION["frames"] - 1)
    assert (scene.render.resolution_x, scene.render.resolution_y) == (256, 456)
    for frame, vertices in enumerate(VERTICES):
        assert np.abs(shown_vertices(START + frame) - vertices).max() < 1e-5


@check
def scene_is_untouched_unless_asked():
    def settings():
        scene = bpy.context.scene
        render = scene.render
        return (
            (render.fps, render.fps_base, render.resolution_x, render.resolution_y, scene.camera),
            (scene.frame_start, scene.frame_end, scene.frame_current, len(scene.collection.objects)),
        )

    new_scene(24)
    before = settings()
    import_clip()
    assert settings() == before
    assert [collection.name for collection in bpy.context.scene.collection.children] == [CLIP.stem]
    assert {item.get("clip_part") for item in bpy.data.collections[CLIP.stem].objects} == {
        None,
        "mesh",
        "camera",
        "video",
    }
    mesh = part("mesh").data
    assert all(polygon.use_smooth for polygon in mesh.polygons)
    assert np.ptp([corner.uv[:] for corner in mesh.uv_layers[0].data], axis=0).min() > 0.5


@check
def undo_takes_an_import_back_in_one_step():
    new_scene()
    bpy.ops.ed.undo_push(message="before")
    before = contents()
    import_clip()
    assert contents() != before
    bpy.ops.ed.undo()
    assert contents() == before
    bpy.ops.ed.redo()
    assert vertex_error() < 1e-5


def height_of_lowest(frames):
    """How high above the floor the lowest vertex of each frame is, metres."""
    matrix = np.array(part("mesh").matrix_world)
    return np.array([(shown_vertices(frame) @ matrix[2, :3]).min() + matrix[2, 3] for frame in frames])


def held_by(root):
    cleanup = importlib.import_module(f"{PACKAGE}.s2d_addon.clip.cleanup_properties")
    return cleanup.folder_name(cleanup.wanted_edits(root))


@check
def feet_are_held_on_the_floor_until_clean_up_lets_them_go():
    frames = range(START, START + DESCRIPTION["frames"], 3)
    new_scene(25)
    import_clip()
    bpy.context.view_layer.update()
    as_filmed = height_of_lowest(frames)
    new_scene(25)
    bpy.ops.ed.undo_push(message="before")
    import_clip(hold_feet=True)
    root = part("mesh").parent
    assert (root["edit_foot_lock"], root["edit_ground_snap"]) == (1.0, True)
    assert root["clip_edit"] == held_by(root) != "", "nothing is left to apply"
    assert clip_folder().name == root["clip_edit"]
    held = height_of_lowest(frames)
    assert held.min() > -0.02 > as_filmed.min()
    bpy.ops.ed.undo()
    bpy.ops.ed.redo()
    np.testing.assert_allclose(height_of_lowest(frames), held, atol=1e-6)
    blend = WORK / "held.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    for gone in (False, True):
        if gone:  # it is packed
            shutil.rmtree(WORK / "held_s2d")
        bpy.ops.wm.open_mainfile(filepath=str(blend))
        np.testing.assert_allclose(height_of_lowest(frames), held, atol=1e-5)
    bpy.context.view_layer.objects.active = part("mesh")
    assert bpy.ops.s2d.reset_edits() == {"FINISHED"}
    assert vertex_error() < 1e-5
    assert held_by(part("mesh").parent) == ""


@check
def held_feet_wait_for_no_second_decoding_and_come_to_clips_decoded_before():
    jobs = importlib.import_module(f"{PACKAGE}.s2d_addon.engine.job")
    run, started = jobs.Job.run_worker, []
    jobs.Job.run_worker = lambda self, *given, **more: started.append(given) or run(self, *given, **more)
    try:
        for held, workers in ((True, 1), (True, 0), (False, 0)):
            new_scene(25)
            if workers:
                shutil.rmtree(bpy.utils.extension_path_user(PACKAGE, path="cache"), ignore_errors=True)
            started.clear()
            import_clip(hold_feet=held)
            assert len(started) == workers, started
        assert vertex_error() < 1e-5
        shutil.rmtree(next(clip_folder().glob("edit-*")))
        started.clear()
        new_scene(25)
        import_clip(hold_feet=True)
        assert len(started) == 1 and "mesh" in started[0]
        assert clip_folder().name == part("mesh").parent["clip_edit"]
    finally:
        jobs.Job.run_worker = run


@check
def several_clips_are_one_undo_step():
    new_scene()
    clips = [WORK / f"{name} {CLIP.name}" for name in ("one", "another")]
    for clip in clips:
        clip.write_bytes(CLIP.read_bytes())
    bpy.ops.ed.undo_push(message="before")
    before = contents()
    files = [{"name": clip.name} for clip in clips]
    bpy.ops.s2d.import_clip("EXEC_DEFAULT", True, directory=f"{WORK}/", files=files)
    assert sum(item.get("clip_part") == "mesh" for item in bpy.data.objects) == 2
    bpy.ops.ed.undo()
    assert contents() == before


def people():
    """The lowest and highest coordinates of each clip's person in the world, over all frames shown."""
    found = []
    for item in bpy.data.objects:
        if item.get("clip_part") == "mesh":
            matrix = np.array(item.matrix_world)
            frames = (START, START + 9, START + DESCRIPTION["frames"] - 1)
            points = np.concatenate([shown_vertices(frame, item) for frame in frames])
            points = points @ matrix[:3, :3].T + matrix[:3, 3]
            found.append((points.min(axis=0), points.max(axis=0)))
    return found


@check
def clips_stand_beside_each_other_in_a_range_that_covers_all():
    new_scene(24)
    for start in (START, 2, 200):
        import_clip(start_frame=start, set_scene=True)
    bpy.context.view_layer.update()
    reaches = sorted(people(), key=lambda reach: reach[0][0])
    assert len(reaches) == 3
    for (_, left), (right, _) in itertools.pairwise(reaches):
        assert left[0] < right[0], "nobody stands inside another"
    assert all(abs(low[2]) < 0.1 for low, _ in reaches), "on the floor"
    scene = bpy.context.scene
    assert scene.render.fps / scene.render.fps_base == CLIP_FPS
    assert (scene.frame_start, scene.frame_end) == (2, 200 + DESCRIPTION["frames"] - 1)
    scene.render.fps = 30  # the user's choice
    import_clip(set_scene=True)
    assert scene.render.fps == 30


@check
def clip_in_a_new_file_is_not_hidden_by_blenders_cube():
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    bpy.ops.preferences.addon_enable(module=PACKAGE)
    import_clip()
    cube = bpy.data.objects["Cube"]
    assert cube.hide_viewport and cube.hide_render and cube.name in bpy.context.scene.objects
    cube.hide_viewport = False
    bpy.data.objects.new("mine", None)
    bpy.context.scene.collection.objects.link(bpy.data.objects["mine"])
    import_clip()
    assert not cube.hide_viewport, "the user works here"


@check
def clip_used_last_is_shown_whatever_is_active():
    new_scene()
    assert not bpy.types.S2D_PT_clip.poll(bpy.context)
    import_clip()
    armature = bpy.data.objects.new("Mine", bpy.data.armatures.new("Mine"))
    bpy.context.scene.collection.objects.link(armature)
    for active in (None, armature):
        bpy.context.view_layer.objects.active = active
        assert bpy.types.S2D_PT_clip.poll(bpy.context)
        assert bpy.ops.s2d.match_scene() == {"FINISHED"}
    bpy.ops.object.mode_set(mode="POSE")
    assert bpy.types.S2D_PT_clip.poll(bpy.context)
    assert bpy.ops.s2d.place_clip(mode="CAMERA") == {"FINISHED"}
    assert not bpy.ops.s2d.bake.poll()
    bpy.ops.object.mode_set(mode="OBJECT")
    assert bpy.ops.s2d.bake.poll()
    bpy.ops.wm.save_as_mainfile(filepath=str(WORK / "in use.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(WORK / "in use.blend"))
    assert bpy.types.S2D_PT_clip.poll(bpy.context)
    new_scene()
    assert not bpy.types.S2D_PT_clip.poll(bpy.context)


@check
def decoded_clips_are_not_decoded_again_and_begun_ones_are_finished():
    new_scene()
    import_clip()
    folder = clip_folder()
    made = {name: (folder / name).stat().st_mtime_ns for name in DESCRIPTION["files"].values()}
    new_scene()
    import_clip()
    assert {name: (folder / name).stat().st_mtime_ns for name in made} == made
    description = json.loads((folder / "clip.json").read_text())
    (folder / description["files"].pop("video")).unlink()
    (folder / "clip.json").write_text(json.dumps(description))
    new_scene()
    import_clip()
    assert (folder / "video.webm").is_file()
    assert (folder / "mesh.pc2").stat().st_mtime_ns == made["mesh.pc2"]
    assert (folder / "clip.s2d").read_bytes() == CLIP.read_bytes()


@check
def cache_keeps_what_plays_and_forgets_the_rest():
    new_scene()
    import_clip()
    used, idle = clip_folder(), clip_folder().with_name("idle")
    shutil.copytree(used, idle)
    preferences = bpy.context.preferences.addons[PACKAGE].preferences
    preferences.cache_limit = 0
    import_clip()
    preferences.cache_limit = 20
    started = time.monotonic()
    while idle.exists() and time.monotonic() - started < 5:
        time.sleep(0.05)
    assert not idle.exists() and used.exists()
    shutil.copytree(used, idle)
    assert bpy.ops.s2d.clear_cache() == {"FINISHED"}
    assert not idle.exists() and used.exists()


@check
def movie_becomes_a_clip_without_a_network():
    new_scene()
    movie, size = WORK / "filmed ö.mp4", 128
    shutil.copy(MOVIE, movie)
    options = {"start": 1.0, "end": 1.6, "size": size, "sex": "MAN", "start_frame": START, "texture": True}
    assert bpy.ops.s2d.encode_video("EXEC_DEFAULT", True, filepath=str(movie), **options) == {"FINISHED"}
    assert 8_000 < movie.with_suffix(".s2d").stat().st_size < 20_000  # most of it is the texture
    root = part("camera").parent
    assert min(root["clip_info"]["size"]) == size
    assert abs(root["clip_frames"] / root["clip_fps"] - 0.6) < 0.05
    heights = shown_vertices(START)[:, 2]
    assert 1 < np.ptp(heights) < 2.3
    assert root["measure_sex"] > 0.8
    assert "no movie" in encode_error(WORK / "no movie.mp4")
    assert CLIP.stem in encode_error(CLIP)


def encode_error(path):
    try:
        bpy.ops.s2d.encode_video("EXEC_DEFAULT", True, filepath=str(path))
    except RuntimeError as error:
        return str(error)
    raise AssertionError("no error was reported")


@check
def device_test_says_what_a_python_has():
    preferences = bpy.context.preferences.addons[PACKAGE].preferences
    test = bpy.types.S2D_OT_test_device
    preferences.python = str(WORK / "no python")
    with contextlib.suppress(RuntimeError):
        bpy.ops.s2d.test_device()
    assert "no python" in test.said
    preferences.python = os.environ["S2D_TORCH"]
    bpy.ops.s2d.test_device()
    assert "PyTorch" in test.said
    assert preferences.torch_device in {"cpu", "cuda", "mps"}
    preferences.property_unset("python")


@check
def diagnostics_hold_versions_and_the_last_error():
    new_scene()
    reported_error(WORK / "gone.s2d")
    module = sys.modules[f"{PACKAGE}.s2d_addon.preferences"]
    text = module.diagnostics()
    for wanted in (bpy.app.version_string, "Sparse2Dense 0.", "vertex_predictor.onnx", "gone.s2d"):
        assert wanted in text


@check
def bad_files_are_one_clear_line_and_leave_nothing():
    new_scene()
    data = CLIP.read_bytes()
    bad = WORK / "bäd 人.s2d"
    assert "bäd" in reported_error(bad), "a file that is not there"
    for content in (data[: len(data) // 2], b"", b"no clip at all" * 100, data[:-40] + bytes(40)):
        bad.write_bytes(content)
        assert "bäd" in reported_error(bad)


@check
def nothing_chosen_is_said_in_words():
    new_scene()
    for chosen in ("", f"{WORK}/"):
        assert "No file was chosen" in reported_error(chosen)
    assert "No file was chosen" in encode_error("")


@check
def killed_worker_is_reported_and_leaves_nothing():
    new_scene()
    with while_at_work(lambda job: os.kill(job.worker_pid, signal.SIGKILL)):
        assert CLIP.name in reported_error(CLIP)


@check
def cancelled_import_ends_within_a_second_and_leaves_nothing():
    new_scene()
    before, on_disk = contents(), waiting()
    cancelled = []

    def cancel(job):
        cancelled.append((time.monotonic(), job.worker_pid))
        job.cancel()

    with while_at_work(cancel):
        assert import_clip() == {"CANCELLED"}
    started, pid = cancelled[0]
    assert time.monotonic() - started < 1
    assert not Path(f"/proc/{pid}").exists()
    assert (contents(), waiting()) == (before, on_disk)


@check
def everything_that_blender_shows_is_in_the_dictionaries():
    """What registered classes are called, their tooltips, and those of a clip's custom properties."""
    new_scene()
    import_clip()
    shown = set(tooltips(part("mesh").parent))
    for name in dir(bpy.types):
        cls = getattr(bpy.types, name)
        if getattr(cls, "__module__", "").startswith(PACKAGE):
            shown |= set(texts_of(cls))
    for cls in bpy.types.PropertyGroup.__subclasses__():
        if cls.__module__.startswith(PACKAGE):
            shown |= set(texts_of(cls))
    shown |= set(texts_of(bpy.types.Object, "s2d_"))
    assert {"Whole Body", "Field of View", "Scene frame from which on something is to be mended"} <= shown
    names = {"Alembic", "Mixamo", "Python", "Sparse2Dense", "USD", "Unreal"}
    module = sys.modules[f"{PACKAGE}.s2d_addon.translating"]
    paths = list(module.TRANSLATIONS.glob("*.json"))
    assert len(shown) > 150
    assert len(paths) >= 6
    for path in paths:
        known = json.loads(path.read_text(encoding="utf-8"))
        missing = sorted(shown - names - known.keys() - {""})
        assert not missing, (path.name, missing)


def texts_of(cls, prefix=""):
    """Yield what a class, its properties and their choices are called, and all their tooltips.

    Properties are those that were registered, whose names begin with ``prefix``.
    """
    rna = cls.bl_rna
    if issubclass(cls, bpy.types.Operator):
        rna = getattr(bpy.ops.s2d, cls.bl_idname.removeprefix("s2d.")).get_rna_type()
    if issubclass(cls, (bpy.types.Operator, bpy.types.Panel, bpy.types.Menu)):
        yield cls.bl_label
        assert rna.translation_context == "Sparse2Dense", cls
    if issubclass(cls, (bpy.types.Operator, bpy.types.Menu)):
        yield rna.description
    for shown in rna.properties:
        ours = shown.is_runtime and shown.identifier.startswith(prefix)
        if ours and not shown.is_hidden and shown.name != shown.identifier:
            choices = shown.enum_items if shown.type == "ENUM" else ()
            for item in (shown, *choices):
                yield from (item.name, item.description)


def tooltips(root):
    for key, value in root.items():
        if isinstance(value, (float, bool, int)) and (
            tip := root.id_properties_ui(key).as_dict().get("description")
        ):
            yield tip


@check
def disabling_takes_everything_out():
    bpy.ops.preferences.addon_disable(module=PACKAGE)
    assert not hasattr(bpy.types, "S2D_PT_main")
    bpy.ops.preferences.addon_enable(module=PACKAGE)
    assert hasattr(bpy.types, "S2D_PT_main")


@check
def a_mannequin_wears_underwear_and_no_texture():
    new_scene(25)
    import_clip(hold_feet=False, body="MANNEQUIN")
    material = importlib.import_module(f"{PACKAGE}.s2d_addon.clip.mesh_material")
    assert material.looks(part("mesh")) == ["TEXTURED", "MANNEQUIN", "PLAIN"]
    assert material.shown_look(part("mesh")) == "MANNEQUIN"
    assert part("mesh").parent["measure_sex"] == 0.5


@check
def body_is_chosen_at_import_and_shown_by_clean_up():
    new_scene(25)
    import_clip(hold_feet=True, body="MAN")
    root = part("mesh").parent
    scene = importlib.import_module(f"{PACKAGE}.s2d_addon.clip.scene")
    cleanup = importlib.import_module(f"{PACKAGE}.s2d_addon.clip.cleanup")
    told = json.loads((scene.motion_folder(root) / "clip.json").read_text())
    assert told["edits"] == {"foot_lock": 1.0, "ground_snap": True, "measures": {"sex": 1.0}}
    assert root["measure_sex"] == 1.0
    assert not cleanup.is_pending(root, bpy.context.scene), "Clean-up shows what is applied"
    with np.load(scene.motion_folder(root) / "mesh.npz") as arrays:
        points, names = arrays["keypoints"], list(TRUTH["keypoint_names"])
    across = [names.index(f"{side}_shoulder") for side in ("left", "right")]
    of_man, captured = (
        np.linalg.norm(np.diff(each[:, across], axis=1), axis=-1).mean()
        for each in (points, TRUTH["keypoints"])
    )
    assert of_man > 1.03 * captured, "broad shoulders"
    assert bpy.ops.s2d.reset_edits() == {"FINISHED"}
    assert root["measure_sex"] < 1.0, "as captured"
