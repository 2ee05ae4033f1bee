# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry a clip's motion over to another skeleton, whatever its rest pose, proportions and bone axes.

Only numpy is needed here: whole clips are carried over at once, from rest matrices. Rotations are
``(T, 3, 3)`` matrices, positions ``(T, 3)``; the clip's skeleton at rest stands at z = 0 and faces -Y.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from ...models.rotations import (
    angles_between,
    apply,
    continuous,
    slerp,
    swing,
    to_matrices,
    to_quaternions,
    unit,
)

POINTING = ("upper_arm", "forearm", "hand", "thigh", "shin")
"""Bones that point where the person's do. The trunk, head and feet turn as the person's do, and so keep
the character's own posture: its rest pose and the clip's are both taken as standing upright, feet flat."""

_TRUNK = "spine"
_SOLE = (-0.05, 0.15, 0.21)  # heel, ball and toes: how far ahead of the ankle, of the hips' height
_FLOOR_BAND = -0.02, 0.12  # of the hips' height: feet that reach into it stand on the armature's origin
_LEVEL = 0.5  # sine: a foot bone that points less ahead does not say where the toes point
_FIRST_SHARE = 3.0  # of the slack that is surely safe: channels seldom stray all at once
_SHRINK = 0.95
_LOOSE_END = 0.5  # cosine: a hand bone further off its forearm does not say where the hand points


class RetargetError(ValueError):
    """A bone map that does not say enough; the message says what to map."""


@dataclass(frozen=True)
class Rig:
    """A skeleton at rest. Arrays are in the order of ``names``, parents before children.

    ``rest`` (J, 4, 4) are the bones' matrices in the armature's space, ``tails`` (J, 3) their other ends,
    ``parents`` (J,) -1 for none. ``offsets`` (J, 4, 4) take the parent's pose to the bone's own, as long as
    ``basis`` (J, 4, 4), what the bone itself does, is the identity. ``turns`` and ``shifts`` (J,) say
    whether a bone turns with its parent, and whether its location is given along its own axes.
    ``deforming`` (J,) are bones that move a mesh.
    """

    names: tuple[str, ...]
    parents: np.ndarray
    rest: np.ndarray
    tails: np.ndarray
    offsets: np.ndarray
    basis: np.ndarray
    turns: np.ndarray
    shifts: np.ndarray
    deforming: np.ndarray

    def index(self, name: str) -> int:
        """Return the place of a bone by its name."""
        return self.names.index(name)


@dataclass(frozen=True)
class Motion:
    """A clip's skeleton in motion: rotations (T, J, 3, 3) and heads (T, J, 3) in its armature's space."""

    rig: Rig
    rotations: np.ndarray
    heads: np.ndarray


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


def simple_rig(names: list[str], parents: np.ndarray, rest: np.ndarray, tails: np.ndarray) -> Rig:
    """Return a skeleton whose bones all just hang on their parents."""
    count = len(names)
    offsets = np.array(
        [r if p < 0 else np.linalg.inv(rest[p]) @ r for p, r in zip(parents, rest, strict=True)]
    )
    yes = np.ones(count, bool)
    return Rig(tuple(names), parents, rest, tails, offsets, np.tile(np.eye(4), (count, 1, 1)), yes, yes, yes)


def pose(rig: Rig, rotations: dict[str, np.ndarray], root: str, location: np.ndarray) -> Motion:
    """Pose a rig: bones by their own ``rotations`` (T, 3, 3), ``root`` also by its ``location`` (T, 3)."""
    frames = len(location)
    turned = np.empty((frames, len(rig.names), 3, 3))
    heads = np.empty((frames, len(rig.names), 3))
    for j, name in enumerate(rig.names):
        parent, offset, basis = rig.parents[j], rig.offsets[j], rig.basis[j]
        above, base = (turned[:, parent], heads[:, parent]) if parent >= 0 else (np.eye(3), np.zeros(3))
        unposed = above @ offset[:3, :3] if rig.turns[j] else rig.rest[j, :3, :3]
        turned[:, j] = unposed @ rotations.get(name, basis[:3, :3])
        shift = location if name == root else basis[:3, 3]
        heads[:, j] = base + above @ offset[:3, 3] + apply(unposed if rig.shifts[j] else np.eye(3), shift)
    return Motion(rig, turned, heads)


