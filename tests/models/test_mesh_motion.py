# SPDX-License-Identifier: GPL-3.0-or-later
"""The mesh's own motion says where each point of a frame lies in the reference."""

import dataclasses
import time

import cv2
import numpy as np
import pytest
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.camera import Camera
from sparse2dense.models.mesh_motion import Surface, see_body

CAMERA = Camera(300, 300, 128, 128)
SIZE = (256, 256)


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture(scope="module")
def standing(body):
    vertices = body.rest(np.zeros(body.shape_size))[0]
    return (vertices - vertices.mean(0) + [0, 0, 2.6]).astype(np.float32)


def seen(faces, vertices):
    return Surface(faces, CAMERA.project(vertices), vertices[:, 2], *SIZE)


def motion_between(faces, reference, vertices):
    return seen(faces, vertices).motion_to(seen(faces, reference))


def turned(vertices, angle):
    """Turn about the vertical through the middle of the body."""
    middle = np.float32([0, 0, 2.6])
    cosine, sine = np.cos(angle), np.sin(angle)
    return (vertices - middle) @ np.float32([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]]) + middle


def test_a_body_that_steps_aside_points_back_to_where_it_stood(body, standing):
    step = np.float32([0.2, -0.1, 0])
    x, y, coverage, visible = motion_between(body.faces, standing, standing + step)
    on_body = coverage > 0.99
    expected = -step[:2] * 300 / 2.6
    assert abs(np.median(x[on_body]) - expected[0]) < 0.5
    assert abs(np.median(y[on_body]) - expected[1]) < 0.5
    assert np.mean(visible[on_body]) > 0.95
    # Clothes and hair beside the body go with it.
    beside = (coverage < 0.01) & (cv2.dilate(coverage, np.ones((17, 17))) > 0.5)
    assert np.abs(x[beside] - expected[0]).max() < 6


def test_each_pixel_moves_by_the_point_it_shows(body, standing):
    """Every triangle's middle that is seen tells the motion at its pixel, to a fraction of a pixel."""
    frame = turned(standing, 0.7)
    surface = seen(body.faces, frame)
    x, y, _, _ = surface.motion_to(seen(body.faces, standing))
    here, there = (CAMERA.project(vertices)[body.faces].mean(1) for vertices in (frame, standing))
    column, row = here[surface.visible()].astype(int).T
    found = np.stack([x[row, column], y[row, column]], 1)
    error = np.linalg.norm(found - (there - here)[surface.visible()], axis=1)
    assert np.median(error) < 0.4
    assert np.mean(error < 2) > 0.9  # the rest lies just behind what its pixel shows


def test_coverage_is_the_bodys_outline(body, standing):
    fine = np.zeros((8 * SIZE[1], 8 * SIZE[0]), np.uint8)
    for triangle in np.round(CAMERA.project(standing)[body.faces] * 8 - 0.5).astype(np.int32):
        cv2.fillConvexPoly(fine, triangle, 255)
    drawn = cv2.resize(fine, SIZE, interpolation=cv2.INTER_AREA) > 127
    found = seen(body.faces, standing).coverage > 0.5
    assert (found & drawn).sum() / (found | drawn).sum() > 0.95


def test_a_body_that_turns_round_shows_what_the_reference_hides(body, standing):
    _, _, coverage, visible = motion_between(body.faces, standing, turned(standing, np.pi))
    assert np.mean(visible[coverage > 0.99]) < 0.1


def test_clothes_stand_out_where_people_wear_them(body, standing):
    naked = seen(body.faces, standing).coverage
    dressed = see_body(body, standing, CAMERA.project, *SIZE).coverage
    assert (dressed > naked - 0.2).all()
    assert 1.05 < dressed.sum() / naked.sum() < 1.4
    head = standing[:, 1] < standing[:, 1].min() + 0.05
    assert np.mean(body.clothing[head]) > 0.01  # hair
    assert body.clothing.min() >= 0 and body.clothing.max() < 0.1
    unknown = see_body(dataclasses.replace(body, clothing=None), standing, CAMERA.project, *SIZE)
    np.testing.assert_array_equal(unknown.coverage, naked)


def sheet(depth, count):
    """A square metre of triangles that face the camera: vertices and faces."""
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, count), np.linspace(-0.5, 0.5, count))
    vertices = np.stack([x, y, np.full_like(x, depth)], -1).reshape(-1, 3).astype(np.float32)
    corner = (np.arange(count - 1)[:, None] * count + np.arange(count - 1)).ravel()
    first = np.stack([corner, corner + count, corner + 1], 1)
    return vertices, np.concatenate([first, first[:, [2, 1, 1]] + [0, 0, 1]])


@pytest.mark.parametrize("count", [6, 46, 81])
def test_the_nearer_of_two_surfaces_gives_the_motion(count):
    """However large its triangles are."""
    (near, near_faces), (far, far_faces) = sheet(2, count), sheet(3, 121)
    faces = np.concatenate([near_faces, far_faces + len(near)])
    moved = np.concatenate([near + np.float32([0.1, 0, 0]), far])
    x, _, coverage, _ = motion_between(faces, np.concatenate([near, far]), moved)
    np.testing.assert_allclose(x[100:156, 120:156], -0.1 * 300 / 2, atol=0.01)
    np.testing.assert_array_equal(coverage[100:156, 120:156], 1)


def test_a_body_outside_the_picture_moves_nothing_and_covers_nothing(body, standing):
    found = motion_between(body.faces, standing, standing + np.float32([9, 0, 0]))
    assert np.isfinite(found).all()
    assert found[2].max() == 0


def test_a_body_in_the_camera_is_drawn_in_bounded_time(body, standing):
    """As a damaged or hostile file may have it: every triangle as large as the canvas."""
    rng = np.random.default_rng(0)
    pixels = rng.uniform(-1e5, 1e5, (len(standing), 2)).astype(np.float32)
    started = time.perf_counter()
    surface = Surface(body.faces, pixels, standing[:, 2], 4096, 2168)
    assert time.perf_counter() - started < 30
    assert len(surface.cells) and surface.cells.max() < 4096 * 2168
