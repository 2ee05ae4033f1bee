# SPDX-License-Identifier: GPL-3.0-or-later
"""The camera: camera space is OpenCV's (x right, y down, z forward), in metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A pinhole camera over the canvas, in pixels; pixel centres lie at whole numbers plus one half."""

    fx: float
    fy: float
    cx: float
    cy: float

    def matrix(self) -> np.ndarray:
        """Return the ``(3, 3)`` float64 intrinsic matrix K."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], np.float64)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project ``(..., 3)`` camera-space metres to ``(..., 2)`` pixels (depth floored at 1 cm)."""
        depth = np.maximum(points[..., 2:3], 0.01)
        focal = np.array([self.fx, self.fy], points.dtype)
        centre = np.array([self.cx, self.cy], points.dtype)
        return points[..., :2] / depth * focal + centre
