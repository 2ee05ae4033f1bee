# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing films: what can be read back, and films that cannot be written."""

import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from sparse2dense.inference.film.reader import VideoReader
from sparse2dense.inference.film.source import SAMPLE_RATE, FilmFile
from sparse2dense.inference.film.writer import VideoWriter
from sparse2dense.models.errors import InputError, S2DError

from .made_films import HEIGHT, WIDTH, make, number_of, numbered, numbers, write


@pytest.mark.parametrize("name", ["äöü clip.webm", "clip.mp4", "CLIP.MP4"])
def test_written_frames_are_read_back_in_order_at_their_exact_rate(tmp_path, name, capfd):
    path = write(tmp_path / name)
    reader = VideoReader(path, size=HEIGHT)
    assert reader.fps == Fraction(30000, 1001)
    assert (reader.width, reader.height, reader.expected_frames) == (WIDTH, HEIGHT, 30)
    assert [number_of(frame) for frame in reader] == list(range(30))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert capfd.readouterr().err == ""


def test_the_video_is_coded_and_tagged_as_every_browser_and_program_plays_it(tmp_path):
    for name, codec, rate in (("clip.webm", "vp9", None), ("clip.mp4", "h264", Fraction(30000, 1001))):
        with av.open(str(write(tmp_path / name, 30))) as film:
            context = film.streams.video[0].codec_context
            assert (context.name, context.pix_fmt) == (codec, "yuv420p")
            assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)
            assert context.color_range == 1
            stamps = [frame.pts * frame.time_base for frame in film.decode(video=0)]
        if rate:
            assert stamps == [index / rate for index in range(30)]
        else:
            np.testing.assert_allclose([float(s) for s in stamps], np.arange(30) * 1.001 / 30, atol=6e-4)
    data = (tmp_path / "clip.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "it plays while it is fetched"


def test_programs_can_leap_about_in_it(tmp_path):
    for name in ("clip.webm", "clip.mp4"):
        with av.open(str(write(tmp_path / name, 60))) as film:
            keys = [index for index, frame in enumerate(film.decode(video=0)) if frame.key_frame]
        assert max(np.diff([*keys, 60])) <= 12


def test_the_films_own_sound_is_carried_from_where_it_is_wanted(tmp_path):
    """A tone that begins with the film's second second, heard from 0.6 s on: it begins after 0.4 s."""
    film = make(tmp_path / "film.mkv", 60, sound=2.0, silent=1.0)
    for name in ("clip.webm", "clip.mp4"):
        sound = FilmFile(film).sound(0.6)
        with VideoWriter(tmp_path / name, Fraction(25), WIDTH, HEIGHT, sound) as writer:
            for index in range(30):
                writer.write(numbered(index))
        with av.open(str(tmp_path / name)) as made:
            heard = np.concatenate([frame.to_ndarray()[:1] for frame in made.decode(audio=0)], axis=1)[0]
        assert len(heard) / SAMPLE_RATE == pytest.approx(1.2, abs=0.06)
        loud = np.flatnonzero(np.abs(heard) > 0.1)
        assert loud[0] / SAMPLE_RATE == pytest.approx(0.4, abs=0.03)
        assert numbers(tmp_path / name) == list(range(30))


def test_sound_that_ends_first_leaves_the_rest_silent(tmp_path):
    film = make(tmp_path / "film.mkv", 12, sound=0.3)
    with VideoWriter(tmp_path / "clip.mp4", Fraction(25), WIDTH, HEIGHT, FilmFile(film).sound(0.0)) as writer:
        for index in range(50):
            writer.write(numbered(index))
    assert numbers(tmp_path / "clip.mp4") == list(range(50))


def test_a_film_without_sound_is_told(tmp_path):
    with pytest.raises(InputError, match="there is no sound in it"):
        next(FilmFile(make(tmp_path / "film.mp4", 3)).sound(0.0))


def test_colours_are_kept(tmp_path):
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frame[:] = (210, 120, 40)
    with VideoWriter(str(tmp_path / "clip.webm"), Fraction(25), WIDTH, HEIGHT) as writer:
        writer.write(frame)
    (back,) = VideoReader(tmp_path / "clip.webm", size=HEIGHT)
    assert np.abs(back.astype(int) - frame).max() < 12
    ramp = np.repeat(np.linspace(0, 255, WIDTH).round().astype(np.uint8)[None, :, None], HEIGHT, axis=0)
    with VideoWriter(tmp_path / "ramp.mp4", Fraction(25), WIDTH, HEIGHT) as writer:
        writer.write(np.repeat(ramp, 3, axis=2))
    with av.open(str(tmp_path / "ramp.mp4")) as film:
        luma = next(film.decode(video=0)).to_ndarray()[:HEIGHT, :WIDTH]
    assert abs((luma - (16 + ramp[..., 0] * (219 / 255))).mean()) < 0.3, "neither darker nor lighter"


def test_the_film_is_not_there_until_it_is_whole_and_its_folder_is_made(tmp_path):
    path = tmp_path / "new" / "folder" / "clip.mp4"
    with VideoWriter(path, Fraction(25), WIDTH, HEIGHT) as writer:
        writer.write(numbered(5))
        assert not path.exists()
    assert [number_of(frame) for frame in VideoReader(path, size=HEIGHT)] == [5]


def test_a_failed_writer_leaves_what_was_there(tmp_path):
    path = write(tmp_path / "clip.webm", count=3)
    before = path.read_bytes()
    for error in (RuntimeError("stop"), OSError("no such clip"), KeyboardInterrupt()):
        with (
            pytest.raises(type(error)) as caught,
            VideoWriter(path, Fraction(25), WIDTH, HEIGHT) as writer,
        ):
            writer.write(numbered(0))
            raise error
        assert caught.value is error
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
@pytest.mark.parametrize("name", ["clip.webm", "clip.mp4"])
def test_a_disk_that_fills_up_is_noticed_and_nothing_is_left(tmp_path, name):
    import resource

    noise = np.random.default_rng(1).integers(0, 256, (40, HEIGHT, WIDTH, 3)).astype(np.uint8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
        with (
            pytest.raises(S2DError, match="full") as caught,
            VideoWriter(tmp_path / name, Fraction(25), WIDTH, HEIGHT) as writer,
        ):
            for frame in noise:
                writer.write(frame)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.code == "disk_full"
    assert not list(tmp_path.iterdir())


def test_a_frame_of_another_size(tmp_path):
    with VideoWriter(tmp_path / "clip.webm", Fraction(25), WIDTH, HEIGHT) as writer:
        for shape in ((WIDTH, HEIGHT, 3), (HEIGHT, WIDTH, 4), (HEIGHT, WIDTH)):
            with pytest.raises(ValueError, match="frame has shape"):
                writer.write(np.zeros(shape, np.uint8))
        writer.write(numbered(0))


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.webm").mkdir()
    for path in (tmp_path / "file" / "clip.webm", tmp_path / "folder.webm"):
        with pytest.raises(InputError, match="Cannot write") as caught:
            write(path, 1)
        assert caught.value.code == "output_unwritable"
        assert str(path) in str(caught.value)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder.webm"]


def test_a_film_that_no_codec_writes(tmp_path, capfd):
    with (
        pytest.raises(S2DError, match="cannot be written") as caught,
        VideoWriter(tmp_path / "clip.webm", Fraction(25), 0, 0),
    ):
        pass
    assert caught.value.code == "cannot_write"
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr().err == ""


def test_another_kind_of_film_is_refused(tmp_path):
    for name in ("clip.avi", "clip"):
        with pytest.raises(InputError, match=r"\.webm or \.mp4") as caught:
            VideoWriter(tmp_path / name, Fraction(25), WIDTH, HEIGHT)
        assert caught.value.code == "bad_format"
