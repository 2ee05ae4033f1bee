# SPDX-License-Identifier: GPL-3.0-or-later
"""The clip: what capture makes, what a ``.s2d`` file holds and what decoding starts from.

Camera space is OpenCV's (x right, y down, z forward), in metres.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

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


@dataclass
class Reference:
    """A coded reference picture: the whole canvas at one frame, and where the person is in it."""

    frame: int
    picture: np.ndarray  # (H, W, 3) uint8 RGB
    mask: np.ndarray  # (H, W) uint8, 0 background to 255 person


@dataclass
class Clip:
    """One person's motion, and (unless it is motion alone) the pictures that let it be drawn again."""

    fps: Fraction
    camera: Camera
    width: int  # canvas, pixels
    height: int
    keypoints: np.ndarray  # (T, 23, 3) float32, metres, camera space, in the order of KEYPOINT_NAMES
    body: str  # name of the body model, "anny" by default
    shape: np.ndarray  # (S,) float32, the body model's shape coefficients, one set a clip
    references: list[Reference] = field(default_factory=list)  # empty: a motion without video
    plate: np.ndarray | None = None  # (H, W, 3) uint8 RGB background; used where the person hides it
    moving_camera: bool = False  # the background moved while filming; the plate is the reference's own

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.keypoints)
