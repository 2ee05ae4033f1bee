# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the add-on in every Blender at hand: ``s2d bench blender``.

A motion of CMU subject 11 or 13, walked to and fro until it is long enough, is imported, played, saved, and
baked in every way that the add-on offers, by its own operators, in ``bpy`` without a window. Playing is going
from frame to frame with the mesh evaluated; drawing it comes on top.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import sysconfig
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..inference.format.clip import Clip
from ..inference.format.container import write_clip
from ..models.body_catalogue import load_body
from ..models.camera import Camera
from ..models.errors import S2DError
from ..models.keypoints import measure_bone_lengths
from ..models.outputs import JSON, Kind
from ..models.training.keypoint_statistics import posed_keypoints
from ..models.training.motion import FPS, HELD_OUT_SUBJECTS
from ..release import bpy_env
from ..release.build import WHEELS
from .bench_speed import lengthened
from .results import OUT, write_results

FRAMES = (300, 3000)
_CANVAS = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``s2d bench blender``."""
    parser.add_argument("--data", type=Path, help="folder of the motion archive (default: S2D_DATA)")
    parser.add_argument(
        "--bpy", nargs="+", choices=bpy_env.VERSIONS, help="versions (default: all that are installed)"
    )
    parser.add_argument("--frames", type=int, nargs="+", default=FRAMES, help="lengths of the clip")
    parser.add_argument("--minutes", type=float, default=8, help="time for one length in one Blender")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="where the results go")
    parser.add_argument("--quick", action="store_true", help="a short clip in the newest, to try it")


def outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    """Return the files that :func:`run` writes, each with its kind."""
    return {args.out / "blender.json": JSON}


def run(args: argparse.Namespace) -> None:
    """Measure every version with every length, writing the figures after each, and print the tables."""
    versions, lengths = args.bpy or bpy_env.at_hand(), args.frames
    if not versions:
        raise S2DError(
            "no_blender", f"No bpy is installed; --bpy {bpy_env.newest()} installs one (about 800 MB)."
        )
    if args.quick:
        versions, lengths = versions[-1:], [30]
    motion = held_out_motion(args.data)
    blenders: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        clip = Path(name) / "motion.s2d"
        for frames in lengths:
            write_clip(lengthened(motion, frames), clip)
            for version in reversed(versions):
                found = measure(version, clip, 60 * args.minutes)
                blenders.setdefault(version, {})[str(frames)] = found
                write_results("blender", {"quick": args.quick, "blenders": blenders}, args.out)
    print("\n".join(tables({"blenders": blenders})))


def held_out_motion(folder: Path | None) -> Clip:
    """Return the longest motion of the held-out subjects as a clip without pictures."""
    tracks = posed_keypoints(folder, HELD_OUT_SUBJECTS, np.random.default_rng(7))
    keypoints = max(tracks, key=len).astype(np.float32)
    body = load_body()
    shape = body.fit_shape(measure_bone_lengths(keypoints))
    camera = Camera(_CANVAS, _CANVAS, _CANVAS / 2, _CANVAS / 2)
    return Clip(Fraction(FPS), camera, _CANVAS, _CANVAS, keypoints, body.name, shape)


def measure(version: str, clip: Path, seconds: float) -> dict[str, Any]:
    """Return what Blender of a version took for ``clip``, by what plays the mesh, and what failed."""
    try:
        python = bpy_env.ensure_bpy(version)
    except bpy_env.BpyError as error:
        raise S2DError("no_blender", str(error)) from error
    with tempfile.TemporaryDirectory() as folder:
        command = bpy_env.module_command(
            python, "benchmarks.blender_session", str(clip), folder, sites=_engine_sites(version, python)
        )
        error = None
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
            said = done.stdout
            if done.returncode:
                error = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        except subprocess.TimeoutExpired as late:
            said = (late.stdout or b"").decode(errors="replace")
            error = f"stopped after {seconds / 60:g} minutes"
    lines = [json.loads(line) for line in said.splitlines() if line.startswith('{"name"')]
    return {"ways": {line.pop("name"): line for line in lines}, "error": error}


def _engine_sites(version: str, python: Path) -> list[Path]:
    """Return the folders of the packages that the worker imports, as the Python of that bpy can load them."""
    if bpy_env.VERSIONS[version].python == sys.version_info[:2]:
        return [Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")]
    folder = python.parents[1] / "engine"
    if not folder.is_dir():
        command = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        subprocess.run([*command, *WHEELS], check=True)
    return [folder]


def summary(results: dict[str, Any]) -> list[str]:
    """Return how fast the longest clip measured plays in the newest Blender, by what plays it."""
    version, lengths = next(iter(results["blenders"].items()))
    frames, found = list(lengths.items())[-1]
    played = {name: way["play_ms"] for name, way in found["ways"].items() if "play_ms" in way}
    shown = ", ".join(f"{name} {ms:.1f} ms" for name, ms in played.items())
    return [f"Blender {version}, one frame of a clip of {frames}: {shown}."]


def tables(results: dict[str, Any]) -> list[str]:
    """Return the lines of Markdown that say what was measured, and how it came out."""
    lines = [
        "A motion without pictures, imported by the add-on's operator (decoding in its own process included) "
        "and baked from a fresh copy by each kind at the default tolerance. *Make* is the import or the "
        "bake, *play* the median of going one frame on with the mesh evaluated and not drawn, *size* the "
        "saved .blend (the point cache lies beside it) or the file that was exported.",
        "",
        "| Blender | frames | | make s | keys | play ms | save s | size MB |",
        "| --- | ---: | --- |" + " ---: |" * 5,
    ]
    for version, lengths in results["blenders"].items():
        for frames, found in lengths.items():
            for name, way in found["ways"].items():
                cells = [
                    _shown(way.get("make_s"), 1),
                    _shown(way.get("keys"), 0),
                    _shown(way.get("play_ms"), 2),
                    _shown(way.get("save_s"), 2),
                    _shown(way["bytes"] / 1e6, 1),
                ]
                lines.append(f"| bpy {version} | {frames} | {name} | {' | '.join(cells)} |")
            if found["error"]:
                lines.append(
                    f"| bpy {version} | {frames} | not measured further: {found['error']} |" + " |" * 5
                )
    return lines


def _shown(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
