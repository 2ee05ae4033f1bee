# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a character performs: where the clip's person does, or where it stands, facing as it does."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.models.errors import InputError
from sparse2dense.s2d_addon.retarget.placing import find_place

from .people import HEADS, OWN, Y_UP, person

CAMERA = Rotation.from_euler("x", 0.3).as_matrix()


def matrix(turn=None, place=(0, 0, 0), scale=1.0):
    made = np.eye(4)
    made[:3, :3] = scale * (np.eye(3) if turn is None else turn)
    made[:3, 3] = place
    return made


def about_z(angle):
    return Rotation.from_euler("z", angle).as_matrix()


# The clip's camera stands above a floor that leans in its space.
FLOOR = matrix(CAMERA) @ matrix(place=(-0.4, -3, 1.2))


def found(at="CLIP", target=None, clip=None, floor=None, rig=None, bones=OWN):
    return find_place(
        at,
        person() if rig is None else rig,
        person(),
        bones,
        name="Hero",
        target_world=matrix() if target is None else target,
        clip_world=FLOOR if clip is None else clip,
        floor=FLOOR if floor is None else floor,
    )


def world(place, target, point):
    """Where in the world a point of the clip's space ends up, by the place and the armature object."""
    there = place.turn @ (place.scale * (point - place.floor)) + place.origin
    return target[:3, :3] @ there + target[:3, 3]


# ---- at the clip -----------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [FLOOR, matrix(about_z(0.8), (4, 5, 6)) @ FLOOR, matrix()])
def test_at_the_clip_the_floor_stays_where_the_clip_has_it(clip):
    target = matrix(about_z(0.5), (2, 1, 0), 0.01)
    place = found("CLIP", target, clip, rig=person(size=100))
    point = np.linalg.inv(FLOOR)[:3, 3]
    np.testing.assert_allclose(place.floor, point, atol=1e-12)
    wanted = (clip @ [*point, 1])[:3]
    np.testing.assert_allclose(world(place, target, point), wanted, atol=1e-9)
    step = np.array([0.3, -0.2, 0.4])
    moved = world(place, target, point + step) - wanted
    np.testing.assert_allclose(moved, clip[:3, :3] @ step, atol=1e-9)
    assert place.scale == pytest.approx(100)


def test_up_is_the_worlds_unless_the_clip_is_still_in_camera_space():
    up = found(clip=matrix(about_z(1.0), (1, 2, 3)) @ FLOOR).up
    np.testing.assert_allclose(up, FLOOR[:3, :3].T @ (0, 0, 1), atol=1e-12)
    np.testing.assert_allclose(found(clip=matrix()).up, FLOOR[:3, :3].T @ (0, 0, 1), atol=1e-12)
    tipped = matrix(Rotation.from_euler("y", 0.5).as_matrix())
    np.testing.assert_allclose(found(clip=tipped).up, tipped[:3, :3].T @ (0, 0, 1), atol=1e-12)


def test_the_clips_own_scale_is_not_the_characters():
    place = found(clip=matrix(scale=5.0) @ FLOOR)
    np.testing.assert_allclose(place.turn @ place.turn.T, np.eye(3), atol=1e-12)
    assert place.scale == pytest.approx(1)


# ---- where it stands -------------------------------------------------------------------------


@pytest.mark.parametrize("spin", [0.0, 0.7, np.pi / 2, 3.0, -2.0])
@pytest.mark.parametrize("rig", [person(), person(Y_UP)])
def test_where_it_stands_the_person_begins_at_its_feet_facing_as_it_does(spin, rig):
    turned = Y_UP if rig.rest[0, 2, 3] == 0 else np.eye(3)
    clip = matrix(about_z(spin), (4, 5, 0)) @ FLOOR
    place = found("ARMATURE", matrix(about_z(1.0), (9, 9, 9)), clip, rig=rig)
    point = np.linalg.inv(FLOOR)[:3, 3]
    np.testing.assert_allclose(place.turn @ (point - place.floor) + place.origin, 0, atol=1e-12)
    forward, up = np.linalg.inv(FLOOR)[:3, :3] @ (0, -1, 0), np.linalg.inv(FLOOR)[:3, :3] @ (0, 0, 1)
    np.testing.assert_allclose(place.turn @ forward, turned @ (0, -1, 0), atol=1e-12)
    np.testing.assert_allclose(place.turn @ up, turned @ (0, 0, 1), atol=1e-12)
    np.testing.assert_allclose(place.turn @ place.up, turned @ (0, 0, 1), atol=1e-12)


