# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the engine in a child process, so that Blender's window stays alive.

Nothing here touches Blender. A job is a thread that starts the worker and reads the JSON lines it prints;
whoever looks at the job reads plain attributes.

    ImportJob ── decode CLIP -o FOLDER ──▶ worker ── parts, one by one ──▶ ClipTask.clip, anew each time
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from ...models.errors import Cancelled, InputError, S2DError
from ...models.whole_files import sweep
from . import cache, estimate
from .decoded import CLIP_FILE, DESCRIPTION_FILE, DecodedClip, read_decoded

WORKER_PACKAGES = ("numpy", "cv2", "onnxruntime", "constriction")
_BOOT = Path(__file__).with_name("boot.py")
_LOG_BYTES = 20_000
_END_SECONDS = 5.0


@dataclass(frozen=True)
class Engine:
    """Which Python runs the engine, and what it is told with every clip."""

    python: str = ""  # one with PyTorch; empty: Blender's own
    device: str = "cpu"
    body_folder: str = ""  # with the user's own model files of the SMPL family

    def command(self, *arguments: str) -> list[str]:
        """Return the command that starts the worker. Raises S2DError where a package is missing."""
        isolated, sites = ("-P", []) if self.python else ("-I", _site_folders())
        boot = [isolated, "-X", "utf8", str(_BOOT), json.dumps(sites), "inference", "worker"]
        return [self.python or sys.executable, *boot, *arguments]

    def decode_options(self) -> list[str]:
        """Return the options with which every clip is decoded."""
        body = ["--body-file", self.body_folder] if self.body_folder else []
        return ["--device", self.device, *body]


class Job(ABC):
    """A thread that has the engine do something: how far it is, and a way to end it.

    Subclasses say in :meth:`work` what is done.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.stage = ""
        self.done = 0
        self.total = 0
        self.cancelled = False
        self.ended = False
        self.errors: list[str] = []
        self.log = ""  # the end of what the last worker wrote besides its messages
        self._stage_started = 0.0
        self._process: subprocess.Popen | None = None
        self._lock = threading.Lock()  # between starting a process and ending it
        self._thread = threading.Thread(target=self._run, name="sparse2dense job", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether there is still something to do."""
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
        """Return when everything is done, failed or cancelled."""
        self._thread.join()

    def cancel(self) -> None:
        """Kill the worker and return at once; the thread then removes what was left unfinished, and ends."""
        with self._lock:
            self.cancelled = True
            self._kill()

    def end(self) -> None:
        """Kill the worker, keep what it has finished, and return when nothing runs any more."""
        self.ended = True
        self.cancel()
        if self._thread.ident:
            self._thread.join(_END_SECONDS)

    @abstractmethod
    def work(self) -> None:
        """Do the work, in the job's thread; what it raises becomes a line in ``errors``."""

    def wanted(self) -> bool:
        """Whether what is at work is still wanted; a worker is started for nothing else."""
        return not self.cancelled

    def run_worker(self, *arguments: str, on_part: Callable[[str], None] | None = None) -> dict[str, Any]:
        """Run the worker to its end and return its result; ``on_part`` is called for each finished part.

        Raises S2DError with what it said was wrong.
        """
        result = error = None
        command = self.engine.command(*arguments)
        with (
            tempfile.TemporaryFile() as log,
            contextlib.closing(self._messages(command, log)) as messages,
        ):
            for message in messages:
                if message["type"] == "progress":
                    self._show(message["stage"], message["done"], message["total"])
                elif message["type"] == "part" and on_part:
                    on_part(message["part"])
                elif message["type"] == "error":
                    error = S2DError(message["code"], message["message"])
                elif message["type"] == "result":
                    result = message
            self.log = _tail(log)
        if result is None:
            last = self.log.strip().rpartition("\n")[2]
            raise error or S2DError("stopped", f"The engine stopped before it was done. {last}".strip())
        return result

    def _messages(self, command: Sequence[str], log: IO[bytes]) -> Generator[dict[str, Any]]:
        """Start the worker and yield what it says; it is gone when this ends, whatever happens."""
        with self._lock:
            if not self.wanted():
                raise Cancelled
            # The worker ends when its standard input does: it never outlives Blender.
            self._process = process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        with process:
            try:
                for line in process.stdout or ():
                    message = _message(line)
                    if message:
                        yield message
            finally:
                process.kill()
                self._process = None

    def _kill(self) -> None:
        process = self._process  # once: the job's thread forgets it meanwhile when the worker ends by itself
        if process:
            process.kill()

    def _show(self, stage: str, done: int, total: int) -> None:
        if stage != self.stage or done < self.done:
            self._stage_started = time.monotonic()
        self.stage, self.done, self.total = stage, done, total

    def _run(self) -> None:
        try:
            self.work()
        except Exception as error:  # a thread has nobody else to tell
            if self.wanted():
                self.fail(error)

    def fail(self, error: Exception, of: Path | None = None) -> str:
        """Keep the line that tells the user what went wrong, and ``of`` which file, and return it."""
        said = str(error) if isinstance(error, S2DError) else f"{type(error).__name__}: {error}"
        if isinstance(error, OSError):
            said, of = f"{error.strerror or error}", error.filename or of
        if of and str(of) not in said:
            said = f"{of}: {said}"
        self.errors.append(said)
        return said


