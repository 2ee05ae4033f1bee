# SPDX-License-Identifier: GPL-3.0-or-later
"""Values over time: smoothed without delay, filled in, their speeds and runs."""

import numpy as np
import pytest
from sparse2dense.inference.capture.smoothing import fill, runs, smooth, speeds


def test_smoothing_has_no_delay_and_keeps_slow_motion():
    time = np.arange(120) / 60
    slow = np.sin(2 * np.pi * time)[:, None, None]
    jitter = 0.1 * np.sin(2 * np.pi * 20 * time)[:, None, None]
    weights = np.ones((120, 1))
    np.testing.assert_allclose(smooth(slow + jitter, weights, 5, 60)[10:-10], slow[10:-10], atol=0.02)
    half = np.sin(2 * np.pi * 5 * time)[:, None, None]
    ratio = smooth(half, weights, 5, 60)[30:-30].std() / half[30:-30].std()
    assert ratio == pytest.approx(0.5, abs=0.01)


def test_smoothing_bridges_what_has_no_weight():
    time = np.arange(60) / 30
    curve = (time**2)[:, None, None]
    weights = np.ones((60, 1))
    weights[20:30] = 0
    broken = curve.copy()
    broken[20:30] = 99
    np.testing.assert_allclose(smooth(broken, weights, 6, 30), curve, atol=0.05)


def test_gaps_are_filled_by_straight_lines():
    seen = np.array([False, True, False, False, True, False])
    values = np.array([9.0, 1.0, 9.0, 9.0, 4.0, 9.0])[:, None]
    np.testing.assert_allclose(fill(values, seen)[:, 0], [1, 1, 2, 3, 4, 4])
    assert runs(~seen) == [(0, 1), (2, 4), (5, 6)]


def test_speeds_are_a_second():
    points = np.arange(5.0)[:, None, None] * (3, 4)
    np.testing.assert_allclose(speeds(points, 10), 50)
    assert speeds(points[:1], 10).tolist() == [[0]]
