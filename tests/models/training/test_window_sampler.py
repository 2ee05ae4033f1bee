# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows to train on are what they say: a body's keypoints, and the bones that they came from."""

import numpy as np
import pytest
from sparse2dense.models.body import apply_readout, stack_transforms
from sparse2dense.models.training.window_sampler import CHUNK_WINDOWS, LOSS_VERTICES, WindowSampler
from sparse2dense.models.vertex_predictor import INPUTS
from sparse2dense.models.windows import WINDOW

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def sampler(body, little_motion):
    """Draws from one motion and few people, and spoils nothing."""
    with little_motion():
        return WindowSampler(body, None, 0, noisy=False)


def test_drawn_windows_fit_their_own_bones(sampler):
    drawn, body = sampler.draw(8), sampler.body
    for i in range(8):
        joints = body.rest(drawn["shape"][i])[1]
        transforms = stack_transforms(drawn["rotations"][i : i + 1], drawn["positions"][i : i + 1], joints)
        keypoints = apply_readout(body.keypoint_skinning(drawn["shape"][i]), transforms)[0]
        np.testing.assert_allclose(keypoints, drawn["windows"][i, WINDOW // 2], atol=1e-4)


def test_a_chunk_s_windows_are_of_one_person_whose_shape_is_not_always_known(sampler):
    drawn = sampler.draw(16 * CHUNK_WINDOWS)
    for name in ("shape", "known_shape"):
        chunks = drawn[name].reshape(-1, CHUNK_WINDOWS, sampler.body.shape_size)
        assert (chunks == chunks[:, :1]).all()
    known = (drawn["shape"] == drawn["known_shape"]).all(axis=1)
    assert 0.2 < known.mean() < 0.8


def test_the_rest_of_shapes_is_the_body_s(sampler):
    shapes = np.random.default_rng(1).normal(0, 1, (2, sampler.body.shape_size))
    keypoints, joints = sampler.rest_of(shapes)
    for shape, points, centres in zip(shapes, keypoints, joints, strict=True):
        vertices, wanted = sampler.body.rest(shape)
        np.testing.assert_allclose(centres, wanted, atol=1e-5)
        np.testing.assert_allclose(points, sampler.body.keypoints(vertices), atol=1e-4)


def test_a_batch_holds_what_the_network_takes_and_where_the_bones_are(sampler):
    batch = sampler.batch(8)
    assert set(INPUTS) < set(batch)
    assert batch["true_rotations"].shape == (8, sampler.body.bone_count, 3, 3)
    assert all(value.dtype == np.float32 for name, value in batch.items() if name != "chosen")
    closed_form = batch["bones"][..., 15:18]  # of a frame alone, in the trunk's frame like the truth
    assert np.linalg.norm(closed_form - batch["true_positions"], axis=-1).mean() < 0.02
    assert len(batch["chosen"]) == LOSS_VERTICES
    assert batch["chosen"].max() < len(sampler.body.vertices_mean)


def test_half_of_the_vertices_are_chosen_by_their_area(sampler):
    """Hands and face hold half of the vertices on a tenth of the skin."""
    chosen = np.concatenate([sampler.batch(CHUNK_WINDOWS)["chosen"] for _ in range(20)])
    uniform, by_area = chosen.reshape(20, 2, -1).swapaxes(0, 1).reshape(2, -1)
    names = np.array(sampler.body.bone_names)[sampler.body.weights.argmax(axis=1)]
    dense = np.char.startswith(names, "wrist") | np.char.startswith(names, "head")
    assert dense[uniform].mean() > 2 * dense[by_area].mean() > 0
