# SPDX-License-Identifier: GPL-3.0-or-later
"""A film looked over before anybody is followed: its shots, who is in each, and which becomes the clip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ...models.errors import InputError
from ...models.frame_rates import clock
from ..film.reader import Picture, VideoReader
from .blazepose import PoseDetector
from .shots import CutFinder, shots_between
from .tracking import Track, look_for_people, takes_place, tracks_of

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")

_THERE = 0.5  # of a region's side, within which of a place somebody is there
_AT_ONCE = 0.5  # seconds from the nearest look at them

_Watched = Callable[[Iterable[Picture]], Iterable[Picture]]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Shot:
    """Frames of a film between two cuts, and who is seen in them, the one who counts most first."""

    frames: slice  # of the film
    people: list[Track]  # their frames are the shot's

    @property
    def length(self) -> int:
        """Number of frames."""
        return self.frames.stop - self.frames.start


@dataclass(frozen=True)
class Survey:
    """A film's shots. ``reader`` has read all of it, of so many ``frames``."""

    reader: VideoReader
    frames: int
    shots: list[Shot]

    def chosen(self, person: int | None) -> int:
        """Return the number, from 0, of the shot that shows person ``person`` largest and longest.

        Persons are counted from 1 in each shot; None is the first. Raises InputError ``no_person``.
        """
        path, most = self.reader.path, max(len(shot.people) for shot in self.shots)
        number = 1 if person is None else person
        if not most:
            raise InputError("no_person", f"{path}: nobody is found in the video.")
        if not 1 <= number <= most:
            raise InputError(
                "no_person", f"{path}: person {number} was asked for, and {most} can be followed."
            )
        there = [i for i, shot in enumerate(self.shots) if len(shot.people) >= number]
        return max(there, key=lambda i: self.shots[i].people[number - 1].weight())

    def found_at(self, second: float, x: float, y: float) -> tuple[int, int]:
        """Return the shot, from 0, and the number in it, from 1, of whoever is nearest to a place at a time.

        ``second`` is the film's, ``x`` and ``y`` are where their hips are, as shares of the picture's width
        and height. Raises InputError ``no_person`` where nobody is found near.
        """
        reader = self.reader
        frame = round((second - reader.start) * float(reader.fps))
        reach = max(1, round(_AT_ONCE * float(reader.fps)))
        place = np.array([x * reader.source_width, y * reader.source_height])
        nearest: tuple[float, int, int] | None = None
        for number, shot in enumerate(self.shots):
            for person, track in enumerate(shot.people, start=1):
                roi = track.at(frame - shot.frames.start, reach)
                if roi is None or not shot.frames.start <= frame < shot.frames.stop:
                    continue
                apart = float(np.hypot(*(place - (roi.x, roi.y)))) / roi.size
                if apart < min(_THERE, nearest[0] if nearest else _THERE):
                    nearest = apart, number, person
        if nearest is None:
            raise InputError(
                "no_person",
                f"{reader.path}: at {clock(second)} nobody is found at {x:.0%} of the picture's width and "
                f"{y:.0%} of its height.",
            )
        return nearest[1], nearest[2]

    def only(self, shot: int) -> Survey:
        """Return the same with one shot, of which nothing is to be told."""
        return Survey(self.reader, self.frames, [self.shots[shot]])

    def part(self, shot: int) -> VideoReader:
        """Return a reader of a shot, by its number from 0; of the whole film if that is one shot."""
        frames = self.shots[shot].frames
        return self.reader if frames == slice(0, self.frames) else self.reader.part(frames)

    def span(self, shot: int) -> str:
        """Return from when to when in the film a shot lasts, in words."""
        frames, fps, start = self.shots[shot].frames, float(self.reader.fps), self.reader.start
        return f"{clock(start + frames.start / fps)}-{clock(start + frames.stop / fps)}"

    def remarks(self, shot: int, person: int | None) -> list[str]:
        """Return what to tell of the choice of a shot, and of whom there is beside the person in it."""
        told = []
        if len(self.shots) > 1:
            told.append(
                f"The film has {len(self.shots)} shots: the clip is the {_ordinal(shot + 1)}, "
                f"{self.span(shot)}; --shots makes a clip of each."
            )
        people, number = self.shots[shot].people, person or 1
        track, fps = people[number - 1], float(self.reader.fps)
        begin = self.reader.start + self.shots[shot].frames.start / fps
        for other, theirs in enumerate(people, start=1):
            if other == number:
                continue
            if (frame := takes_place(theirs, track, fps)) is not None:
                told.append(
                    f"Another person takes their place at {clock(begin + frame / fps)} and is not followed "
                    f"(person {other})."
                )
            elif (frame := takes_place(track, theirs, fps)) is not None:
                told.append(
                    f"Another person is in their place before {clock(begin + frame / fps)} and is not "
                    f"followed (person {other})."
                )
            elif person is None and theirs.still() and theirs.seen() > track.seen():
                told.append(
                    f"Whoever is seen larger or longer, but never moves, is taken for a picture or a statue "
                    f"(person {other})."
                )
        return told


def survey(reader: VideoReader, threads: int, watched: _Watched) -> Survey:
    """Read a film and return its shots with the people in them, who are looked for closer if none are found.

    ``watched`` passes on the pictures that it is given, such as one that reports progress.
    """
    fps, detector = float(reader.fps), PoseDetector(threads)
    shots, count = list[Shot](), 0
    for detect in (detector.detect, detector.detect_far):
        finder = CutFinder(fps)
        looks, count = look_for_people(_seen_by(finder, watched(reader.pictures())), fps, detect)
        frames = shots_between(finder.cuts(reader.leaps), count)
        shots = [Shot(span, tracks_of(_within(looks, span), fps)) for span in frames]
        if any(shot.people for shot in shots):
            break
    return Survey(reader, count, shots)


def _seen_by(finder: CutFinder, pictures: Iterable[Picture]) -> Iterator[Picture]:
    for picture in pictures:
        finder.see(picture.glance)
        yield picture


def _within(looks: Iterable[tuple[int, list[_T]]], span: slice) -> list[tuple[int, list[_T]]]:
    return [(frame - span.start, found) for frame, found in looks if span.start <= frame < span.stop]


def _ordinal(number: int) -> str:
    if number <= len(_ORDINALS):
        return _ORDINALS[number - 1]
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number // 10 % 10 != 1 else "th"
    return f"{number}{ending}"
