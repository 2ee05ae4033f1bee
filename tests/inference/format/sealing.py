# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of strangers: other bytes in a ``.s2d``, under lengths and checksums that are as they should be."""

import struct
import zlib


def payload_of(data: bytes) -> bytes:
    """Return the payload of a file's header."""
    return data[7 : 7 + struct.unpack_from("<H", data, 5)[0]]


def reseal(data: bytes, payload: bytes) -> bytes:
    """Put another payload in a file's header."""
    size = struct.unpack_from("<H", data, 5)[0]
    head = data[:5] + struct.pack("<H", len(payload)) + payload
    return head + struct.pack("<I", zlib.crc32(head)) + data[7 + size + 4 :]


def replace_part(data: bytes, start: int, old: bytes, new: bytes) -> bytes:
    """Put other bytes, as many, in the place of the part at ``start``."""
    assert data[start : start + len(old)] == old and len(old) == len(new)
    sums = (struct.pack("<I", zlib.crc32(part)) for part in (old, new))
    payload = payload_of(data).replace(*sums)
    return reseal(data[:start] + new + data[start + len(old) :], payload)
