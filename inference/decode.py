# SPDX-License-Identifier: GPL-3.0-or-later
"""Decoding a ``.s2d``: its body at once, then the mesh of every frame, then the picture of every frame.

    clip.s2d ── shape ──▶ body at rest                            ──▶ body.npz, mannequin.png,
        │                                                             reference.png
        └── keypoints ──▶ vertex predictor                        ──▶ mesh.pc2, keypoints.pc2, mesh.npz,
                 │                │                                   texture.png
                 └────────────────┴─▶ frame synthesiser           ──▶ video.webm

Each file appears under its name when it is whole, and ``clip.json``, which names the files that are there, is
written again after each part (:mod:`.decoding.decoded_folder`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from ..models.errors import InputError
from ..models.keypoints import KEYPOINT_NAMES
from ..models.outputs import Kind, beginning
from ..models.whole_files import check_space, publish, staging_folder
from .decoding.decoded_folder import (
    DESCRIPTION_FILE,
    FILES,
    VIDEO_FORMATS,
    DecodedFolder,
    Finished,
    open_folder,
    written_before,
)
from .decoding.edits import Edits, edit_motion
from .decoding.floor import Floor, estimate_floor
from .decoding.parts import spool_keypoints, write_body, write_mesh, write_texture, write_video
from .decoding.session import Session
from .decoding.skeleton_fit import write_skeleton
from .format.container import S2DFile
from .runtime.progress import Progress, unwatched

_VIDEO_BYTES_PER_PIXEL = 0.25  # well above what the writer makes, since the space check must not be too low
_FIXED_BYTES = 16_000_000  # all that does not grow with the clip's length
_MESHES = {"glb": b"glTF", "obj": b"# https://github.com/mikedh/trimesh", "ply": b"ply\n"}


@dataclass
class DecodeResult:
    """What :func:`decode` or :func:`decode_frame` wrote."""

    folder: str
    files: dict[str, str]  # their names in the folder, by what they hold: body, reference, mesh, …, clip
    frames: int
    seconds: dict[str, float] = field(default_factory=dict)  # by stage
    warnings: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Note how long the block, a stage of the work, takes."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def decode(
    path: str | Path,
    out_dir: str | Path,
    *,
    only: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    body_file: str | Path | None = None,
    vertices: bool = False,
    video_format: str = "webm",
    sound: str | Path | None = None,
    edits: Edits | None = None,
    edited: str | None = None,
    progress: Progress = unwatched,
    finished: Finished = lambda part: None,
) -> DecodeResult:
    """Decode a ``.s2d`` to a folder: its body, its mesh, and its video if it has pictures.

    Writes, part by part, ``body.npz``, ``mannequin.png`` and ``reference.png``; ``mesh.pc2`` and
    ``keypoints.pc2`` (Blender's axes), ``mesh.npz`` (camera space; with ``vertices`` also every vertex of
    every frame), of a clip with pictures that is not edited ``texture.png``; ``skeleton.npz``; then
    ``video.webm`` or ``.mp4``; after each part ``clip.json`` and a call of ``finished`` with its name,
    ``body``, ``mesh``, ``skeleton`` or ``video``.
    ``only`` is ``mesh``, ``video`` or None for both; ``video`` draws from the ``mesh.pc2`` that the folder
    has of the same clip, made with the same weights and body, and predicts the vertices where it has none.
    ``sound`` is the film that the clip is of, whose sound the video carries.
    ``edits`` clean the motion up (:mod:`.decoding.edits`); they go with ``only="mesh"``, since the video
    shows the clip as it was filmed, or with ``edited``, the name of a folder inside: the cleaned-up motion is
    decoded to that folder, its parts called ``edited``, after the ``texture`` and before the clip's own mesh.
    ``device`` and ``threads``: see :func:`.runtime.backends.load_network`. ``body_file`` is the user's own
    model file where the clip's body is one of the SMPL family. Raises InputError for a bad file or folder and
    S2DError where the disk is full; parts that were finished before stay, no other file is left. What a
    folder holds of another clip, or of this one decoded otherwise, is replaced when all of the new is there.
    """
    if only not in (None, "mesh", "video"):
        raise ValueError(f"only is 'mesh', 'video' or None, not {only!r}")
    if video_format not in VIDEO_FORMATS:
        raise ValueError(f"video_format is one of {VIDEO_FORMATS}, not {video_format!r}")
    path, out_dir, edits = Path(path), Path(out_dir), edits or Edits()
    film = None if sound is None else Path(sound)
    if edited is None and edits != Edits() and only != "mesh":
        raise InputError("edits", "Edits change the mesh, not the video: decode with --only mesh.")
    if edited is not None:
        _check_edited(edited, edits, only)
    file = S2DFile.open(path)
    file.check()  # before the first part appears
    header, references = file.header, file.references()
    if film is not None and (only == "mesh" or not references):
        raise InputError("no_video", f"{path}: no video is drawn that could carry sound: leave out --sound.")
    if only == "video" and not references:
        raise InputError("no_video", f"{path} is a motion without pictures: decode it with --only mesh.")
    with_mesh, with_video = only != "video", only != "mesh" and bool(references)
    opened = partial(Session, file, device=device, threads=threads, body_file=body_file)
    session = opened(edits=Edits() if edited else edits)
    check_space(out_dir, _bytes_needed(session, with_mesh + bool(edited), with_video, vertices))
    result = DecodeResult(str(out_dir), {}, header.frames, warnings=session.warnings)

    description = session.describe(bool(references), with_video)
    with open_folder(out_dir, description, session.rest.model, finished) as folder:
        with result.timed("body"):
            write_body(folder.staging, session, references)
        folder.publish("body")
        with result.timed("keypoints"):
            keypoints = spool_keypoints(file, folder.staging / "keypoints.f32", progress)
        if with_mesh:
            with result.timed("texture"):
                write_texture(folder.staging, session, references, keypoints)
            floor = estimate_floor(keypoints, float(header.fps), session.body)
            if edited:
                folder.publish("texture", floor=floor)
                cleaned = opened(edits=edits)
                _write_edited(out_dir / edited, cleaned, keypoints, floor, result, progress, finished)
            _write_motion(folder, session, keypoints, floor, result, progress, vertices)
        if with_video:
            with result.timed("video"):
                video = folder.staging / f"video.{video_format}"
                mesh = folder.files.get("mesh")
                write_video(video, session, references, keypoints, mesh, progress, film)
            folder.publish("video")
        result.files = {what: path.name for what, path in folder.files.items()} | {"clip": DESCRIPTION_FILE}
        del keypoints  # its file lies in the staging folder, and Windows removes no open file
    return result


def _check_edited(edited: str, edits: Edits, only: str | None) -> None:
    if edits == Edits() or only == "video":
        raise InputError("edits", "--edited is for a cleaned-up mesh: say how with --edits.")
    if set("/\\:") & set(edited) or edited.strip(". ") != edited or not edited:
        raise InputError("edits", f"--edited is the name of a folder inside, not {edited!r}.")


def _write_edited(
    out_dir: Path,
    session: Session,
    keypoints: np.ndarray,
    floor: Floor,
    result: DecodeResult,
    progress: Progress,
    finished: Finished,
) -> None:
    """Decode the motion, cleaned up as the session's edits say, to a folder of its own."""
    references = session.file.references()
    description = session.describe(bool(references), with_video=False)
    with open_folder(out_dir, description, session.rest.model, lambda _part: finished("edited")) as folder:
        write_body(folder.staging, session, references)
        folder.publish("body")
        _write_motion(folder, session, keypoints, floor, result, progress)


