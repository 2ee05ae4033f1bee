# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the types: ``python -m sparse2dense.release.check_types [mypy's arguments]``.

The repository's root is the package, whatever its folder is called, so mypy is shown it under the package's
name: by a link in a temporary folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run mypy as ``pyproject.toml`` configures it, and return its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sparse2dense").symlink_to(ROOT, target_is_directory=True)
        command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")]
        command += ["--cache-dir", str(ROOT / ".mypy_cache"), *sys.argv[1:]]
        # An installed copy of the package must not be looked at instead of this one.
        done = subprocess.run(command, cwd=folder, env=os.environ | {"MYPYPATH": folder}, check=False)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
