# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of strangers: other bytes in a ``.s2d``, under lengths and checksums that are as they should be."""

import struct
import tracemalloc
import zlib

import numpy as np
from sparse2dense.inference.format.fields import pack_varint
from sparse2dense.models.errors import InputError

from . import second_decoder


def payload_of(data: bytes) -> bytes:
    """Return the payload of a file's header."""
    return data[7 : 7 + struct.unpack_from("<H", data, 5)[0]]


def assert_liars_get_no_memory(path, read):
    """Check random payloads under a right checksum: read, or one InputError, and never much memory."""
    rng = np.random.default_rng(11)
    data = path.read_bytes()
    payload = payload_of(data)
    tracemalloc.start()
    refused = 0
    for _ in range(40):
        changed = bytearray(payload)
        for _ in range(rng.integers(1, 4)):
            changed[rng.integers(len(changed))] = rng.integers(256)
        path.write_bytes(reseal(data, bytes(changed)))
        try:
            read(path)
        except InputError:
            refused += 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused > 20
    assert peak < 60e6


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


def add_part(data: bytes, person: int | None, kind: int, version: int, content: bytes) -> bytes:
    """Return a file with an optional part more: of a ``person``, or of the shot."""
    shot, start = second_decoder.read_head(data)
    table, before = shot["tables"][person], [None, *range(person + 1)] if person is not None else [None]
    at = start + sum(entry["length"] for entry in shot["table"] if entry["person"] in before)
    entry = bytes([kind, version]) + pack_varint(len(content)) + struct.pack("<I", zlib.crc32(content))
    entries = data[table.start + 1 : table.stop] + entry
    payload = data[7 : table.start] + bytes([data[table.start] + 1]) + entries + data[table.stop : start - 4]
    return reseal(data[:at] + content + data[at:], payload)
