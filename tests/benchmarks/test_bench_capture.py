# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bench of captured motion says is right: motions whose errors are known, and changed films."""

import json
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("anny")
pytest.importorskip("matplotlib")

from scipy.spatial.transform import Rotation
from sparse2dense.benchmarks import bench_capture as bench
from sparse2dense.benchmarks import captured_films
from sparse2dense.benchmarks.capture_pictures import around, draw_sheet
from sparse2dense.benchmarks.captured_films import Films, Motion, OutOfTimeError
from sparse2dense.benchmarks.changed_films import CHANGES, Change, compare_turned
from sparse2dense.benchmarks.motion_metrics import (
    JOINTS,
    OF_KEYPOINTS,
    acceleration,
    exchanged_in_clip,
    measure,
    procrustes_aligned,
    sliding,
)
from sparse2dense.inference.capture.pipeline import Capture, CaptureOptions
from sparse2dense.inference.cli import main
from sparse2dense.inference.film.writer import VideoWriter
from sparse2dense.inference.format.clip import Clip
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.camera import Camera
from sparse2dense.models.errors import InputError
from sparse2dense.models.keypoints import KEYPOINT_INDEX, MIRRORED
from sparse2dense.models.shaped_body import ShapedBody
from sparse2dense.models.training.motion import ARCHIVE

DATA = os.environ.get("S2D_DATA")
AT = {name: index for index, name in enumerate(JOINTS)}
SIDES = ("left", "right")


def flat_figure(frames=5):
    """Somebody upright and flat before the camera, limbs straight: joints ``(T, 12, 3)``."""
    places = {"shoulder": (0.2, -0.5), "elbow": (0.3, -0.2), "wrist": (0.4, 0.1),
              "hip": (0.1, 0.0), "knee": (0.1, 0.4), "ankle": (0.1, 0.8)}  # fmt: skip
    joints = np.zeros((12, 3))
    for name, index in AT.items():
        side, _, joint = name.partition("_")
        joints[index, :2] = places[joint]
        joints[index, 0] *= 1 if side == "left" else -1
    return np.tile(joints, (frames, 1, 1)) + np.array([0.3, 0.1, 4.0])


def turned(joints, axis, degrees):
    return joints @ Rotation.from_euler(axis, degrees, degrees=True).as_matrix().T


def with_knees(joints, left, right):
    """Bend straight knees by degrees towards the camera's far side."""
    bent = joints.copy()
    for side, degrees in zip(SIDES, (left, right), strict=True):
        knee, ankle = AT[f"{side}_knee"], AT[f"{side}_ankle"]
        shin = joints[:, ankle] - joints[:, knee]
        bent[:, ankle] = joints[:, knee] + turned(shin, "x", degrees)
    return bent


def test_a_moved_and_scaled_motion_is_right():
    true = flat_figure()
    found = measure(1.7 * true - (0.5, 0.2, 1.0), true)
    assert found["frames"] == 5
    for name in ("limbs", "turned", "pa", "root", "depth", "exchanged"):
        assert found[name] == pytest.approx(0, abs=1e-4)
    for name in ("knees", "elbows", "trunk"):
        assert found[name] == {"absolute": pytest.approx(0, abs=1e-4), "signed": pytest.approx(0, abs=1e-4)}


def test_a_turn_costs_what_keeps_the_cameras_axes():
    true = flat_figure()
    found = measure(turned(true, "z", 20), true)
    assert found["limbs"] == pytest.approx(20)
    assert found["turned"] == pytest.approx(0, abs=1e-4)
    assert found["pa"] == pytest.approx(0, abs=1e-4)
    from_hips = np.linalg.norm(true - true[:, 6:8].mean(axis=1, keepdims=True), axis=-1)
    assert found["root"] == pytest.approx(1000 * 2 * np.sin(np.radians(10)) * from_hips.mean())
    assert found["depth"] == pytest.approx(0, abs=1e-4)


def test_a_stoop_has_its_sign_and_its_depth():
    true = flat_figure()
    found = measure(turned(true, "x", 10), true)
    assert found["trunk"] == {"absolute": pytest.approx(10), "signed": pytest.approx(10)}
    assert measure(turned(true, "x", -10), true)["trunk"]["signed"] == pytest.approx(-10)
    below = np.abs(true[..., 1] - true[:, 6:7, 1])
    assert found["depth"] == pytest.approx(1000 * np.sin(np.radians(10)) * below.mean())


