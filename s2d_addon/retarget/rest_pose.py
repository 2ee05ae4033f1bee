# SPDX-License-Identifier: GPL-3.0-or-later
"""What rest poses say: which way armatures face, where bones point, how high hips are. NumPy alone.

The clip's skeleton at rest stands at z = 0 and faces -Y. A bone map names the target's bones by the clip's.
"""

from __future__ import annotations

import numpy as np

from ...models.errors import InputError
from ...models.rotations import swing, unit
from ..bake.rig import Rig
from ..translating import say
from .bone_maps import TRUNK_BONES

POINTING = ("upper_arm", "forearm", "hand", "thigh", "shin")
"""Bones that point where the person's do. The trunk, head and feet turn as the person's do, and so keep
the character's own posture: its rest pose and the clip's are both taken as standing upright, feet flat."""

_FLOOR_BAND = -0.02, 0.12  # of the hips' height: feet that reach into it stand on the armature's origin
_ASIDE = 1e-3  # of the trunk's length: sides less far apart do not say where left is
_LEVEL = 0.5  # sine: a foot bone that points less ahead does not say where the toes point
_LOOSE_END = 0.5  # cosine: a hand bone further off its forearm does not say where the hand points


def rest_facing(source: Rig, target: Rig, bone_map: dict[str, str]) -> np.ndarray:
    """Return the rotation (3, 3) from the clip's rest pose (up is z, facing -Y) to the target's.

    The map has the hips. InputError ``bone_map`` where it leaves the facing open.
    """
    heads = {ours: target.rest[target.index(theirs), :3, 3] for ours, theirs in bone_map.items()}
    trunk = [heads[name] for name in source.names if name in TRUNK_BONES and name in heads]
    tall = trunk[-1] - trunk[0]
    up = np.zeros(3)
    up[np.abs(tall).argmax()] = np.sign(tall[np.abs(tall).argmax()])
    across = [
        heads[f"{part}.L"] - heads[f"{part}.R"]
        for part in ("thigh", "upper_arm", "shin", "forearm")
        if f"{part}.L" in heads and f"{part}.R" in heads
    ]
    left = np.sum([*across, np.zeros(3)], axis=0)
    left -= (left @ up) * up
    if not up.any() or np.linalg.norm(left) < _ASIDE * np.linalg.norm(tall):
        raise InputError(
            "bone_map",
            say(
                "The map does not say which way the armature faces: map the hips, another bone of the trunk, "
                "and both thighs or both upper arms."
            ),
        )
    left = unit(left)
    return np.stack([left, np.cross(up, left), up], axis=1)


def hip_height(rig: Rig, bone_map: dict[str, str], upright: np.ndarray) -> float:
    """Return how high above the floor the hip joints are at rest."""
    hips = [rig.rest[rig.index(name), :3, 3] for name in hip_joints(bone_map)[1]]
    return float(np.mean(hips, axis=0) @ upright[:, 2]) - floor_level(rig, bone_map, upright)


def floor_level(rig: Rig, bone_map: dict[str, str], upright: np.ndarray) -> float:
    """Return the height of the floor below a rig at rest: its origin's, or its lowest foot's."""
    up = upright[:, 2]
    feet = [rig.index(bone_map[ours]) for ours in bone_map if _kind(ours) in ("foot", "toe", "shin")]
    hips = float(np.mean([rig.rest[rig.index(name), :3, 3] for name in hip_joints(bone_map)[1]], axis=0) @ up)
    if not feet:
        return 0.0
    lowest = float(min(min(rig.rest[j, :3, 3] @ up, rig.tails[j] @ up) for j in feet))
    low, high = _FLOOR_BAND
    return 0.0 if low * hips <= lowest <= high * hips else lowest


def hip_joints(bone_map: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return the bones whose heads are the hip joints, in the clip's skeleton and the target's."""
    legs = [name for name in bone_map if _kind(name) == "thigh"]
    ours = legs if len(legs) == 2 else [next(iter(bone_map))]
    return ours, [bone_map[name] for name in ours]


def alignment(
    source: Rig, target: Rig, bone_map: dict[str, str], upright: np.ndarray
) -> dict[int, np.ndarray]:
    """Return, for each mapped bone, the rotation that takes the target's rest pose to the clip's."""
    own = {name: name for name in source.names}
    up = upright[:, 2]
    aligned = dict.fromkeys(source.names, np.eye(3))
    for j, ours in enumerate(source.names):
        above = aligned[source.names[max(source.parents[j], 0)]]
        if ours not in bone_map:
            if _kind(ours) in POINTING:
                aligned[ours] = above
            continue
        wanted, has = upright @ pointing(source, own, ours), pointing(target, bone_map, ours)
        if _kind(ours) in POINTING:
            before = above if _kind(ours) not in ("upper_arm", "thigh") else np.eye(3)
            points = points_as_person(target, bone_map, ours)
            aligned[ours] = swing(before @ has, wanted) @ before if points else before
        elif _kind(ours) == "foot":
            toes_wanted, toes = on_floor(wanted, up), on_floor(has, up)
            if toes_wanted is not None and toes is not None:
                aligned[ours] = swing(toes, toes_wanted)
        elif _kind(ours) == "toe":
            aligned[ours] = above
    return {target.index(theirs): aligned[ours] for ours, theirs in bone_map.items() if ours in aligned}


def pointing(rig: Rig, bone_map: dict[str, str], ours: str) -> np.ndarray:
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


def points_as_person(rig: Rig, bone_map: dict[str, str], ours: str) -> bool:
    """Tell whether a mapped bone points where the person's does: a hand only where it shows its direction."""
    forearm = ours.replace("hand", "forearm")
    if _kind(ours) != "hand" or forearm not in bone_map:
        return _kind(ours) in POINTING
    return bool(pointing(rig, bone_map, forearm) @ pointing(rig, bone_map, ours) > _LOOSE_END)


def on_floor(direction: np.ndarray, up: np.ndarray) -> np.ndarray | None:
    """Return where a direction points on the floor, or None where it points up or down rather."""
    level = direction - (direction @ up) * up
    return unit(level) if np.linalg.norm(level) > _LEVEL else None


def _kind(ours: str) -> str:
    return ours.partition(".")[0]
