# SPDX-License-Identifier: GPL-3.0-or-later
"""What the files of other programs mean: units, axes, rates, and what they call the points of a person.

All that differs between programs and is no syntax stands in this one table, so that a reader only parses.
Which way the person faces is in no convention: it is seen on the person. Axes become others by proper
rotations alone, so that left stays left.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ...models.errors import InputError
from ...models.keypoints import BLAZEPOSE_INDEX, KEYPOINT_NAMES, REQUIRED_NAMES


@dataclass(frozen=True)
class Convention:
    """What one kind of file means where it says nothing itself.

    ``label``: what such files are called. ``unit``: metres, None where the person's height tells it. ``up``:
    the axis that points up where the motion does not show it (somebody who lies), None where none is usual.
    """

    label: str
    unit: float | None
    up: str | None


NPZ = Convention("motion files of this program", 1.0, None)
BVH = Convention("BVH files", None, "y")
TRC = Convention("TRC files", 0.001, "y")
C3D = Convention("C3D files", 0.001, "z")
POINTS = Convention("JSON of OpenPose", None, None)
MEDIAPIPE = Convention("MediaPipe's world landmarks", 1.0, "-y")
SMPL = Convention("SMPL parameters", 1.0, "z")


@dataclass(frozen=True)
class Motion:
    """Named points of one person over time, as a file of another program has them.

    Attributes:
        convention: the kind of file.
        points: ``(T, N, 3)`` float64 metres, NaN where a point is missing, in the file's own axes, which are
            right-handed; with a ``camera`` they are in its space (x right, y down, z forward).
        names: the N points' names; those of :data:`.keypoints.KEYPOINT_NAMES` are used.
        fps: frames a second, None where the file does not say.
        up: the axis of :data:`TO_CAMERA` that points up, None where the motion has to tell.
        camera, size: ``(3, 3)`` K in pixels, and ``(2,)`` width and height of its canvas, as in the file.
        shape: ``(S,)`` coefficients of the body that the file is about, where it says them.
        warnings: what a user should know of how it was read.
    """

    convention: Convention
    points: np.ndarray
    names: tuple[str, ...]
    fps: Fraction | None
    up: str | None = None
    camera: np.ndarray | None = None
    size: np.ndarray | None = None
    shape: np.ndarray | None = None
    warnings: tuple[str, ...] = ()


# ---- axes ------------------------------------------------------------------------------------

TO_CAMERA: dict[str, np.ndarray] = {
    "x": np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
    "-x": np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    "y": np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]]),
    "-y": np.eye(3),
    "z": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "-z": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}
"""By the axis that points up: the rotation of column vectors that makes it the camera's, -y."""

_UPRIGHT = 0.75  # of a direction's length that must lie along one axis


def upward_axis(direction: np.ndarray) -> str | None:
    """Return the axis of :data:`TO_CAMERA` along which ``direction (3,)``, of length 1 or less, points."""
    axis = int(np.abs(direction).argmax())
    if not abs(direction[axis]) >= _UPRIGHT:
        return None
    return ("" if direction[axis] > 0 else "-") + "xyz"[axis]


# ---- units -----------------------------------------------------------------------------------

UNITS: dict[str, float] = {
    "m": 1.0, "meter": 1.0, "meters": 1.0, "metre": 1.0, "metres": 1.0,
    "dm": 0.1,
    "cm": 0.01, "centimeter": 0.01, "centimeters": 0.01, "centimetre": 0.01, "centimetres": 0.01,
    "mm": 0.001, "millimeter": 0.001, "millimeters": 0.001, "millimetre": 0.001, "millimetres": 0.001,
    "in": 0.0254, "inch": 0.0254, "inches": 0.0254, "ft": 0.3048, "feet": 0.3048,
}  # fmt: skip
"""Metres of the units that files name."""

_GUESSES = (
    ("metres", 1.0, (1.0, 2.4)),
    ("centimetres", 0.01, (1.0, 2.4)),
    ("millimetres", 0.001, (1.0, 2.4)),
    ("inches", 0.0254, (1.2, 2.2)),
    ("the units of CMU's motion capture", 0.0254 / 0.45, (1.2, 2.2)),
)
"""Units that a file may be in without saying so, and how tall people in them are, the likelier ones first."""

HEIGHT_OF_CHAIN = 1.27
"""Body height over shoulder-hip-knee-ankle, adults."""


def unit_named(text: str) -> float:
    """Return the metres of a unit by its name. Raises InputError ``units`` for one that is not known."""
    try:
        return UNITS[text.strip().strip("()").lower()]
    except KeyError:
        raise InputError("units", f"the unit '{text[:20]}' is not known: use m, cm, mm or in.") from None


