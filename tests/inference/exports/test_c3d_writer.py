# SPDX-License-Identifier: GPL-3.0-or-later
"""A C3D file, read by ezc3d, the reader of biomechanics' tools."""

from fractions import Fraction

import ezc3d
import numpy as np
import pytest
from sparse2dense.inference.exports.c3d_writer import write_c3d
from sparse2dense.models.keypoints import KEYPOINT_NAMES


@pytest.fixture(scope="module")
def read(exported):
    return ezc3d.c3d(str(exported["c3d"]))


def test_points_are_where_the_keypoints_stand_with_z_up(read, truth):
    point = read["parameters"]["POINT"]
    assert point["LABELS"]["value"] == list(KEYPOINT_NAMES)
    assert point["UNITS"]["value"] == ["mm"]
    assert (point["X_SCREEN"]["value"], point["Y_SCREEN"]["value"]) == (["+X"], ["+Z"])
    places = read["data"]["points"][:3].transpose(2, 1, 0)
    np.testing.assert_allclose(places / 1000, truth.keypoints, atol=1e-5)
    assert (read["data"]["meta_points"]["residuals"] == 0).all(), "none is marked as not seen"


def test_rate_and_frames_are_the_clips(read):
    header, point = read["header"]["points"], read["parameters"]["POINT"]
    assert point["RATE"]["value"][0] == pytest.approx(30000 / 1001, rel=1e-6)
    assert header["frame_rate"] == pytest.approx(30000 / 1001, rel=1e-6)
    assert (header["first_frame"], header["last_frame"]) == (0, 39)
    assert read["data"]["points"].shape == (4, 23, 40)
    assert read["data"]["analogs"].size == 0


def test_one_frame_is_a_file_too(single):
    read = ezc3d.c3d(str(single["c3d"]))
    assert read["data"]["points"].shape == (4, 23, 1)
    assert read["parameters"]["POINT"]["RATE"]["value"][0] == 30


def test_more_frames_than_sixteen_bits_count_are_all_there(tmp_path):
    frames = 66_000
    keypoints = np.zeros((frames, 23, 3), np.float32)
    keypoints[:, 0, 0] = np.arange(frames) / 1000
    write_c3d(tmp_path / "long.c3d", keypoints, Fraction(120))
    read = ezc3d.c3d(str(tmp_path / "long.c3d"))["data"]["points"]
    assert read.shape == (4, 23, frames)
    np.testing.assert_allclose(read[0, 0], np.arange(frames), atol=1e-2)
