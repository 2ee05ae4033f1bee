# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames drawn by the shipped networks: the person where the keypoints say, the plate elsewhere."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
from sparse2dense.inference.decoding.synthesis import FrameSynthesiser
from sparse2dense.inference.format.clip import Clip, Reference
from sparse2dense.inference.runtime.backends import load_network
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.camera import Camera
from sparse2dense.models.errors import InputError

CAMERA = Camera(300, 300, 128, 128)
BODY = load_body()


def load(name):
    return load_network(name, "cpu")


def paint(vertices, front, back, plate):
    """Draw the body in one colour where its front shows and another where its back does."""
    picture, mask = plate.copy(), np.zeros(plate.shape[:2], np.uint8)
    corners = vertices[BODY.faces]
    rest = BODY.rest(np.zeros(BODY.shape_size))[0][BODY.faces]
    is_front = np.cross(rest[:, 1] - rest[:, 0], rest[:, 2] - rest[:, 0])[:, 2] < 0
    for face in np.argsort(-corners[..., 2].mean(1)):
        triangle = np.round(CAMERA.project(corners[face])).astype(np.int32)
        cv2.fillConvexPoly(picture, triangle, front if is_front[face] else back)
        cv2.fillConvexPoly(mask, triangle, 255)
    return picture, mask


