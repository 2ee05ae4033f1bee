# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences: on what it computes, where it keeps what it computed, what an import does."""

from __future__ import annotations

import platform
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import bpy

from .engine.cache import weights
from .engine.job import IMPORTING, Engine, WorkerJob
from .engine.settings import PACKAGE, settings
from .registering import registration
from .translating import label_text, say, translatable
from .typed import OperatorResult, present, windows

_MANIFEST = Path(__file__).resolve().parents[1] / "blender_manifest.toml"
_TICK_SECONDS = 0.1
_DEVICES = {
    "cuda": translatable("NVIDIA graphics card (CUDA)"),
    "mps": translatable("Apple graphics (Metal)"),
}


class S2DPreferences(bpy.types.AddonPreferences):
    """Settings that hold for all files."""

    bl_idname = PACKAGE

    device: Annotated[
        str,
        bpy.props.EnumProperty(
            name="Decode On",
            description="What turns clips into meshes and videos",
            items=(
                ("CPU", "Processor", "Works everywhere and needs nothing else"),
                (
                    "TORCH",
                    "Graphics Card",
                    "Faster. Needs a Python of yours with PyTorch for the graphics card",
                ),
            ),
        ),
    ]
    python: Annotated[
        str,
        bpy.props.StringProperty(
            name="Python",
            description=(
                "The program python or python.exe of a Python with PyTorch. "
                "Test says which packages it lacks, if any"
            ),
            subtype="FILE_PATH",
            update=lambda self, _context: self.property_unset("torch_device"),
        ),
    ]
    torch_device: Annotated[
        str,
        bpy.props.StringProperty(
            name="Device",
            description="What the test found in that Python",
            default="auto",
            options={"HIDDEN"},
        ),
    ]
    cache_folder: Annotated[
        str,
        bpy.props.StringProperty(
            name="Cache Folder",
            description=(
                "Where decoded clips are kept. Empty: beside the .blend file, so that both move together"
            ),
            subtype="DIR_PATH",
        ),
    ]
    cache_limit: Annotated[
        float,
        bpy.props.FloatProperty(
            name="Size Limit (GB)",
            description=(
                "Decoded clips beyond this are removed, those used longest ago first. "
                "Clips of the open file and clips beside a .blend file are never removed"
            ),
            default=20.0,
            min=0.0,
            soft_min=1.0,
            soft_max=500.0,
            precision=1,
        ),
    ]
    body_folder: Annotated[
        str,
        bpy.props.StringProperty(
            name="Body Models",
            description=(
                "Folder with your own model files of the SMPL family, such as SMPLX_NEUTRAL.npz. "
                "Only clips made for those bodies need it"
            ),
            subtype="DIR_PATH",
        ),
    ]
    set_scene: Annotated[
        str,
        bpy.props.EnumProperty(
            name="Set Scene Rate and Range",
            description="When an import proposes to give the scene the clip's frame rate and frame range",
            items=(
                (
                    "NEW",
                    "In New Scenes",
                    "In a scene with nothing in it but a camera, lights, Blender's cube and clips",
                ),
                ("ALWAYS", "Always", "In every scene"),
                ("NEVER", "Never", "In no scene: the clip plays at its right speed either way"),
            ),
        ),
    ]
    set_resolution: Annotated[
        bool,
        bpy.props.BoolProperty(
            name="Set Resolution",
            description="Propose to give the scene the clip's resolution and look through its camera",
        ),
    ]
    hold_feet: Annotated[
        bool,
        bpy.props.BoolProperty(
            name="Hold Feet on the Floor",
            description=(
                "Propose to hold feet on the floor: clips come in with Ground Snap and Foot Lock of Clean-up"
            ),
            default=True,
        ),
    ]
    pack: Annotated[
        bool,
        bpy.props.BoolProperty(
            name="Pack Clips",
            description=(
                "Keep each imported clip's .s2d, a few kilobytes, inside the .blend: "
                "wherever the decoded files are missing it is decoded again"
            ),
            default=True,
        ),
    ]

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw the settings."""
        layout = self.layout
        layout.use_property_split = True
        layout.label(text="Computing")
        layout.prop(self, "device")
        if self.device == "TORCH":
            layout.prop(self, "python")
            layout.operator(S2D_OT_test_device.bl_idname, icon="PLAY")
            if S2D_OT_test_device.said:
                layout.label(text=S2D_OT_test_device.said, translate=False, icon="INFO")
        layout.prop(self, "body_folder")
        layout.label(text="Decoded Clips")
        layout.prop(self, "cache_folder")
        layout.prop(self, "cache_limit")
        layout.operator("s2d.clear_cache", icon="TRASH")
        layout.label(text="Import")
        layout.prop(self, "set_scene")
        layout.prop(self, "set_resolution")
        layout.prop(self, "hold_feet")
        layout.prop(self, "pack")
        layout.separator()
        layout.operator(S2D_OT_copy_diagnostics.bl_idname, icon="COPYDOWN")


class S2D_OT_test_device(bpy.types.Operator):
    """See whether that Python can decode clips on a graphics card, and say what it found"""

    bl_idname = "s2d.test_device"
    bl_label = "Test"
    bl_options = {"INTERNAL"}

    said = ""  # what the last test found, for the preferences to show
    _job: WorkerJob
    _timer: bpy.types.Timer

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Ask the Python aside; without a window, wait for its answer."""
        python = bpy.path.abspath(present(settings()).python)
        if not Path(python).is_file():
            if not python:
                return self._tell("ERROR", say("No Python was chosen: choose a python program."))
            return self._tell("ERROR", say("{path} is not there: choose a python program.", path=python))
        self._job = WorkerJob(Engine(python), "probe")
        self._job.start()
        if bpy.app.background or not context.window:
            self._job.wait()
            return self._finish()
        type(self).said = label_text("Asking that Python…")
        manager = present(context.window_manager)
        self._timer = manager.event_timer_add(_TICK_SECONDS, window=context.window)
        manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> OperatorResult:
        """Wait for the answer."""
        if event.type != "TIMER" or self._job.running:
            return {"PASS_THROUGH"}
        present(context.window_manager).event_timer_remove(self._timer)
        for window in windows(context):
            for area in window.screen.areas:
                area.tag_redraw()
        return self._finish()

    def cancel(self, _context: bpy.types.Context) -> None:
        """End the test with the window it was started from."""
        self._job.end()

    def _finish(self) -> OperatorResult:
        found = self._job.result
        if found is None:
            cure = say("Choose a Python 3.11 or newer with PyTorch.")
            return self._tell("ERROR", " ".join([*self._job.errors, cure]))
        version = f"Python {found['python']}"
        if found["missing"]:
            names = " ".join(found["missing"])
            said = say("{python} lacks packages; there run: pip install {names}", python=version, names=names)
            return self._tell("ERROR", said)
        if found["device"] == "cpu":
            said = say(
                "{python} with PyTorch {torch} finds no graphics card that it can use. Clips are decoded on "
                "the processor.",
                python=version,
                torch=found["torch"],
            )
            return self._tell("WARNING", said, "cpu")
        said = say(
            "Clips are decoded on: {name}, {kind}, with PyTorch {torch}, {python}.",
            name=found["device_name"],
            kind=say(_DEVICES[found["device"]]),
            torch=found["torch"],
            python=version,
        )
        return self._tell("INFO", said, found["device"])

    def _tell(
        self, kind: Literal["INFO", "WARNING", "ERROR"], said: str, device: str = "auto"
    ) -> OperatorResult:
        type(self).said = said
        present(settings()).torch_device = device
        self.report({kind}, said)
        return {"CANCELLED"} if kind == "ERROR" else {"FINISHED"}


