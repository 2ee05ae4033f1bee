# SPDX-License-Identifier: GPL-3.0-or-later
"""A body is measured in people's words, and the nearest body with other measures has just those."""

from dataclasses import replace

import numpy as np
import pytest
from sparse2dense.models.keypoints import KEYPOINT_INDEX
from sparse2dense.models.measures import MEASURES, BodyMeasures


@pytest.fixture(scope="module")
def measures(body):
    return BodyMeasures(body)


def values(measures, shape):
    return {name: found.value for name, found in measures.of(shape).items()}


def test_measures_are_those_of_the_mesh(body, measures):
    shape = np.linspace(-1, 1, body.shape_size)
    vertices, _ = body.rest(shape)
    found = values(measures, shape)
    assert found["stature"] == pytest.approx(np.ptp(vertices[:, 1]), abs=1e-4)
    left, right = body.keypoints(vertices)[[KEYPOINT_INDEX["left_hip"], KEYPOINT_INDEX["right_hip"]]]
    assert found["hip_width"] == pytest.approx(np.linalg.norm(left - right), abs=1e-4)
    # People's mass index lies between 13 and 40.
    assert 13 < found["weight"] / found["stature"] ** 2 < 40


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("change", [0.95, 1.06])
def test_one_measure_changes_and_the_others_keep_their_proportion(body, measures, name, change):
    shape = np.array([0.4, -0.6, 0.3, *[0.1] * (body.shape_size - 3)])
    before = values(measures, shape)
    asked = before[name] * change
    after = values(measures, measures.shape_of(shape, {name: asked}))
    assert after[name] == pytest.approx(asked, rel=0.003)
    grown = after["stature"] / before["stature"]
    assert name == "stature" or grown == pytest.approx(1, abs=0.003)
    for other in set(before) - {name, "stature"}:
        kept = before[other] * grown ** MEASURES[other].power
        assert after[other] == pytest.approx(kept, rel=0.05), other


def test_the_body_that_is_there_is_the_nearest_to_itself(body, measures):
    shape = np.random.default_rng(2).multivariate_normal(*body.adults)
    np.testing.assert_allclose(measures.shape_of(shape, values(measures, shape)), shape, atol=1e-3)
    np.testing.assert_allclose(measures.shape_of(shape, {}), shape, atol=1e-3)


def test_several_measures_at_once(body, measures):
    asked = {"stature": 1.9, "weight": 95.0, "shoulder_width": 0.42}
    after = values(measures, measures.shape_of(np.zeros(body.shape_size), asked))
    assert {name: after[name] for name in asked} == pytest.approx(asked, rel=0.003)


def test_a_poorer_body_has_what_it_can(body):
    """With one coefficient, which is mostly growth, a body grows but gets no longer arms alone."""
    poor = BodyMeasures(
        replace(
            body,
            vertices_basis=body.vertices_basis[:1],
            joints_basis=body.joints_basis[:1],
            traits={},
            adults=None,
        )
    )
    taller = poor.shape_of(np.zeros(1), {"stature": 1.8})
    assert values(poor, taller)["stature"] == pytest.approx(1.8, rel=0.003)
    with pytest.raises(ValueError, match=r"arm length 0\.55 m"):
        poor.shape_of(np.zeros(1), {"arm_length": 0.55})
    with pytest.raises(ValueError, match="nose"):
        poor.shape_of(np.zeros(1), {"nose": 1})


@pytest.mark.parametrize(("trait", "low", "high"), [("sex", 0, 1), ("muscle", 0.2, 0.8), ("age", 25, 60)])
def test_a_trait_changes_as_people_have_it(body, measures, trait, low, high):
    """A man's shoulders are wider beside his hips than a woman's, who is as tall and as heavy."""
    adult = measures.shape_of(body.adults[0], {"stature": 1.7, "weight": 66.0})
    one, other = (values(measures, measures.shape_of(adult, {trait: value})) for value in (low, high))
    assert (one[trait], other[trait]) == pytest.approx((low, high), abs=0.003 * (high - low))
    for kept in {"stature", "weight", "sex", "age", "muscle"} - {trait}:
        assert one[kept] == pytest.approx(other[kept], rel=0.03, abs=0.02), kept
    if trait == "sex":
        across = [found["shoulder_width"] / found["hip_width"] for found in (one, other)]
        assert across[1] > 1.1 * across[0]


def test_a_trait_that_is_beyond_what_is_offered_can_be_brought_back(body, measures):
    adult = body.adults[0]
    far = adult + 1.5 * (measures.shape_of(adult, {"sex": 1.0}) - adult)
    assert values(measures, far)["sex"] == 1.0
    assert values(measures, measures.shape_of(far, {"sex": 0.5}))["sex"] == pytest.approx(0.5, abs=0.003)
