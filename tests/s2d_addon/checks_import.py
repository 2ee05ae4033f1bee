# SPDX-License-Identifier: GPL-3.0-or-later
"""Installing, importing, cancelling, bad files: through the operators."""

import importlib.util
import os
import signal
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


@check
def disabling_takes_everything_out():
    bpy.ops.preferences.addon_disable(module=PACKAGE)
    assert not hasattr(bpy.types, "S2D_PT_main")
    bpy.ops.preferences.addon_enable(module=PACKAGE)
    assert hasattr(bpy.types, "S2D_PT_main")
