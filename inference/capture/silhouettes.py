# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the person ends in every frame, and how far the drawn body ends beside that.

What the pose estimator says of where a person is, pixel by pixel, is truer than its landmarks, and it says it
of the frame as it is: an outline holds the body to the picture where optical flow can only hold it to another
picture of it. Matching it is iterative closest points, along the outline's normals (Chen and Medioni, 1992).
"""

from __future__ import annotations

import zlib

import cv2
import numpy as np

from ...models.mesh_motion import Surface

_BLUR = 1.0  # pixels, so that the way to a ragged outline is even
_SMOOTH = 1.5  # pixels over which the drawn body's outline is looked along
_ALONG = 0.5  # cosine that the normals of two outlines that are one and the same have at least
_EDGE = 2  # pixels at the canvas's edge, which cuts the person off and is no outline


class Silhouettes:
    """The person's masks, about a kilobyte a frame, so that a whole film's can be kept."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._packed: dict[int, bytes] = {}

    def put(self, frame: int, mask: np.ndarray) -> None:
        """Keep a frame's ``mask`` ``(H, W)`` uint8, 255 where the person is."""
        self._packed[frame] = zlib.compress(np.packbits(mask > 127).tobytes(), 1)

    @property
    def frames(self) -> list[int]:
        """The frames of which there is a mask, in order."""
        return sorted(self._packed)

    def part(self, frames: slice) -> Silhouettes:
        """Return those of some of the frames, counted from the first of them."""
        kept = Silhouettes(self.width, self.height)
        kept._packed = {
            frame - frames.start: packed
            for frame, packed in self._packed.items()
            if frames.start <= frame < frames.stop
        }
        return kept

    def mask(self, frame: int) -> np.ndarray:
        """Return the mask ``(H, W)`` uint8 of one of the :attr:`frames`, 1 where the person is."""
        bits = np.frombuffer(zlib.decompress(self._packed[frame]), np.uint8)
        return np.unpackbits(bits, count=self.height * self.width).reshape(self.height, self.width)

    def outline(self, frame: int) -> Outline | None:
        """Return the outline in a frame, None where nobody is."""
        if frame not in self._packed:
            return None
        person = self.mask(frame)
        return Outline(person) if person.any() and not person.all() else None


class Outline:
    """The edge of a person's mask ``(H, W)`` uint8, 1 where the person is; both are somewhere."""

    def __init__(self, person: np.ndarray) -> None:
        inside, outside = (
            cv2.distanceTransform(side, cv2.DIST_L2, cv2.DIST_MASK_5) for side in (person, 1 - person)
        )
        self._depth = np.where(person > 0, inside - 0.5, 0.5 - outside)
        even = cv2.GaussianBlur(self._depth, (0, 0), _BLUR)
        self._outward = -_gradient(even)

    def misfit(self, surface: Surface, farthest: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return how far the outline of a drawn body lies from this one, where both are the same edge.

        Of N pixels at the rim of ``surface``: their places in ``surface.cells`` ``(N,)``, the outline's
        outward normal ``(N, 2)`` and how many pixels, at most ``farthest``, it lies that way ``(N,)``.
        """
        height, width = surface.size
        shown = np.zeros((height, width), np.uint8)
        shown.ravel()[surface.cells] = 1
        rim = shown & ~np.asarray(cv2.erode(shown, np.ones((3, 3), np.uint8)), np.uint8)
        rim[:_EDGE] = rim[-_EDGE:] = rim[:, :_EDGE] = rim[:, -_EDGE:] = 0
        cells = np.flatnonzero(rim)
        normal = -_gradient(cv2.GaussianBlur(shown.astype(np.float32), (0, 0), _SMOOTH)).reshape(2, -1)
        normal, outward = normal[:, cells], self._outward.reshape(2, -1)[:, cells]
        size = np.linalg.norm(outward, axis=0) + 1e-9
        alike = (normal * outward).sum(axis=0) / (size * (np.linalg.norm(normal, axis=0) + 1e-9))
        # The middles of rim pixels lie half a pixel within both outlines.
        apart = self._depth.ravel()[cells] - 0.5
        same = (alike > _ALONG) & (np.abs(apart) < farthest)
        places = np.searchsorted(surface.cells, cells[same])
        return places, (outward[:, same] / size[same]).T, apart[same]


def _gradient(values: np.ndarray) -> np.ndarray:
    """Return the gradient ``(2, H, W)`` (x, y) of ``(H, W)`` float32."""
    return np.stack([cv2.Sobel(values, cv2.CV_32F, *axis, ksize=3, scale=1 / 8) for axis in ((1, 0), (0, 1))])
