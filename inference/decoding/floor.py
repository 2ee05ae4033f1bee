# SPDX-License-Identifier: GPL-3.0-or-later
"""The floor that a clip's person stands on, estimated from the keypoints alone.

The plane is the most probable one, by least squares, given

- where feet touch it: heels and toes that are the lowest of their frame and hardly rise or fall, whether
  or not they slide (a treadmill's belt, a skater), each weighed down the further it lies off the plane,
  so that jumps, steps and chairs do not count;
- balance: a person on their feet keeps their trunk above them, over the clip;
- the camera: it was held level to a few degrees, and looked up or down by more.

The fewer the contacts and the smaller their spread, the more the latter two say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...models.keypoints import ANKLES, FEET, HIPS, TRUNK
from ...models.shaped_body import ShapedBody

_ROLL, _PITCH, _BALANCE = np.tan(np.radians((4.0, 16.0, 4.0)))  # standard deviations
_CONTACT_SIGMA = 0.02  # metres, of one contact
_BIAS_SIGMA = 0.01  # metres, by which one foot's heel or toe is wrong throughout
_CONTACT_SECONDS = 0.5  # what lies closer in time is one contact seen twice
_RISING = 0.15  # metres a second
_LOWEST = 0.03  # metres above the frame's lowest point
_FAR = np.geomspace(0.12, 0.04, 12)  # metres off the plane that halve a contact's say, pass by pass
_STANDING = 0.75  # of the leg's length between hips and ankles
_MOST_FRAMES = 20_000  # looked at; of a longer clip every so manieth
_LOOKING_AHEAD = 1.0  # seconds at the start that tell where the person faces


_SOFT = 0.008  # metres by which a foot goes into the floor at most, however deep its vertices lie
_SOLE = 0.06  # metres below the floor from which a foot stands on something else


@dataclass(frozen=True)
class Floor:
    """A floor, in the axes of the points that it is below; each is ``(3,)`` float64."""

    up: np.ndarray  # unit vector
    point: np.ndarray  # metres, on the floor below the person's hips in the first frame
    forward: np.ndarray  # unit vector in the floor: where the person faces at first

    def heights(self, points: np.ndarray) -> np.ndarray:
        """Return how high points ``(..., 3)`` lie above the floor, metres."""
        return (points - self.point) @ self.up

    def rest(self, vertices: np.ndarray, feet: np.ndarray) -> np.ndarray:
        """Return vertices ``(T, V, 3)`` of people whose feet press against the floor and not through it.

        ``feet`` ``(V,)`` is how far each vertex belongs to a foot. Keypoints are one heel and one toe: a foot
        that they hold on the floor can still roll into it by a centimetre or two with its edge.
        """
        own = np.flatnonzero(feet > 0.5)
        below = np.maximum(-self.heights(vertices[:, own].astype(np.float64)), 0)
        fading = np.clip(2 - 2 * below / _SOLE, 0, 1)
        raised = (below - below / (1 + below / _SOFT)) * fading
        rested = vertices.copy()
        rested[:, own] += (raised[..., None] * self.up).astype(vertices.dtype)
        return rested


def estimate_floor(keypoints: np.ndarray, fps: float, body: ShapedBody) -> Floor:
    """Estimate the floor below keypoints ``(T, 23, 3)`` of ``body`` in camera space (metres)."""
    stride = -(-len(keypoints) // _MOST_FRAMES)
    feet, speed = _feet(keypoints, stride, float(fps))
    balance, trust = _balance(np.asarray(keypoints[::stride], np.float64), body.leg_length)
    up, height = _fit_plane(
        feet, speed, body.sole_heights, balance, trust, _CONTACT_SECONDS * float(fps) / stride
    )
    start = np.asarray(keypoints[: max(1, round(_LOOKING_AHEAD * float(fps)))], np.float64)
    hips = start[0, HIPS].mean(axis=0)
    return Floor(up, hips - (hips @ up - height) * up, facing(start, up))


def facing(keypoints: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Return where a person faces on average: a unit vector ``(3,)`` at right angles to ``up``."""
    left, right = TRUNK[:2], TRUNK[2:]
    lateral = (keypoints[:, left] - keypoints[:, right]).mean(axis=(0, 1))
    ahead = np.cross(lateral, up)
    if np.linalg.norm(ahead) < 1e-3:  # lies on one side, or turns round and round: towards the camera
        ahead = np.array([0.0, 0.0, -1.0])
        ahead -= (ahead @ up) * up
    return ahead / np.linalg.norm(ahead)


