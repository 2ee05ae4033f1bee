# SPDX-License-Identifier: GPL-3.0-or-later
"""What a film shows, before it is encoded: some pictures of it, and the people in it.

    film ── some moments ──▶ strip.jpg
      └── survey, as capture does it ──▶ person_01.jpg …
                                          preview.json, after each of the two

The people are those that :mod:`.capture.survey` finds, by the same numbers, so that who is chosen here is who
is followed by ``encode --person``, or, whatever part of the film is then encoded, by ``--person-at``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..models.errors import InputError
from ..models.outputs import JPEG, JSON, Kind
from ..models.whole_files import publish, staging_folder
from .capture.blazepose import Roi
from .capture.focal_length import DEFAULT_FOV, film_fov
from .capture.survey import Survey, survey
from .capture.tracking import Track
from .film.reader import Picture, VideoReader
from .runtime.progress import Progress, unwatched

PREVIEW_FILE = "preview.json"

_STRIP_FILE = "strip.jpg"
_SHEETS = ((4, 2), (3, 3), (2, 4))  # columns and rows of the strip: the one that fills a square best is taken
_GAP, _BETWEEN = 4, 48  # pixels between its pictures, and their shade
_SIDE = 96  # pixels, the shorter of a strip's picture
_PERSON_SIDE = 128  # pixels
_AROUND = 0.72  # of a person's region, that their picture shows
_LONGEST = 256  # pixels
_MOST_PEOPLE = 12
_MOST_LOOKS = 60  # that are told of a person
_TELLING = 3  # looks that say that somebody is there at all: one may be a shadow
_MOST_SECONDS = 300.0  # of the film in which people are looked for
_QUALITY = 85


def preview(
    film: str | Path,
    out_dir: str | Path,
    *,
    start: float | None = None,
    end: float | None = None,
    progress: Progress = unwatched,
    finished: Callable[[str], None] = lambda part: None,
) -> dict[str, Any]:
    """Write pictures of a film and of the people in it to ``out_dir``; return what ``preview.json`` holds.

    ``size`` (upright), ``fps``, ``seconds`` (0 where it is not known yet), ``metadata_fov`` and
    ``default_fov`` (degrees across the longer side; the first None where no camera told it), and ``strip``: a
    ``file`` with pictures of moments that lie evenly in the film, in ``columns`` and ``rows``, each of
    ``cell`` pixels, with a ``gap`` between them. Once people were looked for, from ``start`` to ``end`` but
    in no more than five minutes: ``looked``, those two in seconds, and ``people``, the one who is followed by
    default first: the ``person`` number in their ``shot``, a ``file``, and ``looks``, some ``[second, x, y]``
    at which they are there, x and y being shares of the picture's width and height. ``finished`` is called
    with ``strip`` and ``people`` when they are there. ``warnings`` are lines for the user. Raises
    InputError for a file that is no film, or where nothing of it can be read.
    """
    film, out_dir = Path(film), Path(out_dir)
    whole = VideoReader(film, size=_SIDE)
    told: dict[str, Any] = {
        "size": [whole.source_width, whole.source_height],
        "fps": [whole.fps.numerator, whole.fps.denominator],
        "seconds": whole.expected_frames / float(whole.fps),
        "metadata_fov": film_fov(whole),
        "default_fov": DEFAULT_FOV,
        "strip": None,
        "people": None,
        "looked": None,
        "warnings": [],
    }
    with staging_folder(out_dir) as staging:

        def give(part: str) -> None:
            _publish_text(staging, out_dir, told)
            finished(part)

        if told["seconds"]:
            told["strip"] = _strip(whole, told["seconds"], staging, out_dir)
            give("strip")
        begin = start or 0.0
        until = min(end or float("inf"), begin + _MOST_SECONDS)
        reader = VideoReader(film, start=begin, end=until, size=_SIDE)
        surveyed = survey(reader, min(4, os.cpu_count() or 1), _watched(reader, progress))
        stop = begin + surveyed.frames / float(reader.fps)
        if not told["seconds"] or (begin == 0 and stop < min(until, told["seconds"])):
            told["seconds"] = stop
        if not told["strip"]:
            told["strip"] = _strip(whole, told["seconds"], staging, out_dir)
        told["looked"] = [begin, stop]
        told["people"] = list(_people(surveyed, staging, out_dir))
        told["warnings"] = surveyed.reader.remarks
        give("people")
    return told


def preview_outputs(out_dir: Path) -> dict[Path, Kind]:
    """Return the files that :func:`preview` may write, each with its kind."""
    pictures = [_STRIP_FILE, *(_person_name(number) for number in range(_MOST_PEOPLE))]
    return {out_dir / PREVIEW_FILE: JSON} | {out_dir / name: JPEG for name in pictures}


def _watched(reader: VideoReader, progress: Progress) -> Callable[[Iterable[Picture]], Iterator[Picture]]:
    def watched(pictures: Iterable[Picture]) -> Iterator[Picture]:
        for done, picture in enumerate(pictures, 1):
            yield picture
            progress("people", done, max(done, reader.expected_frames))

    return watched


def _strip(reader: VideoReader, seconds: float, staging: Path, out_dir: Path) -> dict[str, Any]:
    """Write pictures of moments that lie evenly in a film to one sheet; returns what is told of it."""
    width, height = reader.width, reader.height
    scale = min(1.0, _LONGEST / max(width, height))
    width, height = max(1, round(scale * width)), max(1, round(scale * height))
    columns, rows = max(_SHEETS, key=lambda sheet: min(1 / (sheet[0] * width), 1 / (sheet[1] * height)))
    sheet = np.full((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), _BETWEEN, np.uint8)
    count = columns * rows
    for number, (_, picture) in enumerate(
        reader.pictures_at([seconds * (number + 0.5) / count for number in range(count)])
    ):
        down, across = (number // columns) * (height + _GAP), (number % columns) * (width + _GAP)
        small = cv2.resize(picture.canvas, (width, height), interpolation=cv2.INTER_AREA)
        sheet[down : down + height, across : across + width] = small
    _publish_picture(sheet, staging / _STRIP_FILE, out_dir)
    return {"file": _STRIP_FILE, "columns": columns, "rows": rows, "cell": [width, height], "gap": _GAP}


def _people(surveyed: Survey, staging: Path, out_dir: Path) -> Iterator[dict[str, Any]]:
    """Write a picture of each person; yield what is told of them, the one followed by default first."""
    reader = surveyed.reader
    found = [
        (shot, number, track)
        for shot, held in enumerate(surveyed.shots)
        for number, track in enumerate(held.people, 1)
    ]
    if not found:
        return
    first = surveyed.chosen(None)
    found.sort(key=lambda it: ((it[0], it[1]) != (first, 1), -it[2].weight()))
    found = [it for i, it in enumerate(found) if i == 0 or len(it[2].frames) >= _TELLING][:_MOST_PEOPLE]
    for i, (shot, number, track) in enumerate(found):
        begin = surveyed.shots[shot].frames.start
        best = max(range(len(track.frames)), key=lambda look: _shown(track.rois[look], reader))
        frame = begin + track.frames[best]
        name = _person_name(i)
        try:
            shown = next(reader.part(slice(frame, frame + 1)).pictures())
        except InputError:  # a film that broke off meanwhile
            continue
        _publish_picture(_cut_out(shown.source, track.rois[best]), staging / name, out_dir)
        yield {
            "shot": shot + 1,
            "person": number,
            "file": name,
            "looks": _looks(track, begin, reader),
        }


def _looks(track: Track, begin: int, reader: VideoReader) -> list[list[float]]:
    """Return some moments at which a person is there, and where: ``[second, x, y]``."""
    every = -(-len(track.frames) // _MOST_LOOKS)
    return [
        [
            round(reader.start + (begin + frame) / float(reader.fps), 4),
            round(roi.x / reader.source_width, 4),
            round(roi.y / reader.source_height, 4),
        ]
        for frame, roi in list(zip(track.frames, track.rois, strict=True))[::every]
    ]


def _shown(roi: Roi, reader: VideoReader) -> float:
    """Return how large a person is seen, less what of their region lies outside the picture."""
    half = roi.size / 2
    across = min(roi.x + half, reader.source_width) - max(roi.x - half, 0)
    down = min(roi.y + half, reader.source_height) - max(roi.y - half, 0)
    return max(across, 0) * max(down, 0) / max(roi.size, 1.0)


def _cut_out(picture: np.ndarray, roi: Roi) -> np.ndarray:
    """Return a square around a person, upright, black where it reaches beyond the picture."""
    half = max(1, round(_AROUND * roi.size / 2))
    left, top = round(roi.x) - half, round(roi.y) - half
    part = picture[max(top, 0) : top + 2 * half, max(left, 0) : left + 2 * half]
    height, width = part.shape[:2]
    above, beside = max(-top, 0), max(-left, 0)
    edges = above, 2 * half - above - height, beside, 2 * half - beside - width
    square = cv2.copyMakeBorder(part, *edges, cv2.BORDER_CONSTANT)
    return cv2.resize(square, (_PERSON_SIDE, _PERSON_SIDE), interpolation=cv2.INTER_AREA)


def _publish_picture(picture: np.ndarray, staged: Path, out_dir: Path) -> None:
    options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    coded = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), options)[1]
    staged.write_bytes(coded.tobytes())
    publish(staged, out_dir)


def _publish_text(staging: Path, out_dir: Path, told: dict[str, Any]) -> None:
    staged = staging / PREVIEW_FILE
    staged.write_text(json.dumps(told), encoding="utf-8")
    publish(staged, out_dir)


def _person_name(number: int) -> str:
    return f"person_{number + 1:02d}.jpg"
