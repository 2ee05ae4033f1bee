# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``.s2d`` container: the doors through which clips are written and read. Its bytes: ``docs/FORMAT.md``.

A file is its header (:mod:`.header`) and the parts that this names, each with a checksum. Most are of one
person: :func:`write_clip` and :func:`read_clip` are for these, :func:`write_shot` and :func:`read_shot` for
several people. :class:`.S2DFile` reads no more of one person's clip than it is asked for.
"""

from __future__ import annotations

import math
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from ...models.camera import Camera
from ...models.errors import InputError
from ...models.keypoints import KEYPOINT_NAMES
from ...models.whole_files import unwritable, write_whole
from . import homography_coding, keypoint_coding, picture_coding
from .certainty import encode_certainty
from .clip import Clip, Person, Shot
from .fields import pack_varint
from .header import MAX_REFERENCES, Header, Table, pack_header
from .s2d_file import S2DFile, network_hashes

__all__ = [
    "GROUP_SECONDS",
    "PLATE_QUALITY",
    "REFERENCE_QUALITY",
    "STEP_MM",
    "TEXTURE_QUALITY",
    "S2DFile",
    "as_decoded",
    "read_clip",
    "read_shot",
    "write_clip",
    "write_shot",
]

STEP_MM = 4.0  # of the keypoint quantiser, unless one is asked for
REFERENCE_QUALITY, PLATE_QUALITY = 35, 25  # likewise of the pictures
TEXTURE_QUALITY = 55  # 7 to 12 kB of 512 pixels a side
GROUP_SECONDS = 10

_MESH_NETWORKS = ("vertex_predictor",)
_PICTURE_NETWORKS = ("reference_encoder", "generator")


def write_clip(
    clip: Clip,
    path: str | os.PathLike,
    *,
    step_mm: float = STEP_MM,
    reference_quality: int = REFERENCE_QUALITY,
    plate_quality: int = PLATE_QUALITY,
) -> dict[str, int]:
    """Write ``clip`` to ``path``, whole or not at all, and return the bytes of each part and their total.

    ``step_mm`` is the step of the keypoint quantiser, and the mean error 0.42 steps on captured motion, up to
    0.55 where slow motion needs no number every frame; the qualities are AVIF's, 0 (smallest) to 100,
    of the first reference, and of the plate and further references, of which less is seen.
    Raises InputError for a clip that the format cannot hold or a place that cannot be written, and
    S2DError for a full disk.
    """
    return write_shot(
        Shot.of(clip),
        path,
        step_mm=step_mm,
        reference_quality=reference_quality,
        plate_quality=plate_quality,
    )


def write_shot(
    shot: Shot,
    path: str | os.PathLike,
    *,
    step_mm: float = STEP_MM,
    reference_quality: int = REFERENCE_QUALITY,
    plate_quality: int = PLATE_QUALITY,
) -> dict[str, int]:
    """Write a shot of one to eight people as :func:`write_clip` does; parts of a name are counted together.

    Each person's first reference should be joined by one of all others who are seen in the shot's first
    reference, at its frame: there the plate is sent.
    """
    people = [person if person.references else replace(person, texture=None) for person in shot.people]
    shot = replace(shot, people=people)
    if not any(person.references for person in people):  # nothing is seen of what is behind them
        shot = replace(shot, plate=None, views=None)
    headers = _headers_of(shot, step_mm)
    references, plate = _coded_pictures(shot, reference_quality, plate_quality)
    motion = [] if shot.views is None else [("camera_motion", _coded_views(shot.views, headers[0]))]
    shot_parts = plate + motion
    people_parts = []
    for i, person in enumerate(shot.people):
        spaced, keypoints = _coded_keypoints(person.keypoints, headers[i])
        headers[i] = replace(headers[i], spaced=spaced)
        parts = [*references[i], ("keypoints", keypoints)]
        if person.certainty is not None:
            parts.append(("certainty", encode_certainty(person.certainty, shot.fps)))
        if person.texture is not None:
            parts.append(("texture", picture_coding.encode_texture(person.texture, TEXTURE_QUALITY)))
        people_parts.append(parts)
    head = pack_header(headers, shot_parts, people_parts)
    parts = [part for table in (shot_parts, *people_parts) for part in table]
    try:
        write_whole(Path(path), head + b"".join(data for _, data in parts))
    except OSError as error:
        raise unwritable(Path(path), error) from error
    return S2DFile.open(path).sizes()


def as_decoded(clip: Clip, step_mm: float = STEP_MM) -> Clip:
    """Return the clip with its keypoints as a decoder will have them; all else is as it is.

    ``step_mm`` is what it will be coded with. Raises InputError for a clip that the format cannot hold.
    """
    (header,) = _headers_of(Shot.of(clip), step_mm)
    decoded = []
    for group in _grouped(clip.keypoints, header):
        coded = keypoint_coding.encode_sparsely(group, header.step_um)
        decoded.append(keypoint_coding.decode_group(coded.data, len(group), header.step_um, coded.spacing))
    return replace(clip, keypoints=np.concatenate(decoded))


def read_clip(path: str | os.PathLike) -> Clip:
    """Read a ``.s2d`` file whole, of several people the first. InputError if it is damaged or not one."""
    return S2DFile.open(path).clip()


def read_shot(path: str | os.PathLike) -> Shot:
    """Read a whole ``.s2d`` file with all its people. Raises InputError if it is damaged or not one."""
    return S2DFile.open(path).shot()


def _coded_keypoints(track: np.ndarray, header: Header) -> tuple[bool, bytes]:
    """Code a person's keypoints; also returns whether each group says how far apart its frames lie."""
    coded = [keypoint_coding.encode_sparsely(group, header.step_um) for group in _grouped(track, header)]
    spaced = any(group.spacing > 1 for group in coded)
    return spaced, _joined([bytes([group.spacing] * spaced) + group.data for group in coded])


