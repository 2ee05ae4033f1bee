# SPDX-License-Identifier: GPL-3.0-or-later
"""PyTorch draws what numba draws: dressed people and triangles that no body has, batch by batch."""

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("anny")
pytest.importorskip("torch")

import torch
from sparse2dense.models.camera import Camera
from sparse2dense.models.training import renderer, renderer_torch
from sparse2dense.models.training.avatars import Avatar, Wardrobe
from sparse2dense.models.training.drawing import open_renderer

SIZE = (96, 72)
LIGHT = np.array(
    [[0.3, -0.8, -0.52], [0.9, 0.8, 0.7], [0.5, 0.6, 0.7], [0.3, 0.25, 0.2], [0, 0, 0]], np.float32
)

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


DEVICES = "cpu", pytest.param("cuda", marks=needs_gpu)


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


@pytest.fixture(scope="module")
def avatar(body, data_folder):
    wardrobe = Wardrobe(body, data_folder, "held_out")
    return wardrobe.dress(body.rest(np.zeros(body.shape_size))[0], 2, np.random.default_rng(0))


@pytest.fixture(scope="module")
def poses(body, held_out):
    """Bone transforms of four moments, the trunk 3 m before the camera, the last from behind."""
    rotations, translation = held_out["rotations"][::12], held_out["translation"][::12]
    joints = body.rest(np.zeros(body.shape_size))[1]
    turned, place = body.forward_kinematics(joints, rotations, translation)
    place -= place[:, :1]
    place[-1] *= (-1, 1, -1)
    turned[-1] *= np.array([-1, 1, -1])[:, None]
    shift = place - (turned @ joints[..., None])[..., 0] + (0, 0, 3)
    return np.concatenate([turned, shift[..., None]], -1).astype(np.float32)


def compare(ours, theirs):
    """Assert that two drawings are equal but for samples on an edge between two triangles."""
    triangle, true = ours.triangle.cpu().numpy(), np.stack(theirs.triangle)
    covered, other = int((true >= 0).sum()), triangle != true
    assert other.sum() <= 1e-3 * covered + 1
    assert ((triangle >= 0) != (true >= 0)).sum() <= 1e-4 * covered + 1
    np.testing.assert_allclose(ours.points, theirs.points, atol=1e-5)
    same = ~other & (true >= 0)
    np.testing.assert_allclose(ours.depth.cpu().numpy()[same], np.stack(theirs.depth)[same], rtol=3e-5)
    np.testing.assert_allclose(ours.place.cpu().numpy()[same], np.stack(theirs.place)[same], atol=0.02)
    pixels = other.reshape(len(other), SIZE[0], renderer.SAMPLES, SIZE[1], renderer.SAMPLES).any((2, 4))
    np.testing.assert_allclose(ours.distance[~pixels], theirs.distance[~pixels], rtol=3e-5)
    np.testing.assert_allclose(ours.coverage[~pixels], theirs.coverage[~pixels])
    unlike = np.abs(ours.colour - theirs.colour).max(-1) > 0.5
    assert unlike[~pixels].sum() <= 1e-3 * (theirs.coverage > 0).sum()
    assert np.abs(ours.colour - theirs.colour).mean() < 1e-3
    return pixels


@pytest.mark.parametrize("focal", [70.0, 110.0, 400.0], ids=["small", "large", "beyond the canvas"])
def test_a_dressed_person_is_drawn_alike(avatar, poses, device, focal):
    camera = Camera(focal, focal, SIZE[1] / 2 + 0.3, SIZE[0] / 2 - 0.2)
    light = np.repeat(LIGHT[None], len(poses), 0)
    light[1:, 0] *= (-1, 1, 1)
    light[1:, 4] = (0.9, 0.7, 0)  # the body shades itself
    by_numba = open_renderer(avatar, camera, SIZE)
    on_device = open_renderer(avatar, camera, SIZE, device)
    theirs, ours = (each.draw(poses[:, None], light) for each in (by_numba, on_device))
    assert (theirs.coverage > 0).mean() > 0.03
    unlike = compare(ours, theirs)

    flow, visible = by_numba.trace(theirs[1:], theirs[:1])
    flow_too, visible_too = on_device.trace(ours[1:], ours[:1])
    assert 0.05 < visible.sum() / (theirs[1:].coverage > 0).sum() < 0.95
    np.testing.assert_allclose(flow_too[~unlike[1:]], flow[~unlike[1:]], atol=0.02)
    assert (visible_too != visible).sum() <= 1e-3 * visible.size