def retarget(
    motion: Motion, target: Rig, bone_map: dict[str, str], place: Place, *, keep_feet: bool
) -> Retargeted:
    """Find what the bones of ``target`` do so that it moves as the person does.

    ``bone_map`` names bones of the target for standard bones, the root first; those that the clip's skeleton
    does not have only tell where the others point. With ``keep_feet`` the lower of the mapped feet is as high
    above the floor as the person's, to scale, and never below it. Raises RetargetError where the map leaves
    the target's facing open.
    """
    source = motion.rig
    pairs = [
        (source.index(ours), target.index(theirs))
        for ours, theirs in bone_map.items()
        if ours in source.names
    ]
    upright = rest_facing(source, target, bone_map)
    own = {name: name for name in source.names}
    aligned = _alignment(source, target, bone_map, upright)
    turns, wanted = {}, {}
    for s, t in pairs:
        ours, theirs = source.names[s], target.names[t]
        turn = place.turn @ motion.rotations[:, s] @ source.rest[s, :3, :3].T @ upright.T
        turns[t] = turn @ aligned[t]
        if _points(target, bone_map, ours):
            has, direction = _direction(target, bone_map, ours), upright @ _direction(source, own, ours)
            wanted[theirs] = target.rest[t, :3, :3].T @ has, turn @ direction
        else:
            wanted[theirs] = np.array([0.0, 1.0, 0.0]), turns[t] @ target.rest[t, :3, 1]
    _share_turns(source, target, pairs, turns)
    rotations = _own_rotations(target, turns)
    root = bone_map[source.names[0]]
    still = np.broadcast_to(target.basis[target.index(root), :3, 3], (len(motion.heads), 3))
    posed = pose(target, rotations, root, still)
    hips_ours, hips_theirs = _hips(bone_map)
    ours = motion.heads[:, [source.index(name) for name in hips_ours]].mean(axis=1)
    theirs = posed.heads[:, [target.index(name) for name in hips_theirs]].mean(axis=1)
    shift = (place.scale * (ours - place.floor)) @ place.turn.T + place.origin - theirs
    if keep_feet:
        up = place.turn @ place.up
        height = place.scale * ((_soles(motion, own, np.eye(3)) - place.floor) @ place.up)
        soles = (_soles(posed, bone_map, upright) + shift[:, None] - place.origin) @ up
        shift += (np.maximum(height.min(axis=1), 0) - soles.min(axis=1))[:, None] * up
    j = target.index(root)
    axes = np.eye(3)
    if target.shifts[j]:
        parent = target.parents[j]
        above = posed.rotations[:, parent] if parent >= 0 and target.turns[j] else np.eye(3)
        axes = above @ target.offsets[j, :3, :3] if target.turns[j] else target.rest[j, :3, :3]
    location = still + apply(np.swapaxes(axes, -1, -2), shift)
    return Retargeted(root, rotations, location, wanted)


# ---- the rest poses --------------------------------------------------------------------------


def rest_facing(source: Rig, target: Rig, bone_map: dict[str, str]) -> np.ndarray:
    """Return the rotation (3, 3) from the clip's rest pose (up is z, facing -Y) to the target's."""
    heads = {ours: target.rest[target.index(theirs), :3, 3] for ours, theirs in bone_map.items()}
    across = [
        heads[f"{part}.L"] - heads[f"{part}.R"]
        for part in ("thigh", "upper_arm", "shin", "forearm")
        if f"{part}.L" in heads and f"{part}.R" in heads
    ]
    trunk = [name for name in source.names if name.startswith(_TRUNK) and name in heads]
    tall = heads[trunk[-1]] - heads[trunk[0]] if len(trunk) > 1 else np.zeros(3)
    if not across or not np.linalg.norm(tall):
        raise RetargetError(
            "The map does not say which way the armature faces: map the hips, another bone of the trunk, "
            "and both thighs or both upper arms."
        )
    up = np.zeros(3)
    up[np.abs(tall).argmax()] = np.sign(tall[np.abs(tall).argmax()])
    left = np.sum(across, axis=0)
    left = unit(left - (left @ up) * up)
    return np.stack([left, np.cross(up, left), up], axis=1)


