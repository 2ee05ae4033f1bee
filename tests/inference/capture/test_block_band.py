# SPDX-License-Identifier: GPL-3.0-or-later
"""Least squares with a band in time and a border: the same as solving it whole."""

import numpy as np
import pytest
from sparse2dense.inference.capture.block_band import BlockBand

UNKNOWNS = 3


@pytest.mark.parametrize("common", [0, 2])
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 6, 7, 10])
def test_the_band_solves_what_the_whole_matrix_solves(frames, common):
    random = np.random.default_rng(frames)
    size = frames * UNKNOWNS + common
    rows = []
    for frame in range(frames):
        for apart in range(min(3, frames - frame)):  # terms of one frame, of neighbours, of three frames
            row = np.zeros((5, size))
            for touched in (frame, frame + apart // 2, frame + apart):
                row[:, touched * UNKNOWNS :][:, :UNKNOWNS] += random.normal(size=(5, UNKNOWNS))
            row[:, frames * UNKNOWNS :] = random.normal(size=(5, common))
            rows.append(row)
    whole = sum(row.T @ row for row in rows)
    right = random.normal(size=size)
    band = BlockBand.empty(frames, UNKNOWNS, common)
    own = slice(frames * UNKNOWNS, None)
    for frame in range(frames):
        here = slice(frame * UNKNOWNS, (frame + 1) * UNKNOWNS)
        for apart in range(min(3, frames - frame)):
            there = slice((frame + apart) * UNKNOWNS, (frame + apart + 1) * UNKNOWNS)
            band.blocks[apart, frame] = whole[here, there]
        band.border[frame], band.right[frame] = whole[here, own], right[here]
    band.corner[:], band.common[:] = whole[own, own], right[own]
    unknowns, shared = band.solve()
    expected = np.linalg.solve(whole, right)
    np.testing.assert_allclose(np.concatenate([unknowns.ravel(), shared]), expected, rtol=1e-6, atol=1e-8)
