# SPDX-License-Identifier: GPL-3.0-or-later
"""Coding of the keypoint track: prediction in time from decoded values on a lattice of a chosen step."""

from __future__ import annotations

import zlib

import numpy as np

from ..models.keypoints import KEYPOINT_NAMES
from .errors import InputError

_POINTS = len(KEYPOINT_NAMES)


def encode_group(keypoints: np.ndarray, step_um: int) -> bytes:
    """Code ``(n, 23, 3)`` metres as one group that decodes alone, on a lattice of ``step_um`` micrometres."""
    lattice = np.rint(np.asarray(keypoints, np.float64) * (1e6 / step_um)).astype("<i4")
    return zlib.compress(np.diff(lattice, axis=0, prepend=np.zeros_like(lattice[:1])).tobytes(), 9)


def decode_group(data: bytes, frames: int, step_um: int) -> np.ndarray:
    """Decode what :func:`encode_group` made of ``frames`` frames to ``(frames, 23, 3)`` float32 metres."""
    size = frames * _POINTS * 3 * 4
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(data, size)
    except zlib.error:
        raw = b""
    if len(raw) != size or not unpacker.eof:
        raise InputError("damaged", "the keypoints cannot be decoded.")
    steps = np.frombuffer(raw, "<i4").reshape(frames, _POINTS, 3).cumsum(axis=0, dtype=np.int64)
    return (steps * (step_um * 1e-6)).astype(np.float32)


def check_group_size(frames: int, size: int) -> None:
    """Raise InputError if ``size`` bytes cannot hold ``frames`` frames, before any are allocated."""
    if size * 1000 < frames:
        raise InputError("damaged", f"it claims {frames} frames in {size} bytes of keypoints.")
