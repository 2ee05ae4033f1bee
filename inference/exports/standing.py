# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an exported person stands: on the floor at the origin, as the add-on's *On the Floor* has it.

Camera space ends here. Files with y up have the person face +z, with x to their left; :func:`z_up` turns
that into Blender's axes, where they face -y.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..decoding.floor import Floor
from ..decoding.skeleton_fit import SkeletonMotion

UPRIGHT = np.diag([1.0, -1.0, -1.0])
"""From camera space to y up for what faces the camera: a body at rest, which then faces +z."""


def stand(points: np.ndarray, floor: Floor) -> np.ndarray:
    """Put points ``(..., 3)`` of camera space where they are above ``floor``: float64, metres, y up.

    The origin is on the floor below the hips of the first frame, and the person faces +z at first.
    """
    return (points - floor.point) @ _turn(floor).T


def z_up(points: np.ndarray) -> np.ndarray:
    """Turn points ``(..., 3)`` with y up, facing +z, into z up, facing -y."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


def stand_skeleton(motion: SkeletonMotion, floor: Floor) -> SkeletonMotion:
    """Put a skeleton and its motion above ``floor`` with y up.

    At rest it faces +z and stands on the floor over the origin, in motion it is where :func:`stand` has it.
    """
    rest = motion.skeleton
    low, high = (rest.vertices @ UPRIGHT).min(axis=0), (rest.vertices @ UPRIGHT).max(axis=0)
    origin = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    heads, tails, vertices = (at @ UPRIGHT - origin for at in (rest.heads, rest.tails, rest.vertices))
    skeleton = replace(rest, heads=heads, tails=tails, vertices=vertices, axes=UPRIGHT @ rest.axes)
    # The turns are from one rest to one motion, so each side is turned to its own new axes.
    turn, back = _turn(floor).astype(np.float32), UPRIGHT.astype(np.float32)
    return SkeletonMotion(skeleton, turn @ motion.rotations @ back, stand(motion.roots, floor))


def _turn(floor: Floor) -> np.ndarray:
    return np.stack([np.cross(floor.up, floor.forward), floor.up, floor.forward])
