# SPDX-License-Identifier: GPL-3.0-or-later
"""One body of one shape: what a clip's person is, with all that their shape alone decides kept."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from .body import BodyModel, apply_readout, stack_transforms
from .keypoints import ANKLES, FEET, HIPS


class ShapedBody:
    """A body model at shape coefficients ``(S,)``; everything else is computed once, when it is asked for.

    Attributes:
        model: the :class:`BodyModel`.
        shape: ``(S,)`` float32.
        vertices, joints: ``(V, 3)`` and ``(B, 3)`` float32 at rest, metres, see :mod:`.body` for the axes.
        keypoints: ``(23, 3)`` float32 at rest.

    Example: ``ShapedBody(load_body(), clip.shape).solve_pose(clip.keypoints)``
    """

    def __init__(self, model: BodyModel, shape: np.ndarray) -> None:
        self.model = model
        self.shape = np.asarray(shape, np.float32)
        self.vertices, self.joints = model.rest(self.shape)
        self.keypoints = model.keypoints(self.vertices)

    @cached_property
    def skinning(self) -> np.ndarray:
        """The readout ``(V, 4B)`` from stacked bone transforms to vertices."""
        return self.model.skinning_matrix(self.vertices)

    @cached_property
    def keypoint_skinning(self) -> np.ndarray:
        """The readout ``(23, 4B)`` from stacked bone transforms straight to keypoints."""
        return self.model.keypoint_skinning(self.shape)

    @cached_property
    def sole_heights(self) -> np.ndarray:
        """How high the keypoints :data:`.keypoints.FEET` lie above the sole: ``(4,)`` float64, metres."""
        return (self.vertices[:, 1].max() - self.keypoints[FEET, 1]).astype(np.float64)

    @property
    def hip_height(self) -> float:
        """How high the hips' middle stands above the soles, metres."""
        return float(self.vertices[:, 1].max() - self.keypoints[HIPS, 1].mean())

    @property
    def leg_length(self) -> float:
        """From the hips' middle to the ankles', metres."""
        return float(np.linalg.norm(self.keypoints[HIPS].mean(axis=0) - self.keypoints[ANKLES].mean(axis=0)))

    def skin(self, world: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return vertices ``(T, V, 3)`` float32 of bones that stand as forward kinematics gives them.

        ``world`` ``(T, B, 3, 3)`` are rotations since rest, ``places`` ``(T, B, 3)`` the joints'.
        """
        transforms = stack_transforms(world, places, self.joints)
        return self.model.corrected(apply_readout(self.skinning, transforms), world)

    def pose(self, rotations: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """Pose the body: vertices ``(T, V, 3)`` float32.

        ``rotations`` ``(T, B, 3, 3)`` are relative to the parent bone, ``translation`` ``(T, 3)`` is where
        the root joint goes.
        """
        return self.skin(*self._stand(rotations, translation))

    def pose_keypoints(self, rotations: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """Keypoints ``(T, 23, 3)`` of the posed body, the arguments of :meth:`pose`, without posing the mesh.

        Equal to those of :meth:`pose`'s vertices but for pose correctives, which are left out.
        """
        transforms = stack_transforms(*self._stand(rotations, translation), self.joints)
        return apply_readout(self.keypoint_skinning, transforms)

    def solve_pose(self, keypoints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Solve the bones from keypoints ``(T, 23, 3)``, see :meth:`.body.BodyModel.solve_pose`."""
        return self.model.solve_pose(keypoints, self.keypoints, self.joints)

    def _stand(self, rotations: np.ndarray, translation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.model.forward_kinematics(self.joints, np.asarray(rotations, np.float32), translation)
