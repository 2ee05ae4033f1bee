# SPDX-License-Identifier: GPL-3.0-or-later
"""Cleaning up does what its names say, on held-out motion with noise, and leaves the rest alone."""

import json

import numpy as np
import pytest
from sparse2dense.inference.decode import decode
from sparse2dense.inference.decoding import point_cache
from sparse2dense.inference.decoding.edits import Edits, apply_edits, edited_body, read_edits
from sparse2dense.inference.decoding.floor import FEET, Floor, estimate_floor
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.errors import InputError
from sparse2dense.models.keypoints import KEYPOINT_INDEX
from sparse2dense.models.shaped_body import ShapedBody

FPS = 30
LIMBS = [
    (KEYPOINT_INDEX[f"{side}_{first}"], KEYPOINT_INDEX[f"{side}_{second}"])
    for side in ("left", "right")
    for first, second in (
        ("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"), ("heel", "foot_index"),
    )
]  # fmt: skip
AWAY = np.array([0.2, 0.1, 3.0], np.float32)


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture(scope="module")
def shape(body):
    return np.zeros(body.shape_size, np.float32)


@pytest.fixture(scope="module")
def edit(body, shape):
    def run(keypoints, floor=None, **edits):
        person = ShapedBody(body, shape)
        floor, wanted = floor or estimate_floor(keypoints, FPS, person), Edits(**edits)
        return apply_edits(keypoints, FPS, person, edited_body(person, wanted), floor, wanted)

    return run


@pytest.fixture(scope="module", params=["walk", "jump", "step"])
def motion(request, held_out_motions):
    return held_out_motions[request.param] + AWAY


def wobble(shape, metres, seconds=0.15):
    """Noise as a tracker leaves it: slow, of that standard deviation."""
    noise = np.random.default_rng(5).normal(size=shape)
    reach = np.arange(-15, 16) / FPS / seconds
    kernel = np.exp(-0.5 * reach**2)
    slow = np.apply_along_axis(np.convolve, 0, noise, kernel, "same")
    return (metres * slow / slow.std()).astype(np.float32)


def acceleration(keypoints):
    return np.linalg.norm(np.diff(keypoints, n=2, axis=0), axis=-1).mean() * FPS**2


def lengths(keypoints, bones):
    first, second = np.array(bones).T
    return np.linalg.norm(keypoints[:, first] - keypoints[:, second], axis=-1)


def planted(clean, floor):
    """Frames and soles' points ``(T - 1, 4)`` that stand still on the ground in the motion without noise."""
    speed = np.linalg.norm(np.diff(clean[:, FEET], axis=0), axis=-1) * FPS
    return (speed < 0.2) & (floor.heights(clean[1:, FEET]) < 0.08)


def sliding(keypoints, still):
    return (np.linalg.norm(np.diff(keypoints[:, FEET], axis=0), axis=-1) * FPS)[still].mean()


def test_nothing_asked_for_is_nothing_done(motion, edit):
    np.testing.assert_array_equal(edit(motion), motion)


def test_smoothing_calms_the_motion_and_keeps_the_bones(motion, edit):
    smooth = edit(motion, smoothing=1)
    assert acceleration(smooth) < 0.55 * acceleration(motion)
    before, after = lengths(motion, LIMBS), lengths(smooth, LIMBS)
    assert np.abs(after.mean(axis=0) - before.mean(axis=0)).max() < 0.001
    assert (after.max(axis=0) < before.max(axis=0) + 0.001).all()
    assert (after.min(axis=0) > before.min(axis=0) - 0.001).all()
    assert np.linalg.norm(smooth - motion, axis=-1).mean() < 0.015
    assert acceleration(edit(motion, smoothing=2)) < 0.8 * acceleration(smooth)


def test_smoothing_takes_noise_away_and_has_no_delay(motion, edit):
    noisy = motion + np.random.default_rng(1).normal(0, 0.01, motion.shape).astype(np.float32)
    smooth = edit(noisy, smoothing=0.5)
    assert acceleration(smooth) < 0.3 * acceleration(noisy)
    assert (
        np.linalg.norm(smooth - motion, axis=-1).mean() < 0.7 * np.linalg.norm(noisy - motion, axis=-1).mean()
    )
    np.testing.assert_allclose(edit(noisy[::-1], smoothing=0.5)[::-1], smooth, atol=1e-4)


def test_a_long_motion_is_smoothed_as_its_parts_are(edit, held_out_motions):
    """Blocks of frames, in which long motions are worked on, leave no seam."""
    walk = held_out_motions["walk"] + AWAY
    long = np.concatenate([walk, walk[::-1]] * 3)
    whole = edit(long, smoothing=1)
    np.testing.assert_allclose(edit(long[450:700], smoothing=1)[30:-30], whole[480:670], atol=1e-4)


