# SPDX-License-Identifier: GPL-3.0-or-later
"""Decoding a ``.s2d``: keypoints, then the mesh of every frame, then the picture of every frame.

    clip.s2d ── keypoints ──▶ vertex predictor ──▶ mesh.pc2, mesh.npz, clip.json
                     └────────────────┴─▶ frame synthesiser ──▶ video.webm

Everything streams: keypoints are spooled to a temporary file, vertices go to the point cache batch by
batch and come back from it when the pictures are drawn, so that memory does not grow with the clip's
length. Each file appears under its name when it is whole.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from ..models.body import BodyModel
from ..models.keypoints import KEYPOINT_NAMES
from . import writers
from .backends import load_network
from .bodies import open_body
from .clip import Clip
from .errors import InputError
from .s2d_file import S2DFile
from .synthesis import FrameSynthesiser
from .vertices import VertexPredictor
from .video import VideoWriter

Progress = Callable[[str, int, int], None]
"""Called with the stage's name, how much of it is done, and how much there is; may raise Cancelled."""

VIDEO_FORMATS = ("webm", "mp4")
_BATCH = 32  # frames predicted at once: about 5 MB of vertices
_VIDEO_BYTES_PER_PIXEL = 0.25  # well above what the writer makes, since the space check must not be too low
_FIXED_BYTES = 16_000_000  # all that does not grow with the clip's length


@dataclass
class DecodeResult:
    """What :func:`decode` or :func:`decode_frame` wrote."""

    folder: str
    files: dict[str, str]  # names in the folder by part: mesh, mesh_data, reference, video, frame, clip
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
    progress: Progress | None = None,
) -> DecodeResult:
    """Decode a ``.s2d`` to a folder: its mesh, and its video if it has pictures.

    Writes ``mesh.pc2`` (Blender's axes), ``mesh.npz`` (camera space; with ``vertices`` also every
    vertex of every frame), ``reference.png`` and ``clip.json``, then ``video.webm`` or ``.mp4``.
    ``only`` is ``mesh``, ``video`` or None for both. ``device`` and ``threads``: see
    :func:`.backends.load_network`. ``body_file`` is the user's own model file where the clip's body is
    one of the SMPL family. Raises InputError for a bad file or folder and S2DError where the
    disk is full; files that were finished before stay, no other file is left.
    """
    if only not in (None, "mesh", "video"):
        raise ValueError(f"only is 'mesh', 'video' or None, not {only!r}")
    if video_format not in VIDEO_FORMATS:
        raise ValueError(f"video_format is one of {VIDEO_FORMATS}, not {video_format!r}")
    path, out_dir, progress = Path(path), Path(out_dir), progress or _no_progress
    file = S2DFile.open(path)
    references = file.references()
    if only == "video" and not references:
        raise InputError("no_video", f"{path} is a motion without pictures: decode it with --only mesh.")
    session = _Session(file, device, threads, body_file)
    with_mesh, with_video = only != "video", only != "mesh" and bool(references)
    writers.check_space(out_dir, session.bytes_needed(with_mesh, with_video, vertices))
    result = DecodeResult(str(out_dir), {}, file.header.frames, warnings=file.network_warnings())

    with writers.staging_folder(out_dir) as staging:
        with _timed(result, "keypoints"):
            keypoints = _spool_keypoints(file, staging / "keypoints.f32", progress)
        if with_mesh:
            with _timed(result, "vertices"):
                cache = session.write_point_cache(keypoints, staging / "mesh.pc2", progress)
                session.write_mesh_data(keypoints, staging / "mesh.npz", cache if vertices else None)
        if references:
            writers.write_picture(staging / "reference.png", references[0].picture)
            result.files["reference"] = writers.publish(staging / "reference.png", out_dir).name
        if with_mesh:
            result.files["mesh_data"] = writers.publish(staging / "mesh.npz", out_dir).name
            result.files["mesh"] = writers.publish(cache, out_dir).name
        session.publish_description(result, staging, out_dir)
        if with_video:
            with _timed(result, "video"):
                mesh = out_dir / "mesh.pc2" if with_mesh else None
                video = staging / f"video.{video_format}"
                session.write_video(keypoints, references, video, mesh, progress)
            result.files["video"] = writers.publish(video, out_dir).name
            session.publish_description(result, staging, out_dir)
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
    with writers.staging_folder(out_dir) as staging:
        staged = staging / f"frame_{frame:06d}.{mesh_format}"
        writers.write_mesh(staged, vertices, session.body)
        name = writers.publish(staged, out_dir).name
    return DecodeResult(str(out_dir), {"frame": name}, 1, warnings=file.network_warnings())


