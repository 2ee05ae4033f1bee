# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that are shown to people."""

from __future__ import annotations


class S2DError(Exception):
    """Something a person can act on: one line that says what was wrong, where, and what to do.

    ``code`` is a short stable word for programs (the worker's JSON, the add-on), ``exit_status`` what
    the command line returns: 2 for what the user gave wrongly, 1 for anything else.
    """

    exit_status = 1

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class InputError(S2DError):
    """The user's file or option is at fault."""

    exit_status = 2


class Cancelled(S2DError):
    """The user stopped the work."""

    def __init__(self) -> None:
        super().__init__("cancelled", "Cancelled.")
