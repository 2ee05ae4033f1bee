# SPDX-License-Identifier: GPL-3.0-or-later
"""Films whose pictures show their number, coded and stamped as other programs do it."""

from fractions import Fraction

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from sparse2dense.inference.film.reader import VideoReader
from sparse2dense.inference.film.writer import VideoWriter

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
    """Read the number that a frame shows."""
    low = frame[frame.shape[0] * 3 // 4]
    bars = [low[int((bit + 0.5) * frame.shape[1] / 6)].mean() > 130 for bit in range(6)]
    return sum(1 << bit for bit, bright in enumerate(bars) if bright)


def numbers(path, **options):
    """Read a film, and the number that each frame shows."""
    return [number_of(frame) for frame in VideoReader(path, size=HEIGHT, **options)]


def write(path, count=30, fps=Fraction(30000, 1001)):
    """Write a film of so many frames by the project's own writer."""
    with VideoWriter(path, fps, WIDTH, HEIGHT) as writer:
        for index in range(count):
            writer.write(numbered(index))
    return path


def make(
    path,
    pictures=30,
    *,
    codec="libx264",
    rate=30,
    tick=None,
    stamps=None,
    pix_fmt="yuv420p",
    aspect=None,
    matrix=None,
    sound=0.0,
    silent=0.0,
    options=(),
    kind=None,
    metadata=(),
):
    """Write a film as FFmpeg does; ``pictures`` are frames, or how many numbered ones.

    ``stamps`` are their times in ``tick`` seconds (by default one after the other at ``rate``), ``aspect`` of
    a pixel, ``matrix`` the nine numbers of a display matrix, ``sound`` seconds of a tone, which is
    ``silent`` for as many of them.
    """
    frames = [numbered(i) for i in range(pictures)] if isinstance(pictures, int) else list(pictures)
    tick = tick or 1 / Fraction(rate)
    with av.open(str(path), "w", format=kind) as container:
        container.metadata.update(metadata)
        stream = container.add_stream(codec, rate=Fraction(rate))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.time_base, stream.codec_context.time_base = pix_fmt, tick, tick
        stream.codec_context.options = {"g": "12", **dict(options)}
        if aspect:
            stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        audio = container.add_stream("aac", rate=48_000, layout="mono") if sound else None
        for index, picture in enumerate(frames):
            kinds = {2: "gray", 3: "rgb24", 4: "rgba"}
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=kinds[picture.shape[-1]])
            frame = frame.reformat(format=pix_fmt, interpolation="BICUBIC")
            frame.pts, frame.time_base = (index if stamps is None else stamps[index]), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for start in range(0, round(sound * 48_000), 1024):
            at = np.arange(start, start + 1024) / 48_000
            wave = 0.5 * np.sin(2 * np.pi * 440 * at) * (at >= silent)
            tone = AudioFrame.from_ndarray(wave[None].astype(np.float32), format="fltp", layout="mono")
            tone.sample_rate, tone.pts = 48_000, start
            container.mux(audio.encode(tone))
        if audio:
            container.mux(audio.encode(None))
    return path


def copied(source, path, *, shift=None, keep=None, kind=None):
    """Copy the packets of a film's pictures; ``shift`` of a packet's seconds gives seconds to add."""
    with av.open(str(source)) as old, av.open(str(path), "w", format=kind) as new:
        inside = old.streams.video[0]
        stream = new.add_stream_from_template(inside)
        for packet in old.demux(inside):
            if packet.dts is None or (keep and not keep(packet)):
                continue
            if shift:
                ticks = round(shift(float(packet.pts * packet.time_base)) / packet.time_base)
                packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
            packet.stream = stream
            new.mux(packet)
    return path


def lose_last_frames(path, count):
    """Make the last pictures of an MP4 file zeros, as a copy that broke off and was padded has them."""
    with av.open(str(path)) as film:
        packets = [packet for packet in film.demux(video=0) if packet.size]
        lost = sorted(packets, key=lambda packet: packet.pos)[-count:]
        spans = [(packet.pos, packet.size) for packet in lost]
    data = bytearray(path.read_bytes())
    for start, size in spans:
        data[start : start + size] = bytes(size)
    path.write_bytes(data)
