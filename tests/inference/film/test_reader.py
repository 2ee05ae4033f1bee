# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading films: rates, rotation, variable time stamps, spans, broken files."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
from sparse2dense.inference.film.reader import VideoReader, canvas_size
from sparse2dense.inference.film.writer import VideoWriter
from sparse2dense.models.errors import InputError
from sparse2dense.models.frame_rates import rational_rate

from .numbered_film import (
    HEIGHT,
    WIDTH,
    lose_last_frames,
    number_of,
    numbered,
    set_durations,
    set_pixel_aspect,
    turn,
    write,
)


def numbers(path, **options):
    return [number_of(frame) for frame in VideoReader(path, size=HEIGHT, **options)]


# ---- rates and sizes -------------------------------------------------------------------------


def test_canvas_sides_are_multiples_of_eight_near_the_aspect_ratio():
    assert canvas_size(1080, 1920, 256) == (256, 456)
    assert canvas_size(1280, 720, 256) == (456, 256)
    assert canvas_size(640, 480, 128) == (168, 128)
    assert canvas_size(640, 480, 110) == (144, 112)
    assert canvas_size(1000, 1000, 64) == (64, 64)


def test_frames_are_scaled_to_the_canvas(tmp_path):
    path = write(tmp_path / "clip.mp4", count=2)
    small, large = VideoReader(path, size=64), VideoReader(path, size=192)
    assert (small.width, small.height, small.source_width, small.source_height) == (104, 64, 160, 96)
    assert (large.width, large.height) == (320, 192)
    for reader in (small, large):
        assert [frame.shape for frame in reader] == [(reader.height, reader.width, 3)] * 2
        assert [frame.shape for frame in reader.source_frames()] == [(96, 160, 3)] * 2


def test_a_picture_is_averaged_to_shrink_and_curved_to_grow(tmp_path):
    """Noise becomes grey, without moiré; an edge stays sharp."""
    path = write(tmp_path / "clip.mp4", count=1)
    noise = np.random.default_rng(1).integers(0, 256, (768, 1280, 3)).astype(np.uint8)
    assert VideoReader(path, size=96).to_canvas(noise).std() < 1.2 * noise.std() / 8  # 64 pixels to one
    edge = np.full((96, 160, 3), 80, np.uint8)
    edge[:, 80:] = 160
    grown = VideoReader(path, size=192).to_canvas(edge)
    assert (grown.min(), grown.max()) != (80, 160)  # a cubic overshoots
    np.testing.assert_array_equal(VideoReader(path, size=96).to_canvas(edge), edge)


@pytest.mark.parametrize(
    ("aspect", "canvas"),
    [((4, 3), (216, 96)), ((1, 2), (96, 112)), ((8, 1), (640, 96)), ((1, 8), (96, 232)), ((0, 0), (160, 96))],
)
def test_pixels_that_are_not_square_become_so(tmp_path, aspect, canvas):
    """Up to four times as wide or high; what cannot be true beyond that is not believed."""
    path = write(tmp_path / "clip.mp4", count=1)
    set_pixel_aspect(path, *aspect)
    reader = VideoReader(path, size=HEIGHT)
    assert (reader.width, reader.height) == canvas
    assert (reader.source_width, reader.source_height) == (WIDTH, HEIGHT)
    for degrees in (90, 270):
        turn(path, degrees)
        reader = VideoReader(path, size=HEIGHT)
        assert (reader.height, reader.width) == canvas


@pytest.mark.parametrize(
    ("degrees", "corner"), [(90, np.s_[:20, -12:]), (180, np.s_[-12:, -20:]), (270, np.s_[-20:, :12])]
)
def test_a_turned_video_is_read_upright(tmp_path, degrees, corner):
    path = write(tmp_path / "clip.mp4", count=3)
    turn(path, degrees)
    reader = VideoReader(path, size=HEIGHT)
    sides = [WIDTH, HEIGHT] if degrees == 180 else [HEIGHT, WIDTH]
    assert [reader.width, reader.height] == sides
    red, green, _ = next(iter(reader))[corner].mean(axis=(0, 1))
    assert red > 200 > 90 > green


# ---- time ------------------------------------------------------------------------------------


def test_a_span_and_another_rate_choose_the_frames_of_those_times(tmp_path):
    path = write(tmp_path / "clip.mp4", fps=Fraction(30))
    assert numbers(path, start=0.2, end=0.5) == list(range(6, 15))
    assert numbers(path, fps=15) == list(range(0, 30, 2))
    assert numbers(path, fps=60, end=0.1) == [0, 0, 1, 1, 2, 2]
    assert numbers(path, end=0.12) == [0, 1, 2, 3]  # the fourth stands until 0.133
    assert numbers(path, end=0.11) == [0, 1, 2]
    assert numbers(path, start=0.96) == [29]
    assert numbers(path, end=90) == list(range(30))
    for start in (1.01, 5):
        with pytest.raises(InputError, match=f"no frame follows {start:g} s") as caught:
            numbers(path, start=start)
        assert caught.value.code == "bad_time"


