# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender as the Python package ``bpy``, in a virtual environment of its own for each version.

``bpy`` pins numpy below 2 where OpenCV's wheels ask for numpy 2, so pip puts the two in no one environment
(though they work together, see :data:`.build.WHEELS`). The demo and the tests run Blender in these.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

NUMPY = {"4.2.0": "1.24.3", "4.5.0": "1.26.4", "5.0.1": "1.26.4"}
"""The versions of bpy that are used, and the numpy that the Blender of that version comes with."""

_PYTHON = (3, 11)
_READY = "ready"


class BpyError(Exception):
    """The environment could not be made; the message says what to do."""


def ensure_bpy(version: str) -> Path:
    """Return the Python that has ``bpy`` of that version, installing it from PyPI where it is not there yet.

    It is kept in the folder that the environment variable ``S2D_BPY_CACHE`` names, ``.cache`` in the project
    by default. Raises BpyError where Python is not 3.11 or pip fails.
    """
    folder = _environment(version)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if (folder / _READY).exists():
        return python
    if sys.version_info[:2] != _PYTHON:
        raise BpyError(f"bpy {version} is made for Python 3.11, and this is {sys.version.split()[0]}.")
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(folder)])
    _run([str(python), "-m", "pip", "install", "--quiet", f"bpy=={version}", f"numpy=={NUMPY[version]}"])
    (folder / _READY).touch()
    return python


def at_hand() -> list[str]:
    """Return the versions of bpy that are installed already, oldest first."""
    return [version for version in NUMPY if (_environment(version) / _READY).exists()]


def module_command(python: Path, module: str, *arguments: str, sites: Sequence[Path] = ()) -> list[str]:
    """Return the command that runs a module of this package in ``python``, where it is not installed.

    ``sites`` are folders to import packages from that ``python`` lacks.
    """
    boot = Path(__file__).with_name("boot.py")
    return [str(python), "-I", str(boot), json.dumps([str(site) for site in sites]), module, *arguments]


def main() -> int:
    """Run ``MODULE ...`` in the newest Blender there is as ``bpy``, with this Python's packages beside it."""
    module, *arguments = sys.argv[1:]
    try:
        python = ensure_bpy(max(NUMPY))
    except BpyError as error:
        print(error, file=sys.stderr)
        return 1
    sites = [Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")]
    return subprocess.run(module_command(python, module, *arguments, sites=sites), check=False).returncode


def _environment(version: str) -> Path:
    return Path(os.environ.get("S2D_BPY_CACHE") or ROOT / ".cache") / f"bpy-{version}"


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BpyError(f"{' '.join(command)}\n{done.stdout}{done.stderr}".strip())


if __name__ == "__main__":
    sys.exit(main())
