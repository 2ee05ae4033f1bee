# SPDX-License-Identifier: GPL-3.0-or-later
"""A standard skeleton for any body, and its rotations fitted to vertices.

The skeleton has the bones that animators' rigs have, named as in Rigify's metarigs. Its bones never stretch,
unlike predicted ones, so their lengths are calibrated on the clip, and their rotations are fitted to the
vertices themselves: with rotations ``R_a`` since rest and the root's head at ``p``, a skinned vertex is

    v_i  = p + sum over bones a of R_a c_ia
    c_ia = w_ia (x_i - h_a) + sum over children b of W_ib (h_b - h_a)

with rest vertex ``x_i``, heads ``h``, skinning weights ``w`` and their sums ``W`` over what hangs on a bone.
The ``c`` are constant, so that least squares over the vertices needs only one matrix product with them for a
frame; what follows is small. Everything is in camera space (:mod:`.body`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .body import BodyModel, apply_readout
from .keypoints import KEYPOINT_INDEX
from .rotations import (
    continuous,
    cross_matrices,
    from_vectors,
    nearest_rotations,
    relative_to_parents,
    to_quaternions,
)
from .shaped_body import ShapedBody

_TRUNK = (
    ("spine", "root", "pelvis"),
    ("spine.001", "spine04", "spine1"),
    ("spine.002", "spine02", "spine2"),
    ("spine.003", "spine01", "spine3"),
    ("spine.004", "neck01", "neck"),
    ("spine.005", "neck02", None),
    ("spine.006", "head", "head"),
)
_LIMBS = (
    ("shoulder", "clavicle", "collar"),
    ("upper_arm", "upperarm01", "shoulder"),
    ("forearm", "lowerarm01", "elbow"),
    ("hand", "wrist", "wrist"),
    ("thigh", "upperleg01", "hip"),
    ("shin", "lowerleg01", "knee"),
    ("foot", "foot", "ankle"),
    ("toe", None, "foot"),
)
"""Each standard bone, and the bones of Anny and of the SMPL family that it begins with."""

_STANDARD: dict[str, tuple[str | None, ...]] = {
    **{name: (anny, smpl) for name, anny, smpl in _TRUNK},
    **{
        f"{name}.{letter}": (f"{anny}.{letter}", f"{side}_{smpl}")
        for letter, side in (("L", "left"), ("R", "right"))
        for name, anny, smpl in _LIMBS
    },
}


def standard_bone(body: BodyModel, name: str) -> int:
    """Return the index of the body's bone that the standard bone ``name`` begins with."""
    return next(body.bone_names.index(source) for source in _STANDARD[name] if source in body.bone_names)


INFLUENCES = 4
"""Bones that move a vertex at most: what glTF's and the game engines' skinning takes."""

_LEFT = np.array([1.0, 0.0, 0.0])
_FORWARD = np.array([0.0, 0.0, -1.0])

_FITTED_VERTICES = 4500

_ITERATIONS = 3
"""Gauss-Newton steps from the linear solution: further ones change less than 0.01 mm."""

_CALIBRATIONS = 3
_CALIBRATION_STIFFNESS = 0.02
"""Weight of a bone's length at rest against a frame's evidence for another."""

_STRETCH_STIFFNESS = 0.003
"""Weight of a bone's place on its parent against the evidence of what it carries for another."""


