# SPDX-License-Identifier: GPL-3.0-or-later
"""How long work says how far it has come."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with the stage's name, how much of it is done, and how much there is; may raise Cancelled."""


def unwatched(_stage: str, _done: int, _total: int) -> None:
    """Progress that nobody wants to know of."""
