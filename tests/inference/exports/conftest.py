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

from ...models.made_smpl import model_fields
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


def in_every_format(clip, folder, **options):
    """Export a clip: the files by their endings, without the dot."""
    return {end[1:]: Path(export(clip, folder / f"{clip.stem}{end}", **options).path) for end in ENDINGS}


@pytest.fixture(scope="session")
def exported(walk, tmp_path_factory):
    """That walk in every format."""
    return in_every_format(walk, tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def single(make_motion, tmp_path_factory):
    """A clip of one frame in every format."""
    folder = tmp_path_factory.mktemp("single")
    write_clip(make_motion(1), folder / "single.s2d")
    return in_every_format(folder / "single.s2d", folder)


@pytest.fixture(scope="session")
def own_body(make_motion, tmp_path_factory):
    """A clip of a body of SMPL's kind that no network is trained for, in every format."""
    pytest.importorskip("smplx")
    folder = tmp_path_factory.mktemp("own")
    np.savez(folder / "SMPL_NEUTRAL.npz", **model_fields())
    clip = replace(make_motion(5), body="smpl", shape=np.zeros(10, np.float32))
    write_clip(clip, folder / "own.s2d")
    return in_every_format(folder / "own.s2d", folder, body_file=folder / "SMPL_NEUTRAL.npz")


@pytest.fixture(scope="session")
def truth(walk, tmp_path_factory):
    """Where the walk's points, bones and vertices are on the floor, in Blender's axes."""
    folder = tmp_path_factory.mktemp("decoded")
    decode(walk, folder, only="mesh")
    return decoded_truth(walk, folder)
