# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the keypoint coder on motion that it was not designed on: ``s2d bench keypoints``.

Held-out motion is ten-second clips of CMU subjects 11 and 13 on Anny bodies of random shapes; filmed clips go
through capture. All bytes of the keypoint part are counted, with its share of the index.

Two questions are kept apart. What does the prediction save: whole coders at equal mean error, the others on
differences of a plain lattice. What does the entropy coder save: general compressors on our own residuals.
"""

from __future__ import annotations

import argparse
import lzma
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..inference.demo import PACKAGED_CLIP
from ..inference.format.container import GROUP_SECONDS, STEP_MM
from ..inference.format.fields import pack_varint
from ..inference.format.keypoint_coding import CodedGroup, decode_group, encode_sparsely
from ..models.keypoint_motion import LARGEST_RESIDUAL, load_tables
from ..models.keypoints import KEYPOINT_NAMES
from ..models.outputs import JSON, PNG, Kind
from ..models.training.keypoint_statistics import posed_keypoints
from ..models.training.motion import FPS, HELD_OUT_SUBJECTS, data_dir
from .results import OUT, save_figure, write_results

LATTICE_ERROR = 0.48  # mean 3D error of rounding to a cubic lattice, in its steps
RAW_BITS = 96  # of a keypoint as three float32

GENERATIVE = "generative-video scheme"
_OVERHEAD = ("first frame and escapes", "index of groups")


def _zstd(data: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor(level=22).compress(data)


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "zlib": lambda data: zlib.compress(data, 9),
    "zstd": _zstd,
    "lzma": lambda data: lzma.compress(
        data, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 9}]
    ),
}
"""General compressors at their strongest, without containers."""
_CURVES = "keypoints_curves.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``s2d bench keypoints``."""
    parser.add_argument("--data", type=Path, help="folder of the motion archive (default: S2D_DATA)")
    parser.add_argument("--videos", type=Path, nargs="*", default=[PACKAGED_CLIP], help="filmed clips")
    parser.add_argument(
        "--steps", type=float, nargs="+", default=[2, 4, 6, 8, 12, 16], help="of the quantiser, mm"
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="where the results go")
    parser.add_argument("--quick", action="store_true", help="two clips and steps, to try the measurement")


def outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    """Return the files that :func:`run` writes, each with its kind."""
    return {args.out / "keypoints.json": JSON, args.out / _CURVES: PNG}


def run(args: argparse.Namespace) -> None:
    """Measure every set of clips at every step, print the tables, write the figures and the curves."""
    steps = [STEP_MM, 2 * STEP_MM] if args.quick else args.steps
    sets = {f"held-out motion ({' and '.join(HELD_OUT_SUBJECTS)})": held_out_clips(args.data, args.seed)}
    if args.quick:
        sets = {name: clips[:2] for name, clips in sets.items()}
    else:
        sets |= {f"captured: {video.name}": [captured(video)] for video in args.videos}
    results = {
        "quick": args.quick,
        "sets": {name: measure_set(clips, steps) for name, clips in sets.items()},
        "pictures": {_CURVES: "Bits a keypoint and frame against the mean 3D error."},
    }
    draw_curves(results["sets"], args.out / _CURVES)
    print("\n".join(tables(results)))
    write_results("keypoints", results, args.out)


def held_out_clips(folder: Path | None, seed: int) -> list[np.ndarray]:
    """Return ten-second clips ``(300, 23, 3)`` metres of the held-out subjects."""
    length = GROUP_SECONDS * FPS
    tracks = posed_keypoints(data_dir(folder), HELD_OUT_SUBJECTS, np.random.default_rng(seed))
    return [track[i : i + length] for track in tracks for i in range(0, len(track) - length + 1, length)]


def captured(video: Path) -> np.ndarray:
    """Return the first group of keypoints ``(T, 23, 3)`` that capture finds in a filmed clip."""
    from ..inference.capture.pipeline import CaptureOptions, capture

    clip = capture(video, CaptureOptions()).clip
    return clip.keypoints[: int(GROUP_SECONDS * clip.fps)].astype(np.float64)


def measure_set(clips: Sequence[np.ndarray], steps: Sequence[float]) -> dict[str, Any]:
    """Return what coding the clips took at each step."""
    return {
        "clips": len(clips),
        "frames": sum(map(len, clips)),
        "steps": [measure(clips, step) for step in steps],
    }


