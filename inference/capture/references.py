# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pictures of a video become its references: those that together show most of what the clip shows.

The mesh says what part of the body each picture shows. A part counts by its area on screen, summed over the
clip; a picture that shows it smaller than the clip does on average shows it only so far.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...models.mesh_motion import MeshMotion
from ..clip import Camera

MAX_REFERENCES = 4
WORTH = 0.1
"""How much more of what the clip shows a further reference has to show to be worth its bytes."""


def shown_surfaces(
    faces: np.ndarray, posed: Iterable[np.ndarray], camera: Camera, width: int, height: int
) -> np.ndarray:
    """Return how many pixels of each triangle N pictures show ``(N, F)`` float32, 0 where it is hidden.

    ``faces`` ``(F, 3)`` and ``posed`` vertices ``(V, 3)`` a picture are the body's.
    """
    shown = []
    for vertices in posed:
        pixels = camera.project(vertices)
        a, b, c = (pixels[corner] for corner in faces.T)
        ab, ac = b - a, c - a
        area = 0.5 * np.abs(ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0])
        shown.append(area * MeshMotion(faces, pixels, vertices[:, 2], width, height).visible)
    return np.array(shown, np.float32)


def choose_references(shown: np.ndarray, quality: np.ndarray, count: int | None = None) -> list[int]:
    """Choose references among N pictures that show ``(N, F)`` pixels of each triangle.

    ``quality`` ``(N,)`` is what a pixel of each is worth. Returns ``count`` indices, the most useful first;
    without it as many as each show :data:`WORTH` more. Greedy, which for a sum of maxima loses little
    against the best choice (Nemhauser, Wolsey and Fisher, 1978).
    """
    typical = shown.sum(0) / np.maximum((shown > 0).sum(0), 1)
    weight = shown.sum(0) / max(float(shown.sum()), 1e-9)
    covers = np.minimum(shown / np.maximum(typical, 1e-9), 1)
    chosen: list[int] = []
    best = np.zeros(shown.shape[1], np.float32)
    while len(chosen) < min(count or MAX_REFERENCES, len(shown)):
        gain = np.maximum(covers - best, 0) @ weight
        value = gain * quality
        value[chosen] = -np.inf
        index = int(np.argmax(value))
        if chosen and count is None and gain[index] < WORTH:
            break
        chosen.append(index)
        best = np.maximum(best, covers[index])
    return chosen
