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

MOTION = [("keypoints", bytes(40))]
PICTURES = [("reference", b"first"), ("reference", b"second")]
PLATE = [("plate", b"plate")]


def pack(header, parts=MOTION, shot_parts=()):
    """Pack the header of one person's file."""
    return pack_header([header], list(shot_parts), [list(parts)])


def unpack(head):
    """Unpack the header of one person's file."""
    (header,), parts = unpack_header(head)
    return header, parts


def table(*entries):
    """Pack a table of parts: codes, versions of those that have one, and bytes that are claimed."""
    claims = (bytes(code) + pack_varint(size) + bytes(4) for *code, size in entries)
    return pack_varint(len(entries)) + b"".join(claims)


def with_tables(header, *entries, shot=()):
    """Pack a header over a person's table, and a shot's, that are not its own."""
    head = pack(header, [])
    payload = payload_of(head)
    person = bytes([header.spaced * 2]) + b"\4anny"
    assert payload.count(b"\0" + person) == 1 and payload.endswith(b"\0")
    return reseal(head, payload[:-1].replace(b"\0" + person, table(*shot) + person) + table(*entries))


# ---- what it carries -------------------------------------------------------------------------


def test_a_header_comes_back(header):
    parts = [*PLATE, *PICTURES, *MOTION]
    head = pack(header, [*PICTURES, *MOTION], PLATE)
    back, table_of_parts = unpack(head + b"what follows")
    for field in fields(Header):
        if field.name != "shape":
            assert getattr(back, field.name) == getattr(header, field.name), field.name
    np.testing.assert_array_equal(back.shape, header.shape)
    assert back.shape.dtype == np.float32
    assert [(part.name, part.size, part.crc) for part in table_of_parts] == [
        (name, len(data), zlib.crc32(data)) for name, data in parts
    ]
    assert [part.person for part in table_of_parts] == [None, 0, 0, 0]
    starts = len(head) + np.cumsum([0, 5, 5, 6, 40])
    assert [part.start for part in table_of_parts] == starts[:-1].tolist()
    assert [part.end for part in table_of_parts] == starts[1:].tolist()


@pytest.mark.parametrize(("flag", "bit"), [("moving_camera", 1), ("moving_plate", 2)])
def test_each_flag_of_a_shot_is_a_bit_of_its_own(header, flag, bit):
    square = replace(header, camera=Camera(210.5, 210.5, 68, 100))
    motion = [("camera_motion", b"")] if flag == "moving_plate" else []
    head = pack(replace(square, **{flag: True}), [*PICTURES, *MOTION], motion)
    back, _ = unpack(head)
    assert (back.moving_camera, back.moving_plate) == (bit == 1, bit == 2)
    assert payload_of(head)[1] == bit


@pytest.mark.parametrize(
    ("camera", "flags", "size"),
    [
        (Camera(210.5, 210.5, 68, 100), 0, 4),
        (Camera(210.5, 211, 68, 100), 4, 8),
        (Camera(210.5, 210.5, 68, 99.5), 8, 12),
        (Camera(210.5, 210.5, 67.5, 100), 8, 12),
        (Camera(210.5, 211, 67.5, 99.5), 12, 16),
    ],
)
def test_of_a_camera_no_more_is_said_than_is_needed(header, camera, flags, size):
    head = pack(replace(header, camera=camera))
    assert unpack(head)[0].camera == camera
    assert payload_of(head)[1] == flags
    assert len(head) == len(pack(replace(header, camera=Camera(210.5, 210.5, 68, 100)))) - 4 + size


def test_people_have_a_body_and_a_span_each(header):
    """The shot is in all their headers; its first person is there throughout, the others come and go."""
    headers = [
        header,
        replace(header, body="smplx", shape=np.float32([0.5]), first=20, frames=300, step_um=8000),
        replace(header, frames=19, after=301, spaced=True),
    ]
    tables = [[*PICTURES, *MOTION], MOTION, [("reference", b"third"), *MOTION, ("certainty", b"sure")]]
    back, parts = unpack_header(pack_header(headers, PLATE, tables))
    for found, expected in zip(back, headers, strict=True):
        for field in fields(Header):
            np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name))
    assert [person.shot_frames for person in back] == [320, 320, 320]
    assert back[1].after == 0 and back[1].groups == 1
    assert [(part.name, part.person) for part in parts] == [
        ("plate", None),
        ("reference", 0),
        ("reference", 0),
        ("keypoints", 0),
        ("keypoints", 1),
        ("reference", 2),
        ("keypoints", 2),
        ("certainty", 2),
    ]
    assert [part.start for part in parts[1:]] == [part.end for part in parts[:-1]]


