# SPDX-License-Identifier: GPL-3.0-or-later
"""The film that a clip was made of, in place of the synthesised video, and its sound.

The engine makes a film of the clip's own frames of it, ``film.mp4`` beside the clip's other files: upright,
in a screen's colours, from where the clip begins and at its rate. So it is in step as the synthesised video
is, whatever the user's film is like. As with an import, nothing of Blender's is kept while the engine works.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import bpy
import numpy as np
from bpy.app.handlers import persistent

from ..engine import cache, settings
from ..engine.decoded import CLIP_FILE, DecodedClip, read_decoded
from ..engine.job import FILMING, Engine, WorkerJob
from ..registering import registration
from ..translating import say
from ..typed import OperatorResult, present, windows
from . import picture, redecoding, scene
from .storage import link_path
from .ui import ClipOperator, active_clip, draw_messages, redraw_panels, stage_text

FILM, FILM_START = "clip_film", "clip_film_start"
"""Custom properties of a clip's empty: the user's film, and the second of it at which the clip begins."""

_SOUND = "clip_film_sound"  # on the empty: whether that film has sound, once it was made ready
_SHOWN = "clip_shows_film"  # on the empty: whether the plane is to show the film
_STRIP_OF = "clip"  # on a strip of the sequencer: the name of the clip whose sound it is
_TICK_SECONDS = 0.1


class FilmJob(WorkerJob):
    """The making of a clip's ``film.mp4``: of which clip, in which folder, and if its sound is wanted."""

    def __init__(
        self,
        engine: Engine,
        root: bpy.types.Object,
        folder: Path,
        film: Path,
        start: float | None,
        sound: bool,
    ) -> None:
        begin = [] if start is None else ["--start", f"{start:.6f}"]
        clip = folder / CLIP_FILE
        # The folder is the add-on's own, as the clip's copy in it says.
        super().__init__(engine, "backdrop", str(clip), str(film), "-o", str(folder), *begin, "--force")
        self.root, self.name, self.sound = root.session_uid, root.name, sound
        self.film, self.folder = film, folder


def remember_film(root: bpy.types.Object, film: Path, start: float | None) -> None:
    """Note which film a clip was encoded from, and at which second of it it begins, if that is known."""
    root[FILM] = str(film)
    if start is not None:
        root[FILM_START] = start


