# SPDX-License-Identifier: GPL-3.0-or-later
"""Cleaning up does what its names say, on held-out motion with noise, and leaves the rest alone."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from sparse2dense.inference.decode import decode
from sparse2dense.inference.decoding import point_cache
from sparse2dense.inference.decoding.edits import Edits, apply_edits, edited_body, read_edits
from sparse2dense.inference.decoding.floor import Floor, estimate_floor
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.errors import InputError
from sparse2dense.models.keypoints import FEET, HIPS, KEYPOINT_INDEX, MIRRORED
from sparse2dense.models.measures import BodyMeasures
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


def test_a_cleaned_up_mesh_comes_before_the_clips_own_and_both_are_as_if_decoded_alone(motion_file, tmp_path):
    edits, parts = Edits(foot_lock=1, ground_snap=True, mirror=True), []
    decode(motion_file, tmp_path / "plain", only="mesh")
    decode(motion_file, tmp_path / "edit", only="mesh", edits=edits)
    both = tmp_path / "both"
    result = decode(motion_file, both, edits=edits, edited="held", finished=parts.append)
    assert parts == ["body", "texture", "edited", "edited", "edited", "mesh", "skeleton"]
    assert "mesh" in result.files and json.loads((both / "clip.json").read_text())["edits"] == {}
    for alone, inside in (("plain", both), ("edit", both / "held")):
        for name in ("mesh.pc2", "keypoints.pc2", "clip.json"):
            assert (tmp_path / alone / name).read_bytes() == (inside / name).read_bytes(), f"{inside} {name}"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"edited": "../held", "edits": Edits(mirror=True)}, "the name of a folder inside"),
        ({"edited": "..", "edits": Edits(mirror=True)}, "the name of a folder inside"),
        ({"edited": "", "edits": Edits(mirror=True)}, "the name of a folder inside"),
        ({"edited": "held"}, "say how with --edits"),
        ({"edited": "held", "edits": Edits(mirror=True), "only": "video"}, "say how with --edits"),
    ],
)
def test_a_folder_for_nothing_or_elsewhere_is_refused(motion_file, tmp_path, given, said):
    with pytest.raises(InputError, match=said):
        decode(motion_file, tmp_path / "out", **given)
    assert not (tmp_path / "out").exists() and not (tmp_path / "held").exists()


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


# ---- what each strength and limit means, on a made-up person who stands on a level floor -----

LEVEL = Floor(np.array([0.0, -1, 0]), np.array([0.0, 0, 3]), np.array([0.0, 0, -1]))
LEFT_FOOT = [KEYPOINT_INDEX[f"left_{part}"] for part in ("heel", "foot_index")]
LEFT_LEG = [*LEFT_FOOT, KEYPOINT_INDEX["left_ankle"], KEYPOINT_INDEX["left_knee"]]
ACROSS, UP = np.array([1.0, 0, 0]), np.array([0.0, -1, 0])


@pytest.fixture(scope="module")
def person(body, shape):
    return ShapedBody(body, shape)


@pytest.fixture(scope="module")
def standing(person):
    """The resting body, soles on the level floor: ``(23, 3)``."""
    return person.keypoints + np.array([0, -person.vertices[:, 1].max(), 3])


def stand(standing, *, frames=90, move=None, points=slice(None)):
    """Keypoints ``(frames, 23, 3)`` of someone standing, some points moved by ``move (frames, 3)``."""
    keypoints = np.repeat(standing[None], frames, axis=0)
    if move is not None:
        keypoints[:, points] += move[:, None]
    return keypoints.astype(np.float32)


def swing(hertz, fps=60, frames=240):
    return np.sin(2 * np.pi * hertz * np.arange(frames) / fps)[:, None] * 0.05 * ACROSS


@pytest.mark.parametrize(("strength", "hertz"), [(0.5, 6), (1, 3), (2, 1.5), (10, 0.3)])
def test_a_strength_of_smoothing_halves_a_swing_of_its_frequency(standing, edit, strength, hertz):
    keypoints = stand(standing, frames=1200, move=swing(hertz, 60, 1200))
    smooth = apply_all(keypoints, 60, smoothing=strength)
    here = slice(500, 700)
    size = [np.ptp((each - standing)[here, 0, 0]) for each in (keypoints, smooth)]
    assert size[1] / size[0] == pytest.approx(0.527, abs=0.015)


def apply_all(keypoints, fps, floor=LEVEL, **edits):
    wanted, body = Edits(**edits), load_body()
    person = ShapedBody(body, np.zeros(body.shape_size))
    return apply_edits(keypoints, fps, person, edited_body(person, wanted), floor, wanted)


def test_a_steady_motion_is_smooth_already_to_its_very_ends(standing):
    walk = np.arange(40)[:, None] * np.array([0.03, 0, -0.02])
    keypoints = stand(standing, frames=40, move=walk)
    np.testing.assert_allclose(apply_all(keypoints, 30, smoothing=2), keypoints, atol=1e-5)


@pytest.mark.parametrize("frames", [2, 3, 9, 700])
def test_smoothing_is_a_gaussians_whatever_the_length(standing, frames):
    """Against SciPy's, on noise of the whole body; beyond the ends the motion goes on point-symmetrically."""
    noise = np.random.default_rng(3).normal(0, 0.01, (frames, 3))
    keypoints = stand(standing, frames=frames, move=noise)
    sigma = 1.5 * 0.06 * 50
    reach = min(math.ceil(3 * sigma), frames - 1)
    longer = np.concatenate(
        [2 * noise[:1] - noise[reach:0:-1], noise, 2 * noise[-1:] - noise[-2 : -reach - 2 : -1]]
    )
    expected = gaussian_filter1d(longer, sigma, axis=0, radius=reach)[reach:-reach]
    smooth = apply_all(keypoints, 50, smoothing=1.5)
    np.testing.assert_allclose((smooth - standing).mean(axis=1), expected, atol=2e-5)


