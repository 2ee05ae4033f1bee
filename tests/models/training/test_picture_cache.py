# SPDX-License-Identifier: GPL-3.0-or-later
"""Training examples: their flow leads to the same point, and what decoding has is wrong by a little."""

import cv2
import numpy as np
import pytest

pytest.importorskip("numba")

from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.camera import Camera
from sparse2dense.models.training.picture_cache import WINDOW, load_example, make_example

STEP = 12  # pixels that the person of the samples goes to the right
PAN = 6  # pixels that a panned camera moves everything to the left
RADIUS = 7  # frames of a track before and after its middle


def sample(pan=0):
    """A noisy body-shaped cut-out that moves sideways before a wall, as People gives it."""
    body = load_body()
    camera = Camera(300, 300, 128, 128)
    vertices = body.rest(np.zeros(body.shape_size))[0]
    vertices = (vertices - vertices.mean(0) + [0, 0, 2.9]).astype(np.float32)
    moved = vertices + np.float32([(STEP - pan) * 2.9 / 300, 0, 0])
    noise = np.random.default_rng(0)
    cloth, wall = (cv2.resize(noise.integers(0, 255, (40, 40, 3)).astype(np.uint8), (256, 256)) for _ in "ab")
    mask = np.zeros((256, 256), np.uint8)
    for triangle in np.round(camera.project(vertices)[body.faces]).astype(np.int32):
        cv2.fillConvexPoly(mask, triangle, 255)
    shifted, seen = np.roll(mask, STEP - pan, 1), np.roll(wall, -pan, 1)
    flow = np.zeros((1, 2, 256, 256, 2), np.float32)
    flow[..., 0] = pan - STEP
    reference = np.where(mask[..., None] > 0, cloth, wall)
    keypoints, later = body.keypoints(vertices), body.keypoints(moved)
    homography = np.eye(3)
    homography[0, 2] = -pan
    return {
        "references": np.stack([reference] * 2),
        "reference_masks": np.stack([mask] * 2),
        "reference_plates": np.stack([wall] * 2),
        "reference_vertices": np.stack([vertices] * 2),
        "reference_keypoints": np.stack([keypoints] * 2),
        "reference_tracks": np.broadcast_to(keypoints, (2, 1 + 2 * RADIUS, 23, 3)),
        "camera": camera,
        "shape": np.zeros(body.shape_size, np.float32),
        "frames": np.where(shifted[..., None] > 0, np.roll(cloth, STEP - pan, 1), seen)[None],
        "masks": shifted[None],
        "plates": seen[None],
        "vertices": moved[None],
        "keypoints": later[None],
        "track": np.broadcast_to(later, (1 + 2 * RADIUS, 23, 3)),
        "flow": flow,
        "visible": np.broadcast_to(shifted > 0, (1, 2, 256, 256)),
        "homographies": np.stack([homography, np.eye(3)]),
    }


def stored(folder, index, **changes):
    example = make_example(sample(**changes), load_body(), np.random.default_rng(index))
    path = folder / f"{index:06d}.npz"
    np.savez(path, **example)
    return path


def project(points, camera):
    return points[..., :2] / points[..., 2:] * camera[:2] + camera[2:]


def enlarged(values):
    return cv2.resize(values, WINDOW[::-1], interpolation=cv2.INTER_NEAREST)


def test_an_examples_flow_leads_to_the_same_point_of_every_reference(tmp_path):
    """Mirrored or not; and the projected bodies move as the flow says."""
    path = stored(tmp_path, 0)
    seen = set()
    for seed in range(6):
        example = load_example(path, np.random.default_rng(seed))
        known = example["known"][0, 0] > 0
        rows, columns = np.mgrid[: WINDOW[0], : WINDOW[1]].astype(np.float32)
        for of_reference, reference in enumerate(example["references"]):
            flow = example["flow"][0, of_reference]
            full = enlarged(flow.transpose(1, 2, 0))
            picture = reference.transpose(1, 2, 0)
            moved = cv2.remap(picture, columns + full[..., 0], rows + full[..., 1], cv2.INTER_LINEAR)
            found, stays = (
                np.abs(one - example["frames"][0].transpose(1, 2, 0))[enlarged(known * 1.0) > 0].mean()
                for one in (moved, picture)
            )
            assert found < 0.5 * stays
            for then, now in (
                (example["reference_vertices"][of_reference], example["vertices"][0]),
                (example["reference_windows"][of_reference, 7], example["windows"][0, 7]),
            ):
                shift = (project(now, example["camera"]) - project(then, example["camera"]))[:, 0].mean()
                assert abs(shift + flow[0][known].mean()) < 3
        seen.add(bool(shift > 0))
    assert seen == {True, False}


def test_a_mirrored_body_is_a_body_of_the_same_shape(tmp_path):
    path = stored(tmp_path, 0)
    plain, mirrored = None, None
    for seed in range(8):
        example = load_example(path, np.random.default_rng(seed))
        turned = example["vertices"][0, 0, 0] > 0
        plain, mirrored = (plain, example) if turned else (example, mirrored)
    body = load_body()
    for example in (plain, mirrored):
        error = body.keypoints(example["vertices"][0]) - example["windows"][0, 7]
        assert np.linalg.norm(error, axis=-1).max() < 0.12
    side = plain["vertices"][0] - plain["vertices"][0].mean(0)
    np.testing.assert_allclose(
        side, mirrored["vertices"][0] - mirrored["vertices"][0].mean(0), atol=2e-3
    )  # a body at rest is its own mirror image


def test_keypoints_are_off_by_centimetres_and_on_the_coders_grid(tmp_path):
    errors = []
    for index in range(8):
        example = load_example(stored(tmp_path, index), np.random.default_rng(0))
        errors.append(example["windows"][:, 7] - load_body().keypoints(example["vertices"]))
        assert (example["known_shape"] != example["shape"]).any()
        assert np.linalg.norm(example["known_shape"]) < 3
    size = np.linalg.norm(errors, axis=-1)
    assert 0.004 < np.median(size) < 0.03


def test_the_plate_follows_a_panned_camera(tmp_path):
    still, panned = (load_example(stored(tmp_path, 1, pan=p), np.random.default_rng(0)) for p in (0, PAN))
    for example in (still, panned):
        away = cv2.dilate(example["masks"][0, 0], np.ones((9, 9))) == 0
        difference = np.abs(example["plates"][0] - example["frames"][0])[:, away]
        assert difference.mean() < 0.06
    moved = np.abs(panned["plates"][0] - panned["reference_plates"][0]).mean()
    assert moved > 0.1
    np.testing.assert_array_equal(still["plates"][0], still["reference_plates"][0])


def test_people_whom_all_references_cut_off_are_left_out():
    cut = sample()
    cut["reference_keypoints"] = cut["reference_keypoints"] + np.float32([0, -1, 0])
    assert make_example(cut, load_body(), np.random.default_rng(0)) is None
