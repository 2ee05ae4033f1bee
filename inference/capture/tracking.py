# SPDX-License-Identifier: GPL-3.0-or-later
"""Following one person through a video: who is in it, and that person's pose in each frame.

The detector looks at a few frames a second and its finds are linked into one track a person. The chosen
track then leads the landmark network: it starts it, brings it back when the person was lost, and takes
it off another person whom it strayed to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import cv2
import numpy as np

from .blazepose import PRESENCE, Pose, PoseLandmarker, Roi

LOOKS_A_SECOND = 6
"""How often the detector looks for people."""

_MEMORY = 1.5  # seconds after which a person who was not found is no longer waited for
_NEAR = 0.6  # of a region's side: how far a person may move between two looks
_ALIKE = 1.6  # how much a person's size may change between two looks
_STRAYED = 0.35  # of a region's side: further from the track than this, the landmarks are someone else's
_KNOWN, _UNLIKE = 1.0, 2.0  # seconds that tell a person's size, and how many times that is not theirs
_IN_SIGHT = 0.4  # of the landmarks: with fewer in the picture the person has left it

_JUMP, _PACE = 0.08, 0.15  # sides, and sides a second, that landmarks at the picture's edge move on average
_CERTAIN, _FAINT = 0.9, 0.1  # presence that needs no second look, and that is nobody even at the edge
_DOUBT = 0.05  # sides of movement that a presence of 0 weighs as much as
_SLIGHT = 0.1  # weight of a hidden landmark, of a visible one's
_GROWTH = 1.05  # of the region's side, from one frame to the next where the network looked again
_LOOKS = ((0.8, cv2.BORDER_REPLICATE), (1.25, cv2.BORDER_REPLICATE), (1.0, cv2.BORDER_CONSTANT))
"""The second looks: sizes of the region, and what surrounds the picture."""


class Shown(Protocol):
    """A picture of a film."""

    @property
    def source(self) -> np.ndarray:
        """``(H, W, 3)`` uint8 RGB."""


@dataclass(frozen=True)
class Still:
    """A picture that is at hand."""

    source: np.ndarray


_S = TypeVar("_S", bound=Shown)


@dataclass
class Track:
    """One person's regions in the frames that the detector looked at."""

    frames: list[int] = field(default_factory=list)
    rois: list[Roi] = field(default_factory=list)

    def weight(self) -> float:
        """Return how large and how long the person is seen: the sum of the regions' sides."""
        return sum(roi.size for roi in self.rois)

    def at(self, frame: int, reach: int) -> Roi | None:
        """Return the region at ``frame``, between two finds at most ``reach`` frames from it, or None."""
        after = int(np.searchsorted(self.frames, frame))
        if after < len(self.frames) and self.frames[after] == frame:
            return self.rois[after]
        before = after - 1
        near_before = before >= 0 and frame - self.frames[before] <= reach
        near_after = after < len(self.frames) and self.frames[after] - frame <= reach
        if near_before and near_after:
            share = (frame - self.frames[before]) / (self.frames[after] - self.frames[before])
            return _between(self.rois[before], self.rois[after], share)
        if near_before:
            return self.rois[before]
        return self.rois[after] if near_after else None


def find_people(
    pictures: Iterable[Shown], fps: float, detect: Callable[[np.ndarray], list[Roi]]
) -> tuple[list[Track], int]:
    """Return everyone's track, the largest and most continuous first, and the number of frames.

    ``detect`` returns the people in ``(H, W, 3)``, such as :meth:`.PoseDetector.detect`.
    A find whose middle, the hips, lies outside the picture is more often a shadow than a person.
    """
    step = max(1, round(fps / LOOKS_A_SECOND))
    tracks: list[Track] = []
    count = 0
    for count, picture in enumerate(pictures, start=1):
        if (count - 1) % step == 0:
            height, width = picture.source.shape[:2]
            found = [roi for roi in detect(picture.source) if 0 <= roi.x < width and 0 <= roi.y < height]
            _link(tracks, count - 1, found, _MEMORY * fps)
    tracks.sort(key=Track.weight, reverse=True)
    return _join_returns(tracks), count


