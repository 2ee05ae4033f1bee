# SPDX-License-Identifier: GPL-3.0-or-later
"""What people read, in the language of Blender's interface.

``translations/de.json`` and its like say what each English text is in a language. Once Blender has them, it
translates by itself what registered classes are called, their tooltips, the texts of layouts, and reports.
What it cannot look up is said through the functions here: texts with values in them, why a button is grey,
and errors. They work without Blender too, in English.
"""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

TRANSLATIONS = Path(__file__).with_name("translations")
CONTEXT = "Sparse2Dense"
"""The context of what is ours: of words such as Clip or Weight, Blender's own translations mean others."""

_CONTEXTS = ("*", CONTEXT)  # Blender looks up tooltips, reports and plain texts of layouts in the first

_WIDE = "\u2e80-\ua4cf\uf900-\ufaff\uff00-\uff60"  # letters and signs of Chinese and Japanese
_NOT_FIRST = "、。，．：；！？）」』】ー々"
_PIECE = re.compile(rf"[{_WIDE}][{_NOT_FIRST}]*\s*|[^\s{_WIDE}]+[{_NOT_FIRST}]*\s*|\s+")


class _Blender:
    """Blender's own translations, once it has ours."""

    translations: Any = None


def say(text: str, /, **values: object) -> str:
    """Return a sentence in the user's language, ``values`` put where it has their names: ``{count}``."""
    return _filled(_translated("rpt", text), values)


def label_text(text: str, /, **values: object) -> str:
    """Return what stands on a panel, as :func:`say` does; users choose languages for both apart."""
    return _filled(_translated("iface", text), values)


def translatable(text: str) -> str:
    """Return ``text`` as it is: one that is kept in English, and translated where it is shown."""
    return text


def broken(text: str, width: int) -> list[str]:
    """Break a text into lines as wide as ``width`` letters: at spaces, and in Chinese and Japanese anywhere.

    Their letters are two wide, and do not begin a line where they are a full stop or a closing bracket. What
    has no place to break, such as a long path, is cut.
    """
    lines = [""]
    for piece in re.findall(_PIECE, text):
        room = width - _width(lines[-1])
        if _width(piece.rstrip()) > room and lines[-1]:
            lines.append("")
            room = width
        rest = piece
        while _width(rest.rstrip()) > room:
            lines[-1], rest = rest[:room], rest[room:]
            lines.append("")
        lines[-1] += rest
    return [line.rstrip() for line in lines]


def _translated(kind: str, text: str) -> str:
    known = _Blender.translations
    return getattr(known, f"pgettext_{kind}")(text, CONTEXT) if known else text


def _filled(text: str, values: dict[str, object]) -> str:
    return text.format(**values) if values else text  # what is a file's own word is no template


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def register() -> None:
    """Give Blender the texts of all languages."""
    import bpy

    languages = {
        path.stem: {
            (context, text): translation
            for text, translation in json.loads(path.read_text(encoding="utf-8")).items()
            for context in _CONTEXTS
            if translation  # Blender would show nothing
        }
        for path in TRANSLATIONS.glob("*.json")
    }
    _Blender.translations = bpy.app.translations
    _Blender.translations.register(__name__, languages)


def unregister() -> None:
    """Take them back."""
    _Blender.translations.unregister(__name__)
    _Blender.translations = None
