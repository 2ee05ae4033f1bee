# SPDX-License-Identifier: GPL-3.0-or-later
"""Where decoded clips live: beside the ``.blend`` once it is saved, so that both move together.

Before the first save they wait in a folder of the extension's own, and saving takes them along.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import bpy
from bpy.app.handlers import persistent

from ...models.errors import S2DError, explain
from ..engine import cache, settings
from ..engine.decoded import read_decoded
from ..engine.job import is_complete

CLIP_FOLDER = "clip_folder"
"""The custom property of a clip's empty that names the folder of its files."""


def cache_root() -> Path:
    """Return where newly decoded clips go: the user's choice, beside the ``.blend``, or the waiting room."""
    if chosen := chosen_root():
        return chosen
    if bpy.data.filepath:
        return cache.beside(Path(bpy.data.filepath))
    return waiting_root()


def chosen_root() -> Path | None:
    """Return the folder that the user chose for all clips, if any."""
    chosen = settings.settings()
    return Path(bpy.path.abspath(chosen.cache_folder)) if chosen and chosen.cache_folder else None


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


# ---- what refers to it -----------------------------------------------------------------------


def linked_paths() -> set[Path]:
    """Return the files and folders of clips that the open file refers to."""
    return {path for _, _, path in _links()}


def _links() -> list[tuple[Any, str, Path]]:
    """Return what refers to a file or folder of a clip: the owner, its property, and the absolute path."""
    owners: list[tuple[Any, str]] = []
    owners += [(m, "filepath") for o in bpy.data.objects for m in o.modifiers if m.type == "MESH_CACHE"]
    owners += [(image, "filepath") for image in bpy.data.images if image.source in {"FILE", "MOVIE"}]
    owners += [(item, f'["{CLIP_FOLDER}"]') for item in bpy.data.objects if item.get(CLIP_FOLDER)]
    paths = [(owner, key, owner.path_resolve(key)) for owner, key in owners if not owner.id_data.library]
    return [(owner, key, Path(bpy.path.abspath(path))) for owner, key, path in paths if path]


@persistent
def _take_along(blend: str, *_: object) -> None:
    """Before saving: copy clips that still wait to a folder beside the ``.blend``, and use them there."""
    if not blend:
        return
    waiting, home = waiting_root(), cache.beside(Path(blend))
    for owner, key, path in _links():
        if path != waiting and path.is_relative_to(waiting):
            folder = waiting / path.relative_to(waiting).parts[0]
            try:
                if not is_complete(read_decoded(folder, folder.name)):
                    continue  # it is still being decoded: the next save takes it
                moved = str(cache.take_along(path, waiting, home))
            except (OSError, S2DError) as error:
                print(f"Sparse2Dense: {folder} stays in use, it cannot be taken to {home}. {explain(error)}")
            else:
                if key == "filepath":
                    owner.filepath = moved
                else:
                    owner[CLIP_FOLDER] = moved


def register() -> None:
    """Watch for saving."""
    bpy.app.handlers.save_pre.append(_take_along)


def unregister() -> None:
    """Watch no more."""
    bpy.app.handlers.save_pre.remove(_take_along)
