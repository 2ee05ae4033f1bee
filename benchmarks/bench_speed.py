# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures how long every stage takes, and how much memory the whole way needs: ``s2d bench speed``.

Stages are timed in this process, each alone, on the packaged clip; the whole way is the command line itself
in a process of its own, watched from outside. Longer clips are the packaged one walked to and fro, larger
canvases the same clip scaled. Beside the time on the clock stands the processor's, which other work on the
machine changes less.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..inference.capture.pipeline import CaptureOptions
from ..inference.decoding.point_cache import write_pc2
from ..inference.decoding.synthesis import FrameSynthesiser
from ..inference.decoding.vertices import BATCH, VertexDecoder
from ..inference.demo import PACKAGED_CLIP
from ..inference.encode import encode_video
from ..inference.film.reader import canvas_size
from ..inference.film.writer import VideoWriter
from ..inference.format import keypoint_coding, picture_coding
from ..inference.format.clip import Clip, Reference
from ..inference.format.container import STEP_MM, read_clip, write_clip
from ..inference.runtime.backends import Network, load_network
from ..models.body_catalogue import load_body
from ..models.camera import Camera
from ..models.errors import S2DError
from ..models.outputs import JSON, Kind
from ..models.shaped_body import ShapedBody
from .results import OUT, write_results

RUNS = 3
STEP_UM = round(1000 * STEP_MM)
LONG_SECONDS = 10
_PACKAGE = __package__.rpartition(".")[0]
_FPS = Fraction(25)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``s2d bench speed``."""
    parser.add_argument("--threads", type=int, default=1, help="of the processor, for the networks")
    parser.add_argument("--runs", type=int, default=RUNS, help="of which the median is taken")
    parser.add_argument(
        "--mesh-seconds", type=float, nargs="*", default=[10, 60, 600], help="clips decoded to meshes"
    )
    parser.add_argument(
        "--video-seconds", type=float, nargs="*", default=[10, 60], help="clips decoded to mesh and video"
    )
    parser.add_argument("--sizes", type=int, nargs="*", default=[256, 384, 512], help="short sides, pixels")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="where the results go")
    parser.add_argument("--quick", action="store_true", help="one run of short clips, to try the measurement")


def outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    """Return the files that :func:`run` writes, each with its kind."""
    return {args.out / "speed.json": JSON}


def run(args: argparse.Namespace) -> None:
    """Measure everything, print the tables and write the figures."""
    if args.quick:
        args.runs, args.mesh_seconds, args.video_seconds, args.sizes = 1, [1, 2], [0.5], [256]
    with tempfile.TemporaryDirectory(dir=args.out if args.out.is_dir() else None) as folder:
        work = Path(folder)
        encoding = measure_encoding(work / "clip.s2d", args.runs, 1.0 if args.quick else None)
        clip = read_clip(work / "clip.s2d")
        stages, networks = measure_stages(clip, args.threads, args.runs)
        results = {
            "quick": args.quick,
            "threads": args.threads,
            "runs": args.runs,
            "blas_threads": os.environ.get("OMP_NUM_THREADS", "all"),
            "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            "clip": {"name": PACKAGED_CLIP.name, "frames": clip.frames, "size": [clip.width, clip.height]},
            "encoding": encoding,
            "stages": stages,
            "runtimes": measure_runtimes(networks, args.threads, args.runs),
            "modules": measure_modules(networks),
            "sizes": measure_sizes(clip, args.sizes, args.threads, args.runs),
            "mesh": [
                measure_decoding(clip, seconds, "mesh", work, args.threads, args.runs)
                for seconds in args.mesh_seconds
            ],
            "video": [
                measure_decoding(clip, seconds, None, work, args.threads, args.runs)
                for seconds in args.video_seconds
            ],
        }
    print("\n".join(tables(results)))
    write_results("speed", results, args.out)


# ---- what is timed ---------------------------------------------------------------------------


def timed(work: Callable[[], Any], runs: int, count: int = 1) -> dict[str, float]:
    """Return the median milliseconds of each of ``count`` units of ``work``, by clock and by processor."""
    wall, processor = [], []
    for _ in range(runs):
        begun, used = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - begun)
        processor.append(time.process_time() - used)
    return {
        "wall_ms": 1000 * statistics.median(wall) / count,
        "processor_ms": 1000 * statistics.median(processor) / count,
    }


class _StageClock:
    """Adds up the seconds that pass while each stage reports its progress."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stage, self._since = "", 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.perf_counter()
        if self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now


