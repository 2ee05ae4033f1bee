# SPDX-License-Identifier: GPL-3.0-or-later
"""The same film, turned, mirrored, re-timed or backwards, and how far its motion is from the plain one's.

Nothing in how people move depends on how a camera was held or which way a film is played; what capture makes
of the changed film should be the motion, changed likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np

from ..models.keypoints import HIPS, MIRRORED
from .captured_films import Motion
from .motion_metrics import OF_KEYPOINTS, exchanged


@dataclass(frozen=True)
class Change:
    """How a film is changed, and with it the motion in it: turned clockwise by degrees, mirrored, re-timed.

    ``order`` says which of the film's frames are shown, ``rate`` how many times as fast.
    """

    degrees: float = 0.0
    mirrored: bool = False
    order: Callable[[int], np.ndarray] = np.arange
    rate: Fraction = Fraction(1)

    def size(self, size: Sequence[int]) -> tuple[int, int]:
        """Return the size (width, height) of a picture that holds all of one of ``size``, even numbers."""
        turn = np.abs(self._turn())
        width, height = (int(np.ceil(side / 2 - 1e-6)) * 2 for side in turn @ np.array(size))
        return width, height

    def frames(self, frames: list[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the changed film's pictures; beyond the filmed picture its edge is drawn on."""
        height, width = frames[0].shape[:2]
        to_width, to_height = self.size((width, height))
        matrix = self._turn() @ np.diag([-1.0 if self.mirrored else 1.0, 1.0])
        # OpenCV counts from the middles of pixels.
        shift = np.array([to_width - 1, to_height - 1]) / 2 - matrix @ (np.array([width - 1, height - 1]) / 2)
        affine = np.column_stack([matrix, shift])
        for index in self.order(len(frames)):
            yield cv2.warpAffine(
                frames[index],
                affine,
                (to_width, to_height),
                flags=cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REPLICATE,
            )

    def points(self, points: np.ndarray) -> np.ndarray:
        """Change ``(T, 23, 2 or 3)``, about the picture's middle, as the film is changed."""
        points = points[self.order(len(points))]
        if self.mirrored:
            points = points[:, MIRRORED] * np.array([-1, 1, 1])[: points.shape[-1]]
        turned = points.copy()
        turned[..., :2] = points[..., :2] @ self._turn().T
        return turned

    def _turn(self) -> np.ndarray:
        angle = np.radians(self.degrees)
        return np.round([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], 12)


CHANGES = {
    "turned by 180°": Change(degrees=180),
    "mirrored": Change(mirrored=True),
    "turned by 90°": Change(degrees=90),
    "turned by 30°": Change(degrees=30),
    "half the rate": Change(order=lambda count: np.arange(0, count, 2), rate=Fraction(1, 2)),
    "double the rate": Change(order=lambda count: np.repeat(np.arange(count), 2), rate=Fraction(2)),
    "backwards": Change(order=lambda count: np.arange(count)[::-1]),
}
"""What is done to the film: at half the rate every second picture is left out, at double each is shown
twice."""


def compare_turned(
    plain: Motion, changed: Motion, change: Change, size: Sequence[int], changed_size: Sequence[int]
) -> dict[str, float]:
    """Return how far the motion of a changed film is from the changed motion of the plain one.

    ``px``: mean distance of keypoints in the picture, of 256 pixels across its shorter side; ``mm``: in
    space, the hips' middle laid on each other; ``exchanged``: share of frames with left for right. Sizes are
    those of the films, (width, height) pixels.
    """
    expected = change.points(plain.keypoints.astype(np.float64))
    found = changed.keypoints.astype(np.float64)[: len(expected)]
    expected = expected[: len(found)]
    pixels = change.points(_about_middle(plain, size))[: len(found)]
    off = np.linalg.norm(_about_middle(changed, changed_size)[: len(found)] - pixels, axis=-1)
    apart = (found - found[:, HIPS].mean(axis=1, keepdims=True)) - (
        expected - expected[:, HIPS].mean(axis=1, keepdims=True)
    )
    return {
        "px": float(off.mean() * 256 / min(size)),
        "mm": 1000 * float(np.linalg.norm(apart, axis=-1).mean()),
        "exchanged": float(exchanged(found[:, OF_KEYPOINTS], expected[:, OF_KEYPOINTS]).mean()),
    }


def _about_middle(motion: Motion, size: Sequence[int]) -> np.ndarray:
    """Return where keypoints ``(T, 23, 2)`` are seen, in a film's pixels from the middle of its picture."""
    canvas = np.array(motion.size)
    seen = motion.camera.project(motion.keypoints.astype(np.float64))
    return (seen - canvas / 2) * np.array(size) / canvas