def test_how_many_frames_to_expect(tmp_path):
    path = write(tmp_path / "clip.mp4", count=60, fps=Fraction(30))

    def expected(**options):
        return VideoReader(path, size=HEIGHT, **options).expected_frames

    assert expected() == 60
    assert expected(start=0.5) == 45
    assert expected(end=1) == 30
    assert expected(end=90) == 60
    assert expected(start=0.5, end=1, fps=10) == 5
    assert expected(start=7) == 0


def test_a_stream_that_does_not_tell_its_length(tmp_path):
    """Still pictures, one after the other: nothing is known of how many, and all are read."""
    path = tmp_path / "clip.mjpeg"
    pictures = [cv2.imencode(".jpg", numbered(i))[1].tobytes() for i in range(12)]
    # Without the segment of 18 bytes that tells the pixels' aspect, too.
    path.write_bytes(b"".join(picture[:2] + picture[20:] for picture in pictures))
    reader = VideoReader(path, size=HEIGHT)
    assert (reader.fps, reader.expected_frames) == (25, 0)
    assert (reader.width, reader.height) == (WIDTH, HEIGHT)
    assert [number_of(frame) for frame in reader] == list(range(12))
    assert VideoReader(path, end=0.2).expected_frames == 5
    assert numbers(path, end=0.2) == list(range(5))


def test_a_variable_rate_becomes_constant_without_shifting_anything(tmp_path):
    path = write(tmp_path / "clip.mp4", count=20, fps=Fraction(20))
    # The first ten frames last one unit each, the others two.
    set_durations(path, [(10, 1), (10, 2)])
    assert numbers(path, fps=20)[:29] == [*range(10), *np.repeat(range(10, 20), 2)][:29]


def test_a_picture_that_stands_is_shown_for_as_long(tmp_path):
    """The sixth stands for 0.9 s: it is what is seen by one who starts, or ends, in the middle of that."""
    path = write(tmp_path / "clip.mp4", count=10, fps=Fraction(10))
    set_durations(path, [(5, 1), (1, 9), (4, 1)])
    assert numbers(path, fps=10)[:18] == [*range(5), *[5] * 9, *range(6, 10)]
    assert numbers(path, fps=10, start=0.9, end=1.5) == [5] * 5 + [6]
    assert numbers(path, fps=10, start=0.2, end=0.9) == [2, 3, 4, 5, 5, 5, 5]


def test_time_stamps_are_kept_over_a_long_time(tmp_path):
    path = write(tmp_path / "clip.mp4", count=6, fps=Fraction(25))
    set_durations(path, [(1, 1500), (5, 1)])
    found = numbers(path, fps=25)
    assert [found.index(number) for number in range(6)] == [0, *range(1500, 1505)]


def test_where_time_stamps_repeat_the_nominal_rate_counts(tmp_path):
    path = write(tmp_path / "clip.mp4", count=12, fps=Fraction(25))
    set_durations(path, [(6, 1), (6, 0)])  # the container's rate is now twice as high
    assert numbers(path, fps=50) == [*np.repeat(range(6), 2), *range(6, 12)]


def test_a_film_is_read_as_often_as_is_wanted(tmp_path):
    reader = VideoReader(write(tmp_path / "clip.webm", count=4), size=HEIGHT)
    assert [number_of(frame) for frame in reader] == [number_of(frame) for frame in reader] == [0, 1, 2, 3]


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize(
    ("rate", "read_at", "count"),
    [(1, 1, 3), (240, 240, 12), (480, 30, 48), (1000, 30, 60), (Fraction(1, 2), 30, 3)],
)
def test_rates_that_no_clip_has_are_read_at_thirty(tmp_path, suffix, rate, read_at, count):
    """A film of 480 frames a second is whole, and so is one of a frame every two seconds."""
    path = write(tmp_path / f"clip{suffix}", count, Fraction(rate))
    reader = VideoReader(path, size=HEIGHT)
    assert reader.fps == read_at
    found = [number_of(frame) for frame in reader]
    step = rate / read_at  # frames of the film to one that is read
    assert len(found) == pytest.approx(count / step, abs=1.5)  # the last stands for a thirtieth
    assert reader.expected_frames == round(count / step)
    for index, number in enumerate(found[:-1]):
        assert index * step - 1 < number <= (index + 0.5) * step


