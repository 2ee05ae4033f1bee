# SPDX-License-Identifier: GPL-3.0-or-later
"""Before a movie is encoded: what it shows, who is in it, which part of it becomes the clip, and how.

Whoever chooses or drops a movie sees a panel about it, which fills while the engine looks the movie over
aside; of several movies, or a folder of them, the panel lists which are encoded one after the other. Nothing
is encoded before *Encode* is pressed, and Blender stays usable meanwhile.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import bpy
import bpy.utils.previews
import numpy as np
from bpy.app.handlers import persistent
from bpy_extras.io_utils import ImportHelper

from ..models.errors import InputError
from .clip.ui import draw_messages, redraw_panels, stage_text
from .encoding import MOVIE_ENDINGS, EncodeOptions, chosen_movies, encode_tasks, part_options
from .engine import settings
from .engine.estimate import Encoding, estimate
from .engine.job import Engine, Job
from .importing import ClipImporter, measured_file
from .registering import registration
from .translating import label_text, say
from .typed import OperatorResult, present, windows

_TICK_SECONDS = 0.1
_PREVIEW_FILE = "preview.json"
_STRIP = "strip"
_MARGIN, _LEAST_SCALE, _MOST_SCALE = 2.6, 6.0, 18.0  # of the strip, in the interface's units
_UNUSED, _MARK, _MARK_COLOUR = 0.3, 2, (1.0, 0.6, 0.1)  # how bright what is cut off is; pixels; of in and out
_PEOPLE_COLUMNS, _PEOPLE_SCALE = 4, 3.4
_LISTED = 8  # movies
_SHORTEST = 0.1  # seconds between in and out


class PreviewJob(Job):
    """Has the engine look a movie over; ``seen`` is what it has found, another object with each part."""

    def __init__(self, engine: Engine, movie: Path, folder: Path, options: Sequence[str]) -> None:
        super().__init__(engine)
        self.seen: dict[str, Any] | None = None
        self._arguments = ("preview", str(movie), "-o", str(folder), *options)
        self._folder = folder

    def work(self) -> None:
        """Run it."""
        self.run_worker(*self._arguments, on_part=self._read)

    def _read(self, _part: str) -> None:
        self.seen = json.loads((self._folder / _PREVIEW_FILE).read_text(encoding="utf-8"))


@dataclass
class NewClip:
    """The movies that are about to be encoded, and what is known of one alone."""

    movies: list[Path]
    folder: Path  # of the pictures
    job: PreviewJob | None = None  # of one movie
    seen: dict[str, Any] | None = None
    progress: tuple = ()

    @property
    def seconds(self) -> float:
        """How long the movie is; 0 while it is not known."""
        return self.seen["seconds"] if self.seen else 0.0

    @property
    def people(self) -> list[dict[str, Any]] | None:
        """Who is seen in the movie, None while that is not known."""
        return self.seen["people"] if self.seen else None

    def look(self, options: Sequence[str] = ()) -> None:
        """Have the movie looked over, from one second to another."""
        if self.job:
            self.job.end()
        self.job = PreviewJob(settings.chosen_engine(), self.movies[0], self.folder, options)
        self.job.start()

    def advance(self) -> None:
        """Take over what the engine has found since."""
        if self.job is None or self.job.seen is None or self.job.seen is self.seen:
            return
        first, self.seen = self.seen is None, self.job.seen
        _Icons.load(self.folder, self.seen["strip"]["file"], [it["file"] for it in self.seen["people"] or ()])
        chosen = _options()
        chosen.end = self.seconds if first else min(chosen.end, self.seconds)
        if self.people is not None:
            chosen.person = 0
        self.mark()

    def mark(self) -> None:
        """Show on the strip what lies between the in and the out point."""
        if self.seen and self.seconds:
            chosen = _options()
            _Icons.mark(self.seen["strip"], chosen.start / self.seconds, chosen.end / self.seconds)

    def place(self, person: int, start: float, end: float) -> list[float] | None:
        """Return when and where a person is in a part of the movie, ``[second, x, y]``, None if never."""
        looks = [look for look in (self.people or [])[person]["looks"] if start <= look[0] <= end]
        return looks[len(looks) // 2] if looks else None

    def encoding(self) -> Encoding | None:
        """Return what is to be encoded, None while nothing is known of the movie."""
        if self.seen is None or not self.seconds:
            return None
        chosen, (width, height) = _options(), self.seen["size"]
        rate = chosen.fps or self.seen["fps"][0] / self.seen["fps"][1]
        frames = max(1, round((chosen.end - chosen.start) * rate))
        canvas = chosen.size**2 * max(width, height) / min(width, height)
        return Encoding(frames, rate, width * height, round(canvas))

    def close(self) -> None:
        """End what is at work, and forget the pictures."""
        if self.job:
            self.job.end()
        _Icons.clear()
        shutil.rmtree(self.folder, ignore_errors=True)


class Current:
    """The movies that the panel is about."""

    clip: NewClip | None = None


class _Icons:
    """The pictures of the panel, as Blender shows them in its interface."""

    held: Any = None  # bpy.utils.previews' collection, once there is one
    loads = 0
    strip: np.ndarray | None = None  # (height, width, 4) float32, rows from above, as it was loaded

    @classmethod
    def load(cls, folder: Path, strip: str, people: Sequence[str]) -> None:
        """Load pictures, under new names, since those of before may have been replaced."""
        cls.clear()
        cls.held = bpy.utils.previews.new()
        cls.loads += 1
        for name in people:
            cls.held.load(f"{name} {cls.loads}", str(folder / name), "IMAGE")
        loaded = cls.held.load(f"{_STRIP} {cls.loads}", str(folder / strip), "IMAGE")
        width, height = loaded.image_size
        pixels = np.empty(width * height * 4, np.float32)
        loaded.image_pixels_float.foreach_get(pixels)
        cls.strip = pixels.reshape(height, width, 4)[::-1]

    @classmethod
    def mark(cls, sheet: dict[str, Any], first: float, last: float) -> None:
        """Darken what of the strip lies outside two shares of the movie, and mark these."""
        if cls.strip is None or not cls.strip.size:
            return
        marked, columns, count = cls.strip.copy(), sheet["columns"], sheet["columns"] * sheet["rows"]
        (width, height), gap = sheet["cell"], sheet["gap"]
        scale = marked.shape[1] / (columns * (width + gap) - gap)  # Blender loads it smaller
        for number in range(count):
            row, column = divmod(number, columns)
            top, left = round(row * (height + gap) * scale), round(column * (width + gap) * scale)
            cell = marked[top : top + round(height * scale), left : left + round(width * scale), :3]
            across = cell.shape[1]
            begin, end = (round((share * count - number) * across) for share in (first, last))
            cell[:, : max(begin, 0)] *= _UNUSED
            cell[:, max(end, 0) :] *= _UNUSED
            if 0 <= begin < across:
                cell[:, begin : begin + _MARK] = _MARK_COLOUR
            if 0 < end <= across:
                cell[:, max(end - _MARK, 0) : end] = _MARK_COLOUR
        cls.held[f"{_STRIP} {cls.loads}"].image_pixels_float.foreach_set(marked[::-1].ravel())

    @classmethod
    def of(cls, name: str) -> int:
        """Return the icon of a picture, 0 where it is not there."""
        key = f"{name} {cls.loads}"
        return cls.held[key].icon_id if cls.held is not None and key in cls.held else 0

    @classmethod
    def clear(cls) -> None:
        """Forget all."""
        if cls.held is not None:
            bpy.utils.previews.remove(cls.held)
        cls.held = cls.strip = None


def _before_out(chosen: S2D_PG_new_clip, _context: bpy.types.Context) -> None:
    """Let the in point stay before the out point."""
    latest = max(chosen.end - _SHORTEST, 0.0)
    if chosen.start > latest and chosen.end:
        chosen.start = latest
    elif Current.clip:
        Current.clip.mark()


def _after_in(chosen: S2D_PG_new_clip, _context: bpy.types.Context) -> None:
    """Let the out point stay after the in point, and in the movie."""
    longest = Current.clip.seconds if Current.clip else 0.0
    wanted = max(chosen.end, chosen.start + _SHORTEST)
    wanted = min(wanted, longest) if longest else wanted
    if abs(chosen.end - wanted) > 1e-6:
        chosen.end = wanted
    elif Current.clip:
        Current.clip.mark()


class S2D_PG_new_clip(EncodeOptions, bpy.types.PropertyGroup):
    """What the user has chosen for the movies about to be encoded."""

    start: Annotated[
        float,
        bpy.props.FloatProperty(
            name="In",
            description="Second of the movie at which the clip starts, before the out point",
            min=0.0,
            step=10,
            precision=2,
            update=_before_out,
        ),
    ]
    end: Annotated[
        float,
        bpy.props.FloatProperty(
            name="Out",
            description="Second of the movie at which the clip ends, after the in point",
            min=0.0,
            step=10,
            precision=2,
            update=_after_in,
        ),
    ]
    person: Annotated[
        int,
        bpy.props.IntProperty(
            name="Person", description="Who is followed, in the order of the panel, from 0", min=0
        ),
    ]


def _options() -> S2D_PG_new_clip:
    return present(bpy.context.window_manager).s2d_new_clip  # type: ignore[attr-defined]  # registered below


class S2D_OT_new_clip(bpy.types.Operator, ImportHelper):
    """Choose a movie, or a folder of them, to capture the person in it. What it shows is looked at first"""

    bl_idname = "s2d.new_clip"
    bl_label = "Video to .s2d"

    if TYPE_CHECKING:
        filepath: str  # ImportHelper's
    filter_movie: Annotated[bool, bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})]
    filter_folder: Annotated[bool, bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})]
    directory: Annotated[str, bpy.props.StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})]
    files: Annotated[
        Sequence[bpy.types.OperatorFileListElement],
        bpy.props.CollectionProperty(type=bpy.types.OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"}),
    ]

    def invoke(  # type: ignore[override]  # ImportHelper's is not as exact
        self, context: bpy.types.Context, event: bpy.types.Event
    ) -> OperatorResult:
        """Ask for movies, unless some were dropped onto the window."""
        if self.directory or self.filepath:
            return self.execute(context)
        return super().invoke(context, event)

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Open the panel; without a window, wait until the movie is looked over."""
        try:
            movies = chosen_movies(self.filepath, self.directory, [item.name for item in self.files])
        except InputError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        _close()
        chosen = _options()
        chosen.start = chosen.end = 0.0
        clip = Current.clip = NewClip(movies, Path(tempfile.mkdtemp(prefix="s2d_", dir=bpy.app.tempdir)))
        if len(movies) > 1:
            return {"FINISHED"}
        clip.look()
        return _watch(self, context, clip)