def measure(clips: Sequence[np.ndarray], step_mm: float) -> dict[str, Any]:
    """Code and decode every clip as one group; bits are a keypoint and frame, errors millimetres."""
    step_um, frames = round(step_mm * 1000), sum(map(len, clips))
    started = time.process_time()
    groups = [encode_sparsely(clip, step_um) for clip in clips]
    encoded = time.process_time()
    decoded = [
        decode_group(group.data, len(clip), step_um, group.spacing)
        for group, clip in zip(groups, clips, strict=True)
    ]
    done = time.process_time()
    errors = 1000 * np.concatenate(
        [np.linalg.norm(a - b, axis=-1).ravel() for a, b in zip(decoded, clips, strict=True)]
    )
    spaced = any(group.spacing > 1 for group in groups)
    lengths = [spaced + len(group.data) for group in groups]
    sizes = [length + len(pack_varint(length)) for length in lengths]

    def bits(sizes: Iterable[int]) -> float:
        return 8 * sum(sizes) / errors.size

    lattice = errors.mean() / LATTICE_ERROR / 1000
    differences = [difference_bytes(clip, lattice) for clip in clips]
    residuals = [residual_bytes(group) for group in groups]
    shares = stream_shares(groups, sizes, frames)
    return {
        "step_mm": step_mm,
        "error_mm": float(errors.mean()),
        "error_99_mm": float(np.quantile(errors, 0.99)),
        "bits": bits(sizes),
        "spacings": sorted(group.spacing for group in groups),
        "worst_bits": max(8 * size / clip[..., 0].size for size, clip in zip(sizes, clips, strict=True)),
        "at_equal_error": {
            **{name: bits(len(pack(data)) for data in differences) for name, pack in COMPRESSORS.items()},
            GENERATIVE: bits(golomb_bytes(clip, lattice) for clip in clips),
        },
        "same_residuals": {
            "ours": sum(shares[name] for name in shares if name not in _OVERHEAD) / len(KEYPOINT_NAMES),
            **{name: bits(len(pack(data)) for data in residuals) for name, pack in COMPRESSORS.items()},
        },
        "bits_a_frame": shares,
        "encode_frames_per_second": frames / (encoded - started),
        "decode_frames_per_second": frames / (done - encoded),
    }


def difference_bytes(clip: np.ndarray, lattice: float) -> bytes:
    """Lay out frame differences on a lattice: one coordinate after the other, low bytes before high ones."""
    steps = np.diff(np.rint(clip / lattice), axis=0, prepend=0)
    return _planes(steps.reshape(len(steps), -1).T.astype("<i2"))


def residual_bytes(group: CodedGroup) -> bytes:
    """Lay out our own coder's residuals likewise: all but the first frame, coordinate by coordinate."""
    residuals = group.track.residuals[1:]
    return _planes(residuals.reshape(len(residuals), -1).T.astype("<i2"))


def _planes(values: np.ndarray) -> bytes:
    if np.abs(values).max(initial=0) < 128:
        return values.astype(np.int8).tobytes()
    return np.ascontiguousarray(values).reshape(-1, 1).view(np.uint8).T.tobytes()


def golomb_bytes(clip: np.ndarray, lattice: float) -> int:
    """Return how many bytes the generative face video software's scheme needs for a track.

    Its ``final_encoder_expgolomb`` (JVET-AH0114): a frame's differences as signed exponential Golomb codes of
    order 0 after a one, and these bits by an adaptive arithmetic coder of order 0, started anew every frame.
    Such a code's length follows from how many zeros and ones there are, and is taken as exact; frames are
    whole bytes. The first frame, which that software does not send, is not counted.
    """
    steps = np.diff(np.rint(clip / lattice).astype(np.int64), axis=0).reshape(len(clip) - 1, -1)
    code = np.where(steps > 0, 2 * steps - 1, -2 * steps) + 1
    length = np.frexp(code.astype(np.float64))[1]  # binary digits; as many zeros less one stand before them
    ones = 1 + np.bitwise_count(code).sum(axis=1)
    zeros = (2 * length - 1).sum(axis=1) + 1 - ones
    return int(np.ceil(adaptive_bits(zeros, ones) / 8).sum())


def adaptive_bits(zeros: np.ndarray, ones: np.ndarray) -> np.ndarray:
    """Return the bits that an adaptive arithmetic coder spends on so many zeros and ones, and an end.

    Counts start at none, with an escape counted once; a symbol not yet seen is escaped and then one of three.
    """
    from scipy.special import gammaln

    def seen(count: np.ndarray) -> np.ndarray:  # the product of its counts each time, escapes aside
        return np.where(count > 0, gammaln(np.maximum(count, 1)), 0.0)

    first = np.log(3) * (1.0 + (zeros > 0) + (ones > 0))
    return (gammaln(zeros + ones + 2) - seen(zeros) - seen(ones) + first) / np.log(2)


