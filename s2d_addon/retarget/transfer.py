# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry a clip's motion over to another skeleton, whatever its rest pose, proportions and bone axes.

Only numpy is needed here: whole clips are carried over at once, from rest matrices. Rotations are
``(T, 3, 3)`` matrices, positions ``(T, 3)``; the clip's skeleton at rest stands at z = 0 and faces -Y.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...models.rotations import apply, continuous, slerp, to_matrices, to_quaternions
from ..bake.rig import Motion, Rig, pose
from .bone_maps import TRUNK_BONES
from .rest_pose import (
    alignment,
    floor_level,
    hip_height,
    hip_joints,
    on_floor,
    pointing,
    points_as_person,
    rest_facing,
)

_SOLE = (-0.05, 0.15, 0.21)  # heel, ball and toes: how far ahead of the ankle, of the hips' height


@dataclass(frozen=True)
class Place:
    """Where the motion goes: ``turn @ (scale * (point - floor)) + origin`` is in the target's space.

    ``up`` is the clip's up direction, ``floor`` a point of its floor.
    """

    turn: np.ndarray
    floor: np.ndarray
    origin: np.ndarray
    up: np.ndarray
    scale: float


@dataclass(frozen=True)
class Retargeted:
    """What the target's bones do: ``rotations`` (T, 3, 3) of each, as its pose has them; ``location`` (T, 3)
    of the bone ``root``; and ``wanted`` (T, 3), unit vectors in the target's space, where the bones that
    carry a direction of the person's should point, with the place of that direction in the rest pose."""

    root: str
    rotations: dict[str, np.ndarray]
    location: np.ndarray
    wanted: dict[str, tuple[np.ndarray, np.ndarray]]


def retarget(
    motion: Motion, target: Rig, bone_map: dict[str, str], place: Place, *, keep_feet: bool
) -> Retargeted:
    """Find what the bones of ``target`` do so that it moves as the person does.

    ``bone_map`` names bones of the target for standard bones, the root first; those that the clip's skeleton
    does not have only tell where the others point. With ``keep_feet`` the lower of the mapped feet is as high
    above the floor as the person's, to scale, and never below it. InputError ``bone_map`` where the map
    leaves the target's facing open.
    """
    source = motion.rig
    pairs = [
        (source.index(ours), target.index(theirs))
        for ours, theirs in bone_map.items()
        if ours in source.names
    ]
    upright = rest_facing(source, target, bone_map)
    own = {name: name for name in source.names}
    aligned = alignment(source, target, bone_map, upright)
    turns, wanted = {}, {}
    for s, t in pairs:
        ours, theirs = source.names[s], target.names[t]
        turn = place.turn @ motion.rotations[:, s] @ source.rest[s, :3, :3].T @ upright.T
        turns[t] = turn @ aligned[t]
        if points_as_person(target, bone_map, ours):
            local = target.rest[t, :3, :3].T @ pointing(target, bone_map, ours)
            wanted[theirs] = local, turn @ upright @ pointing(source, own, ours)
        else:
            wanted[theirs] = np.array([0.0, 1.0, 0.0]), turns[t] @ target.rest[t, :3, 1]
    _share_turns(source, target, pairs, turns)
    rotations = _own_rotations(target, turns)
    root = bone_map[source.names[0]]
    still = np.broadcast_to(target.basis[target.index(root), :3, 3], (len(motion.heads), 3))
    posed = pose(target, rotations, root, still)
    hips_ours, hips_theirs = hip_joints(bone_map)
    go_to = motion.heads[:, [source.index(name) for name in hips_ours]].mean(axis=1)
    are_at = posed.heads[:, [target.index(name) for name in hips_theirs]].mean(axis=1)
    shift = (place.scale * (go_to - place.floor)) @ place.turn.T + place.origin - are_at
    if keep_feet:
        up = place.turn @ place.up
        height = place.scale * ((_soles(motion, own, np.eye(3)) - place.floor) @ place.up)
        soles = (_soles(posed, bone_map, upright) + shift[:, None] - place.origin) @ up
        shift += (np.maximum(height.min(axis=1), 0) - soles.min(axis=1))[:, None] * up
    j = target.index(root)
    parent = target.parents[j]
    axes = above = posed.rotations[:, parent] if parent >= 0 else np.eye(3)
    if target.shifts[j]:
        axes = above @ target.offsets[j, :3, :3] if target.turns[j] else target.rest[j, :3, :3]
    location = still + apply(np.swapaxes(axes, -1, -2), shift)
    return Retargeted(root, rotations, location, wanted)


def _share_turns(
    source: Rig, target: Rig, pairs: list[tuple[int, int]], turns: dict[int, np.ndarray]
) -> None:
    """Let deforming bones between two mapped bones of the trunk turn by a share of the way between them."""
    trunk = {t for s, t in pairs if source.names[s] in TRUNK_BONES}
    for end in sorted(trunk):
        between, j = [], target.parents[end]
        while j >= 0 and j not in trunk:
            between.append(j)
            j = target.parents[j]
        if j < 0:
            continue
        sharing = [b for b in reversed(between) if target.deforming[b]]
        start, stop = (continuous(to_quaternions(turns[bone])) for bone in (j, end))
        for i, bone in enumerate(sharing):
            turns[bone] = to_matrices(slerp(start, stop, (i + 1) / (len(sharing) + 1)))


def _own_rotations(rig: Rig, turns: dict[int, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the bones' own rotations that give them their ``turns`` from the rest pose."""
    posed: list[np.ndarray] = []
    own = {}
    for j, name in enumerate(rig.names):
        above = posed[rig.parents[j]] if rig.parents[j] >= 0 else np.eye(3)
        unposed = above @ rig.offsets[j, :3, :3] if rig.turns[j] else rig.rest[j, :3, :3]
        if j in turns:
            posed.append(turns[j] @ rig.rest[j, :3, :3])
            own[name] = np.swapaxes(unposed, -1, -2) @ posed[j]
        else:
            posed.append(unposed @ rig.basis[j, :3, :3])
    return own


def _soles(motion: Motion, bone_map: dict[str, str], upright: np.ndarray) -> np.ndarray:
    """Return points below both feet (T, P, 3), which at rest lie on the floor from heel to toes."""
    rig = motion.rig
    back, up = upright[:, 1], upright[:, 2]
    level, size = floor_level(rig, bone_map, upright), hip_height(rig, bone_map, upright)
    points = []
    for ours in ("foot.L", "foot.R"):
        if ours not in bone_map:
            continue
        foot = rig.index(bone_map[ours])
        toe = rig.index(bone_map.get(ours.replace("foot", "toe"), bone_map[ours]))
        ahead = on_floor(pointing(rig, bone_map, ours), up)
        ahead = -back if ahead is None else ahead
        ankle = rig.rest[foot, :3, 3]
        for bone, way in zip((foot, foot, toe), _SOLE, strict=True):
            ground = ankle + (level - ankle @ up) * up + way * size * ahead
            local = rig.rest[bone, :3, :3].T @ (ground - rig.rest[bone, :3, 3])
            points.append(motion.heads[:, bone] + motion.rotations[:, bone] @ local)
    return np.stack(points, axis=1)
