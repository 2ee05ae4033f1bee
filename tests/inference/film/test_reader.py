# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and writing videos: rates, rotation, variable time stamps, spans, broken files."""

import struct
from fractions import Fraction

import numpy as np
import pytest
from sparse2dense.inference.film.reader import VideoReader, canvas_size, rational_rate
from sparse2dense.inference.film.writer import VideoWriter
from sparse2dense.models.errors import InputError, S2DError

WIDTH, HEIGHT = 160, 96


def numbered(index, width=WIDTH, height=HEIGHT):
    """A frame that shows its number as six bright or dark bars, over a bright top left corner."""
    frame = np.full((height, width, 3), 40, np.uint8)
    for bit in range(6):
        if index >> bit & 1:
            frame[height // 2 :, bit * width // 6 : (bit + 1) * width // 6] = 220
    frame[: height // 4, : width // 4] = (250, 30, 30)
    return frame


def number_of(frame):
    low = frame[frame.shape[0] * 3 // 4]
    bars = [low[int((bit + 0.5) * frame.shape[1] / 6)].mean() > 130 for bit in range(6)]
    return sum(1 << bit for bit, bright in enumerate(bars) if bright)


def write(path, count=30, fps=Fraction(30000, 1001)):
    with VideoWriter(path, fps, WIDTH, HEIGHT) as writer:
        for index in range(count):
            writer.write(numbered(index))
    return path


def numbers(path, **options):
    return [number_of(frame) for frame in VideoReader(path, size=HEIGHT, **options)]


@pytest.mark.parametrize("suffix", [".webm", ".mp4"])
def test_written_frames_are_read_back_in_order_at_their_exact_rate(tmp_path, suffix, capfd):
    path = write(tmp_path / f"äöü clip{suffix}")
    reader = VideoReader(path, size=HEIGHT)
    assert reader.fps == Fraction(30000, 1001)
    assert (reader.width, reader.height, reader.expected_frames) == (WIDTH, HEIGHT, 30)
    assert [number_of(frame) for frame in reader] == list(range(30))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("rate", "exact"),
    [
        (29.97, Fraction(30000, 1001)),
        (23.976, Fraction(24000, 1001)),
        (25.0, 25),
        (59.94, Fraction(60000, 1001)),
    ],
)
def test_decimal_rates_stand_for_exact_ones(rate, exact):
    assert rational_rate(rate) == exact


def test_canvas_sides_are_multiples_of_eight_near_the_aspect_ratio():
    assert canvas_size(1080, 1920, 256) == (256, 456)
    assert canvas_size(1280, 720, 256) == (456, 256)
    assert canvas_size(640, 480, 128) == (168, 128)


def test_a_span_and_another_rate_choose_the_frames_of_those_times(tmp_path):
    path = write(tmp_path / "clip.mp4", fps=Fraction(30))
    assert numbers(path, start=0.2, end=0.5) == list(range(6, 15))
    assert numbers(path, fps=15) == list(range(0, 30, 2))
    assert numbers(path, fps=60, end=0.1) == [0, 0, 1, 1, 2, 2]
    with pytest.raises(InputError, match="no frame follows"):
        numbers(path, start=5)


def test_a_variable_rate_becomes_constant_without_shifting_anything(tmp_path):
    path = write(tmp_path / "clip.mp4", count=20, fps=Fraction(20))
    # The first ten frames last one unit each, the others two.
    _set_durations(path, [(10, 1), (10, 2)])
    assert numbers(path, fps=20)[:29] == [*range(10), *np.repeat(range(10, 20), 2)][:29]


def test_a_turned_video_is_read_upright(tmp_path):
    path = write(tmp_path / "clip.mp4", count=3)
    _turn_clockwise(path)
    reader = VideoReader(path, size=HEIGHT)
    assert (reader.width, reader.height) == (HEIGHT, WIDTH)
    red_corner = next(iter(reader))[:20, -12:].mean(axis=(0, 1))  # top left turns to top right
    assert red_corner[0] > 200 > 90 > red_corner[1]


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100])
def test_what_is_no_video_is_refused(tmp_path, content, capfd):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        VideoReader(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_truncated_video_is_refused_and_its_start_can_be_taken(tmp_path):
    path = write(tmp_path / "clip.webm", count=60, fps=Fraction(30))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="breaks off") as caught:
        list(VideoReader(path, size=HEIGHT))
    assert caught.value.code == "truncated_video"
    assert numbers(path, end=0.5) == list(range(15))
    broken = write(tmp_path / "clip.mp4", count=60)
    broken.write_bytes(broken.read_bytes()[:-400])  # the index, which stands at the end
    with pytest.raises(InputError):
        list(VideoReader(broken))


@pytest.mark.parametrize("options", [{"fps": 0}, {"fps": 1000}, {"size": 8}, {"start": 2, "end": 1}])
def test_wrong_options_are_named(tmp_path, options):
    path = write(tmp_path / "clip.mp4", count=3)
    with pytest.raises(InputError):
        VideoReader(path, **options)


def test_a_failed_writer_leaves_what_was_there(tmp_path):
    path = write(tmp_path / "clip.webm", count=3)
    before = path.read_bytes()
    with pytest.raises(RuntimeError), VideoWriter(path, Fraction(25), WIDTH, HEIGHT) as writer:
        writer.write(numbered(0))
        raise RuntimeError
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(S2DError, match="cannot be written"):
        VideoWriter(tmp_path / "missing" / "clip.webm", Fraction(25), WIDTH, HEIGHT)
    with pytest.raises(InputError, match="webm"):
        VideoWriter(tmp_path / "clip.avi", Fraction(25), WIDTH, HEIGHT)


def _turn_clockwise(path):
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, HEIGHT << 16, 0, 1 << 30)
    path.write_bytes(data)


def _set_durations(path, entries):
    """Replace an MP4's table of durations; ``entries`` are (frames, multiples of the first duration)."""
    data = bytearray(path.read_bytes().replace(b"edts", b"free"))  # the edit list names the old duration
    at = data.index(b"stts")
    count, _, unit = struct.unpack(">3I", data[at + 8 : at + 20])
    table = b"".join(struct.pack(">II", frames, times * unit) for frames, times in entries)
    old = 8 * count
    data[at + 12 : at + 12 + old] = table
    data[at + 8 : at + 12] = struct.pack(">I", len(entries))
    for box in (b"stts", b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        size_at = data.rindex(box, 0, at + 4) - 4
        (size,) = struct.unpack(">I", data[size_at : size_at + 4])
        data[size_at : size_at + 4] = struct.pack(">I", size + len(table) - old)
    path.write_bytes(data)
