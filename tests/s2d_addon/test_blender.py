# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension in Blender 4.2, 4.5, 5.0 and 5.2: installed from its zip, used by its operators, no network.

One ``bpy`` a process: ``session.py`` makes all checks of a version in one, and each is a test here.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sparse2dense.release.bpy_env import VERSIONS, NoPythonError, ensure_bpy

pytestmark = [pytest.mark.blender, pytest.mark.slow]

ODD_NAME = "Tänze 🕺 人 (final) v2.s2d"  # as people name their files
SESSION = Path(__file__).with_name("session.py")
CHECKS = [
    f"{path.stem.removeprefix('checks_')}-{name}"
    for path in sorted(SESSION.parent.glob("checks_*.py"))
    for name in re.findall(r"^@check\ndef (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
]


@pytest.fixture(scope="session")
def decoded_folder(filmed_clip, tmp_path_factory):
    """The clip decoded by the command line, every vertex of every frame with it."""
    folder = tmp_path_factory.mktemp("decoded")
    command = [sys.executable, "-m", "sparse2dense.inference", "decode"]
    subprocess.run([*command, filmed_clip, "-o", folder, "--vertices"], check=True, timeout=300)
    return folder


@pytest.fixture(scope="module")
def sessions(request, extension_zip, filmed_clip, decoded_folder, cut_off, tmp_path_factory):
    """What becomes of each check, by version of Blender; two at a time, since one keeps one core busy."""

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

    chosen = {item.callspec.params["outcome"] for item in request.session.items if item.path == request.path}
    with ThreadPoolExecutor(2) as pool:
        yield {
            version: pool.submit(run, version, tmp_path_factory.mktemp(f"bpy-{version}"))
            for version in VERSIONS
            if version in chosen
        }


@pytest.fixture(scope="module", params=VERSIONS)
def outcome(request, sessions):
    """What became of each check in one version of Blender."""
    try:
        return sessions[request.param].result()
    except NoPythonError as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("check", CHECKS)
def test_in_blender(outcome, check):
    assert outcome[check] is None, outcome[check]
