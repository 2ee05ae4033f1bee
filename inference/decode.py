# SPDX-License-Identifier: GPL-3.0-or-later
"""Decoding a ``.s2d``: its body at once, then the mesh of every frame, then the picture of every frame.

    clip.s2d ── shape ──▶ body at rest                            ──▶ body.npz, reference.png
        └── keypoints ──▶ vertex predictor                        ──▶ mesh.pc2, keypoints.pc2, mesh.npz
                 └────────────────┴─▶ frame synthesiser           ──▶ video.webm

Everything streams: keypoints are spooled to a temporary file, vertices go to the point cache batch by
batch and come back from it when the pictures are drawn, so that memory does not grow with the clip's
length. Each file appears under its name when it is whole, and ``clip.json``, which names the files that
are there, is written again after each part.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..models.body import BodyModel
from ..models.body_catalogue import load_body
from ..models.errors import InputError
from ..models.keypoints import BONES, KEYPOINT_NAMES
from ..models.measures import MEASURES, BodyMeasures
from ..models.shaped_body import ShapedBody
from ..models.shipped import weights_sha256
from ..models.whole_files import check_space, publish, staging_folder
from .decoding import writers
from .decoding.edits import Edits, apply_edits, edited_body
from .decoding.floor import Floor, estimate_floor
from .decoding.point_cache import PC2Writer, read_pc2, rest_for_blender
from .decoding.skeleton_fit import write_skeleton
from .decoding.synthesis import FrameSynthesiser
from .decoding.vertices import VertexDecoder, untrained_warning, vertex_network
from .film.writer import VideoWriter
from .format.clip import Clip, Reference
from .format.container import S2DFile
from .runtime.backends import load_network

Progress = Callable[[str, int, int], None]
"""Called with the stage's name, how much of it is done, and how much there is; may raise Cancelled."""

Finished = Callable[[str], None]
"""Called with the name of a part, ``body``, ``mesh``, ``skeleton`` or ``video``, when its files are there."""

VIDEO_FORMATS = ("webm", "mp4")
DESCRIPTION = "clip.json"
_MESH_NETWORK = "vertex_predictor"
_PICTURE_NETWORKS = ("reference_encoder", "generator")
_BATCH = 32  # frames predicted at once: about 5 MB of vertices
_VIDEO_BYTES_PER_PIXEL = 0.25  # well above what the writer makes, since the space check must not be too low
_FIXED_BYTES = 16_000_000  # all that does not grow with the clip's length


