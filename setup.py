# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``pyproject.toml`` cannot say of a package whose folder is the repository's root."""

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithoutSetup(build_py):
    """``build_py`` that leaves this script out of the package."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """Return the package's modules but this one."""
        return [found for found in super().find_package_modules(package, package_dir) if found[1] != "setup"]


setup(cmdclass={"build_py": BuildWithoutSetup})
