# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch the pose estimator's model files while the package is built, so that running never has to."""

import runpy
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

FETCH = runpy.run_path(str(Path(__file__).parent / "models" / "fetch.py"))


class BuildWithModels(build_py):
    """``build_py`` that first fetches what ``models/weights`` lacks; editable installs run it too."""

    def run(self) -> None:
        """Fetch, then build."""
        FETCH["fetch"]("blazepose")
        super().run()

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """Leave this script out: the package's folder is the repository's root."""
        return [found for found in super().find_package_modules(package, package_dir) if found[1] != "setup"]


setup(cmdclass={"build_py": BuildWithModels})
