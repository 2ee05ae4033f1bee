# SPDX-License-Identifier: GPL-3.0-or-later
"""The keypoint schema: which points of a person are sent, in which order, and what joins them.

Twenty-three points, all of them landmarks of BlazePose (so every one is measured, none guessed) and
all of them fixed linear maps of body vertices (see :mod:`.body`): two a limb segment fix its
direction, and a third point off the line fixes its turn where a joint alone leaves it open
(nose and ears: head; wrist, pinky and index knuckle: forearm and hand; ankle, heel and toe: foot).
"""

from __future__ import annotations

import numpy as np

KEYPOINT_NAMES: tuple[str, ...] = (
    "nose",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_pinky",
    "right_pinky",
    "left_index",
    "right_index",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
    "left_heel",
    "right_heel",
    "left_foot_index",
    "right_foot_index",
)
"""Names in the order of every ``(..., 23, 3)`` array; left is the person's left."""

MIRRORED: tuple[int, ...] = tuple(
    KEYPOINT_NAMES.index(name.replace("left", "*").replace("right", "left").replace("*", "right"))
    for name in KEYPOINT_NAMES
)
"""For each keypoint, the index of its opposite on the other side of the body."""

KEYPOINT_INDEX: dict[str, int] = {name: i for i, name in enumerate(KEYPOINT_NAMES)}

HIPS: list[int] = [KEYPOINT_INDEX["left_hip"], KEYPOINT_INDEX["right_hip"]]
"""Left and right hip."""

TRUNK: list[int] = [
    KEYPOINT_INDEX[f"{side}_{joint}"] for side in ("left", "right") for joint in ("hip", "shoulder")
]
"""Hip and shoulder of the left, then of the right."""

ANKLES: list[int] = [KEYPOINT_INDEX["left_ankle"], KEYPOINT_INDEX["right_ankle"]]
"""Left and right ankle."""

FEET: list[int] = [
    KEYPOINT_INDEX[f"{side}_{part}"] for side in ("left", "right") for part in ("heel", "foot_index")
]
"""The keypoints of the soles: left heel and toe, right heel and toe."""

BODY_REGIONS: tuple[str, ...] = ("head", "trunk", "left_arm", "right_arm", "left_leg", "right_leg")
"""The parts of the body of which it is told how certain they are; left is the person's left."""

_REGION_POINTS = {
    "head": ("nose", "left_ear", "right_ear"),
    "trunk": ("left_shoulder", "right_shoulder", "left_hip", "right_hip"),
    "arm": ("elbow", "wrist", "pinky", "index"),
    "leg": ("knee", "ankle", "heel", "foot_index"),
}

REGION_KEYPOINTS: dict[str, list[int]] = {
    region: [
        KEYPOINT_INDEX[point if region in _REGION_POINTS else f"{region.split('_')[0]}_{point}"]
        for point in _REGION_POINTS[region.split("_")[-1]]
    ]
    for region in BODY_REGIONS
}
"""For each of :data:`BODY_REGIONS` the indices of its keypoints; every keypoint is in one of them."""

MIRRORED_REGIONS: tuple[int, ...] = (0, 1, 3, 2, 5, 4)
"""For each of :data:`BODY_REGIONS`, the index of its opposite on the other side of the body."""

BLAZEPOSE_INDEX: tuple[int, ...] = (
    0, 7, 8, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32,
)  # fmt: skip
"""For each keypoint, the index of the BlazePose landmark that feeds it."""

_BONES: tuple[tuple[str, str], ...] = (
    ("left_hip", "right_hip"),
    ("left_shoulder", "right_shoulder"),
    ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"),
    ("left_shoulder", "left_elbow"),
    ("right_shoulder", "right_elbow"),
    ("left_elbow", "left_wrist"),
    ("right_elbow", "right_wrist"),
    ("left_wrist", "left_pinky"),
    ("right_wrist", "right_pinky"),
    ("left_wrist", "left_index"),
    ("right_wrist", "right_index"),
    ("left_pinky", "left_index"),
    ("right_pinky", "right_index"),
    ("left_hip", "left_knee"),
    ("right_hip", "right_knee"),
    ("left_knee", "left_ankle"),
    ("right_knee", "right_ankle"),
    ("left_ankle", "left_heel"),
    ("right_ankle", "right_heel"),
    ("left_ankle", "left_foot_index"),
    ("right_ankle", "right_foot_index"),
    ("left_heel", "left_foot_index"),
    ("right_heel", "right_foot_index"),
    ("nose", "left_ear"),
    ("nose", "right_ear"),
    ("left_ear", "right_ear"),
)

BONES: tuple[tuple[int, int], ...] = tuple((KEYPOINT_INDEX[a], KEYPOINT_INDEX[b]) for a, b in _BONES)
"""Pairs of keypoints that ride on one rigid part, so that their distance is constant in a clip."""

_PLACES = {frozenset(bone): i for i, bone in enumerate(BONES)}
MIRRORED_BONES: tuple[int, ...] = tuple(
    _PLACES[frozenset((MIRRORED[first], MIRRORED[second]))] for first, second in BONES
)
"""For each bone, the index of its opposite on the other side of the body."""

REQUIRED_NAMES: tuple[str, ...] = tuple(
    f"{side}_{joint}"
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
)
"""The joints without which no motion file is accepted; the other points can be estimated from them."""


def measure_bone_lengths(keypoints: np.ndarray) -> np.ndarray:
    """Measure the distances ``(len(BONES),)`` of the pairs in :data:`BONES` over a clip ``(T, 23, 3)``.

    The root mean square over the frames, less what independent noise adds to it: the noise's power is read
    off the third difference in time, where a body's own motion leaves next to nothing.
    """
    first, second = np.array(BONES).T
    bones = np.asarray(keypoints, np.float64)[:, first] - np.asarray(keypoints, np.float64)[:, second]
    power = (bones**2).sum(-1).mean(axis=0)
    if len(bones) > 3:
        noise = (np.diff(bones, n=3, axis=0) ** 2).sum(-1).mean(axis=0) / 20  # 1 + 9 + 9 + 1
        power = np.maximum(power - noise, 0.25 * power)
    return np.sqrt(power)
