# SPDX-License-Identifier: GPL-3.0-or-later
"""Fitting a posed body to keypoints by optimisation: the classical rival of the vertex predictor.

Every frame by itself, all frames of a clip at once, Gauss-Newton on the negative logarithm of the posterior

    |keypoints(pose) - measured|^2 / sigma^2  +  e(pose)^T C^-1 e(pose)

as MoSh (Loper et al. 2014) and SMPLify (Bogo et al. 2016) do, with ``e`` how far the bones' local rotations
are turned from their mean and ``C`` the covariance of that over captured motion. The root is free.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from ..models.body import BodyModel, apply_readout, stack_transforms
from ..models.rotations import cross_matrices, nearest_rotations, relative_to_parents
from ..models.shaped_body import ShapedBody

ITERATIONS = 15
CONVERGED = 1e-3  # change of the objective, as a share of it, that ends the fit
LEAST_SIGMA = 0.0005  # metres; exact keypoints would leave the prior no say at all
LEAST_TURN = 0.01  # radians by which any bone may leave the prior's subspace


@dataclass(frozen=True)
class PosePrior:
    """A normal distribution of poses: mean local rotations ``(B, 3, 3)``, precision ``(3B - 3, 3B - 3)``."""

    mean: np.ndarray
    precision: np.ndarray

    @classmethod
    def of_poses(cls, rotations: np.ndarray) -> PosePrior:
        """Estimate it from local rotations ``(N, B, 3, 3)``."""
        mean = nearest_rotations(rotations.mean(axis=0, dtype=np.float64))
        turns = turned_from(mean, rotations)[:, 1:].reshape(len(rotations), -1)
        covariance = turns.T @ turns / len(turns) + LEAST_TURN**2 * np.eye(turns.shape[1])
        return cls(mean, np.linalg.inv(covariance))


@dataclass(frozen=True)
class Fit:
    """What :func:`fit_body` found."""

    vertices: np.ndarray  # (T, V, 3) float32
    iterations: int
    objective: np.ndarray  # its mean over the frames at the start and after every iteration


def turned_from(mean: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """Return the rotation vectors ``(..., 3)`` that lead from ``mean`` to ``rotations`` ``(..., 3, 3)``."""
    turned = rotations @ np.swapaxes(mean, -1, -2)
    return Rotation.from_matrix(turned.reshape(-1, 3, 3)).as_rotvec().reshape(turned.shape[:-1])


def fit_body(
    body: BodyModel, keypoints: np.ndarray, shape: np.ndarray, sigma: float, prior: PosePrior
) -> Fit:
    """Fit the body of a given ``shape`` to keypoints ``(T, 23, 3)``, off by ``sigma`` metres a coordinate.

    Starts from the closed-form pose; ends when the objective stands still, or after :data:`ITERATIONS`.
    """
    person = ShapedBody(body, shape)
    joints = person.joints
    world, places = person.solve_pose(keypoints)
    rotations = relative_to_parents(world.astype(np.float64), body.parents)
    root = places[:, 0].astype(np.float64)
    sigma = max(sigma, LEAST_SIGMA)
    readout = person.keypoint_skinning.astype(np.float64)
    precision = prior.precision.reshape(body.bone_count - 1, 3, body.bone_count - 1, 3)
    objective: list[float] = []
    while True:
        world, places = body.forward_kinematics(joints.astype(np.float64), rotations, root)
        transforms = stack_transforms(world, places, joints)
        residual = ((readout @ transforms - keypoints) / sigma).reshape(len(keypoints), -1)
        turns = turned_from(prior.mean, rotations)[:, 1:]
        pull = turns.reshape(len(turns), -1) @ prior.precision
        objective.append(((residual**2).sum(-1) + (pull * turns.reshape(pull.shape)).sum(-1)).mean())
        settled = len(objective) > 1 and abs(objective[-2] - objective[-1]) < CONVERGED * objective[-1]
        if settled or len(objective) > ITERATIONS:
            vertices = apply_readout(person.skinning, transforms)
            return Fit(vertices, len(objective) - 1, np.array(objective))
        jacobian = keypoint_jacobian(body, readout, world, places, transforms) / sigma
        spin = log_derivative(turns)
        hessian = np.swapaxes(jacobian, 1, 2) @ jacobian
        hessian[:, 3:-3, 3:-3] += np.einsum(
            "tbxi,bxcy,tcyj->tbicj", spin, precision, spin, optimize=True
        ).reshape(len(spin), *prior.precision.shape)
        slope = (residual[:, None] @ jacobian)[:, 0]
        slope[:, 3:-3] += (pull.reshape(turns.shape)[:, :, None] @ spin).reshape(pull.shape)
        step = -np.linalg.solve(hessian, slope[..., None])[..., 0]
        turn = Rotation.from_rotvec(step[:, :-3].reshape(-1, 3)).as_matrix().reshape(rotations.shape)
        rotations, root = turn @ rotations, root + step[:, -3:]


def keypoint_jacobian(
    body: BodyModel, readout: np.ndarray, world: np.ndarray, places: np.ndarray, transforms: np.ndarray
) -> np.ndarray:
    """Return how keypoints move, ``(T, 69, 3B + 3)``, with turns of the bones and the root's place.

    A bone's turn is in its parent's axes. It moves all that hangs on the bone about the bone's joint, in
    proportion to the keypoint's weights there.
    """
    frames, bones = world.shape[:2]
    spread = readout.reshape(len(readout), bones, 4)
    below = descendants(body.parents).astype(np.float64)
    parts = np.einsum("kbi,tbij->tkbj", spread, transforms.reshape(frames, bones, 4, 3))
    hanging = np.einsum("tkcj,bc->tkbj", parts, below, optimize=True)
    arms = hanging - (spread[..., 3] @ below.T)[..., None] * places[:, None]
    axes = world[:, body.parents]
    axes[:, 0] = np.eye(3)
    columns = np.swapaxes(axes, -1, -2)[:, None]  # (T, 1, B, axis, 3)
    moved = np.cross(columns, arms[..., None, :])  # (T, 23, B, axis, 3)
    turned = moved.transpose(0, 1, 4, 2, 3).reshape(frames, -1, 3 * bones)
    shifted = np.broadcast_to(np.tile(np.eye(3), (len(readout), 1)), (frames, turned.shape[1], 3))
    return np.concatenate([turned, shifted], axis=2)


def descendants(parents: np.ndarray) -> np.ndarray:
    """Return ``(B, B)`` bool: whether the second bone is the first one or hangs on it."""
    below = np.eye(len(parents), dtype=bool)
    for bone in range(len(parents) - 1, 0, -1):  # a parent comes before its children
        below[parents[bone]] |= below[bone]
    return below


def log_derivative(turns: np.ndarray) -> np.ndarray:
    """Return ``(..., 3, 3)``: how rotation vectors ``(..., 3)`` change when a small turn comes after.

    The inverse left Jacobian of SO(3) (Sola et al., "A micro Lie theory", equation 146).
    """
    angle = np.maximum(np.linalg.norm(turns, axis=-1), 1e-4)[..., None, None]
    cross = cross_matrices(turns)
    bend = 1 / angle**2 - (1 + np.cos(angle)) / (2 * angle * np.sin(angle))
    return np.eye(3) - cross / 2 + bend * (cross @ cross)