def stature(points: np.ndarray, names: Sequence[str]) -> float:
    """Estimate a person's height from the limbs of ``points (T, N, 3)``; NaN where no frame shows them."""
    chains = []
    for side in ("left", "right"):
        chain = [list(names).index(f"{side}_{joint}") for joint in ("shoulder", "hip", "knee", "ankle")]
        bones = np.linalg.norm(np.diff(points[:, chain], axis=1), axis=-1)
        known = bones[np.isfinite(bones).all(axis=1)]
        chains.append(np.median(known, axis=0).sum() if len(known) else np.nan)
    known_chains = [chain for chain in chains if np.isfinite(chain)]
    return HEIGHT_OF_CHAIN * float(np.mean(known_chains)) if known_chains else float("nan")


def guess_unit(points: np.ndarray, names: Sequence[str]) -> tuple[float, str]:
    """Tell the unit of ``points (T, N, 3)`` from the person's height: metres, and the words that say so.

    Raises InputError ``units`` where the height fits none.
    """
    height = stature(points, names)
    for label, metres, (least, most) in _GUESSES:
        if least <= height * metres <= most:
            tall = f"{height * metres:.2f} m tall"
            return metres, f"the file names no unit: {label} are taken, in which the person is {tall}"
    raise InputError(
        "units",
        f"the file names no unit, and a person {height:.4g} high fits none of m, cm, mm and in: "
        "scale it to metres.",
    )


# ---- points ----------------------------------------------------------------------------------

_MARKERS: dict[str, str] = {
    "nose": "nose",
    "ear": "*ear",
    "shoulder": "*shoulder *sjc *shoulderjc *clo *shoulderstudy",
    "elbow": "*elbow *ejc *elbowjc *huo *lelbowstudy+*melbowstudy *elb+*elbm *elb+*melb *elblat+*elbmed",
    "wrist": "*wrist *wjc *wristjc *rao *wra+*wrb *lwriststudy+*mwriststudy",
    "pinky": "*pinky *smallfinger",
    "index": "*index *fin",
    "hip": "*hip *hjc *hipjc *fep *hjcstudy",
    "knee": "*knee *kjc *kneejc *feo *kneestudy+*mkneestudy *kne+*knem *kne+*knm *kne+*mkne *knelat+*knemed",
    "ankle": "*ankle *ajc *anklejc *tio *anklestudy+*manklestudy *ank+*ankm *ank+*mank *anklat+*ankmed",
    "heel": "*heel *hee *calcstudy *calc",
    "foot_index": "*bigtoe *footindex *toe *toestudy",
}
"""What marker sets call our points: Pose2Sim and OpenPose, OpenCap, Plug-in Gait."""

_ON_THE_SKIN: dict[str, str] = {
    "shoulder": "*sho *acr *acromion",
    "elbow": "*elb",
    "knee": "*kne",
    "ankle": "*ank",
}
"""Markers that lie beside a joint, taken for it where nothing nearer is there."""

BONES: dict[str, str] = {
    "shoulder": "*arm *shldr *upperarm *uparm *upperarm01 *humerus *shoulder",
    "elbow": "*forearm *lowerarm *lowarm *lowerarm01 *radius *elbow",
    "wrist": "*wrist *hand",
    "pinky": "*handpinky1 *pinky1 *fpinky01 *pinky01 *finger51",
    "index": "*handindex1 *index1 *findex01 *index01 *finger21",
    "hip": "*upleg *thigh *upperleg *upperleg01 *femur *hip",
    "knee": "*leg *shin *calf *lowleg *lowerleg *lowerleg01 *tibia *knee",
    "ankle": "*ankle *foot",
    "toes": "*toebase *toe *toes *toe0 *ball *toe11 *foot",
    "head": "head spine006",
}
"""Bones that begin at our points: Mixamo and MotionBuilder, Daz, Rigify, Unreal, MakeHuman, Biped, SMPL."""

_SIDES = {"left": ("left", "l"), "right": ("right", "r")}
_PREFIX = re.compile(r"^(?:.*:|def-|org-|bip0*1[\s_]*)", re.IGNORECASE)


def _plain(name: str) -> str:
    """Return a name without namespace, case and punctuation."""
    return re.sub(r"[^a-z0-9]", "", _PREFIX.sub("", name.strip()).lower())


def _alternatives(pattern: str, side: str) -> list[list[str]]:
    """Spell a pattern for one side: ``*`` is left or l, before a name or after it; ``+`` joins a pair."""
    spelled = []
    for form in pattern.split():
        for letter in _SIDES[side]:
            parts = form.split("+")
            spelled.append([part.replace("*", letter) for part in parts])
            spelled.append([part.removeprefix("*") + letter if part[0] == "*" else part for part in parts])
    return spelled


def find_columns(labels: Sequence[str], patterns: Mapping[str, str]) -> dict[str, list[int]]:
    """Find the columns of ``labels`` that stand for points, whose mean each point is.

    ``patterns`` are as :data:`BONES`; the points are named by side, such as ``left_knee``, but for those
    whose pattern has none. Of labels that are there twice, the first counts.
    """
    places: dict[str, int] = {}
    for column, label in enumerate(labels):
        places.setdefault(_plain(label), column)
    found = {}
    for point, pattern in patterns.items():
        for side in _SIDES:
            name = f"{side}_{point}" if "*" in pattern else point
            for alternative in _alternatives(pattern, side):
                if all(label in places for label in alternative):
                    found[name] = [places[label] for label in alternative]
                    break
    return found


