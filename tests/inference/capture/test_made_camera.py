# SPDX-License-Identifier: GPL-3.0-or-later
"""People that were never filmed stand before a camera that is made: upright, facing it, in view."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.inference.capture.motion_input import MotionOptions, read_motion
from sparse2dense.models.errors import InputError
from sparse2dense.models.keypoints import HIPS, KEYPOINT_INDEX, KEYPOINT_NAMES, MIRRORED, REQUIRED_NAMES

MIRRORS = {
    "x": lambda points: points * [-1, 1, 1],
    "z": lambda points: points * [1, 1, -1],
    "exchanged axes": lambda points: points[..., [1, 0, 2]],
    "exchanged names": lambda points: points[:, list(MIRRORED)],
}


@pytest.fixture(scope="module")
def walk(held_out_motions):
    """The walk ``(149, 23, 3)``, y down, which turns and goes some way."""
    return held_out_motions["walk"].astype(np.float64)


@pytest.fixture
def stand(tmp_path):
    """Read named points without a camera: the clip and the warnings."""

    def read(points, names=KEYPOINT_NAMES, options=None, **more):
        path = tmp_path / "motion.npz"
        np.savez(path, keypoints=points, keypoint_names=np.array(names), fps=30, **more)
        return read_motion(path, options or MotionOptions())

    return read


@pytest.mark.parametrize("names", [KEYPOINT_NAMES, REQUIRED_NAMES], ids=["all", "required"])
def test_the_same_whichever_way_the_person_faces_and_wherever_they_are(walk, stand, names):
    points = walk[:, [KEYPOINT_INDEX[name] for name in names]]
    expected = stand(points, names)[0].keypoints
    for degrees in (30, 90, 180, 250):
        turn = Rotation.from_euler("y", degrees, degrees=True).as_matrix()
        moved = points @ turn.T + [3, -20, -40]
        np.testing.assert_allclose(stand(moved, names)[0].keypoints, expected, atol=2e-5)


def test_nothing_but_place_and_direction_changes(walk, stand):
    """A rotation and a shift, proper: the walk's own left and right, lengths and level."""
    clip, warnings = stand(walk)
    assert warnings == []
    both = walk, clip.keypoints.astype(float)
    source, placed = (points.reshape(-1, 3) - points.mean(axis=(0, 1)) for points in both)
    left, _, right = np.linalg.svd(source.T @ placed)
    turn = left @ right
    assert np.linalg.det(turn) == pytest.approx(1)
    np.testing.assert_allclose(source @ turn, placed, atol=1e-5)
    np.testing.assert_allclose(turn[1], [0, 1, 0], atol=1e-5)


def test_the_person_faces_the_camera_at_first(walk, stand):
    keypoints = stand(walk)[0].keypoints[:30]
    across = (keypoints[:, HIPS[0]] - keypoints[:, HIPS[1]]).mean(axis=0)
    assert across[0] > 0.15 and abs(across[2]) < 0.05, "the person's left is at the picture's right"
    ahead = keypoints[:, KEYPOINT_INDEX["nose"]] - keypoints[:, 1:3].mean(axis=1)
    assert ahead[:, 2].mean() < -0.08


@pytest.mark.parametrize(
    ("options", "size"),
    [({}, None), ({"fov": 20}, None), ({"fov": 120, "size": 512}, None), ({}, [640, 200])],
)
@pytest.mark.parametrize("names", [KEYPOINT_NAMES, REQUIRED_NAMES], ids=["all", "required"])
@pytest.mark.parametrize("way", [0, 12])
def test_all_of_the_motion_is_in_view(walk, stand, options, size, way, names):
    """Also of somebody who walks on for twelve metres, and points that are estimated, as the head's."""
    steps = np.linspace(0, way, len(walk))[:, None, None]
    more = {} if size is None else {"size": size}
    for direction in ([1, 0, 0], [0, 0, -1]):
        clip, _ = stand(
            (walk + steps * direction)[:, [KEYPOINT_INDEX[name] for name in names]],
            names,
            options=MotionOptions(**options),
            **more,
        )
        pixels = clip.camera.project(clip.keypoints)
        assert (pixels > 0).all() and (pixels < [clip.width, clip.height]).all()
        assert clip.keypoints[..., 2].min() > 0.99
        # And not lost in it: some point comes near an edge, where depth alone does not keep them away.
        share = np.abs(pixels / [clip.width / 2, clip.height / 2] - 1).max()
        assert share == pytest.approx(0.9, abs=0.01) or clip.keypoints[..., 2].min() < 1.01


@pytest.mark.parametrize("names", [KEYPOINT_NAMES, REQUIRED_NAMES], ids=["all", "required"])
@pytest.mark.parametrize("mirror", MIRRORS)
def test_mirrored_people_are_refused_by_name(walk, stand, names, mirror):
    points = MIRRORS[mirror](walk)[:, [KEYPOINT_INDEX[name] for name in names]]
    with pytest.raises(InputError, match="left and right are exchanged") as caught:
        stand(points, names)
    assert caught.value.code == "axes"


def test_hips_at_the_origin_are_taken_and_told_of(walk, stand):
    clip, warnings = stand(walk - walk[:, HIPS].mean(axis=1, keepdims=True))
    assert (
        len(warnings) == 1 and "hips stay at the origin" in warnings[0] and "before a camera" in warnings[0]
    )
    hips = clip.keypoints[:, HIPS].mean(axis=1)
    np.testing.assert_allclose(hips, hips[:1].repeat(len(hips), 0), atol=1e-5)


def test_somebody_who_lies_needs_an_axis(walk, stand):
    """Down the diagonal, so that no axis is meant: it is asked for, and taken where it is given."""
    lying = walk @ Rotation.align_vectors([[1, -1, 1]], [[0, -1, 0]])[0].as_matrix().T
    with pytest.raises(InputError, match=r"which axis points up .* up="):
        stand(lying)
    placed = stand(lying, up="-y")[0].keypoints
    assert np.isfinite(placed).all()
    trunk = placed[:, HIPS].mean(axis=1) - placed[:, 3:5].mean(axis=1)
    assert 0.3 < (trunk[:, 1] / np.linalg.norm(trunk, axis=-1)).mean() < 0.8, "leaning still"
