# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks that ``s2d bench rate`` measures rightly, on pictures and clips of a few frames (``--quick``)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from ..models.errors import S2DError
from . import rate_clips, rate_codecs
from .rate_curves import bd_rate, crossing, front
from .rate_metrics import METRICS, PERSON_MARGIN, PictureMeter, bursts, load_vgg, vmaf
from .rate_points import DEFAULT, Bench, RateOptions
from .rate_summary import tables

_PERFECT = {"vggcos": 0, "ssimulacra2": 100, "flip": 0, "ms_ssim": 1, "temporal": 0}
_SIDE = 192

Check = tuple[str, bool]


def run_checks(out: Path) -> None:
    """Run all checks, print them, and raise S2DError if one fails."""
    torch.set_num_threads(1)
    failed = []
    for check in (_metrics, _curves, _anchors, _whole_way):
        for told, passed in check(Path(out) / "quick"):
            print(f"{'ok  ' if passed else 'FAIL'} {told}", flush=True)
            failed += [] if passed else [told]
    if failed:
        raise S2DError("checks", f"{len(failed)} checks of the measuring failed: {'; '.join(failed)}")


def _metrics(_: Path) -> Iterator[Check]:
    """Pictures of a textured disc before a textured wall, both moving; the disc is the person."""
    frames, mask = _moving_pictures(3)
    runs = bursts(len(frames), 1)
    numbered = dict(enumerate(frames))
    meter = PictureMeter(runs, numbered, dict.fromkeys(numbered, mask), load_vgg())

    def measure(distort: Callable[[np.ndarray], np.ndarray]) -> dict[str, dict[str, float]]:
        return meter.measure({number: distort(frame) for number, frame in numbered.items()})

    same = measure(lambda frame: frame)
    noise = np.random.default_rng(1)
    ordered = {
        "blur": [measure(lambda frame, s=s: cv2.GaussianBlur(frame, (0, 0), s)) for s in (1, 3)],
        "noise": [
            measure(
                lambda frame, s=s: np.clip(frame + noise.normal(0, s, frame.shape), 0, 255).astype(np.uint8)
            )
            for s in (4, 16)
        ],
    }
    away = cv2.dilate(mask, np.ones((4 * PERSON_MARGIN + 1,) * 2, np.uint8)) == 0
    elsewhere = measure(lambda frame: np.where(away[..., None], 255 - frame, frame))
    for metric in same["whole"]:
        title = METRICS[metric].title
        for region, values in same.items():
            if metric in _PERFECT:
                perfect = abs(values[metric] - _PERFECT[metric]) < 1e-3
                yield f"{title} of the same pictures ({region}) is {_PERFECT[metric]}", perfect
        sign = 1 if METRICS[metric].rises else -1
        for kind, (weak, strong) in ordered.items():
            for region in same:
                values = [sign * found[region][metric] for found in (same, weak, strong)]
                yield (
                    f"{title} ({region}): the same is better than little {kind}, little than much",
                    values[0] > values[1] > values[2],
                )
        yield (
            f"{title} of the person does not see what happens elsewhere",
            abs(elsewhere["person"][metric] - same["person"][metric]) < 1e-3
            and sign * elsewhere["whole"][metric] < sign * same["whole"][metric],
        )
    yield "VMAF of the same pictures is above 95", vmaf(frames, frames) > 95


def _curves(_: Path) -> Iterator[Check]:
    rates, qualities = np.array([4.0, 7, 13, 30, 61]), np.array([20.0, 24, 27, 31, 33])
    base = front(zip(rates, qualities, strict=True))
    shifted = front(zip(1.1 * rates, qualities, strict=True))
    yield "BD-rate of a curve against itself is 0", abs(bd_rate(base, base)["percent"]) < 1e-9
    yield "BD-rate of a curve at 10 % more rate is 10 %", abs(bd_rate(base, shifted)["percent"] - 10) < 1e-6
    above = front(zip(rates, qualities + 20, strict=True))
    yield "curves without common qualities have no BD-rate", bd_rate(base, above)["percent"] is None
    flat = front([(4, 26), (5, 27)])
    yield "curves cross where they were made to", abs(crossing(flat, base)["kbps"] - 13) < 0.05
    yield "a beaten point is not on the front", len(front([(1, 1), (2, 0.5), (3, 2)])[0]) == 2


def _anchors(out: Path) -> Iterator[Check]:
    frames = np.stack(_moving_pictures(12)[0])
    video = out / "pictures.mkv"
    rate_codecs.write_lossless(frames, video, rate_clips.FPS)
    for name, codec in rate_codecs.CODECS.items():
        for mode in codec.modes:
            sizes, errors = [], []
            for level in (codec.levels[1], codec.levels[-3]):
                stream = out / f"{name}_{mode}_{level}{codec.suffix}"
                sizes.append(rate_codecs.encode(video, name, mode, level, 1, stream))
                decoded = rate_codecs.decode(stream, name, _SIDE, _SIDE)
                errors.append(np.abs(decoded.astype(int) - frames).mean())
                yield (
                    f"{name} {mode} at {level}: counted bytes are the file's, all frames come back",
                    sizes[-1] == len(stream.read_bytes()) > 0 and decoded.shape == frames.shape,
                )
            yield (
                f"{name} {mode}: more bytes bring it closer",
                sizes[0] < sizes[1] and errors[0] > errors[1] < 6,
            )


def _whole_way(out: Path) -> Iterator[Check]:
    """One point of ours and the points of one anchor, on 16 frames of the packaged clip."""
    options = RateOptions(out, sizes=(192,), anchors=("x264",), modes=("ra",), bursts=1)
    source = rate_clips.Source("balance", "packaged clip", rate_clips.PACKAGED)
    bench = Bench(options, [source], settings=(DEFAULT,), frames=16)
    bench.measure()
    bench.report(pictures=True)
    found = json.loads((out / "rate.json").read_text(encoding="utf-8"))["clips"]["balance_192"]
    (ours,) = found["ours"]
    points = found["anchors"]["x264-ra"]["points"]
    sizes = {path.stat().st_size for path in (out / "rate" / "streams").iterdir()}
    yield "ours: the parts add up to all bytes of the file", ours["bytes"] == ours["parts"]["total"]
    yield "all bytes are those of the files", {ours["bytes"], *(p["bytes"] for p in points)} <= sizes
    yield "the rate is bytes over time", np.isclose(ours["kbps"], ours["bytes"] * 8 / 1000 / (16 / 25))
    yield "ours resembles what was filmed", ours["metrics"]["whole"]["psnr"] > 20
    yield "the anchor was followed up to our quality", len(points) > 2
    yield (
        "curves and sheet were drawn",
        all((out / name).stat().st_size > 1000 for name in found["pictures"].values()),
    )
    yield "the tables hold a row for the anchor", any("x264-ra" in line for line in tables(bench.figures))


def _moving_pictures(count: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Return ``count`` textured ``(H, W, 3)`` uint8 pictures and where the disc is in all of them."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (2, 24, 24, 3)).astype(np.uint8)
    wall, cloth = (
        cv2.resize(c, (_SIDE + count, _SIDE + count), interpolation=cv2.INTER_CUBIC) for c in coarse
    )
    mask = cv2.circle(np.zeros((_SIDE, _SIDE), np.uint8), (_SIDE // 2, _SIDE // 2), _SIDE // 5, 255, -1)
    frames = [
        np.where(
            mask[..., None] > 0,
            cloth[i : i + _SIDE, count - i : count - i + _SIDE],
            wall[:_SIDE, i : i + _SIDE],
        )
        for i in range(count)
    ]
    return frames, mask
