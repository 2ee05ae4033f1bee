# SPDX-License-Identifier: GPL-3.0-or-later
"""A small motion, as a clip and as a file, and the engine's command line as a child process."""

import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from sparse2dense.inference.format.clip import Clip, Reference
from sparse2dense.inference.format.container import write_clip
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.camera import Camera

ENGINE = [sys.executable, "-m", "sparse2dense.inference"]


@pytest.fixture(scope="session")
def make_motion():
    """Make a clip of so many frames in which a body stands and sways: keypoints, no pictures."""
    body = load_body()
    standing = body.keypoints(body.rest(np.zeros(body.shape_size))[0]) + np.array([0, 0, 3])

    def make(frames: int) -> Clip:
        sway = 0.1 * np.sin(np.arange(frames) / 10)[:, None, None] * np.array([1, 0, 0])
        return Clip(
            fps=Fraction(30),
            camera=Camera(300, 300, 128, 128),
            width=256,
            height=256,
            keypoints=(standing + sway).astype(np.float32),
            body="anny",
            shape=np.zeros(body.shape_size, np.float32),
        )

    return make


@pytest.fixture(scope="session")
def motion_file(make_motion, tmp_path_factory):
    """Write thirty frames of that motion, in a folder whose name is not easy."""
    path = tmp_path_factory.mktemp("clip é 人") / "my motion.s2d"
    write_clip(make_motion(30), path)
    return path


@pytest.fixture(scope="session")
def write_filmed(make_motion):
    """Write frames of that motion with a made-up reference picture: a grey person on coloured ground."""

    def write(frames, path):
        picture = np.full((96, 64, 3), (60, 120, 180), np.uint8)
        mask = np.zeros((96, 64), np.uint8)
        mask[20:76, 22:42] = 255
        picture[mask > 0] = 128
        clip = replace(
            make_motion(frames),
            width=64,
            height=96,
            camera=Camera(100, 100, 32, 48),
            references=[Reference(3, picture, mask)],
            plate=np.full((96, 64, 3), (60, 120, 180), np.uint8),
        )
        write_clip(clip, path)
        return path

    return write


@pytest.fixture(scope="session")
def held_out_motions():
    """Keypoints ``(T, 23, 3)`` at 30 frames a second of the mean body in CMU motions nothing is trained on.

    By name: ``walk`` (11_01), ``jump`` (13_11), ``step`` (13_35, onto a ladder), ``stand`` (13_08). Metres,
    y down, the captured floor at y = 0.
    """
    path = Path(__file__).parent.parent / "data" / "held_out_keypoints.npz"
    with np.load(path, allow_pickle=False) as stored:  # tenths of a millimetre
        return {name: stored[name].astype(np.float32) / 10_000 for name in stored.files}


@pytest.fixture(scope="session")
def engine():
    """Run the command line to its end."""

    def run(*arguments, **options):
        return subprocess.run(
            [*ENGINE, *map(str, arguments)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=False,
            **options,
        )

    return run


def until_stage(process, stage):
    """Read a worker's events until ``stage`` is under way."""
    for line in process.stdout:
        event = json.loads(line)
        assert event["type"] in ("progress", "part"), event
        if event.get("stage") == stage:
            return
    raise AssertionError(f"{stage} was never reported: {process.stderr.read()}")


@pytest.fixture
def start_worker():
    """Start a worker with a pipe as standard input, as its parent is asked to; it is gone afterwards."""
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [*ENGINE, "worker", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
