# SPDX-License-Identifier: GPL-3.0-or-later
"""The focal length that phones write into their files."""

import struct

import numpy as np
import pytest
from sparse2dense.inference.capture.focal_length import camera_of, film_fov
from sparse2dense.inference.film.reader import VideoReader

from ..film.made_films import make

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
    return make(tmp_path / "clip.mp4", 1, rate=25)


def add_meta(path, meta):
    data = bytearray(path.read_bytes())
    at = data.rindex(b"moov") - 4
    (size,) = struct.unpack(">I", data[at : at + 4])
    data[at : at + 4] = struct.pack(">I", size + len(meta))
    data[at + size : at + size] = meta
    path.write_bytes(data)


@pytest.mark.parametrize("value", [(1, b"27"), (22, b"\0\0\0\x1b"), (23, struct.pack(">f", 27))])
def test_a_phones_focal_length_is_used(video, value):
    add_meta(video, phone_meta(value))
    camera = camera_of(VideoReader(video, size=96), None)
    assert camera.fx == pytest.approx(27 * np.hypot(160, 96) / np.hypot(36, 24))
    assert (camera.cx, camera.cy) == (80, 48)
    told = film_fov(VideoReader(video, size=96))
    assert told == pytest.approx(np.degrees(2 * np.arctan(80 / camera.fx)))
    assert camera_of(VideoReader(video, size=96), 90).fx == pytest.approx(80)


@pytest.mark.parametrize("value", [(1, b"soft"), (1, b"nan"), (1, b"2"), (23, struct.pack(">f", 1e9))])
def test_nonsense_in_the_file_is_passed_over(video, value):
    add_meta(video, phone_meta(value))
    assert camera_of(VideoReader(video, size=96), None).fx == pytest.approx(80 / np.tan(np.radians(30)))
    assert film_fov(VideoReader(video, size=96)) is None


def test_a_film_without_one_is_seen_with_the_common_field_of_view(video):
    assert camera_of(VideoReader(video, size=96), None).fx == pytest.approx(80 / np.tan(np.radians(30)))