@pytest.mark.parametrize(("metres", "seconds", "factor"), [(0.008, 0.01, 15), (0.008, 0.15, 2.5)])
def test_foot_lock_stops_feet_from_sliding_and_moves_little_else(
    motion, edit, body, shape, metres, seconds, factor
):
    """Of noise from frame to frame at least 14/15 of the sliding goes, of slow drift more than half."""
    noisy = motion + wobble(motion.shape, metres, seconds)
    floor = estimate_floor(noisy, FPS, ShapedBody(body, shape))
    still = planted(motion, floor)
    locked = edit(noisy, floor, foot_lock=1)
    assert sliding(locked, still) * factor < sliding(noisy, still)

    elsewhere = np.delete(locked - noisy, [*FEET, *range(KEYPOINT_INDEX["left_knee"], 23)], axis=1)
    assert np.linalg.norm(elsewhere, axis=-1).mean() < 0.004
    assert np.linalg.norm(locked - noisy, axis=-1).mean() < 0.015
    assert acceleration(locked) < 1.05 * acceleration(noisy), "no pops"


def test_locked_feet_of_a_clean_motion_stand_and_bones_keep_their_lengths(motion, edit, body, shape):
    floor = estimate_floor(motion, FPS, ShapedBody(body, shape))
    still = planted(motion, floor)
    locked, half = edit(motion, floor, foot_lock=1), edit(motion, floor, foot_lock=0.5)
    assert sliding(locked, still) < 0.05 * sliding(motion, still)
    assert sliding(locked, still) < sliding(half, still) < 0.7 * sliding(motion, still)
    assert np.abs(lengths(locked, LIMBS) - lengths(motion, LIMBS)).max() < 0.013
    assert np.abs(np.diff(lengths(locked, LIMBS), axis=0)).max() < 0.013


def test_mirror_swaps_the_sides_in_place_and_twice_is_nothing(motion, edit, body, shape):
    floor = estimate_floor(motion, FPS, ShapedBody(body, shape))
    mirrored = edit(motion, floor, mirror=True)
    np.testing.assert_allclose(edit(mirrored, floor, mirror=True), motion, atol=1e-5)
    left, right = KEYPOINT_INDEX["left_wrist"], KEYPOINT_INDEX["right_wrist"]
    np.testing.assert_allclose(floor.heights(mirrored[:, left]), floor.heights(motion[:, right]), atol=1e-5)
    hips = slice(KEYPOINT_INDEX["left_hip"], KEYPOINT_INDEX["right_hip"] + 1)
    np.testing.assert_allclose(mirrored[:, hips].mean((0, 1)), motion[:, hips].mean((0, 1)), atol=1e-5)
    toes_ahead = mirrored[:, FEET[1::2]].mean((0, 1)) - mirrored[:, FEET[::2]].mean((0, 1))
    assert toes_ahead @ (motion[:, FEET[1::2]] - motion[:, FEET[::2]]).mean((0, 1)) > 0, "still facing ahead"


@pytest.mark.parametrize("name", ["walk", "jump"])
def test_ground_snap_puts_contacts_on_the_floor_and_keeps_jumps(held_out_motions, edit, body, shape, name):
    clean = held_out_motions[name] + AWAY
    floor = estimate_floor(clean, FPS, ShapedBody(body, shape))
    soles = ShapedBody(body, shape).sole_heights
    floating = 0.06 * np.sin(np.arange(len(clean)) / 25)[:, None, None] * floor.up + 0.04 * floor.up
    snapped = edit((clean + floating).astype(np.float32), floor, ground_snap=True)

    touching = planted(clean, floor).any(axis=1)
    lowest = (floor.heights(snapped[1:, FEET]) - soles).min(axis=1)
    before = (floor.heights((clean + floating)[1:, FEET]) - soles).min(axis=1)
    assert np.abs(before[touching]).mean() > 0.03
    assert np.abs(lowest[touching]).mean() < 0.003 and np.abs(lowest[touching]).max() < 0.02
    if name == "jump":
        flight = (floor.heights(clean[1:, FEET]) - soles).min(axis=1)
        assert lowest.max() == pytest.approx(flight.max(), abs=0.05) and lowest.max() > 0.08


def test_ground_snap_leaves_a_climber_up_the_ladder(held_out_motions, edit):
    climbing = held_out_motions["step"] + AWAY
    assert np.linalg.norm(edit(climbing, ground_snap=True) - climbing, axis=-1).max() < 0.12