class _FilmOperator(ClipOperator):
    """An operator that needs the clip's film, which is made ready where it is not."""

    filepath: Annotated[
        str,
        bpy.props.StringProperty(
            name="Film",
            description="The film that the clip was made of",
            subtype="FILE_PATH",
            options={"SKIP_SAVE"},
        ),
    ]
    filter_movie: Annotated[bool, bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})]
    filter_folder: Annotated[bool, bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})]

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow it on a clip with pictures, while the engine rests."""
        if not super().poll(context):
            return False
        root = active_clip(context)
        if scene.find_part(root, "video") is None:
            cls.poll_message_set(say("The clip has no pictures, or its plane was deleted"))
            return False
        if redecoding.busy():
            cls.poll_message_set(say("A clip is being decoded: wait for it, or cancel it"))
            return False
        return True

    def ask(self, context: bpy.types.Context) -> OperatorResult | None:
        """Ask for the film where it is not known; None where it is."""
        root = active_clip(context)
        if _ready(root) or _known_film(root):
            return None
        present(context.window_manager).fileselect_add(self)
        return {"RUNNING_MODAL"}

    def make(self, context: bpy.types.Context, sound: bool) -> OperatorResult:
        """Have the engine make the film ready; without a window, wait for it and show it."""
        root = active_clip(context)
        given = Path(bpy.path.abspath(self.filepath)) if self.filepath else _known_film(root)
        if given is None or not given.exists():
            film = given or root.get(FILM) or say("The film")
            said = say("{film} is not there: choose the film that the clip was made of.", film=film)
            self.report({"ERROR"}, said)
            return {"CANCELLED"}
        known = root.get(FILM_START) if str(given) == root.get(FILM) else None
        folder = scene.clip_folder(root)
        if not (folder / CLIP_FILE).is_file():
            said = say("{path} is missing: find it with Relink, or import it again.", path=folder / CLIP_FILE)
            self.report({"ERROR"}, said)
            return {"CANCELLED"}
        cache.claim(folder)
        job = FilmJob(settings.chosen_engine(), root, folder, given, known, sound)
        FILMING.start(job)
        if not bpy.app.background and context.window:
            bpy.app.timers.register(_tick, first_interval=_TICK_SECONDS)
            return {"FINISHED"}
        job.wait()
        told = [*job.errors, *_finish(job)]
        for line in told:
            self.report({"ERROR"}, line)
        return {"CANCELLED"} if told else {"FINISHED"}


class S2D_OT_show_picture(_FilmOperator):
    """Show the synthesised video on the clip's plane, or the film that the clip was made of"""

    bl_idname = "s2d.show_picture"
    bl_label = "Show Picture"
    bl_options = {"UNDO"}

    mode: Annotated[
        str,
        bpy.props.EnumProperty(
            name="Picture",
            description="What the clip's plane shows",
            items=(
                ("SYNTHESISED", "Synthesised", "The video that is drawn from the clip's keypoints"),
                ("FILM", "Film", "The film that the clip was made of, in step with it"),
            ),
        ),
    ]

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> OperatorResult:
        """Ask for the film, where it is wanted and not known."""
        asked = self.ask(context) if self.mode == "FILM" else None
        return asked or self.execute(context)

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Show it."""
        root = active_clip(context)
        if self.mode == "SYNTHESISED":
            try:
                _show_synthesised(root)
            except OSError as error:
                cure = say("Find it with Relink, or import the clip again.")
                self.report({"ERROR"}, f"{error} {cure}")
                return {"CANCELLED"}
            return {"FINISHED"}
        if self.filepath or _ready(root) is None:
            return self.make(context, sound=False)
        _show_film(root)
        return {"FINISHED"}


class S2D_OT_add_sound(_FilmOperator):
    """Put the film's sound into the sequencer, in step with the clip as it plays now"""

    bl_idname = "s2d.add_sound"
    bl_label = "Sound"
    bl_options = {"UNDO"}

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> OperatorResult:
        """Ask for the film, where it is not known."""
        return self.ask(context) or self.execute(context)

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Put it there; the strip that was there before is replaced."""
        root = active_clip(context)
        if abs(root[scene.SPEED] - 1) > 1e-6:
            said = say(
                "The clip plays at {speed:g} of its speed, and sound does not: set Speed to 1.",
                speed=root[scene.SPEED],
            )
            self.report({"ERROR"}, said)
            return {"CANCELLED"}
        if self.filepath or _ready(root) is None or root.get(_SOUND) is None:
            return self.make(context, sound=True)
        said = _add_sound(root)
        if said:
            self.report({"ERROR"}, said)
            return {"CANCELLED"}
        if root[scene.LOOP]:
            self.report({"INFO"}, "The sound plays with the clip's first pass alone.")
        return {"FINISHED"}


class S2D_OT_cancel_film(bpy.types.Operator):
    """Stop making the film ready, and leave the clip as it is"""

    bl_idname = "s2d.cancel_film"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Allow it while a film is made ready."""
        return FILMING.running()

    def execute(self, _context: bpy.types.Context) -> OperatorResult:
        """Kill the worker."""
        if FILMING.current:
            FILMING.current.cancel()
        return {"FINISHED"}


def draw_film(layout: bpy.types.UILayout, context: bpy.types.Context, root: bpy.types.Object) -> None:
    """Draw what the clip's plane shows, and how far its film is."""
    plane, job = scene.find_part(root, "video"), FILMING.current
    shows = plane is not None and picture.shows_film(plane)
    column = layout.column(align=True)
    column.label(text="Picture", icon="IMAGE_DATA")
    row = column.row(align=True)
    for mode, text in (("SYNTHESISED", "Synthesised"), ("FILM", "Film")):
        button = row.operator(S2D_OT_show_picture.bl_idname, text=text, depress=shows == (mode == "FILM"))
        present(button).mode = mode
    column.operator(S2D_OT_add_sound.bl_idname, icon="SPEAKER")
    if job and job.running:
        layout.progress(factor=job.fraction, text=stage_text(job), translate=False)
        layout.operator(S2D_OT_cancel_film.bl_idname, icon="X")
    elif isinstance(job, FilmJob) and job.errors and job.root == root.session_uid:
        draw_messages(layout, context, job.errors, "ERROR")
    elif root.get(_SHOWN) and not shows:
        said = say("The film's file is gone, and the synthesised video is shown: Film makes it anew.")
        draw_messages(layout, context, [said], "ERROR")


