# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds a film: one file, or a sequence of pictures; its facts, and its pictures at their own times."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.format import Flags
from av.frame import Frame
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ...models.errors import InputError
from .pace import DEFAULT_RATE, Clock, commonest_rate, intervals

MAX_SOURCE_SIDE = 8192
"""Largest width or height of a film that is read, in pixels."""

SAMPLE_RATE = 48_000
"""Samples a second in which sound is read and written."""

PICTURE_ENDINGS = {
    ".bmp", ".dpx", ".exr", ".hdr", ".jpeg", ".jpg", ".png", ".ppm", ".tga", ".tif", ".tiff", ".webp",
}  # fmt: skip
"""Endings of the files that a sequence of pictures consists of."""

# Lists of other files, and what comes from a network, are no films: no path in a file is trusted.
_CONTAINERS = (
    "apng asf avi bmp_pipe dnxhd dpx_pipe dv exr_pipe flv gif gxf h261 h263 h264 hdr_pipe hevc image2 ivf "
    "jpeg_pipe m4v matroska mjpeg mov mp4 mpeg mpegts mpegvideo mpjpeg mxf nsv nut obu ogg png_pipe ppm_pipe "
    "rm tiff_pipe vc1 vvc webm webp webp_pipe wtv yuv4mpegpipe"
)
_TRUSTED = {
    "protocol_whitelist": "file",
    "format_whitelist": _CONTAINERS.replace(" ", ","),
    "pattern_type": "none",  # a percent sign in the name of a picture is one
}
_MOST_THREADS = 8  # each holds pictures of its own
_SURVEYED = 3000  # pictures whose times tell the rate: a film of an hour is not read twice for it
_OUT_OF_STEP = 0.05  # seconds by which sound may stray from its stamps before it is put right
_SEEK_FROM = 5.0  # seconds of film that are worth a leap to a key picture
_SEEK_MARGIN = 1.0  # seconds before what is wanted to which it goes
_COVERS = Disposition.attached_pic | Disposition.timed_thumbnails
_UNKNOWN = re.compile(r"Video: none \((\S+)")
_NUMBER = re.compile(r"(.*?)(\d+)")


@dataclass(frozen=True)
class Facts:
    """What is known of a film before it is read.

    ``rate`` is that of the commonest interval, None where there is none; ``duration`` in seconds, 0 where it
    is not told; ``pixel_aspect`` how wide a stored pixel is for its height; ``metadata`` what a camera wrote
    into the file.
    """

    codec: str
    rate: Fraction | None
    duration: float
    pixel_aspect: float
    metadata: dict[str, str]
    first: VideoFrame


@dataclass
class Trouble:
    """What went wrong while a film was read: broken pictures, an early end, leaps of time."""

    said: str = ""  # the decoder's own words
    at: float = 0.0  # seconds
    broke_off: tuple[float, float] | None = None  # seconds reached, and of how many that the container tells
    leaps: list[tuple[float, float]] = field(default_factory=list)  # seconds, and how far
    missing: list[str] = field(default_factory=list)  # numbers of a sequence that no file has


def open_film(path: Path, rate: Fraction | None) -> FilmFile | PictureSequence:
    """Return the film at ``path``: a file, a folder of pictures, or a pattern such as ``shot_%04d.png``.

    ``rate`` is how many pictures of a sequence are shown in a second, which no file says. Raises InputError
    where there is none, or none that can be decoded.
    """
    if path.is_file():
        return FilmFile(path)
    if path.is_dir():
        return PictureSequence(path, _pictures_of(path), rate)
    pattern = re.fullmatch(r"(.*?)(%0?\d*d|#+)(.*)", path.name)
    if pattern:
        before, _, after = pattern.groups()
        return PictureSequence(path, _numbered(path, before, after), rate)
    raise InputError("not_found", f"{path}: there is no such file.")