def _watch(operator: bpy.types.Operator, context: bpy.types.Context, clip: NewClip) -> OperatorResult:
    """Let the panel fill; without a window, wait for that."""
    if not bpy.app.background and context.window:
        if not bpy.app.timers.is_registered(_tick):
            bpy.app.timers.register(_tick, first_interval=_TICK_SECONDS)
        return {"FINISHED"}
    job = present(clip.job)
    job.wait()
    clip.advance()
    for error in job.errors:
        operator.report({"ERROR"}, error)
    return {"CANCELLED"} if job.errors else {"FINISHED"}


class S2D_OT_look_again(bpy.types.Operator):
    """Look for people between the in and the out point, in no more than five minutes of the movie"""

    bl_idname = "s2d.look_again"
    bl_label = "Find People from In to Out"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Allow it where there is one movie, and nothing is being looked at."""
        clip = Current.clip
        return clip is not None and clip.job is not None and not clip.job.running

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Have the engine look."""
        clip, chosen = present(Current.clip), _options()
        clip.look(part_options(chosen.start, chosen.end))
        return _watch(self, context, clip)


class S2D_OT_choose_person(bpy.types.Operator):
    """Follow this person, and nobody else"""

    bl_idname = "s2d.choose_person"
    bl_label = "Follow This Person"
    bl_options = {"INTERNAL"}

    index: Annotated[int, bpy.props.IntProperty(name="Index", description="In the panel's order", min=0)]

    def execute(self, _context: bpy.types.Context) -> OperatorResult:
        """Choose them."""
        people = (Current.clip.people or []) if Current.clip else []
        if self.index >= len(people):
            self.report({"ERROR"}, say("There is no person {number} in the movie.", number=self.index + 1))
            return {"CANCELLED"}
        _options().person = self.index
        return {"FINISHED"}


