# SPDX-License-Identifier: GPL-3.0-or-later
"""What a film shows before it is encoded: pictures of its length, and the people who can be followed."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import sparse2dense.inference
from sparse2dense.inference.capture.pipeline import CaptureOptions, look_over
from sparse2dense.inference.film.reader import VideoReader
from sparse2dense.inference.preview import preview
from sparse2dense.models.errors import InputError

from .film.made_films import HEIGHT, make, number_of

MOVIE = Path(sparse2dense.inference.__file__).parent / "data" / "balance.mp4"


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """The packaged film's man beside himself, mirrored: two people of one size."""
    pictures = [np.hstack([it, it[:, ::-1]]) for it in VideoReader(MOVIE, fps=12, size=360)]
    return make(
        tmp_path_factory.mktemp("film") / "twins.mp4", pictures, rate=12, options={"crf": "18"}.items()
    )


def cells(told, folder):
    """The pictures of a strip, in their order."""
    strip, sheet = told["strip"], cv2.imread(str(folder / told["strip"]["file"]))[..., ::-1]
    (width, height), gap = strip["cell"], strip["gap"]
    return [
        sheet[row * (height + gap) :, column * (width + gap) :][:height, :width]
        for row in range(strip["rows"])
        for column in range(strip["columns"])
    ]


def test_strip_goes_over_the_films_length(tmp_path):
    told = preview(make(tmp_path / "film.mp4", 48, rate=24), tmp_path / "out")
    assert (told["seconds"], told["fps"], told["size"]) == (2.0, [24, 1], [160, HEIGHT])
    assert [number_of(cell) for cell in cells(told, tmp_path / "out")] == [3, 9, 15, 21, 27, 33, 39, 45]
    assert (told["people"], told["looked"]) == ([], [0.0, 2.0])


def test_a_long_film_is_leapt_through(tmp_path):
    """Twelve pictures of five seconds each: the strip needs a few of them."""
    film = make(tmp_path / "film.mp4", 60, rate="1/1", options={"g": "2"}.items())
    reader = VideoReader(film, fps=1, size=HEIGHT)
    shown = [
        (second, number_of(picture.canvas)) for second, picture in reader.pictures_at([2, 17, 30, 58, 900])
    ]
    assert shown == [(2, 2), (17, 17), (30, 30), (58, 58)]


def test_people_are_those_whom_capture_follows(start_worker, twins, tmp_path):
    process = start_worker("preview", twins, "-o", tmp_path / "out")
    events = [json.loads(line) for line in process.stdout]
    assert process.wait(60) == 0
    assert [event["part"] for event in events if event["type"] == "part"] == ["strip", "people"]
    told = events[-1]
    assert json.loads((tmp_path / "out" / "preview.json").read_text()) == {
        key: value for key, value in told.items() if key != "type"
    }
    surveyed = look_over(twins, CaptureOptions())
    shot = surveyed.chosen(None)
    for person in told["people"][:2]:
        picture = cv2.imread(str(tmp_path / "out" / person["file"]))
        assert picture.shape == (128, 128, 3) and picture.std() > 20
        places = [place for _, *place in person["looks"]]
        for look in person["looks"]:
            assert surveyed.found_at(*look) == (shot, person["person"])
        track = surveyed.shots[shot].people[person["person"] - 1]
        size = surveyed.reader.source_width, surveyed.reader.source_height
        np.testing.assert_allclose(
            places, [(roi.x / size[0], roi.y / size[1]) for roi in track.rois], atol=1e-3
        )
    left, right = (np.mean(person["looks"], axis=0)[1] for person in told["people"][:2])
    assert abs(left - (1 - right)) < 0.05 < abs(left - right)


def test_nobody_is_found_where_nobody_is(twins):
    surveyed = look_over(twins, CaptureOptions())
    for place in ((0.5, 0.02, 0.02), (99.0, 0.25, 0.5)):
        with pytest.raises(InputError, match="nobody is found at"):
            surveyed.found_at(*place)


def test_a_part_of_the_film_is_looked_at(twins, tmp_path):
    told = preview(twins, tmp_path, start=0.5, end=1.0)
    assert told["looked"] == [0.5, 1.0]
    assert all(0.5 <= second <= 1.0 for person in told["people"] for second, *_ in person["looks"])
    assert told["seconds"] > 1.5, "the strip is that of the whole film"


def test_what_is_no_film_is_one_error(start_worker, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no film" * 50)
    process = start_worker("preview", tmp_path / "bad.mp4", "-o", tmp_path / "out")
    (event,) = [json.loads(line) for line in process.stdout]
    assert (event["type"], event["code"]) == ("error", "not_a_video")
    assert not (tmp_path / "out").exists()