@pytest.fixture(scope="module")
def plate():
    noise = np.random.default_rng(0).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    return cv2.resize(noise, (256, 256), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def standing():
    vertices = BODY.rest(np.zeros(BODY.shape_size))[0]
    return (vertices - vertices.mean(0) + [0, 0, 2.6]).astype(np.float32)


def clip_of(references, poses, plate, **changes):
    fields = {
        "fps": Fraction(25),
        "camera": CAMERA,
        "width": 256,
        "height": 256,
        "keypoints": BODY.keypoints(np.stack(poses)),
        "body": "anny",
        "shape": np.zeros(BODY.shape_size, np.float32),
        "references": [Reference(i, *reference) for i, reference in enumerate(references)],
        "plate": plate,
    }
    return Clip(**(fields | changes))


def error(picture, truth):
    return np.abs(picture.astype(float) - truth).mean()


def test_the_person_moves_and_uncovers_the_plate(plate, standing):
    reference = paint(standing, (200, 40, 40), (40, 40, 200), plate)
    moved = standing + np.float32([0.25, 0, 0])
    truth, mask = paint(moved, (200, 40, 40), (40, 40, 200), plate)
    synthesiser = FrameSynthesiser(clip_of([reference], [standing], plate), BODY, [standing], load)
    drawn = synthesiser.frame(BODY.keypoints(moved), moved)
    assert drawn.shape == (256, 256, 3) and drawn.dtype == np.uint8
    assert error(drawn, truth) < 0.25 * error(reference[0], truth)
    uncovered = (reference[1] > 0) & (mask == 0)
    assert error(drawn[uncovered], plate[uncovered]) < 25


def test_a_frame_does_not_depend_on_the_frames_before_it(plate, standing):
    reference = paint(standing, (200, 40, 40), (40, 40, 200), plate)
    clip = clip_of([reference], [standing], plate)
    moved = standing + np.float32([0.1, 0, 0])
    alone = FrameSynthesiser(clip, BODY, [standing], load).frame(BODY.keypoints(moved), moved)
    later = FrameSynthesiser(clip, BODY, [standing], load)
    later.frame(BODY.keypoints(standing), standing)
    np.testing.assert_array_equal(later.frame(BODY.keypoints(moved), moved), alone)


def test_frames_drawn_several_at_once_come_in_order_as_each_alone(plate, standing):
    reference = paint(standing, (200, 40, 40), (40, 40, 200), plate)
    synthesiser = FrameSynthesiser(clip_of([reference], [standing], plate), BODY, [standing], load, threads=3)
    moved = [standing + np.float32([0.02 * step, 0, 0]) for step in range(9)]
    poses = [(BODY.keypoints(vertices), vertices) for vertices in moved]
    taken = []

    def one_by_one():
        for pose in poses:
            taken.append(pose)
            yield pose

    drawn = synthesiser.frames(one_by_one())
    first = next(drawn)
    assert len(taken) < len(poses)  # a long clip's meshes are not all held at once
    for picture, pose in zip([first, *drawn], poses, strict=True):
        np.testing.assert_array_equal(picture, synthesiser.frame(*pose))


def test_away_from_the_person_a_frame_is_the_plate(plate, standing):
    reference = paint(standing, (200, 40, 40), (40, 40, 200), plate)
    synthesiser = FrameSynthesiser(clip_of([reference], [standing], plate), BODY, [standing], load)
    far = standing + np.float32([0, 0, 3])
    drawn = synthesiser.frame(BODY.keypoints(far), far)
    away = cv2.dilate(paint(far, (255, 255, 255), (255, 255, 255), plate)[1], np.ones((101, 101))) == 0
    assert away.mean() > 0.3
    np.testing.assert_array_equal(drawn[away], plate[away])
    gone = standing + np.float32([9, 0, 0])
    np.testing.assert_array_equal(synthesiser.frame(BODY.keypoints(gone), gone), plate)


def test_away_from_the_person_the_plate_follows_a_moving_camera(plate, standing):
    """The second frame's camera looks 24 pixels further right, onto a plate that reaches so far."""
    wide = cv2.resize(plate, (280, 256), interpolation=cv2.INTER_CUBIC)
    reference = paint(standing, (200, 40, 40), (40, 40, 200), wide[:, :256])
    home = np.float32([[0, 0], [256, 0], [256, 256], [0, 256]])
    views = np.stack([home, home + np.float32([24, 0])])
    clip = clip_of([reference], [standing, standing], wide, moving_camera=True, views=views)
    synthesiser = FrameSynthesiser(clip, BODY, [standing], load)
    gone = standing + np.float32([9, 0, 0])
    for number, left in enumerate((0, 24)):
        drawn = synthesiser.frame(BODY.keypoints(gone), gone, number)
        np.testing.assert_array_equal(drawn, wide[:, left : left + 256])
    with pytest.raises(ValueError, match="number"):
        synthesiser.frame(BODY.keypoints(gone), gone)


def test_what_stands_far_out_from_the_body_is_drawn_too(plate, standing):
    """Such as a tall hat: the mask of the reference says how far."""
    picture, mask = paint(standing, (200, 40, 40), (40, 40, 200), plate)
    top = int(np.flatnonzero(mask.any(1))[0])
    hat = np.s_[top - 45 : top + 10, 112:144]
    picture[hat], mask[hat] = (250, 250, 20), 255
    synthesiser = FrameSynthesiser(clip_of([(picture, mask)], [standing], plate), BODY, [standing], load)
    drawn = synthesiser.frame(BODY.keypoints(standing), standing)
    crown = np.s_[top - 44 : top - 36, 112:144]
    assert error(drawn[crown], picture[crown]) < 0.9 * error(plate[crown], picture[crown])


def test_of_two_references_the_one_that_shows_the_body_is_used(plate, standing):
    centre = np.float32([0, 0, 2.6])
    turned = (standing - centre) * np.float32([-1, 1, -1]) + centre
    red, blue = (200, 40, 40), (40, 40, 200)
    references = [paint(pose, red, blue, plate) for pose in (standing, turned)]
    synthesiser = FrameSynthesiser(
        clip_of(references, [standing, turned], plate), BODY, [standing, turned], load
    )
    chest = np.s_[100:120, 122:134]
    for pose, channel in ((standing, 0), (turned, 2)):
        shown = synthesiser.frame(BODY.keypoints(pose), pose)[chest].mean((0, 1))
        assert shown.argmax() == channel


def test_a_turn_past_several_references_is_drawn_without_a_jump(plate, standing):
    """From one frame to the next no point changes much more than the average point of the person does."""

    def turned(degrees):
        angle, centre = np.deg2rad(degrees), np.float32([0, 0, 2.6])
        c, s = np.cos(angle), np.sin(angle)
        return ((standing - centre) @ np.float32([[c, 0, -s], [0, 1, 0], [s, 0, c]]) + centre).astype(
            np.float32
        )

    seen_from = [turned(degrees) for degrees in (0, 70, 140, 210)]
    colours = [(200, 40, 40), (40, 160, 40), (160, 160, 40), (40, 40, 200)]
    references = [paint(pose, colour, colour, plate) for pose, colour in zip(seen_from, colours, strict=True)]
    synthesiser = FrameSynthesiser(clip_of(references, seen_from, plate), BODY, seen_from, load)
    poses = [turned(degrees) for degrees in np.arange(0, 210, 3)]
    drawn = np.stack([synthesiser.frame(BODY.keypoints(pose), pose) for pose in poses]).astype(float)
    change = np.abs(np.diff(drawn, axis=0)).mean((1, 2, 3))
    assert change.max() < 4 * np.median(change)
    assert np.abs(drawn[-1] - drawn[0]).mean() > 2 * change.max()


def test_what_cannot_be_drawn_is_said(plate, standing):
    with pytest.raises(InputError, match="no video to draw"):
        FrameSynthesiser(clip_of([], [standing], plate), BODY, [], load)
    reference = paint(standing, (200, 40, 40), (40, 40, 200), plate)
    odd = clip_of([reference], [standing], plate, width=252)
    with pytest.raises(InputError, match="multiples of 8"):
        FrameSynthesiser(odd, BODY, [standing], load)
