# SPDX-License-Identifier: GPL-3.0-or-later
"""From the pose estimator's landmarks to the body's keypoints, by a temporal network.

The estimator looks at one picture at a time; its landmarks are its own points, not the body's, and their
depth is a guess. The network sees seconds of all 33 of them and says where the body's keypoints are seen, how
far each lies nearer or farther than the trunk, and how sure it is of either. What it sees and says is as a
camera would have it that follows the person's trunk and turns with it, in metres: how large, where, and which
way up a person is filmed need not be learnt. Training (:mod:`...models.training.train_lifter`) sees the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...models.camera import Camera
from ...models.keypoints import BLAZEPOSE_INDEX, MIRRORED, MIRRORED_BONES, TRUNK
from ...models.rotations import apply, unit
from ..runtime.backends import Network
from .blazepose import HIPS, LANDMARKS, SHOULDERS, Pose
from .smoothing import fill, smooth

RATE = 25.0
"""Moments a second that the network sees, whatever the clip's frame rate."""

FEATURES = 6 * LANDMARKS + 4
"""Numbers a moment: landmarks in the picture and in metres, their visibility; nearness, velocity, roll."""

_SHARES = np.cumsum((2 * LANDMARKS, 3 * LANDMARKS, LANDMARKS, 1, 2))
_PAIRS = ((1, 4), (2, 5), (3, 6), *((left, left + 1) for left in (7, 9, *range(11, LANDMARKS, 2))))
OPPOSITE = np.arange(LANDMARKS)
"""For each landmark, the index of its opposite on the other side of the body."""
for _left, _right in _PAIRS:
    OPPOSITE[[_left, _right]] = _right, _left
_TRUNK = [BLAZEPOSE_INDEX[point] for point in TRUNK]  # among the landmarks
_SLOW = 1.0  # Hz; a person's size in the picture, and which way up they are, change slowly
_LEAST_VISIBILITY, _LEAST_TRUST = 0.05, 1e-3
_LEAST_SCALE = 1e-3  # of a metre at the person's distance, in the picture's tangents: a kilometre off
_FASTEST, _VELOCITY_UNIT = 5.0, 5.0  # metres a second
_NEAREST = 2.0  # 1 / metres
_WINDOW = 1000  # moments that are lifted at once
_REACH = 40  # moments either side that the network sees, :data:`...models.pose_lifter.DILATIONS` together


@dataclass
class Landmarks:
    """What the estimator saw of one person over a clip; zeros where the person was not seen."""

    image: np.ndarray  # (T, 33, 2) pixels
    world: np.ndarray  # (T, 33, 3) metres, axes parallel to the picture's
    visibility: np.ndarray  # (T, 33) 0 to 1
    score: np.ndarray  # (T,) that a person is there, 0 to 1; 0 where nobody is

    @classmethod
    def unseen(cls, frames: int) -> Landmarks:
        """Return those of a clip of which nothing has been seen yet."""
        shapes = ((LANDMARKS, 2), (LANDMARKS, 3), (LANDMARKS,), ())
        return cls(*(np.zeros((frames, *shape)) for shape in shapes))

    def put(self, frame: int, pose: Pose, scale: np.ndarray | float = 1.0) -> None:
        """Note what was seen in a frame; ``scale`` is how many of the wanted pixels one of its own is."""
        self.image[frame], self.world[frame] = pose.image * scale, pose.world
        self.visibility[frame], self.score[frame] = pose.visibility, pose.score

    def part(self, frames: slice) -> Landmarks:
        """Return those of some of the frames."""
        return Landmarks(*(values[frames] for values in vars(self).values()))

    def between(self, every: int) -> Landmarks:
        """Return them with straight lines between frames of which only every so many-th was looked at.

        A person is taken to be there between two frames in which they are.
        """
        looked = self.part(slice(None, None, every))
        seen = looked.score > 0
        if every == 1 or not seen.any():
            return self
        moments = np.minimum(np.arange(len(self.score)) / every, len(seen) - 1)
        image, world, visibility, score = (_at(fill(value, seen), moments) for value in vars(looked).values())
        there = seen[np.floor(moments).astype(int)] & seen[np.ceil(moments).astype(int)]
        return Landmarks(image, world, visibility, np.where(there, score, 0))

    def exchanged(self, frames: np.ndarray) -> Landmarks:
        """Return them with left and right exchanged, and depth reversed, in some of the ``frames (T,)``.

        That is how the same picture looks to one who takes the person's back for the front.
        """
        there = frames[:, None]
        return Landmarks(
            np.where(there[..., None], self.image[:, OPPOSITE], self.image),
            np.where(there[..., None], self.world[:, OPPOSITE] * (1, 1, -1), self.world),
            np.where(there, self.visibility[:, OPPOSITE], self.visibility),
            self.score,
        )


