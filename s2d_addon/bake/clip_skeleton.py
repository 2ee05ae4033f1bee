# SPDX-License-Identifier: GPL-3.0-or-later
"""A decoded clip's skeleton, ``skeleton.npz``, which the engine fitted to the vertices. NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

import numpy as np

from ...inference.decoding.decoded_folder import FILES
from ...models.array_files import read_arrays
from ...models.errors import InputError
from ...models.rotations import to_matrices
from ..translating import say
from .keys import Progress
from .rig import Motion, pose, simple_rig

_FRAMES_AT_ONCE = 32


class Points(Protocol):
    """Vertices ``(T, V, 3)``: an array, or what is read and placed as it is asked for."""

    def __len__(self) -> int:
        """Return T."""
        ...

    def __getitem__(self, frames: slice, /) -> np.ndarray:
        """Return the vertices of some frames."""
        ...


@dataclass(frozen=True)
class ClipSkeleton:
    """A skeleton's rest pose and skin, and its motion in T frames: the arrays of ``skeleton.npz``.

    ``moves`` ``(T, M, 3)`` is for skeletons that are baked: how far the M bones after the root go from their
    place on their parents, as their poses have it. Others only turn.
    """

    names: list[str]
    parents: np.ndarray
    heads: np.ndarray
    tails: np.ndarray
    matrices: np.ndarray
    rest_vertices: np.ndarray
    weight_bones: np.ndarray
    weight_values: np.ndarray
    rotations: np.ndarray
    locations: np.ndarray
    moves: np.ndarray | None = None

    def channels(self) -> list[np.ndarray]:
        """Return what pose bones do: quaternions ``(T, 4)`` of each, then locations ``(T, 3)``.

        The locations are those of the root and the bones after it, as many as :attr:`located`.
        """
        rest = self.matrices[0]
        moves = [] if self.moves is None else [*np.swapaxes(self.moves, 0, 1)]
        return [*np.swapaxes(self.rotations, 0, 1), (self.locations - rest[:3, 3]) @ rest[:3, :3], *moves]

    @property
    def located(self) -> int:
        """How many bones, from the root on, have a location of their own."""
        return 1 + (0 if self.moves is None else self.moves.shape[1])

    def move(self, channels: list[np.ndarray]) -> Motion:
        """Pose the bones by such channels."""
        rotations, locations = channels[: len(self.names)], channels[len(self.names) :]
        rig = simple_rig(self.names, self.parents, self.matrices, self.tails)
        turns = (to_matrices(values) for values in rotations)
        moves = dict(zip(self.names, locations, strict=False))
        return pose(rig, dict(zip(self.names, turns, strict=True)), self.names[0], locations[0], moves)


def read_skeleton(folder: Path, frames: np.ndarray) -> ClipSkeleton:
    """Read the skeleton in a decoded clip's folder, and its motion in the given frames.

    InputError ``no_skeleton`` where it is missing or damaged.
    """
    path = folder / FILES["skeleton"]
    if not path.is_file():
        raise InputError(
            "no_skeleton",
            say("The clip's skeleton is not there yet: wait for the import's end, or import again."),
        )
    try:
        names = [field.name for field in fields(ClipSkeleton) if field.name != "moves"]
        found = read_arrays(path, names)
        data = {name: found[name] for name in names}
    except (ValueError, KeyError) as error:
        said = say("{path} is damaged: import the clip again.", path=path)
        raise InputError("no_skeleton", said) from error
    for name in ("matrices", "rotations", "locations"):
        data[name] = data[name].astype(np.float64)
    data |= {name: data[name][frames] for name in ("rotations", "locations")}
    return ClipSkeleton(**data | {"names": data["names"].tolist()})


def skinned_errors(
    skeleton: ClipSkeleton, motion: Motion, points: Points, progress: Progress
) -> tuple[float, float]:
    """Return the skinned vertices' mean and largest distance from ``points`` ``(T, V, 3)``.

    Of a longer ``motion`` the frames after those are left out.
    """
    bones = len(skeleton.names)
    weights = np.zeros((len(skeleton.rest_vertices), bones), np.float32)
    np.put_along_axis(weights, skeleton.weight_bones.astype(np.int64), skeleton.weight_values, axis=1)
    ones = np.ones((len(weights), 1), np.float32)
    rest = np.concatenate([skeleton.rest_vertices, ones], axis=1)
    readout = (weights[:, :, None] * rest[:, None]).reshape(len(weights), -1)
    turns = motion.rotations @ np.swapaxes(skeleton.matrices[:, :3, :3], -1, -2)
    shifts = motion.heads - (turns @ skeleton.heads[..., None])[..., 0]
    stacked = np.concatenate([np.swapaxes(turns, -1, -2), shifts[:, :, None]], axis=2).astype(np.float32)
    stacked = stacked[: len(points)]
    total, worst = 0.0, 0.0
    for start in range(0, len(points), _FRAMES_AT_ONCE):
        some = stacked[start : start + _FRAMES_AT_ONCE]
        wide = readout @ some.reshape(len(some), 4 * bones, 3).transpose(1, 0, 2).reshape(4 * bones, -1)
        shown = wide.reshape(-1, len(some), 3).transpose(1, 0, 2)
        distances = np.linalg.norm(shown - points[start : start + _FRAMES_AT_ONCE], axis=-1)
        total, worst = total + float(distances.sum()), max(worst, float(distances.max()))
        progress(start / len(points))
    return total / (len(points) * len(weights)), worst