@dataclass
class DecodeResult:
    """What :func:`decode` or :func:`decode_frame` wrote."""

    folder: str
    files: dict[str, str]  # their names in the folder, by what they hold: body, reference, mesh, …, clip
    frames: int
    seconds: dict[str, float] = field(default_factory=dict)  # by stage
    warnings: list[str] = field(default_factory=list)


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
    edits: Edits | None = None,
    progress: Progress | None = None,
    finished: Finished | None = None,
) -> DecodeResult:
    """Decode a ``.s2d`` to a folder: its body, its mesh, and its video if it has pictures.

    Writes, part by part, ``body.npz`` and ``reference.png``; ``mesh.pc2`` and ``keypoints.pc2`` (Blender's
    axes), ``mesh.npz`` (camera space; with ``vertices`` also every vertex of every frame);
    ``skeleton.npz`` (:mod:`.skeleton`); then ``video.webm`` or ``.mp4``; after each part ``clip.json`` and
    a call of ``finished``.
    ``only`` is ``mesh``, ``video`` or None for both; ``video`` draws from the ``mesh.pc2`` that the folder
    has of the same clip, made with the same weights, and predicts the vertices where it has none.
    ``edits`` clean the motion up (:mod:`.edits`); they go with ``only="mesh"``, since the video shows the
    clip as it was filmed.
    ``device`` and ``threads``: see :func:`.backends.load_network`. ``body_file`` is the user's own model
    file where the clip's body is one of the SMPL family. Raises InputError for a bad file or folder and
    S2DError where the disk is full; parts that were finished before stay, no other file is left.
    """
    if only not in (None, "mesh", "video"):
        raise ValueError(f"only is 'mesh', 'video' or None, not {only!r}")
    if video_format not in VIDEO_FORMATS:
        raise ValueError(f"video_format is one of {VIDEO_FORMATS}, not {video_format!r}")
    path, out_dir, progress, edits = Path(path), Path(out_dir), progress or _no_progress, edits or Edits()
    if edits != Edits() and only != "mesh":
        raise InputError("edits", "Edits change the mesh, not the video: decode with --only mesh.")
    file = S2DFile.open(path)
    file.check()  # before the first part appears
    references = file.references()
    if only == "video" and not references:
        raise InputError("no_video", f"{path} is a motion without pictures: decode it with --only mesh.")
    session = _Session(file, device, threads, body_file, edits)
    with_mesh, with_video = only != "video", only != "mesh" and bool(references)
    check_space(out_dir, session.bytes_needed(with_mesh, with_video, vertices))
    result = DecodeResult(str(out_dir), {}, file.header.frames, warnings=session.warnings)

    with staging_folder(out_dir) as staging:
        description = session.description(bool(references), with_video)
        folder = _DecodedFolder(out_dir, staging, description, finished or (lambda part: None))
        with _timed(result, "body"):
            folder.publish("body", session.write_body(staging, references))
        with _timed(result, "keypoints"):
            keypoints = _spool_keypoints(file, staging / "keypoints.f32", progress)
        if with_mesh:
            floor = estimate_floor(keypoints, file.header.fps, session.body)
            if edits != Edits():
                with _timed(result, "edits"):
                    keypoints = session.edit(keypoints, floor)
            with _timed(result, "vertices"):
                bounds = session.write_point_cache(keypoints, staging / "mesh.pc2", progress)
                files = session.write_mesh_data(keypoints, staging, vertices)
            places = {name: value.tolist() for name, value in asdict(floor).items()}
            folder.publish("mesh", files, bounds=bounds.tolist(), floor=places)
            with _timed(result, "skeleton"):
                skeleton = session.write_skeleton(staging, folder.path_of("mesh"), progress)
            folder.publish("skeleton", {"skeleton": skeleton})
        if with_video:
            with _timed(result, "video"):
                video = staging / f"video.{video_format}"
                session.write_video(keypoints, references, video, folder.path_of("mesh"), progress)
            folder.publish("video", {"video": video})
        result.files = {**folder.files, "clip": DESCRIPTION}
        del keypoints  # its file lies in the staging folder, and Windows removes no open file
    return result


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
    path, out_dir = Path(path), Path(out_dir)
    file = S2DFile.open(path)
    if not 0 <= frame < file.header.frames:
        raise InputError("frame", f"{path} has frames 0 to {file.header.frames - 1}, not {frame}.")
    session = _Session(file, device, threads, body_file)
    vertices = session.vertices(file.keypoints, frame, frame + 1)[0]
    with staging_folder(out_dir) as staging:
        staged = staging / f"frame_{frame:06d}.{mesh_format}"
        writers.write_mesh(staged, vertices, session.body.model)
        name = publish(staged, out_dir).name
    return DecodeResult(str(out_dir), {"frame": name}, 1, warnings=session.warnings)


class _DecodedFolder:
    """The folder that a clip is decoded to: files appear in it part by part, the description last.

    A folder that already holds parts of the same clip, made with the same weights, keeps them.
    """

    def __init__(self, out_dir: Path, staging: Path, description: dict[str, Any], finished: Finished) -> None:
        self._out_dir, self._staging, self._finished = out_dir, staging, finished
        self._description = description
        before = _read_description(out_dir)
        if _same_mesh(before, description):
            kept = {part: name for part, name in before["files"].items() if (out_dir / name).is_file()}
            weights = before["weights"] | description["weights"]
            self._description = before | description | {"weights": weights, "files": kept}
        else:  # what it names is about to be written over
            with contextlib.suppress(OSError):
                (out_dir / DESCRIPTION).unlink()

    @property
    def files(self) -> dict[str, str]:
        """The finished files' names by what they hold."""
        return self._description["files"]

    def path_of(self, name: str) -> Path | None:
        """Return where the file ``name`` lies, or None where there is none."""
        return self._out_dir / self.files[name] if name in self.files else None

    def publish(self, part: str, staged: dict[str, Path], **facts: Any) -> None:
        """Move a finished part's files to their names, then write ``clip.json`` with them and ``facts``."""
        for name, path in staged.items():
            self.files[name] = publish(path, self._out_dir).name
        self._description |= facts
        writers.write_json(self._staging / DESCRIPTION, self._description)
        publish(self._staging / DESCRIPTION, self._out_dir)
        self._finished(part)


def _read_description(folder: Path) -> dict[str, Any]:
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return description if isinstance(description, dict) else {}


