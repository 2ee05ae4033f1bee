# SPDX-License-Identifier: GPL-3.0-or-later
"""The container: golden files, round trips, seeking, and files from strangers."""

import hashlib
import os
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from sparse2dense.inference.format import homography_coding, keypoint_coding, picture_coding
from sparse2dense.inference.format.container import S2DFile, read_clip, write_clip
from sparse2dense.inference.format.header import pack_header
from sparse2dense.models import shipped
from sparse2dense.models.camera import Camera
from sparse2dense.models.errors import InputError, S2DError
from sparse2dense.models.shipped import WEIGHTS

from . import second_decoder
from .sealing import assert_liars_get_no_memory, payload_of, replace_part, reseal
from .version_1 import parts_of

DATA = Path(__file__).parents[2] / "data"
GOLDEN = DATA / "golden.s2d"
GOLDEN_SPACED = DATA / "golden_spaced.s2d"
GOLDEN_PANNED = DATA / "golden_panned.s2d"


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
    assert dict(parts_of(GOLDEN))["keypoints"] == every_frame
    assert len(every_frame) > 500
    clip = read_clip(GOLDEN)
    clip.keypoints, clip.references, clip.plate = golden["keypoints"], [], None
    write_clip(clip, tmp_path / "again.s2d", step_mm=header.step_um / 1000)
    groups, index = (dict(parts_of(GOLDEN_SPACED))[name] for name in ("keypoints", "index"))
    assert dict(parts_of(tmp_path / "again.s2d"))["keypoints"] == index + groups


def test_golden_keypoints_between_those_that_are_coded(golden):
    np.testing.assert_array_equal(read_clip(GOLDEN_SPACED).keypoints, golden["decoded_spaced"])
    header, keypoints = second_decoder.read(GOLDEN_SPACED)
    assert header["flags"] & 8
    np.testing.assert_array_equal(keypoints.astype(np.float32), golden["decoded_spaced"])


def test_a_decoder_written_from_the_format_document_agrees(golden):
    header, keypoints = second_decoder.read(GOLDEN)
    np.testing.assert_array_equal(keypoints.astype(np.float32), golden["decoded"])
    clip = read_clip(GOLDEN)
    assert Fraction(*header["fps"]) == clip.fps
    assert header["size"] == (clip.width, clip.height)
    assert header["camera"] == (clip.camera.fx, clip.camera.fy, clip.camera.cx, clip.camera.cy)
    np.testing.assert_array_equal(header["shape"], clip.shape)
    assert (header["version"], header["kinds"]) == (1, [1, 2, 3, 4])


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
    assert header["kinds"] == ([1, 2, 3, 4, 5] if golden_file else [1, 2, 3, 5])
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
    assert read(file, 0, 0).shape == (0, *whole.shape[1:])
    np.testing.assert_array_equal(read(file, 300, 301), whole[300:301])
    for start, stop in ((-1, 3), (5, 4), (0, 321), (321, 321)):
        with pytest.raises(ValueError, match=f"{start} to {stop} of 320"):
            read(file, start, stop)


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
    assert S2DFile.open(path).header.moving_plate
    assert not S2DFile.open(filmed_file[0]).header.moving_plate
    assert S2DFile.open(filmed_file[0]).views(0, 320) is None


def test_a_motion_without_pictures(filmed, tmp_path):
    clip = replace(filmed, references=[], plate=None, keypoints=filmed.keypoints[:1])
    sizes = write_clip(clip, tmp_path / "motion.s2d")
    back = read_clip(tmp_path / "motion.s2d")
    assert (back.references, back.plate, back.frames) == ([], None, 1)
    assert S2DFile.open(tmp_path / "motion.s2d").plate() == (None, (0, 0))
    assert set(sizes) == {"header", "keypoints", "index", "total"}


def test_what_stands_behind_nobody_is_left_out(panned, tmp_path):
    sizes = write_clip(replace(panned, references=[]), tmp_path / "motion.s2d")
    assert set(sizes) == {"header", "keypoints", "index", "total"}
    assert not S2DFile.open(tmp_path / "motion.s2d").header.moving_plate


@pytest.mark.parametrize(
    ("fps", "frames"), [(Fraction(30000, 1001), 300), (Fraction(25), 250), (Fraction(1), 10)]
)
def test_a_group_is_ten_seconds(make_motion, tmp_path, fps, frames):
    write_clip(replace(make_motion(2), fps=fps), tmp_path / "clip.s2d")
    assert S2DFile.open(tmp_path / "clip.s2d").header.group_frames == frames


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({}, ["vertex_predictor", "reference_encoder", "generator"]),
        ({"references": [], "plate": None}, ["vertex_predictor"]),
        ({"body": "smplx"}, ["reference_encoder", "generator"]),
        ({"body": "smplx", "references": [], "plate": None}, []),
    ],
)
def test_the_weights_a_clip_was_made_for_are_named(filmed, tmp_path, change, named):
    """Those of the shipped body, and of the pictures where there are any; users' bodies have their own."""
    few = replace(filmed, keypoints=filmed.keypoints[:4], references=filmed.references[:1])
    write_clip(replace(few, **change), tmp_path / "clip.s2d")
    assert S2DFile.open(tmp_path / "clip.s2d").header.networks == {
        name: hashlib.sha256((WEIGHTS / f"{name}.onnx").read_bytes()).digest()[:4] for name in named
    }


