# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pictures of a video become its references: those that together show most of what the clip shows.

The mesh says how many pixels of each triangle each picture shows. A reference is the better for a frame the
more alike in both they are: a part that it shows smaller lacks detail, one that it shows larger is seen from
elsewhere, where cloth and shade differ. What it does so is summed over the clip's pictures and the body.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...models.body import BodyModel
from ...models.camera import Camera
from ...models.mesh_motion import see_body
from ..format.header import MAX_REFERENCES

_STRIDE = 4  # triangles of which one is looked at
_WORTH = 0.25  # how much more of the clip, for each doubling of the file, a further reference has to show
_FIRST, _FURTHER = 7.0, 4.0  # seconds of motion that cost what the first reference and another do


def shown_surfaces(
    body: BodyModel, posed: Iterable[np.ndarray], masks: Iterable[np.ndarray], camera: Camera
) -> tuple[np.ndarray, np.ndarray]:
    """Return how many pixels of each triangle N pictures show ``(N, F)`` float32, 0 where it is hidden.

    ``posed`` are the ``body``'s vertices ``(V, 3)`` a picture, ``masks`` ``(H, W)`` uint8 say where it was
    seen. With it comes how well each mask and body agree ``(N,)``, their intersection over their union: where
    a mask lacks a limb, or holds what stands behind, the picture is a bad reference.
    """
    shown, agreement = [], []
    for vertices, mask in zip(posed, masks, strict=True):
        surface = see_body(body, vertices, camera.project, *mask.shape[::-1])
        shown.append(surface.area * surface.visible())
        covered, person = surface.coverage > 0.5, mask > 127
        agreement.append((covered & person).sum() / max(1, int((covered | person).sum())))
    return np.array(shown, np.float32), np.array(agreement)


def choose_references(
    shown: np.ndarray, quality: np.ndarray, seconds: float, count: int | None = None
) -> list[int]:
    """Choose references among N pictures that show ``(N, F)`` pixels of each triangle.

    ``quality`` ``(N,)`` is what a pixel of each is worth, ``seconds`` the clip's length. Returns ``count``
    indices, the most useful first; without it as many as are worth their bytes. Greedy, which for a sum of
    maxima loses little against the best choice (Nemhauser, Wolsey and Fisher, 1978).
    """
    shown = shown[:, ::_STRIDE]
    total = max(float(shown.sum()), 1e-9)
    chosen: list[int] = []
    best = np.zeros_like(shown)
    while len(chosen) < min(count or MAX_REFERENCES, len(shown)):
        gain = np.array([np.maximum(_alike(shown, one) - best, 0).sum() / total for one in shown])
        value = gain * quality
        value[chosen] = -np.inf
        index = int(np.argmax(value))
        price = _FURTHER / (_FIRST + _FURTHER * (len(chosen) - 1) + seconds)
        if chosen and count is None and gain[index] < _WORTH * price:
            break
        chosen.append(index)
        best = np.maximum(best, _alike(shown, shown[index]))
    return chosen


def _alike(shown: np.ndarray, one: np.ndarray) -> np.ndarray:
    """Return how many of the pixels of each triangle ``(N, F)`` a picture that shows ``(F,)`` is good for."""
    return shown * np.minimum(shown, one) / np.maximum(np.maximum(shown, one), 1e-6)
