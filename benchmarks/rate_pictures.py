# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``s2d bench rate`` draws: the curves of a clip, and its frames side by side at equal rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..models.whole_files import write_whole
from .rate_metrics import METRICS, REGIONS
from .rate_summary import curve
from .results import save_figure

_COLOURS = {"vvc": "tab:red", "x265": "tab:blue", "x264": "tab:green", "svtav1": "tab:purple"}
_STYLES = {"ra": "-", "ld": ":"}
_TITLE_PIXELS = 22


def draw_curves(entry: dict[str, Any], path: Path) -> None:
    """Draw every metric over the rate, on both regions; ``entry`` is a clip's of ``rate.json``."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    names = list(entry["ours"][0]["metrics"]["whole"])
    figure, axes = pyplot.subplots(
        len(REGIONS), len(names), figsize=(3.2 * len(names), 6.2), squeeze=False, sharex=True
    )
    for row, region in zip(axes, REGIONS, strict=True):
        for axis, metric in zip(row, names, strict=True):
            curves = {"Sparse2Dense": (entry["ours"], {"color": "black", "marker": "o", "linewidth": 2})}
            for name, anchor in entry["anchors"].items():
                codec, mode = name.split("-")
                style = {"color": _COLOURS[codec], "linestyle": _STYLES[mode], "marker": "."}
                curves[name] = anchor["points"], style
            for label, (points, style) in curves.items():
                rates, values = curve(points, region, metric)
                axis.plot(rates, values if METRICS[metric].rises else -values, label=label, **style)
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
            axis.xaxis.set_minor_formatter(ticker.NullFormatter())
            axis.set_title(f"{METRICS[metric].title} {METRICS[metric].arrow}", fontsize=9)
            axis.grid(alpha=0.3, which="both")
            axis.tick_params(labelsize=7)
        row[0].set_ylabel("whole picture" if region == "whole" else "person")
    for axis in axes[-1]:
        axis.set_xlabel("kbit/s", fontsize=8)
    axes[0, 0].legend(fontsize=6)
    figure.suptitle(f"{entry['title']}, {entry['size']}x{entry['size']}, {entry['fps']} frames/s")
    figure.tight_layout()
    save_figure(figure, path)


def draw_sheet(columns: list[tuple[str, list[np.ndarray]]], path: Path) -> None:
    """Write titled columns of ``(H, W, 3)`` uint8 RGB frames beside one another as a PNG."""
    drawn = []
    for title, frames in columns:
        head = np.full((_TITLE_PIXELS, frames[0].shape[1], 3), 255, np.uint8)
        place, font = (4, _TITLE_PIXELS - 7), cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(head, title, place, font, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
        drawn.append(np.vstack([head, *frames]))
    coded = cv2.imencode(".png", cv2.cvtColor(np.hstack(drawn), cv2.COLOR_RGB2BGR))[1]
    write_whole(path, coded.tobytes())
