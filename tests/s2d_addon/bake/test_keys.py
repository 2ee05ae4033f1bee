# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frames get keys, and what the curves between them make of a motion."""

import time

import numpy as np
import pytest
from scipy.interpolate import CubicHermiteSpline
from sparse2dense.s2d_addon.bake import keys


def wandering(frames, channels=3, seed=0):
    return np.cumsum(np.random.default_rng(seed).normal(size=(frames, channels)), axis=0)


def column(*values):
    return np.array(values, float)[:, None]


# ---- few keys --------------------------------------------------------------------------------


def test_corners_of_a_motion_get_keys_and_nothing_else_does():
    corners, heights = [0, 7, 12, 30], [0.0, 3.0, -1.0, 0.5]
    values = np.interp(np.arange(31), corners, heights)[:, None]
    assert keys.straight_keys(values, 1e-9).tolist() == corners


@pytest.mark.parametrize(("tolerance", "kept"), [(1.0, [0, 4]), (0.99, [0, 2, 4])])
def test_a_frame_may_stray_by_just_the_tolerance(tolerance, kept):
    assert keys.straight_keys(column(0, 0, 1, 0, 0), tolerance).tolist() == kept


@pytest.mark.parametrize("choose", [keys.straight_keys, keys.smooth_keys])
def test_tolerance_is_kept_and_saves_keys(choose):
    values = wandering(300)
    between = keys.straight_between if choose is keys.straight_keys else keys.smooth_between
    counts = []
    for tolerance in (0.5, 2.0):
        kept = choose(values, tolerance)
        assert (kept[0], kept[-1]) == (0, 299)
        assert (np.diff(kept) > 0).all()
        assert np.linalg.norm(between(values, kept) - values, axis=1).max() <= tolerance
        counts.append(len(kept))
    assert counts[1] < counts[0] < 300


@pytest.mark.parametrize("choose", [keys.straight_keys, keys.smooth_keys])
@pytest.mark.parametrize("tolerance", [0.0, 5e-324, 1e-300, 1e-17, 1e-9, 1.0])
def test_choosing_ends_for_every_tolerance_and_motion(choose, tolerance):
    motions = (
        wandering(60),
        wandering(1),
        wandering(2),
        np.full((50, 2), 0.1),
        column(*[0.1, 0.3] * 20),
        1e100 * np.tanh(wandering(40)),
        1e-100 * wandering(40),
    )
    for values in motions:
        kept = choose(values, tolerance)
        assert (kept[0], kept[-1]) == (0, len(values) - 1)
        if tolerance == 0:
            assert kept.tolist() == list(range(len(values)))
    still = choose(np.full((50, 2), 0.1), tolerance)
    assert len(still) == (50 if tolerance == 0 else 2)


def test_frames_that_stray_nobody_knows_how_far_are_kept():
    strayed = np.full(9, 0.1)
    strayed[[3, 6]] = np.nan
    assert keys.keys_within(lambda _: strayed, 9, 1.0).tolist() == [0, 3, 6, 8]


def test_an_hour_at_thirty_frames_a_second_takes_seconds():
    values = wandering(100_000, 3)
    started = time.perf_counter()
    for tolerance in (0.1, 10.0):
        keys.straight_keys(values, tolerance)
    assert time.perf_counter() - started < 30


def test_each_stretch_gets_a_key_where_it_strays_furthest():
    strayed = np.array([9.0, 1, 3, 2, 9, 4, 5, 9, 6, 9])
    kept = np.array([0, 4, 7, 9])
    assert keys.furthest_added(kept, np.array([1, 2, 3, 5, 6]), strayed).tolist() == [0, 2, 4, 6, 7, 9]
    assert keys.furthest_added(kept, np.array([3, 5, 8]), strayed).tolist() == [0, 3, 4, 5, 7, 8, 9]
    assert keys.furthest_added(kept, np.array([0, 4, 7]), strayed).tolist() == kept.tolist()
    assert keys.furthest_added(kept, np.array([], int), strayed).tolist() == kept.tolist()


# ---- straight lines --------------------------------------------------------------------------


def test_straight_lines_join_the_keys():
    values = np.array([[0.0, 5], [9, 9], [4, 1], [9, 9], [9, 9], [7, 1]])
    shown = keys.straight_between(values, np.array([0, 2, 5]))
    np.testing.assert_allclose(shown, [[0, 5], [2, 3], [4, 1], [5, 1], [6, 1], [7, 1]])


def vertices(frames, count=20, seed=0):
    return wandering(frames, 3 * count, seed).reshape(frames, count, 3).astype(np.float32)


def test_vertices_stay_within_the_tolerance_of_few_keys():
    points, done = 0.01 * vertices(200), []
    counts = []
    for tolerance in (0.1, 0.4):
        kept = keys.vertex_keys(points, tolerance, done.append)
        assert (kept[0], kept[-1]) == (0, 199)
        _, worst = keys.vertex_errors(points, kept)
        assert tolerance / 4 < worst <= tolerance * (1 + 1e-5)
        counts.append(len(kept))
    assert counts[1] < counts[0] < 200
    assert len(done) == 2 * 199
    assert (np.diff(done[:199]) > 0).all()
    assert 0 < done[0] < 0.01 and 0.99 < done[-1] <= 1


