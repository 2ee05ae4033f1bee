# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON of OpenPose, EasyMocap and MediaPipe."""

import json

import numpy as np
import pytest
from sparse2dense.models.errors import InputError
from sparse2dense.models.keypoints import BLAZEPOSE_INDEX, HIPS, KEYPOINT_NAMES

from .conftest import UPRIGHT

BODY_25 = [
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow",
    "left_wrist", "mid_hip", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear", "left_foot_index", "left_small_toe", "left_heel",
    "right_foot_index", "right_small_toe", "right_heel",
]  # fmt: skip
COCO_17 = [
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee",
    "left_ankle", "right_ankle",
]  # fmt: skip
COCO_18 = [
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow",
    "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
]  # fmt: skip
HALPE_26 = [
    *COCO_17, "head", "neck", "mid_hip", "left_foot_index", "right_foot_index", "left_small_toe",
    "right_small_toe", "left_heel", "right_heel",
]  # fmt: skip
WHOLE_BODY = [
    *COCO_17, "left_foot_index", "left_small_toe", "left_heel", "right_foot_index", "right_small_toe",
    "right_heel", *["hand or face"] * 110,
]  # fmt: skip


def ordered(walk, names):
    """The walk's points ``(T, N, 4)`` in a program's order, with a confidence; others are at a shoulder."""
    points = np.full((len(walk), len(names), 4), 0.8)
    for column, name in enumerate(names):
        points[:, column, :3] = walk[:, KEYPOINT_NAMES.index(name)] if name in KEYPOINT_NAMES else walk[:, 5]
    return points


def known(names):
    return [name for name in names if name in KEYPOINT_NAMES]