@pytest.mark.parametrize("roll", [0, 60, 90, 180])
def test_a_stoop_is_told_whichever_way_up(roll):
    true = turned(flat_figure(), "z", roll)
    found = measure(turned(turned(flat_figure(), "x", 10), "z", roll), true, upright=False)
    assert found["trunk"]["signed"] == pytest.approx(10)
    upside_down = measure(turned(true, "x", 179), turned(true, "x", -179))  # 2 degrees apart, not 358
    assert upside_down["trunk"]["absolute"] < 2.1 or roll == 90


def test_bent_knees_have_a_sign_and_opposite_errors_cancel_in_it():
    true = with_knees(flat_figure(), 30, 30)
    assert measure(with_knees(flat_figure(), 55, 55), true)["knees"] == {
        "absolute": pytest.approx(25),
        "signed": pytest.approx(-25),
    }
    both = measure(with_knees(flat_figure(), 55, 5), true)
    assert both["knees"] == {"absolute": pytest.approx(25), "signed": pytest.approx(0, abs=1e-6)}
    assert both["elbows"]["absolute"] == pytest.approx(0, abs=1e-4)
    assert both["pa"] > 5


def test_left_for_right_is_told():
    true = with_knees(flat_figure(6), 20, 40)
    other = [AT[name.replace("left", "*").replace("right", "left").replace("*", "right")] for name in JOINTS]
    some = true.copy()
    some[:2] = some[:2, other]
    assert measure(some, true)["exchanged"] == pytest.approx(2 / 6)
    assert measure(some - (0, 0, 3), true)["exchanged"] == pytest.approx(2 / 6)


def test_procrustes_does_not_mirror_and_undoes_each_frames_own_turn():
    rng = np.random.default_rng(1)
    true = rng.normal(0, 1, (4, 12, 3))
    turns = Rotation.random(4, rng=2).as_matrix()
    moved = 0.3 * true @ turns + rng.normal(0, 1, (4, 1, 3))
    np.testing.assert_allclose(procrustes_aligned(moved, true), true, atol=1e-9)
    mirrored = procrustes_aligned(moved * (-1, 1, 1), true)
    assert np.linalg.norm(mirrored - true, axis=-1).mean() > 0.3


def test_exchanged_against_most_of_a_clip():
    keypoints = ShapedBody(load_body(), np.zeros(16)).keypoints[None].repeat(9, axis=0).astype(float)
    keypoints[3:6] = keypoints[3:6][:, list(MIRRORED)]
    assert np.flatnonzero(exchanged_in_clip(keypoints)).tolist() == [3, 4, 5]
    assert np.flatnonzero(exchanged_in_clip(turned(keypoints, "y", 70))).tolist() == [3, 4, 5]
    assert np.flatnonzero(exchanged_in_clip(turned(keypoints, "y", 180))).tolist() == [3, 4, 5]


def test_acceleration_is_in_metres_a_second_squared():
    seconds = np.arange(20) / 50
    points = np.zeros((20, 3, 3))
    points[..., 1] = (0.5 * 9.81 * seconds**2)[:, None]
    assert acceleration(points, 50) == pytest.approx(9.81)


def test_only_standing_feet_slide_and_only_along_the_floor():
    frames, fps = 11, 10.0
    feet = np.zeros((frames, 4, 3))
    feet[:, 0, 0] = 0.3 * np.arange(frames) / fps  # 300 mm/s along the floor
    feet[:, 1, 1] = 1.0 * np.arange(frames) / fps  # rises
    feet[:, 2, 0] = 5.0 * np.arange(frames) / fps  # walks, and does not stand
    standing = np.array([[True, True, False, False]]).repeat(frames, axis=0)
    assert sliding(feet, standing, np.array([0.0, -1, 0]), fps) == pytest.approx(150)
    assert sliding(feet, standing & False, np.array([0.0, -1, 0]), fps) is None


# ---- changed films ---------------------------------------------------------------------------


SIZE = 96, 160  # width, height


def a_motion(frames=8, size=SIZE):
    rng = np.random.default_rng(5)
    keypoints = rng.normal(0, 0.4, (frames, 23, 3)) + np.array([0.1, 0.0, 5.0])
    return Motion(
        keypoints.astype(np.float32),
        np.zeros(16, np.float32),
        Camera(150, 150, size[0] / 2, size[1] / 2),
        size,
        Fraction(30),
        0,
        False,
    )


