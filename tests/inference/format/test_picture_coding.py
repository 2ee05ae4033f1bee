# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures as bytes, and pictures from strangers."""

import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from sparse2dense.inference.format import picture_coding
from sparse2dense.models.errors import InputError, S2DError


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
    cells = zlib.decompress(coded, -15)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    unfinished = packer.compress(cells) + packer.flush(zlib.Z_SYNC_FLUSH)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    few = packer.compress(cells[:-1]) + packer.flush()
    tracemalloc.start()
    for hostile in (b"", coded[:-3], coded + b"x", bomb, b"\xff" * 40, unfinished, few):
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


def test_the_least_of_a_person_is_hidden(picture):
    mask = np.zeros(picture.shape[:2], np.uint8)
    mask[40, 60] = 1
    left, top, width, height = struct.unpack_from("<4H", picture_coding.encode_plate(picture, mask, 40))
    assert (left, top, width, height) == (58, 38, 5, 5)  # two cells of one pixel on each side


def test_no_person_needs_no_plate(picture):
    assert picture_coding.encode_plate(picture, np.zeros(picture.shape[:2], np.uint8), 40) == b""


# ---- a second decoder of pictures, from docs/FORMAT.md ----------------------------------------


def windows(values, side, edge):
    """All squares of ``side`` pixels about each pixel; beyond the edge as ``np.pad`` has it."""
    reach = side // 2
    return np.lib.stride_tricks.sliding_window_view(np.pad(values, reach, **edge), (side, side))


def second_h(mask, c):
    """How much a plate or crop shows at each pixel: section 2 of the document, one line a sentence."""
    hidden = windows(mask, 4 * c + 1, {"mode": "constant"}).max((2, 3)) > 0
    eroded = windows(hidden, 2 * c + 1, {"mode": "edge"}).min((2, 3))
    return windows(eroded.astype(float), 2 * c + 1, {"mode": "edge"}).mean((2, 3))[..., None]


