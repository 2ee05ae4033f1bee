# SPDX-License-Identifier: GPL-3.0-or-later
"""The packaged body, a held-out person in a held-out motion, and the training data where it is at hand."""

import os
from pathlib import Path

import numpy as np
import pytest
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.rotations import orthonormal_frames
from sparse2dense.models.shaped_body import ShapedBody
from sparse2dense.models.training.motion import ARCHIVE


@pytest.fixture(scope="session")
def body():
    return load_body()


@pytest.fixture(scope="session")
def held_out(body):
    """Held-out person in 43 frames of a subject that nothing is trained on: shape, vertices, keypoints."""
    with np.load(Path(__file__).parent.parent / "data" / "held_out_motion.npz", allow_pickle=False) as stored:
        rotations, translation = stored["rotations"].astype(np.float32), stored["translation"]
        shape = stored["shape"]
    rotations = orthonormal_frames(rotations[..., 0], rotations[..., 1])
    vertices = ShapedBody(body, shape).pose(rotations, translation)
    return {
        "shape": shape,
        "rotations": rotations,
        "translation": translation,
        "vertices": vertices,
        "keypoints": body.keypoints(vertices),
    }


@pytest.fixture(scope="session")
def data_folder():
    folder = os.environ.get("S2D_DATA")
    if not folder or not (Path(folder) / ARCHIVE).is_file():
        pytest.skip(f"S2D_DATA names no folder with {ARCHIVE}")
    return Path(folder)
