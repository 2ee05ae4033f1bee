# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of several people: each in their own frames, before one background, and as one person's clip."""

import json
import shutil
import tracemalloc
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from sparse2dense.inference.format import keypoint_coding, picture_coding
from sparse2dense.inference.format.clip import Person, Reference, Shot
from sparse2dense.inference.format.container import S2DFile, read_clip, read_shot, write_clip, write_shot
from sparse2dense.inference.format.info import file_info
from sparse2dense.models.errors import InputError

from . import second_decoder
from .sealing import add_part, assert_liars_get_no_memory, replace_part

DATA = Path(__file__).parents[2] / "data"
GOLDEN = DATA / "golden_2.s2d"
GOLDEN_PEOPLE = DATA / "golden_2_people.s2d"
GOLDEN_TEXTURE = DATA / "golden_2_texture.s2d"
BLUE_BOX = np.s_[50:140, 86:120]


@pytest.fixture(scope="session")
def expected():
    """What must come out of golden_2.s2d and golden_2_people.s2d."""
    with np.load(DATA / "golden_2.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="session")
def pair(filmed):
    """The filmed clip with a second, blue person, who comes at frame 20 and leaves at 310."""
    picture, mask = filmed.references[0].picture.copy(), np.zeros((200, 136), np.uint8)
    picture[BLUE_BOX] = (30, 60, 220)
    mask[BLUE_BOX] = 255
    first = replace(filmed.references[0], picture=picture, frame=30)
    blue = Person(
        keypoints=filmed.keypoints[20:310] + np.float32([0.7, 0, 0]),
        body="anny",
        shape=-filmed.shape,
        references=[Reference(30, picture, mask), Reference(100, picture, mask)],
        first=20,
    )
    shot = Shot.of(replace(filmed, references=[first, replace(first, frame=319)]))
    return replace(shot, frames=330, people=[replace(shot.people[0], certainty=None), blue])


@pytest.fixture(scope="session")
def pair_file(pair, tmp_path_factory):
    path = tmp_path_factory.mktemp("shot") / "pair.s2d"
    return path, write_shot(pair, path)


# ---- golden files ----------------------------------------------------------------------------


def test_the_golden_file_of_one_person(golden, expected):
    clip = read_clip(GOLDEN)
    np.testing.assert_array_equal(clip.keypoints, golden["decoded_spaced"])
    np.testing.assert_array_equal(clip.certainty, expected["certainty"])
    np.testing.assert_array_equal(clip.references[0].mask, golden["mask"])
    for found, name in ((clip.references[0].picture, "picture_alone"), (clip.plate, "plate_alone")):
        assert np.abs(found.astype(int) - expected[name]).max() <= 3  # decoders may round colours differently
    header, keypoints = second_decoder.read(GOLDEN)
    assert (header["version"], header["kinds"]) == (2, [1, 2, 3, 32])
    np.testing.assert_array_equal(keypoints.astype(np.float32), golden["decoded_spaced"])
    np.testing.assert_array_equal(np.float32(header["certainty"]) / np.float32(3), expected["certainty"])
    assert header["camera"] == (clip.camera.fx, clip.camera.fy, clip.camera.cx, clip.camera.cy)


def test_the_golden_file_of_three_people(expected):
    shot = read_shot(GOLDEN_PEOPLE)
    second = second_decoder.read_shot(GOLDEN_PEOPLE)
    assert [(person.first, len(person.keypoints)) for person in shot.people] == [(0, 45), (3, 25), (39, 6)]
    assert [person.body for person in shot.people] == ["anny", "anny", "smplx"]
    assert [[reference.frame for reference in person.references] for person in shot.people] == [
        [5, 44], [5, 20], []
    ]  # fmt: skip
    for i, (person, other) in enumerate(zip(shot.people, second["people"], strict=True)):
        np.testing.assert_array_equal(person.keypoints, expected[f"keypoints_{i}"])
        np.testing.assert_array_equal(other["keypoints"].astype(np.float32), expected[f"keypoints_{i}"])
        assert (other["first"], other["frames"]) == (person.first, len(person.keypoints))
        np.testing.assert_array_equal(other["shape"], person.shape)
        if person.certainty is None:
            assert i == 1 and "certainty" not in other
        else:
            np.testing.assert_array_equal(person.certainty, expected[f"certainty_{i}"])
            levels = np.float32(other["certainty"]) / np.float32(3)
            np.testing.assert_array_equal(levels, expected[f"certainty_{i}"])
    np.testing.assert_array_equal(shot.views, expected["views"])
    np.testing.assert_array_equal(second["views"].astype(np.float32), expected["views"])
    for found, stored in (
        (read_clip(GOLDEN_PEOPLE).background(30), expected["background"]),
        (shot.people[1].references[0].picture, expected["picture"]),
    ):
        assert np.abs(found.astype(int) - stored).max() <= 4  # decoders may round colours differently


def test_golden_keypoints_and_certainty_encode_to_the_same_bytes(golden, expected, tmp_path):
    clip = replace(read_clip(GOLDEN), keypoints=golden["keypoints"], references=[], plate=None)
    write_clip(clip, tmp_path / "again.s2d", step_mm=S2DFile.open(GOLDEN).header.step_um / 1000)
    sizes = S2DFile.open(GOLDEN).sizes()
    tail = sizes["keypoints"] + sizes["index"] + sizes["certainty"]
    assert (tmp_path / "again.s2d").read_bytes()[-tail:] == GOLDEN.read_bytes()[-tail:]
    np.testing.assert_array_equal(read_clip(tmp_path / "again.s2d").certainty, expected["certainty"])


def test_the_golden_file_with_a_texture(expected):
    with np.load(DATA / "golden_2_texture.npz") as stored:
        texture = read_clip(GOLDEN_TEXTURE).texture
        assert np.abs(texture.astype(int) - stored["texture"]).max() <= 3
    second, keypoints = second_decoder.read(GOLDEN_TEXTURE)
    assert second["kinds"] == [1, 2, 3, 32, 35]
    side, coded = second["texture"]
    assert texture.shape == (side, side, 3)
    np.testing.assert_array_equal(picture_coding.decode_picture(coded, side, side), texture)
    np.testing.assert_array_equal(keypoints.astype(np.float32), read_clip(GOLDEN).keypoints)


# ---- round trip ------------------------------------------------------------------------------


def test_a_shot_comes_back(pair, pair_file):
    back = read_shot(pair_file[0])
    assert (back.fps, back.camera, back.width, back.height, back.frames) == (
        pair.fps, pair.camera, pair.width, pair.height, 330
    )  # fmt: skip
    assert back.moving_camera and back.views is None
    for found, person in zip(back.people, pair.people, strict=True):
        assert (found.first, found.body, found.certainty) == (person.first, "anny", None)
        np.testing.assert_allclose(found.shape, person.shape, atol=1e-3)
        assert np.linalg.norm(found.keypoints - person.keypoints, axis=-1).mean() < 0.006
        for reference, given in zip(found.references, person.references, strict=True):
            assert reference.frame == given.frame
            assert ((reference.mask > 127) != (given.mask > 127)).mean() < 0.01


def test_behind_two_people_is_one_background(pair, pair_file, tmp_path):
    """What both hide in the first reference is sent; each one's further references show them alone."""
    back = read_shot(pair_file[0])
    red = np.s_[70:140, 50:70]
    for box in (red, np.s_[60:130, 96:110]):
        assert np.abs(back.plate[box].astype(int) - pair.plate[box]).max() < 30
    blue = back.people[1].references
    for reference in blue:
        assert np.abs(reference.picture[red].astype(int) - pair.plate[red]).max() < 30, "not the red person"
        inside = np.s_[60:130, 96:110]
        assert np.abs(reference.picture[inside].astype(int) - (30, 60, 220)).mean() < 8
    whole = back.people[0].references[0].picture
    assert np.abs(whole.astype(int) - pair.people[0].references[0].picture).mean() < 4
    other_moments = [replace(reference, frame=reference.frame + 1) for reference in pair.people[1].references]
    write_shot(
        replace(pair, people=[pair.people[0], replace(pair.people[1], references=other_moments)]),
        tmp_path / "apart.s2d",
    )
    plate = read_shot(tmp_path / "apart.s2d").plate
    assert np.abs(plate[100, 100].astype(int) - (30, 60, 220)).max() < 20, "nobody said who stands there"


def test_a_person_is_read_as_a_clip_of_their_own_frames(pair, pair_file, panned, tmp_path):
    red, blue = S2DFile.open(pair_file[0]).people()
    shot = read_shot(pair_file[0])
    clip = blue.clip()
    assert (clip.frames, blue.header.first, blue.header.after) == (290, 20, 20)
    np.testing.assert_array_equal(clip.keypoints, shot.people[1].keypoints)
    assert [reference.frame for reference in clip.references] == [10, 80]
    np.testing.assert_array_equal(clip.plate, shot.plate)
    np.testing.assert_array_equal(read_clip(pair_file[0]).keypoints, red.clip().keypoints)
    second = second_decoder.read_shot(pair_file[0])["people"]
    np.testing.assert_array_equal(second[1]["keypoints"].astype(np.float32), clip.keypoints)

    moving = Shot.of(replace(panned, plate=None, plate_origin=(0, 0)))
    late = replace(moving.people[0], keypoints=panned.keypoints[300:], first=300)
    late.references = [replace(panned.references[0], frame=310)]
    write_shot(replace(moving, people=[*moving.people, late]), tmp_path / "moving.s2d")
    whole, last = (file.clip() for file in S2DFile.open(tmp_path / "moving.s2d").people())
    np.testing.assert_array_equal(last.views, whole.views[300:])
    np.testing.assert_array_equal(last.background(5), whole.background(305))  # of the shot's first reference
    assert S2DFile.open(tmp_path / "moving.s2d").plate() == (None, (0, 0))


def test_any_frame_of_anybody_decodes_one_group(pair_file, monkeypatch):
    """Groups of the one who comes at frame 20 begin there: the second would be of frame 320 of the shot."""
    whole = read_shot(pair_file[0]).people[1].keypoints
    decoded = []
    decode = keypoint_coding.decode_group
    monkeypatch.setattr(
        keypoint_coding, "decode_group", lambda *given: decoded.append(given[1]) or decode(*given)
    )
    blue = S2DFile.open(pair_file[0]).people()[1]
    np.testing.assert_array_equal(blue.keypoints(280, 290), whole[280:])
    assert decoded == [290]
    with pytest.raises(ValueError, match="0 to 291 of 290"):
        blue.keypoints(0, 291)


def test_who_was_never_filmed_has_no_pictures(pair, tmp_path):
    unseen = replace(pair.people[1], references=[])
    write_shot(replace(pair, people=[unseen, pair.people[0]]), tmp_path / "shot.s2d")
    first, second = S2DFile.open(tmp_path / "shot.s2d").people()
    assert (first.has_pictures, second.has_pictures) == (False, True)
    assert (first.references(), first.plate()) == ([], (None, (0, 0)))
    assert second.plate()[0] is not None
    sizes = write_shot(replace(pair, people=[unseen, unseen]), tmp_path / "shot.s2d")
    assert set(sizes) == {"header", "keypoints", "index", "total"}


def test_certainty_goes_with_the_person(pair, tmp_path):
    certainty = np.ones((290, 6), np.float32)
    certainty[60:120, 2] = 0
    people = [pair.people[0], replace(pair.people[1], certainty=certainty)]
    sizes = write_shot(replace(pair, people=people), tmp_path / "shot.s2d")
    first, second = S2DFile.open(tmp_path / "shot.s2d").people()
    assert first.certainty() is None and first.clip().certainty is None
    np.testing.assert_array_equal(second.clip().certainty, certainty)
    np.testing.assert_array_equal(read_shot(tmp_path / "shot.s2d").people[1].certainty, certainty)
    assert 0 < sizes["certainty"] < 20
    assert file_info(first)["doubts"] is None
    told = json.loads(json.dumps(file_info(second)))
    assert told["doubts"] == ["0:02.0-0:04.0 left arm"]
    assert (told["people"], told["shown"], told["frames"]) == (2, 2, 290)


def test_a_texture_goes_with_the_person(pair, pair_file, tmp_path):
    texture = np.full((96, 96, 3), (40, 90, 200), np.uint8)
    people = [pair.people[0], replace(pair.people[1], texture=texture)]
    path = tmp_path / "shot.s2d"
    sizes = write_shot(replace(pair, people=people), path)
    first, second = S2DFile.open(path).people()
    assert first.texture() is None and first.clip().texture is None
    assert np.abs(second.clip().texture.astype(int) - texture).max() < 4
    assert np.abs(read_shot(path).people[1].texture.astype(int) - texture).max() < 4
    assert file_info(second)["bytes"]["texture"] == sizes["texture"] > 20
    assert sizes["total"] == path.stat().st_size
    assert "texture" not in pair_file[1]
    # All else is as without it, and where nobody has pictures there is none.
    assert sizes["total"] - sizes["texture"] - pair_file[1]["total"] < 10
    unseen = [replace(person, references=[]) for person in people]
    assert "texture" not in write_shot(replace(pair, people=unseen), path)


@pytest.mark.parametrize("shape", [(63, 63, 3), (2049, 2049, 3), (96, 64, 3), (96, 96)])
def test_a_texture_that_the_format_cannot_hold(pair, tmp_path, shape):
    people = [replace(person, texture=np.zeros(shape, np.uint8)) for person in pair.people]
    with pytest.raises(InputError, match="64 to 2048"):
        write_shot(replace(pair, people=people), tmp_path / "shot.s2d")
    assert not list(tmp_path.iterdir())


def test_bytes_are_those_of_all_people(pair_file):
    path, sizes = pair_file
    assert sizes["total"] == path.stat().st_size == sum(sizes.values()) - sizes["total"]
    assert list(sizes) == ["header", "plate", "reference", "keypoints", "index", "total"]
    one, both = S2DFile.open(path).people()[1], sizes["keypoints"] + sizes["index"]
    assert both == sum(part.size for part in one.parts if part.name == "keypoints")


# ---- what a decoder passes over --------------------------------------------------------------


@pytest.mark.parametrize("person", [None, 0, 1])
@pytest.mark.parametrize("kind", [33, 36, 250])
def test_optional_parts_to_come_change_nothing(pair_file, tmp_path, person, kind):
    path = tmp_path / "later.s2d"
    path.write_bytes(add_part(pair_file[0].read_bytes(), person, kind, 1, bytes(500)))
    file, plain = S2DFile.open(path), read_shot(pair_file[0])
    file.check()
    found = file.shot()
    for one, other in zip(found.people, plain.people, strict=True):
        np.testing.assert_array_equal(one.keypoints, other.keypoints)
        np.testing.assert_array_equal(one.references[-1].picture, other.references[-1].picture)
    np.testing.assert_array_equal(found.plate, plain.plate)
    name = {33: "hands", 36: "camera_way", 250: "part 250"}[kind]
    assert file.sizes()[name] == 500
    assert sum(file.sizes().values()) == 2 * path.stat().st_size
    people, *told = file.unshown_warnings()
    assert people == "later.s2d holds 2 people, and number 1 is shown."
    if person == 1:
        assert told == [], "that person is not shown"
    else:
        (line,) = told
        assert f"({name.replace('_', ' ')}): it is passed over" in line


def test_certainty_of_a_version_to_come_is_passed_over(filmed_file, tmp_path):
    path = tmp_path / "later.s2d"
    path.write_bytes(add_part(filmed_file[0].read_bytes(), 0, 32, 2, b"finer"))
    file = S2DFile.open(path)
    assert file.certainty() is None
    (line,) = file.unshown_warnings()
    assert "certainty" in line
    assert S2DFile.open(filmed_file[0]).unshown_warnings() == []


def test_a_part_that_is_passed_over_has_a_checksum_too(filmed_file, tmp_path):
    data = add_part(filmed_file[0].read_bytes(), 0, 40, 1, b"what is to come")
    path = tmp_path / "altered.s2d"
    path.write_bytes(data.replace(b"what is", b"what iz"))
    assert read_clip(path).frames == 320
    with pytest.raises(InputError, match=r"altered\.s2d: the part 40 part was altered"):
        S2DFile.open(path).check()


# ---- what cannot be written ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"first": 41, "references": []}, "from frame 41 on for 290 of 330"),
        ({"first": -1}, "frame -1"),
        ({"keypoints": np.zeros((0, 23, 3), np.float32), "references": []}, "frames"),
        ({"first": 31}, "frame 30"),  # a reference of a frame before they came
        (
            {
                "first": 0,
                "references": [
                    Reference(290, np.zeros((200, 136, 3), np.uint8), np.zeros((200, 136), np.uint8))
                ],
            },
            "frame 290",
        ),
        ({"certainty": np.ones((289, 6))}, "289 frames"),
        ({"certainty": np.full((290, 6), 2.0)}, "from 0 to 1"),
        ({"body": "Körper"}, "ASCII"),
    ],
)
def test_a_person_that_the_format_cannot_hold(pair, tmp_path, change, said):
    people = [pair.people[0], replace(pair.people[1], **change)]
    with pytest.raises(InputError, match=said):
        write_shot(replace(pair, people=people), tmp_path / "shot.s2d")
    assert not list(tmp_path.iterdir())


