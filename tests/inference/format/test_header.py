# SPDX-License-Identifier: GPL-3.0-or-later
"""The header: what it carries, its limits from both sides, and headers from strangers."""

import re
import struct
import zlib
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from sparse2dense.inference.format import header as format_header
from sparse2dense.inference.format.fields import pack_varint
from sparse2dense.inference.format.header import Header, pack_header, unpack_header
from sparse2dense.inference.format.picture_coding import MAX_SIDE
from sparse2dense.models.camera import Camera
from sparse2dense.models.errors import InputError

from .sealing import payload_of, reseal

DATA = Path(__file__).parents[2] / "data"

MOTION = [("keypoints", bytes(40)), ("index", b"\x28")]
PICTURES = [("reference", b"first"), ("reference", b"second"), ("plate", b"plate")]


@pytest.fixture
def header():
    return Header(
        frames=320,
        fps=Fraction(30000, 1001),
        width=136,
        height=200,
        camera=Camera(210.5, 211.0, 68.0, 99.5),
        body="anny",
        shape=np.array([-1.5, 0.25, 2], np.float32),
        step_um=4000,
        group_frames=300,
        networks={"vertex_predictor": b"\1\2\3\4", "generator": b"abcd"},
    )


def table(*entries):
    """Pack a table of parts: codes and bytes that are claimed."""
    claims = (bytes([code]) + pack_varint(size) + bytes(4) for code, size in entries)
    return pack_varint(len(entries)) + b"".join(claims)


def with_table(header, *entries):
    """Pack a header over a table that is not its own."""
    head = pack_header(header, [])
    return reseal(head, payload_of(head)[:-1] + table(*entries))


# ---- what it carries -------------------------------------------------------------------------


def test_a_header_comes_back(header):
    parts = [*PICTURES, *MOTION]
    head = pack_header(header, parts)
    back, table_of_parts = unpack_header(head + b"what follows")
    for field in fields(Header):
        if field.name != "shape":
            assert getattr(back, field.name) == getattr(header, field.name), field.name
    np.testing.assert_array_equal(back.shape, header.shape)
    assert back.shape.dtype == np.float32
    assert [(part.name, part.size, part.crc) for part in table_of_parts] == [
        (name, len(data), zlib.crc32(data)) for name, data in parts
    ]
    starts = len(head) + np.cumsum([0, 5, 6, 5, 40, 1])
    assert [part.start for part in table_of_parts] == starts[:-1].tolist()
    assert [part.end for part in table_of_parts] == starts[1:].tolist()


@pytest.mark.parametrize("flag", ["moving_camera", "moving_plate", "cropped", "spaced"])
def test_each_flag_is_a_bit_of_its_own(header, flag):
    motion = [("camera_motion", b"")] if flag == "moving_plate" else []
    head = pack_header(replace(header, **{flag: True}), [*PICTURES, *motion, *MOTION])
    back, _ = unpack_header(head)
    flags = {name: getattr(back, name) for name in ("moving_camera", "moving_plate", "cropped", "spaced")}
    assert [name for name, is_set in flags.items() if is_set] == [flag]
    assert payload_of(head)[1] == 1 << list(flags).index(flag)  # bits 0 to 3, as the document has it


def test_the_last_group_may_be_shorter(header):
    groups = [replace(header, frames=frames).groups for frames in (1, 299, 300, 301, 600, 601)]
    assert groups == [1, 1, 1, 2, 2, 3]


# ---- limits ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "lowest", "highest", "below", "above", "said"),
    [
        ("frames", 1, 1_000_000, 0, 1_000_001, "frames"),
        (
            "fps",
            Fraction(1),
            Fraction(1000),
            Fraction(999, 1000),
            Fraction(1_000_001, 1000),
            "frames a second",
        ),
        ("width", 16, 4096, 15, 4097, "canvas"),
        ("height", 16, 4096, 15, 4097, "canvas"),
        ("step_um", 100, 100_000, 99, 100_001, "step"),
        ("group_frames", 1, 10_000, 0, 10_001, "groups"),
    ],
)
def test_limits_from_both_sides(header, field, lowest, highest, below, above, said):
    for value in (lowest, highest):
        assert getattr(replace(header, **{field: value}), field) == value
    for value in (below, above):
        with pytest.raises(InputError, match=said) as caught:
            replace(header, **{field: value})
        assert caught.value.code == "bad_header"
        assert "\n" not in str(caught.value)


def test_a_frame_rate_is_a_simple_fraction(header):
    most = (1 << 31) - 1
    replace(header, fps=Fraction(most, 1 << 30))
    with pytest.raises(InputError, match="simple fraction"):
        replace(header, fps=Fraction(most + 2, 1 << 30))
    payload = payload_of(pack_header(header, MOTION))
    rate = pack_varint(30000) + pack_varint(1001)
    lying = reseal(pack_header(header, MOTION), payload.replace(rate, pack_varint(30000) + b"\0"))
    with pytest.raises(InputError, match="no fraction"):
        unpack_header(lying)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("number", ["fx", "fy", "cx", "cy"])
