# SPDX-License-Identifier: GPL-3.0-or-later
"""Files are known by what is in them, and by their ending where that says nothing."""

import json

import numpy as np
import pytest
from sparse2dense.models.errors import InputError
from sparse2dense.models.keypoints import KEYPOINT_NAMES

from .test_bvh_reader import Skeleton
from .test_json_reader import BODY_25, openpose, ordered
from .test_trc_reader import HALPE_26, pose2sim_markers, trc


def test_a_wrong_ending_does_not_matter(walk, clip_of, tmp_path):
    whole = tmp_path / "walk.npz"
    np.savez(whole, keypoints=walk, keypoint_names=np.array(KEYPOINT_NAMES), fps=30)
    frames = [openpose(frame) for frame in ordered(walk, BODY_25)]
    for content, options in (
        (whole.read_bytes(), {}),
        (trc(pose2sim_markers(walk), HALPE_26).encode(), {}),
        (Skeleton(walk).bvh().encode(), {}),
        (json.dumps(frames, indent=1).encode(), {"fps": 30}),
    ):
        for ending in (".txt", ".c3d.bak", ""):
            path = tmp_path / f"motion{ending}"
            path.write_bytes(content)
            assert clip_of(path, **options)[0].frames == 60


@pytest.mark.parametrize("ending", ["npz", "npy", "bvh", "trc", "c3d", "json", "fbx", "mp4"])
@pytest.mark.parametrize(
    "content",
    [
        b"", bytes(600), b"\x02P" + b"\xff" * 600, b"PK\x03\x04", b"\x93NUMPY", b"HIERARCHY",
        b"PathFileType\t4", b"{", bytes(range(256)) * 9,
    ],
    ids=["empty", "zeros", "c3d", "zip", "npy", "bvh", "trc", "json", "bytes"],
)  # fmt: skip
def test_what_is_no_motion_is_one_line(clip_of, tmp_path, ending, content):
    path = tmp_path / f"no motion.{ending}"
    path.write_bytes(content)
    with pytest.raises(InputError, match="no motion") as caught:
        clip_of(path, fps=30)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_kinds_that_are_not_read_are_told_what_is(clip_of, tmp_path):
    path = tmp_path / "walk.fbx"
    path.write_bytes(b"Kaydara FBX Binary  \0")
    with pytest.raises(InputError, match=r"BVH, TRC, C3D, or JSON .*from FBX, Blender exports BVH"):
        clip_of(path)
    with pytest.raises(InputError, match="cannot read"):
        clip_of(tmp_path / "none.bvh")
