# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading films as people bring them: times, turns, shapes, colours, sequences, broken files."""

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from sparse2dense.inference.film.reader import VideoReader, canvas_size
from sparse2dense.inference.film.tone_mapping import to_screen
from sparse2dense.inference.film.writer import VideoWriter
from sparse2dense.models.errors import InputError
from sparse2dense.models.frame_rates import rational_rate

from .made_films import HEIGHT, WIDTH, copied, lose_last_frames, make, number_of, numbered, numbers, write

ONE = 1 << 16
CASES = Path(os.environ.get("S2D_DATA", "/nowhere")) / "cases"


def read(path, **options):
    """Return the rate of a film, the numbers that its frames show, and the reader's remarks."""
    reader = VideoReader(path, size=HEIGHT, **options)
    found = [number_of(frame) for frame in reader]
    return reader.fps, found, reader.remarks


# ---- sizes -----------------------------------------------------------------------------------


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
    noise = np.random.default_rng(1).integers(0, 256, (768, 1280, 3)).astype(np.uint8)
    path = make(tmp_path / "noise.mkv", [noise], codec="ffv1", pix_fmt="bgr0")
    (shrunk,) = VideoReader(path, size=96)
    assert shrunk.std() < 1.2 * noise.std() / 8  # 64 pixels to one
    edge = np.full((96, 160, 3), 80, np.uint8)
    edge[:, 80:] = 160
    path = make(tmp_path / "edge.mkv", [edge], codec="ffv1", pix_fmt="bgr0")
    (grown,) = VideoReader(path, size=192)
    assert (grown.min(), grown.max()) != (80, 160)  # a cubic overshoots
    (same,) = VideoReader(path, size=96)
    np.testing.assert_allclose(same, edge, atol=1)


@pytest.mark.parametrize(
    ("aspect", "canvas"),
    [((4, 3), (216, 96)), ((1, 2), (96, 112)), ((8, 1), (640, 96)), ((1, 8), (96, 232))],
)
def test_pixels_that_are_not_square_become_so(tmp_path, aspect, canvas):
    """Up to four times as wide or high; what cannot be true beyond that is not believed."""
    reader = VideoReader(make(tmp_path / "clip.mp4", 1, aspect=aspect), size=HEIGHT)
    assert (reader.width, reader.height) == canvas
    assert (reader.source_width, reader.source_height) == (WIDTH, HEIGHT)
    quarter = (0, ONE, 0, -ONE, 0, 0, HEIGHT * ONE, 0, 1 << 30)
    reader = VideoReader(make(tmp_path / "turned.mp4", 1, aspect=aspect, matrix=quarter), size=HEIGHT)
    assert (reader.height, reader.width) == canvas


def test_odd_sides_are_read_to_the_last_pixel(tmp_path):
    picture = np.full((75, 101, 3), 40, np.uint8)
    picture[:, -5:] = picture[-5:] = 220
    path = make(tmp_path / "odd.mkv", [picture] * 3, codec="ffv1")
    reader = VideoReader(path, size=75)
    assert (reader.source_width, reader.source_height) == (101, 75)
    frame = next(iter(reader.source_frames()))
    assert frame.shape == (75, 101, 3)
    assert min(frame[:, -3:].mean(), frame[-3:].mean()) > 200 > 60 > frame[:60, :80].mean()


MATRICES = {
    "turned right": ((0, ONE, 0, -ONE, 0, 0, HEIGHT * ONE, 0, 1 << 30), lambda p: np.rot90(p, -1)),
    "turned left": ((0, -ONE, 0, ONE, 0, 0, 0, WIDTH * ONE, 1 << 30), np.rot90),
    "upside down": ((-ONE, 0, 0, 0, -ONE, 0, WIDTH * ONE, HEIGHT * ONE, 1 << 30), lambda p: np.rot90(p, 2)),
    "mirrored": ((-ONE, 0, 0, 0, ONE, 0, WIDTH * ONE, 0, 1 << 30), np.fliplr),
    "flipped": ((ONE, 0, 0, 0, -ONE, 0, 0, HEIGHT * ONE, 1 << 30), np.flipud),
    "mirrored and turned": ((0, ONE, 0, ONE, 0, 0, 0, 0, 1 << 30), lambda p: np.fliplr(np.rot90(p, -1))),
    "mirrored and turned left": (
        (0, -ONE, 0, -ONE, 0, 0, HEIGHT * ONE, WIDTH * ONE, 1 << 30),
        lambda p: np.fliplr(np.rot90(p)),
    ),
}


