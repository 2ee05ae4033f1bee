# SPDX-License-Identifier: GPL-3.0-or-later
"""All that touches Blender: import a ``.s2d`` as an animated mesh with its video, and bake it to keyframes.

    operators ── paths ──▶ job ── child process ──▶ decoded folder ──▶ decoded ──▶ scene ──▶ bake
        ▲                                                                                     │
      panel ◀──────────────────────────── what to show ◀──────────────────────────────────────┘

The engine is never imported here: :mod:`.job` runs it as a child process and reads its files.
"""

from __future__ import annotations


def register() -> None:
    """Add the classes, menu entries and handlers to Blender."""
    from . import cache, operators, panel, preferences

    for module in (preferences, operators, panel, cache):
        module.register()


def unregister() -> None:
    """End a running import and take everything out of Blender again."""
    from . import cache, operators, panel, preferences

    for module in (cache, panel, operators, preferences):
        module.unregister()