def _write_motion(
    folder: DecodedFolder,
    session: Session,
    keypoints: np.ndarray,
    floor: Floor,
    result: DecodeResult,
    progress: Progress,
    vertices: bool = False,
) -> None:
    """Write mesh and skeleton of the keypoints ``(T, 23, 3)``, cleaned up as the session's edits say."""
    header, contacts = session.file.header, None
    if session.edits != Edits():
        with result.timed("edits"):
            edited = edit_motion(
                keypoints, float(header.fps), session.body, session.target, floor, session.edits
            )
            keypoints = edited.keypoints
            if edited.contacts is not None:
                contacts = [astuple(contact) for contact in edited.contacts]
    with result.timed("vertices"):
        ground = floor if session.edits.ground_snap else None
        bounds = write_mesh(folder.staging, header, keypoints, session.predictor, vertices, progress, ground)
    folder.publish("mesh", bounds=bounds, floor=floor, contacts=contacts)
    with result.timed("skeleton"):
        skeleton = folder.staging / FILES["skeleton"]
        write_skeleton(skeleton, session.target, folder.files["mesh"], header.frames, progress)
    folder.publish("skeleton")


def decode_frame(
    path: str | Path,
    out_dir: str | Path,
    frame: int,
    mesh_format: str = "glb",
    *,
    device: str = "auto",
    threads: int | None = None,
    body_file: str | Path | None = None,
) -> DecodeResult:
    """Decode the mesh of one frame to ``frame_000012.glb`` (or ``obj``, ``ply``) and nothing else.

    Only the keypoint groups around the frame are decoded. Raises InputError for a frame that is not
    in the clip, a bad file or a folder that cannot be written.
    """
    from .exports.mesh_export import export_mesh  # with trimesh, which Blender's Python lacks

    path, out_dir = Path(path), Path(out_dir)
    file = S2DFile.open(path)
    frames = file.header.frames
    if not 0 <= frame < frames:
        raise InputError("frame", f"{path} has frames 0 to {frames - 1}, not {frame}.")
    session = Session(file, device=device, threads=threads, body_file=body_file)
    reach = session.predictor.radius_frames
    first = max(frame - reach, 0)
    around = file.keypoints(first, min(frame + reach + 1, frames))
    vertices = session.predictor.predict(around, frame - first, frame - first + 1)[0]
    with staging_folder(out_dir) as staging:
        staged = staging / _frame_name(frame, mesh_format)
        export_mesh(staged, vertices, session.body.model)
        name = publish(staged, out_dir).name
    return DecodeResult(str(out_dir), {"frame": name}, 1, warnings=session.warnings)


