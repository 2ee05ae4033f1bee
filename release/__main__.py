# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a release: ``python -m sparse2dense.release VERSION -o DIR``.

The folder that it leaves can be put on any web server as it is: the extension's zip for each platform, the
``index.json`` by which Blender subscribes to them, their checksums, and what is new.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from ..models.errors import S2DError
from ..models.whole_files import publish, staging_folder
from .bpy_env import BpyError
from .build import MANIFEST, PLATFORMS, ROOT, BuildError, build, extension_tool, index

CHECKSUMS, NOTES = "SHA256SUMS", "RELEASE_NOTES.md"


def check_version(version: str, root: Path = ROOT) -> str:
    """Return what is new in ``version``; BuildError, which says what to do, where not all names it."""
    manifest = tomllib.loads((root / MANIFEST).read_text(encoding="utf-8"))["version"]
    package = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    for file, stated in ((MANIFEST, manifest), ("pyproject.toml", package)):
        if stated != version:
            raise BuildError(f"{file} says version {stated}, not {version}: set it there first.")
    news = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    section = re.search(r"(?ms)^## ([^\s,]+)[^\n]*\n(.*?)(?=^## |\Z)", news)
    if section is None or section[1] != version:
        newest = section[1] if section else "nothing"
        raise BuildError(f'CHANGELOG.md begins with {newest}: head what is new with "## {version}" first.')
    return section[2].strip()


def check_committed(root: Path = ROOT) -> None:
    """Raise BuildError where files are not committed: nobody could build the same again."""
    command = ["git", "-C", str(root), "status", "--porcelain"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or done.stdout:
        changed = done.stdout.splitlines()[0][3:] if done.stdout else done.stderr.strip()
        raise BuildError(f"Not all is committed ({changed}): commit it, or stash it, first.")


def write_checksums(folder: Path) -> None:
    """Write the SHA-256 of each zip in ``folder``, as ``sha256sum --check`` reads them."""
    lines = []
    for zipped in sorted(folder.glob("*.zip")):
        with zipped.open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {zipped.name}\n")
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="sparse2dense.release", description=__doc__.splitlines()[0])
    parser.add_argument("version", help="as the manifest, the package and the changelog say it")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="a new folder (release-VERSION)")
    parser.add_argument(
        "--blender", metavar="COMMAND", help="the Blender that builds; default: the bpy package"
    )
    options = parser.parse_args(arguments)
    target = options.output or Path(f"release-{options.version}")
    try:
        news = check_version(options.version)
        check_committed()
        if target.exists():
            raise BuildError(f"{target} is there already: remove it, or name another folder with -o.")
        blender = extension_tool(options.blender)
        with staging_folder(target.absolute().parent) as aside:
            folder = aside / target.name
            folder.mkdir()
            for platform in PLATFORMS:
                zipped = build(folder, platform, blender)
                print(f"{zipped.name} ({zipped.stat().st_size / 1e6:.0f} MB)", flush=True)
            index(folder, blender)
            write_checksums(folder)
            (folder / NOTES).write_text(f"# Sparse2Dense {options.version}\n\n{news}\n", encoding="utf-8")
            print(publish(folder, target.absolute().parent))
    except (BuildError, BpyError, OSError, S2DError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
