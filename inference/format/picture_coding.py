# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures in a ``.s2d`` file: references, person masks and background plate, to bytes and back.

A picture is an AVIF still without its container: 275 bytes of boxes would be an eighth of a small
reference picture, and all of them follow from the canvas size. They are put back before decoding, so any
AVIF decoder serves. The sequence header is read first, because its size is what a decoder allocates.
"""

from __future__ import annotations

import contextlib
import struct

import cv2
import numpy as np

from ...models.errors import InputError, S2DError
from .fields import ByteReader, deflate, inflate

MAX_SIDE = 4096
MIN_TEXTURE_SIDE, MAX_TEXTURE_SIDE = 64, 2048  # pixels
_MASK_CELLS = 64  # mask cells across the short side
_SEQUENCE_HEADER, _TEMPORAL_DELIMITER, _FRAME = 1, 2, 6  # AV1 OBU types (AV1 specification, 6.2.2)


def encode_picture(picture: np.ndarray, quality: int) -> bytes:
    """Code ``(H, W, 3)`` uint8 RGB as one AV1 still picture, ``quality`` 0 (smallest) to 100.

    Returns the sequence header and frame OBUs of the AVIF that libavif makes.
    """
    avif = _avif_file(picture, quality)
    obus = avif[avif.index(b"mdat") + 4 :]
    kept = b"".join(obu for kind, obu in _split_obus(obus) if kind != _TEMPORAL_DELIMITER)
    shown = _decoded(avif)
    if shown is None or not np.array_equal(shown, decode_picture(kept, *_size(picture))):
        raise S2DError(
            "no_avif", "This OpenCV writes AVIF pictures in another way: install opencv-python-headless 5."
        )
    return kept


def decode_picture(data: bytes, width: int, height: int) -> np.ndarray:
    """Decode what :func:`encode_picture` made to ``(height, width, 3)`` uint8 RGB.

    Raises InputError, before anything is allocated, if the picture's own header names another size.
    """
    obus = _split_obus(data)
    if [kind for kind, _ in obus] != [_SEQUENCE_HEADER, _FRAME]:
        raise InputError("damaged", "a picture is not one AV1 still picture.")
    level, coded_width, coded_height = _read_sequence_header(obus[0][1])
    if (coded_width, coded_height) != (width, height):
        raise InputError(
            "damaged", f"a picture is {coded_width}x{coded_height} where the header says {width}x{height}."
        )
    picture = _decoded(_avif(data, width, height, level))
    if picture is None or picture.shape != (height, width, 3):
        raise InputError(
            "damaged", "a picture cannot be decoded (damaged, or this OpenCV has no AVIF decoder)."
        )
    return picture


def encode_mask(mask: np.ndarray) -> bytes:
    """Code a person mask ``(H, W)`` uint8 coarsely: one bit a cell, 64 cells across the short side."""
    columns, rows = _mask_size(*_size(mask))
    cells = cv2.resize(mask, (columns, rows), interpolation=cv2.INTER_AREA) > 127
    changes = cells ^ np.vstack([np.zeros((1, columns), bool), cells[:-1]])
    return deflate(np.packbits(changes).tobytes())


def decode_mask(data: bytes, width: int, height: int) -> np.ndarray:
    """Decode what :func:`encode_mask` made to ``(height, width)`` uint8, smooth from 0 to 255 (person)."""
    columns, rows = _mask_size(width, height)
    packed = inflate(data, (columns * rows + 7) // 8, "a person mask")
    changes = np.unpackbits(np.frombuffer(packed, np.uint8), count=columns * rows).reshape(rows, columns)
    cells = np.bitwise_xor.accumulate(changes, axis=0) * np.uint8(255)
    return cv2.resize(cells, (width, height), interpolation=cv2.INTER_LINEAR)


def encode_plate(
    plate: np.ndarray, mask: np.ndarray, quality: int, origin: tuple[int, int] | None = None
) -> bytes:
    """Code the background ``plate`` ``(H, W, 3)`` where the person of the decoded ``mask`` hides it.

    A plate that moves with the camera is given with its ``origin``, the place (left, top) of its first pixel
    in the canvas; it covers the canvas and may reach beyond it, which is coded too.
    Returns ``b""`` when there is nothing to code, else the box (``<4H``: left, top, width, height, with an
    origin ``<2h2H``) and its picture. InputError for a plate that the format cannot hold.
    """
    left, top = origin or (0, 0)
    _check_plate(left, top, *_size(plate), *_size(mask))
    hidden = _hidden_on_plate(mask, left, top, *_size(plate))
    if not hidden.any():
        return b""
    column, row, crop = _cut(plate, hidden)
    place = column + left, row + top, *_size(crop)
    return struct.pack("<4H" if origin is None else "<2h2H", *place) + encode_picture(crop, quality)


def decode_plate(
    data: bytes, picture: np.ndarray, mask: np.ndarray, moving: bool = False
) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the whole background uint8 RGB: the plate where ``mask`` hides it, else ``picture``.

    ``picture`` ``(H, W, 3)`` and ``mask`` are the decoded reference's; the seam is feathered over one mask
    cell. A plate that is ``moving`` with the camera may be larger than the canvas; the place (left, top) of
    its first pixel in the canvas is returned with it, (0, 0) for others.
    """
    width, height = _size(picture)
    reader = ByteReader(data)
    left, top, box_width, box_height = reader.unpack("2h2H" if moving else "4H")
    # The plate is the canvas and the box, and what a rectangle around both has besides.
    x, y = min(left, 0), min(top, 0)
    whole = max(left + box_width, width) - x, max(top + box_height, height) - y
    if not box_width or not box_height or (not moving and whole != (width, height)):
        raise InputError("damaged", "the background plate lies outside the canvas.")
    _check_plate(x, y, *whole, width, height)
    crop = decode_picture(reader.rest(), box_width, box_height)
    hidden = _hidden_on_plate(mask, x, y, *whole)
    background = _bordered(picture, x, y, *whole, cv2.BORDER_REPLICATE)
    return _put(crop, background, left - x, top - y, hidden, _cell(width, height)), (x, y)


