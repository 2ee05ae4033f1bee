# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``.s2d`` container: writing a clip, and reading one from a stranger. Its bytes: ``docs/FORMAT.md``.

Every limit is checked before anything is allocated, and every part has a checksum, so that a truncated,
altered, foreign or lying file ends in one :class:`InputError`.
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np

from ...models.camera import Camera
from ...models.errors import InputError
from ...models.keypoints import KEYPOINT_NAMES
from ...models.shipped import WEIGHTS
from ...models.whole_files import unwritable, write_whole
from . import homography_coding, keypoint_coding, picture_coding
from .clip import Clip, Reference, seen_background
from .fields import ByteReader, pack_text, pack_varint

MAGIC = b"\x89S2D"
VERSION = 1
SCHEMA = 1  # the 23 points of models/keypoints.py
MAX_FRAMES = 1_000_000
MAX_HEADER = 4096
MAX_SHAPE = 400
MAX_REFERENCES = 4
MIN_STEP_UM, MAX_STEP_UM = 100, 100_000
STEP_MM = 4.0  # of the keypoint quantiser, unless one is asked for
REFERENCE_QUALITY, PLATE_QUALITY = 35, 25  # likewise of the pictures
MIN_FPS, MAX_FPS = 1, 1000
GROUP_SECONDS = 10

_PARTS = {1: "reference", 2: "plate", 3: "keypoints", 4: "index", 5: "camera_motion"}
_PART_CODES = {name: code for code, name in _PARTS.items()}
_MAX_PART_BYTES = {
    "reference": 1 << 23,
    "plate": 1 << 23,
    "keypoints": 1 << 27,
    "index": 1 << 20,
    "camera_motion": 1 << 25,
}
_FLAGS = {1: "moving_camera", 2: "moving_plate", 4: "cropped", 8: "spaced"}  # fields of the header
_NETWORKS = {1: "vertex_predictor", 2: "reference_encoder", 3: "generator"}
_NETWORK_CODES = {name: code for code, name in _NETWORKS.items()}
_MESH_NETWORKS = ("vertex_predictor",)
_PICTURE_NETWORKS = ("reference_encoder", "generator")
_HASH_BYTES = 4


