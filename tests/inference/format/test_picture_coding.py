# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures as bytes, and pictures from strangers."""

import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from sparse2dense.inference.format import picture_coding
from sparse2dense.models.errors import InputError


@pytest.fixture(scope="module")
def picture():
    rng = np.random.default_rng(2)
    return cv2.resize(rng.integers(0, 255, (9, 7, 3)).astype(np.uint8), (111, 83))


@pytest.fixture(scope="module")
def coded(picture):
    return picture_coding.encode_picture(picture, 60)


def test_a_picture_of_odd_size_comes_back(picture, coded):
    decoded = picture_coding.decode_picture(coded, 111, 83)
    assert decoded.shape == picture.shape
    assert cv2.PSNR(decoded, picture) > 32


def test_quality_buys_bytes(picture, coded):
    assert len(picture_coding.encode_picture(picture, 20)) < len(coded)


def test_another_size_is_refused_before_decoding(monkeypatch, coded):
    monkeypatch.setattr(cv2, "imdecode", None)
    for size in ((4096, 4096), (83, 111), (112, 83)):
        with pytest.raises(InputError, match="111x83"):
            picture_coding.decode_picture(coded, *size)


def test_a_picture_that_hides_a_larger_one_is_refused(coded):
    """A second sequence header, of a huge picture, behind one that is as it should be."""
    first = 2 + coded[1]
    for hostile in (coded[:first] + coded, coded + coded, coded[first:], b"\x12\x00" + coded):
        with pytest.raises(InputError):
            picture_coding.decode_picture(hostile, 111, 83)


def test_damaged_pictures_cost_little(coded):
    rng = np.random.default_rng(4)
    tracemalloc.start()
    for turn in range(150):
        damaged = bytearray(coded[: rng.integers(len(coded))] if turn % 3 == 0 else coded)
        for _ in range(3):
            if damaged:
                damaged[rng.integers(min(len(damaged), 20 if turn % 3 == 1 else len(damaged)))] = (
                    rng.integers(256)
                )
        try:
            assert picture_coding.decode_picture(bytes(damaged), 111, 83).shape == (83, 111, 3)
        except InputError as error:
            assert "picture" in str(error)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def person(width, height):
    mask = np.zeros((height, width), np.uint8)
    cv2.line(mask, (width // 2, height // 4), (width // 2, height * 3 // 4), 255, width // 6)
    cv2.line(mask, (width // 2, height // 3), (width // 5, height // 2), 255, width // 14)
    return mask


@pytest.mark.parametrize("size", [(256, 456), (16, 33), (1000, 700)])
def test_a_mask_comes_back_coarsely(size):
    mask = person(*size)
    coded = picture_coding.encode_mask(mask)
    decoded = picture_coding.decode_mask(coded, *size)
    assert decoded.shape == mask.shape
    assert ((decoded > 127) != (mask > 127)).mean() < 0.02
    assert len(coded) < 160


def test_damaged_masks(tmp_path):
    mask = person(256, 456)
    coded = picture_coding.encode_mask(mask)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(bytes(50_000_000)) + packer.flush()
    tracemalloc.start()
    for hostile in (b"", coded[:-3], coded + b"x", bomb, b"\xff" * 40):
        with pytest.raises(InputError, match="mask"):
            picture_coding.decode_mask(hostile, 256, 456)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_the_plate_shows_what_the_person_hides():
    width, height = 128, 192
    background = np.linspace(30, 220, width)[None, :, None] + np.zeros((height, width, 3))
    background = background.astype(np.uint8)
    mask = person(width, height)
    reference = np.where(mask[..., None] > 0, np.uint8(0), background)
    decoded_mask = picture_coding.decode_mask(picture_coding.encode_mask(mask), width, height)
    coded = picture_coding.encode_plate(background, decoded_mask, 40)
    whole, origin = picture_coding.decode_plate(coded, reference, decoded_mask)
    assert origin == (0, 0)
    assert np.abs(whole.astype(int) - background).mean() < 3
    assert np.abs(whole.astype(int) - background).max() < 20
    assert len(coded) < 0.7 * len(picture_coding.encode_picture(reference, 40))


def test_a_crop_holds_the_person_and_leaves_the_rest_to_the_background():
    width, height = 128, 192
    rough = np.random.default_rng(3).integers(40, 200, (24, 16, 3)).astype(np.uint8)
    background = cv2.resize(rough, (width, height))
    mask = person(width, height)
    picture = np.where(mask[..., None] > 0, np.uint8(20), background)
    decoded_mask = picture_coding.decode_mask(picture_coding.encode_mask(mask), width, height)
    coded = picture_coding.encode_crop(picture, decoded_mask, 60)
    back = picture_coding.decode_crop(coded, background, decoded_mask)
    assert np.abs(back.astype(int) - picture).mean() < 3
    assert len(coded) < 0.7 * len(picture_coding.encode_picture(picture, 60))
    assert (back[:20] == background[:20]).all()
    nobody = np.zeros_like(mask)
    whole = picture_coding.decode_crop(picture_coding.encode_crop(picture, nobody, 60), background, nobody)
    np.testing.assert_array_equal(whole, background)


def test_a_crop_outside_the_canvas(picture, coded):
    mask = np.zeros(picture.shape[:2], np.uint8)
    for box in (b"", b"\1", bytes([1, 0, 0, 0, 111, 0, 83, 0]), bytes(8), b"\xff" * 8):
        with pytest.raises(InputError, match="reference"):
            picture_coding.decode_crop(box + coded if len(box) == 8 else box, picture, mask)


def test_no_person_needs_no_plate(picture):
    assert picture_coding.encode_plate(picture, np.zeros(picture.shape[:2], np.uint8), 40) == b""


def test_a_plate_outside_the_canvas(picture, coded):
    mask = np.zeros(picture.shape[:2], np.uint8)
    for box in (
        b"",
        b"\1",
        bytes([1, 0, 0, 0, 111, 0, 83, 0]),
        bytes([0, 0, 0, 0, 0, 0, 83, 0]),
        b"\xff" * 8,
    ):
        with pytest.raises(InputError, match="plate"):
            picture_coding.decode_plate(box + coded if len(box) == 8 else box, picture, mask)