def test_smoothing_gives_bones_their_own_lengths_smoothed(standing):
    """A forearm that is measured longer and shorter from frame to frame is neither."""
    wrist, elbow = KEYPOINT_INDEX["left_wrist"], KEYPOINT_INDEX["left_elbow"]
    along = standing[wrist] - standing[elbow]
    length = np.linalg.norm(along)
    hand = [wrist, KEYPOINT_INDEX["left_pinky"], KEYPOINT_INDEX["left_index"]]
    noise = np.random.default_rng(1).normal(0, 0.02, 90)[:, None] * along / length
    smooth = apply_all(stand(standing, move=noise, points=hand), 30, smoothing=1)
    found = lengths(smooth, [(wrist, elbow)])
    expected = gaussian_filter1d(length + noise @ along / length, 1.8, radius=6)
    np.testing.assert_allclose(found[6:-6, 0], expected[6:-6], atol=2e-4)


def test_the_same_body_moves_as_before(motion, body, shape):
    person = ShapedBody(body, shape)
    floor = estimate_floor(motion, FPS, person)
    same = Edits(measures={"stature": float(np.ptp(person.vertices[:, 1]))})
    moved = apply_edits(motion, FPS, person, edited_body(person, same), floor, same)
    np.testing.assert_allclose(moved, motion, atol=2e-3)