@dataclass
class View:
    """N clips as a camera sees them that follows the trunk's middle and turns so that the trunk stands."""

    features: np.ndarray  # (N, T, FEATURES) float32
    turn: np.ndarray  # (N, T, 3, 3) from its axes to the camera's
    scale: np.ndarray  # (N, T) of a metre at the person's distance, in tangents: 1 / distance


@dataclass
class Lifted:
    """What a clip's landmarks say of the body's keypoints; metres as large as the estimator takes people."""

    image: np.ndarray  # (T, 23, 2) pixels
    image_spread: np.ndarray  # (T, 23) pixels, half of the mean error that is to be expected
    points: np.ndarray  # (T, 23, 3) metres, camera axes, from the trunk's middle
    line: np.ndarray  # (T, 3) unit, from the camera to the trunk's middle
    distance: np.ndarray  # (T,) metres, of the trunk's middle along it
    bone_spread: np.ndarray  # (T, len(BONES)) metres, mean error of a bone's extent along that line

    def part(self, frames: slice) -> Lifted:
        """Return that of some of the frames."""
        return Lifted(**{name: values[frames] for name, values in vars(self).items()})


def view_of(rays: np.ndarray, world: np.ndarray, visibility: np.ndarray, seen: np.ndarray) -> View:
    """Return what the network sees of N clips, :data:`RATE` moments a second.

    Args:
        rays: ``(N, T, 33, 2)`` landmarks in the picture, x / z and y / z in the camera's axes.
        world: ``(N, T, 33, 3)`` the same in metres, axes parallel to a picture centred on the person.
        visibility: ``(N, T, 33)``.
        seen: ``(N, T)`` bool; elsewhere all of these are filled in.
    """
    axes, roll = axes_of(rays, seen)
    turn = axes @ rolled(roll)
    flat = across(rays, axes) @ rolled(roll)[..., :2, :2]
    world = (world - world[:, :, _TRUNK].mean(axis=2, keepdims=True)) @ rolled(roll)
    certain = np.maximum(visibility, _LEAST_VISIBILITY)[..., None]
    scale = (certain * flat * world[..., :2]).sum(axis=(2, 3)) / (certain * world[..., :2] ** 2).sum(
        axis=(2, 3)
    )
    trust = np.where(seen, 1.0, _LEAST_TRUST)
    scale = np.log(np.maximum(scale, _LEAST_SCALE))
    scale = np.exp(smooth(scale.T[..., None], trust.T, _SLOW, RATE)[..., 0].T)
    if rays.shape[1] > 1:
        moved = apply(np.swapaxes(turn, -1, -2), np.gradient(axes[..., 2], axis=1))
        velocity = RATE * moved[..., :2] / scale[..., None]
        rolling = RATE * np.gradient(np.unwrap(roll, axis=1), axis=1)
    else:
        velocity, rolling = np.zeros((*roll.shape, 2)), np.zeros_like(roll)
    features = [
        (flat / scale[..., None, None]).reshape(*roll.shape, -1),
        world.reshape(*roll.shape, -1),
        visibility * seen[..., None],
        np.minimum(scale, _NEAREST)[..., None],
        np.clip(velocity, -_FASTEST, _FASTEST) / _VELOCITY_UNIT,
        np.clip(rolling, -_FASTEST, _FASTEST)[..., None] / _VELOCITY_UNIT,
    ]
    return View(np.concatenate(features, axis=-1).astype(np.float32), turn, scale)


