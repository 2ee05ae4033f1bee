# SPDX-License-Identifier: GPL-3.0-or-later
"""BlazePose (Bazarevsky et al., arXiv 2006.10204): detector, landmarks and person mask.

The networks and the constants around them (anchors, decoding, region of interest, heat-map refinement)
are MediaPipe's, so that the landmarks are the ones its users know. Pictures are uint8 RGB; pixel
centres lie at whole numbers plus one half.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from ..runtime.backends import load_network

LANDMARKS = 33
"""Number of landmarks that BlazePose names; two more place the next frame's region of interest."""
SHOULDERS, HIPS = [11, 12], [23, 24]
"""Landmarks at the corners of the trunk, left before right; from the shoulders on they are the body's."""
PRESENCE = 0.5
"""A person is in the region where the network's presence score exceeds this."""

_DETECTOR_SIDE = 224
_LANDMARK_SIDE = 256
_MIN_SCORE = 0.5
_SAME_PERSON_IOU = 0.3
_ROI_SCALE = 1.25
_SAME_PLACE = 0.3  # of a region's side, within which two squares have found the same person
_EDGE_CELL = 4  # mask pixels in which the person is looked for at the picture's edge


class Roi(NamedTuple):
    """A turned square around a person: centre (the hips) and side in pixels, angle in radians.

    The angle is zero for an upright person and grows clockwise as seen in the picture.
    """

    x: float
    y: float
    size: float
    angle: float

    @classmethod
    def from_points(cls, hips: np.ndarray, reach: np.ndarray) -> Roi:
        """Return the square around ``hips`` whose inner circle passes a little outside ``reach``."""
        across, down = (float(v) for v in reach - hips)
        angle = np.pi / 2 - np.arctan2(-down, across)
        angle = (angle + np.pi) % (2 * np.pi) - np.pi
        return cls(float(hips[0]), float(hips[1]), 2 * _ROI_SCALE * float(np.hypot(across, down)), angle)

    def to_picture(self) -> np.ndarray:
        """Return the ``(2, 3)`` affine map from the unit square's ``(u, v)`` to pixels."""
        turn = self.size * np.array(
            [[np.cos(self.angle), -np.sin(self.angle)], [np.sin(self.angle), np.cos(self.angle)]]
        )
        return np.c_[turn, np.array([self.x, self.y]) - turn @ (0.5, 0.5)]


