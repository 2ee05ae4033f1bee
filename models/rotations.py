# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotations as matrices and quaternions, in any space. NumPy alone, so that Blender's side uses it too.

Rotation matrices are ``(..., 3, 3)`` and turn column vectors; quaternions are ``(..., 4)`` with w first.
"""

from __future__ import annotations

import numpy as np

_TINY = 1e-8  # lengths below this have no direction
_HALF_TURN = 1e-4  # of two unit vectors' sum: below this they are opposite


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return ``vectors (..., 3)`` at length one; what has no length stays near zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), _TINY)


def apply(rotations: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Turn ``vectors (..., 3)`` by ``rotations (..., 3, 3)``."""
    return (rotations @ vectors[..., None])[..., 0]


def orthonormal_frames(primary: np.ndarray, secondary: np.ndarray) -> np.ndarray:
    """Build rotations ``(..., 3, 3)`` from two directions each.

    The columns are ``primary``, ``secondary`` made orthogonal to it, and their cross product (Gram-Schmidt);
    both inputs are ``(..., 3)`` of any length.
    """
    x = unit(primary)
    y = unit(secondary - (x * secondary).sum(-1, keepdims=True) * x)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def swing(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the smallest rotations ``(..., 3, 3)`` from directions ``start (..., 3)`` to ``end``.

    Opposite directions are half a turn apart, about any axis across. What has no length is no direction:
    from it, and to it, nothing turns.
    """
    start, end = unit(start), unit(end)
    known = (np.linalg.norm(start, axis=-1) > 0.5) & (np.linalg.norm(end, axis=-1) > 0.5)
    anywhere = np.array([1, 0, 0], start.dtype)
    start, end = (np.where(known[..., None], direction, anywhere) for direction in (start, end))
    half = start + end
    length = np.linalg.norm(half, axis=-1, keepdims=True)
    least = np.eye(3, dtype=half.dtype)[np.abs(start).argmin(axis=-1)]
    half = np.where(length < _HALF_TURN, unit(np.cross(start, least)), half / np.maximum(length, _TINY))
    turn = 2 * half[..., :, None] * half[..., None, :] - np.eye(3, dtype=half.dtype)  # half turn about half
    flip = 2 * start[..., :, None] * start[..., None, :] - np.eye(3, dtype=half.dtype)
    return turn @ flip


def relative_to_parents(world: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """Return each bone's rotation relative to its parent of world rotations ``(T, B, 3, 3)``, the root's own.

    ``parents`` is ``(B,)``; bone 0 is the root.
    """
    local = world.copy()
    local[:, 1:] = np.swapaxes(world[:, parents[1:]], -1, -2) @ world[:, 1:]
    return local


def cross_matrices(vectors: np.ndarray) -> np.ndarray:
    """Return the matrices ``(..., 3, 3)`` that multiply as the cross product by ``vectors (..., 3)`` does."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*vectors.shape, 3)


def from_vectors(vectors: np.ndarray) -> np.ndarray:
    """Return the rotations about ``vectors (..., 3)`` by their lengths in radians (Rodrigues)."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    cross = cross_matrices(vectors)
    return np.eye(3) + np.sinc(angle / np.pi) * cross + np.sinc(angle / 2 / np.pi) ** 2 / 2 * (cross @ cross)


def to_vectors(rotations: np.ndarray) -> np.ndarray:
    """Return the vectors ``(..., 3)`` about which rotations turn, by their lengths, at most half a turn."""
    quaternions = to_quaternions(rotations)
    quaternions = quaternions * np.where(quaternions[..., :1] < 0, -1.0, 1.0)
    sine = np.linalg.norm(quaternions[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, quaternions[..., :1])
    return quaternions[..., 1:] * np.where(sine < _TINY, 2.0, angle / np.maximum(sine, _TINY))


def nearest_rotations(matrices: np.ndarray) -> np.ndarray:
    """Return the rotations nearest to ``matrices (..., 3, 3)`` (orthogonal Procrustes)."""
    left, _, right = np.linalg.svd(matrices)
    left[..., -1] *= np.sign(np.linalg.det(left @ right))[..., None]
    return left @ right


def angles_between(rotations: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the angles ``(...)``, radians, between rotations ``(..., 3, 3)``; of equal ones, 0 exactly.

    From the chord between them: a cosine near 1 knows no angle below 1e-8.
    """
    chord = np.linalg.norm(rotations - others, axis=(-2, -1)) / np.sqrt(8)
    return 2 * np.arcsin(np.minimum(chord, 1))


def to_quaternions(matrices: np.ndarray) -> np.ndarray:
    """Return unit quaternions of rotations ``(..., 3, 3)``, of either sign (see :func:`continuous`).

    Each row of a quaternion's outer product with itself is the quaternion times one component; the row of the
    largest component is exact.
    """
    m = matrices
    diagonal = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    outer = np.empty((*m.shape[:-2], 4, 4))
    outer[..., 0, 0] = 1 + diagonal[0] + diagonal[1] + diagonal[2]
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        outer[..., i + 1, i + 1] = 1 + diagonal[i] - diagonal[j] - diagonal[k]
        outer[..., 0, i + 1] = outer[..., i + 1, 0] = m[..., k, j] - m[..., j, k]
        outer[..., j + 1, k + 1] = outer[..., k + 1, j + 1] = m[..., j, k] + m[..., k, j]
    largest = np.einsum("...ii->...i", outer).argmax(axis=-1)
    rows = np.take_along_axis(outer, largest[..., None, None], axis=-2)[..., 0, :]
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def continuous(quaternions: np.ndarray) -> np.ndarray:
    """Give quaternions ``(T, ..., 4)`` the signs that let them run on from frame to frame, from w >= 0."""
    steps = np.where((quaternions[1:] * quaternions[:-1]).sum(-1) < 0, -1.0, 1.0)
    first = np.where(quaternions[:1, ..., 0] < 0, -1.0, 1.0)
    return quaternions * np.cumprod(np.concatenate([first, steps]), axis=0)[..., None]


def to_matrices(quaternions: np.ndarray) -> np.ndarray:
    """Return quaternions ``(..., 4)`` of any length as rotations ``(..., 3, 3)``."""
    w, x, y, z = np.moveaxis(quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True), -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def slerp(start: np.ndarray, stop: np.ndarray, share: float) -> np.ndarray:
    """Return the quaternions ``(T, 4)`` a share of the shortest way from ``start`` to ``stop``."""
    cosine = np.sum(start * stop, axis=1, keepdims=True)
    stop = np.where(cosine < 0, -stop, stop)
    angle = np.arccos(np.clip(np.abs(cosine), 0, 1))
    near = angle < 1e-4
    sine = np.where(near, 1, np.sin(angle))
    first = np.where(near, 1 - share, np.sin((1 - share) * angle) / sine)
    return first * start + np.where(near, share, np.sin(share * angle) / sine) * stop
