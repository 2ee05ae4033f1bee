# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion without video: what :mod:`..motions.motion_reader` reads of any program's file becomes a clip.

Any subset of the schema's names that holds ``REQUIRED_NAMES`` will do; names that the schema does not have
are left out. Points that are missing for a short time (not a number, or 0, 0, 0 where that is no place of
theirs) are filled in. Points that a file lacks are put where they are on the fitted body at rest, in a frame
that the limb they ride on fixes. Where the file has a camera, the keypoints are in its space and stay there;
where it has none, the person is put before one that is made (:mod:`.made_camera`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from ...models.body import BodyModel
from ...models.body_catalogue import load_body
from ...models.camera import Camera
from ...models.errors import InputError
from ...models.keypoints import BONES, HIPS, KEYPOINT_INDEX, KEYPOINT_NAMES, REQUIRED_NAMES, TRUNK
from ...models.rotations import apply, orthonormal_frames, swing, unit
from ...models.shaped_body import ShapedBody
from ..format.clip import Clip
from ..format.header import MAX_FPS, MAX_FRAMES, MIN_FPS
from ..motions.conventions import stature
from ..motions.motion_reader import open_motion
from .made_camera import check_sides, recognise_up, stand_before_camera

_CANVAS = 256
_FIELD_OF_VIEW = 60.0  # degrees across the shorter side, when neither file nor user names any
_SIZES, _FIELDS_OF_VIEW = (64, 2048), (5, 150)
_LONGEST_GAP_SECONDS = 1.0
_HEIGHT_METRES = (0.4, 3.0)
_GROWN_UP = 1.45  # metres; who is smaller may be a child
_AT_ORIGIN = 0.05  # metres: what is nearer to the origin is there
_AROUND_ORIGIN = 1.0  # metres: a person whose points are nearer in the middle has the origin in them
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
    ``size``: sides of the canvas in pixels, ``fov``: degrees across its longer side, ``fps``: frames a
    second, where the file has none.
    """

    body: str = "anny"
    body_path: str | Path | None = None
    size: int | None = None
    fov: float | None = None
    fps: Fraction | None = None


def read_motion(path: Path, options: MotionOptions = MotionOptions()) -> tuple[Clip, list[str]]:
    """Read a motion file, and say what a user should know of how it was read.

    Raises InputError, naming the array, line, joint or option at fault, if it is no motion file, no person
    could move so, or the options do not fit it.
    """
    body = load_body(options.body, options.body_path)
    try:
        motion = open_motion(path, body)
        warnings = list(motion.warnings)
        fps = _frame_rate(motion.fps, options.fps)
        given, known = _named_points(motion.points, motion.names)
        width, height = _canvas(motion.size, options.size, motion.camera is not None)
        camera = _camera(motion.camera, options.fov, width, height)
        keypoints, told = _fill_gaps(_without_zeros(given), known, fps)
        warnings += told
        _check_height(keypoints)
        if motion.camera is not None:
            _check_depth(keypoints)
        else:
            check_sides(keypoints)
        shape = _fit_shape(body, keypoints) if motion.shape is None else motion.shape
        keypoints = _estimate_missing(keypoints, ShapedBody(body, shape).keypoints)
        if motion.camera is None:
            warnings += _held_hips(keypoints)
            up = motion.up
            if up is None:
                up, told = recognise_up(keypoints, motion.convention)
                warnings += told
            keypoints = stand_before_camera(keypoints, up, fps, camera)
    except InputError as error:
        raise InputError(error.code, f"{path}: {error}") from None
    clip = Clip(fps, camera, width, height, keypoints.astype(np.float32), body.name, shape)
    return clip, warnings


def _frame_rate(stated: Fraction | None, wanted: Fraction | None) -> Fraction:
    """Return the file's rate, or the one that is ``wanted`` where the file states none."""
    if stated is None and wanted is None:
        raise InputError("bad_fps", "it states no frame rate: give --fps, such as --fps 30.")
    if stated is not None and wanted is not None:
        raise InputError(
            "bad_fps",
            f"--fps goes with a video, or with a --keypoints file that states no rate; it has {stated}.",
        )
    fps = wanted if stated is None else stated
    if fps is None or not MIN_FPS <= fps <= MAX_FPS:
        raise InputError("bad_fps", f"fps is {float(fps or 0):g}; {MIN_FPS} to {MAX_FPS} are possible.")
    return fps


def _named_points(points: np.ndarray, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(T, 23, 3)`` float64 in the schema's order, NaN where missing, and which points are given."""
    if not 1 <= len(points) <= MAX_FRAMES:
        raise InputError(
            "bad_keypoints", f"keypoints has {len(points)} frames; 1 to {MAX_FRAMES} are possible."
        )
    missing = [name for name in REQUIRED_NAMES if name not in texts]
    if missing:
        raise InputError("bad_keypoints", f"keypoint_names lacks {', '.join(missing)}.")
    twice = sorted({name for name in texts if texts.count(name) > 1})
    if twice:
        raise InputError("bad_keypoints", f"keypoint_names holds {', '.join(twice)} more than once.")
    ordered = np.full((len(points), len(KEYPOINT_NAMES), 3), np.nan)
    for column, name in enumerate(texts):
        if name in KEYPOINT_INDEX:
            ordered[:, KEYPOINT_INDEX[name]] = points[:, column]
    if np.isinf(ordered).any():
        frame, point = np.argwhere(np.isinf(ordered).any(-1))[0]
        raise InputError(
            "bad_keypoints", f"keypoints holds infinity ({KEYPOINT_NAMES[point]}, frame {frame})."
        )
    ordered[np.isnan(ordered).any(axis=-1)] = np.nan
    return ordered, np.isin(KEYPOINT_NAMES, texts)


def _without_zeros(points: np.ndarray) -> np.ndarray:
    """Make points ``(T, 23, 3)`` that are 0, 0, 0 for want of anything else not a number.

    A point is at the origin where its way leads through it. One that is nowhere else is at it if the person
    is round it and no other point is: motions may be told relative to a joint.
    """
    zero = (points == 0).all(axis=-1)
    if not zero.any():
        return points
    cleaned = np.where(zero[..., None], np.nan, points)
    never = ~np.isfinite(cleaned).any(axis=(0, 2)) & zero.any(axis=0)
    around = np.linalg.norm(cleaned[np.isfinite(cleaned).all(axis=-1)], axis=-1)
    for point in np.flatnonzero(zero.any(axis=0)):
        frames, here = np.flatnonzero(zero[:, point]), np.flatnonzero(np.isfinite(cleaned[:, point, 0]))
        if len(here):
            way = [np.interp(frames, here, cleaned[here, point, axis]) for axis in range(3)]
            there = frames[np.linalg.norm(way, axis=0) < _AT_ORIGIN]
        else:
            is_origin = never.sum() == 1 and len(around) > 0 and np.median(around) < _AROUND_ORIGIN
            there = frames if is_origin else frames[:0]
        cleaned[there, point] = 0
    return cleaned


def _held_hips(points: np.ndarray) -> list[str]:
    """Say so where the hips' middle stays at the origin of points ``(T, 23, 3)``."""
    hips = points[:, HIPS].mean(axis=1)
    if len(points) < 2 or np.linalg.norm(hips, axis=-1).max() > _AT_ORIGIN:
        return []
    return [
        "the hips stay at the origin in every frame: the person is put before a camera and moves in place"
    ]


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


def _fill_gaps(points: np.ndarray, known: np.ndarray, fps: Fraction) -> tuple[np.ndarray, list[str]]:
    """Bridge short runs of NaN in the ``known`` points, and say in which.

    Of a longer one a required point dies; any other is left NaN throughout.
    """
    filled = points.copy()
    frames = np.arange(len(points))
    bridged, lost = [], []
    for point in np.flatnonzero(known):
        name = KEYPOINT_NAMES[point]
        here = np.isfinite(points[:, point]).all(-1)
        if here.all():
            continue
        stops = np.flatnonzero(np.diff(np.concatenate([[True], here, [True]]).astype(np.int8)))
        longest = max((stops[1::2] - stops[::2]).tolist(), default=0)
        told = f"{name} ({(~here).sum()} of {len(here)} frames)"
        if longest > _LONGEST_GAP_SECONDS * fps or not here.any():
            if name in REQUIRED_NAMES:
                start = stops[::2][np.argmax(stops[1::2] - stops[::2])]
                raise InputError(
                    "bad_keypoints",
                    f"{name} is not known (NaN) for {longest} frames from frame {start}: "
                    f"at most {_LONGEST_GAP_SECONDS:g} s can be filled.",
                )
            filled[:, point] = np.nan
            lost.append(told)
            continue
        for axis in range(3):
            filled[:, point, axis] = np.interp(frames, frames[here], points[here, point, axis])
        bridged.append(told)
    warnings = []
    if bridged:
        warnings.append(f"missing and filled in from the frames around: {', '.join(bridged)}")
    if lost:
        warnings.append(f"missing for too long and put where the body has them: {', '.join(lost)}")
    return filled, warnings


def _check_height(keypoints: np.ndarray) -> None:
    """Refuse what is not a person in metres."""
    height = stature(keypoints, KEYPOINT_NAMES)
    if not _HEIGHT_METRES[0] <= height <= _HEIGHT_METRES[1]:
        raise InputError(
            "bad_keypoints", f"the person would be {height:.3g} m tall: keypoints must be in metres."
        )


def _check_depth(keypoints: np.ndarray) -> None:
    """Refuse a person that the file's own camera does not see."""
    if np.median(keypoints[:, TRUNK, 2]) <= 0:
        raise InputError(
            "bad_keypoints",
            "the person stands behind the camera: z must point forward, and be over 0 before it.",
        )


def _fit_shape(body: BodyModel, keypoints: np.ndarray) -> np.ndarray:
    first, second = np.array(BONES).T
    lengths = np.median(np.linalg.norm(keypoints[:, first] - keypoints[:, second], axis=-1), axis=0)
    return body.fit_shape(lengths, adult=stature(keypoints, KEYPOINT_NAMES) > _GROWN_UP)


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
