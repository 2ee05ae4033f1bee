# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip's own film beside its other parts: the clip's frames of it, and its sound from there on."""

import json
import shutil

import av
import numpy as np
import pytest
from sparse2dense.inference.backdrop import backdrop
from sparse2dense.inference.decode import decode
from sparse2dense.inference.decoding.decoded_folder import read_description
from sparse2dense.inference.film.reader import VideoReader
from sparse2dense.models.errors import InputError

from .film.made_films import make

BEFORE, FRAMES = (
    9,
    20,
)  # pictures of the film before the clip, at twice the clip's rate, and the clip's frames
REFERENCE = 6


def filmed(number, turned=False):
    """A picture of the made clip's film, ``number`` in the shade of a corner; as a phone stores it, lying.

    The sixth, at the time of the clip's third frame, is that of the clip's reference.
    """
    picture = np.full((192, 128, 3), (60, 120, 180), np.uint8)
    picture[40:152, 44:84] = 128
    if number != REFERENCE:
        picture[:24, :24] = 4 * number
    return np.ascontiguousarray(np.rot90(picture)) if turned else picture


def shades(path):
    shown = [frame[4:12, 4:12].mean() / 4 for frame in VideoReader(path, size=128)]
    return [REFERENCE if abs(shade - 30) < 1 else shade for shade in shown]


@pytest.fixture(scope="module")
def decoded(write_filmed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("backdrop")
    clip = write_filmed(FRAMES, folder / "clip.s2d")
    decode(clip, folder / "decoded", only="mesh")
    return clip, folder / "decoded"


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """It goes on at 60 pictures a second, turned, and its tone begins half a second after its start."""
    pictures = [np.zeros((128, 192, 3), np.uint8)] * BEFORE + [
        filmed(number, turned=True) for number in range(2 * FRAMES)
    ]
    turn = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    path = tmp_path_factory.mktemp("film") / "phone.mov"
    return make(path, pictures, rate=60, matrix=turn, sound=1.0, silent=0.5, options={"crf": "8"}.items())


@pytest.mark.parametrize("start", [None, BEFORE / 60, 0.0])
def test_film_is_in_step_with_the_clip_wherever_it_begins(decoded, film, tmp_path, start):
    """Found by its picture, known, or told wrongly: every clip frame has the film's picture of its time."""
    clip, folder = decoded[0], shutil.copytree(decoded[1], tmp_path / "decoded")
    made = backdrop(clip, film, folder, start=start)
    assert (made.start, made.sound) == (pytest.approx(BEFORE / 60, abs=0.018), True)
    assert shades(made.file) == pytest.approx(
        [it if it != 30 else REFERENCE for it in range(0, 2 * FRAMES, 2)], abs=1.3
    )
    with av.open(made.file) as opened:
        assert (opened.streams.video[0].width, opened.streams.video[0].height) == (128, 192)
        heard = np.concatenate([frame.to_ndarray()[0] for frame in opened.decode(audio=0)])
    assert np.flatnonzero(np.abs(heard) > 0.1)[0] / 48_000 == pytest.approx(0.5 - BEFORE / 60, abs=0.06)
    files = read_description(folder).files
    assert files["film"] == "film.mp4" and {"body", "mesh", "skeleton"} <= files.keys()
    decode(clip, folder)
    assert read_description(folder).files["film"] == "film.mp4", "it stays where the clip is decoded on"


def test_the_last_picture_stands_where_the_film_ends_first(decoded, tmp_path):
    folder = shutil.copytree(decoded[1], tmp_path / "decoded")
    film = make(tmp_path / "short.mp4", [filmed(number) for number in range(12)], rate=30)
    made = backdrop(decoded[0], film, folder)
    assert not made.sound
    assert shades(made.file) == pytest.approx([*range(3, 12), *[11] * (FRAMES - 9)], abs=1.3)


def test_another_film_or_folder_is_refused_and_nothing_is_left(decoded, film, motion_file, tmp_path):
    folder = shutil.copytree(decoded[1], tmp_path / "decoded")
    before = sorted(path.name for path in folder.iterdir())
    other = make(tmp_path / "other.mp4", [255 - filmed(0)] * 5)
    for clip, of, wrong in ((decoded[0], other, "not the film"), (motion_file, film, "without pictures")):
        with pytest.raises(InputError, match=wrong):
            backdrop(clip, of, folder)
    (folder / "clip.json").write_text(
        json.dumps({**json.loads((folder / "clip.json").read_text()), "clip": "0" * 64})
    )
    with pytest.raises(InputError, match="does not hold"):
        backdrop(decoded[0], film, folder)
    assert sorted(path.name for path in folder.iterdir()) == before
