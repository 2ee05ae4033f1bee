# SPDX-License-Identifier: GPL-3.0-or-later
"""BVH files, with the names, channels and axes of several programs."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.errors import InputError
from sparse2dense.models.keypoints import HIPS, KEYPOINT_INDEX, REQUIRED_NAMES
from sparse2dense.models.shaped_body import ShapedBody

from .conftest import UPRIGHT

ANNY = {
    "shoulder": "upperarm01", "elbow": "lowerarm01", "wrist": "wrist",
    "hip": "upperleg01", "knee": "lowerleg01", "ankle": "foot",
}  # fmt: skip
MIXAMO = {
    "shoulder": "Arm", "elbow": "ForeArm", "wrist": "Hand", "hip": "UpLeg", "knee": "Leg", "ankle": "Foot"
}  # fmt: skip
DAZ = {
    "shoulder": "Shldr", "elbow": "ForeArm", "wrist": "Hand", "hip": "Thigh", "knee": "Shin", "ankle": "Foot"
}  # fmt: skip
RIGIFY = {
    "shoulder": "upper_arm", "elbow": "forearm", "wrist": "hand",
    "hip": "thigh", "knee": "shin", "ankle": "foot",
}  # fmt: skip


def rename(table, spell, head):
    """Return the names of Anny's bones in another program's words."""
    names = {
        f"{bone}.{side[0].upper()}": spell(side, table[joint])
        for joint, bone in ANNY.items()
        for side in ("left", "right")
    }
    return names | {"head": head}


PROGRAMS = {
    "makehuman": {},
    "mixamo": rename(MIXAMO, lambda side, bone: f"mixamorig:{side.title()}{bone}", "mixamorig:Head"),
    "daz": rename(DAZ, lambda side, bone: f"{side[0]}{bone}", "head"),
    "rigify": rename(RIGIFY, lambda side, bone: f"{bone}.{side[0].upper()}", "spine.006"),
}


class Skeleton:
    """The walk on Anny's bones: turns and joints of every frame, y up."""

    def __init__(self, walk):
        model = load_body()
        body = ShapedBody(model, np.zeros(model.shape_size))
        self.names, self.parents = body.model.bone_names, body.model.parents
        flip = UPRIGHT["y"]
        turns, _ = body.solve_pose(walk)
        hips = walk[:, HIPS].mean(axis=1) - body.keypoints[HIPS].mean(axis=0)
        local = np.swapaxes(turns[:, np.maximum(self.parents, 0)], -1, -2) @ turns
        local[:, 0] = turns[:, 0]
        _, places = body.model.forward_kinematics(body.joints, local, body.joints[0] + hips)
        self.local, self.rest, self.places = flip @ local @ flip, body.joints @ flip, places @ flip

    def bvh(self, order="ZXY", names=None, scale=100.0, axes=UPRIGHT["-y"], end="\n", moving=(), turned=None):
        """Write it with rotations in an ``order``, in ``axes`` and units of ``scale`` a metre.

        ``turned`` are rotations of bones by which the rest pose differs from Anny's.
        """
        names = names or {}
        turned = [(turned or {}).get(name, np.eye(3)) for name in self.names]
        lines, columns = ["HIERARCHY"], []

        def joint(bone, depth):
            tab = "\t" * depth
            parent = self.parents[bone] if bone else 0
            offset = self.rest[bone] - (self.rest[parent] if bone else 0)
            offset = axes @ turned[parent] @ offset * scale
            lines.append(
                f"{tab}{'JOINT' if bone else 'ROOT'} {names.get(self.names[bone], self.names[bone])}"
            )
            lines.append(f"{tab}{{")
            lines.append(f"{tab}\tOFFSET {offset[0]:.6f} {offset[1]:.6f} {offset[2]:.6f}")
            before = turned[parent] if bone else np.eye(3)
            turns = axes @ before @ self.local[:, bone] @ turned[bone].T @ axes.T
            angles = Rotation.from_matrix(turns).as_euler(order, degrees=True)
            channels = [f"{axis}rotation" for axis in order]
            if bone == 0 or bone in moving:
                channels = ["Xposition", "Yposition", "Zposition", *channels]
                place = self.places[:, 0] @ axes.T * scale if bone == 0 else np.tile(offset, (len(turns), 1))
                columns.append(place)
            columns.append(angles)
            lines.append(f"{tab}\tCHANNELS {len(channels)} {' '.join(channels)}")
            children = np.flatnonzero(self.parents == bone)
            for child in children:
                joint(child, depth + 1)
            if len(children) == 0:
                lines.extend(
                    [
                        f"{tab}\tEnd Site",
                        f"{tab}\t{{",
                        f"{tab}\t\tOFFSET 0.000000 0.000000 0.000000",
                        f"{tab}\t}}",
                    ]
                )
            lines.append(f"{tab}}}")

        joint(0, 0)
        values = np.concatenate(columns, axis=1)
        lines += ["MOTION", f"Frames: {len(values)}", "Frame Time: 0.0333333"]
        lines += [" ".join(f"{value:.6f}" for value in row) for row in values]
        return end.join([*lines, ""])

    def joints(self):
        """Return the required joints ``(T, 12, 3)``, y up."""
        bones = [f"{ANNY[name.split('_')[1]]}.{name[0].upper()}" for name in REQUIRED_NAMES]
        return self.places[:, [self.names.index(bone) for bone in bones]]


