# SPDX-License-Identifier: GPL-3.0-or-later
"""The small fields that ``.s2d`` files are made of, read from bytes that may be damaged."""

from __future__ import annotations

import struct
import zlib

from ...models.errors import InputError


def pack_varint(value: int) -> bytes:
    """Pack LEB128: seven bits a byte, least significant first, the high bit says that more follow."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def pack_text(value: str) -> bytes:
    """Pack ASCII text after its length."""
    return pack_varint(len(value)) + value.encode("ascii")


def deflate(data: bytes) -> bytes:
    """Compress to a raw deflate stream, without zlib's header and checksum."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def inflate(data: bytes, size: int, what: str) -> bytes:
    """Return the ``size`` bytes that a raw deflate stream holds, and never allocate more.

    Raises InputError, which names ``what`` it is, for data that are no such stream.
    """
    unpacker = zlib.decompressobj(-15)
    try:
        unpacked = unpacker.decompress(data, size + 1)
    except zlib.error:
        unpacked = b""
    if len(unpacked) != size or not unpacker.eof or unpacker.unused_data:
        raise InputError("damaged", f"{what} cannot be decoded.")
    return unpacked


class ByteReader:
    """Takes fields off the front of bytes that may be cut short; InputError when they are."""

    def __init__(self, data: bytes) -> None:
        """Read from the start of ``data``."""
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        if size > len(self._data) - self._at:
            raise InputError("damaged", "the file is damaged: a field runs past its end.")
        self._at += size
        return self._data[self._at - size : self._at]

    def varint(self) -> int:
        """Return the next LEB128 number, of at most five bytes."""
        value = 0
        for shift in range(0, 35, 7):
            (byte,) = self.take(1)
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise InputError("damaged", "the file is damaged: a number is too large.")

    def unpack(self, layout: str) -> tuple:
        """Return the next fields of a little-endian ``struct`` layout."""
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))

    def text(self) -> str:
        """Return the next ASCII text, which follows its length."""
        try:
            return self.take(self.varint()).decode("ascii")
        except UnicodeDecodeError:
            raise InputError("damaged", "the file is damaged: a name is not ASCII.") from None

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.take(len(self._data) - self._at)