@dataclass(frozen=True)
class Pose:
    """One person in one frame, as the landmark network saw them."""

    roi: Roi  # the region that was looked at
    next_roi: Roi  # where to look in the next frame
    score: float  # that a person is there, 0 to 1
    image: np.ndarray  # (33, 2) float64 pixels
    world: np.ndarray  # (33, 3) float64 metres from the hips' middle, axes parallel to the picture's
    visibility: np.ndarray  # (33,) float64: that the landmark is in the picture and not hidden
    mask: np.ndarray  # (256, 256) float32 over the region: that a pixel shows the person

    def mask_on(self, width: int, height: int, scale_x: float, scale_y: float) -> np.ndarray:
        """Return the mask on a ``width`` by ``height`` canvas, ``(height, width)`` float32 in 0 to 1.

        ``scale_x`` and ``scale_y`` are canvas pixels a source pixel.
        """
        to_canvas = np.diag([scale_x, scale_y]) @ self.roi.to_picture()
        to_canvas[:, :2] /= _LANDMARK_SIDE
        return cv2.warpAffine(self.mask, _between_centres(to_canvas), (width, height), flags=cv2.INTER_LINEAR)

    def in_sight(self, width: int, height: int) -> float:
        """Return which share of the landmarks lies in a ``width`` by ``height`` picture."""
        return float(((self.image >= 0) & (self.image < (width, height))).all(axis=1).mean())

    def cut_off(self, width: int, height: int) -> bool:
        """Tell whether the edge of a ``width`` by ``height`` picture cuts the person off."""
        rows, columns = np.nonzero(
            self.mask[_EDGE_CELL // 2 :: _EDGE_CELL, _EDGE_CELL // 2 :: _EDGE_CELL] > 0.5
        )
        cell = _EDGE_CELL / _LANDMARK_SIDE
        to_picture = self.roi.to_picture()
        at = (np.stack([columns, rows], axis=1) + 0.5) * cell @ to_picture[:, :2].T + to_picture[:, 2]
        reach = cell * self.roi.size
        beyond = np.any((at < reach) | (at > np.array([width, height]) - reach), axis=1)
        return bool(np.count_nonzero(beyond) > 1)


class PoseDetector:
    """Finds every person in a picture, at about 9 ms a picture on two cores."""

    def __init__(self, threads: int = 2) -> None:
        """Load the network, to run on so many ``threads``."""
        self._network = load_network("blazepose/pose_detection", "cpu", threads)
        self._anchors = _anchors()

    def detect(self, picture: np.ndarray) -> list[Roi]:
        """Return the region of each person in ``(H, W, 3)``, most certain first."""
        height, width = picture.shape[:2]
        scale = _DETECTOR_SIDE / max(height, width)
        small = cv2.resize(
            picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA
        )
        top, left = (_DETECTOR_SIDE - small.shape[0]) // 2, (_DETECTOR_SIDE - small.shape[1]) // 2
        # What surrounds the picture is black in MediaPipe's pipeline, and so -1 to the network.
        square = np.full((1, _DETECTOR_SIDE, _DETECTOR_SIDE, 3), -1, np.float32)
        square[0, top : top + small.shape[0], left : left + small.shape[1]] = small / np.float32(127.5) - 1
        raw, logits = self._network(input_1=square).values()
        scores = _sigmoid(logits[0, :, 0])
        found = scores > _MIN_SCORE
        values = raw[0, found].reshape(-1, 6, 2) / _DETECTOR_SIDE  # centre, size, four key points
        values[:, [0, 2, 3, 4, 5]] += self._anchors[found, None]
        merged = _merge_overlapping(values, scores[found])
        points = (merged * _DETECTOR_SIDE - (left, top)) / scale
        return [Roi.from_points(person[2], person[3]) for person in points]

    def detect_far(self, picture: np.ndarray) -> list[Roi]:
        """Return the region of each person in ``(H, W, 3)``, looked for in squares of half its shorter side.

        People below a fifth of the picture's height, who :meth:`detect` does not see, are found, at some
        twenty times its cost. The squares overlap by half, so that everybody is whole in one.
        """
        side = max(_DETECTOR_SIDE, min(picture.shape[:2]) // 2)
        found: list[Roi] = []
        for top, left in itertools.product(*(_starts(length, side) for length in picture.shape[:2])):
            for roi in self.detect(picture[top : top + side, left : left + side]):
                placed = roi._replace(x=roi.x + left, y=roi.y + top)
                if all(np.hypot(placed.x - it.x, placed.y - it.y) > _SAME_PLACE * it.size for it in found):
                    found.append(placed)
        return found


class PoseLandmarker:
    """Finds one person's landmarks and mask inside a region, at about 12 ms a picture on two cores."""

    def __init__(self, threads: int = 2) -> None:
        """Load the network, to run on so many ``threads``."""
        self._network = load_network("blazepose/pose_landmark_full", "cpu", threads)

    def find(self, picture: np.ndarray, roi: Roi, surround: int = cv2.BORDER_REPLICATE) -> Pose:
        """Return what the network sees in ``roi`` of ``(H, W, 3)``; look at ``score`` first.

        What surrounds the picture is its edge drawn on, as in MediaPipe's pipeline, or what else OpenCV's
        ``surround`` says.
        """
        crop = _crop(picture, roi, surround)
        landmarks, score, mask, heat, world = self._network(input_1=crop).values()
        points = landmarks.reshape(39, 5).astype(np.float64)
        to_picture = roi.to_picture()
        unit = _refine(points[:, :2] / _LANDMARK_SIDE, heat[0])
        image = unit @ to_picture[:, :2].T + to_picture[:, 2]
        metric = world.reshape(39, 3)[:LANDMARKS].astype(np.float64)
        metric[:, :2] = metric[:, :2] @ (to_picture[:, :2].T / roi.size)
        likely = _sigmoid(points[:LANDMARKS, 3:])
        return Pose(
            roi=roi,
            next_roi=Roi.from_points(image[LANDMARKS], image[LANDMARKS + 1]),
            score=float(score[0, 0]),
            image=image[:LANDMARKS],
            world=metric,
            visibility=likely.min(axis=1),
            mask=_sigmoid(mask[0, :, :, 0]),
        )


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(logits, -60, 60)))