def test_a_larger_body_takes_steps_to_its_scale_from_where_the_first_stood(standing, person):
    """The way goes from the floor's point, below the person in the first frame."""
    walk = np.arange(60)[:, None] * np.array([0.02, 0, 0.01])
    keypoints = stand(standing, frames=60, move=walk)
    moved = apply_all(keypoints, 30, measures={"stature": 1.9})
    target = edited_body(person, Edits(measures={"stature": 1.9}))
    scale = target.hip_height / person.hip_height
    assert scale > 1.1
    way = (moved[-1] - moved[0])[:, [0, 2]].mean(axis=0)
    np.testing.assert_allclose(way, scale * (walk[-1] - walk[0])[[0, 2]], atol=1e-3)
    np.testing.assert_allclose(
        (LEVEL.heights(moved[:, FEET]) - target.sole_heights).min(axis=1), 0, atol=1e-3
    )
    np.testing.assert_allclose(moved[0, HIPS].mean(axis=0)[0], LEVEL.point[0], atol=0.02)


def test_mirror_is_about_the_upright_plane_where_the_person_mostly_is(standing):
    facing_us = (standing + (standing * [-1, 1, 1])[list(MIRRORED)]) / 2
    keypoints = stand(facing_us, frames=2, move=np.array([[0.4, 0, 0], [0.8, 0, 0]]))
    keypoints[:, KEYPOINT_INDEX["left_wrist"]] += np.float32([0.1, -0.3, -0.2])
    expected = keypoints[:, list(MIRRORED)] * [-1, 1, 1] + [2 * 0.6, 0, 0]
    np.testing.assert_allclose(apply_all(keypoints, 30, mirror=True), expected, atol=1e-5)


# ---- contacts --------------------------------------------------------------------------------


def held(before, after, point=LEFT_FOOT[0]):
    """In which frames ``(T - 1,)`` a point moves over the ground at less than a fifth of what it did."""
    speeds = [np.linalg.norm(np.diff(each[:, point, [0, 2]], axis=0), axis=-1) for each in (before, after)]
    return speeds[1] < 0.2 * speeds[0]


def sliding_foot(standing, speed, *, fps=100, height=0.0, rise=0.0, frames=100):
    """A left foot that slides at ``speed`` and rises at ``rise`` (m/s), with its leg."""
    time = (np.arange(frames) / fps)[:, None]
    return stand(
        standing, frames=frames, move=time * speed * ACROSS + (height + time * rise) * UP, points=LEFT_LEG
    )


@pytest.mark.parametrize(
    ("given", "planted"),
    [
        ({"speed": 0.2}, True),
        ({"speed": 0.28}, False),
        ({"speed": 0.1, "height": 0.06}, True),
        ({"speed": 0.1, "height": 0.08}, False),
        ({"speed": 0.1, "rise": 0.05}, True),
        ({"speed": 0.2, "rise": -0.3, "height": 0.3}, False),
    ],
)
def test_a_foot_is_planted_that_is_low_and_slow(standing, given, planted):
    """At most 7 cm above the lowest, 25 cm/s over the ground and 25 cm/s up or down."""
    before = sliding_foot(standing, frames=60, **given)
    assert held(before, apply_all(before, 100, foot_lock=1))[15:45].all() == planted
    assert held(before, apply_all(before, 100, foot_lock=1))[15:45].any() == planted


@pytest.mark.parametrize(
    ("speed", "height", "planted"),
    [(0.45, 0.0, True), (0.55, 0.0, False), (0.1, 0.09, True), (0.1, 0.115, False)],
)
def test_a_planted_foot_is_let_go_later_than_it_is_caught(standing, speed, height, planted):
    """At 10 cm above the lowest, or 50 cm/s: what was planted before stays so up to there."""
    frames, fps = 120, 100
    way = np.concatenate([np.zeros(60), np.arange(1, 61) * speed / fps])
    lift = np.clip((np.arange(frames) - 50) / 50, 0, 1) * height
    before = stand(standing, frames=frames, move=way[:, None] * ACROSS + lift[:, None] * UP, points=LEFT_LEG)
    after = apply_all(before, fps, foot_lock=1)
    assert held(before, after)[64:70].all() == planted or not planted
    shift = np.linalg.norm((after - before)[118, LEFT_FOOT], axis=-1)
    assert (shift > 0.01).all() == (shift > 0.01).any() == planted


