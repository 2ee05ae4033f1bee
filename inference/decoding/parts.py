# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a decoded folder, each written by a function that is given what it needs.

Everything streams: keypoints are spooled to a file, vertices go to their point cache batch by batch and come
back from it when the pictures are drawn, so that memory does not grow with the clip's length.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ...models.array_files import Stream, write_arrays
from ...models.errors import InputError
from ...models.keypoints import BONES, KEYPOINT_NAMES
from ..film.reader import VideoReader
from ..film.source import FilmFile
from ..film.writer import VideoWriter
from ..format.clip import Reference
from ..format.container import S2DFile
from ..format.header import Header
from ..runtime.backends import load_network
from ..runtime.progress import Progress
from .decoded_folder import FILES
from .edits import Edits
from .film_sound import film_sound
from .floor import Floor
from .mannequin import paint_mannequin
from .point_cache import read_pc2, write_pc2
from .session import Session
from .synthesis import FrameSynthesiser
from .texture import paint_texture
from .vertices import VertexDecoder, batches

_LEAST_SIDE = 64  # pixels, of a film's copy


def write_body(folder: Path, session: Session, references: list[Reference]) -> None:
    """Write what is there before any keypoint is decoded: the body at rest, and the reference picture."""
    write_arrays(folder / FILES["body"], vars(session.rest))
    (folder / FILES["mannequin"]).write_bytes(_png(paint_mannequin(session.target)))
    if references:
        (folder / FILES["reference"]).write_bytes(_png(references[0].picture))


def keypoint_groups(file: S2DFile, progress: Progress) -> Iterator[np.ndarray]:
    """Decode the keypoints group by group: each ``(n, 23, 3)`` float32, metres in camera space."""
    header = file.header
    for start in range(0, header.frames, header.group_frames):
        stop = min(start + header.group_frames, header.frames)
        yield file.keypoints(start, stop).astype(np.float32)
        progress("keypoints", stop, header.frames)


def spool_keypoints(file: S2DFile, path: Path, progress: Progress) -> np.ndarray:
    """Decode the keypoints ``(T, 23, 3)``, metres, group by group to a file, and return that, to be read."""
    with path.open("wb") as spool:  # not through the map: there a full disk would kill the process
        for group in keypoint_groups(file, progress):
            spool.write(group.tobytes())
    return np.memmap(path, np.float32, "r", shape=(file.header.frames, len(KEYPOINT_NAMES), 3))


def write_mesh(
    folder: Path,
    header: Header,
    keypoints: np.ndarray,
    predictor: VertexDecoder,
    with_vertices: bool,
    progress: Progress,
    floor: Floor | None = None,
) -> np.ndarray:
    """Predict every frame's vertices and write both point caches, and ``mesh.npz``, which says what they are.

    Feet rest on the ``floor``, if one is given.

    Returns the bounds of all vertices ``(2, 3)``, as ``clip.json`` holds them. With ``with_vertices`` all of
    them are in ``mesh.npz`` too.
    """
    frames, model = len(keypoints), predictor.body.model
    cache, feet = folder / FILES["mesh"], model.share_of(("left_foot", "right_foot"))

    def predicted() -> Iterator[np.ndarray]:
        for start, stop in batches(0, frames):
            vertices = predictor.predict(keypoints, start, stop)
            yield vertices if floor is None else floor.rest(vertices, feet)
            progress("vertices", stop, frames)

    bounds = write_pc2(cache, frames, len(model.vertices_mean), predicted())
    cut = [keypoints[start:stop] for start, stop in batches(0, frames)]
    write_pc2(folder / FILES["keypoints"], frames, len(KEYPOINT_NAMES), cut)
    arrays = {
        "faces": model.faces,
        "uv": model.uv[model.faces_uv],
        "keypoint_names": np.array(KEYPOINT_NAMES),
        "keypoint_bones": np.array(BONES, np.int32),
        "camera": header.camera.matrix(),
        "fps": np.array([header.fps.numerator, header.fps.denominator], np.int64),
    }
    streams: dict[str, Stream] = {"keypoints": (keypoints.shape, cut)}
    if with_vertices:
        read = (read_pc2(cache, start, stop) for start, stop in batches(0, frames))
        streams["vertices"] = (frames, len(model.vertices_mean), 3), read
    write_arrays(folder / FILES["mesh_data"], arrays, streams)
    return bounds