def test_spaced_is_a_bit_of_a_persons_own(header):
    plain, spaced = (payload_of(pack(replace(header, spaced=spaced))) for spaced in (False, True))
    assert spaced == plain.replace(b"\0\4anny", b"\2\4anny") != plain


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
    payload = payload_of(pack(header))
    rate = pack_varint(30000) + pack_varint(1001)
    lying = reseal(pack(header), payload.replace(rate, pack_varint(30000) + b"\0"))
    with pytest.raises(InputError, match="no fraction"):
        unpack_header(lying)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("number", ["fx", "fy", "cx", "cy"])
def test_a_camera_of_no_number(header, number, value):
    with pytest.raises(InputError, match="camera"):
        replace(header, camera=replace(header.camera, **{number: value}))
    right = struct.pack("<f", getattr(header.camera, number))
    head = pack(header)
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
        ("camera_motion", 32 << 20),
        ("certainty", 2 << 20),
        ("hands", 128 << 20),  # whatever it holds
    ],
)
def test_no_part_is_larger_than_a_decoder_reads(header, name, most):
    codes = {
        "plate": (2,), "camera_motion": (5,), "reference": (1,), "keypoints": (3,), "certainty": (32, 1),
        "hands": (33, 1),
    }  # fmt: skip
    sizes = dict.fromkeys(codes, 9) | {"keypoints": 40}
    moving = replace(header, moving_plate=True)

    def claimed(size):
        entries = [(*codes[part], (sizes | {name: size})[part]) for part in codes]
        return with_tables(moving, *entries[2:], shot=entries[:2])

    _, parts = unpack(claimed(most))
    assert {part.name: part.size for part in parts} == sizes | {name: most}
    with pytest.raises(InputError, match=f"impossible part.*{most + 1} bytes"):
        unpack_header(claimed(most + 1))
    if most < 10 << 20:
        assert pack(header, [(name, bytes(most))])
        with pytest.raises(InputError, match=f"{name} part is too large") as caught:
            pack(header, [(name, bytes(most + 1))])
        assert caught.value.code == "too_large"


def test_a_header_fits_where_it_is_looked_for(header):
    """16,384 bytes are read of a file: a header of so many is written, one of more is not."""
    size = len(pack(header))
    longest = replace(header, body="a" * (16_384 - size + len("anny") - 1))  # its length takes two bytes
    head = pack(longest)
    assert len(head) == 16_384
    assert unpack(head)[0].body == longest.body
    with pytest.raises(InputError, match="name is too long"):
        pack(replace(longest, body=longest.body + "a"))


def test_one_to_eight_people(header):
    for people in (1, 8):
        back, _ = unpack_header(pack_header([header] * people, [], [MOTION] * people))
        assert len(back) == people
    for people in (0, 9):
        with pytest.raises(InputError, match=f"{people} people"):
            pack_header([header] * people, [], [MOTION] * people)
    payload = payload_of(pack(header))
    assert payload.count(b"\1\0\0\4anny") == 1  # of the shot: one person, no part
    for people in (0, 9, 127):
        lying = payload.replace(b"\1\0\0\4anny", bytes([people]) + b"\0\0\4anny")
        with pytest.raises(InputError, match=f"{people} people") as caught:
            unpack_header(reseal(pack(header), lying))
        assert caught.value.code == "bad_header"


def test_a_span_lies_in_the_shot(header):
    short = replace(header, frames=30, first=20, after=270)
    head = pack(short)
    assert (unpack(head)[0].first, unpack(head)[0].frames, unpack(head)[0].after) == (20, 30, 270)
    span = b"\1\x14\x1e\4anny"  # from 20 on, 30 frames
    assert payload_of(head).count(span) == 1
    for first, frames in ((20, 0), (20, 301), (320, 1), (1_000_000, 30)):
        other = b"\1" + pack_varint(first) + pack_varint(frames) + b"\4anny"
        with pytest.raises(InputError, match="claims") as caught:
            unpack_header(reseal(head, payload_of(head).replace(span, other)))
        assert caught.value.code == "bad_header"
    other = b"\1" + pack_varint(20) + pack_varint(300) + b"\4anny"
    unpack_header(reseal(head, payload_of(head).replace(span, other)))
    for change in ({"first": -1}, {"after": -1}, {"after": 1_000_000}):
        with pytest.raises(InputError, match="claims"):
            replace(header, **change)