def test_a_character_that_is_not_at_its_origin_begins_below_its_hips():
    bent = HEADS | {"spine.001": (0.2, 0.3, 1.1)}
    aside = person(moved={name: np.array(head) + np.array([3, 4, -5]) for name, head in bent.items()})
    aside.tails[:, 2] -= 5
    place = found("ARMATURE", rig=aside)
    np.testing.assert_allclose(place.origin[:2], (3, 4), atol=1e-12)
    assert place.origin[2] == pytest.approx(aside.tails[:, 2].min(), abs=0.05)


def test_a_person_who_lies_faces_anywhere_but_moves_all_the_same():
    up = matrix(Rotation.from_euler("x", -np.pi / 2).as_matrix())  # facing -Y becomes facing up
    place = found("ARMATURE", clip=up @ FLOOR)
    np.testing.assert_allclose(place.turn, up[:3, :3] @ FLOOR[:3, :3], atol=1e-9)


@pytest.mark.parametrize(("off", "faces"), [(0.0015, True), (0.0008, False)])
def test_a_person_who_nearly_lies_still_faces_somewhere(off, faces):
    lying = matrix(about_z(1.0) @ Rotation.from_euler("x", off - np.pi / 2).as_matrix())
    place = found("ARMATURE", clip=lying @ FLOOR)
    forward = place.turn @ FLOOR[:3, :3].T @ (0, -1, 0)
    assert bool(abs(forward[0]) < 1e-9 and forward[1] < 0) is faces


def test_a_clip_in_camera_space_is_stood_up():
    np.testing.assert_allclose(
        found("ARMATURE", clip=matrix()).turn, found("ARMATURE", clip=FLOOR).turn, atol=1e-12
    )
    off = matrix(place=(0, 0, 1e-3))
    assert not np.allclose(found("ARMATURE", clip=off).turn, found("ARMATURE", clip=FLOOR).turn)


# ---- size ------------------------------------------------------------------------------------


def test_size_is_told_by_the_hips_height():
    legs = {name: np.array(head) * (1, 1, 2) for name, head in HEADS.items()}
    assert found(rig=person(moved=legs)).scale == pytest.approx(2)
    assert found(rig=person(size=0.1)).scale == pytest.approx(0.1)
    some = {
        "spine": "spine",
        "spine.006": "spine.006",
        "upper_arm.L": "upper_arm.L",
        "upper_arm.R": "upper_arm.R",
    }
    assert found(rig=person(size=3), bones=some).scale == pytest.approx(3)


@pytest.mark.parametrize(
    "scales", [(1, 1, 2), (1, 1.002, 1), (0.5, 1, 1), (-1, 1, 1), (-1, -1, -1), (0, 0, 0), (1, 1, 0)]
)
def test_uneven_scales_are_refused(scales):
    with pytest.raises(InputError, match=r'"Hero" is scaled unevenly.*Ctrl A') as raised:
        found(target=matrix(np.diag(np.array(scales, float))))
    assert raised.value.code == "scale"


def test_scales_that_differ_by_rounding_are_even():
    found(target=matrix(about_z(0.3) @ np.diag([7, 7.005, 7])))
    found(target=matrix(scale=1e-4))


def test_hips_below_the_feet_are_refused():
    legs = {
        name: np.array(head) * (1, 1, -1) for name, head in HEADS.items() if name[0] in "tfs" and "." in name
    }
    legs = {name: place for name, place in legs.items() if not name.startswith("spine")}
    with pytest.raises(InputError, match='hips of "Hero" are not above') as raised:
        found(rig=person(moved=legs))
    assert raised.value.code == "bone_map"
