# SPDX-License-Identifier: GPL-3.0-or-later
"""The focal length that phones write into their files."""

import struct
from fractions import Fraction

import numpy as np
import pytest
from sparse2dense.inference.capture.focal_length import camera_of, film_focal_length
from sparse2dense.inference.film.reader import VideoReader
from sparse2dense.inference.film.writer import VideoWriter

KEY = b"com.apple.quicktime.camera.focal_length.35mm_equivalent"


def box(kind, content):
    return struct.pack(">I4s", 8 + len(content), kind) + content


def phone_meta(value):
    names = [b"com.apple.quicktime.make", KEY]
    keys = b"".join(box(b"mdta", name) for name in names)
    items = b"".join(
        struct.pack(">II", 24 + len(data), index) + box(b"data", struct.pack(">II", kind, 0) + data)
        for index, (kind, data) in enumerate([(1, b"Apple"), value], start=1)
    )
    handler = box(b"hdlr", bytes(8) + b"mdta" + bytes(13))
    return box(
        b"meta", handler + box(b"keys", struct.pack(">II", 0, len(names)) + keys) + box(b"ilst", items)
    )


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, Fraction(25), 160, 96) as writer:
        writer.write(np.zeros((96, 160, 3), np.uint8))
    return path


def add_meta(path, meta):
    data = bytearray(path.read_bytes())
    at = data.rindex(b"moov") - 4
    (size,) = struct.unpack(">I", data[at : at + 4])
    data[at : at + 4] = struct.pack(">I", size + len(meta))
    data[at + size : at + size] = meta
    path.write_bytes(data)


@pytest.mark.parametrize("value", [(1, b"27"), (22, b"\0\0\0\x1b"), (23, struct.pack(">f", 27))])
def test_a_phones_focal_length_is_used(video, value):
    assert film_focal_length(video) is None
    add_meta(video, phone_meta(value))
    assert film_focal_length(video) == 27
    camera = camera_of(VideoReader(video, size=96), None)
    assert camera.fx == pytest.approx(27 * np.hypot(160, 96) / np.hypot(36, 24))
    assert (camera.cx, camera.cy) == (80, 48)
    assert camera_of(VideoReader(video, size=96), 90).fx == pytest.approx(80)


def test_nonsense_in_the_file_is_passed_over(video):
    add_meta(video, phone_meta((1, b"soft")))
    assert film_focal_length(video) is None
    assert camera_of(VideoReader(video, size=96), None).fx == pytest.approx(80 / np.tan(np.radians(30)))
    for length in range(0, video.stat().st_size, 37):
        cut = video.with_name("cut.mp4")
        cut.write_bytes(video.read_bytes()[:length])
        assert film_focal_length(cut) is None
