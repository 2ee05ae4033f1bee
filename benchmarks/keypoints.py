# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the keypoint coder on motion that it was not designed on: ``s2d bench keypoints``.

Ten-second clips of CMU subjects 11 and 13 on Anny bodies of random shapes. All bytes of the keypoint part are
counted, with the clip's share of the index; zlib packs the same track, rounded to a lattice of equal error.
"""

from __future__ import annotations

import argparse
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..inference.fields import pack_varint
from ..inference.keypoint_codec import decode_group, encode_group
from ..models.training.keypoint_statistics import posed_keypoints
from ..models.training.motion import FPS, HELD_OUT_SUBJECTS

SECONDS = 10
LATTICE_ERROR = 0.48  # mean 3D error of rounding to a cubic lattice, in its steps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``s2d bench keypoints``."""
    parser.add_argument("--data", type=Path, help="folder of the motion archive (default: S2D_DATA)")
    parser.add_argument("--steps", type=float, nargs="+", default=[4, 5, 6, 6.5, 7, 8], help="quantiser, mm")
    parser.add_argument("--seed", type=int, default=7)


@dataclass(frozen=True)
class Measurement:
    """What coding took at one step, over all clips."""

    step_mm: float
    error_mm: float  # mean 3D error
    largest_mm: float  # 99 % of the errors are below
    bits: float  # a keypoint and frame
    worst_bits: float  # of one clip
    zlib_bits: float
    encode_seconds: float  # processor time a clip
    decode_seconds: float


def run(args: argparse.Namespace) -> None:
    """Print bits a keypoint and frame and the mean 3D error for every step."""
    clips = held_out_clips(args.data, args.seed)
    print(f"{len(clips)} clips of {SECONDS} s, subjects {' and '.join(HELD_OUT_SUBJECTS)}")
    print("step mm  error mm  99 % mm  bits/keypoint/frame  worst clip  zlib bits  encode s  decode s")
    for step_mm in args.steps:
        m = measure(clips, step_mm)
        print(
            f"{m.step_mm:7.2f}  {m.error_mm:8.2f}  {m.largest_mm:7.2f}  {m.bits:19.2f}  "
            f"{m.worst_bits:10.2f}  {m.zlib_bits:9.2f}  {m.encode_seconds:8.2f}  {m.decode_seconds:8.2f}"
        )


def held_out_clips(folder: Path | None, seed: int) -> list[np.ndarray]:
    """Return ten-second clips ``(300, 23, 3)`` metres of the held-out subjects."""
    length = SECONDS * FPS
    tracks = posed_keypoints(folder, HELD_OUT_SUBJECTS, np.random.default_rng(seed))
    return [track[i : i + length] for track in tracks for i in range(0, len(track) - length + 1, length)]


def measure(clips: list[np.ndarray], step_mm: float) -> Measurement:
    """Code and decode every clip as one group."""
    step_um = round(step_mm * 1000)
    started = time.process_time()
    groups = [encode_group(clip, step_um) for clip in clips]
    encoded = time.process_time()
    decoded = [decode_group(group, len(clip), step_um) for group, clip in zip(groups, clips, strict=True)]
    done = time.process_time()
    errors = np.array([np.linalg.norm(a - b, axis=-1) for a, b in zip(decoded, clips, strict=True)]) * 1000
    values = errors[0].size
    bits = np.array([8 * (len(group) + len(pack_varint(len(group)))) for group in groups]) / values
    lattice = errors.mean() / LATTICE_ERROR / 1000
    return Measurement(
        step_mm=step_mm,
        error_mm=errors.mean(),
        largest_mm=np.quantile(errors, 0.99),
        bits=bits.mean(),
        worst_bits=bits.max(),
        zlib_bits=float(np.mean([8 * _zlib_bytes(clip, lattice) for clip in clips])) / values,
        encode_seconds=(encoded - started) / len(clips),
        decode_seconds=(done - encoded) / len(clips),
    )


def _zlib_bytes(clip: np.ndarray, step: float) -> int:
    """Pack frame differences on a lattice, one coordinate after the other, low bytes before high ones."""
    steps = np.diff(np.rint(clip / step).astype("<i2"), axis=0, prepend=0)
    planes = np.ascontiguousarray(steps.reshape(len(steps), -1).T).reshape(-1, 1).view(np.uint8).T
    return len(zlib.compress(planes.tobytes(), 9))
