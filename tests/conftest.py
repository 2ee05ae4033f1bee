# SPDX-License-Identifier: GPL-3.0-or-later
"""What several folders of tests need: a filmed clip as a file, and the built extension."""

import subprocess
import sys
from pathlib import Path

import pytest


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

    return build.build(tmp_path_factory.mktemp("dist"), "linux-x64", build.extension_tool())


@pytest.fixture(scope="session")
def cut_off():
    """What runs a command without any network, where this machine lets us; otherwise nothing."""
    command = ["unshare", "--net"]
    try:
        return command if subprocess.run([*command, "true"], check=False).returncode == 0 else []
    except FileNotFoundError:
        return []
