# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a clip alive: finding its files again, packing it into the ``.blend``, mending it on the way.

Blender cannot pack point caches and movies. The ``.s2d`` they came from is a few kilobytes: a packed clip has
it in a custom property of its empty, and is decoded again where its files are gone. A clip that was saved
before all of it was decoded is finished when its file is opened.
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

from ..engine.decoded import CLIP_FILE, DESCRIPTION_FILE, read_decoded
from ..engine.job import IMPORTING
from ..registering import registration
from ..translating import label_text, say
from ..typed import OperatorResult, present
from . import cleanup_properties, picture, redecoding, scene, storage
from .redecoding import PACKED, REDECODING
from .ui import ClipOperator, ClipPanel, active_clip, draw_messages, remember

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
            said = say(
                "Neither the clip's decoded files nor its .s2d are in {folder}: choose another folder, or "
                "import it again.",
                folder=top,
            )
            errors = [said]
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
        try:
            pack(root)
        except OSError as error:
            cure = say("Use Relink, or import the clip again, then pack it.")
            self.report({"ERROR"}, f"{error.filename}: {error.strerror}. {cure}")
            return {"CANCELLED"}
        return {"FINISHED"}


class S2D_OT_restore_clips(bpy.types.Operator):
    """Decode what is missing of the clips: those whose files are gone, and those that were never finished"""

    bl_idname = "s2d.restore_clips"
    bl_label = "Decode"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Allow it where there is something to restore and the engine rests."""
        if redecoding.busy():
            cls.poll_message_set(say("A clip is being decoded: wait for it, or cancel it"))
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


def pack(root: bpy.types.Object) -> None:
    """Keep the clip's ``.s2d`` inside the ``.blend``. Raises OSError where it cannot be read."""
    root[PACKED] = (scene.clip_folder(root) / CLIP_FILE).read_bytes()


def _to_restore() -> list[bpy.types.Object]:
    roots = [root for root in scene.all_roots() if not root.library]
    return [root for root in roots if _lacks_something(root) and (root.get(PACKED) or _file_of(root))]


def _lacks_something(root: bpy.types.Object) -> bool:
    return bool(missing_files(root)) or not scene.is_finished(root)


def _file_of(root: bpy.types.Object) -> Path | None:
    """Return the copy of the ``.s2d`` in the clip's folder, None where there is none, or another clip's."""
    path = scene.clip_folder(root) / CLIP_FILE
    try:
        return path if _sha256(path) == root[scene.CLIP_KEY] else None
    except OSError:
        return None


def _restore(roots: list[bpy.types.Object], packed: bytes | None = None) -> list[str]:
    orders = []
    for root in roots:
        folder = scene.clip_folder(root)
        if packed is None and (path := _file_of(root)):
            # Given as if packed, since the file that names the folder may be a stranger's: nothing in it that
            # is no part of the clip is replaced.
            orders.append(redecoding.order(root, folder, _applied_edits(root), path.read_bytes()))
            continue
        # A name of ".." in a stranger's file must not lead out of the cache.
        folder = storage.cache_root() / Path(os.path.abspath(folder)).name
        orders.append(redecoding.order(root, folder, _applied_edits(root), packed))
    return redecoding.decode_again(orders)


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
        layout.label(text=scene.clip_folder(root).name, translate=False, icon="FILE_FOLDER")
        packed = root.get(PACKED)
        size = f" ({len(packed) / 1000:.1f} kB)" if packed else ""
        text = f"{label_text('Pack with .blend')}{size}"
        row = layout.row(align=True)
        row.operator(S2D_OT_pack_clip.bl_idname, text=text, icon="PACKAGE", depress=bool(packed))
        row.operator(S2D_OT_relink_clip.bl_idname, icon="FILE_REFRESH")