def test_limits_are_what_the_document_says():
    document = (Path(__file__).parents[3] / "docs" / "FORMAT.md").read_text(encoding="utf-8")
    assert f"1 to {format_header.MAX_FRAMES:,}" in document
    assert f"{format_header.MIN_SIDE} to {MAX_SIDE:,}" in document
    assert f"at most {format_header.MAX_SHAPE}" in document
    assert f"{format_header.MIN_STEP_UM} to {format_header.MAX_STEP_UM:,}" in document
    assert f"1 to {format_header.MAX_GROUP_FRAMES:,}" in document
    assert f"0 to {format_header.MAX_REFERENCES}" in document
    assert f"{format_header.MAX_HEADER:,} bytes" in document
    assert f"1 to {format_header.MAX_PEOPLE}" in document
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
        (b"\x89S2D\x03" + bytes(500), "future_version", "version 3 .s2d file.*reads 1 and 2"),
        (b"\x89S2D\0" + bytes(500), "future_version", "version 0"),
        (b"\x89S2D\x01\xff\xff" + bytes(500), "damaged", "past its end"),
        (b"\x89S2D\x02\xff\xff" + bytes(500), "damaged", "past its end"),
        (b"\x89S2D\x01\x04\x00" + bytes(500), "damaged", "checksum"),
        (b"\x89S2D\x02\x04\x00" + bytes(500), "damaged", "checksum"),
    ],
)
def test_foreign_and_future_files(content, code, said):
    with pytest.raises(InputError, match=said) as caught:
        unpack_header(content)
    assert caught.value.code == code


def test_every_byte_of_a_header_is_under_its_checksum(header):
    head = pack(header)
    for at in range(len(head)):
        altered = bytearray(head)
        altered[at] ^= 1 << at % 8
        with pytest.raises(InputError):
            unpack_header(bytes(altered))
        with pytest.raises(InputError):
            unpack_header(head[:at])


@pytest.mark.parametrize(
    ("schema", "flags", "read"),
    [(1, 12, True), (1, 13, True), (1, 12 + 16, False), (0, 12, False), (2, 12, False)],
)
def test_what_a_program_to_come_may_write_is_not_guessed_at(header, schema, flags, read):
    head = pack(header)
    other = reseal(head, bytes([schema, flags]) + payload_of(head)[2:])
    if read:
        assert unpack(other)[0].moving_camera == bool(flags & 1)
    else:
        with pytest.raises(InputError, match=f"schema {schema} and flags {flags}: update") as caught:
            unpack_header(other)
        assert caught.value.code == "future_version"


def test_a_persons_flags_to_come_are_not_guessed_at(header):
    head = pack(header)
    for flags in (4, 128):
        other = payload_of(head).replace(b"\0\4anny", bytes([flags]) + b"\4anny")
        with pytest.raises(InputError, match=f"person's flags {flags}: update") as caught:
            unpack_header(reseal(head, other))
        assert caught.value.code == "future_version"


def test_a_network_of_a_kind_to_come(header):
    head = pack(header)
    network = b"\3abcd"
    assert payload_of(head).count(network) == 1
    for code in (0, 4):
        with pytest.raises(InputError, match=f"unknown kind {code}: update") as caught:
            unpack_header(reseal(head, payload_of(head).replace(network, bytes([code]) + b"abcd")))
        assert caught.value.code == "future_version"


def test_nothing_follows_the_table_of_parts(header):
    head = pack(header)
    with pytest.raises(InputError, match="table of parts"):
        unpack_header(reseal(head, payload_of(head) + b"\0"))


REFERENCE, PLATE_PART, KEYPOINTS, MOTION_PART, CERTAINTY = (1, 9), (2, 9), (3, 40), (5, 9), (32, 1, 9)
TEXTURE = (35, 1, 9000)