@pytest.mark.parametrize(("rise", "planted"), [(0.2, True), (0.3, False)])
def test_whoever_rises_is_not_planted(standing, rise, planted):
    """Carried up: seen for a fifth of a second, so that nothing lower tells."""
    time = np.arange(20)[:, None] / 100
    before = stand(standing, frames=20, move=0.1 * time * ACROSS + rise * time * UP)
    shift = apply_all(before, 100, foot_lock=1) - before
    assert (np.abs(shift[:, LEFT_FOOT[0], 0]).max() > 5e-3) == planted


@pytest.mark.parametrize(("rise", "planted"), [(0.4, True), (0.6, False)])
def test_whoever_stood_is_planted_until_they_rise_faster(standing, rise, planted):
    time = np.arange(60)[:, None] / 100
    up = np.clip(time - 0.44, 0, None) * rise
    before = stand(standing, frames=60, move=0.2 * time * ACROSS + up * UP)
    shift = np.abs(apply_all(before, 100, foot_lock=1) - before)[:, LEFT_FOOT[0], 0]
    assert (shift[59] > shift[48]) == planted, "held on, or let go"


def test_a_lock_does_not_spread_to_the_next_frame_where_there_are_few(standing):
    """At three frames a second: two seconds on the ground, then in the air."""
    move = np.arange(12)[:, None] * 0.02 * ACROSS + np.clip(np.arange(12) - 5, 0, None)[:, None] * UP
    before = stand(standing, frames=12, move=move)
    shift = np.abs(apply_all(before, 3, foot_lock=1) - before)[:, LEFT_FOOT, 0].max(axis=1)
    np.testing.assert_allclose(shift[:5], [0.04, 0.02, 0, 0.02, 0.04], atol=1e-3)
    np.testing.assert_allclose(shift[5:], 0, atol=1e-6)


def test_lowest_is_what_is_lowest_within_three_quarters_of_a_second(standing):
    """Somebody steps up onto a box, where both feet slide slowly: they stand there when it has lasted."""
    fps, frames = 100, 300
    up = np.where(np.arange(frames) >= 100, 0.3, 0.0)
    slide = np.arange(frames) / fps * 0.1
    before = stand(standing, frames=frames, move=slide[:, None] * ACROSS + up[:, None] * UP)
    planted = held(before, apply_all(before, fps, foot_lock=1))
    assert planted[20:80].all()
    assert not planted[120:150].any(), "feet in the air above where they just stood"
    assert planted[200:280].all()
    after = np.linalg.norm(apply_all(before, fps, foot_lock=1) - before, axis=-1)[:, LEFT_FOOT[0]]
    assert after[145] < 1e-3 and after[172:].min() > -1 and after[185] > 1e-3


@pytest.mark.parametrize(("seconds", "planted"), [(0.24, False), (0.3, True)])
def test_a_touch_too_short_for_a_step_is_none(standing, seconds, planted):
    """Landing and taking off take their part of it: a tenth of a second remains."""
    fps, frames = 200, 200
    time = np.arange(frames) / fps
    rise = np.where(np.abs(time - 0.5) < seconds / 2, 0.0, 0.3)
    before = stand(standing, frames=frames, move=0.1 * time[:, None] * ACROSS + rise[:, None] * UP)
    shift = (apply_all(before, fps, foot_lock=1) - before)[:, LEFT_FOOT[0], 0]
    assert (np.abs(shift).max() > 1e-3) == planted


