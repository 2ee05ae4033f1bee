# SPDX-License-Identifier: GPL-3.0-or-later
"""A TRC file, read as OpenSim reads it: by its tabs."""

import time
from fractions import Fraction

import numpy as np
import pytest
from sparse2dense.inference.exports.trc_writer import write_trc
from sparse2dense.models.keypoints import KEYPOINT_NAMES

from .standing_truth import Y_UP

FRAMES = 40


@pytest.fixture(scope="module")
def trc(exported):
    """The header's fields by name, the markers' names, times ``(T,)`` and places ``(T, 23, 3)``."""
    lines = exported["trc"].read_text(encoding="utf-8").split("\n")
    kind, keys, values, names, axes, gap, *rows = (line.split("\t") for line in lines[:-1])
    assert kind == ["PathFileType", "4", "(X/Y/Z)", "my walk.trc"]
    assert gap == [""] and lines[-1] == ""
    assert names[:2] == ["Frame#", "Time"] and axes[:2] == ["", ""]
    assert axes[2:] == [f"{axis}{marker}" for marker in range(1, 24) for axis in "XYZ"]
    assert len(names) == len(axes) and not any(name for at, name in enumerate(names[2:]) if at % 3)
    table = np.array(rows, float)
    assert table[:, 0].tolist() == list(range(1, FRAMES + 1))
    header = dict(zip(keys, values, strict=True))
    return header, names[2::3], table[:, 1], table[:, 2:].reshape(len(table), -1, 3)


def test_markers_are_where_the_keypoints_stand_with_y_up(trc, truth):
    header, names, _, places = trc
    assert names == list(KEYPOINT_NAMES)
    assert header["Units"] == "mm" and header["NumMarkers"] == "23"
    np.testing.assert_allclose(places / 1000, truth.keypoints @ Y_UP.T, atol=1e-5)


def test_the_person_is_upright_on_the_floor_and_left_is_left(trc):
    _, names, _, places = trc
    at = {name: places[:, column] for column, name in enumerate(names)}
    feet = np.stack([at[name] for name in names if "heel" in name or "foot" in name], axis=1)
    lowest = feet[..., 1].min(axis=1)
    assert (np.abs(lowest - 20) < 40).all(), "the soles' points are at the floor"
    assert (at["nose"][:, 1] - lowest > 1300).all()
    ahead = at["nose"] - (at["left_ear"] + at["right_ear"]) / 2
    left = np.cross([0, 1, 0], ahead)
    for part in ("hip", "shoulder", "ear"):
        assert (((at[f"left_{part}"] - at[f"right_{part}"]) * left).sum(axis=1) > 0).all()
    assert ahead[:, 2].mean() > 50, "they face +z"
    hips = (at["left_hip"] + at["right_hip"])[0] / 2
    np.testing.assert_allclose(hips[[0, 2]], 0, atol=0.01)


def test_time_begins_at_zero_and_the_rate_is_exact(trc):
    header, _, times, _ = trc
    for name in ("DataRate", "CameraRate", "OrigDataRate"):
        assert float(header[name]) == pytest.approx(30000 / 1001, abs=1e-7)
    assert header["NumFrames"] == header["OrigNumFrames"] == str(FRAMES)
    np.testing.assert_allclose(times, np.arange(FRAMES) * 1001 / 30000, atol=1e-9)


def test_one_frame_is_a_file_too(single):
    *_, first, end = single["trc"].read_text(encoding="utf-8").split("\n")
    assert first.startswith("1\t0.000000000\t") and end == ""


def test_ten_thousand_frames_take_seconds(tmp_path):
    start = time.perf_counter()
    write_trc(tmp_path / "long.trc", np.ones((10_000, 23, 3)), Fraction(25), "a\tname\n of lines.trc")
    assert time.perf_counter() - start < 10
    text = (tmp_path / "long.trc").read_text()
    assert text.startswith("PathFileType\t4\t(X/Y/Z)\ta name of lines.trc\n")
    assert text.count("\n") == 10_006
