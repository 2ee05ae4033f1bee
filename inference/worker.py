# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine as a child process: one JSON object a line on standard output, and nothing else there.

``python -m sparse2dense.inference worker decode CLIP.s2d -o DIR …`` (or ``encode …``) runs what the
command line would, with the same options; ``preview`` looks a film over before it is encoded, ``backdrop``
copies a clip's own film at its frames, and ``probe`` says what this Python can decode with. It says

- ``{"type": "progress", "stage": "vertices", "done": 64, "total": 300}`` as the work goes on,
- ``{"type": "part", "part": "mesh"}`` when a part of a decoded clip is there: ``body``, ``mesh``,
  ``skeleton`` or ``video``, with ``--edited`` also ``texture`` and ``edited``; ``strip`` and ``people`` of a
  film's preview; ``film``,
- ``{"type": "result", …}`` once, with the fields of the job's result, or
- ``{"type": "error", "code": "damaged", "message": "…"}`` once, with exit status 1 or 2.

Whatever a library prints goes to standard error. The worker can be killed at any moment: no half-written
file ever has a final name. It also ends by itself: its parent gives it a pipe as standard input and
keeps the other end open, and when that end closes, because the parent said so or died, the job is
cancelled. This is the one sign of a parent's death that all systems give. Where standard input is not
a pipe, it is left alone.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable
from typing import Any

from ..models.errors import Cancelled, explain

_GRACE_SECONDS = 5.0
"""How long a cancelled job may take to clean up before the process ends regardless."""


class Channel:
    """Sends JSON lines, and turns the wish to stop into :class:`Cancelled` at the next progress."""

    def __init__(self) -> None:
        self._lines = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
        os.dup2(2, 1)  # what native libraries print must not stand between the lines
        sys.stdout = sys.stderr
        self._stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: self._cancel())
        if stat.S_ISFIFO(os.fstat(0).st_mode):
            threading.Thread(target=self._watch_parent, daemon=True).start()

    def send(self, kind: str, **content: Any) -> None:
        """Write one line; a parent that has gone is no error here, the watch sees to that."""
        try:
            self._lines.write(json.dumps({"type": kind, **content}) + "\n")
            self._lines.flush()
        except BrokenPipeError:
            self._cancel()

    def progress(self, stage: str, done: int, total: int) -> None:
        """Report progress. Raises Cancelled when the job is to stop."""
        if self._stop.is_set():
            raise Cancelled
        self.send("progress", stage=stage, done=done, total=total)

    def finished(self, part: str) -> None:
        """Say that a part's files are there, under their names."""
        self.send("part", part=part)

    def _watch_parent(self) -> None:
        while os.read(0, 4096):
            pass
        self._cancel()

    def _cancel(self) -> None:
        if not self._stop.is_set():
            self._stop.set()
            last_resort = threading.Timer(_GRACE_SECONDS, os._exit, args=(1,))
            last_resort.daemon = True
            last_resort.start()


def run_job(job: Callable[[Channel], dict[str, Any]], debug: bool = False) -> int:
    """Run ``job(channel)`` and report it on standard output; returns the exit status."""
    channel = Channel()
    try:
        channel.send("result", **job(channel))
        return 0
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            sys.excepthook(type(error), error, error.__traceback__)
        told = explain(error)
        channel.send("error", code=told.code, message=str(told))
        return told.exit_status
