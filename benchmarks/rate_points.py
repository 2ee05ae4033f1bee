# SPDX-License-Identifier: GPL-3.0-or-later
"""Measuring rate against distortion, ours and block codecs', point by point.

Every measurement is kept, and what matters most is measured first.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..inference.decoding.synthesis import FrameSynthesiser
from ..inference.decoding.vertices import VertexDecoder
from ..inference.format.clip import Clip
from ..inference.format.container import REFERENCE_QUALITY, STEP_MM, S2DFile, read_clip, write_clip
from ..inference.runtime.backends import load_network
from ..models.body_catalogue import load_body
from ..models.errors import S2DError
from ..models.shaped_body import ShapedBody
from ..models.shipped import weights_sha256
from . import rate_pictures
from .rate_clips import FPS, FRAMES, Source, prepare
from .rate_codecs import CODECS, MODES, decode, encode
from .rate_metrics import METRICS, REGIONS, PairMetric, PictureMeter, bursts, load_vgg
from .rate_summary import compare, curve, summarise
from .results import Cache, write_results

MOST_KBPS = 400
"""Above this rate no block codec is followed further."""

HALF_SIZE_LEVELS, FULL_SIZE_FROM = 4, 2
"""How many of a block codec's levels are tried at half size, and the first one at full size."""

_FIRST_CLIPS = 4
_TIERS = {"vvc": 0, "x265": 0, "x264": 0, "svtav1": 1, "ra": 0, "ld": 1}
_NETWORKS = ("vertex_predictor.onnx", "reference_encoder.onnx", "generator.onnx")


@dataclass(frozen=True)
class Setting:
    """One operating point of ours: what ``s2d encode`` is asked for."""

    quality: int
    step_mm: float
    references: int

    @property
    def plate_quality(self) -> int:
        """Plate and further references are coded a little coarser than the first, as by default."""
        return max(self.quality - 10, 0)


DEFAULT = Setting(REFERENCE_QUALITY, STEP_MM, 2)  # what `s2d encode` chooses for most clips of ten seconds
SETTINGS = (
    DEFAULT,
    Setting(8, 20, 1),
    Setting(14, 20, 1),
    Setting(10, 20, 2),
    Setting(22, 12, 1),
    Setting(16, 20, 2),
    Setting(22, 16, 2),
    Setting(32, 12, 1),
    Setting(28, 12, 2),
    Setting(45, 12, 2),
    Setting(45, 12, 3),
    Setting(55, 8, 3),
    Setting(70, 6, 4),
)
"""Of what was tried, what was best at its rate: beyond some millimetres bits serve pictures better."""


class _OutOfTime(Exception):
    """The next measurement is not in the cache, and the time is up."""


@dataclass(frozen=True)
class RateOptions:
    """What a run measures, and where to.

    Attributes:
        out: folder of the results.
        data, backgrounds: folders of the assets and of photographs, for rendered clips.
        sizes: pixels a side.
        anchors, modes: of :data:`.rate_codecs.CODECS` and :data:`.rate_codecs.MODES`, by name.
        bursts: runs of neighbouring frames measured of a clip.
        vgg16: torchvision's VGG-16, which adds LPIPS and DISTS.
        minutes: after which nothing is begun.
    """

    out: Path
    data: Path | None = None
    backgrounds: Path | None = None
    sizes: tuple[int, ...] = (256, 384)
    anchors: tuple[str, ...] = tuple(CODECS)
    modes: tuple[str, ...] = tuple(MODES)
    bursts: int = 4
    vgg16: Path | None = None
    minutes: float = float("inf")

    @property
    def work(self) -> Path:
        """Folder of all that is kept from run to run."""
        return self.out / "rate"


