# SPDX-License-Identifier: GPL-3.0-or-later
"""Decode clips of the scene again, aside: with other edits, or because their files are gone.

As with an import, nothing of Blender's is kept while the engine works: the user may undo or delete meanwhile.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
from bpy.app.handlers import persistent

from ...models.errors import InputError
from ..engine import cache, settings
from ..engine.decoded import CLIP_FILE, DecodedClip, read_decoded
from ..engine.job import FILMING, IMPORTING, Engine, Job, LastJob, has_motion, is_complete
from ..registering import registration
from ..typed import OperatorResult, windows
from . import cleanup_properties, scene
from .ui import stage_text

PACKED = "packed_clip"
"""The custom property that holds a packed clip's ``.s2d``."""

_TICK_SECONDS = 0.1


@dataclass(frozen=True)
class Order:
    """One clip to decode: where to, from which bytes if its ``.s2d`` is not there, with which edits."""

    root: int  # the empty's session_uid
    name: str
    folder: Path
    packed: bytes | None
    edits: dict[str, Any]


def order(root: bpy.types.Object, folder: Path, wanted: dict[str, Any], packed: bytes | None = None) -> Order:
    """Return the order to decode a clip of the scene to ``folder`` with the edits ``wanted``."""
    return Order(root.session_uid, root.name, folder, packed or root.get(PACKED), wanted)


class RedecodingJob(Job):
    """Decodes what the orders ask for and is not there yet: all meshes, and then all videos."""

    def __init__(self, engine: Engine, orders: Sequence[Order]) -> None:
        super().__init__(engine)
        self.orders = tuple(orders)
        self.current: Order | None = None
        self.clips: dict[int, DecodedClip] = {}  # what is decoded by now; another object with every part
        self.edited: set[int] = set()  # those whose cleaned-up motion is there
        self._failed: set[int] = set()

    def work(self) -> None:
        """Decode one clip after the other; one that fails leaves a line in ``errors``."""
        # One clip alone needs no second start of the engine between its mesh and its video.
        alone = len(self.orders) == 1 and not self.orders[0].edits
        for only in (None,) if alone else ("mesh", "video"):
            for number, order in enumerate(self.orders):
                if self.cancelled:
                    return
                if number in self._failed:
                    continue
                self.current, self.stage, self.done, self.total = order, "", 0, 0
                try:
                    self._decode(number, order, only)
                except Exception as error:
                    if not self.cancelled:
                        self._failed.add(number)
                        self.fail(error, order.folder / CLIP_FILE)

    def _decode(self, number: int, order: Order, only: str | None) -> None:
        source = order.folder / CLIP_FILE
        # The clip's copy says that the folder is the add-on's, unless it came there out of somebody's .blend.
        force = ["--force"] if source.is_file() and not order.packed else []
        if order.packed and not source.is_file():
            order.folder.mkdir(parents=True, exist_ok=True)
            source.write_bytes(order.packed)
        if not source.is_file():
            message = f"{source} is missing: find it with Relink, or import the clip again."
            raise InputError("file", message)
        cache.claim(order.folder)

        def show(_part: str) -> None:
            self.clips[number] = read_decoded(order.folder, order.name)

        clip = _read(order.folder, order.name)
        moving = clip is not None and has_motion(clip)
        if clip is None or not (moving if only == "mesh" else is_complete(clip)):
            wanted = "video" if moving else only
            parts = ["--only", wanted] if wanted else []
            self._run_decode(source, order.folder, *parts, *force, on_part=show)
        else:
            self.clips[number] = clip
        if only == "mesh":
            folder = order.folder / cleanup_properties.folder_name(order.edits)
            clip = _read(folder, order.name)
            if clip is None or clip.skeleton is None:
                with tempfile.TemporaryDirectory() as aside:  # contacts may be more than a command line takes
                    edits = Path(aside) / "edits.json"
                    edits.write_text(json.dumps(order.edits), encoding="utf-8")
                    self._run_decode(source, folder, "--only", "mesh", "--edits", str(edits), *force)
            self.edited.add(number)

    def _run_decode(
        self, source: Path, folder: Path, *options: str, on_part: Callable[[str], None] | None = None
    ) -> None:
        arguments = (*options, *self.engine.decode_options())
        self.run_worker("decode", str(source), "-o", str(folder), *arguments, on_part=on_part)