@pytest.mark.parametrize(("seconds", "bridged"), [(0.04, True), (0.2, False)])
def test_a_gap_too_short_for_a_step_is_none(standing, seconds, bridged):
    """A foot that jerks along for a moment while it is planted was planted all the time."""
    fps, frames = 200, 400
    time = np.arange(frames) / fps
    jerk = np.clip(time - 1, 0, seconds) * (2.25 if bridged else 1)
    before = stand(standing, frames=frames, move=jerk[:, None] * ACROSS, points=LEFT_LEG)
    after = apply_all(before, fps, foot_lock=1)
    ends = after[[100, 300], LEFT_FOOT[0], 0] - before[[100, 300], LEFT_FOOT[0], 0]
    assert (np.abs(ends) > 0.4 * jerk[-1]).all() == bridged
    if not bridged:
        np.testing.assert_allclose(ends, 0, atol=0.01)


def test_a_lock_comes_and_goes_within_a_fifth_of_a_second(standing):
    """Somebody slides while they stand, then jumps: what they were moved by fades."""
    fps, frames = 100, 200
    time = np.arange(frames) / fps
    slide, rise = np.minimum(time, 1.0) * 0.1, np.clip(time - 1, 0, None) * 3
    before = stand(standing, frames=frames, move=slide[:, None] * ACROSS + rise[:, None] * UP)
    shift = (apply_all(before, fps, foot_lock=1) - before)[:, LEFT_FOOT[0], 0]
    assert shift.max() == pytest.approx(0.047, abs=0.002) and shift.min() == pytest.approx(-0.047, abs=0.002)
    last = 97  # in which the sole's smoothed place is on the ground
    assert shift[last] == pytest.approx(shift.min(), abs=1e-3)
    assert shift[last + 10] == pytest.approx(shift.min() / 2, rel=0.2)
    assert np.abs(shift[last + 20 :]).max() < 1e-3 < abs(shift[last + 15])
    backwards = (apply_all(before[::-1], fps, foot_lock=1) - before[::-1])[::-1, LEFT_FOOT[0], 0]
    np.testing.assert_allclose(backwards, shift, atol=1e-3)


def test_a_foot_that_goes_far_while_planted_does_slide(standing):
    """Held completely near the middle of its way, and by ten centimetres at most."""
    before = sliding_foot(standing, 0.2, frames=400)  # 80 cm
    shift = (apply_all(before, 100, foot_lock=1) - before)[:, LEFT_FOOT[0], 0]
    off = np.arange(400) * 0.002
    off -= off.mean()
    expected = -off / (1 + (np.abs(off) / 0.1) ** 4) ** 0.25
    np.testing.assert_allclose(shift[30:-30], expected[30:-30], atol=4e-3)


def test_half_the_strength_moves_half_as_far(standing):
    before = sliding_foot(standing, 0.1)
    whole, half = (apply_all(before, 100, foot_lock=strength) - before for strength in (1, 0.5))
    np.testing.assert_allclose(half[:, LEFT_FOOT], whole[:, LEFT_FOOT] / 2, atol=1e-3)


def test_a_locked_leg_gives_way_at_the_knee_and_the_body_hardly_moves(standing):
    before = sliding_foot(standing, 0.1)
    moved = np.linalg.norm(apply_all(before, 100, foot_lock=1) - before, axis=-1)[:50]
    knee, ankle = KEYPOINT_INDEX["left_knee"], KEYPOINT_INDEX["left_ankle"]
    sole = moved[:, LEFT_FOOT].max()
    assert sole == pytest.approx(0.05, abs=0.003)
    assert 0.4 * sole < moved[:, knee].max() < 0.8 * sole
    assert 0.9 * sole < moved[:, ankle].max() < 1.1 * sole
    assert moved[:, HIPS].max() < 0.1 * sole
    np.testing.assert_allclose(moved[:, HIPS[0]], moved[:, 0], atol=1e-3, err_msg="the rest moves as one")
    right = [KEYPOINT_INDEX["right_knee"], *FEET[2:]]
    assert moved[:, right].max() < 0.3 * sole


