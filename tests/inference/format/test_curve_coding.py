# SPDX-License-Identifier: GPL-3.0-or-later
"""Curves through every k-th frame: those of the document, and the ones nearest to the motion."""

import numpy as np
import pytest
from sparse2dense.inference.format.curve_coding import coded_frames, draw_curves, fit_curves

from . import second_decoder


@pytest.mark.parametrize("spacing", range(1, 9))
@pytest.mark.parametrize("samples", [1, 2, 3, 7])
def test_curves_are_those_of_the_document(samples, spacing):
    coded = np.random.default_rng(samples).integers(-(10**9), 10**9, (samples, 23, 3))
    drawn = draw_curves(coded, spacing)
    assert drawn.dtype == np.int64
    np.testing.assert_array_equal(drawn, second_decoder.between(coded.tolist(), spacing))


@pytest.mark.parametrize(
    ("frames", "spacing", "coded"),
    [(1, 1, 1), (50, 1, 50), (1, 8, 1), (2, 8, 2), (9, 8, 2), (10, 8, 3), (300, 4, 76), (301, 4, 76)],
)
def test_how_many_frames_are_coded(frames, spacing, coded):
    assert coded_frames(frames, spacing) == coded


def least_squares(frames, spacing):
    """The root mean square distance of the best curves, from their matrix as a whole."""
    count = coded_frames(len(frames), spacing)
    matrix = draw_curves(np.eye(count), spacing)[: len(frames)] / (2 * spacing**3)
    best, *_ = np.linalg.lstsq(matrix, frames.reshape(len(frames), -1), rcond=None)
    return np.sqrt(((matrix @ best - frames.reshape(len(frames), -1)) ** 2).mean())


@pytest.mark.parametrize("spacing", [2, 3, 5, 8])
@pytest.mark.parametrize("frames", [2, 3, 9, 40, 41, 50])
def test_the_curves_lie_nearest_to_captured_motion(golden, frames, spacing):
    """Within a hundredth of the best there are, and much nearer than curves through the frames themselves."""
    motion = golden["keypoints"][:frames].astype(float)
    samples = fit_curves(motion, spacing)
    assert samples.shape == (coded_frames(frames, spacing), 23, 3)
    drawn = draw_curves(samples, spacing)[:frames] / (2 * spacing**3)
    error = np.sqrt(((drawn - motion) ** 2).mean())
    assert error <= 1.01 * least_squares(motion, spacing) + 1e-6
    if frames == 41 and spacing > 2:
        through = draw_curves(motion[::spacing], spacing)[:frames] / (2 * spacing**3)
        assert error < 0.9 * np.sqrt(((through - motion[: len(through)]) ** 2).mean())


@pytest.mark.parametrize("spacing", [2, 5, 8])
def test_a_few_steps_are_enough_for_ten_seconds(golden, spacing):
    there, back = golden["keypoints"][:-1], golden["keypoints"][:0:-1]
    motion = np.concatenate([there, back] * 3).astype(float)
    drawn = draw_curves(fit_curves(motion, spacing), spacing)[: len(motion)] / (2 * spacing**3)
    error = np.sqrt(((drawn - motion) ** 2).mean())
    assert error <= 1.02 * least_squares(motion, spacing)


def test_every_frame_coded_is_every_frame(golden):
    motion = golden["keypoints"].astype(float)
    np.testing.assert_array_equal(fit_curves(motion, 1), motion)
    np.testing.assert_array_equal(fit_curves(motion[:1], 4), motion[:1])


def test_a_still_track_stays_where_it_is():
    still = np.full((17, 2), 1.25)
    np.testing.assert_allclose(fit_curves(still, 4), np.full((5, 2), 1.25), atol=1e-12)
