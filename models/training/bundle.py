# SPDX-License-Identifier: GPL-3.0-or-later
"""All that a training needs beside this package, as one zip below 60 MB for a machine without a network.

``s2d train bundle --data DIR --backgrounds DIR -o bundle.zip``, then there ``unzip bundle.zip -d data`` and
``s2d train joint --data data …``. Photographs go along as large as training uses them, and VGG-16 as far as
training compares it, in half precision.
"""

from __future__ import annotations

import argparse
import io
import os
import zipfile
from pathlib import Path

import cv2
import numpy as np

from ..errors import InputError
from ..outputs import Kind, archive
from ..whole_files import whole_file
from . import avatars, motion
from .backgrounds import FOLDER, photographs, read_photograph
from .train_joint import CHECKPOINT, HED_WEIGHTS, hed_weights

LIMIT = 60_000_000
"""Bytes that a bundle may have."""

_QUALITY = 90  # of the photographs' JPEG


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``s2d train bundle``."""
    parser.add_argument("--data", type=Path, default=os.environ.get("S2D_DATA"), help="folder of the assets")
    parser.add_argument("--backgrounds", type=Path, help="folder of photographs to take along")
    parser.add_argument("--checkpoint", type=Path, help="a training to start from or to go on with")
    parser.add_argument("--stages", type=int, choices=range(1, 6), default=4, help="of VGG-16 (4)")
    parser.add_argument("-o", "--output", type=Path, default=Path("bundle.zip"), metavar="FILE.zip")


def outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    """Return the files that :func:`run` writes, each with its kind."""
    return {args.output: archive("bundle", motion.ARCHIVE.encode())}


def inputs(args: argparse.Namespace) -> list[Path]:
    """Return the files that go into the bundle."""
    data = motion.data_dir(args.data)
    taken = photographs(args.backgrounds) if args.backgrounds else []
    return [data / motion.ARCHIVE, data / avatars.ARCHIVE, *filter(None, [args.checkpoint]), *taken]


def run(args: argparse.Namespace) -> None:
    """Write the bundle, whole or not at all; InputError where it would be too large."""
    data = motion.data_dir(args.data)
    files = {name: data / name for name in (motion.ARCHIVE, avatars.ARCHIVE)}
    # One of a stem, by which training knows them: at a second file of one name unzip stops and asks.
    places = {path.stem: path for path in photographs(args.backgrounds)} if args.backgrounds else {}
    if args.checkpoint:
        files[CHECKPOINT] = args.checkpoint
    with whole_file(args.output) as aside:
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as bundle:  # what goes in is compressed already
            for name, path in files.items():
                bundle.write(path, name)
            for stem, path in places.items():
                bundle.writestr(f"{FOLDER}/{stem}.jpg", _coded(read_photograph(path)))
            bundle.writestr(HED_WEIGHTS, _first_stages(hed_weights(data), args.stages))
        size = aside.stat().st_size
        if size > LIMIT:
            raise InputError(
                "bundle", f"The bundle would have {size:,} bytes of {LIMIT:,}: take fewer photographs along."
            )
    print(f"{args.output}: {size:,} bytes")


def _coded(picture: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


def _first_stages(path: Path, stages: int) -> bytes:
    """Return HED's file with the first ``stages`` of VGG-16 alone, in half precision."""
    import h5py

    def keep(name: str, value: object) -> None:
        if isinstance(value, h5py.Dataset) and name.startswith(kept):
            file.create_dataset(name, data=value[()].astype(np.float16))

    kept = tuple(f"block{stage}/" for stage in range(1, stages + 1))
    written = io.BytesIO()
    with h5py.File(path, "r") as whole, h5py.File(written, "w") as file:
        whole.visititems(keep)
    return written.getvalue()
