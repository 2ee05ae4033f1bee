# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside ``bpy``: installs the extension's zip and uses it as a user would, through its operators.

``python blender_session.py ZIP CLIP DECODED WORK RESULTS.json``: ``DECODED`` is what the command line made of
``CLIP``, with every vertex. Writes what became of each check: null, or why it failed.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

import bpy
import numpy as np
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

ZIP, CLIP, DECODED, WORK, RESULTS = map(Path, sys.argv[1:])
PACKAGE = "bl_ext.user_default.sparse2dense"
CHECKS = []

TRUTH = np.load(DECODED / "mesh.npz", allow_pickle=False)
VERTICES = TRUTH["vertices"][..., [0, 2, 1]] * np.array([1, 1, -1], np.float32)  # in Blender's axes
DESCRIPTION = json.loads((DECODED / "clip.json").read_text())
CLIP_FPS = DESCRIPTION["fps"][0] / DESCRIPTION["fps"][1]
START = 5


def check(function):
    CHECKS.append(function)
    return function


# ---- what the scene shows --------------------------------------------------------------------


def part(name):
    return next(item for item in bpy.data.objects if item.get("clip_part") == name)


def clip_frame(frame, start=START):
    """The clip's frame (a fraction) that a scene frame should show, worked out anew."""
    render = bpy.context.scene.render
    seconds = (frame - start) * render.fps_base / render.fps
    return min(max(seconds * CLIP_FPS, 0), len(VERTICES) - 1)


def shown_vertices(frame):
    bpy.context.scene.frame_set(frame)
    item = part("mesh").evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = item.to_mesh()
    points = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", points)
    item.to_mesh_clear()
    return points.reshape(-1, 3)


def expected_vertices(frame):
    time_ = clip_frame(frame)
    before = int(time_)
    after = min(before + 1, len(VERTICES) - 1)
    return VERTICES[before] + (time_ - before) * (VERTICES[after] - VERTICES[before])


def vertex_error(frames=(1, START, START + 1, START + 7, START + 12, 60, START + 2)):
    return max(np.abs(shown_vertices(frame) - expected_vertices(frame)).max() for frame in frames)


def shown_video_frame(frame):
    """Which frame of the decoded video a rendered picture through the clip's camera shows."""
    scene = bpy.context.scene
    scene.camera = part("camera")
    part("mesh").hide_render = True
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 1
    scene.cycles.use_denoising = False
    scene.cycles.pixel_filter_type = "BOX"
    scene.view_settings.view_transform = "Standard"
    scene.render.resolution_x, scene.render.resolution_y = DESCRIPTION["width"], DESCRIPTION["height"]
    scene.render.filepath = str(WORK / "picture.png")
    scene.frame_set(frame)
    bpy.ops.render.render(write_still=True)
    picture = read_picture(WORK / "picture.png")
    differences = [np.abs(picture.astype(float) - video).mean() for video in video_frames()]
    assert min(differences) < 6, f"the picture is none of the video's: {min(differences):.1f} levels off"
    return int(np.argmin(differences))


def read_picture(path):
    import cv2  # the extension's own, there once it is installed

    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)


def video_frames():
    import cv2

    capture = cv2.VideoCapture(str(DECODED / DESCRIPTION["files"]["video"]))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    assert len(frames) == DESCRIPTION["frames"]
    return frames


# ---- the user's hands ------------------------------------------------------------------------


def new_scene(fps=30):
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.context.scene.render.fps = fps


def import_clip(path=CLIP, **options):
    return bpy.ops.s2d.import_clip("EXEC_DEFAULT", True, filepath=str(path), start_frame=START, **options)


def reported_error(path):
    """Import what cannot be imported; return the error that Blender reports, and see that nothing is left."""
    before, on_disk = contents(), waiting()
    try:
        import_clip(path)
    except RuntimeError as error:
        said = str(error).strip().removeprefix("Error: ")
        assert contents() == before, "something was left in the file"
        assert waiting() == on_disk, "something was left on disk"
        assert "Traceback" not in said
        assert "\n" not in said, said
        return said
    raise AssertionError("no error was reported")


def contents():
    kinds = ("actions", "cameras", "collections", "images", "materials", "meshes", "objects")
    return {kind: sorted(item.name for item in getattr(bpy.data, kind)) for kind in kinds}


def waiting():
    folder = Path(bpy.utils.extension_path_user(PACKAGE, path="cache", create=True))
    return sorted(item.name for item in folder.iterdir())


# ---- the checks, in order --------------------------------------------------------------------


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
    import_clip(set_frame_rate=True, set_frame_range=True, set_resolution=True)
    scene = bpy.context.scene
    assert scene.render.fps / scene.render.fps_base == CLIP_FPS
    assert (scene.frame_start, scene.frame_end) == (START, START + DESCRIPTION["frames"] - 1)
    assert (scene.render.resolution_x, scene.render.resolution_y) == (256, 456)
    for frame, vertices in enumerate(VERTICES):
        assert np.abs(shown_vertices(START + frame) - vertices).max() < 1e-5


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
    for frame in (START, START + 1, START + 14, START + 6, 1, 90):
        shown = shown_video_frame(frame)
        assert abs(shown - clip_frame(frame)) <= 0.5
        assert np.abs(shown_vertices(frame) - expected_vertices(frame)).max() < 1e-5


