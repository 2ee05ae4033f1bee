# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``.s2d`` container: writing a clip, and reading one from a stranger. Its bytes: ``docs/FORMAT.md``.

A file is its header (:mod:`.header`) and the parts that this names, each with a checksum. A part is read and
checked when it is asked for, and of the tracks only the groups that hold the frames asked for are decoded.
"""

from __future__ import annotations

import hashlib
import math
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np

from ...models.camera import Camera
from ...models.errors import InputError, S2DError
from ...models.keypoints import KEYPOINT_NAMES
from ...models.shipped import weights_sha256
from ...models.whole_files import unwritable, write_whole
from . import homography_coding, keypoint_coding, picture_coding
from .clip import Clip, Reference, seen_background
from .fields import ByteReader, pack_varint
from .header import HASH_BYTES, MAX_HEADER, MAX_REFERENCES, Header, Part, pack_header, unpack_header

STEP_MM = 4.0  # of the keypoint quantiser, unless one is asked for
REFERENCE_QUALITY, PLATE_QUALITY = 35, 25  # likewise of the pictures
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
    if not clip.references:  # a motion alone: nothing is seen of what is behind it
        clip = replace(clip, plate=None, views=None)
    header = _header_of(clip, step_mm)
    parts = _coded_pictures(clip, reference_quality, plate_quality)
    if clip.views is not None:
        views = [
            homography_coding.encode_group(group, clip.width, clip.height)
            for group in _grouped(clip.views, header)
        ]
        parts.append(("camera_motion", b"".join([*(pack_varint(len(group)) for group in views), *views])))
    coded = [
        keypoint_coding.encode_sparsely(group, header.step_um) for group in _grouped(clip.keypoints, header)
    ]
    header = replace(header, spaced=any(group.spacing > 1 for group in coded))
    groups = [bytes([group.spacing] * header.spaced) + group.data for group in coded]
    parts.append(("keypoints", b"".join(groups)))
    parts.append(("index", b"".join(pack_varint(len(group)) for group in groups)))
    head = pack_header(header, parts)
    try:
        write_whole(Path(path), head + b"".join(data for _, data in parts))
    except OSError as error:
        raise unwritable(Path(path), error) from error
    return _sizes(len(head), ((name, len(data)) for name, data in parts))


def read_clip(path: str | os.PathLike) -> Clip:
    """Read a whole ``.s2d`` file. Raises InputError if it is damaged or not one."""
    file = S2DFile.open(path)
    header = file.header
    references = file.references()
    plate, origin = file.plate(references)
    return Clip(
        fps=header.fps,
        camera=header.camera,
        width=header.width,
        height=header.height,
        keypoints=file.keypoints(0, header.frames),
        body=header.body,
        shape=header.shape,
        references=references,
        plate=plate,
        moving_camera=header.moving_camera,
        views=file.views(0, header.frames),
        plate_origin=origin,
    )


class S2DFile:
    """A ``.s2d`` file opened for reading; its parts are read and decoded when they are asked for.

    Attributes: ``path``, ``header``, and ``parts``, its table of parts in file order. Every method raises
    InputError that names the file where it is damaged.
    """

    def __init__(self, path: Path, header: Header, parts: list[Part]) -> None:
        """Hold what :meth:`open` has checked."""
        self.path = path
        self.header = header
        self.parts = parts
        self._decoded_group: tuple[int, np.ndarray] | None = None
        self._decoded_views: tuple[int, np.ndarray] | None = None

    @classmethod
    def open(cls, path: str | os.PathLike) -> S2DFile:
        """Read and check the header of ``path``. Raises InputError if it is not a whole ``.s2d`` file."""
        path = Path(path)
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                head = file.read(MAX_HEADER)
        except OSError as error:
            raise InputError("cannot_read", f"cannot read {path}: {error.strerror or error}.") from error
        with _naming(path):
            header, parts = unpack_header(head)
            end = parts[-1].end
            if end != size:
                what = "cut short" if end > size else "followed by bytes that do not belong to it"
                raise InputError("damaged", f"the file is {what} ({size} bytes where it should have {end}).")
        return cls(path, header, parts)

    @property
    def sha256(self) -> str:
        """The hexadecimal SHA-256 of the whole file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def sizes(self) -> dict[str, int]:
        """Return the bytes of the header and of each part, and their total."""
        return _sizes(self.parts[0].start, ((part.name, part.size) for part in self.parts))

    def check(self) -> None:
        """Compare every part with its checksum; InputError where one was altered or damaged."""
        with _naming(self.path):
            for part in self.parts:
                self._read(part)

    def keypoints(self, start: int, stop: int) -> np.ndarray:
        """Return frames ``start`` to ``stop`` as ``(stop - start, 23, 3)`` float32, metres in camera space.

        Decodes only the groups that hold them.
        """
        with _naming(self.path):
            pieces = [self._group(group)[part] for group, part in self._groups_of(start, stop)]
        return np.concatenate([np.zeros((0, len(KEYPOINT_NAMES), 3), np.float32), *pieces])

    def views(self, start: int, stop: int) -> np.ndarray | None:
        """Return where the canvases of frames ``start`` to ``stop`` lie in the plate (:attr:`.Clip.views`).

        ``(stop - start, 4, 2)`` float32 pixels, or None where the plate stands still. Decodes only the groups
        that hold them.
        """
        if not self.header.moving_plate:
            return None
        with _naming(self.path):
            pieces = [self._views_group(group)[part] for group, part in self._groups_of(start, stop)]
        return np.concatenate([np.zeros((0, 4, 2), np.float32), *pieces])

    @property
    def has_pictures(self) -> bool:
        """Whether the clip was filmed, and is no motion alone."""
        return any(part.name == "reference" for part in self.parts)

    def references(self) -> list[Reference]:
        """Decode the reference pictures; none for a motion without video."""
        found: list[Reference] = []
        with _naming(self.path):
            for part in self.parts:
                if part.name == "reference":
                    found.append(self._reference(self._read(part), found))
        return found

    def plate(self, references: list[Reference]) -> tuple[np.ndarray | None, tuple[int, int]]:
        """Decode the background ``(H, W, 3)`` uint8 behind the person, or None if the file holds none.

        ``references`` are this file's, which show the rest of the background. With it comes the place (left,
        top) of its first pixel in the canvas, which is at or outside the canvas's.
        """
        with _naming(self.path):
            return self._plate(references)

    def network_warnings(self) -> list[str]:
        """Say in one line, if any, which networks that the file was made for are here as other versions."""
        here = _network_hashes(tuple(self.header.networks))
        other = [name for name, digest in self.header.networks.items() if here.get(name, digest) != digest]
        if not other:
            return []
        told = ", ".join(name.replace("_", " ") for name in other)
        return [f"{self.path.name} was made for other weights ({told}): it may look a little different."]

    def _read(self, part: Part) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(part.start)
                data = file.read(part.size)
        except OSError as error:
            raise InputError("cannot_read", f"{error.strerror or error}.") from error
        if zlib.crc32(data) != part.crc:
            raise InputError(
                "damaged", f"the {part.name} part was altered or damaged (its checksum is wrong)."
            )
        return data

    def _read_only(self, name: str) -> bytes:
        """Read the part of a kind that the header has found to be there once."""
        (part,) = (part for part in self.parts if part.name == name)
        return self._read(part)

    def _plate(self, references: list[Reference]) -> tuple[np.ndarray | None, tuple[int, int]]:
        for part in self.parts:
            if part.name == "plate":
                first, moving = references[0], self.header.moving_plate
                return picture_coding.decode_plate(self._read(part), first.picture, first.mask, moving)
        return None, (0, 0)

    def _reference(self, data: bytes, earlier: list[Reference]) -> Reference:
        reader = ByteReader(data)
        frame, mask_size = reader.varint(), reader.varint()
        if frame >= self.header.frames:
            raise InputError("damaged", "a reference picture names a frame after the end of the clip.")
        width, height = self.header.width, self.header.height
        mask = picture_coding.decode_mask(reader.take(mask_size), width, height)
        if not (self.header.cropped and earlier):
            return Reference(frame, picture_coding.decode_picture(reader.rest(), width, height), mask)
        background, origin = self._plate(earlier)
        if background is None:
            background = earlier[0].picture
        if self.header.moving_plate:
            group, within = divmod(frame, self.header.group_frames)
            view = self._views_group(group)[within]
            background = seen_background(background, origin, view, width, height)
        return Reference(frame, picture_coding.decode_crop(reader.rest(), background, mask), mask)

    def _groups_of(self, start: int, stop: int) -> Iterator[tuple[int, slice]]:
        """Yield the groups that hold frames ``start`` to ``stop``, and which of their frames these are."""
        if not 0 <= start <= stop <= self.header.frames:
            raise ValueError(f"frames {start} to {stop} of {self.header.frames}")
        size = self.header.group_frames
        for group in range(start // size, -(-stop // size)):
            first = group * size
            yield group, slice(max(start - first, 0), stop - first)

    def _frames_in(self, group: int) -> int:
        return min(self.header.group_frames, self.header.frames - group * self.header.group_frames)

    @cached_property
    def _group_bytes(self) -> list[tuple[int, bytes]]:
        """The spacing and the bytes of each group."""
        index, track = ByteReader(self._read_only("index")), ByteReader(self._read_only("keypoints"))
        groups = []
        for _ in range(self.header.groups):
            group = ByteReader(track.take(index.varint()))
            spacing = group.take(1)[0] if self.header.spaced else 1
            if not 1 <= spacing <= keypoint_coding.MAX_SPACING:
                raise InputError(
                    "damaged", f"the keypoints are damaged: {spacing} frames apart is no spacing."
                )
            groups.append((spacing, group.rest()))
        if index.rest() or track.rest():
            raise InputError("damaged", "the index does not fit the keypoints.")
        return groups

    def _group(self, group: int) -> np.ndarray:
        if self._decoded_group is None or self._decoded_group[0] != group:
            spacing, data = self._group_bytes[group]
            step_um = self.header.step_um
            decoded = keypoint_coding.decode_group(data, self._frames_in(group), step_um, spacing)
            self._decoded_group = group, decoded
        return self._decoded_group[1]

    @cached_property
    def _views_bytes(self) -> list[bytes]:
        reader = ByteReader(self._read_only("camera_motion"))
        sizes = [reader.varint() for _ in range(self.header.groups)]
        groups = [reader.take(size) for size in sizes]
        if reader.rest():
            raise InputError("damaged", "the camera's motion is longer than the clip.")
        return groups

    def _views_group(self, group: int) -> np.ndarray:
        if self._decoded_views is None or self._decoded_views[0] != group:
            header = self.header
            decoded = homography_coding.decode_group(
                self._views_bytes[group], self._frames_in(group), header.width, header.height
            )
            self._decoded_views = group, decoded
        return self._decoded_views[1]


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in the InputErrors of a block."""
    try:
        yield
    except InputError as error:
        raise InputError(error.code, f"{path}: {error}") from None


def _sizes(header_bytes: int, parts: Iterable[tuple[str, int]]) -> dict[str, int]:
    sizes = {"header": header_bytes}
    for name, size in parts:
        sizes[name] = sizes.get(name, 0) + size
    return sizes | {"total": sum(sizes.values())}


def _coded_pictures(clip: Clip, reference_quality: int, plate_quality: int) -> list[tuple[str, bytes]]:
    """Code the references and what they do not show of the plate."""
    parts: list[tuple[str, bytes]] = []
    first_mask: np.ndarray | None = None
    for reference in clip.references:
        mask = picture_coding.encode_mask(reference.mask)
        decoded_mask = picture_coding.decode_mask(mask, clip.width, clip.height)
        if first_mask is None:
            first_mask = decoded_mask
            picture = picture_coding.encode_picture(reference.picture, reference_quality)
        else:
            picture = picture_coding.encode_crop(reference.picture, decoded_mask, plate_quality)
        parts.append(("reference", pack_varint(reference.frame) + pack_varint(len(mask)) + mask + picture))
    if clip.plate is not None and first_mask is not None:
        origin = None if clip.views is None else clip.plate_origin
        plate = picture_coding.encode_plate(clip.plate, first_mask, plate_quality, origin)
        if plate:
            parts.append(("plate", plate))
    return parts


def _grouped(track: np.ndarray, header: Header) -> list[np.ndarray]:
    """Split an array of all frames into the header's groups."""
    return np.split(track, range(header.group_frames, header.frames, header.group_frames))


def _network_hashes(names: tuple[str, ...]) -> dict[str, bytes]:
    found = {}
    for name in names:
        with suppress(S2DError):  # a network that is not here is not one the clip was made for
            found[name] = bytes.fromhex(weights_sha256(f"{name}.onnx"))[:HASH_BYTES]
    return found


def _header_of(clip: Clip, step_mm: float) -> Header:
    """Check that the format can hold ``clip`` and say what its header will hold."""
    if clip.keypoints.shape[1:] != (len(KEYPOINT_NAMES), 3) or not np.isfinite(clip.keypoints).all():
        raise InputError(
            "bad_keypoints", "a clip's keypoints must be (frames, 23, 3), without NaN or infinity."
        )
    if not clip.body.isascii():
        raise InputError("bad_body", f"the body model's name {clip.body!r} is not ASCII.")
    if len(clip.references) > MAX_REFERENCES:
        raise InputError("bad_picture", f"a clip holds at most {MAX_REFERENCES} reference pictures.")
    _check_pictures(clip)
    if clip.views is not None:
        if clip.views.shape != (clip.frames, 4, 2):
            raise InputError(
                "bad_camera_motion", f"views of shape {clip.views.shape}: (frames, 4, 2) expected."
            )
        homography_coding.check_corners(clip.views, clip.width, clip.height)
    if not math.isfinite(step_mm):
        raise InputError("bad_step", f"the keypoint step of {step_mm} mm is not a number.")
    # The networks of users' own bodies are their own.
    mesh_networks = _MESH_NETWORKS if clip.body == "anny" else ()
    picture_networks = _PICTURE_NETWORKS if clip.references else ()
    camera = clip.camera
    with np.errstate(over="ignore"):  # what overflows is infinite, which the header refuses
        numbers = np.array([camera.fx, camera.fy, camera.cx, camera.cy], np.float64).astype(np.float32)
        shape = np.asarray(clip.shape, np.float16).astype(np.float32)
    return Header(
        frames=clip.frames,
        fps=Fraction(clip.fps),
        width=clip.width,
        height=clip.height,
        camera=Camera(*numbers.tolist()),
        body=clip.body,
        shape=shape,
        step_um=round(step_mm * 1000),
        group_frames=math.ceil(GROUP_SECONDS * clip.fps),
        moving_camera=clip.moving_camera,
        moving_plate=clip.views is not None,
        cropped=len(clip.references) > 1,
        networks=_network_hashes(mesh_networks + picture_networks),
    )


def _check_pictures(clip: Clip) -> None:
    """Raise InputError unless references, and a plate that stands still, fit the canvas and the frames."""
    size = clip.height, clip.width
    shapes = [(reference.picture.shape, reference.mask.shape) for reference in clip.references]
    if clip.plate is not None and clip.views is None:  # one that moves is checked where it is coded
        shapes.append((clip.plate.shape, size))
    for picture, mask in shapes:
        if picture != (*size, 3) or mask != size:
            raise InputError(
                "bad_picture",
                f"a picture of shape {picture} and mask {mask} on a {clip.width}x{clip.height} canvas.",
            )
    for reference in clip.references:
        if not 0 <= reference.frame < clip.frames:
            raise InputError(
                "bad_picture",
                f"a reference picture is of frame {reference.frame}: the clip has {clip.frames} frames.",
            )
