# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the shipped weights lie, and which they are."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .errors import S2DError

WEIGHTS = Path(__file__).resolve().parent / "weights"
"""The folder of all that is shipped and fetched: networks, bodies, tables."""


def weights_path(file_name: str) -> Path:
    """Return the path of a shipped weights file; S2DError ``weights_missing`` where it is not there.

    What is a whole path already, of somebody's own weights, stays so.
    """
    path = WEIGHTS / file_name
    if not path.is_file():
        raise S2DError(
            "weights_missing",
            f"The network file {path} is missing: reinstall Sparse2Dense, or train it with `s2d train`.",
        )
    return path


def weights_sha256(file_name: str) -> str:
    """Return the SHA-256 of a weights file, see :func:`weights_path`, as 64 hexadecimal digits."""
    with weights_path(file_name).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
