# SPDX-License-Identifier: GPL-3.0-or-later
"""Body models: a mesh with a linear shape space, bones, and keypoints as a fixed linear map of its vertices.

Everything here is numpy and in camera space (x right, y down, z forward; metres): a body at rest stands
upright and faces the camera, so its left is at +x and the top of its head at -y.

Skinning is linear blend skinning about the joints: a vertex ``v`` goes to the weighted sum of
``R_b (v - j_b) + p_b`` over the bones ``b``, with ``R_b`` the bone's rotation since rest in camera axes,
``j_b`` its joint at rest and ``p_b`` the joint's place. Written as one matrix product,

    vertices (V, 3) = skinning_matrix(shape) (V, 4B) @ stack_transforms(R, p, joints) (4B, 3)

where the matrix depends on the shape alone, so that it is computed once a clip.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .keypoints import BONES, KEYPOINT_INDEX, KEYPOINT_NAMES
from .rotations import orthonormal_frames, relative_to_parents, swing

CLOTHING_NAME = "clothing.npz"

PART_NAMES: tuple[str, ...] = (
    "pelvis",
    "chest",
    "head",
    *(
        f"{side}_{part}"
        for side in ("left", "right")
        for part in ("upper_arm", "forearm", "forearm_twist", "hand", "thigh", "shin", "foot")
    ),
)
"""Rigid parts whose place the keypoints fix in closed form; every bone rides on one or between two."""

PART_INDEX: dict[str, int] = {name: i for i, name in enumerate(PART_NAMES)}

STRAIGHT_LIMB = 0.15
"""Weight of the rest hinge axis in a limb's own: below this sine of flexion the bend no longer tells it."""

STRAIGHT_REST = 0.06
"""Sine of flexion below which a body's rest pose is taken for one of straight limbs."""

ELBOW_BENDS, KNEE_BENDS = -1.0, 1.0
"""Which way along z the far half of a limb goes when it bends: forward at the elbow, back at the knee."""

LENGTH_SIGMA = 0.01
"""How far a measured keypoint distance may lie from the body's (m) before the shape prior gives way."""

SPINE_LENGTH_SIGMA = 0.03
"""The same for shoulder to hip and across the trunk, which bending and shrugging change."""


LEAST_VARIANCE = 0.02
"""Of a shape coefficient among adults: that a sample of them hardly varies in a direction is no law."""


