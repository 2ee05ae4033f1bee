# SPDX-License-Identifier: GPL-3.0-or-later
"""Keypoints as a TRC file, OpenSim's table of markers: millimetres, y up."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from ...models.keypoints import KEYPOINT_NAMES


def write_trc(path: Path, keypoints: np.ndarray, fps: Fraction, title: str) -> None:
    """Write keypoints ``(T, 23, 3)``, metres with y up (:mod:`.standing`).

    ``title`` is the name by which the file knows itself. OSError where the file cannot be written.
    """
    frames, markers = keypoints.shape[:2]
    rate = f"{float(fps):.10g}"
    columns = "".join(f"\tX{marker}\tY{marker}\tZ{marker}" for marker in range(1, markers + 1))
    head = [
        f"PathFileType\t4\t(X/Y/Z)\t{' '.join(title.split())}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        f"{rate}\t{rate}\t{frames}\t{markers}\tmm\t{rate}\t1\t{frames}",
        "Frame#\tTime\t" + "\t\t\t".join(KEYPOINT_NAMES) + "\t\t",
        f"\t{columns}",
        "",
        "",
    ]
    number = np.arange(frames)
    table = np.column_stack([number + 1, number / float(fps), 1000 * keypoints.reshape(frames, -1)])
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\n".join(head))
        np.savetxt(file, table, ["%d", "%.9f", *["%.3f"] * (3 * markers)], delimiter="\t")