class _Session:
    """An open clip, with the body and the networks that turn its keypoints into meshes and pictures."""

    def __init__(self, file: S2DFile, device: str, threads: int | None, body_file: str | Path | None) -> None:
        header = file.header
        self.file = file
        self.header = header
        self.load = lambda name: load_network(name, device, threads)
        self.body = _body_of(file, body_file)
        self.vertex_count = len(self.body.vertices_mean)
        # The network knows the body it was trained on; others are posed in closed form.
        network = self.load("vertex_predictor") if header.body == "anny" else None
        self.predictor = VertexPredictor(self.body, header.shape, header.fps, network)

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

    def write_point_cache(self, keypoints: np.ndarray, path: Path, progress: Progress) -> Path:
        """Predict every frame's vertices into a PC2 file."""
        with writers.PC2Writer(path, self.vertex_count, self.header.frames) as cache:
            for start, stop in self._batches("vertices", progress):
                cache.write(self.vertices(lambda a, b: keypoints[a:b], start, stop))
        return path

    def write_mesh_data(self, keypoints: np.ndarray, path: Path, cache: Path | None) -> None:
        """Write ``mesh.npz``; ``cache`` is a finished point cache if every vertex is to be in it."""
        frames, body = self.header.frames, self.body
        arrays = {
            "faces": body.faces,
            "uv": body.uv[body.faces_uv],
            "keypoint_names": np.array(KEYPOINT_NAMES),
            "camera": self.header.camera.matrix(),
            "fps": np.array([self.header.fps.numerator, self.header.fps.denominator], np.int64),
        }
        spans = [(start, min(start + _BATCH, frames)) for start in range(0, frames, _BATCH)]
        streams = {"keypoints": (keypoints.shape, (keypoints[a:b] for a, b in spans))}
        if cache:
            shape = (frames, self.vertex_count, 3)
            streams["vertices"] = shape, (writers.read_pc2(cache, a, b) for a, b in spans)
        writers.write_npz(path, arrays, streams)

    def write_video(
        self, keypoints: np.ndarray, references: list, path: Path, cache: Path | None, progress: Progress
    ) -> None:
        """Draw every frame; vertices come from ``cache``, or are predicted where there is none."""
        header = self.header
        clip = Clip(
            fps=header.fps,
            camera=header.camera,
            width=header.width,
            height=header.height,
            keypoints=keypoints,
            body=header.body,
            shape=header.shape,
            references=references,
            plate=self.file.plate(references),
            moving_camera=header.moving_camera,
        )

        def batch(start: int, stop: int) -> np.ndarray:
            if cache:
                return writers.read_pc2(cache, start, stop)
            return self.vertices(lambda a, b: keypoints[a:b], start, stop)

        posed = [batch(reference.frame, reference.frame + 1)[0] for reference in references]
        synthesiser = FrameSynthesiser(clip, self.body, posed, self.load)
        with VideoWriter(path, header.fps, header.width, header.height) as video:
            for start, stop in self._batches("video", progress):
                vertices = batch(start, stop)
                for frame in range(start, stop):
                    video.write(synthesiser.frame(keypoints[frame], vertices[frame - start]))
                    progress("video", frame + 1, header.frames)

    def publish_description(self, result: DecodeResult, staging: Path, out_dir: Path) -> None:
        """Write ``clip.json`` with the files that are finished so far."""
        header, staged = self.header, staging / "clip.json"
        writers.write_json(
            staged,
            {
                "frames": header.frames,
                "fps": [header.fps.numerator, header.fps.denominator],
                "width": header.width,
                "height": header.height,
                "camera": asdict(header.camera),
                "body": header.body,
                "files": result.files,
                "warnings": result.warnings,
            },
        )
        result.files["clip"] = writers.publish(staged, out_dir).name

    def _batches(self, stage: str, progress: Progress) -> Iterator[tuple[int, int]]:
        frames = self.header.frames
        for start in range(0, frames, _BATCH):
            stop = min(start + _BATCH, frames)
            yield start, stop
            progress(stage, stop, frames)


def _body_of(file: S2DFile, body_file: str | Path | None) -> BodyModel:
    """Load the body model that the clip names and see that its shape fits."""
    header = file.header
    body = open_body(header.body, body_file)
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
