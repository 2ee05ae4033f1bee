# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension in a real Blender with its window, never online: installed from its zip, used, looked at.

``S2D_BLENDER`` names the command that runs that Blender, such as ``blender``.
"""

import json
import os
import shlex
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from sparse2dense.inference.decode import decode

COMMAND = shlex.split(os.environ.get("S2D_BLENDER", ""))
pytestmark = [
    pytest.mark.blender,
    pytest.mark.slow,
    pytest.mark.skipif(not COMMAND, reason="S2D_BLENDER names no Blender to test in"),
]
SESSION = Path(__file__).with_name("window_session.py")


def blender(*arguments, config):
    """Run Blender with settings of its own, so that nothing is installed before and nothing stays."""
    environment = os.environ | {"BLENDER_USER_RESOURCES": str(config)}
    done = subprocess.run(
        [*COMMAND, "--offline-mode", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def session(extension_zip, filmed_clip, tmp_path_factory):
    """Install the zip and use it; returns the folder with ``results.json`` and ``picture.png``."""
    work = tmp_path_factory.mktemp("window")
    config = work / "config"
    config.mkdir()
    install = ("--command", "extension", "install-file", "-r", "user_default", "-e", extension_zip)
    said = blender(*install, config=config)
    assert 'nstalled "sparse2dense"' in said, said
    results, picture = work / "results.json", work / "picture.png"
    said = blender("--python", SESSION, "--", filmed_clip, results, picture, config=config)
    assert results.exists(), said[-3000:]
    return work


def test_imports_through_the_window_while_it_stays_alive(session):
    results = json.loads((session / "results.json").read_text())
    assert "failure" not in results, results["failure"]
    assert not results["background"]
    assert not results["online"]
    assert results["panel"] == "Sparse2Dense"
    assert results["started"] == ["RUNNING_MODAL"], "the operator leaves the window to its user at once"
    assert results["ticks"] > 5, "Blender's loop ran on while the worker decoded"
    assert results["parts"] == ["camera", "mesh", "root", "video"]


def test_picture_shows_the_mesh_over_the_video(session, filmed_clip, tmp_path):
    """The video around the person, and the mesh where the video has the person."""
    decode(filmed_clip, tmp_path)
    video = cv2.VideoCapture(str(tmp_path / "video.webm"))
    frames = [video.read()[1] for _ in range(8)]
    shown = cv2.imdecode(np.frombuffer((session / "picture.png").read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == frames[7].shape
    drawn, frame = (
        cv2.GaussianBlur(cv2.cvtColor(p, cv2.COLOR_BGR2GRAY), (5, 5), 0) for p in (shown, frames[7])
    )
    corner = np.s_[: len(frame) // 3, : frame.shape[1] // 3]
    assert np.corrcoef(drawn[corner].ravel(), frame[corner].ravel())[0, 1] > 0.9, (
        "the video is not in its place"
    )
    grey = np.ptp(shown.astype(int), axis=2) < 12
    assert 0.03 < grey.mean() - (np.ptp(frames[7].astype(int), axis=2) < 12).mean() < 0.5, (
        "the mesh is not seen"
    )