@dataclass(frozen=True)
class Skeleton:
    """J bones at rest and the mesh they carry, in camera space.

    Attributes:
        names: names of the bones, a parent before its children.
        parents: ``(J,)`` int, -1 for the root, which comes first.
        heads, tails: ``(J, 3)`` where bones begin and end; most end where a child begins.
        axes: ``(J, 3, 3)`` columns: x, y (along the bone) and z. A turn about +x bends spine and knees the
            way they bend; z points ahead for arms and spine.
        vertices: ``(V, 3)`` the mesh at rest.
        weights: ``(V, J)`` skinning weights, at most :data:`INFLUENCES` a row, rows sum to 1.
    """

    names: tuple[str, ...]
    parents: np.ndarray
    heads: np.ndarray
    tails: np.ndarray
    axes: np.ndarray
    vertices: np.ndarray
    weights: np.ndarray

    def pose(self, rotations: np.ndarray, root: np.ndarray) -> np.ndarray:
        """Skin the mesh: vertices ``(T, V, 3)`` float32.

        ``rotations`` ``(T, J, 3, 3)`` are the bones' since rest, ``root`` ``(T, 3)`` is where its head goes.
        """
        return apply_readout(self.readout, _unknowns(rotations, root[:, None]))

    @cached_property
    def carried(self) -> np.ndarray:
        """The weights ``(V, J)`` of each bone with all that hangs on it."""
        total = self.weights.copy()
        for bone in range(len(self.parents) - 1, 0, -1):
            total[:, self.parents[bone]] += total[:, bone]
        return total

    @cached_property
    def readout(self) -> np.ndarray:
        """The matrix ``(V, 3J + 1)`` float32 of the module's ``c`` and a column of ones for the root."""
        arms = self.weights[..., None] * (self.vertices[:, None] - self.heads)
        for bone, parent in enumerate(self.parents[1:], start=1):
            arms[:, parent] += self.carried[:, bone, None] * (self.heads[bone] - self.heads[parent])
        arms = arms.reshape(len(arms), -1)
        return np.concatenate([arms, np.ones((len(arms), 1))], axis=1).astype(np.float32)

    @cached_property
    def fitted(self) -> slice:
        """The vertices that fits look at: so many that all would say the same."""
        return slice(None, None, max(len(self.vertices) // _FITTED_VERTICES, 1))


def build_skeleton(shaped: ShapedBody) -> Skeleton:
    """Build the standard skeleton of a body, at its rest.

    Bones of the body between two standard ones ride on the one above (twist halves, fingers, the jaw).
    """
    body = shaped.model
    vertices, joints = (np.asarray(points, np.float64) for points in (shaped.vertices, shaped.joints))
    found = {
        body.bone_names.index(source): name
        for name, sources in _STANDARD.items()
        for source in sources
        if source in body.bone_names
    }
    order = {name: i for i, name in enumerate(name for name in _STANDARD if name in found.values())}
    carrier: list[int] = []  # of each bone of the body, the standard bone that it is part of
    for bone, parent in enumerate(body.parents):
        carrier.append(order[found[bone]] if bone in found else carrier[parent])
    sources = sorted(found, key=lambda bone: order[found[bone]])
    parents = np.array([carrier[body.parents[bone]] if body.parents[bone] >= 0 else -1 for bone in sources])
    weights = np.zeros((len(vertices), len(order)))
    np.add.at(weights.T, carrier, body.weights.T)
    tails = _tails(body, tuple(order), parents, vertices, joints[sources])
    return Skeleton(
        names=tuple(order),
        parents=parents,
        heads=joints[sources],
        tails=tails,
        axes=_axes(tuple(order), tails - joints[sources]),
        vertices=vertices,
        weights=_strongest(weights),
    )


def calibrate(skeleton: Skeleton, vertices: np.ndarray) -> Skeleton:
    """Give the bones the lengths that vertices ``(T, V, 3)`` of a clip show, and the mesh at rest with them.

    Where a bone's head sits on its parent is solved with the rotations fixed, alternating with
    :func:`fit_pose`; left and right stay mirrored.
    """
    names = skeleton.names
    mirrored = [names.index(name[:-1] + {"L": "R", "R": "L"}.get(name[-1], name[-1])) for name in names]
    below, above = np.arange(1, len(names)), skeleton.parents[1:]
    carried, vertices = skeleton.carried[skeleton.fitted, 1:], vertices[:, skeleton.fitted]
    overlap = carried.T @ carried
    for _ in range(_CALIBRATIONS):
        readout = skeleton.readout[skeleton.fitted]
        rotations, shifts = _fit(readout, vertices)
        left_over = vertices - apply_readout(readout, _unknowns(rotations, shifts))
        turned = rotations[:, above]
        normal = np.einsum("bc,tbki,tckj->bicj", overlap, turned, turned, optimize=True)
        normal = normal.reshape(3 * len(below), -1)
        stiffness = _CALIBRATION_STIFFNESS * len(vertices) * np.repeat(overlap.diagonal(), 3)
        pull = np.einsum("tbki,tbk->bi", turned, np.matmul(carried.T, left_over))
        shift = np.zeros_like(skeleton.heads)
        shift[below] = np.linalg.solve(normal + np.diag(stiffness), pull.ravel()).reshape(-1, 3)
        shift = (shift + shift[mirrored] * (1 - 2 * _LEFT)) / 2
        for bone in below:
            shift[bone] += shift[skeleton.parents[bone]]
        skeleton = _shifted(skeleton, shift)
    return skeleton


def fit_pose(skeleton: Skeleton, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit the bones to vertices ``(T, V, 3)``: least squares over the vertices of each frame.

    Starts from the rotations nearest to the linear solution and takes Gauss-Newton steps in all rotations and
    the root's place at once. Returns world rotations since rest ``(T, J, 3, 3)`` and where the root's head
    stands ``(T, 3)``.
    """
    rotations, shifts = _fit(skeleton.readout[skeleton.fitted], vertices[:, skeleton.fitted])
    return rotations, shifts[:, 0]


def fit_stretched(skeleton: Skeleton, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit bones that may leave their place on their parents a little, where rigid ones miss the skin.

    As :func:`fit_pose`. Returns world rotations since rest ``(T, J, 3, 3)`` and shifts ``(T, J, 3)``: of the
    root where its head stands, of the others how far the head is from where its parent has it, in the world.
    """
    carried = skeleton.carried[skeleton.fitted].astype(np.float32)
    readout = np.concatenate([skeleton.readout[skeleton.fitted, :-1], carried], axis=1)
    stiffness = _STRETCH_STIFFNESS * (carried**2).sum(axis=0, dtype=np.float64)
    stiffness[0] = 0.0
    return _fit(readout, vertices[:, skeleton.fitted], stiffness)


def pose_stretched(skeleton: Skeleton, rotations: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Skin the mesh, vertices ``(T, V, 3)`` float32, with what :func:`fit_stretched` returns."""
    readout = np.concatenate([skeleton.readout[:, :-1], skeleton.carried.astype(np.float32)], axis=1)
    return apply_readout(readout, _unknowns(rotations, shifts))


def local_quaternions(skeleton: Skeleton, rotations: np.ndarray) -> np.ndarray:
    """Turn world rotations since rest ``(T, J, 3, 3)`` into quaternions ``(T, J, 4)``, w first, float32.

    Each is the turn relative to the parent in the bone's own axes at rest, what Blender's pose bones take;
    its sign follows the frame before, so that the components are continuous.
    """
    local = relative_to_parents(rotations, skeleton.parents)
    return continuous(to_quaternions(np.swapaxes(skeleton.axes, -1, -2) @ local @ skeleton.axes)).astype(
        np.float32
    )


# ---- at rest ---------------------------------------------------------------------------------


def _strongest(weights: np.ndarray) -> np.ndarray:
    """Keep each row's :data:`INFLUENCES` largest weights, and let rows sum to 1."""
    kept = weights.copy()
    np.put_along_axis(kept, np.argsort(-weights, axis=1)[:, INFLUENCES:], 0.0, axis=1)
    return kept / kept.sum(axis=1, keepdims=True)


def _tails(
    body: BodyModel, names: tuple[str, ...], parents: np.ndarray, vertices: np.ndarray, heads: np.ndarray
) -> np.ndarray:
    """End each bone at its first child's head; head, hands and feet where the body ends."""
    points = body.keypoints(vertices)
    tails = np.empty_like(heads)
    for bone, name in enumerate(names):
        children = np.flatnonzero(parents == bone)
        side = {"L": "left", "R": "right"}.get(name[-1])
        if len(children):
            tails[bone] = heads[children[0]]
        elif name.startswith("hand"):
            knuckles = [KEYPOINT_INDEX[f"{side}_{finger}"] for finger in ("index", "pinky")]
            tails[bone] = points[knuckles].mean(axis=0)
        elif side:
            tails[bone] = points[KEYPOINT_INDEX[f"{side}_foot_index"]]
        else:
            tails[bone] = heads[bone]
            tails[bone, 1] = vertices[:, 1].min()
    return tails


def _axes(names: tuple[str, ...], along: np.ndarray) -> np.ndarray:
    y = along / np.linalg.norm(along, axis=1, keepdims=True)
    arm = np.array([name.startswith(("shoulder", "upper_arm", "forearm", "hand")) for name in names])
    wanted = np.where(arm[:, None], np.cross(y, _FORWARD), _LEFT)
    x = wanted - (wanted * y).sum(1, keepdims=True) * y
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def _shifted(skeleton: Skeleton, shift: np.ndarray) -> Skeleton:
    """Move each bone at rest by its ``shift`` ``(J, 3)``, and the mesh and what meets at its tail with it."""
    heads, tails = skeleton.heads + shift, skeleton.tails + shift
    for bone in range(len(heads) - 1, 0, -1):
        if np.array_equal(skeleton.tails[skeleton.parents[bone]], skeleton.heads[bone]):
            tails[skeleton.parents[bone]] = heads[bone]
    return replace(
        skeleton,
        heads=heads,
        tails=tails,
        axes=_axes(skeleton.names, tails - heads),
        vertices=skeleton.vertices + skeleton.weights @ shift,
    )


# ---- least squares ---------------------------------------------------------------------------


def _fit(
    readout: np.ndarray, vertices: np.ndarray, stiffness: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Fit rotations ``(T, J, 3, 3)`` and what the K other columns of the readout shift ``(T, K, 3)``.

    The first of them is the root's; ``stiffness`` ``(K,)`` holds each of the shifts back, 0 for free.
    """
    gram = (readout.T @ readout).astype(np.float64)
    size = len(gram) - (1 if stiffness is None else len(stiffness))
    held = np.zeros(len(gram) - size) if stiffness is None else stiffness
    middle = vertices.mean(axis=1, keepdims=True)
    wide = (vertices - middle).astype(np.float32).transpose(1, 0, 2).reshape(len(readout), -1)
    seen = (readout.T @ wide).reshape(len(gram), len(vertices), 3).transpose(1, 0, 2).astype(np.float64)
    rigid = slice(None, size + 1)
    damping = 1e-5 * len(readout) * np.eye(size + 1)
    affine = np.linalg.solve(gram[rigid, rigid] + damping, seen[:, rigid])[:, :-1]
    rotations = np.swapaxes(nearest_rotations(affine.reshape(len(vertices), -1, 3, 3)), -1, -2)
    for _ in range(_ITERATIONS):
        rotations = _gauss_newton_step(gram, seen, rotations, held)
    shifts = _best_shifts(gram, seen, rotations, held)
    shifts[:, 0] += middle[:, 0]
    return rotations, shifts


def _unknowns(rotations: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Stack what the readout multiplies: ``(T, 3J + K, 3)``."""
    stacked = np.swapaxes(rotations, -1, -2).reshape(len(rotations), -1, 3)
    return np.concatenate([stacked, shifts], axis=1)


def _best_shifts(gram: np.ndarray, seen: np.ndarray, rotations: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Return the best shifts ``(T, K, 3)`` for rotations."""
    size = len(gram) - len(held)
    stacked = np.swapaxes(rotations, -1, -2).reshape(len(rotations), -1, 3)
    return np.linalg.solve(gram[size:, size:] + np.diag(held), seen[:, size:] - gram[size:, :size] @ stacked)


def _gauss_newton_step(
    gram: np.ndarray, seen: np.ndarray, rotations: np.ndarray, held: np.ndarray
) -> np.ndarray:
    """Turn all bones of all frames a step nearer to the vertices.

    A small turn ``o_a`` of each bone moves a vertex by the sum of ``o_a x (R_a c_ia)``; the normal equations
    follow from ``R_a (sum of c_ia c_ib^T) R_b^T``, without any vertex.
    """
    frames, bones = rotations.shape[:2]
    size, shifted = 3 * bones, len(held)
    transposed = np.swapaxes(rotations, -1, -2)
    missing = seen - gram @ _unknowns(rotations, _best_shifts(gram, seen, rotations, held))

    columns = gram[:size, :size].reshape(size, bones, 3).transpose(1, 0, 2) @ transposed
    products = rotations @ columns.transpose(0, 2, 1, 3).reshape(frames, bones, 3, size)
    products = products.reshape(frames, bones, 3, bones, 3)
    blocks = -products.transpose(0, 1, 4, 3, 2)
    trace = np.einsum("taibi->tab", products)
    for axis in range(3):
        blocks[:, :, axis, :, axis] += trace
    arms = np.einsum("taij,kaj->taki", rotations, gram[size:, :size].reshape(shifted, bones, 3))
    coupling = cross_matrices(arms).transpose(0, 1, 3, 2, 4).reshape(frames, size, 3 * shifted)

    normal = np.empty((frames, size + 3 * shifted, size + 3 * shifted))
    normal[:, :size, :size] = blocks.reshape(frames, size, size)
    normal[:, :size, size:] = coupling
    normal[:, size:, :size] = np.swapaxes(coupling, 1, 2)
    normal[:, size:, size:] = np.kron(gram[size:, size:] + np.diag(held), np.eye(3))
    normal[:, range(size), range(size)] += 1e-6 * gram[size, size]
    moments = rotations @ missing[:, :size].reshape(frames, bones, 3, 3)
    torque = np.stack([moments[..., i, j] - moments[..., j, i] for i, j in ((1, 2), (2, 0), (0, 1))], axis=-1)
    # The shifts are the best for these rotations, so nothing pulls at them.
    pull = np.concatenate([torque.reshape(frames, size), np.zeros((frames, 3 * shifted))], axis=1)
    turns = np.linalg.solve(normal, pull[..., None])[:, :size, 0].reshape(frames, bones, 3)
    return from_vectors(turns) @ rotations
