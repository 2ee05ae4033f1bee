# SPDX-License-Identifier: GPL-3.0-or-later
"""Decode clips of the scene again, aside: with other edits, or because their files are gone.

As with an import, nothing of Blender's is kept while the engine works: the user may undo or delete meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
from bpy.app.handlers import persistent

from ...models.errors import InputError
from ..engine import cache, settings
from ..engine.decoded import DecodedClip, read_decoded
from ..engine.job import CLIP_FILE, IMPORTING, Engine, Job, LastJob, is_complete
from ..registering import registration
from ..typed import OperatorResult, windows
from . import cleanup_properties, scene

PACKED = "packed_clip"
"""The custom property that holds a packed clip's ``.s2d``."""

_TICK_SECONDS = 0.1
_STAGES = {"keypoints": "Keypoints", "vertices": "Mesh", "skeleton": "Skeleton", "video": "Video"}


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
    """Decodes what the orders ask for and is not there yet."""

    def __init__(self, engine: Engine, orders: Sequence[Order]) -> None:
        super().__init__(engine)
        self.orders = tuple(orders)
        self.done_orders: list[Order] = []

    def work(self) -> None:
        """Decode one clip after the other; one that fails leaves a line in ``errors``."""
        for order in self.orders:
            if self.cancelled:
                break
            try:
                self._decode(order)
                self.done_orders.append(order)
            except Exception as error:
                if not self.cancelled:
                    self.fail(error, order.folder / CLIP_FILE)

    def _decode(self, order: Order) -> None:
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
        clip = _read(order.folder, order.name)
        if clip is None or not is_complete(clip):
            self._run_decode(source, order.folder, *force)
        folder = order.folder / cleanup_properties.folder_name(order.edits)
        clip = _read(folder, order.name)
        if clip is None or clip.skeleton is None:
            self._run_decode(source, folder, "--only", "mesh", "--edits", json.dumps(order.edits), *force)

    def _run_decode(self, source: Path, folder: Path, *options: str) -> None:
        arguments = (*options, *self.engine.decode_options())
        self.run_worker("decode", str(source), "-o", str(folder), *arguments)


REDECODING: LastJob[RedecodingJob] = LastJob()


def busy() -> bool:
    """Whether the engine is at work for an import or another clip."""
    return IMPORTING.running() or REDECODING.running()


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
    layout.progress(factor=job.fraction, text=f"{_STAGES.get(job.stage, 'Starting')} {job.fraction:.0%}")
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


def _tick() -> float | None:
    job = REDECODING.current
    if job is None:
        return None
    shown = windows(bpy.context)
    for window in shown:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()
    if job.running or bpy.app.is_job_running("RENDER") or not shown:
        return _TICK_SECONDS
    with bpy.context.temp_override(window=shown[0]):
        if _show_results(job):
            bpy.ops.ed.undo_push(message="Decode Clip")
    return None


def _show_results(job: RedecodingJob) -> bool:
    shown = False
    for order in job.done_orders:
        root = next((item for item in scene.all_roots() if item.session_uid == order.root), None)
        if root is None:
            continue
        scene.relink(root, order.folder)
        try:
            scene.update_clip(root, read_decoded(order.folder, order.name))
            scene.show_motion(root, cleanup_properties.folder_name(order.edits))
            shown = True
        except OSError as error:  # gone or damaged since
            job.fail(error, order.folder)
    return shown


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