class S2D_OT_encode_new(ClipImporter):
    """Capture the person in this part of the movie, save a small .s2d beside it, and import that"""

    bl_idname = "s2d.encode_new"
    bl_label = "Encode"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow it where a movie was chosen that can be read, and the person is seen in the part chosen."""
        clip = Current.clip
        if clip is None:
            cls.poll_message_set(say("Choose a movie first"))
            return False
        if clip.job and clip.job.errors:
            cls.poll_message_set(say("The movie cannot be read"))
            return False
        if _never_seen(clip):
            cls.poll_message_set(say("The person is not seen between the in and the out point"))
            return False
        return super().poll(context)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> OperatorResult:
        """Encode, with what the preferences say of imports."""
        self.propose_options(context)
        return self.execute(context)

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Start encoding; without a window, wait for it and build the scene."""
        clip, chosen = present(Current.clip), _options()
        options = chosen.encode_options()
        if len(clip.movies) == 1:
            whole = not clip.seconds or chosen.end > clip.seconds - 1e-3
            options += part_options(chosen.start, 0.0 if whole else chosen.end)
            if clip.people and (place := clip.place(chosen.person, chosen.start, chosen.end)):
                options += ["--person-at", *(f"{value:.6g}" for value in place)]
        tasks = encode_tasks(clip.movies, options)
        _close()
        return self.begin(context, tasks)


