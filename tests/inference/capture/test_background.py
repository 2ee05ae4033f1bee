# SPDX-License-Identifier: GPL-3.0-or-later
"""The plate and the moving camera, on pictures whose background is known."""

import cv2
import numpy as np
import pytest
from sparse2dense.inference.capture.background import (
    Sample,
    Samples,
    background_plate,
    camera_moved,
    clean_mask,
    whole_mask,
)

WIDTH, HEIGHT = 160, 96


@pytest.fixture
def background():
    coarse = np.random.default_rng(5).integers(30, 220, (12, 20, 3), np.uint8)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def with_person(background, frame, x, shift=0):
    """A red pillar with a hole in its mask's certainty, at ``x``."""
    picture = np.roll(background, shift, axis=1).copy()
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[20:80, x : x + 24] = 255
    picture[mask > 0] = (230, 20, 20)
    noise = np.random.default_rng(frame).normal(0, 2, picture.shape)
    return Sample(frame, np.clip(picture + noise, 0, 255).astype(np.uint8), mask)


def test_the_plate_is_the_background_that_other_frames_show(background):
    samples = [with_person(background, frame, 10 + 10 * frame) for frame in range(12)]
    plate = background_plate(samples[6], samples)
    error = np.abs(plate.astype(int) - background)
    assert error.mean() < 3
    assert error[samples[6].mask > 0].mean() < 3


def test_what_is_never_seen_is_painted_in_from_around(background):
    samples = [with_person(background, frame, 60) for frame in range(8)]
    plate = background_plate(samples[0], samples)
    inside = plate[samples[0].mask > 0].astype(int)
    assert (inside[:, 0] - inside[:, 1] > 150).mean() < 0.02  # no red is left
    beside = background[20:80, [55, 88]].reshape(-1, 3)
    assert np.abs(inside.mean(axis=0) - beside.mean(axis=0)).max() < 40


def test_a_shoe_that_the_mask_lacks_is_found_and_a_shadow_is_not(background):
    samples = [with_person(background, frame, 10 + 10 * frame) for frame in range(12)]
    person = samples[6]
    shoe, shadow = np.s_[80:86, 70:80], np.s_[80:86, 84:94]
    person.picture[shoe] = (20, 200, 240)
    person.picture[shadow] = person.picture[shadow] * 0.6
    assert np.abs(background_plate(person, samples).astype(int) - background)[shoe].max() > 40
    person.mask[:] = whole_mask(person, samples)
    assert (person.mask[81:85, 71:79] > 127).all()
    assert person.mask[81:85, 85:].max() == 0
    error = np.abs(background_plate(person, samples).astype(int) - background)
    assert error[shoe].mean() < 4
    untouched = whole_mask(samples[3], samples)
    np.testing.assert_array_equal(untouched, samples[3].mask)


def test_a_still_and_a_moving_camera_are_told_apart(background):
    still = [with_person(background, frame, 10 + 10 * frame) for frame in range(12)]
    moving = [with_person(background, frame, 10 + 10 * frame, shift=2 * frame) for frame in range(12)]
    assert not camera_moved(still)
    assert camera_moved(moving)
    assert not camera_moved(still[:1])


def test_samples_stay_few_and_even():
    samples = Samples(2000, 2000)
    for frame in range(1000):
        if samples.wants(frame):
            samples.add(Sample(frame, np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8)))
    frames = [sample.frame for sample in samples.kept]
    assert 6 <= len(frames) <= 12
    assert len(set(np.diff(frames))) == 1
    assert frames[-1] > 800


def test_a_mask_loses_its_specks_and_keeps_the_person():
    likely = np.zeros((HEIGHT, WIDTH), np.float32)
    likely[20:80, 60:84] = 0.95
    likely[5:8, 5:8] = 0.9
    mask = clean_mask(likely)
    assert mask.max() == 255
    assert mask[5:8, 5:8].max() == 0
    assert (mask[22:78, 62:82] == 255).all()
    assert clean_mask(np.zeros((HEIGHT, WIDTH), np.float32)).max() == 0
