# SPDX-License-Identifier: GPL-3.0-or-later
"""The package under its own name where it is not installed: in any folder, its wheels elsewhere."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from sparse2dense.s2d_addon.engine import job

TOOL = """
import json, sys
import a_wheel
from . import other
import sparse2dense
told = [__name__, __package__, sys.argv[1:], sys.argv[0] == __file__, other.__name__, a_wheel.__file__]
print(json.dumps([*told, sparse2dense.loaded]))
"""


def test_a_module_runs_under_the_packages_name_with_the_wheels_it_is_given(tmp_path):
    root, wheels = tmp_path / "an extension of any name", tmp_path / "wheels 人"
    engine = root / "s2d_addon" / "engine"
    engine.mkdir(parents=True)
    wheels.mkdir()
    (root / "__init__.py").write_text("loaded = 1")
    (root / "other.py").touch()
    (root / "tool.py").write_text(TOOL)
    (wheels / "a_wheel.py").touch()
    boot = shutil.copy(Path(job.__file__).with_name("boot.py"), engine)
    command = [sys.executable, "-I", "-X", "utf8", boot, json.dumps([str(wheels)]), "tool"]
    done = subprocess.run(
        [*command, "--option", "value"], capture_output=True, text=True, check=True, encoding="utf-8"
    )
    assert json.loads(done.stdout) == [
        "__main__",
        "sparse2dense",
        ["--option", "value"],
        True,
        "sparse2dense.other",
        str(wheels / "a_wheel.py"),
        1,
    ]


def test_the_engine_itself_comes_before_what_it_is_given(tmp_path):
    """A package of the user's with the name of one of Python's own must not stand in its way."""
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    (tmp_path / "json").mkdir()
    command = [
        sys.executable,
        "-I",
        str(Path(job.__file__).with_name("boot.py")),
        json.dumps([str(tmp_path)]),
    ]
    done = subprocess.run([*command, "inference", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
