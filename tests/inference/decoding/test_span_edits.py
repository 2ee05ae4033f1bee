# SPDX-License-Identifier: GPL-3.0-or-later
"""What is mended in a part of a clip, on a filmed clip and on held-out motion; and contacts as given."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sparse2dense.inference.decode import decode
from sparse2dense.inference.decoding.decoded_folder import read_description
from sparse2dense.inference.decoding.edits import Contact, Edits, edit_motion, read_edits
from sparse2dense.inference.decoding.floor import estimate_floor
from sparse2dense.inference.decoding.session import Session
from sparse2dense.inference.decoding.span_edits import Span
from sparse2dense.inference.format.container import S2DFile, write_clip
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.errors import InputError
from sparse2dense.models.keypoints import (
    ANKLES,
    BODY_REGIONS,
    BONES,
    FEET,
    HIPS,
    KEYPOINT_INDEX,
    MIRRORED,
    REGION_KEYPOINTS,
    TRUNK,
)
from sparse2dense.models.rotations import from_vectors
from sparse2dense.models.shaped_body import ShapedBody

FILMED = Path(__file__).parents[2] / "data" / "balance_short.s2d"
AWAY = np.array([0.2, 0.1, 3.0], np.float32)
KNEES = [KEYPOINT_INDEX[f"{side}_knee"] for side in ("left", "right")]


class Motion:
    """A motion, its body and its floor, and what edits make of it."""

    def __init__(self, keypoints, fps, shape, camera=None):
        self.keypoints, self.fps, self.camera = keypoints.astype(np.float32), fps, camera
        self.body = ShapedBody(load_body(), shape)
        self.floor = estimate_floor(self.keypoints, fps, self.body)

    def edited(self, *spans, **edits):
        wanted = Edits(spans=spans, **edits)
        return edit_motion(self.keypoints, self.fps, self.body, self.body, self.floor, wanted)


@pytest.fixture(scope="module")
def filmed():
    file = S2DFile.open(FILMED)
    header = file.header
    return Motion(file.keypoints(0, header.frames), float(header.fps), header.shape, header.camera)


@pytest.fixture(scope="module")
def held_out(held_out_motions):
    shape = np.zeros(load_body().shape_size, np.float32)
    return {name: Motion(points + AWAY, 30.0, shape) for name, points in held_out_motions.items()}


def lengths(points):
    first, second = np.array(BONES).T
    return np.linalg.norm(points[:, first] - points[:, second], axis=-1)


def knee_angles(points):
    thigh, shin = (points[:, ends] - points[:, KNEES] for ends in (HIPS, ANKLES))
    cosine = (thigh * shin).sum(-1) / np.linalg.norm(thigh, axis=-1) / np.linalg.norm(shin, axis=-1)
    return np.degrees(np.arccos(cosine))


def lean(motion, points):
    """How far trunks lean from upright, degrees ``(T,)``."""
    spine = points[:, TRUNK[1::2]].mean(axis=1) - points[:, HIPS].mean(axis=1)
    return np.degrees(np.arccos(spine @ motion.floor.up / np.linalg.norm(spine, axis=-1)))


# ---- left and right --------------------------------------------------------------------------


def test_swap_mends_who_was_taken_for_seen_from_behind(filmed):
    """Sides and depth exchanged is what a wrong capture has: the motion comes back, in these frames alone."""
    middle = filmed.keypoints.mean(axis=1, keepdims=True)
    sight = middle - (middle @ filmed.floor.up)[..., None] * filmed.floor.up
    sight /= np.linalg.norm(sight, axis=-1, keepdims=True)
    depth = ((filmed.keypoints - middle) * sight).sum(-1, keepdims=True)
    wrong = (filmed.keypoints - 2 * depth * sight)[:, MIRRORED]
    before = np.concatenate([filmed.keypoints[:5], wrong[5:12], filmed.keypoints[12:]])
    captured = Motion(before, filmed.fps, filmed.body.shape)
    captured.floor = filmed.floor
    after = captured.edited(Span("swap", 5, 12)).keypoints
    np.testing.assert_allclose(after, filmed.keypoints, atol=1e-5)


def test_swapped_people_stay_where_they_are_seen_and_on_the_floor(filmed):
    after = filmed.edited(Span("swap", 5, 12)).keypoints
    np.testing.assert_array_equal(after[:5], filmed.keypoints[:5])
    np.testing.assert_array_equal(after[12:], filmed.keypoints[12:])
    here, named = after[5:12], filmed.keypoints[5:12, MIRRORED]
    np.testing.assert_allclose(filmed.floor.heights(here), filmed.floor.heights(named), atol=1e-4)
    np.testing.assert_allclose(lengths(here), lengths(named), atol=1e-5)
    seen = [filmed.camera.project(points) for points in (here, named)]
    apart = np.linalg.norm(seen[0] - seen[1], axis=-1).mean()
    assert apart < 0.05 * np.ptp(seen[1][..., 1], axis=1).mean(), "the picture's points change their names"


def test_swapping_the_same_frames_again_gives_the_same_keypoints_back(filmed):
    swap = Span("swap", 3, 14)
    assert np.abs(filmed.edited(swap).keypoints - filmed.keypoints).max() > 0.1
    np.testing.assert_array_equal(filmed.edited(swap, swap).keypoints, filmed.keypoints)
    apart = filmed.edited(swap, Span("swap", 8, 20)).keypoints
    np.testing.assert_array_equal(apart[8:14], filmed.keypoints[8:14])


def test_certainty_goes_along_with_the_sides(write_uncertain):
    file = write_uncertain("left_arm")
    swap = Span("swap", 10, 20)
    plain, swapped, back = (
        Session(file, edits=edits).describe(False, False)
        for edits in (None, Edits(spans=(swap,)), Edits(spans=(swap,), mirror=True))
    )
    assert [part for *_, part in plain.doubts] == ["left arm"]
    assert [part for *_, part in swapped.doubts] == ["left arm", "right arm", "left arm"]
    assert [part for *_, part in back.doubts] == ["right arm", "left arm", "right arm"]


@pytest.fixture
def write_uncertain(make_motion, tmp_path):
    def write(region):
        certainty = np.ones((30, len(BODY_REGIONS)), np.float32)
        certainty[:, BODY_REGIONS.index(region)] = 0
        write_clip(replace(make_motion(30), certainty=certainty), tmp_path / "unsure.s2d")
        return S2DFile.open(tmp_path / "unsure.s2d")

    return write


# ---- redone ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["walk", "stand", "step"])
def test_redone_motion_begins_and_ends_as_what_is_around_and_bones_keep_their_lengths(held_out, name):
    motion, start, stop = held_out[name], 20, 38
    wrong = motion.keypoints.copy()
    wrong[start:stop] += np.random.default_rng(1).normal(0, 0.3, wrong[start:stop].shape)
    after = Motion(wrong, motion.fps, motion.body.shape).edited(Span("redo", start, stop)).keypoints
    kept = np.r_[:start, stop : len(wrong)]
    np.testing.assert_array_equal(after[kept], wrong[kept])
    here, around = lengths(after[start:stop]), lengths(motion.keypoints[[start - 1, stop]])
    assert np.maximum(here - around.max(axis=0), around.min(axis=0) - here).max() < 1e-4
    both = motion.keypoints, after
    bends = [np.linalg.norm(np.diff(each, n=2, axis=0), axis=-1).mean(axis=1) for each in both]
    seams = bends[1][[start - 2, start - 1, stop - 2, stop - 1]]
    assert seams.max() < bends[0].max(), "no jerk where it begins and ends"
    speeds = [np.linalg.norm(np.diff(each, axis=0), axis=-1).max() for each in both]
    assert speeds[1] < 1.5 * speeds[0]


def test_who_stands_still_before_and_after_begins_and_ends_slowly(held_out):
    motion = held_out["walk"]
    keypoints = np.repeat(motion.keypoints[[70, 100]], 30, axis=0)
    still = Motion(keypoints, motion.fps, motion.body.shape)
    steps = np.linalg.norm(np.diff(still.edited(Span("redo", 20, 40)).keypoints, axis=0), axis=-1).mean(
        axis=1
    )
    assert 0 < steps[[19, 39]].max() < 0.2 * steps[19:40].mean() < 0.2 * steps[29]


def test_a_short_gap_is_filled_nearly_as_it_was(held_out):
    """A fifth of a second of a walk."""
    motion = held_out["walk"]
    after = motion.edited(Span("redo", 70, 76)).keypoints
    off = np.linalg.norm(after - motion.keypoints, axis=-1)[70:76]
    moved = np.linalg.norm(motion.keypoints[76] - motion.keypoints[69], axis=-1)
    assert off.mean() < 0.1 * moved.mean()


def test_redone_to_an_end_of_the_clip_goes_on_from_the_other_side_and_stops(held_out):
    motion, count = held_out["walk"], len(held_out["walk"].keypoints)
    to_start, to_end = Span("redo", 0, 60), Span("redo", count - 60, count)
    for span, known, rest in ((to_start, 60, 0), (to_end, count - 61, count - 1)):
        after = motion.edited(span).keypoints
        pose = after[rest] - after[rest, HIPS].mean(axis=0)
        expected = motion.keypoints[known] - motion.keypoints[known, HIPS].mean(axis=0)
        np.testing.assert_allclose(pose, expected, atol=1e-3)
        inside = after[span.start : span.stop]
        assert np.abs(lengths(inside) - lengths(motion.keypoints[[known]])).max() < 1e-4
        bends = np.linalg.norm(np.diff(after[known - 2 : known + 3], n=2, axis=0), axis=-1)
        assert bends.max() * motion.fps**2 < 60


def test_neighbouring_spans_are_redone_as_one(held_out):
    motion = held_out["walk"]
    one = motion.edited(Span("redo", 30, 50)).keypoints
    two = motion.edited(Span("redo", 38, 50), Span("redo", 30, 40)).keypoints
    np.testing.assert_array_equal(one, two)
    apart = motion.edited(Span("redo", 30, 40), Span("redo", 41, 50)).keypoints
    np.testing.assert_array_equal(apart[40], motion.keypoints[40])


@pytest.mark.parametrize("part", ["head", "left_arm", "right_leg"])
def test_a_part_is_redone_alone_on_the_body_as_it_moves(held_out, part):
    """A limb that thrashes about for half a second goes on as before, nothing else changes."""
    walk, start, stop = held_out["walk"], 70, 84
    turns = np.radians(60) * np.exp(-(((np.arange(len(walk.keypoints)) - 77) / 6) ** 2))  # there and back
    middle = walk.keypoints[:, HIPS].mean(axis=1, keepdims=True)
    turned = from_vectors(turns[:, None] * walk.floor.up) @ np.swapaxes(walk.keypoints - middle, 1, 2)
    motion = Motion(np.swapaxes(turned, 1, 2) + middle, walk.fps, walk.body.shape)
    own = REGION_KEYPOINTS[part]
    others = [point for point in range(23) if point not in own]
    wrong = motion.keypoints.copy()
    middle = wrong[start:stop, own].mean(axis=1, keepdims=True)
    wrong[start:stop, own] = middle + (wrong[start:stop, own] - middle)[..., [1, 2, 0]]
    redo = Span("redo", start, stop, part=part)
    after = Motion(wrong, motion.fps, motion.body.shape).edited(redo).keypoints
    np.testing.assert_allclose(after[:, others], motion.keypoints[:, others], atol=1e-5)
    kept = np.r_[:start, stop : len(wrong)]
    np.testing.assert_array_equal(after[kept], motion.keypoints[kept])
    off = [
        np.linalg.norm(each - motion.keypoints, axis=-1)[start:stop, own].mean() for each in (wrong, after)
    ]
    assert off[1] < 0.6 * off[0]
    here, around = lengths(after[start:stop]), lengths(motion.keypoints[[start - 1, stop]])
    mine = np.isin(np.array(BONES), own).any(axis=1)
    outside = np.maximum(here - around.max(axis=0), around.min(axis=0) - here)
    assert outside[:, mine].max() < 2e-3
    bends = np.linalg.norm(np.diff(after, n=2, axis=0), axis=-1)[:, own].mean(axis=1)
    usual = np.linalg.norm(np.diff(motion.keypoints, n=2, axis=0), axis=-1)[:, own].mean(axis=1)
    assert bends[[start - 2, start - 1, stop - 2, stop - 1]].max() < 1.5 * usual.max()


def test_the_whole_clip_cannot_be_redone(filmed):
    with pytest.raises(InputError, match="nothing is left"):
        filmed.edited(Span("redo", 0, 12), Span("redo", 10, 20))
    with pytest.raises(InputError, match="nothing is left"):
        filmed.edited(Span("redo", 0, 20, part="head"))


# ---- upright ---------------------------------------------------------------------------------


def standing_feet(motion):
    """Frames and feet ``(T, 2)`` that are about as low as the other."""
    low = motion.floor.heights(motion.keypoints[:, FEET]).reshape(-1, 2, 2).min(axis=2)
    return low < low.min(axis=1, keepdims=True) + 0.05


@pytest.mark.parametrize("name", ["filmed", "walk", "jump", "step", "stand"])
def test_straightened_legs_are_straighter_and_feet_stay(filmed, held_out, name):
    motion = filmed if name == "filmed" else held_out[name]
    everything = len(motion.keypoints)
    half, whole = (motion.edited(Span("straighten", 0, everything, s)).keypoints for s in (0.5, 1))
    angles = [np.median(knee_angles(each)) for each in (motion.keypoints, half, whole)]
    assert angles[0] < angles[1] < angles[2] < 170
    if name != "stand":  # who crouches
        assert angles[2] > angles[0] + 15
    leans = [np.median(lean(motion, each)) for each in (motion.keypoints, half, whole)]
    assert leans[0] > leans[1] > leans[2]
    for after in (half, whole):
        moved = np.linalg.norm(after - motion.keypoints, axis=-1)[:, FEET].reshape(-1, 2, 2)
        assert moved[standing_feet(motion)].max() < 0.01
        np.testing.assert_allclose(lengths(after), lengths(motion.keypoints), atol=1e-3)
        bends = [
            np.linalg.norm(np.diff(each, n=2, axis=0), axis=-1).max() for each in (motion.keypoints, after)
        ]
        assert bends[1] < 1.3 * bends[0], "no pops"


def test_straightening_comes_and_goes_and_nothing_else_changes(held_out):
    motion = held_out["walk"]
    whole, part = (motion.edited(Span("straighten", *at)).keypoints for at in ((0, 149), (50, 80)))
    np.testing.assert_allclose(part[54:76], whole[54:76], atol=2e-3)
    far = np.r_[0:40, 90:149]
    np.testing.assert_array_equal(part[far], motion.keypoints[far])
    np.testing.assert_array_equal(motion.edited(Span("straighten", 0, 149, 0.0)).keypoints, motion.keypoints)
    steps = np.linalg.norm(np.diff(part - motion.keypoints, axis=0), axis=-1)
    assert steps.max() < 0.03, "over a quarter of a second"


def test_who_bends_on_purpose_stays_bent(held_out):
    """A knee at a right angle, a trunk bowed by sixty degrees: nobody stands like that by mistake."""
    motion = held_out["stand"]
    down = motion.keypoints.copy()
    rest = [point for point in range(23) if point not in (*KNEES, *ANKLES, *FEET)]
    reach = np.linalg.norm(down[:, HIPS[0]] - down[:, ANKLES[0]], axis=-1).mean()
    down[:, rest] -= (0.45 * reach * motion.floor.up).astype(np.float32)
    forward = np.cross(motion.floor.up, (down[:, HIPS[0]] - down[:, HIPS[1]]).mean(axis=0))
    forward /= -np.linalg.norm(forward)
    for side in range(2):  # knees where legs of their lengths have them
        hip, ankle = down[:, HIPS[side]], down[:, ANKLES[side]]
        thigh = np.linalg.norm(motion.keypoints[:, HIPS[side]] - motion.keypoints[:, KNEES[side]], axis=-1)
        half = np.linalg.norm(hip - ankle, axis=-1) / 2
        out = np.sqrt(np.maximum(thigh**2 - half**2, 0))
        down[:, KNEES[side]] = (hip + ankle) / 2 + out[:, None] * forward
    squat = Motion(down, motion.fps, motion.body.shape)
    squat.floor = motion.floor
    assert knee_angles(down).max() < 80
    after = squat.edited(Span("straighten", 0, len(down))).keypoints
    assert np.abs(knee_angles(after) - knee_angles(down)).max() < 3


# ---- contacts --------------------------------------------------------------------------------


def test_contacts_as_they_were_found_change_nothing_and_are_told(held_out):
    motion = held_out["walk"]
    found = motion.edited(foot_lock=1.0)
    assert {contact.foot for contact in found.contacts} == {"left", "right"}
    assert found.contacts == sorted(found.contacts, key=lambda contact: contact.start)
    given = motion.edited(foot_lock=1.0, contacts=tuple(found.contacts))
    np.testing.assert_array_equal(given.keypoints, found.keypoints)
    assert given.contacts == found.contacts
    assert motion.edited(foot_lock=0.0).contacts is None


def test_feet_are_held_when_the_user_says_so_and_at_no_other_time(held_out):
    motion = held_out["walk"]
    none = motion.edited(foot_lock=1.0, contacts=())
    np.testing.assert_array_equal(none.keypoints, motion.keypoints)
    assert none.contacts == []
    mine = Contact(70, 76, "right")
    found = motion.edited(foot_lock=1.0).contacts
    assert not any(c.foot == "right" and c.start < 76 and c.stop > 70 for c in found), "the foot swings there"
    after = motion.edited(foot_lock=1.0, contacts=(mine,))
    assert after.contacts == [mine]
    toe, heel = KEYPOINT_INDEX["right_foot_index"], KEYPOINT_INDEX["right_heel"]
    both = motion.keypoints, after.keypoints
    for point in (toe, heel):
        ways = [np.linalg.norm(np.ptp(each[70:76, point], axis=0)) for each in both]
        assert ways[1] < 0.3 * ways[0]
    left = [KEYPOINT_INDEX[f"left_{part}"] for part in ("heel", "foot_index")]
    assert np.linalg.norm(after.keypoints - motion.keypoints, axis=-1)[:, left].max() < 0.03


def test_contacts_and_spans_go_through_the_decoder(motion_file, tmp_path):
    given = '{"foot_lock": 1, "spans": [{"kind": "straighten", "start": 2, "stop": 9, "strength": 0.5}]}'
    decode(motion_file, tmp_path, only="mesh", edits=read_edits(given))
    told = read_description(tmp_path)
    assert told.edits == json.loads(given)
    assert {(0, 30, "left"), (0, 30, "right")} == set(told.contacts), "they sway, and stand"
    again = read_edits(given[:-1] + ', "contacts": [[4, 20, "left"]]}')
    decode(motion_file, tmp_path, only="mesh", edits=again)
    assert read_description(tmp_path).contacts == [(4, 20, "left")]
    before = (tmp_path / "mesh.pc2").stat().st_mtime_ns
    decode(motion_file, tmp_path, only="mesh", edits=again)
    assert read_description(tmp_path).contacts == [(4, 20, "left")]
    assert (tmp_path / "mesh.pc2").stat().st_mtime_ns >= before


# ---- what is given ---------------------------------------------------------------------------


def test_spans_and_contacts_are_read_back_as_they_are_written():
    edits = Edits(
        spans=(Span("swap", 3, 9), Span("straighten", 0, 4, 0.25), Span("redo", 5, 6, part="head")),
        contacts=(Contact(0, 5, "left"), Contact(2, 8, "right")),
    )
    assert read_edits(json.dumps(edits.as_json())) == edits
    assert read_edits('{"contacts": []}').as_json() == {"contacts": []}, "no foot is held"
    assert "contacts" not in Edits().as_json()


def span(**fields):
    return json.dumps({"spans": [{"kind": "swap", "start": 1, "stop": 2} | fields]})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('{"spans": 3}', "a list of at most 1000"),
        ('{"spans": [3]}', "a span is an object such as"),
        ('{"spans": [{"kind": "swap", "start": 3}]}', "a span is an object such as"),
        (json.dumps({"spans": [{"kind": "swap", "start": 1, "stop": 2}] * 1001}), "a list of at most 1000"),
        (span(kind="flip"), "no span ''flip'': use swap, redo, straighten"),
        (span(kind=["swap"]), "use swap, redo, straighten"),
        (span(start=-1), "a whole number from 0"),
        (span(stop=2.5), "a whole number from 0"),
        (span(start=True), "a whole number from 0"),
        (span(stop=2**31), "a whole number from 0"),
        (span(stop=1), "frame 1 does not come after frame 1"),
        (span(strength=1), "a swap has no 'strength'"),
        (span(part="head"), "a swap has no 'part'"),
        (span(kind="redo", part="trunk"), "no part 'trunk' to redo: use head"),
        (span(kind="redo", part=["head"]), "to redo: use head"),
        (span(kind="straighten", strength=2), "from 0 to 1"),
        (span(kind="straighten", strength=float("nan")), "from 0 to 1"),
        ('{"contacts": {}}', "a list of at most"),
        ('{"contacts": [[1, 2, "tail"]]}', "a contact is a list such as"),
        ('{"contacts": [[1, 2, ["left"]]]}', "a contact is a list such as"),
        ('{"contacts": [[1, 2]]}', "a contact is a list such as"),
        ('{"contacts": [[5, 2, "left"]]}', "does not come after"),
    ],
)
def test_wrong_spans_and_contacts_are_said_in_one_line(given, said):
    with pytest.raises(InputError, match=said) as caught:
        read_edits(given)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "wrong", ['{"spans": [{"kind": "swap", "start": 10, "stop": 31}]}', '{"contacts": [[30, 40, "left"]]}']
)
def test_frames_that_the_clip_lacks_are_refused_before_any_work(motion_file, tmp_path, wrong):
    with pytest.raises(InputError, match="not all in the clip, which has 0 to 29"):
        decode(motion_file, tmp_path / "out", only="mesh", edits=read_edits(wrong))
    assert not (tmp_path / "out").exists()
