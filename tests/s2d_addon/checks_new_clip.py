# SPDX-License-Identifier: GPL-3.0-or-later
"""Before a movie is encoded: its strip, the people in it; several movies; the film as backdrop, its sound."""

import importlib
import os
import shutil
from fractions import Fraction
from pathlib import Path

import bpy
import numpy as np
from session import PACKAGE, START, WORK, check, new_scene, part, read_picture

MOVIE = Path(__file__).parents[2] / "inference" / "data" / "balance.mp4"
DATA = Path(os.environ.get("S2D_DATA", "/nowhere"))
TWO_PEOPLE = DATA / "multiview" / "two_cam01.mp4"


def module(name):
    return importlib.import_module(f"{PACKAGE}.s2d_addon.{name}")


def chosen():
    return bpy.context.window_manager.s2d_new_clip


def error_of(operator, **options):
    try:
        operator("EXEC_DEFAULT", **options)
    except RuntimeError as error:
        return str(error)
    raise AssertionError("no error was reported")


@check
def movie_shows_its_strip_and_the_person_who_is_chosen_is_captured():
    if not TWO_PEOPLE.is_file():
        print(f"not checked: S2D_DATA names no folder with {TWO_PEOPLE.name}")
        return
    new_scene(25)
    box, movie = module("new_clip"), WORK / "two people.mp4"
    shutil.copy(TWO_PEOPLE, movie)
    assert not bpy.types.S2D_PT_new_clip.poll(bpy.context)
    assert bpy.ops.s2d.new_clip("EXEC_DEFAULT", filepath=str(movie)) == {"FINISHED"}
    clip, options = box.Current.clip, chosen()
    assert bpy.types.S2D_PT_new_clip.poll(bpy.context)
    assert abs(clip.seconds - 100 / 60) < 0.02 and clip.seen["size"] == [1088, 1920]
    assert clip.seen["metadata_fov"] is None
    strip = read_picture(clip.folder / clip.seen["strip"]["file"])
    cells = [cell for row in np.array_split(strip, 2) for cell in np.array_split(row, 4, axis=1)]
    assert all(cell.std() > 20 for cell in cells)
    apart = [np.abs(one[:160, :90].astype(float) - cells[0][:160, :90]).mean() for one in cells[1:]]
    assert min(apart) > 2, "the man moves"
    assert all(read_picture(clip.folder / person["file"]).std() > 20 for person in clip.people)
    # The woman is seen larger, to the right below the man.
    woman, man = (np.mean(person["looks"], axis=0) for person in clip.people)
    assert man[1] < 0.5 < woman[1] and man[2] < woman[2]
    # In and out keep their order, within the movie.
    options.end = 99
    assert abs(options.end - clip.seconds) < 1e-5
    options.start = 99
    assert 0 < options.start < options.end
    options.start, options.end = 0.4, 1.2
    shown = box._Icons.held[f"strip {box._Icons.loads}"]
    width, height = shown.image_size
    pixels = np.empty(width * height * 4, np.float32)
    shown.image_pixels_float.foreach_get(pixels)
    marked = pixels.reshape(height, width, 4)[::-1, :, :3]
    bright = [part.mean() for row in np.array_split(marked, 2) for part in np.array_split(row, 4, axis=1)]
    assert max(bright[0], bright[1], bright[6], bright[7]) < 0.6 * min(bright[2:5]), bright
    options.size, options.fps, options.fov, options.smoothing = 128, 20, 0, 1
    estimate, frames = module("engine.estimate"), clip.encoding().frames
    assert frames == 16
    guess, measured = estimate.estimate(clip.encoding(), WORK / "none.json")
    assert 1 < guess < 60 and not measured
    assert bpy.ops.s2d.choose_person(index=1) == {"FINISHED"}
    folder = clip.folder
    assert bpy.ops.s2d.encode_new("EXEC_DEFAULT", True, start_frame=START) == {"FINISHED"}
    assert not folder.exists() and not bpy.types.S2D_PT_new_clip.poll(bpy.context)
    root = part("camera").parent
    assert root["clip_frames"] == 16 and abs(root["clip_film_start"] - 0.4) < 1e-6
    # The keypoints of the one who was chosen are projected to where he is.
    info, cache = root["clip_info"], Path(bpy.path.abspath(part("mesh").modifiers[0].filepath)).parent
    with np.load(cache / "mesh.npz") as mesh:
        names, points = list(mesh["keypoint_names"]), mesh["keypoints"].mean(axis=0)
    hip = points[[names.index("left_hip"), names.index("right_hip")]].mean(axis=0)
    seen = hip[:2] / hip[2] * info["focal"] + info["centre"]
    assert np.abs(seen / info["size"] - man[1:]).max() < 0.06
    assert estimate.estimate(box.Encoding(16, 20, 1088 * 1920, 128 * 226), box.measured_file())[1]
    # Somebody who is never there between in and out is not encoded.
    bpy.ops.s2d.new_clip("EXEC_DEFAULT", filepath=str(movie))
    box.Current.clip.people[1]["looks"] = [[0.1, 0.4, 0.4]]
    chosen().start, chosen().person = 0.5, 1
    assert not bpy.ops.s2d.encode_new.poll()
    assert bpy.ops.s2d.discard_new() == {"FINISHED"} and box.Current.clip is None


