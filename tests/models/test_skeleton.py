# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.models.shaped_body import ShapedBody
from sparse2dense.models.skeleton import INFLUENCES, build_skeleton, calibrate, fit_pose, local_quaternions

RIGIFY = {
    "spine", "spine.001", "spine.002", "spine.003", "spine.004", "spine.005", "spine.006",
    *(f"{bone}.{side}" for side in "LR"
      for bone in ("shoulder", "upper_arm", "forearm", "hand", "thigh", "shin", "foot")),
}  # fmt: skip


def skin(skeleton, quaternions, root):
    """Vertices of local quaternions, worked out bone by bone as an animation program does."""
    turns, places = [], []
    for bone, parent in enumerate(skeleton.parents):
        axes = skeleton.axes[bone]
        own = axes @ Rotation.from_quat(quaternions[:, bone], scalar_first=True).as_matrix() @ axes.T
        if parent < 0:
            turns.append(own)
            places.append(root)
        else:
            turns.append(turns[parent] @ own)
            arm = skeleton.heads[bone] - skeleton.heads[parent]
            places.append(places[parent] + turns[parent] @ arm)
    return sum(
        skeleton.weights[:, bone, None]
        * (
            (skeleton.vertices - skeleton.heads[bone]) @ np.swapaxes(turns[bone], 1, 2)
            + places[bone][:, None]
        )
        for bone in range(len(places))
    )


def distances(skeleton, vertices):
    rotations, root = fit_pose(skeleton, vertices)
    shown = skin(skeleton, local_quaternions(skeleton, rotations), root)
    return np.linalg.norm(shown - vertices, axis=-1)


def test_rigid_bones_follow_a_held_out_motion(body, held_out):
    skeleton = build_skeleton(ShapedBody(body, held_out["shape"]))
    error = distances(skeleton, held_out["vertices"][::6])
    assert error.mean() < 0.0005
    assert error.max() < 0.006


def test_bones_carry_the_names_and_joints_of_a_standard_rig(body, held_out):
    skeleton = build_skeleton(ShapedBody(body, held_out["shape"]))
    parents = {name: skeleton.names[skeleton.parents[bone]] for bone, name in enumerate(skeleton.names)}
    assert set(skeleton.names) == RIGIFY
    assert parents["forearm.L"] == "upper_arm.L"
    assert parents["shoulder.R"] == "spine.003"
    assert parents["thigh.L"] == "spine"
    assert all(parent < bone for bone, parent in enumerate(skeleton.parents))
    hand, head = (skeleton.heads[skeleton.names.index(name)] for name in ("hand.L", "spine.006"))
    assert hand[0] > 0.1, "the person's left is at +x"
    assert head[1] < skeleton.heads[0][1] - 0.1, "y points down"
    np.testing.assert_allclose(np.linalg.det(skeleton.axes), 1, atol=1e-6)
    along = skeleton.tails - skeleton.heads
    np.testing.assert_allclose(
        skeleton.axes[..., 1], along / np.linalg.norm(along, axis=1)[:, None], atol=1e-6
    )


def test_knees_and_elbows_bend_forward_about_x(body, held_out):
    skeleton = build_skeleton(ShapedBody(body, held_out["shape"]))
    for name, ahead in (("shin.L", 1), ("shin.R", 1), ("forearm.L", -1), ("forearm.R", -1)):
        x, y, _ = skeleton.axes[skeleton.names.index(name)].T
        moved = Rotation.from_rotvec(0.5 * x).apply(y) - y
        assert moved[2] * ahead > 0.1, "shins go back (away from the camera), forearms ahead"


def test_no_vertex_hangs_on_more_bones_than_skinning_takes(body, held_out):
    weights = build_skeleton(ShapedBody(body, held_out["shape"])).weights
    assert ((weights > 0).sum(axis=1) <= INFLUENCES).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)


def test_quaternions_are_continuous_through_whole_turns(body, held_out):
    skeleton = build_skeleton(ShapedBody(body, held_out["shape"]))
    turns = Rotation.from_rotvec(np.linspace(0, 6 * np.pi, 100)[:, None] * [0.0, 1.0, 0.0]).as_matrix()
    quaternions = local_quaternions(skeleton, np.repeat(turns[:, None], len(skeleton.names), axis=1))
    np.testing.assert_allclose(np.linalg.norm(quaternions, axis=-1), 1, atol=1e-6)
    assert np.abs(np.diff(quaternions, axis=0)).max() < 0.1


def test_bone_lengths_are_taken_from_the_clip(body, held_out):
    other = held_out["shape"] + 0.7 * np.sin(np.arange(body.shape_size))  # what a wrong shape leaves over
    plain = build_skeleton(ShapedBody(body, other))
    vertices = held_out["vertices"][::6]
    fitted = calibrate(plain, vertices)
    assert distances(fitted, vertices).mean() < 0.85 * distances(plain, vertices).mean()
    left, right = (fitted.names.index(f"forearm.{side}") for side in "LR")
    length = np.linalg.norm(fitted.tails - fitted.heads, axis=1)
    assert length[left] == pytest.approx(length[right], abs=1e-4)


def test_one_frame_is_enough(body, held_out):
    vertices = held_out["vertices"][:1]
    skeleton = calibrate(build_skeleton(ShapedBody(body, held_out["shape"])), vertices)
    assert distances(skeleton, vertices).max() < 0.006