def test_weights_that_are_not_here_are_not_warned_of(filmed_file, monkeypatch, tmp_path, filmed):
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path)
    assert S2DFile.open(filmed_file[0]).network_warnings() == []
    few = replace(filmed, keypoints=filmed.keypoints[:4], references=[], plate=None)
    write_clip(few, tmp_path / "clip.s2d")
    assert S2DFile.open(tmp_path / "clip.s2d").header.networks == {}


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
    assert warning.startswith("other.s2d was made for other weights (reference encoder, generator)")


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
        ({"keypoints": np.zeros((320, 22, 3), np.float32)}, "23"),
        ({"keypoints": np.zeros((320, 23, 2), np.float32)}, "23"),
        ({"keypoints": np.full((320, 23, 3), np.nan, np.float32)}, "NaN"),
        ({"keypoints": np.full((320, 23, 3), 5000, np.float32)}, "metres"),
        ({"keypoints": np.zeros((0, 23, 3), np.float32)}, "frames"),
        ({"keypoints": np.zeros((0, 23, 3), np.float32), "references": []}, "frames"),
        ({"fps": Fraction(5000)}, "frames a second"),
        ({"fps": Fraction(0)}, "frames a second"),
        ({"width": 5000, "references": []}, "canvas"),
        ({"width": 130}, "canvas"),
        ({"height": 201}, "canvas"),
        ({"plate": np.zeros((200, 137, 3), np.uint8)}, r"\(200, 137, 3\).* 136x200 canvas"),
        ({"camera": Camera(0.0, 1.0, 1.0, 1.0)}, "camera"),
        ({"camera": Camera(1e-60, 1.0, 1.0, 1.0)}, "camera"),
        ({"camera": Camera(1e60, 1.0, 1.0, 1.0)}, "camera"),
        ({"camera": Camera(1.0, 1.0, float("nan"), 1.0)}, "camera"),
        ({"shape": np.array([1e6])}, "shape"),
        ({"body": "Körper"}, "ASCII"),
        ({"body": "a" * 17_000}, "name is too long"),
    ],
)
def test_a_clip_that_the_format_cannot_hold(filmed, tmp_path, change, said):
    with pytest.raises(InputError, match=said) as caught:
        write_clip(replace(filmed, **({"plate": None} | change)), tmp_path / "clip.s2d")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"frame": -1}, "frame -1"),
        ({"frame": 320}, "frame 320: the clip has 320"),
        ({"mask": np.zeros((200, 137), np.uint8)}, "mask"),
        ({"picture": np.zeros((200, 136), np.uint8)}, "picture of shape"),
        ({"picture": np.zeros((136, 200, 3), np.uint8)}, "picture of shape"),
    ],
)
def test_a_reference_that_the_format_cannot_hold(filmed, tmp_path, change, said):
    references = [filmed.references[0], replace(filmed.references[1], **change)]
    with pytest.raises(InputError, match=said) as caught:
        write_clip(replace(filmed, references=references), tmp_path / "clip.s2d")
    assert caught.value.code == "bad_picture"


def test_four_references_are_the_most(filmed, tmp_path):
    few = replace(filmed, keypoints=filmed.keypoints[:4], plate=None)
    references = [replace(filmed.references[0], frame=frame) for frame in (0, 1, 2, 3, 3)]
    write_clip(replace(few, references=references[:4]), tmp_path / "clip.s2d")
    assert [reference.frame for reference in read_clip(tmp_path / "clip.s2d").references] == [0, 1, 2, 3]
    with pytest.raises(InputError, match="at most 4 reference"):
        write_clip(replace(few, references=references), tmp_path / "clip.s2d")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"views": np.zeros((320, 4, 2), np.float32)}, "motion"),
        ({"views": np.full((320, 4, 2), np.nan, np.float32)}, "motion"),
        ({"views": np.zeros((7, 4, 2), np.float32)}, r"views of shape \(7, 4, 2\)"),
        ({"views": np.zeros((320, 4), np.float32)}, "views"),
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


def test_the_step_and_the_qualities_are_what_is_asked_for(filmed, tmp_path):
    few = replace(filmed, keypoints=filmed.keypoints[:320:80], references=filmed.references[:1])
    few = replace(few, references=[few.references[0], replace(few.references[0], frame=1)])

    def sizes(**options):
        sizes = write_clip(few, tmp_path / "clip.s2d", **options)
        parts = S2DFile.open(tmp_path / "clip.s2d").parts
        pictures = [part.size for name in ("reference", "plate") for part in parts if part.name == name]
        return [sizes["keypoints"], *pictures]

    usual = sizes()
    assert usual == sizes(step_mm=4, reference_quality=35, plate_quality=25)
    larger = np.array([sizes(step_mm=1), sizes(reference_quality=90), sizes(plate_quality=90)]) > usual
    assert larger.tolist() == [
        [True, False, False, False],
        [False, True, False, False],
        [False, False, True, True],
    ]
    for step_mm in (0.1, 100.0):
        sizes(step_mm=step_mm)
        assert S2DFile.open(tmp_path / "clip.s2d").header.step_um == 1000 * step_mm


