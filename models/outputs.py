# SPDX-License-Identifier: GPL-3.0-or-later
"""What a command may write over: never what it reads, and what is of another kind only when it is told to.

The command line asks :func:`check_outputs` before any work, in the worker too. The standard library alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import InputError

_HEAD_BYTES = 256


@dataclass(frozen=True)
class Kind:
    """A kind of file: what people call it, and what says that a file is one."""

    name: str
    is_one: Callable[[Path], bool]


def beginning(name: str, *heads: bytes, at: int = 0) -> Kind:
    """Return the kind of files that have one of ``heads`` at their byte ``at``."""
    return Kind(name, lambda path: _head(path)[at:].startswith(heads))


def archive(name: str, *members: bytes) -> Kind:
    """Return the kind of ZIP archives whose first member has one of ``members`` in its name."""

    def is_one(path: Path) -> bool:
        head = _head(path)
        return head.startswith(b"PK\x03\x04") and any(member in head for member in members)

    return Kind(name, is_one)


ARRAYS = archive(".npz of arrays", b".npy")
HTML = beginning("HTML page", b"<!doctype html>")
JPEG = beginning("JPEG picture", b"\xff\xd8\xff")
JSON = beginning("JSON file", b"{")
NEW = Kind("file to be replaced unasked", lambda path: False)
"""What a command writes only where nothing is, under a name that its user did not give."""
ONNX = beginning("ONNX network", b"\x08")  # the field of its version
PNG = beginning("PNG picture", b"\x89PNG\r\n\x1a\n")
SAFETENSORS = beginning("safetensors file", b'{"', at=8)


def check_outputs(outputs: Mapping[Path, Kind], inputs: Iterable[Path], force: bool = False) -> None:
    """Raise InputError ``output_taken`` where a command would take from the user what nobody can give back.

    ``outputs`` are the files that it writes, each with its kind, ``inputs`` the files and folders that it
    reads. Refused are an output that is an input, by whatever name; one that is there already and of another
    kind, unless ``force`` says to replace it and it lies in no folder that is read; and what is no file.
    """
    read = [path for path in inputs if path.exists()]
    for path, kind in outputs.items():
        # Resolved, since a folder that is not there yet may be left again by "..", and is there by then.
        place = Path(os.path.realpath(path))
        if not place.exists():
            continue
        if place.is_dir():
            raise InputError("output_taken", f"{path} is a folder: name a file.")
        if not place.is_file():
            raise InputError("output_taken", f"{path} is no file that can be replaced: name another output.")
        if source := next((source for source in read if os.path.samefile(place, source)), None):
            same = "what" if source == path else f"the same file as {source}, which"
            raise InputError("output_taken", f"{path} is {same} this command reads: name another output.")
        if not place.stat().st_size or kind.is_one(place):  # an empty file holds nothing to lose
            continue
        if folder := next(
            (folder for folder in read if place.is_relative_to(os.path.realpath(folder))), None
        ):
            raise InputError(
                "output_taken", f"{path} is in {folder}, which this command reads: name another output."
            )
        if not force:
            raise InputError(
                "output_taken",
                f"{path} is there and is no {kind.name}: name another output, or replace it with --force.",
            )


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:  # what cannot be read is nothing that we know
        return b""
