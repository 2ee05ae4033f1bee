# SPDX-License-Identifier: GPL-3.0-or-later
"""What an opened ``.s2d`` file holds and where its bytes go, for people and for programs."""

from __future__ import annotations

from typing import TypedDict

from ...models.keypoints import KEYPOINT_NAMES
from .certainty import doubts
from .container import S2DFile


class FileInfo(TypedDict):
    """What :func:`file_info` returns."""

    version: int
    people: int
    shown: int  # which of them, from 1, all that follows is of; bytes and kbps are of the whole file
    frames: int
    fps: list[int]  # numerator, denominator
    seconds: float
    size: list[int]  # canvas: width, height
    camera: list[list[float]]  # (3, 3) K
    moving_camera: bool
    moving_plate: bool
    keypoint_names: list[str]
    keypoint_step_mm: float
    group_frames: int
    references: int
    body: str
    shape: list[float]
    networks: dict[str, str]  # hexadecimal
    doubts: list[str] | None  # in which spans a region of the body is a guess; None: that is not known
    bytes: dict[str, int]  # by part, and their "total"
    kbps: dict[str, float]  # likewise


def file_info(file: S2DFile) -> FileInfo:
    """Return what a file holds and where its bytes go, ready for JSON. Decodes no picture and no keypoint.

    Raises InputError for a file whose keypoints or certainty are damaged.
    """
    header = file.header
    sizes = file.sizes()
    certainty, guesses = file.certainty(), None
    if certainty is not None:
        guesses = [f"{doubt.span} {doubt.part}" for doubt in doubts(certainty, header.fps)]
    seconds = header.frames / header.fps
    return {
        "version": header.version,
        "people": len(file.headers),
        "shown": file.person + 1,
        "frames": header.frames,
        "fps": [header.fps.numerator, header.fps.denominator],
        "seconds": float(seconds),
        "size": [header.width, header.height],
        "camera": header.camera.matrix().tolist(),
        "moving_camera": header.moving_camera,
        "moving_plate": header.moving_plate,
        "keypoint_names": list(KEYPOINT_NAMES),
        "keypoint_step_mm": header.step_um / 1000,
        "group_frames": header.group_frames,
        "references": len(file.parts_of("reference")),
        "body": header.body,
        "shape": header.shape.tolist(),
        "networks": {name: digest.hex() for name, digest in header.networks.items()},
        "doubts": guesses,
        "bytes": sizes,
        "kbps": {name: round(float(size * 8 / seconds / 1000), 4) for name, size in sizes.items()},
    }


def doubts_lines(info: FileInfo) -> list[str]:
    """Say in which spans the motion is a guess, a line each; nothing where that is not known."""
    if info["doubts"] is None:
        return []
    if not info["doubts"]:
        return ["the whole body is seen throughout"]
    return ["hidden, so that the motion is a guess:", *(f"  {doubt}" for doubt in info["doubts"])]


def bytes_table(info: FileInfo) -> list[str]:
    """Return the lines of a table of bytes and kbit/s a part."""
    rows = [f"{name:<12}{size:>10,}{info['kbps'][name]:>10.2f}" for name, size in info["bytes"].items()]
    return [f"{'part':<12}{'bytes':>10}{'kbit/s':>10}", *rows]
