# SPDX-License-Identifier: GPL-3.0-or-later
"""The mannequin's underwear lies where underwear lies, on bodies of any build."""

import numpy as np
import pytest
from sparse2dense.inference.decoding.mannequin import paint_mannequin
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.keypoints import KEYPOINT_INDEX
from sparse2dense.models.measures import BodyMeasures
from sparse2dense.models.shaped_body import ShapedBody

SIDE = 256


@pytest.mark.parametrize("measures", [{"sex": 0.0}, {"sex": 1.0, "weight": 110.0}, {"stature": 1.5}])
def test_underwear_covers_trunk_and_nothing_else(measures):
    body = load_body()
    shape = BodyMeasures(body).shape_of(body.grown_up[0], measures)
    shaped = ShapedBody(body, shape)
    texture = paint_mannequin(shaped, SIDE)
    corners = np.clip((body.uv * [SIDE, -SIDE] + [0, SIDE]).astype(int), 0, SIDE - 1)
    worn = np.zeros(len(shaped.vertices), bool)
    worn[body.faces.ravel()] = texture[corners[:, 1], corners[:, 0]][body.faces_uv.ravel()].mean(axis=1) < 140

    def around(name, metres):
        apart = shaped.vertices - shaped.keypoints[KEYPOINT_INDEX[name]]
        return worn[np.linalg.norm(apart, axis=1) < metres]

    for side in ("left", "right"):
        assert around(f"{side}_hip", 0.11).mean() > 0.8
        for bare in ("ear", "elbow", "wrist", "index", "knee", "ankle", "foot_index"):
            assert not around(f"{side}_{bare}", 0.1).any(), bare
    depth, height = shaped.vertices[:, 2], shaped.vertices[:, 1]
    hips, shoulders = (shaped.keypoints[KEYPOINT_INDEX[f"left_{joint}"], 1] for joint in ("hip", "shoulder"))
    level = (height - shoulders) / (hips - shoulders)
    middle = np.abs(shaped.vertices[:, 0]) < 0.06
    chest = middle & (level > 0.2) & (level < 0.42)
    assert worn[chest].mean() > 0.95
    assert not worn[middle & (level > 0.58) & (level < 0.78)].any(), "the waist is bare"
    assert worn[chest & (depth < 0)].any() and worn[chest & (depth > 0)].any()


def test_one_body_is_always_painted_alike():
    shaped = ShapedBody(load_body(), load_body().grown_up[0])
    np.testing.assert_array_equal(paint_mannequin(shaped, 64), paint_mannequin(shaped, 64))