@pytest.mark.parametrize(
    ("shot", "parts", "code", "said"),
    [
        ([], [], "damaged", "table of parts"),
        ([], [REFERENCE], "damaged", "table of parts"),
        ([], [KEYPOINTS, KEYPOINTS], "damaged", "table of parts"),
        ([PLATE_PART], [KEYPOINTS], "damaged", "more pictures"),
        ([PLATE_PART, PLATE_PART], [REFERENCE, KEYPOINTS], "damaged", "more pictures"),
        ([PLATE_PART, PLATE_PART], [REFERENCE, REFERENCE, KEYPOINTS], "damaged", "more pictures"),
        ([], [*[REFERENCE] * 5, KEYPOINTS], "damaged", "more pictures"),
        ([MOTION_PART], [REFERENCE, KEYPOINTS], "damaged", "motion is missing"),
        ([], [KEYPOINTS, CERTAINTY, CERTAINTY], "damaged", "more than one certainty"),
        ([], [KEYPOINTS, TEXTURE], "damaged", "person without pictures"),
        ([], [REFERENCE, REFERENCE, KEYPOINTS, TEXTURE, TEXTURE], "damaged", "a texture too many"),
        ([], [REFERENCE, KEYPOINTS, (35, 1, (1 << 23) + 1)], "damaged", "impossible part"),
        ([], [(0, 9), KEYPOINTS], "future_version", "unknown kind 0: update"),
        ([], [(4, 1), KEYPOINTS], "future_version", "unknown kind 4"),  # an index, of version 1
        ([], [(6, 9), KEYPOINTS], "future_version", "unknown kind 6"),
        ([], [(31, 9), KEYPOINTS], "future_version", "unknown kind 31"),
        ([], [REFERENCE, PLATE_PART, KEYPOINTS], "future_version", "unknown kind 2"),
        ([REFERENCE], [KEYPOINTS], "future_version", "unknown kind 1"),
        ([KEYPOINTS], [], "future_version", "unknown kind 3"),
    ],
)
def test_parts_that_no_clip_has(header, shot, parts, code, said):
    with pytest.raises(InputError, match=said) as caught:
        unpack_header(with_tables(header, *parts, shot=shot))
    assert caught.value.code == code


def test_parts_that_a_clip_may_have(header):
    for shot, parts in (
        ([], [KEYPOINTS]),
        ([], [REFERENCE, KEYPOINTS]),
        ([PLATE_PART], [*[REFERENCE] * 4, KEYPOINTS, CERTAINTY, TEXTURE]),
    ):
        found = unpack(with_tables(header, *parts, shot=shot))[1]
        assert len(found) == len(shot) + len(parts) and not any(part.passed_over for part in found)


@pytest.mark.parametrize(
    ("parts", "shot", "names"),
    [
        ([KEYPOINTS, (33, 1, 9)], [], ["hands"]),
        ([(34, 7, 0), KEYPOINTS, (35, 2, 1 << 20)], [], ["face", "texture"]),
        ([KEYPOINTS], [(36, 1, 5)], ["camera_way"]),
        ([KEYPOINTS, (99, 0, 9), (99, 0, 9), (255, 255, 9)], [], ["part 99", "part 99", "part 255"]),
        ([KEYPOINTS, CERTAINTY, (32, 2, 9)], [], ["certainty"]),  # of a version to come
        ([KEYPOINTS, (32, 0, 9)], [], ["certainty"]),
        ([KEYPOINTS], [CERTAINTY], ["certainty"]),  # of a shot, whatever that may be some day
    ],
)
def test_optional_parts_that_are_not_known_are_passed_over(header, parts, shot, names):
    found = unpack(with_tables(header, *parts, shot=shot))[1]
    assert len(found) == len(parts) + len(shot)
    passed_over = [part for part in found if part.passed_over]
    assert sorted(part.name for part in passed_over) == sorted(names)
    assert [part.start for part in found[1:]] == [part.end for part in found[:-1]]


def test_a_moving_plate_has_its_motion_and_a_picture(header):
    moving = replace(header, moving_plate=True)
    unpack_header(with_tables(moving, REFERENCE, KEYPOINTS, shot=[MOTION_PART]))
    unpack_header(with_tables(moving, REFERENCE, REFERENCE, KEYPOINTS, shot=[MOTION_PART]))
    for shot, parts in (
        ([], [REFERENCE, KEYPOINTS]),
        ([MOTION_PART, MOTION_PART], [REFERENCE, KEYPOINTS]),
        ([MOTION_PART], [KEYPOINTS]),
    ):
        with pytest.raises(InputError, match="nothing to move"):
            unpack_header(with_tables(moving, *parts, shot=shot))


@pytest.mark.parametrize("spaced", [False, True])
def test_no_more_frames_than_the_bytes_can_hold(header, spaced):
    """The bound of the document: 64 frames are free, and eight coded ones take a byte; for each person."""
    coded = 64 + 8 * 40
    most = (coded - 1) * 8 + 1 if spaced else coded
    for frames in (most, most + 1):
        claimed = replace(header, frames=frames, spaced=spaced)
        for head in (
            pack(claimed),
            pack_header([replace(header, frames=64, after=frames - 64), claimed], [], [MOTION] * 2),
        ):
            if frames == most:
                assert unpack_header(head)[0][-1].frames == most
            else:
                with pytest.raises(InputError, match=f"{frames} frames in 40 bytes"):
                    unpack_header(head)
