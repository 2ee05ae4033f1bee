# SPDX-License-Identifier: GPL-3.0-or-later
"""The README's install and no more, in a fresh environment: every command line that the README shows.

The environment of the other tests has every extra, which hides what a user's lacks.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
FURTHER_EXTRAS = ("train", "bench", "--body smplx", "--body-path")
"""What marks a command line that asks for more than the documented install."""


def shown_commands():
    """Return the ``s2d`` command lines in the README's blocks, without what is said of them."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"(?ms)^```\n(.*?)^```", readme)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("s2d ")]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of the programs of an environment with exactly what the README installs."""
    folder = tmp_path_factory.mktemp("install")
    source = folder / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    install = [programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "."], cwd=source, check=True, timeout=900)
    return programs


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with what the README's command lines name."""
    folder = tmp_path_factory.mktemp("work")
    shutil.copy(ROOT / "inference" / "data" / "balance.mp4", folder / "VIDEO")
    _write_motion(folder / "FILE")
    _write_sequence(folder / "VIDEO", folder)
    return folder


def _write_sequence(film, folder):
    """Write some pictures of the film as a sequence of files."""
    from sparse2dense.inference.film.reader import VideoReader

    for number, picture in enumerate(VideoReader(film, size=360, fps=10), start=1001):
        cv2.imwrite(str(folder / f"shot_{number}.png"), picture[..., ::-1])


def _write_motion(path):
    """Write a motion as the user guide describes it: a person who stands and sways before the camera."""
    from sparse2dense.models.body_catalogue import load_body
    from sparse2dense.models.keypoints import KEYPOINT_NAMES
    from sparse2dense.models.shaped_body import ShapedBody

    body = load_body()
    rest = ShapedBody(body, np.zeros(body.shape_size)).keypoints
    sway = 0.1 * np.sin(np.linspace(0, 6, 40))[:, None, None] * [1, 0, 0]
    with path.open("wb") as file:
        np.savez(file, keypoints=rest + sway + [0, 0, 3], keypoint_names=np.array(KEYPOINT_NAMES), fps=25)


def run(installed, work, line):
    command = [installed / "s2d", *shlex.split(line)[1:]]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        command, cwd=work, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def test_the_readme_installs_what_this_test_does():
    assert "pip install -e ." in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_command_line_that_the_readme_shows(installed, work):
    lines = [line for line in shown_commands() if not any(more in line for more in FURTHER_EXTRAS)]
    assert {shlex.split(line)[1] for line in lines} == {"encode", "info", "decode", "export"}
    lines += [f"{line} --format {form}" for line in lines if "--frame" in line for form in ("obj", "ply")]
    shown = next(line for line in lines if "FILE.glb" in line)
    lines += [shown.replace("FILE.glb", f"MADE.{ending}") for ending in ("bvh", "trc", "c3d", "npz")]
    for line in lines:
        done = run(installed, work, line)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        said = [told for told in done.stderr.splitlines() if not told.startswith("s2d: warning: ")]
        assert said == [], line
    assert (work / "CLIP.s2d").stat().st_size < 20_000
    assert (work / "DIR" / "video.webm").stat().st_size > 10_000
    assert {path.suffix for path in (work / "DIR").glob("frame_*")} == {".glb", ".obj", ".ply"}
    assert (work / "FILE.glb").exists() and len(list(work.glob("MADE.*"))) == 4


@pytest.mark.parametrize("line", ["s2d train vertices --data .", "s2d bench keypoints"])
def test_what_needs_more_says_so_in_one_line(installed, work, line):
    done = run(installed, work, line)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stderr, done.stderr
    assert "missing" in done.stderr or "checkout" in done.stderr


def test_the_worker_runs_and_ends(installed, work):
    command = [installed / "python", "-m", "sparse2dense.inference", "worker", "probe"]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and '"type": "result"' in done.stdout
