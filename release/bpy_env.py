# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender as the Python package ``bpy``: the one beside this package, or one in an environment of its own.

Up to 5.0, ``bpy`` is for Python 3.11 and pins numpy below 2 where OpenCV's wheels ask for numpy 2, so pip
puts the two in no one environment (though they work together, see :data:`.build.WHEELS`). From 5.1 on it is
for Python 3.13 and takes numpy 2: there the extra ``blender`` installs it beside everything else. The demo
runs the one that this Python has or can have, the tests each version that a Python on this machine can have.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Needs(NamedTuple):
    """What a version of bpy needs: its Python, and the numpy that the Blender of that version comes with."""

    python: tuple[int, int]
    numpy: str


VERSIONS = {
    "4.2.0": Needs((3, 11), "1.24.3"),
    "4.5.0": Needs((3, 11), "1.26.4"),
    "5.0.1": Needs((3, 11), "1.26.4"),
    "5.2.3": Needs((3, 13), "2.3.4"),
}
"""The versions of bpy that are used, oldest first."""

_READY = "ready"


class BpyError(Exception):
    """The environment could not be made; the message says what to do."""


class NoPythonError(BpyError):
    """There is no Python here that this version of bpy is made for."""


def ensure_bpy(version: str) -> Path:
    """Return the Python that has ``bpy`` of that version, installing it from PyPI where it is not there yet.

    It is kept in the folder that the environment variable ``S2D_BPY_CACHE`` names, ``.cache`` in the project
    by default. Raises NoPythonError where the Python that it needs is not at hand, BpyError where pip fails.
    """
    folder = _environment(version)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if (folder / _READY).exists():
        return python
    needs = VERSIONS[version]
    maker = _python(needs.python)
    if maker is None:
        wanted = ".".join(map(str, needs.python))
        raise NoPythonError(
            f"bpy {version} is made for Python {wanted}, and there is no python{wanted} on the PATH."
        )
    shutil.rmtree(folder, ignore_errors=True)
    _run([*maker, "-m", "venv", str(folder)])
    _run([str(python), "-m", "pip", "install", "--quiet", f"bpy=={version}", f"numpy=={needs.numpy}"])
    (folder / _READY).touch()
    return python


def newest() -> str:
    """Return the newest version of bpy that this Python can have; NoPythonError where there is none."""
    ours = [version for version, needs in VERSIONS.items() if needs.python == sys.version_info[:2]]
    if not ours:
        raise NoPythonError(f"There is no bpy for Python {sys.version.split()[0]}: use Python 3.11 or 3.13.")
    return ours[-1]


def blender_python() -> Path:
    """Return a Python that has ``bpy``: this one, or else that of the newest by :func:`ensure_bpy`."""
    return Path(sys.executable) if importlib.util.find_spec("bpy") else ensure_bpy(newest())


def at_hand() -> list[str]:
    """Return the versions of bpy that have an environment already, oldest first."""
    return [version for version in VERSIONS if (_environment(version) / _READY).exists()]


def module_command(python: Path, module: str, *arguments: str, sites: Sequence[Path] = ()) -> list[str]:
    """Return the command that runs a module of this package in ``python``, where it is not installed.

    ``sites`` are folders to import packages from that ``python`` lacks.
    """
    boot = ROOT / "s2d_addon" / "engine" / "boot.py"
    return [str(python), "-I", str(boot), json.dumps([str(site) for site in sites]), module, *arguments]


def main() -> int:
    """Run ``MODULE ...`` in the Blender of :func:`blender_python`, with this Python's packages beside it."""
    module, *arguments = sys.argv[1:]
    try:
        python = blender_python()
    except BpyError as error:
        print(error, file=sys.stderr)
        return 1
    sites = [Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")]
    return subprocess.run(module_command(python, module, *arguments, sites=sites), check=False).returncode


def _environment(version: str) -> Path:
    return Path(os.environ.get("S2D_BPY_CACHE") or ROOT / ".cache") / f"bpy-{version}"


def _python(version: tuple[int, int]) -> list[str] | None:
    """Return the command of a Python of that version that runs, or None."""
    if sys.version_info[:2] == version:
        return [sys.executable]
    name = ".".join(map(str, version))
    command = ["py", f"-{name}"] if os.name == "nt" else [f"python{name}"]
    try:  # a name on the PATH may be a version manager's, which fails where that version is not in use
        subprocess.run([*command, "-c", ""], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return command


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BpyError(f"{' '.join(command)}\n{done.stdout}{done.stderr}".strip())


if __name__ == "__main__":
    sys.exit(main())
