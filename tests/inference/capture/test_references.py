# SPDX-License-Identifier: GPL-3.0-or-later
"""References are the pictures that together show most of what the clip shows."""

import numpy as np
import pytest
from sparse2dense.inference.capture.references import choose_references, shown_surfaces
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.camera import Camera
from sparse2dense.models.mesh_motion import see_body

BODY = load_body()
CAMERA = Camera(300, 300, 128, 128)


def turned(degrees, shift=0.0):
    vertices = BODY.rest(np.zeros(BODY.shape_size))[0]
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    around = (vertices - vertices.mean(0)) @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    return (around + np.array([shift, 0, 2.6])).astype(np.float32)


def shown_in(poses):
    poses = list(poses)
    return shown_surfaces(BODY, poses, [np.zeros((256, 256), np.uint8)] * len(poses), CAMERA)[0]


def test_a_picture_shows_about_as_many_pixels_as_its_person_covers():
    (front,) = shown_in([turned(0)])
    pixels = CAMERA.project(turned(0))
    width, height = np.ptp(pixels, axis=0)
    assert 0.15 * width * height < front.sum() < 0.7 * width * height
    assert shown_in([turned(0, 9.0)]).sum() == 0


def test_a_mask_that_lacks_a_part_or_holds_too_much_agrees_less():
    pose = turned(0)
    covered = see_body(BODY, pose, CAMERA.project, 256, 256).coverage
    whole = np.uint8(covered > 0.5) * 255
    headless, crowded = whole.copy(), whole.copy()
    headless[:100] = 0
    crowded[:, 180:] = 255
    _, (right, less, more) = shown_surfaces(BODY, [pose] * 3, [whole, headless, crowded], CAMERA)
    assert right > 0.98
    assert max(less, more) < 0.85


def test_a_turning_person_gets_references_from_opposite_sides():
    degrees = np.arange(0, 360, 30)
    chosen = choose_references(shown_in(map(turned, degrees)), np.ones(len(degrees)), 10, 2)
    apart = abs(degrees[chosen[0]] - degrees[chosen[1]])
    assert 120 <= apart <= 240


def test_what_is_seldom_seen_is_not_worth_a_reference_but_what_is_often_seen_is():
    facing, behind = turned(0), turned(180)
    seldom = shown_in([facing] * 30 + [behind])
    often = shown_in([facing] * 15 + [behind] * 15)
    assert len(choose_references(seldom, np.ones(31), 10)) == 1
    chosen = choose_references(often, np.ones(30), 10)
    assert len(chosen) == 2 and (chosen[0] < 15) != (chosen[1] < 15)


def test_a_long_clip_affords_what_a_short_one_does_not():
    shown = shown_in([turned(0)] * 20 + [turned(180)])
    few, many = (choose_references(shown, np.ones(21), seconds) for seconds in (5, 600))
    assert len(few) < len(many)


def test_of_pictures_that_show_the_same_the_better_one_is_chosen():
    shown = shown_in([turned(0)] * 4)
    assert choose_references(shown, np.array([0.5, 0.6, 0.9, 0.7]), 10, 1) == [2]


@pytest.mark.parametrize("count", [1, 3, 4])
def test_as_many_as_asked_for_and_no_more_than_there_are(count):
    shown = shown_in([turned(0), turned(40), turned(80)])
    chosen = choose_references(shown, np.ones(3), 10, count)
    assert len(set(chosen)) == len(chosen) == min(count, 3)
