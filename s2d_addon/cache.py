# SPDX-License-Identifier: GPL-3.0-or-later
"""Where decoded clips live: beside the ``.blend`` once it is saved, so that both move together.

Before the first save they wait in a folder of the extension's own, and saving takes them along.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import bpy
from bpy.app.handlers import persistent

from . import preferences
from .decoded import DESCRIPTION_FILE


def cache_root() -> Path:
    """Return where newly decoded clips go: the user's choice, beside the ``.blend``, or the waiting room."""
    if chosen := preferences.cache_folder():
        return Path(chosen)
    if bpy.data.filepath:
        return _beside(Path(bpy.data.filepath))
    return waiting_root()


def waiting_root() -> Path:
    """Return the folder where clips wait until the ``.blend`` is saved for the first time."""
    try:
        return Path(bpy.utils.extension_path_user(preferences.PACKAGE, path="cache"))
    except ValueError:  # not installed as an extension, but imported as a Python package
        return Path(tempfile.gettempdir()) / "sparse2dense-cache"


def link_path(path: Path) -> str:
    """Return ``path`` as Blender should store it: relative to the ``.blend`` where it lies beside it."""
    if bpy.data.filepath and path.is_relative_to(Path(bpy.data.filepath).parent):
        return bpy.path.relpath(str(path))
    return str(path)


def _beside(blend: Path) -> Path:
    return blend.with_name(f"{blend.stem}_s2d")


def _links() -> list[tuple[Any, Path]]:
    """Return every owner of a ``filepath`` into a decoded clip's folder, with that path made absolute."""
    owners = [m for o in bpy.data.objects for m in o.modifiers if m.type == "MESH_CACHE"]
    owners += [image for image in bpy.data.images if image.source == "MOVIE"]
    own = [(owner, Path(bpy.path.abspath(owner.filepath))) for owner in owners if not owner.id_data.library]
    return [(owner, path) for owner, path in own if path.with_name(DESCRIPTION_FILE).is_file()]


@persistent
def take_along(blend: str, *_: Any) -> None:
    """Before saving: copy clips that still wait to a folder beside the ``.blend``, and use them there."""
    if not blend:
        return
    waiting, home = waiting_root(), _beside(Path(blend))
    for owner, path in _links():
        if path.is_relative_to(waiting):
            try:
                owner.filepath = str(_copy(path.parent, home) / path.name)
            except OSError as error:
                print(f"Sparse2Dense: cannot write {home} ({error.strerror}); {path.parent} stays in use.")


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
    """Watch for saving."""
    bpy.app.handlers.save_pre.append(take_along)


def unregister() -> None:
    """Stop watching for saving."""
    bpy.app.handlers.save_pre.remove(take_along)
