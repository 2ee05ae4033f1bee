# SPDX-License-Identifier: GPL-3.0-or-later
"""Following a camera that pans, turns, zooms or shakes: a homography a frame, from points of the background.

Points of the background are followed from picture to picture, and each is known by its place in the first
picture's plane. A frame's homography is what takes the places of its points to where they are now, without
those that move otherwise (RANSAC). New points get their places through it, so that errors add up only as
fast as the view is exchanged; and the points of a few pictures are remembered, to be found again when the
camera returns. Nothing else is kept of pictures gone by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from ...models.errors import InputError
from ...models.keypoints import BONES
from ..format.homography_coding import canvas_corners, check_corners
from .blazepose import Roi

_WORKING_SIDE = 512  # a larger canvas's shorter side is reduced to this
_POINTS = 300  # that are followed at most, evenly spread
_SETTLING = 16  # frames over which a new point's place is averaged
_FEWEST = 16  # points without which a frame's homography is not believed
_AGREEING = 0.4  # share of the points that must move as one
_TOLERANCE = 0.7  # pixels that a point may err
_RETURN_ERROR = 0.7  # pixels by which a point may miss itself when followed there and back
_LONGEST_GAP = 0.5  # seconds that may be filled in
_MOST_GAPS = 0.2  # of the frames may be
_OTHER_VIEW = 0.3  # of the picture's shorter side: further from all views remembered is a view of its own
_MOST_VIEWS = 32  # that are remembered
_WINDOW, _LEVELS = (17, 17), 4  # of the optical flow


def follow_camera(
    frames: Iterable[np.ndarray], hidden: Callable[[int], np.ndarray], fps: float
) -> np.ndarray | None:
    """Return where every frame's canvas lies in the first's plane: corners ``(T, 4, 2)`` float64, pixels.

    ``frames`` are ``(H, W, 3)`` uint8; ``hidden(t)`` tells where people may be in frame ``t``, ``(H, W)``
    bool. Corners as :attr:`.Clip.views` has them. None where the camera cannot be followed: too few
    points, a cut, or no one plane to follow.
    """
    corners: list[np.ndarray | None] = []
    follower = _Follower()
    longest = 1 + round(fps * _LONGEST_GAP)
    for t, picture in enumerate(frames):
        canvas = canvas_corners(picture.shape[1], picture.shape[0])
        grey, scale = _reduced(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
        free = cv2.resize((~hidden(t)).astype(np.uint8), grey.shape[::-1], interpolation=cv2.INTER_NEAREST)
        to_first = follower.step(grey, free)
        # Points are counted from the centre of the first pixel, corners from its own corner.
        corners.append(None if to_first is None else (_moved(canvas * scale - 0.5, to_first) + 0.5) / scale)
        if len(corners) >= longest and all(found is None for found in corners[-longest:]):
            return None
    whole = _without_gaps(corners)
    return None if whole is None else _calmed(whole)


def people_in(
    width: int, height: int, person: np.ndarray, others: list[Roi], scale: tuple[float, float]
) -> np.ndarray:
    """Return where people may be on a canvas, ``(height, width)`` bool.

    ``person`` ``(23, 2)`` are one person's keypoints in canvas pixels; ``others`` are regions in the
    source's, which ``scale`` (x, y) takes to the canvas.
    """
    mask = np.zeros((height, width), np.uint8)
    # Limbs as thick as a fifth of the person's height, in clothes.
    thick = max(4, round(0.2 * float(np.ptp(person, axis=0).max())))
    for first, second in BONES:
        cv2.line(mask, _pixel(person[first]), _pixel(person[second]), 255, thick)
    for roi in others:
        axes = round(0.2 * roi.size * scale[0]), round(0.5 * roi.size * scale[1])
        centre = _pixel(np.array([roi.x * scale[0], roi.y * scale[1]]))
        cv2.ellipse(mask, centre, axes, np.degrees(roi.angle), 0, 360, 255, -1)
    return mask > 0


def seen_from(corners: np.ndarray, frame: int, width: int, height: int) -> np.ndarray | None:
    """Move ``corners`` ``(T, 4, 2)`` from the first frame's plane to another ``frame``'s; float32.

    None where the camera turns further than a file can say, or than a plane can show.
    """
    home = canvas_corners(width, height).astype(np.float32)
    to_frame = cv2.getPerspectiveTransform(corners[frame].astype(np.float32), home)
    moved = _moved(corners.reshape(-1, 2), to_frame).reshape(corners.shape).astype(np.float32)
    moved[frame] = home
    try:
        check_corners(moved, width, height)
    except InputError:
        return None
    return moved


@dataclass
class _Points:
    """Points of the background in one picture."""

    grey: np.ndarray  # (h, w) uint8
    at: np.ndarray  # (N, 2) float32, where they are in it, pixels
    places: np.ndarray  # (N, 2) float32, where they are in the first picture's plane
    born: np.ndarray  # (N,) frame in which they were found

    def chosen(self, which: np.ndarray) -> _Points:
        """Return some of them."""
        return _Points(self.grey, self.at[which], self.places[which], self.born[which])

    def and_more(self, more: _Points) -> _Points:
        """Return these and ``more`` of the same picture."""
        return _Points(
            self.grey,
            np.concatenate([self.at, more.at]),
            np.concatenate([self.places, more.places]),
            np.concatenate([self.born, more.born]),
        )

    def found_in(self, grey: np.ndarray, free: np.ndarray, guess: np.ndarray | None = None) -> _Points:
        """Return those that another picture shows, where it is ``free``; ``guess`` ``(N, 2)`` is where."""
        now, ok = _follow(self.grey, grey, self.at, guess)
        back, ok_back = _follow(grey, self.grey, now, None if guess is None else self.at)
        good = ok & ok_back
        good &= np.linalg.norm(back - self.at, axis=1) < _RETURN_ERROR
        good &= _at(free, now)
        return _Points(grey, now, self.places, self.born).chosen(good)


class _Follower:
    """Follows points from picture to picture, and finds those again that it lost when the camera returns."""

    def __init__(self) -> None:
        self._points: _Points | None = None
        self._seen: list[_Points] = []  # pictures of other views, of what was followed then
        self._frame = -1

    def step(self, grey: np.ndarray, free: np.ndarray) -> np.ndarray | None:
        """Return the homography ``(3, 3)`` from this picture to the first's plane, None if it is not found.

        The first is the first with points enough. After a picture that is not found the next is compared with
        the last that was.
        """
        self._frame += 1
        if self._points is None:
            nothing = np.zeros((0, 2), np.float32)
            points = self._with_new(_Points(grey, nothing, nothing, np.zeros(0, int)), free, np.eye(3))
            if len(points.at) < _FEWEST:
                return None
            self._points = points
            return np.eye(3)
        points = self._points.found_in(grey, free)
        if len(points.at) < _FEWEST:
            return None
        # What moves slowly by itself is found out in time: the older half of the points is asked.
        known = points.born <= np.median(points.born)
        if known.sum() < 2 * _FEWEST:
            known[:] = True
        to_now, agree = cv2.findHomography(
            points.places[known], points.at[known], cv2.RANSAC, _TOLERANCE, maxIters=500
        )
        if to_now is None or abs(np.linalg.det(to_now)) < 1e-6:
            return None
        if agree.sum() < max(_FEWEST, _AGREEING * known.sum()):
            return None
        to_first = np.linalg.inv(to_now)
        points = points.chosen(np.linalg.norm(_moved(points.places, to_now) - points.at, axis=1) < _TOLERANCE)
        ages = (self._frame - points.born)[:, None]
        points.places += (ages <= _SETTLING) * (_moved(points.at, to_first) - points.places) / (ages + 1)
        if len(points.at) <= _POINTS * 2 // 3:
            points = self._with_new(self._with_seen(points, free, to_first), free, to_first)
        self._points = points
        return to_first / to_first[2, 2]

    def _with_seen(self, points: _Points, free: np.ndarray, to_first: np.ndarray) -> _Points:
        """Add those of the most similar view seen before; remember this one if none is similar."""
        to_now = np.linalg.inv(to_first)
        side = min(points.grey.shape)
        ways = [
            float(np.median(np.linalg.norm(_moved(view.places, to_now) - view.at, axis=1)))
            for view in self._seen
        ]
        if min(ways, default=np.inf) > _OTHER_VIEW * side:
            settled = self._frame - points.born > _SETTLING
            if settled.sum() >= _FEWEST and len(self._seen) < _MOST_VIEWS:
                self._seen.append(points.chosen(settled))
            return points
        view = self._seen[int(np.argmin(ways))]
        again = view.found_in(points.grey, free, _moved(view.places, to_now).astype(np.float32))
        apart = np.linalg.norm(points.at[:, None] - again.at[None], axis=-1)  # (N, M)
        return again.and_more(points.chosen(apart.min(axis=1, initial=np.inf) > _spacing(points.grey) / 2))

    def _with_new(self, points: _Points, free: np.ndarray, to_first: np.ndarray) -> _Points:
        """Add points where there are none."""
        spacing = _spacing(points.grey)
        free = free.copy()
        for point in points.at:
            cv2.circle(free, _pixel(point), spacing, 0, -1)
        room = max(1, _POINTS - len(points.at))
        corners = cv2.goodFeaturesToTrack(points.grey, room, 0.005, spacing, mask=free)
        if corners is None:
            return points
        at = corners[:, 0]
        return points.and_more(_Points(points.grey, at, _moved(at, to_first), np.full(len(at), self._frame)))


def _spacing(grey: np.ndarray) -> int:
    """Return how far apart points shall be found, pixels."""
    return max(4, round(0.6 * np.sqrt(grey.size / _POINTS)))


def _reduced(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture small enough to work on, and by what it was scaled in x and y."""
    size = np.array(grey.shape[::-1])
    working = np.rint(size * min(1.0, _WORKING_SIDE / size.min())).astype(int)
    return cv2.resize(grey, working.tolist(), interpolation=cv2.INTER_AREA), working / size


