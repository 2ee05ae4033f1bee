# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames drawn by the shipped networks: the person where the keypoints say, the plate elsewhere."""

from dataclasses import replace
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
from sparse2dense.models.mesh_motion import see_body

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
    assert len(taken) == 7 < len(poses), "a long clip's meshes are not all held at once"
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
    with pytest.raises(InputError, match="no video to draw") as caught:
        FrameSynthesiser(clip_of([], [standing], plate), BODY, [], load)
    assert caught.value.code == "no_picture"
    reference = paint(standing, (200, 40, 40), (40, 40, 200), plate)
    odd = clip_of([reference], [standing], plate, width=252)
    with pytest.raises(InputError, match="multiples of 8"):
        FrameSynthesiser(odd, BODY, [standing], load)


# ---- what the networks are given, and what becomes of what they draw -------------------------

SQUARE = replace(BODY, faces=np.array([[0, 1, 2], [0, 2, 3], [0, 2, 1], [0, 3, 2]]), clothing=None)
"""A card, with a front and a back."""


def card(left, top, right, bottom, depth=3.0):
    """The card's corners ``(4, 3)`` where the camera sees them on these pixels."""
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float)
    return np.column_stack([(corners - (128, 128)) * depth / 300, np.full(4, depth)]).astype(np.float32)


class Networks:
    """Networks that note what they are given; the generator draws ``light`` everywhere."""

    def __init__(self, light=1.0):
        self.light, self.encoded, self.drawn = light, [], []

    def __call__(self, name):
        return {"reference_encoder": self.encode, "generator": self.draw}[name]

    def encode(self, **inputs):
        self.encoded.append(inputs)
        return {"features": np.full((1, 2, 4, 4), len(self.encoded), np.float32)}

    def draw(self, **inputs):
        self.drawn.append(inputs)
        return {"picture": np.full_like(inputs["plate"], self.light)}


def on_black(vertices, mask=None, number=1, **changes):
    """A clip of the card before black, its references posed as ``vertices``, and its networks."""
    if mask is None:
        mask = np.zeros((256, 256), np.uint8)
    references = [(np.full((256, 256, 3), 51 * (i + 1), np.uint8), mask) for i in range(number)]
    clip = clip_of(
        references, [BODY.rest(np.zeros(16))[0]] * number, np.zeros((256, 256, 3), np.uint8), **changes
    )
    networks = Networks()
    return FrameSynthesiser(clip, SQUARE, vertices, networks), networks, clip


POINTS = BODY.keypoints(BODY.rest(np.zeros(16))[0]) + np.float32([0, 0, 3])


def box_of(inputs):
    """Left, top, right and bottom of the part of the canvas that was drawn."""
    (left, top), (height, width) = inputs["origin"][0], inputs["plate"].shape[2:]
    return int(left), int(top), int(left) + width, int(top) + height


@pytest.mark.parametrize(
    ("seen", "box"),
    [
        # What is seen is a pixel larger: outlines are soft. Sixteen more around, then whole blocks.
        ((97, 81, 159, 175), (80, 64, 176, 192)),
        ((96, 80, 160, 176), (72, 56, 184, 200)),
        ((10, 9, 247, 250), (0, 0, 256, 256)),
    ],
)
def test_the_networks_draw_the_part_around_the_person_alone(seen, box):
    vertices = card(*seen)
    synthesiser, networks, _ = on_black([vertices])
    picture = synthesiser.frame(POINTS, vertices)
    (given,) = networks.drawn
    assert box_of(given) == box
    left, top, right, bottom = box
    drawn = np.zeros((256, 256), bool)
    drawn[top:bottom, left:right] = True
    assert (picture[~drawn] == 0).all() and (picture[drawn] > 0).all()


def test_what_is_drawn_fades_into_the_plate_but_at_the_canvas_edge():
    vertices = card(97, 10, 159, 175)
    synthesiser, _, _ = on_black([vertices])
    picture = synthesiser.frame(POINTS, vertices)[..., 0]
    ramp = (np.arange(8) + 0.5) / 8
    across = np.concatenate([ramp, np.ones(80), ramp[::-1]])
    down = np.concatenate([np.ones(184), ramp[::-1]])
    np.testing.assert_array_equal(picture[:192, 80:176], np.rint(np.outer(down, across) * 255))
    wide = card(10, 60, 246, 120)
    picture = on_black([wide])[0].frame(POINTS, wide)[..., 0]
    assert (picture[100] == 255).all(), "from edge to edge"


