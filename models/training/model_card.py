# SPDX-License-Identifier: GPL-3.0-or-later
"""The model card's measured parts: whoever measures one puts it between its two marks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ...inference.errors import InputError


def put_into_card(card: Path, part: str, lines: Iterable[str]) -> None:
    """Replace what stands in ``card`` between ``<!-- part -->`` and ``<!-- end of part -->`` by ``lines``.

    InputError ``card`` where the marks are not there.
    """
    start, end = f"<!-- {part} -->", f"<!-- end of {part} -->"
    before, mark, rest = card.read_text(encoding="utf-8").partition(start)
    _, closing, after = rest.partition(end)
    if not mark or not closing:
        raise InputError("card", f"{card} has no place for the {part}: put {start} and {end} there.")
    card.write_text("\n".join([before + mark, *lines, closing + after]), encoding="utf-8")