def _follow(
    start: np.ndarray, end: np.ndarray, points: np.ndarray, guess: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return where points ``(N, 2)`` of the grey picture ``start`` lie in ``end``, and which are found."""
    flags = 0 if guess is None else cv2.OPTFLOW_USE_INITIAL_FLOW
    guess = None if guess is None else guess.copy()  # it is written over
    found, ok, _ = cv2.calcOpticalFlowPyrLK(
        start,
        end,
        points,
        guess,  # type: ignore[arg-type]  # the stubs ask for one always
        winSize=_WINDOW,
        maxLevel=_LEVELS,
        flags=flags,
    )
    return found, ok[:, 0] == 1


def _at(mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return whether ``mask`` is set at each of ``points`` ``(N, 2)``; not outside of it."""
    cells = np.rint(points).astype(int)
    inside = np.all((cells >= 0) & (cells < mask.shape[::-1]), axis=1)
    cells[~inside] = 0
    return inside & (mask[cells[:, 1], cells[:, 0]] > 0)


def _pixel(point: np.ndarray) -> tuple[int, int]:
    x, y = np.clip(np.rint(point), -(1 << 14), 1 << 14).astype(int)
    return int(x), int(y)


def _moved(points: np.ndarray, homography: np.ndarray) -> np.ndarray:
    return cv2.perspectiveTransform(points[None], homography)[0]


def _calmed(corners: np.ndarray) -> np.ndarray:
    """Smooth how the camera turns, zooms and tilts over a frame or two; hands shake it in their shifts.

    What is measured of these from one frame to the next is mostly noise, and would cost a fifth of the bits.
    """
    middle = corners.mean(axis=1, keepdims=True)
    shape = (corners - middle).reshape(len(corners), -1)
    return middle + cv2.GaussianBlur(shape, (1, 5), 1.0, borderType=cv2.BORDER_REPLICATE).reshape(
        corners.shape
    )


def _without_gaps(corners: list[np.ndarray | None]) -> np.ndarray | None:
    """Let the corners move evenly through the frames that have none; None if these are too many.

    Before the first that has some, and after the last, they stay.
    """
    known = [t for t, found in enumerate(corners) if found is not None]
    if not known or len(known) < (1 - _MOST_GAPS) * len(corners):
        return None
    values = np.array([corners[t] for t in known]).reshape(len(known), -1)
    times = np.arange(len(corners))
    return np.stack([np.interp(times, known, column) for column in values.T], -1).reshape(-1, 4, 2)
