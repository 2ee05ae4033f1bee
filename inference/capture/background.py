# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands behind the person: the person's mask, whether the camera moved, and the background plate."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..format.homography_coding import canvas_corners
from ..format.picture_coding import MAX_SIDE

MEMORY_BYTES = 128 << 20
"""What the sampled pictures may take."""
MOST_CANVASES = 3
"""How many canvases wide and high a moving camera's plate may be."""

_MOST, _FEWEST = 64, 12
_SEEN_OFTEN = 3  # times that a background pixel must have been seen to be believed
_STILL_PIXELS = 1.5  # median motion of the background, in pixels of a 256-pixel canvas
_STILL_SHARE = 0.1  # of the samples may show more
_REMNANT_REACH = 5  # times the margin round a mask, in which it may lack a part of the person
_ALIEN = 30  # levels by which a picture differs from the background behind it
_DARKEST_SHADOW = 0.35  # of the light that a shadow leaves


@dataclass
class Sample:
    """A canvas picture that was kept, and the person in it."""

    frame: int
    picture: np.ndarray  # (H, W, 3) uint8 RGB
    mask: np.ndarray  # (H, W) uint8, 255 where the person is


class Samples:
    """An even choice of a stream's frames, bounded in number: every n-th, with n doubled when it is full."""

    def __init__(self, width: int, height: int) -> None:
        """Make room for as many ``width`` by ``height`` pictures as the memory allows."""
        self._room = int(np.clip(MEMORY_BYTES // (4 * width * height), _FEWEST, _MOST))
        self._stride = 1
        self.kept: list[Sample] = []

    def wants(self, frame: int) -> bool:
        """Tell whether :meth:`add` would keep this frame."""
        return frame % self._stride == 0

    def add(self, sample: Sample) -> None:
        """Keep the sample; once full, drop every second one."""
        self.kept.append(sample)
        if len(self.kept) > self._room:
            self._stride *= 2
            self.kept = [kept for kept in self.kept if kept.frame % self._stride == 0]


def clean_mask(likely: np.ndarray) -> np.ndarray:
    """Return the person's mask ``(H, W)`` uint8, 0 to 255, from the network's ``(H, W)`` in 0 to 1.

    Only the largest connected part and what nearly touches it stays, and its small holes are closed.
    """
    near = cv2.dilate((likely > 0.5).astype(np.uint8), _disc(2))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(near)
    if count < 2:
        return np.zeros(likely.shape, np.uint8)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    soft = np.where(labels == largest, np.clip(2 * likely - 0.5, 0, 1), 0)
    return np.round(255 * cv2.morphologyEx(soft.astype(np.float32), cv2.MORPH_CLOSE, _disc(1))).astype(
        np.uint8
    )


def camera_moved(samples: list[Sample]) -> bool:
    """Tell whether the background moved between the samples, by tracking its corners.

    A background without corners counts as still.
    """
    limit = _STILL_PIXELS * min(samples[0].picture.shape[:2]) / 256
    first = samples[0]
    grey = cv2.cvtColor(first.picture, cv2.COLOR_RGB2GRAY)
    free = (~_hidden(first.mask)).astype(np.uint8) * 255
    corners = cv2.goodFeaturesToTrack(grey, 200, 0.01, 5, mask=free)
    if corners is None:
        return False
    moved = []
    for sample in samples[1:]:
        other = cv2.cvtColor(sample.picture, cv2.COLOR_RGB2GRAY)
        found, status, _ = cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload]  # no guess is needed
            grey, other, corners, None, winSize=(21, 21)
        )
        inside = np.all((found[:, 0] >= 0) & (found[:, 0] < other.shape[::-1]), axis=1)
        cells = np.clip(found[:, 0].astype(int), 0, np.array(other.shape[::-1]) - 1)
        good = (status[:, 0] == 1) & inside & ~_hidden(sample.mask)[cells[:, 1], cells[:, 0]]
        if good.sum() < max(8, len(corners) // 10):
            # Corners that are nowhere to be found have left the picture, or it was cut.
            moved.append(len(corners) >= 20)
            continue
        moved.append(np.median(np.linalg.norm(found[good, 0] - corners[good, 0], axis=-1)) > limit)
    return bool(moved) and float(np.mean(moved)) > _STILL_SHARE


def whole_mask(sample: Sample, others: list[Sample]) -> np.ndarray:
    """Return the sample's mask ``(H, W)`` uint8 with what it lacks of the person, seen by a still camera.

    A shoe or a raised leg that the network missed would stay in the plate for the whole clip. It hangs
    together with the person, and ``others`` show something else there; what is only darker is a shadow.
    """
    person = sample.mask > 127
    reach = _REMNANT_REACH * _reach(sample.mask)
    near = (cv2.dilate(sample.mask, _disc(reach)) > 127) & ~person
    if len(others) < _SEEN_OFTEN or not near.any():
        return sample.mask
    values = np.array([other.picture[near] for other in others], np.int16)
    shown = ~np.array([_hidden(other.mask)[near] for other in others])
    usual, times = _median_where(values, shown)
    spread, _ = _median_where(np.abs(values - usual), shown)
    picture, usual = sample.picture[near].astype(np.float32), usual.astype(np.float32)
    alien = np.abs(picture - usual).max(axis=1) > _ALIEN + 3.0 * spread.max(axis=1)
    darker = picture.sum(axis=1) / np.maximum(usual.sum(axis=1), 1)
    tinted = np.abs(picture - darker[:, None] * usual).max(axis=1)
    shadow = (darker > _DARKEST_SHADOW) & (darker < 1) & (tinted < _ALIEN / 2)
    told = np.zeros(person.shape, np.uint8)
    told[near] = alien & ~shadow & (times >= _SEEN_OFTEN)
    missed = np.asarray(cv2.morphologyEx(told, cv2.MORPH_OPEN, _disc(1)), np.uint8)
    touching = missed | (cv2.dilate(sample.mask, _disc(1)) > 127)
    _, labels = cv2.connectedComponents(touching.astype(np.uint8))
    joined = np.isin(labels, np.unique(labels[person])) & (missed > 0)
    soft = cv2.GaussianBlur(joined.astype(np.float32) * 255, (0, 0), 0.7)
    return np.maximum(sample.mask, np.round(soft).astype(np.uint8))


def background_plate(reference: Sample, others: list[Sample]) -> np.ndarray:
    """Return ``(H, W, 3)`` uint8: the reference without its person.

    What the person hides there is the median of the samples that show it; what no sample shows is painted
    in from around it. With no ``others`` (a moving camera) all of it is painted in.
    """
    hidden = _hidden(reference.mask)
    plate = reference.picture.copy()
    if not hidden.any():
        return plate
    size = len(others), np.count_nonzero(hidden)
    values = np.array([sample.picture[hidden] for sample in others], np.int16).reshape(*size, 3)
    covered = np.array([_hidden(sample.mask)[hidden] for sample in others], bool).reshape(size)
    filled, times = _median_where(values, ~covered)
    plate[hidden] = filled
    unseen = np.zeros(hidden.shape, np.uint8)
    unseen[hidden] = times < min(_SEEN_OFTEN, max(1, len(others) // 4))
    if unseen.any():
        plate = cv2.inpaint(plate, unseen, 5, cv2.INPAINT_TELEA)
    # Across the seam the picture fades into the median, which exposure may have shifted a little.
    share = cv2.GaussianBlur(cv2.erode(hidden.astype(np.float32), _disc(1)), (0, 0), 1.0)[..., None]
    return np.round(plate * share + reference.picture * (1 - share)).astype(np.uint8)


def moving_plate(
    reference: Sample, samples: list[Sample], views: np.ndarray
) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the background as the reference's camera sees it, as far as all frames show it, and its place.

    ``views`` ``(T, 4, 2)`` are :attr:`.Clip.views` of every frame. The plate is the reference where it
    shows the background, else the median of the samples, brought to the reference's plane; what none shows
    is painted in. It covers the canvas and, of what the frames see beyond, the most seen part of at most
    :data:`MOST_CANVASES` canvases' sides. The place is (left, top) of its first pixel in the canvas.
    """
    height, width = reference.mask.shape
    left, top, right, bottom = _plate_box(views, width, height)
    place = np.s_[-top : height - top, -left : width - left]
    hidden = np.ones((bottom - top, right - left), bool)
    hidden[place] = _hidden(reference.mask)
    plate = np.zeros((*hidden.shape, 3), np.uint8)
    times = np.zeros(hidden.shape, np.int64)
    band = max(16, MEMORY_BYTES // (16 * len(samples) * hidden.shape[1]))
    for first in range(0, len(plate), band):
        rows = slice(first, min(first + band, len(plate)))
        warped = [
            _on_plate(sample, views[sample.frame], left, top, rows, hidden.shape[1]) for sample in samples
        ]
        wanted = hidden[rows]
        values = np.array([picture[wanted] for picture, _ in warped], np.int16)
        plate[rows][wanted], times[rows][wanted] = _median_where(
            values, np.array([shown[wanted] for _, shown in warped])
        )
    unseen = hidden & (times < min(_SEEN_OFTEN, max(1, len(samples) // 4)))
    plate[place][~hidden[place]] = reference.picture[~hidden[place]]
    if unseen.any():
        plate[...] = cv2.inpaint(plate, unseen.astype(np.uint8), 5, cv2.INPAINT_TELEA)
    share = cv2.GaussianBlur(cv2.erode(hidden.astype(np.float32), _disc(1)), (0, 0), 1.0)[place][..., None]
    plate[place] = np.round(plate[place] * share + reference.picture * (1 - share)).astype(np.uint8)
    return plate, (left, top)


def _plate_box(views: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of the plate in the reference's canvas."""
    box = []
    for low, high, side in zip(views.min(1).T, views.max(1).T, (width, height), strict=True):
        most = min(MAX_SIDE, MOST_CANVASES * side)
        starts = np.arange(side - most, 1)
        # How many pixels of the frames' extents a plate of the most pixels would hold, by where it starts.
        held = [np.clip(np.minimum(high, s + most) - np.maximum(low, s), 0, None).sum() for s in starts[::8]]
        start = int(starts[::8][int(np.argmax(held))])
        first = max(start, min(0, int(np.floor(low.min()))))
        box.append((first, min(start + most, max(side, int(np.ceil(high.max()))))))
    (left, right), (top, bottom) = box
    return left, top, right, bottom


def _on_plate(
    sample: Sample, view: np.ndarray, left: int, top: int, rows: slice, columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Bring a sample to some rows of the plate: the picture, and where it shows the background."""
    height, width = sample.mask.shape
    corners = view - np.array([left, top + rows.start], np.float32) - 0.5
    canvas = canvas_corners(width, height).astype(np.float32) - 0.5
    to_plate = cv2.getPerspectiveTransform(canvas, corners.astype(np.float32))
    size = columns, rows.stop - rows.start
    picture = cv2.warpPerspective(
        sample.picture, to_plate, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    clear = (~_hidden(sample.mask)).astype(np.uint8)
    clear[[0, -1]] = clear[:, [0, -1]] = 0  # what lies beyond the picture's edge is not seen
    return picture, cv2.warpPerspective(clear, to_plate, size, flags=cv2.INTER_NEAREST) > 0


def _median_where(values: np.ndarray, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the median over ``values (N, P, 3)`` where ``shown (N, P)``, and the counts shown ``(P,)``."""
    times = shown.sum(axis=0)
    if not len(values):
        return np.zeros((values.shape[1], 3), np.uint8), times
    order = np.sort(np.where(shown[..., None], values, 256), axis=0)
    middle = np.maximum(times - 1, 0)[None, :, None]
    low = np.take_along_axis(order, middle // 2, axis=0)[0]
    high = np.take_along_axis(order, (middle + 1) // 2, axis=0)[0]
    return np.where(times[:, None] > 0, (low + high) // 2, 0).astype(np.uint8), times


def _hidden(mask: np.ndarray) -> np.ndarray:
    """Return where the person or its soft edge may hide the background, bool."""
    return cv2.dilate(mask, _disc(_reach(mask))) > 40


def _reach(mask: np.ndarray) -> int:
    return max(4, round(min(mask.shape) / 48))


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