def test_edges_are_those_of_the_canvas_whatever_its_shape(standing):
    low, networks = card(97, 10, 159, 100), Networks()
    black = np.zeros((112, 256, 3), np.uint8)
    clip = clip_of([(black, black[..., 0])], [standing], black, height=112)
    picture = FrameSynthesiser(clip, SQUARE, [low], networks).frame(POINTS, low)[..., 0]
    assert picture.shape == (112, 256)
    assert (picture[:, 128] == 255).all(), "from the upper edge to the lower"
    assert picture[50, 80] == picture[50, 175] == round(255 / 16)


def test_a_part_narrower_than_two_fades_is_still_drawn():
    vertices = card(2, 2, 4, 4)
    synthesiser, networks, _ = on_black([vertices])
    picture = synthesiser.frame(POINTS, vertices)[..., 0]
    assert box_of(networks.drawn[0]) == (0, 0, 24, 24)
    assert picture[0, 0] == 255 and picture[0, 23] == round(255 / 16) and picture[0, 24] == 0


def test_clothes_that_stand_out_widen_the_part_by_as_much_as_they_look():
    """By how far the mask goes beyond the body, in pixels at the distance that the frame has."""
    seen = (97, 81, 159, 175)
    mask = np.zeros((256, 256), np.uint8)
    mask[100, 60:100] = 255  # 36 pixels left of what is seen, from its soft edge
    synthesiser, networks, _ = on_black([card(*seen)], mask)
    synthesiser.frame(POINTS, card(*seen))
    assert box_of(networks.drawn[0]) == (40, 24, 216, 232)
    near = card(*seen, depth=1.5)
    synthesiser.frame(POINTS, near)
    assert box_of(networks.drawn[1]) == (8, 0, 248, 256)
    far = card(*seen, depth=6.0)
    synthesiser.frame(POINTS, far)
    assert box_of(networks.drawn[2]) == (40, 24, 216, 232), "never less than in the reference"
    mask[100, 60:100] = 127
    synthesiser, networks, _ = on_black([card(*seen)], mask)
    synthesiser.frame(POINTS, card(*seen))
    assert box_of(networks.drawn[0]) == (80, 64, 176, 192), "hardly the person's"


def test_a_reference_that_shows_no_body_widens_nothing():
    mask = np.full((256, 256), 255, np.uint8)
    away = card(97, 81, 159, 175) + np.float32([9, 0, 0])
    here = card(97, 81, 159, 175)
    synthesiser, networks, _ = on_black([away], mask)
    synthesiser.frame(POINTS, here)
    assert box_of(networks.drawn[0]) == (80, 64, 176, 192)


def test_the_networks_get_the_reference_the_plate_and_the_keypoints():
    vertices = card(97, 81, 159, 175)
    mask = np.zeros((256, 256), np.uint8)
    mask[90:170, 100:150] = 255
    synthesiser, networks, clip = on_black([vertices], mask)
    synthesiser.frame(POINTS, vertices)
    (encoded,), (given,) = networks.encoded, networks.drawn
    assert {name: array.shape for name, array in encoded.items()} == {
        "reference": (1, 3, 256, 256), "mask": (1, 1, 256, 256), "plate": (1, 3, 256, 256),
    }  # fmt: skip
    np.testing.assert_allclose(encoded["reference"], 0.2)
    np.testing.assert_array_equal(encoded["mask"][0, 0], mask / 255)
    assert not encoded["plate"].any()
    assert {name: array.shape for name, array in given.items()} == {
        "features": (1, 1, 2, 4, 4),
        "references": (1, 1, 3, 256, 256),
        "masks": (1, 1, 1, 256, 256),
        "reference_coverage": (1, 1, 1, 256, 256),
        "reference_keypoints": (1, 1, 23, 2),
        "plate": (1, 3, 128, 96),
        "motion": (1, 1, 4, 128, 96),
        "keypoints": (1, 23, 2),
        "origin": (1, 2),
        "shares": (1, 1),
    }
    assert {array.dtype for array in given.values()} == {np.dtype(np.float32)}
    np.testing.assert_allclose(given["keypoints"][0], CAMERA.project(POINTS), atol=1e-4)
    np.testing.assert_allclose(
        given["reference_keypoints"][0, 0], CAMERA.project(clip.keypoints[0]), atol=1e-4
    )
    np.testing.assert_array_equal(given["references"][0, 0], encoded["reference"][0])
    assert given["shares"] == 1
    surface = see_body(SQUARE, vertices, CAMERA.project, 256, 256)
    np.testing.assert_array_equal(given["reference_coverage"][0, 0, 0], surface.coverage)
    np.testing.assert_array_equal(given["motion"][0, 0], surface.motion_to(surface)[:, 64:192, 80:176])