@pytest.mark.parametrize("kind", MATRICES)
def test_a_film_is_shown_as_its_display_matrix_says(tmp_path, kind):
    """Phones turn films by it, and front cameras mirror them."""
    matrix, as_seen = MATRICES[kind]
    path = make(tmp_path / "clip.mp4", [numbered(5)] * 2, matrix=matrix)
    plain = make(tmp_path / "plain.mp4", [numbered(5)] * 2)
    for turned, straight in zip(VideoReader(path, size=HEIGHT), VideoReader(plain, size=HEIGHT), strict=True):
        np.testing.assert_array_equal(turned, as_seen(straight))


def test_a_size_that_changes_in_mid_stream(tmp_path):
    """A picture of the same shape fills the frame; of another one, all is shown, with black beside it."""
    first, same = make(tmp_path / "a.ts", 20), [numbered(i, 320, 192) for i in range(20, 40)]
    other = [np.full((192, 96, 3), 200, np.uint8)] * 3
    joined = tmp_path / "joined.ts"
    parts = [first, make(tmp_path / "b.ts", same), make(tmp_path / "c.ts", other)]
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    reader = VideoReader(joined, size=HEIGHT)
    frames = list(reader)
    assert {frame.shape for frame in frames} == {(HEIGHT, WIDTH, 3)}
    assert [number_of(frame) for frame in frames[:40]] == list(range(40))
    middle, side = frames[-1][:, 60:100], frames[-1][:, :50]
    assert middle.mean() > 190
    assert side.max() < 10


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
    for start in (1.01, 5, 500):
        with pytest.raises(InputError, match=f"no frame follows {start:g} s") as caught:
            numbers(path, start=start)
        assert caught.value.code == "bad_time"


def test_a_start_far_into_a_film_is_the_same_picture_as_when_all_before_is_read(tmp_path):
    path = make(tmp_path / "long.mp4", [numbered(i % 64) for i in range(300)], options={"g": "50"})
    for start in (6.0, 7.77, 9.5):
        assert numbers(path, start=start) == [i % 64 for i in range(round(start * 30), 300)]


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


MILLI, TICK = Fraction(1, 1000), Fraction(1, 90_000)


