# SPDX-License-Identifier: GPL-3.0-or-later
"""What every measurement leaves behind: its figures, with all that a sceptic needs to take them again.

``<out>/<name>.json`` holds ``machine``, ``versions``, ``commit``, ``date`` and ``command`` beside the
figures; paths of pictures in it are relative to ``<out>``. :class:`Cache` keeps single measurements, so that
a long run can be stopped and taken up again.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..models.whole_files import whole_file, write_whole

OUT = Path("bench")
"""Where results go unless the user says otherwise."""

_PACKAGES = (
    "sparse2dense",
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "torch",
    "constriction",
    "imageio-ffmpeg",
    "ssimulacra2",
    "flip-evaluator",
    "bjontegaard",
    "zstandard",
)
_ROOT = Path(__file__).resolve().parent.parent


def write_results(name: str, figures: dict[str, Any], out: Path) -> Path:
    """Write ``figures`` and where they come from to ``out/name.json``, whole or not at all."""
    origin = {
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["s2d", *sys.argv[1:]]),
    }
    path = Path(out) / f"{name}.json"
    _write_json(path, origin | figures)
    return path


def read_results(name: str, out: Path) -> dict[str, Any] | None:
    """Return what :func:`write_results` wrote to ``out``, or None if that was never measured."""
    path = Path(out) / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure of matplotlib's, whole or not at all, and close it."""
    from matplotlib import pyplot

    with whole_file(path) as aside:
        figure.savefig(aside, dpi=100)
    pyplot.close(figure)


def machine() -> dict[str, Any]:
    """Return the processor's name, how many cores this process may use, memory in GiB, system and load.

    The load is the average number of processes that wanted a core, over the last 1, 5 and 15 minutes.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gib = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        gib = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return {
        "processor": _processor(),
        "cores": cores,
        "memory_gib": gib,
        "system": platform.platform(),
        "load": [round(load, 1) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that the figures rest on, where installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Return the commit of this checkout, with ``+`` where files were changed since, or ``unknown``."""
    try:
        revision = _git("rev-parse", "--short=12", "HEAD")
        return revision + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


class Cache:
    """Finished measurements in a folder, one JSON file each, found again by all that they depend on."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def get(self, **key: Any) -> Any:
        """Return what :meth:`put` kept under ``key`` (values that JSON can hold), or None."""
        path = self._path(key)
        return json.loads(path.read_text(encoding="utf-8"))["value"] if path.is_file() else None

    def put(self, value: Any, **key: Any) -> None:
        """Keep ``value``; the key is written beside it, for people."""
        _write_json(self._path(key), {"key": key, "value": value})

    def _path(self, key: dict[str, Any]) -> Path:
        text = json.dumps(key, sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"


def _write_json(path: Path, value: dict[str, Any]) -> None:
    write_whole(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