def marker_points(
    markers: np.ndarray, labels: Sequence[str]
) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """Make our points of ``markers (T, M, 3)``, whose labels other programs chose.

    Returns points ``(T, N, 3)``, their names and warnings. Raises InputError ``bad_keypoints`` that names the
    joints for which nothing is there.
    """
    columns = find_columns(labels, _MARKERS)
    on_skin = {name: at for name, at in find_columns(labels, _ON_THE_SKIN).items() if name not in columns}
    columns.update(on_skin)
    points = {name: markers[:, at].mean(axis=1) for name, at in columns.items()}
    warnings = []
    if on_skin:
        warnings.append(f"taken for joints, beside which they lie: the markers of {', '.join(on_skin)}")
    pelvis = find_columns(labels, {"asis": "*asi *asis *asisstudy", "psis": "*psi *psis *psisstudy"})
    if not {"left_hip", "right_hip"} <= points.keys() and len(pelvis) == 4:
        points |= _hip_centres({name: markers[:, at].mean(axis=1) for name, at in pelvis.items()})
    require_joints(points, labels)
    return np.stack(list(points.values()), axis=1), tuple(points), tuple(warnings)


def _hip_centres(spines: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Put the hips' centres where they lie between the pelvis's spines ``(T, 3)`` (Bell et al. 1989).

    Of the width between the front spines, 14 % in from each, 30 % below and 22 % behind them.
    """
    front = (spines["left_asis"] + spines["right_asis"]) / 2
    across = spines["left_asis"] - spines["right_asis"]
    width = np.linalg.norm(across, axis=-1, keepdims=True)
    left = across / np.maximum(width, 1e-9)
    ahead = front - (spines["left_psis"] + spines["right_psis"]) / 2
    ahead = ahead - (ahead * left).sum(-1, keepdims=True) * left
    ahead = ahead / np.maximum(np.linalg.norm(ahead, axis=-1, keepdims=True), 1e-9)
    middle = front - 0.22 * width * ahead - 0.3 * width * np.cross(ahead, left)
    return {"left_hip": middle + 0.36 * across, "right_hip": middle - 0.36 * across}


def require_joints(found: Mapping[str, object], labels: Sequence[str]) -> None:
    """Raise InputError ``bad_keypoints`` with the joints that are not ``found`` among a file's ``labels``."""
    missing = [name for name in REQUIRED_NAMES if name not in found]
    if missing:
        there = ", ".join(label[:30] for label in labels[:8]) + (" …" if len(labels) > 8 else "")
        raise InputError(
            "bad_keypoints",
            f"nothing in it is called as {', '.join(missing)} would be; it has {there or 'no names'}.",
        )


def _order(text: str) -> tuple[str, ...]:
    """Spell an order of points: R and L before a joint are sides, ``-`` is a point that is not ours."""
    joints = {"BigToe": "foot_index"}
    names = []
    for word in text.split():
        side = {"L": "left_", "R": "right_"}.get(word[0], "") if word[1:2].isupper() else ""
        joint = word[1:] if side else word
        names.append(side + joints.get(joint, joint.lower()))
    return tuple(names)


_COCO = (
    "Nose - - LEar REar LShoulder RShoulder LElbow RElbow LWrist RWrist LHip RHip LKnee RKnee LAnkle RAnkle"
)
_BODY_25 = (
    "Nose - RShoulder RElbow RWrist LShoulder LElbow LWrist - RHip RKnee RAnkle LHip LKnee LAnkle "
    "- - REar LEar LBigToe - LHeel RBigToe - RHeel"
)

ORDERS: dict[int, tuple[str, ...]] = {
    17: _order(_COCO),
    18: _order(
        "Nose - RShoulder RElbow RWrist LShoulder LElbow LWrist RHip RKnee RAnkle LHip LKnee LAnkle "
        "- - REar LEar"
    ),
    25: _order(_BODY_25),
    26: _order(f"{_COCO} - - - LBigToe RBigToe - - LHeel RHeel"),
    33: tuple(KEYPOINT_NAMES[BLAZEPOSE_INDEX.index(i)] if i in BLAZEPOSE_INDEX else "-" for i in range(33)),
    67: _order(_BODY_25) + ("-",) * 42,
    133: _order(f"{_COCO} LBigToe - LHeel RBigToe - RHeel") + ("-",) * 110,
    137: _order(_BODY_25) + ("-",) * 112,
}
"""By their number, the names of points that come in a fixed order, ``-`` for those that are not ours.

COCO, OpenPose's COCO, BODY_25, HALPE_26, MediaPipe's pose, COCO's whole body; BODY_25 with the hands, and
with the faces too, that EasyMocap appends.
"""
