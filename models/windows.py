# SPDX-License-Identifier: GPL-3.0-or-later
"""Keypoint windows: what the vertex predictor sees of a clip, in training and in decoding alike (numpy).

A window is the keypoints at 15 moments, 1/30 s apart, around the frame asked for, whatever the clip's frame
rate. It is turned into the trunk's own frame (hips at the origin, left along +x, up along -y) and travels
with it, so that where the person stands, goes and faces need not be learnt; the closed-form bones go with it
as a start.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .body import BodyModel
from .keypoints import KEYPOINT_INDEX, TRUNK
from .rotations import orthonormal_frames
from .shaped_body import ShapedBody

WINDOW = 15
"""Moments in a window; the middle one is the frame asked for."""

STEP = 1 / 30
"""Seconds between them."""

NOISE_ORDERS = 11
"""Polynomial orders from this on hold noise alone: a body does not wiggle so fast within a window."""

OWN_JITTER = 0.0025
"""What looks like noise up to this standard deviation (m) may be the body's own: impacts, trembling."""

POOLING = 6.0
"""Weight of all keypoints' evidence against a keypoint's own, in telling motion from noise."""

_HALF = WINDOW // 2


def radius_frames(fps: float) -> int:
    """Return how many frames either side of a frame its window reaches, at ``fps`` frames a second."""
    return math.ceil(_HALF * STEP * fps) + 1


_POLYNOMIALS = np.linalg.qr(np.polynomial.legendre.legvander(np.linspace(-1, 1, WINDOW), WINDOW - 1))[
    0
].astype(np.float32)  # orthonormal over the window, one order a column


def sample_windows(keypoints: np.ndarray, fps: float, start: int, stop: int) -> np.ndarray:
    """Cut windows ``(stop - start, WINDOW, 23, 3)`` of frames ``start`` to ``stop`` out of ``(T, 23, 3)``.

    Moments between frames come from a Catmull-Rom cubic; moments beyond an end repeat the end.
    """
    moments = np.arange(start, stop)[:, None] + (np.arange(WINDOW) - _HALF) * STEP * float(fps)
    base = np.floor(moments + 1e-6).astype(np.int64)
    u = np.maximum(moments - base, 0.0).astype(np.float32)
    weights = (
        -0.5 * u + u**2 - 0.5 * u**3,
        1 - 2.5 * u**2 + 1.5 * u**3,
        0.5 * u + 2 * u**2 - 1.5 * u**3,
        -0.5 * u**2 + 0.5 * u**3,
    )
    last = len(keypoints) - 1
    return sum(
        weight[..., None, None] * keypoints[np.clip(base + shift, 0, last)]
        for shift, weight in zip((-1, 0, 1, 2), weights, strict=True)
    )


def follow_trunk(windows: np.ndarray) -> np.ndarray:
    """Take the trunk's travel out of windows ``(N, WINDOW, 23, 3)``, all but its middle moment's place.

    The travel is a cubic in time through the middle of hips and shoulders: walking and jumping then look like
    moving on the spot.
    """
    smooth = _POLYNOMIALS[:, :4]
    centre = windows[:, :, TRUNK].mean(axis=2)  # (N, WINDOW, 3)
    travel = (smooth - smooth[_HALF]) @ (smooth.T @ centre)
    return windows - travel[:, :, None]