def test_a_foot_rolls_over_its_toes(standing):
    """The heel lifts off while the toe is planted: it goes along with the toe's own shift."""
    fps, frames = 100, 200
    time = np.arange(frames) / fps
    slide, rise = time * 0.05, np.clip(time - 1, 0, None) * 0.6
    before = stand(standing, frames=frames, move=slide[:, None] * ACROSS, points=LEFT_LEG)
    before[:, LEFT_FOOT[0]] += (rise[:, None] * UP).astype(np.float32)
    shift = (apply_all(before, fps, foot_lock=1) - before)[:, LEFT_FOOT, 0]
    np.testing.assert_allclose(shift[160:195, 0], shift[160:195, 1], atol=3e-3)
    assert np.abs(shift[160:195]).min() > 0.02


def test_a_leg_whose_length_is_measured_anew_in_each_frame_does_not_rock_the_foot(standing):
    """What changes faster than in half a second is noise, slower changes are the leg's."""
    fps, frames = 60, 600
    ankle, knee = KEYPOINT_INDEX["left_ankle"], KEYPOINT_INDEX["left_knee"]
    length = np.linalg.norm(standing[ankle] - standing[knee])
    kept = {}
    for hertz in (3, 0.3):
        lift = 0.02 * np.sin(2 * np.pi * hertz * np.arange(frames) / fps)[:, None] * UP
        before = stand(standing, frames=frames, move=lift, points=[knee])
        shin = lengths(apply_all(before, fps, foot_lock=1), [(ankle, knee)])[150:-150, 0]
        kept[hertz] = np.ptp(shin) / np.ptp(lengths(before, [(ankle, knee)])[150:-150, 0])
    assert abs(length - 0.4) < 0.1
    assert kept[3] < 0.02
    assert kept[0.3] == pytest.approx(0.64, abs=0.06)


# ---- onto the ground -------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "snapped"), [(0.2, True), (-0.2, True), (0.3, False), (-0.3, False)])
def test_ground_is_snapped_to_from_a_quarter_of_a_metre(standing, person, height, snapped):
    """What is further from it stands on something else."""
    before = stand(standing, move=np.tile(height * UP, (90, 1)))
    after = apply_all(before, 30, ground_snap=True)
    soles = (LEVEL.heights(after[:, FEET]) - person.sole_heights).min(axis=1)
    np.testing.assert_allclose(soles, 0 if snapped else height, atol=1e-5)
    np.testing.assert_allclose(after - after[:, :1], before - before[:, :1], atol=1e-5)


def test_between_contacts_the_height_goes_over_from_one_to_the_next(standing, person):
    """Standing 4 cm too high, a jump, standing 10 cm too high: the jump keeps its height above both."""
    fps, frames = 60, 180
    time = np.arange(frames) / fps
    jump = 0.5 * np.sin(2 * np.pi * np.clip(time - 1, 0, 0.5)) ** 2
    high = np.where(time < 1.25, 0.04, 0.1)
    before = stand(standing, frames=frames, move=(jump + high)[:, None] * UP)
    after = apply_all(before, fps, ground_snap=True)
    lowered = (LEVEL.heights(before) - LEVEL.heights(after))[:, 0]
    np.testing.assert_allclose(lowered[:45], 0.04, atol=1e-4)
    np.testing.assert_allclose(lowered[105:], 0.1, atol=1e-4)
    assert np.diff(lowered).min() > -0.002 and np.diff(lowered).max() < 0.005
    middle = int(1.25 * fps)
    assert lowered[middle] == pytest.approx(0.07, abs=0.015)


