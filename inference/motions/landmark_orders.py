# SPDX-License-Identifier: GPL-3.0-or-later
"""Points without names, told apart by their number: a motion of what pose estimators put out."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from ...models.errors import InputError
from .conventions import MEDIAPIPE, ORDERS, POINTS, Motion, guess_unit

_CENTRED = 0.1  # metres: hips further from the origin than this are no world landmarks'


def motion_of_landmarks(landmarks: np.ndarray, fps: Fraction | None, told: tuple[str, ...] = ()) -> Motion:
    """Make a motion of ``landmarks (T, N, 3)``, or ``(T, N, 4)`` with a confidence, in one of the orders.

    The orders are :data:`.conventions.ORDERS`. A point without any confidence is missing; where all are
    without, the column says nothing. Raises InputError ``bad_keypoints`` for another number of points, and
    for landmarks in a picture instead of in space.
    """
    if landmarks.ndim != 3 or landmarks.shape[1] not in ORDERS or landmarks.shape[2] not in (3, 4):
        raise InputError(
            "bad_keypoints",
            f"its points are {landmarks.shape}: (frames, points, 3 or 4) with "
            f"{', '.join(map(str, ORDERS))} points are known.",
        )
    order = ORDERS[landmarks.shape[1]]
    ours = [column for column, name in enumerate(order) if name != "-"]
    names = tuple(order[column] for column in ours)
    points = landmarks[:, ours, :3].astype(np.float64)
    if landmarks.shape[2] == 4:
        confidence = landmarks[:, ours, 3]
        if confidence.any():
            points[confidence == 0] = np.nan
    if landmarks.shape[1] == 33:
        _refuse_picture_landmarks(points, names)
        return Motion(MEDIAPIPE, points, names, fps, warnings=told)
    missing = (points == 0).all(axis=-1, keepdims=True)  # where OpenPose finds nothing it writes zeros
    metres, said = guess_unit(np.where(missing, np.nan, points), names)
    return Motion(POINTS, points * metres, names, fps, warnings=(*told, said))


def _refuse_picture_landmarks(points: np.ndarray, names: tuple[str, ...]) -> None:
    """Refuse MediaPipe's other landmarks, which lie in the picture: x and y are shares of its sides."""
    hips = points[:, [names.index("left_hip"), names.index("right_hip")]].mean(axis=1)
    seen = points[np.isfinite(points).all(axis=-1)]
    inside = ((seen[:, :2] > -0.1) & (seen[:, :2] < 1.1)).mean() if len(seen) else 0.0
    if inside > 0.95 and np.nanmedian(np.linalg.norm(hips[:, :2], axis=-1)) > _CENTRED:
        raise InputError(
            "bad_keypoints",
            "these landmarks lie in the picture (0 to 1 across it), not in space: give pose_world_landmarks.",
        )
