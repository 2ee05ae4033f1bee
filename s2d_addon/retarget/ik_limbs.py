# SPDX-License-Identifier: GPL-3.0-or-later
"""Arms and legs of a generated Rigify rig by their IK controls, posed as its FK controls are. NumPy alone."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import numpy as np

from ...models.rotations import apply, unit
from ..bake.rig import Motion, Rig

POLE = "pole_vector"
"""Custom property of a limb's settings bone: whether its pole says where the elbow or knee goes."""

DRIVES = "IK_FK"
"""Custom property of a limb's settings bone: 0 where its IK controls move it, 1 where its FK controls do."""

_LIMBS = (
    (
        "upper_arm_parent",
        "upper_arm_fk forearm_fk hand_fk",
        "hand_ik",
        "upper_arm_ik_target",
        "upper_arm_ik",
        "",
    ),
    (
        "thigh_parent",
        "thigh_fk shin_fk foot_fk",
        "foot_ik",
        "thigh_ik_target",
        "thigh_ik",
        "foot_spin_ik foot_heel_ik toe_ik",
    ),
)
_STRAIGHT = 0.01
"""Of a limb's length: as far off the straight line, elbow and knee say where they point as much as the rest
pose does. Below it they say nothing, and a pole that believed them would leap."""


@dataclass(frozen=True)
class IkLimb:
    """Bones of an arm or a leg: its ``settings``, its three ``fk`` controls from the body outwards, the IK
    controls of its ``end`` and ``pole``, the ``upper`` bone that IK turns, and what has to be ``resting``."""

    settings: str
    fk: tuple[str, str, str]
    end: str
    pole: str
    upper: str
    resting: tuple[str, ...]


def ik_limbs(names: Container[str]) -> list[IkLimb]:
    """Return the limbs that a rig with bones ``names`` has with all their controls, as Rigify names them."""
    limbs = []
    for side in "LR":
        for settings, fk, *controls, resting in _LIMBS:
            first, second, third = (f"{name}.{side}" for name in fk.split())
            end, pole, upper = (f"{name}.{side}" for name in controls)
            at_rest = tuple(f"{name}.{side}" for name in (controls[-1], *resting.split()))
            limb = IkLimb(f"{settings}.{side}", (first, second, third), end, pole, upper, at_rest)
            if all(name in names for name in (limb.settings, *limb.fk, end, pole, *at_rest)):
                limbs.append(limb)
    return limbs


def end_control(limb: IkLimb, posed: Motion) -> tuple[np.ndarray, np.ndarray]:
    """Return what a limb's end does: its own rotations ``(T, 3, 3)`` and locations ``(T, 3)``.

    ``posed`` has the limb's bones, the FK controls in motion: the end goes where the FK hand or foot is.
    """
    rig = posed.rig
    fk, end = rig.index(limb.fk[2]), rig.index(limb.end)
    turns = posed.rotations[:, fk] @ rig.rest[fk, :3, :3].T
    heads = posed.heads[:, fk] + apply(turns, rig.rest[end, :3, 3] - rig.rest[fk, :3, 3])
    unposed, location = _unposed(posed, end, heads)
    return np.swapaxes(unposed, -1, -2) @ turns @ rig.rest[end, :3, :3], location


def pole_control(limb: IkLimb, posed: Motion) -> np.ndarray:
    """Return where a limb's pole goes ``(T, 3)``, as its location: out from the FK elbow or knee."""
    rig = posed.rig
    upper, lower, end, pole = (rig.index(name) for name in (*limb.fk, limb.pole))
    rest = rig.rest[:, :3, 3]
    at_rest = _across(rest[pole] - rest[upper], rest[end] - rest[upper])
    turns = posed.rotations[:, upper] @ rig.rest[upper, :3, :3].T
    line = posed.heads[:, end] - posed.heads[:, upper]
    bend = _across(posed.heads[:, lower] - posed.heads[:, upper], line)
    usual = unit(_across(turns @ at_rest, line))
    length = np.linalg.norm(rest[lower] - rest[upper]) + np.linalg.norm(rest[end] - rest[lower])
    out = unit(bend + _STRAIGHT * length * usual)
    heads = posed.heads[:, lower] + np.linalg.norm(rest[pole] - rest[lower]) * out
    return _unposed(posed, pole, heads)[1]


def reach(limb: IkLimb, posed: Motion) -> np.ndarray:
    """Return how far ``(T,)`` a limb's end is from its beginning."""
    first, end = (posed.rig.index(limb.fk[place]) for place in (0, 2))
    return np.linalg.norm(posed.heads[:, end] - posed.heads[:, first], axis=1)


def ends_apart(limbs: list[IkLimb], posed: Motion, other: Motion) -> float:
    """Return how far hands and feet are from where another motion of the same rig has them, at most."""
    ends = [posed.rig.index(limb.fk[2]) for limb in limbs]
    return float(np.linalg.norm(posed.heads[:, ends] - other.heads[:, ends], axis=-1).max())


def _unposed(posed: Motion, bone: int, heads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how what carries a bone turns it ``(T, 3, 3)``, and its location ``(T, 3)`` at ``heads``."""
    rig: Rig = posed.rig
    parent, offset = rig.parents[bone], rig.offsets[bone]
    frames = len(heads)
    above = posed.rotations[:, parent] if parent >= 0 else np.tile(np.eye(3), (frames, 1, 1))
    base = posed.heads[:, parent] if parent >= 0 else np.zeros((frames, 3))
    unposed = above @ offset[:3, :3] if rig.turns[bone] else np.tile(rig.rest[bone, :3, :3], (frames, 1, 1))
    shift = heads - base - above @ offset[:3, 3]
    axes = unposed if rig.shifts[bone] else above
    return unposed, apply(np.swapaxes(axes, -1, -2), shift)


def _across(vectors: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Return the parts of vectors ``(..., 3)`` across lines."""
    along = unit(line)
    return vectors - (vectors * along).sum(axis=-1, keepdims=True) * along
