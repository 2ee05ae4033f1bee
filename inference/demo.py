# SPDX-License-Identifier: GPL-3.0-or-later
"""The demonstration: the packaged clip to a ``.s2d``, to a mesh and a video, and into Blender."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .capture import CaptureOptions
from .cli import bytes_table
from .decode import decode
from .encode import encode_video
from .errors import S2DError
from .s2d_file import S2DFile

PACKAGED_CLIP = Path(__file__).resolve().parent / "data" / "balance.mp4"
_SCENE_MODULE = f"{__package__.rpartition('.')[0]}.s2d_addon.demo_scene"
_BLENDER_SECONDS = 900


def run_demo(folder: Path, progress: Callable[[str, int, int], None]) -> list[str]:
    """Fill ``folder`` and return the lines of a table of what was made.

    Leaves ``balance.s2d``, the decoded ``mesh.*``, ``video.webm``, ``reference.png`` and ``clip.json``,
    and, where the ``bpy`` package is installed, ``balance.blend`` and ``balance.png``, a rendered picture
    of the mesh standing over the video, seen through the clip's camera.
    """
    clip = folder / "balance.s2d"
    encoded = encode_video(PACKAGED_CLIP, clip, CaptureOptions(), progress=progress)
    decoded = decode(clip, folder, progress=progress)
    seconds = encoded.seconds | decoded.seconds
    files = ["balance.s2d", *sorted(decoded.files.values())]
    notes = encoded.warnings + decoded.warnings
    if importlib.util.find_spec("bpy"):
        progress("blender", 0, 1)
        seconds["blender"] = _build_scene(clip, folder / "balance.blend", folder / "balance.png")
        progress("blender", 1, 1)
        files += ["balance.blend", "balance.png"]
    else:
        notes.append(
            "no .blend was made, for want of bpy: pip install 'sparse2dense[blender]' (Python 3.11)."
        )
    info = S2DFile.open(clip).info()
    return [
        f"{PACKAGED_CLIP.name}: {info['frames']} frames, {info['seconds']:.2f} s",
        "",
        *bytes_table(info),
        "",
        f"{'stage':<12}{'seconds':>10}{'frames/s':>10}",
        *(f"{stage:<12}{spent:>10.2f}{info['frames'] / spent:>10.1f}" for stage, spent in seconds.items()),
        "",
        *(f"note: {note}" for note in notes),
        *(str(folder / name) for name in files),
    ]


def _build_scene(clip: Path, blend: Path, picture: Path) -> float:
    """Import ``clip`` into Blender in a child process, save and render; returns the seconds it took."""
    start = time.perf_counter()
    command = [sys.executable, "-m", _SCENE_MODULE, *(str(path.resolve()) for path in (clip, blend, picture))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_BLENDER_SECONDS, check=False)
    if done.returncode or not blend.is_file() or not picture.is_file():
        said = (done.stderr or done.stdout).strip().splitlines()
        raise S2DError(
            "blender", f"Blender could not build the scene of {clip}: {said[-1] if said else 'no word'}"
        )
    return time.perf_counter() - start
