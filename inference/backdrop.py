# SPDX-License-Identifier: GPL-3.0-or-later
"""The film that a clip was made of, as a film of the clip's own frames beside its other parts.

    film ── from where the clip begins, at the clip's rate, upright, in a screen's colours ──▶ film.mp4

So it is in step with the clip frame by frame, whatever the film's own rate, turn and colours are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..models.errors import InputError
from ..models.outputs import Kind
from ..models.whole_files import check_space
from .decoding.decoded_folder import FILES, open_folder, read_description, read_rest_body, written_before
from .decoding.film_sound import begin_in_film, begins_at
from .decoding.parts import write_film
from .format.container import S2DFile
from .runtime.progress import Progress, unwatched

_SIDE = 720  # pixels, the shorter side at most
_BYTES_PER_FRAME = 60_000  # well above what the writer makes


@dataclass
class Backdrop:
    """What :func:`backdrop` wrote: its file, where in the film the clip begins (seconds), if it sounds."""

    file: str
    start: float
    sound: bool


def backdrop(
    path: str | Path,
    film: str | Path,
    folder: str | Path,
    *,
    start: float | None = None,
    progress: Progress = unwatched,
    finished: Callable[[str], None] = lambda part: None,
) -> Backdrop:
    """Write ``film.mp4``, the clip's own film, into the folder that the ``.s2d`` at ``path`` was decoded to.

    ``start`` is the second of the film at which the clip begins; where it is not known, or the clip's
    reference picture is not filmed there, it is looked for. Raises InputError for another film, a clip
    without pictures, or a folder that does not hold the clip.
    """
    path, film, folder = Path(path), Path(film), Path(folder)
    file = S2DFile.open(path)
    header, references = file.header, file.references()
    if not references:
        raise InputError("no_pictures", f"{path} is a motion without pictures: no film goes with it.")
    description = read_description(folder)
    if description.clip != file.sha256:
        raise InputError("other_clip", f"{folder} does not hold {path}: decode it there first.")
    check_space(folder, header.frames * _BYTES_PER_FRAME)
    if start is None or not begins_at(film, references[0], header.fps, start):
        start = begin_in_film(film, references[0], header.fps, progress)
    model = read_rest_body(folder / description.files.get("body", FILES["body"])).model
    with open_folder(folder, description, model, finished) as filling:
        sound = write_film(filling.staging / FILES["film"], header, film, start, _SIDE, progress)
        filling.publish("film")
    return Backdrop(str(folder / FILES["film"]), start, sound)


def backdrop_outputs(folder: Path) -> dict[Path, Kind]:
    """Return the file that :func:`backdrop` writes, with its kind."""
    before = written_before(folder)
    return {folder / FILES["film"]: Kind("part of a clip", lambda file: file.name in before)}
