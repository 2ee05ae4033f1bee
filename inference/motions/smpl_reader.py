# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters of the SMPL family as AMASS has them: joint angles, places and a shape for the user's own model.

``poses`` ``(T, 3 J)`` axis-angles of 22 body joints and then of the hands (or ``root_orient`` and
``pose_body``), ``trans`` ``(T, 3)`` metres, ``betas``, ``mocap_framerate`` or ``mocap_frame_rate``. Points
are those of the body model that moves so; fingers and the face move none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from ...models.body import BodyModel
from ...models.errors import InputError
from ...models.frame_rates import parse_rate
from ...models.keypoints import KEYPOINT_NAMES
from ...models.rotations import from_vectors
from ...models.shaped_body import ShapedBody
from ...models.smpl import TO_CAMERA
from .conventions import SMPL, Motion

SMPL_ARRAYS = (
    "poses", "root_orient", "pose_body", "global_orient", "body_pose", "trans", "transl", "betas",
    "mocap_framerate", "mocap_frame_rate",
)  # fmt: skip
"""The arrays of such a file that are read."""

_JOINTS = 22
_MODELS = {66: "", 72: "smpl", 156: "smplh", 165: "smplx"}
"""By the width of ``poses``, the body model whose parameters they are."""
_LONGEST_BETA = 20.0


def is_smpl(held: Mapping[str, np.ndarray]) -> bool:
    """Tell whether the arrays that a file holds are SMPL parameters."""
    return "poses" in held or "pose_body" in held or "body_pose" in held


def read_smpl(held: Mapping[str, np.ndarray], body: BodyModel) -> Motion:
    """Pose ``body`` by the arrays :data:`SMPL_ARRAYS` of a file.

    Raises InputError that names the array at fault.
    """
    if not body.name.startswith("smpl"):
        raise InputError(
            "body",
            "it holds parameters of an SMPL body, which say nothing without your own model of it: "
            "give --body smplx (or smplh, smpl) and --body-path FILE.",
        )
    angles, model = _angles(held)
    frames = len(angles)
    trans = _numbers(held.get("trans", held.get("transl", np.zeros((frames, 3)))), "trans").reshape(-1, 3)
    if len(trans) != frames:
        raise InputError("bad_keypoints", f"trans has {len(trans)} frames and poses {frames}.")
    told = []
    shape = np.zeros(body.shape_size)
    if "betas" in held and model in ("", body.name):
        betas = _numbers(held["betas"], "betas")
        betas = betas.reshape(-1, betas.shape[-1])[0] if betas.ndim else betas[None]
        if not (np.abs(betas) < _LONGEST_BETA).all():
            raise InputError("bad_keypoints", "betas are no shape of a body.")
        shape[: min(len(betas), len(shape))] = betas[: len(shape)]
    elif "betas" in held:
        told.append(f"its betas are those of {model} and not of {body.name}: the body has its mean shape")
    shaped = ShapedBody(body, shape)
    rotations = np.broadcast_to(np.eye(3, dtype=np.float32), (frames, body.bone_count, 3, 3)).copy()
    rotations[:, :_JOINTS] = from_vectors(angles * TO_CAMERA)  # a half turn of the axes turns what turns
    root = shaped.joints[0] + trans * TO_CAMERA
    points = shaped.pose_keypoints(rotations, root.astype(np.float32)).astype(np.float64) * TO_CAMERA
    return Motion(SMPL, points, KEYPOINT_NAMES, _rate(held), shape=shaped.shape, warnings=tuple(told))


def _numbers(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype.kind not in "fiu" or array.size == 0 or not np.isfinite(array).all():
        raise InputError("bad_keypoints", f"{name} must be finite numbers.")
    return array.astype(np.float64)


def _angles(held: Mapping[str, np.ndarray]) -> tuple[np.ndarray, str]:
    """Return the body joints' axis-angles ``(T, 22, 3)``, and the model whose they are, empty if any's."""
    if "poses" in held:
        poses = _numbers(held["poses"], "poses")
        poses = poses.reshape(len(poses), -1) if poses.ndim > 1 else poses[None]
        if poses.shape[1] not in _MODELS:
            raise InputError(
                "bad_keypoints",
                f"poses has {poses.shape[1]} numbers a frame: {', '.join(map(str, _MODELS))} are known.",
            )
        return poses[:, : 3 * _JOINTS].reshape(-1, _JOINTS, 3), _MODELS[poses.shape[1]]
    body = _numbers(held.get("pose_body", held.get("body_pose", np.zeros(0))), "pose_body")
    root = _numbers(held.get("root_orient", held.get("global_orient", np.zeros(0))), "root_orient")
    body, root = body.reshape(len(body), -1), root.reshape(len(root), -1)
    if len(body) != len(root) or root.shape[1] != 3 or body.shape[1] < 3 * (_JOINTS - 1):
        raise InputError("bad_keypoints", "root_orient must be (T, 3), and pose_body (T, 63).")
    return np.concatenate([root, body[:, : 3 * (_JOINTS - 1)]], axis=1).reshape(-1, _JOINTS, 3), ""


def _rate(held: Mapping[str, np.ndarray]) -> Fraction | None:
    for name in ("mocap_framerate", "mocap_frame_rate"):
        if name in held:
            try:
                return parse_rate(held[name].ravel().tolist())
            except ValueError:
                raise InputError("bad_fps", f"{name} must be a number over 0.") from None
    return None
