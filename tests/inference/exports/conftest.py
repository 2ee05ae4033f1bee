# SPDX-License-Identifier: GPL-3.0-or-later
"""A walk as files of other programs, and where its decoded folder says that everything is."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.inference.decode import decode
from sparse2dense.inference.export import ENDINGS, export
from sparse2dense.inference.format.container import write_clip

from .standing_truth import decoded_truth

FRAMES, RATE = 40, Fraction(30000, 1001)


@pytest.fixture(scope="session")
def walk(make_motion, held_out_motions, tmp_path_factory):
    """A held-out walk, filmed from aside by a camera that looks down a little, as a file."""
    turn = Rotation.from_euler("xy", [8, 35], degrees=True).as_matrix()
    keypoints = held_out_motions["walk"][20 : 20 + FRAMES] @ turn.T + [0.3, 0.5, 4]
    path = tmp_path_factory.mktemp("walk é") / "my walk.s2d"
    write_clip(replace(make_motion(FRAMES), keypoints=keypoints.astype(np.float32), fps=RATE), path)
    return path


@pytest.fixture(scope="session")
def exported(walk, tmp_path_factory):
    """That walk in every format: the files by their endings, without the dot."""
    folder = tmp_path_factory.mktemp("exported")
    return {ending[1:]: Path(export(walk, folder / f"walk{ending}").path) for ending in ENDINGS}


@pytest.fixture(scope="session")
def truth(walk, tmp_path_factory):
    """Where the walk's points, bones and vertices are on the floor, in Blender's axes."""
    folder = tmp_path_factory.mktemp("decoded")
    decode(walk, folder, only="mesh")
    return decoded_truth(walk, folder)