def measure_encoding(path: Path, runs: int, end: float | None) -> dict[str, Any]:
    """Encode the packaged clip to ``path``; return milliseconds a frame of capture's stages and of coding."""
    wall, processor, stages = [], [], []
    for _ in range(runs):
        clock, begun, used = _StageClock(), time.perf_counter(), time.process_time()
        result = encode_video(PACKAGED_CLIP, path, CaptureOptions(end=end), progress=clock)
        wall.append(time.perf_counter() - begun)
        processor.append(time.process_time() - used)
        stages.append(clock.seconds | {"code": result.seconds["code"]})
    frames = result.frames
    return {
        "frames": frames,
        "wall_ms": 1000 * statistics.median(wall) / frames,
        "processor_ms": 1000 * statistics.median(processor) / frames,
        "stages_wall_ms": {
            name: 1000 * statistics.median(seconds.get(name, 0.0) for seconds in stages) / frames
            for name in stages[0]
        },
    }


class _Recorder:
    """A network that remembers what it was last called with."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.inputs: dict[str, np.ndarray] = {}

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        self.inputs = inputs
        return self._network(**inputs)


def measure_stages(
    clip: Clip, threads: int, runs: int
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, np.ndarray]]]:
    """Time every stage of decoding and of coding alone; return also what each network was called with."""
    recorders: dict[str, _Recorder] = {}

    def load(name: str) -> _Recorder:
        return recorders.setdefault(name, _Recorder(load_network(name, "cpu", 1)))

    body, reference = load_body(clip.body), clip.references[0]
    predictor = VertexDecoder(ShapedBody(body, clip.shape), clip.fps, load("vertex_predictor"))
    frames = min(clip.frames, BATCH)
    keypoints = clip.keypoints[:frames]
    vertices = predictor.predict(clip.keypoints, 0, frames)
    group = keypoint_coding.encode_sparsely(clip.keypoints, STEP_UM)
    picture = picture_coding.encode_picture(reference.picture, 35)
    posed = [predictor.predict(clip.keypoints, item.frame, item.frame + 1)[0] for item in clip.references]
    synthesiser = FrameSynthesiser(clip, body, posed, load, threads)
    drawn = [synthesiser.frame(*pose) for pose in zip(keypoints, vertices, strict=True)]
    encoder = recorders["reference_encoder"]
    encoder_inputs = encoder.inputs

    def write_cache(folder: Path) -> None:
        write_pc2(folder / "mesh.pc2", frames, len(body.vertices_mean), [vertices])

    def write_video(folder: Path) -> None:
        with VideoWriter(folder / "video.webm", clip.fps, clip.width, clip.height) as video:
            for frame in drawn:
                video.write(frame)

    def draw() -> None:
        for _ in synthesiser.frames(zip(keypoints, vertices, strict=True)):
            pass

    generator = recorders["generator"]
    generator_inputs = generator.inputs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stages = {
            "code keypoints": timed(
                lambda: keypoint_coding.encode_sparsely(clip.keypoints, STEP_UM), runs, clip.frames
            ),
            "decode keypoints": timed(
                lambda: keypoint_coding.decode_group(group.data, clip.frames, STEP_UM, group.spacing),
                runs,
                clip.frames,
            ),
            "vertices": timed(lambda: predictor.predict(clip.keypoints, 0, frames), runs, frames),
            "write point cache": timed(lambda: write_cache(folder), runs, frames),
            "draw the picture": timed(draw, runs, frames),
            "of that, generator": timed(lambda: generator(**generator_inputs), 5 * runs),
            "write video": timed(lambda: write_video(folder), runs, frames),
            "once a clip: code reference": timed(
                lambda: picture_coding.encode_picture(reference.picture, 35), runs
            ),
            "once a clip: decode reference": timed(
                lambda: picture_coding.decode_picture(picture, clip.width, clip.height), runs
            ),
            "once a clip: encode its features": timed(lambda: encoder(**encoder_inputs), runs),
        }
    inputs = {
        "vertex_predictor": recorders["vertex_predictor"].inputs,
        "reference_encoder": encoder_inputs,
        "generator": generator_inputs,
    }
    return stages, inputs


def measure_runtimes(
    networks: dict[str, dict[str, np.ndarray]], threads: int, runs: int
) -> dict[str, dict[str, float]]:
    """Return the clock's milliseconds a call of every network by every runtime that is here."""
    try:
        import torch
        from torch.backends import mps

        from ..inference.runtime.backend_torch import TorchNetwork
    except ImportError:
        loaders = {}
    else:
        torch.set_num_threads(threads)
        usable = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": mps.is_available()}
        loaders = {
            f"PyTorch, {device}": lambda name, device=device: TorchNetwork(name, device)
            for device, there in usable.items()
            if there
        }
    loaders = {"ONNX Runtime, cpu": lambda name: load_network(name, "cpu", threads)} | loaders
    results: dict[str, dict[str, float]] = {}
    for name, inputs in networks.items():
        for runtime, load in loaders.items():
            call = functools.partial(load(name), **inputs)
            call()  # the first one also allocates
            results.setdefault(name, {})[runtime] = timed(call, 5 * runs)["wall_ms"]
    return results


