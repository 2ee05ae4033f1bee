# SPDX-License-Identifier: GPL-3.0-or-later
"""The container: golden files, round trips, seeking, and files from strangers."""

import os
import struct
import tracemalloc
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from sparse2dense.inference.format import container, homography_coding, keypoint_coding, picture_coding
from sparse2dense.inference.format.clip import Clip, Reference
from sparse2dense.inference.format.container import S2DFile, read_clip, write_clip
from sparse2dense.models.camera import Camera
from sparse2dense.models.errors import InputError, S2DError

from . import second_decoder

DATA = Path(__file__).parents[2] / "data"
GOLDEN = DATA / "golden.s2d"
GOLDEN_SPACED = DATA / "golden_spaced.s2d"
GOLDEN_PANNED = DATA / "golden_panned.s2d"


@pytest.fixture(scope="module")
def golden():
    """What went into golden.s2d and golden_spaced.s2d (``keypoints``) and what must come out (the rest)."""
    with np.load(DATA / "golden.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def filmed():
    """A clip with two references and a plate, larger than the mask's cells."""
    rng = np.random.default_rng(5)
    standing = rng.normal(0, 0.3, (23, 3)) + np.array([0, 0, 3])
    height, width = 200, 136
    ground = np.linspace(40, 200, height)[:, None, None] + np.zeros((height, width, 3))
    picture = ground.copy()
    picture[60:150, 40:80] = (220, 60, 30)
    mask = np.zeros((height, width), np.uint8)
    mask[60:150, 40:80] = 255
    reference = Reference(3, picture.astype(np.uint8), mask)
    return Clip(
        fps=Fraction(30000, 1001),
        camera=Camera(210.5, 211.0, 68.0, 99.5),
        width=width,
        height=height,
        keypoints=(standing + rng.normal(0, 0.004, (320, 23, 3)).cumsum(0)).astype(np.float32),
        body="anny",
        shape=np.linspace(-1.5, 1.5, 12, dtype=np.float32),
        references=[reference, replace(reference, frame=319)],
        plate=ground.astype(np.uint8),
        moving_camera=True,
    )


@pytest.fixture(scope="module")
def filmed_file(filmed, tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "filmed.s2d"
    sizes = write_clip(filmed, path)
    return path, sizes


def reseal(data: bytes, payload: bytes) -> bytes:
    """Put another payload in a file's header, with lengths and checksum as they should be."""
    size = struct.unpack_from("<H", data, 5)[0]
    head = data[:5] + struct.pack("<H", len(payload)) + payload
    return head + struct.pack("<I", zlib.crc32(head)) + data[7 + size + 4 :]


def payload_of(data: bytes) -> bytes:
    return data[7 : 7 + struct.unpack_from("<H", data, 5)[0]]


@pytest.fixture(scope="module")
def panned(filmed):
    """The same clip filmed by hand, panning right: its plate is wider than the canvas."""
    time = np.arange(filmed.frames)
    home = homography_coding.canvas_corners(filmed.width, filmed.height)
    middle = home.mean(0)
    turn, zoom = 0.03 * np.sin(time / 9), 1 + 0.04 * np.sin(time / 31)
    rotation = np.stack([np.cos(turn), np.sin(turn), -np.sin(turn), np.cos(turn)], -1).reshape(-1, 2, 2)
    shift = np.stack([0.3 * time, 4 * np.sin(time / 7)], -1)[:, None]
    views = (home - middle) @ rotation * zoom[:, None, None] + middle + shift
    ground = np.linspace(40, 200, 240)[:, None] + np.linspace(0, 50, 260)
    plate = np.repeat(ground[..., None], 3, -1).astype(np.uint8)
    origin = (-12, -20)
    inside = plate[20 : 20 + filmed.height, 12 : 12 + filmed.width].copy()
    inside[60:150, 40:80] = (220, 60, 30)
    references = [replace(reference, picture=inside) for reference in filmed.references]
    return replace(
        filmed, references=references, plate=plate, plate_origin=origin, views=views.astype(np.float32)
    )


@pytest.fixture(scope="module")
def panned_file(panned, tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "panned.s2d"
    return path, write_clip(panned, path)


# ---- the bit stream --------------------------------------------------------------------------


def test_golden_file_decodes_to_the_stored_values(golden):
    clip = read_clip(GOLDEN)
    np.testing.assert_array_equal(clip.keypoints, golden["decoded"])
    np.testing.assert_array_equal(clip.references[0].mask, golden["mask"])
    for found, stored in ((clip.references[0].picture, golden["picture"]), (clip.plate, golden["plate"])):
        assert np.abs(found.astype(int) - stored).max() <= 3  # decoders may round colours differently


def test_golden_keypoints_encode_to_the_same_bytes(golden, tmp_path):
    header = S2DFile.open(GOLDEN).header
    groups = np.split(golden["keypoints"], [header.group_frames])
    every_frame = b"".join(keypoint_coding.encode_group(group, header.step_um).data for group in groups)
    assert keypoints_part(GOLDEN).startswith(every_frame)
    assert len(every_frame) > 500
    clip = read_clip(GOLDEN)
    clip.keypoints, clip.references, clip.plate = golden["keypoints"], [], None
    write_clip(clip, tmp_path / "again.s2d", step_mm=header.step_um / 1000)
    assert keypoints_part(tmp_path / "again.s2d") == keypoints_part(GOLDEN_SPACED)


def test_golden_keypoints_between_those_that_are_coded(golden):
    np.testing.assert_array_equal(read_clip(GOLDEN_SPACED).keypoints, golden["decoded_spaced"])
    header, keypoints = second_decoder.read(GOLDEN_SPACED)
    assert header["flags"] & 8
    np.testing.assert_array_equal(keypoints.astype(np.float32), golden["decoded_spaced"])


def keypoints_part(path):
    """Return the keypoint part and the index, which end a file in this order."""
    sizes = S2DFile.open(path).info()["bytes"]
    return path.read_bytes()[-sizes["keypoints"] - sizes["index"] :]


def test_a_decoder_written_from_the_format_document_agrees(golden):
    header, keypoints = second_decoder.read(GOLDEN)
    np.testing.assert_array_equal(keypoints.astype(np.float32), golden["decoded"])
    clip = read_clip(GOLDEN)
    assert Fraction(*header["fps"]) == clip.fps
    assert header["size"] == (clip.width, clip.height)
    assert header["camera"] == (clip.camera.fx, clip.camera.fy, clip.camera.cx, clip.camera.cy)
    np.testing.assert_array_equal(header["shape"], clip.shape)
    assert header["parts"] == [1, 2, 3, 4]


def test_the_golden_file_of_a_moving_camera():
    """A pan with a jerk too large for the tables: views to the bit, the same bytes from the same views."""
    clip = read_clip(GOLDEN_PANNED)
    with np.load(DATA / "golden_panned.npz") as stored:
        np.testing.assert_array_equal(clip.views, stored["decoded"])
        assert np.abs(clip.background(40).astype(int) - stored["background"]).max() <= 4
        group = homography_coding.encode_group(stored["views"], clip.width, clip.height)
    assert group in GOLDEN_PANNED.read_bytes()
    assert len(group) > 60


@pytest.mark.parametrize("golden_file", [True, False])
def test_that_decoder_agrees_on_the_camera_motion(panned_file, golden_file):
    path = GOLDEN_PANNED if golden_file else panned_file[0]
    header, keypoints = second_decoder.read(path)
    clip = read_clip(path)
    assert header["parts"] == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(header["views"].astype(np.float32), clip.views)
    np.testing.assert_array_equal(keypoints.astype(np.float32), clip.keypoints)


# ---- round trip ------------------------------------------------------------------------------


def test_a_clip_comes_back(filmed, filmed_file):
    back = read_clip(filmed_file[0])
    assert (back.fps, back.camera, back.width, back.height) == (
        filmed.fps, filmed.camera, filmed.width, filmed.height
    )  # fmt: skip
    assert (back.body, back.moving_camera) == ("anny", True)
    np.testing.assert_allclose(back.shape, filmed.shape, atol=1e-3)
    assert np.linalg.norm(back.keypoints - filmed.keypoints, axis=-1).mean() < 0.006
    assert [reference.frame for reference in back.references] == [3, 319]
    for reference in back.references:
        assert np.abs(reference.picture.astype(int) - filmed.references[0].picture).mean() < 4
        assert ((reference.mask > 127) != (filmed.references[0].mask > 127)).mean() < 0.01
    assert np.abs(back.plate.astype(int) - filmed.plate).mean() < 4
    assert np.abs(back.plate[60:150, 40:80].astype(int) - filmed.plate[60:150, 40:80]).max() < 30


def test_references_after_the_first_are_cropped_to_the_person(filmed, filmed_file, panned, panned_file):
    for clip, path in ((filmed, filmed_file[0]), (panned, panned_file[0])):
        back = read_clip(path)
        further, background = back.references[1], back.background(319)
        away = (
            picture_coding.decode_mask(picture_coding.encode_mask(filmed.references[1].mask), 136, 200) == 0
        )
        away[40:170, 20:100] = False
        np.testing.assert_array_equal(further.picture[away], background[away])
        person = np.s_[70:140, 50:70]
        assert np.abs(further.picture[person].astype(int) - clip.references[1].picture[person]).mean() < 6


def test_whole_further_references_of_older_files_are_read(filmed, tmp_path, monkeypatch):
    monkeypatch.setattr(
        picture_coding,
        "encode_crop",
        lambda picture, mask, quality: picture_coding.encode_picture(picture, quality),
    )
    path = tmp_path / "older.s2d"
    write_clip(filmed, path)
    payload = bytearray(payload_of(path.read_bytes()))
    payload[1] &= ~4
    path.write_bytes(reseal(path.read_bytes(), bytes(payload)))
    further = read_clip(path).references[1]
    assert np.abs(further.picture.astype(int) - filmed.references[1].picture).mean() < 4


def test_every_byte_is_accounted_for(filmed_file):
    path, sizes = filmed_file
    info = S2DFile.open(path).info()
    assert info["bytes"] == sizes
    assert sizes["total"] == path.stat().st_size == sum(v for name, v in sizes.items() if name != "total")
    assert set(sizes) == {"header", "reference", "plate", "keypoints", "index", "total"}
    assert sizes["header"] < 150
    seconds = 320 * 1001 / 30000
    assert info["kbps"]["total"] == pytest.approx(sizes["total"] * 8 / seconds / 1000, abs=1e-3)
    assert info["fps"] == [30000, 1001]
    assert info["size"] == [136, 200]


@pytest.mark.parametrize(
    ("of", "codec", "read"),
    [
        ("filmed_file", keypoint_coding, S2DFile.keypoints),
        ("panned_file", homography_coding, S2DFile.views),
    ],
    ids=["keypoints", "views"],
)
def test_any_frame_can_be_asked_for_and_decodes_one_group(of, codec, read, request, monkeypatch):
    path, _ = request.getfixturevalue(of)
    whole = read(S2DFile.open(path), 0, 320)
    decoded = []
    decode = codec.decode_group
    monkeypatch.setattr(codec, "decode_group", lambda *given: decoded.append(given[1]) or decode(*given))
    file = S2DFile.open(path)
    for start, stop in ((310, 312), (301, 320), (319, 319)):
        np.testing.assert_array_equal(read(file, start, stop), whole[start:stop])
    assert decoded == [20]  # the second group alone, and once
    np.testing.assert_array_equal(read(file, 298, 303), whole[298:303])


def test_each_group_is_sent_as_sparsely_as_its_motion_allows(filmed, tmp_path):
    """Ten seconds of standing still, then a shiver: the second group alone is sent frame by frame."""
    track = np.repeat(filmed.keypoints[:1], 320, axis=0)
    track[:300] += (0.1 * np.sin(np.arange(300) / 40))[:, None, None].astype(np.float32)
    track[300:] += (0.1 * np.sin(2.0 * np.arange(20)))[:, None, None].astype(np.float32)
    sizes = write_clip(replace(filmed, keypoints=track), tmp_path / "clip.s2d")
    file = S2DFile.open(tmp_path / "clip.s2d")
    assert file.header.spaced
    found = file.keypoints(0, 320)
    assert np.linalg.norm(found - track, axis=-1).mean() < 0.005
    np.testing.assert_array_equal(file.keypoints(290, 310), found[290:310])
    _, second = second_decoder.read(tmp_path / "clip.s2d")
    np.testing.assert_array_equal(second.astype(np.float32), found)
    sent = keypoint_coding.encode_group(track[:300], 6000), keypoint_coding.encode_group(track[300:], 6000)
    assert sizes["keypoints"] < len(sent[0].data) / 2 + len(sent[1].data)


def test_a_moving_plate_comes_back_in_a_few_bits_a_frame(panned, panned_file, filmed_file):
    path, sizes = panned_file
    back = read_clip(path)
    assert np.abs(back.views - panned.views).max() < 0.2
    assert sizes["camera_motion"] * 8 / panned.frames < 16
    assert (back.plate.shape, back.plate_origin) == (panned.plate.shape, panned.plate_origin)
    assert np.abs(back.plate.astype(int) - panned.plate).mean() < 4
    info = S2DFile.open(path).info()
    assert info["moving_plate"]
    assert info["bytes"] == sizes
    assert not S2DFile.open(filmed_file[0]).info()["moving_plate"]


def test_the_background_of_a_frame_is_the_plate_through_its_camera(panned):
    """The plate is a ramp: where a pixel lies in it can be read off its value."""
    plate = np.linspace(0, 255, 260).astype(np.float32)[None, :, None] + np.zeros((240, 260, 3), np.float32)
    clip = replace(panned, plate=plate)
    for frame in (0, 100, 300):
        corners = panned.views[frame].astype(float)
        columns = clip.background(frame)[..., 0] * 259 / 255 - 12 + 0.5
        middle = columns[99:101, 67:69].mean()
        assert middle == pytest.approx(corners[:, 0].mean(), abs=0.2)
        top_left = columns[20, 20]
        along = corners[0] + (corners[1] - corners[0]) * 20.5 / 136 + (corners[3] - corners[0]) * 20.5 / 200
        assert top_left == pytest.approx(along[0], abs=0.2)


def test_a_motion_without_pictures(filmed, tmp_path):
    clip = replace(filmed, references=[], plate=None, keypoints=filmed.keypoints[:1])
    sizes = write_clip(clip, tmp_path / "motion.s2d")
    back = read_clip(tmp_path / "motion.s2d")
    assert (back.references, back.plate, back.frames) == ([], None, 1)
    assert set(sizes) == {"header", "keypoints", "index", "total"}


def test_warns_of_other_networks(filmed_file, tmp_path):
    path, _ = filmed_file
    file = S2DFile.open(path)
    assert file.network_warnings() == []
    assert {"reference_encoder", "generator"} <= set(file.header.networks)
    altered = bytearray(payload_of(path.read_bytes()))
    for name in ("generator", "reference_encoder"):
        altered[altered.index(file.header.networks[name])] ^= 1
    (tmp_path / "other.s2d").write_bytes(reseal(path.read_bytes(), bytes(altered)))
    (warning,) = S2DFile.open(tmp_path / "other.s2d").network_warnings()
    assert "other weights" in warning and "(reference encoder, generator)" in warning


def test_names_with_spaces_and_other_alphabets(filmed, tmp_path):
    path = tmp_path / "mein Clip é 人" / "Tänzer 人.s2d"
    path.parent.mkdir()
    write_clip(replace(filmed, references=[], plate=None, keypoints=filmed.keypoints[:9]), path)
    assert read_clip(str(path)).frames == 9
    assert os.listdir(path.parent) == [path.name]


# ---- what cannot be written ------------------------------------------------------------------


def test_a_file_that_cannot_be_written_leaves_nothing(filmed, tmp_path, monkeypatch):
    small = replace(filmed, references=[], plate=None, keypoints=filmed.keypoints[:5])
    (tmp_path / "old.s2d").write_bytes(b"old")

    def full(path, data):
        with path.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(S2DError, match="full"):
        write_clip(small, tmp_path / "old.s2d")
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["old.s2d"]
    assert (tmp_path / "old.s2d").read_bytes() == b"old"
    with pytest.raises(InputError, match=r"old\.s2d"):
        write_clip(small, tmp_path / "old.s2d" / "clip.s2d")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"keypoints": np.zeros((4, 22, 3), np.float32)}, "23"),
        ({"keypoints": np.full((4, 23, 3), np.nan, np.float32)}, "NaN"),
        ({"keypoints": np.full((4, 23, 3), 5000, np.float32)}, "metres"),
        ({"keypoints": np.zeros((0, 23, 3), np.float32)}, "frames"),
        ({"fps": Fraction(5000)}, "frames a second"),
        ({"width": 5000, "references": []}, "canvas"),
        ({"width": 130}, "canvas"),
        ({"camera": Camera(0.0, 1.0, 1.0, 1.0)}, "camera"),
        ({"body": "Körper"}, "ASCII"),
    ],
)
def test_a_clip_that_the_format_cannot_hold(filmed, tmp_path, change, said):
    with pytest.raises(InputError, match=said):
        write_clip(replace(filmed, plate=None, **change), tmp_path / "clip.s2d")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"views": np.zeros((320, 4, 2), np.float32)}, "motion"),
        ({"views": np.full((320, 4, 2), np.nan, np.float32)}, "motion"),
        ({"views": np.zeros((7, 4, 2), np.float32)}, "views"),
        ({"plate": np.zeros((240, 5000, 3), np.uint8)}, "4096"),
        ({"plate_origin": (3, 0)}, "plate"),
    ],
)
def test_a_camera_motion_that_the_format_cannot_hold(panned, tmp_path, change, said):
    with pytest.raises(InputError, match=said):
        write_clip(replace(panned, **change), tmp_path / "clip.s2d")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step_mm", [float("nan"), float("inf"), 0.0, -1.0, 1000.0])
