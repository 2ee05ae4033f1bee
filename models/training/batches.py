# SPDX-License-Identifier: GPL-3.0-or-later
"""From a folder of drawn examples to what one step of the joint training takes.

All that is random about a step (which examples, how they are varied, which part is drawn and where it is
looked at closely) follows from the seed, the step and the example's place in the batch alone. So a training
that is resumed goes on as if it had never stopped, and several processes that share a batch see what one
process would.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..body import BodyModel
from ..keypoints import KEYPOINT_INDEX
from ..windows import WINDOW
from .config import JointConfig
from .networks import predictor_inputs
from .picture_cache import LABEL_CELL, load_example
from .window_sampler import WindowSampler

_DETAILS = (
    (("nose", "left_ear", "right_ear"), 0.12),
    (("left_wrist", "left_pinky", "left_index"), 0.09),
    (("right_wrist", "right_pinky", "right_index"), 0.09),
)
"""Keypoints whose middle is a head or a hand, and its radius in metres."""

_CLOSE_LOOKS = 0.4  # share of examples whose head or a hand is what the perceptual loss looks at


class StepBatches(Dataset):
    """The batches of a training's steps, by step; all that is random follows from ``seed`` and the step.

    ``folder`` holds the examples; ``windows`` draws the vertex predictor's own, if there are any to be;
    ``share`` is what this process takes of a batch's examples.
    """

    def __init__(
        self,
        folder: Path,
        body: BodyModel,
        config: JointConfig,
        windows: WindowSampler | None = None,
        share: slice = slice(None),
        seed: int = 0,
    ) -> None:
        self._folder, self._body, self._config = folder, body, config
        self._windows, self._share, self._seed = windows, share, seed

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        """Make a step's batch; all but the windows' arrays have a first axis of examples, or rows of them."""
        config, paths = self._config, sorted(self._folder.glob("*.npz"))
        rng = np.random.default_rng([self._seed, step])
        chosen = rng.choice(len(paths), config.people, replace=len(paths) < config.people)
        places = range(config.people)[self._share]
        prepared = []
        for place in places:
            own = np.random.default_rng([self._seed, step, place])
            prepared.append(prepare(load_example(paths[chosen[place]], own), config, step, own))
        batch = {name: np.stack([example[name] for example in prepared]) for name in prepared[0]}
        windows = np.concatenate([batch.pop("reference_windows"), batch.pop("windows")], 1)
        batch |= predictor_inputs(self._body, windows, batch["known_shape"])
        if self._windows is not None:
            self._windows.rng = np.random.default_rng([self._seed, step, places.start])
            drawn = self._windows.batch(config.motion_windows)
            batch |= {f"window_{name}": value for name, value in drawn.items()}
        return {name: torch.from_numpy(value) for name, value in batch.items()}

    def from_step(self, step: int, loaders: int) -> Iterator[dict[str, Tensor]]:
        """Yield the batches of ``step`` and all later ones, made ahead by ``loaders`` processes."""
        return iter(DataLoader(self, batch_size=None, sampler=range(step, 2**31), num_workers=loaders))


def prepare(
    example: dict[str, np.ndarray], config: JointConfig, step: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Choose what is drawn of a varied example, and where the perceptual loss looks.

    Adds ``origin`` ``(2,)`` (x, y), projected ``keypoints`` ``(T, K, 2)`` and
    ``reference_keypoints``, ``details`` ``(T, P, 3)`` (x, y, radius; pixels of the part) and ``look``
    ``(4,)`` (frame, top, left, side); all that is true of the frames is cut to the part.
    """
    camera = example["camera"]
    # One reference, or two, and so on, in turn: a clip has as many as it pays for.
    references = 1 + step % config.references
    example = {name: _cut_references(name, value, references) for name, value in example.items()}
    made = {name: value for name, value in example.items() if name != "shape"}
    made["keypoints"] = _projected(example["windows"][:, WINDOW // 2], camera)
    made["reference_keypoints"] = _projected(example["reference_windows"][:, WINDOW // 2], camera)

    mask = example["masks"][0, 0]
    top, left = _around_person(mask, config.part, 8, rng)
    rows, columns = slice(top, top + config.part[0]), slice(left, left + config.part[1])
    made["origin"] = np.array([left, top], np.float32)
    for name in ("plates", "frames", "masks"):
        made[name] = example[name][..., rows, columns]
    rows, columns = (slice(side.start // LABEL_CELL, side.stop // LABEL_CELL) for side in (rows, columns))
    for name in ("flow", "known", "visible"):
        made[name] = example[name][..., rows, columns]

    seen = example["windows"][:, WINDOW // 2]
    points = np.stack(
        [seen[:, [KEYPOINT_INDEX[name] for name in names]].mean(1) for names, _ in _DETAILS], 1
    )  # (T, P, 3)
    sizes = np.array([size for _, size in _DETAILS], np.float32)
    radius = sizes * camera[0] / np.maximum(points[..., 2], 0.1)
    centres = _projected(points, camera) - made["origin"]
    made["details"] = np.concatenate([centres, radius[..., None]], -1).astype(np.float32)

    # At full size and, over a larger square, at half: in turn.
    side = config.perceptual_side * (1 + step // config.references % 2)
    side = min(side, *config.part)
    frame = int(rng.integers(len(made["frames"])))
    if rng.random() < _CLOSE_LOOKS:
        middle = made["details"][frame, rng.integers(len(_DETAILS)), 1::-1]  # y, x
        corner = np.clip(middle - side / 2, 0, np.array(config.part) - side).astype(int)
    else:
        corner = _around_person(made["masks"][frame, 0], (side, side), 1, rng)
    made["look"] = np.array([frame, *corner, side])
    return made


def _cut_references(name: str, value: np.ndarray, references: int) -> np.ndarray:
    """Keep the first of an example's references in an array that has them as an axis."""
    if name.startswith("reference"):
        return value[:references]
    return value[:, :references] if name in ("flow", "visible") else value


def _projected(points: np.ndarray, camera: np.ndarray) -> np.ndarray:
    return (points[..., :2] / np.maximum(points[..., 2:], 0.01) * camera[:2] + camera[2:]).astype(np.float32)


def _around_person(
    mask: np.ndarray, size: tuple[int, int], multiple: int, rng: np.random.Generator
) -> np.ndarray:
    """Choose top and left, multiples of ``multiple``, of a part that holds a random point of the person."""
    points = np.argwhere(mask > 0.5)
    middle = points[rng.integers(len(points))] if len(points) else np.array(mask.shape) // 2
    corner = np.clip(middle - rng.integers(size), 0, np.array(mask.shape) - size)
    return corner // multiple * multiple
