# SPDX-License-Identifier: GPL-3.0-or-later
"""BVH and GLB, read by Blender's own importers: bones and skin as decoded, to 1 mm and 0.1°."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from sparse2dense.inference.exports.uv_corners import split_at_seams
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.release.bpy_env import NoPythonError, ensure_bpy, newest

from .standing_truth import degrees_between

pytestmark = [pytest.mark.blender, pytest.mark.slow]

READER = Path(__file__).with_name("blender_reader.py")
LOOKED_AT = [0, 7, 20, 39]


@pytest.fixture(scope="module")
def seen(exported, cut_off, tmp_path_factory):
    try:
        python = ensure_bpy(newest())
    except NoPythonError as missing:
        pytest.skip(str(missing))
    out = tmp_path_factory.mktemp("seen") / "seen.npz"
    command = [*cut_off, python, "-I", READER, exported["bvh"], exported["glb"], out, *LOOKED_AT]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False)
    assert out.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    with np.load(out, allow_pickle=False) as stored:
        return dict(stored)


@pytest.mark.parametrize("ending", ["bvh", "glb"])
def test_bones_stand_where_the_skeleton_says(seen, truth, ending):
    order = [truth.names.index(name) for name in seen[f"{ending}_names"]]
    assert sorted(order) == list(range(len(truth.names)))
    np.testing.assert_allclose(seen[f"{ending}_heads"], truth.heads[:, order], atol=1e-3)


@pytest.mark.parametrize("ending", ["bvh", "glb"])
def test_bones_turn_as_the_skeleton_says(seen, truth, ending):
    order = [truth.names.index(name) for name in seen[f"{ending}_names"]]
    assert degrees_between(seen[f"{ending}_rotations"], truth.rotations[:, order]).max() < 0.1


def test_the_skin_lies_where_the_skeleton_has_it_and_the_network_saw_it(seen, truth):
    chosen = split_at_seams(load_body())[0]
    assert seen["glb_uv"] == 1
    np.testing.assert_allclose(seen["glb_skinned"], truth.skinned[LOOKED_AT][:, chosen], atol=1e-3)
    off = np.linalg.norm(seen["glb_skinned"] - truth.predicted[LOOKED_AT][:, chosen], axis=-1)
    assert off.mean() < 0.003


def test_time_begins_at_zero_and_keeps_the_rate(seen):
    np.testing.assert_allclose(seen["glb_seconds"], np.arange(40) * 1001 / 30000, atol=2e-6)
    assert len(seen["bvh_heads"]) == 40
    assert seen["bvh_fps"] == pytest.approx(30000 / 1001, rel=1e-5)
