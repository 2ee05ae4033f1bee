# SPDX-License-Identifier: GPL-3.0-or-later
"""Block codecs to compare with, through the ffmpeg that ``imageio-ffmpeg`` carries.

Each is set up to do its best: its slowest sensible preset, one intra picture at the start of the clip,
constant quality, 10 bits where the encoder is tuned for them, and no messages in the stream that are not
needed to decode it. What counts is the size of the raw elementary stream, without any container. Since none
of them was made for a few kbit/s, each may also code the clip at half its size; it is then enlarged after
decoding, and the better of both counts at every rate.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..models.errors import S2DError
from ..models.whole_files import whole_file

MODES = {"ra": "random access", "ld": "low delay"}


@dataclass(frozen=True)
class Codec:
    """A block codec as ffmpeg runs it."""

    title: str
    suffix: str  # of the raw elementary stream
    depth: int  # bits a sample
    options: tuple[str, ...]
    level: str  # the option of its constant quality
    levels: tuple[int, ...]  # its values, the coarsest first
    modes: dict[str, tuple[str, ...]]  # options of random access and of low delay (no reordering)


CODECS = {
    "vvc": Codec(
        "VVC (libvvenc slow)",
        ".266",
        10,
        ("-c:v", "libvvenc", "-preset", "slow", "-threads", "1"),
        "-qp",
        (63, 55, 48, 42, 36, 30, 24, 18),
        {
            "ra": ("-vvenc-params", "intraperiod=-1"),
            "ld": ("-vvenc-params", "intraperiod=-1:decodingrefreshtype=none:picreordering=0:gopsize=8"),
        },
    ),
    "x265": Codec(
        "HEVC (libx265 veryslow)",
        ".265",
        10,
        ("-c:v", "libx265", "-preset", "veryslow"),
        "-crf",
        (51, 45, 39, 33, 27, 21, 15),
        {
            "ra": ("-x265-params", "log-level=error:pools=1:frame-threads=1:info=0:keyint=-1"),
            "ld": ("-x265-params", "log-level=error:pools=1:frame-threads=1:info=0:keyint=-1:bframes=0"),
        },
    ),
    "x264": Codec(
        "AVC (libx264 veryslow)",
        ".264",
        8,
        ("-c:v", "libx264", "-preset", "veryslow", "-threads", "1", "-bsf:v", "filter_units=remove_types=6"),
        "-crf",
        (51, 45, 39, 33, 27, 21, 15),
        {
            "ra": ("-x264-params", "keyint=infinite"),
            "ld": ("-x264-params", "keyint=infinite:bframes=0"),
        },
    ),
    "svtav1": Codec(
        "AV1 (libsvtav1 preset 2)",
        ".obu",
        10,
        ("-c:v", "libsvtav1", "-preset", "2"),
        "-crf",
        (63, 56, 48, 40, 32, 24, 16),
        {
            "ra": ("-svtav1-params", "keyint=-1:lp=1:pred-struct=2"),
            "ld": ("-svtav1-params", "keyint=-1:lp=1:pred-struct=1"),
        },
    ),
}


def encode(clip: Path, codec: str, mode: str, level: int, shrink: int, output: Path) -> int:
    """Code the video ``clip`` to a raw elementary stream and return the file's size in bytes.

    ``mode`` is one of :data:`MODES`, ``level`` one of the codec's levels, ``shrink`` divides both sides.
    The stream appears under its name whole or not at all. S2DError where the encoder fails.
    """
    chosen = CODECS[codec]
    pixels = "yuv420p10le" if chosen.depth == 10 else "yuv420p"
    smaller = f"scale=iw/{shrink}:ih/{shrink}:flags=lanczos+accurate_rnd+full_chroma_int"
    filters = f"{smaller}:out_color_matrix=bt709:out_range=tv,format={pixels}"
    with whole_file(output) as aside:
        _ffmpeg(
            "-y",
            *("-i", str(clip), "-vf", filters),
            *(*chosen.options, chosen.level, str(level), *chosen.modes[mode]),
            str(aside),
        )
    return output.stat().st_size


def decode(stream: Path, codec: str, width: int, height: int) -> np.ndarray:
    """Decode a stream of :func:`encode` to ``(T, height, width, 3)`` uint8 RGB, enlarged if it is smaller.

    S2DError where it cannot be decoded.
    """
    form = {".264": "h264", ".265": "hevc", ".266": "vvc", ".obu": "obu"}[CODECS[codec].suffix]
    larger = f"scale={width}:{height}:flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp"
    filters = f"{larger}:in_color_matrix=bt709:in_range=tv,format=rgb24"
    data = _ffmpeg(
        *("-f", form, "-i", str(stream), "-vf", filters),
        *("-fps_mode", "passthrough", "-f", "rawvideo", "-"),
    )
    return np.frombuffer(data, np.uint8).reshape(-1, height, width, 3)


def write_lossless(frames: np.ndarray, path: Path, fps: int) -> None:
    """Write ``(T, H, W, 3)`` uint8 RGB as a lossless video (FFV1), whole or not at all."""
    height, width = frames.shape[1:3]
    with whole_file(path) as aside:
        _ffmpeg(
            "-y",
            *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"),
            *("-c:v", "ffv1", "-pix_fmt", "bgr0", str(aside)),
            data=frames.tobytes(),
        )


def _ffmpeg(*arguments: str, data: bytes = b"") -> bytes:
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *arguments]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise S2DError("ffmpeg", f"ffmpeg failed ({said[-1]}): {' '.join(arguments)}")
    return done.stdout
