# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a Blender with its window: uses the extension as a user would, and looks at it.

``blender --python window_session.py -- CLIP MOVIE WORK [PART...]``: takes a clip whose video is long in the
drawing from ``WORK/long.s2d``, and writes ``WORK/results.json``, ``WORK/picture.png`` (what the 3D view shows
through the clip's camera) and a picture of the window in each state of the panel. A timer drives it, so that
Blender's own loop runs in between, as for a user.
"""

import contextlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

import bpy

CLIP, MOVIE, WORK, *PARTS = sys.argv[sys.argv.index("--") + 1 :]
CLIP, MOVIE, WORK = Path(CLIP), Path(MOVIE), Path(WORK)
LONG = WORK / "long.s2d"
PACKAGE = "bl_ext.user_default.sparse2dense"
TICK = 0.005
PATIENCE = 300
importing = importlib.import_module(f"{PACKAGE}.s2d_addon.importing")
redecoding = importlib.import_module(f"{PACKAGE}.s2d_addon.clip.redecoding")
results = {"pictures": {}}
ours = {}  # longest call into the extension by name: seconds by the clock, and of processor time
gaps = []  # between two turns of Blender's loop while an import is at work, seconds


# ---- watching --------------------------------------------------------------------------------


@contextlib.contextmanager
def timed(name):
    started = time.perf_counter(), time.thread_time()
    try:
        yield
    finally:
        took = time.perf_counter() - started[0], time.thread_time() - started[1]
        if importing.IMPORTING.running():
            ours[name] = list(map(max, ours.get(name, (0, 0)), took))


def watch_the_extension():
    """Time everything of the extension that Blender calls while an import runs."""
    for name in ("_tick", "_tell", "_redraw"):
        setattr(importing, name, timed(name)(getattr(importing, name)))
    for name in ("build_clip", "update_clip"):
        setattr(importing.scene, name, timed(name)(getattr(importing.scene, name)))
    for name in dir(bpy.types):
        cls = getattr(bpy.types, name)
        if getattr(cls, "__module__", "").startswith(PACKAGE):
            for method in {"draw", "execute", "poll"} & set(vars(cls)):
                watch_method(cls, method)


def watch_method(cls, method):
    original = getattr(cls, method)
    name = f"{cls.__name__}.{method}"

    def of_class(_cls, context):
        with timed(name):
            return original(context)

    def of_object(self, context):  # Blender counts the parameters
        with timed(name):
            return original(self, context)

    setattr(cls, method, classmethod(of_class) if method == "poll" else of_object)


def view3d():
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    return {"window": window, "area": area, "region": next(r for r in area.regions if r.type == "WINDOW")}


def in_view(operator, *arguments, **options):
    with bpy.context.temp_override(**view3d()):
        return sorted(operator(*arguments, **options))


def photograph(name):
    """Keep a picture of the window, and where in it the panel is."""
    path = WORK / f"{name}.png"
    if shutil.which("import"):  # ImageMagick's: Blender itself reads nothing but black from software OpenGL
        subprocess.run(["import", "-window", "root", path], check=True)
    else:
        in_view(bpy.ops.screen.screenshot, filepath=str(path))
    window = bpy.context.window_manager.windows[-1]
    boxes = {"window": window}
    if name.startswith("panel"):
        boxes["view"] = view3d()["area"]
        boxes["panel"] = next(region for region in boxes["view"].regions if region.type == "UI")
    results["pictures"][name] = {kind: (b.x, b.y, b.width, b.height) for kind, b in boxes.items()}


# ---- the user's hands ------------------------------------------------------------------------


def work(*paths):
    """Import files as the file browser does; returns what the operator answered."""
    files = [{"name": path.name} for path in paths]
    return in_view(
        bpy.ops.s2d.import_clip, "EXEC_DEFAULT", directory=f"{paths[0].parent}/", files=files, hold_feet=False
    )


def until(condition):
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < PATIENCE, importing.Imports.current
        yield


def placeholders():
    return [item for item in bpy.data.objects if item.get("clip_part") == "mesh"]


def moving():
    return [item for item in placeholders() if item.modifiers]


def at_work():
    return importing.IMPORTING.running() or importing.Imports.current is not None


def job():
    return importing.IMPORTING.current


def task():
    return job().tasks[0]


def forget_clips():
    """Remove everything, and what was decoded, so that an import has work to do."""
    for item in list(bpy.data.objects):
        bpy.data.objects.remove(item)
    bpy.data.orphans_purge(do_recursive=True)
    bpy.ops.s2d.clear_cache()


# ---- the ways through ------------------------------------------------------------------------


def imports_while_the_window_lives():
    results["background"], results["online"] = bpy.app.background, bpy.app.online_access
    area = view3d()["area"]
    area.spaces[0].show_region_ui = True
    forget_clips()
    yield from pause(1)
    panel = next(region for region in area.regions if region.type == "UI")
    panel.active_panel_category = bpy.types.S2D_PT_main.bl_category
    yield from pause(1)
    photograph("panel-empty")
    started = time.monotonic()
    results["answer"] = work(CLIP)
    yield from until(placeholders)
    results["placeholder_seconds"] = time.monotonic() - started
    results["placeholder"] = sorted(item.get("clip_part", "root") for item in bpy.data.objects)
    yield from until(moving)
    results["motion_seconds"] = time.monotonic() - started
    yield from until(lambda: task().finished or job().stage == "video")
    yield from until(lambda: importing.Imports.current is None or importing.Imports.current.told)
    photograph("panel-running")
    in_view(bpy.ops.mesh.primitive_cube_add, "EXEC_DEFAULT", True)
    bpy.context.scene.frame_set(5)
    in_view(bpy.ops.ed.undo)  # to the time when nothing moved yet
    yield from until(lambda: not at_work())
    results["video_seconds"] = time.monotonic() - started
    results["errors"] = job().errors
    results["moving"] = len(moving())
    results["videos"] = len({image.filepath for image in bpy.data.images if image.source == "MOVIE"})
    yield from pause(1)
    results["solid_shows"] = view3d()["area"].spaces[0].shading.color_type
    photograph("panel-done")
    in_view(bpy.ops.ed.undo)
    results["after_undo"] = len(placeholders())
    in_view(bpy.ops.ed.redo)
    yield


def shows_mesh_over_video():
    in_view(bpy.ops.s2d.match_scene, frame_rate=True, resolution=True)
    in_view(bpy.ops.s2d.view_clip)
    view3d()["area"].spaces[0].overlay.show_overlays = False
    bpy.context.scene.frame_set(8)
    for mode, name in (("PLAIN", "plain.png"), ("TEXTURED", "picture.png")):
        in_view(bpy.ops.s2d.show_look, mode=mode)
        yield from pause(0.5)
        bpy.context.scene.render.filepath = str(WORK / name)
        in_view(bpy.ops.render.opengl, write_still=True, view_context=True)
    view3d()["area"].spaces[0].overlay.show_overlays = True


def bakes_to_an_armature():
    view3d()["area"].spaces[0].region_3d.view_perspective = "PERSP"
    results["baked"] = in_view(bpy.ops.s2d.bake, kind="ARMATURE")
    armature = next(item for item in bpy.data.objects if item.type == "ARMATURE")
    armature.show_in_front = True
    in_view(bpy.ops.view3d.view_selected)
    yield from pause(1)
    photograph("panel-baked")


def shows_its_preferences():
    bpy.ops.preferences.addon_show(module=PACKAGE)
    yield from pause(2)
    photograph("preferences")
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[-1]):
        bpy.ops.wm.window_close()
    yield


def says_what_is_wrong_with_a_file():
    bad = WORK / "not a clip.s2d"
    bad.write_bytes(b"no clip at all" * 100)
    work(bad)
    yield from until(lambda: not at_work())
    yield from pause(0.5)
    results["said"] = job().errors
    photograph("panel-error")


def stands_all_clips_before_any_video_and_cancels():
    forget_clips()
    clips = [WORK / name for name in ("a second clip.s2d", "ikinci 人.s2d")]
    for clip in clips:
        clip.write_bytes(LONG.read_bytes())
    work(*clips)
    yield from until(lambda: len(moving()) == 2)
    results["videos_before_all_moved"] = sum(task.finished for task in job().tasks)
    folders = [task.folder for task in job().tasks]
    started, pid = time.monotonic(), job().worker_pid
    in_view(bpy.ops.s2d.cancel)
    job().wait()
    results["cancel_seconds"] = time.monotonic() - started
    yield from until(lambda: not at_work())
    results["after_cancel"] = {
        "objects": len(bpy.data.objects),
        "folders": sum(folder.exists() for folder in folders),
        "worker": pid is not None and Path(f"/proc/{pid}").exists(),
    }


def encodes_a_movie_until_cancelled():
    movie = WORK / "filmed.mp4"
    shutil.copy(MOVIE, movie)
    in_view(bpy.ops.s2d.encode_video, "EXEC_DEFAULT", filepath=str(movie))
    yield from until(lambda: job().stage == "people" and job().done)
    yield from pause(0.5)
    photograph("panel-encoding")
    in_view(bpy.ops.s2d.cancel)
    job().wait()
    results["encoded"] = movie.with_suffix(".s2d").exists()
    yield from until(lambda: not at_work())


def lets_go_of_what_the_user_deletes():
    work(LONG)
    yield from until(lambda: placeholders() and job().worker_pid)
    results["worker_of_deleted"] = job().worker_pid is not None
    for item in list(bpy.data.objects):
        bpy.data.objects.remove(item)
    yield from until(lambda: not at_work())
    results["after_deleting"] = {
        "objects": len(bpy.data.objects),
        "errors": job().errors,
    }


def ends_with_its_file():
    forget_clips()
    work(LONG)
    yield from until(lambda: job().worker_pid)
    pid = job().worker_pid
    bpy.ops.wm.read_homefile(app_template="")
    yield
    results["after_loading"] = {
        "worker": Path(f"/proc/{pid}").exists(),
        "import": job() is not None,
    }


def finishes_what_was_saved_while_its_video_was_drawn():
    """Save twice while a video is drawn, and open the file again, with and without its decoded files."""
    forget_clips()
    work(LONG)
    yield from until(lambda: moving() and job().stage == "video" and job().done)
    home = WORK / "home"
    home.mkdir()
    for _ in range(2):
        bpy.ops.wm.save_as_mainfile(filepath=str(home / "scene.blend"))
        yield from pause(0.5)
    bpy.ops.wm.open_mainfile(filepath=str(home / "scene.blend"))
    bpy.ops.s2d.clear_cache()
    results["reopened"] = {"plays": plays(home)}
    yield from until(redecoding.REDECODING.running)
    results["reopened"]["worker"] = True
    redecoding.REDECODING.end()
    shutil.rmtree(home / "scene_s2d")
    bpy.ops.wm.open_mainfile(filepath=str(home / "scene.blend"))
    yield from until(lambda: plays(home))
    results["packed"] = {
        "at_work": redecoding.REDECODING.running(),
        "videos": len(list(home.rglob("*.webm"))),
    }
    area = view3d()["area"]
    area.spaces[0].show_region_ui = True
    yield from pause(1)
    panel = next(region for region in area.regions if region.type == "UI")
    panel.active_panel_category = bpy.types.S2D_PT_main.bl_category
    yield from pause(1)
    photograph("panel-packed")
    redecoding.REDECODING.current.cancel()
    yield from until(lambda: not redecoding.REDECODING.running())
    results["packed"]["offered"] = bpy.ops.s2d.restore_clips.poll()


def plays(home):
    """Whether the mesh plays a file that is there, inside ``home``."""
    bpy.context.scene.frame_set(7)
    files = [Path(bpy.path.abspath(item.modifiers[0].filepath)) for item in moving()]
    return len(files) == 1 and files[0].is_file() and files[0].resolve().is_relative_to(home)


def shows_the_clips_camera_onion_skin_and_clean_up():
    yield from imports_with_open("S2D_PT_onion", "S2D_PT_cleanup")
    in_view(bpy.ops.s2d.view_clip)
    yield from pause(1)
    photograph("panel-camera")
    in_view(bpy.ops.s2d.onion_skin)
    bpy.context.object.parent["edit_mirror"] = True  # set, but not applied yet
    yield from pause(1)
    photograph("panel-clean-up")
    in_view(bpy.ops.s2d.place_video, mode="BESIDE")
    in_view(bpy.ops.view3d.view_axis, type="FRONT")
    in_view(bpy.ops.view3d.view_all)
    yield from pause(1)
    photograph("panel-beside")


def shows_a_movie_before_it_is_encoded_and_as_backdrop():
    """Drop a movie, look at its strip and people, encode it, and show the film behind the mesh."""
    box, film = (importlib.import_module(f"{PACKAGE}.s2d_addon.{name}") for name in ("new_clip", "clip.film"))
    yield from opens_the_tab()
    # As Blender drops it, once its menu was asked what to do with movies.
    dropped = {"directory": f"{WORK}/", "files": [{"name": "people.mp4"}]}
    with bpy.context.temp_override(**view3d()):
        assert bpy.types.S2D_FH_movie.poll_drop(bpy.context)
    results["looking"] = in_view(bpy.ops.s2d.new_clip, "INVOKE_DEFAULT", **dropped)
    yield from until(lambda: box.Current.clip.people is not None and not box.Current.clip.job.running)
    options = bpy.context.window_manager.s2d_new_clip
    options.start, options.end = 0.4, min(1.2, box.Current.clip.seconds)
    if len(box.Current.clip.people) > 1:
        in_view(bpy.ops.s2d.choose_person, index=1)
    yield from pause(1)
    photograph("panel-before-encoding")
    icons = [box._Icons.of(name) for name in ("strip", *(it["file"] for it in box.Current.clip.people))]
    results["icons"] = 0 not in icons
    in_view(bpy.ops.s2d.encode_new, "INVOKE_DEFAULT")
    yield from until(lambda: not at_work())
    results["encoded_errors"] = job().errors
    in_view(bpy.ops.s2d.view_clip)
    results["filming"] = in_view(bpy.ops.s2d.show_picture, "EXEC_DEFAULT", mode="FILM")
    yield from until(lambda: not film.FILMING.running())
    yield from pause(1)
    bpy.context.scene.frame_set(12)
    yield from pause(1)
    photograph("panel-film")
    plane = next(item for item in bpy.data.objects if item.get("clip_part") == "video")
    results["film_shown"] = film.picture.shows_film(plane)


def shows_motion_on_the_users_armature():
    yield from imports_with_open("S2D_PT_retarget")
    in_view(bpy.ops.s2d.bake, kind="ARMATURE")
    baked = next(item for item in bpy.data.objects if item.type == "ARMATURE")
    theirs = bpy.data.objects.new("My Character", baked.data.copy())
    bpy.context.collection.objects.link(theirs)
    theirs.location = (-1.2, 0, 0)
    theirs.show_in_front = True
    in_view(bpy.ops.s2d.unbake)
    bpy.context.scene.s2d_retarget.target = theirs
    in_view(bpy.ops.s2d.retarget)
    theirs.select_set(True)
    in_view(bpy.ops.view3d.view_axis, type="FRONT")
    in_view(bpy.ops.view3d.view_selected)
    yield from pause(1)
    photograph("panel-own-character")


def speaks_the_users_language():
    view = bpy.context.preferences.view
    before, results["languages"] = view.language, {}
    for language in ("de_DE", "ja_JP"):
        view.language = language
        label = bpy.app.translations.pgettext_iface("Apply to Armature", "Sparse2Dense")
        try:
            in_view(bpy.ops.s2d.import_clip, "EXEC_DEFAULT", directory=f"{WORK}/")
        except RuntimeError as error:
            results["languages"][language] = [label, str(error)]
        yield from pause(1)
        photograph(f"panel-{language}")
    view.language = before


def imports_with_open(*names):
    """Import into a new window in which only these panels of a clip are open."""
    panels = importlib.import_module(f"{PACKAGE}.s2d_addon.clip.ui").ClipPanel.__subclasses__()
    panels = [cls for cls in panels if cls.bl_parent_id == "S2D_PT_clip"]
    for cls in panels:
        bpy.utils.unregister_class(cls)
        cls.bl_options = set() if cls.__name__ in names else {"DEFAULT_CLOSED"}
        bpy.utils.register_class(cls)
    yield from opens_the_tab()
    work(CLIP)
    yield from until(lambda: not at_work())
    bpy.context.scene.frame_set(12)


def opens_the_tab():
    """Begin anew, with nothing in the scene and the tab open."""
    bpy.ops.wm.read_homefile(app_template="")
    yield from pause(1)
    for item in list(bpy.data.objects):
        bpy.data.objects.remove(item)
    area = view3d()["area"]
    area.spaces[0].show_region_ui = True
    yield from pause(1)
    panel = next(region for region in area.regions if region.type == "UI")
    panel.active_panel_category = bpy.types.S2D_PT_main.bl_category
    yield from pause(0.5)


def pause(seconds):
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        yield


def session():
    watch_the_extension()
    for part in (
        imports_while_the_window_lives,
        shows_mesh_over_video,
        bakes_to_an_armature,
        shows_its_preferences,
        says_what_is_wrong_with_a_file,
        stands_all_clips_before_any_video_and_cancels,
        encodes_a_movie_until_cancelled,
        lets_go_of_what_the_user_deletes,
        ends_with_its_file,
        finishes_what_was_saved_while_its_video_was_drawn,
        shows_the_clips_camera_onion_skin_and_clean_up,
        shows_motion_on_the_users_armature,
        shows_a_movie_before_it_is_encoded_and_as_backdrop,
        speaks_the_users_language,
    ):
        if PARTS and part.__name__ not in PARTS:
            continue
        started = time.monotonic()
        yield from part()
        print(f"{part.__name__}: {time.monotonic() - started:.1f} s", flush=True)


steps = session()
turns = []  # when this session let go of Blender's loop


def tick():
    if turns and importing.IMPORTING.running():
        gaps.append(time.perf_counter() - turns[-1])
    try:
        next(steps)
        turns.append(time.perf_counter())
        return TICK
    except StopIteration:
        pass
    except Exception:
        results["failure"] = traceback.format_exc()
    results["ours"] = ours
    results["gaps"] = sorted(gaps)[-20:]
    (WORK / "results.json").write_text(json.dumps(results, indent=1))
    os._exit(0)


bpy.context.preferences.view.show_splash = False
bpy.app.timers.register(tick, first_interval=2, persistent=True)