def follow(
    pictures: Iterable[_S], fps: float, track: Track, landmarker: PoseLandmarker
) -> Iterator[tuple[_S, Pose | None]]:
    """Yield each picture with the pose of ``track``'s person in it, None where the person is not seen.

    Of a person whom the picture's edge cuts off the network often loses sight, or sees them upside down or
    the wrong way round, and the detector, which wants a head, does not bring them back. There the network
    looks again in regions of other sizes, and only a pose that goes on from the last one counts. A find of
    quite another size than the person has had is not theirs: two people who pass each other are often
    found as one.
    """
    reach = max(1, round(2 * fps / LOOKS_A_SECOND))
    roi: Roi | None = None
    last: Pose | None = None
    age = 0.0  # seconds since ``last``
    sizes: deque[float] = deque(maxlen=max(1, round(_KNOWN * fps)))  # of the last poses' regions
    for frame, shown in enumerate(pictures):
        picture = shown.source
        expected = track.at(frame, reach)
        if expected is not None and len(sizes) == sizes.maxlen:
            ratio = expected.size / float(np.median(sizes))
            expected = expected if 1 / _UNLIKE < ratio < _UNLIKE else None
        if roi is None or (expected is not None and _distance(roi, expected) > _STRAYED):
            roi, last = expected, None
        age += 1 / fps
        pose = None if roi is None else landmarker.find(picture, roi)
        if pose is not None and pose.score < PRESENCE and expected is not None and roi != expected:
            pose = landmarker.find(picture, expected)
        if pose is not None and last is not None and pose.cut_off(*picture.shape[1::-1]):
            pose = _going_on(picture, pose, last, age, landmarker)
        elif pose is not None and pose.score < PRESENCE:
            pose = None
        if pose is not None and pose.in_sight(*picture.shape[1::-1]) < _IN_SIGHT:
            pose = None
        if pose is not None:
            roi, last, age = pose.next_roi, pose, 0.0
            sizes.append(pose.next_roi.size)
        elif last is None or age > _MEMORY or not last.cut_off(*picture.shape[1::-1]):
            roi = last = None
        yield shown, pose


def _going_on(
    picture: np.ndarray, pose: Pose, last: Pose, age: float, landmarker: PoseLandmarker
) -> Pose | None:
    """Return the pose that goes on best from ``last``, ``age`` seconds before, or None if none does."""
    allowed = (_JUMP + _PACE * age) / max(float(last.visibility.mean()), _SLIGHT)
    if pose.score > _CERTAIN and _moved(last, pose) < allowed:
        return pose
    looks = [pose] + [
        landmarker.find(picture, pose.roi._replace(size=scale * pose.roi.size), surround)
        for scale, surround in _LOOKS
    ]
    best = min(looks, key=lambda look: _moved(last, look) + _DOUBT * (1 - look.score))
    if best.score < _FAINT or _moved(last, best) > allowed:
        return None
    # The region follows the person's size; one that grows or shrinks at a leap has lost it.
    size = np.clip(best.next_roi.size, last.next_roi.size / _GROWTH, last.next_roi.size * _GROWTH)
    return replace(best, next_roi=best.next_roi._replace(size=float(size)))


def _moved(last: Pose, pose: Pose) -> float:
    """Return how far the landmarks moved since ``last`` on average, in sides of its region."""
    step = np.linalg.norm(pose.image - last.image, axis=1)
    return float(np.average(step, weights=last.visibility + _SLIGHT)) / last.roi.size


def _link(tracks: list[Track], frame: int, found: list[Roi], memory: float) -> None:
    """Give each find to the nearest living track of about its size, or start a new one."""
    living = [track for track in tracks if frame - track.frames[-1] <= memory]
    pairs = sorted(
        (
            (_distance(track.rois[-1], roi), i, j)
            for i, track in enumerate(living)
            for j, roi in enumerate(found)
        ),
    )
    taken_tracks: set[int] = set()
    taken_rois: set[int] = set()
    for distance, i, j in pairs:
        if i in taken_tracks or j in taken_rois or distance > _NEAR:
            continue
        if max(living[i].rois[-1].size, found[j].size) > _ALIKE * min(living[i].rois[-1].size, found[j].size):
            continue
        living[i].frames.append(frame)
        living[i].rois.append(found[j])
        taken_tracks.add(i)
        taken_rois.add(j)
    tracks.extend(Track([frame], [roi]) for j, roi in enumerate(found) if j not in taken_rois)


def _join_returns(tracks: list[Track]) -> list[Track]:
    """Join to each track the later or earlier ones, of about its size, that nobody else's time overlaps."""
    joined: list[Track] = []
    left = list(tracks)
    while left:
        track = left.pop(0)
        size = np.median([roi.size for roi in track.rois])
        for other in list(left):
            ratio = np.median([roi.size for roi in other.rois]) / size
            apart = other.frames[0] > track.frames[-1] or other.frames[-1] < track.frames[0]
            if apart and 1 / _ALIKE < ratio < _ALIKE:
                order = np.argsort(track.frames + other.frames)
                rois = track.rois + other.rois
                frames = track.frames + other.frames
                track = Track([frames[i] for i in order], [rois[i] for i in order])
                left.remove(other)
        joined.append(track)
    return joined


def _distance(one: Roi, other: Roi) -> float:
    """Return how far two regions' centres lie apart, in sides of the larger."""
    return float(np.hypot(one.x - other.x, one.y - other.y)) / max(one.size, other.size)


def _between(one: Roi, other: Roi, share: float) -> Roi:
    turn = (other.angle - one.angle + np.pi) % (2 * np.pi) - np.pi
    return Roi(
        one.x + share * (other.x - one.x),
        one.y + share * (other.y - one.y),
        one.size + share * (other.size - one.size),
        one.angle + share * turn,
    )
