# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the keypoint coder on motion that it was not designed on: ``s2d bench keypoints``.

Ten-second clips of CMU subjects 11 and 13 on Anny bodies of random shapes. All bytes of the keypoint part are
counted, with the clip's share of the index; zlib packs the same track, rounded to a lattice of equal error.
"""

from __future__ import annotations

import argparse
import time
import zlib
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


def run(args: argparse.Namespace) -> None:
    """Print bits a keypoint and frame and the mean 3D error for every step."""
    length = SECONDS * FPS
    tracks = posed_keypoints(args.data, HELD_OUT_SUBJECTS, np.random.default_rng(args.seed))
    clips = [track[i : i + length] for track in tracks for i in range(0, len(track) - length + 1, length)]
    print(f"{len(clips)} clips of {SECONDS} s, subjects {' and '.join(HELD_OUT_SUBJECTS)}")
    print("step mm  error mm  99 % mm  bits/keypoint/frame  worst clip  zlib bits  encode s  decode s")
    for step_mm in args.steps:
        print(_measure(clips, round(step_mm * 1000)))


def _measure(clips: list[np.ndarray], step_um: int) -> str:
    started = time.process_time()
    groups = [encode_group(clip, step_um) for clip in clips]
    encoded = time.process_time()
    decoded = [decode_group(group, len(clip), step_um) for group, clip in zip(groups, clips, strict=True)]
    done = time.process_time()
    errors = np.array([np.linalg.norm(a - b, axis=-1) for a, b in zip(decoded, clips, strict=True)]) * 1000
    values = errors[0].size
    bits = np.array([8 * (len(group) + len(pack_varint(len(group)))) for group in groups]) / values
    lattice = errors.mean() / LATTICE_ERROR / 1000
    packed = np.mean([8 * _zlib_bytes(clip, lattice) for clip in clips]) / values
    encode_s, decode_s = ((end - start) / len(clips) for start, end in ((started, encoded), (encoded, done)))
    largest = np.quantile(errors, 0.99)
    return (
        f"{step_um / 1000:7.2f}  {errors.mean():8.2f}  {largest:7.2f}  {bits.mean():19.2f}  "
        f"{bits.max():10.2f}  {packed:9.2f}  {encode_s:8.2f}  {decode_s:8.2f}"
    )


def _zlib_bytes(clip: np.ndarray, step: float) -> int:
    """Pack frame differences on a lattice, low bytes before high ones, which suits zlib best."""
    steps = np.diff(np.rint(clip / step).astype("<i2"), axis=0, prepend=0)
    planes = steps.reshape(-1, 1).view(np.uint8).T
    return len(zlib.compress(planes.tobytes(), 9))