AnyJob = TypeVar("AnyJob", bound=Job)


class WorkerJob(Job):
    """One run of the worker with the given arguments; ``result`` is what it answered, or None."""

    def __init__(self, engine: Engine, *arguments: str) -> None:
        super().__init__(engine)
        self.result: dict[str, Any] | None = None
        self._arguments = arguments

    def work(self) -> None:
        """Run it."""
        self.result = self.run_worker(*self._arguments)


@dataclass
class ClipTask:
    """One clip of an import, and how far it has come."""

    path: Path  # the .s2d file
    movie: Path | None = None  # what is encoded to ``path`` first
    encode_options: tuple[str, ...] = ()
    film_start: float | None = None  # the second of the movie at which the clip begins, once it is known
    remarks: tuple[str, ...] = ()  # what encoding told
    edits: dict[str, Any] = field(default_factory=dict)  # how the motion that is shown is cleaned up
    edited: str = ""  # the folder with that motion inside the clip's own
    clip: DecodedClip | None = None  # what is decoded by now; another object with every part
    motion: DecodedClip | None = None  # the same of the motion that is shown, where it is cleaned up
    error: str = ""
    dropped: bool = False  # nobody wants it any more
    folder: Path | None = None  # that it is decoded to
    home: Path | None = None  # where saving took what was there of the folder; the rest follows

    @property
    def finished(self) -> bool:
        """Whether every part is there."""
        return self.clip is not None and is_complete(self.clip) and self.cleaned

    @property
    def cleaned(self) -> bool:
        """Whether the motion is cleaned up as it should be."""
        return not self.edited or (self.motion is not None and self.motion.skeleton is not None)

    @property
    def lost(self) -> bool:
        """Whether it failed before there was a mesh, so that nothing is left of it."""
        shown = self.motion if self.edited else self.clip
        return bool(self.error) and not (shown and shown.mesh)

    def read(self, folder: Path) -> None:
        """Read what is decoded by now to ``folder``; OSError where that cannot be done."""
        if self.edited and (folder / self.edited / DESCRIPTION_FILE).is_file():
            self.motion = read_decoded(folder / self.edited, self.path.stem)
        self.clip = read_decoded(folder, self.path.stem)

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.finished or self.dropped or bool(self.error)


