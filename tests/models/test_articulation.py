# SPDX-License-Identifier: GPL-3.0-or-later
"""Keypoints as a function of the joints that move: the same as posing the body."""

import numpy as np
import pytest
from sparse2dense.models.articulation import JOINTS, Articulation
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.rotations import from_vectors
from sparse2dense.models.shaped_body import ShapedBody


@pytest.fixture(scope="module")
def articulation():
    return Articulation(load_body())


def test_keypoints_are_those_of_the_posed_body(articulation):
    random = np.random.default_rng(0)
    body = articulation.body
    shape = random.normal(size=body.shape_size).astype(np.float32)
    rotations = from_vectors(random.normal(0, 0.5, (4, len(JOINTS), 3)))
    root = random.normal(size=(4, 3))
    local = articulation.bone_rotations(rotations).astype(np.float32)
    posed = ShapedBody(body, shape).pose_keypoints(local, root.astype(np.float32))
    np.testing.assert_allclose(articulation.keypoints(shape, rotations, root), posed, atol=1e-5)


def test_parents_come_first_and_sides_have_parents_of_their_own(articulation):
    parents = articulation.parents
    assert parents[0] == -1 and all(parent < joint for joint, parent in enumerate(parents))
    for joint, name in enumerate(JOINTS):
        if name.startswith(("forearm", "hand", "shin", "foot")):
            assert JOINTS[parents[joint]][-1] == name[-1]
