# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension in Blender 4.2, 4.5 and 5.0: installed from its zip, used through its operators, no network.

One ``bpy`` a process: ``session.py`` makes all checks of a version in one, and each is a test here.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sparse2dense.s2d_addon.bpy_env import NUMPY, ensure_bpy

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


@pytest.fixture(scope="module", params=NUMPY)
def outcome(request, extension_zip, filmed_clip, decoded_folder, cut_off, tmp_path_factory):
    """What became of each check in one version of Blender."""
    work = tmp_path_factory.mktemp(f"bpy-{request.param}")
    python = ensure_bpy(request.param)
    clip, results = work / ODD_NAME, work / "results.json"
    shutil.copy(filmed_clip, clip)
    command = [*cut_off, python, "-I", SESSION, extension_zip, clip, decoded_folder, work, results]
    environment = os.environ | {"BLENDER_USER_RESOURCES": str(work / "user"), "S2D_TORCH": sys.executable}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=900, check=False, cwd=work
    )
    assert results.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(results.read_text())


@pytest.mark.parametrize("check", CHECKS)
def test_in_blender(outcome, check):
    assert outcome[check] is None, outcome[check]