def _feet(keypoints: np.ndarray, stride: int, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Return places ``(N, 4, 3)`` of the soles' points and their velocities (metres a second)."""
    frames = np.arange(0, len(keypoints), stride)
    reach = max(1, round(0.07 * fps))
    before, after = np.maximum(frames - reach, 0), np.minimum(frames + reach, len(keypoints) - 1)
    places = [np.asarray(keypoints[at][:, FEET], np.float64) for at in (before, frames, after)]
    seconds = np.maximum(after - before, 1)[:, None, None] / fps
    return places[1], (places[2] - places[0]) / seconds


def _balance(keypoints: np.ndarray, leg: float) -> tuple[np.ndarray, float]:
    """Return the mean way from the feet to the trunk while standing, and how much of the clip that is."""
    legs = np.linalg.norm(keypoints[:, HIPS].mean(axis=1) - keypoints[:, ANKLES].mean(axis=1), axis=-1)
    standing = legs > _STANDING * leg
    if not standing.any():
        return np.zeros(3), 0.0
    rising = keypoints[standing][:, TRUNK].mean(axis=1) - keypoints[standing][:, FEET].mean(axis=1)
    return rising.mean(axis=0), float(standing.mean())


def _fit_plane(
    feet: np.ndarray, speed: np.ndarray, soles: np.ndarray, balance: np.ndarray, trust: float, repeats: float
) -> tuple[np.ndarray, float]:
    """Fit ``up . x = height`` by iteratively reweighted least squares; returns both.

    The unknowns are the tilt ``(a, c)`` of the normal ``(a, -1, c)``, the height, and a bias for each of the
    four points of the soles. A contact that lasts ``repeats`` samples counts as one.
    """
    centre = feet.mean(axis=(0, 1))
    feet = feet - centre
    point = np.tile(np.arange(4), len(feet))
    prior = np.zeros((8, 7))
    known = np.zeros(8)
    prior[0, 0], prior[1, 1] = 1 / _ROLL, 1 / _PITCH
    if balance[1] < 0:
        prior[2, 0] = prior[3, 1] = np.sqrt(trust) / _BALANCE
        known[2:4] = np.sqrt(trust) / _BALANCE * balance[[0, 2]] / -balance[1]
    prior[4:, 3:] = np.eye(4) / _BIAS_SIGMA
    tilt = np.linalg.lstsq(prior[:4, :2], known[:4], rcond=None)[0]
    height, bias = None, np.zeros(4)
    for far in _FAR:
        length = np.hypot(1.0, np.hypot(*tilt))
        up = np.array([tilt[0], -1.0, tilt[1]]) / length
        above = feet @ up - soles - bias
        lowest = above.min(axis=1, keepdims=True)
        if height is None:
            height = np.quantile(lowest, 0.1)
        still = 1 / (1 + (speed @ up / _RISING) ** 2) ** 2
        low = np.exp(-(((above - lowest) / _LOWEST) ** 2))
        near = 1 / (1 + ((above - height) / far) ** 2) ** 2
        weight = np.sqrt((still * low * near).ravel() / max(repeats, 1.0)) / _CONTACT_SIGMA
        rows = np.zeros((len(point), 7))
        rows[:, :2] = feet.reshape(-1, 3)[:, [0, 2]] / length
        rows[:, 2] = -1.0
        rows[np.arange(len(point)), 3 + point] = -1.0
        target = soles[point] + feet.reshape(-1, 3)[:, 1] / length
        solution = np.linalg.lstsq(
            np.concatenate([prior, rows * weight[:, None]]),
            np.concatenate([known, target * weight]),
            rcond=None,
        )[0]
        tilt, height, bias = solution[:2], solution[2], solution[3:]
    up = np.array([tilt[0], -1.0, tilt[1]]) / np.hypot(1.0, np.hypot(*tilt))
    return up, float(height + centre @ up)
