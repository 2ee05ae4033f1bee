# SPDX-License-Identifier: GPL-3.0-or-later
"""Where decoded clips live: beside the ``.blend`` once it is saved, so that both move together.

Before the first save they wait in a folder of the extension's own, and saving takes them along; so does
saving to another folder. What is still being decoded follows, see :attr:`..engine.job.ClipTask.home`.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

import bpy
from bpy.app.handlers import persistent

from ...models.errors import S2DError, explain
from ..engine import cache, settings
from ..engine.decoded import DESCRIPTION_FILE
from ..engine.job import IMPORTING
from . import cleanup_properties

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
    return as_seen(path, Path(bpy.data.filepath).parent) if bpy.data.filepath else str(path)


def as_seen(path: Path, home: Path) -> str:
    """Return ``path`` as a ``.blend`` in the folder ``home`` should store it."""
    inside = cache.within(path, home)
    return f"//{inside.as_posix()}" if inside else str(path)


def clip_folder_of(path: Path) -> Path:
    """Return the folder of the decoded clip whose file ``path`` is, also of its cleaned-up motion."""
    inside = path.parent
    return inside.parent if inside.name.startswith(cleanup_properties.FOLDER_PREFIX) else inside


# ---- what refers to it -----------------------------------------------------------------------


def linked_folders() -> set[Path]:
    """Return the folders, of clips and others, whose files the open file refers to, its libraries' too."""
    return {path.parent if key == "filepath" else path for _, key, path in _links(libraries=True)}


def roots() -> list[Path]:
    """Return the folders whose clips are removed one day: the waiting room, and the user's choice."""
    return [root for root in (waiting_root(), chosen_root()) if root]


def hold_used() -> None:
    """Keep other Blenders from removing the clips that the open file plays."""
    for linked in linked_folders():
        if folder := cache.belongs_to(linked, roots()):
            cache.hold(folder)


def _links(*, libraries: bool = False) -> list[tuple[Any, str, Path]]:
    """Return what refers to a file or folder of a clip: the owner, its property, and the absolute path."""
    owners: list[tuple[Any, str]] = []
    owners += [(m, "filepath") for o in bpy.data.objects for m in o.modifiers if m.type == "MESH_CACHE"]
    owners += [(image, "filepath") for image in bpy.data.images if image.source in {"FILE", "MOVIE"}]
    owners += [(sound, "filepath") for sound in bpy.data.sounds]
    owners += [(item, f'["{CLIP_FOLDER}"]') for item in bpy.data.objects if item.get(CLIP_FOLDER)]
    found = []
    for owner, key in owners:
        path, library = owner.path_resolve(key), owner.id_data.library
        if path and (libraries or not library):
            found.append((owner, key, Path(bpy.path.abspath(path, library=library))))
    return found


# ---- saving ----------------------------------------------------------------------------------


class _Saving:
    """What refers to which path, as changed for the file that is being saved, and as it was before."""

    changed: list[tuple[Any, str, Path, str]] = []
    homes: dict[Path, Path] = {}  # which clip's folder was copied into which folder


@persistent
def _take_along(blend: str, *_: object) -> None:
    """Before saving: copy clips to a folder beside the ``.blend``, and use them there.

    Those that still wait, and those in the folder of the file until now where it goes to another.
    """
    _Saving.changed, _Saving.homes = [], {}
    if not blend:
        return
    target = Path(blend)
    home, moved = cache.beside(target), dict[Path, Path | None]()
    for owner, key, path in _links():
        folder = clip_folder_of(path) if key == "filepath" else path
        if folder not in moved:
            moved[folder] = _copy(folder, home) if _goes_along(folder, target) else None
        if there := moved[folder]:
            new = there / path.relative_to(folder)
            if new.exists():
                _Saving.changed.append((owner, key, new, owner.path_resolve(key)))
                _set(owner, key, _before_saving(new))


def _goes_along(folder: Path, target: Path) -> bool:
    if not (folder / DESCRIPTION_FILE).is_file():
        return False
    if (chosen := chosen_root()) and cache.within(folder, chosen):
        return False
    if cache.within(folder, waiting_root()):
        return True
    if not bpy.data.filepath:
        return False
    before = Path(bpy.data.filepath).parent
    return bool(cache.within(folder, before)) and not cache.within(folder, target.parent)


def _copy(folder: Path, home: Path) -> Path | None:
    """Copy a clip into ``home`` and return its folder there; None where that fails."""
    try:
        there = cache.take_along(folder, home)
    except (OSError, S2DError) as error:
        print(f"Sparse2Dense: {folder} stays in use, it cannot be taken to {home}. {explain(error)}")
        return None
    _Saving.homes[folder] = home
    return there


def _before_saving(path: Path) -> str:
    """Return ``path`` as it has to be before Blender saves to be right in the file.

    Blender makes every path relative when a file is saved for the first time, and turns those that are
    when it goes to another folder.
    """
    if not bpy.data.filepath:
        return str(path)
    with contextlib.suppress(ValueError):  # on another drive
        return bpy.path.relpath(str(path))
    return str(path)


@persistent
def _saved(blend: str, *_: object) -> None:
    """After saving: note which clips the file plays, and play them where the open file now has them."""
    if blend:
        _note(Path(blend))
    if not (blend and bpy.data.filepath and os.path.samefile(bpy.data.filepath, blend)):
        _not_saved()  # but a copy was
        return
    for owner, key, path, _before in _Saving.changed:
        _set(owner, key, link_path(path))
    for folder, home in _Saving.homes.items():
        for task in IMPORTING.current.tasks if IMPORTING.current and IMPORTING.running() else ():
            if task.folder and task.folder.exists() and task.folder.samefile(folder):
                task.home = home  # what is still being decoded follows
    hold_used()


@persistent
def _not_saved(*_: object) -> None:
    """Go back to what the open file played before."""
    for owner, key, _path, before in _Saving.changed:
        _set(owner, key, before)


@persistent
def _loaded(blend: str, *_: object) -> None:
    """After loading: hold what the file plays, and nothing else."""
    cache.release()
    if blend:
        _note(Path(blend))
    hold_used()


def _note(blend: Path) -> None:
    cache.note_users(cache.decoded_folders(roots()), linked_folders(), blend)


def _set(owner: Any, key: str, path: str) -> None:
    if key == "filepath":
        owner.filepath = path
    else:
        owner[CLIP_FOLDER] = path


_HANDLERS = (
    ("save_pre", _take_along),
    ("save_post", _saved),
    ("save_post_fail", _not_saved),
    ("load_post", _loaded),
)


def register() -> None:
    """Watch for saving and loading."""
    for name, handler in _HANDLERS:
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    """Watch no more, and let go what is held."""
    for name, handler in _HANDLERS:
        getattr(bpy.app.handlers, name).remove(handler)
    cache.release()
