# SPDX-License-Identifier: GPL-3.0-or-later
"""Importing clips: between Blender's window, the job that runs the engine, and the scene.

An operator starts a job and is done. From then on a timer builds each clip as soon as its body is there, and
brings it up to date with every part that arrives. Nothing of Blender's is kept from one tick to the next:
between two ticks the user may undo, delete or load whatever they like.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

import bpy
import numpy as np
from bpy.app.handlers import persistent
from bpy_extras.io_utils import ImportHelper

from .clip import doubts, film, keeping, scene, storage
from .clip.cleanup_properties import HELD_FEET, folder_name
from .clip.clearing import make_room
from .clip.ui import in_mode, redraw_panels, remember
from .engine import settings
from .engine.decoded import DecodedClip
from .engine.job import FILMING, IMPORTING, ClipTask, ImportJob
from .registering import registration
from .translating import say
from .typed import OperatorResult, present, windows

_TICK_SECONDS = 0.05
_START_SCENE_TYPES = {"CAMERA", "LIGHT"}
_START_CUBE = "Cube"
_MEASURED_FILE = "encodings.json"
_FRAMED = 1.6  # distance of the view from what it frames, in its sizes

AnyID = TypeVar("AnyID", bound=bpy.types.ID)


@dataclass(frozen=True)
class ImportOptions:
    """What the user asked for with an import."""

    start_frame: int
    set_scene: bool
    set_resolution: bool
    is_new: bool  # whether the scene holds nothing else that the user could be looking at
    look: str = ""  # of mesh_material.LOOKS, empty for the best there is


@dataclass
class ClipImport:
    """An import at work: which clip of the job became which object, and what of it is shown."""

    job: ImportJob
    options: ImportOptions
    scene_uid: int
    roots: dict[int, int] = field(default_factory=dict)  # clip's number to its empty's session_uid
    shown: dict[int, DecodedClip] = field(default_factory=dict)
    told: bool = False  # whether the undo step is made and the user knows what failed at the start
    progress: tuple = ()

    def advance(self) -> bool:
        """Show one thing more, so that no single call takes long; returns whether there was one."""
        for number, task in enumerate(self.job.tasks):
            root, clip = self.root(number), task.clip
            if number in self.roots and root is None:
                if not task.over:
                    self.job.drop(task)  # the user has deleted it, or undone the import
            elif task.lost:
                if root:
                    scene.remove_clip(root)
            elif clip and clip is not self.shown.get(number):
                self._show(number, clip)
                return True
        return False

    @property
    def standing(self) -> bool:
        """Whether every clip is in the scene, or never will be."""
        return all(number in self.roots or task.over for number, task in enumerate(self.job.tasks))

    def finish_start(self) -> None:
        """Once every clip stands: set up the scene, select the clips, and make all that one undo step."""
        self.told = True
        roots = [root for root in map(self.root, self.roots) if root]
        if not roots:
            return
        target = roots[0].users_scene[0] if roots[0].users_scene else present(bpy.context.scene)
        standing = scene.roots_of(target)
        if self.options.set_scene:
            if set(standing) == set(roots):  # otherwise the rate is that of the clips before
                scene.set_frame_rate(target, roots[0])
            scene.set_frame_range(target, standing)
        for root in roots:
            if doubts.doubts_of(root):
                doubts.mark(root, target)
        if self.options.set_resolution:
            scene.set_resolution(target, roots[0])
            target.camera = scene.find_part(roots[0], "camera")
        if self.options.is_new:
            _hide_start_cube(target)
        remember(roots[-1])
        _select(mesh for root in roots if (mesh := scene.find_part(root, "mesh")))
        _show_pictures()
        if self.options.is_new:
            _frame([scene.reach(root) for root in roots])
        bpy.ops.ed.undo_push(message="Import Sparse2Dense Clip")

    def remove_unfinished(self) -> None:
        """Take the clips that a cancelled job has not finished out of the scene."""
        for number, task in enumerate(self.job.tasks):
            root = self.root(number)
            if root and not task.finished:
                scene.remove_clip(root)

    def warnings(self) -> list[str]:
        """Return what encoding and decoding told, of each clip that is shown."""
        told = [(*self.job.tasks[number].remarks, *clip.warnings) for number, clip in self.shown.items()]
        return [line for lines in told for line in lines]

    def root(self, number: int) -> bpy.types.Object | None:
        """Return a clip's empty, or None where it is gone or was never there."""
        return _find(bpy.data.objects, self.roots.get(number))

    def _show(self, number: int, clip: DecodedClip) -> None:
        self.shown[number] = clip
        if root := self.root(number):
            scene.update_clip(root, clip)
            return
        target = _find(bpy.data.scenes, self.scene_uid) or present(bpy.context.scene)
        edits = self.job.tasks[number].edits
        root = scene.build_clip(clip, target, self.options.start_frame, edits, self.options.look)
        self.roots[number] = root.session_uid
        task = self.job.tasks[number]
        if task.movie:
            film.remember_film(root, task.movie, task.film_start)
        if (chosen := settings.settings()) is None or chosen.pack:
            with contextlib.suppress(OSError):  # it was removed meanwhile; the panel offers to pack
                keeping.pack(root)