def _coded_views(views: np.ndarray, header: Header) -> bytes:
    groups = _grouped(views, header)
    return _joined([homography_coding.encode_group(group, header.width, header.height) for group in groups])


def _grouped(track: np.ndarray, header: Header) -> list[np.ndarray]:
    """Split an array of many frames into groups of so many as the header says."""
    return np.split(track, range(header.group_frames, len(track), header.group_frames))


def _joined(groups: list[bytes]) -> bytes:
    """Return the groups of a track, after the bytes of each."""
    return b"".join([*(pack_varint(len(group)) for group in groups), *groups])


def _coded_pictures(shot: Shot, reference_quality: int, plate_quality: int) -> tuple[list[Table], Table]:
    """Code each person's references and what they do not show of the plate."""
    tables: list[Table] = []
    first: tuple[int, int] | None = None  # whose the shot's first reference is, and its frame
    hidden: np.ndarray | None = None  # by whoever is seen there
    for i, person in enumerate(shot.people):
        table: Table = []
        for reference in person.references:
            mask = picture_coding.encode_mask(reference.mask)
            decoded_mask = picture_coding.decode_mask(mask, shot.width, shot.height)
            if first is None or hidden is None:
                first, hidden = (i, reference.frame), decoded_mask
                picture = picture_coding.encode_picture(reference.picture, reference_quality)
            else:
                picture = picture_coding.encode_crop(reference.picture, decoded_mask, plate_quality)
                if i != first[0] and reference.frame == first[1]:
                    hidden = np.maximum(hidden, decoded_mask)
            head = pack_varint(reference.frame) + pack_varint(len(mask))
            table.append(("reference", head + mask + picture))
        tables.append(table)
    plate = b""
    if shot.plate is not None and hidden is not None:
        origin = None if shot.views is None else shot.plate_origin
        plate = picture_coding.encode_plate(shot.plate, hidden, plate_quality, origin)
    return tables, [("plate", plate)] if plate else []