def test_a_camera_of_no_number(header, number, value):
    with pytest.raises(InputError, match="camera"):
        replace(header, camera=replace(header.camera, **{number: value}))
    right = struct.pack("<f", getattr(header.camera, number))
    head = pack_header(header, MOTION)
    assert payload_of(head).count(right) == 1
    wrong = payload_of(head).replace(right, struct.pack("<f", value))
    with pytest.raises(InputError, match="camera is impossible"):
        unpack_header(reseal(head, wrong))


def test_a_camera_looks_forward(header):
    for number in ("fx", "fy"):
        for value in (0.0, -200.0):
            with pytest.raises(InputError, match="camera"):
                replace(header, camera=replace(header.camera, **{number: value}))
    replace(header, camera=Camera(0.5, 0.5, -20.0, 0.0))


def test_a_shape_is_finite_and_short(header):
    replace(header, shape=np.zeros(400, np.float32))
    for shape in (np.zeros(401, np.float32), np.float32([0, np.nan]), np.float32([np.inf])):
        with pytest.raises(InputError, match="shape"):
            replace(header, shape=shape)


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("reference", 8 << 20),
        ("plate", 8 << 20),
        ("keypoints", 128 << 20),
        ("index", 1 << 20),
        ("camera_motion", 32 << 20),
    ],
)
def test_no_part_is_larger_than_a_decoder_reads(header, name, most):
    codes = {"reference": 1, "plate": 2, "keypoints": 3, "index": 4, "camera_motion": 5}
    sizes = {"reference": 9, "plate": 9, "keypoints": 40, "index": 1, "camera_motion": 9}
    moving = replace(header, moving_plate=True)

    def claimed(size):
        return with_table(moving, *((codes[part], (sizes | {name: size})[part]) for part in sizes))

    _, parts = unpack_header(claimed(most))
    assert {part.name: part.size for part in parts} == sizes | {name: most}
    with pytest.raises(InputError, match=f"impossible part.*{most + 1} bytes"):
        unpack_header(claimed(most + 1))
    if most < 10 << 20:
        assert pack_header(header, [(name, bytes(most))])
        with pytest.raises(InputError, match=f"{name} part is too large") as caught:
            pack_header(header, [(name, bytes(most + 1))])
        assert caught.value.code == "too_large"


def test_a_header_fits_where_it_is_looked_for(header):
    """4,096 bytes are read of a file: a header of so many is written, one of more is not."""
    size = len(pack_header(header, MOTION))
    longest = replace(header, body="a" * (4096 - size + len("anny") - 1))  # its length takes two bytes
    head = pack_header(longest, MOTION)
    assert len(head) == 4096
    assert unpack_header(head)[0].body == longest.body
    with pytest.raises(InputError, match="name is too long"):
        pack_header(replace(longest, body=longest.body + "a"), MOTION)


def test_limits_are_what_the_document_says():
    document = (Path(__file__).parents[3] / "docs" / "FORMAT.md").read_text(encoding="utf-8")
    assert f"1 to {format_header.MAX_FRAMES:,}" in document
    assert f"{format_header.MIN_SIDE} to {MAX_SIDE:,}" in document
    assert f"at most {format_header.MAX_SHAPE}" in document
    assert f"{format_header.MIN_STEP_UM} to {format_header.MAX_STEP_UM:,}" in document
    assert f"1 to {format_header.MAX_GROUP_FRAMES:,}" in document
    assert f"0 to {format_header.MAX_REFERENCES}" in document
    assert f"{format_header.MAX_HEADER:,} bytes" in document
    for name, size in format_header.MAX_PART_BYTES.items():
        assert re.search(rf"\| {name.replace('_', ' ')} \|.*\| {size >> 20} MiB \|", document)


# ---- headers from strangers ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"", "not_s2d", "not a .s2d file"),
        (b"\x89S2", "not_s2d", "not a .s2d file"),
        (b"\x89S2D", "damaged", "past its end"),
        (b"GIF89a" + bytes(500), "not_s2d", "not a .s2d file"),
        (b"\x89S2D\x02" + bytes(500), "future_version", "version 2 .s2d file.*reads 1"),
        (b"\x89S2D\0" + bytes(500), "future_version", "version 0"),
        (b"\x89S2D\x01\xff\xff" + bytes(500), "damaged", "past its end"),
        (b"\x89S2D\x01\x04\x00" + bytes(500), "damaged", "checksum"),
    ],
)
def test_foreign_and_future_files(content, code, said):
    with pytest.raises(InputError, match=said) as caught:
        unpack_header(content)
    assert caught.value.code == code


def test_every_byte_of_a_header_is_under_its_checksum(header):
    head = pack_header(header, MOTION)
    for at in range(len(head)):
        altered = bytearray(head)
        altered[at] ^= 1 << at % 8
        with pytest.raises(InputError):
            unpack_header(bytes(altered))
        with pytest.raises(InputError):
            unpack_header(head[:at])


