# SPDX-License-Identifier: GPL-3.0-or-later
"""The folders of decoded clips: which one a clip goes to, how large they are, and which of them may go.

Nothing here touches Blender. A folder is in use from the moment that a job claims it; whoever removes folders
has listed them before, and lets be what was claimed since. Other Blenders and saved files count too:

    clip-0123456789ab/
        clip.json, mesh.pc2, …
        in_use-…             locked by a Blender that plays or decodes the clip, until it ends
        used_by-…            the path of a .blend that plays it; counts while that file is there

Which folder a path belongs to is what the operating system says, since one folder has many spellings.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from ...models.errors import S2DError
from ...models.shipped import WEIGHTS
from ...models.whole_files import lock, publish, staging_folder, write_whole
from .decoded import CLIP_FILE, DESCRIPTION_FILE, read_description

_NAME_LETTERS = 48  # of a clip's name in its folder's, since Windows allows paths 260
_KEY_DIGITS = 12
_WEIGHTS = (".onnx", ".npz")
_IN_USE, _USED_BY = "in_use-", "used_by-"
_STALE_SECONDS = 24 * 3600  # after which a mark on a disk without locks is given up
_claiming = threading.RLock()  # between claiming a folder and removing one
_mark = _IN_USE + uuid.uuid4().hex[:12]  # this Blender's
_held: dict[Path, IO[bytes]] = {}


# ---- which folder ----------------------------------------------------------------------------


def clip_folder(cache: Path, clip: Path, body_folder: str = "") -> Path:
    """Return the folder inside ``cache`` that the ``.s2d`` file ``clip`` is decoded to.

    It has the clip's name and a few digits for all that a decoding depends on: the file, the weights and the
    user's own bodies in ``body_folder``. OSError where the file cannot be read.
    """
    with clip.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(json.dumps([weights(), body_folder, _own_networks(body_folder)]).encode())
    return cache / f"{clip.stem[:_NAME_LETTERS].rstrip(' .')}-{digest.hexdigest()[:_KEY_DIGITS]}"


def weights() -> dict[str, str]:
    """Return the SHA-256 of each file of the networks and the body, by its name."""
    files = sorted(path for path in WEIGHTS.glob("*.*") if path.suffix in _WEIGHTS)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _own_networks(body_folder: str) -> list[tuple[str, int]]:
    """Return the networks that were trained for the user's own bodies, and when each was written."""
    files = sorted(Path(body_folder).rglob("*_vertex_predictor.onnx")) if body_folder else []
    return [(str(file), file.stat().st_mtime_ns) for file in files]


# ---- by any spelling -------------------------------------------------------------------------


def within(path: Path, folder: Path) -> Path | None:
    """Return ``path`` as seen from ``folder``, by whatever spelling of either; None where it lies elsewhere.

    ``folder`` itself does not lie in itself.
    """
    real, wanted = Path(os.path.realpath(path)), _identity(folder)
    found = (parent for parent in real.parents if wanted and _identity(parent) == wanted)
    return next((real.relative_to(parent) for parent in found), None)


def belongs_to(path: Path, roots: Iterable[Path]) -> Path | None:
    """Return the folder, directly inside one of ``roots``, that ``path`` is or lies in; None if in none."""
    places = ((root, within(path, root)) for root in roots)
    return next((root / place.parts[0] for root, place in places if place), None)


def identities(paths: Iterable[Path]) -> set[tuple[int, int]]:
    """Return what the operating system knows ``paths``, and the folders that they lie in, by."""
    real = (Path(os.path.realpath(path)) for path in paths)
    return {known for path in real for place in (path, *path.parents) if (known := _identity(place))}


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


# ---- in use ----------------------------------------------------------------------------------


def claim(folder: Path) -> bool:
    """Mark a clip's folder as used now; returns whether anything of the clip is decoded there."""
    with _claiming:
        hold(folder)
        with contextlib.suppress(OSError):  # what cannot be marked cannot be removed either
            os.utime(folder / DESCRIPTION_FILE)
        return (folder / DESCRIPTION_FILE).is_file()


def hold(folder: Path) -> None:
    """Keep other Blenders from removing ``folder``, where it is there, until :func:`release` or the end."""
    with _claiming, contextlib.suppress(OSError):  # what cannot be marked cannot be removed either
        while folder not in _held or not (folder / _mark).exists():
            mark = (folder / _mark).open("ab")
            if lock(mark) is False:  # another Blender looks whether it is one that was left
                mark.close()
                continue
            if old := _held.pop(folder, None):
                old.close()
            _held[folder] = mark


def release(folder: Path | None = None) -> None:
    """Let ``folder`` go, or all that this Blender holds."""
    with _claiming:
        for held in [folder] if folder else list(_held):
            if mark := _held.pop(held, None):
                mark.close()
                with contextlib.suppress(OSError):
                    (held / _mark).unlink()


def note_users(folders: Iterable[Path], playing: Iterable[Path], blend: Path) -> None:
    """Note in each of ``folders`` whether ``blend``, which was saved or opened just now, plays it."""
    name = _USED_BY + hashlib.sha256(os.path.realpath(blend).encode()).hexdigest()[:12]
    played = identities(playing)
    for folder in folders:
        with contextlib.suppress(OSError):  # as above
            if _identity(folder) in played:
                write_whole(folder / name, os.path.realpath(blend))
            else:
                (folder / name).unlink(missing_ok=True)


