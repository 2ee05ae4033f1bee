# SPDX-License-Identifier: GPL-3.0-or-later
"""Sparse2Dense: a filmed person as a file of a few kilobytes, and back as an animated person.

This folder is at once the Blender extension and the Python package ``sparse2dense``; nothing
heavy is imported here, so that the engine's child process and the tests start without Blender.
"""


def register() -> None:
    """Register the extension with Blender."""
    from . import s2d_addon

    s2d_addon.register()


def unregister() -> None:
    """Remove everything that :func:`register` added to Blender."""
    from . import s2d_addon

    s2d_addon.unregister()
