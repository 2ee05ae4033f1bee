# SPDX-License-Identifier: GPL-3.0-or-later
"""The keypoint coder's tables, made from a little motion."""

import numpy as np
import pytest
from sparse2dense.models.keypoint_motion import UNITS, quantise, refine

statistics = pytest.importorskip("sparse2dense.models.training.keypoint_statistics")


@pytest.fixture(scope="module")
def swinging():
    """Points on smooth random paths, ``(6, 40, 23, 3)`` metres."""
    rng = np.random.default_rng(0)
    time = np.arange(40)[None, :, None, None] / 30
    phase, speed = rng.uniform(0, 6, (6, 1, 23, 3)), rng.uniform(1, 7, (6, 1, 1, 3))
    return np.array([0, 0, 3]) + 0.2 * np.sin(phase + speed * time)


def test_tables_fit_the_motion_they_are_made_from(swinging):
    track = statistics.to_lattice(swinging)
    tables = statistics.fit_tables(track)
    assert (tables.frequencies > 0).all()
    assert (tables.frequencies.sum(1) == 65536).all()
    np.testing.assert_array_equal(tables.frequencies[:, :-1], tables.frequencies[:, -2::-1])
    coded = quantise(tables, track)
    assert np.abs(coded.residuals).mean() < 1
    assert np.abs(coded.decoded - track).max() <= UNITS
    smoothed = refine(tables, coded.decoded, coded.predicted) / 4096
    assert np.abs(smoothed - track).mean() < 0.8 * np.abs(coded.decoded - track).mean()