def test_eight_people_are_the_most(make_motion, tmp_path):
    shot = Shot.of(make_motion(2))
    write_shot(replace(shot, people=shot.people * 8), tmp_path / "shot.s2d")
    assert len(read_shot(tmp_path / "shot.s2d").people) == 8
    for people in (0, 9):
        with pytest.raises(InputError, match=f"{people} people"):
            write_shot(replace(shot, people=shot.people * people), tmp_path / "shot.s2d")


# ---- files from strangers --------------------------------------------------------------------


@pytest.mark.parametrize("golden_file", [GOLDEN, GOLDEN_PEOPLE, GOLDEN_TEXTURE])
def test_truncated_anywhere(golden_file, tmp_path):
    data = golden_file.read_bytes()
    path = tmp_path / "short.s2d"
    for size in range(0, len(data), 7):
        path.write_bytes(data[:size])
        with pytest.raises(InputError):
            S2DFile.open(path)


@pytest.mark.parametrize("golden_file", [GOLDEN, GOLDEN_PEOPLE, GOLDEN_TEXTURE])
def test_altered_bytes_are_found(golden_file, tmp_path):
    data = golden_file.read_bytes()
    path = tmp_path / "altered.s2d"
    for at in range(0, len(data), 13):
        altered = bytearray(data)
        altered[at] ^= 1 << at % 8
        path.write_bytes(altered)
        with pytest.raises(InputError):
            S2DFile.open(path).check()