class FilmFile:
    """A film in one file. Raises InputError for what is no film, or for one that cannot be decoded."""

    def __init__(self, path: Path) -> None:
        """Read what the container tells, the times of the first pictures, and the first picture."""
        self.path = path
        with self._opened() as (container, stream):
            self._joined = bool(Flags(container.format.flags) & Flags.ts_discont)
            tick = stream.time_base or Fraction(1, 1000)
            stamps, count, whole = _survey(container, stream)
            # Raw streams stamp nothing, and AVI in the order of decoding: then pictures come evenly.
            orderless = container.format.name == "avi" and stream.codec_context.has_b_frames
            self._stamped = count == len(stamps) and not orderless
            told = (stream.average_rate if self._stamped else None) or stream.guessed_rate
            rate = commonest_rate(stamps if self._stamped else (), tick, told)
            self._step = float(1 / (rate or told or DEFAULT_RATE))
            self._declared = duration = _declared(container, stream)
            begun = float(min(stamps) * tick) if stamps else None
            if whole:
                stamped = float(intervals(stamps, tick).sum() * tick)
                duration = self._step + (stamped if self._stamped else (count - 1) * self._step)
            codec, aspect = stream.codec_context.name, float(stream.sample_aspect_ratio or 1)
            metadata = {**stream.metadata, **container.metadata}
        self._first: float | None = None
        self._before = 0.0
        trouble = Trouble()
        found = next(self.pictures(0.0, trouble), None)
        if found is None:
            said = trouble.said or "no picture comes out of it"
            raise InputError("no_frames", f"{path}: its pictures, {codec}, cannot be decoded: {said}.")
        first = found[1]
        self._first = _stamp(first) if self._stamped else None
        # Pictures before the first that stands alone cannot be decoded, and are not counted.
        self._before = 0.0 if begun is None or self._first is None else max(0.0, self._first - begun)
        self.facts = Facts(codec, rate, max(0.0, duration - self._before), aspect, metadata, first)

    @property
    def leaps(self) -> bool:
        """Whether a late ``start`` of :meth:`pictures` is reached at a leap, and not read up to."""
        return self._first is not None and not self._joined

    def pictures(self, start: float, trouble: Trouble) -> Iterator[tuple[float, VideoFrame]]:
        """Yield ``(seconds since the first picture, picture)`` in order, from a key picture before ``start``.

        What a decoder cannot read is passed over, as players do, and noted in ``trouble``.
        """
        clock = Clock(self._step, self._joined, self._first)
        trouble.leaps, end, others = clock.leaps, 0.0, 0.0
        with self._opened() as (container, stream):
            if start > _SEEK_FROM and self.leaps and self._first is not None:
                target = self._first + start - _SEEK_MARGIN
                container.seek(int(target / float(stream.time_base or 1)), stream=stream)
            begun = (container.start_time or 0) / av.time_base
            for packet in _packets(container, trouble):
                if packet.stream is not stream:
                    if packet.pts is not None and packet.time_base:
                        others = max(others, float(packet.pts * packet.time_base) - begun)
                    continue
                try:
                    frames = stream.decode(packet)
                except av.FFmpegError as error:
                    if not trouble.said:
                        trouble.said, trouble.at = f"{stream.codec_context.name}: {error.strerror}", end
                    continue
                for frame in frames:
                    if max(frame.width, frame.height) > MAX_SOURCE_SIDE:
                        raise _too_large(self.path)
                    time = clock.time(_stamp(frame) if self._stamped else None)
                    if time is not None:
                        end = time + self._step
                        yield time, frame
        # A stream for broadcasting tells no length, and elsewhere sound may go on after the last picture.
        short = self._declared - max(self._before + end, others)
        if not self._joined and short > max(0.1 * self._declared, 3 * self._step):
            trouble.broke_off = end, self._declared

    def sound(self, start: float) -> Iterator[np.ndarray]:
        """Yield the film's sound from ``start`` seconds after its first picture on.

        Pieces ``(2, N)`` float32 follow each other at :data:`SAMPLE_RATE`, silence too. InputError where the
        film has no sound at all.
        """
        clock = Clock(0.0, self._joined, self._first)
        resampler = AudioResampler(format="fltp", layout="stereo", rate=SAMPLE_RATE)
        made = 0  # samples since ``start``
        with _open(self.path)[0] as container:
            if not container.streams.audio:
                raise InputError("no_sound", f"{self.path}: there is no sound in it.")
            stream = container.streams.audio[0]
            for packet in _packets(container, Trouble(), stream):
                try:
                    frames = stream.decode(packet)
                except av.FFmpegError:
                    continue
                for frame in frames:
                    time = clock.time(_stamp(frame))
                    if time is None:
                        continue
                    pieces = [it.to_ndarray() for it in resampler.resample(frame)]
                    samples = np.concatenate(pieces, axis=1) if pieces else np.empty((2, 0), np.float32)
                    due = round((time - start) * SAMPLE_RATE)
                    if abs(due - made) > _OUT_OF_STEP * SAMPLE_RATE or not made:
                        samples = samples[:, max(0, made - due) :]
                        if due > made and samples.shape[1]:
                            yield np.zeros((2, due - made), np.float32)
                            made = due
                    if samples.shape[1]:
                        yield samples
                        made += samples.shape[1]

    @contextmanager
    def _opened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        container, said = _open(self.path)
        with container:
            stream = next((it for it in container.streams.video if not it.disposition & _COVERS), None)
            if stream is None:
                held = ", ".join(sorted({it.type for it in container.streams})) or "nothing"
                raise InputError("not_a_video", f"{self.path}: there is no film in it, only {held}.")
            context = stream.codec_context
            if context is None:
                coded = _UNKNOWN.search(said)
                name = f"as {coded[1]}" if coded else "in a way of their own"
                wrong = f"its pictures are coded {name}, which cannot be decoded"
                raise InputError("unknown_codec", f"{self.path}: {wrong}: convert it, to H.264 for example.")
            if max(context.width, context.height) > MAX_SOURCE_SIDE:
                raise _too_large(self.path)
            context.options = {"max_pixels": str(MAX_SOURCE_SIDE**2)}
            if context.codec.name == "exr":
                context.options |= {"apply_trc": "iec61966_2_1"}  # it holds light, not what a screen takes
            context.thread_type, context.thread_count = "AUTO", min(_MOST_THREADS, os.cpu_count() or 1)
            yield container, stream


