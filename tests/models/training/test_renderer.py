# SPDX-License-Identifier: GPL-3.0-or-later
"""The rasteriser against geometry that can be worked out by hand."""

import numpy as np
import pytest

pytest.importorskip("numba")

from sparse2dense.models.camera import Camera
from sparse2dense.models.training import renderer

SIZE = 64
CAMERA = Camera(70.0, 70.0, 32.0, 32.0)
LENS = [np.float32(renderer.SAMPLES * x) for x in (CAMERA.fx, CAMERA.cx, CAMERA.cy)]
SOLID = np.full((2, 8, 8, 4), 255, np.uint8)


def quad(left, top, right, bottom, depth):
    """Two triangles that face the camera; the texture lies on them once."""
    points = np.array(
        [[left, top, depth], [right, top, depth], [right, bottom, depth], [left, bottom, depth]]
    )
    return points.astype(np.float32), np.array([[0, 2, 1], [0, 3, 2]], np.int32)


def draw(points, faces, material, textures=SOLID, recess=(0.0, 0.0), closed=(False, False)):
    corner = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    return renderer.rasterise(
        points,
        faces,
        corner[faces % 4],
        np.asarray(material, np.uint8),
        np.array(recess, np.float32),
        np.array(closed),
        textures,
        *LENS,
        SIZE * renderer.SAMPLES,
        SIZE * renderer.SAMPLES,
    )


def two_quads(back_depth=2.0, front_depth=1.5):
    back, faces = quad(-0.6, -0.6, 0.6, 0.6, back_depth)
    front, _ = quad(-0.2, -0.2, 0.2, 0.2, front_depth)
    return np.concatenate([back, front]), np.concatenate([faces, faces + 4]), [0, 0, 1, 1]


def test_the_nearer_surface_is_drawn_and_its_depth_kept():
    triangle, _, depth = draw(*two_quads())
    middle = SIZE * renderer.SAMPLES // 2
    assert triangle[middle, middle] in (2, 3)
    assert depth[middle, middle] == pytest.approx(1.5, rel=1e-5)
    back_only = middle + int(0.3 / 1.5 * LENS[0])
    assert triangle[middle, back_only] in (0, 1)
    assert depth[middle, back_only] == pytest.approx(2.0, rel=1e-5)
    assert triangle[0, 0] == -1 and depth[0, 0] == pytest.approx(renderer.FAR)


def test_recessed_skin_stays_below_cloth_that_it_pokes_through():
    points, faces, material = two_quads(back_depth=1.502)
    skin_in_front = [1 - m for m in material]
    triangle, _, _ = draw(points, faces, skin_in_front, recess=(0.008, 0.0))
    assert triangle[SIZE, SIZE] in (0, 1)


def test_transparent_texels_and_faces_turned_away_leave_holes():
    points, faces = quad(-0.5, -0.5, 0.5, 0.5, 2.0)
    holed = SOLID.copy()
    holed[:, :, :4, 3] = 0
    triangle, _, _ = draw(points, faces, [0, 0], textures=holed)
    assert (triangle[SIZE, SIZE - 30 : SIZE - 2] == -1).all()
    assert (triangle[SIZE, SIZE + 2 : SIZE + 30] >= 0).all()
    assert (draw(points, faces, [0, 0], closed=(True, True))[0] >= 0).any()
    assert (draw(points, faces[:, ::-1].copy(), [0, 0], closed=(True, True))[0] == -1).all()