@pytest.mark.parametrize(
    ("name", "options", "rate"),
    [
        ("even.mp4", {"rate": Fraction(30000, 1001)}, Fraction(30000, 1001)),
        ("milliseconds.mkv", {"rate": Fraction(30000, 1001)}, Fraction(30000, 1001)),
        ("short, in milliseconds.mkv", {"rate": 24, "pictures": 10}, 24),
        ("slow motion.mp4", {"rate": Fraction(12001, 50), "pictures": 60}, Fraction(12001, 50)),
        ("a thousand a second.mp4", {"rate": 1000, "pictures": 50}, 1000),
        ("jitters.mp4", {"tick": TICK, "stamps": [3000 * i + 9 * (i * i % 7) for i in range(30)]}, 30),
        (
            "sixtieths.mp4",
            {"tick": Fraction(1, 60), "stamps": [i + i // 5 for i in range(30)], "rate": 60},
            60,
        ),
    ],
)
def test_the_rate_is_that_of_the_commonest_interval(tmp_path, name, options, rate):
    assert VideoReader(make(tmp_path / name, **options)).fps == rate


def test_pictures_that_a_phone_dropped_are_missing_and_the_rest_is_at_its_time(tmp_path):
    stamps = [3000 * i for i in range(10)] + [3000 * (i + 6) for i in range(10, 30)]
    path = make(tmp_path / "phone.mp4", tick=TICK, stamps=stamps)
    assert read(path) == (30, [*range(10), *[9] * 6, *range(10, 30)], [])


def test_a_variable_rate_becomes_constant_without_shifting_anything(tmp_path):
    path = make(tmp_path / "clip.mp4", 20, tick=Fraction(1, 20), stamps=[*range(10), *range(10, 30, 2)])
    assert numbers(path, fps=20) == [*range(10), *np.repeat(range(10, 20), 2)][:29]


def test_a_picture_that_stands_is_shown_for_as_long(tmp_path):
    """The sixth stands for 0.9 s: it is what is seen by one who starts, or ends, in the middle of that."""
    path = make(tmp_path / "clip.mp4", 10, tick=Fraction(1, 10), stamps=[*range(6), *range(14, 18)])
    assert numbers(path, fps=10) == [*range(5), *[5] * 9, *range(6, 10)]
    assert numbers(path, fps=10, start=0.9, end=1.5) == [5] * 5 + [6]
    assert numbers(path, fps=10, start=0.2, end=0.9) == [2, 3, 4, 5, 5, 5, 5]


def test_time_stamps_are_kept_over_a_long_time(tmp_path):
    path = make(tmp_path / "clip.mp4", 6, tick=Fraction(1, 25), stamps=[0, *range(1500, 1505)])
    found = numbers(path, fps=25)
    assert [found.index(number) for number in range(6)] == [0, *range(1500, 1505)]


def test_sound_that_outlasts_the_picture_is_no_broken_film(tmp_path):
    for name in ("clip.mkv", "clip.mp4"):
        assert read(make(tmp_path / name, sound=2.0)) == (30, list(range(30)), [])


def test_what_an_edit_list_hides_is_not_shown(tmp_path):
    whole = make(tmp_path / "whole.mp4", 60)
    cut = copied(whole, tmp_path / "cut.mp4", shift=lambda _: -0.5)
    with av.open(str(cut)) as film:
        assert any(packet.is_discard for packet in film.demux(video=0))
    assert read(cut) == (30, list(range(15, 60)), [])


def test_a_stream_that_begins_between_key_pictures_begins_with_the_next(tmp_path):
    whole = make(tmp_path / "whole.ts", 60)
    cut = copied(whole, tmp_path / "cut.ts", keep=lambda packet: packet.pts * packet.time_base > 0.5)
    rate, found, remarks = read(cut)
    assert (rate, remarks) == (30, [])
    assert found == list(range(found[0], 60))
    assert 13 < found[0] < 30
    whole = make(tmp_path / "whole.mp4", 60)
    cut = copied(whole, tmp_path / "cut.mp4", keep=lambda packet: packet.pts * packet.time_base > 0.1)
    reader = VideoReader(cut, size=HEIGHT)  # an MP4 tells how long it is: as if it broke off, if that counted
    found = [number_of(frame) for frame in reader]
    assert (found, reader.remarks) == (list(range(found[0], 60)), [])
    assert reader.expected_frames == len(found) < 54


def test_a_leap_between_two_takes_is_closed_and_told(tmp_path):
    whole = make(tmp_path / "whole.ts", 60)
    rate, found, (told,) = read(copied(whole, tmp_path / "ahead.ts", shift=lambda t: 0 if t < 1.4 else 50.0))
    assert (rate, found) == (30, list(range(60)))
    assert "leaps by 50.0 s" in told
    again = make(tmp_path / "again.ts", [numbered(i) for i in range(60, 64)])
    joined = tmp_path / "back.ts"
    joined.write_bytes(whole.read_bytes() + again.read_bytes())
    rate, found, (told,) = read(joined)
    assert (rate, found) == (30, list(range(64)))
    assert "leaps by -2.0 s" in told


def test_a_clock_that_wraps_after_a_day_goes_on(tmp_path):
    """Broadcast streams count in 33 bits, at 90,000 a second."""
    wrap = 2**33 / 90_000
    whole = make(tmp_path / "whole.ts", 60)
    late = copied(whole, tmp_path / "late.ts", shift=lambda _: wrap - 1.0)
    with av.open(str(late)) as film:
        stored = [packet.pts for packet in film.demux(video=0) if packet.size]
    assert min(stored) < 0 < max(stored), "the clock wraps, and FFmpeg counts back from there"
    assert read(late) == (30, list(range(60)), [])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("bare.h264", {"kind": "h264"}),
        ("old.avi", {}),  # H.264 with pictures that are stored out of order, which AVI does not tell
        ("old.avi", {"codec": "mpeg4", "options": {"bf": "2"}}),
    ],
)
def test_streams_without_usable_stamps_are_even(tmp_path, name, options):
    assert read(make(tmp_path / name, **options)) == (30, list(range(30)), [])


