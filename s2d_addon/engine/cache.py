# SPDX-License-Identifier: GPL-3.0-or-later
"""Where decoded clips live: beside the ``.blend`` once it is saved, so that both move together.

Before the first save they wait in a folder of the extension's own, and saving takes them along. That folder,
and the one that the user may choose for all clips, are kept below the size that the preferences allow.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bpy
from bpy.app.handlers import persistent

from . import settings
from .decoded import DESCRIPTION_FILE, read_decoded
from .job import Jobs, is_complete

CLIP_FOLDER = "clip_folder"
"""The custom property of a clip's empty that names the folder of its files."""


def cache_root() -> Path:
    """Return where newly decoded clips go: the user's choice, beside the ``.blend``, or the waiting room."""
    if chosen := _chosen_root():
        return chosen
    if bpy.data.filepath:
        return _beside(Path(bpy.data.filepath))
    return waiting_root()


def waiting_root() -> Path:
    """Return the folder where clips wait until the ``.blend`` is saved for the first time."""
    try:
        return Path(bpy.utils.extension_path_user(settings.PACKAGE, path="cache"))
    except ValueError:  # not installed as an extension, but imported as a Python package
        return Path(tempfile.gettempdir()) / "sparse2dense-cache"


def link_path(path: Path) -> str:
    """Return ``path`` as Blender should store it: relative to the ``.blend`` where it lies beside it."""
    if bpy.data.filepath and path.is_relative_to(Path(bpy.data.filepath).parent):
        return bpy.path.relpath(str(path))
    return str(path)


def _chosen_root() -> Path | None:
    chosen = settings.settings()
    return Path(bpy.path.abspath(chosen.cache_folder)) if chosen and chosen.cache_folder else None


def _beside(blend: Path) -> Path:
    return blend.with_name(f"{blend.stem}_s2d")


# ---- the size of the cache -------------------------------------------------------------------


def make_room() -> None:
    """Remove the clips used longest ago, aside, until the rest is as small as the preferences ask."""
    chosen = settings.settings()
    if chosen:
        limit, idle = int(chosen.cache_limit * 1e9), _idle_folders()
        threading.Thread(target=_remove_oldest, args=(idle, limit), daemon=True).start()


def _remove_oldest(idle: Iterable[Path], limit: int) -> None:
    size = sum(_size(folder) for root in {folder.parent for folder in idle} for folder in root.iterdir())
    for folder in sorted(idle, key=lambda folder: (folder / DESCRIPTION_FILE).stat().st_mtime):
        if size <= limit:
            break
        size -= _size(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _idle_folders() -> list[Path]:
    """Return the decoded clips in the waiting room and the user's cache that the open file does not play."""
    roots = [root for root in (waiting_root(), _chosen_root()) if root and root.is_dir()]
    busy = {path for _, _, path in _links()}
    busy |= {task.folder for task in Jobs.current.tasks if task.folder} if Jobs.running() else set()
    folders = [folder for root in roots for folder in root.iterdir() if (folder / DESCRIPTION_FILE).is_file()]
    return [folder for folder in folders if not any(path.is_relative_to(folder) for path in busy)]


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class S2D_OT_clear_cache(bpy.types.Operator):
    """Remove all decoded clips that the open file does not play. Importing such a clip decodes it again"""

    bl_idname = "s2d.clear_cache"
    bl_label = "Clear"
    bl_options = {"INTERNAL"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Say how much it frees, and ask."""
        idle = _idle_folders()
        told = f"This frees {_megabytes(idle)}: {len(idle)} decoded clips that the open file does not play."
        return context.window_manager.invoke_confirm(
            self, event, title="Clear Cache", message=told, confirm_text="Clear"
        )

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Remove them."""
        idle = _idle_folders()
        freed = _megabytes(idle)
        for folder in idle:
            shutil.rmtree(folder, ignore_errors=True)
        self.report({"INFO"}, f"Freed {freed}.")
        return {"FINISHED"}


def _megabytes(folders: Iterable[Path]) -> str:
    return f"{sum(map(_size, folders)) / 1e6:,.1f} MB"


# ---- taking clips along ----------------------------------------------------------------------


def _links() -> list[tuple[Any, str, Path]]:
    """Return what refers to a file or folder of a clip: the owner, its property, and the absolute path."""
    links = [(m, "filepath") for o in bpy.data.objects for m in o.modifiers if m.type == "MESH_CACHE"]
    links += [(image, "filepath") for image in bpy.data.images if image.source in {"FILE", "MOVIE"}]
    links += [(item, f'["{CLIP_FOLDER}"]') for item in bpy.data.objects if CLIP_FOLDER in item]
    links = [(owner, key) for owner, key in links if not owner.id_data.library]
    paths = [(owner, key, owner.path_resolve(key)) for owner, key in links]
    return [(owner, key, Path(bpy.path.abspath(path))) for owner, key, path in paths if path]


@persistent
def take_along(blend: str, *_: Any) -> None:
    """Before saving: copy clips that still wait to a folder beside the ``.blend``, and use them there."""
    if not blend:
        return
    waiting, home = waiting_root(), _beside(Path(blend))
    for owner, key, path in _links():
        if path != waiting and path.is_relative_to(waiting):
            folder = waiting / path.relative_to(waiting).parts[0]
            try:
                if not is_complete(read_decoded(folder, folder.name)):
                    continue  # it is still being decoded: the next save takes it
                moved = _copy(folder, home) / path.relative_to(folder)
            except OSError as error:
                print(f"Sparse2Dense: cannot take {folder} to {home} ({error.strerror}); it stays in use.")
            else:
                _set(owner, key, str(moved))


def _set(owner: Any, key: str, path: str) -> None:
    if key.startswith("["):
        owner[CLIP_FOLDER] = path
    else:
        setattr(owner, key, path)


def _copy(folder: Path, home: Path) -> Path:
    """Copy a decoded clip's folder into ``home``, whole or not at all, and return its new place."""
    target = home / folder.name
    if not target.exists():
        home.mkdir(exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".copying-", dir=home))
        try:
            shutil.copytree(folder, staging / "clip")
            os.replace(staging / "clip", target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return target


def register() -> None:
    """Register the button that clears the cache, and watch for saving."""
    bpy.utils.register_class(S2D_OT_clear_cache)
    bpy.app.handlers.save_pre.append(take_along)


def unregister() -> None:
    """Remove what :func:`register` added."""
    bpy.app.handlers.save_pre.remove(take_along)
    bpy.utils.unregister_class(S2D_OT_clear_cache)