def test_an_impossible_step(filmed, tmp_path, step_mm):
    with pytest.raises(InputError, match="step"):
        write_clip(filmed, tmp_path / "clip.s2d", step_mm=step_mm)


# ---- files from strangers --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "not_s2d"),
        (b"\x89S2D", "damaged"),
        (b"GIF89a" + bytes(500), "not_s2d"),
        (b"\x89S2D\x02" + bytes(500), "future_version"),
        (b"\x89S2D\x01\xff\xff" + bytes(500), "damaged"),
    ],
)
def test_foreign_and_future_files(tmp_path, content, code):
    path = tmp_path / "strange.s2d"
    path.write_bytes(content)
    with pytest.raises(InputError, match="strange") as caught:
        S2DFile.open(path)
    assert caught.value.code == code
    assert "\n" not in str(caught.value)


def test_a_folder_or_nothing_is_not_a_clip(tmp_path):
    for path in (tmp_path, tmp_path / "missing.s2d"):
        with pytest.raises(InputError, match="cannot read"):
            S2DFile.open(path)


@pytest.mark.parametrize("golden_file", [GOLDEN, GOLDEN_SPACED])
def test_truncated_anywhere(golden_file, tmp_path):
    data = golden_file.read_bytes()
    path = tmp_path / "short.s2d"
    for size in range(0, len(data), 7):
        path.write_bytes(data[:size])
        with pytest.raises(InputError):
            S2DFile.open(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(InputError, match="do not belong"):
        S2DFile.open(path)


@pytest.mark.parametrize("golden_file", [GOLDEN, GOLDEN_SPACED])
def test_altered_bytes_are_found(golden_file, tmp_path):
    data = golden_file.read_bytes()
    path = tmp_path / "altered.s2d"
    for at in range(0, len(data), 13):
        altered = bytearray(data)
        altered[at] ^= 1 << at % 8
        path.write_bytes(altered)
        with pytest.raises(InputError):
            read_clip(path)


@pytest.mark.parametrize("golden_file", [GOLDEN, GOLDEN_SPACED])
def test_a_liar_gets_no_memory(golden_file, tmp_path):
    """Random payloads under a right checksum: read, or one InputError, and never much memory."""
    rng = np.random.default_rng(11)
    data = golden_file.read_bytes()
    payload = payload_of(data)
    path = tmp_path / "liar.s2d"
    tracemalloc.start()
    refused = 0
    for _ in range(40):
        changed = bytearray(payload)
        for _ in range(rng.integers(1, 4)):
            changed[rng.integers(len(changed))] = rng.integers(256)
        path.write_bytes(reseal(data, bytes(changed)))
        try:
            read_clip(path)
        except InputError:
            refused += 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused > 20
    assert peak < 60e6


@pytest.mark.parametrize("golden_file", [GOLDEN, GOLDEN_SPACED])
def test_a_million_frames_in_a_few_bytes(golden_file, tmp_path):
    data = golden_file.read_bytes()
    payload = payload_of(data)
    lying = payload[:2] + b"\xc0\x84\x3d" + payload[3:]  # 1,000,000 where one byte said 50
    path = tmp_path / "million.s2d"
    path.write_bytes(reseal(data, lying))
    with pytest.raises(InputError, match="1000000 frames"):
        S2DFile.open(path)


@pytest.mark.parametrize("spacing", [0, keypoint_coding.MAX_SPACING + 1, 255])
def test_a_spacing_that_cannot_be(spacing, tmp_path):
    data = GOLDEN_SPACED.read_bytes()
    part = keypoints_part(GOLDEN_SPACED)
    altered = bytes([spacing]) + part[1:]
    size = S2DFile.open(GOLDEN_SPACED).info()["bytes"]["keypoints"]
    payload = payload_of(data).replace(
        struct.pack("<I", zlib.crc32(part[:size])), struct.pack("<I", zlib.crc32(altered[:size]))
    )
    path = tmp_path / "spacing.s2d"
    path.write_bytes(reseal(data, payload)[: -len(part)] + altered)
    with pytest.raises(InputError, match=f"{spacing} frames apart"):
        read_clip(path)


def test_damaged_groups_under_right_checksums(filmed):
    """Random bytes as a group: keypoints, or one InputError."""
    rng = np.random.default_rng(3)
    group = keypoint_coding.encode_group(filmed.keypoints[:10], 6000).data
    refused = 0
    for turn in range(24):
        altered = bytearray(group) if turn % 2 else bytearray(rng.bytes(len(group)))
        for _ in range(3):
            altered[rng.integers(len(altered))] = rng.integers(256)
        try:
            decoded = keypoint_coding.decode_group(bytes(altered), 10, 6000)
            assert decoded.shape == (10, 23, 3)
            assert np.isfinite(decoded).all()
        except InputError:
            refused += 1
    assert refused > 4


def test_camera_motions_from_strangers(panned):
    """Random bytes as a group: views that a camera can have, or one InputError."""
    rng = np.random.default_rng(4)
    group = homography_coding.encode_group(panned.views[:40], 136, 200)
    refused = 0
    for turn in range(40):
        altered = bytearray(group) if turn % 2 else bytearray(rng.bytes(len(group)))
        for _ in range(3):
            altered[rng.integers(len(altered))] = rng.integers(256)
        try:
            decoded = homography_coding.decode_group(bytes(altered), 40, 136, 200)
            homography_coding.check_corners(decoded, 136, 200)
        except InputError:
            refused += 1
    assert refused > 10


def test_a_moving_plate_without_its_motion_is_refused(panned_file, filmed_file, tmp_path):
    """The flag and the part belong together, whichever is missing."""
    for source in (panned_file[0], filmed_file[0]):
        data = source.read_bytes()
        payload = bytearray(payload_of(data))
        payload[1] ^= 2
        (tmp_path / "lying.s2d").write_bytes(reseal(data, bytes(payload)))
        with pytest.raises(InputError, match="motion is missing"):
            S2DFile.open(tmp_path / "lying.s2d")


def test_the_index_must_fit(tmp_path, filmed):
    path = tmp_path / "clip.s2d"
    write_clip(replace(filmed, references=[], plate=None), path)
    data = bytearray(path.read_bytes())
    index_size = S2DFile.open(path).info()["bytes"]["index"]
    data[-index_size] ^= 1
    payload = bytearray(payload_of(bytes(data)))
    payload[-4:] = struct.pack("<I", zlib.crc32(bytes(data[-index_size:])))
    path.write_bytes(reseal(bytes(data), bytes(payload)))
    with pytest.raises(InputError, match="damaged"):
        read_clip(path)


def test_limits_are_what_the_document_says():
    document = (Path(__file__).parents[3] / "docs" / "FORMAT.md").read_text(encoding="utf-8")
    assert f"1 to {container.MAX_FRAMES:,}" in document
    assert f"16 to {picture_coding.MAX_SIDE:,}" in document
    assert f"at most {container.MAX_SHAPE}" in document
    assert f"{container.MIN_STEP_UM} to {container.MAX_STEP_UM:,}" in document
