# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a character performs: where it stands, or where the clip's person does. NumPy alone."""

from __future__ import annotations

import numpy as np

from ...models.errors import InputError
from ...models.rotations import unit
from ..bake.rig import Rig
from ..translating import say
from .rest_pose import floor_level, hip_height, rest_facing
from .transfer import Place

_UNIFORM = 1e-3  # share by which an armature object's scales may differ
_LEVEL = 1e-3  # length on the floor of a unit vector that still says where somebody faces


def find_place(
    at: str,
    rig: Rig,
    ours: Rig,
    bone_map: dict[str, str],
    *,
    name: str,
    target_world: np.ndarray,
    clip_world: np.ndarray,
    floor: np.ndarray,
) -> Place:
    """Return how positions of the clip become positions in the space of the armature object ``name``.

    ``at`` is ``CLIP``, where the clip's person moves, or ``ARMATURE``, where the armature stands, facing as
    it does. ``rig`` is the armature at rest, ``ours`` the clip's skeleton. The matrices ``(4, 4)`` say where
    the armature and the clip's empty are in the world, and where the empty would have to be for the person to
    stand at the origin, facing -Y. InputError ``bone_map`` or ``scale`` where there is no such way.
    """
    scales = np.linalg.norm(target_world[:3, :3], axis=0)
    if np.ptp(scales) > _UNIFORM * scales.max() or np.linalg.det(target_world[:3, :3]) <= 0:
        said = say('"{name}" is scaled unevenly: apply its scale first (Ctrl A, Scale).', name=name)
        raise InputError("scale", said)
    upright = rest_facing(ours, rig, bone_map)
    own = {bone: bone for bone in ours.names if bone in bone_map}
    scale = hip_height(rig, bone_map, upright) / hip_height(ours, own, np.eye(3))
    if scale <= 0:
        said = say('The hips of "{name}" are not above its feet: mend the map of its legs.', name=name)
        raise InputError("bone_map", said)
    # in camera space, where up is not the world's, the person stands as on the floor
    stands = floor if np.allclose(clip_world, np.eye(4), atol=1e-4) else clip_world
    up = _turn(stands).T @ (0, 0, 1)
    point = np.linalg.inv(floor)[:3, 3]
    if at == "CLIP":
        to_target = np.linalg.inv(target_world) @ clip_world
        return Place(_turn(to_target), point, to_target[:3, :3] @ point + to_target[:3, 3], up, scale)
    turn = upright @ _facing_front(_turn(stands) @ _turn(floor).T @ (0, -1, 0)) @ _turn(stands)
    hips = rig.rest[rig.index(bone_map[ours.names[0]]), :3, 3]
    vertical = upright[:, 2]
    level = floor_level(rig, bone_map, upright)
    return Place(turn, point, hips + (level - hips @ vertical) * vertical, up, scale)


def _facing_front(forward: np.ndarray) -> np.ndarray:
    """Return the turn about Z that lets somebody who faces ``forward`` face -Y."""
    length = np.hypot(*forward[:2])
    if length <= _LEVEL:
        return np.eye(3)
    x, y = forward[:2] / length
    return np.array([(-y, x, 0), (-x, -y, 0), (0, 0, 1)])


def _turn(matrix: np.ndarray) -> np.ndarray:
    """Return the rotation in a matrix ``(4, 4)`` without shear."""
    return unit(matrix[:3, :3].T).T
