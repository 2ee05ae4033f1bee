# SPDX-License-Identifier: GPL-3.0-or-later
"""An imported clip: its place in time and space, and what keeps it alive."""

import bpy
import numpy as np
from mathutils import Vector
from session import (
    DESCRIPTION,
    START,
    VERTICES,
    WORK,
    cache_gone,
    check,
    clip_frame,
    expected_vertices,
    import_clip,
    new_scene,
    part,
    shown_vertices,
    shown_video_frame,
    through_camera,
    vertex_error,
)


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