def test_flow_and_visibility_equal_the_projected_motion():
    points, faces, material = two_quads()
    triangle, place, depth = draw(points, faces, material)
    motions = np.array([[0.02, 0.01, 0.1], [0.15, -0.05, 0.05]], np.float32)  # of the back, of the front
    moved = points + np.repeat(motions, 4, axis=0)
    reference_depth = draw(moved, faces, material)[2]
    flow, visible = renderer.trace(
        triangle, place, depth, faces, moved, reference_depth, *LENS, np.float32(0.01)
    )
    ray = np.stack(np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5), -1)
    samples = np.isin(triangle, (2, 3)).reshape(SIZE, renderer.SAMPLES, SIZE, renderer.SAMPLES)
    in_front = samples.any((1, 3))
    behind = flow.any(-1) & ~in_front
    for covered, surface, motion in ((behind, 2.0, motions[0]), (in_front, 1.5, motions[1])):
        metres = np.dstack([(ray - 32.0) / 70.0, np.ones((SIZE, SIZE))]) * surface
        expected = CAMERA.project(metres + motion) - ray
        error = np.linalg.norm(flow - expected, axis=-1)[covered]
        assert covered.sum() > 100
        # A pixel speaks for one of its samples, so it may differ by the flow's change within a pixel.
        assert error.max() < 0.15
    assert visible[in_front].all()
    where = (ray + flow)[behind]
    front = CAMERA.project(moved[4:])
    hidden = ((where > front.min(0) + 1) & (where < front.max(0) - 1)).all(-1)
    clear = ((where < front.min(0) - 1) | (where > front.max(0) + 1)).any(-1)
    assert hidden.any() and not visible[behind][hidden].any()
    assert visible[behind][clear].all()


def test_the_lit_side_is_brighter_and_edges_are_soft():
    points, faces = quad(-0.505, -0.505, 0.5, 0.5, 2.0)
    triangle, place, _ = draw(points, faces, [0, 0])
    normals = renderer.vertex_normals(points, faces)
    np.testing.assert_allclose(normals, np.tile([0, 0, -1], (4, 1)), atol=1e-6)
    pictures = []
    for direction in ((0, 0, -1), (0, 0, 1)):
        light = np.array(
            [direction, (0.6, 0.6, 0.6), (0.2, 0.2, 0.2), (0.2, 0.2, 0.2), (0, 0, 0)], np.float32
        )
        corner = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
        colour, coverage = renderer.shade(
            triangle,
            place,
            points,
            normals,
            faces,
            corner[faces],
            np.zeros(2, np.uint8),
            SOLID,
            np.ones((4, 3), np.float32),
            light,
        )
        pictures.append(colour[SIZE // 2, SIZE // 2])
    assert pictures[0] == pytest.approx(255 * np.sqrt(0.8), rel=1e-3)
    assert pictures[1] == pytest.approx(255 * np.sqrt(0.2), rel=1e-3)
    assert set(np.unique(coverage)) > {0.0, 1.0}


def test_what_lies_behind_is_shaded_and_what_lies_open_is_not():
    """A small plate over a large one, lit from above: the shadow lies below it, as dark as asked for."""
    line = np.linspace(-0.5, 0.5, 101)
    x, z = (values.ravel() for values in np.meshgrid(line, line))
    floor = np.column_stack([x, 0 * x, z])
    small = floor[(abs(x) < 0.15) & (abs(z) < 0.15)] - (0, 0.3, 0)
    points = np.concatenate([floor, small]).astype(np.float32) + np.float32([0, 0, 3])
    normals = np.tile(np.float32([0, -1, 0]), (len(points), 1))
    light = np.float32([[0, -1, 0], [1, 1, 1], [1, 1, 1], [1, 1, 1], [0.75, 0.5, 0]])
    lamp, around = renderer.openness(points, normals, light).T
    below = (abs(x) < 0.1) & (abs(z) < 0.1)
    open_floor = (abs(x) > 0.2) & (abs(x) < 0.45) & (abs(z) < 0.45)
    np.testing.assert_allclose(lamp[: len(x)][below], 0.25, atol=0.01)
    np.testing.assert_allclose(lamp[: len(x)][open_floor], 1, atol=0.01)
    np.testing.assert_allclose(lamp[len(x) :], 1, atol=0.01)
    assert around[: len(x)][below].mean() < around[len(x) :].mean() - 0.1
    assert around.min() >= 0.5 - 1e-3
    unshaded = light * (np.arange(5) < 4)[:, None]
    np.testing.assert_array_equal(renderer.openness(points, normals, unshaded), 1)
