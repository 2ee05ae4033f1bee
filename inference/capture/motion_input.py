# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion without video: named 3D keypoints from an ``.npz`` file become a clip.

The file holds ``keypoints`` ``(T, N, 3)`` metres in camera space (x right, y down, z forward; NaN where a
point is not known), ``keypoint_names`` ``(N,)``, ``fps`` (a number, or numerator and denominator) and, if
wanted, ``size`` (width and height of the canvas in pixels) and ``camera`` ``(3, 3)`` K in those pixels. A
camera needs the size beside it, since its principal point may lie anywhere; where there is no camera, one is
made that looks straight ahead. Any subset of the schema's names that holds ``REQUIRED_NAMES`` will do; names
that the schema does not have are left out. The other points are put where they are on the fitted body at
rest, in a frame that the limb they ride on fixes.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from ...models.array_files import read_arrays
from ...models.body import BodyModel
from ...models.body_catalogue import load_body
from ...models.camera import Camera
from ...models.errors import InputError
from ...models.frame_rates import rational_rate
from ...models.keypoints import BONES, KEYPOINT_INDEX, KEYPOINT_NAMES, REQUIRED_NAMES
from ...models.rotations import apply, orthonormal_frames, swing, unit
from ...models.shaped_body import ShapedBody
from ..format.clip import Clip
from ..format.header import MAX_FPS, MAX_FRAMES, MIN_FPS

_CANVAS = 256
_FIELD_OF_VIEW = 60.0  # degrees across the shorter side, when neither file nor user names any
_SIZES, _FIELDS_OF_VIEW = (64, 2048), (5, 150)
_LONGEST_GAP_SECONDS = 1.0
_HEIGHT_METRES = (0.4, 3.0)
_HEIGHT_OF_CHAIN = 1.27  # body height over shoulder-hip-knee-ankle, adults
_BIND = 0.3  # a limb bent less than this (sine) takes its turn from the trunk as much as from its bend

_RIDERS: dict[str, tuple[str, ...]] = {
    "head": ("nose", "left_ear", "right_ear"),
    **{f"{side}_hand": (f"{side}_pinky", f"{side}_index") for side in ("left", "right")},
    **{f"{side}_foot": (f"{side}_heel", f"{side}_foot_index") for side in ("left", "right")},
}
"""Rigid parts, and the points on them that may be estimated."""


@dataclass(frozen=True)
class MotionOptions:
    """What a user may choose.

    ``body``, ``body_path``: the body that is fitted, and the user's own model of it, see :func:`.load_body`.
    ``size``: sides of the canvas in pixels, ``fov``: degrees across its longer side, where the file has none.
    """

    body: str = "anny"
    body_path: str | Path | None = None
    size: int | None = None
    fov: float | None = None


def read_motion(path: Path, options: MotionOptions = MotionOptions()) -> Clip:
    """Read a motion file as this module describes it.

    Raises InputError, naming the array or the option at fault, if it is not such a file, no person could move
    so, or the options do not fit it.
    """
    arrays = _load_arrays(path)
    try:
        fps = _frame_rate(arrays["fps"])
        given, known = _named_points(arrays["keypoints"], arrays["keypoint_names"])
        width, height = _canvas(arrays.get("size"), options.size, "camera" in arrays)
        camera = _camera(arrays.get("camera"), options.fov, width, height)
        keypoints = _fill_gaps(given, known, fps)
        _check_person(keypoints)
        body = load_body(options.body, options.body_path)
        shape = _fit_shape(body, keypoints)
        keypoints = _estimate_missing(keypoints, ShapedBody(body, shape).keypoints)
    except InputError as error:
        raise InputError(error.code, f"{path}: {error}") from None
    return Clip(fps, camera, width, height, keypoints.astype(np.float32), body.name, shape)


