# SPDX-License-Identifier: GPL-3.0-or-later
"""Films whose frames show their number, and changes to what an MP4 file says of them."""

import struct
from fractions import Fraction

import numpy as np
from sparse2dense.inference.film.writer import VideoWriter

WIDTH, HEIGHT = 160, 96


def numbered(index, width=WIDTH, height=HEIGHT):
    """A frame that shows its number as six bright or dark bars, over a bright top left corner."""
    frame = np.full((height, width, 3), 40, np.uint8)
    for bit in range(6):
        if index >> bit & 1:
            frame[height // 2 :, bit * width // 6 : (bit + 1) * width // 6] = 220
    frame[: height // 4, : width // 4] = (250, 30, 30)
    return frame


def number_of(frame):
    """Read the number that a frame shows."""
    low = frame[frame.shape[0] * 3 // 4]
    bars = [low[int((bit + 0.5) * frame.shape[1] / 6)].mean() > 130 for bit in range(6)]
    return sum(1 << bit for bit, bright in enumerate(bars) if bright)


def write(path, count=30, fps=Fraction(30000, 1001)):
    """Write a film of so many frames."""
    with VideoWriter(path, fps, WIDTH, HEIGHT) as writer:
        for index in range(count):
            writer.write(numbered(index))
    return path


def turn(path, degrees):
    """Say in an MP4 file that its pictures are to be turned clockwise."""
    one = 1 << 16
    matrix = {90: (0, one, -one, 0), 180: (-one, 0, 0, -one), 270: (0, -one, one, 0)}[degrees]
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = matrix
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, HEIGHT << 16, 0, 1 << 30)
    path.write_bytes(data)


def set_durations(path, entries):
    """Replace an MP4's table of durations; ``entries`` are (frames, multiples of the first duration)."""
    data = bytearray(path.read_bytes().replace(b"edts", b"free"))  # the edit list names the old duration
    at = data.index(b"stts")
    count, _, unit = struct.unpack(">3I", data[at + 8 : at + 20])
    table = b"".join(struct.pack(">II", frames, round(times * unit)) for frames, times in entries)
    data[at + 8 : at + 12] = struct.pack(">I", len(entries))
    _replace(data, at + 12, 8 * count, table, (b"stts", b"stbl", b"minf", b"mdia", b"trak", b"moov"))
    path.write_bytes(data)


def set_pixel_aspect(path, across, up):
    """Say in an MP4 file how wide its pixels are for their height."""
    data = bytearray(path.read_bytes())
    at = data.index(b"esds") - 4
    box = struct.pack(">I4sII", 16, b"pasp", across, up)
    kept = (b"mp4v", b"stsd", b"stbl", b"minf", b"mdia", b"trak", b"moov")
    _replace(data, at, 0, box, kept)
    path.write_bytes(data)


def lose_last_frames(path, count):
    """Make the last pictures of an MP4 file zeros, as a copy that broke off and was padded has them."""
    data = bytearray(path.read_bytes())
    at = data.index(b"stsz")
    (frames,) = struct.unpack(">I", data[at + 12 : at + 16])
    sizes = struct.unpack(f">{frames}I", data[at + 16 : at + 16 + 4 * frames])
    end = data.index(b"mdat") + 4 + sum(sizes)
    lost = sum(sizes[frames - count :])
    data[end - lost : end] = bytes(lost)
    path.write_bytes(data)


def _replace(data, at, size, new, boxes):
    """Put ``new`` in the place of ``size`` bytes; the boxes around it change their sizes by as much."""
    data[at : at + size] = new
    for box in boxes:
        size_at = data.rindex(box, 0, at) - 4
        (length,) = struct.unpack(">I", data[size_at : size_at + 4])
        data[size_at : size_at + 4] = struct.pack(">I", length + len(new) - size)
