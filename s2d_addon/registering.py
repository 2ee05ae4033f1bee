# SPDX-License-Identifier: GPL-3.0-or-later
"""Registering classes whose properties are annotated in Python's way.

Blender wants a property itself as the annotation of an attribute (``size: IntProperty()``), which says to no
reader, and to no type checker, that the attribute holds an ``int``. Here it is written
``size: Annotated[int, IntProperty()]``, and Blender is shown the property.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import bpy

from .translating import CONTEXT

_WITH_LABEL = bpy.types.Operator, bpy.types.Panel, bpy.types.Menu


def register_class(cls: type) -> None:
    """Register a class with Blender, with the properties that it and its bases are annotated with.

    All that it and they are called is translated in our context.
    """
    for base in cls.__mro__:
        if base.__module__.startswith(str(__package__)):
            _show_properties(base)
    if issubclass(cls, _WITH_LABEL):
        cls.bl_translation_context = CONTEXT
    bpy.utils.register_class(cls)


def registration(classes: Sequence[type]) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return a module's ``register`` and ``unregister`` for its classes, in order and back."""

    def register() -> None:
        for cls in classes:
            register_class(cls)

    def unregister() -> None:
        for cls in reversed(classes):
            bpy.utils.unregister_class(cls)

    return register, unregister


def _show_properties(cls: type) -> None:
    """Put the property in place of each annotation that holds one."""
    hints = inspect.get_annotations(cls, eval_str=True)
    if hints:
        cls.__annotations__ = {
            name: getattr(hint, "__metadata__", (hint,))[0] for name, hint in hints.items()
        }
        for shown in cls.__annotations__.values():
            if hasattr(shown, "keywords"):
                shown.keywords.setdefault("translation_context", CONTEXT)