@pytest.fixture
def write(tmp_path):
    def save(data, name="walk.json", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(json.dumps(data).encode(encoding))
        return path

    return save


@pytest.fixture
def reference(walk, columns, named_clip):
    return lambda names: named_clip(walk[:, columns(known(names))], known(names))


def openpose(points, people_before=0):
    """Return one frame as OpenPose writes it."""
    other = {"person_id": [-1], "pose_keypoints_2d": [1.0, 2.0, 0.5], "pose_keypoints_3d": []}
    person = other | {"pose_keypoints_3d": [round(value, 6) for value in points.ravel().tolist()]}
    return {"version": 1.3, "people": [person] + [other] * people_before}


@pytest.mark.parametrize(
    "names", [BODY_25, COCO_17, COCO_18, HALPE_26, WHOLE_BODY], ids=["25", "17", "18", "26", "133"]
)
def test_a_walk_is_the_walk_in_every_order(walk, write, reference, clip_of, millimetres, names):
    path = write([openpose(frame) for frame in ordered(walk, names)])
    clip, warnings = clip_of(path, fps=30)
    assert millimetres(clip, reference(names)) < 0.1
    assert len(warnings) == 1 and "metres" in warnings[0]


def test_a_folder_holds_one_file_a_frame_in_the_order_of_their_numbers(
    walk, reference, clip_of, millimetres, tmp_path
):
    folder = tmp_path / "output json"
    folder.mkdir()
    for number, frame in enumerate(ordered(walk, BODY_25)):
        text = json.dumps(openpose(frame * [1000, 1000, 1000, 1]))
        (folder / f"cam2_{number}_keypoints.json").write_text(text, "utf-8")
    clip, warnings = clip_of(folder, fps=30)
    assert millimetres(clip, reference(BODY_25)) < 0.1
    assert "millimetres" in warnings[0]
    (folder / "cam2_7_keypoints.json").write_text("{", "utf-8")
    with pytest.raises(InputError, match=r"cam2_7_keypoints\.json is no whole JSON"):
        clip_of(folder, fps=30)


def test_a_point_without_confidence_is_missing(walk, columns, write, named_clip, clip_of, millimetres):
    points = ordered(walk, BODY_25)
    points[10:14, BODY_25.index("left_wrist")] = 0
    points[20, BODY_25.index("right_knee"), 3] = 0
    frames = [openpose(frame) for frame in points]
    frames[40]["people"] = []
    clip, warnings = clip_of(write(frames), fps=30)
    given = walk[:, columns(known(BODY_25))].copy()
    given[10:14, known(BODY_25).index("left_wrist")] = np.nan
    given[20, known(BODY_25).index("right_knee")] = np.nan
    given[40] = np.nan
    assert millimetres(clip, named_clip(given, known(BODY_25))) < 0.1
    assert "left_wrist (5 of 60 frames)" in warnings[1] and "right_knee (2 of 60" in warnings[1]
    assert "nose (1 of 60" in warnings[1]


def test_easymocaps_people_are_followed_by_their_number(walk, write, reference, clip_of, millimetres):
    up = np.concatenate(
        [ordered(walk, BODY_25)[..., :3] @ UPRIGHT["z"].T, np.ones((len(walk), 25, 1))], axis=-1
    )
    hands = np.ones((42, 4))
    frames = []
    for number, frame in enumerate(up):
        whole = np.concatenate([frame, hands])
        people = [
            {"id": 1, "keypoints3d": (whole + np.array([2, 2, 0, 0])).tolist()},
            {"id": 0, "keypoints3d": whole.tolist()},
        ]
        frames.append(people if number % 2 else people[::-1])
    clip, warnings = clip_of(write({"fps": "30000/1001", "frames": frames}))
    assert clip.fps.as_integer_ratio() == (30000, 1001)
    clip.fps = 30
    assert millimetres(clip, reference(BODY_25)) < 0.1
    assert any("several people are in 60 of 60" in warning for warning in warnings)


def blazepose(walk):
    """MediaPipe's world landmarks ``(T, 33, 4)``: hips at the origin, y down, a visibility."""
    points = np.full((len(walk), 33, 4), 0.99)
    points[..., :3] = 0.01
    points[:, BLAZEPOSE_INDEX, :3] = walk - walk[:, HIPS].mean(axis=1, keepdims=True)
    return points


SHAPES = {
    "objects": lambda frame: [dict(zip(("x", "y", "z", "visibility"), row, strict=True)) for row in frame],
    "lists": lambda frame: [row[:3] for row in frame],
    "tasks": lambda frame: {"pose_world_landmarks": [SHAPES["objects"](frame)]},
    "legacy": lambda frame: {"poseWorldLandmarks": SHAPES["objects"](frame), "poseLandmarks": []},
    "protobuf": lambda frame: {"landmark": SHAPES["objects"](frame)},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_mediapipes_world_landmarks_walk_in_place(walk, write, named_clip, clip_of, millimetres, shape):
    frames = [SHAPES[shape](frame) for frame in blazepose(walk).tolist()]
    clip, warnings = clip_of(write(frames, encoding="utf-8-sig"), fps=30)
    assert (
        millimetres(clip, named_clip(walk - walk[:, HIPS].mean(axis=1, keepdims=True), KEYPOINT_NAMES)) < 0.1
    )
    assert len(warnings) == 1 and "hips stay at the origin" in warnings[0]


def test_frames_in_which_nobody_is_found_are_filled(walk, write, clip_of):
    frames = [SHAPES["objects"](frame) for frame in blazepose(walk).tolist()]
    frames[3], frames[4] = None, []
    clip, warnings = clip_of(write({"frames": frames, "fps": 29.97}))
    assert clip.fps.as_integer_ratio() == (30000, 1001)
    assert "nose (2 of 60 frames)" in warnings[0]


def test_landmarks_in_the_picture_are_refused(walk, write, clip_of):
    picture = blazepose(walk)
    picture[..., :2] = 0.5 + 0.2 * picture[..., :2]
    with pytest.raises(InputError, match="pose_world_landmarks"):
        clip_of(write(picture.tolist()), fps=30)


def test_a_rate_that_the_file_does_not_state_must_be_given(walk, write, clip_of):
    path = write([openpose(frame) for frame in ordered(walk, BODY_25)])
    with pytest.raises(InputError, match="--fps"):
        clip_of(path)
    path = write({"fps": 30, "frames": [openpose(frame) for frame in ordered(walk, BODY_25)]})
    with pytest.raises(InputError, match=r"--fps goes with .* it has 30"):
        clip_of(path, fps=25)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no whole JSON"),
        ("[" * 100_000, "no whole JSON"),
        ('{"a": ' * 100_000, "no whole JSON"),
        ("[1, 2", "no whole JSON"),
        ("{}", "nobody|no points"),
        ("[]", "no frames"),
        ("3", "no frames"),
        ('["walk"]', "frame 0 holds no points"),
        ('[{"people": 3}]', "frame 0 holds no points"),
        ('[{"people": [{"pose_keypoints_3d": ["a", "b", "c"]}]}]', "frame 0 holds no points"),
        ('[{"people": [{"pose_keypoints_2d": [1, 2, 3]}]}]', "frame 0 holds no points"),
        ('[{"people": []}]', "nobody"),
        ('[{"people": [{"pose_keypoints_3d": [1, 2, 3, 1]}]}]', "frame 0 holds no points"),
        ('[{"landmarks": [[0, 0, 0], [1, 1, 1]]}]', r"\(1, 2, 4\).*17, 18, 25"),
        ('[{"landmarks": [[0, 0, 0]]}, {"landmarks": [[0, 0, 0], [1, 1, 1]]}]', "frame 1 has 2 points"),
        ('{"fps": "fast", "frames": []}', "fps"),
        ('{"fps": 30, "frames": {"a": 1}}', "no frames"),
        ('{"frames": [{"landmarks": [{"x": 1e999}]}], "fps": 30}', "."),
    ],
)  # fmt: skip
def test_what_is_broken_is_named(clip_of, tmp_path, text, said):
    path = tmp_path / "broken.json"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError, match=said) as caught:
        clip_of(path, fps=30)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_without_frames_is_said_so(clip_of, tmp_path):
    with pytest.raises(InputError, match=r"no \.json files"):
        clip_of(tmp_path, fps=30)
