# SPDX-License-Identifier: GPL-3.0-or-later
"""Training sees the motion that decoding computes, and may follow its gradient to the vertices."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from sparse2dense.models.camera import Camera
from sparse2dense.models.mesh_motion import Surface
from sparse2dense.models.training.mesh_motion_torch import Surfaces

CAMERA = Camera(230, 230, 84, 100)
HEIGHT, WIDTH = 200, 168  # odd numbers of cells on the way down the pyramid


def projected(vertices):
    return np.concatenate([CAMERA.project(vertices), vertices[..., 2:]], -1)


def motion(faces, references, frames, height=HEIGHT, width=WIDTH):
    """Motion maps of ``frames`` ``(N, T, V, 3)`` to ``references`` ``(N, R, V, 3)``, and the references."""
    there, here = (Surfaces(faces, points.flatten(0, 1), height, width) for points in (references, frames))
    return here.motion_to(there, len(frames)), there


@pytest.fixture(scope="module")
def points(held_out):
    """Two persons' projected vertices: two references and two frames each, partly off the canvas."""
    vertices = held_out["vertices"] - held_out["vertices"].reshape(-1, 3).mean(0) + [0.2, 0, 2.4]
    found = projected(vertices.astype(np.float32))
    return found[[[0, 20], [5, 40]]], found[[[10, 11], [30, 31]]]


def test_it_is_the_motion_that_decoding_computes(body, points):
    references, frames = points
    faces = torch.from_numpy(body.faces.astype(np.int64))
    maps, there = motion(faces, torch.from_numpy(references), torch.from_numpy(frames))
    coverage = there.coverage.unflatten(0, (2, 2)).numpy()

    def seen(found):
        return Surface(body.faces, found[:, :2], found[:, 2], WIDTH, HEIGHT)

    for person in range(2):
        for reference in range(2):
            decoding = seen(references[person, reference])
            np.testing.assert_allclose(coverage[person, reference, 0], decoding.coverage, atol=1e-5)
            for frame in range(2):
                wanted = seen(frames[person, frame]).motion_to(decoding)
                off = np.abs(maps[person, frame, reference].numpy() - wanted).max(0)
                # A pixel on an edge, or a point just within sight, may fall to the other side by rounding.
                assert np.mean(off > 2e-3) < 1e-3
    assert np.abs(maps[:, :, :, :2]).max() > 5


def test_its_gradient_reaches_frames_and_references():
    """By finite differences, on triangles that keep their pixels."""
    rng = np.random.default_rng(0)
    count = 12
    corner = rng.integers(6, 26, (count, 1, 2)) + 0.5 + rng.uniform(-0.1, 0.1, (count, 1, 2))
    triangles = corner + np.array([[0, 0], [0, 1.2], [1.2, 0]]) - 0.4
    reference = np.concatenate([triangles.reshape(-1, 2), np.full((3 * count, 1), 2.0)], 1)
    frame = reference + np.array([2.0, 4.0, 0.0])
    faces = torch.arange(3 * count).view(count, 3)

    def displacements(of_reference, of_frame):
        return motion(faces, of_reference[None, None], of_frame[None, None], 32, 48)[0][:, :, :, :2]

    inputs = [torch.tensor(points, dtype=torch.float64, requires_grad=True) for points in (reference, frame)]
    assert displacements(*inputs).abs().max() > 1
    torch.autograd.gradcheck(displacements, inputs, eps=1e-5, atol=1e-4)


def test_a_body_outside_the_picture_moves_nothing(body, points):
    references, frames = (torch.from_numpy(values) for values in points)
    faces = torch.from_numpy(body.faces.astype(np.int64))
    away = (frames + 4000 * torch.tensor([1.0, 0, 0])).requires_grad_()
    maps, _ = motion(faces, references, away)
    assert torch.isfinite(maps).all() and maps[:, :, :, 2].max() == 0
    maps.sum().backward()
    assert torch.isfinite(away.grad).all()
