# SPDX-License-Identifier: GPL-3.0-or-later
"""Following one person through a video: who is in it, and that person's pose in each frame.

The detector looks at a few frames a second and its finds are linked into one track a person, by place, size
and the colours of their clothes: whoever comes where another has left is someone else. The chosen
track then leads the landmark network: it starts it, brings it back when the person was lost, and takes
it off another person whom it strayed to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol, TypeVar

import cv2
import numpy as np

from .blazepose import PRESENCE, Pose, PoseLandmarker, Roi

LOOKS_A_SECOND = 6
"""How often the detector looks for people."""

_MEMORY = 1.5  # seconds after which a person who was not found is no longer waited for
_NEAR = 0.6  # of a region's side: how far a person may move between two looks
_ALIKE = 1.6  # how much a person's size may change between two looks
_OTHER = 22.0  # difference of colours (CIE 1976) from which clothes are another person's
_TELLING = 3  # finds that tell that somebody is there at all: one may be a shadow
_RECENT = 9  # finds of a track that a new one is compared with: clothes look otherwise from behind
_CLOTHES = ((0.42, 0.28, 0.58, 0.48), (0.42, 0.52, 0.58, 0.72))  # trunk, legs: left, top, right, bottom
_STILL, _STILL_SHARE, _ONCE = 1.0, 0.25, 80  # grey levels; weight; percentile of a track: what is no person
_ENOUGH_LOOKS = 6  # that tell it
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


class Find(NamedTuple):
    """A person found in one picture.

    ``colours`` ``(2, 3)`` are the CIELAB medians of trunk and legs; ``change`` is by how many grey levels the
    picture is another there than at the look before, None at the first.
    """

    roi: Roi
    colours: np.ndarray
    change: float | None


Look = tuple[int, list[Find]]
"""A frame that the detector looked at, and whom it found."""


@dataclass
class Track:
    """One person's regions in the frames that the detector looked at."""

    frames: list[int] = field(default_factory=list)
    rois: list[Roi] = field(default_factory=list)
    colours: list[np.ndarray] = field(default_factory=list)  # (2, 3) each, as in Find
    changes: list[float] = field(default_factory=list)

    def add(self, frame: int, find: Find) -> Track:
        """Go on with ``find``; returns the track."""
        self.frames.append(frame)
        self.rois.append(find.roi)
        self.colours.append(find.colours)
        if find.change is not None:
            self.changes.append(find.change)
        return self

    def seen(self) -> float:
        """Return how large and how long the person is seen: the sum of the regions' sides."""
        return sum(roi.size for roi in self.rois)

    def still(self) -> bool:
        """Tell whether nothing ever moves there, as on a poster: people breathe, sway and look about."""
        known = len(self.changes) >= _ENOUGH_LOOKS
        return known and float(np.percentile(self.changes, _ONCE)) < _STILL

    def weight(self) -> float:
        """Return how much the person counts: as they are seen, and much less where nothing ever moves."""
        return self.seen() * (_STILL_SHARE if self.still() else 1)

    def unlike(self, other: Track) -> bool:
        """Tell whether clothes say that this is someone else, however one looks at both."""
        return _unlike(self.colours[:: 1 + len(self.colours) // 30], other.colours) > _OTHER

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

    ``detect`` returns the people in ``(H, W, 3)``, such as :meth:`.PoseDetector.detect`. The pictures are of
    one shot; for a film with cuts see :func:`look_for_people`.
    """
    looks, count = look_for_people(pictures, fps, detect)
    return tracks_of(looks, fps), count


def look_for_people(
    pictures: Iterable[Shown], fps: float, detect: Callable[[np.ndarray], list[Roi]]
) -> tuple[list[Look], int]:
    """Return whom ``detect`` finds in some frames, a few a second, and the number of frames.

    A find whose middle, the hips, lies outside the picture is more often a shadow than a person.
    """
    step = max(1, round(fps / LOOKS_A_SECOND))
    looks: list[Look] = []
    before: np.ndarray | None = None
    count = 0
    for count, picture in enumerate(pictures, start=1):
        if (count - 1) % step == 0:
            source = picture.source
            height, width = source.shape[:2]
            found = [roi for roi in detect(source) if 0 <= roi.x < width and 0 <= roi.y < height]
            looks.append((count - 1, [_find(source, roi, before) for roi in found]))
            before = source
    return looks, count


def tracks_of(looks: Iterable[Look], fps: float) -> list[Track]:
    """Return everyone's track in the looks of one shot, the largest and most continuous first."""
    tracks: list[Track] = []
    for frame, found in looks:
        _link(tracks, frame, found, _MEMORY * fps)
    tracks.sort(key=Track.weight, reverse=True)
    return _join_returns(tracks)


def takes_place(other: Track, track: Track, fps: float) -> int | None:
    """Return the frame in which ``other`` begins to stand where ``track`` ended, or None.

    It is someone else who does, by their clothes, in the time in which the person would be waited for.
    """
    past = int(np.searchsorted(track.frames, other.frames[0])) - 1
    if past < 0 or other.frames[0] - track.frames[past] > 2 * _MEMORY * fps:
        return None
    if min(len(track.frames), len(other.frames)) < _TELLING or not other.unlike(track):
        return None
    back = past + 1 < len(track.frames) and track.frames[past + 1] <= other.frames[-1]
    one, two = track.rois[past], other.rois[0]
    return None if back or _distance(one, two) > _NEAR else other.frames[0]


def follow(
    pictures: Iterable[_S],
    fps: float,
    track: Track,
    landmarker: PoseLandmarker,
    others: Sequence[Track] = (),
    every: int = 1,
) -> Iterator[tuple[_S, Pose | None]]:
    """Yield each picture with the pose of ``track``'s person in it, None where the person is not seen.

    Of every so many pictures one is looked at; the others have None too, and nothing of them is read.
    Of a person whom the picture's edge cuts off the network often loses sight, or sees them upside down or
    the wrong way round, and the detector, which wants a head, does not bring them back. There the network
    looks again in regions of other sizes, and only a pose that goes on from the last one counts. A find of
    quite another size than the person has had is not theirs: two people who pass each other are often
    found as one. Where the track has ended and another of ``others`` by their clothes is found in the
    person's place, they are no longer followed.
    """
    strangers = [other for other in others if len(other.frames) >= _TELLING and other.unlike(track)]
    reach = max(1, round(2 * fps / LOOKS_A_SECOND))
    roi: Roi | None = None
    last: Pose | None = None
    age = 0.0  # seconds since ``last``
    sizes: deque[float] = deque(maxlen=max(1, round(_KNOWN * fps / every)))  # of the last poses' regions
    for frame, shown in enumerate(pictures):
        age += 1 / fps
        if frame % every:
            yield shown, None
            continue
        picture = shown.source
        expected = track.at(frame, reach)
        if expected is not None and len(sizes) == sizes.maxlen:
            ratio = expected.size / float(np.median(sizes))
            expected = expected if 1 / _UNLIKE < ratio < _UNLIKE else None
        if roi is None or (expected is not None and _distance(roi, expected) > _STRAYED):
            roi, last = expected, None
        if roi is not None and expected is None and _taken(roi, strangers, frame, reach):
            roi = last = None
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


def _taken(roi: Roi, others: list[Track], frame: int, reach: int) -> bool:
    """Tell whether one of ``others`` is in a region."""
    there = (other.at(frame, reach) for other in others)
    return any(theirs is not None and _distance(roi, theirs) < _STRAYED for theirs in there)


def _find(picture: np.ndarray, roi: Roi, before: np.ndarray | None) -> Find:
    """Return what a picture shows of a person in ``roi``; ``before`` is the picture at the look before."""
    half = 0.4 * roi.size
    (left, top), (right, bottom) = (
        np.clip((roi.x + side, roi.y + side), 0, picture.shape[1::-1]).astype(int) for side in (-half, half)
    )
    change = None
    if before is not None and before.shape == picture.shape and right > left and bottom > top:
        now, then = (
            cv2.resize(shown[top:bottom, left:right], (32, 32), interpolation=cv2.INTER_AREA)
            for shown in (picture, before)
        )
        change = float(np.abs(now.astype(int) - then).mean())
    medians = []
    for u, v, until_u, until_v in _CLOTHES:
        across, down = np.meshgrid(np.linspace(u, until_u, 8), np.linspace(v, until_v, 10))
        at = np.c_[across.ravel(), down.ravel(), np.ones(across.size)] @ roi.to_picture().T
        x, y = np.clip(at.astype(int), 0, np.array(picture.shape[1::-1]) - 1).T
        medians.append(np.median(picture[y, x], axis=0))
    colours = cv2.cvtColor(np.array([medians], np.float32) / 255, cv2.COLOR_RGB2Lab)[0]
    return Find(roi, colours, change)


def _unlike(some: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> float:
    """Return how far clothes differ in the two looks that differ least; 0 where nothing is known."""
    if not len(some) or not len(others):
        return 0.0
    apart = np.array(some)[:, None] - np.array(others)[None]
    return float(np.linalg.norm(apart, axis=-1).mean(axis=-1).min())


def _link(tracks: list[Track], frame: int, found: list[Find], memory: float) -> None:
    """Give each find to the nearest living track of about its size and clothes, or start a new one."""
    living = [track for track in tracks if frame - track.frames[-1] <= memory]
    pairs = []
    for i, track in enumerate(living):
        for j, find in enumerate(found):
            last, unlike = track.rois[-1], _unlike(track.colours[-_RECENT:], [find.colours])
            distance = _distance(last, find.roi)
            alike_in_size = max(last.size, find.roi.size) <= _ALIKE * min(last.size, find.roi.size)
            if distance <= _NEAR and alike_in_size and unlike <= _OTHER:
                pairs.append((distance + _NEAR * unlike / _OTHER, i, j))
    taken_tracks: set[int] = set()
    taken_finds: set[int] = set()
    for _, i, j in sorted(pairs):
        if i not in taken_tracks and j not in taken_finds:
            living[i].add(frame, found[j])
            taken_tracks.add(i)
            taken_finds.add(j)
    tracks.extend(Track().add(frame, find) for j, find in enumerate(found) if j not in taken_finds)


def _join_returns(tracks: list[Track]) -> list[Track]:
    """Join to each track the later or earlier ones, of about its size and clothes, that do not overlap it."""
    joined: list[Track] = []
    left = list(tracks)
    while left:
        track = left.pop(0)
        size = np.median([roi.size for roi in track.rois])
        for other in list(left):
            ratio = np.median([roi.size for roi in other.rois]) / size
            apart = other.frames[0] > track.frames[-1] or other.frames[-1] < track.frames[0]
            if apart and 1 / _ALIKE < ratio < _ALIKE and not track.unlike(other):
                one, two = sorted((track, other), key=lambda part: part.frames[0])
                track = Track(
                    one.frames + two.frames,
                    one.rois + two.rois,
                    one.colours + two.colours,
                    one.changes + two.changes,
                )
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
