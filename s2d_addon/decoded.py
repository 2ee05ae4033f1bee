# SPDX-License-Identifier: GPL-3.0-or-later
"""A decoded clip as the worker leaves it: ``clip.json``, ``mesh.pc2``, ``mesh.npz`` and a video in a folder.

Only numpy is needed here, so that the job's thread can read what the scene is then built from.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

DESCRIPTION_FILE = "clip.json"
_PC2_HEADER = struct.Struct("<12siiffi")
_FRAMES_AT_ONCE = 64


@dataclass(frozen=True)
class DecodedClip:
    """What a scene is built from. Points are in Blender's axes (z up), metres, the camera at the origin."""

    name: str
    mesh: Path  # the PC2 point cache
    video: Path | None
    frames: int
    fps: Fraction
    width: int
    height: int
    focal: tuple[float, float]  # fx, fy, pixels
    centre: tuple[float, float]  # cx, cy, pixels
    faces: np.ndarray  # (F, 3) int32
    uv: np.ndarray  # (F, 3, 2) float32, one a face corner
    bounds: np.ndarray  # (2, 3) float32, lowest and highest coordinates of all vertices and frames
    warnings: tuple[str, ...]


def read_decoded(folder: Path, name: str) -> DecodedClip:
    """Read the folder of a finished decoding; ``name`` is what the user calls the clip."""
    description = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
    files, camera = description["files"], description["camera"]
    mesh = folder / files["mesh"]
    with np.load(folder / files["mesh_data"], allow_pickle=False) as arrays:
        faces, uv = arrays["faces"], arrays["uv"]
    return DecodedClip(
        name=name,
        mesh=mesh,
        video=folder / files["video"] if "video" in files else None,
        frames=description["frames"],
        fps=Fraction(*description["fps"]),
        width=description["width"],
        height=description["height"],
        focal=(camera["fx"], camera["fy"]),
        centre=(camera["cx"], camera["cy"]),
        faces=np.ascontiguousarray(faces, np.int32),
        uv=np.ascontiguousarray(uv, np.float32),
        bounds=_bounds(open_point_cache(mesh)),
        warnings=tuple(description["warnings"]),
    )


def open_point_cache(path: Path) -> np.ndarray:
    """Map a PC2 file into memory as a read-only ``(T, V, 3)`` float32 array in Blender's axes."""
    with path.open("rb") as file:
        _, _, vertices, _, _, frames = _PC2_HEADER.unpack(file.read(_PC2_HEADER.size))
    return np.memmap(path, "<f4", "r", offset=_PC2_HEADER.size, shape=(frames, vertices, 3))


def _bounds(points: np.ndarray) -> np.ndarray:
    lowest, highest = points[0].min(axis=0), points[0].max(axis=0)
    for start in range(0, len(points), _FRAMES_AT_ONCE):
        chunk = points[start : start + _FRAMES_AT_ONCE]
        lowest = np.minimum(lowest, chunk.min(axis=(0, 1)))
        highest = np.maximum(highest, chunk.max(axis=(0, 1)))
    return np.stack([lowest, highest])
