# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing files whole or not at all: aside first, under their names when they are finished.

The standard library alone, so that everything that writes can use it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from .errors import DISK_FULL, InputError, S2DError

PARTIAL_PREFIX = ".s2d-partial-"
"""How the names of files and folders begin that are not finished."""

_STALE_SECONDS = 24 * 3600


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a free path beside ``path``, of its ending; what the block writes there gets the name ``path``.

    It replaces what is there. After a block that fails there is nothing new. The folder is made where it is
    needed. OSError where the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{PARTIAL_PREFIX}{uuid.uuid4().hex[:12]}{path.suffix}")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes | str) -> None:
    """Write ``data`` (text as UTF-8, its line ends as they are) to ``path``, see :func:`whole_file`."""
    with whole_file(path) as aside:
        aside.write_bytes(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def staging_folder(out_dir: Path) -> Iterator[Path]:
    """Make ``out_dir`` where needed, and a hidden folder in it that is gone when the block ends.

    A block that fails leaves no folder that was not there before. Folders that killed processes
    left behind more than a day ago are swept. InputError ``output_unwritable`` where the folder
    cannot be made or written.
    """
    made = [folder for folder in (out_dir, *out_dir.parents) if not folder.exists()]
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        _sweep_stale(out_dir)
        staging = Path(tempfile.mkdtemp(prefix=PARTIAL_PREFIX, dir=out_dir))
    except OSError as error:
        raise unwritable(out_dir, error) from error
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        with contextlib.suppress(OSError):  # the first that holds something ends it
            for folder in made:
                folder.rmdir()


def publish(staged: Path, out_dir: Path) -> Path:
    """Move one finished file from the staging folder to ``out_dir``, over an older one of its name."""
    final = out_dir / staged.name
    try:
        os.replace(staged, final)
    except OSError as error:
        raise unwritable(final, error) from error
    return final


def unwritable(path: Path, error: OSError) -> S2DError:
    """Put an :class:`OSError` met while writing ``path`` into words for people."""
    if error.errno in DISK_FULL:
        return S2DError("disk_full", f"The disk of {path} is full: free some space or choose another folder.")
    reason = error.strerror or type(error).__name__
    return InputError("output_unwritable", f"Cannot write {path} ({reason}): choose another place.")


def check_space(out_dir: Path, need: int) -> None:
    """Raise S2DError ``disk_full`` unless the disk of ``out_dir`` has ``need`` bytes free."""
    existing = next(folder for folder in (out_dir, *out_dir.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < need:
        raise S2DError(
            "disk_full",
            f"Decoding to {out_dir} needs about {need / 1e6:,.0f} MB and its disk has {free / 1e6:,.0f} MB "
            "free: free some space or choose another folder.",
        )


def _sweep_stale(out_dir: Path) -> None:
    for left in out_dir.glob(f"{PARTIAL_PREFIX}*"):
        if time.time() - left.stat().st_mtime > _STALE_SECONDS:
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
