# SPDX-License-Identifier: GPL-3.0-or-later
"""Skeletons at rest and in motion: where bones are as they turn. NumPy alone, whole clips at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...models.rotations import apply


@dataclass(frozen=True)
class Rig:
    """A skeleton at rest. Arrays are in the order of ``names``, parents before children.

    ``rest`` (J, 4, 4) are the bones' matrices in the armature's space, ``tails`` (J, 3) their other ends,
    ``parents`` (J,) -1 for none. ``offsets`` (J, 4, 4) take the parent's pose to the bone's own, as long as
    ``basis`` (J, 4, 4), what the bone itself does, is the identity. ``turns`` and ``shifts`` (J,) say
    whether a bone turns with its parent, and whether its location is given along its own axes: otherwise
    along its parent's.
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


def simple_rig(names: list[str], parents: np.ndarray, rest: np.ndarray, tails: np.ndarray) -> Rig:
    """Return a skeleton whose bones all just hang on their parents."""
    count = len(names)
    offsets = np.array(
        [r if p < 0 else np.linalg.inv(rest[p]) @ r for p, r in zip(parents, rest, strict=True)]
    )
    yes = np.ones(count, bool)
    return Rig(tuple(names), parents, rest, tails, offsets, np.tile(np.eye(4), (count, 1, 1)), yes, yes, yes)


def pose(
    rig: Rig,
    rotations: dict[str, np.ndarray],
    root: str,
    location: np.ndarray,
    moves: dict[str, np.ndarray] | None = None,
) -> Motion:
    """Pose a rig: bones by their own ``rotations`` (T, 3, 3), ``root`` also by its ``location`` (T, 3).

    ``moves`` are locations (T, 3) of other bones that have some.
    """
    moves = {**(moves or {}), root: location}
    frames = len(location)
    turned = np.empty((frames, len(rig.names), 3, 3))
    heads = np.empty((frames, len(rig.names), 3))
    for j, name in enumerate(rig.names):
        parent, offset, basis = rig.parents[j], rig.offsets[j], rig.basis[j]
        above, base = (turned[:, parent], heads[:, parent]) if parent >= 0 else (np.eye(3), np.zeros(3))
        unposed = above @ offset[:3, :3] if rig.turns[j] else rig.rest[j, :3, :3]
        turned[:, j] = unposed @ rotations.get(name, basis[:3, :3])
        shift = moves.get(name, basis[:3, 3])
        heads[:, j] = base + above @ offset[:3, 3] + apply(unposed if rig.shifts[j] else above, shift)
    return Motion(rig, turned, heads)