class ImportJob(Job):
    """The decoding of some ``.s2d`` files, each to a folder of its own under ``root``.

    All bodies and meshes come first, cleaned-up motions before the clips' own, and then all videos. What was
    decoded there before is not decoded again, and what was begun is finished. A file that fails leaves
    nothing behind and a line in ``errors``; the others go on. Cancelling removes the folders that are not
    complete; ending keeps what they hold by then.
    """

    def __init__(
        self, tasks: Sequence[ClipTask], root: Path, engine: Engine, measured: Path | None = None
    ) -> None:
        """``measured`` is the file in which it is noted how long encodings take, see :mod:`.estimate`."""
        super().__init__(engine)
        self.tasks = tuple(tasks)
        self.current: ClipTask | None = None
        self._root, self._measured = root, measured
        self._begun: dict[Path, ClipTask] = {}

    def drop(self, task: ClipTask) -> None:
        """Let one clip be, and keep what of it is decoded; the others go on."""
        with self._lock:
            task.dropped = True
            if task is self.current:
                self._kill()

    def wanted(self) -> bool:
        """Whether the clip at work is still wanted."""
        return super().wanted() and not (self.current and self.current.dropped)

    def work(self) -> None:
        """Decode everything."""
        # One clip alone needs no second start of the engine between its mesh and its video.
        for only in ("mesh", "video") if len(self.tasks) > 1 else (None,):
            for task in self.tasks:
                if self.cancelled:
                    break
                if not task.over:
                    self._advance(task, only)
        for folder, task in self._begun.items():
            kept = self.ended or task.finished or not (self.cancelled or task.lost)
            if kept:
                sweep(folder)  # what a killed worker has not finished
                sweep(folder / task.edited)
            else:
                sweep(folder)
                cache.remove(folder)

    def _advance(self, task: ClipTask, only: str | None) -> None:
        self.current, self.stage, self.done, self.total = task, "", 0, 0
        try:
            if task.movie and not task.path.is_file():
                self._encode(task, task.movie)
            self._decode(task, only)
        except Exception as error:
            if task.movie:
                sweep(task.path.parent)
            if self.wanted():  # otherwise the worker was killed on purpose
                task.error = self.fail(error, task.movie or task.path)

    def _encode(self, task: ClipTask, movie: Path) -> None:
        started = time.monotonic()
        result = self.run_worker("encode", str(movie), "-o", str(task.path), *task.encode_options)
        seconds, film = time.monotonic() - started, result.get("film")
        task.remarks = tuple(result.get("warnings", ()))
        if film:
            task.film_start = film["start"]
            pixels = (math.prod(film[size]) for size in ("size", "canvas"))
            if self._measured:
                estimate.note(
                    estimate.Encoding(film["frames"], film["rate"], *pixels), seconds, self._measured
                )

    def _decode(self, task: ClipTask, only: str | None) -> None:
        if task.folder is None:
            if not task.path.is_file():
                raise InputError("file", f"{task.path} is not there: choose a .s2d file.")
            task.folder = cache.clip_folder(self._root, task.path, self.engine.body_folder)
            if cache.claim(task.folder):
                with contextlib.suppress(OSError):  # damaged: it is decoded anew
                    task.read(task.folder)
        folder = task.folder
        if task.finished:
            return
        if only == "video" and not (task.clip and task.clip.mesh and task.clip.has_video):
            return

        def show(_part: str) -> None:
            task.read(_settled(folder, task.home))

        # The folder is the add-on's own, by its name: what is damaged in it is replaced.
        options, edits = ["--force", *self.engine.decode_options()], ["--edits", json.dumps(task.edits)]
        if task.clip and task.clip.skeleton:
            if not task.cleaned:  # decoded before, as it is
                inside = str(folder / task.edited)
                self.run_worker(
                    "decode", str(task.path), "-o", inside, "--only", "mesh", *edits, *options, on_part=show
                )
            if task.finished:
                return
            only = "video"
        elif not task.cleaned:
            options += [*edits, "--edited", task.edited]
        self._begun[folder] = task
        folder.mkdir(parents=True, exist_ok=True)
        cache.hold(folder)
        shutil.copyfile(task.path, folder / CLIP_FILE)
        options += ["--only", only] if only else []
        self.run_worker("decode", str(task.path), "-o", str(folder), *options, on_part=show)


def _settled(folder: Path, home: Path | None) -> Path:
    """Take what is decoded along to ``home``; returns where it then lies."""
    if home:
        with contextlib.suppress(OSError, S2DError):  # the next save tries again, and says what is wrong
            return cache.take_along(folder, home)
    return folder


def has_motion(clip: DecodedClip) -> bool:
    """Whether the mesh of a clip is decoded, with its texture."""
    return clip.skeleton is not None and (clip.texture is not None or not clip.has_video)


def is_complete(clip: DecodedClip) -> bool:
    """Whether every part of a clip is decoded."""
    return has_motion(clip) and (clip.video is not None or not clip.has_video)


def _message(line: bytes) -> dict[str, Any] | None:
    """Return what the worker says in a line; None where somebody else wrote it, such as a user's Python."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) and "type" in message else None


def _site_folders() -> list[str]:
    """Return the folders that hold the packages the worker imports, as this Python finds them."""
    folders = []
    for package in WORKER_PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise S2DError(
                "missing_dependency",
                f"The Python package {package} is missing: install this platform's zip of the extension.",
            )
        inside = Path(spec.origin).parent
        folder = str(inside.parent if spec.submodule_search_locations else inside)
        if folder not in folders:
            folders.append(folder)
    return folders


def _tail(log: IO[bytes]) -> str:
    log.seek(max(log.seek(0, os.SEEK_END) - _LOG_BYTES, 0))
    return log.read().decode("utf-8", "replace")


class LastJob(Generic[AnyJob]):
    """The job of a kind that is at work, or the last one: kept for the panel to show."""

    def __init__(self) -> None:
        self.current: AnyJob | None = None

    def start(self, job: AnyJob) -> None:
        """Start a job, which is the current one from now on."""
        self.current = job
        job.start()

    def running(self) -> bool:
        """Whether one is at work."""
        return self.current is not None and self.current.running

    def end(self) -> None:
        """Kill the one at work, and forget it."""
        if self.current:
            self.current.end()
        self.current = None


IMPORTING: LastJob[ImportJob] = LastJob()
FILMING: LastJob[WorkerJob] = LastJob()
"""The film of a clip that is made ready to be shown."""
