# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws the picture by which a motion is known among others: a figure at some moments, side by side.

NumPy alone, so that it is the same with a window, without one, and whatever the scene's lights and cameras.
"""

from __future__ import annotations

import itertools

import numpy as np

from ...models.rotations import unit
from .rig_presets import TRUNK

SIZE = 256
"""Width and height in pixels: those of Blender's own pictures of assets."""

_FINER = 2  # drawn so many times larger, then averaged
_MARGIN = 0.05  # of the picture
_OVERLAP = 0.5  # of the widest moment, by which neighbours may cover each other
_TURNED = np.radians(25.0)  # from the front, so that steps ahead are seen
_LIGHT = np.array([-0.4, 0.5, 0.77])  # from the upper left, before the figure
_COLOUR, _GREY = np.array([0.47, 0.7, 0.92]), np.full(3, 0.5)
_EARLIEST = 0.4  # share of the colour that the first moment has, the rest is grey

_LIMBS = {
    **{"spine": 0.13, "spine.001": 0.125, "spine.002": 0.13, "spine.003": 0.12},
    **{"spine.004": 0.06, "spine.005": 0.06, "spine.006": 0.1},
    **{"upper_arm": 0.055, "forearm": 0.045, "hand": 0.045},
    **{"thigh": 0.09, "shin": 0.065, "foot": 0.05, "toe": 0.045},
}
"""How thick each bone of the clip's skeleton is drawn: half, in lengths of a leg."""

_ACROSS = {"thigh": 0.105, "upper_arm": 0.08}  # from left to right: hips and shoulders
_ENDS = 0.08, 0.25  # lengths of legs that a bone without a next one has at least and at most


def draw_motion(bones: dict[str, np.ndarray]) -> np.ndarray:
    """Return a picture ``(SIZE, SIZE, 4)`` of RGBA in 0 to 1, its first row at the bottom, as Blender has it.

    ``bones`` are heads and tails ``(M, 2, 3)`` in M moments, z up, by the names of the clip's skeleton; those
    that a rig lacks may be missing. The moments stand beside each other from left to right, each over its own
    middle, all to the same scale, seen nearly from the front. The background is transparent.
    """
    limbs, thick = _limbs(bones)
    limbs = _towards_viewer(limbs, bones)
    x, y, moments, side = limbs[..., 0], limbs[..., 1], len(limbs), SIZE * _FINER
    low, high = (x - thick[:, None]).min(axis=(1, 2)), (x + thick[:, None]).max(axis=(1, 2))
    bottom, top = (y - thick[:, None]).min(), (y + thick[:, None]).max()
    room, wide = side * (1 - 2 * _MARGIN), float((high - low).max())
    scale = room / max(top - bottom, wide * (1 + (moments - 1) * (1 - _OVERLAP)))
    step = (room - wide * scale) / max(moments - 1, 1)
    centres = side / 2 + (np.arange(moments) - (moments - 1) / 2) * step
    beside = centres / scale - (low + high) / 2
    placed = limbs.copy()
    placed[..., 0] += beside[:, None, None]
    placed[..., 1] += side / scale / 2 - (bottom + top) / 2
    placed[..., 2] += np.arange(moments)[:, None, None] * 4 * side / scale  # later ones stand before earlier
    colour, near = np.zeros((side, side, 3)), np.full((side, side), -np.inf)
    for ends, share in zip(placed * scale, np.linspace(_EARLIEST, 1, moments), strict=True):
        tint = share * _COLOUR + (1 - share) * _GREY
        for limb, radius in zip(ends, thick * scale, strict=True):
            _draw_limb(colour, near, limb, radius, tint)
    opaque = np.isfinite(near)[..., None].astype(float)
    picture = np.concatenate([colour, opaque], axis=2).reshape(SIZE, _FINER, SIZE, _FINER, 4)
    small = picture.mean(axis=(1, 3))
    small[..., :3] /= np.maximum(small[..., 3:], 1e-6)
    return small.astype(np.float32)