def measure_modules(networks: dict[str, dict[str, np.ndarray]]) -> dict[str, dict[str, float]]:
    """Return weights (millions) and GMAC of every network and of the dense motion inside the generator.

    Multiplications of convolutions and matrix products are counted, for the inputs of one real frame. Empty
    where PyTorch is not installed.
    """
    try:
        from torch.utils.flop_counter import FlopCounterMode

        from ..inference.runtime.backend_torch import TorchNetwork
    except ImportError:
        return {}
    from safetensors.numpy import load_file

    from ..models.shipped import weights_path

    results = {}
    for name, inputs in networks.items():
        network = TorchNetwork(name, "cpu")
        with FlopCounterMode(display=False) as counter:
            network(**inputs)
        weights = load_file(weights_path(f"{name}.safetensors"))
        batch = len(inputs["windows"]) if "windows" in inputs else 1
        flops = {name: counter.get_total_flops()}
        inside = counter.get_flop_counts().get("Generator.dense_motion")
        if inside:
            flops["of that, dense_motion"] = sum(inside.values())
        for part, count in flops.items():
            prefix = "dense_motion." if part != name else ""
            size = sum(value.size for key, value in weights.items() if key.startswith(prefix))
            results[part] = {"million_weights": size / 1e6, "gmac": count / 2e9 / batch}
    return results


# ---- how it grows ----------------------------------------------------------------------------


def lengthened(clip: Clip, frames: int) -> Clip:
    """Return the clip walked to and fro until it has so many frames."""
    order = np.pad(np.arange(clip.frames), (0, max(frames - clip.frames, 0)), mode="reflect")[:frames]
    references = [dataclasses.replace(item, frame=0) for item in clip.references]
    certainty = None if clip.certainty is None else clip.certainty[order]
    keypoints = clip.keypoints[order]
    return dataclasses.replace(clip, keypoints=keypoints, references=references, certainty=certainty)


