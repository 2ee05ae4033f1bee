# SPDX-License-Identifier: GPL-3.0-or-later
"""A BVH file, read by the letter of the format, its rotations by SciPy."""

import re
import time
from fractions import Fraction

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.inference.decoding.skeleton_fit import SkeletonMotion
from sparse2dense.inference.exports.bvh_writer import write_bvh
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.shaped_body import ShapedBody
from sparse2dense.models.skeleton import build_skeleton

from .standing_truth import Y_UP, degrees_between

CENTIMETRE = 0.01


def read_bvh(path):
    """Names, offsets, world rotations ``(T, J, 3, 3)``, places ``(T, J, 3)``, frame time, angles."""
    text = path.read_text(encoding="ascii")
    hierarchy, _, motion = text.partition("MOTION\n")
    names, parents, offsets, above, ends = [], [], [], [], 0
    for line in map(str.split, hierarchy.splitlines()):
        if line[0] in ("ROOT", "JOINT"):
            names.append(line[1])
            parents.append(above[-1] if above else -1)
            current = len(names) - 1
        elif line[0] == "End":
            ends, current = ends + 1, None
        elif line[0] == "{":
            above.append(current)
        elif line[0] == "}":
            above.pop()
        elif line[0] == "OFFSET" and above[-1] is not None:
            offsets.append(np.array(line[1:], float))
        elif line[0] == "CHANNELS":
            place = ["Xposition", "Yposition", "Zposition"] if len(names) == 1 else []
            assert line[1:] == [str(len(place) + 3), *place, "Zrotation", "Xrotation", "Yrotation"]
    assert not above and ends == len(set(range(len(names))) - set(parents))
    count, seconds, rows = re.match(r"Frames: (\d+)\nFrame Time: ([\d.]+)\n([\s\S]*)", motion).groups()
    table = np.array([row.split() for row in rows.splitlines()], float)
    assert table.shape == (int(count), 3 + 3 * len(names))
    angles = table[:, 3:].reshape(len(table), -1, 3)
    local = Rotation.from_euler("ZXY", angles.reshape(-1, 3), degrees=True).as_matrix()
    world = local.reshape(*angles.shape[:2], 3, 3).copy()
    places = np.zeros_like(angles)
    places[:, 0] = table[:, :3]
    for bone, parent in enumerate(parents[1:], 1):
        world[:, bone] = world[:, parent] @ world[:, bone]
        places[:, bone] = places[:, parent] + world[:, parent] @ offsets[bone]
    return names, np.array(offsets), world, places, float(seconds), angles


def test_joints_are_where_the_bones_stand_in_centimetres_with_y_up(exported, truth):
    names, offsets, world, places, *_ = read_bvh(exported["bvh"])
    order = [truth.names.index(name) for name in names]
    np.testing.assert_allclose(places * CENTIMETRE, truth.heads[:, order] @ Y_UP.T, atol=1e-3)
    assert degrees_between(world, Y_UP @ truth.rotations[:, order] @ Y_UP.T).max() < 0.1
    assert (offsets[0] == 0).all(), "programs that add it to the root's place, and those that do not, agree"


def test_the_person_is_upright_on_the_floor_and_left_is_left(exported):
    names, _, world, places, *_ = read_bvh(exported["bvh"])
    at = {name: places[:, bone] for bone, name in enumerate(names)}
    ankles = np.minimum(at["foot.L"][:, 1], at["foot.R"][:, 1])
    assert (ankles > 0).all() and (ankles < 15).all()
    assert (at["spine.006"][:, 1] > 120).all()
    left, ahead = (world[:, names.index("spine")] @ axis for axis in np.eye(3)[[0, 2]])
    for part in ("thigh", "upper_arm"):
        assert (((at[f"{part}.L"] - at[f"{part}.R"]) * left).sum(axis=1) > 10).all()
    assert ahead[:, 2].mean() > 0.9, "they face +z"


def test_the_frame_time_is_the_clips_exact_rate(exported):
    assert read_bvh(exported["bvh"])[4] == pytest.approx(1001 / 30000, abs=1e-11)


@pytest.mark.parametrize("clip", ["single", "own_body"])
def test_short_clips_and_other_bodies_have_whole_skeletons(request, clip):
    names, _, _, places, seconds, _ = read_bvh(request.getfixturevalue(clip)["bvh"])
    frames, bones, seconds_a_frame = {"single": (1, 21, 1 / 30), "own_body": (5, 22, 1 / 30)}[clip]
    assert places.shape == (frames, bones, 3) and names[0] == "spine"
    assert seconds == pytest.approx(seconds_a_frame, abs=1e-9)


@pytest.fixture(scope="module")
def still():
    """The skeleton of the mean body."""
    body = load_body()
    return build_skeleton(ShapedBody(body, np.zeros(body.shape_size)))


def moved(skeleton, knee):
    """A motion in which nothing but the left shin turns, by ``knee`` ``(T, 3, 3)``."""
    rotations = np.tile(np.eye(3, dtype=np.float32), (len(knee), len(skeleton.names), 1, 1))
    for name in ("shin.L", "foot.L", "toe.L"):
        if name in skeleton.names:
            rotations[:, skeleton.names.index(name)] = knee
    return SkeletonMotion(skeleton, rotations, np.zeros((len(knee), 3)))


@pytest.mark.parametrize("lean", [0, 1e-6, 0.001, 20])
def test_a_bone_that_turns_past_a_right_angle_turns_on_without_a_jump(still, tmp_path, lean):
    bend = np.sort([*range(0, 400, 7), 90, 270])  # twice through the pole of these angles
    turn = Rotation.from_euler("xz", np.stack([bend, np.full(len(bend), lean)], axis=1), degrees=True)
    write_bvh(tmp_path / "bend.bvh", moved(still, turn.as_matrix()), Fraction(25))
    names, _, world, _, _, angles = read_bvh(tmp_path / "bend.bvh")
    shin = names.index("shin.L")
    assert degrees_between(world[:, shin], turn.as_matrix()).max() < 0.01
    assert np.abs(np.diff(angles[:, shin], axis=0)).max() < 7.01


def test_ten_thousand_frames_take_seconds(still, tmp_path):
    motion = moved(still, np.tile(np.eye(3), (10_000, 1, 1)))
    start = time.perf_counter()
    write_bvh(tmp_path / "long.bvh", motion, Fraction(25))
    assert time.perf_counter() - start < 10