def test_vertices_that_go_straight_need_no_keys_between_their_turns():
    corners = [0, 8, 20]
    ways = np.random.default_rng(0).normal(size=(3, 5, 3))
    frames = np.arange(21)
    points = np.stack([np.interp(frames, corners, way) for way in ways.reshape(3, -1).T], axis=1)
    assert keys.vertex_keys(points.reshape(21, 5, 3), 1e-6, lambda _: None).tolist() == corners


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_no_tolerance_keeps_every_frame_of_vertices(frames):
    assert keys.vertex_keys(vertices(frames), 0, lambda _: None).tolist() == list(range(frames))
    assert keys.vertex_keys(vertices(frames), 1e-12, lambda _: None).tolist() == list(range(frames))
    assert keys.vertex_keys(np.zeros((frames, 4, 3)), 0, lambda _: None).tolist() == list(range(frames))
    ends = np.unique([0, frames - 1]).tolist()
    assert keys.vertex_keys(vertices(frames), 1e6, lambda _: None).tolist() == ends


def test_a_vertex_may_stray_in_all_directions_at_once():
    points = np.zeros((5, 1, 3))
    points[2] = 1.0  # the square root of 3 away from the line
    assert keys.vertex_keys(points, 1.01 * np.sqrt(3), lambda _: None).tolist() == [0, 4]
    assert len(keys.vertex_keys(points, 0.9 * np.sqrt(3), lambda _: None)) > 2


def test_late_vertices_may_stray_as_far_as_early_ones():
    frames = np.arange(60)
    wiggle = np.where(frames % 2, 0.4, -0.4)
    points = np.zeros((60, 1, 3))
    points[:, 0, 0] = np.interp(frames, [0, 20, 40, 59], [0, 30, -30, 30]) + wiggle
    assert len(keys.vertex_keys(points, 1.5, lambda _: None)) <= 7


def test_errors_of_vertices_are_means_over_all_frames_and_the_largest():
    points = np.zeros((5, 2, 3))
    points[1, 0] = (0, 3, 4)
    points[2, 1] = (0, 0, 1)
    points[4] = (8, 0, 0)
    mean, worst = keys.vertex_errors(points, np.array([0, 4]))
    away = np.linalg.norm(points - np.linspace(0, 8, 5)[:, None, None] * [1, 0, 0], axis=-1)
    assert mean == pytest.approx(away.mean())
    assert worst == pytest.approx(away.max())
    assert keys.vertex_errors(points, np.arange(5)) == (0, 0)


# ---- smooth curves ---------------------------------------------------------------------------


def test_smooth_curves_have_the_motions_own_slopes_at_keys():
    values, kept = wandering(40), np.array([0, 3, 4, 17, 30, 39])
    spline = CubicHermiteSpline(kept, values[kept], np.gradient(values, axis=0)[kept])
    np.testing.assert_allclose(keys.smooth_between(values, kept), spline(np.arange(40)), atol=1e-12)


def test_smooth_curves_of_one_or_two_frames_go_through_them():
    for frames in (1, 2):
        values = wandering(frames)
        np.testing.assert_allclose(keys.smooth_between(values, np.arange(frames)), values)


def test_handles_draw_the_smooth_curve():
    values, kept = wandering(40, 1)[:, 0], np.array([0, 3, 4, 17, 30, 39])
    times = 5 + 0.8 * np.arange(40)
    left, right = keys.smooth_handles(times, values, kept)
    np.testing.assert_array_equal(left[0], [times[0], values[0]])
    np.testing.assert_array_equal(right[-1], [times[-1], values[-1]])
    drawn = np.empty(40)
    for i in range(5):
        start, stop = kept[i], kept[i + 1]
        u = np.linspace(0, 1, stop - start + 1)[:, None]
        ends = [np.array([times[frame], values[frame]]) for frame in (start, stop)]
        points = ends[0], right[i], left[i + 1], ends[1]
        shares = (1 - u) ** 3, 3 * u * (1 - u) ** 2, 3 * u**2 * (1 - u), u**3
        curve = sum(share * point for share, point in zip(shares, points, strict=True))
        np.testing.assert_allclose(curve[:, 0], times[start : stop + 1])
        drawn[start : stop + 1] = curve[:, 1]
    np.testing.assert_allclose(drawn, keys.smooth_between(values[:, None], kept)[:, 0])


def test_handles_of_a_single_key_lie_on_it():
    left, right = keys.smooth_handles(np.array([7.0]), np.array([2.0]), np.array([0]))
    np.testing.assert_array_equal(left, [[7, 2]])
    np.testing.assert_array_equal(right, [[7, 2]])