def hip_height(rig: Rig, bone_map: dict[str, str], upright: np.ndarray) -> float:
    """Return how high above the floor the hip joints are at rest."""
    hips = [rig.rest[rig.index(name), :3, 3] for name in _hips(bone_map)[1]]
    return float(np.mean(hips, axis=0) @ upright[:, 2]) - floor_level(rig, bone_map, upright)


def floor_level(rig: Rig, bone_map: dict[str, str], upright: np.ndarray) -> float:
    """Return the height of the floor below a rig at rest: its origin's, or its lowest foot's."""
    up = upright[:, 2]
    feet = [rig.index(bone_map[ours]) for ours in bone_map if _kind(ours) in ("foot", "toe", "shin")]
    hips = float(np.mean([rig.rest[rig.index(name), :3, 3] for name in _hips(bone_map)[1]], axis=0) @ up)
    if not feet:
        return 0.0
    lowest = float(min(min(rig.rest[j, :3, 3] @ up, rig.tails[j] @ up) for j in feet))
    low, high = _FLOOR_BAND
    return 0.0 if low * hips <= lowest <= high * hips else lowest


def _hips(bone_map: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return the bones whose heads are the hip joints, in the clip's skeleton and the target's."""
    legs = [name for name in ("thigh.L", "thigh.R") if name in bone_map]
    ours = legs if len(legs) == 2 else [next(iter(bone_map))]
    return ours, [bone_map[name] for name in ours]


def _alignment(
    source: Rig, target: Rig, bone_map: dict[str, str], upright: np.ndarray
) -> dict[int, np.ndarray]:
    """Return, for each mapped bone, the rotation that takes the target's rest pose to the clip's."""
    own = {name: name for name in source.names}
    up = upright[:, 2]
    aligned: dict[str, np.ndarray] = {}
    for ours in source.names:
        above = aligned.get(_above(source, ours), np.eye(3))
        aligned[ours] = np.eye(3)
        if ours not in bone_map:
            if _kind(ours) in POINTING:
                aligned[ours] = above
            continue
        wanted, has = upright @ _direction(source, own, ours), _direction(target, bone_map, ours)
        if _kind(ours) in POINTING:
            before = above if _kind(ours) not in ("upper_arm", "thigh") else np.eye(3)
            points = _points(target, bone_map, ours)
            aligned[ours] = swing(before @ has, wanted) @ before if points else before
        elif _kind(ours) == "foot":
            wanted, has = _flat(wanted, up), _flat(has, up)
            if wanted is not None and has is not None:
                aligned[ours] = swing(has, wanted)
        elif _kind(ours) == "toe":
            aligned[ours] = above
    return {target.index(theirs): aligned[ours] for ours, theirs in bone_map.items() if ours in aligned}


def _above(rig: Rig, name: str) -> str:
    parent = rig.parents[rig.index(name)]
    return rig.names[parent] if parent >= 0 else ""


def _direction(rig: Rig, bone_map: dict[str, str], ours: str) -> np.ndarray:
    """Return where a mapped bone points at rest: from joint to joint, whatever its own axes are."""
    j = rig.index(bone_map[ours])
    head = rig.rest[j, :3, 3]
    part, _, side = ours.partition(".")
    following = {"upper_arm": "forearm", "forearm": "hand", "thigh": "shin", "shin": "foot", "foot": "toe"}
    after = f"{following.get(part)}.{side}"
    if after in bone_map:
        end = rig.rest[rig.index(bone_map[after]), :3, 3]
    else:
        end = rig.tails[j]
        reach = [rig.rest[c, :3, 3] for c in np.flatnonzero(rig.parents == j)] if part == "hand" else []
        far = [
            c for c in reach if np.linalg.norm(c - head) > 0.5 * max(np.linalg.norm(r - head) for r in reach)
        ]
        if len(far) > 1:  # the knuckles, without the thumb's
            end = np.mean(far, axis=0)
    return unit(end - head)


def _points(rig: Rig, bone_map: dict[str, str], ours: str) -> bool:
    """Tell whether a mapped bone points where the person's does: a hand only where it shows its direction."""
    forearm = ours.replace("hand", "forearm")
    if _kind(ours) != "hand" or forearm not in bone_map:
        return _kind(ours) in POINTING
    return bool(_direction(rig, bone_map, forearm) @ _direction(rig, bone_map, ours) > _LOOSE_END)


# ---- the motion ------------------------------------------------------------------------------


def _share_turns(
    source: Rig, target: Rig, pairs: list[tuple[int, int]], turns: dict[int, np.ndarray]
) -> None:
    """Let deforming bones between two mapped bones of the trunk turn by a share of the way between them."""
    trunk = {t for s, t in pairs if source.names[s].startswith(_TRUNK)}
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
        ahead = _flat(_direction(rig, bone_map, ours), up)
        ahead = -back if ahead is None else ahead
        ankle = rig.rest[foot, :3, 3]
        for bone, way in zip((foot, foot, toe), _SOLE, strict=True):
            ground = ankle + (level - ankle @ up) * up + way * size * ahead
            local = rig.rest[bone, :3, :3].T @ (ground - rig.rest[bone, :3, 3])
            points.append(motion.heads[:, bone] + motion.rotations[:, bone] @ local)
    return np.stack(points, axis=1)


def direction_errors(motion: Motion, wanted: dict[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return the angles (T, B), degrees, between where bones point and where they should."""
    angles = []
    for name, (local, direction) in wanted.items():
        points = motion.rotations[:, motion.rig.index(name)] @ local
        across = np.linalg.norm(np.cross(points, direction), axis=1)
        angles.append(np.degrees(np.arctan2(across, np.sum(points * direction, axis=1))))
    return np.stack(angles, axis=1)


# ---- keys ------------------------------------------------------------------------------------


def to_channels(rotations: np.ndarray, mode: str) -> np.ndarray:
    """Return rotations (T, 3, 3) as the channels of a bone's rotation mode, continuous over time.

    ``mode`` is QUATERNION (w, x, y, z), AXIS_ANGLE (angle, x, y, z), or an order of Euler angles.
    """
    quaternions = continuous(to_quaternions(rotations))
    if mode == "QUATERNION":
        return quaternions
    if mode == "AXIS_ANGLE":
        sine = np.linalg.norm(quaternions[:, 1:], axis=1)
        angle = 2 * np.arctan2(sine, quaternions[:, 0])
        known = sine > 1e-6
        if not known.any():
            return np.tile([0.0, 0.0, 1.0, 0.0], (len(quaternions), 1))
        # where nothing is turned any axis will do: that of the last frame that has one
        last = np.maximum.accumulate(np.where(known, np.arange(len(known)), known.argmax()))
        return np.column_stack([angle, quaternions[last, 1:] / sine[last, None]])
    return _to_eulers(rotations, mode)


def from_channels(values: np.ndarray, mode: str) -> np.ndarray:
    """Return the rotations (T, 3, 3) that Blender makes of rotation channels."""
    if mode == "QUATERNION":
        return to_matrices(values)
    if mode == "AXIS_ANGLE":
        half = values[:, :1] / 2
        axis = values[:, 1:] / np.linalg.norm(values[:, 1:], axis=1, keepdims=True)
        return to_matrices(np.concatenate([np.cos(half), np.sin(half) * axis], axis=1))
    result = np.eye(3)
    for axis in mode:
        i = "XYZ".index(axis)
        half = values[:, i] / 2
        quaternion = np.zeros((len(values), 4))
        quaternion[:, 0], quaternion[:, i + 1] = np.cos(half), np.sin(half)
        result = to_matrices(quaternion) @ result
    return result


def keys_within(channels: list[np.ndarray], modes: list[str], angle: float) -> list[np.ndarray]:
    """Choose keys (T,) of each bone's rotation channels (T, C), so that it stays within ``angle`` radians.

    What a channel may stray is tried, beginning above what is safe, and measured; 0 keeps every frame.
    """
    if angle == 0:
        return [np.ones(len(values), bool) for values in channels]
    wanted = [from_channels(values, mode) for values, mode in zip(channels, modes, strict=True)]
    slacks = [_safe_slack(values, mode, angle) for values, mode in zip(channels, modes, strict=True)]
    share = np.full(len(channels), _FIRST_SHARE)
    while True:
        kept = thin(channels, [part * slack for part, slack in zip(share, slacks, strict=True)])
        for i, (values, mode, keep) in enumerate(zip(channels, modes, kept, strict=True)):
            worst = angles_between(from_channels(between_keys(values, keep), mode), wanted[i]).max()
            share[i] = max(_SHRINK * angle / worst, 0.25) * share[i] if worst > angle else -share[i]
        if (share < 0).all():
            return kept
        share = np.abs(share)


def _safe_slack(values: np.ndarray, mode: str, angle: float) -> np.ndarray:
    """Return how far each channel may stray so that the rotation surely stays within ``angle`` radians."""
    if mode == "QUATERNION":
        return np.full(4, angle / 4)  # a turn is twice the way on the sphere; four coordinates share it
    if mode == "AXIS_ANGLE":
        most = max(float(np.abs(values[:, 0]).max()), angle)
        return np.array([angle / 2] + [angle / (4 * most)] * 3)
    return np.full(3, angle / 3)


def thin(channels: list[np.ndarray], slacks: list[np.ndarray]) -> list[np.ndarray]:
    """Choose keys (T,) of each group of channels (T, C), so that straight lines stay within ``slacks``.

    One pass (a swing door) for all groups at once: the slopes that would still pass every frame since the
    last key are narrowed frame by frame; a key is set where the next frame no longer lies among them.
    """
    frames, most = len(channels[0]), max(values.shape[1] for values in channels)
    values = np.zeros((frames, len(channels), most))
    slack = np.ones((len(channels), most))
    for i, (channel, allowed) in enumerate(zip(channels, slacks, strict=True)):
        values[:, i, : channel.shape[1]], slack[i, : channel.shape[1]] = channel, allowed
    keep = np.zeros((frames, len(channels)), bool)
    keep[[0, -1]] = True
    since = np.zeros(len(channels), int)
    origin = values[0].copy()
    low, high = np.full_like(origin, -np.inf), np.full_like(origin, np.inf)
    for frame in range(1, frames):
        run = (frame - since)[:, None]
        slope = (values[frame] - origin) / run
        missed = ((slope < low) | (slope > high)).any(axis=1) | ~slack.all(axis=1)
        if missed.any():
            keep[frame - 1, missed] = True
            since[missed] = frame - 1
            origin[missed] = values[frame - 1, missed]
            low[missed], high[missed] = -np.inf, np.inf
            run = (frame - since)[:, None]
            slope = (values[frame] - origin) / run
        low, high = np.maximum(low, slope - slack / run), np.minimum(high, slope + slack / run)
    return list(keep.T)


def between_keys(values: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Return what straight lines between the kept frames make of channels ``(T, C)``."""
    frames, kept = np.arange(len(values)), np.flatnonzero(keep)
    return np.stack([np.interp(frames, kept, column[kept]) for column in values.T], axis=1)


# ---- rotations -------------------------------------------------------------------------------


def _to_eulers(rotations: np.ndarray, order: str) -> np.ndarray:
    i, j, k = ("XYZ".index(axis) for axis in order)
    sign = 1 if (i, j, k) in ((0, 1, 2), (1, 2, 0), (2, 0, 1)) else -1
    m = rotations
    cosine = np.hypot(m[:, i, i], m[:, j, i])
    free = cosine > 1e-6
    angles = np.empty((len(m), 3))
    angles[:, i] = np.where(
        free, np.arctan2(sign * m[:, k, j], m[:, k, k]), np.arctan2(-sign * m[:, j, k], m[:, j, j])
    )
    angles[:, j] = np.arctan2(-sign * m[:, k, i], cosine)
    angles[:, k] = np.where(free, np.arctan2(sign * m[:, j, i], m[:, i, i]), 0)
    other = angles + np.pi
    other[:, j] = np.pi - angles[:, j]
    # every rotation has two triples of angles, and each of them turns of 360 degrees: take the nearest
    both = np.stack([angles, other], axis=1)
    steps = both[1:, None] - both[:-1, :, None]
    nearest = np.abs((steps + np.pi) % (2 * np.pi) - np.pi).sum(axis=-1).argmin(axis=-1)
    chosen = list(itertools.accumulate(nearest.tolist(), lambda before, after: after[before], initial=0))
    return np.unwrap(both[np.arange(len(m)), chosen], axis=0)


def _flat(direction: np.ndarray, up: np.ndarray) -> np.ndarray | None:
    """Return where a direction points on the floor, or None where it points up or down rather."""
    flat = direction - (direction @ up) * up
    return unit(flat) if np.linalg.norm(flat) > _LEVEL else None


def _kind(ours: str) -> str:
    return ours.partition(".")[0]
