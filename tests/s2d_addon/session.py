# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside ``bpy``: installs the extension's zip and makes the checks that lie beside this file.

``python session.py ZIP CLIP DECODED WORK RESULTS.json [CHECK...]``: ``DECODED`` is what the command line made
of ``CLIP``, with every vertex. Writes what became of each check, or of those named: null, or why it failed.
The modules ``checks_*.py`` use the extension as a user would, through its operators; what they share is here.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import sys
import threading
import time
import traceback
from pathlib import Path

import bpy
import numpy as np
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

sys.modules["session"] = sys.modules[__name__]  # so that the checks import this very module
ZIP, CLIP, DECODED, WORK, RESULTS = map(Path, sys.argv[1:6])
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


def shown_vertices(frame, item=None):
    """The vertices of the clip's mesh, or of ``item``, as they are shown at a frame (or a fraction)."""
    bpy.context.scene.frame_set(int(frame), subframe=frame % 1)
    item = (item or part("mesh")).evaluated_get(bpy.context.evaluated_depsgraph_get())
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


def through_camera(item, point):
    return world_to_camera_view(bpy.context.scene, part("camera"), item.matrix_world @ Vector(point))[:2]


# ---- the user's hands ------------------------------------------------------------------------


def new_scene(fps=30):
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.context.scene.render.fps = fps


def import_clip(path=CLIP, **options):
    options = {"start_frame": START, "hold_feet": False, **options}  # as the decoder has it
    return bpy.ops.s2d.import_clip("EXEC_DEFAULT", True, filepath=str(path), **options)


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


@contextlib.contextmanager
def cache_gone():
    folder = Path(bpy.utils.extension_path_user(PACKAGE, path="cache"))
    away = folder.with_name("away")
    folder.rename(away)
    try:
        yield
    finally:
        away.rename(folder)


@contextlib.contextmanager
def while_at_work(action):
    """Call ``action`` with the running job, from aside, as soon as its worker shows progress."""
    jobs = sys.modules[f"{PACKAGE}.s2d_addon.importing"].IMPORTING

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


def main():
    sys.path.insert(0, str(Path(__file__).parent))  # isolated Python does not do it by itself
    installed = bpy.ops.extensions.package_install_files(
        filepath=str(ZIP), repo="user_default", enable_on_install=True
    )
    assert installed == {"FINISHED"}
    for path in sorted(Path(__file__).parent.glob("checks_*.py")):
        importlib.import_module(path.stem)
    results = {}
    for function in CHECKS:
        name = f"{function.__module__.removeprefix('checks_')}-{function.__name__}"
        if sys.argv[6:] and name not in sys.argv[6:]:
            continue
        started = time.perf_counter()
        try:
            function()
            results[name] = None
        except Exception:
            results[name] = traceback.format_exc()
        outcome = "failed" if results[name] else "passed"
        print(f"{name}: {outcome}, {time.perf_counter() - started:.1f} s", flush=True)
        if results[name]:
            print(results[name], flush=True)
    RESULTS.write_text(json.dumps(results))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # some versions of bpy never come back from ending Python