def _headers_of(shot: Shot, step_mm: float) -> list[Header]:
    """Check that the format can hold ``shot`` and say what its people's headers will hold."""
    for person in shot.people:
        _check_person(person, shot)
    _check_plate(shot)
    if not math.isfinite(step_mm):
        raise InputError("bad_step", f"the keypoint step of {step_mm} mm is not a number.")
    # The networks of users' own bodies are their own.
    mesh_networks = _MESH_NETWORKS if any(person.body == "anny" for person in shot.people) else ()
    picture_networks = _PICTURE_NETWORKS if any(person.references for person in shot.people) else ()
    networks = network_hashes(mesh_networks + picture_networks)
    camera = shot.camera
    headers = []
    with np.errstate(over="ignore"):  # what overflows is infinite, which the header refuses
        numbers = np.array([camera.fx, camera.fy, camera.cx, camera.cy], np.float64).astype(np.float32)
        shapes = [np.asarray(person.shape, np.float16).astype(np.float32) for person in shot.people]
    for person, shape in zip(shot.people, shapes, strict=True):
        frames = len(person.keypoints)
        headers.append(
            Header(
                frames=frames,
                fps=Fraction(shot.fps),
                width=shot.width,
                height=shot.height,
                camera=Camera(*numbers.tolist()),
                body=person.body,
                shape=shape,
                step_um=round(step_mm * 1000),
                group_frames=math.ceil(GROUP_SECONDS * shot.fps),
                moving_camera=shot.moving_camera,
                moving_plate=shot.views is not None,
                networks=networks,
                first=person.first,
                after=shot.frames - frames - person.first,
            )
        )
    return headers


def _check_person(person: Person, shot: Shot) -> None:
    """Raise InputError unless keypoints are such, and references and certainty fit them and the canvas."""
    keypoints, frames = person.keypoints, len(person.keypoints)
    if keypoints.shape[1:] != (len(KEYPOINT_NAMES), 3) or not np.isfinite(keypoints).all():
        raise InputError(
            "bad_keypoints", "a clip's keypoints must be (frames, 23, 3), without NaN or infinity."
        )
    if not person.body.isascii():
        raise InputError("bad_body", f"the body model's name {person.body!r} is not ASCII.")
    if len(person.references) > MAX_REFERENCES:
        raise InputError("bad_picture", f"a clip holds at most {MAX_REFERENCES} reference pictures.")
    for reference in person.references:
        _check_picture(reference.picture.shape, reference.mask.shape, shot)
        if not 0 <= reference.frame - person.first < frames:
            raise InputError(
                "bad_picture",
                f"a reference picture is of frame {reference.frame}: the clip has {frames} frames.",
            )
    if person.certainty is not None and len(person.certainty) != frames:
        raise InputError(
            "bad_certainty", f"certainty of {len(person.certainty)} frames: the clip has {frames}."
        )


def _check_plate(shot: Shot) -> None:
    """Raise InputError unless a plate that stands still fits the canvas, and views can be a camera's."""
    if shot.views is None:
        if shot.plate is not None:  # one that moves is checked where it is coded
            _check_picture(shot.plate.shape, (shot.height, shot.width), shot)
    elif shot.views.shape != (shot.frames, 4, 2):
        raise InputError("bad_camera_motion", f"views of shape {shot.views.shape}: (frames, 4, 2) expected.")
    else:
        homography_coding.check_corners(shot.views, shot.width, shot.height)


def _check_picture(picture: tuple[int, ...], mask: tuple[int, ...], shot: Shot) -> None:
    size = shot.height, shot.width
    if picture != (*size, 3) or mask != size:
        raise InputError(
            "bad_picture",
            f"a picture of shape {picture} and mask {mask} on a {shot.width}x{shot.height} canvas.",
        )