@pytest.mark.parametrize("golden_file", [GOLDEN, GOLDEN_PEOPLE, GOLDEN_TEXTURE])
def test_a_liar_gets_no_memory(golden_file, tmp_path):
    assert_liars_get_no_memory(Path(shutil.copy(golden_file, tmp_path)), read_shot)


def test_a_million_frames_with_a_short_stay_take_no_memory(make_motion, tmp_path):
    """A person of seven frames in a shot that claims a million: what is theirs is all that is decoded."""
    shot = Shot.of(make_motion(7))
    write_shot(replace(shot, frames=1_000_000), tmp_path / "long.s2d")
    tracemalloc.start()
    assert read_clip(tmp_path / "long.s2d").frames == 7
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6


def test_a_group_of_no_bytes(tmp_path):
    data, file = GOLDEN.read_bytes(), S2DFile.open(GOLDEN)
    (part,) = file.parts_of("keypoints")
    track = data[part.start : part.end]
    path = tmp_path / "clip.s2d"
    path.write_bytes(replace_part(data, part.start, track, bytes(4) + track[4:]))
    with pytest.raises(InputError, match="past its end"):
        read_clip(path)
    path.write_bytes(replace_part(data, part.start, track, track[:4] + b"\x09" + track[5:]))
    with pytest.raises(InputError, match="9 frames apart"):
        read_clip(path)