def encode_crop(picture: np.ndarray, mask: np.ndarray, quality: int) -> bytes:
    """Code what a reference ``picture`` ``(H, W, 3)`` shows of the person of the decoded ``mask``.

    Returns the box (``<4H``: left, top, width, height) and its picture.
    """
    shown = _grown(mask, _cell(*_size(mask)))
    if not shown.any():
        shown[:] = True
    left, top, crop = _cut(picture, shown)
    return struct.pack("<4H", left, top, *_size(crop)) + encode_picture(crop, quality)


def decode_crop(data: bytes, background: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a reference picture ``(H, W, 3)`` uint8: what :func:`encode_crop` coded over its ``background``.

    ``mask`` is the decoded one; the seam is feathered over one mask cell.
    """
    width, height = _size(background)
    reader = ByteReader(data)
    left, top, box_width, box_height = reader.unpack("4H")
    if not (0 < box_width <= width - left and 0 < box_height <= height - top):
        raise InputError("damaged", "a cropped reference picture lies outside the canvas.")
    crop = decode_picture(reader.rest(), box_width, box_height)
    cell = _cell(width, height)
    return _put(crop, background, left, top, _grown(mask, cell), cell)


def encode_texture(texture: np.ndarray, quality: int) -> bytes:
    """Code a picture of the body's UV map, ``(S, S, 3)`` uint8 RGB: its side (``<H``) and the picture.

    Raises InputError ``bad_texture`` for one that is not square or of another size than can be.
    """
    side = len(texture)
    if texture.shape != (side, side, 3) or not MIN_TEXTURE_SIDE <= side <= MAX_TEXTURE_SIDE:
        sides = f"{MIN_TEXTURE_SIDE} to {MAX_TEXTURE_SIDE} pixels"
        raise InputError("bad_texture", f"a texture of shape {texture.shape}: it is square, of {sides}.")
    return struct.pack("<H", side) + encode_picture(texture, quality)


def decode_texture(data: bytes) -> np.ndarray:
    """Decode what :func:`encode_texture` made to ``(S, S, 3)`` uint8 RGB.

    Raises InputError, before anything is allocated, if its size is none that can be.
    """
    reader = ByteReader(data)
    (side,) = reader.unpack("H")
    if not MIN_TEXTURE_SIDE <= side <= MAX_TEXTURE_SIDE:
        raise InputError("damaged", f"the body's texture claims {side} pixels a side.")
    return decode_picture(reader.rest(), side, side)


def _cut(picture: np.ndarray, known: np.ndarray) -> tuple[int, int, np.ndarray]:
    """Return left, top and the part of ``picture`` that holds all that is ``known``, its rest filled."""
    rows, columns = np.flatnonzero(known.any(1)), np.flatnonzero(known.any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return int(columns[0]), int(rows[0]), _fill_smoothly(picture[box], known[box])


def _put(
    crop: np.ndarray, background: np.ndarray, left: int, top: int, where: np.ndarray, cell: int
) -> np.ndarray:
    """Return ``background`` with ``crop`` in its place ``where`` that is so, feathered over a ``cell``."""
    side = 2 * cell + 1
    inner = cv2.erode(
        where.astype(np.float32), np.ones((side, side), np.uint8), borderType=cv2.BORDER_REPLICATE
    )
    box = np.s_[top : top + crop.shape[0], left : left + crop.shape[1]]
    alpha = cv2.blur(inner, (side, side), borderType=cv2.BORDER_REPLICATE)[box][..., None]
    picture = background.copy()
    picture[box] = np.rint(crop * alpha + background[box] * (1 - alpha)).astype(np.uint8)
    return picture


def _check_plate(left: int, top: int, width: int, height: int, canvas_width: int, canvas_height: int) -> None:
    """Raise InputError unless the plate covers the canvas and is no larger than a picture may be."""
    covers = left <= 0 and top <= 0 and left + width >= canvas_width and top + height >= canvas_height
    if not covers or max(width, height) > MAX_SIDE:
        raise InputError(
            "bad_plate", f"the background plate is {width}x{height} at {left}, {top}: {MAX_SIDE} is the most."
        )


def _hidden_on_plate(mask: np.ndarray, left: int, top: int, width: int, height: int) -> np.ndarray:
    """Return where the reference does not show the background of a plate, bool: hidden, or not in it."""
    return _grown(_bordered(mask, left, top, width, height, cv2.BORDER_CONSTANT), _cell(*_size(mask)))


def _bordered(picture: np.ndarray, left: int, top: int, width: int, height: int, kind: int) -> np.ndarray:
    """Put a canvas's picture in its place on a plate; around it is what ``kind`` says, or 255."""
    below, right = height + top - picture.shape[0], width + left - picture.shape[1]
    return cv2.copyMakeBorder(picture, -top, below, -left, right, kind, value=255)


def _grown(mask: np.ndarray, cell: int) -> np.ndarray:
    return cv2.dilate(mask, np.ones((4 * cell + 1, 4 * cell + 1), np.uint8)) > 0


def _size(picture: np.ndarray) -> tuple[int, int]:
    return picture.shape[1], picture.shape[0]


def _cell(width: int, height: int) -> int:
    return max(1, min(width, height) // _MASK_CELLS)


def _mask_size(width: int, height: int) -> tuple[int, int]:
    cell = _cell(width, height)
    return -(-width // cell), -(-height // cell)


def _fill_smoothly(picture: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Replace the pixels that are not ``known`` by a blur of those that are, so that they cost few bits."""
    weight = known.astype(np.float32)
    colour = picture.astype(np.float32) * weight[..., None]
    filled, missing = colour.copy(), ~known
    reach = 2
    while missing.any():
        side = 2 * reach + 1
        total = cv2.blur(weight, (side, side), borderType=cv2.BORDER_CONSTANT)
        spread = cv2.blur(colour, (side, side), borderType=cv2.BORDER_CONSTANT)
        found = missing & (total > 1e-6)
        filled[found] = spread[found] / total[found][:, None]
        missing &= ~found
        reach *= 2
    return np.clip(np.rint(filled), 0, 255).astype(np.uint8)


def _avif_file(picture: np.ndarray, quality: int) -> bytes:
    options = [cv2.IMWRITE_AVIF_QUALITY, quality, cv2.IMWRITE_AVIF_SPEED, 1]
    with contextlib.suppress(cv2.error):
        written, avif = cv2.imencode(".avif", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
        if written:
            return avif.tobytes()
    raise S2DError("no_avif", "This OpenCV cannot write AVIF pictures: install opencv-python-headless 5.")


def _decoded(avif: bytes) -> np.ndarray | None:
    """Return the RGB picture of an AVIF file, None for one that cannot be decoded."""
    try:
        bgr = cv2.imdecode(np.frombuffer(avif, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if bgr is None else cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _split_obus(data: bytes) -> list[tuple[int, bytes]]:
    """Split AV1 open bitstream units (AV1 specification, 5.3); every unit must carry its size."""
    obus: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data) and len(obus) < 8:
        header, start, size = data[at], at + 1, 0
        if header & 0b10000111 != 0b00000010:
            raise InputError("damaged", "a picture is not an AV1 still picture.")
        for shift in range(0, 28, 7):
            if start >= len(data):
                raise InputError("damaged", "a picture is cut short.")
            byte, start = data[start], start + 1
            size |= (byte & 127) << shift
            if byte < 128:
                break
        if start + size > len(data):
            raise InputError("damaged", "a picture is cut short.")
        obus.append((header >> 3 & 15, data[at : start + size]))
        at = start + size
    return obus


def _read_sequence_header(obu: bytes) -> tuple[int, int, int]:
    """Return (level, width, height) of a reduced still picture header (AV1 specification, 5.5.1)."""
    bits = int.from_bytes(obu[2:12].ljust(10, b"\0"), "big")
    position = 80

    def take(count: int) -> int:
        nonlocal position
        position -= count
        return bits >> position & (1 << count) - 1

    profile, still, reduced, level = take(3), take(1), take(1), take(5)
    if (profile, still, reduced) != (0, 1, 1):
        raise InputError("damaged", "a picture is not an AV1 still picture of the main profile.")
    width_bits, height_bits = take(4) + 1, take(4) + 1
    return level, take(width_bits) + 1, take(height_bits) + 1


def _avif(obus: bytes, width: int, height: int, level: int) -> bytes:
    """Wrap the OBUs of one 8-bit 4:2:0 picture in the boxes of AVIF (ISO/IEC 23008-12, AV1-ISOBMFF)."""

    def box(kind: bytes, payload: bytes) -> bytes:
        return struct.pack(">I", 8 + len(payload)) + kind + payload

    def meta(offset: int) -> bytes:
        properties = (
            box(b"ispe", struct.pack(">III", 0, width, height))
            + box(b"pixi", bytes([0, 0, 0, 0, 3, 8, 8, 8]))
            + box(b"av1C", bytes([0x81, level, 0x0C, 0]))
            + box(b"colr", b"nclx" + struct.pack(">HHHB", 1, 13, 6, 0x80))
        )
        return box(
            b"meta",
            bytes(4)
            + box(b"hdlr", bytes(8) + b"pict" + bytes(13))
            + box(b"pitm", struct.pack(">IH", 0, 1))
            + box(b"iloc", struct.pack(">IHHHHHII", 0, 0x4400, 1, 1, 0, 1, offset, len(obus)))
            + box(
                b"iinf",
                struct.pack(">IH", 0, 1) + box(b"infe", struct.pack(">IHH", 2 << 24, 1, 0) + b"av01\0"),
            )
            + box(
                b"iprp",
                box(b"ipco", properties)
                + box(b"ipma", struct.pack(">IIHB", 0, 1, 1, 4) + bytes([1, 2, 0x83, 4])),
            ),
        )

    head = box(b"ftyp", b"avif" + bytes(4) + b"avifmif1miafMA1B")
    return head + meta(len(head) + len(meta(0)) + 8) + box(b"mdat", obus)