def stream_shares(groups: Sequence[CodedGroup], sizes: Sequence[int], frames: int) -> dict[str, float]:
    """Return the bits a frame that each kind of keypoint's residuals and the :data:`_OVERHEAD` take.

    ``sizes`` are the groups' bytes with their share of the index, ``frames`` all frames of the clips.
    Residuals cost what their model says: the range coder is within a word of that.
    """
    tables = load_tables()
    cost = -np.log2(tables.frequencies / tables.frequencies.sum(axis=1, keepdims=True))
    shares = dict.fromkeys(
        [name.rpartition("left_")[2] for name in KEYPOINT_NAMES if "right" not in name], 0.0
    )
    shares |= dict.fromkeys(_OVERHEAD, 0.0)
    for group, size in zip(groups, sizes, strict=True):
        residuals = group.track.residuals[1:]
        escaped = np.abs(residuals) > LARGEST_RESIDUAL
        symbols = np.where(escaped, 2 * LARGEST_RESIDUAL + 1, residuals + LARGEST_RESIDUAL)
        bits = cost[group.track.scales[1:], symbols].sum(axis=(0, 2))
        for name, value in zip(KEYPOINT_NAMES, bits, strict=True):
            shares[name.removeprefix("left_").removeprefix("right_")] += value
        shares[_OVERHEAD[0]] += 8 * len(group.data) - bits.sum()
        shares[_OVERHEAD[1]] += 8 * (size - len(group.data))
    return {name: float(value / frames) for name, value in shares.items()}


def draw_curves(sets: dict[str, Any], path: Path) -> None:
    """Draw bits against error, a panel a set."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        1, len(sets), figsize=(4.2 * len(sets), 3.6), squeeze=False, sharey=True, layout="constrained"
    )
    for axes, (name, values) in zip(panels[0], sets.items(), strict=True):
        errors = [step["error_mm"] for step in values["steps"]]
        axes.plot(errors, [step["bits"] for step in values["steps"]], "o-", linewidth=2, label="Sparse2Dense")
        for other in (*COMPRESSORS, GENERATIVE):
            bits = [step["at_equal_error"][other] for step in values["steps"]]
            axes.plot(errors, bits, ".--", label=other)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("mean 3D error, mm")
        axes.grid(alpha=0.3)
    panels[0, 0].set_ylim(bottom=0)  # once all curves are there: the panels share it
    panels[0, 0].set_ylabel("bits a keypoint and frame")
    panels[0, 0].legend(fontsize=7)
    save_figure(figure, path)


def summary(results: dict[str, Any]) -> list[str]:
    """Return, a set a line, what the coder takes at the default step beside the best of the others."""
    lines = []
    for name, values in results["sets"].items():
        shown = next(step for step in values["steps"] if step["step_mm"] == STEP_MM)
        others = shown["at_equal_error"]
        best = min(others, key=others.get)
        lines.append(
            f"Keypoints, {name}: {shown['bits']:.2f} bits a keypoint and frame at a mean error of "
            f"{shown['error_mm']:.2f} mm; the best of the others at the same error, {best}, takes "
            f"{others[best]:.2f}."
        )
    return lines


def tables(results: dict[str, Any]) -> list[str]:
    """Return the lines of Markdown that say what was measured, and how it came out."""
    lines = [
        "Bits are a keypoint and frame, all bytes of the keypoint part and its share of the index counted; "
        f"float32 takes {RAW_BITS}. Errors are the mean 3D distance between keypoints before and after, and "
        "what 99 % stay below; *worst* is the dearest clip. The others code differences of a cubic lattice "
        "whose step gives the same mean error: the general compressors as bytes sorted by coordinate, and "
        f"*{GENERATIVE}* as the generative face video software does (JVET-AH0114), its first frame not "
        "counted. Where motion is slow ours sends every second to eighth frame and draws curves between, "
        "which could be put before the others too; they send every frame. Rates are frames a second of one "
        "processor core, 23 keypoints each.",
        "",
    ]
    others = (*COMPRESSORS, GENERATIVE)
    for name, values in results["sets"].items():
        lines += [
            f"**{name}**: clips {values['clips']}, frames {values['frames']}",
            "",
            f"| step mm | error mm | 99 % mm | **ours** | worst | {' | '.join(others)} | encode | decode |",
            f"|{' ---: |' * (7 + len(others))}",
        ]
        for step in values["steps"]:
            cells = [
                f"{step[key]:.2f}" for key in ("step_mm", "error_mm", "error_99_mm", "bits", "worst_bits")
            ]
            cells += [f"{step['at_equal_error'][other]:.2f}" for other in others]
            cells += [f"{step[f'{way}_frames_per_second']:.0f}" for way in ("encode", "decode")]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    name, values = next(iter(results["sets"].items()))
    shown = next(step for step in values["steps"] if step["step_mm"] == STEP_MM)
    same = ", ".join(f"{other} {bits:.2f}" for other, bits in shown["same_residuals"].items())
    total = sum(shown["bits_a_frame"].values())
    lines += [
        "What the entropy coder saves: the very residuals that our predictor leaves at a step of "
        f"{STEP_MM:g} mm on {name}, bits a keypoint and frame: {same}.",
        "",
        f"Where the bits go at that step (of {total:.0f} a frame; the two sides of the body together):",
        "",
        f"| {' | '.join(shown['bits_a_frame'])} |",
        f"|{' ---: |' * len(shown['bits_a_frame'])}",
        f"| {' | '.join(f'{100 * bits / total:.1f} %' for bits in shown['bits_a_frame'].values())} |",
    ]
    return lines