@dataclass(frozen=True)
class Header:
    """What a ``.s2d`` file says about its clip before any part is decoded."""

    frames: int
    fps: Fraction
    width: int  # canvas, pixels
    height: int
    camera: Camera
    body: str
    shape: np.ndarray  # (S,) float32
    step_um: int  # the keypoint quantiser's step, micrometres
    group_frames: int  # frames a group; the last one may be shorter
    moving_camera: bool = False
    moving_plate: bool = False  # the plate follows the camera: there is a camera_motion part
    cropped: bool = False  # references after the first show the person alone
    spaced: bool = False  # each group of keypoints says how far apart its coded frames lie
    networks: dict[str, bytes] = field(default_factory=dict)  # file stem: first bytes of its SHA-256

    @property
    def groups(self) -> int:
        """Number of keypoint groups."""
        return -(-self.frames // self.group_frames)


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
    header = _header_of(clip, step_mm)
    parts: list[tuple[str, bytes]] = []
    first: Reference | None = None
    for reference in clip.references:
        mask = picture_coding.encode_mask(reference.mask)
        decoded_mask = picture_coding.decode_mask(mask, clip.width, clip.height)
        if first is None:
            first = Reference(reference.frame, reference.picture, decoded_mask)
            picture = picture_coding.encode_picture(reference.picture, reference_quality)
        else:
            picture = picture_coding.encode_crop(reference.picture, decoded_mask, plate_quality)
        parts.append(("reference", pack_varint(reference.frame) + pack_varint(len(mask)) + mask + picture))
    if clip.plate is not None and first is not None:
        origin = clip.plate_origin if header.moving_plate else None
        plate = picture_coding.encode_plate(clip.plate, first.mask, plate_quality, origin)
        if plate:
            parts.append(("plate", plate))
    if header.moving_plate:
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
    for name, data in parts:
        if len(data) > _MAX_PART_BYTES[name]:
            raise InputError("too_large", f"the clip's {name} part is too large for a .s2d file.")
    head = _pack_header(header, parts)
    _write_whole(Path(path), head + b"".join(data for _, data in parts))
    sizes = {"header": len(head)}
    for name, data in parts:
        sizes[name] = sizes.get(name, 0) + len(data)
    return sizes | {"total": sum(sizes.values())}


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


def _grouped(track: np.ndarray, header: Header) -> list[np.ndarray]:
    """Split an array of all frames into the header's groups."""
    return np.split(track, range(header.group_frames, header.frames, header.group_frames))


def _write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``, whole or not at all."""
    try:
        write_whole(path, data)
    except OSError as error:
        raise unwritable(path, error) from error


class S2DFile:
    """A ``.s2d`` file opened for reading; its parts are read and decoded when they are asked for."""

    def __init__(self, path: Path, header: Header, header_bytes: int, parts: list[_Part]) -> None:
        """Hold what :meth:`open` has checked."""
        self.path = path
        self.header = header
        self._header_bytes = header_bytes
        self._parts = parts
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
        try:
            header, header_bytes, parts = _unpack_header(head)
            if parts[-1].end != size:
                what = "cut short" if parts[-1].end > size else "followed by bytes that do not belong to it"
                raise InputError(
                    "damaged", f"the file is {what} ({size} bytes where it should have {parts[-1].end})."
                )
        except InputError as error:
            raise _at(path, error) from None
        return cls(path, header, header_bytes, parts)

    @property
    def sha256(self) -> str:
        """The hexadecimal SHA-256 of the whole file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def check(self) -> None:
        """Compare every part with its checksum; InputError where one was altered or damaged."""
        for part in self._parts:
            try:
                self._read(part)
            except InputError as error:
                raise _at(self.path, error) from None

    def keypoints(self, start: int, stop: int) -> np.ndarray:
        """Return frames ``start`` to ``stop`` as ``(stop - start, 23, 3)`` float32, metres in camera space.

        Decodes only the groups that hold them.
        """
        pieces = [self._group(group)[part] for group, part in self._groups_of(start, stop)]
        return np.concatenate([np.zeros((0, len(KEYPOINT_NAMES), 3), np.float32), *pieces])

    def views(self, start: int, stop: int) -> np.ndarray | None:
        """Return where the canvases of frames ``start`` to ``stop`` lie in the plate (:attr:`.Clip.views`).

        ``(stop - start, 4, 2)`` float32 pixels, or None where the plate stands still. Decodes only the groups
        that hold them.
        """
        if not self.header.moving_plate:
            return None
        try:
            pieces = [self._views_group(group)[part] for group, part in self._groups_of(start, stop)]
        except InputError as error:
            raise _at(self.path, error) from None
        return np.concatenate([np.zeros((0, 4, 2), np.float32), *pieces])

    def _groups_of(self, start: int, stop: int) -> Iterator[tuple[int, slice]]:
        """Yield the groups that hold frames ``start`` to ``stop``, and which of their frames these are."""
        if not 0 <= start <= stop <= self.header.frames:
            raise ValueError(f"frames {start} to {stop} of {self.header.frames}")
        size = self.header.group_frames
        for group in range(start // size, -(-stop // size)):
            first = group * size
            yield group, slice(max(start - first, 0), stop - first)

    def references(self) -> list[Reference]:
        """Decode the reference pictures; none for a motion without video."""
        found: list[Reference] = []
        for part in self._parts:
            if part.name == "reference":
                try:
                    found.append(self._reference(self._read(part), found))
                except InputError as error:
                    raise _at(self.path, error) from None
        return found

    def plate(self, references: list[Reference]) -> tuple[np.ndarray | None, tuple[int, int]]:
        """Decode the background ``(H, W, 3)`` uint8 behind the person, or None if the file holds none.

        ``references`` are this file's, which show the rest of the background. With it comes the place (left,
        top) of its first pixel in the canvas, which is at or outside the canvas's.
        """
        try:
            return self._plate(references)
        except InputError as error:
            raise _at(self.path, error) from None

    def info(self) -> dict:
        """Return what the file holds and where its bytes go, ready for JSON."""
        header = self.header
        sizes = {"header": self._header_bytes}
        for part in self._parts:
            sizes[part.name] = sizes.get(part.name, 0) + part.size
        sizes["total"] = sum(sizes.values())
        seconds = header.frames / header.fps
        return {
            "version": VERSION,
            "frames": header.frames,
            "fps": [header.fps.numerator, header.fps.denominator],
            "seconds": float(seconds),
            "size": [header.width, header.height],
            "camera": header.camera.matrix().tolist(),
            "moving_camera": header.moving_camera,
            "moving_plate": header.moving_plate,
            "keypoint_names": list(KEYPOINT_NAMES),
            "keypoint_step_mm": header.step_um / 1000,
            "group_frames": header.group_frames,
            "references": sum(part.name == "reference" for part in self._parts),
            "body": header.body,
            "shape": [float(value) for value in header.shape],
            "networks": {name: digest.hex() for name, digest in header.networks.items()},
            "bytes": sizes,
            "kbps": {name: float(round(size * 8 / seconds / 1000, 4)) for name, size in sizes.items()},
        }

    def network_warnings(self) -> list[str]:
        """Say in one line, if any, which networks that the file was made for are here as other versions."""
        here = _network_hashes(tuple(self.header.networks))
        other = [name for name, digest in self.header.networks.items() if here.get(name, digest) != digest]
        if not other:
            return []
        told = ", ".join(name.replace("_", " ") for name in other)
        return [f"{self.path.name} was made for other weights ({told}): it may look a little different."]

    def _read(self, part: _Part) -> bytes:
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

    def _plate(self, references: list[Reference]) -> tuple[np.ndarray | None, tuple[int, int]]:
        for part in self._parts:
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

    @cached_property
    def _group_bytes(self) -> list[tuple[int, bytes]]:
        """The spacing and the bytes of each group."""
        parts = {part.name: part for part in self._parts}
        reader = ByteReader(self._read(parts["index"]))
        track = ByteReader(self._read(parts["keypoints"]))
        groups = []
        for group in range(self.header.groups):
            data = track.take(reader.varint())
            spacing, data = (data[0], data[1:]) if self.header.spaced and data else (1, data)
            if not 1 <= spacing <= keypoint_coding.MAX_SPACING:
                raise InputError(
                    "damaged", f"the keypoints are damaged: {spacing} frames apart is no spacing."
                )
            keypoint_coding.check_group_size(self._frames_in(group), len(data), spacing)
            groups.append((spacing, data))
        if reader.rest() or track.rest():
            raise InputError("damaged", "the index does not fit the keypoints.")
        return groups

    def _frames_in(self, group: int) -> int:
        return min(self.header.group_frames, self.header.frames - group * self.header.group_frames)

    def _group(self, group: int) -> np.ndarray:
        if self._decoded_group is None or self._decoded_group[0] != group:
            try:
                spacing, data = self._group_bytes[group]
                decoded = keypoint_coding.decode_group(
                    data, self._frames_in(group), self.header.step_um, spacing
                )
            except InputError as error:
                raise _at(self.path, error) from None
            self._decoded_group = group, decoded
        return self._decoded_group[1]

    @cached_property
    def _views_bytes(self) -> list[bytes]:
        (part,) = (part for part in self._parts if part.name == "camera_motion")
        reader = ByteReader(self._read(part))
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


@dataclass(frozen=True)
class _Part:
    name: str
    start: int
    size: int
    crc: int

    @property
    def end(self) -> int:
        return self.start + self.size


def _at(path: Path, error: InputError) -> InputError:
    return InputError(error.code, f"{path}: {error}")


def _network_hashes(names: tuple[str, ...]) -> dict[str, bytes]:
    found = {}
    for name in names:
        path = WEIGHTS / f"{name}.onnx"
        if path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).digest()[:_HASH_BYTES]
    return found


def _header_of(clip: Clip, step_mm: float) -> Header:
    """Check that the format can hold ``clip`` and say what its header will hold."""
    if clip.keypoints.shape[1:] != (len(KEYPOINT_NAMES), 3) or not np.isfinite(clip.keypoints).all():
        raise InputError(
            "bad_keypoints", "a clip's keypoints must be (frames, 23, 3), without NaN or infinity."
        )
    if not clip.body.isascii():
        raise InputError("bad_body", f"the body model's name {clip.body!r} is not ASCII.")
    moving_plate = clip.views is not None and bool(clip.references)
    for picture in [*(reference.picture for reference in clip.references), clip.plate]:
        whole = picture is clip.plate and moving_plate  # checked where it is coded
        if picture is not None and not whole and picture.shape != (clip.height, clip.width, 3):
            raise InputError(
                "bad_picture", f"a picture of shape {picture.shape} on a {clip.width}x{clip.height} canvas."
            )
    if moving_plate:
        if clip.views.shape != (clip.frames, 4, 2):
            raise InputError(
                "bad_camera_motion", f"views of shape {clip.views.shape}: (frames, 4, 2) expected."
            )
        homography_coding.check_corners(clip.views, clip.width, clip.height)
    if len(clip.references) > MAX_REFERENCES:
        raise InputError("bad_picture", f"a clip holds at most {MAX_REFERENCES} reference pictures.")
    if not math.isfinite(step_mm):
        raise InputError("bad_step", f"the keypoint step of {step_mm} mm is not a number.")
    names = _PICTURE_NETWORKS if clip.references else ()
    if clip.body == "anny":  # the networks of users' own bodies are their own
        names = _MESH_NETWORKS + names
    header = Header(
        frames=clip.frames,
        fps=Fraction(clip.fps),
        width=clip.width,
        height=clip.height,
        camera=clip.camera,
        body=clip.body,
        shape=np.asarray(clip.shape, np.float16).astype(np.float32),
        step_um=round(step_mm * 1000),
        group_frames=max(1, math.ceil(GROUP_SECONDS * clip.fps)),
        moving_camera=clip.moving_camera,
        moving_plate=moving_plate,
        cropped=len(clip.references) > 1,
        networks=_network_hashes(names),
    )
    _check_header(header)
    return header


def _check_header(header: Header) -> None:
    """Raise InputError if a value is outside what any clip may hold."""
    camera = header.camera
    numbers = (camera.fx, camera.fy, camera.cx, camera.cy)
    faults = (
        (
            not 1 <= header.frames <= MAX_FRAMES,
            f"it claims {header.frames} frames (1 to {MAX_FRAMES} are possible)",
        ),
        (not MIN_FPS <= header.fps <= MAX_FPS, f"it claims {header.fps} frames a second"),
        (header.fps.numerator >= 1 << 31, "its frame rate is not a simple fraction"),
        (
            not all(16 <= side <= picture_coding.MAX_SIDE for side in (header.width, header.height)),
            f"it claims a canvas of {header.width}x{header.height} (16 to {picture_coding.MAX_SIDE} are possible)",
        ),
        (not all(map(math.isfinite, numbers)) or min(camera.fx, camera.fy) <= 0, "its camera is impossible"),
        (
            not np.isfinite(header.shape).all() or len(header.shape) > MAX_SHAPE,
            "its body shape is impossible",
        ),
        (
            not MIN_STEP_UM <= header.step_um <= MAX_STEP_UM,
            f"its keypoint step is {header.step_um} micrometres",
        ),
        (
            not 1 <= header.group_frames <= GROUP_SECONDS * MAX_FPS,
            f"it claims groups of {header.group_frames} frames",
        ),
    )
    for wrong, what in faults:
        if wrong:
            raise InputError("bad_header", f"{what}.")


def _pack_header(header: Header, parts: list[tuple[str, bytes]]) -> bytes:
    camera = header.camera
    fields = [
        bytes([SCHEMA, sum(flag for flag, name in _FLAGS.items() if getattr(header, name))]),
        *map(
            pack_varint,
            (header.frames, header.fps.numerator, header.fps.denominator, header.width, header.height),
        ),
        struct.pack("<4f", camera.fx, camera.fy, camera.cx, camera.cy),
        pack_text(header.body),
        pack_varint(len(header.shape)),
        header.shape.astype("<f2").tobytes(),
        pack_varint(header.step_um),
        pack_varint(header.group_frames),
        pack_varint(len(header.networks)),
        *(bytes([_NETWORK_CODES[name]]) + digest for name, digest in header.networks.items()),
        pack_varint(len(parts)),
        *(
            bytes([_PART_CODES[name]]) + pack_varint(len(data)) + struct.pack("<I", zlib.crc32(data))
            for name, data in parts
        ),
    ]
    payload = b"".join(fields)
    head = MAGIC + struct.pack("<BH", VERSION, len(payload)) + payload
    return head + struct.pack("<I", zlib.crc32(head))


def _unpack_header(head: bytes) -> tuple[Header, int, list[_Part]]:
    """Read the header at the start of a file; returns it, its size and the parts in file order."""
    if not head.startswith(MAGIC):
        raise InputError("not_s2d", "this is not a .s2d file: choose one that is.")
    reader = ByteReader(head)
    reader.take(len(MAGIC))
    version, size = reader.unpack("BH")
    if version != VERSION:
        raise InputError(
            "future_version",
            f"this is a version {version} .s2d file, and this program reads {VERSION}: update it.",
        )
    payload = ByteReader(reader.take(size))
    end = len(MAGIC) + 3 + size
    (crc,) = reader.unpack("I")
    if zlib.crc32(head[:end]) != crc:
        raise InputError("damaged", "the header was altered or damaged (its checksum is wrong).")
    schema, flags = payload.unpack("BB")
    if schema != SCHEMA or flags > sum(_FLAGS):
        raise InputError(
            "future_version", f"it uses keypoint schema {schema} and flags {flags}: update this program."
        )
    frames, numerator, denominator, width, height = (payload.varint() for _ in range(5))
    camera = Camera(*payload.unpack("4f"))
    body = payload.text()
    shape = np.frombuffer(payload.take(2 * payload.varint()), "<f2").astype(np.float32)
    step_um, group_frames = payload.varint(), payload.varint()
    networks = _unpack_networks(payload)
    header = Header(
        frames,
        Fraction(numerator, max(denominator, 1)),
        width,
        height,
        camera,
        body,
        shape,
        step_um,
        group_frames,
        **{name: bool(flags & flag) for flag, name in _FLAGS.items()},
        networks=networks,
    )
    _check_header(header)
    return header, end + 4, _unpack_parts(payload, end + 4, header)


def _unpack_networks(payload: ByteReader) -> dict[str, bytes]:
    networks = {}
    for _ in range(payload.varint()):
        (code,) = payload.unpack("B")
        if code not in _NETWORKS:
            raise InputError(
                "future_version", f"it needs a network of unknown kind {code}: update this program."
            )
        networks[_NETWORKS[code]] = payload.take(_HASH_BYTES)
    return networks


def _unpack_parts(payload: ByteReader, start: int, header: Header) -> list[_Part]:
    parts: list[_Part] = []
    for _ in range(payload.varint()):
        (code,) = payload.unpack("B")
        size, (crc,) = payload.varint(), payload.unpack("I")
        name = _PARTS.get(code)
        if name is None or size > _MAX_PART_BYTES[name]:
            raise InputError("damaged", f"it claims an impossible part (kind {code}, {size} bytes).")
        parts.append(_Part(name, start, size, crc))
        start += size
    names = [part.name for part in parts]
    counts = {name: names.count(name) for name in _PART_CODES}
    if payload.rest() or counts["keypoints"] != 1 or counts["index"] != 1:
        raise InputError("damaged", "its table of parts is damaged.")
    if counts["reference"] > MAX_REFERENCES or counts["plate"] > min(1, counts["reference"]):
        raise InputError("damaged", "it claims more pictures than a clip may hold.")
    if counts["camera_motion"] != header.moving_plate or header.moving_plate > counts["reference"]:
        raise InputError("damaged", "its camera's motion is missing, or has nothing to move.")
    keypoint_bytes = sum(part.size for part in parts if part.name == "keypoints")
    spacing = keypoint_coding.MAX_SPACING if header.spaced else 1
    keypoint_coding.check_group_size(header.frames, keypoint_bytes, spacing)
    return parts