def test_ground_snap_has_no_corners(standing):
    """Where a contact ends, the height changes over some hundredths of a second."""
    fps, frames = 200, 400
    time = np.arange(frames) / fps
    jump = 0.5 * np.sin(2 * np.pi * np.clip(time - 0.9, 0, 0.5)) ** 2
    move = np.where(time < 1.15, 0.0, 0.05) + jump
    before = stand(standing, frames=frames, move=move[:, None] * UP)
    before[:, [KEYPOINT_INDEX["left_knee"], KEYPOINT_INDEX["right_knee"]], 2] -= 0.1  # bent, so they give way
    lowered = (LEVEL.heights(before) - LEVEL.heights(apply_all(before, fps, ground_snap=True)))[:, 0]
    np.testing.assert_allclose(lowered[:140], 0, atol=1e-5)
    np.testing.assert_allclose(lowered[-60:], 0.05, atol=1e-5)
    bend = np.abs(np.diff(lowered, n=2)).max()
    assert bend < 1.4e-4, "a ramp without corners rounded off bends by 2.4e-3"


def sole_heights(keypoints, person):
    return LEVEL.heights(keypoints[:, FEET]) - person.sole_heights


def test_a_foot_below_the_ground_is_lifted_by_its_leg_while_the_other_stands(standing, person):
    """As of somebody who stands on the right foot while the left swings through the floor."""
    fps, frames = 60, 180
    time = np.arange(frames) / fps
    dip = -0.12 * np.exp(-(((time - 1.5) / 0.12) ** 2))[:, None] * UP
    before = stand(standing, frames=frames)
    before[:, [KEYPOINT_INDEX["left_knee"], KEYPOINT_INDEX["right_knee"]], 2] -= 0.1
    before[:, [KEYPOINT_INDEX["left_ankle"], *LEFT_FOOT]] += (dip + 0.01 * UP).astype(np.float32)[:, None]
    after = apply_all(before, fps, ground_snap=True, foot_lock=1)
    assert sole_heights(before, person).min() < -0.1
    assert sole_heights(after, person).min() > -0.01
    moved = np.linalg.norm(after - before, axis=-1)
    assert moved[:, KEYPOINT_INDEX["left_heel"]].max() > 0.09
    assert moved[:, [*FEET[2:], *HIPS]].max() < 0.06, "who stands keeps standing"


def test_whoever_sinks_into_the_ground_is_lifted_whole(standing, person):
    """As of somebody whose distance is lost: they were seen to stand, and then go down with both feet."""
    fps, frames = 60, 180
    sink = -0.6 * np.clip(np.arange(frames) / fps - 1.5, 0, None)[:, None] * UP
    before = stand(standing, frames=frames, move=sink)
    after = apply_all(before, fps, ground_snap=True)
    assert sole_heights(before, person).min() < -0.8
    assert sole_heights(after, person).min() > -0.01
    np.testing.assert_allclose(after - after[:, :1], before - before[:, :1], atol=0.005)


def test_whoever_goes_down_to_something_else_is_not_lifted(standing, person):
    """From the floor to one that is 40 cm lower, on which they stand too."""
    fps, frames = 60, 240
    down = -0.4 * np.clip(2.5 * (np.arange(frames) / fps - 1.5), 0, 1)[:, None] * UP
    before = stand(standing, frames=frames, move=down)
    after = apply_all(before, fps, ground_snap=True)
    np.testing.assert_allclose(after[170:], before[170:], atol=2e-3)


def test_a_foot_stands_though_the_person_then_sinks_into_the_ground(standing, person):
    """What falls through the floor within the next moment does not make the foot before it one in the air."""
    fps, frames = 60, 100
    sink = 0.05 - 0.8 * np.clip(np.arange(frames) / fps - 0.6, 0, None)
    before = stand(standing, frames=frames, move=sink[:, None] * UP)
    after = apply_all(before, fps, ground_snap=True)
    np.testing.assert_allclose(sole_heights(after, person).min(axis=1)[:20], 0, atol=1e-3)


@pytest.mark.parametrize("turned", [False, True])
def test_feet_of_who_is_upside_down_are_left_in_the_air(standing, turned):
    """Their feet hardly move, and the floor was taken to be below them."""
    before = stand(standing, frames=90, move=(np.arange(90) / 30)[:, None] * 0.05 * ACROSS + 0.03 * UP)
    if turned:
        before[..., 1] = 2 * before[:, FEET, 1].mean() - before[..., 1]
    after = apply_all(before, 30, ground_snap=True, foot_lock=1)
    assert (np.abs(after - before).max() < 1e-6) == turned


