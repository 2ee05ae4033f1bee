# SPDX-License-Identifier: GPL-3.0-or-later
"""The checkpoints that trainings go on from, and the folders that they write to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..whole_files import unwritable, whole_file


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint's tensors and numbers, whole or not at all."""
    with whole_file(path) as aside:
        torch.save(state, aside)


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


def check_writable(*folders: Path | None) -> None:
    """Make folders, and see that all can be written to before hours of training; None is none.

    InputError ``output_unwritable``, or S2DError ``disk_full``.
    """
    for folder in filter(None, folders):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise unwritable(folder, error) from error
