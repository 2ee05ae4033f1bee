# SPDX-License-Identifier: GPL-3.0-or-later
"""All that touches Blender: import a ``.s2d`` as an animated mesh with its video, and bake it to keyframes.

    importing ── paths ──▶ job ── child process ──▶ decoded folder ──▶ decoded ──▶ scene ──▶ baking
        ▲                                                                  ▲
      panel                                                               clip

The engine is never imported here: :mod:`.job` runs it as a child process and reads its files.
"""

from __future__ import annotations

from types import ModuleType


def register() -> None:
    """Add the classes, menu entries and handlers to Blender."""
    for module in _modules():
        module.register()


def unregister() -> None:
    """End a running import and take everything out of Blender again."""
    for module in reversed(_modules()):
        module.unregister()


def _modules() -> tuple[ModuleType, ...]:
    """Return what registers something, in the order of the panels."""
    from . import encoding, importing, panel, preferences
    from .bake import operators as bake
    from .clip import cleanup, keeping, onion, place, redecoding, timing
    from .engine import cache
    from .retarget import operators as retarget

    first = preferences, cache, importing, encoding, panel, redecoding
    return *first, place, timing, onion, cleanup, bake, retarget, keeping
