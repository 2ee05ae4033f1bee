# SPDX-License-Identifier: GPL-3.0-or-later
"""Opens a motion file of any program that is known, by what is in it."""

from __future__ import annotations

from pathlib import Path

from ...models.body import BodyModel
from ...models.errors import InputError
from .array_reader import read_npy, read_npz
from .bvh_reader import read_bvh
from .c3d_reader import read_c3d
from .conventions import Motion
from .json_reader import read_json, read_json_folder
from .text_files import decode
from .trc_reader import read_trc

_HEAD_BYTES = 4096


def open_motion(path: Path, body: BodyModel) -> Motion:
    """Read a motion file, or a folder of one JSON file a frame; ``body`` is what SMPL parameters pose.

    Raises InputError without the file's name: of which kind it would have to be, or what is wrong in it.
    """
    try:
        return _open(path, body)
    except OSError as error:
        raise InputError("cannot_read", f"cannot read it: {error.strerror or error}.") from error


def _open(path: Path, body: BodyModel) -> Motion:
    if path.is_dir():
        return read_json_folder(path)
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    words = decode(head).lstrip().upper()
    for ending, begins, reader in (
        (".npz", head.startswith(b"PK"), lambda path: read_npz(path, body)),
        (".npy", head.startswith(b"\x93NUMPY"), read_npy),
        (".c3d", head[1:2] == b"P" and head[0] < ord(" "), read_c3d),
        (".bvh", words.startswith("HIERARCHY"), read_bvh),
        (".trc", words.startswith("PATHFILETYPE"), read_trc),
        (".json", words.startswith(("{", "[")), read_json),
    ):
        if begins or path.suffix.lower() == ending:
            return reader(path)
    raise InputError(
        "not_motion",
        "it is no motion that can be read: give .npz or .npy, BVH, TRC, C3D, or JSON of OpenPose, EasyMocap "
        "or MediaPipe (from FBX, Blender exports BVH).",
    )