# ---- showing ---------------------------------------------------------------------------------


def _decoded(root: bpy.types.Object) -> DecodedClip:
    return read_decoded(scene.clip_folder(root), root.name)


def _ready(root: bpy.types.Object) -> Path | None:
    """Return the clip's ``film.mp4``, None where it is not made yet, or gone."""
    try:
        return _decoded(root).film
    except OSError:
        return None


def _known_film(root: bpy.types.Object) -> Path | None:
    """Return the film that the clip was encoded from, None where that is not known, or it is gone."""
    known = root.get(FILM)
    return Path(known) if known and Path(known).exists() else None


def _show_film(root: bpy.types.Object) -> None:
    film = present(_ready(root))
    root[_SHOWN] = True
    for plane in scene.find_parts(root, "video"):
        picture.show_picture(plane, film)


def _show_synthesised(root: bpy.types.Object) -> None:
    """Show the synthesised video, or the still that stands for it where it is not drawn yet."""
    clip = _decoded(root)
    shown = clip.video or clip.reference
    root[_SHOWN] = False
    for plane in scene.find_parts(root, "video"):
        if clip.video is None:
            plane[scene.WAITING] = True
        if shown:
            picture.show_picture(plane, shown)


def _add_sound(root: bpy.types.Object) -> str:
    """Put the sound of the clip's ``film.mp4`` into the sequencer of its scene; returns what is wrong."""
    film, target = present(_ready(root)), root.users_scene[0]
    if not root[_SOUND]:
        return say("There is no sound in the film.")
    built: Any = bpy.app.build_options
    if not built.audaspace:
        return say("This Blender was built without sound: take one from blender.org.")
    editor: Any = target.sequence_editor or target.sequence_editor_create()
    strips = editor.strips if hasattr(editor, "strips") else editor.sequences
    for old in [strip for strip in strips if strip.get(_STRIP_OF) == root.name]:
        strips.remove(old)
    shown = scene.frames_shown(root)
    first, begin, stop = scene.scene_frames(root, np.array([0, shown[0], shown[-1] + 1]), target)
    channel = 1 + max((strip.channel for strip in strips), default=0)
    strip = strips.new_sound(f"{root.name} sound", link_path(film), channel, round(first))
    strip[_STRIP_OF] = root.name
    names = ("left_handle", "right_handle") if hasattr(strip, "left_handle") else _HANDLES
    setattr(strip, names[1], min(round(stop), getattr(strip, names[1])))
    setattr(strip, names[0], max(round(begin), getattr(strip, names[0])))
    return ""


_HANDLES = "frame_final_start", "frame_final_end"  # as they were called before Blender 5.1


def _finish(job: FilmJob) -> list[str]:
    """Show what was made ready; returns what is wrong."""
    root = next((item for item in scene.all_roots() if item.session_uid == job.root), None)
    if root is None or job.result is None or _ready(root) is None:
        return []
    remember_film(root, job.film, job.result["start"])
    root[_SOUND] = job.result["sound"]
    if job.sound:
        said = _add_sound(root)
        return [said] if said else []
    _show_film(root)
    return []


def _tick() -> float | None:
    """Show how far the engine is, and the film when it is there; called by Blender's loop."""
    job = FILMING.current
    if not isinstance(job, FilmJob):
        return None
    redraw_panels()
    # While the user edits a mesh, Blender holds it apart from the scene.
    if bpy.app.is_job_running("RENDER") or not windows(bpy.context):
        return _TICK_SECONDS
    if job.running:
        return _TICK_SECONDS
    with bpy.context.temp_override(window=windows(bpy.context)[0]):
        if job.result and not job.cancelled:
            job.errors.extend(_finish(job))
            bpy.ops.ed.undo_push(message="Show Film")
    redraw_panels()
    return None


@persistent
def _end(*_: object) -> None:
    FILMING.end()


_register, _unregister = registration((S2D_OT_show_picture, S2D_OT_add_sound, S2D_OT_cancel_film))


def register() -> None:
    """Register the operators, and the end of the work where another file is loaded."""
    _register()
    bpy.app.handlers.load_pre.append(_end)


def unregister() -> None:
    """End what is at work and remove what :func:`register` added."""
    FILMING.end()
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    bpy.app.handlers.load_pre.remove(_end)
    _unregister()