def _flexion_axis(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Return the axes ``(..., 3)`` about which limbs are bent, each as long as the sine of its flexion."""
    lengths = np.linalg.norm(upper, axis=-1, keepdims=True) * np.linalg.norm(lower, axis=-1, keepdims=True)
    return np.cross(upper, lower) / np.maximum(lengths, 1e-8)


def rest_hinge(upper: np.ndarray, lower: np.ndarray, bends: float) -> np.ndarray:
    """Return the axes ``(..., 3)`` about which limbs of halves ``upper`` and ``lower (..., 3)`` bend at rest.

    A limb that is straight at rest (a T-pose) does not show it: it bends along z as ``bends`` says,
    :data:`ELBOW_BENDS` or :data:`KNEE_BENDS`.
    """
    hinge = _flexion_axis(upper, lower)
    ahead = np.broadcast_to(np.array([0.0, 0.0, bends], np.float32), upper.shape)
    by_nature = orthonormal_frames(upper, np.cross(upper, ahead))[..., 1]
    return np.where(np.linalg.norm(hinge, axis=-1, keepdims=True) < STRAIGHT_REST, by_nature, hinge)


def _part_transforms(keypoints: np.ndarray, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit each part of :data:`PART_NAMES` to keypoints ``(T, 23, 3)``, given the same at rest ``(T, 23, 3)``.

    Returns rotations ``(T, P, 3, 3)`` and translations ``(T, P, 3)``: a rest point x goes to R x + t.
    """
    both = np.stack([rest, keypoints])  # the rest goes along, so that frames compare with it

    def point(*names: str) -> np.ndarray:
        return both[:, :, [KEYPOINT_INDEX[name] for name in names]].mean(axis=2)

    def turned(frames: np.ndarray) -> np.ndarray:
        return frames[1] @ np.swapaxes(frames[0], -1, -2)

    def turn(rotation: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        return (rotation @ vectors[..., None])[..., 0]

    parts: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def place(name: str, rotation: np.ndarray, anchor: np.ndarray) -> None:
        parts[name] = (rotation, anchor[1] - turn(rotation, anchor[0]))

    hips, shoulders = point("left_hip", "right_hip"), point("left_shoulder", "right_shoulder")
    ears = point("left_ear", "right_ear")
    spine = shoulders - hips
    place("pelvis", turned(orthonormal_frames(point("left_hip") - point("right_hip"), spine)), hips)
    across = point("left_shoulder") - point("right_shoulder")
    place("chest", turned(orthonormal_frames(across, spine)), shoulders)
    head = orthonormal_frames(point("left_ear") - point("right_ear"), point("nose") - ears)
    place("head", turned(head), point("nose", "left_ear", "right_ear"))

    for side in ("left", "right"):
        for base, joints, names, bend in (
            ("chest", ("shoulder", "elbow", "wrist"), ("upper_arm", "forearm"), ELBOW_BENDS),
            ("pelvis", ("hip", "knee", "ankle"), ("thigh", "shin"), KNEE_BENDS),
        ):
            start, middle, end = (point(f"{side}_{joint}") for joint in joints)
            upper, lower = middle - start, end - middle
            hinge = _flexion_axis(upper, lower)
            hinge[0] = rest_hinge(upper[0], lower[0], bend)
            # A straight limb does not show its hinge axis: there it follows the trunk without twisting.
            rotation = parts[base][0]
            carried = turn(swing(turn(rotation, upper[0]), upper[1]), turn(rotation, hinge[0]))
            hinge[1] += STRAIGHT_LIMB * carried
            place(f"{side}_{names[0]}", turned(orthonormal_frames(upper, hinge)), (start + middle) / 2)
            place(f"{side}_{names[1]}", turned(orthonormal_frames(lower, hinge)), (middle + end) / 2)
        wrist, knuckles = point(f"{side}_wrist"), point(f"{side}_index", f"{side}_pinky")
        palm = point(f"{side}_index") - point(f"{side}_pinky")
        elbow = point(f"{side}_elbow")
        twist = orthonormal_frames(wrist - elbow, palm)
        place(f"{side}_forearm_twist", turned(twist), (elbow + wrist) / 2)
        hand = orthonormal_frames(knuckles - wrist, palm)
        place(f"{side}_hand", turned(hand), (wrist + 2 * knuckles) / 3)
        heel, toe, ankle = (point(f"{side}_{joint}") for joint in ("heel", "foot_index", "ankle"))
        foot = orthonormal_frames(toe - heel, ankle - heel)
        place(f"{side}_foot", turned(foot), (heel + toe + ankle) / 3)

    rotations = np.stack([parts[name][0] for name in PART_NAMES], axis=1)
    translations = np.stack([parts[name][1] for name in PART_NAMES], axis=1)
    return rotations, translations


@dataclass(frozen=True)
class BodyModel:
    """A skinned body: S shape coefficients (standard deviations), B bones, V vertices, F triangles.

    Attributes:
        name: what a file calls the model.
        vertices_mean: ``(V, 3)`` float32 rest vertices of the mean shape.
        vertices_basis: ``(S, V, 3)`` what one standard deviation of a coefficient adds.
        joints_mean, joints_basis: ``(B, 3)`` and ``(S, B, 3)``, the joints likewise.
        weights: ``(V, B)`` float32 skinning weights, rows sum to 1.
        parents: ``(B,)`` int; a parent comes before its children, the root (bone 0) has -1.
        bone_names: names of the bones.
        faces: ``(F, 3)`` int32 vertex indices.
        uv, faces_uv: ``(U, 2)`` float32 texture coordinates and ``(F, 3)`` int32 indices by corner.
        keypoint_map: ``(3, N)`` rows keypoint, vertex, weight; each keypoint's weights sum to 1.
        bone_parts: ``(B, 2)`` indices into :data:`PART_NAMES`, the two parts that a bone rides between.
        bone_blend: ``(B,)`` 0 for the first of them, 1 for the second.
        pose_basis: ``(9 (B - 1), V, 3)`` pose correctives of the SMPL family, or None.
        clothing: ``(V,)`` float32 metres, how far clothes and hair usually stand out from the skin, or None.
        traits: for each of those of :data:`.measures.MEASURES` that the model knows ``(S + 1,)``: what a
            coefficient adds to its number, and that of the mean shape.
        adults: mean ``(S,)`` and covariance ``(S, S)`` of grown people's coefficients; None where those of
            everybody are such.
    """

    name: str
    vertices_mean: np.ndarray
    vertices_basis: np.ndarray
    joints_mean: np.ndarray
    joints_basis: np.ndarray
    weights: np.ndarray
    parents: np.ndarray
    bone_names: tuple[str, ...]
    faces: np.ndarray
    uv: np.ndarray
    faces_uv: np.ndarray
    keypoint_map: np.ndarray
    bone_parts: np.ndarray
    bone_blend: np.ndarray
    pose_basis: np.ndarray | None = None
    clothing: np.ndarray | None = None
    traits: Mapping[str, np.ndarray] = field(default_factory=dict)
    adults: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def shape_size(self) -> int:
        """Number of shape coefficients S."""
        return len(self.vertices_basis)

    @cached_property
    def grown_up(self) -> tuple[np.ndarray, np.ndarray]:
        """How grown people are built: coefficients' mean ``(S,)`` and inverse covariance ``(S, S)``."""
        if self.adults is None:
            return np.zeros(self.shape_size), np.eye(self.shape_size)
        mean, covariance = self.adults
        return mean, np.linalg.inv(covariance + LEAST_VARIANCE * np.eye(self.shape_size))

    @property
    def bone_count(self) -> int:
        """Number of bones B."""
        return len(self.parents)

    def rest(self, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rest vertices ``(V, 3)`` and joints ``(B, 3)``, float32, of shape coefficients ``(S,)``."""
        shape = np.asarray(shape, np.float32)
        vertices = self.vertices_mean + np.tensordot(shape, self.vertices_basis, 1)
        return vertices, self.joints_mean + np.tensordot(shape, self.joints_basis, 1)

    def keypoints(self, vertices: np.ndarray) -> np.ndarray:
        """Read keypoints ``(..., 23, 3)`` off vertices ``(..., V, 3)``."""
        return self._keypoint_matrix @ vertices[..., self._keypoint_vertices, :]

    def share_of(self, parts: Collection[str]) -> np.ndarray:
        """Return how far each vertex ``(V,)`` belongs to some of :data:`PART_NAMES`, 0 to 1."""
        first, second = np.isin(PART_NAMES, list(parts))[self.bone_parts].T
        return self.weights @ (first + self.bone_blend * (second.astype(np.float32) - first))

    def normals(self, vertices: np.ndarray) -> np.ndarray:
        """Return unit normals ``(V, 3)`` float32 of vertices ``(V, 3)``, pointing outward."""
        # Whole rows of one axis: several times as fast as np.cross on rows of points.
        by_axis = np.ascontiguousarray(vertices.T, np.float32)
        a, b, c = (by_axis.take(corner, axis=1) for corner in self._corners)
        (x, y, z), (u, v, w) = b - a, c - a
        across = np.stack([y * w - z * v, z * u - x * w, x * v - y * u])
        triangles, starts, touched = self._around
        normals = np.zeros(by_axis.shape, np.float32)
        normals[:, touched] = np.add.reduceat(across.take(triangles, axis=1), starts, axis=1)
        length = np.sqrt((normals**2).sum(axis=0))
        return np.ascontiguousarray((normals / np.maximum(length, 1e-12)).T)

    def dressed(self, vertices: np.ndarray) -> np.ndarray:
        """Return the surface ``(V, 3)`` of the posed body ``(V, 3)`` in average clothes and hair.

        It is what a picture shows, so the dense motion is taken from it. Bodies of which :attr:`clothing` is
        not known stay naked.
        """
        if self.clothing is None:
            return vertices
        return vertices + self.clothing[:, None] * self.normals(vertices)

    def forward_kinematics(
        self, joints: np.ndarray, rotations: np.ndarray, translation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Turn local rotations into where each bone stands.

        Args:
            joints: ``(B, 3)``, or ``(T, B, 3)`` for a body of its own in each frame.
            rotations: ``(T, B, 3, 3)`` of each bone relative to its parent, in camera axes at rest.
            translation: ``(T, 3)``, where the root joint goes.

        Returns:
            World rotations since rest ``(T, B, 3, 3)`` and joint positions ``(T, B, 3)``.
        """
        world, place = np.empty_like(rotations), np.empty(rotations.shape[:-1], rotations.dtype)
        world[:, 0], place[:, 0] = rotations[:, 0], translation
        for bone in range(1, self.bone_count):
            parent = self.parents[bone]
            offset = joints[..., bone, :] - joints[..., parent, :]
            world[:, bone] = world[:, parent] @ rotations[:, bone]
            place[:, bone] = place[:, parent] + (world[:, parent] @ offset[..., None])[..., 0]
        return world, place

    def corrected(self, skinned: np.ndarray, world: np.ndarray) -> np.ndarray:
        """Add what the pose itself changes, if the body has such correctives, to skinned vertices.

        ``skinned`` is ``(T, V, 3)`` float32, changed in place and returned; ``world`` ``(T, B, 3, 3)`` holds
        the bones' rotations since rest.
        """
        if self.pose_basis is None:
            return skinned
        local = relative_to_parents(world, self.parents)[:, 1:]
        feature = (local - np.eye(3, dtype=np.float32)).reshape(len(world), -1).astype(np.float32)
        offsets = (feature @ self.pose_basis.reshape(len(self.pose_basis), -1)).reshape(skinned.shape)
        for frame, turns in enumerate(world.astype(np.float32)):
            blended = (self.weights @ turns.reshape(len(turns), 9)).reshape(-1, 3, 3)
            skinned[frame] += (blended @ offsets[frame, ..., None])[..., 0]
        return skinned

    def skinning_matrix(self, rest_vertices: np.ndarray) -> np.ndarray:
        """Return the readout ``(V, 4B)`` from stacked bone transforms to vertices ``(V, 3)``."""
        homogeneous = np.concatenate([rest_vertices, np.ones((len(rest_vertices), 1), np.float32)], axis=1)
        return (self.weights[:, :, None] * homogeneous[:, None, :]).reshape(len(rest_vertices), -1)

    def keypoint_skinning(self, shape: np.ndarray) -> np.ndarray:
        """Return the readout ``(23, 4B)`` from stacked bone transforms straight to keypoints."""
        mean, basis = self._keypoint_skinning
        return mean + np.tensordot(np.asarray(shape, np.float32), basis, 1)

    def solve_pose(
        self, keypoints: np.ndarray, rest_keypoints: np.ndarray, joints: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Solve the bones from keypoints ``(T, 23, 3)`` in closed form, of one body or of one a frame.

        Each rigid part takes the frame that two of its keypoint directions span and stands where its
        keypoints' mean lies; bones between two parts (spine, neck, forearm twist) are blended.
        ``rest_keypoints`` is ``(23, 3)`` or ``(T, 23, 3)``, ``joints`` ``(B, 3)`` or ``(T, B, 3)``, at rest.

        Returns world rotations since rest ``(T, B, 3, 3)`` and joint positions ``(T, B, 3)``, float32.
        """
        keypoints = np.asarray(keypoints, np.float32)
        rest_keypoints = np.broadcast_to(rest_keypoints, keypoints.shape).astype(np.float32)
        rotations, translations = _part_transforms(keypoints, rest_keypoints)
        blend = self.bone_blend[:, None]
        first, second = self.bone_parts.T
        place_first = (rotations[:, first] @ joints[..., None])[..., 0] + translations[:, first]
        place_second = (rotations[:, second] @ joints[..., None])[..., 0] + translations[:, second]
        mixed = rotations[:, first] * (1 - blend[..., None]) + rotations[:, second] * blend[..., None]
        world = orthonormal_frames(mixed[..., 0], mixed[..., 1])
        return world, place_first * (1 - blend) + place_second * blend

    def fit_shape(self, bone_lengths: np.ndarray, *, adult: bool = False) -> np.ndarray:
        """Fit shape coefficients ``(S,)`` float32 to the lengths ``(len(BONES),)`` (m) of ``BONES``.

        Distances that are not known may be NaN. Gauss-Newton on the distances with the shape space's own
        standard normal prior, or that of grown people, so that what the lengths leave open stays average.
        """
        lengths = np.asarray(bone_lengths, np.float64)
        first, second = np.array(BONES).T
        trunk = {
            KEYPOINT_INDEX[f"{side}_{joint}"] for side in ("left", "right") for joint in ("shoulder", "hip")
        }
        sigma = np.where([{a, b} <= trunk for a, b in BONES], SPINE_LENGTH_SIGMA, LENGTH_SIGMA)
        known = np.isfinite(lengths)
        mean = self.keypoints(self.vertices_mean).astype(np.float64)
        basis = self.keypoints(np.asarray(self.vertices_basis)).astype(np.float64)
        offset, offset_basis = mean[first] - mean[second], basis[:, first] - basis[:, second]
        everybody = np.zeros(self.shape_size), np.eye(self.shape_size)
        usual, certain = self.grown_up if adult else everybody
        shape = usual
        for _ in range(10):
            bone = offset + np.tensordot(shape, offset_basis, 1)
            length = np.linalg.norm(bone, axis=-1)
            jacobian = ((bone / length[:, None]) * offset_basis).sum(-1).T / sigma[:, None]
            residual = np.where(known, lengths - length, 0.0) / sigma
            jacobian = jacobian[known]
            shape = np.linalg.solve(
                jacobian.T @ jacobian + certain,
                jacobian.T @ (residual[known] + jacobian @ shape) + certain @ usual,
            )
        return shape.astype(np.float32)

    @cached_property
    def _corners(self) -> np.ndarray:
        return np.ascontiguousarray(self.faces.T, np.int64)

    @cached_property
    def _around(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The triangles around each vertex, vertex after vertex, where each begins, and which those are."""
        corners = self.faces.ravel()
        order = np.argsort(corners, kind="stable")
        touched, starts = np.unique(corners[order], return_index=True)
        return order // 3, starts, touched

    @cached_property
    def _keypoint_vertices(self) -> np.ndarray:
        return np.unique(self.keypoint_map[1].astype(np.int64))

    @cached_property
    def _keypoint_matrix(self) -> np.ndarray:
        matrix = np.zeros((len(KEYPOINT_NAMES), len(self._keypoint_vertices)), np.float32)
        keypoint, vertex, weight = self.keypoint_map
        matrix[keypoint.astype(np.int64), np.searchsorted(self._keypoint_vertices, vertex)] = weight
        return matrix

    @cached_property
    def _keypoint_skinning(self) -> tuple[np.ndarray, np.ndarray]:
        chosen = self._keypoint_vertices
        spread = self._keypoint_matrix[:, None, :] * self.weights[chosen].T[None]  # (23, B, n)
        points = np.concatenate([self.vertices_mean[None, chosen], self.vertices_basis[:, chosen]])
        moved = np.einsum("kbn,snd->skbd", spread, points.astype(np.float32), optimize=True)
        total = np.zeros((*moved.shape[:-1], 1), np.float32)
        total[0, ..., 0] = spread.sum(-1)
        rows = np.concatenate([moved, total], axis=-1).reshape(len(points), len(KEYPOINT_NAMES), -1)
        return rows[0], rows[1:]


def stack_transforms(rotations: np.ndarray, positions: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Stack bone transforms into ``(T, 4B, 3)``, what the readouts of :class:`BodyModel` multiply.

    ``rotations`` ``(T, B, 3, 3)`` and joint ``positions`` ``(T, B, 3)`` as from forward kinematics,
    ``joints`` ``(B, 3)`` or ``(T, B, 3)`` at rest.
    """
    shift = positions - (rotations @ np.broadcast_to(joints, positions.shape)[..., None])[..., 0]
    stacked = np.concatenate([np.swapaxes(rotations, -1, -2), shift[..., None, :]], axis=-2)
    return stacked.reshape(len(rotations), -1, 3)


def apply_readout(readout: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Multiply a readout ``(V, 4B)`` with stacked transforms ``(T, 4B, 3)``: points ``(T, V, 3)`` float32."""
    frames, rows, _ = transforms.shape
    # One wide product for all frames: a product three columns wide for each of them is ten times slower.
    wide = readout @ transforms.astype(np.float32).transpose(1, 0, 2).reshape(rows, -1)
    return np.ascontiguousarray(wide.reshape(-1, frames, 3).transpose(1, 0, 2))
