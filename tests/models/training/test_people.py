# SPDX-License-Identifier: GPL-3.0-or-later
"""Synthetic people: the labels agree with the pictures, and nothing held out is trained on."""

import copy
import os
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("anny")

from sparse2dense.models.camera import Camera
from sparse2dense.models.errors import InputError
from sparse2dense.models.training import avatars, backgrounds, motion
from sparse2dense.models.training.people import People, Variety, contact_sheet

DATA = os.environ.get("S2D_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="S2D_DATA names no folder with the avatars and motions")
SIZE = (160, 128)


@pytest.fixture(scope="module")
def people():
    return People(Path(DATA), "held_out", SIZE, seed=3)


@pytest.fixture(scope="module")
def wardrobes(people):
    return {"train": avatars.Wardrobe(people.body, Path(DATA), "train"), "held_out": people.wardrobe}


@pytest.fixture(scope="module")
def filmed(people):
    """People as training sees them: two references, and a camera that always moves."""
    filmed = copy.copy(people)
    filmed.seed, filmed.references, filmed.variety = 5, 2, Variety(moving_camera=1)
    return filmed


@pytest.fixture(scope="module")
def samples(people, filmed):
    return [people.sample(index) for index in range(4)] + [filmed.sample(index) for index in range(4)]


def grid():
    return np.stack(np.meshgrid(np.arange(SIZE[1]) + 0.5, np.arange(SIZE[0]) + 0.5), -1)


def warp(picture, flow):
    at = (grid() + flow - 0.5).astype(np.float32)
    return cv2.remap(picture, at, None, cv2.INTER_LINEAR).astype(np.float32)


@needs_data
def test_a_sample_is_a_function_of_seed_and_index(people, samples):
    again = people.sample(2)
    for key, value in samples[2].items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, again[key], err_msg=key)
    assert again["camera"] == samples[2]["camera"]
    assert (samples[1]["references"] != samples[2]["references"]).any()


@needs_data
def test_shapes_and_types(people, samples):
    vertices = len(people.body.weights)
    for sample in samples:
        count = len(sample["references"])
        assert sample["references"].shape == sample["reference_plates"].shape == (count, *SIZE, 3)
        assert sample["frames"].shape == sample["plates"].shape == (2, *SIZE, 3)
        assert sample["frames"].dtype == np.uint8
        assert sample["masks"].shape == sample["depth"].shape == (2, *SIZE)
        assert sample["visible"].shape == (2, count, *SIZE) and sample["visible"].dtype == bool
        assert sample["flow"].shape == (2, count, *SIZE, 2) and sample["flow"].dtype == np.float32
        assert sample["track"].shape == (16, 23, 3) and sample["reference_tracks"].shape == (count, 15, 23, 3)
        assert sample["vertices"].shape == (2, vertices, 3)
        assert sample["keypoints"].shape == (2, 23, 3)
        assert sample["shape"].shape == (people.body.shape_size,)
        for value in sample.values():
            assert not isinstance(value, np.ndarray) or np.isfinite(value).all()


@needs_data
def test_tracks_pass_through_the_drawn_moments(samples):
    for sample in samples:
        np.testing.assert_array_equal(sample["track"][7:9], sample["keypoints"])
        np.testing.assert_array_equal(sample["reference_tracks"][:, 7], sample["reference_keypoints"])
        assert np.linalg.norm(np.diff(sample["track"], axis=0), axis=-1).max() < 0.8
    assert len(samples[-1]["references"]) == 2
    apart = samples[-1]["reference_keypoints"][0] - samples[-1]["reference_keypoints"][1]
    assert np.abs(apart).max() > 0.1


@needs_data
def test_the_references_warped_by_the_flow_show_the_target(samples):
    warped_errors, still_errors = [], []
    for sample in samples:
        for frame, flows, visibles in zip(sample["frames"], sample["flow"], sample["visible"], strict=True):
            for reference, flow, visible in zip(sample["references"], flows, visibles, strict=True):
                if visible.sum() < 100:
                    continue
                # Light falls anew on a turned limb; a warp cannot know that, so compare without the mean.
                warped_errors.append(np.abs(warp(reference, flow) - frame)[visible].mean())
                still_errors.append(np.abs(reference.astype(np.float32) - frame)[visible].mean())
    assert np.mean(warped_errors) < 16
    assert np.mean(warped_errors) < 0.5 * np.mean(still_errors)


