# SPDX-License-Identifier: GPL-3.0-or-later
"""A group's bytes: plain numbers, escapes and range-coded residuals, and groups that are none."""

import numpy as np
import pytest
from sparse2dense.inference.format.fields import ByteReader, pack_varint
from sparse2dense.inference.format.range_coding import GroupReader, pack_group
from sparse2dense.models.errors import InputError
from sparse2dense.models.keypoint_motion import load_tables

NUMBERS = [0, 1, -1, 64, -65, 1 << 26, -(1 << 26)]
RESIDUALS = np.array([0, 1, -1, 24, -24, 25, -25, 1000, -70000, 3])


def rows_of(residuals, row=5):
    return np.full(len(residuals), row)


def test_a_group_comes_back_in_pieces_as_large_as_are_asked_for():
    rows = np.arange(len(RESIDUALS)) % len(load_tables().frequencies)
    reader = GroupReader(pack_group(NUMBERS, RESIDUALS, rows), len(NUMBERS), "keypoints")
    assert reader.numbers == NUMBERS
    found = [reader.residuals(rows[:4]), reader.residuals(rows[4:7]), reader.residuals(rows[7:])]
    assert found[0].dtype == np.int64
    np.testing.assert_array_equal(np.concatenate(found), RESIDUALS)


def test_the_bytes_are_those_of_the_document():
    """Escapes, numbers, and the residuals over 24 as zigzag numbers, then whole 32-bit words."""
    data = pack_group(NUMBERS, RESIDUALS, rows_of(RESIDUALS))
    reader = ByteReader(data)
    assert reader.varint() == 4
    assert [reader.varint() for _ in NUMBERS] == [0, 2, 1, 128, 129, 1 << 27, (1 << 27) - 1]
    assert [reader.varint() for _ in range(4)] == [50, 49, 2000, 139_999]
    assert len(reader.rest()) % 4 == 0


def test_residuals_that_are_expected_are_cheap():
    frequencies = load_tables().frequencies
    calmest = int(frequencies[:, 24].argmax())
    zeros = np.zeros(2000, int)
    expected = -np.log2(frequencies[calmest, 24] / 65536) * 2000 / 8
    size = len(pack_group([0], zeros, rows_of(zeros, calmest)))
    assert size == pytest.approx(expected, abs=12)
    assert size < len(pack_group([0], zeros, rows_of(zeros, len(frequencies) - 1))) / 10


@pytest.mark.parametrize("number", [(1 << 26) + 1, -(1 << 26) - 1])
def test_a_number_that_no_clip_needs(number):
    for numbers, residuals in (([number, 0], [0]), ([0, number], [0]), ([0, 0], [number])):
        data = pack_group(numbers, np.array(residuals), rows_of(residuals))
        with pytest.raises(InputError, match="the keypoints are damaged") as caught:
            GroupReader(data, 2, "keypoints")
        assert caught.value.code == "damaged"


def test_more_escapes_than_there_are_bytes():
    with pytest.raises(InputError, match="past its end"):
        GroupReader(pack_varint(1 << 30) + bytes(10), 1, "views")


def test_an_escape_that_is_not_there():
    data = pack_group([7], np.array([500]), rows_of([500]))
    lacking = b"\0\x0e" + data[1 + 1 + 2 :]  # no escapes, the number 7, the words
    reader = GroupReader(lacking, 1, "keypoints")
    assert reader.numbers == [7]
    with pytest.raises(InputError, match="the keypoints are damaged"):
        reader.residuals(rows_of([500]))


def test_words_are_whole():
    data = pack_group([7], np.arange(-20, 20), rows_of(range(40)))
    for surplus in (1, 2, 3):
        with pytest.raises(InputError, match="damaged"):
            GroupReader(data + bytes(surplus), 1, "keypoints")
    GroupReader(data + bytes(4), 1, "keypoints")


def test_words_that_no_encoder_writes():
    with pytest.raises(InputError, match="the keypoints are damaged"):
        GroupReader(b"\0\0" + b"\xff" * 8, 1, "keypoints").residuals(rows_of(range(40)))
