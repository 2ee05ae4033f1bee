# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of version 1: nothing writes them any more, and they are read for good, as strictly as ever."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sparse2dense.inference.format import picture_coding
from sparse2dense.inference.format.container import S2DFile, read_clip, read_shot, write_clip
from sparse2dense.inference.format.fields import pack_varint
from sparse2dense.inference.format.header import unpack_header
from sparse2dense.models.errors import InputError

from . import second_decoder
from .sealing import payload_of, reseal
from .version_1 import as_version_1, pack_1, pack_header_1, parts_of

DATA = Path(__file__).parents[2] / "data"
MOTION = [("keypoints", bytes(40)), ("index", b"\x28")]
PICTURES = [("reference", b"first"), ("reference", b"second"), ("plate", b"plate")]


@pytest.fixture
def header(header):
    """What a file of version 1 says."""
    return replace(header, cropped=False, version=1)


def with_table(header, *entries):
    """Pack a header over a table that is not its own."""
    head = pack_header_1(header, [])
    claims = (bytes([kind]) + pack_varint(size) + bytes(4) for kind, size in entries)
    return reseal(head, payload_of(head)[:-1] + pack_varint(len(entries)) + b"".join(claims))


def test_a_header_is_read(header):
    head = pack_header_1(header, [*PICTURES, *MOTION])
    (back,), parts = unpack_header(head + b"what follows")
    for name in vars(header):
        np.testing.assert_array_equal(getattr(back, name), getattr(header, name))
    assert [(part.name, part.size, part.person) for part in parts] == [
        ("reference", 5, 0), ("reference", 6, 0), ("plate", 5, None), ("keypoints", 40, 0), ("index", 1, 0)
    ]  # fmt: skip
    assert parts[0].start == len(head)


@pytest.mark.parametrize("flag", ["moving_camera", "moving_plate", "cropped", "spaced"])
def test_each_flag_is_a_bit_of_its_own(header, flag):
    motion = [("camera_motion", b"")] if flag == "moving_plate" else []
    head = pack_header_1(replace(header, **{flag: True}), [*PICTURES, *motion, *MOTION])
    (back,), _ = unpack_header(head)
    flags = {name: getattr(back, name) for name in ("moving_camera", "moving_plate", "cropped", "spaced")}
    assert [name for name, is_set in flags.items() if is_set] == [flag]
    assert payload_of(head)[1] == 1 << list(flags).index(flag)  # bits 0 to 3, as the document has it


@pytest.mark.parametrize(("schema", "flags"), [(1, 16), (0, 0), (2, 0)])
def test_what_no_version_1_has_is_refused(header, schema, flags):
    head = pack_header_1(header, MOTION)
    with pytest.raises(InputError, match=f"schema {schema} and flags {flags}: update"):
        unpack_header(reseal(head, bytes([schema, flags]) + payload_of(head)[2:]))


def test_nothing_follows_the_table_of_parts(header):
    head = pack_header_1(header, MOTION)
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
        ([*[REFERENCE] * 5, KEYPOINTS, INDEX], "more pictures"),
        ([REFERENCE, CAMERA_MOTION, KEYPOINTS, INDEX], "motion is missing"),
        ([(0, 9), KEYPOINTS, INDEX], "kind 0, 9 bytes"),
        ([(6, 9), KEYPOINTS, INDEX], "kind 6, 9 bytes"),
        ([(32, 9), KEYPOINTS, INDEX], "kind 32, 9 bytes"),  # version 1 has no optional parts
        ([KEYPOINTS, (4, (1 << 20) + 1)], "kind 4, 1048577 bytes"),
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
        [*[REFERENCE] * 4, PLATE, KEYPOINTS, INDEX],
        [KEYPOINTS, (4, 1 << 20)],
    ):
        assert len(unpack_header(with_table(header, *parts))[1]) == len(parts)


@pytest.mark.parametrize("golden_file", ["golden.s2d", "golden_spaced.s2d"])
def test_a_million_frames_in_a_few_bytes(golden_file):
    data = (DATA / golden_file).read_bytes()
    payload = payload_of(data)
    lying = payload[:2] + b"\xc0\x84\x3d" + payload[3:]  # 1,000,000 where one byte said 50
    with pytest.raises(InputError, match="1000000 frames"):
        unpack_header(reseal(data, lying))


@pytest.mark.parametrize("of", ["filmed_file", "panned_file"])
def test_a_clip_of_version_1_is_the_same_clip_and_no_smaller(of, request, tmp_path):
    path, sizes = request.getfixturevalue(of)
    older = tmp_path / "older.s2d"
    older.write_bytes(as_version_1(path))
    assert S2DFile.open(older).header.version == 1
    found, expected = read_clip(older), read_clip(path)
    np.testing.assert_array_equal(found.keypoints, expected.keypoints)
    np.testing.assert_array_equal(found.background(200), expected.background(200))
    for one, other in zip(found.references, expected.references, strict=True):
        assert one.frame == other.frame
        np.testing.assert_array_equal(one.picture, other.picture)
    assert (found.camera, found.fps, found.certainty) == (expected.camera, expected.fps, None)
    _, second = second_decoder.read(older)
    np.testing.assert_array_equal(second.astype(np.float32), found.keypoints)
    older_sizes = S2DFile.open(older).sizes()
    assert {name: older_sizes[name] for name in sizes if name not in ("header", "total")} == {
        name: sizes[name] for name in sizes if name not in ("header", "total")
    }
    assert older_sizes["header"] >= sizes["header"] + 3  # of the strangest camera and several groups
    (whole,) = read_shot(older).people
    np.testing.assert_array_equal(whole.keypoints, found.keypoints)


def test_an_index_that_does_not_fit(filmed_file, tmp_path):
    path, header = tmp_path / "clip.s2d", S2DFile.open(filmed_file[0]).header
    older = tmp_path / "older.s2d"
    older.write_bytes(as_version_1(filmed_file[0]))
    for name in ("index", "keypoints"):
        parts = [(part, data + b"\0" * (part == name)) for part, data in parts_of(older)]
        path.write_bytes(pack_1(header, parts))
        with pytest.raises(InputError, match=r"clip\.s2d: the index does not fit the keypoints"):
            read_clip(path)


def test_a_group_of_no_bytes(tmp_path):
    golden, path = DATA / "golden_spaced.s2d", tmp_path / "clip.s2d"
    (_, keypoints), (_, index) = parts_of(golden)
    path.write_bytes(
        pack_1(S2DFile.open(golden).header, [("keypoints", keypoints), ("index", bytes(len(index)))])
    )
    with pytest.raises(InputError, match="past its end"):
        read_clip(path)


def test_whole_further_references_of_older_files_are_read(filmed, tmp_path, monkeypatch):
    monkeypatch.setattr(
        picture_coding,
        "encode_crop",
        lambda picture, mask, quality: picture_coding.encode_picture(picture, quality),
    )
    path = tmp_path / "clip.s2d"
    write_clip(filmed, path)
    payload = bytearray(payload_of(as_version_1(path)))
    payload[1] &= ~4
    path.write_bytes(reseal(as_version_1(path), bytes(payload)))
    further = read_clip(path).references[1]
    assert np.abs(further.picture.astype(int) - filmed.references[1].picture).mean() < 4
