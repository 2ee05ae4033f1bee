# SPDX-License-Identifier: GPL-3.0-or-later
"""The sound of a clip's own film: from where the clip begins in it, whatever part that is."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from sparse2dense.inference.decode import decode
from sparse2dense.inference.decoding.film_sound import film_sound
from sparse2dense.inference.film.reader import VideoReader
from sparse2dense.inference.format.clip import Reference
from sparse2dense.models.errors import InputError

from ..film.made_films import HEIGHT, make, numbered

RATE = 48_000


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Two seconds whose tone begins with the second; each picture is another."""
    return make(tmp_path_factory.mktemp("film") / "film.mp4", 60, sound=2.0, silent=1.0)


def reference(film, at, frame):
    picture = list(VideoReader(film, size=HEIGHT))[at]
    return Reference(frame, picture, np.zeros(picture.shape[:2], np.uint8))


def loud_from(sound):
    heard = np.concatenate(list(sound), axis=1)[0]
    return np.flatnonzero(np.abs(heard) > 0.1)[0] / RATE


@pytest.mark.parametrize(("begins", "frame", "fps"), [(0, 40, 30), (12, 5, 30), (24, 9, 15)])
def test_where_the_clip_begins_is_found_by_its_picture(film, begins, frame, fps):
    """A clip that begins with the film's picture ``begins``, at another rate too."""
    at = begins + frame * 30 // fps
    sound = film_sound(film, reference(film, at, frame), Fraction(fps), lambda *told: None)
    assert loud_from(sound) == pytest.approx(1.0 - begins / 30, abs=0.01)


def test_another_film_is_refused_by_name(film):
    other = reference(film, 3, 3)
    for wrong in (replace(other, picture=255 - other.picture), Reference(0, numbered(0, 96, 160), None)):
        with pytest.raises(InputError, match=r"film\.mp4 is not the film of this clip") as caught:
            film_sound(film, wrong, Fraction(30), lambda *told: None)
        assert caught.value.code == "other_film"


def test_a_decoded_video_carries_it(tmp_path, film, write_filmed):
    """The made clip's picture is grey on coloured ground: a film of that is its film."""
    clip = write_filmed(20, tmp_path / "clip.s2d")
    picture = np.full((96, 64, 3), (60, 120, 180), np.uint8)
    picture[20:76, 22:42] = 128
    own = make(tmp_path / "own.mkv", [picture] * 20, sound=0.7)
    decode(clip, tmp_path / "out", only="video", video_format="mp4", sound=own)
    with av.open(str(tmp_path / "out" / "video.mp4")) as made:
        assert (len(made.streams.video), len(made.streams.audio)) == (1, 1)
    with pytest.raises(InputError, match="not the film"):
        decode(clip, tmp_path / "other", only="video", sound=film)
    with pytest.raises(InputError, match="leave out --sound"):
        decode(clip, tmp_path / "mesh", only="mesh", sound=own)
