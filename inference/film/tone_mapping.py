# SPDX-License-Identifier: GPL-3.0-or-later
"""What a screen shows of pictures that are brighter and more colourful than it (PQ and HLG, ITU-R BT.2100).

As players do it: light of up to 1,000 nits is compressed to the 203 nits of a screen's white by the curve of
ITU-R BT.2390 (5.4.1), which leaves darker than 90 nits as it is, and the colours of BT.2020 become those of
BT.709.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

_SIDE = 33  # of the cube: an error of less than one in 255 between its points
_PEAK, _WHITE = 1000.0, 203.0  # nits
_TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593])
_M1, _M2, _C1, _C2, _C3 = 1305 / 8192, 2523 / 32, 107 / 128, 2413 / 128, 2392 / 128


@cache
def cube_file(transfer: str) -> Path:
    """Write the map of all ``pq`` or ``hlg`` colours for libavfilter's ``lut3d``; returns its path."""
    folder = tempfile.mkdtemp(prefix="sparse2dense-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    axis = np.linspace(0, 1, _SIDE)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")  # red changes fastest
    signal = np.stack([red, green, blue], axis=-1).reshape(-1, 3)
    path = Path(folder) / f"{transfer}.cube"
    np.savetxt(path, to_screen(signal, transfer), "%.6f", header=f"LUT_3D_SIZE {_SIDE}", comments="")
    return path


def to_screen(signal: np.ndarray, transfer: str) -> np.ndarray:
    """Return sRGB ``(..., 3)`` of BT.2020 signals ``(..., 3)`` of ``pq`` or ``hlg``, all from 0 to 1."""
    light = _pq_light(signal) if transfer == "pq" else _hlg_light(signal)  # nits
    brightest = light.max(axis=-1, keepdims=True)
    light = light * _compressed(brightest) / np.maximum(brightest, 1e-6)
    linear = np.clip(light / _WHITE @ _TO_BT709.T, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _pq_light(signal: np.ndarray) -> np.ndarray:
    root = signal ** (1 / _M2)
    return 10_000 * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1)


def _pq_signal(light: np.ndarray | float) -> np.ndarray:
    root = (np.asarray(light) / 10_000) ** _M1
    return ((_C1 + _C2 * root) / (1 + _C3 * root)) ** _M2


def _hlg_light(signal: np.ndarray) -> np.ndarray:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return _PEAK * (scene @ _LUMINANCE)[..., None] ** 0.2 * scene


def _compressed(light: np.ndarray) -> np.ndarray:
    """Return light of at most the screen's white; BT.2390's curve for a black of 0."""
    peak = _pq_signal(_PEAK)
    signal, most = np.minimum(_pq_signal(light) / peak, 1), _pq_signal(_WHITE) / peak
    knee = 1.5 * most - 0.5
    t = np.maximum(signal - knee, 0) / (1 - knee)
    curve = (
        (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    )
    return _pq_light(np.where(signal < knee, signal, curve) * peak)
