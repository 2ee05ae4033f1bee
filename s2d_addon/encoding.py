# SPDX-License-Identifier: GPL-3.0-or-later
"""Encoding movies to ``.s2d`` files, which are then imported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import bpy
from bpy_extras.io_utils import ImportHelper

from ..models.errors import InputError
from .engine.job import ClipTask
from .importing import ClipImporter
from .registering import registration
from .translating import say
from .typed import OperatorResult

MOVIE_ENDINGS = (
    ".3gp", ".avi", ".dv", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
    ".mxf", ".ogv", ".ts", ".webm", ".wmv",
)  # fmt: skip
"""Endings of the files that are taken for movies in a folder, and where they are dropped."""

_QUALITIES = {"SMALL": ("8", "30", "20"), "BALANCED": (), "HIGH": ("4", "80", "60")}
_CODING_OPTIONS = ("--step", "--quality", "--plate-quality")


class EncodeOptions:
    """How a movie is encoded, whatever part of it: properties of the operator, and of the panel."""

    fov: Annotated[
        float,
        bpy.props.FloatProperty(
            name="Field of View",
            description=(
                "Angle across the longer side of the movie's picture, in degrees, from 5 to 150. "
                "0: from the camera's metadata, else 60 degrees"
            ),
            min=0.0,
            max=150.0,
            precision=1,
        ),
    ]
    sex: Annotated[
        str,
        bpy.props.EnumProperty(
            name="Sex",
            description="Of the body. Clean-up can change it later",
            items=(
                ("BETWEEN", "Between", "A film hardly tells: a body between the two"),
                ("WOMAN", "Woman", "A woman's body"),
                ("MAN", "Man", "A man's body"),
            ),
        ),
    ]
    size: Annotated[
        int,
        bpy.props.IntProperty(
            name="Video Size",
            description="Pixels along the shorter side of the clip's video",
            default=256,
            min=64,
            max=512,
            step=64,
        ),
    ]
    texture: Annotated[
        bool,
        bpy.props.BoolProperty(
            name="Texture",
            description="Gather the person's colours from the whole movie and save them in the file: "
            "sharper, and right where only other moments show them. It takes some seconds and about 10 kB",
        ),
    ]
    quality: Annotated[
        str,
        bpy.props.EnumProperty(
            name="Quality",
            description="What the file's size is spent on",
            items=(
                ("SMALL", "Small File", "Coarser motion and pictures"),
                ("BALANCED", "Balanced", "As `s2d encode` does it"),
                ("HIGH", "High", "Finer motion and pictures, in a larger file"),
            ),
            default="BALANCED",
        ),
    ]
    fps: Annotated[
        float,
        bpy.props.FloatProperty(
            name="Rate",
            description="Frames a second of the clip. 0: those of the movie",
            min=0.0,
            max=1000.0,
            precision=2,
        ),
    ]
    smoothing: Annotated[
        float,
        bpy.props.FloatProperty(
            name="Smoothing",
            description="How much shaking is taken out of the motion; 0 is none",
            default=1.0,
            min=0.0,
            max=20.0,
            soft_max=5.0,
        ),
    ]
    references: Annotated[
        int,
        bpy.props.IntProperty(
            name="References",
            description="Pictures of the person in the file: more show more of them. 0: as many as pay",
            min=0,
            max=4,
        ),
    ]

    def encode_options(self) -> list[str]:
        """Return what the engine is told."""
        given = {"--fov": self.fov, "--fps": self.fps, "--references": self.references}
        options = [text for name, value in given.items() if value for text in (name, f"{value:.10g}")]
        options += ["--size", str(self.size), "--smoothing", f"{self.smoothing:.6g}"]
        if self.sex != "BETWEEN":
            options += ["--sex", self.sex.lower()]
        if self.texture:
            options.append("--texture")
        for name, value in zip(_CODING_OPTIONS, _QUALITIES[self.quality], strict=False):
            options += [name, value]
        return options


class S2D_OT_encode_video(ClipImporter, EncodeOptions, ImportHelper):
    """Capture the person in each of some movies, save the motion as a small .s2d file, and import that"""

    bl_idname = "s2d.encode_video"
    bl_label = "Encode Video"
    bl_options = {"INTERNAL"}

    filter_movie: Annotated[bool, bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})]
    filter_folder: Annotated[bool, bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})]
    directory: Annotated[str, bpy.props.StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})]
    files: Annotated[
        Sequence[bpy.types.OperatorFileListElement],
        bpy.props.CollectionProperty(type=bpy.types.OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"}),
    ]
    output: Annotated[
        str,
        bpy.props.StringProperty(
            name="Save As",
            description="The .s2d file that is made of one movie. Empty: beside the movie, under its name",
            options={"SKIP_SAVE"},
        ),
    ]
    start: Annotated[
        float,
        bpy.props.FloatProperty(
            name="Start",
            description="Second of the movie at which the clip starts",
            min=0.0,
            subtype="TIME_ABSOLUTE",
        ),
    ]
    end: Annotated[
        float,
        bpy.props.FloatProperty(
            name="End",
            description="Second of the movie at which the clip ends; 0 is the movie's end",
            min=0.0,
            subtype="TIME_ABSOLUTE",
        ),
    ]
    person: Annotated[
        int,
        bpy.props.IntProperty(
            name="Person",
            description="Which person to follow: 1 is the one seen largest",
            default=1,
            min=1,
            max=20,
        ),
    ]
    person_at: Annotated[
        Sequence[float],
        bpy.props.FloatVectorProperty(
            name="Person At",
            description=(
                "Or whoever is there at this second of the movie, at this share of the picture's width and "
                "height from its upper left corner"
            ),
            size=3,
            default=(0.0, -1.0, -1.0),
            options={"HIDDEN", "SKIP_SAVE"},
        ),
    ]

    def invoke(  # type: ignore[override]  # ImportHelper's is not as exact
        self, context: bpy.types.Context, event: bpy.types.Event
    ) -> OperatorResult:
        """Ask for the movie."""
        self.propose_options(context)
        return super().invoke(context, event)

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Start encoding; without a window, wait for it and build the scene."""
        try:
            movies = chosen_movies(self.filepath, self.directory, [item.name for item in self.files])
        except InputError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if self.end and self.end <= self.start:
            said = say("The end, {end:g} s, is not after the start: choose a later one, or 0.", end=self.end)
            self.report({"ERROR"}, said)
            return {"CANCELLED"}
        options = [*part_options(self.start, self.end), *self.encode_options()]
        if min(self.person_at) < 0:
            options += ["--person", str(self.person)]
        else:
            options += ["--person-at", *(f"{value:.6g}" for value in self.person_at)]
        output = Path(bpy.path.abspath(self.output)) if self.output and len(movies) == 1 else None
        return self.begin(context, encode_tasks(movies, options, output))


