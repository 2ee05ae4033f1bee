# SPDX-License-Identifier: GPL-3.0-or-later
"""The header of a ``.s2d`` file: its fields, their limits, and the table of the parts that follow it.

Every limit is checked before anything is allocated, so that a truncated, altered, foreign or lying header
ends in one :class:`InputError`. Its bytes: ``docs/FORMAT.md``, section 1.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from ...models.camera import Camera
from ...models.errors import InputError
from ...models.outputs import beginning
from .fields import ByteReader, pack_text, pack_varint
from .keypoint_coding import MAX_SPACING, check_group_size
from .picture_coding import MAX_SIDE

MAGIC = b"\x89S2D"
S2D = beginning(".s2d", MAGIC)
VERSION = 2  # what is written; version 1 is read too
SCHEMA = 1  # the 23 points of models/keypoints.py
MAX_HEADER = 16_384  # bytes, from the magic to the checksum
MAX_PEOPLE = 8
MAX_FRAMES = 1_000_000
MIN_FPS, MAX_FPS = 1, 1000
MIN_SIDE = 16  # of the canvas, pixels; its longest is a picture's
MAX_SHAPE = 400
MIN_STEP_UM, MAX_STEP_UM = 100, 100_000
MAX_GROUP_FRAMES = 10_000
MAX_REFERENCES = 4  # of a person
MAX_PART_BYTES = {
    "reference": 1 << 23,
    "plate": 1 << 23,
    "keypoints": 1 << 27,
    "index": 1 << 20,
    "camera_motion": 1 << 25,
    "certainty": 1 << 21,
    "texture": 1 << 23,
}
MAX_PASSED_OVER_BYTES = 1 << 27  # of a part whose content is not known here
HASH_BYTES = 4  # of a network's SHA-256
FIRST_OPTIONAL = 32  # the lowest kind that a decoder passes over where it does not know it

_KINDS = {
    1: "reference",
    2: "plate",
    3: "keypoints",
    4: "index",  # of version 1 alone
    5: "camera_motion",
    32: "certainty",
    33: "hands",
    34: "face",
    35: "texture",
    36: "camera_way",
}
_CODES = {name: code for code, name in _KINDS.items()}
# Those that are read; the other optional kinds are laid out some day.
_OPTIONAL_VERSIONS = {"certainty": 1, "texture": 1}
_SHOT_PARTS = ("plate", "camera_motion")
_PERSON_PARTS = ("reference", "keypoints", "certainty", "texture")
_PARTS_1 = ("reference", "plate", "keypoints", "index", "camera_motion")
_NETWORKS = {1: "vertex_predictor", 2: "reference_encoder", 3: "generator"}
_NETWORK_CODES = {name: code for code, name in _NETWORKS.items()}
_FLAGS_1 = {1: "moving_camera", 2: "moving_plate", 4: "cropped", 8: "spaced"}  # fields of the header
_SHOT_FLAGS = {1: "moving_camera", 2: "moving_plate"}  # likewise, and these two of the camera:
_OBLONG, _OFF_CENTRE = 4, 8
_SPAN, _SPACED = 1, 2  # a person's flags
_AROUND = 11  # bytes around the payload: magic, version and size before it, the checksum after it


@dataclass(frozen=True)
class Header:
    """What a ``.s2d`` file says about one person's clip before any part is decoded.

    What is the shot's (rate, canvas, camera, groups, networks) is the same in the headers of all its people.
    Raises InputError ``bad_header`` for values that no clip may have.
    """

    frames: int  # in which the person is there
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
    cropped: bool = True  # references after the first show the person alone; always, since version 2
    spaced: bool = False  # each group of keypoints says how far apart its coded frames lie
    networks: dict[str, bytes] = field(default_factory=dict)  # file stem: first bytes of its SHA-256
    first: int = 0  # frames of the shot before the person's
    after: int = 0  # and after them
    version: int = VERSION

    def __post_init__(self) -> None:
        """Check that every value is one that a clip may have."""
        camera, shape = self.camera, self.shape
        numbers = (camera.fx, camera.fy, camera.cx, camera.cy)
        possible = (
            (
                self.frames >= 1 and self.shot_frames <= MAX_FRAMES,
                f"it claims {self.shot_frames} frames (1 to {MAX_FRAMES} are possible)",
            ),
            (
                self.first >= 0 and self.after >= 0,
                f"it claims a person from frame {self.first} on for {self.frames} of {self.shot_frames}",
            ),
            (MIN_FPS <= self.fps <= MAX_FPS, f"it claims {self.fps} frames a second"),
            (self.fps.numerator < 1 << 31, "its frame rate is not a simple fraction"),
            (
                all(MIN_SIDE <= side <= MAX_SIDE for side in (self.width, self.height)),
                f"it claims a canvas of {self.width}x{self.height} ({MIN_SIDE} to {MAX_SIDE} are possible)",
            ),
            (
                all(map(math.isfinite, numbers)) and camera.fx > 0 and camera.fy > 0,
                "its camera is impossible",
            ),
            (np.isfinite(shape).all() and len(shape) <= MAX_SHAPE, "its body shape is impossible"),
            (
                MIN_STEP_UM <= self.step_um <= MAX_STEP_UM,
                f"its keypoint step is {self.step_um} micrometres ({MIN_STEP_UM} to {MAX_STEP_UM} can be)",
            ),
            (
                1 <= self.group_frames <= MAX_GROUP_FRAMES,
                f"it claims groups of {self.group_frames} frames",
            ),
        )
        for right, otherwise in possible:
            if not right:
                raise InputError("bad_header", f"{otherwise}.")

    @property
    def shot_frames(self) -> int:
        """Number of frames of the shot."""
        return self.first + self.frames + self.after

    @property
    def groups(self) -> int:
        """Number of the person's keypoint groups."""
        return -(-self.frames // self.group_frames)


@dataclass(frozen=True)
class Part:
    """An entry of a table of parts: what the part is, where its bytes lie in the file, their CRC-32."""

    name: str
    start: int
    size: int
    crc: int
    person: int | None = None  # whose it is, counted from 0; None: the shot's
    passed_over: bool = False  # an optional part of a kind, or a version, that is not known here

    @property
    def end(self) -> int:
        """Where the next part starts."""
        return self.start + self.size


Table = list[tuple[str, bytes]]
"""The parts of a shot or a person that are to be written: their names and bytes."""


def pack_header(headers: list[Header], shot_parts: Table, people_parts: list[Table]) -> bytes:
    """Pack the headers of a shot's people and the tables of the parts that will follow in this order.

    The parts of the shot come first, then those of each person. InputError ``bad_header`` for more people
    than a file may hold, ``too_large`` for a part, or a header, that is over what a file may hold.
    """
    if not 1 <= len(headers) <= MAX_PEOPLE:
        raise InputError("bad_header", f"{len(headers)} people: a .s2d file holds 1 to {MAX_PEOPLE}.")
    shot = headers[0]
    fields = [
        _pack_shot(shot, len(headers)),
        _pack_table(shot_parts),
        *(
            _pack_person(header) + _pack_table(parts)
            for header, parts in zip(headers, people_parts, strict=True)
        ),
    ]
    payload = b"".join(fields)
    if len(payload) > MAX_HEADER - _AROUND:
        raise InputError("too_large", "the body model's name is too long for a .s2d file.")
    head = MAGIC + struct.pack("<BH", VERSION, len(payload)) + payload
    return head + struct.pack("<I", zlib.crc32(head))


def _pack_shot(shot: Header, people: int) -> bytes:
    camera = shot.camera
    numbers, flags = [camera.fx], sum(flag for flag, name in _SHOT_FLAGS.items() if getattr(shot, name))
    if camera.fy != camera.fx:
        numbers, flags = [*numbers, camera.fy], flags | _OBLONG
    if (camera.cx, camera.cy) != (shot.width / 2, shot.height / 2):
        numbers, flags = [*numbers, camera.cx, camera.cy], flags | _OFF_CENTRE
    counts = shot.shot_frames, shot.fps.numerator, shot.fps.denominator, shot.width, shot.height
    return b"".join(
        [
            bytes([SCHEMA, flags]),
            *map(pack_varint, counts),
            struct.pack(f"<{len(numbers)}f", *numbers),
            pack_varint(shot.group_frames),
            pack_varint(len(shot.networks)),
            *(bytes([_NETWORK_CODES[name]]) + digest for name, digest in shot.networks.items()),
            pack_varint(people),
        ]
    )


def _pack_person(header: Header) -> bytes:
    throughout = header.frames == header.shot_frames
    return b"".join(
        [
            bytes([_SPAN * (not throughout) | _SPACED * header.spaced]),
            b"" if throughout else pack_varint(header.first) + pack_varint(header.frames),
            pack_text(header.body),
            pack_varint(len(header.shape)),
            header.shape.astype("<f2").tobytes(),
            pack_varint(header.step_um),
        ]
    )


def _pack_table(parts: Table) -> bytes:
    packed = [pack_varint(len(parts))]
    for name, data in parts:
        if len(data) > MAX_PART_BYTES[name]:
            raise InputError("too_large", f"the clip's {name} part is too large for a .s2d file.")
        version = [_OPTIONAL_VERSIONS[name]] if name in _OPTIONAL_VERSIONS else []
        packed += [
            bytes([_CODES[name], *version]),
            pack_varint(len(data)),
            struct.pack("<I", zlib.crc32(data)),
        ]
    return b"".join(packed)


def unpack_header(head: bytes) -> tuple[list[Header], list[Part]]:
    """Read the headers of all people from the first :data:`MAX_HEADER` bytes of a file, and all its parts.

    The first part starts where the header ends. InputError for a file that is not a ``.s2d``, is one of a
    version to come, or is damaged.
    """
    if not head.startswith(MAGIC):
        raise InputError("not_s2d", "this is not a .s2d file: choose one that is.")
    reader = ByteReader(head)
    reader.take(len(MAGIC))
    version, size = reader.unpack("BH")
    if version not in (1, VERSION):
        raise InputError(
            "future_version",
            f"this is a version {version} .s2d file, and this program reads 1 and {VERSION}: update it.",
        )
    payload = ByteReader(reader.take(size))
    (crc,) = reader.unpack("I")
    end = size + _AROUND
    if zlib.crc32(head[: end - 4]) != crc:
        raise InputError("damaged", "the header was altered or damaged (its checksum is wrong).")
    schema, flags = payload.unpack("BB")
    if schema != SCHEMA or flags > 15:
        raise InputError(
            "future_version", f"it uses keypoint schema {schema} and flags {flags}: update this program."
        )
    headers, parts = (_unpack_1 if version == 1 else _unpack_2)(payload, flags, end)
    if payload.rest():
        raise InputError("damaged", "its table of parts is damaged.")
    _check_parts(headers, parts)
    return headers, parts


def _unpack_1(payload: ByteReader, flags: int, end: int) -> tuple[list[Header], list[Part]]:
    frames, fps, width, height = _unpack_canvas(payload)
    camera = Camera(*payload.unpack("4f"))
    body, shape, step_um = _unpack_body(payload)
    header = Header(
        frames,
        fps,
        width,
        height,
        camera,
        body,
        shape,
        step_um,
        payload.varint(),
        **{name: bool(flags & flag) for flag, name in _FLAGS_1.items()},
        networks=_unpack_networks(payload),
        version=1,
    )
    parts: list[Part] = []
    for _ in range(payload.varint()):
        (kind,) = payload.unpack("B")
        size, (crc,) = payload.varint(), payload.unpack("I")
        name = _KINDS.get(kind)
        if name not in _PARTS_1 or size > MAX_PART_BYTES[name]:
            raise _impossible_part(kind, size)
        parts.append(Part(name, end, size, crc, None if name in _SHOT_PARTS else 0))
        end = parts[-1].end
    return [header], parts


def _unpack_2(payload: ByteReader, flags: int, end: int) -> tuple[list[Header], list[Part]]:
    shot_frames, fps, width, height = _unpack_canvas(payload)
    (fx,) = payload.unpack("f")
    (fy,) = payload.unpack("f") if flags & _OBLONG else (fx,)
    cx, cy = payload.unpack("2f") if flags & _OFF_CENTRE else (width / 2, height / 2)
    group_frames, networks = payload.varint(), _unpack_networks(payload)
    people = payload.varint()
    if not 1 <= people <= MAX_PEOPLE:
        raise InputError("bad_header", f"it claims {people} people (1 to {MAX_PEOPLE} are possible).")
    parts = _unpack_table(payload, end, None)
    headers: list[Header] = []
    for person in range(people):
        (own_flags,) = payload.unpack("B")
        if own_flags > _SPAN | _SPACED:
            raise InputError("future_version", f"it uses a person's flags {own_flags}: update this program.")
        first, frames = (payload.varint(), payload.varint()) if own_flags & _SPAN else (0, shot_frames)
        body, shape, step_um = _unpack_body(payload)
        headers.append(
            Header(
                frames,
                fps,
                width,
                height,
                Camera(fx, fy, cx, cy),
                body,
                shape,
                step_um,
                group_frames,
                **{name: bool(flags & flag) for flag, name in _SHOT_FLAGS.items()},
                spaced=bool(own_flags & _SPACED),
                networks=networks,
                first=first,
                after=shot_frames - first - frames,
            )
        )
        parts += _unpack_table(payload, parts[-1].end if parts else end, person)
    return headers, parts


def _unpack_canvas(payload: ByteReader) -> tuple[int, Fraction, int, int]:
    frames, numerator, denominator, width, height = (payload.varint() for _ in range(5))
    if denominator < 1:
        raise InputError("bad_header", "its frame rate is no fraction.")
    return frames, Fraction(numerator, denominator), width, height


def _unpack_body(payload: ByteReader) -> tuple[str, np.ndarray, int]:
    body = payload.text()
    shape = np.frombuffer(payload.take(2 * payload.varint()), "<f2").astype(np.float32)
    return body, shape, payload.varint()


def _unpack_networks(payload: ByteReader) -> dict[str, bytes]:
    networks = {}
    for _ in range(payload.varint()):
        (code,) = payload.unpack("B")
        if code not in _NETWORKS:
            raise InputError(
                "future_version", f"it needs a network of unknown kind {code}: update this program."
            )
        networks[_NETWORKS[code]] = payload.take(HASH_BYTES)
    return networks


def _unpack_table(payload: ByteReader, start: int, person: int | None) -> list[Part]:
    """Read the table of the shot's parts, or of a ``person``'s; the first of them is at ``start``."""
    expected = _SHOT_PARTS if person is None else _PERSON_PARTS
    parts: list[Part] = []
    for _ in range(payload.varint()):
        (kind,) = payload.unpack("B")
        (version,) = payload.unpack("B") if kind >= FIRST_OPTIONAL else (None,)
        size, (crc,) = payload.varint(), payload.unpack("I")
        name = _KINDS.get(kind, f"part {kind}")
        known = name in expected and _OPTIONAL_VERSIONS.get(name) == version
        if not known and kind < FIRST_OPTIONAL:
            raise InputError(
                "future_version", f"it needs a part of unknown kind {kind}: update this program."
            )
        if size > (MAX_PART_BYTES[name] if known else MAX_PASSED_OVER_BYTES):
            raise _impossible_part(kind, size)
        parts.append(Part(name, start, size, crc, person, passed_over=not known))
        start = parts[-1].end
    return parts


def _impossible_part(kind: int, size: int) -> InputError:
    return InputError("damaged", f"it claims an impossible part (kind {kind}, {size} bytes).")


def _check_parts(headers: list[Header], parts: list[Part]) -> None:
    """Raise InputError unless everybody has the parts that they need, and none too often."""
    known = [part for part in parts if not part.passed_over]
    references = sum(part.name == "reference" for part in known)
    for person, header in enumerate(headers):
        names = [part.name for part in known if part.person == person]
        if names.count("keypoints") != 1 or names.count("index") != (header.version == 1):
            raise InputError("damaged", "its table of parts is damaged.")
        if names.count("reference") > MAX_REFERENCES:
            raise InputError("damaged", "it claims more pictures than a clip may hold.")
        if names.count("certainty") > 1:
            raise InputError("damaged", "it claims more than one certainty of a person.")
        if names.count("texture") > min(1, names.count("reference")):
            raise InputError("damaged", "it claims a texture too many, or one of a person without pictures.")
    shot = [part.name for part in known if part.person is None]
    if shot.count("plate") > min(1, references):
        raise InputError("damaged", "it claims more pictures than a clip may hold.")
    moving = headers[0].moving_plate
    if shot.count("camera_motion") != moving or moving > references:
        raise InputError("damaged", "its camera's motion is missing, or has nothing to move.")
    for part in known:
        if part.name == "keypoints":
            header = headers[part.person or 0]
            check_group_size(header.frames, part.size, MAX_SPACING if header.spaced else 1)