def test_pictures_one_after_the_other_without_a_container(tmp_path):
    path = tmp_path / "clip.mjpeg"
    path.write_bytes(b"".join(cv2.imencode(".jpg", numbered(i))[1].tobytes() for i in range(12)))
    reader = VideoReader(path, size=HEIGHT)
    assert (reader.fps, reader.expected_frames) == (25, 12)
    assert [number_of(frame) for frame in reader] == list(range(12))
    assert numbers(path, end=0.2) == list(range(5))


def test_a_film_is_read_as_often_as_is_wanted(tmp_path):
    reader = VideoReader(write(tmp_path / "clip.webm", count=4), size=HEIGHT)
    assert [number_of(frame) for frame in reader] == [number_of(frame) for frame in reader] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("rate", "read_at"), [(1, 1), (480, 480), (1000, 1000), (2400, 800), (Fraction(1, 2), 30)]
)
def test_rates_that_no_clip_has_are_read_at_one_that_it_can_have(tmp_path, rate, read_at):
    """A film of 2,400 frames a second is whole, and so is one of a frame every two seconds."""
    reader = VideoReader(make(tmp_path / "clip.mp4", 48, rate=rate), size=HEIGHT)
    assert reader.fps == read_at
    found = [number_of(frame) for frame in reader]
    step = rate / read_at  # frames of the film to one that is read
    assert len(found) == pytest.approx(float(48 / step), abs=max(1.5, float(1 / step)))
    for index, number in enumerate(found[:-1]):
        assert index * step - 1 < number <= (index + 0.5) * step + 0.01


def test_slow_motion_lasts_as_long_as_it_did_at_any_rate(tmp_path):
    path = make(tmp_path / "slow.mp4", 60, rate=Fraction(12001, 50))
    for rate in (None, 120, 60):
        reader = VideoReader(path, size=HEIGHT, fps=rate)
        assert len(list(reader)) / reader.fps == pytest.approx(0.25, abs=0.005)


# ---- codecs, colours, fields -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ten bits.mp4", {"codec": "libx264", "pix_fmt": "yuv420p10le"}),
        ("no chroma lost.webm", {"codec": "libvpx-vp9", "pix_fmt": "yuv444p"}),
        ("edited.mov", {"codec": "prores_ks", "pix_fmt": "yuv422p10le"}),
        ("camcorder.mpg", {"codec": "mpeg2video"}),
        ("windows.wmv", {"codec": "wmv2"}),
        ("screen.mkv", {"codec": "ffv1"}),
        ("phone.3gp", {"codec": "mpeg4", "kind": "3gp"}),
        ("grey.mkv", {"codec": "ffv1", "pix_fmt": "gray"}),
        ("moving.gif", {"codec": "gif", "pix_fmt": "rgb8", "rate": 25}),
    ],
)
def test_films_of_all_kinds_are_read_whole(tmp_path, name, options):
    rate, found, remarks = read(make(tmp_path / name, **options))
    assert (rate, found, remarks) == (options.get("rate", 30), list(range(30)), [])


