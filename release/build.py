# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the extension's zips and an index of them: ``python -m sparse2dense.release.build -o dist``.

There is one zip a platform. It carries the wheels that the worker needs, for every Python that Blender 4.2 to
5.2 has, and the weights of all networks, so that it installs in a Blender that was never online. The folder,
put on any web server, is a repository that Blender can subscribe to. Building, validating and indexing is
Blender's own tool's work; it comes with the ``bpy`` package, which :mod:`.bpy_env` finds or installs, or with
the Blender that ``--blender`` names.
"""

from __future__ import annotations

import argparse
import fnmatch
import io
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

from ..models.whole_files import publish, staging_folder, whole_file
from .bpy_env import BpyError, blender_python

ROOT = Path(__file__).resolve().parents[1]
MANIFEST = "blender_manifest.toml"
INDEX = "index.json"

WHEELS = (
    "onnxruntime==1.32.0",
    "opencv-python-headless==5.0.0.93",
    "av==18.1.0",
    "constriction==0.5.0",
)
"""What the worker imports beside numpy, which is Blender's own. They need no more to be imported, and they
work with the numpy of every Blender since 4.2 (1.24.3), whatever their metadata asks for."""

UNUSED = {
    "onnxruntime": ("*/libonnxruntime.*", "*/onnxruntime.dll"),
    "opencv_python_headless": ("*/opencv_videoio_ffmpeg*",),
}
"""What is left out of a wheel, since the worker never loads it: ONNX Runtime's
library for programs in C, which its Python module holds once more, OpenCV's own way to films."""

PYTHONS = ("3.11", "3.13", "3.14")
"""Of Blender 4.2 to 5.0, of 5.1 and 5.2, and of Debian's 5.2; the oldest first."""

PLATFORMS = {
    "linux-x64": ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64"),
    "windows-x64": ("win_amd64",),
    "macos-arm64": ("macosx_14_0_arm64", "macosx_13_0_arm64", "macosx_12_0_arm64", "macosx_11_0_arm64"),
}
"""Blender's names of platforms, and the wheel tags that run there."""

MAX_BYTES = 200_000_000
"""Of a zip, however it is packed."""


class BuildError(Exception):
    """A step of the build failed; the message holds what its tool said."""


def build(
    out_dir: Path,
    platform: str,
    blender: Sequence[str],
    pythons: Sequence[str] = PYTHONS,
    *,
    tight: bool = True,
) -> Path:
    """Build and validate the zip of ``platform`` in ``out_dir`` and return its path.

    ``blender`` is the command that takes ``build`` and ``validate``, see :func:`extension_tool`. ``tight``
    packs it more than a quarter smaller, which takes minutes. Raises BuildError.
    """
    version = tomllib.loads((ROOT / MANIFEST).read_text(encoding="utf-8"))["version"]
    target = out_dir / f"sparse2dense-{version}-{platform.replace('-', '_')}.zip"
    with staging_folder(out_dir) as folder:
        staging = folder / "sparse2dense"
        _copy_tree(staging)
        _download_wheels(staging / "wheels", platform, pythons)
        _complete_manifest(staging, platform)
        built = folder / target.name
        _run([*blender, "build", "--source-dir", str(staging), "--output-filepath", str(built)])
        if tight:
            pack_tight(built)
        _run([*blender, "validate", str(built)])
        if built.stat().st_size > MAX_BYTES:
            raise BuildError(
                f"{target.name} would be {built.stat().st_size / 1e6:.0f} MB; 200 MB are allowed."
            )
        publish(built, out_dir)
    return target


def pack_tight(zipped: Path) -> None:
    """Pack a zip anew by LZMA, which Python's own reader, and so Blender, unpacks as it does all others.

    Wheels in it are zips that hide from any compression what they hold; so theirs is taken off.
    """
    with (
        whole_file(zipped) as tight,
        zipfile.ZipFile(zipped) as loose,
        zipfile.ZipFile(tight, "w", zipfile.ZIP_LZMA) as packed,
    ):
        for member in loose.infolist():
            data = loose.read(member)
            if member.filename.endswith(".whl"):
                data = _uncompressed(data)
            packed.writestr(member, data, zipfile.ZIP_LZMA)


