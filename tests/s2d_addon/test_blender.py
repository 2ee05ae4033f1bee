# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension in Blender 4.2, 4.5, 5.0 and 5.2: installed from its zip, used by its operators, no network.

One ``bpy`` a process: ``session.py`` makes all checks of a version in one, and each is a test here. The
sessions are started before all other tests (``conftest.py``), since they take longest.
"""

import re
from pathlib import Path

import pytest
from sparse2dense.release.bpy_env import VERSIONS, NoPythonError

pytestmark = [pytest.mark.blender, pytest.mark.slow]

CHECKS = [
    f"{path.stem.removeprefix('checks_')}-{name}"
    for path in sorted(Path(__file__).parent.glob("checks_*.py"))
    for name in re.findall(r"^@check\ndef (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
]


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
