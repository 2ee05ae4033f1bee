# SPDX-License-Identifier: GPL-3.0-or-later
"""How far clothes stand out is measured on the dressed people, so that the mesh's motion is theirs."""

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("anny")

from sparse2dense.inference.cli import main
from sparse2dense.models.body import CLOTHING_NAME
from sparse2dense.models.training.avatars import Wardrobe
from sparse2dense.models.training.clothing import stands_out

DATA = os.environ.get("S2D_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="S2D_DATA names no folder with the avatars")


@needs_data
def test_what_is_worn_stands_out_and_bare_hands_do_not(body):
    wardrobe = Wardrobe(body, Path(DATA), "held_out")
    rest, _ = body.rest(np.zeros(body.shape_size))
    height = stands_out(body, wardrobe.dress(rest, 2, np.random.default_rng(0)))
    assert height.shape == (len(rest),) and height.min() >= 0
    hands = body.weights[:, [body.bone_names.index(f"wrist.{side}") for side in "LR"]].max(axis=1) > 0.99
    head = body.weights[:, body.bone_names.index("head")] > 0.99
    soles = rest[:, 1] > rest[:, 1].max() - 0.01
    assert hands.sum() > 100 and np.median(height[hands]) == 0
    assert np.percentile(height[head], 95) > 0.01 and np.median(height[soles]) > 0.005
    dressed = rest + height[:, None] * body.normals(rest)
    assert np.ptp(dressed[:, 1]) > np.ptp(rest[:, 1]) + 0.01  # in shoes, and with hair


@needs_data
def test_the_command_averages_them_into_the_file_that_decoding_reads(body, tmp_path, capsys):
    assert main(["train", "clothing", "--data", DATA, "--people", "3", "--out", str(tmp_path)]) == 0
    assert "mm on average" in capsys.readouterr().out
    with np.load(tmp_path / CLOTHING_NAME) as pack:
        found = pack["anny"].astype(np.float32)
    assert found.shape == body.clothing.shape
    assert np.corrcoef(found, body.clothing)[0, 1] > 0.6