def decode_outputs(
    out_dir: str | Path,
    pictures: bool,
    only: str | None = None,
    video_format: str = "webm",
    edited: str | None = None,
) -> dict[Path, Kind]:
    """Return the files that :func:`decode` writes, each with its kind: a part of a clip decoded there before.

    ``pictures`` says whether the clip has any.
    """
    inside = decode_outputs(Path(out_dir) / edited, pictures, "mesh") if edited else {}
    names = {FILES["body"], FILES["mannequin"], DESCRIPTION_FILE} | (
        {FILES["reference"]} if pictures else set()
    )
    if only != "video":
        names |= {FILES[what] for what in ("mesh", "keypoints", "mesh_data", "skeleton")}
        names |= {FILES["texture"]} if pictures else set()
    if only != "mesh" and pictures:
        names.add(f"video.{video_format}")
    before = written_before(Path(out_dir))
    part = Kind("part of a clip that was decoded there", lambda file: file.name in before)
    return {Path(out_dir) / name: part for name in sorted(names)} | inside


def frame_outputs(out_dir: str | Path, frame: int, mesh_format: str = "glb") -> dict[Path, Kind]:
    """Return the file that :func:`decode_frame` writes, with its kind."""
    kind = beginning(mesh_format.upper(), _MESHES[mesh_format])
    return {Path(out_dir) / _frame_name(frame, mesh_format): kind}


def _frame_name(frame: int, mesh_format: str) -> str:
    return f"frame_{frame:06d}.{mesh_format}"


def _bytes_needed(session: Session, meshes: int, video: bool, vertices: bool) -> int:
    """Bound the bytes that a decoding writes."""
    header = session.file.header
    per_frame = len(KEYPOINT_NAMES) * 12 * (1 + meshes)
    per_frame += len(session.body.vertices) * 12 * (meshes + vertices)
    per_frame += int(header.width * header.height * _VIDEO_BYTES_PER_PIXEL) * video
    return _FIXED_BYTES + header.frames * per_frame
