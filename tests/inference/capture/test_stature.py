# SPDX-License-Identifier: GPL-3.0-or-later
"""How tall and heavy filmed people are taken to be."""

import numpy as np
import pytest
from sparse2dense.inference.capture.stature import filmed_shape
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.keypoints import BONES, KEYPOINT_INDEX
from sparse2dense.models.measures import BodyMeasures
from sparse2dense.models.shaped_body import ShapedBody

BODY = load_body()
FIRST, SECOND = np.array(BONES).T


def lengths_of(shape):
    points = ShapedBody(BODY, shape).keypoints
    return np.linalg.norm(points[FIRST] - points[SECOND], axis=-1)


def measured(shape):
    return {name: measure.value for name, measure in BodyMeasures(BODY).of(shape).items()}


@pytest.mark.parametrize("size", [0.8, 0.9, 1.0, 1.15])
def test_a_filmed_person_is_as_tall_and_heavy_as_adults_are(size):
    """An estimator's metres are 10 % off and more, either way; a tall one stays a little taller."""
    person = measured(filmed_shape(BODY, size * lengths_of(np.zeros(BODY.shape_size))))
    assert 1.60 < person["stature"] < 1.78
    assert person["weight"] / person["stature"] ** 2 == pytest.approx(23, rel=0.01)


def test_who_is_measured_taller_is_taller():
    statures = [
        measured(filmed_shape(BODY, size * lengths_of(np.zeros(BODY.shape_size))))["stature"]
        for size in (0.85, 1.0, 1.1)
    ]
    assert statures == sorted(statures)
    assert statures[-1] > statures[0] + 0.03


def test_the_films_proportions_are_kept():
    legs = [
        b
        for b, bone in enumerate(BONES)
        if any("knee" in name for name, i in KEYPOINT_INDEX.items() if i in bone)
    ]
    lengths = 0.92 * lengths_of(np.zeros(BODY.shape_size))
    longer = lengths.copy()
    longer[legs] *= 1.06
    usual, leggy = (measured(filmed_shape(BODY, each)) for each in (lengths, longer))
    share = [person["leg_length"] / person["stature"] for person in (usual, leggy)]
    assert 1.015 < share[1] / share[0] < 1.06


def test_bones_that_were_never_seen_leave_an_adult():
    person = measured(filmed_shape(BODY, np.full(len(BONES), np.nan)))
    assert 1.65 < person["stature"] < 1.75


def test_a_body_that_no_adult_is_like_keeps_its_own_shape():
    odd = lengths_of(np.zeros(BODY.shape_size)) * np.where(np.arange(len(BONES)) % 2, 0.25, 2.5)
    shape = filmed_shape(BODY, odd)
    assert np.isfinite(shape).all()