class S2D_OT_copy_diagnostics(bpy.types.Operator):
    """Copy what a report of a problem should hold to the clipboard: versions, settings and the last error"""

    bl_idname = "s2d.copy_diagnostics"
    bl_label = "Copy Diagnostics"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Copy them."""
        present(context.window_manager).clipboard = diagnostics()
        self.report({"INFO"}, "Copied: paste it into your report.")
        return {"FINISHED"}


def diagnostics() -> str:
    """Return the versions, the settings and the last import's errors, as lines of text."""
    version = tomllib.loads(_MANIFEST.read_text(encoding="utf-8"))["version"]
    chosen, job = settings(), IMPORTING.current
    lines = [
        f"Sparse2Dense {version}",
        f"Blender {bpy.app.version_string}, Python {sys.version.split()[0]}",
        f"{platform.platform()}, {platform.machine()}",
        *(f"{name} {digest[:12]}" for name, digest in weights().items()),
    ]
    if chosen:
        lines += [f"Decode on: {chosen.device} {chosen.python} {chosen.torch_device}"]
        lines += [f"Device test: {S2D_OT_test_device.said or 'not run'}"]
        lines += [f"Cache folder: {chosen.cache_folder or 'beside the .blend'}, {chosen.cache_limit:.1f} GB"]
        lines += [f"Body models: {chosen.body_folder or 'none'}"]
    lines += ["Last errors:", *(job.errors if job else ()), "Log:", job.log if job else ""]
    return "\n".join(lines)


register, unregister = registration((S2D_OT_test_device, S2D_OT_copy_diagnostics, S2DPreferences))
