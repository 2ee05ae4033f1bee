# SPDX-License-Identifier: GPL-3.0-or-later
"""The small fields: their bytes, and bytes that are cut short."""

import pytest
from sparse2dense.inference.format.fields import ByteReader, pack_text, pack_varint
from sparse2dense.models.errors import InputError


@pytest.mark.parametrize(
    ("value", "packed"),
    [
        (0, b"\0"),
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (300, b"\xac\x02"),
        (16383, b"\xff\x7f"),
        (16384, b"\x80\x80\x01"),
        ((1 << 35) - 1, b"\xff\xff\xff\xff\x7f"),
    ],
)
def test_numbers_are_leb128(value, packed):
    assert pack_varint(value) == packed
    reader = ByteReader(packed + b"rest")
    assert reader.varint() == value
    assert reader.rest() == b"rest"


def test_a_number_has_at_most_five_bytes():
    with pytest.raises(InputError, match="number is too large") as caught:
        ByteReader(b"\x80\x80\x80\x80\x80\x01").varint()
    assert caught.value.code == "damaged"


def test_fields_come_off_the_front_in_order():
    reader = ByteReader(pack_text("anny") + b"\x02\x01\xff" + bytes([0, 0, 128, 63]) + b"end")
    assert reader.text() == "anny"
    assert reader.unpack("Hb") == (0x0102, -1)
    assert reader.unpack("f") == (1.0,)
    assert reader.take(1) == b"e"
    assert reader.take(0) == b""
    assert reader.take(2) == b"nd"
    assert reader.rest() == b""


def test_text_follows_its_length_and_is_ascii():
    assert pack_text("a" * 200) == b"\xc8\x01" + b"a" * 200
    assert ByteReader(b"\0").text() == ""
    with pytest.raises(InputError, match="not ASCII") as caught:
        ByteReader(b"\x02\xc3\xa9").text()
    assert caught.value.code == "damaged"


@pytest.mark.parametrize(
    "read",
    [
        lambda reader: reader.take(4),
        lambda reader: reader.unpack("I"),
        lambda reader: ByteReader(b"\x80").varint(),
        lambda reader: ByteReader(b"").varint(),
        lambda reader: ByteReader(b"\x04abc").text(),
        lambda reader: (reader.take(2), reader.take(2)),
    ],
)
def test_what_runs_past_the_end_is_damaged(read):
    with pytest.raises(InputError, match="past its end") as caught:
        read(ByteReader(b"abc"))
    assert caught.value.code == "damaged"
