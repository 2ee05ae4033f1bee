# SPDX-License-Identifier: GPL-3.0-or-later
"""A body's keypoints as a function of the few joints that people move: what a film's motion is solved for.

Most bones of a body ride on another one: twist halves, fingers, the vertebrae between two that bend. With
the world rotations ``R_a`` since rest of those that turn by themselves and the root's joint at ``p``,

    keypoint k = p + sum over joints a of R_a c_ka(shape)

where the ``c`` are linear in the shape, so that positions and all their derivatives are small matrix products
and no mesh is posed.
"""

from __future__ import annotations

import numpy as np

from .body import BodyModel
from .keypoints import KEYPOINT_NAMES
from .rotations import relative_to_parents
from .skeleton import standard_bone

JOINTS: tuple[str, ...] = (
    "spine",
    "spine.001",
    "spine.002",
    "spine.004",
    "spine.006",
    *(
        f"{joint}.{side}"
        for side in "LR"
        for joint in ("shoulder", "upper_arm", "forearm", "hand", "thigh", "shin", "foot")
    ),
)
"""The joints, by the standard names of the bones that begin there (:mod:`.skeleton`), parents first."""


class Articulation:
    """The joints of a body model.

    Attributes:
        body: the :class:`BodyModel`.
        bones: ``(J,)`` int, the body's bone of each of :data:`JOINTS`.
        parents: ``(J,)`` int, each joint's parent, -1 for the root, which comes first.
        arms_mean, arms_basis: ``(23, J, 3)`` and ``(S, 23, J, 3)`` float64, the module's ``c``.
    """

    def __init__(self, body: BodyModel) -> None:
        self.body = body
        self.bones = np.array([standard_bone(body, name) for name in JOINTS])
        rides = np.empty(body.bone_count, int)  # the joint that each bone turns with
        own = {bone: joint for joint, bone in enumerate(self.bones.tolist())}
        for bone, parent in enumerate(body.parents.tolist()):
            rides[bone] = own.get(bone, rides[parent] if parent >= 0 else 0)
        self.parents = np.array([-1, *(rides[body.parents[bone]] for bone in self.bones[1:])])
        self._rides = rides
        zero = np.zeros(body.shape_size, np.float32)
        self.arms_mean = self._arms(zero)
        units = np.eye(body.shape_size, dtype=np.float32)
        self.arms_basis = np.stack([self._arms(unit) for unit in units]) - self.arms_mean

    def arms(self, shape: np.ndarray) -> np.ndarray:
        """Return the module's ``c`` ``(23, J, 3)`` of shape coefficients ``(S,)``."""
        return self.arms_mean + np.tensordot(shape, self.arms_basis, 1)

    def keypoints(self, shape: np.ndarray, rotations: np.ndarray, root: np.ndarray) -> np.ndarray:
        """Return keypoints ``(T, 23, 3)``: joints turned by ``(T, J, 3, 3)``, the root's at ``(T, 3)``."""
        return root[:, None] + np.einsum("taij,kaj->tki", rotations, self.arms(shape), optimize=True)

    def bone_rotations(self, rotations: np.ndarray) -> np.ndarray:
        """Return the rotations ``(T, B, 3, 3)`` of all the body's bones, each relative to its parent bone."""
        return relative_to_parents(rotations[:, self._rides], self.body.parents)

    def _arms(self, shape: np.ndarray) -> np.ndarray:
        body = self.body
        joints = body.rest(shape)[1].astype(np.float64)
        readout = body.keypoint_skinning(shape).astype(np.float64).reshape(len(KEYPOINT_NAMES), -1, 4)
        weight = readout[..., 3]
        arms = np.zeros((len(KEYPOINT_NAMES), len(JOINTS), 3))
        for bone, joint in enumerate(self._rides.tolist()):
            arms[:, joint] += readout[:, bone, :3] - weight[:, bone, None] * joints[bone]
        carried = weight.copy()  # of each bone with all that hangs on it
        for bone in range(body.bone_count - 1, 0, -1):
            parent = body.parents[bone]
            carried[:, parent] += carried[:, bone]
            arms[:, self._rides[parent]] += carried[:, bone, None] * (joints[bone] - joints[parent])
        return arms
