# SPDX-License-Identifier: GPL-3.0-or-later
"""Configurations of the joint training: TOML files, one a released model, read into one frozen value."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import InputError
from .losses import LossWeights

FOLDER = Path(__file__).parent / "configs"


@dataclass(frozen=True)
class JointConfig:
    """What a joint training does; each field may stand in the file under its name.

    Attributes:
        steps: of the whole training; the schedule ends with them.
        minutes: of the whole training, where time is what is scarce: then the schedule ends with whichever
            comes first. 0 is no limit.
        people: examples a step, over all processes.
        references, targets: up to how many pictures are drawn from, and how many frames in a row are drawn.
        examples, first: how many examples to draw in all, and how many before training starts.
        part: height and width of what is drawn of a window, around a random point of the person.
        motion_windows: keypoint windows a step, of motion without pictures, that the vertex predictor
            goes on learning from.
        learning_rate, predictor_learning_rate, discriminator_learning_rate: where the schedule starts.
        mesh: guide the motion by the predicted mesh; else by the keypoints alone.
        joint: let the picture's losses reach the vertex predictor.
        pretrained_predictor: start from the shipped vertex predictor; else from nothing.
        perceptual_stages, perceptual_side: stages of VGG-16 that are compared, on squares of this side.
        compile: compile the networks that draw; on a GPU alone.
        losses: how much each part of the loss counts; 0 leaves it out.
    """

    steps: int
    minutes: float = 0.0
    people: int = 3
    references: int = 2
    targets: int = 2
    examples: int = 6000
    first: int = 500
    part: tuple[int, int] = (160, 112)
    motion_windows: int = 16
    learning_rate: float = 1e-3
    predictor_learning_rate: float = 1e-4
    discriminator_learning_rate: float = 4e-4
    mesh: bool = True
    joint: bool = True
    pretrained_predictor: bool = True
    perceptual_stages: int = 3
    perceptual_side: int = 80
    compile: bool = False
    losses: LossWeights = field(default_factory=LossWeights)


def read_config(name: str | Path) -> JointConfig:
    """Read a configuration: a TOML file, or the name of one in :data:`FOLDER`.

    InputError ``config`` for a file that is not there or not TOML, a key that is not known, or a value of
    another kind than it should be.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = FOLDER / f"{path.name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in FOLDER.glob("*.toml")))
        raise InputError("config", f"There is no configuration {name}: give a TOML file, or one of {known}.")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError("config", f"{path.name} is not TOML: {error}.") from error
    return _filled(JointConfig, table, path.name)


def _filled(kind: type, table: dict[str, Any], where: str) -> Any:
    known = {entry.name: entry for entry in fields(kind)}
    values = {}
    for name, value in table.items():
        if name not in known:
            raise InputError("config", f"{where}: unknown key '{name}'; known are {', '.join(known)}.")
        values[name] = _converted(str(known[name].type), value, f"{where}: {name}")
    if missing := [name for name in ("steps",) if name in known and name not in values]:
        raise InputError("config", f"{where}: '{missing[0]}' is missing.")
    return kind(**values)


def _converted(kind: str, value: Any, where: str) -> Any:
    if kind == "LossWeights" and isinstance(value, dict):
        return _filled(LossWeights, value, where)
    if kind == "float" and type(value) in (int, float) and value >= 0:
        return float(value)
    if kind == "int" and type(value) is int and value >= 0:
        return value
    if kind == "bool" and type(value) is bool:
        return value
    if kind.startswith("tuple") and isinstance(value, list) and [type(x) for x in value] == [int, int]:
        if min(value) > 0 and all(x % 8 == 0 for x in value):
            return tuple(value)
        raise InputError("config", f"{where} = {value}: both sides must be multiples of 8.")
    raise InputError("config", f"{where} = {value!r} should be: {kind}, not negative.")
