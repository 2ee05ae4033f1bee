# SPDX-License-Identifier: GPL-3.0-or-later
"""A camera for a motion that was never filmed: the person is put before one that is made.

The camera is level, half as high as all that moves, and so far away that every point of every frame lies in
its picture; the person faces it in the first moments. The axes are turned, never mirrored.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from ...models.camera import Camera
from ...models.errors import InputError
from ...models.keypoints import ANKLES, HIPS, KEYPOINT_INDEX
from ...models.rotations import unit
from ..motions.conventions import TO_CAMERA, Convention, upward_axis

_SHOULDERS = [KEYPOINT_INDEX["left_shoulder"], KEYPOINT_INDEX["right_shoulder"]]
_FACING_SECONDS = 1.0  # at the start, whose mean facing is turned to the camera
_SIDEWAYS = 0.2  # of the body's width that must lie in the floor's plane for a facing to be known
_IN_VIEW = 0.9  # of the picture's half sides that the motion fills
_NEAREST = 1.0  # metres before the camera
_BACKWARD_FEET, _BACKWARD_KNEES = -0.3, -0.03


def recognise_up(points: np.ndarray, convention: Convention) -> tuple[str, list[str]]:
    """Tell which axis points up from where a person's feet and shoulders are in points ``(T, 23, 3)``.

    Returns the axis, by its name in :data:`.TO_CAMERA`, and warnings. Raises InputError ``axes`` where most
    of the motion does not stand along one and nothing is usual in such files.
    """
    direction = unit(points[:, _SHOULDERS].mean(axis=1) - points[:, ANKLES].mean(axis=1)).mean(axis=0)
    axis = upward_axis(direction)
    if axis is not None:
        return axis, []
    if convention.up is None:
        raise InputError(
            "axes",
            "which axis points up is not to be seen, since the person does not stand for most of it: "
            'write the motion as .npz with up, such as up="z".',
        )
    told = f"{convention.up} is taken for up, as is usual in {convention.label}"
    return convention.up, [f"the person does not stand for most of it: {told}"]


def stand_before_camera(points: np.ndarray, up: str, fps: Fraction, camera: Camera) -> np.ndarray:
    """Move points ``(T, 23, 3)``, metres, from axes with ``up`` into the space of a camera.

    Its principal point is the middle of its picture, as a made camera's is.
    """
    points = points @ TO_CAMERA[up].T
    points = points @ _turn_to_camera(points, max(1, round(_FACING_SECONDS * fps))).T
    points = points - (points.min(axis=(0, 1)) + points.max(axis=(0, 1))) / 2
    room = _IN_VIEW * np.array([camera.cx / camera.fx, camera.cy / camera.fy])
    away = (np.abs(points[..., :2]) / room - points[..., 2:]).max()
    away = max(away, _NEAREST - points[..., 2].min())
    return points + np.array([0.0, 0.0, away])


def _turn_to_camera(points: np.ndarray, first: int) -> np.ndarray:
    """Return the rotation ``(3, 3)`` about the vertical that turns the first frames' facing to the camera."""
    across = points[:, HIPS[0]] - points[:, HIPS[1]] + points[:, _SHOULDERS[0]] - points[:, _SHOULDERS[1]]
    for directions in (unit(across)[:first], unit(across)):  # of somebody who lies at first, all of it
        x, z = directions[:, [0, 2]].mean(axis=0)
        length = np.hypot(x, z)
        if length > _SIDEWAYS:  # the person's left is at the camera's right
            return np.array([[x, 0, z], [0, length, 0], [-z, 0, x]]) / length
    return np.eye(3)


def check_sides(points: np.ndarray) -> None:
    """Refuse a person whose left and right are exchanged, as by an axis that is mirrored.

    ``points`` ``(T, 23, 3)``, NaN where unknown, are in right-handed axes of any direction. Feet and knees
    point ahead, which is where left and up say. Raises InputError ``axes``.
    """

    def at(name: str) -> np.ndarray:
        return points[:, KEYPOINT_INDEX[name]]

    trunk = points[:, _SHOULDERS].mean(axis=1) - points[:, HIPS].mean(axis=1)
    ahead = unit(np.cross(at("left_hip") - at("right_hip"), trunk))
    feet, knees = [], []
    for side in ("left", "right"):
        feet.append((unit(at(f"{side}_foot_index") - at(f"{side}_ankle")) * ahead).sum(axis=-1))
        leg = at(f"{side}_hip") - at(f"{side}_ankle")
        bent = at(f"{side}_knee") - (at(f"{side}_hip") + at(f"{side}_ankle")) / 2
        knees.append((bent * ahead).sum(axis=-1) / np.maximum(np.linalg.norm(leg, axis=-1), 0.1))
    known = np.array(feet)[np.isfinite(feet)]
    backward = np.median(known) < _BACKWARD_FEET if known.size else np.mean(knees) < _BACKWARD_KNEES
    if backward:
        raise InputError(
            "axes",
            f"the {'feet' if known.size else 'knees'} point backwards: left and right are exchanged in it, "
            "or an axis is mirrored. Exchange the names, or negate one axis.",
        )
