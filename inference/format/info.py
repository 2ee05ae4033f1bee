# SPDX-License-Identifier: GPL-3.0-or-later
"""What an opened ``.s2d`` file holds and where its bytes go, for people and for programs."""

from __future__ import annotations

from typing import TypedDict

from ...models.keypoints import KEYPOINT_NAMES
from .container import S2DFile
from .header import VERSION


class FileInfo(TypedDict):
    """What :func:`file_info` returns."""

    version: int
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
    bytes: dict[str, int]  # by part, and their "total"
    kbps: dict[str, float]  # likewise


def file_info(file: S2DFile) -> FileInfo:
    """Return what a file holds and where its bytes go, ready for JSON; no part is read."""
    header = file.header
    sizes = file.sizes()
    seconds = header.frames / header.fps
    return {
        "version": VERSION,
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
        "references": sum(part.name == "reference" for part in file.parts),
        "body": header.body,
        "shape": header.shape.tolist(),
        "networks": {name: digest.hex() for name, digest in header.networks.items()},
        "bytes": sizes,
        "kbps": {name: round(float(size * 8 / seconds / 1000), 4) for name, size in sizes.items()},
    }


def bytes_table(info: FileInfo) -> list[str]:
    """Return the lines of a table of bytes and kbit/s a part."""
    rows = [f"{name:<12}{size:>10,}{info['kbps'][name]:>10.2f}" for name, size in info["bytes"].items()]
    return [f"{'part':<12}{'bytes':>10}{'kbit/s':>10}", *rows]
