# SPDX-License-Identifier: GPL-3.0-or-later
"""Keypoints as a C3D file, the exchange format of motion laboratories: millimetres, z up."""

from __future__ import annotations

import warnings
from fractions import Fraction
from pathlib import Path

import c3d
import numpy as np

from ...models.keypoints import KEYPOINT_NAMES


def write_c3d(path: Path, keypoints: np.ndarray, fps: Fraction) -> None:
    """Write keypoints ``(T, 23, 3)``, metres with z up (:func:`.standing.z_up`).

    OSError where the file cannot be written.
    """
    writer = c3d.Writer(point_rate=float(fps), point_units="mm")
    writer.set_point_labels(KEYPOINT_NAMES)
    writer.set_screen_axis("+X", "+Z")
    points = np.zeros((*keypoints.shape[:2], 5), np.float32)  # x, y, z, residual, cameras
    points[..., :3] = 1000 * keypoints
    analog = np.zeros((0, 0), np.float32)
    writer.add_frames([(frame, analog) for frame in points])
    with path.open("wb") as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No analog data")  # there is none
        writer.write(file)
