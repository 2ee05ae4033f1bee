# SPDX-License-Identifier: GPL-3.0-or-later
"""From the pose estimator's landmarks to the body's keypoints, by a temporal network.

The estimator looks at one picture at a time; its landmarks are its own points, not the body's, and their
depth is a guess. The network sees a second of all 33 of them and corrects both, where they lie in the picture
and in metres. What it sees and says is centred on the person and in metres, so that how large and where the
person is filmed need not be learnt. Training (:mod:`...models.training.train_lifter`) sees the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...models.keypoints import BLAZEPOSE_INDEX, MIRRORED, TRUNK
from ...models.rotations import unit
from ..runtime.backends import Network
from .blazepose import HIPS, LANDMARKS, SHOULDERS, Pose
from .camera_space import fill, smooth

RATE = 25.0
"""Moments a second that the network sees, whatever the clip's frame rate."""

FEATURES = 6 * LANDMARKS + 7
"""Numbers a moment: landmarks in the picture and in metres, their visibility; score, velocity, edges."""

_SHARES = np.cumsum((2 * LANDMARKS, 3 * LANDMARKS, LANDMARKS, 1, 2))
_PAIRS = ((1, 4), (2, 5), (3, 6), *((left, left + 1) for left in (7, 9, *range(11, LANDMARKS, 2))))
_OPPOSITE = np.arange(LANDMARKS)
for _left, _right in _PAIRS:
    _OPPOSITE[[_left, _right]] = _right, _left
_TRUNK = [BLAZEPOSE_INDEX[point] for point in TRUNK]  # among the landmarks
_SCALE_CUTOFF = 1.0  # Hz; a person's size in the picture changes slowly
_LEAST_VISIBILITY = 0.05
_LEAST_SCALE = 1e-3  # pixels a metre, of the picture's longer side
_FASTEST, _VELOCITY_UNIT = 5.0, 5.0  # metres a second
_NEAREST_EDGE, _FARTHEST_EDGE = -0.5, 2.0  # metres


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

    def exchanged(self, frames: np.ndarray) -> Landmarks:
        """Return them with left and right exchanged, and depth reversed, in some of the ``frames (T,)``.

        That is how the same picture looks to one who takes the person's back for the front.
        """
        there = frames[:, None]
        return Landmarks(
            np.where(there[..., None], self.image[:, _OPPOSITE], self.image),
            np.where(there[..., None], self.world[:, _OPPOSITE] * (1, 1, -1), self.world),
            np.where(there, self.visibility[:, _OPPOSITE], self.visibility),
            self.score,
        )


@dataclass
class View:
    """The person's own measure of the picture, in each of N moments."""

    features: np.ndarray  # (N, FEATURES) float32
    centre: np.ndarray  # (N, 2) pixels
    scale: np.ndarray  # (N,) pixels a metre
    image: np.ndarray  # (N, 23, 2) the keypoints' landmarks, metres from the centre
    world: np.ndarray  # (N, 23, 3) likewise, from the trunk's middle


def view_of(landmarks: Landmarks, size: tuple[int, int]) -> View:
    """Return what the network sees of ``landmarks``, :data:`RATE` a second, in a picture of ``size``.

    ``size`` is (width, height). ValueError where nobody is ever seen.
    """
    seen = landmarks.score > 0
    if not seen.any():
        raise ValueError("nobody is seen in any frame")
    image, world = fill(landmarks.image, seen), fill(landmarks.world, seen)
    visibility = fill(landmarks.visibility, seen) * seen[:, None]
    centre = image[:, _TRUNK].mean(axis=1)
    image, world = image - centre[:, None], world - world[:, _TRUNK].mean(axis=1, keepdims=True)
    certain = np.maximum(visibility, _LEAST_VISIBILITY)[..., None]
    scale = (certain * image * world[..., :2]).sum(axis=(1, 2)) / (certain * world[..., :2] ** 2).sum(
        axis=(1, 2)
    )
    scale = np.log(np.maximum(scale, _LEAST_SCALE * max(size)))
    trust = np.where(seen, 1.0, _LEAST_SCALE)[:, None]
    scale = np.exp(smooth(scale[:, None, None], trust, _SCALE_CUTOFF, RATE)[:, 0, 0])
    image /= scale[:, None, None]
    velocity = np.gradient(centre, axis=0) * RATE / scale[:, None] if len(centre) > 1 else 0 * centre
    edges = np.concatenate([centre, np.array(size) - centre], axis=1) / scale[:, None]
    features = [
        image.reshape(len(image), -1),
        world.reshape(len(world), -1),
        visibility,
        landmarks.score[:, None],
        np.clip(velocity, -_FASTEST, _FASTEST) / _VELOCITY_UNIT,
        np.clip(edges, _NEAREST_EDGE, _FARTHEST_EDGE),
    ]
    chosen = list(BLAZEPOSE_INDEX)
    return View(
        np.concatenate(features, axis=1).astype(np.float32), centre, scale, image[:, chosen], world[:, chosen]
    )


