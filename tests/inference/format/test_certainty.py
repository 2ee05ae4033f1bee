# SPDX-License-Identifier: GPL-3.0-or-later
"""Certainty: few bits whatever it is, its levels, its runs, and the words for what is a guess."""

from fractions import Fraction

import numpy as np
import pytest
from sparse2dense.inference.format.certainty import (
    Doubt,
    certainty_runs,
    decode_certainty,
    doubts,
    encode_certainty,
)
from sparse2dense.inference.format.fields import deflate
from sparse2dense.models.errors import InputError
from sparse2dense.models.keypoints import BODY_REGIONS, KEYPOINT_NAMES, MIRRORED_REGIONS, REGION_KEYPOINTS

LEFT_ARM, RIGHT_LEG = BODY_REGIONS.index("left_arm"), BODY_REGIONS.index("right_leg")


def seen(frames):
    return np.ones((frames, 6), np.float32)


def coded(certainty, fps):
    return decode_certainty(encode_certainty(certainty, fps), len(certainty), fps)


# ---- regions ---------------------------------------------------------------------------------


def test_every_keypoint_is_in_one_region_of_its_own_side():
    assert sorted(point for points in REGION_KEYPOINTS.values() for point in points) == list(range(23))
    for region, points in REGION_KEYPOINTS.items():
        names = [KEYPOINT_NAMES[point] for point in points]
        if "_" in region:
            assert {name.split("_")[0] for name in names} == {region.split("_")[0]}
    assert [KEYPOINT_NAMES[point] for point in REGION_KEYPOINTS["right_arm"]] == [
        "right_elbow", "right_wrist", "right_pinky", "right_index"
    ]  # fmt: skip
    swap = {"left": "right", "right": "left"}
    for region, mirrored in zip(BODY_REGIONS, MIRRORED_REGIONS, strict=True):
        side, _, limb = region.partition("_")
        assert BODY_REGIONS[mirrored] == (f"{swap[side]}_{limb}" if limb else region)


