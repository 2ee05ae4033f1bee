# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a captured motion is from the true one, and what can be said of it where no truth is known.

Twelve joints ``(T, 12, 3)`` in :data:`JOINTS`' order, metres, camera space; millimetres and degrees come out.
Most errors are means of magnitudes, which a motion that trembles about the truth and one that is always
bent the same way share; so angles are also told with their sign.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..models.keypoints import KEYPOINT_INDEX, REQUIRED_NAMES
from ..models.rotations import nearest_rotations, unit

JOINTS = REQUIRED_NAMES
"""Shoulders, elbows, wrists, hips, knees and ankles, the left one first."""

OF_KEYPOINTS = [KEYPOINT_INDEX[name] for name in JOINTS]
"""Where the joints are among the keypoints."""

ANGLES = ("knees", "elbows", "trunk")
"""What is told with its sign: inner angles (negative: bent more than in truth), and how far the trunk leans
towards the camera (positive: further than in truth)."""

_AT = {name: index for index, name in enumerate(JOINTS)}
_SHOULDERS, _HIPS = ([_AT[f"{side}_{joint}"] for side in ("left", "right")] for joint in ("shoulder", "hip"))
_LIMBS = [
    (_AT[f"{side}_{start}"], _AT[f"{side}_{end}"])
    for side in ("left", "right")
    for start, end in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
]


def measure(joints: np.ndarray, true: np.ndarray, upright: bool = True) -> dict[str, Any]:
    """Hold joints ``(T, 12, 3)`` against the true ones of the same frames; ``upright`` as for :func:`angles`.

    Returns ``frames``; degrees ``limbs`` (mean angle between directions of upper arms, forearms, thighs,
    shins and the trunk, in the camera's axes) and ``turned`` (after the one rotation that fits best);
    millimetres ``pa`` (:func:`procrustes_aligned`), ``root`` (:func:`root_aligned`) and ``depth`` (its part
    along the line of sight); ``exchanged``, the share of frames with left for right; and of each of
    :data:`ANGLES`, degrees, ``absolute`` and ``signed``.
    """
    off = root_aligned(joints, true) - _about_hips(true)
    ours, theirs = directions(joints), directions(true)
    turn = nearest_rotations(np.einsum("tki,tkj->ij", ours, theirs))
    fitted = procrustes_aligned(joints, true) - true
    ours_bent, theirs_bent = angles(joints, upright), angles(true, upright)
    apart = {name: (ours_bent[name] - theirs_bent[name] + 180) % 360 - 180 for name in ANGLES}
    return {
        "frames": len(joints),
        "limbs": _apart(ours, theirs),
        "turned": _apart(ours @ turn, theirs),
        "pa": 1000 * float(np.linalg.norm(fitted, axis=-1).mean()),
        "root": 1000 * float(np.linalg.norm(off, axis=-1).mean()),
        "depth": 1000 * float(np.abs(off[..., 2]).mean()),
        "exchanged": float(exchanged(joints, true).mean()),
        **{
            name: {"absolute": float(np.abs(values).mean()), "signed": float(values.mean())}
            for name, values in apart.items()
        },
    }


