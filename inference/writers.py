# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that decoding leaves: PC2 point caches, ``mesh.npz``, single meshes, pictures, JSON.

Every file is written in a staging folder beside its final place and renamed when it is whole.
Long arrays are streamed, so that no writer's memory grows with the clip's length.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import struct
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np

from ..models.body import BodyModel
from .errors import DISK_FULL, InputError, S2DError

_PC2_HEADER = struct.Struct("<12siiffi")
_STAGING_PREFIX = ".s2d-partial-"
_STALE_SECONDS = 24 * 3600

MESH_FORMATS = ("glb", "obj", "ply")


# ---- staging ---------------------------------------------------------------------------------


@contextlib.contextmanager
def staging_folder(out_dir: Path) -> Iterator[Path]:
    """Make ``out_dir`` where needed, and a hidden folder in it that is gone when the block ends.

    A block that fails leaves no folder that was not there before. Folders that killed processes
    left behind more than a day ago are swept. InputError ``output_unwritable`` where the folder
    cannot be made or written.
    """
    made = [folder for folder in (out_dir, *out_dir.parents) if not folder.exists()]
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        _sweep_stale(out_dir)
        staging = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=out_dir))
    except OSError as error:
        raise unwritable(out_dir, error) from error
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        with contextlib.suppress(OSError):  # the first that holds something ends it
            for folder in made:
                folder.rmdir()


def publish(staged: Path, out_dir: Path) -> Path:
    """Move one finished file from the staging folder to ``out_dir``, over an older one of its name."""
    final = out_dir / staged.name
    try:
        os.replace(staged, final)
    except OSError as error:
        raise unwritable(final, error) from error
    return final


def unwritable(path: Path, error: OSError) -> S2DError:
    """Put an :class:`OSError` met while writing ``path`` into words for people."""
    if error.errno in DISK_FULL:
        return S2DError("disk_full", f"The disk of {path} is full: free some space or choose another folder.")
    reason = error.strerror or type(error).__name__
    return InputError("output_unwritable", f"Cannot write {path} ({reason}): choose another place.")


def check_space(out_dir: Path, need: int) -> None:
    """Raise S2DError ``disk_full`` unless the disk of ``out_dir`` has ``need`` bytes free."""
    existing = next(folder for folder in (out_dir, *out_dir.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < need:
        raise S2DError(
            "disk_full",
            f"Decoding to {out_dir} needs about {need / 1e6:,.0f} MB and its disk has {free / 1e6:,.0f} MB "
            "free: free some space or choose another folder.",
        )


def _sweep_stale(out_dir: Path) -> None:
    for folder in out_dir.glob(f"{_STAGING_PREFIX}*"):
        if time.time() - folder.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


# ---- points ----------------------------------------------------------------------------------


def to_blender(points: np.ndarray) -> np.ndarray:
    """Turn ``(..., 3)`` camera space (y down, z forward) into Blender's axes (z up, y away)."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


def from_blender(points: np.ndarray) -> np.ndarray:
    """Undo :func:`to_blender`, exactly."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


class PC2Writer:
    """A PC2 point cache in Blender's axes, written batch by batch.

    Little-endian: ``POINTCACHE2\\0``, int32 version 1, int32 vertices, float32 start 0, float32
    sampling 1, int32 frames; then frames × vertices × 3 float32. ``bounds`` ``(2, 3)`` are the lowest and
    highest coordinates written so far, in the file's axes.
    """

    def __init__(self, path: Path, vertices: int, frames: int) -> None:
        self._shape = (vertices, 3)
        self._left = frames
        self._path = path
        self.bounds = np.array(
            [[np.inf] * 3, [-np.inf] * 3], np.float32
        )  # lowest, highest, in the file's axes
        self._file = path.open("wb")
        self._file.write(_PC2_HEADER.pack(b"POINTCACHE2\0", 1, vertices, 0.0, 1.0, frames))

    def write(self, vertices: np.ndarray) -> None:
        """Append ``(N, V, 3)`` float32 vertices in camera space."""
        if vertices.shape[1:] != self._shape or len(vertices) > self._left:
            raise ValueError(f"expected at most {self._left} frames of {self._shape}, got {vertices.shape}")
        points = to_blender(vertices)
        # One axis after the other: numpy takes fifteen times as long over both at once.
        self.bounds[0] = np.minimum(self.bounds[0], points.min(axis=0).min(axis=0))
        self.bounds[1] = np.maximum(self.bounds[1], points.max(axis=0).max(axis=0))
        self._file.write(points.astype("<f4").tobytes())
        self._left -= len(vertices)

    def __enter__(self) -> Self:
        """Start writing."""
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file; ValueError where frames are missing."""
        self._file.close()
        if error is None and self._left:
            raise ValueError(f"{self._path.name}: {self._left} frames were never written")


def read_pc2(path: Path, start: int, stop: int) -> np.ndarray:
    """Read frames ``start`` to ``stop`` of a PC2 file as ``(N, V, 3)`` float32 in camera space."""
    with path.open("rb") as file:
        vertices = _PC2_HEADER.unpack(file.read(_PC2_HEADER.size))[2]
        file.seek(_PC2_HEADER.size + start * vertices * 12)
        data = file.read((stop - start) * vertices * 12)
    return from_blender(np.frombuffer(data, "<f4").reshape(stop - start, vertices, 3))


# ---- mesh.npz --------------------------------------------------------------------------------


def write_npz(
    path: Path, arrays: dict[str, np.ndarray], streams: dict[str, tuple[tuple, Iterable[np.ndarray]]]
) -> None:
    """Write an ``.npz`` file: whole ``arrays``, and float32 ``streams`` of ``(shape, batches)``."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
        for name, (shape, batches) in streams.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                for batch in batches:
                    file.write(batch.astype("<f4").tobytes())


# ---- one mesh --------------------------------------------------------------------------------


def write_mesh(path: Path, vertices: np.ndarray, body: BodyModel) -> None:
    """Write one frame's mesh as GLB, OBJ or PLY (by ``path``'s ending), with UVs and smooth normals.

    ``vertices`` is ``(V, 3)`` in camera space; the file is y up, the person facing +z, as glTF has it.
    """
    import trimesh

    points = vertices * np.array([1, -1, -1], np.float32)
    corners = np.stack([body.faces.ravel(), body.faces_uv.ravel()], axis=1)
    pairs, faces = np.unique(corners, axis=0, return_inverse=True)
    # Normals are of the welded mesh, so that no seam shows where UVs split a vertex.
    normals = trimesh.Trimesh(points, body.faces, process=False).vertex_normals
    mesh = trimesh.Trimesh(
        points[pairs[:, 0]],
        faces.reshape(-1, 3),
        vertex_normals=normals[pairs[:, 0]],
        visual=trimesh.visual.TextureVisuals(uv=body.uv[pairs[:, 1]]),
        process=False,
    )
    options: dict[str, Any] = {"vertex_normal": True} if path.suffix == ".ply" else {"include_normals": True}
    data = mesh.export(file_type=path.suffix[1:], **options)
    if isinstance(data, str):  # an OBJ, which names a material file that is not written
        data = re.sub(r"(?m)^(mtllib|usemtl) .*\n", "", data).encode()
    path.write_bytes(data)


# ---- pictures and JSON -----------------------------------------------------------------------


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write an ``(H, W, 3)`` uint8 RGB picture in the format of ``path``'s ending."""
    path.write_bytes(cv2.imencode(path.suffix, np.ascontiguousarray(picture[..., ::-1]))[1].tobytes())


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object, indented, in UTF-8."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