def scaled(clip: Clip, size: int) -> Clip:
    """Return the clip on a canvas whose short side is ``size`` pixels."""
    width, height = canvas_size(clip.width, clip.height, size)
    x, y = width / clip.width, height / clip.height
    camera = clip.camera

    def resize(picture: np.ndarray) -> np.ndarray:
        return cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)

    return dataclasses.replace(
        clip,
        width=width,
        height=height,
        camera=Camera(camera.fx * x, camera.fy * y, camera.cx * x, camera.cy * y),
        references=[
            Reference(item.frame, resize(item.picture), resize(item.mask)) for item in clip.references
        ],
        plate=None if clip.plate is None else resize(clip.plate),
    )


def measure_sizes(clip: Clip, sizes: list[int], threads: int, runs: int) -> list[dict[str, Any]]:
    """Return what drawing a picture takes on canvases of several sizes."""
    body, results = load_body(clip.body), []
    predictor = VertexDecoder(
        ShapedBody(body, clip.shape), clip.fps, load_network("vertex_predictor", "cpu", threads)
    )
    vertices = predictor.predict(clip.keypoints, 0, clip.frames)
    posed = [vertices[item.frame] for item in clip.references]
    keypoints, vertices = clip.keypoints[:: clip.frames // 8], vertices[:: clip.frames // 8]
    for size in sizes:
        larger = scaled(clip, size)
        synthesiser = FrameSynthesiser(
            larger, body, posed, lambda name: load_network(name, "cpu", 1), threads
        )

        def draw(synthesiser: FrameSynthesiser = synthesiser) -> None:
            for _ in synthesiser.frames(zip(keypoints, vertices, strict=True)):
                pass

        results.append({"size": [larger.width, larger.height], **timed(draw, runs, len(keypoints))})
    return results


def measure_decoding(
    clip: Clip, seconds: float, only: str | None, work: Path, threads: int, runs: int
) -> dict[str, Any]:
    """Decode a clip of so many seconds by the command line; return seconds and the peak of its memory.

    Clips longer than :data:`LONG_SECONDS` are decoded once.
    """
    path, folder = work / "long.s2d", work / "decoded"
    frames = round(seconds * _FPS)
    longer = dataclasses.replace(lengthened(clip, frames), fps=_FPS)
    if only == "mesh":
        longer = dataclasses.replace(longer, references=[], plate=None)
    size = write_clip(longer, path)["total"]
    arguments = ["decode", str(path), "-o", str(folder), "--threads", str(threads), "--device", "cpu"]
    arguments += ["--only", only] if only else []
    measured, written = [], 0
    for _ in range(runs if seconds <= LONG_SECONDS else 1):
        measured.append(watched(arguments))
        written = sum(file.stat().st_size for file in folder.iterdir())
        shutil.rmtree(folder)  # decoding would keep what is there
    return {
        "clip_seconds": seconds,
        "frames": frames,
        "bytes": size,
        "written_bytes": written,
        "runs": len(measured),
        "seconds": statistics.median(one["seconds"] for one in measured),
        "processor_seconds": _median(one["processor_seconds"] for one in measured),
        "peak_mib": _median(one["peak_mib"] for one in measured),
    }


def watched(arguments: Sequence[str]) -> dict[str, float | None]:
    """Run ``s2d`` in a process of its own; return what :mod:`.watched` says of it."""
    command = [sys.executable, "-m", f"{_PACKAGE}.inference", *arguments]
    done = subprocess.run(
        [sys.executable, "-m", f"{__package__}.watched", *command], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    if found["error"]:
        raise S2DError("bench", f"s2d {' '.join(arguments)}: {found['error']}")
    return found


def _median(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


# ---- what people read ------------------------------------------------------------------------


def summary(results: dict[str, Any]) -> list[str]:
    """Return the whole way's rates, and how memory grows with the clip's length."""
    threads = results["threads"]
    lines = [
        f"Decoding {row['clip_seconds']:g} s {what}, {threads} thread(s): {row['seconds']:.1f} s, "
        f"{row['frames'] / row['seconds']:.0f} frames a second."
        for kind, what in (("mesh", "to the mesh"), ("video", "to mesh and video"))
        for row in results[kind][:1]
    ]
    peaks = [(row["clip_seconds"], row["peak_mib"]) for row in results["mesh"] if row["peak_mib"]]
    if len(peaks) > 1:
        shown = ", ".join(f"{peak:.0f} MiB at {seconds:g} s" for seconds, peak in peaks)
        lines.append(f"Memory of decoding the mesh, at its peak: {shown}.")
    return lines


def tables(results: dict[str, Any]) -> list[str]:
    """Return the lines of Markdown that say what was measured, and how it came out."""
    clip, encoding = results["clip"], results["encoding"]
    lines = [
        f"{clip['name']}, {clip['frames']} frames of {'x'.join(map(str, clip['size']))}; networks on "
        f"{results['threads']} thread(s), BLAS on {results['blas_threads']}, the median of {results['runs']} "
        f"run(s); load average when it began {results['load_before'] or 0:.1f}. *Clock* includes waiting for "
        "other work on the machine, *processor* does not. Milliseconds are a frame's, but for *once a clip*.",
        "",
        "| stage | clock ms | processor ms |",
        "| --- | ---: | ---: |",
        f"| **encode, the whole way** | {encoding['wall_ms']:.1f} | {encoding['processor_ms']:.1f} |",
    ]
    lines += [f"| encode: {name} | {ms:.1f} | |" for name, ms in encoding["stages_wall_ms"].items()]
    lines += [
        f"| {name} | {values['wall_ms']:.2f} | {values['processor_ms']:.2f} |"
        for name, values in results["stages"].items()
    ]
    lines += [
        "",
        "The whole way by the command line, start of the program included (the clip walked to and fro, 25 "
        f"frames a second; clips over {LONG_SECONDS} s are decoded once):",
        "",
        "| decode | frames | file bytes | seconds | processor s | frames/s | memory peak MiB | written MB |",
        "| --- |" + " ---: |" * 7,
    ]
    for kind, title in (("mesh", "mesh"), ("video", "mesh and video")):
        for row in results[kind]:
            cells = [
                f"{title}, {row['clip_seconds']:g} s",
                str(row["frames"]),
                f"{row['bytes']:,}",
                f"{row['seconds']:.1f}",
                _shown(row["processor_seconds"], 1),
                f"{row['frames'] / row['seconds']:.1f}",
                _shown(row["peak_mib"], 0),
                f"{row['written_bytes'] / 1e6:.0f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| canvas | drawing, clock ms a frame | processor ms |", "| --- | ---: | ---: |"]
    lines += [
        f"| {'x'.join(map(str, row['size']))} | {row['wall_ms']:.0f} | {row['processor_ms']:.0f} |"
        for row in results["sizes"]
    ]
    runtimes = list(next(iter(results["runtimes"].values())))
    lines += [
        "",
        f"| network, ms a call | {' | '.join(runtimes)} |",
        f"| --- |{' ---: |' * len(runtimes)}",
    ]
    for name, values in results["runtimes"].items():
        lines.append(f"| {name} | {' | '.join(f'{values[runtime]:.1f}' for runtime in runtimes)} |")
    lines += [
        "",
        "The vertex predictor's call is a batch of frames; its cost below is a frame's. Multiplications of "
        "convolutions and matrix products, for this clip's frame:",
        "",
        "| module | million weights | GMAC |",
        "| --- | ---: | ---: |",
    ]
    lines += [
        f"| {name} | {values['million_weights']:.3f} | {values['gmac']:.3f} |"
        for name, values in results["modules"].items()
    ]
    return lines


def _shown(value: float | None, digits: int) -> str:
    return "not known" if value is None else f"{value:,.{digits}f}"
