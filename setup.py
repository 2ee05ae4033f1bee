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


setup(cmdclass={"build_py": BuildWithModels})