def turned_film(path, first, count):
    """Write frames of the packaged film as a phone does: lying, with how they are turned, and with a tone."""
    import av  # the extension's own, there once it is installed

    with av.open(str(MOVIE)) as film:
        pictures = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    pictures = pictures[first : first + count]
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=60, options={"crf": "12"})
        lying = [np.ascontiguousarray(np.rot90(picture)) for picture in pictures]
        video.height, video.width = lying[0].shape[:2]
        video.pix_fmt = "yuv420p"
        video.set_display_rotation(-90)
        sound = container.add_stream("aac", rate=48_000, layout="mono")
        for picture in lying:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        tone = np.sin(np.arange(count * 800) / 20).astype(np.float32)[None]
        piece = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        piece.sample_rate, piece.time_base, piece.pts = 48_000, Fraction(1, 48_000), 0
        container.mux(sound.encode(piece))
        container.mux(sound.encode(None))
    return pictures


def shown_at(frame, plane, size):
    """The picture on the plane as Blender renders it through the clip's camera under AgX: RGB, 0 to 255."""
    scene = bpy.context.scene
    scene.frame_set(frame)
    scene.camera = part("camera")
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = 1, False
    scene.cycles.pixel_filter_type = "BOX"
    scene.view_settings.view_transform = "AgX"
    scene.render.resolution_x, scene.render.resolution_y = size
    scene.render.filepath = str(WORK / "backdrop.png")
    bpy.ops.render.render(write_still=True)
    return read_picture(WORK / "backdrop.png")[..., ::-1].astype(float)


def sound_is_trimmed_to_the_clip(root):
    """It begins with the clip, from its in to its out point."""
    if not bpy.app.build_options.audaspace:
        assert "without sound" in error_of(bpy.ops.s2d.add_sound)
        return
    root["clip_in"], root["clip_out"] = 10, 29
    assert bpy.ops.s2d.add_sound() == {"FINISHED"}
    assert bpy.ops.s2d.add_sound() == {"FINISHED"}
    editor = bpy.context.scene.sequence_editor
    (strip,) = editor.strips if hasattr(editor, "strips") else editor.sequences
    names = ("left_handle", "right_handle") if hasattr(strip, "left_handle") else ()
    names = names or ("frame_final_start", "frame_final_end")
    assert [getattr(strip, name) for name in names] == [START, START + 10]
    assert abs(strip.frame_start - (START - 5)) <= 1
    root["speed"] = 0.5
    assert "Speed" in error_of(bpy.ops.s2d.add_sound)
    root["speed"] = 1.0


@check
def folder_of_movies_becomes_clips_and_the_film_their_backdrop():
    import cv2

    new_scene(30)
    folder = WORK / "takes ö"
    folder.mkdir()
    pictures = turned_film(folder / "turned.mp4", 0, 45)
    (folder / "bad.mov").write_bytes(b"no movie at all" * 100)
    (folder / "done.mp4").write_bytes(b"is not read")
    (folder / "done.s2d").write_bytes(b"is not read")
    (folder / "notes.txt").write_text("no movie")
    assert bpy.ops.s2d.new_clip("EXEC_DEFAULT", filepath=f"{folder}/") == {"FINISHED"}
    assert [movie.name for movie in module("new_clip").Current.clip.movies] == ["bad.mov", "turned.mp4"]
    chosen().size, chosen().fps, chosen().sex = 128, 0, "MAN"
    said = error_of(bpy.ops.s2d.encode_new, start_frame=START, set_scene=False)
    assert "bad.mov" in said and "turned" not in said, said
    assert sorted(path.name for path in folder.glob("*.s2d")) == ["done.s2d", "turned.s2d"]
    assert "holds no movie" in error_of(bpy.ops.s2d.encode_video, filepath=f"{WORK / 'user'}/")

    root, plane = part("camera").parent, part("video")
    assert root["clip_film"] == str(folder / "turned.mp4")
    assert root["measure_sex"] > 0.8
    bpy.context.view_layer.objects.active = root
    assert bpy.ops.s2d.show_picture(mode="FILM") == {"FINISHED"}
    images = {node.image for node in plane.active_material.node_tree.nodes if node.type == "TEX_IMAGE"}
    assert {Path(image.filepath).name for image in images} == {"film.mp4"}
    # Upright, and in step: of a film of 60 frames a second a scene of 30 shows every other.
    part("mesh").hide_render = True
    first, size = round(root["clip_film_start"] * 60), (180, 320)
    small = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(float) for picture in pictures]
    for frame in (START, START + 4, START + 11):
        shown = shown_at(frame, plane, size)
        apart = [np.abs(shown - picture).mean() for picture in small]
        due = min(first + 2 * (frame - START), first + root["clip_frames"] - 1)
        assert abs(int(np.argmin(apart)) - due) <= 1 and min(apart) < 8, (np.argmin(apart), due, min(apart))

    sound_is_trimmed_to_the_clip(root)

    # It is kept with the file; gone, the synthesised video takes its place.
    blend = WORK / "backdrop.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    (film,) = (WORK / "backdrop_s2d").rglob("film.mp4")
    for gone in (False, True):
        if gone:
            film.unlink()
        bpy.ops.wm.open_mainfile(filepath=str(blend))
        plane = part("video")
        paths = {
            Path(bpy.path.abspath(image.filepath)) for image in module("clip.picture").picture_images(plane)
        }
        assert paths == {film.with_name("video.webm") if gone else film}
    bpy.context.view_layer.objects.active = part("camera").parent
    (folder / "turned.mp4").rename(folder / "moved.mp4")
    assert "choose the film" in error_of(bpy.ops.s2d.show_picture, mode="FILM")
    assert bpy.ops.s2d.show_picture(mode="FILM", filepath=str(folder / "moved.mp4")) == {"FINISHED"}
    assert film.is_file()
    assert bpy.ops.s2d.show_picture(mode="SYNTHESISED") == {"FINISHED"}
    assert not module("clip.picture").shows_film(part("video"))