def test_the_picture_is_the_plate_where_the_networks_change_nothing(plate):
    vertices, networks = card(97, 81, 159, 175), Networks()
    networks.draw = lambda **inputs: {"picture": inputs["plate"]}
    clip = clip_of([(plate, plate[..., 0])], [BODY.rest(np.zeros(16))[0]], plate)
    synthesiser = FrameSynthesiser(clip, SQUARE, [vertices], networks)
    np.testing.assert_array_equal(synthesiser.frame(POINTS, vertices), plate)


def test_of_many_references_the_two_that_show_most_are_blended():
    """The card turns away: what a reference shows of it goes from all to little."""
    frame = card(60, 60, 200, 200)
    hidden = [card(60 + shift, 60, 200 + shift, 200) for shift in (90, 0, 126, 63)]
    synthesiser, networks, _ = on_black(hidden, number=4)
    shown = [shares_of(frame, each) for each in hidden]
    synthesiser.frame(POINTS, frame)
    (given,) = networks.drawn
    assert np.argsort(shown)[::-1].tolist() == [1, 3, 0, 2]
    np.testing.assert_allclose(given["references"][0, :, 0, 0, 0], [0.4, 0.8], atol=1e-6)
    np.testing.assert_array_equal(given["features"][0, :, 0, 0, 0], [2, 4])
    assert given["motion"].shape[1] == 2
    second = (shown[3] / shown[1]) ** 8 * min((shown[3] - shown[0]) / (0.1 * shown[1]), 1)
    np.testing.assert_allclose(given["shares"], [[1, second]], rtol=1e-5)
    assert 0.6 < second < 0.7


def shares_of(frame, reference):
    """How many pixels of what the frame shows of the card the reference shows too."""
    there, here = (see_body(SQUARE, pose, CAMERA.project, 256, 256) for pose in (reference, frame))
    motion = here.motion_to(there)
    return float((motion[2] * motion[3]).sum())


def test_a_reference_gives_way_to_another_without_a_jump():
    """Where two others show as much as it does, its share is nothing; where it shows more, it grows."""
    frame = card(60, 60, 200, 200)
    for shift, expected in ((100, 0), (98, "little"), (60, "more")):
        poses = [frame, card(60 + shift, 60, 200 + shift, 200), card(160, 60, 300, 200)]
        synthesiser, networks, _ = on_black(poses, number=3)
        synthesiser.frame(POINTS, frame)
        (first, second), shown = networks.drawn[0]["shares"][0], [shares_of(frame, pose) for pose in poses]
        assert first == 1
        lead = np.clip((shown[1] - shown[2]) / (0.1 * shown[0]), 0, 1)
        assert second == pytest.approx(max((shown[1] / shown[0]) ** 8 * lead, 1e-6), rel=1e-4)
        if expected == 0:
            assert second == pytest.approx(1e-6)


def test_a_frame_that_no_reference_shows_is_drawn_of_the_first_two():
    here, away = card(97, 81, 159, 175), card(97, 81, 159, 175) + np.float32([9, 0, 0])
    synthesiser, networks, _ = on_black([away, away, away], number=3)
    synthesiser.frame(POINTS, here)
    (given,) = networks.drawn
    np.testing.assert_array_equal(given["features"][0, :, 0, 0, 0], [1, 2])
    assert np.isfinite(given["shares"]).all() and (given["shares"] > 0).all()


def test_references_without_a_pose_each_are_refused():
    with pytest.raises(ValueError, match="zip"):
        on_black([card(97, 81, 159, 175)], number=2)


def test_a_canvas_that_is_not_of_whole_blocks_is_refused_in_either_direction():
    vertices = card(97, 81, 159, 175)
    for width, height in ((252, 256), (256, 252), (8, 12)):
        with pytest.raises(InputError, match=f"{width}x{height}") as caught:
            on_black([vertices], width=width, height=height)
        assert caught.value.code == "bad_canvas"