class PictureSequence:
    """A film whose pictures are files of their own. Raises InputError where its first is none."""

    def __init__(self, path: Path, files: dict[int, Path], rate: Fraction | None) -> None:
        """``files`` are the pictures by number, which is their time at ``rate`` (by default 30) a second."""
        self.path = path
        self._files, self._rate = files, rate or DEFAULT_RATE
        self.leaps = True
        first = FilmFile(next(iter(files.values()))).facts
        duration = (max(files) - min(files) + 1) / self._rate
        self.facts = replace(first, rate=self._rate, duration=float(duration))

    def pictures(self, start: float, trouble: Trouble) -> Iterator[tuple[float, VideoFrame]]:
        """Yield ``(seconds since the first picture, picture)``; see :meth:`FilmFile.pictures`."""
        begin = min(self._files)
        clock = Clock(float(1 / self._rate), True, float(begin / self._rate))
        trouble.leaps = clock.leaps
        trouble.missing = _gaps(list(self._files))
        for number, file in self._files.items():
            time = clock.time(float(number / self._rate))
            if time is None or time < start - _SEEK_MARGIN:
                continue
            try:
                yield time, FilmFile(file).facts.first
            except InputError as error:
                if not trouble.said:
                    trouble.said, trouble.at = str(error).rstrip("."), time


