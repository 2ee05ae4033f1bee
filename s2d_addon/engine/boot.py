# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module of this package where it is not installed: ``python -I boot.py SITES MODULE ...``.

Inside Blender this package is called ``bl_ext.<repository>.sparse2dense`` and its wheels lie in a folder
that only Blender knows. Here the package gets its own name back, whatever its folder is called; ``SITES``
is a JSON list of folders to import from, ``MODULE`` is ``inference`` for the worker.
"""

import importlib.util
import json
import runpy
import sys
from pathlib import Path

PACKAGE = "sparse2dense"


def main() -> None:
    """Make the package and its wheels importable, then run the module as ``python -m`` would."""
    sys.path.extend(json.loads(sys.argv.pop(1)))
    module = sys.argv.pop(1)
    root = Path(__file__).resolve().parents[2]
    spec = importlib.util.spec_from_file_location(
        PACKAGE, root / "__init__.py", submodule_search_locations=[str(root)]
    )
    assert spec  # as every .py file has, and a loader
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    assert spec.loader
    spec.loader.exec_module(package)
    runpy.run_module(f"{PACKAGE}.{module}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