def split(features: np.ndarray) -> list[np.ndarray]:
    """Take features ``(..., FEATURES)`` apart.

    Landmarks in the picture ``(..., 33, 2)`` and in metres ``(..., 33, 3)``, their visibility ``(..., 33)``,
    the score ``(..., 1)``, the velocity ``(..., 2)``, and how far the picture's left, top, right and lower
    edges are ``(..., 4)``.
    """
    image, world, *rest = np.split(features, _SHARES, axis=-1)
    return [image.reshape(*image.shape[:-1], -1, 2), world.reshape(*world.shape[:-1], -1, 3), *rest]


def join(parts: list[np.ndarray]) -> np.ndarray:
    """Undo :func:`split`."""
    image, world, *rest = parts
    flat = [points.reshape(*points.shape[:-2], -1) for points in (image, world)]
    return np.concatenate([*flat, *rest], axis=-1).astype(np.float32)


def mirror(features: np.ndarray) -> np.ndarray:
    """Return the features ``(..., FEATURES)`` of the mirrored picture."""
    image, world, visibility, score, velocity, edges = split(features)
    return join(
        [
            image[..., _OPPOSITE, :] * (-1, 1),
            world[..., _OPPOSITE, :] * (-1, 1, 1),
            visibility[..., _OPPOSITE],
            score,
            velocity * (-1, 1),
            edges[..., [2, 1, 0, 3]],
        ]
    )


def keypoints_of(
    landmarks: Landmarks, size: tuple[int, int], fps: float, network: Network
) -> tuple[np.ndarray, np.ndarray]:
    """Return the body's keypoints: image ``(T, 23, 2)`` pixels, and metres ``(T, 23, 3)``.

    The metres are in axes parallel to a picture centred on the person, from any origin. ``network`` is
    ``load_network("pose_lifter")``, ``size`` the picture's (width, height); frames without the person are
    filled in. ValueError where there are only such.

    The network knows people whose trunk stands in the picture. Where it lies, or is upside down, the picture
    is turned by quarters until it stands, over the whole clip alike, and what comes out is turned back.
    """
    quarters = _quarters_off(landmarks)
    turned = Landmarks(
        _turned(landmarks.image, quarters, size),
        _turned(landmarks.world, quarters),
        landmarks.visibility,
        landmarks.score,
    )
    upright = size if quarters % 2 == 0 else size[::-1]
    image, world = _keypoints_upright(turned, upright, fps, network)
    return _turned(image, -quarters, upright), _turned(world, -quarters)


def _quarters_off(landmarks: Landmarks) -> int:
    """Return by how many quarters, clockwise, the picture must turn for the trunk to stand."""
    shoulders, hips = (landmarks.image[:, points].mean(axis=1) for points in (SHOULDERS, HIPS))
    across, down = (landmarks.score[:, None] * unit(hips - shoulders)).sum(axis=0)
    return round(np.arctan2(across, down) / (np.pi / 2)) % 4


def _turned(points: np.ndarray, quarters: int, size: tuple[int, int] | None = None) -> np.ndarray:
    """Turn points ``(..., 2 or 3)`` clockwise by quarters, about the origin or with a picture of ``size``."""
    for _ in range(quarters % 4):
        height = 0 if size is None else size[1]
        points = np.concatenate([height - points[..., 1:2], points[..., :1], points[..., 2:]], axis=-1)
        size = None if size is None else size[::-1]
    return points


def _keypoints_upright(
    landmarks: Landmarks, size: tuple[int, int], fps: float, network: Network
) -> tuple[np.ndarray, np.ndarray]:
    frames = len(landmarks.score)
    phases = max(1, round(fps / RATE))  # of a film faster than the network: each sees its share of the frames
    grid = np.arange(int(np.ceil((frames - 1) * RATE * phases / fps)) + 1) * (fps / RATE / phases)
    image, world = (np.empty((len(grid), len(BLAZEPOSE_INDEX), axes)) for axes in (2, 3))
    for phase in range(min(phases, len(grid))):
        view = view_of(_between(landmarks, grid[phase::phases]), size)
        # Both ways round, and the mean: the mirrored picture has the mirrored motion, and errors even out.
        moved = network(features=np.stack([view.features, mirror(view.features)]))
        moved_image, moved_world = (
            (straight + turned[:, MIRRORED] * np.array((-1, 1, 1)[: turned.shape[-1]])) / 2
            for straight, turned in (moved["image"], moved["world"])
        )
        image[phase::phases] = view.centre[:, None] + (view.image + moved_image) * view.scale[:, None, None]
        world[phase::phases] = view.world + moved_world
    back = np.arange(frames) * (RATE * phases / fps)
    return _at(image, back), _at(world, back)


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