@needs_data
def test_flow_follows_the_bare_body(samples):
    """On hands and face, the flow is the motion of the nearest projected vertex, moving camera or not."""
    errors = []
    for sample in samples:
        camera = sample["camera"]
        for which, reference in np.ndindex(2, len(sample["references"])):
            now, then = (
                camera.project(sample["vertices"][which]),
                camera.project(sample["reference_vertices"][reference]),
            )
            nearest = np.argsort(sample["vertices"][which, :, 2])[:800]
            pixel = np.floor(now[nearest]).astype(int)
            inside = ((pixel >= 0) & (pixel < (SIZE[1], SIZE[0]))).all(1)
            pixel, nearest = pixel[inside], nearest[inside]
            covered = sample["masks"][which, pixel[:, 1], pixel[:, 0]] == 255
            flow = sample["flow"][which, reference, pixel[:, 1], pixel[:, 0]]
            errors += list(np.linalg.norm(flow - (then - now)[nearest], axis=1)[covered])
    assert np.median(errors) < 0.7


@needs_data
def test_the_place_moves_by_the_homography_when_the_camera_does(filmed):
    """Photographs exactly, drawn rooms nearly; and no visible point lies behind another in its reference."""
    found, stays, moves = [], [], []
    for index in range(5):
        sample = filmed.sample(index)
        first = sample["reference_plates"][0]
        for plate, homography in zip(sample["plates"], sample["homographies"], strict=False):
            half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
            matrix = np.linalg.inv(half) @ homography @ half
            moved = cv2.warpPerspective(first, matrix, SIZE[::-1])
            reached = cv2.warpPerspective(np.ones(SIZE, np.uint8), matrix, SIZE[::-1]) > 0
            found.append(np.abs(moved.astype(int) - plate)[reached].mean())
            stays.append(np.abs(first.astype(int) - plate)[reached].mean())
            moves.append(np.abs(homography / homography[2, 2] - np.eye(3)).max())
    assert min(moves) > 0
    assert np.mean(found) < 0.6 * np.mean(stays)


@needs_data
def test_mask_covers_the_projected_body_and_little_else(samples):
    for sample in samples:
        pixel = np.floor(sample["camera"].project(sample["reference_vertices"][0])).astype(int)
        inside = pixel[((pixel >= 0) & (pixel < (SIZE[1], SIZE[0]))).all(1)]
        grown = cv2.dilate(sample["reference_masks"][0], np.ones((3, 3), np.uint8))
        assert (grown[inside[:, 1], inside[:, 0]] > 0).mean() > 0.99
        body = np.zeros(SIZE, np.uint8)
        body[inside[:, 1], inside[:, 0]] = 1
        # Hair and loose cloth stand out from the body, but not by a quarter of its height.
        reach = int(0.12 * np.ptp(pixel[:, 1])) * 2 + 1
        near = cv2.dilate(body, np.ones((reach, reach), np.uint8))
        assert (near[sample["reference_masks"][0] > 0] > 0).mean() > 0.99


@needs_data
def test_the_person_stands_in_the_picture(samples):
    for sample in samples:
        keypoints = sample["camera"].project(sample["reference_keypoints"][0])
        assert ((keypoints > 0) & (keypoints < (SIZE[1], SIZE[0]))).all(1).mean() > 0.6
        assert (sample["reference_masks"][0] > 127).mean() > 0.02


@needs_data
def test_background_is_the_plate_where_the_person_is_far(samples):
    for sample in samples:
        away = cv2.dilate(sample["reference_masks"][0], np.ones((5, 5), np.uint8)) == 0
        difference = np.abs(sample["references"][0].astype(int) - sample["reference_plates"][0])[away]
        assert np.median(difference) < 10


@needs_data
def test_a_clip_is_continuous_and_starts_at_its_reference(people):
    head, frames = people.clip(0, frames=12, fps=25)
    frames = list(frames)
    assert len(frames) == 12 and head["fps"] == 25
    keypoints = np.stack([frame["keypoints"] for frame in frames])
    np.testing.assert_array_equal(keypoints[0], head["reference_keypoints"])
    assert np.linalg.norm(np.diff(keypoints, axis=0), axis=-1).max() < 0.4
    # At the reference itself only the place of a sample within its pixel remains: none.
    assert np.abs(frames[0]["flow"]).max() < 1e-2
    assert frames[0]["visible"][frames[0]["mask"] > 0].all()


@needs_data
def test_splits_wear_different_things(wardrobes):
    worn = {}
    for split, wardrobe in wardrobes.items():
        garments = {g.name for kind in (wardrobe.suits, wardrobe.shoes, wardrobe.hair) for g in kind}
        assert wardrobe.suits and wardrobe.shoes and wardrobe.hair and wardrobe.skins
        worn[split] = garments | {name for name, _ in wardrobe.skins}
    assert worn["held_out"] == avatars.HELD_OUT
    assert not worn["train"] & worn["held_out"]
    assert not set(motion.TRAINING_SUBJECTS) & set(motion.HELD_OUT_SUBJECTS)
    with zipfile.ZipFile(Path(DATA) / avatars.ARCHIVE) as archive:
        known = {Path(name).stem for name in archive.namelist()}
    assert worn["train"] | worn["held_out"] <= known


