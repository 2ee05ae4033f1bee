# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON of pose estimators: one file of all frames, or a folder of one file a frame.

A frame is OpenPose's (``people``, each with ``pose_keypoints_3d`` x, y, z and confidence in a row),
EasyMocap's (a list of people with ``keypoints3d``), or MediaPipe's (a list of landmarks ``{x, y, z,
visibility}`` or ``[x, y, z]``, below one of the names that its interfaces have for it). A file of all frames
is a list of such, or an object with ``frames`` and, if wanted, ``fps``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ...models.errors import InputError
from ...models.frame_rates import parse_rate
from .conventions import ORDERS, Motion
from .landmark_orders import motion_of_landmarks
from .text_files import read_text

_MOST_BYTES, _MOST_FRAME_BYTES = 1 << 28, 1 << 24
_MOST_FILES = 1_000_000

_PEOPLE = ("people", "persons", "annots")
_LANDMARKS = (
    "pose_keypoints_3d", "keypoints3d", "keypoints3D", "keypoints_3d",
    "pose_world_landmarks", "poseWorldLandmarks", "worldLandmarks", "world_landmarks",
    "landmarks", "landmark",
)  # fmt: skip
_RATES = ("fps", "frame_rate", "framerate", "frameRate")


def read_json(path: Path) -> Motion:
    """Read a JSON file of all frames. Raises OSError, and InputError that names the frame at fault."""
    data = _parse(path, _MOST_BYTES)
    fps: Fraction | None = None
    if isinstance(data, dict):
        stated = next((data[key] for key in _RATES if data.get(key) is not None), None)
        try:
            fps = None if stated is None else parse_rate(stated)
        except ValueError as error:
            raise InputError("bad_fps", f"fps: {error}.") from None
        data = _frames_of(data)
    if not isinstance(data, list) or not data:
        raise InputError("not_motion", "it has no frames: a list is wanted, or an object with frames.")
    if _is_row(data[0]) and len(data) in ORDERS:
        data = [data]
    return _motion(((f"frame {index}", frame) for index, frame in enumerate(data)), fps)


def read_json_folder(path: Path) -> Motion:
    """Read a folder of one JSON file a frame, in the order of the last number in their names.

    Raises OSError, and InputError that names the file at fault.
    """
    files = [(_last_number(file.name), file.name, file) for file in path.glob("*.json")]
    if not files:
        raise InputError("not_motion", "the folder holds no .json files, one a frame.")
    if len(files) > _MOST_FILES:
        raise InputError("not_motion", f"the folder holds more than {_MOST_FILES} frames.")
    return _motion(((name, _parse(file, _MOST_FRAME_BYTES, name)) for _, name, file in sorted(files)), None)


def _last_number(name: str) -> int:
    return int((re.findall(r"\d{1,18}", name) or ["0"])[-1])


def _parse(path: Path, most: int, name: str = "it") -> Any:
    try:
        return json.loads(read_text(path, most))
    except (ValueError, RecursionError) as error:
        raise InputError("not_motion", f"{name} is no whole JSON file ({error}).") from None


def _frames_of(data: dict[str, Any]) -> Any:
    """Return the list of frames that an object stands for."""
    if "frames" in data:
        return data["frames"]
    if data and all(key.isdecimal() for key in data):
        return [data[key] for key in sorted(data, key=lambda key: (len(key.lstrip("0")), key.lstrip("0")))]
    for key in _LANDMARKS:
        if isinstance(data.get(key), list) and data[key] and not _is_row(data[key][0]):
            frames = data[key]
            return [data] if isinstance(frames[0], (int, float)) else frames
    return [data]


def _motion(frames: Iterator[tuple[str, Any]], fps: Fraction | None) -> Motion:
    """Make a motion of frames, each with what to call it where it is wrong."""
    found: list[np.ndarray | None] = []
    counts: set[int] = set()
    crowds, person = 0, None
    for name, frame in frames:
        try:
            rows, people, person = _rows(frame, person)
            found.append(_array(rows) if rows else None)
        except (KeyError, IndexError, StopIteration, TypeError, ValueError, OverflowError, RecursionError):
            raise InputError(
                "not_motion",
                f"{name} holds no points of OpenPose, EasyMocap or MediaPipe in space "
                "(pose_keypoints_3d, keypoints3d, pose_world_landmarks).",
            ) from None
        crowds += people > 1
        if found[-1] is not None:
            counts.add(len(found[-1]))
        if len(counts) > 1:
            raise InputError(
                "bad_keypoints", f"{name} has {len(rows)} points, and the frames before have another number."
            )
    if not counts:
        raise InputError(
            "not_motion", "nobody is in any of its frames: points in space are wanted, not in the picture."
        )
    array = np.full((len(found), counts.pop(), 4), np.nan)
    for at, points in enumerate(found):
        if points is not None:
            array[at, :, : points.shape[1]] = points
            array[at, :, points.shape[1] :] = 1
    told = (f"several people are in {crowds} of {len(found)} frames: the first is read",) if crowds else ()
    return motion_of_landmarks(array, fps, told)


def _rows(frame: Any, person: Any) -> tuple[Any, int, Any]:
    """Return a frame's list of points, how many people are in it, and the person's own number if any.

    The person is the one of the frames before, the first where there are none.
    """
    while isinstance(frame, dict) and frame:
        frame = frame[next(key for key in (*_PEOPLE, *_LANDMARKS) if key in frame)]
    if not frame:
        return None, 0, person
    if not isinstance(frame, list):
        raise TypeError
    if isinstance(frame[0], (int, float)):
        width = 4 if len(frame) % 4 == 0 and len(frame) // 4 in ORDERS else 3
        return [frame[at : at + width] for at in range(0, len(frame), width)], 1, person
    if _is_row(frame[0]):
        return frame, 1, person
    numbers = [_number_of(one) for one in frame]
    if person is not None and person not in numbers:
        return None, len(frame), person
    at = 0 if person is None else numbers.index(person)
    return _rows(frame[at], None)[0], len(frame), numbers[at]


def _number_of(one: Any) -> Any:
    """Return the number by which a program follows a person through the frames, None without one."""
    number = one.get("id", one.get("personID", one.get("person_id"))) if isinstance(one, dict) else None
    number = number[0] if isinstance(number, list) and number else number
    return number if isinstance(number, int) and number >= 0 else None


def _is_row(value: Any) -> bool:
    """Tell whether a value is one point: an object with x, or three or four numbers."""
    if isinstance(value, dict):
        return "x" in value
    return (
        isinstance(value, list) and len(value) in (3, 4) and all(isinstance(x, (int, float)) for x in value)
    )


def _array(rows: list[Any]) -> np.ndarray:
    """Return points ``(N, 3 or 4)`` of rows of numbers or of objects."""
    if isinstance(rows[0], dict):
        certain = next((key for key in ("visibility", "score", "confidence") if key in rows[0]), None)
        keys = ("x", "y", "z", certain) if certain else ("x", "y", "z")
        rows = [[row.get(key) for key in keys] for row in rows]
    array = np.array(rows, np.float64)  # of null it makes NaN, which is missing too
    if array.ndim != 2 or array.shape[1] not in (3, 4):
        raise ValueError
    return array
