# SPDX-License-Identifier: GPL-3.0-or-later
"""Keypoints as the ``.npz`` file that ``s2d encode --keypoints`` reads: metres in camera space."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...models.array_files import write_arrays
from ...models.keypoints import KEYPOINT_NAMES
from ..format.header import Header


def write_npz(path: Path, keypoints: np.ndarray, header: Header) -> None:
    """Write keypoints ``(T, 23, 3)`` with names, frame rate, camera and size of the clip of that ``header``.

    OSError where the file cannot be written.
    """
    arrays = {
        "keypoints": keypoints.astype(np.float32),
        "keypoint_names": np.array(KEYPOINT_NAMES),
        "fps": np.array([header.fps.numerator, header.fps.denominator], np.int64),
        "camera": header.camera.matrix(),
        "size": np.array([header.width, header.height], np.int64),
    }
    write_arrays(path, arrays)
