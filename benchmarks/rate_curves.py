# SPDX-License-Identifier: GPL-3.0-or-later
"""Rate–distortion curves: their fronts, the BD-rate between two, and the rate at which they cross.

A curve is ``(rates, qualities)``: kbit/s, rising, and a quality of which more is better, rising with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

Curve = tuple[np.ndarray, np.ndarray]

_STEPS = 2001  # rates at which two curves are compared to find where they cross


def front(points: Iterable[tuple[float, float]]) -> Curve:
    """Return the points ``(rate, quality)`` that no other one beats in both, by rising rate."""
    kept: list[tuple[float, float]] = []
    for rate, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if not kept or quality > kept[-1][1]:
            kept.append((rate, quality))
    rates, qualities = zip(*kept, strict=True) if kept else ((), ())
    return np.array(rates, float), np.array(qualities, float)


def bd_rate(anchor: Curve, test: Curve) -> dict[str, Any]:
    """Return how much more rate ``test`` needs than ``anchor`` for equal quality (Bjøntegaard, VCEG-M33).

    ``percent`` is negative where ``test`` saves rate. It is the mean over ``overlap``, the interval of
    quality that both reach; ``share`` is that interval's part of the range of qualities of ``test``.
    Where there is none, ``percent`` is None and ``why`` says what is the case.
    """
    import bjontegaard

    if min(len(anchor[0]), len(test[0])) < 2:
        return {"percent": None, "why": "fewer than two points"}
    low, high = max(anchor[1][0], test[1][0]), min(anchor[1][-1], test[1][-1])
    if high <= low:
        better = test[1][0] >= anchor[1][-1]
        return {"percent": None, "why": "better at any rate" if better else "worse at any rate"}
    percent = bjontegaard.bd_rate(
        *(list(values) for values in (*anchor, *test)),
        method="pchip",
        require_matching_points=False,
        min_overlap=0,
    )
    share = (high - low) / (test[1][-1] - test[1][0])
    return {"percent": float(percent), "overlap": [float(low), float(high)], "share": float(share)}


def crossing(ours: Curve, anchor: Curve) -> dict[str, Any]:
    """Return the rate above which ``anchor`` is the better one for good.

    Beyond its last point a curve stays at that quality; below its first it does not exist. ``kind`` is
    ``crosses`` with ``kbps``, where it does; ``always`` if the anchor is better from the lowest rate that
    both reach (``kbps``) on; ``never`` if it is not, up to the highest rate that was measured (``kbps``).
    """
    if not len(ours[0]) or not len(anchor[0]):
        return {"kind": "unmeasured", "kbps": None}
    lowest, highest = max(ours[0][0], anchor[0][0]), max(ours[0][-1], anchor[0][-1])
    rates = np.linspace(np.log(lowest), np.log(highest), _STEPS)
    ahead = np.interp(rates, np.log(ours[0]), ours[1]) > np.interp(rates, np.log(anchor[0]), anchor[1])
    if ahead[-1]:
        return {"kind": "never", "kbps": float(highest)}
    if not ahead.any():
        return {"kind": "always", "kbps": float(lowest)}
    return {"kind": "crosses", "kbps": float(np.exp(rates[np.flatnonzero(ahead)[-1] + 1]))}
