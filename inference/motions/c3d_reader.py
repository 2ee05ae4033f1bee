# SPDX-License-Identifier: GPL-3.0-or-later
"""C3D: markers of optical motion capture, through the library ``c3d``.

The file names its unit (``POINT:UNITS``), its rate (``POINT:RATE``) and its markers (``POINT:LABELS``); a
residual of -1 says that a marker was not seen.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ...models.errors import InputError
from ...models.frame_rates import parse_rate
from .conventions import C3D, Motion, marker_points, unit_named


def read_c3d(path: Path) -> Motion:
    """Read a C3D file. Raises OSError, and InputError for a damaged one or one without the joints."""
    import c3d  # which the extension does not carry, and no other motion needs

    size = path.stat().st_size
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library's, on what other programs write differently
        try:
            markers, labels, rate, unit = _read(c3d.Reader(file), size)
        except (InputError, OSError):
            raise
        except Exception as error:  # the library raises all kinds for a wrong byte
            raise InputError("not_motion", f"it is a damaged C3D file ({error}).") from error
    try:
        fps = parse_rate(round(rate, 4))
    except ValueError:
        raise InputError("bad_fps", f"POINT:RATE is {rate:g}: it must be more than 0.") from None
    points, names, told = marker_points(markers, labels)
    metres = unit_named(unit) if unit else C3D.unit or 1.0
    return Motion(C3D, points * metres, names, fps, warnings=told)


def _read(reader: Any, size: int) -> tuple[np.ndarray, list[str], float, str]:
    """Return markers ``(T, M, 3)``, NaN where not seen, their labels, the rate and the unit."""
    frames, count = reader.frame_count, reader.point_used
    word = 4 if reader.point_scale < 0 else 2
    if not (frames > 0 and count > 0):
        raise InputError("not_motion", "it has no markers or no frames.")
    if frames * count * 4 * word > size:
        raise InputError(
            "not_motion", f"it names {frames} frames of {count} markers and ends before: it is cut off."
        )
    labels: list[str] = []
    for number in ("", *range(2, 20)):
        parameter = reader.get(f"POINT:LABELS{number}")
        if parameter is not None:
            labels.extend(parameter.string_array)
    labels = [str(label) for label in labels[:count]]
    markers = np.empty((frames, count, 3))
    read = 0
    for _, found, _ in reader.read_frames(copy=False):
        markers[read] = found[:, :3]
        markers[read, found[:, 3] < 0] = np.nan
        read += 1
    if read < frames:
        raise InputError("not_motion", f"it names {frames} frames and ends after {read}: it is cut off.")
    unit = reader.get("POINT:UNITS")
    return (
        markers[:, : len(labels)],
        labels,
        float(reader.point_rate),
        "" if unit is None else str(unit.string_value),
    )
