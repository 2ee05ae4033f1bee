# SPDX-License-Identifier: GPL-3.0-or-later
"""Decode clips in a child process, so that Blender's window stays alive.

Nothing here touches Blender. A thread starts the worker, reads the JSON lines it prints, and moves what it
made to its final folder; whoever looks at the job reads plain attributes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from .decoded import DecodedClip, read_decoded

WORKER_PACKAGES = ("numpy", "cv2", "onnxruntime", "constriction")
_BOOT = Path(__file__).with_name("boot.py")
_STAGING_PREFIX = ".decoding-"
_KILL_SECONDS = 5.0


class JobError(Exception):
    """One line for the user: what was wrong, where, and what to do."""


class DecodeJob:
    """The decoding of some ``.s2d`` files, one after the other, each to a folder of its own under ``cache``.

    A file that was decoded there before is not decoded again. A file that fails leaves nothing behind and
    a line in ``errors``; the others go on.
    """

    def __init__(self, paths: Sequence[Path], cache: Path) -> None:
        self.paths = tuple(paths)
        self.clips: list[DecodedClip] = []
        self.errors: list[str] = []
        self.cancelled = False
        self.name = ""  # of the clip at work
        self.stage = ""
        self.done = 0
        self.total = 0
        self._stage_started = 0.0
        self._cache = cache
        self._process: subprocess.Popen | None = None
        self._lock = threading.Lock()  # between starting a process and cancelling
        self._thread = threading.Thread(target=self._run, name="sparse2dense decode", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether some clip is still being decoded."""
        return self._thread.is_alive()

    @property
    def fraction(self) -> float:
        """How much of the stage at work is done, 0 to 1."""
        return self.done / self.total if self.total else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds until the stage at work ends, None while nothing can be said."""
        if not 0 < self.done < self.total:
            return None
        return (time.monotonic() - self._stage_started) / self.done * (self.total - self.done)

    @property
    def worker_pid(self) -> int | None:
        """The process id of the worker at work."""
        process = self._process
        return process.pid if process else None

    def wait(self) -> None:
        """Return when all clips are decoded, failed or cancelled."""
        self._thread.join()

    def cancel(self) -> None:
        """Kill the worker and remove what it had written so far; returns when that is done."""
        with self._lock:
            self.cancelled = True
            if self._process:
                self._process.kill()
        self._thread.join(_KILL_SECONDS)

    def _run(self) -> None:
        for path in self.paths:
            if self.cancelled:
                break
            self.name, self.stage, self.done, self.total = path.stem, "", 0, 0
            try:
                self.clips.append(read_decoded(self._decode(path), path.stem))
            except JobError as error:
                self.errors.append(str(error))
            except OSError as error:
                self.errors.append(f"{error.filename or path}: {error.strerror or error}.")
            except Exception as error:  # a thread has nobody else to tell
                self.errors.append(f"{path}: {type(error).__name__}: {error}")
        if self.cancelled:
            self.clips, self.errors = [], []

    def _decode(self, path: Path) -> Path:
        """Decode one file and return its folder."""
        if not path.is_file():
            raise JobError(f"{path} is not there: choose a .s2d file.")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        folder = self._cache / f"{path.stem}-{digest}"
        if folder.exists():
            return folder
        self._cache.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=self._cache))
        try:
            self._run_worker(path, staging / "clip", staging / "worker.log")
            os.replace(staging / "clip", folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return folder

    def _run_worker(self, path: Path, folder: Path, log: Path) -> None:
        command = [sys.executable, "-I", "-X", "utf8", str(_BOOT), json.dumps(_site_folders())]
        command += ["inference", "worker", "decode", str(path), "-o", str(folder)]
        result, message = False, ""
        with log.open("wb") as errors:
            with self._lock:
                if self.cancelled:
                    raise JobError("Cancelled.")
                # The worker ends when its standard input does: it never outlives Blender.
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                )
            with self._process as process:
                for line in process.stdout:
                    event = json.loads(line)
                    if event["type"] == "progress":
                        self._show(event["stage"], event["done"], event["total"])
                    elif event["type"] == "error":
                        message = event["message"]
                    result = result or event["type"] == "result"
        status, self._process = process.returncode, None
        if message or not result:
            raise JobError(
                message or f"{path}: decoding stopped (exit status {status}). {_last_line(log)}".strip()
            )

    def _show(self, stage: str, done: int, total: int) -> None:
        if stage != self.stage:
            self._stage_started = time.monotonic()
        self.stage, self.done, self.total = stage, done, total


def _site_folders() -> list[str]:
    """Return the folders that hold the packages the worker imports, as this Python finds them."""
    folders = []
    for package in WORKER_PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise JobError(
                f"The Python package {package} is missing: install this platform's zip of the extension."
            )
        inside = Path(spec.origin).parent
        folder = str(inside.parent if spec.submodule_search_locations else inside)
        if folder not in folders:
            folders.append(folder)
    return folders


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
