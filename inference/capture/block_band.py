# SPDX-License-Identifier: GPL-3.0-or-later
"""Least squares over a clip: unknowns of frames that touch only those of frames close by, and a few of all.

The normal matrix of such a problem is a band of blocks with a border. It is solved exactly, in time and
memory linear in the number of frames: block elimination along the band, the border by its Schur complement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class BlockBand:
    """Normal equations of T frames with P unknowns each and S common ones.

    Attributes:
        blocks: ``(3, T, P, P)``: at ``[d, t]`` how frames t and t + d are coupled (the last d are unused).
        border: ``(T, P, S)``, frames and common unknowns.
        corner: ``(S, S)``, the common ones.
        right: ``(T, P)`` and ``common``: ``(S,)`` the right-hand sides.
    """

    blocks: np.ndarray
    border: np.ndarray
    corner: np.ndarray
    right: np.ndarray
    common: np.ndarray

    @classmethod
    def empty(cls, frames: int, unknowns: int, common: int) -> BlockBand:
        """Return the equations of nothing."""
        return cls(
            np.zeros((3, frames, unknowns, unknowns)),
            np.zeros((frames, unknowns, common)),
            np.zeros((common, common)),
            np.zeros((frames, unknowns)),
            np.zeros(common),
        )

    def solve(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the unknowns ``(T, P)`` and the common ones ``(S,)``."""
        solved = _solve_band(self.blocks, np.concatenate([self.right[..., None], self.border], axis=-1))
        own, through = solved[..., 0], solved[..., 1:]
        if not len(self.common):
            return own, self.common
        schur = self.corner - np.einsum("tps,tpq->sq", self.border, through)
        common = np.linalg.solve(schur, self.common - np.einsum("tps,tp->s", self.border, own))
        return own - through @ common, common


def _solve_band(blocks: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve a symmetric band of blocks ``(3, T, P, P)`` for right-hand sides ``(T, P, N)``."""
    _, frames, size, _ = blocks.shape
    pairs = -(-frames // 2)  # frames two by two: then only neighbours are coupled
    middle = np.zeros((pairs, 2 * size, 2 * size))
    beside = np.zeros((pairs, 2 * size, 2 * size))  # of a pair (rows) and the next (columns)
    sides = np.zeros((pairs, 2 * size, right.shape[-1]))
    a, b = slice(0, size), slice(size, None)
    even, odd = blocks[:, 0::2], blocks[:, 1::2]
    middle[:, a, a], middle[: odd.shape[1], b, b] = even[0], odd[0]
    if frames % 2:
        middle[-1, b, b] = np.eye(size)
    couples = min(odd.shape[1], pairs)
    middle[:couples, a, b] = even[1, :couples]
    middle[:couples, b, a] = np.swapaxes(even[1, :couples], -1, -2)
    beside[:-1, a, a] = even[2, : pairs - 1]
    beside[:-1, b, a] = odd[1, : pairs - 1]
    last = (frames - 2) // 2 if frames % 2 == 0 else pairs - 2  # the last pair whose odd frame has one after
    beside[: max(last, 0), b, b] = odd[2, : max(last, 0)]
    sides[:, a], sides[: odd.shape[1], b] = right[0::2], right[1::2]

    through = np.empty((pairs, 2 * size, 2 * size))
    for pair in range(pairs):
        if pair:
            above = beside[pair - 1].T
            middle[pair] -= above @ through[pair - 1]
            sides[pair] -= above @ sides[pair - 1]
        solved = np.linalg.solve(middle[pair], np.concatenate([beside[pair], sides[pair]], axis=1))
        through[pair], sides[pair] = solved[:, : 2 * size], solved[:, 2 * size :]
    for pair in range(pairs - 2, -1, -1):
        sides[pair] -= through[pair] @ sides[pair + 1]
    return sides.reshape(2 * pairs, size, -1)[:frames]
