# SPDX-License-Identifier: GPL-3.0-or-later
"""The model card's measured parts: whoever measures one puts it between its two marks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..errors import InputError
from ..whole_files import write_whole


def put_into_card(card: Path, part: str, lines: Iterable[str]) -> None:
    """Replace what stands in ``card`` between ``<!-- part -->`` and ``<!-- end of part -->`` by ``lines``.

    InputError ``card`` where the marks are not there.
    """
    start, end = f"<!-- {part} -->", f"<!-- end of {part} -->"
    before, mark, rest = card.read_text(encoding="utf-8").partition(start)
    _, closing, after = rest.partition(end)
    if not mark or not closing:
        raise InputError("card", f"{card} has no place for the {part}: put {start} and {end} there.")
    write_whole(card, "\n".join([before + mark, *lines, closing + after]))
