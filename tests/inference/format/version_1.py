# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of version 1, which are read for good and written here alone."""

import struct
import zlib

from sparse2dense.inference.format.container import S2DFile
from sparse2dense.inference.format.fields import ByteReader, pack_text, pack_varint

KINDS = {"reference": 1, "plate": 2, "keypoints": 3, "index": 4, "camera_motion": 5}
FLAGS = {"moving_camera": 1, "moving_plate": 2, "cropped": 4, "spaced": 8}
NETWORKS = {"vertex_predictor": 1, "reference_encoder": 2, "generator": 3}


def pack_header_1(header, parts):
    """Pack a header and the table of ``parts`` (name and bytes) as version 1 did."""
    camera = header.camera
    numbers = header.frames, header.fps.numerator, header.fps.denominator, header.width, header.height
    payload = [
        bytes([1, sum(flag for name, flag in FLAGS.items() if getattr(header, name))]),
        *map(pack_varint, numbers),
        struct.pack("<4f", camera.fx, camera.fy, camera.cx, camera.cy),
        pack_text(header.body) + pack_varint(len(header.shape)) + header.shape.astype("<f2").tobytes(),
        pack_varint(header.step_um) + pack_varint(header.group_frames),
        pack_varint(len(header.networks)),
        *(bytes([NETWORKS[name]]) + digest for name, digest in header.networks.items()),
        pack_varint(len(parts)),
        *(
            bytes([KINDS[name]]) + pack_varint(len(data)) + struct.pack("<I", zlib.crc32(data))
            for name, data in parts
        ),
    ]
    payload = b"".join(payload)
    head = b"\x89S2D\x01" + struct.pack("<H", len(payload)) + payload
    return head + struct.pack("<I", zlib.crc32(head))


def pack_1(header, parts):
    """Return a whole file of version 1."""
    return pack_header_1(header, parts) + b"".join(data for _, data in parts)


def parts_of(path):
    """Return a file's parts of its first person and its shot, their names and bytes."""
    data = path.read_bytes()
    return [(part.name, data[part.start : part.end]) for part in S2DFile.open(path).parts]


def as_version_1(path):
    """Return a file of one person, as it is written now, as version 1 held the same."""
    header, parts = S2DFile.open(path).header, []
    for name, data in parts_of(path):
        if name == "keypoints":
            reader = ByteReader(data)
            sizes = [reader.varint() for _ in range(header.groups)]
            parts += [("keypoints", reader.rest()), ("index", b"".join(map(pack_varint, sizes)))]
        else:
            parts.append((name, data))
    return pack_1(header, parts)
