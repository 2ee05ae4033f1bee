# SPDX-License-Identifier: GPL-3.0-or-later
"""The vertex bench measures what it says, and its rivals are at their best."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("anny")
pytest.importorskip("matplotlib")

from scipy.spatial.transform import Rotation
from sparse2dense.benchmarks import bench_vertices as bench
from sparse2dense.benchmarks import body_fit
from sparse2dense.inference.runtime.backends import load_network
from sparse2dense.models.body import stack_transforms
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.rotations import orthonormal_frames
from sparse2dense.models.shaped_body import ShapedBody
from sparse2dense.models.training.evaluate_vertices import HeldOutClip

BODY = load_body()
FRAMES = 12


@pytest.fixture(scope="module")
def poses():
    with np.load(Path(__file__).parents[1] / "data" / "held_out_motion.npz", allow_pickle=False) as stored:
        rotations = orthonormal_frames(*(stored["rotations"].astype(np.float32)[..., i] for i in (0, 1)))
        return rotations, stored["translation"], stored["shape"]


@pytest.fixture(scope="module")
def clip(poses):
    rotations, translation, shape = poses
    vertices = ShapedBody(BODY, shape).pose(rotations[:FRAMES], translation[:FRAMES])
    return HeldOutClip("excerpt", shape, vertices, BODY.keypoints(vertices))


@pytest.fixture(scope="module")
def prior(poses):
    return body_fit.PosePrior.of_poses(poses[0])


def reference_errors(predicted, true):
    """Every error anew, in float64, frame by frame."""
    predicted, true = predicted.astype(np.float64), true.astype(np.float64)
    vertex, weight = BODY.keypoint_map[1].astype(int), BODY.keypoint_map[2]
    errors, joints = [], []
    for ours, theirs in zip(predicted, true, strict=True):
        points = np.zeros((2, 23, 3))
        for side, vertices in enumerate((ours, theirs)):
            np.add.at(points[side], BODY.keypoint_map[0].astype(int), weight[:, None] * vertices[vertex])
        hips = points[:, [13, 14]].mean(axis=1)
        joints.append(np.linalg.norm(points[0] - hips[0] - points[1] + hips[1], axis=1).mean())
        a, b = ours - ours.mean(0), theirs - theirs.mean(0)
        turned = Rotation.align_vectors(b, a)[0].apply(a)
        scaled = turned * (turned * b).sum() / (turned**2).sum()
        errors.append(
            [
                np.linalg.norm(ours - theirs, axis=1).mean(),
                np.linalg.norm(ours - hips[0] - theirs + hips[1], axis=1).mean(),
                np.linalg.norm(scaled - b, axis=1).mean(),
            ]
        )
    off = predicted - true
    shake = (off[2:] - 2 * off[1:-1] + off[:-2]) * 30**2
    return np.array(
        [*1000 * np.mean(errors, axis=0), 1000 * np.mean(joints), np.linalg.norm(shake, axis=-1).mean()]
    )


def test_errors_agree_with_a_float64_reference(clip):
    rng = np.random.default_rng(5)
    turn = Rotation.from_rotvec([0.1, -0.2, 0.05]).as_matrix()
    predicted = 1.03 * clip.vertices @ turn + rng.normal(0, 0.01, clip.vertices.shape) + [0.1, 0, 0.2]
    measured = bench.errors_of(BODY, predicted.astype(np.float32), clip.vertices)
    np.testing.assert_allclose(measured, reference_errors(predicted, clip.vertices), rtol=2e-3)


def test_a_perfect_prediction_has_no_errors(clip):
    measured = bench.errors_of(BODY, clip.vertices, clip.vertices)
    assert measured[[0, 1, 3, 4]].max() == 0
    assert measured[2] < 0.01  # Procrustes goes through a float32 SVD


def test_sliding_is_the_speed_of_feet_that_should_stand(clip):
    standing = np.repeat(clip.keypoints[:1], FRAMES, axis=0)
    drift = np.arange(FRAMES)[:, None, None] * np.float32([0.01, 0, 0])
    assert bench.sliding([standing], [standing]) == 0
    assert bench.sliding([standing + drift], [standing]) == pytest.approx(300, rel=1e-3)
    assert bench.sliding([standing + drift], [standing + drift]) == 0  # the true foot goes too


def test_conditions_spoil_keypoints_as_much_as_they_say(clip):
    rng = np.random.default_rng(0)
    assert np.array_equal(bench.Condition("exact").spoil(clip.keypoints, rng), clip.keypoints)
    noisy = bench.Condition("noise", noise_mm=10).spoil(clip.keypoints, rng)
    assert bench.deviation(noisy, clip.keypoints) == pytest.approx(0.01, rel=0.1)
    coded = [bench.Condition("coded", step_mm=step).spoil(clip.keypoints, rng) for step in (3, 12)]
    fine, coarse = (np.linalg.norm(points - clip.keypoints, axis=-1).mean() for points in coded)
    assert 0 < fine < coarse < 0.012


def test_the_optimisations_jacobian_is_that_of_finite_differences(poses):
    rotations, translation, shape = (values.astype(np.float64) for values in poses)
    rotations, translation = rotations[:2], translation[:2]
    joints = BODY.rest(shape)[1].astype(np.float64)
    readout = ShapedBody(BODY, shape).keypoint_skinning.astype(np.float64)

    def keypoints(local, root):
        world, places = BODY.forward_kinematics(joints, local, root)
        transforms = stack_transforms(world, places, joints)
        return world, places, transforms, (readout @ transforms).reshape(2, -1)

    world, places, transforms, start = keypoints(rotations, translation)
    jacobian = body_fit.keypoint_jacobian(BODY, readout, world, places, transforms)
    for column in (0, 4, 17, 50, 3 * BODY.bone_count - 1):
        bone, axis = divmod(column, 3)
        turned = rotations.copy()
        turned[:, bone] = Rotation.from_rotvec(1e-5 * np.eye(3)[axis]).as_matrix() @ turned[:, bone]
        moved = (keypoints(turned, translation)[3] - start) / 1e-5
        np.testing.assert_allclose(jacobian[..., column], moved, atol=1e-4)


def test_the_optimisation_finds_the_pose_of_exact_keypoints(clip, prior):
    fit = body_fit.fit_body(BODY, clip.keypoints, clip.shape, 0.0, prior)
    assert fit.iterations < body_fit.ITERATIONS
    assert fit.objective[-1] < 0.1 * fit.objective[0]
    assert bench.errors_of(BODY, fit.vertices, clip.vertices)[0] < 1.5


def test_every_method_is_measured_and_drawn(clip, prior, tmp_path):
    network = load_network("vertex_predictor", "cpu", 1)
    rivals = bench.Rivals(BODY, network, lambda sigma: lambda windows, shape: clip.vertices, prior)
    rng, noisy = np.random.default_rng(1), bench.Condition("noise 10 mm", noise_mm=10)
    measured, heat = bench.measure(rivals, [clip], noisy, rng)
    of_methods = measured["methods"]
    for name, errors in of_methods.items():
        assert heat[name].mean() == pytest.approx(errors["raw_mm"], rel=1e-3)
    assert of_methods["linear map"]["raw_mm"] == 0
    assert of_methods["network"]["raw_mm"] < of_methods["inverse kinematics"]["raw_mm"]
    assert of_methods["optimisation"]["raw_mm"] < of_methods["inverse kinematics"]["raw_mm"]
    parts = of_methods["network"]["parts_mm"]
    assert min(parts.values()) < of_methods["network"]["raw_mm"] < max(parts.values())
    bench.draw_heat_map(BODY, heat, tmp_path / "heat.png")
    assert (tmp_path / "heat.png").stat().st_size > 20_000
    results = {"subjects": ["11"], "motions": 1, "frames": FRAMES, "threads": 1, "weights": "ab"}
    lines = bench.tables(results | {"truth_sliding_mm_s": 1.0, "conditions": {noisy.name: measured}})
    assert sum(line.startswith("| network |") for line in lines) == 1
