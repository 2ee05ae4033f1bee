# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Blender there can be as a package."""

import os

import pytest
from sparse2dense.release import bpy_env


@pytest.mark.skipif(os.name == "nt", reason="makes a shell script")
def test_a_python_that_does_not_run_is_as_good_as_none(tmp_path, monkeypatch):
    monkeypatch.setattr(bpy_env, "VERSIONS", {"5.9.0": bpy_env.Needs((3, 99), "2.3.4")})
    monkeypatch.setenv("S2D_BPY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(bpy_env.NoPythonError, match=r"made for Python 3\.99, and there is no python3\.99"):
        bpy_env.ensure_bpy("5.9.0")
    shim = tmp_path / "python3.99"  # as a version manager leaves one for each version it has
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    with pytest.raises(bpy_env.NoPythonError):
        bpy_env.ensure_bpy("5.9.0")
    assert not (tmp_path / "cache").exists()