# ---- files from strangers --------------------------------------------------------------------


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
    path.write_bytes(data[:-1])
    with pytest.raises(InputError, match=f"short.s2d.*cut short.*{len(data) - 1} bytes.*have {len(data)}"):
        S2DFile.open(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(InputError, match="do not belong") as caught:
        S2DFile.open(path)
    assert caught.value.code == "damaged"


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
    assert_liars_get_no_memory(Path(shutil.copy(golden_file, tmp_path)), read_clip)


def altered_part(path, name, change, number=0):
    """Return a file's bytes with its ``number``-th part of a name changed, under right checksums."""
    data = path.read_bytes()
    part = [part for part in S2DFile.open(path).parts if part.name == name][number]
    old = data[part.start : part.end]
    return replace_part(data, part.start, old, change(old))


def with_parts(path, **changes):
    """Return a file's bytes with other parts, of other lengths, under a table that fits."""
    data, file = path.read_bytes(), S2DFile.open(path)
    parts = [(part.name, data[part.start : part.end]) for part in file.parts]
    parts = [(name, changes.get(name, lambda data: data)(data)) for name, data in parts]
    shot_parts = [part for part in parts if part[0] in ("plate", "camera_motion")]
    own_parts = [part for part in parts if part not in shot_parts]
    head = pack_header([file.header], shot_parts, [own_parts])
    return head + b"".join(data for _, data in shot_parts + own_parts)


@pytest.mark.parametrize("spacing", [0, keypoint_coding.MAX_SPACING + 1, 255])
def test_a_spacing_that_cannot_be(spacing, tmp_path):
    path = tmp_path / "spacing.s2d"
    path.write_bytes(altered_part(GOLDEN_SPACED, "keypoints", lambda old: bytes([spacing]) + old[1:]))
    with pytest.raises(InputError, match=f"spacing.s2d.*{spacing} frames apart"):
        read_clip(path)


def test_an_index_that_does_not_fit(filmed_file, panned_file, tmp_path):
    path = tmp_path / "clip.s2d"

    def longer_first_group(index):
        return bytes([index[0] ^ 1]) + index[1:]

    def refused(said):
        with pytest.raises(InputError, match=said) as caught:
            read_clip(path)
        assert str(path) in str(caught.value)
        assert caught.value.code == "damaged"

    path.write_bytes(altered_part(filmed_file[0], "keypoints", longer_first_group))
    refused("damaged")
    path.write_bytes(with_parts(filmed_file[0], keypoints=lambda data: data + b"\0"))
    refused("index does not fit the keypoints")
    path.write_bytes(with_parts(panned_file[0], camera_motion=lambda data: data + b"\0"))
    refused("longer than the clip")
    path.write_bytes(with_parts(panned_file[0], camera_motion=lambda data: data[:-1]))
    refused("past its end")


def test_a_reference_of_a_frame_that_is_not_there(filmed_file, tmp_path):
    path = tmp_path / "clip.s2d"

    def of_frame_320(reference):
        assert reference.startswith(b"\xbf\x02")  # 319, the last
        return b"\xc0\x02" + reference[2:]

    path.write_bytes(altered_part(filmed_file[0], "reference", of_frame_320, 1))
    with pytest.raises(InputError, match=f"{path}.*is not there") as caught:
        S2DFile.open(path).references()
    assert caught.value.code == "damaged"


@pytest.mark.parametrize("name", ["reference", "plate", "keypoints", "camera_motion"])
def test_a_damaged_part_is_named(panned_file, tmp_path, name):
    data = bytearray(panned_file[0].read_bytes())
    part = next(part for part in S2DFile.open(panned_file[0]).parts if part.name == name)
    data[part.end - 1] ^= 4
    path = tmp_path / "altered.s2d"
    path.write_bytes(data)
    file = S2DFile.open(path)
    with pytest.raises(InputError, match=f"altered.s2d: the {name} part was altered") as caught:
        file.check()
    assert caught.value.code == "damaged"
    with pytest.raises(InputError, match=f"altered.s2d: the {name} part"):
        read_clip(path)


def test_a_whole_file_passes_its_check_and_has_one_hash(panned_file):
    file = S2DFile.open(str(panned_file[0]))
    file.check()
    assert file.sha256 == hashlib.sha256(panned_file[0].read_bytes()).hexdigest()
    assert file.path == panned_file[0]


def test_a_file_that_goes_away_is_named(tmp_path):
    path = tmp_path / "gone.s2d"
    path.write_bytes(GOLDEN.read_bytes())
    file = S2DFile.open(path)
    path.unlink()
    with pytest.raises(InputError, match=r"gone\.s2d: No such file") as caught:
        file.keypoints(0, 1)
    assert caught.value.code == "cannot_read"
