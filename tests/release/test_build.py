# SPDX-License-Identifier: GPL-3.0-or-later
"""The zips as a repository that Blender can subscribe to."""

import hashlib
import json
import os
import subprocess

import pytest
from sparse2dense.release import build
from sparse2dense.release.bpy_env import ensure_bpy, newest

pytestmark = [pytest.mark.blender, pytest.mark.slow]

SUBSCRIBE = """
import os, sys, bpy
preferences = bpy.context.preferences
bpy.ops.preferences.extension_repo_add(name="Test", remote_url=sys.argv[1], type="REMOTE")
number = next(n for n, repo in enumerate(preferences.extensions.repos) if repo.remote_url == sys.argv[1])
assert bpy.ops.extensions.repo_sync(repo_index=number) == {"FINISHED"}
preferences.system.use_online_access = True  # Blender asks for it whatever the address
bpy.ops.extensions.package_install(repo_index=number, pkg_id="sparse2dense", enable_on_install=True)
enabled = [addon.module for addon in preferences.addons if addon.module.endswith("sparse2dense")]
print("enabled", enabled, bpy.types.S2D_PT_main.bl_label, flush=True)
os._exit(0)  # some versions of bpy never come back from ending Python
"""


def test_blender_subscribes_to_the_index_and_installs_from_it(extension_zip, cut_off, tmp_path):
    index = build.index(extension_zip.parent, build.extension_tool())
    (listed,) = json.loads(index.read_text())["data"]
    assert (listed["id"], listed["platforms"]) == ("sparse2dense", ["linux-x64"])
    assert listed["python_versions"] == list(build.PYTHONS)
    assert listed["archive_size"] == extension_zip.stat().st_size <= build.MAX_BYTES
    with extension_zip.open("rb") as file:
        assert listed["archive_hash"] == "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    python = ensure_bpy(newest())
    done = subprocess.run(
        [*cut_off, python, "-I", "-c", SUBSCRIBE, index.as_uri()],
        env=os.environ | {"BLENDER_USER_RESOURCES": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "enabled ['bl_ext." in done.stdout, done.stdout + done.stderr