class S2D_OT_discard_new(bpy.types.Operator):
    """Encode nothing"""

    bl_idname = "s2d.discard_new"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    def execute(self, _context: bpy.types.Context) -> OperatorResult:
        """Close the panel."""
        _close()
        return {"FINISHED"}


class S2D_FH_movie(bpy.types.FileHandler):
    """Drag and drop of movies onto the 3D view."""

    bl_idname = "S2D_FH_movie"
    bl_label = "Sparse2Dense Clip from Movie"
    bl_import_operator = S2D_OT_new_clip.bl_idname
    bl_file_extensions = ";".join(MOVIE_ENDINGS)

    @classmethod
    def poll_drop(cls, context: bpy.types.Context | None) -> bool:
        """Accept movies over a 3D view."""
        area = context.area if context else None
        return area is not None and area.type == "VIEW_3D"


def _never_seen(clip: NewClip) -> bool:
    """Whether the person who was chosen is not in the part of the movie that was chosen."""
    chosen = _options()
    return bool(clip.people) and clip.place(chosen.person, chosen.start, chosen.end) is None


# ---- the panel -------------------------------------------------------------------------------


class S2D_PT_new_clip(bpy.types.Panel):
    """What is about to be encoded."""

    bl_label = "New Clip from Movie"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Sparse2Dense"
    bl_parent_id = "S2D_PT_main"
    bl_order = 0

    layout: bpy.types.UILayout  # always there to draw in

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Show it where movies were chosen."""
        return Current.clip is not None

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the movie, the people in it and the options."""
        layout, clip, chosen = self.layout, present(Current.clip), _options()
        if len(clip.movies) == 1:
            layout.label(text=clip.movies[0].name, translate=False, icon="FILE_MOVIE")
            _draw_movie(layout, context, clip, chosen)
        else:
            _draw_queue(layout, context, clip)
        row = layout.row(align=True)
        row.scale_y = 1.4
        row.operator(S2D_OT_encode_new.bl_idname, icon="PLAY")
        row.operator(S2D_OT_discard_new.bl_idname, icon="X")
        if len(clip.movies) == 1:
            _draw_cost(layout, clip, chosen)
        _draw_options(layout, clip, chosen)


