# SPDX-License-Identifier: GPL-3.0-or-later
"""All that touches Blender: import a ``.s2d`` as an animated mesh with its video, and bake it to keyframes.

    importing ── paths ──▶ job ── child process ──▶ decoded folder ──▶ decoded ──▶ scene ──▶ baking
        ▲                                                                  ▲
      panel                                                               clip

The engine is never imported here: :mod:`.job` runs it as a child process and reads its files.
"""

from __future__ import annotations


def register() -> None:
    """Add the classes, menu entries and handlers to Blender."""
    from . import baking, cache, clip, importing, panel, preferences

    for module in (preferences, importing, panel, clip, baking, cache):
        module.register()


def unregister() -> None:
    """End a running import and take everything out of Blender again."""
    from . import baking, cache, clip, importing, panel, preferences

    for module in (cache, baking, clip, panel, importing, preferences):
        module.unregister()
