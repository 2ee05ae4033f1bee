# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate: who may import whom, types, and what documents and names promise of the tree."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("inference", "models", "s2d_addon", "release", "benchmarks")
SHARED_NAMES = {"__init__", "__main__", "operators", "pose_lifter"}
"""Of several modules: a package's own, a panel's operators, and those of a network and its session."""


def modules(*rooms):
    return [path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))]


def test_imports_only_point_down():
    """The contracts of pyproject.toml: the house's table, and no two files that import each other."""
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.slow
def test_types_hold():
    command = [sys.executable, "-m", "sparse2dense.release.check_types"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_no_two_modules_share_a_name():
    places = defaultdict(list)
    for path in modules(*ROOMS):
        if path.stem not in SHARED_NAMES:
            places[path.stem].append(path.relative_to(ROOT).as_posix())
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_films_are_opened_in_one_room():
    opens = re.compile(r"^\s*(import av\b|from av\b)|cv2\.Video", re.MULTILINE)
    users = [path for path in modules(*ROOMS) if opens.search(path.read_text(encoding="utf-8"))]
    assert {path.parent for path in users} == {ROOT / "inference" / "film"}


def test_nothing_from_a_file_is_ever_run():
    """No pickle but that of SMPL's own files, whose reader allows arrays alone; no eval, no exec."""
    for path in modules(*ROOMS):
        source = path.read_text(encoding="utf-8")
        assert not re.search(r"(?<![.\w])(eval|exec)\(|allow_pickle=True|weights_only=False", source), path
        if path != ROOT / "models" / "smpl.py":
            assert not re.search(r"pickle\.(load|loads|Unpickler)\b", source), path


def test_the_version_is_the_same_everywhere():
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    with (ROOT / "blender_manifest.toml").open("rb") as file:
        assert tomllib.load(file)["version"] == version
    news = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"(?m)^## (\S+)", news).group(1) in ("Unreleased", version)
    assert f"## {version}" in news


def test_every_package_is_installed():
    with (ROOT / "pyproject.toml").open("rb") as file:
        named = set(tomllib.load(file)["tool"]["setuptools"]["packages"])
    folders = {path.parent.relative_to(ROOT) for path in modules(*ROOMS) if path.name == "__init__.py"}
    assert named == {"sparse2dense"} | {".".join(("sparse2dense", *folder.parts)) for folder in folders}


DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "models/weights/MODEL_CARD.md"])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_names_is_there(document):
    """Paths, modules and links that a document shows exist in the tree."""
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"
    everything = {path.relative_to(ROOT).as_posix() for path in modules(*ROOMS, "tests")}
    for named in re.findall(r"`([\w/]+\.py)`", text):
        found = any(path == named or path.endswith(f"/{named}") for path in everything)
        assert found or (ROOT / named).exists(), f"{document.name} names {named}"
    for module in re.findall(r"sparse2dense\.([a-z_0-9]+(?:\.[a-z_0-9]+)*)", text):
        path = ROOT.joinpath(*module.split("."))
        assert path.with_suffix(".py").exists() or path.is_dir(), (
            f"{document.name} names sparse2dense.{module}"
        )


def test_messages_that_the_guide_quotes_are_the_programs_own():
    guide = (ROOT / "docs" / "USER_GUIDE.md").read_text(encoding="utf-8")
    table = guide.partition("## When something goes wrong")[2]
    sources = "\n".join(
        path.read_text(encoding="utf-8") for path in modules("inference", "models", "s2d_addon")
    )
    quoted = [piece for said in re.findall(r'"([^"]+)"', table) for piece in said.split("…")]
    assert len(quoted) >= 5
    for piece in filter(None, (piece.strip() for piece in quoted)):
        assert piece in sources, f"no message says: {piece}"


def test_references_in_docstrings_lead_somewhere():
    """A ``:mod:`` of a docstring names a module that is there, relative to the one it stands in."""
    for path in modules(*ROOMS):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = [
            ast.get_docstring(node)
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        ]
        for named in re.findall(r":mod:`~?(\.+)([\w.]+)`", "\n".join(filter(None, docs))):
            dots, module = named
            folder = path.parents[len(dots) - 1]
            target = folder.joinpath(*module.split("."))
            assert target.with_suffix(".py").exists() or target.is_dir(), f"{path}: {dots}{module}"


def test_the_hooks_run_what_the_tests_run():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    for command in ("ruff check", "ruff format --check", "lint-imports", "sparse2dense.release.check_types"):
        assert f"entry: {command}" in hooks or f"entry: python -m {command}" in hooks