@check
def mesh_and_video_line_up_through_the_camera():
    for width, height in ((256, 456), (1920, 1080), (1000, 1000)):
        new_scene()
        bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = width, height
        import_clip()
        bpy.context.view_layer.update()
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


def through_camera(item, point):
    return world_to_camera_view(bpy.context.scene, part("camera"), item.matrix_world @ Vector(point))[:2]


@check
def person_stands_on_the_floor_at_the_origin():
    new_scene()
    import_clip()
    bpy.context.view_layer.update()
    placed = shown_vertices(START) + np.array(part("mesh").matrix_world.translation)
    assert np.abs(placed[:, :2]).max() < 1.5
    assert 0 <= placed[:, 2].min() < 0.3
    assert 1 < placed[:, 2].max() < 2.3


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


@check
def saved_file_plays_after_its_folder_has_moved():
    home, moved = WORK / "önce 人", WORK / "sonra 人"
    home.mkdir()
    new_scene(24)
    import_clip()  # before the first save: the clip waits elsewhere, and saving takes it along
    bpy.ops.wm.save_as_mainfile(filepath=str(home / "first.blend"))
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


@check
def bake_keeps_every_position_without_the_cache():
    for kind, fps in (("EXPORTABLE", 24), ("FAST", 30), ("EXPORTABLE", 25), ("FAST", 60)):
        new_scene(fps)
        import_clip()
        bpy.ops.ed.undo_push(message="imported")
        assert bpy.ops.s2d.bake("EXEC_DEFAULT", True, kind=kind, tolerance=0) == {"FINISHED"}
        assert not part("mesh").modifiers
        assert part("mesh").data.shape_keys.use_relative == (kind == "EXPORTABLE")
        with cache_gone():
            assert vertex_error() < 1e-5, f"{kind}: {vertex_error()}"
        bpy.ops.ed.undo()
        assert [modifier.type for modifier in part("mesh").modifiers] == ["MESH_CACHE"]
        assert part("mesh").data.shape_keys is None
        assert vertex_error() < 1e-5


@contextlib.contextmanager
def cache_gone():
    folder = Path(bpy.utils.extension_path_user(PACKAGE, path="cache"))
    away = folder.with_name("away")
    folder.rename(away)
    try:
        yield
    finally:
        away.rename(folder)


@check
def bake_thins_keys_within_the_tolerance():
    for kind in ("EXPORTABLE", "FAST"):
        new_scene(25)
        import_clip()
        bpy.ops.s2d.bake(kind=kind, tolerance=50)
        assert 2 < len(part("mesh").data.shape_keys.key_blocks) < DESCRIPTION["frames"]
        distances = [
            np.linalg.norm(shown_vertices(START + frame) - VERTICES[frame], axis=1).max()
            for frame in range(DESCRIPTION["frames"])
        ]
        assert 1e-3 < max(distances) <= 0.05 + 1e-5


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


@contextlib.contextmanager
def while_at_work(action):
    """Call ``action`` with the running job, from aside, as soon as its worker shows progress."""
    jobs = sys.modules[f"{PACKAGE}.s2d_addon.operators"].Jobs

    def wait_and_act():
        while not (jobs.current and jobs.current.running and jobs.current.worker_pid and jobs.current.stage):
            time.sleep(0.005)
        action(jobs.current)

    shutil.rmtree(bpy.utils.extension_path_user(PACKAGE, path="cache"))  # so that there is work
    jobs.end()
    thread = threading.Thread(target=wait_and_act, daemon=True)
    thread.start()
    yield
    thread.join(10)


@check
def disabling_takes_everything_out():
    bpy.ops.preferences.addon_disable(module=PACKAGE)
    assert not hasattr(bpy.types, "S2D_PT_main")
    bpy.ops.preferences.addon_enable(module=PACKAGE)
    assert hasattr(bpy.types, "S2D_PT_main")


def main():
    installed = bpy.ops.extensions.package_install_files(
        filepath=str(ZIP), repo="user_default", enable_on_install=True
    )
    assert installed == {"FINISHED"}
    results = {}
    for function in CHECKS:
        started = time.perf_counter()
        try:
            function()
            results[function.__name__] = None
        except Exception:
            results[function.__name__] = traceback.format_exc()
        outcome = "failed" if results[function.__name__] else "passed"
        print(f"{function.__name__}: {outcome}, {time.perf_counter() - started:.1f} s", flush=True)
    RESULTS.write_text(json.dumps(results))


main()
sys.stdout.flush()
os._exit(0)  # some versions of bpy never come back from ending Python