@pytest.mark.parametrize("rise", [0.7, -0.7])
def test_a_motion_without_contacts_is_left_as_it_is(standing, rise):
    """Somebody in the air all the time, above the floor and below it."""
    before = stand(standing, frames=60, move=(np.arange(60) / 30 - 1)[:, None] * rise * UP)
    before[:, KEYPOINT_INDEX["left_knee"]] += wobble((60, 3), 0.003, 0.05)
    after = apply_all(before, 30, ground_snap=True, foot_lock=1)
    np.testing.assert_allclose(after, before, atol=1e-6)


# ---- what can be asked for -------------------------------------------------------------------


@pytest.mark.parametrize(
    "edits",
    [{"smoothing": 10}, {"smoothing": 0}, {"foot_lock": 1}, {"foot_lock": 0}, {"measures": {"weight": 1000}},
     {"measures": {"stature": 0.01}}],
)  # fmt: skip
def test_limits_can_be_asked_for(edits):
    assert read_edits(json.dumps(edits)) == Edits(**edits)


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({"smoothing": 10.01}, "smoothing is a number from 0 to 10, not 10.01"),
        ({"smoothing": -0.01}, "not -0.01"),
        ({"smoothing": True}, "not True"),
        ({"foot_lock": 1.01}, "foot_lock is a number from 0 to 1"),
        ({"measures": {"weight": 1000.5}}, "weight is a number from 0 to 1000"),
        ({"measures": {"weight": -1}}, "weight is a number from 0 to 1000"),
        ({"ground_snap": 1}, "ground_snap is true or false, not 1"),
        ([1], "a JSON object is needed"),
    ],
)
def test_beyond_them_is_refused_by_name(tmp_path, edits, said):
    (tmp_path / "edits.json").write_text(json.dumps(edits))
    with pytest.raises(InputError, match=said) as caught:
        read_edits(str(tmp_path / "edits.json"))
    assert caught.value.code == "edits"


def test_a_file_of_edits_that_is_no_text_is_said(tmp_path):
    (tmp_path / "edits.json").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="neither a JSON object nor a file") as caught:
        read_edits(str(tmp_path / "edits.json"))
    assert caught.value.code == "edits"


def test_edits_of_json_leave_out_what_does_nothing():
    assert Edits(smoothing=1, ground_snap=False, measures={}).as_json() == {"smoothing": 1}
    assert Edits().as_json() == {}


def test_a_slider_at_its_end_may_lose_a_thousandth(person):
    """Sliders hold single precision and show few digits."""
    offered = BodyMeasures(person.model).of(person.shape)["stature"]
    for value in (offered.least * 0.9992, offered.most * 1.0008):
        found = edited_body(person, Edits(measures={"stature": value}))
        assert np.ptp(found.vertices[:, 1]) == pytest.approx(value, rel=0.003)
    for value in (offered.least * 0.9985, offered.most * 1.0015):
        with pytest.raises(InputError, match=r"stature is from 1\.305 to 2\.152 m") as caught:
            edited_body(person, Edits(measures={"stature": value}))
        assert caught.value.code == "edits"


def test_a_body_without_a_measure_says_so(person):
    """As a body model may have whose shapes do not vary it."""
    model = replace(person.model, vertices_basis=np.zeros_like(person.model.vertices_basis))
    with pytest.raises(InputError, match="the body model anny has no measure 'stature'") as caught:
        edited_body(ShapedBody(model, person.shape), Edits(measures={"stature": 1.7}))
    assert caught.value.code == "edits"


def test_no_measures_leave_the_body_itself(person):
    assert edited_body(person, Edits(smoothing=1)) is person
