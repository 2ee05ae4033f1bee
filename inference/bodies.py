# SPDX-License-Identifier: GPL-3.0-or-later
"""Opening the body model that a file or a user names."""

from __future__ import annotations

from pathlib import Path

from ..models.body import BodyModel, load_body
from .errors import InputError


def open_body(name: str, path: str | Path | None = None) -> BodyModel:
    """Load a body model as :func:`~..models.body.load_body` does; InputError ``body`` where it cannot be."""
    try:
        return load_body(name, path)
    except ValueError as error:
        raise InputError("body", str(error)) from error