def denoise(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Denoise windows ``(N, WINDOW, 23, 3)``: keypoints in the middle ``(N, 23, 3)`` and noise ``(N, 23)``.

    The window is written in orthogonal polynomials of time; the highest orders tell the noise's power, and
    each order is shrunk by the share of noise in its energy (James and Stein's rule, pooled over keypoints).
    Without noise next to nothing changes. The noise returned is its standard deviation a coordinate.
    """
    spectrum = np.einsum("wo,nwkd->nokd", _POLYNOMIALS, windows, optimize=True)
    energy = (spectrum**2).mean(axis=-1)  # (N, orders, 23)
    noise = energy[:, NOISE_ORDERS:].mean(axis=1, keepdims=True)
    noise = (noise + np.median(noise, axis=2, keepdims=True)) / 2
    energy = (energy + POOLING * energy.mean(axis=2, keepdims=True)) / (1 + POOLING)
    excess = np.maximum(noise - OWN_JITTER**2, 0)
    kept = np.maximum(1 - excess / np.maximum(energy, 1e-12), 0)
    kept[:, 0] = 1
    middle = np.einsum("o,nok,nokd->nkd", _POLYNOMIALS[_HALF], kept, spectrum, optimize=True)
    return middle, np.sqrt(noise[:, 0])


def trunk_frames(keypoints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the trunk's axes ``(N, 3, 3)`` (columns: left, down, back) and hip centre ``(N, 3)``.

    ``keypoints`` is ``(N, 23, 3)``.
    """
    left_hip, right_hip, left_shoulder, right_shoulder = (
        keypoints[:, KEYPOINT_INDEX[name]]
        for name in ("left_hip", "right_hip", "left_shoulder", "right_shoulder")
    )
    hips = (left_hip + right_hip) / 2
    lateral = left_hip - right_hip + left_shoulder - right_shoulder
    return orthonormal_frames(lateral, hips - (left_shoulder + right_shoulder) / 2), hips


def network_inputs(
    body: BodyModel, windows: np.ndarray, shape: np.ndarray, rest_keypoints: np.ndarray, joints: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Turn windows into the vertex predictor's inputs.

    Args:
        body: the body model.
        windows: ``(N, WINDOW, 23, 3)`` metres.
        shape: ``(S,)`` or ``(N, S)`` shape coefficients.
        rest_keypoints: ``(23, 3)`` or ``(N, 23, 3)``, of that shape.
        joints: ``(B, 3)`` or ``(N, B, 3)``, of that shape.

    Returns:
        The inputs by name (all float32, ``N`` first): ``windows``, ``noise``, ``rest_keypoints``, ``bones``
        ``(N, B, 21)`` and ``shape``; and the trunk's axes ``(N, 3, 3)`` and origin ``(N, 3)`` that lead back.
    """
    count = len(windows)
    windows = follow_trunk(windows)
    denoised, noise = denoise(windows)
    axes, origin = trunk_frames(denoised)
    canonical = ((windows - origin[:, None, None]) @ axes[:, None]).astype(np.float32)
    rest_keypoints = np.broadcast_to(rest_keypoints, (count, *windows.shape[2:])).astype(np.float32)
    joints = np.broadcast_to(joints, (count, body.bone_count, 3)).astype(np.float32)
    features = []
    for keypoints in ((denoised - origin[:, None]) @ axes, canonical[:, _HALF]):
        rotations, positions = body.solve_pose(keypoints, rest_keypoints, joints)
        features += [rotations[..., 0], rotations[..., 1], positions]
    features.append(joints - joints[:, :1])
    inputs = {
        "windows": canonical,
        "noise": noise.astype(np.float32),
        "rest_keypoints": rest_keypoints - joints[:, :1],
        "bones": np.concatenate(features, axis=-1).astype(np.float32),
        "shape": np.broadcast_to(shape, (count, body.shape_size)).astype(np.float32),
    }
    return inputs, axes, origin


VertexNetwork = Callable[..., dict[str, np.ndarray]]
"""A vertex predictor as arrays by name in and out: see :func:`network_inputs`."""


def predict_bones(
    body: ShapedBody, windows: np.ndarray, network: VertexNetwork | None
) -> tuple[np.ndarray, np.ndarray]:
    """Predict the bones in the middle of windows ``(N, WINDOW, 23, 3)``: by the network, or in closed form.

    Returns world rotations since rest ``(N, B, 3, 3)`` and joint places ``(N, B, 3)`` in the windows' own
    space.
    """
    if network is None:
        return body.solve_pose(denoise(follow_trunk(windows))[0])
    inputs, axes, origin = network_inputs(body.model, windows, body.shape, body.keypoints, body.joints)
    bones = network(**inputs)
    positions = bones["positions"] @ np.swapaxes(axes, 1, 2) + origin[:, None]
    return axes[:, None] @ bones["rotations"], positions