def _open(path: Path) -> tuple[InputContainer, str]:
    """Open a container; returns it and what the library said meanwhile."""
    with av.logging.Capture() as logged:
        av.logging.set_level(av.logging.WARNING)
        try:
            # Without the protocol's name, what stands before a colon in the file's would be one.
            container = av.open(f"file:{path.absolute()}", options=_TRUSTED, metadata_errors="replace")
        except av.FFmpegError as error:
            words = " ".join(logged[-1][2].split()) if logged else error.strerror
            if "whitelist" in str(words):
                words = "it names other files, or is of a kind that holds no films"
            raise InputError(
                "not_a_video", f"{path}: this is not a video that can be read: {words}."
            ) from None
        finally:
            av.logging.set_level(
                None
            )  # decoders run in threads, which must not wait for Python in order to log
    return container, " ".join(message for _, _, message in logged)


def _packets(container: InputContainer, trouble: Trouble, *streams: AudioStream) -> Iterator[Packet[Stream]]:
    """Yield all packets, or those of ``streams``, up to where the container is broken."""
    try:
        yield from container.demux(*streams)
    except av.FFmpegError as error:
        trouble.said = trouble.said or str(error.strerror)


def _survey(container: InputContainer, stream: VideoStream) -> tuple[list[int], int, bool]:
    """Return the time stamps of the first pictures in stored order, how many these are, and if all are."""
    stamps: list[int] = []
    count, trouble = 0, Trouble()
    for packet in _packets(container, trouble):
        if packet.stream is stream and packet.size and not packet.is_discard:
            count += 1
            if packet.pts is not None:
                stamps.append(packet.pts)
            if count == _SURVEYED:
                return stamps, count, False
    return stamps, count, count > 0 and not trouble.said


def _declared(container: InputContainer, stream: VideoStream) -> float:
    """Return how many seconds of pictures, or of anything, the container tells of; 0 for nothing."""
    if stream.duration is not None and stream.time_base:
        return float(stream.duration * stream.time_base)
    clock = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if clock:
        return int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
    return (container.duration or 0) / av.time_base


def _pictures_of(folder: Path) -> dict[int, Path]:
    """Return the pictures in a folder by number: a sequence's own, otherwise in the order of their names."""
    found = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in PICTURE_ENDINGS and path.name[0] != "."
    )
    if not found:
        raise InputError("no_frames", f"{folder}: the folder holds no pictures, such as .png or .jpg.")
    parts = [_NUMBER.fullmatch(path.stem) for path in found]
    names = {(part[1], path.suffix) for part, path in zip(parts, found, strict=True) if part}
    if len(names) > 1 and all(parts):
        (one, ending), *_ = sorted(names)
        raise InputError(
            "several_sequences",
            f"{folder}: the folder holds {len(names)} sequences of pictures: name one, such as "
            f"{folder / one}%d{ending}.",
        )
    if not all(parts):
        return dict(enumerate(found))
    return dict(sorted((int(part[2]), path) for part, path in zip(parts, found, strict=True) if part))


def _numbered(pattern: Path, before: str, after: str) -> dict[int, Path]:
    """Return the files beside ``pattern`` named ``before``, a number, and ``after``, by that number."""
    name = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    entries = pattern.parent.iterdir() if pattern.parent.is_dir() else ()
    matches = ((name.fullmatch(path.name), path) for path in entries)
    found = dict(sorted((int(match[1]), path) for match, path in matches if match))
    if not found:
        raise InputError("not_found", f"{pattern}: there is no such file.")
    return found


def _gaps(numbers: list[int]) -> list[str]:
    """Return the numbers that a sequence lacks, as words."""
    between = ((one + 1, two - 1) for one, two in itertools.pairwise(numbers) if two > one + 1)
    return [f"{one}" if one == two else f"{one} to {two}" for one, two in between]


def _stamp(frame: Frame) -> float | None:
    """Return the time that is stamped on a picture or a piece of sound, in seconds."""
    return None if frame.pts is None or not frame.time_base else float(frame.pts * frame.time_base)


def _too_large(path: Path) -> InputError:
    return InputError(
        "video_too_large", f"{path}: its sides exceed {MAX_SOURCE_SIDE} pixels; make it smaller first."
    )
