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
VERSION = 1
SCHEMA = 1  # the 23 points of models/keypoints.py
MAX_HEADER = 4096  # bytes, from the magic to the checksum
MAX_FRAMES = 1_000_000
MIN_FPS, MAX_FPS = 1, 1000
MIN_SIDE = 16  # of the canvas, pixels; its longest is a picture's
MAX_SHAPE = 400
MIN_STEP_UM, MAX_STEP_UM = 100, 100_000
MAX_GROUP_FRAMES = 10_000
MAX_REFERENCES = 4
MAX_PART_BYTES = {
    "reference": 1 << 23,
    "plate": 1 << 23,
    "keypoints": 1 << 27,
    "index": 1 << 20,
    "camera_motion": 1 << 25,
}
HASH_BYTES = 4  # of a network's SHA-256

_PARTS = {1: "reference", 2: "plate", 3: "keypoints", 4: "index", 5: "camera_motion"}
_PART_CODES = {name: code for code, name in _PARTS.items()}
_NETWORKS = {1: "vertex_predictor", 2: "reference_encoder", 3: "generator"}
_NETWORK_CODES = {name: code for code, name in _NETWORKS.items()}
_FLAGS = {1: "moving_camera", 2: "moving_plate", 4: "cropped", 8: "spaced"}  # fields of the header
_AROUND = 11  # bytes around the payload: magic, version and size before it, the checksum after it


@dataclass(frozen=True)
class Header:
    """What a ``.s2d`` file says about its clip before any part is decoded.

    Raises InputError ``bad_header`` for values that no clip may have.
    """

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

    def __post_init__(self) -> None:
        """Check that every value is one that a clip may have."""
        camera, shape = self.camera, self.shape
        numbers = (camera.fx, camera.fy, camera.cx, camera.cy)
        possible = (
            (
                1 <= self.frames <= MAX_FRAMES,
                f"it claims {self.frames} frames (1 to {MAX_FRAMES} are possible)",
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
    def groups(self) -> int:
        """Number of keypoint groups."""
        return -(-self.frames // self.group_frames)


@dataclass(frozen=True)
class Part:
    """An entry of the table of parts: what the part is, where its bytes lie in the file, their CRC-32."""

    name: str
    start: int
    size: int
    crc: int

    @property
    def end(self) -> int:
        """Where the next part starts."""
        return self.start + self.size


def pack_header(header: Header, parts: list[tuple[str, bytes]]) -> bytes:
    """Pack a header and the table of the ``parts`` (name and bytes) that will follow it in this order.

    InputError ``too_large`` for a part, or a header, that is over what a file may hold.
    """
    for name, data in parts:
        if len(data) > MAX_PART_BYTES[name]:
            raise InputError("too_large", f"the clip's {name} part is too large for a .s2d file.")
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
    if len(payload) > MAX_HEADER - _AROUND:
        raise InputError("too_large", "the body model's name is too long for a .s2d file.")
    head = MAGIC + struct.pack("<BH", VERSION, len(payload)) + payload
    return head + struct.pack("<I", zlib.crc32(head))


def unpack_header(head: bytes) -> tuple[Header, list[Part]]:
    """Read the header from the first :data:`MAX_HEADER` bytes of a file, and the parts in file order.

    The first part starts where the header ends. InputError for a file that is not a ``.s2d``, is one of a
    version to come, or is damaged.
    """
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
    (crc,) = reader.unpack("I")
    end = size + _AROUND
    if zlib.crc32(head[: end - 4]) != crc:
        raise InputError("damaged", "the header was altered or damaged (its checksum is wrong).")
    schema, flags = payload.unpack("BB")
    if schema != SCHEMA or flags > sum(_FLAGS):
        raise InputError(
            "future_version", f"it uses keypoint schema {schema} and flags {flags}: update this program."
        )
    frames, numerator, denominator, width, height = (payload.varint() for _ in range(5))
    if denominator < 1:
        raise InputError("bad_header", "its frame rate is no fraction.")
    camera = Camera(*payload.unpack("4f"))
    body = payload.text()
    shape = np.frombuffer(payload.take(2 * payload.varint()), "<f2").astype(np.float32)
    step_um, group_frames = payload.varint(), payload.varint()
    header = Header(
        frames,
        Fraction(numerator, denominator),
        width,
        height,
        camera,
        body,
        shape,
        step_um,
        group_frames,
        **{name: bool(flags & flag) for flag, name in _FLAGS.items()},
        networks=_unpack_networks(payload),
    )
    return header, _unpack_parts(payload, end, header)


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


def _unpack_parts(payload: ByteReader, start: int, header: Header) -> list[Part]:
    parts: list[Part] = []
    for _ in range(payload.varint()):
        (code,) = payload.unpack("B")
        size, (crc,) = payload.varint(), payload.unpack("I")
        name = _PARTS.get(code)
        if name is None or size > MAX_PART_BYTES[name]:
            raise InputError("damaged", f"it claims an impossible part (kind {code}, {size} bytes).")
        parts.append(Part(name, start, size, crc))
        start = parts[-1].end
    names = [part.name for part in parts]
    counts = {name: names.count(name) for name in _PART_CODES}
    if payload.rest() or counts["keypoints"] != 1 or counts["index"] != 1:
        raise InputError("damaged", "its table of parts is damaged.")
    if counts["reference"] > MAX_REFERENCES or counts["plate"] > min(1, counts["reference"]):
        raise InputError("damaged", "it claims more pictures than a clip may hold.")
    if counts["camera_motion"] != header.moving_plate or header.moving_plate > counts["reference"]:
        raise InputError("damaged", "its camera's motion is missing, or has nothing to move.")
    keypoint_bytes = sum(part.size for part in parts if part.name == "keypoints")
    check_group_size(header.frames, keypoint_bytes, MAX_SPACING if header.spaced else 1)
    return parts