def _limbs(bones: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return sticks ``(M, L, 2, 3)`` of a figure, from joint to joint, and half their thickness ``(L,)``."""
    moments = len(next(iter(bones.values())))
    legs = [
        np.linalg.norm(bones[f"shin.{side}"][0, 0] - bones[f"{end}.{side}"][0, 0])
        for side in "LR"
        for end in ("thigh", "foot")
        if f"shin.{side}" in bones and f"{end}.{side}" in bones
    ]
    every = np.concatenate([*bones.values()], axis=1)[0]
    leg = 2 * float(np.mean(legs)) if legs else float(np.ptp(every, axis=0).max()) / 2
    trunk = [name for name in TRUNK if name in bones]
    after = dict(itertools.pairwise(trunk))
    for side in "LR":
        for chain in (("upper_arm", "forearm", "hand"), ("thigh", "shin", "foot", "toe")):
            named = [f"{limb}.{side}" for limb in chain if f"{limb}.{side}" in bones]
            after |= dict(itertools.pairwise(named))
    sticks, thick = [], []
    for name, places in bones.items():
        radius = _LIMBS.get(_kind(name))
        if radius is None:
            continue
        head, tail = places[:, 0], places[:, 1]
        if name in after:
            tail = bones[after[name]][:, 0]
        else:  # where it ends is the rig's own affair
            length = np.linalg.norm(tail - head, axis=1, keepdims=True)
            tail = head + unit(tail - head) * np.clip(length, _ENDS[0] * leg, _ENDS[1] * leg)
        sticks.append(np.stack([head, tail], axis=1))
        thick.append(radius * leg)
    for limb, radius in _ACROSS.items():
        if {f"{limb}.L", f"{limb}.R"} <= bones.keys():
            sticks.append(np.stack([bones[f"{limb}.{side}"][:, 0] for side in "LR"], axis=1))
            thick.append(radius * leg)
    return np.stack(sticks, axis=1).reshape(moments, -1, 2, 3), np.array(thick)


def _kind(name: str) -> str:
    return name.removesuffix(".L").removesuffix(".R")


def _towards_viewer(limbs: np.ndarray, bones: dict[str, np.ndarray]) -> np.ndarray:
    """Return points in the viewer's axes: x to the right, y up, z towards whoever looks."""
    left = np.sum(
        [
            (bones[f"{limb}.L"][:, 0] - bones[f"{limb}.R"][:, 0]).sum(axis=0)
            for limb in _ACROSS
            if {f"{limb}.L", f"{limb}.R"} <= bones.keys()
        ]
        or [[1.0, 0.0, 0.0]],
        axis=0,
    )
    angle = np.arctan2(left[1], left[0]) - _TURNED
    right = np.array([np.cos(angle), np.sin(angle), 0.0])
    return limbs @ np.stack([right, [0.0, 0.0, 1.0], np.cross(right, [0.0, 0.0, 1.0])], axis=1)


def _draw_limb(
    colour: np.ndarray, near: np.ndarray, ends: np.ndarray, radius: float, tint: np.ndarray
) -> None:
    """Draw a rounded stick between ``ends`` ``(2, 3)`` (x, y, nearness in pixels) where nothing is nearer."""
    low = np.clip(np.floor(ends[:, :2].min(axis=0) - radius), 0, len(near)).astype(int)
    high = np.clip(np.ceil(ends[:, :2].max(axis=0) + radius), 0, len(near)).astype(int)
    y, x = np.mgrid[low[1] : high[1], low[0] : high[0]] + 0.5
    along = ends[1] - ends[0]
    length = max(float(along[:2] @ along[:2]), 1e-9)
    share = np.clip(((x - ends[0, 0]) * along[0] + (y - ends[0, 1]) * along[1]) / length, 0, 1)
    aside = np.stack([x - ends[0, 0] - share * along[0], y - ends[0, 1] - share * along[1]], axis=-1)
    rises = np.sqrt(np.maximum(radius**2 - (aside**2).sum(axis=-1), 0))
    place = (slice(low[1], high[1]), slice(low[0], high[0]))
    nearness = ends[0, 2] + share * along[2] + rises
    seen = (rises > 0) & (nearness > near[place])
    near[place][seen] = nearness[seen]
    normals = np.concatenate([aside, rises[..., None]], axis=-1)[seen] / radius
    colour[place][seen] = (0.35 + 0.65 * np.clip(normals @ _LIGHT, 0, 1))[:, None] * tint
