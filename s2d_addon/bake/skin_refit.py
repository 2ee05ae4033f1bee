# SPDX-License-Identifier: GPL-3.0-or-later
"""Skins anew what bones carry worst: a few vertices in armpits and groins. NumPy alone.

Least squares over all vertices look at the mean, and leave some vertices that a bend of the skin folds. For
these alone the place at rest and the weights of the bones that move them are solved again, by turns, with the
motion as it is. Each round a frame counts for more where it was missed by more (Lawson's algorithm), so that
the worst frame gets better, not the mean.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np

from ...models.rotations import apply
from ...models.skeleton import INFLUENCES, Skeleton

_MISSED = 0.008, 0.012
"""Metres at a person's size: what is missed by less is left alone, by more is solved anew, between partly."""

_ROUNDS = 4
_FRAMES = 256  # that are looked at: half of them the worst, half spread evenly
_VERTICES_AT_ONCE = 64
_TRUST_IN_REST = 0.3  # weight of the place at rest that it has, against what a frame shows
_TRUST_IN_WEIGHTS = 0.02 * 0.1**2  # the same of the weights, in square metres: bones' places differ by a hand


def refit_skin(
    skeleton: Skeleton,
    points: np.ndarray,
    rotations: np.ndarray,
    heads: np.ndarray,
    missed: np.ndarray,
    scale: float,
) -> Skeleton:
    """Return the skeleton with other weights and places at rest of the vertices that it misses most.

    ``points`` ``(F, V, 3)`` are where the vertices should be in some frames, ``rotations``
    ``(F, J, 3, 3)`` the bones' since rest and ``heads`` ``(F, J, 3)`` where they begin. ``missed`` ``(V,)``
    is how far each vertex is off at most, ``scale`` how much larger than a person all is.
    """
    low, high = (scale * bound for bound in _MISSED)
    weights, places = skeleton.weights.copy(), skeleton.vertices.copy()
    chosen = np.flatnonzero(missed > low)
    for start in range(0, len(chosen), _VERTICES_AT_ONCE):
        some = chosen[start : start + _VERTICES_AT_ONCE]
        bones = np.argsort(-weights[some], axis=1)[:, :INFLUENCES]
        own, rest = np.take_along_axis(weights[some], bones, axis=1), places[some]
        turned, at = rotations[:, bones], heads[:, bones] - apply(rotations[:, bones], skeleton.heads[bones])
        solved, moved = _solved(own, rest, turned, at, points[:, some].astype(np.float64), scale)
        share = np.clip((missed[some, None] - low) / (high - low), 0, 1)
        weights[some[:, None], bones] = own + share * (solved - own)
        places[some] = rest + share * (moved - rest)
    return replace(skeleton, weights=weights, vertices=places)


def telling_frames(worst: np.ndarray) -> np.ndarray:
    """Choose frames ``(F,)`` for :func:`refit_skin`, of ``worst`` ``(T,)``, how far each is off at most."""
    even = np.linspace(0, len(worst) - 1, _FRAMES // 2).round().astype(int)
    return np.unique([*even, *np.argsort(-worst)[: _FRAMES // 2]])


def _solved(
    weights: np.ndarray,
    places: np.ndarray,
    turned: np.ndarray,
    at: np.ndarray,
    points: np.ndarray,
    scale: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Solve for weights ``(V, K)`` and places at rest ``(V, 3)``, held near those that are given.

    A place ``x`` is carried by a bone to ``turned @ x + at``, ``(F, V, K, 3, 3)`` and ``(F, V, K, 3)``.
    """
    frames = len(points)
    before, rest = weights, places
    held = frames * _TRUST_IN_WEIGHTS * scale**2
    counts = np.ones(points.shape[:2])
    for _ in range(_ROUNDS):
        off = apply(turned, places[:, None]) + at - points[:, :, None]
        gram = np.einsum("fv,fvki,fvli->vkl", counts, off, off, optimize=True)
        weights = _on_simplex(gram + held * np.eye(gram.shape[-1]), held * before, before > 0)
        blended = np.einsum("vk,fvkij->fvij", weights, turned, optimize=True)
        wanted = points - np.einsum("vk,fvki->fvi", weights, at, optimize=True)
        normal = np.einsum("fv,fvki,fvkj->vij", counts, blended, blended, optimize=True)
        pull = np.einsum("fv,fvki,fvk->vi", counts, blended, wanted, optimize=True)
        normal += _TRUST_IN_REST * frames * np.eye(3)
        places = np.linalg.solve(normal, (pull + _TRUST_IN_REST * frames * rest)[..., None])[..., 0]
        missed = np.linalg.norm(apply(blended, places) - wanted, axis=-1)
        counts *= missed / np.sqrt((missed**2).mean(axis=0))
        counts /= counts.mean(axis=0)
    return weights, places


def _on_simplex(gram: np.ndarray, pull: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Minimise ``w @ gram @ w - 2 pull @ w`` over weights ``(V, K)`` from 0 on that sum to 1.

    Only the ``free`` ones may be above 0. ``K`` is so small that all choices of those that are can be tried.
    """
    count, size = pull.shape
    best, weights = np.full(count, np.inf), np.zeros((count, size))
    for some in (list(chosen) for n in range(size) for chosen in combinations(range(size), n + 1)):
        n = len(some)
        bordered = np.zeros((count, n + 1, n + 1))
        bordered[:, :n, :n] = gram[:, some][:, :, some]
        bordered[:, :n, n] = bordered[:, n, :n] = 1.0
        right = np.concatenate([pull[:, some], np.ones((count, 1))], axis=1)
        found = np.linalg.solve(bordered, right[..., None])[:, :n, 0]
        cost = np.einsum("vi,vij,vj->v", found, bordered[:, :n, :n], found)
        cost -= 2 * (pull[:, some] * found).sum(axis=1)
        better = (found >= 0).all(axis=1) & free[:, some].all(axis=1) & (cost < best)
        best[better] = cost[better]
        weights[better] = 0.0
        weights[np.ix_(better, some)] = found[better]
    return weights
