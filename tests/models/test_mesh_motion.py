# SPDX-License-Identifier: GPL-3.0-or-later
"""The mesh's own motion says where each point of a frame lies in the reference."""

import cv2
import numpy as np
import pytest
from sparse2dense.inference.clip import Camera
from sparse2dense.models.body import load_body
from sparse2dense.models.mesh_motion import MeshMotion

CAMERA = Camera(300, 300, 128, 128)
SIZE = (256, 256)


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture(scope="module")
def standing(body):
    vertices = body.rest(np.zeros(body.shape_size))[0]
    return (vertices - vertices.mean(0) + [0, 0, 2.6]).astype(np.float32)


def motion_between(faces, reference, vertices):
    motion = MeshMotion(faces, CAMERA.project(reference), reference[:, 2], *SIZE)
    return motion, motion(CAMERA.project(vertices), vertices[:, 2])


def test_a_body_that_steps_aside_points_back_to_where_it_stood(body, standing):
    step = np.float32([0.2, -0.1, 0])
    _, (x, y, coverage, visible) = motion_between(body.faces, standing, standing + step)
    on_body = coverage > 0.99
    expected = -step[:2] * 300 / 2.6
    assert abs(np.median(x[on_body]) - expected[0]) < 0.5
    assert abs(np.median(y[on_body]) - expected[1]) < 0.5
    assert np.mean(visible[on_body]) > 0.95
    # Clothes and hair beside the body go with it.
    beside = (coverage < 0.01) & (cv2.dilate(coverage, np.ones((9, 9))) > 0.5)
    assert np.abs(x[beside] - expected[0]).max() < 6


def test_coverage_is_the_bodys_outline(body, standing):
    outline = np.zeros(SIZE, np.uint8)
    for triangle in np.round(CAMERA.project(standing)[body.faces]).astype(np.int32):
        cv2.fillConvexPoly(outline, triangle, 255)
    drawn = cv2.resize(outline, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) > 127
    motion, (_, _, coverage, _) = motion_between(body.faces, standing, standing)
    for found in (motion.coverage > 0.5, coverage > 0.5):
        assert (found & drawn).sum() / (found | drawn).sum() > 0.9


def test_a_body_that_turns_round_shows_what_the_reference_hides(body, standing):
    centre = np.float32([0, 0, 2.6])
    turned = (standing - centre) * np.float32([-1, 1, -1]) + centre
    _, (_, _, coverage, visible) = motion_between(body.faces, standing, turned)
    assert np.mean(visible[coverage > 0.99]) < 0.1


def sheet(depth, count):
    """A square metre of triangles that face the camera: vertices and faces."""
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, count), np.linspace(-0.5, 0.5, count))
    vertices = np.stack([x, y, np.full_like(x, depth)], -1).reshape(-1, 3).astype(np.float32)
    corner = (np.arange(count - 1)[:, None] * count + np.arange(count - 1)).ravel()
    first = np.stack([corner, corner + count, corner + 1], 1)
    return vertices, np.concatenate([first, first[:, [2, 1, 1]] + [0, 0, 1]])


@pytest.mark.parametrize("count", [46, 81])
def test_the_nearer_of_two_surfaces_gives_the_motion(count):
    """Also where its triangles are larger than a cell of the motion map."""
    (near, near_faces), (far, far_faces) = sheet(2, count), sheet(3, 121)
    faces = np.concatenate([near_faces, far_faces + len(near)])
    moved = np.concatenate([near + np.float32([0.1, 0, 0]), far])
    _, (x, _, coverage, _) = motion_between(faces, np.concatenate([near, far]), moved)
    np.testing.assert_allclose(x[50:78, 60:78], -0.1 * 300 / 2, atol=0.3)
    np.testing.assert_array_equal(coverage[50:78, 60:78], 1)


def test_a_body_outside_the_picture_moves_nothing_and_covers_nothing(body, standing):
    _, found = motion_between(body.faces, standing, standing + np.float32([9, 0, 0]))
    assert np.isfinite(found).all()
    assert found[2].max() == 0
