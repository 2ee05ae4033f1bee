# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest
from sparse2dense.models.windows import (
    WINDOW,
    denoise,
    follow_trunk,
    network_inputs,
    radius_frames,
    sample_windows,
)


def test_windows_hold_the_frames_around_and_repeat_the_ends():
    keypoints = np.arange(40, dtype=np.float32)[:, None, None] * np.ones((1, 23, 3), np.float32)
    windows = sample_windows(keypoints, 30, 0, 40)
    assert windows.shape == (40, WINDOW, 23, 3)
    np.testing.assert_allclose(windows[20, :, 0, 0], np.arange(13, 28), atol=1e-4)
    np.testing.assert_allclose(windows[0, :8, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0], atol=1e-4)
    at_25 = sample_windows(keypoints, 25, 20, 21)[0, :, 0, 0]
    np.testing.assert_allclose(at_25, 20 + np.arange(-7, 8) * 25 / 30, atol=1e-3)


@pytest.mark.parametrize("fps", [12, 24, 30000 / 1001, 60])
def test_windows_reach_no_further_than_they_say(fps):
    keypoints = np.random.default_rng(0).normal(size=(120, 23, 3)).astype(np.float32)
    changed, reach = keypoints.copy(), radius_frames(fps)
    changed[: 60 - reach] = changed[61 + reach :] = 100
    before, after = (sample_windows(track, fps, 60, 61) for track in (keypoints, changed))
    np.testing.assert_array_equal(before, after)


def test_noise_is_measured_and_taken_out(held_out):
    clean = sample_windows(held_out["keypoints"], 30, 8, 35)
    sigma = 0.015
    noisy = clean + np.random.default_rng(1).normal(0, sigma, clean.shape).astype(np.float32)
    middle = clean[:, WINDOW // 2]
    kept, little = denoise(follow_trunk(clean))
    smoothed, much = denoise(follow_trunk(noisy))
    assert np.abs(kept - middle).mean() < 0.001
    assert np.abs(smoothed - middle).mean() < 0.6 * np.abs(noisy[:, WINDOW // 2] - middle).mean()
    assert much.mean() == pytest.approx(sigma, rel=0.25) and little.mean() < 0.005


def test_inputs_do_not_change_with_where_a_person_goes_and_faces(body, held_out):
    windows = sample_windows(held_out["keypoints"], 30, 10, 20)
    vertices, joints = body.rest(held_out["shape"])
    rest = body.keypoints(vertices)
    turn = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], np.float32)
    walk = np.linspace(0, 1, WINDOW, dtype=np.float32)[:, None, None] * np.array([0.5, 0, 0.8], np.float32)
    here, _, _ = network_inputs(body, windows, held_out["shape"], rest, joints)
    there, axes, _ = network_inputs(body, windows @ turn.T + walk + 2, held_out["shape"], rest, joints)
    for name, value in here.items():
        np.testing.assert_allclose(there[name], value, atol=2e-4, err_msg=name)
    np.testing.assert_allclose(np.linalg.det(axes), 1, atol=1e-5)
