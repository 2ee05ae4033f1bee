# SPDX-License-Identifier: GPL-3.0-or-later
"""NumPy's files: named keypoints in any axes, units and rates, and landmarks in a known order."""

import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from sparse2dense.models.errors import InputError
from sparse2dense.models.keypoints import HIPS, KEYPOINT_NAMES

from .conftest import UPRIGHT
from .test_json_reader import BODY_25, blazepose, known, ordered


@pytest.fixture
def write(tmp_path):
    def save(keypoints, names=KEYPOINT_NAMES, fps=30, **more):
        path = tmp_path / "walk.npz"
        np.savez(path, keypoints=keypoints, keypoint_names=np.array(names), fps=fps, **more)
        return path

    return save


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("up", UPRIGHT)
def test_axes_are_stated_or_seen(walk, write, named_clip, clip_of, millimetres, up, stated):
    path = write(walk @ UPRIGHT[up].T, **({"up": up} if stated else {}))
    clip, warnings = clip_of(path)
    assert millimetres(clip, named_clip(walk, KEYPOINT_NAMES)) < 0.01
    assert warnings == []


def test_stated_axes_win(walk, write, clip_of):
    """The walk on its head: a motion whose shoulders are below its feet throughout."""
    clip, _ = clip_of(write(walk, up="y"))
    ankles, nose = KEYPOINT_NAMES.index("left_ankle"), KEYPOINT_NAMES.index("nose")
    assert (clip.keypoints[:, ankles, 1] < clip.keypoints[:, nose, 1]).all()


@pytest.mark.parametrize(("units", "metres"), [("m", 1), ("cm", 0.01), ("mm", 0.001), ("in", 0.0254)])
def test_units_are_stated(walk, write, named_clip, clip_of, millimetres, units, metres):
    clip, _ = clip_of(write(walk / metres, units=units))
    assert millimetres(clip, named_clip(walk, KEYPOINT_NAMES)) < 0.01


@pytest.mark.parametrize(
    ("fps", "exact"),
    [
        (29.97, Fraction(30000, 1001)),
        ("30000/1001", Fraction(30000, 1001)),
        ("25", Fraction(25)),
        ((29.97, 1.0), Fraction(30000, 1001)),
        ((30000, 1001), Fraction(30000, 1001)),
        ((30000.0, 1001.0), Fraction(30000, 1001)),
        ((60, 2), Fraction(30)),
    ],
)
def test_rates_are_exact_in_any_form(walk, write, clip_of, fps, exact):
    assert clip_of(write(walk, fps=fps))[0].fps == exact


def test_landmarks_need_no_names(walk, columns, named_clip, clip_of, millimetres, tmp_path):
    landmarks = blazepose(walk)
    centred = walk - walk[:, HIPS].mean(axis=1, keepdims=True)
    np.save(tmp_path / "walk.npy", landmarks[..., :3].astype(np.float32))
    assert millimetres(clip_of(tmp_path / "walk.npy", fps=30)[0], named_clip(centred, KEYPOINT_NAMES)) < 0.01
    np.savez(tmp_path / "walk.npz", pose_world_landmarks=landmarks, fps=30)
    assert millimetres(clip_of(tmp_path / "walk.npz")[0], named_clip(centred, KEYPOINT_NAMES)) < 0.01
    np.savez(tmp_path / "walk.npz", ordered(walk, BODY_25))
    expected = named_clip(walk[:, columns(known(BODY_25))], known(BODY_25))
    assert millimetres(clip_of(tmp_path / "walk.npz", fps=30)[0], expected) < 0.01


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"up": "sideways"}, "up is 'sideways'"),
        ({"up": [1, 2]}, "up must be one word"),
        ({"units": "cubits"}, "unit 'cubits'"),
        ({"up": "y", "camera": np.eye(3), "size": [64, 64]}, "leave out up"),
        ({"fps": "0/0"}, "fps"),
        ({"fps": [30, 1, 1]}, "fps"),
        ({"fps": [True]}, "fps"),
        ({"fps": [30, -1]}, "fps"),
    ],
)
def test_what_is_stated_wrongly_is_named(walk, write, clip_of, more, said):
    with pytest.raises(InputError, match=said) as caught:
        clip_of(write(walk, **more))
    assert "walk.npz" in str(caught.value)


@pytest.mark.parametrize(
    "array", [np.zeros((5, 33, 2)), np.zeros((5, 32, 3)), np.zeros(5), np.array(["a"]), np.zeros((0, 33, 3))]
)
def test_arrays_that_are_no_landmarks_are_refused(clip_of, tmp_path, array):
    np.save(tmp_path / "walk.npy", array)
    with pytest.raises(InputError, match=r"walk\.npy"):
        clip_of(tmp_path / "walk.npy", fps=30)


def test_an_npy_file_that_lies_about_its_shape_is_refused(clip_of, tmp_path):
    with (tmp_path / "walk.npy").open("wb") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (5_000_000_000, 33, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(33 * 3 * 8))
    with pytest.raises(InputError, match="impossible shape"):
        clip_of(tmp_path / "walk.npy", fps=30)


def test_the_guides_example_is_a_motion(clip_of, tmp_path):
    guide = (Path(__file__).parents[3] / "docs" / "USER_GUIDE.md").read_text(encoding="utf-8")
    example = re.search(r"## Motions from other programs.*?```python\n(.*?)```", guide, re.DOTALL)[1]
    assert len(example.strip().split("\n")) <= 11
    subprocess.run([sys.executable, "-c", example], cwd=tmp_path, check=True, timeout=60)
    clip, warnings = clip_of(tmp_path / "motion.npz")
    assert (clip.frames, clip.fps, warnings) == (60, Fraction(30000, 1001), [])
    at = dict(zip(KEYPOINT_NAMES, np.moveaxis(clip.keypoints, 1, 0), strict=True))
    assert np.ptp(at["left_wrist"][:, 1]) == pytest.approx(0.4, abs=0.01)
    assert np.ptp(at["right_wrist"][:, 1]) == pytest.approx(0)
    assert at["left_hip"][0, 0] > at["right_hip"][0, 0]


def test_the_guide_names_every_kind_that_is_known():
    guide = (Path(__file__).parents[3] / "docs" / "USER_GUIDE.md").read_text(encoding="utf-8")
    table = guide.partition("## Motions from other programs")[2].partition("**Needed**")[0]
    for kind in ("`.npz`", "BVH", "TRC", "C3D", "OpenPose", "EasyMocap", "MediaPipe", "SMPL", "`.npy`"):
        assert kind in table
