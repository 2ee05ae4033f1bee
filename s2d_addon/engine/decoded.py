# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip as the worker decodes it to a folder, part by part; ``clip.json`` names the parts that are finished.

Only numpy is needed here, so that the job's thread can read what the scene is then built from.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

DESCRIPTION_FILE = "clip.json"
_PC2_HEADER = struct.Struct("<12siiffi")


@dataclass(frozen=True)
class Floor:
    """The floor below the person in the first frame, in Blender's axes, the camera at the origin."""

    up: np.ndarray  # (3,) unit vector
    point: np.ndarray  # (3,) metres
    forward: np.ndarray  # (3,) unit vector, where the person faces


@dataclass(frozen=True)
class DecodedClip:
    """What a scene is built from. Points are in Blender's axes (z up), metres, the camera at the origin.

    What is not decoded yet, or was lost, is None.
    """

    name: str
    folder: Path
    key: str  # the .s2d file's SHA-256
    has_video: bool  # whether there is, or will be, a video
    mesh: Path | None  # the PC2 point cache of the body's vertices
    keypoints: Path | None  # the PC2 point cache of the keypoints
    mesh_data: Path | None  # the npz file that says what the keypoints are
    skeleton: Path | None  # the npz file of the standard skeleton and its motion
    reference: Path | None  # the reference picture
    video: Path | None
    frames: int
    fps: Fraction
    width: int
    height: int
    focal: tuple[float, float]  # fx, fy, pixels
    centre: tuple[float, float]  # cx, cy, pixels
    rest: np.ndarray  # (V, 3) float32, the body at rest, feet at z = 0, facing -Y
    faces: np.ndarray  # (F, 3) int32
    uv: np.ndarray  # (F, 3, 2) float32, one a face corner
    bounds: np.ndarray | None  # (2, 3) float32, lowest and highest coordinates of all vertices and frames
    floor: Floor | None
    measures: dict[str, dict[str, Any]]  # what can be changed of the body: value, min, max, unit, label …
    warnings: tuple[str, ...]


def read_decoded(folder: Path, name: str) -> DecodedClip:
    """Read what is decoded by now; ``name`` is what the user calls the clip.

    Raises OSError where the folder has no description or no body.
    """
    description = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
    files, camera = description["files"], description["camera"]
    with np.load(folder / files["body"], allow_pickle=False) as arrays:
        rest, faces, uv = (arrays[name] for name in ("vertices", "faces", "uv"))
    paths = {part: folder / name for part, name in files.items() if (folder / name).is_file()}
    bounds, floor = description.get("bounds"), description.get("floor")
    return DecodedClip(
        name=name,
        folder=folder,
        key=description["clip"],
        has_video=description["has_video"],
        mesh=paths.get("mesh"),
        keypoints=paths.get("keypoints"),
        mesh_data=paths.get("mesh_data"),
        skeleton=paths.get("skeleton"),
        reference=paths.get("reference"),
        video=paths.get("video"),
        frames=description["frames"],
        fps=Fraction(*description["fps"]),
        width=description["width"],
        height=description["height"],
        focal=(camera["fx"], camera["fy"]),
        centre=(camera["cx"], camera["cy"]),
        rest=np.ascontiguousarray(rest, np.float32),
        faces=np.ascontiguousarray(faces, np.int32),
        uv=np.ascontiguousarray(uv, np.float32),
        bounds=None if bounds is None else np.array(bounds, np.float32),
        floor=None if floor is None else Floor(**{name: _to_blender(floor[name]) for name in floor}),
        measures=description.get("measures", {}),
        warnings=tuple(description["warnings"]),
    )


def open_point_cache(path: Path) -> np.ndarray:
    """Map a PC2 file into memory as a read-only ``(T, V, 3)`` float32 array in Blender's axes."""
    with path.open("rb") as file:
        _, _, vertices, _, _, frames = _PC2_HEADER.unpack(file.read(_PC2_HEADER.size))
    return np.memmap(path, "<f4", "r", offset=_PC2_HEADER.size, shape=(frames, vertices, 3))


def read_bones(mesh_data: Path) -> np.ndarray:
    """Return the pairs ``(B, 2)`` of keypoints that a bone joins."""
    with np.load(mesh_data, allow_pickle=False) as arrays:
        return arrays["keypoint_bones"]


def _to_blender(vector: list[float]) -> np.ndarray:
    x, y, z = vector
    return np.array([x, z, -y])