@pytest.mark.parametrize(
    ("schema", "flags", "read"),
    [(1, 0, True), (1, 15 - 2, True), (1, 16, False), (0, 0, False), (2, 0, False)],
)
def test_what_a_program_to_come_may_write_is_not_guessed_at(header, schema, flags, read):
    head = pack_header(header, [*PICTURES, *MOTION])
    other = reseal(head, bytes([schema, flags]) + payload_of(head)[2:])
    if read:
        assert unpack_header(other)[0].spaced == bool(flags)
    else:
        with pytest.raises(InputError, match=f"schema {schema} and flags {flags}: update") as caught:
            unpack_header(other)
        assert caught.value.code == "future_version"


def test_a_network_of_a_kind_to_come(header):
    head = pack_header(header, MOTION)
    network = b"\3abcd"
    assert payload_of(head).count(network) == 1
    for code in (0, 4):
        with pytest.raises(InputError, match=f"unknown kind {code}: update") as caught:
            unpack_header(reseal(head, payload_of(head).replace(network, bytes([code]) + b"abcd")))
        assert caught.value.code == "future_version"


def test_nothing_follows_the_table_of_parts(header):
    head = pack_header(header, MOTION)
    with pytest.raises(InputError, match="table of parts"):
        unpack_header(reseal(head, payload_of(head) + b"\0"))


REFERENCE, PLATE, KEYPOINTS, INDEX, CAMERA_MOTION = (1, 9), (2, 9), (3, 40), (4, 1), (5, 9)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([KEYPOINTS], "table of parts"),
        ([INDEX], "table of parts"),
        ([], "table of parts"),
        ([KEYPOINTS, KEYPOINTS, INDEX], "table of parts"),
        ([KEYPOINTS, INDEX, INDEX], "table of parts"),
        ([PLATE, KEYPOINTS, INDEX], "more pictures"),
        ([REFERENCE, PLATE, PLATE, KEYPOINTS, INDEX], "more pictures"),
        ([REFERENCE, REFERENCE, PLATE, PLATE, KEYPOINTS, INDEX], "more pictures"),
        ([*[REFERENCE] * 5, KEYPOINTS, INDEX], "more pictures"),
        ([REFERENCE, CAMERA_MOTION, KEYPOINTS, INDEX], "motion is missing"),
        ([(0, 9), KEYPOINTS, INDEX], "kind 0, 9 bytes"),
        ([(6, 9), KEYPOINTS, INDEX], "kind 6, 9 bytes"),
    ],
)
def test_parts_that_no_clip_has(header, parts, said):
    with pytest.raises(InputError, match=said) as caught:
        unpack_header(with_table(header, *parts))
    assert caught.value.code == "damaged"


def test_parts_that_a_clip_may_have(header):
    for parts in (
        [KEYPOINTS, INDEX],
        [INDEX, KEYPOINTS],
        [REFERENCE, KEYPOINTS, INDEX],
        [*[REFERENCE] * 4, PLATE, KEYPOINTS, INDEX],
    ):
        assert len(unpack_header(with_table(header, *parts))[1]) == len(parts)


def test_a_moving_plate_has_its_motion_and_a_picture(header):
    moving = replace(header, moving_plate=True)
    unpack_header(with_table(moving, REFERENCE, CAMERA_MOTION, KEYPOINTS, INDEX))
    unpack_header(with_table(moving, REFERENCE, REFERENCE, CAMERA_MOTION, KEYPOINTS, INDEX))
    for parts in (
        [REFERENCE, KEYPOINTS, INDEX],
        [REFERENCE, CAMERA_MOTION, CAMERA_MOTION, KEYPOINTS, INDEX],
        [CAMERA_MOTION, KEYPOINTS, INDEX],
    ):
        with pytest.raises(InputError, match="nothing to move"):
            unpack_header(with_table(moving, *parts))


@pytest.mark.parametrize("spaced", [False, True])
def test_no_more_frames_than_the_bytes_can_hold(header, spaced):
    """The bound of the document: 64 frames are free, and eight coded ones take a byte."""
    coded = 64 + 8 * 40
    most = (coded - 1) * 8 + 1 if spaced else coded
    for frames in (most, most + 1):
        head = with_table(replace(header, frames=frames, spaced=spaced), KEYPOINTS, INDEX)
        if frames == most:
            assert unpack_header(head)[0].frames == most
        else:
            with pytest.raises(InputError, match=f"{frames} frames in 40 bytes"):
                unpack_header(head)


@pytest.mark.parametrize("golden_file", ["golden.s2d", "golden_spaced.s2d"])
def test_a_million_frames_in_a_few_bytes(golden_file):
    data = (DATA / golden_file).read_bytes()
    payload = payload_of(data)
    lying = payload[:2] + b"\xc0\x84\x3d" + payload[3:]  # 1,000,000 where one byte said 50
    with pytest.raises(InputError, match="1000000 frames"):
        unpack_header(reseal(data, lying))