def test_an_av1_film_is_read(tmp_path):
    """Made by a process of its own: where it may, SVT-AV1 gives the one it runs in a real-time priority."""
    program = (
        "import runpy, sys\n"
        "options = {'preset': '12', 'svtav1-params': 'pred-struct=1'}\n"
        "runpy.run_path(sys.argv[1])['make'](sys.argv[2], codec='libsvtav1', options=options)\n"
    )
    made_films = Path(__file__).with_name("made_films.py")
    path = tmp_path / "av1.mp4"
    subprocess.run([sys.executable, "-c", program, made_films, path], check=True, capture_output=True)
    assert read(path) == (30, list(range(30)), [])


def test_two_fields_become_one_picture(tmp_path):
    """A bar that moves is in two places in the two fields: woven as they are they make a comb."""
    fields = []
    for moment in range(24):
        picture = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
        picture[:, 20 + 4 * moment : 44 + 4 * moment] = 200
        fields.append(picture)
    woven = []
    for first, second in zip(fields[::2], fields[1::2], strict=True):
        frame = second.copy()
        frame[1::2] = first[1::2]
        woven.append(frame)
    interlaced = {"flags": "+ildct+ilme", "crf": "10"}  # the lower field first
    path = make(tmp_path / "camcorder.mts", woven, options=interlaced, kind="mpegts")
    frames = list(VideoReader(path, size=HEIGHT))

    def comb(frame):
        grey = frame.astype(float).mean(axis=-1)
        return np.abs(grey[1:-1] - (grey[:-2] + grey[2:]) / 2).max()

    assert len(frames) == 12
    assert max(map(comb, woven)) > 100
    assert max(map(comb, frames[1:-1])) < 40
    for moment, frame in enumerate(frames):
        bright = np.flatnonzero(frame[HEIGHT // 2].mean(axis=-1) > 130)
        assert bright.mean() == pytest.approx(31.5 + 8 * moment, abs=3)  # where the first field has it


@pytest.mark.parametrize("matrix", [1, 5])
@pytest.mark.parametrize("whole_range", [False, True])
def test_colours_are_as_the_film_tells_them(tmp_path, matrix, whole_range):
    """BT.709 or BT.601, in the range of television or in all of it."""
    colours = np.array([(200, 40, 30), (40, 180, 60), (30, 60, 190), (128, 128, 128)], np.uint8)
    picture = np.repeat(np.repeat(colours[None], 40, axis=1).reshape(1, WIDTH, 3), HEIGHT, axis=0)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
        format="yuv444p", dst_colorspace=matrix, dst_color_range=2 if whole_range else 1
    )
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 1 + whole_range
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (read_back,) = VideoReader(path, size=HEIGHT).source_frames()
    np.testing.assert_allclose(read_back[50, 20::40], colours, atol=4)


PQ, HLG = av.video.reformatter.ColorTrc.SMPTE2084, av.video.reformatter.ColorTrc.ARIB_STD_B67


@pytest.mark.parametrize(("transfer", "kind"), [(PQ, "pq"), (HLG, "hlg")])
def test_pictures_brighter_than_a_screen_are_tone_mapped(tmp_path, transfer, kind):
    """Signals of black, a dark, skin, a screen's white and highlights: told apart, none washed out."""
    signals = {"pq": (0, 0.27, 0.45, 0.58, 0.75), "hlg": (0, 0.2, 0.5, 0.75, 1.0)}[kind]
    grey = np.repeat([round(64 + 876 * signal) for signal in signals], 32).astype(np.uint16)
    path = tmp_path / "bright.mkv"
    frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p10le")
    for plane, value in zip(frame.planes, (grey, 512, 512), strict=True):
        rows = np.zeros((plane.height, plane.line_size // 2), np.uint16)
        rows[:, : plane.width] = value
        plane.update(rows.tobytes())
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries = transfer, 9
        context.colorspace, context.color_range = 9, 1
        frame.pts, frame.color_trc, frame.color_primaries, frame.colorspace = 0, transfer, 9, 9
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (picture,) = VideoReader(path, size=HEIGHT).source_frames()
    shown = picture[HEIGHT // 2, 16::32]
    expected = 255 * to_screen(np.repeat(np.array(signals)[:, None], 3, axis=1), kind)
    np.testing.assert_allclose(shown, expected, atol=3)
    assert np.ptp(shown, axis=1).max() <= 2, "grey stays grey"
    black, dark, skin, white, highlight = shown[:, 1].tolist()
    assert black < 5 < 30 < dark < 90 < skin < 180 < white < highlight
    assert skin > 130, "not as dark as its signal would look on a screen"


def test_what_is_transparent_lies_on_grey(tmp_path):
    picture = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    picture[..., 0] = 250
    picture[:, : WIDTH // 2, 3] = 255
    kinds = (("a.mov", "prores_ks", "yuva444p10le", 6), ("b.mkv", "ffv1", "bgra", 0))
    for name, codec, pix_fmt, off in kinds:
        (frame,) = VideoReader(make(tmp_path / name, [picture], codec=codec, pix_fmt=pix_fmt), size=HEIGHT)
        np.testing.assert_allclose(frame[40, 30], (250, 0, 0), atol=off)
        np.testing.assert_allclose(frame[40, 130], (128, 128, 128), atol=off)


# ---- sequences of pictures -------------------------------------------------------------------


@pytest.fixture
def sequence(tmp_path):
    """Pictures 8 to 13 without 11 in a folder with other files."""
    for index in (8, 9, 10, 12, 13):
        cv2.imwrite(str(tmp_path / f"shot_{index:04d}.png"), numbered(index)[..., ::-1])
    (tmp_path / "notes.txt").write_text("take 3")
    (tmp_path / "._shot_0009.png").write_bytes(b"what macOS leaves beside it on other disks")
    return tmp_path


@pytest.mark.parametrize("name", ["", "shot_%04d.png", "shot_%d.png", "shot_####.png"])
def test_a_sequence_of_pictures_is_a_film(sequence, name):
    rate, found, remarks = read(sequence / name, fps=12)
    assert (rate, found) == (12, [8, 9, 10, 10, 12, 13])
    assert len(remarks) == 1
    assert "lacks 11" in remarks[0]


def test_a_sequence_without_a_rate_is_taken_at_thirty_and_that_is_told(sequence):
    rate, found, remarks = read(sequence)
    assert (rate, len(found)) == (30, 6)
    assert "30 pictures a second" in remarks[0]
    assert numbers(sequence, fps=10, start=0.2, end=0.5) == [10, 10, 12]


def test_pictures_without_numbers_come_in_the_order_of_their_names(tmp_path):
    for index, name in enumerate(("apple", "banana", "cherry")):
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), numbered(index)[..., ::-1])
    assert read(tmp_path, fps=24)[:2] == (24, [0, 1, 2])


def test_a_folder_of_several_sequences_or_of_none_is_refused_by_name(sequence):
    cv2.imwrite(str(sequence / "other_0001.png"), numbered(0))
    with pytest.raises(InputError, match=r"holds 2 sequences.*other_%d\.png") as caught:
        VideoReader(sequence)
    assert caught.value.code == "several_sequences"
    (sequence / "empty").mkdir()
    with pytest.raises(InputError, match="holds no pictures"):
        VideoReader(sequence / "empty")
    for pattern in ("nothing_%04d.png", "empty/x_%d.jpg", "no such folder/x_%d.jpg"):
        with pytest.raises(InputError, match="there is no such file"):
            VideoReader(sequence / pattern)


def test_a_picture_that_is_broken_is_passed_over_and_told(sequence):
    (sequence / "shot_0010.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    _, found, remarks = read(sequence, fps=12)
    assert found == [8, 9, 9, 9, 12, 13]
    assert any("shot_0010.png" in line for line in remarks)


def test_a_single_picture_is_a_film_of_one_frame(sequence):
    assert numbers(sequence / "shot_0009.png") == [9]


# ---- names -----------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
@pytest.mark.parametrize(
    "name", ["take 1: wide.mp4", "100%.mp4", "50%d.mp4", "two\nlines.mp4", "🎬 film.mp4", "-y.mp4"]
)
def test_names_that_mean_something_elsewhere_are_only_names(tmp_path, monkeypatch, name):
    make(tmp_path / "clip.mp4", 6).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for path in (Path(name), tmp_path / name):
        assert numbers(path) == list(range(6))
    cv2.imwrite("still.png", numbered(3)[..., ::-1])
    Path("still.png").rename("still_%04d.png")
    assert numbers(Path("still_%04d.png")) == [3]


def test_a_name_of_two_lines_makes_an_error_of_one(tmp_path):
    path = tmp_path / "two\nlines.mp4"
    path.write_text("no film")
    with pytest.raises(InputError) as caught:
        VideoReader(path)
    assert "\n" not in str(caught.value)
    assert r"two\nlines.mp4" in str(caught.value)


# ---- what cannot be read ---------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100, b"#EXTM3U\n#EXTINF:2,\n/etc/hostname\n"])
def test_what_is_no_video_is_refused(tmp_path, content, capfd):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a video that can be read") as caught:
        VideoReader(path)
    assert caught.value.code == "not_a_video"
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_list_of_other_files_is_no_film(tmp_path):
    """What a file from a stranger names is never opened."""
    film = make(tmp_path / "film.ts", 6)
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n{film}\n#EXT-X-ENDLIST\n")
    joined = tmp_path / "list.ffconcat"
    joined.write_text(f"ffconcat version 1.0\nfile '{film.name}'\n")
    for path in (playlist, joined):
        with pytest.raises(InputError, match="it names other files") as caught:
            VideoReader(path)
        assert caught.value.code == "not_a_video"


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="there is no such file") as caught:
        VideoReader(str(tmp_path / "missing.mp4"))
    assert caught.value.code == "not_found"


def test_sound_alone_is_no_film(tmp_path):
    path = tmp_path / "song.mkv"
    with av.open(str(make(tmp_path / "film.mkv", 3, sound=0.5))) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.audio[0])
        for packet in old.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    with pytest.raises(InputError, match="no film in it, only audio"):
        VideoReader(path)


def test_a_codec_that_cannot_be_decoded_is_named(tmp_path):
    path = make(tmp_path / "film.mp4", 3)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"xyz9"))
    with pytest.raises(InputError, match="coded as xyz9, which cannot be decoded") as caught:
        VideoReader(path)
    assert caught.value.code == "unknown_codec"


