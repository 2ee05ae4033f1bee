# SPDX-License-Identifier: GPL-3.0-or-later
"""The demonstration: the packaged clip to a ``.s2d``, to a mesh and a video, and into Blender."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ..models.errors import S2DError
from ..models.outputs import PNG, Kind, beginning
from .capture.pipeline import CaptureOptions
from .decode import decode, decode_outputs
from .encode import encode_video
from .format.container import S2DFile
from .format.header import S2D
from .format.info import bytes_table, file_info
from .runtime.progress import Progress

PACKAGED_CLIP = Path(__file__).resolve().parent / "data" / "balance.mp4"

_PACKAGE = __package__.rpartition(".")[0]
_BLENDER_SECONDS = 1800  # the first time, Blender itself is downloaded


def run_demo(folder: Path, progress: Progress, show: Callable[[str], None] = print) -> None:
    """Fill ``folder``, and show a table of what was made and how long it took, line by line.

    Leaves ``balance.s2d``, the decoded ``mesh.*``, ``video.webm``, ``reference.png`` and ``clip.json``,
    then ``balance.blend`` and ``balance.png``, a rendered picture of the mesh standing over the video,
    seen through the clip's camera. S2DError ``blender`` where Blender cannot be had; the rest is there.
    """
    clip, blend, picture = (folder / f"balance.{ending}" for ending in ("s2d", "blend", "png"))
    encoded = encode_video(PACKAGED_CLIP, clip, CaptureOptions(), progress=progress)
    decoded = decode(clip, folder, progress=progress)
    info = file_info(S2DFile.open(clip))
    frames = info["frames"]
    show(f"{PACKAGED_CLIP.name}: {frames} frames, {info['seconds']:.2f} s")
    for line in (*bytes_table(info), f"{'stage':<12}{'seconds':>10}{'frames/s':>10}"):
        show(line)
    for stage, seconds in (encoded.seconds | decoded.seconds).items():
        show(f"{stage:<12}{seconds:>10.2f}{frames / seconds:>10.1f}")

    progress("blender", 0, 1)
    for step, seconds in _build_scene(clip, blend, picture).items():
        show(f"{f'{step} .blend':<12}{seconds:>10.2f}")
    progress("blender", 1, 1)
    for warning in encoded.warnings + decoded.warnings:
        show(f"note: {warning}")
    for path in (clip, *(folder / name for name in sorted(decoded.files.values())), blend, picture):
        show(str(path))


def demo_outputs(folder: Path) -> dict[Path, Kind]:
    """Return the files that :func:`run_demo` writes, each with its kind."""
    blend = beginning(".blend", b"BLENDER", b"\x28\xb5\x2f\xfd")  # the latter is compressed
    made = {"balance.s2d": S2D, "balance.blend": blend, "balance.png": PNG}
    return {folder / name: kind for name, kind in made.items()} | decode_outputs(folder, pictures=True)


def _build_scene(clip: Path, blend: Path, picture: Path) -> dict[str, float]:
    """Import ``clip`` in Blender, save and render, in a child process; returns the seconds of each."""
    command = [sys.executable, "-m", f"{_PACKAGE}.release.bpy_env", "release.demo_scene"]
    command += [str(path.resolve()) for path in (clip, blend, picture)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_BLENDER_SECONDS, check=False)
    if done.returncode or not blend.is_file() or not picture.is_file():
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise S2DError("blender", f"Blender could not make {blend}: {said[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])["seconds"]