class Bench:
    """The measurements of one run, and what is made of them."""

    def __init__(
        self,
        options: RateOptions,
        sources: list[Source],
        settings: tuple[Setting, ...] = SETTINGS,
        frames: int = FRAMES,
    ) -> None:
        self.options, self.sources, self.settings, self.frames = options, sources, settings, frames
        self.cache = Cache(options.work / "points")
        self.deadline = time.monotonic() + 60 * options.minutes
        self.figures: dict[str, Any] = {"settings": self._settings(), "clips": {}, "summary": {}}
        self._vgg = load_vgg()
        self._deep: dict[str, PairMetric] = {}
        if options.vgg16:
            from .deep_metrics import deep_metrics

            self._deep = deep_metrics(options.vgg16)
        self._open: _OpenClip | None = None

    def measure(self) -> None:
        """Go through all jobs, what matters most first, and write the results after each."""
        for size, index, codec, mode in self._jobs():
            source = self.sources[index]
            key = f"{source.name}_{size}"
            try:
                clip = self._opened(source, size)
            except _OutOfTime:
                continue
            entry = self.figures["clips"].setdefault(
                key,
                {
                    "title": source.title,
                    "kind": "rendered" if source.video is None else "filmed",
                    "size": size,
                    "frames": len(clip.prepared.frames),
                    "fps": FPS,
                    "measured_frames": clip.runs,
                    "ours": [],
                    "anchors": {},
                },
            )
            if not entry["ours"]:
                entry["ours"] = list(self._until_time(clip.ours(self.settings)))
            if codec and entry["ours"]:
                points = list(self._until_time(clip.anchor(codec, mode, _best(entry["ours"]))))
                if points:
                    entry["anchors"][f"{codec}-{mode}"] = {
                        "title": f"{CODECS[codec].title}, {MODES[mode]}",
                        "points": points,
                    }
            if not entry["ours"]:
                del self.figures["clips"][key]
            elif time.monotonic() < self.deadline:
                self.report(pictures=False)

    def report(self, pictures: bool) -> None:
        """Compare the curves and write ``rate.json``; with ``pictures`` draw plots and sheets too."""
        for key, entry in self.figures["clips"].items():
            compare(entry)
            if pictures:
                entry["pictures"] = self._draw(key, entry)
        self.figures["summary"] = summarise(self.figures["clips"])
        write_results("rate", self.figures, self.options.out)

    def _jobs(self) -> list[tuple[int, int, str | None, str | None]]:
        """Return ``(size, clip, codec, mode)``: the most telling comparisons first, on all first clips."""
        sizes = self.options.sizes
        jobs: list[tuple[int, int, str | None, str | None]] = [
            (size, index, codec, mode)
            for size in sizes
            for index in range(len(self.sources))
            for codec in self.options.anchors
            for mode in self.options.modes
        ]
        if not self.options.anchors:
            jobs = [(size, index, None, None) for size in sizes for index in range(len(self.sources))]

        def importance(job: tuple[int, int, str | None, str | None]) -> tuple[int, int, int]:
            size, index, codec, mode = job
            tier = (index >= _FIRST_CLIPS) + _TIERS.get(codec or "", 0) + _TIERS.get(mode or "", 0)
            return sizes.index(size), tier, index

        return sorted(jobs, key=importance)

    def _opened(self, source: Source, size: int) -> _OpenClip:
        if self._open is None or self._open.key != (source.name, size):
            self._open = None  # its frames and features are not needed beside the next one's
            self._open = _OpenClip(self, source, size)
        return self._open

    def _until_time(self, points: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        try:
            yield from points
        except _OutOfTime:
            return

    def check_time(self) -> None:
        """Raise :class:`_OutOfTime` once nothing more may be started."""
        if time.monotonic() >= self.deadline:
            raise _OutOfTime

    def meter(self, clip: _OpenClip) -> PictureMeter:
        """Return what measures frames of ``clip``."""
        truths = {number: clip.prepared.frames[number] for number in clip.numbers}
        return PictureMeter(clip.runs, truths, clip.masks, self._vgg, self._deep)

    @property
    def metric_names(self) -> list[str]:
        """The metrics of this run."""
        return [name for name in METRICS if name not in ("lpips", "dists") or name in self._deep]

    def _settings(self) -> dict[str, Any]:
        return {
            "ours": [setting.__dict__ for setting in self.settings],
            "anchors": {
                name: {
                    "title": codec.title,
                    "bits": codec.depth,
                    "options": " ".join(codec.options),
                    "modes": {mode: " ".join(options) for mode, options in codec.modes.items()},
                }
                for name, codec in CODECS.items()
                if name in self.options.anchors
            },
            "bursts": self.options.bursts,
            "metrics": {name: metric.title for name, metric in METRICS.items()},
            "networks": {name: weights_sha256(name) for name in _NETWORKS},
        }

    def _draw(self, key: str, entry: dict[str, Any]) -> dict[str, str]:
        drawn = {"curves": f"rate/curves_{key}.png"}
        rate_pictures.draw_curves(entry, self.options.out / drawn["curves"])
        source = next(s for s in self.sources if f"{s.name}_{entry['size']}" == key)
        if entry["anchors"]:
            drawn["sheet"] = f"rate/sheet_{key}.png"
            columns = self._opened(source, entry["size"]).at_equal_rate(entry)
            rate_pictures.draw_sheet(columns, self.options.out / drawn["sheet"])
        return drawn


class _OpenClip:
    """A clip at one size that is being measured."""

    def __init__(self, bench: Bench, source: Source, size: int) -> None:
        self.key = source.name, size
        self._bench = bench
        options = bench.options
        self.prepared = prepare(
            source,
            size,
            options.work,
            options.data,
            options.backgrounds,
            bench.frames,
            before=bench.check_time,
        )
        self.runs = bursts(len(self.prepared.frames), options.bursts)
        self.numbers = [number for run in self.runs for number in run]
        self._meter: PictureMeter | None = None

    def ours(self, settings: tuple[Setting, ...]) -> Iterator[dict[str, Any]]:
        """Yield the measured points of this project."""
        for setting in settings:
            path = self._write(setting)
            key = {"s2d": hashlib.sha256(path.read_bytes()).hexdigest()} | self._what_is_measured()
            key["networks"] = [weights_sha256(name) for name in _NETWORKS]
            found = self._bench.cache.get(**key)
            if found is None:
                self._bench.check_time()
                found = {"metrics": self._measure(draw(path, self.numbers))}
                self._bench.cache.put(found, **key)
            size = path.stat().st_size
            parts = S2DFile.open(path).sizes()
            yield setting.__dict__ | {"bytes": size, "kbps": self._kbps(size), "parts": parts} | found

    def anchor(self, codec: str, mode: str, best: dict[str, dict[str, float]]) -> Iterator[dict[str, Any]]:
        """Yield the points of a block codec: at half size for the lowest rates, then at full size.

        Half size takes the coarser levels. Full size goes on where half size has been overtaken, up to
        where it equals ``best`` in everything or costs more than :data:`MOST_KBPS`.
        """
        levels = CODECS[codec].levels
        for level in levels[:HALF_SIZE_LEVELS]:
            yield self._anchor_point(codec, mode, level, 2)
        for level in levels[FULL_SIZE_FROM:]:
            point = self._anchor_point(codec, mode, level, 1)
            yield point
            if point["kbps"] > MOST_KBPS or _equals(point["metrics"], best):
                break

    def at_equal_rate(self, entry: dict[str, Any]) -> list[tuple[str, list[np.ndarray]]]:
        """Return titled columns of frames: filmed, ours by default, and each codec at the nearest rate.

        A codec that was measured in both modes is shown in random access; one whose stream is neither kept
        nor to be made in time, not at all. What is shown of it is, of its points that are not beaten in
        VGGcos (HED), the cheapest that costs no less than ours.
        """
        numbers = [run[len(run) // 2] for run in self.runs]
        numbers = [numbers[i] for i in np.linspace(0, len(numbers) - 1, min(4, len(numbers))).astype(int)]
        ours = next((p for p in entry["ours"] if _is(p, DEFAULT)), entry["ours"][0])
        drawn = draw(
            self._write(Setting(*(ours[name] for name in ("quality", "step_mm", "references")))), numbers
        )
        columns = [
            (
                "filmed" if entry["kind"] == "filmed" else "rendered",
                [self.prepared.frames[i] for i in numbers],
            ),
            (f"Sparse2Dense {ours['kbps']:.1f} kbit/s", [drawn[i] for i in numbers]),
        ]
        shown = set()
        for name, anchor in sorted(entry["anchors"].items(), key=lambda item: item[0].endswith("-ld")):
            codec, mode = name.split("-")
            if codec in shown:
                continue
            shown.add(codec)
            point = _nearest(anchor["points"], ours["kbps"])
            stream, _ = self._stream(codec, mode, point["level"], point["shrink"])
            if not stream.is_file():  # its figures were kept, and it was not
                if time.monotonic() >= self._bench.deadline:
                    continue
                encode(self.prepared.video, codec, mode, point["level"], point["shrink"], stream)
            frames = decode(stream, codec, *self.prepared.frames.shape[2:0:-1])
            title = f"{codec} {mode} {point['kbps']:.1f} kbit/s"
            columns.append((title, [frames[i] for i in numbers]))
        return columns

    def _anchor_point(self, codec: str, mode: str, level: int, shrink: int) -> dict[str, Any]:
        stream, options = self._stream(codec, mode, level, shrink)
        key = {"stream": stream.name, "options": options} | self._what_is_measured()
        found = self._bench.cache.get(**key)
        if found is None:
            self._bench.check_time()
            started = time.process_time() + os.times().children_user
            size = (
                stream.stat().st_size
                if stream.is_file()
                else encode(self.prepared.video, codec, mode, level, shrink, stream)
            )
            seconds = time.process_time() + os.times().children_user - started
            frames = decode(stream, codec, *self.prepared.frames.shape[2:0:-1])
            if len(frames) != len(self.prepared.frames):
                raise S2DError(
                    "frames", f"{stream} has {len(frames)} frames instead of {len(self.prepared.frames)}."
                )
            metrics = self._measure({number: frames[number] for number in self.numbers})
            found = {"bytes": size, "encode_seconds": seconds, "metrics": metrics}
            self._bench.cache.put(found, **key)
        return {"level": level, "shrink": shrink, "kbps": self._kbps(found["bytes"])} | found

    def _stream(self, codec: str, mode: str, level: int, shrink: int) -> tuple[Path, str]:
        """Return where a stream lies or will lie, and the options that make it."""
        options = " ".join((*CODECS[codec].options, *CODECS[codec].modes[mode]))
        digest = hashlib.sha256(options.encode()).hexdigest()[:8]
        name = f"{self.prepared.video.stem}_{codec}_{mode}_{level}_{shrink}_{digest}{CODECS[codec].suffix}"
        return self._bench.options.work / "streams" / name, options

    def _write(self, setting: Setting) -> Path:
        captured = self.prepared.captured
        path = (
            self._bench.options.work
            / "streams"
            / (f"{self.prepared.video.stem}_{setting.quality}_{setting.step_mm:g}_{setting.references}.s2d")
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_clip(
            replace(captured, references=captured.references[: setting.references]),
            path,
            step_mm=setting.step_mm,
            reference_quality=setting.quality,
            plate_quality=setting.plate_quality,
        )
        return path

    def _measure(self, pictures: dict[int, np.ndarray]) -> dict[str, dict[str, float]]:
        if self._meter is None:
            self._meter = self._bench.meter(self)
        return self._meter.measure(pictures)

    def _what_is_measured(self) -> dict[str, Any]:
        told = {"clip": self.prepared.video.stem, "runs": self.runs, "metrics": self._bench.metric_names}
        if self.prepared.drawn_masks is None:  # where the person is was found, not drawn
            masks = np.stack([self.masks[number] for number in self.numbers])
            told["masks"] = hashlib.sha256(masks.tobytes()).hexdigest()
        return told

    @cached_property
    def masks(self) -> dict[int, np.ndarray]:
        """Where the person is in the measured frames."""
        return self.prepared.masks(self.numbers)

    def _kbps(self, size: int) -> float:
        return size * 8 / 1000 / self.prepared.seconds


def draw(path: Path, numbers: list[int]) -> dict[int, np.ndarray]:
    """Decode the frames ``numbers`` of a ``.s2d`` as decoding does, ``(H, W, 3)`` uint8 RGB each."""
    clip: Clip = read_clip(path)
    body = load_body(clip.body)
    predictor = VertexDecoder(
        ShapedBody(body, clip.shape), clip.fps, load_network("vertex_predictor", "cpu", 1)
    )

    def posed(frame: int) -> np.ndarray:
        return predictor.predict(clip.keypoints, frame, frame + 1)[0]

    synthesiser = FrameSynthesiser(
        clip,
        body,
        [posed(reference.frame) for reference in clip.references],
        lambda name: load_network(name, "cpu", 1),
    )
    return {number: synthesiser.frame(clip.keypoints[number], posed(number), number) for number in numbers}


def _best(points: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the best that any point reaches in every metric."""
    return {
        region: {
            metric: (max if METRICS[metric].rises else min)(p["metrics"][region][metric] for p in points)
            for metric in points[0]["metrics"][region]
        }
        for region in REGIONS
    }


def _equals(metrics: dict[str, dict[str, float]], best: dict[str, dict[str, float]]) -> bool:
    return all(
        metrics[region][name] >= value if METRICS[name].rises else metrics[region][name] <= value
        for region, values in best.items()
        for name, value in values.items()
    )


def _is(point: dict[str, Any], setting: Setting) -> bool:
    return all(point[name] == value for name, value in setting.__dict__.items())


def _nearest(points: list[dict[str, Any]], kbps: float) -> dict[str, Any]:
    """Return the cheapest unbeaten point that costs at least ``kbps``, else the dearest one."""
    rates = curve(points, "whole", "vggcos")[0]
    unbeaten = [point for point in points if point["kbps"] in rates]
    return min(unbeaten, key=lambda p: (p["kbps"] < kbps, abs(p["kbps"] - kbps)))