def test_a_film_of_pictures_that_cannot_be_decoded(tmp_path):
    path = make(tmp_path / "clip.mp4", 30)
    lose_last_frames(path, 30)
    with pytest.raises(InputError, match=r"h264, cannot be decoded: .+") as caught:
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


@pytest.mark.parametrize("name", ["film.mkv", "film.webm"])
def test_a_film_that_breaks_off_is_used_as_far_as_it_goes(tmp_path, name):
    codec = "libx264" if name == "film.mkv" else "libvpx-vp9"
    path = make(tmp_path / name, [numbered(i % 64) for i in range(120)], codec=codec)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    _, found, (told,) = read(path)
    assert 30 <= len(found) < 110
    assert found == [i % 64 for i in range(len(found))]
    assert f"breaks off at {len(found) / 30:.2f} s of 4.00 s" in told
    path.write_bytes(data[: len(data) // 4])
    with pytest.raises(InputError, match=r"breaks off at 0\.\d\d s of 4\.00 s.*copy it again") as caught:
        list(VideoReader(path, size=HEIGHT))
    assert caught.value.code == "truncated_video"


def test_a_film_that_is_damaged_in_its_middle_goes_on_after_it_and_says_what_the_decoder_said(tmp_path):
    path = make(tmp_path / "film.mp4", [numbered(i % 64) for i in range(90)])
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as film:
        packets = [packet for packet in film.demux(video=0) if packet.size]
        for packet in packets[40:43]:
            data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    path.write_bytes(data)
    _, found, (told,) = read(path)
    assert len(found) == 90
    assert found[:30] == list(range(30))
    assert found[-20:] == [i % 64 for i in range(70, 90)]
    assert "damaged (h264: Invalid data" in told


def test_a_film_of_few_frames_is_not_taken_for_one_that_breaks_off(tmp_path):
    path = make(tmp_path / "clip.mp4", 6, rate=25, options={"bf": "0"})
    for count in (1, 2, 3, 4, 5):
        lose_last_frames(path, count)
        if count <= 3:
            assert numbers(path)[: 6 - count] == list(range(6 - count))
            continue
        with pytest.raises(InputError) as caught:
            list(VideoReader(path, size=HEIGHT))
        assert caught.value.code in ("truncated_video", "no_frames")


@pytest.mark.parametrize(("start", "end"), [(-1, None), (2, 2), (2, 1), (0, 0)])
def test_times_that_hold_nothing_are_refused(tmp_path, start, end):
    with pytest.raises(InputError, match="is empty") as caught:
        VideoReader(tmp_path / "clip.mp4", start=start, end=end)
    assert caught.value.code == "bad_time"


@pytest.mark.parametrize("size", [63, 2049])
def test_canvases_of_other_sizes_are_refused(tmp_path, size):
    with pytest.raises(InputError, match=f"size {size} is outside 64 to 2048") as caught:
        VideoReader(tmp_path / "clip.mp4", size=size)
    assert caught.value.code == "bad_size"
    for near in (64, 2048):
        assert VideoReader(write(tmp_path / "clip.mp4", 1), size=near).height == near


@pytest.mark.parametrize("fps", [0.5, 1001, Fraction(1, 3)])
def test_rates_that_no_clip_has_are_refused(tmp_path, fps):
    with pytest.raises(InputError, match="outside 1 to 1000") as caught:
        VideoReader(write(tmp_path / "clip.mp4", 1), fps=fps)
    assert caught.value.code == "bad_rate"


def test_the_rate_asked_for_is_exact(tmp_path):
    path = write(tmp_path / "clip.mp4", 1)
    for fps in (1, 23.976, Fraction(30000, 1001), 1000):
        assert VideoReader(path, fps=fps).fps == rational_rate(fps)


# ---- the films that bug reports are about ----------------------------------------------------


@pytest.mark.skipif(not CASES.is_dir(), reason="the films that bug reports are about are not here")
@pytest.mark.parametrize(
    ("name", "frames", "rate"),
    [
        ("sound_outlasts_picture.mkv", 30, 30),
        ("cut_by_edit_list.mp4", 45, 30),
        ("slow_motion_240.mp4", 60, Fraction(12001, 50)),
        ("interlaced.mts", 30, 30),
        ("two_takes.ts", 68, 30),  # 64 pictures; the last of each take is stamped two intervals late
        ("av1.mp4", 30, 30),
        ("phone_dropped_frames.mp4", 90, 30),
        ("mirrored_matrix.mp4", 40, 30),
    ],
)
def test_films_of_bug_reports(name, frames, rate):
    reader = VideoReader(CASES / name)
    assert sum(1 for _ in reader) == frames
    assert reader.fps == rate
    assert bool(reader.remarks) == (name == "two_takes.ts")


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory was used at most")
def test_memory_does_not_grow_with_the_film(tmp_path):
    """Two hundred pictures of 4K take no more than twenty."""
    picture = np.zeros((2160, 3840, 3), np.uint8)
    program = (
        "import re, sys\n"
        "from sparse2dense.inference.film.reader import VideoReader\n"
        "for picture in VideoReader(sys.argv[1]).pictures(): picture.canvas, picture.source\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
    )
    peaks = []
    for count in (20, 200):
        path = make(tmp_path / f"{count}.mp4", [picture] * count, options={"preset": "ultrafast"}, rate=60)
        command = [sys.executable, "-c", program, path]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] < peaks[0] + 60
    assert peaks[1] < 800