def _anchors() -> np.ndarray:
    """Return the detector's ``(2254, 2)`` anchor centres: two a cell of 8 and 16 px, six of 32 px."""
    layers = []
    for stride, repeats in ((8, 2), (16, 2), (32, 6)):
        side = _DETECTOR_SIDE // stride
        rows, columns = np.mgrid[:side, :side]
        cells = np.stack([columns, rows], axis=-1).reshape(-1, 2)
        layers.append(np.repeat((cells + 0.5) / side, repeats, axis=0))
    return np.concatenate(layers)


def _starts(length: int, side: int) -> list[int]:
    """Return where pieces of ``side`` begin that cover ``length`` and overlap by half or more."""
    room = max(0, length - side)
    return [round(start) for start in np.linspace(0, room, 1 + -(-room // (side // 2)))]


def _merge_overlapping(values: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return one mean of ``values (N, 6, 2)``, weighted by score, for each group of overlapping boxes."""
    low, high = values[:, 0] - values[:, 1] / 2, values[:, 0] + values[:, 1] / 2
    area = np.prod(values[:, 1], axis=1)
    merged = []
    left = np.argsort(-scores)
    while len(left):
        best = left[0]
        shared = np.minimum(high[left], high[best]) - np.maximum(low[left], low[best])
        common = np.prod(np.maximum(shared, 0), axis=1)
        same = common / (area[left] + area[best] - common) > _SAME_PERSON_IOU
        same[0] = True
        merged.append(np.average(values[left[same]], axis=0, weights=scores[left[same]]))
        left = left[~same]
    return np.array(merged).reshape(-1, 6, 2)


def _crop(picture: np.ndarray, roi: Roi, surround: int) -> np.ndarray:
    """Return the region as the ``(1, 256, 256, 3)`` float32 in 0 to 1 that the network takes."""
    to_picture = roi.to_picture()
    to_picture[:, :2] /= _LANDMARK_SIDE
    # Shrinking by more than two would skip pixels, so large regions are halved first.
    halvings = max(0, int(np.log2(max(roi.size / _LANDMARK_SIDE, 1))))
    if halvings:
        width, height = (max(1, side >> halvings) for side in picture.shape[1::-1])
        scale = np.array([width / picture.shape[1], height / picture.shape[0]])
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        to_picture *= scale[:, None]
    crop = cv2.warpAffine(
        picture,
        _between_centres(to_picture),
        (_LANDMARK_SIDE, _LANDMARK_SIDE),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=surround,
    )
    return crop[None] / np.float32(255)


def _between_centres(affine: np.ndarray) -> np.ndarray:
    """Turn a map between pixel positions into OpenCV's, whose pixel centres lie at whole numbers."""
    moved = affine.copy()
    moved[:, 2] += affine[:, :2] @ (0.5, 0.5) - 0.5
    return moved


def _refine(unit: np.ndarray, heat: np.ndarray, reach: int = 3) -> np.ndarray:
    """Move ``unit (39, 2)`` landmarks to the centre of mass of ``heat (64, 64, 39)`` around them.

    As MediaPipe does, over 7x7 cells, and only where a cell there is more than half certain.
    """
    side = heat.shape[0]
    cells = np.floor(unit * side).astype(int)
    inside = np.all((cells >= 0) & (cells < side), axis=1)
    steps = np.arange(-reach, reach + 1)
    columns = cells[:, 0, None] + steps
    rows = cells[:, 1, None] + steps
    padded_columns, padded_rows = np.clip(columns, 0, side - 1), np.clip(rows, 0, side - 1)
    which = np.arange(len(unit))[:, None, None]
    mass = _sigmoid(heat[padded_rows[:, :, None], padded_columns[:, None, :], which])
    mass *= (rows == padded_rows)[:, :, None] & (columns == padded_columns)[:, None, :]
    total = mass.sum(axis=(1, 2))
    certain = inside & (mass.max(axis=(1, 2)) >= 0.5) & (total > 0)
    total = np.maximum(total, 1e-9)
    centre = np.stack(
        [(mass.sum(axis=1) * columns).sum(axis=1) / total, (mass.sum(axis=2) * rows).sum(axis=1) / total],
        axis=1,
    )
    return np.where(certain[:, None], centre / side, unit)
