# SPDX-License-Identifier: GPL-3.0-or-later
"""The checkpoints that trainings go on from."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..outputs import archive
from ..whole_files import write_whole

CHECKPOINTS = archive("checkpoint", b"/data.pkl")
"""The kind of the files that :func:`write_checkpoint` writes."""


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint's tensors and numbers, whole or not at all."""
    coded = io.BytesIO()  # PyTorch's own writing does not say that the disk is full
    torch.save(state, coded)
    write_whole(path, coded.getvalue())


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint's tensors and numbers, nothing else.

    InputError ``checkpoint`` where there is none, or it is damaged or holds anything else.
    """
    if not path.is_file():
        raise InputError("checkpoint", f"There is no checkpoint {path}: name another, or start anew.")
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch raises whatever the damage leads to
        raise InputError("checkpoint", f"{path} is no checkpoint of this training, or is damaged.") from error


@contextmanager
def of_this_training(path: Path) -> Iterator[None]:
    """Raise InputError ``checkpoint`` where the block cannot take over what :func:`read_checkpoint` read."""
    try:
        yield
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            "checkpoint", f"{path} was written with another configuration: go on with that one."
        ) from error