@needs_data
def test_the_trunk_below_a_suit_is_left_out(wardrobes):
    wardrobe = wardrobes["held_out"]
    body = wardrobe.body
    avatar = wardrobe.dress(body.rest(np.zeros(body.shape_size))[0], 1, np.random.default_rng(0))
    vertices = len(body.weights)
    bare = np.unique(avatar.faces[avatar.material == avatars.SKIN])
    assert bare.max() < vertices
    chest = np.argsort(np.linalg.norm(avatar.rest[:vertices] - avatar.rest[:vertices].mean(0), axis=1))[:200]
    assert not np.isin(chest, bare).any()


@needs_data
def test_a_top_and_a_bottom_cover_what_their_suit_covers(wardrobes):
    """Worn together again they are the suit: no skin shows that it hid, and none of its cloth is lost."""
    for suit in wardrobes["train"].suits:
        pieces = [
            g
            for g in (*wardrobes["train"].tops, *wardrobes["train"].bottoms)
            if g.name.split()[0] == suit.name
        ]
        if pieces:
            assert len(pieces) == 2
            np.testing.assert_array_equal(pieces[0].hides | pieces[1].hides, suit.hides)
            assert sum(len(piece.faces) for piece in pieces) == len(suit.faces)
    assert len(wardrobes["train"].tops) >= 7


@needs_data
def test_mixed_clothes_come_from_the_split(wardrobes):
    wardrobe = wardrobes["train"]
    rest = wardrobe.body.rest(np.zeros(wardrobe.body.shape_size))[0]
    for seed in range(8):
        rng = np.random.default_rng(seed)
        names = wardrobe.dress(rest, 2, rng, rng).names
        assert names[0].endswith(" top") and names[1].endswith(" bottom")
        assert not {name.split()[0] for name in names} & avatars.HELD_OUT


@pytest.mark.parametrize(("split", "red"), [("train", False), ("held_out", True)])
def test_photographs_on_the_list_are_only_seen_held_out(tmp_path, split, red):
    for name, blue in ((min(backgrounds.HELD_OUT), 0), ("Street", 255)):
        picture = np.full((300, 400, 3), (blue, 0, 255 - blue), np.uint8)
        (tmp_path / f"{name}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    places = backgrounds.Backgrounds(tmp_path, split)
    camera, view = Camera(60, 60, 24, 32), np.column_stack([np.eye(3), (0, 1.5, 4)])
    seen = [places.make((64, 48), camera, view, np.random.default_rng(i)).seen(view) for i in range(20)]
    of_photograph = [s.reshape(-1, 3) for s in seen if s[..., 1].max() < 60]
    assert len(of_photograph) > 5
    assert all((np.median(s[:, 0]) > np.median(s[:, 2])) == red for s in of_photograph)


@needs_data
def test_photographs_of_the_folder_are_used(tmp_path):
    for name in "abcdefghij":
        picture = np.full((300, 400, 3), (0, 0, 255), np.uint8)
        (tmp_path / f"{name}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    places = backgrounds.Backgrounds(tmp_path, "train")
    view = np.column_stack([np.eye(3), (0, 1.5, 4)])
    camera = Camera(60, 60, 24, 32)
    made = [places.make((64, 48), camera, view, np.random.default_rng(i)).seen(view) for i in range(20)]
    red = [np.median(m[..., 0]) > 150 and np.median(m[..., 1]) < 40 for m in made]
    assert 8 <= sum(red) < 20
    assert made[0].shape == (64, 48, 3) and made[0].dtype == np.uint8


@needs_data
def test_pytorch_draws_the_same_sample(people, samples):
    pytest.importorskip("torch")
    on_torch = copy.copy(people)
    on_torch.device = "cpu"
    ours, theirs = on_torch.sample(1), samples[1]
    for key in ("references", "frames", "reference_masks", "masks"):
        difference = np.abs(ours[key].astype(int) - theirs[key])
        assert difference.mean() < 0.02 and (difference > 3).mean() < 1e-3, key
    for key in ("plates", "track", "homographies"):
        np.testing.assert_array_equal(ours[key], theirs[key])
    assert (np.abs(ours["flow"] - theirs["flow"]) > 0.02).mean() < 1e-3
    assert (ours["visible"] != theirs["visible"]).mean() < 1e-3
    assert (np.abs(ours["depth"] - theirs["depth"]) > 1e-3).mean() < 1e-3
    np.testing.assert_allclose(ours["vertices"], theirs["vertices"], atol=1e-4)


def test_missing_and_damaged_data_are_named(tmp_path):
    with pytest.raises(InputError, match=r"mh_cc0_avatars\.zip is missing") as refused:
        People(tmp_path)
    assert refused.value.code == "no_data"
    (tmp_path / avatars.ARCHIVE).write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"mh_cc0_avatars\.zip is damaged"):
        People(tmp_path)


@needs_data
def test_contact_sheet_shows_two_people_a_row(people):
    assert contact_sheet(people, rows=1).shape == (SIZE[0], 2 * 7 * SIZE[1], 3)
