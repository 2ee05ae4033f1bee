# SPDX-License-Identifier: GPL-3.0-or-later
"""Exporting a ``.s2d`` for other programs, as the file's ending says.

clip.s2d ── keypoints ──┬─────────────────────▶ clip.npz, in camera space
                        ├── floor ────────────▶ clip.trc, clip.c3d
                        └── vertices ── bones ▶ clip.bvh, clip.glb
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from ..models.errors import InputError
from ..models.outputs import ARRAYS, Kind, beginning
from ..models.whole_files import unwritable, whole_file
from .decoding.edits import Edits, apply_edits
from .decoding.floor import estimate_floor
from .decoding.parts import keypoint_groups, texture_png
from .decoding.session import Session
from .decoding.skeleton_fit import fit_skeleton
from .exports.bvh_writer import write_bvh
from .exports.c3d_writer import write_c3d
from .exports.glb_writer import write_glb
from .exports.npz_writer import write_npz
from .exports.standing import stand, stand_skeleton, z_up
from .exports.trc_writer import write_trc
from .format.container import S2DFile
from .runtime.progress import Progress, unwatched

_OF_SKELETONS = (".bvh", ".glb")
ENDINGS = (*_OF_SKELETONS, ".trc", ".c3d", ".npz")
"""The endings of the files that :func:`export` writes."""

_KINDS = {
    ".bvh": beginning("BVH motion", b"HIERARCHY"),
    ".glb": beginning("GLB scene", b"glTF"),
    ".trc": beginning("TRC motion", b"PathFileType"),
    ".c3d": beginning("C3D motion", b"P", at=1),
    ".npz": ARRAYS,
}


@dataclass
class ExportResult:
    """What :func:`export` wrote."""

    path: str
    frames: int
    warnings: list[str] = field(default_factory=list)


def export_outputs(output: str | Path) -> dict[Path, Kind]:
    """Return the file that :func:`export` writes, with its kind; none for another ending."""
    kind = _KINDS.get(Path(output).suffix.lower())
    return {} if kind is None else {Path(output): kind}


def export(
    path: str | Path,
    output: str | Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    body_file: str | Path | None = None,
    edits: Edits | None = None,
    progress: Progress = unwatched,
) -> ExportResult:
    """Write the motion of a ``.s2d`` as a file for other programs, in the format of ``output``'s ending.

    ``.bvh``: the standard skeleton, centimetres, y up. ``.glb``: the body skinned to it, metres, y up,
    with its texture where the clip has pictures.
    ``.trc`` and ``.c3d``: the keypoints, millimetres, y up and z up. ``.npz``: the keypoints in camera space,
    metres, as ``s2d encode --keypoints`` reads them. In all but the last the person stands on the floor at
    the origin, see :mod:`.exports.standing`.
    ``edits`` clean the motion up (:mod:`.decoding.edits`). ``device``, ``threads`` and ``body_file`` are as
    of :func:`.decode.decode`. Memory grows by the keypoints and the bones' rotations alone.
    The file appears whole or not at all. Raises InputError for another ending, a bad clip or a place that
    cannot be written, and S2DError where the disk is full.
    """
    path, output, edits = Path(path), Path(output), edits or Edits()
    kind = output.suffix.lower()
    if output.is_dir():
        raise InputError("output_unwritable", f"{output} is a folder: name a file, such as clip.glb.")
    if kind not in ENDINGS:
        raise InputError("export_format", f"{output}: the name must end in one of {', '.join(ENDINGS)}.")
    file = S2DFile.open(path)
    header = file.header
    session = Session(file, device=device, threads=threads, body_file=body_file, edits=edits)
    keypoints = np.concatenate(list(keypoint_groups(file, progress)))
    floor = estimate_floor(keypoints, float(header.fps), session.body)
    references = file.references() if kind == ".glb" else []
    texture = texture_png(session, references, keypoints) if references else None
    if edits != Edits():
        keypoints = apply_edits(keypoints, float(header.fps), session.body, session.target, floor, edits)
    write: Callable[[Path], None]
    if kind in _OF_SKELETONS:
        vertices = partial(session.predictor.predict, keypoints)
        motion = fit_skeleton(session.target, vertices, header.frames, progress)
        motion = stand_skeleton(motion, floor)
        if kind == ".bvh":
            write = partial(write_bvh, motion=motion, fps=header.fps)
        else:
            write = partial(
                write_glb, motion=motion, body=session.target.model, fps=header.fps, texture=texture
            )
    elif kind == ".npz":
        write = partial(write_npz, keypoints=keypoints, header=header)
    else:
        standing = stand(keypoints, floor)
        if kind == ".trc":
            write = partial(write_trc, keypoints=standing, fps=header.fps, title=output.name)
        else:
            write = partial(write_c3d, keypoints=z_up(standing), fps=header.fps)
    try:
        with whole_file(output) as aside:
            write(aside)
    except OSError as error:
        raise unwritable(output, error) from error
    # Points are exact whatever the networks are: what is told of these concerns skeletons alone.
    warnings = session.warnings if kind in _OF_SKELETONS else file.unshown_warnings()
    return ExportResult(str(output), header.frames, warnings)