def _draw_movie(
    layout: bpy.types.UILayout, context: bpy.types.Context, clip: NewClip, chosen: S2D_PG_new_clip
) -> None:
    job, seen = present(clip.job), clip.seen
    if job.errors:
        draw_messages(layout, context, job.errors, "ERROR")
    if seen is None:
        if job.running:
            layout.label(text="Looking at the movie…", icon="TIME")
        return
    width, height = seen["size"]
    rate = seen["fps"][0] / seen["fps"][1]
    facts = f"{width} × {height}, {rate:.6g} fps, {clip.seconds:.2f} s"
    layout.label(text=facts, translate=False)
    unit = 20 * present(context.preferences).system.ui_scale
    scale = present(context.region).width / unit - _MARGIN
    layout.template_icon(_Icons.of(_STRIP), scale=min(max(scale, _LEAST_SCALE), _MOST_SCALE))
    row = layout.row(align=True)
    row.prop(chosen, "start")
    row.prop(chosen, "end")
    _draw_people(layout, context, clip, chosen)


def _draw_people(
    layout: bpy.types.UILayout, context: bpy.types.Context, clip: NewClip, chosen: S2D_PG_new_clip
) -> None:
    job, people = present(clip.job), clip.people
    layout.label(text="Who Is Followed", icon="COMMUNITY")
    if job.running:
        layout.progress(factor=job.fraction, text=stage_text(job), translate=False)
        return
    if people is None:
        return
    told = [*present(clip.seen)["warnings"], *([] if people else [say("Nobody is found in the movie.")])]
    if told:
        draw_messages(layout, context, told, "INFO")
    grid = layout.grid_flow(row_major=True, columns=_PEOPLE_COLUMNS, even_columns=True, align=True)
    several = len({person["shot"] for person in people}) > 1
    for index, person in enumerate(people):
        column = grid.column(align=True)
        column.template_icon(_Icons.of(person["file"]), scale=_PEOPLE_SCALE)
        name = str(person["person"])
        if several:
            name = label_text("{person}, shot {shot}", person=name, shot=person["shot"])
        button = column.operator(S2D_OT_choose_person.bl_idname, text=name, depress=index == chosen.person)
        present(button).index = index
    if _never_seen(clip):
        said = say("The one chosen is not seen between In and Out: choose another, or another part.")
        draw_messages(layout, context, [said], "ERROR")
    first, last = present(clip.seen)["looked"]
    if first > chosen.start + _SHORTEST or last < chosen.end - _SHORTEST:
        looked = label_text("Looked for from {first:.1f} to {last:.1f} s", first=first, last=last)
        layout.label(text=looked, icon="INFO")
        layout.operator(S2D_OT_look_again.bl_idname, icon="VIEWZOOM")


def _draw_queue(layout: bpy.types.UILayout, context: bpy.types.Context, clip: NewClip) -> None:
    count = label_text("{count} movies, one after the other", count=len(clip.movies))
    layout.label(text=count, icon="FILE_MOVIE")
    column = layout.box().column(align=True)
    for movie in clip.movies[:_LISTED]:
        column.label(text=movie.name, translate=False)
    if len(clip.movies) > _LISTED:
        column.label(text=label_text("and {count} more", count=len(clip.movies) - _LISTED))
    said = say("Each becomes a clip of the person seen largest and longest in it.")
    draw_messages(layout, context, [said], "INFO")


