# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip's background: the plate as each frame's camera sees it."""

from dataclasses import replace

import numpy as np
import pytest
from sparse2dense.inference.format.clip import seen_background
from sparse2dense.inference.format.homography_coding import canvas_corners


def test_a_still_background_is_the_plate_or_else_the_first_reference(filmed):
    assert filmed.background(7) is filmed.plate
    first, second = filmed.references[0], replace(filmed.references[1], picture=filmed.plate)
    clip = replace(filmed, plate=None, references=[first, second])
    assert clip.background(7) is first.picture
    assert filmed.frames == 320


def test_a_motion_alone_has_no_pictures_and_a_camera_that_stands_still(make_motion):
    clip = make_motion(7)
    assert (clip.frames, clip.references, clip.plate, clip.views) == (7, [], None, None)
    assert (clip.moving_camera, clip.plate_origin) == (False, (0, 0))


def test_the_background_of_a_frame_is_the_plate_through_its_camera(panned):
    """The plate is a ramp: where a pixel lies in it can be read off its value."""
    plate = np.linspace(0, 255, 260).astype(np.float32)[None, :, None] + np.zeros((240, 260, 3), np.float32)
    clip = replace(panned, plate=plate)
    for frame in (0, 100, 300):
        corners = panned.views[frame].astype(float)
        columns = clip.background(frame)[..., 0] * 259 / 255 - 12 + 0.5
        middle = columns[99:101, 67:69].mean()
        assert middle == pytest.approx(corners[:, 0].mean(), abs=0.2)
        top_left = columns[20, 20]
        along = corners[0] + (corners[1] - corners[0]) * 20.5 / 136 + (corners[3] - corners[0]) * 20.5 / 200
        assert top_left == pytest.approx(along[0], abs=0.2)


def test_a_view_that_is_the_canvas_shows_the_plate_as_it_is(panned):
    view = canvas_corners(panned.width, panned.height)
    for origin, cut in (((0, 0), np.s_[:200, :136]), ((-12, -20), np.s_[20:220, 12:148])):
        seen = seen_background(panned.plate, origin, view, 136, 200)
        np.testing.assert_array_equal(seen, panned.plate[cut])


def test_beyond_the_plate_its_edge_goes_on(panned):
    """A view that lies to the right of all of the plate shows its last column."""
    view = canvas_corners(panned.width, panned.height) + np.array([1000, 0])
    seen = seen_background(panned.plate, (0, 0), view, 136, 200)
    np.testing.assert_array_equal(seen, np.repeat(panned.plate[:200, -1:], 136, axis=1))


def test_a_panned_clip_without_a_plate_sees_its_first_reference(panned):
    clip = replace(panned, plate=None, plate_origin=(0, 0))
    expected = seen_background(clip.references[0].picture, (0, 0), clip.views[40], 136, 200)
    np.testing.assert_array_equal(clip.background(40), expected)
    assert np.abs(clip.background(40).astype(int) - clip.background(200)).mean() > 1
