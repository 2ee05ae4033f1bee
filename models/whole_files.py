# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing files whole or not at all: aside first, under their names when they are finished.

    clip.s2d
    .s2d-partial-0123456789ab/       what is not finished, of one writer
        owner                        locked by the process that writes, until it ends or is killed
        …

So whoever writes into the folder next can tell what a killed process left from what a living one writes, and
sweeps the former. The standard library alone, so that everything that writes can use it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .errors import DISK_FULL, InputError, S2DError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

PARTIAL_PREFIX = ".s2d-partial-"
"""How the names of folders begin that hold what is not finished."""

_OWNER = "owner"
_PARTIAL = re.compile(re.escape(PARTIAL_PREFIX) + r"([0-9a-f]{12}(\.\w+)?|[0-9a-z_]{8})")  # 0.1.0's too
_STALE_SECONDS = 24 * 3600  # after which what has no owner's file is given up
_TAKEN = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK}
_TRIES = 5

_swept: set[str] = set()  # folders that this process has swept


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a free path aside, of ``path``'s ending; what the block writes there gets the name ``path``.

    It replaces what is there. After a block that fails there is nothing new. The folder is made where it is
    needed. OSError, which names ``path``, where the file cannot be written.
    """
    with _partial_folder(path.parent, path) as folder:
        aside = folder / f"whole{path.suffix}"
        yield aside
        with _naming(path):
            os.replace(aside, path)


def write_whole(path: Path, data: bytes | str) -> None:
    """Write ``data`` (text as UTF-8, its line ends as they are) to ``path``, see :func:`whole_file`."""
    with whole_file(path) as aside:
        aside.write_bytes(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def staging_folder(out_dir: Path) -> Iterator[Path]:
    """Make ``out_dir`` where needed, and a hidden folder in it that is gone when the block ends.

    A block that fails leaves no folder that was not there before. InputError ``output_unwritable`` where the
    folder cannot be made or written.
    """
    with contextlib.ExitStack() as opened:
        try:
            staging = opened.enter_context(_partial_folder(out_dir, out_dir))
        except OSError as error:
            raise unwritable(out_dir, error) from error
        yield staging


def publish(staged: Path, out_dir: Path) -> Path:
    """Move one finished file from the staging folder to ``out_dir``, over an older one of its name."""
    final = out_dir / staged.name
    try:
        os.replace(staged, final)
    except OSError as error:
        raise unwritable(final, error) from error
    return final


def check_writable(*folders: Path | None) -> None:
    """Try to write into folders before long work, made where needed, and leave all as it was; None is none.

    InputError ``output_unwritable``, or S2DError ``disk_full``.
    """
    for folder in filter(None, folders):
        with staging_folder(folder):
            pass


def sweep(folder: Path) -> None:
    """Remove what processes that are gone have left unfinished in ``folder``.

    What a living process writes stays, and whatever is not ours. Errors are nobody's concern.
    """
    with contextlib.suppress(OSError):  # a folder that cannot be read
        for left in list(os.scandir(folder)):
            if _PARTIAL.fullmatch(left.name) and not left.is_symlink():
                with contextlib.suppress(OSError):  # another user's
                    _remove_abandoned(Path(left))


def unwritable(path: Path, error: OSError) -> S2DError:
    """Put an :class:`OSError` met while writing ``path`` into words for people."""
    if error.errno in DISK_FULL:
        return S2DError("disk_full", f"The disk of {path} is full: free some space or choose another folder.")
    reason = error.strerror or type(error).__name__
    return InputError("output_unwritable", f"Cannot write {path} ({reason}): choose another place.")


def check_space(out_dir: Path, need: int) -> None:
    """Raise S2DError ``disk_full`` unless the disk of ``out_dir`` has ``need`` bytes free."""
    existing = next(folder for folder in (out_dir, *out_dir.absolute().parents) if folder.exists())
    sweep(out_dir)  # what was left there is as good as free
    free = shutil.disk_usage(existing).free
    if free < need:
        raise S2DError(
            "disk_full",
            f"Decoding to {out_dir} needs about {need / 1e6:,.0f} MB and its disk has {free / 1e6:,.0f} MB "
            "free: free some space or choose another folder.",
        )


def lock(owner: IO[bytes]) -> bool | None:
    """Lock an owner's file until it is closed, or its process ends; returns whether nobody else has.

    None where the disk knows no locks.
    """
    try:
        if sys.platform == "win32":
            msvcrt.locking(owner.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in _TAKEN else None
    return True


# ---- folders of what is not finished ---------------------------------------------------------


@contextlib.contextmanager
def _partial_folder(parent: Path, output: Path) -> Iterator[Path]:
    """Make ``parent`` where needed, and in it a hidden folder of this process, gone when the block ends.

    OSError, which names ``output``, where they cannot be made.
    """
    made = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    try:
        with _naming(output):
            parent.mkdir(parents=True, exist_ok=True)
            _sweep_once(parent)
            folder, owner = _own_folder(parent)
        try:
            yield folder
        finally:
            owner.close()  # Windows removes no open file
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        with contextlib.suppress(OSError):  # the first that holds something ends it
            for new in made:
                new.rmdir()


def _own_folder(parent: Path) -> tuple[Path, IO[bytes]]:
    for _ in range(_TRIES):
        folder = parent / f"{PARTIAL_PREFIX}{uuid.uuid4().hex[:12]}"
        folder.mkdir()
        try:
            owner = (folder / _OWNER).open("xb")
        except OSError:
            _remove(folder)
            raise
        if lock(owner) is not False and (folder / _OWNER).exists():
            return folder, owner
        owner.close()  # somebody sweeps, and was quicker than the lock
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def _remove_abandoned(left: Path) -> None:
    try:
        owner = (left / _OWNER).open("r+b")
    except (FileNotFoundError, NotADirectoryError):  # of an earlier version, or made a moment ago
        if time.time() - left.stat().st_mtime > _STALE_SECONDS:
            _remove(left)
        return
    with owner:
        if not lock(owner):
            return
        _remove(left)  # still locked: a process that has just made its folder finds that it is not its own
    _remove(left)  # what Windows kept because it was open


def _remove(left: Path) -> None:
    if left.is_dir():
        shutil.rmtree(left, ignore_errors=True)
    else:
        left.unlink(missing_ok=True)


def _sweep_once(folder: Path) -> None:
    """Sweep a folder unless this process has: some write ten thousand files into one."""
    place = os.path.realpath(folder)
    if place not in _swept:
        _swept.add(place)
        sweep(folder)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Have an OSError name ``path``, and not what lies aside."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