def dots(points, size):
    """Frames with a dot each, at ``(T, 2)`` pixels from the picture's middle."""
    width, height = size
    rows, columns = np.mgrid[:height, :width] + 0.5
    frames = []
    for x, y in points:
        bright = np.exp(-((columns - width / 2 - x) ** 2 + (rows - height / 2 - y) ** 2) / 18)
        frames.append(np.repeat((255 * bright)[..., None], 3, axis=2).astype(np.uint8))
    return frames


def places(frames):
    found = []
    for frame in frames:
        light = frame[..., 0].astype(float)
        rows, columns = np.mgrid[: light.shape[0], : light.shape[1]] + 0.5
        middle = np.array([(light * columns).sum(), (light * rows).sum()]) / light.sum()
        found.append(middle - np.array(light.shape[::-1]) / 2)
    return np.array(found)


@pytest.mark.parametrize("name", CHANGES)
def test_a_film_is_changed_as_its_motion_is(name):
    change = CHANGES[name]
    points = np.array([(-20.0, 30), (11, -17), (5, 40), (-8, -40)])
    frames = list(change.frames(dots(points, SIZE)))
    assert frames[0].shape[1::-1] == change.size(SIZE)
    expected = change.points(points[:, None].repeat(23, axis=1))[:, 0]
    np.testing.assert_allclose(places(frames), expected, atol=0.15)


def test_quarter_turns_keep_every_pixel():
    frame = np.random.default_rng(2).integers(0, 255, (160, 96, 3), np.uint8)
    np.testing.assert_array_equal(next(CHANGES["turned by 90°"].frames([frame])), np.rot90(frame, -1))
    np.testing.assert_array_equal(next(CHANGES["mirrored"].frames([frame])), frame[:, ::-1])


def test_in_a_mirror_the_left_hand_is_the_right_one():
    motion = a_motion().keypoints
    mirrored = CHANGES["mirrored"].points(motion)
    left, right = KEYPOINT_INDEX["left_wrist"], KEYPOINT_INDEX["right_wrist"]
    np.testing.assert_allclose(mirrored[:, left], motion[:, right] * (-1, 1, 1))


@pytest.mark.parametrize("name", CHANGES)
def test_a_motion_that_changes_with_its_film_is_the_same(name):
    plain, change = a_motion(), CHANGES[name]
    width, height = change.size(SIZE)
    camera = replace(plain.camera, cx=width / 2, cy=height / 2)
    changed = replace(plain, keypoints=change.points(plain.keypoints), camera=camera, size=(width, height))
    found = compare_turned(plain, changed, change, SIZE, (width, height))
    assert found == {"px": pytest.approx(0, abs=1e-3), "mm": pytest.approx(0, abs=1e-3), "exchanged": 0}
    if name not in ("half the rate", "double the rate"):
        still = compare_turned(
            plain, replace(changed, keypoints=plain.keypoints), change, SIZE, (width, height)
        )
        assert still["px"] > 5
        assert still["mm"] > 100


def test_a_turned_motion_is_off_by_what_it_is_moved():
    plain = a_motion()
    moved = replace(plain, keypoints=plain.keypoints + np.float32([0.1, 0, 0]))
    found = compare_turned(plain, moved, Change(), SIZE, SIZE)
    assert found["mm"] == pytest.approx(0, abs=1e-3)
    off = 150 * 0.1 / plain.keypoints[..., 2]
    assert found["px"] == pytest.approx(float(off.mean()) * 256 / min(SIZE), rel=1e-4)


# ---- without truth ---------------------------------------------------------------------------


def test_feet_stand_by_what_the_picture_shows():
    motion = a_motion(12)
    keypoints = np.full((12, 23, 3), 5.0)
    image, visibility = np.zeros((12, 33, 2)), np.ones((12, 33))
    heel, toe = bench.BLAZEPOSE_INDEX[bench.FEET[0]], bench.BLAZEPOSE_INDEX[bench.FEET[1]]
    image[:, heel, 0] = 1.0 / 5 * 150 / 30 * np.arange(12)  # 1 m/s at 5 m
    visibility[:, toe] = 0.2
    standing = bench.standing_feet(keypoints, image, visibility, motion)
    assert not standing[2:-2, 0].any()  # goes
    assert not standing[:, 1].any()  # is not seen
    assert standing[:, 2:].all()


