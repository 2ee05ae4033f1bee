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

    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library's, on what other programs write differently
        try:
            markers, labels, rate, unit = _read(c3d.Reader(file), path)
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


def _read(reader: Any, path: Path) -> tuple[np.ndarray, list[str], float, str]:
    """Return markers ``(T, M, 3)``, NaN where not seen, their labels, the rate and the unit."""
    frames, count, scale = reader.frame_count, reader.point_used, reader.point_scale
    word = 4 if scale < 0 else 2
    stride = word * (4 * count + reader.header.analog_count)
    start = 512 * (reader.header.data_block - 1)
    if not (frames > 0 and count > 0 and start > 0):
        raise InputError("not_motion", "it has no markers or no frames.")
    if start + frames * stride > path.stat().st_size:
        raise InputError(
            "not_motion", f"it names {frames} frames of {count} markers and ends before: it is cut off."
        )
    labels: list[str] = []
    for number in ("", *range(2, 20)):
        parameter = reader.get(f"POINT:LABELS{number}")
        if parameter is not None:
            labels.extend(str(label) for label in parameter.string_array)
    labels = labels[:count]
    data = np.fromfile(path, np.uint8, frames * stride, offset=start).reshape(frames, stride)
    values = _numbers(data[:, : 4 * count * word], word, reader.proc_type).reshape(frames, count, 4)
    markers = values[:, : len(labels), :3].astype(np.float64)
    if word == 2:
        markers *= scale
    markers[values[:, : len(labels), 3] < 0] = np.nan
    unit = reader.get("POINT:UNITS")
    return markers, labels, float(reader.point_rate), "" if unit is None else str(unit.string_value)


def _numbers(data: np.ndarray, word: int, processor: str) -> np.ndarray:
    """Return the numbers in bytes ``(T, B)``, which three kinds of machines write in their own ways."""
    data = np.ascontiguousarray(data)
    if word == 2:
        return data.view(">i2" if processor == "MIPS" else "<i2")
    if processor == "DEC":  # halves exchanged, and an exponent that is two higher
        halves = data.view("<u2").reshape(len(data), -1, 2)[..., ::-1]
        return np.ascontiguousarray(halves).view("<f4")[..., 0] / 4
    return data.view(">f4" if processor == "MIPS" else "<f4")