def _uncompressed(content: bytes) -> bytes:
    """Return a zip that holds what ``content`` does, as it is."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as given, zipfile.ZipFile(made, "w") as stored:
        for member in given.infolist():
            stored.writestr(member, given.read(member), zipfile.ZIP_STORED)
    return made.getvalue()


def index(folder: Path, blender: Sequence[str]) -> Path:
    """Write the ``index.json`` by which Blender can subscribe to the zips in ``folder``; returns its path."""
    with staging_folder(folder) as staging:  # Blender writes the index bit by bit
        for zipped in folder.glob("*.zip"):
            try:
                os.link(zipped, staging / zipped.name)
            except OSError:  # not on this disk
                shutil.copyfile(zipped, staging / zipped.name)
        _run([*blender, "server-generate", "--repo-dir", str(staging)])
        return publish(staging / INDEX, folder)


def extension_tool(blender: str | None = None) -> list[str]:
    """Return the command that runs Blender's extension tool: of ``blender``, or of the ``bpy`` package.

    Raises BpyError where ``bpy`` is to be installed first and cannot be.
    """
    if blender:
        return [*shlex.split(blender), "--command", "extension"]
    python = blender_python()
    tool = "bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py"
    return [str(python), str(next(python.parents[1].rglob(tool)))]


def _copy_tree(staging: Path) -> None:
    """Copy what version control knows; the manifest's patterns then leave out what Blender has no use for."""
    listed = _run(["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, staging / name)


def _download_wheels(folder: Path, platform: str, pythons: Sequence[str]) -> None:
    tags = [option for tag in PLATFORMS[platform] for option in ("--platform", tag)]
    for python in pythons:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        _run([*command, "--python-version", python, *tags, "--dest", str(folder), *WHEELS])
    for wheel in folder.iterdir():
        _leave_out(wheel, UNUSED.get(wheel.name.split("-")[0], ()))
    oldest = f"cp{pythons[0].replace('.', '')}"
    for wheel in list(folder.iterdir()):
        name, version, *rest = wheel.name.split("-")
        if rest[0] != oldest and "abi3" not in rest:
            # Blender 4.2.0 does not choose by Python: of wheels that differ only in it, it takes the last by
            # name. A build tag of 0 puts those of later Pythons first; later Blenders pay it no heed.
            wheel.rename(wheel.with_name("-".join([name, version, "0", *rest])))


def _leave_out(wheel: Path, patterns: Sequence[str]) -> None:
    """Take the files that match one of ``patterns`` out of a wheel and out of its record."""

    def kept(name: str) -> bool:
        return not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)

    if not patterns:
        return
    with (
        whole_file(wheel) as slim,
        zipfile.ZipFile(wheel) as whole,
        zipfile.ZipFile(slim, "w", zipfile.ZIP_DEFLATED) as rest,
    ):
        for member in filter(lambda member: kept(member.filename), whole.infolist()):
            data = whole.read(member)
            if member.filename.endswith(".dist-info/RECORD"):
                lines = data.decode().splitlines(keepends=True)
                data = "".join(line for line in lines if kept(line.split(",")[0])).encode()
            rest.writestr(member, data)


def _complete_manifest(staging: Path, platform: str) -> None:
    """Name the platform and the wheels, before the manifest's first table."""
    wheels = sorted(path.name for path in (staging / "wheels").iterdir())
    listed = "".join(f'    "./wheels/{name}",\n' for name in wheels)
    manifest = staging / MANIFEST
    head, table, rest = manifest.read_text(encoding="utf-8").partition("\n[")
    text = f'{head}\nplatforms = ["{platform}"]\nwheels = [\n{listed}]\n{table}{rest}'
    manifest.write_text(text, encoding="utf-8")


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{shlex.join(command)}\n{done.stdout}{done.stderr}".strip())
    return done.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="sparse2dense.release.build", description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("dist"), metavar="DIR")
    parser.add_argument("--platform", choices=PLATFORMS, help="build for this one only; default: for all")
    parser.add_argument(
        "--blender", metavar="COMMAND", help="the Blender that builds; default: the bpy package"
    )
    options = parser.parse_args(arguments)
    try:
        blender = extension_tool(options.blender)
        for platform in [options.platform] if options.platform else PLATFORMS:
            target = build(options.output, platform, blender)
            print(f"{target} ({target.stat().st_size / 1e6:.0f} MB)")
        print(index(options.output, blender))
    except (BuildError, BpyError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
