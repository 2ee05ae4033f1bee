# SPDX-License-Identifier: GPL-3.0-or-later
"""BVH: a hierarchy of joints, and their turns in every frame.

A joint stands at its ``OFFSET`` in its parent's axes, turned by its channels in the order in which they are
written: ``Zrotation Xrotation Yrotation`` is Rz Rx Ry on column vectors. Joints become points by their names
(:data:`.conventions.BONES`). What a skeleton has no joint for (nose, ears, knuckles, heels, tips of the toes)
is put where a person has it in the rest pose, and rides on the joint that carries it, so that a turned head
is seen to turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...models.rotations import unit
from .bvh_file import BvhFile, Joint, parse_bvh
from .conventions import (
    BONES,
    BVH,
    TO_CAMERA,
    Motion,
    find_columns,
    guess_unit,
    require_joints,
    stature,
    upward_axis,
)
from .text_files import read_text

_BATCH = 4096  # frames
_SHORTEST_TOE = 0.03  # metres: an end site nearer to the toes' joint is no tip

_HEAD = {"nose": (0.0, 0.190, 0.142), "left_ear": (0.073, 0.211, 0.029), "right_ear": (-0.073, 0.211, 0.029)}
"""From the middle of the shoulders, metres to the left, up and ahead: Anny at rest, :data:`_HEIGHT` tall."""

_HEEL, _TOE = (-0.049, -0.053), (-0.059, 0.195)
"""From the ankle, up and along the foot."""

_KNUCKLES = {"index": (0.10, 0.032), "pinky": (0.088, -0.032)}
"""From the wrist, along the hand and ahead, towards the thumb."""

_HEIGHT = 1.676
_STANDING, _RAISED = 0.7, 0.3  # of a limb's length upwards: legs that stand at rest, arms that do not hang


def read_bvh(path: Path) -> Motion:
    """Read a BVH file. Raises OSError, and InputError that names the line or the joint at fault."""
    return _motion_of(parse_bvh(read_text(path)))


# ---- forward kinematics ----------------------------------------------------------------------


def _turns(axis: int, degrees: np.ndarray) -> np.ndarray:
    """Return rotations ``(T, 3, 3)`` about one of the axes."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turns = np.zeros((len(degrees), 3, 3))
    second, third = (axis + 1) % 3, (axis + 2) % 3
    turns[:, axis, axis] = 1
    turns[:, second, second] = turns[:, third, third] = cosine
    turns[:, third, second], turns[:, second, third] = sine, -sine
    return turns


