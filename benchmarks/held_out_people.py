# SPDX-License-Identifier: GPL-3.0-or-later
"""Films of synthetic people whose motion is known: held-out bodies, clothes, motions, in hard situations."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..inference.film.writer import VideoWriter
from ..inference.format.clip import Clip, Reference
from ..models.training import postures
from ..models.training.postures import KINDS, SIDE, PosedPeople
from ..models.whole_files import whole_file

FPS = 25
SECONDS = 4.0


def film(
    people: PosedPeople, name: str, index: int, folder: Path, before: Callable[[], None] = lambda: None
) -> tuple[Path, np.ndarray]:
    """Film a clip of the kind ``name`` in ``folder``, if it is not there yet.

    ``before`` is called before it is filmed, and may raise.
    Returns the film and its true keypoints ``(T, 23, 3)``, camera space.
    """
    path = folder / f"{name}_{index:03d}_{people.seed}_{people.seconds:g}_{_made_by()}.mp4"
    truth = path.with_suffix(".npz")
    if not (path.is_file() and truth.is_file()):
        before()
        people.kind = KINDS[name]
        frames = list(people.clip(index, round(people.seconds * FPS), FPS)[1])
        with VideoWriter(path, Fraction(FPS), SIDE, SIDE) as writer:
            for frame in frames:
                writer.write(frame["frame"])
        with whole_file(truth) as aside:
            np.savez_compressed(aside, keypoints=np.stack([frame["keypoints"] for frame in frames]))
    with np.load(truth, allow_pickle=False) as stored:
        return path, stored["keypoints"]


@cache
def _made_by() -> str:
    """Return digits of the code that a film depends on."""
    sources = [Path(__file__), *sorted(Path(postures.__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:8]


def drawn_clip(
    body: str, head: dict[str, Any], keypoints: Sequence[np.ndarray], references: Sequence[Reference]
) -> Clip:
    """Return a clip of what :meth:`.People.clip` drew: its ``head``, and of its frames the keypoints."""
    height, width = head["reference"].shape[:2]
    return Clip(
        fps=Fraction(head["fps"]),
        camera=head["camera"],
        width=width,
        height=height,
        keypoints=np.stack(keypoints),
        body=body,
        shape=head["shape"],
        references=list(references),
        plate=head["plate"],
    )
