# SPDX-License-Identifier: GPL-3.0-or-later
"""The sound of the film that a clip was made of, from the moment on at which the clip begins.

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
    height, width = reference.picture.shape[:2]
    sound = FilmFile(film)
    reader = VideoReader(film, size=min(width, height))
    picture = reference.picture.astype(np.int16)
    least, found = _UNLIKE, None
    if (reader.width, reader.height) == (width, height):
        progress("sound", 0, reader.expected_frames)
        for number, frame in enumerate(reader):
            unlike = float(np.abs(frame - picture).mean())
            if unlike < least:
                least, found = unlike, number
            progress("sound", number + 1, max(number + 1, reader.expected_frames))
    if found is None:
        raise InputError(
            "other_film", f"{film} is not the film of this clip: none of its pictures is in the clip."
        )
    return sound.sound(max(0.0, float(found / reader.fps - reference.frame / fps)))
