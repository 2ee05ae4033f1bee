# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``s2d bench rate`` concludes from its points: comparisons by clip, over all clips, and as tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from .rate_curves import Curve, bd_rate, crossing, front
from .rate_metrics import METRICS, REGIONS


def compare(entry: dict[str, Any]) -> None:
    """Put ``bd_rate`` (ours against it) and ``crossing`` beside the points of every anchor of a clip."""
    for anchor in entry["anchors"].values():
        anchor["bd_rate"] = {region: {} for region in REGIONS}
        anchor["crossing"] = {region: {} for region in REGIONS}
        for region in REGIONS:
            for metric in entry["ours"][0]["metrics"][region]:
                ours, theirs = curve(entry["ours"], region, metric), curve(anchor["points"], region, metric)
                found = bd_rate(theirs, ours)
                if "overlap" in found and not METRICS[metric].rises:
                    found["overlap"] = sorted(-value for value in found["overlap"])
                anchor["bd_rate"][region][metric] = found
                anchor["crossing"][region][metric] = crossing(ours, theirs)


def curve(points: list[dict[str, Any]], region: str, metric: str) -> Curve:
    """Return the front of ``points`` in one metric; where less is better its sign is turned."""
    sign = 1 if METRICS[metric].rises else -1
    return front((point["kbps"], sign * point["metrics"][region][metric]) for point in points)


def summarise(clips: dict[str, Any]) -> dict[str, Any]:
    """Return, by size, kind of clip, anchor, region and metric, what comes out over the clips.

    ``bd_rate`` is the mean percent over the ``clips`` in which both curves reach common qualities
    (``better`` and ``worse`` count those in which ours has the better or the worse of it at any rate).
    ``crossing`` is the median kbit/s above which the anchor wins, a clip in which it always or never does
    counting with the end of what was measured; ``always`` and ``never`` count those.
    """
    summary: dict[str, Any] = {}
    for size in sorted({entry["size"] for entry in clips.values()}):
        for kind in ("all", "filmed", "rendered"):
            chosen = [e for e in clips.values() if e["size"] == size and kind in ("all", e["kind"])]
            names = sorted({name for entry in chosen for name in entry["anchors"]})
            summary.setdefault(str(size), {})[kind] = {
                name: {
                    region: {
                        metric: _over_clips([e["anchors"][name] for e in chosen if name in e["anchors"]], *at)
                        for metric in chosen[0]["ours"][0]["metrics"][region]
                        for at in [(region, metric)]
                    }
                    for region in REGIONS
                }
                for name in names
            }
    return summary


def _over_clips(anchors: list[dict[str, Any]], region: str, metric: str) -> dict[str, Any]:
    rates = [anchor["bd_rate"][region][metric] for anchor in anchors]
    crossings = [anchor["crossing"][region][metric] for anchor in anchors]
    percents = [found["percent"] for found in rates if found["percent"] is not None]
    why = [found.get("why") for found in rates]
    kinds = [found["kind"] for found in crossings]
    return {
        "clips": len(anchors),
        "bd_rate": float(np.mean(percents)) if percents else None,
        "overlapping": len(percents),
        "better": why.count("better at any rate"),
        "worse": why.count("worse at any rate"),
        "crossing": float(np.median([found["kbps"] for found in crossings])),
        "always": kinds.count("always"),
        "never": kinds.count("never"),
    }


def tables(figures: dict[str, Any]) -> list[str]:
    """Return the summary as lines of Markdown: BD-rate, and where each anchor overtakes."""
    lines = []
    for size, kinds in figures["summary"].items():
        for region in REGIONS:
            names = kinds["all"]
            if not names:
                continue
            metrics = list(next(iter(names.values()))[region])
            titles = [f"{METRICS[metric].title} {METRICS[metric].arrow}" for metric in metrics]
            lines += [
                f"**{size}x{size}, {'whole picture' if region == 'whole' else 'person'}**: BD-rate of "
                "Sparse2Dense (negative: it saves) | kbit/s above which the other wins",
                "",
                f"| against | clips | {' | '.join(titles)} |",
                "| --- | --- |" + " --- |" * len(metrics),
            ]
            for name, found in names.items():
                cells = [_cell(found[region][metric]) for metric in metrics]
                lines.append(f"| {name} | {found[region][metrics[0]]['clips']} | {' | '.join(cells)} |")
            lines.append("")
    return lines


def _cell(found: dict[str, Any]) -> str:
    if found["bd_rate"] is None:
        saved = "better" if found["better"] > found["worse"] else "worse"
    else:
        saved = f"{found['bd_rate']:+.0f} % ({found['overlapping']})"
    if found["always"] == found["clips"]:
        return f"{saved}; from {found['crossing']:.1f}"
    if found["never"] == found["clips"]:
        return f"{saved}; none to {found['crossing']:.0f}"
    return f"{saved}; {found['crossing']:.1f}"