class S2D_PT_missing(ClipPanel):
    """What to do about what is missing of the clip."""

    bl_label = "Missing Files"
    bl_order = 0

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Show it while files are missing, or were never made and no import makes them."""
        return super().poll(context) and not IMPORTING.running() and _lacks_something(active_clip(context))

    def draw(self, context: bpy.types.Context) -> None:
        """Draw which files are missing, and what brings them back."""
        layout, root = self.layout, active_clip(context)
        if redecoding.draw_redecoding(layout):
            return
        if missing := missing_files(root):
            said = say(
                "{names}: missing in {folder}. Put the folder back, or find it with Relink.",
                names=", ".join(path.name for path in missing),
                folder=missing[0].parent,
            )
            lines = [said]
        else:
            lines = [say("This clip is not decoded to its end yet: Decode makes the rest.")]
        lines += REDECODING.current.errors if REDECODING.current else []
        draw_messages(layout, context, lines, "ERROR")
        row = layout.row(align=True)
        row.operator(S2D_OT_relink_clip.bl_idname, icon="FILE_REFRESH")
        if root.get(PACKED) or not missing:
            row.operator(S2D_OT_restore_clips.bl_idname, icon="PACKAGE")


# ---- mending ---------------------------------------------------------------------------------


class _Seen:
    """What there was when clips were last looked at: duplicates and appended clips are more objects."""

    objects = 0
    view = ""


def _bring_up_to_date(root: bpy.types.Object) -> None:
    """Show what was decoded since, and give a duplicated video plane a material of its own."""
    plane = scene.find_part(root, "video")
    if plane and picture.shows_other_clip(plane, root):
        picture.own_material(plane, root)
    if plane:
        picture.match_view(plane)
    if any(child.get(scene.WAITING) for child in root.children):
        folder = scene.clip_folder(root)
        if (folder / DESCRIPTION_FILE).is_file():
            scene.update_clip(root, read_decoded(folder, root.name))


@persistent
def _mend(*_: object) -> None:
    """Bring all clips up to date; a clip whose files are in disorder must not spoil the rest."""
    _Seen.objects = len(bpy.data.objects)
    storage.hold_used()
    for root in scene.all_roots():
        if root.library is None:
            try:
                _bring_up_to_date(root)
            except OSError as error:
                print(f"Sparse2Dense: {root.name} stays as it is ({error}).")


@persistent
def _mend_new(*_: object) -> None:
    if bpy.app.is_job_running("RENDER"):
        return
    if len(bpy.data.objects) != _Seen.objects:
        _mend()
    if _view() != _Seen.view:
        _match_views()


@persistent
def _match_views(*_: object) -> None:
    """Before rendering, and where another view transform was chosen: let all videos look as they are."""
    _Seen.view = _view()
    for root in scene.all_roots():
        for plane in scene.find_parts(root, "video"):
            picture.match_view(plane)


def _view() -> str:
    return present(present(bpy.context.scene).view_settings).view_transform


@persistent
def _note_folders(blend: str, *_: object) -> None:
    """Before saving: note each clip's folder, as seen from the file, for when it plays none of its files."""
    if blend:
        for root in scene.all_roots():
            if root.library is None:
                root[storage.CLIP_FOLDER] = storage.as_seen(scene.clip_folder(root), Path(blend).parent)


@persistent
def _play_where_noted(*_: object) -> None:
    """After loading and undoing: play each clip that has lost its files from where it may lie instead.

    That is where it was noted to be, and, after saving was undone, where new clips go.
    """
    for root in scene.all_roots():
        if root.library is None and missing_files(root):
            noted = Path(bpy.path.abspath(root[storage.CLIP_FOLDER]))
            for folder in (noted, storage.cache_root() / noted.name):
                if (folder / DESCRIPTION_FILE).is_file():
                    scene.relink(root, folder)
                    break


@persistent
def _remember_loaded(*_: object) -> None:
    """After loading: the clip that was imported last is the one in use."""
    for root in scene.all_roots():
        remember(root)


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
    ("load_post", _play_where_noted),
    ("load_post", _mend),
    ("load_post", _remember_loaded),
    ("load_post", _restore_loaded),
    ("save_pre", _note_folders),
    ("undo_post", _play_where_noted),
    ("undo_post", _mend),
    ("redo_post", _play_where_noted),
    ("redo_post", _mend),
    ("depsgraph_update_post", _mend_new),
    ("render_init", _match_views),
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
