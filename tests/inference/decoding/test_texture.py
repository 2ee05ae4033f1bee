# SPDX-License-Identifier: GPL-3.0-or-later
"""The texture has the colours that the pictures show, likely ones elsewhere, and none of the background."""

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.inference.decode import decode
from sparse2dense.inference.decoding.edits import Edits
from sparse2dense.inference.decoding.texture import paint_texture, unfold
from sparse2dense.inference.format.clip import Reference
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.camera import Camera
from sparse2dense.models.mesh_motion import Surface
from sparse2dense.models.shaped_body import ShapedBody

CAMERA = Camera(300, 300, 128, 128)
BODY = load_body()
SHAPED = ShapedBody(BODY, np.zeros(BODY.shape_size))
GREEN, RED, BLUE = (0, 255, 0), (200, 30, 40), (30, 40, 200)


def moved_by(*starts):
    """How much of each vertex moves with bones whose names begin so, ``(V,)``."""
    return BODY.weights[:, [name.startswith(starts) for name in BODY.bone_names]].sum(axis=1)


ARMS = moved_by("upperarm", "lowerarm") > 0.5
AHEAD = -BODY.normals(SHAPED.vertices)[:, 2]


def standing(degrees):
    """The body at rest, turned about the vertical."""
    turn = Rotation.from_euler("y", degrees, degrees=True).as_matrix()
    return (SHAPED.vertices @ turn.T - SHAPED.vertices.mean(axis=0) + [0, 0, 2.6]).astype(np.float32)


def photograph(vertices, colours, spill=0):
    """A picture of the body before green, each vertex of its colour; its mask is too wide by ``spill``."""
    dressed = BODY.dressed(vertices)
    shown = Surface(BODY.faces, CAMERA.project(dressed), dressed[:, 2], 256, 256)
    picture, mask = np.full((256, 256, 3), GREEN, np.uint8), np.zeros((256, 256), np.uint8)
    picture.reshape(-1, 3)[shown.cells] = colours[BODY.faces[shown.triangles, 0]]
    mask.ravel()[shown.cells] = 255
    return Reference(0, picture, cv2.dilate(mask, np.ones((2 * spill + 1, 2 * spill + 1), np.uint8)))


def at_vertices(texture):
    """The texture's colours ``(V, 3)`` at the vertices; a vertex on a seam has that of one side."""
    places = (BODY.uv * [1, -1] + [0, 1]) * len(texture)
    column, row = np.clip(places, 0, len(texture) - 1).astype(int).T
    colours = np.zeros((len(SHAPED.vertices), 3))
    colours[BODY.faces] = texture[row, column][BODY.faces_uv]
    return colours


def coloured(where, colour, otherwise):
    return np.where(where[:, None], colour, otherwise).astype(np.uint8)


@pytest.fixture(scope="module")
def two_sided():
    """The texture of a body that is red in front and blue behind, seen from both sides."""
    colours = coloured(AHEAD > 0, RED, BLUE)
    poses = [standing(0), standing(180)]
    return paint_texture(SHAPED, CAMERA, [photograph(pose, colours) for pose in poses], poses)


def test_each_side_is_taken_from_the_picture_that_shows_it(two_sided):
    found = at_vertices(two_sided)
    trunk = np.abs(SHAPED.vertices) @ (1, 0.3, 0) < 0.15
    assert np.abs(found[trunk & (AHEAD > 0.7)] - RED).mean() < 8
    assert np.abs(found[trunk & (AHEAD < -0.7)] - BLUE).mean() < 8


def test_it_is_the_same_every_time(two_sided):
    colours = coloured(AHEAD > 0, RED, BLUE)
    poses = [standing(0), standing(180)]
    again = paint_texture(SHAPED, CAMERA, [photograph(pose, colours) for pose in poses], poses)
    np.testing.assert_array_equal(two_sided, again)


@pytest.mark.parametrize("spill", [0, 1])
def test_no_background_comes_onto_the_body_though_it_lies_beside_the_person(spill):
    """As it does by some pixels in a film, whose masks are too wide besides."""
    reference = photograph(standing(20), coloured(AHEAD > -2, RED, RED), spill)
    beside = standing(20) + np.float32([0.02, 0, 0])
    off = np.abs(at_vertices(paint_texture(SHAPED, CAMERA, [reference], [beside])) - RED).max(axis=1)
    assert (off > 60).mean() < 0.02


