# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a clip alive: finding its files again, packing it into the ``.blend``, mending it on the way.

Blender cannot pack point caches and movies. The ``.s2d`` they came from is a few kilobytes: a packed clip has
it in a custom property of its empty, and is decoded again where its files are gone.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from pathlib import Path
from typing import Annotated, Any

import bpy
from bpy.app.handlers import persistent

from ..engine.decoded import DESCRIPTION_FILE, read_decoded
from ..engine.job import CLIP_FILE
from ..registering import registration
from ..typed import OperatorResult, present
from . import cleanup_properties, picture, redecoding, scene, storage
from .redecoding import PACKED, REDECODING
from .ui import ClipOperator, ClipPanel, active_clip, draw_messages

_MOST_FOLDERS = 20_000  # searched by Relink
_LARGEST_CLIP = 100_000_000  # bytes; a file of this size is no .s2d that is worth reading whole
_RESTORE_SECONDS = 0.5  # after loading a file, so that its window comes up first


class S2D_OT_relink_clip(ClipOperator):
    """Find the clip's decoded files again, or its .s2d file, in a folder and all folders inside it"""

    bl_idname = "s2d.relink_clip"
    bl_label = "Relink"
    bl_options = {"UNDO"}

    directory: Annotated[
        str,
        bpy.props.StringProperty(
            name="Folder", description="Where to search for the clip's files", subtype="DIR_PATH"
        ),
    ]
    filter_folder: Annotated[bool, bpy.props.BoolProperty(default=True, options={"HIDDEN"})]

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> OperatorResult:
        """Ask for the folder."""
        present(context.window_manager).fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Search, and play what was found; decode it again where only the .s2d was found."""
        root, top = active_clip(context), Path(bpy.path.abspath(self.directory))
        errors = []
        if found := _find_decoded(top, root[scene.CLIP_KEY]):
            scene.relink(root, found)
            try:
                _bring_up_to_date(root)
                whole = not missing_files(root)  # not so where a cleaned-up motion was not kept
            except OSError:
                whole = False
            if not whole:
                errors = redecoding.decode_again([redecoding.order(root, found, _applied_edits(root))])
        elif found := _find_file(top, root[scene.CLIP_KEY]):
            errors = _restore([root], found.read_bytes())
        else:
            said = f"Neither the clip's decoded files nor its .s2d are in {top}"
            errors = [f"{said}: choose another folder, or import it again."]
        for error in errors:
            self.report({"ERROR"}, error)
        return {"CANCELLED"} if errors else {"FINISHED"}


class S2D_OT_pack_clip(ClipOperator):
    """Keep the clip's .s2d inside the .blend, to decode it again wherever its files are missing"""

    bl_idname = "s2d.pack_clip"
    bl_label = "Pack with .blend"
    bl_options = {"UNDO"}

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Put the file into a custom property, or take it out."""
        root = active_clip(context)
        if root.get(PACKED):
            del root[PACKED]
            return {"FINISHED"}
        path = scene.clip_folder(root) / CLIP_FILE
        try:
            root[PACKED] = path.read_bytes()
        except OSError as error:
            self.report(
                {"ERROR"}, f"{path}: {error.strerror}. Use Relink, or import the clip again, then pack it."
            )
            return {"CANCELLED"}
        return {"FINISHED"}


class S2D_OT_restore_clips(bpy.types.Operator):
    """Decode the packed clips whose files are missing again"""

    bl_idname = "s2d.restore_clips"
    bl_label = "Decode Again"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Allow it where there is something to restore and the engine rests."""
        if redecoding.busy():
            cls.poll_message_set("A clip is being decoded: wait for it, or cancel it")
            return False
        return bool(_to_restore())

    def execute(self, _context: bpy.types.Context) -> OperatorResult:
        """Have the engine do it aside."""
        errors = _restore(_to_restore())
        for error in errors:
            self.report({"ERROR"}, error)
        return {"CANCELLED"} if errors else {"FINISHED"}


def missing_files(root: bpy.types.Object) -> list[Path]:
    """Return the decoded files that the clip plays and that are not where they should be."""
    return [path for path in dict.fromkeys(scene.played_files(root)) if not path.is_file()]


def _to_restore() -> list[bpy.types.Object]:
    roots = [root for root in scene.all_roots() if root.get(PACKED) and not root.library]
    return [root for root in roots if missing_files(root)]


def _restore(roots: list[bpy.types.Object], packed: bytes | None = None) -> list[str]:
    # A name of ".." in a stranger's file must not lead out of the cache.
    folders = [storage.cache_root() / Path(os.path.abspath(scene.clip_folder(root))).name for root in roots]
    return redecoding.decode_again(
        [
            redecoding.order(root, folder, _applied_edits(root), packed)
            for root, folder in zip(roots, folders, strict=True)
        ]
    )


def _applied_edits(root: bpy.types.Object) -> dict[str, Any]:
    return cleanup_properties.wanted_edits(root) if root.get(scene.CLIP_EDIT) else {}


