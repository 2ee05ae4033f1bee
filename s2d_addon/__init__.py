# SPDX-License-Identifier: GPL-3.0-or-later
"""All that touches Blender: import a ``.s2d`` as an animated mesh with its video, and bake it to keyframes.

    doors (importing, encoding, panel, preferences)
      └─▶ retarget ─▶ bake ─▶ clip (what stands in the scene) ─▶ engine ── child process ──▶ decoded folder

The engine itself is never imported: :mod:`.engine.job` runs it as a child process and reads its files.
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
    from . import encoding, importing, new_clip, panel, preferences, translating
    from .bake import actions
    from .bake import operators as bake
    from .clip import (
        cleanup,
        clearing,
        contacts,
        doubts,
        film,
        fixes,
        keeping,
        onion,
        place,
        redecoding,
        storage,
        timing,
    )
    from .retarget import operators as retarget

    first = translating, preferences, storage, clearing, importing, encoding, panel, new_clip, redecoding
    editing = film, place, timing, doubts, onion, fixes, contacts, cleanup
    return *first, *editing, actions, bake, retarget, keeping
