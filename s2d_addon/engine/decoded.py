# SPDX-License-Identifier: GPL-3.0-or-later
"""A decoded clip as a scene is built from it: what its folder holds by now, in Blender's axes.

The folder's contract is :mod:`...inference.decoding.decoded_folder`. Only NumPy is needed, so that the job's
thread can read what the scene is then built from.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ...inference.decoding.decoded_folder import (
    DESCRIPTION_FILE,
    FILES,
    read_bones,
    read_description,
    read_rest_body,
)
from ...inference.decoding.floor import Floor
from ...inference.decoding.point_cache import open_pc2 as open_point_cache
from ...inference.decoding.point_cache import to_blender

__all__ = [
    "CLIP_FILE",
    "DESCRIPTION_FILE",
    "FILM_FILE",
    "DecodedClip",
    "Floor",
    "open_point_cache",
    "read_bones",
    "read_decoded",
    "read_description",
]

CLIP_FILE = "clip.s2d"
"""The copy of the ``.s2d`` in its decoded folder, so that it can be decoded again."""

FILM_FILE = FILES["film"]
"""The film that the clip was made of, at the clip's frames."""


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
    mannequin: Path | None  # the picture of the body's UV map that shows nobody in particular
    texture: Path | None  # the one that shows the person
    video: Path | None
    film: Path | None  # the film that the clip was made of, at the clip's frames
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
    doubts: list[tuple[int, int, str]]  # from which frame, to before which, of what the motion is a guess
    warnings: tuple[str, ...]


def read_decoded(folder: Path, name: str) -> DecodedClip:
    """Read what is decoded by now; ``name`` is what the user calls the clip.

    Raises OSError, which says what is wrong, where the folder has no whole description or no whole body.
    """
    description = read_description(folder)
    paths = {what: folder / file for what, file in description.files.items() if (folder / file).is_file()}
    if "body" not in paths:
        raise OSError(f"{folder} does not hold the clip's body")
    body, camera, floor = read_rest_body(paths["body"]), description.camera, description.floor
    return DecodedClip(
        name=name,
        folder=folder,
        key=description.clip,
        has_video=description.has_video,
        mesh=paths.get("mesh"),
        keypoints=paths.get("keypoints"),
        mesh_data=paths.get("mesh_data"),
        skeleton=paths.get("skeleton"),
        reference=paths.get("reference"),
        mannequin=paths.get("mannequin"),
        texture=paths.get("texture"),
        video=paths.get("video"),
        film=paths.get("film"),
        frames=description.frames,
        fps=description.fps,
        width=description.width,
        height=description.height,
        focal=(camera.fx, camera.fy),
        centre=(camera.cx, camera.cy),
        rest=body.vertices,
        faces=body.faces,
        uv=body.uv,
        bounds=description.bounds,
        floor=floor and Floor(*(to_blender(part) for part in (floor.up, floor.point, floor.forward))),
        measures=description.measures,
        doubts=description.doubts,
        warnings=tuple(description.warnings),
    )
