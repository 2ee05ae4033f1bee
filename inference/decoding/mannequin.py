# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of the body's UV map for who is to be nobody in particular: one colour, and smooth underwear.

Each point of the surface is asked where it lies on the body at rest: in the trunks, below the waist and above
a height of the thighs, or in the top, around the chest and over the shoulders in two straps.
"""

from __future__ import annotations

import numpy as np

from ...models.body import PART_NAMES
from ...models.keypoints import HIPS, KEYPOINT_INDEX
from ...models.shaped_body import ShapedBody
from .texture import SIDE, pad_islands, unfold

_SKIN = np.array([190, 190, 190], np.float32)  # RGB
_UNDERWEAR = np.array([95, 95, 95], np.float32)  # dark, and its folds still show
_SOFT = 0.004  # metres over which one goes over into the other, about a pixel of the picture
_BARE = [name for name in PART_NAMES if name.endswith(("head", "arm", "twist", "hand"))]
# Of the trunk's length, from the hips up or from the shoulders down.
_WAIST, _TOP_ENDS, _TOP_BEGINS = 0.16, 0.48, 0.13
_TRUNKS_END = 0.24  # of the thigh
_ARMHOLE, _STRAP, _STRAP_WIDTH = 0.78, 0.5, 0.1  # of half the shoulders' width


def paint_mannequin(shaped: ShapedBody, side: int = SIDE) -> np.ndarray:
    """Return the texture ``(side, side, 3)`` uint8 RGB of a body's UV map, the first row at v = 1."""
    cells, points = unfold(shaped.model, side)
    texture = np.zeros((side, side, 3), np.float32) + _SKIN
    if len(cells):  # a body may have no UV map to speak of
        worn = np.column_stack([shaped.vertices, shaped.model.share_of(_BARE)])
        inside = _underwear(shaped.keypoints, *np.split(points.of(worn), [3], axis=1))
        covered = np.clip(inside / _SOFT + 0.5, 0, 1)[:, None]
        texture.reshape(-1, 3)[cells] += covered * (_UNDERWEAR - _SKIN)
        texture = pad_islands(texture, cells)
    return np.rint(texture).astype(np.uint8)


def _underwear(keypoints: np.ndarray, at: np.ndarray, bare: np.ndarray) -> np.ndarray:
    """Return how far, in metres, points ``at`` ``(N, 3)`` of a body at rest lie inside underwear: ``(N,)``.

    ``keypoints`` ``(23, 3)`` are that body's, ``bare`` ``(N, 1)`` how far a point belongs to head or arms.
    """

    def point(name: str) -> np.ndarray:
        return keypoints[KEYPOINT_INDEX[name]]

    left, right = point("left_shoulder"), point("right_shoulder")
    shoulders, hips = (left + right) / 2, keypoints[HIPS].mean(axis=0)
    trunk, half = hips[1] - shoulders[1], np.linalg.norm(left - right) / 2
    sideways, height = np.abs(at[:, 0] - hips[0]), at[:, 1]  # y points down

    thighs = []
    for name in ("left", "right"):
        hip, knee = point(f"{name}_hip"), point(f"{name}_knee")
        length = np.linalg.norm(knee - hip)
        thighs.append(_TRUNKS_END * length - (at - hip) @ (knee - hip) / length)
    own = np.where(at[:, 0] > hips[0], *thighs)
    trunks = np.minimum(height - (hips[1] - _WAIST * trunk), own)

    ends = shoulders[1] + _TOP_ENDS * trunk - height
    begins = height - (shoulders[1] + _TOP_BEGINS * trunk)
    top = np.minimum(np.minimum(ends, begins), _ARMHOLE * half - sideways)
    strap = np.minimum(_STRAP_WIDTH * half - np.abs(sideways - _STRAP * half), ends)
    within = 0.1 * (0.5 - bare[:, 0])  # metres, roughly: weights fade over some centimetres
    return np.minimum(np.maximum(trunks, np.maximum(top, strap)), within)
