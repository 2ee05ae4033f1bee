# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that are shown to people."""

from __future__ import annotations

import errno

DISK_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""The numbers by which an :class:`OSError` says that a disk, or one's share of it, is full."""


def one_line(text: str) -> str:
    """Return ``text`` with what would break the line, as a file's name may hold it, written out."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


class S2DError(Exception):
    """Something a person can act on: one line that says what was wrong, where, and what to do.

    ``code`` is a short stable word for programs (the worker's JSON, the add-on), ``exit_status`` what
    the command line returns: 2 for what the user gave wrongly, 1 for anything else.
    """

    exit_status = 1

    def __init__(self, code: str, message: str) -> None:
        super().__init__(one_line(message))
        self.code = code


class InputError(S2DError):
    """The user's file or option is at fault."""

    exit_status = 2


class Cancelled(S2DError):
    """The user stopped the work."""

    def __init__(self) -> None:
        super().__init__("cancelled", "Cancelled.")


def explain(error: BaseException) -> S2DError:
    """Turn any exception into an :class:`S2DError`: one line for people, whatever went wrong."""
    text = " ".join(str(error).split())
    told = S2DError(
        "internal",
        f"Something failed inside Sparse2Dense ({type(error).__name__}: {text}): run it again with --debug.",
    )
    if isinstance(error, S2DError):
        told = error
    elif isinstance(error, KeyboardInterrupt):
        told = Cancelled()
    elif isinstance(error, MemoryError):
        told = S2DError("memory", "There is not enough memory: close other programs or use a shorter clip.")
    elif isinstance(error, ModuleNotFoundError):
        told = S2DError(
            "missing_dependency",
            f"The Python package {error.name} is missing: pip install sparse2dense, or for training and "
            "measuring 'sparse2dense[train]'.",
        )
    elif isinstance(error, OSError) and error.errno in DISK_FULL:
        where = f" of {error.filename}" if error.filename else ""
        told = S2DError("disk_full", f"The disk{where} is full: free some space or choose another folder.")
    elif isinstance(error, OSError) and error.filename:
        told = InputError("file", f"Cannot use {error.filename}: {error.strerror}.")
    elif isinstance(error, OSError) and error.errno is None and text:
        told = InputError("file", text)  # raised by our own code, with words
    return told
