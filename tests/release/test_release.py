# SPDX-License-Identifier: GPL-3.0-or-later
"""A release is of one version, committed whole, and can be checked by whoever loads it down."""

import subprocess

import pytest
from sparse2dense.release import __main__ as release
from sparse2dense.release.build import BuildError

NEWS = "# Changes\n\n## 1.2.0, 2026-11-30\n\n- What is new.\n- More.\n\n## 1.1.0\n\n- Old.\n"


@pytest.fixture
def root(tmp_path):
    """A tree whose files name version 1.2.0, all committed."""
    (tmp_path / "blender_manifest.toml").write_text('version = "1.2.0"\n')
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(NEWS)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *command], check=True)
    return tmp_path


def test_the_notes_are_what_the_changelog_says_of_the_version(root):
    assert release.check_version("1.2.0", root) == "- What is new.\n- More."


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (
            "blender_manifest.toml",
            'version = "1.1.0"\n',
            "toml says version 1.1.0, not 1.2.0",
        ),
        ("pyproject.toml", '[project]\nversion = "1.1.0"\n', "pyproject.toml says version 1.1.0"),
        ("CHANGELOG.md", NEWS.replace("1.2.0,", "Unreleased"), 'begins with Unreleased.*"## 1.2.0" first'),
    ],
)
def test_what_names_another_version_is_told(root, file, content, said):
    (root / file).write_text(content)
    with pytest.raises(BuildError, match=said):
        release.check_version("1.2.0", root)


def test_what_is_not_committed_is_no_release(root):
    release.check_committed(root)
    (root / "new file.py").write_text("")
    with pytest.raises(BuildError, match=r"new file\.py"):
        release.check_committed(root)


def test_a_wrong_version_ends_before_anything_is_built(tmp_path, capsys):
    assert release.main(["0.0.0", "-o", str(tmp_path / "out")]) == 1
    assert "not 0.0.0: set it there first" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_checksums_are_as_sha256sum_reads_them(tmp_path):
    for name in ("b.zip", "a.zip"):
        (tmp_path / name).write_bytes(name.encode())
    release.write_checksums(tmp_path)
    assert [line.split("  ")[1] for line in (tmp_path / release.CHECKSUMS).read_text().splitlines()] == [
        "a.zip", "b.zip",
    ]  # fmt: skip
    command = ["sha256sum", "--check", "--strict", release.CHECKSUMS]
    subprocess.run(command, cwd=tmp_path, check=True)