def _same_mesh(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether an earlier decoding was of the same clip and its mesh would come out the same."""
    weights = before.get("weights", {})
    return (
        before.get("clip") == now["clip"]
        and before.get("edits") == now["edits"]
        and all(
            weights.get(name) == digest
            for name, digest in now["weights"].items()
            if name not in _PICTURE_NETWORKS
        )
    )


class _Session:
    """An open clip, with the body and the networks that turn its keypoints into meshes and pictures."""

    def __init__(
        self,
        file: S2DFile,
        device: str,
        threads: int | None,
        body_file: str | Path | None,
        edits: Edits | None = None,
    ) -> None:
        self.file = file
        self.header = file.header
        self.threads = threads
        self.load = lambda name: load_network(name, device, threads)
        # The frames of a video are drawn several at once, each on one thread.
        self.load_on_one_thread = lambda name: load_network(name, device, 1)
        self.body = ShapedBody(_body_of(file, body_file), self.header.shape)
        self.vertex_count = len(self.body.vertices)
        self.edits = edits or Edits()
        self.edited = edited_body(self.body, self.edits)
        self._vertex_network = vertex_network(self.header.body, body_file)
        self.warnings = file.network_warnings()
        if self._vertex_network is None:
            self.warnings.append(untrained_warning(self.header.body, body_file))

    @cached_property
    def predictor(self) -> VertexDecoder:
        """The vertex predictor, loaded when vertices are first asked for."""
        network = None if self._vertex_network is None else self.load(self._vertex_network)
        return VertexDecoder(self.edited, self.header.fps, network)

    def description(self, has_video: bool, with_video: bool) -> dict[str, Any]:
        """Say what the clip is and what it is decoded with, as ``clip.json`` has it."""
        header = self.header
        networks: dict[str, str | Path] = {name: name for name in _PICTURE_NETWORKS if with_video}
        if self._vertex_network is not None:
            networks[_MESH_NETWORK] = self._vertex_network
        return {
            "clip": self.file.sha256,
            "frames": header.frames,
            "fps": [header.fps.numerator, header.fps.denominator],
            "width": header.width,
            "height": header.height,
            "camera": asdict(header.camera),
            "body": header.body,
            "measures": self._measures(),
            "edits": self.edits.as_json(),
            "has_video": has_video,
            "weights": {name: weights_sha256(f"{file}.onnx")[:12] for name, file in networks.items()},
            "files": {},
            "warnings": self.warnings,
        }

    def _measures(self) -> dict[str, dict[str, Any]]:
        """Say what measures the clip's own body has and in what range others may be asked for."""
        return {
            name: {
                "value": found.value,
                "min": found.least,
                "max": found.most,
                "unit": MEASURES[name].unit,
                "label": MEASURES[name].label,
                "description": MEASURES[name].description,
            }
            for name, found in BodyMeasures(self.body.model).of(self.header.shape).items()
        }

    def edit(self, keypoints: np.ndarray, floor: Floor) -> np.ndarray:
        """Apply the edits to all keypoints of the clip."""
        return apply_edits(keypoints, self.header.fps, self.body, self.edited, floor, self.edits)

    def bytes_needed(self, mesh: bool, video: bool, vertices: bool) -> int:
        """Bound the bytes that a decoding writes."""
        per_frame = len(KEYPOINT_NAMES) * 12 * (1 + mesh)
        per_frame += self.vertex_count * 12 * (mesh + vertices)
        per_frame += int(self.header.width * self.header.height * _VIDEO_BYTES_PER_PIXEL) * video
        return _FIXED_BYTES + self.header.frames * per_frame

    def vertices(self, keypoints: Callable[[int, int], np.ndarray], start: int, stop: int) -> np.ndarray:
        """Predict frames ``start`` to ``stop`` from the window of ``keypoints`` around them."""
        first = max(start - self.predictor.radius_frames, 0)
        last = min(stop + self.predictor.radius_frames, self.header.frames)
        return self.predictor.predict(keypoints(first, last), start - first, stop - first)

    def write_body(self, staging: Path, references: list[Reference]) -> dict[str, Path]:
        """Write what is there before any keypoint is decoded: the body at rest and the reference picture."""
        body, files = self.body.model, {"body": staging / "body.npz"}
        arrays = {
            "vertices": rest_for_blender(self.edited),
            "faces": body.faces,
            "uv": body.uv[body.faces_uv].astype(np.float32),
        }
        writers.write_npz(files["body"], arrays, {})
        if references:
            files["reference"] = staging / "reference.png"
            writers.write_picture(files["reference"], references[0].picture)
        return files

    def write_point_cache(self, keypoints: np.ndarray, path: Path, progress: Progress) -> np.ndarray:
        """Predict every frame's vertices into a PC2 file; returns the bounds of all of them."""
        with PC2Writer(path, self.vertex_count, self.header.frames) as cache:
            for start, stop in self._batches("vertices", progress):
                cache.write(self.vertices(lambda a, b: keypoints[a:b], start, stop))
        return cache.bounds

    def write_mesh_data(self, keypoints: np.ndarray, staging: Path, vertices: bool) -> dict[str, Path]:
        """Write ``keypoints.pc2`` and ``mesh.npz`` beside the finished ``mesh.pc2``; returns all three.

        With ``vertices`` every vertex of every frame is in ``mesh.npz`` too.
        """
        frames, body = self.header.frames, self.body.model
        files = {
            "mesh": staging / "mesh.pc2",
            "keypoints": staging / "keypoints.pc2",
            "mesh_data": staging / "mesh.npz",
        }
        spans = [(start, min(start + _BATCH, frames)) for start in range(0, frames, _BATCH)]
        with PC2Writer(files["keypoints"], len(KEYPOINT_NAMES), frames) as cache:
            for start, stop in spans:
                cache.write(keypoints[start:stop])
        arrays = {
            "faces": body.faces,
            "uv": body.uv[body.faces_uv],
            "keypoint_names": np.array(KEYPOINT_NAMES),
            "keypoint_bones": np.array(BONES, np.int32),
            "camera": self.header.camera.matrix(),
            "fps": np.array([self.header.fps.numerator, self.header.fps.denominator], np.int64),
        }
        streams = {"keypoints": (keypoints.shape, (keypoints[a:b] for a, b in spans))}
        if vertices:
            shape = (frames, self.vertex_count, 3)
            streams["vertices"] = shape, (read_pc2(files["mesh"], a, b) for a, b in spans)
        writers.write_npz(files["mesh_data"], arrays, streams)
        return files

    def write_skeleton(self, staging: Path, cache: Path, progress: Progress) -> Path:
        """Fit the standard skeleton to the finished point cache and write ``skeleton.npz``."""
        path = staging / "skeleton.npz"
        write_skeleton(path, self.edited, cache, self.header.frames, progress)
        return path

    def write_video(
        self,
        keypoints: np.ndarray,
        references: list[Reference],
        path: Path,
        cache: Path | None,
        progress: Progress,
    ) -> None:
        """Draw every frame; vertices come from ``cache``, or are predicted where there is none."""
        header = self.header
        plate, origin = self.file.plate(references)
        clip = Clip(
            fps=header.fps,
            camera=header.camera,
            width=header.width,
            height=header.height,
            keypoints=keypoints,
            body=header.body,
            shape=header.shape,
            references=references,
            plate=plate,
            moving_camera=header.moving_camera,
            views=self.file.views(0, header.frames),
            plate_origin=origin,
        )

        def batch(start: int, stop: int) -> np.ndarray:
            if cache:
                return read_pc2(cache, start, stop)
            return self.vertices(lambda a, b: keypoints[a:b], start, stop)

        def poses() -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
            for start in range(0, header.frames, _BATCH):
                stop = min(start + _BATCH, header.frames)
                yield from zip(keypoints[start:stop], batch(start, stop), range(start, stop), strict=True)

        posed = [batch(reference.frame, reference.frame + 1)[0] for reference in references]
        synthesiser = FrameSynthesiser(clip, self.body.model, posed, self.load_on_one_thread, self.threads)
        with VideoWriter(path, header.fps, header.width, header.height) as video:
            for done, picture in enumerate(synthesiser.frames(poses()), 1):
                video.write(picture)
                progress("video", done, header.frames)

    def _batches(self, stage: str, progress: Progress) -> Iterator[tuple[int, int]]:
        frames = self.header.frames
        for start in range(0, frames, _BATCH):
            stop = min(start + _BATCH, frames)
            yield start, stop
            progress(stage, stop, frames)


def _body_of(file: S2DFile, body_file: str | Path | None) -> BodyModel:
    """Load the body model that the clip names and see that its shape fits."""
    header = file.header
    body = load_body(header.body, body_file)
    if len(header.shape) != body.shape_size:
        raise InputError(
            "body",
            f"{file.path} was made for another version of the body {header.body} "
            f"({len(header.shape)} shape coefficients, here {body.shape_size}).",
        )
    return body


def _spool_keypoints(file: S2DFile, path: Path, progress: Progress) -> np.ndarray:
    """Decode the keypoints group by group to a file, and return it mapped into memory, to be read."""
    header = file.header
    with path.open("wb") as spool:  # not through the map: there a full disk would kill the process
        for start in range(0, header.frames, header.group_frames):
            stop = min(start + header.group_frames, header.frames)
            spool.write(file.keypoints(start, stop).astype(np.float32).tobytes())
            progress("keypoints", stop, header.frames)
    return np.memmap(path, np.float32, "r", shape=(header.frames, len(KEYPOINT_NAMES), 3))


@contextlib.contextmanager
def _timed(result: DecodeResult, stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    result.seconds[stage] = time.perf_counter() - start


def _no_progress(stage: str, done: int, total: int) -> None:
    pass
