# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing films: what can be read back, and films that cannot be written."""

import os
from fractions import Fraction

import cv2
import numpy as np
import pytest
from sparse2dense.inference.film.reader import VideoReader
from sparse2dense.inference.film.writer import VideoWriter
from sparse2dense.models.errors import InputError, S2DError

from .numbered_film import HEIGHT, WIDTH, number_of, numbered, write


@pytest.mark.parametrize("name", ["äöü clip.webm", "clip.mp4", "CLIP.MP4"])
def test_written_frames_are_read_back_in_order_at_their_exact_rate(tmp_path, name, capfd):
    path = write(tmp_path / name)
    reader = VideoReader(path, size=HEIGHT)
    assert reader.fps == Fraction(30000, 1001)
    assert (reader.width, reader.height, reader.expected_frames) == (WIDTH, HEIGHT, 30)
    assert [number_of(frame) for frame in reader] == list(range(30))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert capfd.readouterr().err == ""


def test_the_codec_is_one_that_every_browser_or_program_has(tmp_path):
    for name, codec in (("clip.webm", "VP80"), ("clip.mp4", "mp4v")):
        capture = cv2.VideoCapture(str(write(tmp_path / name, 2)), cv2.CAP_FFMPEG)
        assert int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode() in (codec, "FMP4")
        capture.release()


def test_colours_are_kept(tmp_path):
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frame[:] = (210, 120, 40)
    with VideoWriter(str(tmp_path / "clip.webm"), Fraction(25), WIDTH, HEIGHT) as writer:
        writer.write(frame)
    (back,) = VideoReader(tmp_path / "clip.webm", size=HEIGHT)
    assert np.abs(back.astype(int) - frame).max() < 12


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


def test_a_disk_that_fills_up_is_noticed(tmp_path, monkeypatch):
    """What is written is cut short without a word from OpenCV."""
    path = tmp_path / "clip.webm"
    with (
        pytest.raises(S2DError, match=r"clip\.webm: the video is incomplete; is the disk full") as caught,
        VideoWriter(path, Fraction(25), WIDTH, HEIGHT) as writer,
    ):
        for index in range(40):
            writer.write(numbered(index))
        (aside,) = tmp_path.iterdir()
        release = cv2.VideoWriter.release

        class Full:
            def release(self, of=writer._writer):
                release(of)
                os.truncate(aside, aside.stat().st_size // 2)

        writer._writer = Full()
    assert caught.value.code == "cannot_write"
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