@pytest.mark.parametrize("stature", [1.5, 1.9])
def test_motion_goes_to_a_body_of_another_stature(motion, body, shape, stature):
    person, edits = ShapedBody(body, shape), Edits(measures={"stature": stature})
    floor, target = estimate_floor(motion, FPS, person), edited_body(person, edits)
    moved = apply_edits(motion, FPS, person, target, floor, edits)
    assert np.ptp(target.vertices[:, 1]) == pytest.approx(stature, abs=0.005)

    lowest = (floor.heights(motion[:, FEET]) - person.sole_heights).min(axis=1)
    moved_lowest = (floor.heights(moved[:, FEET]) - target.sole_heights).min(axis=1)
    scale = lowest @ moved_lowest / (lowest @ lowest)
    assert scale == pytest.approx(stature / 1.676, rel=0.03)
    np.testing.assert_allclose(moved_lowest, scale * lowest, atol=0.005)
    # Limbs point where they pointed.
    first, second = np.array(LIMBS).T
    before, after = motion[:, first] - motion[:, second], moved[:, first] - moved[:, second]
    cosine = (before * after).sum(-1) / np.linalg.norm(before, axis=-1) / np.linalg.norm(after, axis=-1)
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean() < 2


def test_all_together_through_the_decoder(motion_file, tmp_path):
    """The same clip plain and cleaned up: another body, on the same floor, with a skeleton of its own."""
    decode(motion_file, tmp_path / "plain", only="mesh")
    edits = Edits(
        smoothing=1, foot_lock=1, ground_snap=True, mirror=True, measures={"stature": 1.9, "weight": 80}
    )
    decode(motion_file, tmp_path / "edit", only="mesh", edits=edits)
    plain, edited = (json.loads((tmp_path / name / "clip.json").read_text()) for name in ("plain", "edit"))
    assert plain["edits"] == {} and edited["edits"] == edits.as_json()
    assert plain["floor"] == edited["floor"] and plain["measures"] == edited["measures"]
    assert plain["measures"]["stature"]["min"] < 1.9 < plain["measures"]["stature"]["max"]
    with np.load(tmp_path / "edit" / "body.npz") as rest:
        assert np.ptp(rest["vertices"][:, 2]) == pytest.approx(1.9, abs=0.005)
    floor = Floor(**{name: np.array(value) for name, value in edited["floor"].items()})
    mesh = point_cache.read_pc2(tmp_path / "edit" / "mesh.pc2", 0, 30)
    np.testing.assert_allclose(floor.heights(mesh).min(axis=1), 0, atol=0.01)
    assert floor.heights(mesh).max() == pytest.approx(1.9, abs=0.03)


def test_edits_of_a_video_are_refused(motion_file, tmp_path):
    with pytest.raises(InputError, match="--only mesh"):
        decode(motion_file, tmp_path, edits=Edits(mirror=True))


def test_edits_are_read_from_text_and_file(tmp_path):
    text = '{"smoothing": 0.5, "foot_lock": 1, "mirror": true, "measures": {"weight": 70}}'
    (tmp_path / "édits.json").write_text(text)
    expected = Edits(smoothing=0.5, foot_lock=1, mirror=True, measures={"weight": 70})
    assert read_edits(text) == read_edits(str(tmp_path / "édits.json")) == expected
    assert read_edits(json.dumps(expected.as_json())) == expected
    assert read_edits("{}") == Edits() and Edits().as_json() == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("missing.json", "neither"),
        ('{"smoothing": ', "not JSON"),
        ('{"blur": 1}', "no edit 'blur'"),
        ('{"smoothing": NaN}', "from 0 to 10"),
        ('{"foot_lock": "much"}', "from 0 to 1"),
        ('{"foot_lock": 1e999}', "from 0 to 1"),
        ('{"mirror": 1}', "true or false"),
        ('{"measures": [1]}', "an object"),
        ('{"measures": {"nose": 1}}', "no measure 'nose'"),
        ("{" + '"a":{' * 100_000, "not JSON"),
    ],
)
def test_wrong_edits_are_said_in_one_line(given, said):
    with pytest.raises(InputError, match=said) as caught:
        read_edits(given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("measures", [{"stature": 7}, {"weight": 100, "stature": 1.31}])
def test_impossible_bodies_are_refused(body, shape, edit, held_out_motions, measures):
    with pytest.raises(InputError, match=r"1\.305 to 2\.152 m|no body is built|cannot have"):
        edit(held_out_motions["stand"] + AWAY, measures=measures)


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_the_shortest_clips_are_edited_too(held_out_motions, edit, frames):
    motion = held_out_motions["walk"][:frames] + AWAY
    edited = edit(motion, smoothing=10, foot_lock=1, ground_snap=True, mirror=True, measures={"stature": 1.8})
    assert edited.shape == motion.shape and np.isfinite(edited).all()