def used_elsewhere(folder: Path) -> bool:
    """Whether a ``.blend`` that is there plays the clip in ``folder``, or another Blender has it in use."""
    return any(map(_blend_is_there, folder.glob(f"{_USED_BY}*"))) or any(
        mark.name != _mark and _is_held(mark) for mark in folder.glob(f"{_IN_USE}*")
    )


def _blend_is_there(note: Path) -> bool:
    try:
        os.stat(note.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:  # it cannot be told
        return True
    return True


def _is_held(mark: Path) -> bool:
    try:
        with mark.open("r+b") as file:
            free = lock(file)
            if free:  # left by a Blender that has ended
                with contextlib.suppress(OSError):  # Windows keeps what is open
                    mark.unlink()
        if free is None:  # a disk that knows no locks
            return time.time() - mark.stat().st_mtime < _STALE_SECONDS
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return not free


# ---- which may go ----------------------------------------------------------------------------


def decoded_folders(roots: Iterable[Path]) -> dict[Path, int]:
    """Return the folders of decoded clips inside ``roots``, and when each was last used (nanoseconds)."""
    folders = [folder for root in roots if root.is_dir() for folder in root.iterdir()]
    return {folder: used for folder in folders if (used := _last_used(folder)) is not None}


def idle_folders(roots: Iterable[Path], busy: Iterable[Path]) -> dict[Path, int]:
    """Return those of :func:`decoded_folders` that may go.

    Not those that hold, or are, any of the paths ``busy``, that a saved ``.blend`` plays or that another
    Blender has in use.
    """
    in_use = identities(busy)
    return {
        folder: used
        for folder, used in decoded_folders(roots).items()
        if _identity(folder) not in in_use and not used_elsewhere(folder)
    }


def remove_oldest(idle: Mapping[Path, int], limit: int = 0) -> int:
    """Remove clips, those used longest ago first, until no more than ``limit`` bytes lie where they lie.

    ``idle`` are those that may go, as :func:`idle_folders` listed them; one that was used since stays.
    Returns how many bytes that freed.
    """
    freed, held = 0, size(root for root in {folder.parent for folder in idle})
    for folder in sorted(idle, key=lambda folder: idle[folder]):
        if held - freed <= limit:
            break
        with _claiming:
            if _last_used(folder) == idle[folder]:
                freed += remove(folder)
    return freed


def remove(folder: Path) -> int:
    """Remove a clip's folder unless others use it; returns how many bytes that freed."""
    with _claiming, contextlib.suppress(OSError, S2DError):  # such as a file that Windows keeps open
        if used_elsewhere(folder):
            return 0
        release(folder)
        with staging_folder(folder.parent) as aside:
            going = aside / folder.name
            os.replace(folder, going)
            if used_elsewhere(going):  # claimed in this very moment
                os.replace(going, folder)
                return 0
            return size([going])
    return 0


def size(folders: Iterable[Path]) -> int:
    """Return the bytes of all files inside ``folders``; a file that goes meanwhile counts nothing."""
    total = 0
    for folder in folders:
        for inside, _, names in os.walk(folder):
            for name in names:
                with contextlib.suppress(OSError):
                    total += os.stat(os.path.join(inside, name)).st_size
    return total


def _last_used(folder: Path) -> int | None:
    try:
        return (folder / DESCRIPTION_FILE).stat().st_mtime_ns
    except OSError:
        return None


# ---- taking clips along ----------------------------------------------------------------------


def beside(blend: Path) -> Path:
    """Return the folder beside a ``.blend`` that holds the decoded clips of its scenes."""
    return blend.with_name(f"{blend.stem}_s2d")


def take_along(folder: Path, home: Path) -> Path:
    """Copy the clip in ``folder`` into ``home``, and return its folder there.

    What is not finished yet is left out; called again, what is missing there is added. What is there already
    stays as it is. Each file, and a folder that is new, comes whole or not at all. OSError or S2DError where
    the clip cannot be read or copied.
    """
    target = home / folder.name
    _copy_parts(folder, target)
    for inside in folder.iterdir():  # the cleaned-up motions
        if (inside / DESCRIPTION_FILE).is_file():
            _copy_parts(inside, target / inside.name)
    return target


def _copy_parts(folder: Path, target: Path) -> None:
    description = (folder / DESCRIPTION_FILE).read_bytes()  # first: what it names is whole
    files = read_description(folder).files.values()
    wanted = [name for name in (CLIP_FILE, *files) if not (target / name).exists()]
    newer = description != _description(target) and set(_finished_files(target)) <= set(files)
    if not wanted and not newer:
        return
    with staging_folder(target.parent) as staging:
        aside = staging / target.name
        aside.mkdir()
        for name in wanted:
            if name != CLIP_FILE or (folder / name).is_file():
                shutil.copy2(folder / name, aside / name)
        if newer:
            (aside / DESCRIPTION_FILE).write_bytes(description)
        if not target.exists():
            publish(aside, target.parent)
            return
        for name in (*wanted, DESCRIPTION_FILE):  # the description last
            if (aside / name).exists():
                publish(aside / name, target)


def _description(folder: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError):
        return (folder / DESCRIPTION_FILE).read_bytes()
    return b""


def _finished_files(folder: Path) -> list[str]:
    """Return the names of the files that a clip's folder says it holds; none where there is no clip."""
    try:
        return list(read_description(folder).files.values())
    except OSError:
        return []
