# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays in ``.npz`` files: written in a stream, read from files that anybody may have made or damaged."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

Stream = tuple[tuple[int, ...], Iterable[np.ndarray]]
"""The shape of a float32 array, and the batches along its first axis that it is made of."""

_DENSEST = 1100  # bytes that one byte of a zip file can stand for, by its compression


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], streams: Mapping[str, Stream] = {}) -> None:
    """Write an ``.npz`` file of whole ``arrays`` and of ``streams``, which are never held whole."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
        for name, (shape, batches) in streams.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                for batch in batches:
                    file.write(batch.astype("<f4").tobytes())


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Read those arrays ``names`` that an ``.npz`` file holds: numbers, flags or text.

    Nothing in the file is run, and no shape is believed that the file has not the bytes for. Raises OSError
    where the file cannot be opened, and ValueError, which says what is wrong, where it is damaged or none.
    """
    with path.open("rb") as file:
        try:
            most = _DENSEST * path.stat().st_size
            with zipfile.ZipFile(file) as archive:
                held = set(archive.namelist())
                return {name: _read_array(archive, name, most) for name in names if f"{name}.npy" in held}
        except Exception as error:  # zipfile, its compressions and NumPy raise all kinds for a wrong byte
            raise ValueError(f"it is no whole .npz file of plain arrays ({error})") from error


def read_array(path: Path) -> np.ndarray:
    """Read the one array of an ``.npy`` file, and raise as :func:`read_arrays` does."""
    with path.open("rb") as file:
        try:
            shape, dtype = _read_shape(file)
            _check_shape(shape, dtype, path.stat().st_size, "it")
            file.seek(0)
            return np.lib.format.read_array(file, allow_pickle=False)
        except Exception as error:  # NumPy raises all kinds for a wrong byte
            raise ValueError(f"it is no whole .npy file of plain numbers ({error})") from error


def _read_array(archive: zipfile.ZipFile, name: str, most: int) -> np.ndarray:
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as file:
        shape, dtype = _read_shape(file)
    _check_shape(shape, dtype, min(member.file_size, most), name)
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _read_shape(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError("an array is of an unknown format")
    read_header = (
        np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read_header(file)
    return shape, dtype


def _check_shape(shape: tuple[int, ...], dtype: np.dtype, most: int, name: str) -> None:
    """Raise ValueError for an array that is not plain, or that ``most`` bytes cannot hold."""
    if dtype.hasobject or dtype.kind not in "biufUS":
        raise ValueError(f"{name} holds {dtype}, not numbers or text")
    if min(shape, default=0) < 0 or prod(shape) * max(dtype.itemsize, 1) > most:
        raise ValueError(f"{name} claims the impossible shape {shape}")