@pytest.mark.parametrize("device", (None, *DEVICES))
def test_motion_blur_is_the_mean_over_the_shutter_and_labels_are_of_its_first_moment(avatar, poses, device):
    camera = Camera(90.0, 90.0, SIZE[1] / 2, SIZE[0] / 2)
    drawer = open_renderer(avatar, camera, SIZE, device)
    sharp, blurred = (
        drawer.draw(poses[:, None], LIGHT[None].repeat(4, 0)),
        drawer.draw([poses], LIGHT[None]),
    )
    np.testing.assert_allclose(blurred.colour[0], sharp.colour.mean(0), atol=1e-3)
    np.testing.assert_allclose(blurred.coverage[0], sharp.coverage.mean(0), atol=1e-6)
    for name in ("distance", "points", "triangle", "depth"):
        assert (getattr(blurred, name)[0] == getattr(sharp, name)[0]).all(), name


def soup(count=400):
    """Triangles at random, some of them behind the camera or far larger than the canvas, with holes."""
    rng = np.random.default_rng(5)
    middle = rng.uniform((-1, -1, -0.5), (1, 1, 4), (count, 1, 3))
    size = np.exp(rng.uniform(np.log(0.01), np.log(2), (count, 1, 1)))
    points = (middle + rng.normal(0, 1, (count, 3, 3)) * size).reshape(-1, 3).astype(np.float32)
    return Avatar(
        rest=points,
        bones=np.zeros((len(points), 1), np.int16),
        weights=np.ones((len(points), 1), np.float32),
        faces=np.arange(3 * count, dtype=np.int32).reshape(-1, 3),
        uv=rng.uniform(-0.1, 1.1, (count, 3, 2)).astype(np.float32),
        material=rng.integers(0, 5, count).astype(np.uint8),
        textures=rng.integers(60, 256, (5, 16, 16, 4)).astype(np.uint8),
        tint=rng.uniform(0, 1, (len(points), 3)).astype(np.float32),
        areas=np.ones(len(points), np.float32),
        names=(),
    )


def test_any_triangles_are_drawn_alike_however_many_are_tried_at_a_time(device, monkeypatch):
    camera = Camera(60.0, 60.0, SIZE[1] / 2, SIZE[0] / 2)
    still = np.eye(3, 4, dtype=np.float32)[None, None, None]
    theirs = open_renderer(soup(), camera, SIZE).draw(still, LIGHT[None])
    ours = open_renderer(soup(), camera, SIZE, device)
    whole = ours.draw(still, LIGHT[None])
    assert (whole.coverage == 0).any() and len(np.unique(whole.triangle.cpu())) > 30
    compare(whole, theirs)
    monkeypatch.setattr(renderer_torch, "CANDIDATES", 10_007)
    in_parts = ours.draw(still, LIGHT[None])
    assert torch.equal(in_parts.triangle, whole.triangle) and torch.equal(in_parts.depth, whole.depth)
    np.testing.assert_array_equal(in_parts.colour, whole.colour)


def test_nothing_in_view_gives_empty_pictures(device):
    camera = Camera(60.0, 60.0, SIZE[1] / 2, SIZE[0] / 2)
    behind = np.eye(3, 4, dtype=np.float32)[None, None, None].copy()
    behind[..., 2, 3] = -50
    drawer = open_renderer(soup(8), camera, SIZE, device)
    drawing = drawer.draw(behind, LIGHT[None])
    flow, visible = drawer.trace(drawing, drawing)
    assert not drawing.coverage.any() and not drawing.colour.any() and not flow.any() and not visible.any()
