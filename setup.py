# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch the pose estimator's model files while the package is built, so that running never has to."""

import importlib.util
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


def fetch_models() -> None:
    """Fetch the pose estimator's files by the package itself, which is not installed yet."""
    spec = importlib.util.spec_from_file_location(
        "sparse2dense", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    sys.modules["sparse2dense"] = importlib.util.module_from_spec(spec)
    importlib.import_module("sparse2dense.models.fetch").fetch("blazepose")


class BuildWithModels(build_py):
    """``build_py`` that first fetches what ``models/weights`` lacks; editable installs run it too."""

    def run(self) -> None:
        """Fetch, then build."""
        fetch_models()
        super().run()

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """Leave this script out: the package's folder is the repository's root."""
        return [found for found in super().find_package_modules(package, package_dir) if found[1] != "setup"]


setup(cmdclass={"build_py": BuildWithModels})
