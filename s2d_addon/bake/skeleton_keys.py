# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frames of a skeleton get keys: each bone's rotation, and each location, its own.

How far the smooth curves may stray is told by what they do: the corners of a box round each bone's vertices
bound how far any vertex strays. NumPy alone.
"""

from __future__ import annotations

import numpy as np

from .clip_skeleton import ClipSkeleton
from .keys import furthest_added, smooth_between, smooth_keys
from .rig import Motion

_SHORTEST_REACH = 1e-3  # metres


def skeleton_keys(skeleton: ClipSkeleton, channels: list[np.ndarray], tolerance: float) -> list[np.ndarray]:
    """Choose the frames ``(K,)`` that get keys, for each of the skeleton's channels.

    No vertex strays further than ``tolerance`` metres from where keys at all frames would have it; 0 makes
    them.
    """
    corners = _corners(skeleton)
    wanted = _corner_places(skeleton.move(channels), corners)
    # Metres for a unit of a quaternion, or of a location.
    arms = np.append(2 * _reach(skeleton), np.ones(skeleton.located))
    kept = [smooth_keys(values, tolerance / arm) for values, arm in zip(channels, arms, strict=True)]
    above = _above(skeleton)
    while True:
        shown = [smooth_between(*channel) for channel in zip(channels, kept, strict=True)]
        corners_shown = _corner_places(skeleton.move(shown), corners)
        strayed = np.linalg.norm(corners_shown - wanted, axis=-1).max(axis=2)
        worst = strayed.max(axis=1)
        frames = np.flatnonzero(worst > tolerance)
        # A chain's strays add up there: of its channels the one that strays most gets a key.
        own = [np.linalg.norm(has - values, axis=1) for has, values in zip(shown, channels, strict=True)]
        shares = np.stack(own, axis=1)[frames] * arms * above[strayed[frames].argmax(axis=1)]
        guilty = shares.argmax(axis=1)
        more = [furthest_added(keys, frames[guilty == i], worst) for i, keys in enumerate(kept)]
        if sum(map(len, more)) == sum(map(len, kept)):
            return kept
        kept = more


def _above(skeleton: ClipSkeleton) -> np.ndarray:
    """Tell ``(J, C)`` which channels move each bone: its own, and those of the bones above it."""
    bones = len(skeleton.names)
    above = np.eye(bones, dtype=bool)
    above = np.concatenate([above, above[:, : skeleton.located]], axis=1)
    for bone, parent in enumerate(skeleton.parents):
        if parent >= 0:
            above[bone] |= above[parent]
    return above


def _corners(skeleton: ClipSkeleton) -> np.ndarray:
    """Return the corners ``(J, 8, 3)`` of a box round the vertices of each bone, in its own axes at rest."""
    corners = np.zeros((len(skeleton.names), 8, 3))
    pick = np.array([[i >> axis & 1 for axis in range(3)] for i in range(8)])
    for bone, matrix in enumerate(skeleton.matrices):
        moved = ((skeleton.weight_bones == bone) & (skeleton.weight_values > 0)).any(axis=1)
        if moved.any():
            local = (skeleton.rest_vertices[moved] - matrix[:3, 3]) @ matrix[:3, :3]
            corners[bone] = np.where(pick, local.max(axis=0), local.min(axis=0))
    return corners


def _corner_places(motion: Motion, corners: np.ndarray) -> np.ndarray:
    """Return where the corners stand, ``(T, J, 8, 3)``."""
    return corners @ np.swapaxes(motion.rotations, -1, -2) + motion.heads[:, :, None]


def _reach(skeleton: ClipSkeleton) -> np.ndarray:
    """Return how far from each bone's head the furthest vertex lies that it carries, at rest."""
    strongest = np.take_along_axis(skeleton.weight_bones, skeleton.weight_values.argmax(1)[:, None], 1)[:, 0]
    reach = np.full(len(skeleton.names), _SHORTEST_REACH)
    for moved in range(len(reach)):
        vertices, bone = skeleton.rest_vertices[strongest == moved], moved
        while bone >= 0 and len(vertices):
            reach[bone] = max(reach[bone], np.linalg.norm(vertices - skeleton.heads[bone], axis=1).max())
            bone = int(skeleton.parents[bone])
    return reach
