# SPDX-License-Identifier: GPL-3.0-or-later
"""Small people at rest and in motion, as armatures of any kind."""

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation
from sparse2dense.s2d_addon.bake.rig import pose, simple_rig
from sparse2dense.s2d_addon.retarget.transfer import Place

HEADS = {
    "spine": (0, 0, 0.95),
    "spine.001": (0, 0, 1.1),
    "spine.003": (0, 0, 1.3),
    "spine.006": (0, 0, 1.55),
    "upper_arm.L": (0.2, 0, 1.4),
    "forearm.L": (0.45, 0, 1.2),
    "hand.L": (0.6, -0.1, 1.1),
    "upper_arm.R": (-0.2, 0, 1.4),
    "forearm.R": (-0.45, 0, 1.2),
    "hand.R": (-0.6, -0.1, 1.1),
    "thigh.L": (0.1, 0, 0.9),
    "shin.L": (0.12, -0.02, 0.5),
    "foot.L": (0.14, 0.02, 0.08),
    "toe.L": (0.15, -0.13, 0.02),
    "thigh.R": (-0.1, 0, 0.9),
    "shin.R": (-0.12, -0.02, 0.5),
    "foot.R": (-0.14, 0.02, 0.08),
    "toe.R": (-0.15, -0.13, 0.02),
}
NAMES = list(HEADS)
ABOVE = {
    "spine": None, "spine.001": "spine", "spine.003": "spine.001", "spine.006": "spine.003",
    **{f"upper_arm.{side}": "spine.003" for side in "LR"},
    **{f"thigh.{side}": "spine" for side in "LR"},
    **{f"{bone}.{side}": f"{above}.{side}" for side in "LR" for above, bone in (
        ("upper_arm", "forearm"), ("forearm", "hand"), ("thigh", "shin"), ("shin", "foot"), ("foot", "toe"))},
}  # fmt: skip
ENDS = {"spine.006": (0, 0, 1.8), "hand": (0.7, -0.17, 1.05), "toe": (0.16, -0.2, 0.02)}
OWN = {name: name for name in NAMES}
Y_UP = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
"""Takes the clip's rest pose to an armature whose up is Y and which faces -X."""


def wandering(frames, seed, step=0.05):
    """Rotations ``(T, 3, 3)`` that wander over the whole sphere."""
    rng = np.random.default_rng(seed)
    quaternions = np.cumsum(rng.normal(size=(frames, 4)) * step, axis=0) + rng.normal(size=4)
    return Rotation.from_quat(quaternions).as_matrix()


def person(turned=None, *, size=1.0, moved=None, without=(), seed=5):
    """A person at rest, facing -Y, or turned by a rotation of the whole armature's space.

    ``moved`` gives some bones another place, ``without`` names bones that are not there. Bones' own axes are
    anything.
    """
    turn = np.eye(3) if turned is None else turned
    places = {name: np.array((moved or {}).get(name, place), float) for name, place in HEADS.items()}
    names = [name for name in NAMES if name not in without]
    parents, tails = [], []
    for name in names:
        above = ABOVE[name]
        while above in without:
            above = ABOVE[above]
        parents.append(-1 if above is None else names.index(above))
        part, _, side = name.partition(".")
        after = [other for other in names if ABOVE[other] == name]
        if name in ENDS or part in ENDS:
            tails.append(np.array(ENDS.get(name, ENDS.get(part))) * (-1 if side == "R" else 1, 1, 1))
        else:
            tails.append(places[after[0]] if after else places[name] + (0, 0, -0.1))
    rest = np.tile(np.eye(4), (len(names), 1, 1))
    rest[:, :3, :3] = turn @ Rotation.random(len(names), random_state=seed).as_matrix()
    rest[:, :3, 3] = size * np.array([places[name] for name in names]) @ turn.T
    return simple_rig(names, np.array(parents), rest, size * np.array(tails) @ turn.T)


def moving(rig, frames, step=0.05):
    """Every bone of a rig wandering, and the root travelling."""
    own = {name: wandering(frames, seed, step) for seed, name in enumerate(rig.names)}
    steps = np.random.default_rng(3).normal(scale=0.02, size=(frames, 3))
    return pose(rig, own, rig.names[0], np.cumsum(steps, axis=0))


def place(**fields):
    """Where the clip's own space is the target's."""
    here = Place(np.eye(3), np.zeros(3), np.zeros(3), np.array([0.0, 0.0, 1.0]), 1.0)
    return replace(here, **fields)


def shown(target, result):
    """The target as its bones pose it."""
    return pose(target, result.rotations, result.root, result.location)


def turned_from_rest(motion, name):
    """How a bone is turned from its rest pose, ``(T, 3, 3)``."""
    bone = motion.rig.index(name)
    return motion.rotations[:, bone] @ motion.rig.rest[bone, :3, :3].T
