# SPDX-License-Identifier: GPL-3.0-or-later
"""NumPy's files: named keypoints in ``.npz``, landmarks in ``.npz`` or ``.npy``, SMPL parameters in ``.npz``.

Named keypoints are arrays ``keypoints`` ``(T, N, 3)``, NaN where a point is missing, ``keypoint_names``
``(N,)`` and ``fps`` (a number, a text such as ``30000/1001``, or numerator and denominator). ``units`` (``m``
if it is left out, ``cm``, ``mm``, ``in``) and ``up`` (the axis that points up: ``y``, ``-y``, ``z`` …; seen
on the person if it is left out) say what the numbers mean. With ``camera`` ``(3, 3)``, K in pixels, and
``size`` ``(2,)``, the canvas it belongs to, they are in that camera's space: x right, y down, z forward.
Landmarks are any array ``(T, N, 3)`` or ``(T, N, 4)`` of a number of points that is known
(:data:`.conventions.ORDERS`).
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from ...models.array_files import read_array, read_arrays
from ...models.body import BodyModel
from ...models.errors import InputError
from ...models.frame_rates import parse_rate
from .conventions import NPZ, ORDERS, TO_CAMERA, Motion, unit_named
from .landmark_orders import motion_of_landmarks
from .smpl_reader import SMPL_ARRAYS, is_smpl, read_smpl

_KEYPOINTS = ("keypoints", "keypoint_names", "fps", "camera", "size", "units", "up")
_LANDMARKS = (
    "pose_world_landmarks", "world_landmarks", "landmarks", "keypoints3d", "keypoints_3d", "arr_0",
)  # fmt: skip


def read_npz(path: Path, body: BodyModel) -> Motion:
    """Read an ``.npz`` file; ``body`` is what SMPL parameters pose.

    Raises OSError, and InputError that names the array at fault.
    """
    try:
        held = read_arrays(path, (*_KEYPOINTS, *_LANDMARKS, *SMPL_ARRAYS))
    except ValueError as error:
        raise InputError("not_motion", f"it is no motion file: {error}.") from None
    if "keypoint_names" not in held:
        if is_smpl(held):
            return read_smpl(held, body)
        for name in ("keypoints", *_LANDMARKS):
            if name in held and held[name].ndim == 3 and held[name].shape[1] in ORDERS:
                _check_numbers(held[name], name, (3, 4))
                return motion_of_landmarks(held[name], _rate(held.get("fps")))
    missing = [name for name in ("keypoints", "keypoint_names", "fps") if name not in held]
    if missing:
        raise InputError("not_motion", f"it has no array named {' or '.join(missing)}.")
    names = held["keypoint_names"]
    _check_numbers(held["keypoints"], "keypoints")
    if names.ndim != 1 or names.dtype.kind not in "US" or len(names) != held["keypoints"].shape[1]:
        raise InputError(
            "bad_keypoints",
            f"keypoint_names must be {held['keypoints'].shape[1]} names, one a column of keypoints.",
        )
    texts = tuple(name.decode("ascii", "replace") if isinstance(name, bytes) else str(name) for name in names)
    camera, up = held.get("camera"), _text(held.get("up"), "up")
    if up is not None and (up := up.strip().lower().removeprefix("+")) not in TO_CAMERA:
        raise InputError("axes", f"up is '{up[:20]}': {', '.join(TO_CAMERA)} are possible.")
    if up is not None and camera is not None:
        raise InputError("axes", "with a camera the keypoints are in its space: leave out up.")
    metres = unit_named(_text(held.get("units"), "units") or "m")
    points = held["keypoints"].astype(np.float64) * metres
    return Motion(NPZ, points, texts, _rate(held["fps"]), up, camera, held.get("size"))


def read_npy(path: Path) -> Motion:
    """Read landmarks from an ``.npy`` file. Raises OSError, and InputError where it holds none."""
    try:
        array = read_array(path)
    except ValueError as error:
        raise InputError("not_motion", f"it is no motion file: {error}.") from None
    _check_numbers(array, "it", (3, 4))
    return motion_of_landmarks(array, None)


def _check_numbers(array: np.ndarray, name: str, widths: tuple[int, ...] = (3,)) -> None:
    if array.ndim != 3 or array.shape[2] not in widths or array.dtype.kind not in "fiu":
        raise InputError(
            "bad_keypoints", f"{name} must be numbers (frames, points, 3), not {array.dtype} {array.shape}."
        )


def _text(array: np.ndarray | None, name: str) -> str | None:
    if array is None:
        return None
    if array.size != 1 or array.dtype.kind not in "US":
        raise InputError("axes", f"{name} must be one word.")
    value = array.ravel()[0]
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def _rate(value: np.ndarray | None) -> Fraction | None:
    if value is None:
        return None
    numbers = value.ravel().tolist()
    try:
        if value.dtype.kind not in "fiuUS" or len(numbers) not in (1, 2):
            raise ValueError
        return parse_rate(numbers[0] if len(numbers) == 1 else numbers)
    except ValueError:
        raise InputError(
            "bad_fps", "fps must be more than 0: one number, or numerator and denominator."
        ) from None
