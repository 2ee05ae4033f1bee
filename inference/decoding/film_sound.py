# SPDX-License-Identifier: GPL-3.0-or-later
"""The film that a clip was made of: where in it the clip begins, and its sound from there on.

A ``.s2d`` does not say where in its film it begins, but it holds a picture of one of its frames: the film's
picture that is most like it was filmed then.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from ...models.errors import InputError
from ..film.reader import VideoReader
from ..film.source import FilmFile
from ..format.clip import Reference
from ..runtime.progress import Progress

_UNLIKE = 16.0  # mean difference, of 255, between a coded picture and its film's that is no coding any more


def film_sound(film: Path, reference: Reference, fps: Fraction, progress: Progress) -> Iterator[np.ndarray]:
    """Return the film's sound in pieces ``(2, N)`` float32 at 48 kHz, from the clip's first frame on.

    ``reference`` is the clip's first reference picture, ``fps`` the clip's rate. Raises InputError for a film
    without sound, or one that the clip is not of.
    """
    sound = FilmFile(film)
    return sound.sound(begin_in_film(film, reference, fps, progress))


def begins_at(film: Path, reference: Reference, fps: Fraction, second: float) -> bool:
    """Tell whether the clip begins at a second of the film: whether its reference picture was filmed then."""
    height, width = reference.picture.shape[:2]
    reader = VideoReader(film, start=second, fps=fps, size=min(width, height))
    if (reader.width, reader.height) != (width, height):
        return False
    try:
        shown = next(iter(reader.part(slice(reference.frame, reference.frame + 1))))
    except InputError:  # the film ends before
        return False
    return _unlike(shown, reference.picture.astype(np.int16)) < _UNLIKE


def begin_in_film(film: Path, reference: Reference, fps: Fraction, progress: Progress) -> float:
    """Return the second of the film at which the clip begins, as its reference picture tells.

    The film is read once (stage ``place``). Raises InputError for a film that the clip is not of.
    """
    height, width = reference.picture.shape[:2]
    reader = VideoReader(film, size=min(width, height))
    picture = reference.picture.astype(np.int16)
    least, found = _UNLIKE, None
    if (reader.width, reader.height) == (width, height):
        progress("place", 0, reader.expected_frames)
        for number, frame in enumerate(reader):
            unlike = _unlike(frame, picture)
            if unlike < least:
                least, found = unlike, number
            progress("place", number + 1, max(number + 1, reader.expected_frames))
    if found is None:
        raise InputError(
            "other_film", f"{film} is not the film of this clip: none of its pictures is in the clip."
        )
    return max(0.0, float(found / reader.fps - reference.frame / fps))


def _unlike(frame: np.ndarray, picture: np.ndarray) -> float:
    return float(np.abs(frame - picture).mean())