def procrustes_aligned(joints: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return joints ``(T, J, 3)``, each frame moved, turned and scaled to fit the true ones best."""
    middle, target = (points.mean(axis=1, keepdims=True) for points in (joints, true))
    ours, theirs = joints - middle, true - target
    cross = np.swapaxes(ours, 1, 2) @ theirs
    turn = nearest_rotations(cross)
    size = (cross * turn).sum(axis=(1, 2)) / np.maximum((ours**2).sum(axis=(1, 2)), 1e-12)
    return size[:, None, None] * ours @ turn + target


def root_aligned(joints: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return joints ``(T, 12, 3)`` about their hips' middle, with one scale a clip, the camera's axes kept.

    The scale makes the mean distance from the hips that of the true ones: how tall somebody is no film tells.
    """
    ours, theirs = _about_hips(joints), _about_hips(true)
    return ours * (np.linalg.norm(theirs, axis=2).sum() / np.linalg.norm(ours, axis=2).sum())


def directions(joints: np.ndarray) -> np.ndarray:
    """Return unit vectors ``(T, 9, 3)``: four limbs of the left, four of the right, and the trunk."""
    limbs = [joints[:, end] - joints[:, start] for start, end in _LIMBS]
    return unit(np.stack([*limbs, _trunk(joints)], axis=1))


def angles(joints: np.ndarray, upright: bool = True) -> dict[str, np.ndarray]:
    """Return degrees: inner angles of ``knees`` and ``elbows`` ``(2, T)``, the ``trunk`` ``(T,)``.

    Who stands ``upright`` in the picture leans from its vertical, as seen from the side; of who lies or is
    upside down the lean is that of the trunk out of the picture's plane, whichever way up that is.
    """
    trunk = _trunk(joints)
    upward = -trunk[:, 1] if upright else np.linalg.norm(trunk[:, :2], axis=1)
    return {
        "knees": np.stack([_inner(joints, side, "hip", "knee", "ankle") for side in ("left", "right")]),
        "elbows": np.stack(
            [_inner(joints, side, "shoulder", "elbow", "wrist") for side in ("left", "right")]
        ),
        "trunk": np.degrees(np.arctan2(-trunk[:, 2], upward)),
    }


def exchanged(joints: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return in which frames ``(T,)`` bool left and right are taken for each other.

    There the joints are nearer to the true ones with all names exchanged: wherever the person stands and
    however tall they are, that is where the ways from right to left point against the true ones.
    """
    return (_across(joints) * _across(true)).sum(axis=(1, 2)) < 0


def exchanged_in_clip(keypoints: np.ndarray) -> np.ndarray:
    """Return in which frames ``(T,)`` bool of ``(T, 23, 3)`` left and right are not as in most of the clip.

    By hips and shoulders, along the line on which they lie most of the time. Who turns round is counted too:
    it means most for clips in which nobody does.
    """
    across = _across(keypoints[:, OF_KEYPOINTS])[:, [0, 3]].sum(axis=1)
    along = across @ np.linalg.eigh(across.T @ across)[1][:, -1]
    return along < 0 if (along < 0).mean() <= 0.5 else along > 0


def acceleration(points: np.ndarray, fps: float) -> float:
    """Return the mean acceleration, m/s², of points ``(T, K, 3)`` in metres."""
    return float(np.linalg.norm(np.diff(points, n=2, axis=0), axis=-1).mean() * fps**2)


def sliding(feet: np.ndarray, standing: np.ndarray, up: np.ndarray, fps: float) -> float | None:
    """Return how fast, mm/s, points of the soles ``(T, 4, 3)`` go along the floor while they stand.

    ``standing`` ``(T, 4)`` bool; ``up`` ``(3,)`` is the floor's normal. None where none stands.
    """
    step = np.diff(feet, axis=0) * fps
    step -= (step @ up)[..., None] * up
    still = standing[1:] & standing[:-1]
    return 1000 * float(np.linalg.norm(step, axis=-1)[still].mean()) if still.any() else None


def _about_hips(joints: np.ndarray) -> np.ndarray:
    return joints - joints[:, _HIPS].mean(axis=1, keepdims=True)


def _trunk(joints: np.ndarray) -> np.ndarray:
    return joints[:, _SHOULDERS].mean(axis=1) - joints[:, _HIPS].mean(axis=1)


def _across(joints: np.ndarray) -> np.ndarray:
    """Return the ways ``(T, 6, 3)`` from the right to the left one of each pair."""
    return joints[:, ::2] - joints[:, 1::2]


def _inner(joints: np.ndarray, side: str, *names: str) -> np.ndarray:
    start, middle, end = (joints[:, _AT[f"{side}_{name}"]] for name in names)
    cosine = (unit(start - middle) * unit(end - middle)).sum(axis=-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def _apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip((ours * theirs).sum(axis=-1), -1, 1))).mean())