@pytest.fixture(scope="module")
def skeleton(walk):
    with np.errstate(all="ignore"):
        return Skeleton(walk)


@pytest.fixture
def write(tmp_path):
    def save(text, name="walk.bvh"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        return path

    return save


@pytest.fixture
def apart(columns, named_clip, skeleton):
    """How many millimetres a clip's joints are from those of the skeleton, named in an ``.npz``.

    After the way between the two places before the camera, which other points, such as toes, decide as well.
    """
    expected = named_clip(skeleton.joints(), REQUIRED_NAMES).keypoints[:, columns(REQUIRED_NAMES)]

    def measure(clip):
        assert clip.fps == 30
        off = clip.keypoints[:, columns(REQUIRED_NAMES)] - expected
        return 1000 * np.linalg.norm(off - off.mean(axis=(0, 1)), axis=-1).max()

    return measure


@pytest.mark.parametrize("order", ["ZXY", "ZYX", "XYZ", "YXZ"])
def test_a_walk_is_the_walk_in_any_order_of_channels(skeleton, write, clip_of, apart, order):
    clip, warnings = clip_of(write(skeleton.bvh(order)))
    assert apart(clip) < 0.1
    assert len(warnings) == 1 and "centimetres" in warnings[0]


@pytest.mark.parametrize("program", PROGRAMS)
def test_bones_have_the_names_of_several_programs(skeleton, write, clip_of, apart, program):
    assert apart(clip_of(write(skeleton.bvh(names=PROGRAMS[program])))[0]) < 0.1


@pytest.mark.parametrize(
    ("scale", "unit"),
    [
        (1, "metres"),
        (100, "centimetres"),
        (1000, "millimetres"),
        (1 / 0.0254, "inches"),
        (0.45 / 0.0254, "CMU"),
    ],
)
def test_the_unit_is_told_by_the_persons_height(skeleton, write, clip_of, apart, scale, unit):
    clip, warnings = clip_of(write(skeleton.bvh(scale=scale)))
    assert apart(clip) < 0.2
    assert unit in warnings[0] and " m tall" in warnings[0]


def test_z_may_point_up(skeleton, write, clip_of, apart):
    """Blender exports its own axes."""
    to_z = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    assert apart(clip_of(write(skeleton.bvh(axes=to_z)))[0]) < 0.1


def test_line_ends_tabs_a_byte_order_mark_and_decimal_commas_change_nothing(skeleton, write, clip_of, apart):
    text = skeleton.bvh(end="\r\n")
    assert (
        apart(
            clip_of(
                write(b"\xef\xbb\xbf" + text.replace(" ", "\t").replace("End\tSite", "End Site").encode())
            )[0]
        )
        < 0.1
    )
    commas = (
        text.replace("\r\n", "\n")
        .replace("upperarm01.", "upperarm01_")
        .replace("Frame Time:", "Frame Time: ")
    )
    hierarchy, motion = commas.split("MOTION")
    assert apart(clip_of(write(hierarchy + "MOTION" + motion.replace(".", ",")))[0]) < 0.1
    comment = text.replace("HIERARCHY\r\n", "HIERARCHY\r\n# made by hand\r\n", 1)
    assert apart(clip_of(write(comment))[0]) < 0.1


def test_joints_with_places_of_their_own(skeleton, write, clip_of, apart):
    """Position channels stand for the offset, and where a program filled them with zeros it stays."""
    assert apart(clip_of(write(skeleton.bvh(moving=range(99))))[0]) < 0.1
    bones = [skeleton.names.index(f"lowerleg01.{side}") for side in "LR"]
    text = skeleton.bvh(moving=bones)
    for bone in bones:
        offset = 100 * (skeleton.rest[bone] - skeleton.rest[skeleton.parents[bone]])
        hierarchy, motion = text.split("MOTION")
        text = hierarchy + "MOTION" + motion.replace(" ".join(f"{value:.6f}" for value in offset), "0 0 0")
    assert apart(clip_of(write(text))[0]) < 0.1


def test_the_head_turns_with_its_bone(skeleton, write, clip_of, walk):
    """Nose and ears ride on the head: they are where a person has them, not where the trunk looks."""
    head = skeleton.names.index("head")
    still = skeleton.local[:, head].copy()
    try:
        before = clip_of(write(skeleton.bvh()))[0].keypoints
        skeleton.local[:, head] = still @ Rotation.from_euler("Y", 70, degrees=True).as_matrix()
        after = clip_of(write(skeleton.bvh()))[0].keypoints
    finally:
        skeleton.local[:, head] = still

    def looks(keypoints):
        ahead = keypoints[:, 0] - keypoints[:, 1:3].mean(axis=1)
        return np.degrees(np.arctan2(ahead[:, 0], -ahead[:, 2]))

    turned = (looks(after) - looks(before) + 180) % 360 - 180
    assert 45 < turned.mean() < 95, "to the left, which is the picture's right"


def test_the_rest_pose_may_be_any(skeleton, write, clip_of, apart, walk, columns):
    """Some programs lay all limbs along one axis: legs and arms up, as the spine goes."""
    legs = {name: np.diag([1.0, -1, -1]) for name in skeleton.names if "leg" in name or "foot" in name}
    arms = {name: np.diag([1.0, -1, -1]) for name in skeleton.names if "arm" in name or "wrist" in name}
    clip, _ = clip_of(write(skeleton.bvh(turned=legs | arms)))
    assert apart(clip) < 0.1
    ankle, heel, toe = columns(["left_ankle", "left_heel", "left_foot_index"])
    for point, most in ((heel, 0.05), (toe, 0.15)):
        ours, true = (points[:, point] - points[:, ankle] for points in (clip.keypoints, walk))
        assert np.abs(np.linalg.norm(ours, axis=-1) - np.linalg.norm(true, axis=-1)).max() < most
    knee = columns(["left_knee"])[0]
    shin = clip.keypoints[:, ankle] - clip.keypoints[:, knee]
    foot = clip.keypoints[:, heel] - clip.keypoints[:, ankle]
    assert ((shin * foot).sum(axis=-1) > 0).all(), "heels are below the ankles"
    ahead = np.cross(clip.keypoints[:, HIPS[0]] - clip.keypoints[:, HIPS[1]], -shin)
    assert ((clip.keypoints[:, toe] - clip.keypoints[:, heel]) * ahead).sum(axis=-1).mean() > 0


def directions(clip, first, second):
    """Unit vectors ``(T, 3)`` between two keypoints."""
    between = clip.keypoints[:, KEYPOINT_INDEX[second]] - clip.keypoints[:, KEYPOINT_INDEX[first]]
    return between / np.linalg.norm(between, axis=-1, keepdims=True)


def test_hands_that_are_raised_at_rest_are_no_other_way_round(skeleton, write, clip_of):
    arms = {name: np.diag([1.0, -1, -1]) for name in skeleton.names if "arm" in name or "wrist" in name}
    plain, raised = (clip_of(write(skeleton.bvh(turned=turned)))[0] for turned in (None, arms))
    for side in ("left", "right"):
        palms = (directions(clip, f"{side}_pinky", f"{side}_index") for clip in (plain, raised))
        assert np.prod(list(palms), axis=0).sum(axis=-1).mean() > 0.5


def test_a_spine_that_leans_at_rest_does_not_nod_the_head(skeleton, write, clip_of):
    lean = Rotation.from_euler("X", 10, degrees=True).as_matrix()
    spine = {name: lean for name in skeleton.names if name.startswith("spine")}
    plain, leaning = (clip_of(write(skeleton.bvh(turned=turned)))[0] for turned in (None, spine))
    looks = (directions(clip, "left_ear", "nose") for clip in (plain, leaning))
    assert np.prod(list(looks), axis=0).sum(axis=-1).min() > np.cos(np.radians(3))


def test_points_without_joints_are_near_the_bodys_own(skeleton, write, clip_of, walk):
    """Nose, ears, knuckles, heels and toes: against those of the body that has the same bones."""
    clip, _ = clip_of(write(skeleton.bvh()))
    for name, most in (
        ("nose", 40),
        ("ear", 40),
        ("heel", 40),
        ("foot_index", 50),
        ("left_index", 50),
        ("right_pinky", 50),
    ):
        for at in (index for point, index in KEYPOINT_INDEX.items() if name in point):
            near = [KEYPOINT_INDEX[f"left_{joint}"] for joint in ("shoulder", "hip", "knee")]
            ours = np.linalg.norm(clip.keypoints[:, [at]] - clip.keypoints[:, near], axis=-1)
            true = np.linalg.norm(walk[:, [at]] - walk[:, near], axis=-1)
            assert 1000 * np.abs(np.median(ours - true, axis=0)).max() < most, name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[: text.index("MOTION")], "no line MOTION"),
        (lambda text: text[: text.rindex(".") - 5], "frame 59 ends after"),
        (lambda text: text.replace("Frame Time: 0.0333333", "Frame Time: soon"), "Frame Time: 'soon'"),
        (lambda text: text.replace("Frame Time: 0.0333333", "Frame Time: 0"), "Frame Time: '0'"),
        (lambda text: text.replace("Frames:", "Bilder:"), "'Frames:'"),
        (lambda text: text.replace("upperleg01.L", "Bein"), "left_hip would be"),
        (lambda text: text.replace("CHANNELS 3", "CHANNELS 2", 1), "'CHANNELS 2"),
        (lambda text: text.replace("Zrotation", "Wrotation", 1), "line 5: 'CHANNELS"),
        (lambda text: text.replace("OFFSET", "OFFSET x", 1), "line 4: 'OFFSET x"),
        (lambda text: text.replace("}", "", 1), "not closed"),
        (lambda text: text.replace("}", "}}", 1), "no meaning"),
        (lambda text: text[: text.index("Frame Time")] + "Frame Time: 0.04\n", "no frames"),
        (lambda text: text[: text.rindex("\n", 0, -1)] + "\n" + "1.0 zwei 3.0", "'zwei' is no number"),
        (lambda text: "HIERARCHY\n" + "ROOT a\n{\n" * 3000 + "MOTION\n", "more than 2000 joints"),
        (lambda text: "HIERARCHY\nMOTION\nFrames: 999999999\nFrame Time: 0.01\n1 2 3\n", "no motion"),
        (lambda text: text.replace("OFFSET 0", "OFFSET 1e300"), "."),
    ],
)  # fmt: skip
def test_what_is_broken_is_named(skeleton, write, clip_of, change, said):
    path = write(change(skeleton.bvh()))
    with np.errstate(all="ignore"), pytest.raises(InputError, match=said) as caught:
        clip_of(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_fewer_frames_than_named_are_read_and_told_of(skeleton, write, clip_of):
    clip, warnings = clip_of(write(skeleton.bvh().replace("Frames: 60", "Frames: 61")))
    assert clip.frames == 60
    assert any("61 frames and has 60" in warning for warning in warnings)


DATA = os.environ.get("S2D_DATA")


@pytest.mark.skipif(not DATA, reason="S2D_DATA names no folder with motion capture")
@pytest.mark.parametrize("name", ["02/02_01.bvh", "08/08_10.bvh", "10/10_01.bvh", "12/12_01.bvh"])
def test_motion_capture_is_upright_and_bends_as_people_do(write, clip_of, name):
    with zipfile.ZipFile(Path(DATA) / "cmu_01-13_30fps.zip") as archive:
        path = write(archive.read(name))
    clip, warnings = clip_of(path)
    assert clip.fps == 30 and any("centimetres" in warning for warning in warnings)
    at = {name: clip.keypoints[:, index].astype(float) for name, index in KEYPOINT_INDEX.items()}
    shoulders, hips, ankles = ((at[f"left_{j}"] + at[f"right_{j}"]) / 2 for j in ("shoulder", "hip", "ankle"))
    assert np.median(hips[:, 1] - shoulders[:, 1]) > 0.35 and np.median(ankles[:, 1] - hips[:, 1]) > 0.5
    ahead = np.cross(at["left_hip"] - at["right_hip"], shoulders - hips)
    ahead /= np.linalg.norm(ahead, axis=-1, keepdims=True)
    assert ahead[:30].mean(axis=0)[2] < -0.7, "faces the camera at first"
    for side in ("left", "right"):
        knee = at[f"{side}_knee"] - (at[f"{side}_hip"] + at[f"{side}_ankle"]) / 2
        assert np.median((knee * ahead).sum(-1)) > 0.02
        elbow = at[f"{side}_elbow"] - (at[f"{side}_shoulder"] + at[f"{side}_wrist"]) / 2
        assert np.median((elbow * ahead).sum(-1)) < 0
        toes = at[f"{side}_foot_index"] - at[f"{side}_heel"]
        assert np.median((toes * ahead).sum(-1)) > 0.1
    pixels = clip.camera.project(clip.keypoints)
    assert (
        pixels.min() > 0 and (pixels < [clip.width, clip.height]).all() and clip.keypoints[..., 2].min() > 0.4
    )