# ---- what cannot be read ---------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100])
def test_what_is_no_video_is_refused(tmp_path, content, capfd):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        VideoReader(path)
    assert caught.value.code == "not_a_video"
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_what_is_not_there_is_named(tmp_path):
    for path in (tmp_path / "missing.mp4", tmp_path):
        with pytest.raises(InputError, match=f"{path}: there is no such file") as caught:
            VideoReader(str(path))
        assert caught.value.code == "not_found"


def test_a_film_of_pictures_that_cannot_be_decoded(tmp_path):
    path = write(tmp_path / "clip.mp4", count=30)
    data = bytearray(path.read_bytes())
    first = data.index(b"mdat") + 4
    data[first : first + 1800] = bytes(1800)
    path.write_bytes(data)
    with pytest.raises(InputError, match="no frame can be read") as caught:
        VideoReader(path)
    assert caught.value.code == "no_frames"


@pytest.mark.parametrize(("side", "is_read"), [(8192, True), (8194, False)])
def test_a_film_that_is_too_large(tmp_path, side, is_read):
    for size in ((side, 16), (16, side)):
        path = tmp_path / "clip.webm"
        with VideoWriter(path, Fraction(25), *size) as writer:
            writer.write(np.zeros((size[1], size[0], 3), np.uint8))
        if is_read:
            reader = VideoReader(path, size=64)
            assert (reader.source_width, reader.source_height) == size
        else:
            with pytest.raises(InputError, match="exceed 8192 pixels") as caught:
                VideoReader(path)
            assert caught.value.code == "video_too_large"


def test_a_truncated_video_is_refused_and_its_start_can_be_taken(tmp_path):
    path = write(tmp_path / "clip.webm", count=60, fps=Fraction(30))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"breaks off at \d\.\d\d s of 2\.00 s.*--end") as caught:
        list(VideoReader(path, size=HEIGHT))
    assert caught.value.code == "truncated_video"
    taken = float(str(caught.value).split("--end ")[1].rstrip("."))
    assert 0.5 < taken < 1.5
    assert numbers(path, end=taken) == list(range(round(30 * taken)))
    assert numbers(path, end=0.5) == list(range(15))
    with pytest.raises(InputError, match="breaks off"):
        numbers(path, end=taken + 0.3)
    broken = write(tmp_path / "clip.mp4", count=60)
    broken.write_bytes(broken.read_bytes()[:-400])  # the index, which stands at the end
    with pytest.raises(InputError):
        list(VideoReader(broken))


@pytest.mark.parametrize(("frames", "may_lack", "may_not_lack"), [(60, 6, 7), (20, 2, 4)])
def test_a_film_may_end_a_little_early(tmp_path, frames, may_lack, may_not_lack):
    """By a tenth of its length, or three frames: containers are not exact about the end."""
    path = write(tmp_path / "clip.mp4", frames, Fraction(25))
    lose_last_frames(path, may_lack)
    assert numbers(path) == list(range(frames - may_lack))
    lose_last_frames(path, may_not_lack)
    with pytest.raises(InputError, match="breaks off"):
        numbers(path)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ({"fps": 0}, "bad_rate", "rate 0 is outside 1 to 240"),
        ({"fps": 0.99}, "bad_rate", "rate 0.99 "),
        ({"fps": Fraction(2401, 10)}, "bad_rate", "rate 240.1 "),
        ({"size": 63}, "bad_size", "63 is outside 64 to 2048"),
        ({"size": 2049}, "bad_size", "2049"),
        ({"start": 2, "end": 1}, "bad_time", "from 2 s to 1 s is empty"),
        ({"start": 1, "end": 1}, "bad_time", "empty"),
        ({"end": 0}, "bad_time", "empty"),
        ({"start": -0.1}, "bad_time", "-0.1"),
    ],
)
def test_wrong_options_are_named(tmp_path, options, code, said):
    path = write(tmp_path / "clip.mp4", count=3)
    with pytest.raises(InputError, match=said) as caught:
        VideoReader(path, **options)
    assert caught.value.code == code


def test_options_at_their_limits(tmp_path):
    path = write(tmp_path / "clip.mp4", count=3)
    for fps in (1, 240, 29.97, Fraction(30000, 1001)):
        assert VideoReader(path, fps=fps).fps == rational_rate(fps)
    assert VideoReader(path, size=64).height == 64
    assert VideoReader(path, size=2048).height == 2048
    assert VideoReader(path).height == 256
    assert VideoReader(path, start=0).expected_frames == 3