def _draw_options(layout: bpy.types.UILayout, clip: NewClip, chosen: S2D_PG_new_clip) -> None:
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    column.prop(chosen, "fov")
    if not chosen.fov and clip.seen:
        told = clip.seen["metadata_fov"]
        if told:
            said = label_text("{angle:.1f}°, as the camera wrote into the movie", angle=told)
        else:
            said = label_text("{angle:g}°: the movie tells none", angle=clip.seen["default_fov"])
        column.label(text=said, icon="INFO")
    for name in ("sex", "smoothing", "fps", "references", "size", "texture", "quality"):
        column.prop(chosen, name)


def _draw_cost(layout: bpy.types.UILayout, clip: NewClip, chosen: S2D_PG_new_clip) -> None:
    encoding = clip.encoding()
    if encoding is None:
        return
    seconds, measured = estimate(encoding, measured_file())
    size = encoding.size(chosen.quality, chosen.references or 1) / 1000
    column = layout.column(align=True)
    column.label(text=label_text("Takes about {time} in all", time=_duration(seconds)), icon="TIME")
    if not measured:
        column.label(text="A guess, until one is encoded", icon="BLANK1")
    bulk = label_text("{frames} frames, some {size:.0f} kB", frames=encoding.frames, size=size)
    column.label(text=bulk, icon="BLANK1")


def _duration(seconds: float) -> str:
    """Return a time as exactly as it is estimated."""
    if seconds < 90:
        return f"{max(5, round(seconds / 5) * 5)} s"
    return f"{seconds / 60:.0f} min"


def _draw_import_entry(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    present(self.layout).operator(S2D_OT_new_clip.bl_idname, text="Video to Sparse2Dense Clip")


# ---- at work ---------------------------------------------------------------------------------


def _tick() -> float | None:
    """Show what the engine has found; called by Blender's loop while it looks."""
    clip = Current.clip
    if clip is None or clip.job is None or not windows(bpy.context):
        return None
    running = clip.job.running  # asked first: what comes after was there when the job ended
    clip.advance()
    progress = (clip.job, running, clip.job.stage, clip.job.done, clip.seen is None)
    if progress != clip.progress:
        clip.progress = progress
        redraw_panels()
    return _TICK_SECONDS if running else None


def _close() -> None:
    if Current.clip:
        Current.clip.close()
        Current.clip = None
        redraw_panels()


@persistent
def _end(*_: object) -> None:
    _close()


_register, _unregister = registration(
    (
        S2D_PG_new_clip,
        S2D_OT_new_clip,
        S2D_OT_look_again,
        S2D_OT_choose_person,
        S2D_OT_encode_new,
        S2D_OT_discard_new,
        S2D_FH_movie,
        S2D_PT_new_clip,
    )
)


def register() -> None:
    """Register operators, panel and options, the File > Import entry, and the end of it all with its file."""
    _register()
    bpy.types.WindowManager.s2d_new_clip = bpy.props.PointerProperty(  # type: ignore[attr-defined]
        type=S2D_PG_new_clip, options={"SKIP_SAVE"}
    )
    bpy.types.TOPBAR_MT_file_import.append(_draw_import_entry)  # type: ignore[arg-type]  # given the menu too
    bpy.app.handlers.load_pre.append(_end)


def unregister() -> None:
    """Close the panel and remove what :func:`register` added."""
    _close()
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    bpy.app.handlers.load_pre.remove(_end)
    bpy.types.TOPBAR_MT_file_import.remove(_draw_import_entry)  # type: ignore[arg-type]
    del bpy.types.WindowManager.s2d_new_clip  # type: ignore[attr-defined]
    _unregister()
