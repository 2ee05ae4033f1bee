# SPDX-License-Identifier: GPL-3.0-or-later
"""Encoding a movie to a ``.s2d`` file, which is then imported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import bpy
from bpy_extras.io_utils import ImportHelper

from .engine.job import ClipTask
from .importing import ClipImporter
from .registering import registration
from .typed import OperatorResult, present

_QUALITIES = {"SMALL": ("8", "30", "20"), "BALANCED": (), "HIGH": ("4", "80", "60")}
_CODING_OPTIONS = ("--step", "--quality", "--plate-quality")


class S2D_OT_encode_video(ClipImporter, ImportHelper):
    """Capture the person in a movie, save the motion as a small .s2d file, and import that"""

    bl_idname = "s2d.encode_video"
    bl_label = "Video to .s2d"
    bl_options = {"PRESET"}

    filter_movie: Annotated[bool, bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})]
    filter_folder: Annotated[bool, bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})]
    output: Annotated[
        str,
        bpy.props.StringProperty(
            name="Save As",
            description="The .s2d file that is made. Empty: beside the movie, under its name",
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
    fov: Annotated[
        float,
        bpy.props.FloatProperty(
            name="Field of View",
            description="Angle across the longer side of the movie's picture, in degrees. 0: estimate it",
            min=0.0,
            max=170.0,
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

    def invoke(  # type: ignore[override]  # ImportHelper's is not as exact
        self, context: bpy.types.Context, event: bpy.types.Event
    ) -> OperatorResult:
        """Ask for the movie."""
        self.propose_options(context)
        return super().invoke(context, event)

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Start encoding; without a window, wait for it and build the scene."""
        movie = Path(bpy.path.abspath(self.filepath))
        if not self.filepath or movie.is_dir():
            self.report({"ERROR"}, "No file was chosen: choose a movie.")
            return {"CANCELLED"}
        if not movie.is_file():
            self.report({"ERROR"}, f"{movie} is no file: choose a movie.")
            return {"CANCELLED"}
        if self.end and self.end <= self.start:
            self.report(
                {"ERROR"}, f"The end, {self.end:g} s, is not after the start: choose a later one, or 0."
            )
            return {"CANCELLED"}
        output = Path(bpy.path.abspath(self.output)) if self.output else movie.with_suffix(".s2d")
        task = ClipTask(_free_name(output), movie, tuple(self._encode_options()))
        return self.begin(context, [task])

    def _encode_options(self) -> list[str]:
        given = {"--start": self.start, "--end": self.end, "--fov": self.fov}
        options = [text for name, value in given.items() if value for text in (name, str(value))]
        options += ["--person", str(self.person), "--size", str(self.size)]
        if self.sex != "BETWEEN":
            options += ["--sex", self.sex.lower()]
        for name, value in zip(_CODING_OPTIONS, _QUALITIES[self.quality], strict=False):
            options += [name, value]
        return options


def _free_name(path: Path) -> Path:
    """Return ``path``, or the first numbered name beside it that is free."""
    number, free = 2, path
    while free.exists():
        free, number = path.with_name(f"{path.stem} {number}{path.suffix}"), number + 1
    return free


def _draw_import_entry(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    present(self.layout).operator(S2D_OT_encode_video.bl_idname, text="Video to Sparse2Dense Clip")


_register, _unregister = registration((S2D_OT_encode_video,))


def register() -> None:
    """Register the operator and its File > Import entry."""
    _register()
    bpy.types.TOPBAR_MT_file_import.append(_draw_import_entry)  # type: ignore[arg-type]  # given the menu too


def unregister() -> None:
    """Remove what :func:`register` added."""
    bpy.types.TOPBAR_MT_file_import.remove(_draw_import_entry)  # type: ignore[arg-type]
    _unregister()