def test_a_damaged_certainty_is_named(tmp_path, filmed):
    path = tmp_path / "clip.s2d"
    certainty = np.ones((320, 6), np.float32)
    write_clip(replace(filmed, references=[], plate=None, certainty=certainty), path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 4
    path.write_bytes(data)
    for read in (read_clip, lambda path: file_info(S2DFile.open(path))):
        with pytest.raises(InputError, match=r"clip\.s2d: the certainty part was altered"):
            read(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda part: b"\x3f\x00" + part[2:], "63 pixels a side"),
        (lambda part: b"\xff\xff" + part[2:], "65535 pixels a side"),
        (lambda part: b"\x00\x08" + part[2:], "64x64 where the header says 2048x2048"),
        (lambda part: part[:40] + bytes(len(part) - 40), "cannot be decoded"),
    ],
)
def test_a_damaged_texture_is_named(tmp_path, change, said):
    data, file = GOLDEN_TEXTURE.read_bytes(), S2DFile.open(GOLDEN_TEXTURE)
    (part,) = file.parts_of("texture")
    content = data[part.start : part.end]
    path = tmp_path / "clip.s2d"
    path.write_bytes(replace_part(data, part.start, content, change(content)))
    with pytest.raises(InputError, match=rf"clip\.s2d: .*{said}"):
        S2DFile.open(path).texture()


@pytest.mark.parametrize("fps", [Fraction(1), Fraction(1000)])
def test_certainty_at_any_rate(make_motion, tmp_path, fps):
    certainty = np.ones((9, 6), np.float32)
    write_clip(replace(make_motion(9), fps=fps, certainty=certainty), tmp_path / "clip.s2d")
    np.testing.assert_array_equal(read_clip(tmp_path / "clip.s2d").certainty, certainty)