def chosen_movies(filepath: str, directory: str, names: Iterable[str]) -> list[Path]:
    """Return the movies that a file dialog or a drop names.

    Of a folder, those in it that have no ``.s2d`` beside them yet. Raises InputError, with what to do, where
    there is none.
    """
    folder = Path(bpy.path.abspath(directory))
    paths = [folder / name for name in names if name] if directory else []
    if not paths and filepath:
        paths = [Path(bpy.path.abspath(filepath))]
    if not paths and directory:
        paths = [folder]
    if not paths:
        raise InputError("file", say("No file was chosen: choose a movie, or a folder of movies."))
    if len(paths) == 1 and paths[0].is_dir():
        return _movies_in(paths[0])
    if len(paths) == 1 and not paths[0].is_file():
        raise InputError("file", say("{path} is no file: choose a movie.", path=paths[0]))
    return paths  # of several, the engine tells which are none


def _movies_in(folder: Path) -> list[Path]:
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in MOVIE_ENDINGS)
    except OSError as error:
        raise InputError(
            "file", say("{folder}: {error}. Choose another folder.", folder=folder, error=error.strerror)
        ) from error
    movies = [path for path in files if path.is_file() and not path.with_suffix(".s2d").exists()]
    if not movies:
        raise InputError(
            "file",
            say(
                "{folder} holds no movie that has no .s2d beside it yet: choose a movie or another folder.",
                folder=folder,
            ),
        )
    return movies


def part_options(start: float, end: float) -> list[str]:
    """Return how the engine is told which part of a movie, in seconds, becomes the clip; 0 is all of it."""
    given = {"--start": start, "--end": end}
    return [text for name, value in given.items() if value for text in (name, f"{value:.6f}")]


def encode_tasks(
    movies: Iterable[Path], options: Sequence[str], output: Path | None = None
) -> list[ClipTask]:
    """Return what is to be done for each movie; the ``.s2d`` lies beside it unless ``output`` is given."""
    tasks: list[ClipTask] = []
    for movie in movies:
        taken = [task.path for task in tasks]
        tasks.append(ClipTask(_free_name(output or movie.with_suffix(".s2d"), taken), movie, tuple(options)))
    return tasks


def _free_name(path: Path, taken: Sequence[Path]) -> Path:
    """Return ``path``, or the first numbered name beside it that is free and not ``taken``."""
    number, free = 2, path
    while free.exists() or free in taken:
        free, number = path.with_name(f"{path.stem} {number}{path.suffix}"), number + 1
    return free


register, unregister = registration((S2D_OT_encode_video,))
