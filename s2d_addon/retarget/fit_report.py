# SPDX-License-Identifier: GPL-3.0-or-later
"""How well a motion fits once it is applied, and how people are told. NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..bake.rig import Motion
from ..translating import say

_NOTICEABLE = 1.0  # degrees


@dataclass(frozen=True)
class Applied:
    """What applying made, and how far bones point from where they should, in degrees."""

    frames: int
    bones: int
    keys: int
    mean: float
    worst: float
    worst_bone: str
    warnings: tuple[str, ...]

    def describe(self) -> str:
        """Return it in words."""
        return say(
            "{frames} frames, {bones} bones, {keys} keys: bones point {mean:.2f}° off on average, "
            "{worst:.2f}° at most ({worst_bone})",
            **vars(self),
        )


def direction_errors(
    motion: Motion, wanted: dict[str, tuple[np.ndarray, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Return, for each bone of ``wanted``, the angles ``(T,)`` in degrees by which it points elsewhere.

    ``wanted`` is that of :class:`.transfer.Retargeted`.
    """
    angles = {}
    for name, (local, direction) in wanted.items():
        points = motion.rotations[:, motion.rig.index(name)] @ local
        across = np.linalg.norm(np.cross(points, direction), axis=1)
        angles[name] = np.degrees(np.arctan2(across, np.sum(points * direction, axis=1)))
    return angles


def furthest_off(errors: dict[str, np.ndarray]) -> tuple[str, float]:
    """Return the bone with the largest of all ``errors`` ``(T,)``, and that."""
    worst = {name: float(angles.max()) for name, angles in errors.items()}
    name = max(worst, key=worst.__getitem__)
    return name, worst[name]


def held_elsewhere(errors: dict[str, np.ndarray]) -> list[str]:
    """Warn where ``errors`` ``(T,)``, degrees, say that Blender turns bones away from where keys put them.

    Bones come after those that carry them and are turned along with them: the first that is turned as far as
    any is where it happens.
    """
    _, most = furthest_off(errors)
    if most <= _NOTICEABLE:
        return []
    name = next(name for name, angles in errors.items() if angles.max() >= most - _NOTICEABLE)
    said = say(
        'Constraints or drivers turn "{bone}" and the bones on it by {angle:.0f}° away from the motion: mute '
        "them, or map the bones that control these.",
        bone=name,
        angle=errors[name].max(),
    )
    return [said]