def _load_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        found = read_arrays(path, ("keypoints", "keypoint_names", "fps", "camera", "size"))
    except OSError as error:
        raise InputError("cannot_read", f"cannot read {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise InputError("not_motion", f"{path} is not a motion file: {error}.") from None
    missing = [name for name in ("keypoints", "keypoint_names", "fps") if name not in found]
    if missing:
        raise InputError("not_motion", f"{path} has no array named {' or '.join(missing)}.")
    return found


def _frame_rate(value: np.ndarray) -> Fraction:
    numbers = value.ravel()
    if value.dtype.kind not in "fiu" or numbers.size not in (1, 2) or not np.isfinite(numbers).all():
        raise InputError("bad_fps", "fps must be one number, or numerator and denominator.")
    if numbers.min() <= 0:
        raise InputError("bad_fps", "fps must be more than 0.")
    if numbers.size == 2:
        fps = Fraction(int(numbers[0]), max(1, int(numbers[1])))
    else:
        fps = rational_rate(float(numbers[0]))
    if not MIN_FPS <= fps <= MAX_FPS:
        raise InputError("bad_fps", f"fps is {float(fps):g}; {MIN_FPS} to {MAX_FPS} are possible.")
    return fps


def _named_points(keypoints: np.ndarray, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(T, 23, 3)`` float64 in the schema's order, NaN where missing, and which points are given."""
    if keypoints.ndim != 3 or keypoints.shape[2] != 3 or keypoints.dtype.kind not in "fiu":
        raise InputError(
            "bad_keypoints", f"keypoints must be numbers (frames, points, 3), not {keypoints.shape}."
        )
    if names.ndim != 1 or names.dtype.kind not in "US" or len(names) != keypoints.shape[1]:
        raise InputError(
            "bad_keypoints", f"keypoint_names must be {keypoints.shape[1]} names, one a column of keypoints."
        )
    if not 1 <= len(keypoints) <= MAX_FRAMES:
        raise InputError(
            "bad_keypoints", f"keypoints has {len(keypoints)} frames; 1 to {MAX_FRAMES} are possible."
        )
    texts = [name.decode("ascii", "replace") if isinstance(name, bytes) else str(name) for name in names]
    missing = [name for name in REQUIRED_NAMES if name not in texts]
    if missing:
        raise InputError("bad_keypoints", f"keypoint_names lacks {', '.join(missing)}.")
    twice = sorted({name for name in texts if texts.count(name) > 1})
    if twice:
        raise InputError("bad_keypoints", f"keypoint_names holds {', '.join(twice)} more than once.")
    points = np.full((len(keypoints), len(KEYPOINT_NAMES), 3), np.nan)
    for column, name in enumerate(texts):
        if name in KEYPOINT_INDEX:
            points[:, KEYPOINT_INDEX[name]] = keypoints[:, column]
    if np.isinf(points).any():
        frame, point = np.argwhere(np.isinf(points).any(-1))[0]
        raise InputError(
            "bad_keypoints", f"keypoints holds infinity ({KEYPOINT_NAMES[point]}, frame {frame})."
        )
    return points, np.isin(KEYPOINT_NAMES, texts)


def _canvas(size: np.ndarray | None, wanted: int | None, has_camera: bool) -> tuple[int, int]:
    """Return the canvas's width and height: the file's, or a square of the ``wanted`` side."""
    if wanted is not None and not _SIZES[0] <= wanted <= _SIZES[1]:
        raise InputError("bad_size", f"--size {wanted} is outside {_SIZES[0]} to {_SIZES[1]} pixels.")
    if size is None:
        if has_camera:
            raise InputError("bad_camera", "camera needs size beside it: width and height of its canvas.")
        return wanted or _CANVAS, wanted or _CANVAS
    if size.shape != (2,) or size.dtype.kind not in "iu":
        raise InputError("bad_camera", "size must be two whole numbers: width and height of the canvas.")
    width, height = map(int, size)
    if wanted not in (None, min(width, height)):
        raise InputError("bad_size", f"the file's own canvas is {width}x{height}: leave out --size {wanted}.")
    return width, height


def _camera(matrix: np.ndarray | None, fov: float | None, width: int, height: int) -> Camera:
    """Return the file's camera, or one that looks straight ahead with the field of view ``fov``."""
    if fov is not None and not _FIELDS_OF_VIEW[0] <= fov <= _FIELDS_OF_VIEW[1]:
        raise InputError(
            "bad_fov", f"--fov {fov:g} is outside {_FIELDS_OF_VIEW[0]} to {_FIELDS_OF_VIEW[1]} degrees."
        )
    if matrix is None:
        side, degrees = (min(width, height), _FIELD_OF_VIEW) if fov is None else (max(width, height), fov)
        focal = float(side / 2 / np.tan(np.radians(degrees / 2)))
        return Camera(focal, focal, width / 2, height / 2)
    if matrix.shape != (3, 3) or matrix.dtype.kind not in "fiu" or not np.isfinite(matrix).all():
        raise InputError("bad_camera", "camera must be a 3x3 matrix K of finite numbers.")
    if fov is not None:
        raise InputError("bad_fov", f"the file has a camera of its own: leave out --fov {fov:g}.")
    return Camera(*(float(matrix[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2))))


def _fill_gaps(points: np.ndarray, known: np.ndarray, fps: Fraction) -> np.ndarray:
    """Bridge short runs of NaN in the ``known`` points; a long one is an error if the point is required."""
    filled = points.copy()
    frames = np.arange(len(points))
    for point in np.flatnonzero(known):
        name = KEYPOINT_NAMES[point]
        here = np.isfinite(points[:, point]).all(-1)
        stops = np.flatnonzero(np.diff(np.concatenate([[True], here, [True]]).astype(np.int8)))
        longest = max((stops[1::2] - stops[::2]).tolist(), default=0)
        if longest > _LONGEST_GAP_SECONDS * fps or not here.any():
            if name in REQUIRED_NAMES:
                start = stops[::2][np.argmax(stops[1::2] - stops[::2])]
                raise InputError(
                    "bad_keypoints",
                    f"{name} is not known (NaN) for {longest} frames from frame {start}: "
                    f"at most {_LONGEST_GAP_SECONDS:g} s can be filled.",
                )
            filled[:, point] = np.nan
            continue
        for axis in range(3):
            filled[:, point, axis] = np.interp(frames, frames[here], points[here, point, axis])
    return filled


def _check_person(keypoints: np.ndarray) -> None:
    """Refuse what is not a person in metres before the camera."""
    chain = ("left_shoulder", "left_hip", "left_knee", "left_ankle")
    joints = keypoints[:, [KEYPOINT_INDEX[name] for name in chain]]
    height = _HEIGHT_OF_CHAIN * np.median(np.linalg.norm(np.diff(joints, axis=1), axis=-1), axis=0).sum()
    if not _HEIGHT_METRES[0] <= height <= _HEIGHT_METRES[1]:
        raise InputError(
            "bad_keypoints", f"the person would be {height:.3g} m tall: keypoints must be in metres."
        )
    if np.median(joints[..., 2]) <= 0:
        raise InputError(
            "bad_keypoints",
            "the person stands behind the camera: z must point forward, and be over 0 before it.",
        )


def _fit_shape(body: BodyModel, keypoints: np.ndarray) -> np.ndarray:
    first, second = np.array(BONES).T
    return body.fit_shape(
        np.median(np.linalg.norm(keypoints[:, first] - keypoints[:, second], axis=-1), axis=0)
    )


def _estimate_missing(keypoints: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Put points that are NaN where the resting body ``(23, 3)`` has them, in the frame of their part.

    Where another point of the part is known, the part is moved to meet it.
    """
    estimated = keypoints.copy()
    rest_frames, frames = _part_frames(rest[None]), _part_frames(keypoints)
    for part, riders in _RIDERS.items():
        points = [KEYPOINT_INDEX[name] for name in riders]
        (rest_axes, rest_origin), (axes, origin) = rest_frames[part], frames[part]
        local = (rest[points] - rest_origin) @ rest_axes[0]  # coordinates along the axes' columns
        guess = origin[:, None] + local @ np.swapaxes(axes, 1, 2)
        off = keypoints[:, points] - guess
        known = np.isfinite(off).all(-1, keepdims=True)
        shift = np.where(known, off, 0).sum(1, keepdims=True) / np.maximum(known.sum(1, keepdims=True), 1)
        estimated[:, points] = np.where(known, keypoints[:, points], guess + shift)
    return estimated


def _part_frames(keypoints: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return axes ``(T, 3, 3)`` and origin ``(T, 3)`` of head, hands and feet, from the required joints."""

    def at(name: str) -> np.ndarray:
        return keypoints[:, KEYPOINT_INDEX[name]]

    shoulders, hips = (at(f"left_{joint}") + at(f"right_{joint}") for joint in ("shoulder", "hip"))
    down = unit(hips - shoulders)
    frames = {"head": (orthonormal_frames(-down, at("left_shoulder") - at("right_shoulder")), shoulders / 2)}
    for side in ("left", "right"):
        shoulder, elbow, wrist, hip, knee, ankle = (
            at(f"{side}_{joint}") for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        )
        upper, fore = unit(elbow - shoulder), unit(wrist - elbow)
        across = unit(at("right_shoulder") - at("left_shoulder"))
        bend = _BIND * apply(swing(down, upper), across) + np.cross(upper, fore)
        frames[f"{side}_hand"] = orthonormal_frames(fore, bend), wrist
        thigh, shin = unit(knee - hip), unit(ankle - knee)
        bend = _BIND * unit(at("left_hip") - at("right_hip")) + np.cross(thigh, shin)
        frames[f"{side}_foot"] = orthonormal_frames(shin, bend), ankle
    return frames
