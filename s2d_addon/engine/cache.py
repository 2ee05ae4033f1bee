# SPDX-License-Identifier: GPL-3.0-or-later
"""The folders of decoded clips: which one a clip goes to, how large they are, and which of them may go.

Nothing here touches Blender. A folder is in use from the moment that a job claims it; whoever removes folders
has listed them before, and lets be what was claimed since.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from ...models.shipped import WEIGHTS
from ...models.whole_files import publish, staging_folder
from .decoded import DESCRIPTION_FILE

_NAME_LETTERS = 48  # of a clip's name in its folder's, since Windows allows paths 260
_KEY_DIGITS = 12
_WEIGHTS = (".onnx", ".npz")
_claiming = threading.Lock()  # between claiming a folder and removing one


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


# ---- which may go ----------------------------------------------------------------------------


def claim(folder: Path) -> bool:
    """Mark a clip's folder as used now; returns whether anything of the clip is decoded there."""
    description = folder / DESCRIPTION_FILE
    with _claiming:
        with contextlib.suppress(OSError):  # what cannot be marked cannot be removed either
            os.utime(description)
        return description.is_file()


def decoded_folders(roots: Iterable[Path]) -> dict[Path, int]:
    """Return the folders of decoded clips inside ``roots``, and when each was last used (nanoseconds)."""
    folders = [folder for root in roots if root.is_dir() for folder in root.iterdir()]
    return {folder: used for folder in folders if (used := _last_used(folder)) is not None}


def remove_oldest(idle: Mapping[Path, int], limit: int = 0) -> int:
    """Remove clips, those used longest ago first, until no more than ``limit`` bytes lie where they lie.

    ``idle`` are those that may go, as :func:`decoded_folders` listed them; one that was used since stays.
    Returns how many bytes that freed.
    """
    freed, held = 0, size(root for root in {folder.parent for folder in idle})
    for folder in sorted(idle, key=lambda folder: idle[folder]):
        if held - freed <= limit:
            break
        with _claiming:
            if _last_used(folder) == idle[folder]:
                freed += size([folder])
                shutil.rmtree(folder, ignore_errors=True)
    return freed


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


def take_along(path: Path, waiting: Path, home: Path) -> Path:
    """Copy the clip inside ``waiting`` that ``path`` belongs to into ``home``, and return its path there.

    ``path`` is a clip's folder, or a file in it or in a folder inside it, as cleaned-up motion is. Each
    folder comes whole or not at all; one that is there already stays as it is. OSError or S2DError where
    it cannot be copied.
    """
    within = path.relative_to(waiting)
    folder = waiting / within.parts[0]
    moved = _copy_whole(folder, home)
    if len(within.parts) > 2:  # it may have been made since the clip's folder was copied
        _copy_whole(path.parent, moved)
    return home / within


def _copy_whole(folder: Path, home: Path) -> Path:
    target = home / folder.name
    if not target.exists():
        with staging_folder(home) as staging:
            publish(shutil.copytree(folder, staging / folder.name), home)
    return target