class Imports:
    """The import at work, for the timer."""

    current: ClipImport | None = None


def _find(items: Iterable[AnyID], uid: int | None) -> AnyID | None:
    return next((item for item in items if item.session_uid == uid), None)


def _tick() -> float | None:
    """Bring the scene up to date with the job; called by Blender's loop until there is nothing more to do."""
    at_work = Imports.current
    if at_work is None:
        return None
    if _scene_in_use():
        return _TICK_SECONDS
    running = at_work.job.running  # asked first: what comes after was there when the job ended
    with bpy.context.temp_override(window=windows(bpy.context)[0]):
        if at_work.job.cancelled:
            more = False
        elif more := at_work.advance():
            pass
        elif not at_work.told and at_work.standing:
            at_work.finish_start()
        _redraw(at_work)
        if running or more:
            return _TICK_SECONDS
        Imports.current = None
        _finish(at_work)
    return None


def _scene_in_use() -> bool:
    """Whether Blender renders or the user edits a mesh, which is then held apart from the scene."""
    return (
        bpy.app.is_job_running("RENDER")
        or bpy.app.is_job_running("OBJECT_BAKE")
        or not windows(bpy.context)
        or bpy.context.mode in {"EDIT_MESH", "SCULPT"}
    )


def _finish(at_work: ClipImport) -> None:
    make_room()
    said = at_work.job.errors + at_work.warnings()
    if said and not at_work.job.cancelled:
        _tell(said)


def _tell(lines: Sequence[str]) -> None:
    def draw(self: bpy.types.UIPopupMenu, _context: bpy.types.Context) -> None:
        for line in lines:
            present(self.layout).label(text=line, translate=False)

    present(bpy.context.window_manager).popup_menu(draw, title="Sparse2Dense", icon="ERROR")


def measured_file() -> Path:
    """Return the file that says how long encodings take on this machine."""
    return storage.waiting_root() / _MEASURED_FILE


class ClipImporter(bpy.types.Operator):
    """What the operators that import clips have in common."""

    start_frame: Annotated[
        int,
        bpy.props.IntProperty(
            name="Start Frame", description="Scene frame at which the clip starts", default=1
        ),
    ]
    set_scene: Annotated[
        bool,
        bpy.props.BoolProperty(
            name="Set Scene Frame Rate and Range",
            description=(
                "Give the scene the clip's frame rate, beginning and end. "
                "The clip plays at its right speed either way"
            ),
            options={"SKIP_SAVE"},
        ),
    ]
    set_resolution: Annotated[
        bool,
        bpy.props.BoolProperty(
            name="Set Resolution",
            description="Give the scene the clip's resolution and look through its camera",
            options={"SKIP_SAVE"},
        ),
    ]
    hold_feet: Annotated[
        bool,
        bpy.props.BoolProperty(
            name="Hold Feet on the Floor",
            description=(
                "Put feet that touch the floor onto it, and hold those that stand where they stand. "
                "Clean-up turns it off, or down; the video stays as it was filmed"
            ),
            default=True,
            options={"SKIP_SAVE"},
        ),
    ]
    if TYPE_CHECKING:
        filepath: str  # ImportHelper's

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow one import at a time, in object mode."""
        if IMPORTING.running():
            cls.poll_message_set(say("An import is at work"))
            return False
        if FILMING.running():
            cls.poll_message_set(say("A clip's film is being prepared: wait for it, or cancel it"))
            return False
        return in_mode(cls, context, {"OBJECT"})

    def propose_options(self, context: bpy.types.Context) -> None:
        """Set the options as the preferences have them, where the user has not set them in this call."""
        chosen = settings.settings()
        if chosen is None:
            return
        if not self.properties.is_property_set("set_scene"):
            wanted = chosen.set_scene
            self.set_scene = wanted == "ALWAYS" or (wanted == "NEW" and _is_new(present(context.scene)))
        if not self.properties.is_property_set("set_resolution"):
            self.set_resolution = chosen.set_resolution
        if not self.properties.is_property_set("hold_feet"):
            self.hold_feet = chosen.hold_feet

    def begin(self, context: bpy.types.Context, tasks: Sequence[ClipTask]) -> OperatorResult:
        """Start the job; without a window, wait for it and build the scene."""
        target = present(context.scene)
        options = ImportOptions(
            self.start_frame, self.set_scene, self.set_resolution, _is_new(target), self.look()
        )
        edits = self.edits()
        for task in tasks:
            task.edits, task.edited = edits, folder_name(edits)
        if self.set_scene and (before := scene.roots_of(target)):
            said = say(
                "The scene keeps the frame rate of {name}, {fps:.6g} a second: what is imported now plays at "
                "its own speed in it.",
                name=before[0].name,
                fps=scene.scene_fps(target),
            )
            self.report({"INFO"}, said)
        job = ImportJob(tasks, storage.cache_root(), settings.chosen_engine(), measured_file())
        at_work = ClipImport(job, options, target.session_uid)
        IMPORTING.start(job)
        if not bpy.app.background and context.window:
            Imports.current = at_work
            bpy.app.timers.register(_tick, first_interval=_TICK_SECONDS)
            self._tell_feet()
            return {"FINISHED"}
        job.wait()
        if job.cancelled:
            self.report({"WARNING"}, "The import was cancelled.")
            return {"CANCELLED"}
        while at_work.advance():
            pass
        at_work.finish_start()
        make_room()
        for warning in at_work.warnings():
            self.report({"WARNING"}, warning)
        for error in job.errors:
            self.report({"ERROR"}, error)
        if not at_work.roots:
            return {"CANCELLED"}
        self._tell_feet()
        return {"FINISHED"}

    def edits(self) -> dict[str, Any]:
        """Return how the motion that is shown is cleaned up."""
        return dict(HELD_FEET) if self.hold_feet else {}

    def look(self) -> str:
        """Return which of the mesh's looks it is to have, empty for the best there is."""
        return ""

    def _tell_feet(self) -> None:
        if self.hold_feet:
            self.report({"INFO"}, "Feet are held on the floor: Clean-up turns that off.")


