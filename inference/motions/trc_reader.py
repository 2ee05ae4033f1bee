# SPDX-License-Identifier: GPL-3.0-or-later
"""TRC: tables of markers as OpenSim, Pose2Sim and OpenCap write them, a row a frame, separated by tabs.

The header's third line names the rate and the unit; the fourth the markers, each over its three columns. A
blank cell is a missing marker.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from ...models.errors import InputError
from ...models.frame_rates import parse_rate
from .conventions import TRC, Motion, marker_points, unit_named
from .text_files import parse_numbers, read_text

_FREE_CELLS = 100_000  # that a file may be without having the bytes for them


def read_trc(path: Path) -> Motion:
    """Read a TRC file. Raises OSError, and InputError that names the line or the joint at fault."""
    text = read_text(path)
    lines = text.split("\n")
    if len(lines) < 6:
        raise InputError("not_motion", "it ends within its header of five lines: the file is cut off.")
    fps, metres = _read_header(lines)
    labels = [label.strip() for label in lines[3].split("\t")[2::3]]
    while labels and not labels[-1]:
        labels.pop()
    rows = [(number, line) for number, line in enumerate(lines[5:], 6) if line.strip()]
    columns = 2 + 3 * len(labels)
    if not rows or not labels:
        raise InputError("not_motion", "it has no frames or no markers.")
    if len(rows) * columns > len(text) + _FREE_CELLS:
        raise InputError(
            "not_motion", f"line {rows[0][0]}: rows of {columns} cells are named, and far fewer are there."
        )
    table = _read_table(rows, columns)
    markers = table[:, 2:].reshape(len(table), len(labels), 3)
    points, names, told = marker_points(markers, labels)
    return Motion(TRC, points * metres, names, fps, warnings=told)


def _read_header(lines: list[str]) -> tuple[Fraction, float]:
    """Return the rate and the unit's metres."""
    said = dict(
        zip((name.strip().lower() for name in lines[1].split("\t")), lines[2].split("\t"), strict=False)
    )
    try:
        fps = parse_rate(said.get("datarate", ""))
    except ValueError:
        raise InputError("bad_fps", "line 3: it names no DataRate of more than 0.") from None
    unit = said.get("units", "").strip()
    return fps, unit_named(unit) if unit else TRC.unit or 1.0


def _read_table(rows: list[tuple[int, str]], columns: int) -> np.ndarray:
    """Return the cells ``(T, columns)``, NaN for blank ones."""
    filled = []
    for number, line in rows:
        cells = line.split("\t")
        if len(cells) == 1:  # somebody's editor made spaces of the tabs
            cells = line.split()
        if any(cell.strip() for cell in cells[columns:]):
            raise InputError(
                "not_motion", f"line {number}: it has {len(cells)} cells, and the header names {columns}."
            )
        cells = cells[:columns] + [""] * (columns - len(cells))
        filled.append(" ".join(cell if cell and not cell.isspace() else "nan" for cell in cells))
    numbers = parse_numbers("\n".join(filled), rows[0][0])
    if len(numbers) != len(rows) * columns:
        raise InputError("not_motion", "a cell holds several numbers: the cells must be separated by tabs.")
    return numbers.reshape(len(rows), columns)