def _pose(
    joints: list[Joint], values: np.ndarray, wanted: set[int]
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Pose the ``wanted`` joints and their parents by ``values (T, C)``.

    Returns by index where they stand, ``(T, 3)``, and their rotations since rest ``(T, 3, 3)``.
    """
    needed = set(wanted)
    for index in range(len(joints) - 1, -1, -1):
        if index in needed:
            needed.add(joints[index].parent)
    frames = len(values)
    places, worlds = {-1: np.zeros((frames, 3))}, {-1: np.broadcast_to(np.eye(3), (frames, 3, 3))}
    for index, joint in enumerate(joints):
        if index not in needed:
            continue
        place = np.tile(joint.offset, (frames, 1))
        turn: np.ndarray | None = None
        for column, (kind, axis) in enumerate(joint.channels, joint.first_channel):
            if kind == "position":  # where the joint stands, instead of its offset
                place[:, axis] = values[:, column]
            else:
                step = _turns(axis, values[:, column])
                turn = step if turn is None else turn @ step
        parent = worlds[joint.parent]
        places[index] = places[joint.parent] + (parent @ place[..., None])[..., 0]
        worlds[index] = parent if turn is None else parent @ turn
    return places, worlds


def _motion_of(file: BvhFile) -> Motion:
    joints, values = file.joints, file.values
    names = [joint.name for joint in joints if not joint.is_end]
    columns = find_columns(["" if joint.is_end else joint.name for joint in joints], BONES)
    bones = {name: at[0] for name, at in columns.items()}
    require_joints(bones, names)
    _still_positions(joints, values)
    riders, up = _riders(joints, bones)
    wanted = set(bones.values()) | {at for at, _ in riders.values()}
    points = {name: np.empty((len(values), 3)) for name in (*bones, *riders)}
    for start in range(0, len(values), _BATCH):
        batch = slice(start, start + _BATCH)
        places, worlds = _pose(joints, values[batch], wanted)
        for name, at in bones.items():
            points[name][batch] = places[at]
        for name, (at, offset) in riders.items():
            points[name][batch] = places[at] + worlds[at] @ offset
    stacked = np.stack(list(points.values()), axis=1)
    metres, said = guess_unit(stacked, tuple(points))
    return Motion(BVH, stacked * metres, tuple(points), file.fps, up, warnings=(*file.warnings, said))


def _still_positions(joints: list[Joint], values: np.ndarray) -> None:
    """Give joints their offset where a program wrote zeros into position channels that it does not use."""
    for joint in joints:
        moved = joint.columns("position")
        if joint.parent >= 0 and moved and not values[:, [column for column, _ in moved]].any():
            for column, axis in moved:
                values[:, column] = joint.offset[axis]


# ---- what rides on the joints ----------------------------------------------------------------

_Riders = dict[str, tuple[int, np.ndarray]]


def _riders(joints: list[Joint], bones: dict[str, int]) -> tuple[_Riders, str | None]:
    """Return points, each with the joint that it rides on and ``(3,)`` where it is at rest from there.

    Some programs lay all limbs along one axis at rest: there feet and hands are left to be estimated. Also
    the axis that points up at rest, None where the rest pose stands along none.
    """
    rest = np.zeros((len(joints), 3))
    children: list[list[int]] = [[] for _ in joints]
    for index, joint in enumerate(joints):
        rest[index] = joint.offset
        if joint.parent >= 0:
            rest[index] += rest[joint.parent]
            children[joint.parent].append(index)
    at = {name: rest[index] for name, index in bones.items()}
    scale = stature(np.stack(list(at.values()))[None], tuple(at)) / _HEIGHT
    shoulders, hips, ankles = (
        (at[f"left_{joint}"] + at[f"right_{joint}"]) / 2 for joint in ("shoulder", "hip", "ankle")
    )
    up = unit(shoulders - hips)
    axis = upward_axis(up) if upward_axis(up) == upward_axis(unit(hips - ankles)) else None
    if axis is not None:  # a spine bends a little: where the rest pose stands, its axis is meant
        up = -TO_CAMERA[axis][1]
    across = at["left_hip"] - at["right_hip"] + at["left_shoulder"] - at["right_shoulder"]
    ahead = unit(np.cross(across, up))
    left = np.cross(up, ahead)

    riders: _Riders = {}
    if "head" in bones:
        for name, (out, high, far) in _HEAD.items():
            place = shoulders + scale * (out * left + high * up + far * ahead)
            riders[name] = bones["head"], place - at["head"]
    pose = _Rest(bones, rest, children, up, ahead, scale)
    for side in ("left", "right"):
        riders |= _hand_riders(side, pose) | _foot_riders(side, pose)
    return riders, axis


@dataclass(frozen=True)
class _Rest:
    """The rest pose: points' joints, all joints' places ``(J, 3)`` and children, two directions, the size."""

    bones: dict[str, int]
    places: np.ndarray
    children: list[list[int]]
    up: np.ndarray
    ahead: np.ndarray
    scale: float


def _hand_riders(side: str, rest: _Rest) -> _Riders:
    """Return the knuckles that a hand has no joints for, none where the arm is raised at rest."""
    wrist = rest.bones[f"{side}_wrist"]
    forearm = unit(rest.places[wrist] - rest.places[rest.bones[f"{side}_elbow"]])
    if forearm @ rest.up > _RAISED:
        return {}
    hand = forearm
    if rest.children[wrist]:
        fingers = unit(rest.places[rest.children[wrist]].mean(axis=0) - rest.places[wrist])
        hand = fingers if fingers @ forearm > 0.5 else forearm
    thumb = unit(rest.ahead - (rest.ahead @ hand) * hand)
    return {
        f"{side}_{finger}": (wrist, rest.scale * (far * hand + out * thumb))
        for finger, (far, out) in _KNUCKLES.items()
        if f"{side}_{finger}" not in rest.bones
    }


def _foot_riders(side: str, rest: _Rest) -> _Riders:
    """Return heel and tip of the toes, where the leg does not stand at rest only a tip that is there."""
    ankle = rest.bones[f"{side}_ankle"]
    toes = rest.bones.get(f"{side}_toes", ankle)
    tip = rest.children[toes][0] if rest.children[toes] else toes
    riders: _Riders = {}
    if unit(rest.places[rest.bones[f"{side}_hip"]] - rest.places[ankle]) @ rest.up > _STANDING:
        foot = rest.places[tip] - rest.places[ankle]
        foot = unit(foot - (foot @ rest.up) * rest.up)
        foot = foot if foot @ rest.ahead > 0.5 else rest.ahead
        for name, joint, (high, far) in (("heel", ankle, _HEEL), ("foot_index", toes, _TOE)):
            place = rest.places[ankle] + rest.scale * (high * rest.up + far * foot)
            riders[f"{side}_{name}"] = joint, place - rest.places[joint]
    if toes != ankle and np.linalg.norm(rest.places[tip] - rest.places[toes]) > _SHORTEST_TOE * rest.scale:
        riders[f"{side}_foot_index"] = toes, rest.places[tip] - rest.places[toes]
    return riders