def test_the_silhouette_is_where_the_mesh_is():
    body = load_body()
    mesh = body.vertices_mean.astype(float) + np.array([0, 0, 4])
    motion = a_motion()
    shown = bench.silhouette(mesh, body.faces, motion)
    assert shown.shape == SIZE[::-1]
    rows, columns = np.nonzero(shown)
    pixels = motion.camera.project(mesh)
    assert abs(columns.min() - pixels[:, 0].min()) < 2
    assert abs(rows.max() - min(pixels[:, 1].max(), SIZE[1])) < 2


def test_a_sheet_shows_film_front_and_side(tmp_path):
    import cv2

    body = load_body()
    mesh = body.vertices_mean.astype(float)
    draw_sheet(
        [np.full((160, 96, 3), 40, np.uint8)] * 2,
        [mesh, turned(mesh, "y", 90)],
        body.faces,
        tmp_path / "s.png",
    )
    sheet = cv2.imread(str(tmp_path / "s.png"))
    rows = np.split(sheet, 3)
    (front, turned_front), (side, _) = (np.split(row, 2, axis=1) for row in rows[1:])

    def width(tile):
        return np.ptp(np.nonzero((tile < 255).any(axis=(0, 2)))[0])

    assert width(front) > 1.5 * width(side)  # arms stand out from a body at rest
    assert width(turned_front) == pytest.approx(width(side), abs=3)


def test_pictures_are_cut_to_the_person():
    picture = np.zeros((200, 400, 3), np.uint8)
    picture[100, 320] = 255
    places = np.array([[(0.75, 0.4), (0.85, 0.6)], [(0.0, 0.0), (0.02, 0.1)]])
    inside, at_the_edge = around([picture, picture], places)
    assert inside.shape[0] == pytest.approx(1.5 * 40, abs=2)
    assert inside.shape[1] == pytest.approx(0.75 * inside.shape[0], abs=2)
    assert inside.max() == 255
    assert 0 < at_the_edge.shape[0] < inside.shape[0]


# ---- keeping ---------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch):
    made = []

    def capture(film, options):
        made.append(options)
        if "nobody" in film.name:
            raise InputError("no_person", "nobody")
        motion = a_motion()
        clip = Clip(motion.fps, motion.camera, *motion.size, motion.keypoints, "anny", motion.shape)
        return Capture(clip, 3, None, None, None, None)

    monkeypatch.setattr(captured_films, "capture", capture)
    return made


def a_film(path, brightness=90):
    with VideoWriter(path, Fraction(30), 64, 64) as writer:
        writer.write(np.full((64, 64, 3), brightness, np.uint8))
    return path


def test_what_was_captured_is_not_captured_again(tmp_path, calls):
    film = a_film(tmp_path / "film.mp4")
    first = Films(tmp_path / "work").motion(film, CaptureOptions())
    again = Films(tmp_path / "work", deadline=0).motion(film, CaptureOptions())
    assert len(calls) == 1
    np.testing.assert_array_equal(first.keypoints, again.keypoints)
    assert (again.fps, again.first, again.camera, again.size) == (first.fps, 3, first.camera, SIZE)
    assert again.at(np.array([0.0, 0.1])).tolist() == [-3, 0]


def test_other_films_options_and_ends_are_captured_anew(tmp_path, calls):
    film, work = a_film(tmp_path / "film.mp4"), tmp_path / "work"
    Films(work).motion(film, CaptureOptions())
    Films(work).motion(film, CaptureOptions(person=2))
    Films(work, end=0.5).motion(film, CaptureOptions())
    a_film(film, brightness=200)
    Films(work).motion(film, CaptureOptions())
    assert len(calls) == 4
    assert calls[2].end == 0.5


def test_nothing_is_begun_when_the_time_is_up(tmp_path, calls):
    film = a_film(tmp_path / "film.mp4")
    with pytest.raises(OutOfTimeError):
        Films(tmp_path / "work", deadline=0).motion(film, CaptureOptions())
    with pytest.raises(OutOfTimeError):
        Films(tmp_path / "work", deadline=0).seen(film)
    assert not calls


def test_nobody_in_a_film_is_kept_too(tmp_path, calls):
    film = a_film(tmp_path / "nobody.mp4")
    assert Films(tmp_path / "work").motion(film, CaptureOptions()) is None
    assert Films(tmp_path / "work", deadline=0).motion(film, CaptureOptions()) is None
    assert len(calls) == 1


# ---- the whole -------------------------------------------------------------------------------


