# SPDX-License-Identifier: GPL-3.0-or-later
"""What is learnt of the pose estimator: where it puts its points, and how it errs."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("anny")

from sparse2dense.inference.capture.pose_lifter import OPPOSITE, Landmarks
from sparse2dense.models.errors import InputError
from sparse2dense.models.keypoints import BLAZEPOSE_INDEX, MIRRORED
from sparse2dense.models.training.estimator_faults import PARTS, EstimatorFaults, fit_map, followed

from .conftest import made_map


@pytest.fixture(scope="module")
def faults(made_clips):
    return EstimatorFaults([followed(clip) for clip in made_clips])


def mirrored(clip):
    """The clip of the mirrored film."""
    width = clip.size[0]
    seen = clip.landmarks
    landmarks = Landmarks(
        seen.image[:, OPPOSITE] * (-1, 1) + (width, 0),
        seen.world[:, OPPOSITE] * (-1, 1, 1),
        seen.visibility[:, OPPOSITE],
        seen.score,
    )
    return replace(clip, landmarks=landmarks, keypoints=clip.keypoints[:, MIRRORED] * (-1, 1, 1))


def test_the_map_is_where_the_estimator_puts_its_points(made_clips, faults):
    found = fit_map([followed(clip) for clip in made_clips])
    np.testing.assert_array_equal(found, faults.map)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    for clip in made_clips:
        apart = (faults.map - made_map()) @ clip.keypoints
        assert np.linalg.norm(apart - apart.mean(axis=1, keepdims=True), axis=-1).mean() < 0.02


def test_single_gross_errors_do_not_move_the_map(made_clips, faults):
    wrong = [followed(clip) for clip in made_clips]
    rays = wrong[0].rays.copy()
    rays[:, 15] += 0.5  # a wrist, a metre and a half off
    wrong[0] = replace(wrong[0], rays=rays)
    apart = (fit_map(wrong) - faults.map) @ made_clips[5].keypoints
    assert np.linalg.norm(apart[:, 15], axis=-1).max() < 0.02


def test_the_map_knows_where_the_estimator_puts_a_point_that_lies_elsewhere(made_clips):
    """In clips that it was not fitted to: nearer than the body's own point of that name."""
    clips = [followed(clip) for clip in made_clips]
    found, shoulders = fit_map(clips[:6]), [3, 4]
    errors = []
    for clip in clips[6:]:
        seen = clip.rays[:, list(BLAZEPOSE_INDEX)]
        for expected in (clip.true_rays, (found @ clip.true_rays)[:, list(BLAZEPOSE_INDEX)]):
            errors.append(np.linalg.norm(expected - seen, axis=-1)[:, shoulders].mean())
    names, mapped = np.reshape(errors, (-1, 2)).mean(axis=0)
    assert mapped < 0.8 * names


def test_a_mirrored_film_teaches_the_same_faults(made_clips):
    ours, theirs = (
        EstimatorFaults([followed(change(clip)) for clip in made_clips[:3]])
        for change in (lambda clip: clip, mirrored)
    )
    np.testing.assert_allclose(theirs.map, ours.map[OPPOSITE][:, MIRRORED], atol=1e-6)
    count = len(ours._tracks["upright"])
    assert count == 2
    for track, other in zip(ours._tracks["upright"], theirs._tracks["upright"][::-1], strict=True):
        for values, others in zip(track.values, other.values, strict=True):
            np.testing.assert_allclose(values, others, atol=1e-5)
        assert track.facing == pytest.approx(other.facing, abs=1e-6)
        assert track.size == pytest.approx(other.size)


def test_faults_are_those_of_people_posed_and_facing_alike(faults):
    """Every part of the body has what some clip of that kind showed there, forth or back in time."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        drawn = faults.draw("floor", 0.3, rng)
        for part in map(list, PARTS):
            assert any(
                all(
                    np.array_equal(x[:, part], y[::step, part])
                    for x, y in zip(drawn, track.values, strict=True)
                )
                for track in faults._tracks["floor"]
                for step in (1, -1)
            )


def test_who_faces_the_other_way_lends_no_faults(faults, monkeypatch):
    from sparse2dense.models.training import estimator_faults

    monkeypatch.setattr(estimator_faults, "_AT_LEAST", 1)
    tracks = faults._tracks["above"]
    nearest = min(tracks, key=lambda track: abs(track.facing - 2.0))
    image, _, _ = faults.draw("above", 2.0, np.random.default_rng(0))
    assert any(np.array_equal(image, nearest.values[0][::step]) for step in (1, -1))


def test_how_large_the_estimator_takes_people_is_known(faults):
    assert np.exp(faults.size) == pytest.approx(0.9, abs=0.02)


def test_children_and_people_seldom_seen_teach_nothing(made_clips):
    clip = made_clips[0]
    assert followed(clip) is not None
    assert followed(replace(clip, keypoints=0.7 * clip.keypoints)) is None
    lost = Landmarks(*(values.copy() for values in vars(clip.landmarks).values()))
    lost.score[:10] = 0
    assert followed(replace(clip, landmarks=lost)) is None


def test_clips_of_something_else_are_refused(made_clips):
    clip = made_clips[0]
    assert followed(replace(clip, keypoints=clip.keypoints + np.array([1.0, 0, 0]))) is None
    with pytest.raises(InputError, match="film more") as refused:
        EstimatorFaults([])
    assert refused.value.code == "clips"