def axes_of(rays: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how a camera turns that follows the trunk's middle, and how far the trunk there is rolled.

    Args:
        rays: ``(N, T, 33, 2)`` landmarks in the picture, x / z and y / z, :data:`RATE` moments a second.
        seen: ``(N, T)`` bool; elsewhere the roll is bridged.

    Returns:
        The axes ``(N, T, 3, 3)``, as columns, of a camera without a roll, and the roll ``(N, T)``, radians.
    """
    axes = look_at(rays[:, :, _TRUNK].mean(axis=2))
    flat = across(rays, axes)
    down = flat[:, :, HIPS].mean(axis=2) - flat[:, :, SHOULDERS].mean(axis=2)
    trust = np.where(seen, 1.0, _LEAST_TRUST)
    down = smooth(down.swapaxes(0, 1), trust.T, _SLOW, RATE).swapaxes(0, 1)
    return axes, np.arctan2(down[..., 0], down[..., 1])


def look_at(middle: np.ndarray) -> np.ndarray:
    """Return the axes ``(..., 3, 3)``, as columns, of a camera turned to ``middle (..., 2)`` without a roll.

    ``middle`` is x / z and y / z in the axes of the camera that turns.
    """
    ray = unit(np.concatenate([middle, np.ones((*middle.shape[:-1], 1))], axis=-1))
    half = unit(ray + np.array([0.0, 0.0, 1.0]))
    # Two half turns, about the axis and then about the bisector, take the axis to the ray without a roll.
    return (2 * half[..., :, None] * half[..., None, :] - np.eye(3)) @ np.diag([-1.0, -1.0, 1.0])


def across(rays: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Return ``rays (..., K, 2)`` as seen in other ``axes (..., 3, 3)`` of the same eye."""
    turned = np.concatenate([rays, np.ones((*rays.shape[:-1], 1))], axis=-1) @ axes
    return turned[..., :2] / np.maximum(turned[..., 2:], _LEAST_SCALE)


def rolled(roll: np.ndarray) -> np.ndarray:
    """Return the rotations ``(..., 3, 3)`` that take a trunk which stands to one that lies at ``roll``."""
    turn = np.zeros((*roll.shape, 3, 3))
    turn[..., 0, 0] = turn[..., 1, 1] = np.cos(roll)
    turn[..., 0, 1] = np.sin(roll)
    turn[..., 1, 0] = -turn[..., 0, 1]
    turn[..., 2, 2] = 1
    return turn


def mirror(features: np.ndarray) -> np.ndarray:
    """Return the features ``(..., FEATURES)`` of the mirrored picture."""
    image, world, visibility, nearness, velocity, rolling = np.split(features, _SHARES, axis=-1)
    shape = features.shape[:-1]
    image = image.reshape(*shape, -1, 2)[..., OPPOSITE, :] * (-1, 1)
    world = world.reshape(*shape, -1, 3)[..., OPPOSITE, :] * (-1, 1, 1)
    flat = [points.reshape(*shape, -1) for points in (image, world)]
    parts = [*flat, visibility[..., OPPOSITE], nearness, velocity * (-1, 1), -rolling]
    return np.concatenate(parts, axis=-1).astype(np.float32)


def keypoints_of(landmarks: Landmarks, camera: Camera, fps: float, network: Network) -> Lifted:
    """Return what the ``network``, ``load_network("pose_lifter")``, says of a clip's landmarks.

    Frames without the person are filled in. ValueError where there are only such.
    """
    frames = len(landmarks.score)
    phases = max(1, round(fps / RATE))  # of a film faster than the network: each sees its share of the frames
    grid = np.arange(int(np.ceil((frames - 1) * RATE * phases / fps)) + 1) * (fps / RATE / phases)
    said: dict[str, np.ndarray] = {}
    for phase in range(min(phases, len(grid))):
        for name, values in _lifted(_between(landmarks, grid[phase::phases]), camera, network).items():
            said.setdefault(name, np.empty((len(grid), *values.shape[1:])))[phase::phases] = values
    back = np.arange(frames) * (RATE * phases / fps)
    said = {name: _at(values, back) for name, values in said.items()}
    return Lifted(**{**said, "line": unit(said["line"])})


def _lifted(landmarks: Landmarks, camera: Camera, network: Network) -> dict[str, np.ndarray]:
    """Return the fields of :class:`Lifted` of landmarks :data:`RATE` a second."""
    focal, centre = np.array([camera.fx, camera.fy]), np.array([camera.cx, camera.cy])
    rays, seen = (landmarks.image - centre) / focal, landmarks.score > 0
    view = view_of(rays[None], landmarks.world[None], landmarks.visibility[None], seen[None])
    # Both ways round, and the mean: the mirrored picture has the mirrored motion, and errors even out.
    both = _in_windows(network, np.concatenate([view.features, mirror(view.features)]))
    (straight, turned), spread, bones = both["points"], both["spread"], both["bone_spread"]
    seen_at = (straight + turned[:, MIRRORED] * (-1, 1, 1)) / 2
    spread = (spread[0] + spread[1][:, MIRRORED]) / 2
    bones = (bones[0] + bones[1][:, MIRRORED_BONES]) / 2
    turn, scale = view.turn[0], view.scale[0][:, None]
    flat, depth = seen_at[..., :2], seen_at[..., 2:]
    turned_rays = np.concatenate([flat * scale[..., None], np.ones((*scale.shape, 1)) + 0 * depth], axis=-1)
    ahead = turned_rays @ np.swapaxes(turn, -1, -2)
    image = focal * ahead[..., :2] / np.maximum(ahead[..., 2:], _LEAST_SCALE) + centre
    points = np.concatenate([flat * (1 + depth * scale[..., None]), depth], axis=-1) @ np.swapaxes(
        turn, -1, -2
    )
    return {
        "image": image,
        "image_spread": spread * scale * float(np.sqrt(camera.fx * camera.fy)),
        "points": points - points[:, TRUNK].mean(axis=1, keepdims=True),
        "line": turn[..., 2],
        "distance": 1 / view.scale[0],
        "bone_spread": bones,
    }


def _in_windows(network: Network, features: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the network says of ``features (N, T, FEATURES)``, in memory that does not grow with T."""
    parts = []
    for start in range(0, features.shape[1], _WINDOW):
        before = min(start, _REACH)
        said = network(features=features[:, start - before : start + _WINDOW + _REACH])
        parts.append({name: values[:, before : before + _WINDOW] for name, values in said.items()})
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}


def _between(landmarks: Landmarks, moments: np.ndarray) -> Landmarks:
    """Return the landmarks at ``moments`` (frame numbers, with fractions)."""
    seen = landmarks.score > 0
    if not seen.any():
        raise ValueError("nobody is seen in any frame")
    image, world, visibility, score = (_at(fill(value, seen), moments) for value in vars(landmarks).values())
    there = seen[np.clip(np.rint(moments).astype(int), 0, len(seen) - 1)]
    # A person seen for a frame or two may fall between all of the moments.
    return Landmarks(image, world, visibility, np.where(there | ~there.any(), score, 0))


def _at(values: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Return ``values (T, ...)`` at fractional indices, linearly between two and held beyond the last."""
    moments = np.clip(moments, 0, len(values) - 1)
    before = np.floor(moments).astype(int)
    after = np.minimum(before + 1, len(values) - 1)
    share = (moments - before).reshape(-1, *[1] * (values.ndim - 1))
    return values[before] * (1 - share) + values[after] * share
