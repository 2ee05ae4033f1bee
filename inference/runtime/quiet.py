# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping libraries' own chatter off the terminal, where the command line promises one line of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Drop what native code prints to stderr inside the block, which should be short: it is the process's."""
    try:
        kept = os.dup(2)
    except OSError:  # a process without a terminal has nothing to keep quiet
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