def second_mask(data, width, height):
    """The mask's cells, from its bits."""
    c = max(1, min(width, height) // 64)
    columns, rows = -(-width // c), -(-height // c)
    bits = "".join(f"{byte:08b}" for byte in zlib.decompress(data, -15))
    assert len(bits) == -(-columns * rows // 8) * 8 and "1" not in bits[columns * rows :]
    changes = np.array([int(bit) for bit in bits[: columns * rows]]).reshape(rows, columns)
    return changes.cumsum(0) % 2


def put(data, background, mask, box, canvas):
    """Put the picture of a plate or crop over its background."""
    left, top, width, height = box
    whole = background.astype(float)
    place = np.s_[top : top + height, left : left + width]
    whole[place] = picture_coding.decode_picture(data[8:], width, height)
    h = np.zeros((*mask.shape, 1))
    h[place] = second_h(mask, max(1, min(canvas) // 64))[place]
    return h * whole + (1 - h) * background


def decoded_person(width, height):
    mask = person(width, height)
    return picture_coding.decode_mask(picture_coding.encode_mask(mask), width, height)


def rough_picture(width, height, seed=3):
    rough = np.random.default_rng(seed).integers(40, 200, (height // 8, width // 8, 3)).astype(np.uint8)
    return cv2.resize(rough, (width, height))


@pytest.mark.parametrize("size", [(40, 64), (128, 192), (200, 136), (256, 456), (16, 33)])
def test_a_mask_is_what_the_document_says(size):
    width, height = size
    coded = picture_coding.encode_mask(person(*size))
    cells = second_mask(coded, *size)
    decoded = picture_coding.decode_mask(coded, *size)
    assert decoded.dtype == np.uint8
    # Cell centres at pixel centres, edges held.
    rows, columns = (
        np.clip((np.arange(n) + 0.5) * count / n - 0.5, 0, count - 1)
        for n, count in zip((height, width), cells.shape, strict=True)
    )
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = rows[:, None] - top[:, None], columns - left
    below, beside = np.minimum(top + 1, cells.shape[0] - 1), np.minimum(left + 1, cells.shape[1] - 1)
    expected = (
        cells[top][:, left] * (1 - down) * (1 - right)
        + cells[top][:, beside] * (1 - down) * right
        + cells[below][:, left] * down * (1 - right)
        + cells[below][:, beside] * down * right
    )
    assert np.abs(decoded - 255 * expected).max() <= 2  # fixed-point weights


@pytest.mark.parametrize("size", [(40, 64), (128, 192), (136, 200)])
def test_a_plate_is_what_the_document_says(size):
    mask, background = decoded_person(*size), rough_picture(*size)
    reference = np.where(mask[..., None] > 0, np.uint8(20), background)
    coded = picture_coding.encode_plate(background, mask, 60)
    box = struct.unpack_from("<4H", coded)
    found, origin = picture_coding.decode_plate(coded, reference, mask)
    assert origin == (0, 0)
    assert np.abs(found - put(coded, reference, mask, box, size)).max() <= 0.51
    assert np.abs(found.astype(int) - background).mean() < 4
    # The box is the smallest around the hidden region, which is grown by two cells.
    c = max(1, min(size) // 64)
    rows, columns = np.nonzero(windows(mask, 4 * c + 1, {"mode": "constant"}).max((2, 3)))
    assert box == (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)


@pytest.mark.parametrize(
    ("origin", "whole"),
    [((0, 0), (128, 192)), ((-20, -9), (200, 210)), ((0, -9), (128, 201)), ((-20, 0), (190, 192))],
)
def test_a_moving_plate_is_what_the_document_says(origin, whole):
    """The mask is 255, and the reference its own edge, where the plate goes beyond the canvas."""
    (left, top), (width, height) = origin, whole
    mask, plate = decoded_person(128, 192), rough_picture(*whole)
    canvas = plate[-top : 192 - top, -left : 128 - left]
    reference = np.where(mask[..., None] > 0, np.uint8(20), canvas)
    coded = picture_coding.encode_plate(plate, mask, 60, origin)
    found, where = picture_coding.decode_plate(coded, reference, mask, moving=True)
    assert (where, found.shape) == (origin, (height, width, 3))
    around = ((-top, height + top - 192), (-left, width + left - 128))
    box = struct.unpack_from("<2h2H", coded)
    expected = put(
        coded,
        np.pad(reference, (*around, (0, 0)), mode="edge"),
        np.pad(mask, around, constant_values=255),
        (box[0] - left, box[1] - top, *box[2:]),
        (128, 192),
    )
    assert np.abs(found - expected).max() <= 0.51
    assert np.abs(found.astype(int) - plate).mean() < 4


@pytest.mark.parametrize("size", [(40, 64), (128, 192), (136, 200)])
def test_a_crop_is_what_the_document_says(size):
    mask, background = decoded_person(*size), rough_picture(*size)
    picture = np.where(mask[..., None] > 0, np.uint8(230), background)
    coded = picture_coding.encode_crop(picture, mask, 60)
    found = picture_coding.decode_crop(coded, background, mask)
    assert np.abs(found - put(coded, background, mask, struct.unpack_from("<4H", coded), size)).max() <= 0.51


# ---- plates and crops that cannot be ------------------------------------------------------------


def test_a_plate_covers_the_canvas_and_is_no_larger_than_a_picture():
    mask = decoded_person(64, 64)
    narrow = np.zeros((64, 4096, 3), np.uint8)
    for origin, size in (((0, 0), (4096, 64)), ((-4032, 0), (4096, 64)), ((0, -4032), (64, 4096))):
        plate = narrow if size[0] > 64 else narrow.swapaxes(0, 1)
        coded = picture_coding.encode_plate(np.ascontiguousarray(plate), mask, 5, origin)
        whole, where = picture_coding.decode_plate(coded, np.zeros((64, 64, 3), np.uint8), mask, moving=True)
        assert (where, whole.shape) == (origin, (size[1], size[0], 3))
    for origin, (width, height) in (
        ((0, 0), (4097, 64)),
        ((0, 0), (64, 4097)),
        ((0, 0), (63, 64)),
        ((0, 0), (64, 63)),
        ((1, 0), (64, 64)),
        ((0, 1), (64, 64)),
        ((-5, 0), (68, 64)),
        ((0, -5), (64, 68)),
    ):
        with pytest.raises(
            InputError, match=f"plate is {width}x{height} at {origin[0]}, {origin[1]}"
        ) as caught:
            picture_coding.encode_plate(np.zeros((height, width, 3), np.uint8), mask, 5, origin)
        assert caught.value.code == "bad_plate"


@pytest.mark.parametrize(
    ("box", "moving"),
    [
        ((0, 0, 0, 83), False),
        ((0, 0, 111, 0), False),
        ((1, 0, 111, 83), False),
        ((0, 1, 111, 83), False),
        ((111, 0, 1, 83), False),
        ((65535, 0, 111, 83), False),
        ((0, 0, 0, 83), True),
        ((0, 0, 111, 0), True),
    ],
)
def test_a_plate_outside_the_canvas(picture, coded, box, moving):
    mask = np.full(picture.shape[:2], 255, np.uint8)
    with pytest.raises(InputError, match="plate lies outside") as caught:
        picture_coding.decode_plate(struct.pack("<4H", *box) + coded, picture, mask, moving)
    assert caught.value.code == "damaged"


def test_a_moving_plate_that_claims_too_much(picture, coded, monkeypatch):
    """A box far outside the canvas makes the plate large: refused before it is decoded."""
    mask = np.full(picture.shape[:2], 255, np.uint8)

    def plate(left, top):
        return picture_coding.decode_plate(
            struct.pack("<2h2H", left, top, 111, 83) + coded, picture, mask, True
        )

    assert plate(-3985, 0)[0].shape == (83, 4096, 3)
    assert plate(0, 4013)[0].shape == (4096, 111, 3)
    monkeypatch.setattr(cv2, "imdecode", None)
    for left, top in ((-3986, 0), (3986, 0), (0, -4014), (0, 4014)):
        with pytest.raises(InputError, match="4096 is the most"):
            plate(left, top)


@pytest.mark.parametrize("cut", [0, 1, 7])
def test_plates_and_crops_that_are_cut_short(picture, coded, cut):
    mask = np.zeros(picture.shape[:2], np.uint8)
    data = (struct.pack("<4H", 0, 0, 111, 83) + coded)[:cut]
    with pytest.raises(InputError, match="past its end"):
        picture_coding.decode_plate(data, picture, mask)
    with pytest.raises(InputError, match="past its end"):
        picture_coding.decode_crop(data, picture, mask)


@pytest.mark.parametrize(
    "box", [(1, 0, 111, 83), (0, 1, 111, 83), (0, 0, 0, 83), (0, 0, 111, 0), (65535, 65535, 65535, 65535)]
)
def test_a_crop_outside_the_canvas(picture, coded, box):
    mask = np.zeros(picture.shape[:2], np.uint8)
    assert picture_coding.decode_crop(struct.pack("<4H", 0, 0, 111, 83) + coded, picture, mask) is not None
    with pytest.raises(InputError, match="reference picture lies outside") as caught:
        picture_coding.decode_crop(struct.pack("<4H", *box) + coded, picture, mask)
    assert caught.value.code == "damaged"


@pytest.mark.parametrize("box", [(110, 0, 1, 83), (0, 82, 111, 1), (110, 82, 1, 1)])
def test_a_box_may_be_a_line_at_the_edge(picture, box):
    line = picture_coding.encode_picture(np.zeros((box[3], box[2], 3), np.uint8), 60)
    hidden = np.full(picture.shape[:2], 255, np.uint8)
    data = struct.pack("<4H", *box) + line
    for found in (
        picture_coding.decode_crop(data, picture, hidden),
        picture_coding.decode_plate(data, picture, hidden)[0],
    ):
        place = np.s_[box[1] : box[1] + box[3], box[0] : box[0] + box[2]]
        assert found[place].max() < 6
        found[place] = picture[place]
        np.testing.assert_array_equal(found, picture)


def test_what_nobody_sees_costs_little():
    """A crop of the person leaves out what is around: noise there makes it no larger."""
    mask = decoded_person(128, 192)
    flat = np.full((192, 128, 3), 90, np.uint8)
    noise = np.random.default_rng(1).integers(0, 255, flat.shape).astype(np.uint8)
    hidden = windows(mask, 9, {"mode": "constant"}).max((2, 3))[..., None] > 0
    calm, busy = (
        picture_coding.encode_crop(np.where(hidden, flat, around), mask, 60) for around in (flat, noise)
    )
    assert busy == calm


def test_a_crop_is_filled_with_the_colours_about_it():
    """Left of the middle the person is dark, right of it bright: so is what fills the corners of the box."""
    mask = np.zeros((192, 128), np.uint8)
    for column in range(20, 108):
        mask[column : column + 50, column] = 255
    mask = picture_coding.decode_mask(picture_coding.encode_mask(mask), 128, 192)
    picture = np.full((192, 128, 3), 60, np.uint8)
    picture[:, 64:] = 180
    coded = picture_coding.encode_crop(picture, mask, 60)
    *_, width, height = struct.unpack_from("<4H", coded)
    crop = picture_coding.decode_picture(coded[8:], width, height).astype(int)
    assert np.abs(crop[height // 2, -10:] - 180).max() < 12
    assert np.abs(crop[height // 2, :10] - 60).max() < 12
    assert crop.min() > 40 and crop.max() < 200


# ---- AVIF ---------------------------------------------------------------------------------------


def boxes(data):
    """The boxes of an ISO base media file, those within others too, by kind."""
    found, at = {}, 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        inside = data[at + 8 : at + size]
        found[kind] = inside
        skipped = {b"meta": 4, b"iinf": 6, b"iprp": 0, b"ipco": 0}.get(kind)
        if skipped is not None:
            found |= boxes(inside[skipped:])
        at += size
    return found


def test_the_boxes_put_back_are_those_that_the_encoder_wrote(picture, coded, monkeypatch):
    """So that any AVIF decoder serves: compared with the file that libavif itself makes."""
    written, opened = [], []
    encode, decode = cv2.imencode, cv2.imdecode
    monkeypatch.setattr(cv2, "imencode", lambda *given: written.append(encode(*given)) or written[-1])
    monkeypatch.setattr(cv2, "imdecode", lambda data, how: opened.append(bytes(data)) or decode(data, how))
    data = picture_coding.encode_picture(picture, 60)
    theirs, ours = boxes(written[0][1].tobytes()), boxes(opened[-1])
    assert list(ours) == list(theirs)
    for kind in (b"ftyp", b"hdlr", b"pitm", b"ipco", b"ispe", b"pixi", b"av1C", b"colr", b"ipma"):
        assert ours[kind] == theirs[kind], kind
    assert ours[b"mdat"] == data == theirs[b"mdat"][2:]  # without the temporal delimiter
    assert ours[b"infe"] == theirs[b"infe"].replace(b"Color", b"")
    for file, at in ((opened[-1], ours[b"iloc"]), (written[0][1].tobytes(), theirs[b"iloc"])):
        *layout, start, size = struct.unpack(">IHHHHHII", at)
        assert layout == [0, 0x4400, 1, 1, 0, 1]
        assert file[start : start + size].endswith(data) and start + size == len(file)


def test_an_opencv_without_avif_is_named(picture, monkeypatch):
    def unable(*_):
        raise cv2.error("no such codec")

    for encode in (unable, lambda *_: (False, None)):
        monkeypatch.setattr(cv2, "imencode", encode)
        with pytest.raises(S2DError, match=r"cannot write AVIF.*opencv-python-headless") as caught:
            picture_coding.encode_picture(picture, 60)
        assert caught.value.code == "no_avif"


def test_an_opencv_that_writes_another_avif_is_named(picture, coded, monkeypatch):
    """What is kept of a picture must be that picture: an alpha plane, say, would be lost."""
    decode = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda data, how: decode(data, how) // 2 * (len(data) % 2))
    with pytest.raises(S2DError, match="another way"):
        picture_coding.encode_picture(picture, 60)


@pytest.mark.parametrize("failure", [lambda *_: None, lambda *_: np.zeros((83, 112, 3), np.uint8)])
def test_an_opencv_that_cannot_read_a_picture(coded, monkeypatch, failure):
    monkeypatch.setattr(cv2, "imdecode", failure)
    with pytest.raises(InputError, match="cannot be decoded"):
        picture_coding.decode_picture(coded, 111, 83)


@pytest.mark.parametrize("bit", [1, 4, 128])  # reserved, extension, forbidden
@pytest.mark.parametrize("unit", [0, 1])
def test_units_that_no_still_picture_has(coded, bit, unit):
    at = [0, 2 + coded[1]][unit]
    altered = bytearray(coded)
    altered[at] |= bit
    with pytest.raises(InputError, match="not an AV1 still picture") as caught:
        picture_coding.decode_picture(bytes(altered), 111, 83)
    assert caught.value.code == "damaged"
    altered[at] = coded[at] & ~2  # no size
    with pytest.raises(InputError, match="not an AV1 still picture"):
        picture_coding.decode_picture(bytes(altered), 111, 83)


def test_units_that_are_cut_short(coded):
    first = 2 + coded[1]
    for size in (1, 2, first - 1, first + 1, first + 2, len(coded) - 1):
        with pytest.raises(InputError, match="cut short"):
            picture_coding.decode_picture(coded[:size], 111, 83)
    for size in (0, first):
        with pytest.raises(InputError, match="not one AV1 still picture"):
            picture_coding.decode_picture(coded[:size], 111, 83)


@pytest.mark.parametrize("flipped", [0x20, 0x10, 0x08])  # profile, still picture, reduced header
def test_a_sequence_that_is_no_reduced_still_picture(coded, flipped):
    altered = bytearray(coded)
    altered[2] ^= flipped
    with pytest.raises(InputError, match="main profile") as caught:
        picture_coding.decode_picture(bytes(altered), 111, 83)
    assert caught.value.code == "damaged"


@pytest.mark.parametrize("size", [(16, 16), (17, 300), (4096, 16), (256, 456)])
def test_pictures_of_all_sizes(size):
    flat = np.full((size[1], size[0], 3), (200, 90, 30), np.uint8)
    decoded = picture_coding.decode_picture(picture_coding.encode_picture(flat, 50), *size)
    assert np.abs(decoded.astype(int) - flat).max() < 6
