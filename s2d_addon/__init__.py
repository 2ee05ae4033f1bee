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
    from . import (
        baking,
        cache,
        cleanup,
        clip,
        importing,
        keeping,
        onion,
        panel,
        preferences,
        redecoding,
        retargeting,
    )

    first = preferences, cache, importing, panel, redecoding
    return *first, clip, onion, cleanup, baking, retargeting, keeping