def write_video(
    path: Path,
    session: Session,
    references: list[Reference],
    keypoints: np.ndarray,
    mesh: Path | None,
    progress: Progress,
    film: Path | None = None,
) -> None:
    """Draw every frame of a clip with pictures, with the sound of the ``film`` it is of.

    Vertices come from the point cache ``mesh``, or are predicted where there is none.
    """
    sound = None if film is None else film_sound(film, references[0], session.file.header.fps, progress)
    clip = session.file.clip(keypoints)
    vertices = partial(read_pc2, mesh) if mesh else partial(session.predictor.predict, keypoints)

    def poses() -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
        for start, stop in batches(0, clip.frames):
            for frame, posed in enumerate(vertices(start, stop), start):
                yield keypoints[frame], posed, frame

    there = [vertices(reference.frame, reference.frame + 1)[0] for reference in references]
    # Frames are drawn several at once, so each on one thread.
    load = partial(load_network, device=session.device, threads=1)
    synthesiser = FrameSynthesiser(clip, session.body.model, there, load, session.threads)
    with VideoWriter(path, clip.fps, clip.width, clip.height, sound) as video:
        for done, picture in enumerate(synthesiser.frames(poses()), 1):
            video.write(picture)
            progress("video", done, clip.frames)


def write_film(
    path: Path,
    header: Header,
    film: Path,
    start: float,
    size: int,
    progress: Progress,
) -> bool:
    """Write the pictures of a ``film`` at the clip's frames, from its second ``start`` on, with its sound.

    They are whole and upright, of its own shape, the shorter side at most ``size``; the last one stands where
    the film ends before the clip. Returns whether the film has sound.
    """
    reader = VideoReader(film, start=start, fps=header.fps, size=size)
    own = min(reader.source_width, reader.source_height)
    if own < size:
        reader = VideoReader(film, start=start, fps=header.fps, size=max(own, _LEAST_SIDE))
    sound = _sound_of(film, start)
    with VideoWriter(path, header.fps, reader.width, reader.height, sound) as video:
        done, picture = 0, np.empty((0, 0, 3), np.uint8)  # a reader yields one picture at least
        for done, picture in enumerate(itertools.islice(reader, header.frames), 1):
            video.write(picture)
            progress("film", done, header.frames)
        for _ in range(done, header.frames):
            video.write(picture)
    return sound is not None


def _sound_of(film: Path, start: float) -> Iterator[np.ndarray] | None:
    """Return a film's sound from a second on; None where it has none, as pictures on disk have not."""
    if not film.is_file():
        return None
    sound = FilmFile(film).sound(start)
    try:
        first = next(sound, None)
    except InputError:
        return None
    return None if first is None else itertools.chain([first], sound)


def write_texture(folder: Path, session: Session, references: list[Reference], keypoints: np.ndarray) -> None:
    """Write the texture of a clip with pictures; an edited motion is worn with the one of the clip itself."""
    if references and session.edits == Edits():
        (folder / FILES["texture"]).write_bytes(texture_png(session, references, keypoints))


def texture_png(session: Session, references: list[Reference], keypoints: np.ndarray) -> bytes:
    """Return the body's texture as a PNG file: the one that was sent, else one painted (:mod:`.texture`).

    ``keypoints`` ``(T, 23, 3)`` are the clip's as they were filmed.
    """
    sent = session.file.texture()
    if sent is not None:
        return _png(sent)
    predict = session.own_predictor.predict
    there = [predict(keypoints, each.frame, each.frame + 1)[0] for each in references]
    return _png(paint_texture(session.body, session.file.header.camera, references, there))


def _png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))[1].tobytes()
