# SPDX-License-Identifier: GPL-3.0-or-later
"""What several folders of tests need: a filmed clip as a file, and the built extension."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sparse2dense.release.bpy_env import VERSIONS, ensure_bpy

ODD_NAME = "Tänze 🕺 人 (final) v2.s2d"  # as people name their files
SESSION = Path(__file__).parent / "s2d_addon" / "session.py"


@pytest.fixture(scope="session")
def filmed_clip():
    """Twenty frames of the packaged clip, 25 a second, as ``s2d encode`` made them."""
    return Path(__file__).parent / "data" / "balance_short.s2d"


@pytest.fixture(scope="session")
def extension_zip(tmp_path_factory):
    """The extension for Linux with its wheels, built and validated by Blender's own tool."""
    if sys.platform != "linux":
        pytest.skip("the Blender tests install the extension for Linux")
    from sparse2dense.release import build

    return build.build(tmp_path_factory.mktemp("dist"), "linux-x64", build.extension_tool(), tight=False)


@pytest.fixture(scope="session")
def cut_off():
    """What runs a command without any network, where this machine lets us; otherwise nothing."""
    command = ["unshare", "--net"]
    try:
        return command if subprocess.run([*command, "true"], check=False).returncode == 0 else []
    except FileNotFoundError:
        return []


@pytest.fixture(scope="session")
def decoded_folder(filmed_clip, tmp_path_factory):
    """The clip decoded by the command line, every vertex of every frame with it."""
    folder = tmp_path_factory.mktemp("decoded")
    command = [sys.executable, "-m", "sparse2dense.inference", "decode"]
    subprocess.run([*command, filmed_clip, "-o", folder, "--vertices"], check=True, timeout=300)
    return folder


@pytest.fixture(scope="session")
def sessions(request, extension_zip, filmed_clip, decoded_folder, cut_off, tmp_path_factory):
    """What becomes of each check in Blender, by version of it.

    A session keeps one core busy: they go one by one beside other tests, by twos alone.
    """

    def run(version, work):
        python = ensure_bpy(version)
        clip, results = work / ODD_NAME, work / "results.json"
        shutil.copy(filmed_clip, clip)
        command = [*cut_off, python, "-I", SESSION, extension_zip, clip, decoded_folder, work, results]
        environment = os.environ | {"BLENDER_USER_RESOURCES": str(work / "user"), "S2D_TORCH": sys.executable}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=900, check=False, cwd=work
        )
        assert results.exists(), done.stdout[-3000:] + done.stderr[-3000:]
        return json.loads(results.read_text())

    asking = [item for item in request.session.items if "sessions" in item.fixturenames]
    chosen = {item.callspec.params["outcome"] for item in asking}
    pool = ThreadPoolExecutor(1 if len(asking) < len(request.session.items) else 2)
    yield {
        version: pool.submit(run, version, tmp_path_factory.mktemp(f"bpy-{version}"))
        for version in VERSIONS
        if version in chosen
    }
    pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session", autouse=True)
def start_what_takes_longest(request):
    """Start the sessions in Blender before all other tests, if there are to be any."""
    if any("sessions" in getattr(item, "fixturenames", ()) for item in request.session.items):
        # What goes wrong is told by the tests that ask for them.
        with contextlib.suppress(Exception, pytest.skip.Exception):
            request.getfixturevalue("sessions")
