# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotations as the channels of Blender's rotation modes, and which frames of them get keys. NumPy alone.

A mode is ``QUATERNION`` (w, x, y, z), ``AXIS_ANGLE`` (angle, x, y, z), or an order of Euler angles (x, y, z)
such as ``XYZ``. Rotations are ``(T, 3, 3)`` matrices.
"""

from __future__ import annotations

import itertools

import numpy as np

from ...models.rotations import angles_between, continuous, to_matrices, to_quaternions, unit
from ..bake.keys import keys_within, straight_between


def to_channels(rotations: np.ndarray, mode: str) -> np.ndarray:
    """Return rotations as the channels ``(T, C)`` of a bone's rotation mode, continuous over time."""
    quaternions = continuous(to_quaternions(rotations))
    if mode == "QUATERNION":
        return quaternions
    if mode == "AXIS_ANGLE":
        sine = np.linalg.norm(quaternions[:, 1:], axis=1)
        angle = 2 * np.arctan2(sine, quaternions[:, 0])
        known = sine > 1e-6
        if not known.any():
            return np.tile([0.0, 0.0, 1.0, 0.0], (len(quaternions), 1))
        # where nothing is turned any axis will do: that of the last frame that has one
        last = np.maximum.accumulate(np.where(known, np.arange(len(known)), known.argmax()))
        return np.column_stack([angle, quaternions[last, 1:] / sine[last, None]])
    return _to_eulers(rotations, mode)


def from_channels(values: np.ndarray, mode: str) -> np.ndarray:
    """Return the rotations that Blender makes of rotation channels ``(T, C)``.

    Of a quaternion without length it makes half a turn about X, and of an axis without length none.
    """
    if mode == "QUATERNION":
        return to_matrices(np.where(values.any(axis=1, keepdims=True), values, (0, 1, 0, 0)))
    if mode == "AXIS_ANGLE":
        half = values[:, :1] / 2
        return to_matrices(np.concatenate([np.cos(half), np.sin(half) * unit(values[:, 1:])], axis=1))
    result = np.eye(3)
    for axis in mode:
        i = "XYZ".index(axis)
        half = values[:, i] / 2
        quaternion = np.zeros((len(values), 4))
        quaternion[:, 0], quaternion[:, i + 1] = np.cos(half), np.sin(half)
        result = to_matrices(quaternion) @ result
    return result


def rotation_keys(values: np.ndarray, mode: str, angle: float) -> np.ndarray:
    """Choose frames ``(K,)`` of rotation channels ``(T, C)`` that get keys.

    With straight lines between them no rotation strays by more than ``angle`` radians; 0 keeps every frame.
    """
    wanted = from_channels(values, mode)

    def strayed(kept: np.ndarray) -> np.ndarray:
        return angles_between(from_channels(straight_between(values, kept), mode), wanted)

    return keys_within(strayed, len(values), angle)


def _to_eulers(rotations: np.ndarray, order: str) -> np.ndarray:
    i, j, k = ("XYZ".index(axis) for axis in order)
    sign = 1 if (i, j, k) in ((0, 1, 2), (1, 2, 0), (2, 0, 1)) else -1
    m = rotations
    cosine = np.hypot(m[:, i, i], m[:, j, i])
    free = cosine > 1e-6
    angles = np.empty((len(m), 3))
    angles[:, i] = np.where(
        free, np.arctan2(sign * m[:, k, j], m[:, k, k]), np.arctan2(-sign * m[:, j, k], m[:, j, j])
    )
    angles[:, j] = np.arctan2(-sign * m[:, k, i], cosine)
    angles[:, k] = np.where(free, np.arctan2(sign * m[:, j, i], m[:, i, i]), 0)
    other = angles + np.pi
    other[:, j] = np.pi - angles[:, j]
    # every rotation has two triples of angles, and each of them turns of 360 degrees: take the nearest
    both = np.stack([angles, other], axis=1)
    steps = both[1:, None] - both[:-1, :, None]
    nearest = np.abs((steps + np.pi) % (2 * np.pi) - np.pi).sum(axis=-1).argmin(axis=-1)
    chosen = list(itertools.accumulate(nearest.tolist(), lambda before, after: after[before], initial=0))
    return np.unwrap(both[np.arange(len(m)), chosen], axis=0)