def _is_new(target: bpy.types.Scene) -> bool:
    """Whether the scene holds no more than clips and, in a file that was never saved, Blender's own start."""
    others = [item for item in target.objects if scene.find_root(item) is None]
    own = all(item.type in _START_SCENE_TYPES or item.name == _START_CUBE for item in others)
    return own and (not bpy.data.filepath or len(others) < len(target.objects))


def _hide_start_cube(target: bpy.types.Scene) -> None:
    """Hide Blender's own cube, which stands where the person does; it is still there."""
    if (cube := target.objects.get(_START_CUBE)) and scene.find_root(cube) is None:
        cube.hide_viewport = cube.hide_render = True


def _frame(reaches: Sequence[np.ndarray]) -> None:
    """Let 3D views that look through no camera show people of these lowest and highest coordinates."""
    low, high = np.min(reaches, axis=0)[0], np.max(reaches, axis=0)[1]
    for window in windows(bpy.context):
        for area in window.screen.areas:
            space = area.spaces.active
            view = space.region_3d if isinstance(space, bpy.types.SpaceView3D) else None
            if view and view.view_perspective != "CAMERA":
                view.view_location = ((low + high) / 2).tolist()
                view.view_distance = _FRAMED * float(np.linalg.norm(high - low))


class S2D_OT_import_clip(ClipImporter, ImportHelper):
    """Import .s2d clips as animated meshes with their videos and cameras"""

    bl_idname = "s2d.import_clip"
    bl_label = "Import Sparse2Dense Clip"
    bl_options = {"PRESET"}

    filename_ext = ".s2d"
    filter_glob: Annotated[str, bpy.props.StringProperty(default="*.s2d", options={"HIDDEN"})]
    directory: Annotated[str, bpy.props.StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})]
    files: Annotated[
        Sequence[bpy.types.OperatorFileListElement],
        bpy.props.CollectionProperty(type=bpy.types.OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"}),
    ]

    body: Annotated[
        str,
        bpy.props.EnumProperty(
            name="Body",
            description="Whose body moves: the same motion with limbs and widths of such people",
            items=(
                ("CAPTURED", "As Captured", "The body that the file has"),
                ("WOMAN", "Woman", "A woman's body, as tall as the captured one"),
                ("MAN", "Man", "A man's body, as tall as the captured one"),
                (
                    "MANNEQUIN",
                    "Mannequin",
                    "Nobody's body, between a woman's and a man's, in smooth underwear",
                ),
            ),
            options={"SKIP_SAVE"},
        ),
    ]

    def edits(self) -> dict[str, Any]:
        """Return how the motion that is shown is cleaned up, and the body that it goes to."""
        sex = {"WOMAN": 0.0, "MANNEQUIN": 0.5, "MAN": 1.0}.get(self.body)
        return super().edits() | ({} if sex is None else {"measures": {"sex": sex}})

    def look(self) -> str:
        """Return the look that belongs to the body."""
        return "MANNEQUIN" if self.body == "MANNEQUIN" else super().look()

    def invoke(  # type: ignore[override]  # ImportHelper's is not as exact
        self, context: bpy.types.Context, event: bpy.types.Event
    ) -> OperatorResult:
        """Ask for files, or, where some were dropped onto the window, for options."""
        self.propose_options(context)
        if self.directory:
            return cast(OperatorResult, self.invoke_popup(context))
        return super().invoke(context, event)

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Start decoding; without a window, wait for it and build the scene."""
        folder = Path(bpy.path.abspath(self.directory))
        paths = [folder / item.name for item in self.files if item.name]
        if not paths and self.filepath:
            paths = [Path(bpy.path.abspath(self.filepath))]
        if not paths or paths[0].is_dir():
            self.report({"ERROR"}, "No file was chosen: choose one or more .s2d files.")
            return {"CANCELLED"}
        return self.begin(context, [ClipTask(path) for path in paths])


class S2D_OT_cancel(bpy.types.Operator):
    """Stop the import, and remove the clips that are not finished and their files"""

    bl_idname = "s2d.cancel"
    bl_label = "Cancel Import"
    bl_options = {"INTERNAL", "UNDO"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Allow it while an import is at work."""
        return IMPORTING.running()

    def execute(self, _context: bpy.types.Context) -> OperatorResult:
        """Kill the worker, and remove what it has not finished."""
        if IMPORTING.current:
            IMPORTING.current.cancel()
        if Imports.current:
            Imports.current.remove_unfinished()
        return {"FINISHED"}


class S2D_FH_clip(bpy.types.FileHandler):
    """Drag and drop of .s2d files onto the 3D view."""

    bl_idname = "S2D_FH_clip"
    bl_label = "Sparse2Dense Clip"
    bl_import_operator = S2D_OT_import_clip.bl_idname
    bl_file_extensions = ".s2d"

    @classmethod
    def poll_drop(cls, context: bpy.types.Context | None) -> bool:
        """Accept files over a 3D view or the outliner."""
        area = context.area if context else None
        return area is not None and area.type in {"VIEW_3D", "OUTLINER"}


def _select(items: Iterable[bpy.types.Object]) -> None:
    """Select these objects and nothing else, and make the last one active."""
    layer = present(bpy.context.view_layer)
    layer.update()  # until then it does not know new objects
    for other in list(layer.objects.selected):
        other.select_set(False)
    for item in items:
        if item.name in layer.objects:
            item.select_set(True)
            layer.objects.active = item


def _show_pictures() -> None:
    """Let 3D views in Blender's own Solid shading show textures, or the video's plane would be plain grey.

    What has no texture looks there as before.
    """
    for window in windows(bpy.context):
        for area in window.screen.areas:
            space = area.spaces.active
            if isinstance(space, bpy.types.SpaceView3D) and space.shading.color_type == "MATERIAL":
                space.shading.color_type = "TEXTURE"


def _redraw(at_work: ClipImport) -> None:
    """Redraw the panels and status bars where they would show something new of the import's progress."""
    job = at_work.job
    progress = (job.current, job.stage, job.done, job.running, len(job.errors), len(at_work.shown))
    if progress == at_work.progress:
        return
    at_work.progress = progress
    redraw_panels()


@persistent
def _end_import(*_: object) -> None:
    Imports.current = None
    IMPORTING.end()


def _draw_import_entry(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    present(self.layout).operator(S2D_OT_import_clip.bl_idname, text="Sparse2Dense Clip (.s2d)")


_register, _unregister = registration((S2D_OT_import_clip, S2D_OT_cancel, S2D_FH_clip))


def register() -> None:
    """Register the operators, the File > Import entry, and the end of an import with its file."""
    _register()
    bpy.types.TOPBAR_MT_file_import.append(_draw_import_entry)  # type: ignore[arg-type]  # given the menu too
    bpy.app.handlers.load_pre.append(_end_import)


def unregister() -> None:
    """End a running import and remove what :func:`register` added."""
    _end_import()
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    bpy.app.handlers.load_pre.remove(_end_import)
    bpy.types.TOPBAR_MT_file_import.remove(_draw_import_entry)  # type: ignore[arg-type]
    _unregister()
