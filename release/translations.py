# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's texts in its languages: ``python -m sparse2dense.release.translations``.

Finds all that people read in the add-on's source, and brings ``s2d_addon/translations`` up to date with it: a
new text comes into each language's file with an empty translation to fill in, one that is gone leaves it. A
language is added by its name in Blender: ``... translations --add it_IT``, or ``it`` for all its countries.
"""

from __future__ import annotations

import argparse
import ast
import json
import string
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..models.keypoints import BODY_REGIONS
from ..models.measures import MEASURES
from ..models.whole_files import write_whole

ADD_ON = Path(__file__).resolve().parents[1] / "s2d_addon"
TRANSLATIONS = ADD_ON / "translations"

NAMES = frozenset({"Alembic", "Mixamo", "Python", "Sparse2Dense", "USD", "Unreal"})
"""Names, which are the same in all languages."""

_SAYING = {"say", "label_text", "translatable"}  # functions of translating.py
_SHOWN = {"text", "heading", "title", "message", "confirm_text"}  # what Blender's functions show
_PROPERTY = {"name", "description"}
_WITH_TOOLTIP = {"Operator", "Menu"}  # whose docstrings are tooltips


class UnsayableError(Exception):
    """A text that cannot be translated as it is written; the message says where and what to do."""


def messages(folder: Path = ADD_ON) -> list[str]:
    """Return all texts that people read in the add-on's ``folder``, each once, in the order of the source.

    Those that Blender looks up, and the arguments of ``translating.py``'s functions; then what the engine
    says in few words: measures of a body, and its parts. Raises UnsayableError.
    """
    found: list[str] = []
    for path in sorted(folder.rglob("*.py")):
        found += _of_source(path.read_text(encoding="utf-8"), path.relative_to(folder).as_posix())
    for measure in MEASURES.values():
        found += [measure.label, measure.description]
    found += [region.replace("_", " ") for region in BODY_REGIONS]
    return [text for text in dict.fromkeys(found) if text not in NAMES and any(map(str.isalpha, text))]


def placeholders(text: str) -> list[tuple[str, str, str]]:
    """Return what values a text takes: each one's name, format and conversion, in alphabetical order."""
    fields = [part[1:] for part in string.Formatter().parse(text) if part[1] is not None]
    return sorted((name or "", spec or "", conversion or "") for name, spec, conversion in fields)


def read(path: Path) -> dict[str, str]:
    """Return a language's translations, empty where there is none yet."""
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return found


def update(path: Path) -> list[str]:
    """Bring a language's file up to date and return the texts that it lacks; without a file, make one."""
    known = read(path) if path.exists() else {}
    wanted = {text: known.get(text, "") for text in messages()}
    write_whole(path, json.dumps(wanted, ensure_ascii=False, indent=0) + "\n")
    return [text for text, translation in wanted.items() if not translation]


# ---- source ----------------------------------------------------------------------------------


def _of_source(source: str, where: str) -> Iterator[str]:
    """Return the texts of a module, in order."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef | ast.Call)]
    for node in sorted(nodes, key=lambda node: (node.lineno, node.col_offset)):
        try:
            yield from _of_class(node) if isinstance(node, ast.ClassDef) else _of_call(node, where)
        except UnsayableError as error:
            raise UnsayableError(f"{where}:{node.lineno}: {error}") from None


def _of_class(node: ast.ClassDef) -> Iterator[str]:
    """Return what a registered class is called, and its tooltip."""
    given = {
        target.id: statement.value
        for statement in node.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    if label := given.get("bl_label"):
        yield from _shown(label)
        if any(kind in node.name for kind in ("_OT_", "_MT_")) and (tooltip := ast.get_docstring(node)):
            yield tooltip


def _of_call(node: ast.Call, where: str) -> Iterator[str]:
    """Return the texts that a call shows. What ``engine/`` says is wrong is said in a thread, in English."""
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    if called in _SAYING:
        yield from _shown(node.args[0])
    elif called.endswith("Property"):
        yield from _of_property(given)
    elif called == "poll_message_set":
        _refuse_words(node.args[0], "Blender shows it untranslated: put it into say(...)")
    elif called == "report":
        yield from _shown(node.args[1])
    elif called in {"InputError", "S2DError"} and not where.startswith("engine/"):
        _refuse_words(node.args[1], "put it into say(...)")
    elif not _is_false(given.get("translate")):
        for name in sorted(_SHOWN & given.keys()):
            yield from _shown(given[name])


def _of_property(given: dict[str | None, ast.expr]) -> Iterator[str]:
    options = given.get("options")
    if options and "HIDDEN" in ast.literal_eval(options):
        return
    for name in sorted(_PROPERTY & given.keys(), reverse=True):
        yield from _shown(given[name])
    items = given.get("items")
    if isinstance(items, ast.Tuple):
        for item in items.elts:
            if isinstance(item, ast.Tuple):
                for text in item.elts[1:3]:
                    yield from _shown(text)


def _shown(value: ast.expr) -> Iterator[str]:
    """Return the literals that may be shown; what is put together of words is refused."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.IfExp):
        yield from _shown(value.body)
        yield from _shown(value.orelse)
    elif isinstance(value, ast.BoolOp):
        for part in value.values:
            yield from _shown(part)
    elif isinstance(value, ast.JoinedStr | ast.BinOp):
        _refuse_words(value, "put it as it is into say(...) or label_text(...), and its values beside it")


def _refuse_words(value: ast.expr, why: str) -> None:
    words = [node.value for node in ast.walk(value) if isinstance(node, ast.Constant)]
    if isinstance(value, ast.Constant | ast.JoinedStr | ast.BinOp) and any(
        isinstance(word, str) and any(map(str.isalpha, word)) for word in words
    ):
        raise UnsayableError(f"{ast.unparse(value)} is not translated: {why}.")


def _is_false(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 1 where a text waits for its translation."""
    parser = argparse.ArgumentParser(
        prog="sparse2dense.release.translations", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--add", metavar="LANGUAGE", help="begin another language, by its name in Blender")
    options = parser.parse_args(arguments)
    paths = sorted(TRANSLATIONS.glob("*.json"))
    if options.add:
        paths.append(TRANSLATIONS / f"{options.add}.json")
    try:
        lacking = {path.name: update(path) for path in paths}
    except UnsayableError as error:
        print(error, file=sys.stderr)
        return 1
    for name, texts in lacking.items():
        print(f"{name}: {len(texts)} to translate" if texts else f"{name}: complete")
    return 1 if any(lacking.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
