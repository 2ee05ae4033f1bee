# SPDX-License-Identifier: GPL-3.0-or-later
"""The held-out walk, and the clip that the program makes of it where its points are named in an ``.npz``."""

from fractions import Fraction

import numpy as np
import pytest
from sparse2dense.inference.capture.motion_input import MotionOptions, read_motion
from sparse2dense.models.keypoints import KEYPOINT_INDEX

UPRIGHT = {
    "-y": np.eye(3),
    "y": np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]]),
    "z": np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]),
    "-z": np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]),
}
"""Rotations of the walk, which has y down, into axes of other programs; z up faces elsewhere too."""


@pytest.fixture(scope="session")
def walk(held_out_motions):
    """Sixty frames ``(60, 23, 3)`` float64 metres, y down, the floor at 0: legs that do different things."""
    return held_out_motions["walk"][:60].astype(np.float64)


@pytest.fixture(scope="session")
def columns():
    """Return the indices of keypoints by name."""
    return lambda names: [KEYPOINT_INDEX[name] for name in names]


@pytest.fixture
def clip_of():
    """Read a motion file: the clip and the warnings."""

    def read(path, **options):
        if "fps" in options:
            options["fps"] = Fraction(options["fps"])
        return read_motion(path, MotionOptions(**options))

    return read


@pytest.fixture
def named_clip(tmp_path, clip_of):
    """Make the clip of named points by way of an ``.npz``, which other formats are held against."""

    def make(points, names, fps=30, **more):
        path = tmp_path / "reference.npz"
        np.savez(path, keypoints=points, keypoint_names=np.array(names), fps=fps, **more)
        return clip_of(path)[0]

    return make


@pytest.fixture
def millimetres():
    """Return how far two clips' keypoints are apart at most, of some columns or of all."""

    def apart(first, second, at=slice(None)):
        assert first.fps == second.fps
        off = np.linalg.norm(first.keypoints[:, at] - second.keypoints[:, at], axis=-1)
        return 1000 * off.max()

    return apart
