# SPDX-License-Identifier: GPL-3.0-or-later
"""Capture: from a video to one person's keypoints, camera, shape, reference pictures and background."""

from .pipeline import Capture, CaptureOptions, capture

__all__ = ["Capture", "CaptureOptions", "capture"]