REDECODING: LastJob[RedecodingJob] = LastJob()


def busy() -> bool:
    """Whether the engine is at work for an import or another clip."""
    return IMPORTING.running() or REDECODING.running() or FILMING.running()


def decode_again(orders: Sequence[Order]) -> list[str]:
    """Begin to decode, and show the results when they are there; without a window, wait for them.

    Returns what went wrong, one line each, as far as it is known by then.
    """
    job = RedecodingJob(settings.chosen_engine(), orders)
    REDECODING.start(job)
    if bpy.app.background or not windows(bpy.context):
        job.wait()
        _show_results(job)
        return job.errors
    bpy.app.timers.register(_tick, first_interval=_TICK_SECONDS)
    return []


def draw_redecoding(layout: bpy.types.UILayout) -> bool:
    """Draw how far it is, and a button that ends it; returns whether there is anything at work."""
    job = REDECODING.current
    if job is None or not job.running:
        return False
    layout.progress(factor=job.fraction, text=stage_text(job), translate=False)
    layout.operator(S2D_OT_cancel_redecoding.bl_idname, icon="X")
    return True


class S2D_OT_cancel_redecoding(bpy.types.Operator):
    """Stop decoding the clip again, and leave it as it was"""

    bl_idname = "s2d.cancel_redecoding"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Allow it while a clip is decoded again."""
        return REDECODING.running()

    def execute(self, _context: bpy.types.Context) -> OperatorResult:
        """Kill the worker."""
        if REDECODING.current:
            REDECODING.current.cancel()
        return {"FINISHED"}


class _Shown:
    """What of the job's clips the scene shows, by their numbers: with which parts, and whether cleaned up."""

    job: RedecodingJob | None = None
    clips: dict[int, tuple[DecodedClip, bool]] = {}


def _tick() -> float | None:
    job = REDECODING.current
    if job is None:
        return None
    windows_ = windows(bpy.context)
    for window in windows_:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()
        window.workspace.status_text_set(None)
    # While the user edits a mesh, Blender holds it apart from the scene.
    if bpy.app.is_job_running("RENDER") or not windows_ or bpy.context.mode in {"EDIT_MESH", "SCULPT"}:
        return _TICK_SECONDS
    running = job.running  # asked first: what comes after was there when the job ended
    with bpy.context.temp_override(window=windows_[0]):
        _show_results(job)
        if running:
            return _TICK_SECONDS
        if _Shown.clips:
            bpy.ops.ed.undo_push(message="Decode Clip")
    return None


def _show_results(job: RedecodingJob) -> None:
    """Show what is decoded by now and not shown yet."""
    if _Shown.job is not job:
        _Shown.job, _Shown.clips = job, {}
    for number, clip in list(job.clips.items()):
        order, edited = job.orders[number], number in job.edited
        shown = _Shown.clips.get(number)
        if shown and shown[0] is clip and shown[1] == edited:
            continue
        root = next((item for item in scene.all_roots() if item.session_uid == order.root), None)
        if root is None:
            continue
        try:
            _show(root, order, clip, edited)
        except OSError as error:  # gone or damaged since
            job.fail(error, order.folder)
        _Shown.clips[number] = clip, edited


def _show(root: bpy.types.Object, order: Order, clip: DecodedClip, edited: bool) -> None:
    scene.relink(root, order.folder)
    scene.await_missing(root, clip)
    if order.edits and not edited:
        return  # the motion as it was filmed is not what was asked for
    root[scene.CLIP_EDIT] = cleanup_properties.folder_name(order.edits)
    scene.update_clip(root, clip)
    if edited or clip.skeleton:
        scene.show_motion(root, cleanup_properties.folder_name(order.edits))


def _read(folder: Path, name: str) -> DecodedClip | None:
    try:
        return read_decoded(folder, name)
    except OSError:
        return None


@persistent
def _end(*_: object) -> None:
    REDECODING.end()


_register, _unregister = registration((S2D_OT_cancel_redecoding,))


def register() -> None:
    """Register the operator, and the end of the work where another file is loaded."""
    _register()
    bpy.app.handlers.load_pre.append(_end)


def unregister() -> None:
    """End what is at work and remove what :func:`register` added."""
    REDECODING.end()
    bpy.app.handlers.load_pre.remove(_end)
    _unregister()