# ---- bytes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fps", [Fraction(30), Fraction(30000, 1001), Fraction(25), Fraction(1), Fraction(999)]
)
def test_what_is_on_the_levels_comes_back(fps):
    """Levels hold for a fifth of a second, rounded up to whole frames; the last for what is left."""
    held = -(-fps.numerator // (5 * fps.denominator))
    frames = 20 * held + held // 2 + 1
    rng = np.random.default_rng(7)
    levels = rng.integers(4, size=(-(-frames // held), 6)).repeat(held, axis=0)[:frames]
    certainty = (levels / 3).astype(np.float32)
    found = coded(certainty, fps)
    np.testing.assert_array_equal(found, certainty)
    assert found.dtype == np.float32


def test_what_is_between_is_rounded_to_the_nearest_of_the_mean():
    certainty = seen(12)
    certainty[:, LEFT_ARM] = [1, 1, 1, 1, 1, 0.1, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3]
    certainty[:6, RIGHT_LEG] = 0.1
    found = coded(certainty, Fraction(30))
    np.testing.assert_allclose(found[:, LEFT_ARM], [1] * 6 + [1 / 3] * 6, atol=1e-6)
    np.testing.assert_allclose(found[:, RIGHT_LEG], [0] * 6 + [1] * 6, atol=1e-6)
    for region in set(range(6)) - {LEFT_ARM, RIGHT_LEG}:
        assert (found[:, region] == 1).all()
    np.testing.assert_array_equal(coded(found, Fraction(30)), found)


def test_who_is_seen_throughout_takes_a_handful_of_bytes():
    assert len(encode_certainty(seen(1), Fraction(30))) < 6
    assert len(encode_certainty(seen(300), Fraction(30))) < 8
    assert len(encode_certainty(seen(18_000), Fraction(30))) < 24


@pytest.mark.parametrize("fps", [Fraction(24), Fraction(25), Fraction(30), Fraction(60)])
def test_no_motion_takes_more_than_60_bits_a_second(fps):
    """Levels without any order; a few bytes are for the end of the stream."""
    rng = np.random.default_rng(3)
    for seconds in (1, 10, 600):
        certainty = rng.integers(4, size=(int(seconds * fps), 6)) / 3
        held = -(-fps.numerator // (5 * fps.denominator))
        certainty = certainty[::held].repeat(held, axis=0)[: len(certainty)]
        size = len(encode_certainty(certainty, fps))
        assert size * 8 <= 60.2 * seconds + 8 * 10
        assert size * 8 > 40 * seconds  # nothing is left out


def test_arms_that_come_and_go_take_a_few_bits_a_second():
    """A minute in which each arm and leg is hidden a dozen times, for half a second to two."""
    rng = np.random.default_rng(5)
    certainty = seen(1800)
    for region in range(2, 6):
        for start in rng.integers(1750, size=12):
            certainty[start : start + rng.integers(15, 60), region] = 0
    assert len(encode_certainty(certainty, Fraction(30))) * 8 / 60 < 30


@pytest.mark.parametrize(
    "certainty",
    [np.ones((9, 5)), np.ones(9), np.full((9, 6), 1.01), np.full((9, 6), -0.01), np.full((9, 6), np.nan)],
)
def test_what_is_no_certainty_is_refused(certainty):
    with pytest.raises(InputError, match="from 0 to 1") as caught:
        encode_certainty(certainty, Fraction(30))
    assert caught.value.code == "bad_certainty"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no stream",
        deflate(bytes(14)),  # of 15 that ten levels of six regions take
        deflate(bytes(16)),
        deflate(bytes(1 << 24)),
        deflate(bytes(15)) + b"\0",
        deflate(bytes(range(15)))[:-1],
    ],
)
def test_bytes_that_are_not_such_a_part(data):
    decode_certainty(deflate(bytes(15)), 60, Fraction(30))
    with pytest.raises(InputError, match="certainty cannot be decoded") as caught:
        decode_certainty(data, 60, Fraction(30))
    assert caught.value.code == "damaged"


# ---- runs and words --------------------------------------------------------------------------


def test_runs_say_from_when_on_it_is_another():
    certainty = seen(30)
    certainty[12:18, LEFT_ARM] = 0
    certainty[18:, LEFT_ARM] = np.float32(1 / 3)
    certainty[:, RIGHT_LEG] = 0
    runs = certainty_runs(certainty)
    assert list(runs) == list(BODY_REGIONS)
    assert runs["left_arm"] == [(0, 1.0), (12, 0.0), (18, 0.33)]
    assert (runs["right_leg"], runs["head"]) == ([(0, 0.0)], [(0, 1.0)])


def hidden(*spans, frames=300, region=LEFT_ARM, value=0.0):
    certainty = seen(frames)
    for start, stop in spans:
        certainty[start:stop, region] = value
    return certainty


def test_a_doubt_is_told_in_words():
    (doubt,) = doubts(hidden((63, 78)), Fraction(30))
    assert doubt == Doubt("left_arm", 2.1, 2.6)
    assert (doubt.span, doubt.part) == ("0:02.1-0:02.6", "left arm")
    assert doubt.describe() == "0:02.1-0:02.6: the left arm is not seen well; its motion is a guess"
    assert Doubt("head", 59.96, 725.04).span == "1:00.0-12:05.0"


@pytest.mark.parametrize(
    ("spans", "found"),
    [
        ([], []),
        ([(10, 15)], []),  # a sixth of a second
        ([(10, 16)], [(10, 16)]),
        ([(10, 20), (25, 30)], [(10, 30)]),
        ([(10, 20), (26, 32)], [(10, 20), (26, 32)]),
        ([(10, 13), (16, 19)], [(10, 19)]),  # a flicker
        ([(10, 20), (24, 26), (30, 40)], [(10, 40)]),
        ([(0, 300)], [(0, 300)]),
        ([(290, 300)], [(290, 300)]),
    ],
)
def test_a_doubt_lasts_a_fifth_of_a_second_and_so_does_what_parts_two(spans, found):
    told = doubts(hidden(*spans), Fraction(30))
    assert [(round(doubt.start * 30), round(doubt.stop * 30)) for doubt in told] == found
    if told:
        other_rate = doubts(hidden(*spans), Fraction(30000, 1001))
        assert other_rate[0].start == pytest.approx(found[0][0] * 1001 / 30000)


def test_what_is_rather_seen_is_no_doubt():
    assert doubts(hidden((30, 60), value=0.5), Fraction(30)) == []
    assert len(doubts(hidden((30, 60), value=0.49), Fraction(30))) == 1


def test_doubts_come_in_order_of_time():
    certainty = np.minimum(hidden((100, 130), (10, 40)), hidden((50, 90), region=RIGHT_LEG))
    assert [doubt.region for doubt in doubts(certainty, Fraction(30))] == [
        "left_arm",
        "right_leg",
        "left_arm",
    ]