def test_clips_in_which_nobody_is_found_are_counted_and_leave_the_means_alone():
    true = flat_figure()
    figures = measure(turned(true, "z", 10), true), measure(turned(true, "z", 20), true)
    clips = {
        str(index): {"kind": "floor", bench.OURS: ours, bench.ESTIMATOR: ours}
        for index, ours in enumerate((*figures, None))
    }
    kinds = bench._by_kind(clips)
    assert list(kinds) == ["floor"]
    assert (kinds["floor"]["clips"], kinds["floor"]["lost"]) == (3, 1)
    assert kinds["floor"][bench.OURS]["limbs"] == pytest.approx(15)


def test_the_page_marks_what_others_measured_elsewhere():
    true = flat_figure()
    values = measure(with_knees(true, 25, 25), true)
    results = {"weights": "0", "truth": {"a film": {bench.OURS: values, bench.ESTIMATOR: values}}}
    text = "\n".join(bench.tables(results))
    assert "| a film | Sparse2Dense |" in text
    assert "| 25 (-25) |" in text
    for name, _, mpjpe in bench.PUBLISHED:
        (row,) = [line for line in text.splitlines() if name in line]
        assert "not the same data" in row
        assert f"{mpjpe}" in row
    assert "knees -25°" in bench.summary(results)[0]


@pytest.mark.slow
def test_a_quick_run_measures_every_part(tmp_path):
    if not DATA or not (Path(DATA) / ARCHIVE).is_file() or not (Path(DATA) / "multiview").is_dir():
        pytest.skip("S2D_DATA names no folder with motion and films with truth")
    command = ["bench", "capture", "--quick", "--sheets", "--out", str(tmp_path), "--data", DATA]
    assert main(command) == 0
    found = json.loads((tmp_path / "capture.json").read_text(encoding="utf-8"))
    assert not found["unfinished"]
    ours = found["truth"]["one_cam01"][bench.OURS]
    assert 20 < ours["pa"] < ours["root"] < 200
    assert set(found["people"]) == {"upright", "sitting"}
    assert found["people"]["upright"]["lost"] == 0
    film = found["films"]["packaged clip"]
    assert 0.7 < film["iou"] < 1
    assert 0 < film["reprojection_px"] < 8
    assert found["turned"]["mirrored"]["px"] < 8
    for name in ("capture_errors.png", "capture_postures.png", "capture_balance.png"):
        assert (tmp_path / name).stat().st_size > 5000
    (tmp_path / "capture.json").unlink()
    assert main([*command, "--minutes", "0"]) == 0  # all is kept, so nothing is begun
    again = json.loads((tmp_path / "capture.json").read_text(encoding="utf-8"))
    assert not again["unfinished"]
    assert {part: again[part] for part in bench.PARTS} == {part: found[part] for part in bench.PARTS}


@pytest.mark.slow
def test_synthetic_people_are_where_their_kind_says():
    if not DATA or not (Path(DATA) / ARCHIVE).is_file():
        pytest.skip(f"S2D_DATA names no folder with {ARCHIVE}")
    from sparse2dense.models.training.postures import KINDS, PosedPeople

    people = PosedPeople(Path(DATA), "held_out", 1.0)
    keypoints, pixels = {}, {}
    for name in KINDS:
        people.kind = KINDS[name]
        head, frames = people.clip(1, 25, 25)
        keypoints[name] = np.stack([next(frames)["keypoints"] for _ in range(2)])
        pixels[name] = head["camera"].project(keypoints[name]) / head["reference"].shape[0]

    def down(name):
        points = keypoints[name][:, OF_KEYPOINTS]
        trunk = points[:, 6:8].mean(axis=1) - points[:, :2].mean(axis=1)
        return (trunk / np.linalg.norm(trunk, axis=-1, keepdims=True))[:, 1]

    assert (down("upright") > 0.8).all()
    assert (np.abs(down("rolled")) < 0.95).all()
    assert np.ptp(keypoints["sitting"][..., 1]) < 0.85 * np.ptp(keypoints["upright"][..., 1])
    assert np.ptp(pixels["far"][..., 1]) < 0.4 < np.ptp(pixels["near"][..., 1]) < 1
    assert pixels["cut_off"][..., 1].max() > 1 > pixels["upright"][..., 1].max()
    assert keypoints["far"][..., 2].min() > 5.5
    assert keypoints["near"][..., 2].max() < 2.5