def _find_decoded(top: Path, key: str) -> Path | None:
    """Return the folder inside ``top`` that holds the decoded clip with this key."""
    for folder, _, names in itertools.islice(os.walk(top), _MOST_FOLDERS):
        if DESCRIPTION_FILE in names and not Path(folder).name.startswith(cleanup_properties.FOLDER_PREFIX):
            try:
                description = json.loads((Path(folder) / DESCRIPTION_FILE).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if isinstance(description, dict) and description.get("clip") == key:
                return Path(folder)
    return None


def _find_file(top: Path, key: str) -> Path | None:
    """Return the ``.s2d`` inside ``top`` with this key, which is its SHA-256."""
    for folder, _, names in itertools.islice(os.walk(top), _MOST_FOLDERS):
        for path in (Path(folder) / name for name in names if name.lower().endswith(".s2d")):
            try:
                if path.stat().st_size < _LARGEST_CLIP and _sha256(path) == key:
                    return path
            except OSError:
                continue
    return None


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class S2D_PT_files(ClipPanel):
    """The clip's files."""

    bl_label = "Files"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw where the files are and how they are kept."""
        layout, root = self.layout, active_clip(context)
        layout.label(text=scene.clip_folder(root).name, icon="FILE_FOLDER")
        packed = root.get(PACKED)
        size = f" ({len(packed) / 1000:.1f} kB)" if packed else ""
        row = layout.row(align=True)
        row.operator(
            S2D_OT_pack_clip.bl_idname, text=f"Pack with .blend{size}", icon="PACKAGE", depress=bool(packed)
        )
        row.operator(S2D_OT_relink_clip.bl_idname, icon="FILE_REFRESH")


class S2D_PT_missing(ClipPanel):
    """What to do about the clip's missing files."""

    bl_label = "Missing Files"
    bl_order = 0

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Show it while files are missing."""
        return super().poll(context) and bool(missing_files(active_clip(context)))

    def draw(self, context: bpy.types.Context) -> None:
        """Draw which files are missing, and what brings them back."""
        layout, root = self.layout, active_clip(context)
        if redecoding.draw_redecoding(layout):
            return
        missing = missing_files(root)
        names = " and ".join(path.name for path in missing)
        lines = [f"{names}: missing in {missing[0].parent}. Put the folder back, or find it with Relink."]
        lines += REDECODING.current.errors if REDECODING.current else []
        draw_messages(layout, context, lines, "ERROR")
        row = layout.row(align=True)
        row.operator(S2D_OT_relink_clip.bl_idname, icon="FILE_REFRESH")
        if root.get(PACKED):
            row.operator(S2D_OT_restore_clips.bl_idname, icon="PACKAGE")


# ---- mending ---------------------------------------------------------------------------------


class _Seen:
    """How many objects there were when clips were last looked at: duplicates and appended clips make more."""

    objects = 0


def _bring_up_to_date(root: bpy.types.Object) -> None:
    """Show what was decoded since, and give a duplicated video plane a material of its own."""
    plane = scene.find_part(root, "video")
    if plane and picture.shows_other_clip(plane, root):
        picture.own_material(plane, root)
    if any(child.get(scene.WAITING) for child in root.children):
        folder = scene.clip_folder(root)
        if (folder / DESCRIPTION_FILE).is_file():
            scene.update_clip(root, read_decoded(folder, root.name))


@persistent
def _mend(*_: object) -> None:
    """Bring all clips up to date; a clip whose files are in disorder must not spoil the rest."""
    _Seen.objects = len(bpy.data.objects)
    for root in scene.all_roots():
        if root.library is None:
            try:
                _bring_up_to_date(root)
            except OSError as error:
                print(f"Sparse2Dense: {root.name} stays as it is ({error}).")


@persistent
def _mend_new(*_: object) -> None:
    if len(bpy.data.objects) != _Seen.objects and not bpy.app.is_job_running("RENDER"):
        _mend()


@persistent
def _note_folders(blend: str, *_: object) -> None:
    """Before saving: note each clip's folder, as seen from the file, for when it plays none of its files."""
    home = Path(blend).parent if blend else None
    for root in scene.all_roots():
        if root.library is None:
            folder = scene.clip_folder(root)
            inside = folder.relative_to(home) if home and folder.is_relative_to(home) else None
            root[storage.CLIP_FOLDER] = f"//{inside.as_posix()}" if inside else str(folder)


@persistent
def _restore_loaded(*_: object) -> None:
    """After loading a file: decode what is packed in it and not beside it."""
    if bpy.app.background:
        _restore_packed()
    else:
        bpy.app.timers.register(_restore_packed, first_interval=_RESTORE_SECONDS)


def _restore_packed() -> None:
    if (roots := _to_restore()) and not redecoding.busy():
        _restore(roots)


_register, _unregister = registration(
    (S2D_OT_relink_clip, S2D_OT_pack_clip, S2D_OT_restore_clips, S2D_PT_missing, S2D_PT_files)
)
_HANDLERS = (
    ("load_post", _mend),
    ("load_post", _restore_loaded),
    ("save_pre", _note_folders),
    ("undo_post", _mend),
    ("redo_post", _mend),
    ("depsgraph_update_post", _mend_new),
)


def register() -> None:
    """Register the panel and the operators, and watch for what may need mending."""
    _register()
    for name, handler in _HANDLERS:
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    """Remove what :func:`register` added."""
    for name, handler in _HANDLERS:
        getattr(bpy.app.handlers, name).remove(handler)
    _unregister()