def test_the_far_arm_is_as_the_near_one_and_not_as_what_is_before_it():
    yellow, grey = (220, 200, 40), (90, 90, 90)
    reference = photograph(standing(90), coloured(ARMS, yellow, grey))
    found = at_vertices(paint_texture(SHAPED, CAMERA, [reference], [standing(90)]))
    for side in (1, -1):
        arm = ARMS & (side * SHAPED.vertices[:, 0] > 0.3)
        assert np.abs(found[arm] - yellow).mean() < 25, f"arm at x of sign {side}"
    trunk = np.abs(SHAPED.vertices[:, 0]) < 0.08
    assert np.abs(found[trunk] - grey).mean() < 15


def test_the_trunk_has_nothing_of_the_arm_before_it():
    yellow, grey = (220, 200, 40), (90, 90, 90)
    arms = moved_by("shoulder", "upperarm", "lowerarm", "wrist")
    reference = photograph(standing(60), coloured(arms > 0.5, yellow, grey))
    found = at_vertices(paint_texture(SHAPED, CAMERA, [reference], [standing(60)]))
    trunk = (arms < 0.02) & (moved_by("spine") > 0.5)
    off = np.abs(found[trunk] - grey).max(axis=1)
    assert (off > 60).mean() < 0.02


def test_what_no_picture_shows_is_like_what_lies_beside_it():
    """The back of the head is unlike the face, and of the colour of the hair on top."""
    head = moved_by("head") > 0.5
    hair = head & (BODY.clothing > 0.009)
    colours = coloured(hair, (60, 40, 20), (220, 170, 150))
    near = standing(0) + np.float32([0, 0.7, -1.6])
    found = at_vertices(paint_texture(SHAPED, CAMERA, [photograph(near, colours)], [near]))
    behind = hair & (AHEAD < -0.5)
    off = [np.abs(found[behind] - colour).mean() for colour in ((60, 40, 20), (220, 170, 150))]
    assert off[0] < 0.8 * off[1]


def test_the_back_of_a_shirt_is_as_low_as_its_front():
    low = SHAPED.vertices[:, 1] > 0
    colours = coloured(low, BLUE, RED)
    found = at_vertices(paint_texture(SHAPED, CAMERA, [photograph(standing(0), colours)], [standing(0)]))
    high = np.abs(SHAPED.vertices[:, 1])
    trunk = (moved_by("spine", "root", "upperleg") > 0.8) & (high > 0.05) & (high < 0.1) & (AHEAD < 0.4)
    assert np.abs(found[trunk & low] - BLUE).mean() < 12
    assert np.abs(found[trunk & ~low] - RED).mean() < 12


def test_islands_reach_beyond_their_edges(two_sided):
    cells, _ = unfold(BODY, 512)
    covered = np.zeros((512, 512), np.uint8)
    covered.ravel()[cells] = 1
    rim = (cv2.dilate(covered, np.ones((17, 17), np.uint8)) > 0) & (covered == 0)
    around = np.ones((35, 35), np.uint8)  # the nearest of the island may lie in another corner's direction
    most = cv2.dilate(two_sided * covered[..., None], around)
    least = cv2.erode(np.where(covered[..., None] > 0, two_sided, 255).astype(np.uint8), around)
    assert (two_sided[rim] <= most[rim]).all() and (two_sided[rim] >= least[rim]).all()


def test_sides_may_be_of_another_length():
    red = coloured(AHEAD > -2, RED, RED)
    texture = paint_texture(SHAPED, CAMERA, [photograph(standing(0), red)], [standing(0)], side=128)
    assert texture.shape == (128, 128, 3)


def test_decoding_writes_it_unless_the_motion_is_edited(filmed_clip, tmp_path):
    decode(filmed_clip, tmp_path / "plain", only="mesh")
    decode(filmed_clip, tmp_path / "edited", only="mesh", edits=Edits(smoothing=1.0))
    texture = cv2.imread(str(tmp_path / "plain" / "texture.png"))
    assert texture.shape == (512, 512, 3)
    assert texture.std(axis=(0, 1)).min() > 20
    assert not (tmp_path / "edited" / "texture.png").exists()
