# SPDX-License-Identifier: GPL-3.0-or-later
"""What capture makes, what a ``.s2d`` file holds and what decoding starts from: a clip is one person's.

A file holds a *shot*: what one camera filmed without a break, of one person or of several. Camera space is
OpenCV's (x right, y down, z forward), in metres.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import cv2
import numpy as np

from ...models.camera import Camera
from .homography_coding import canvas_corners


@dataclass
class Reference:
    """A coded reference picture: the whole canvas at one frame, and where the person is in it."""

    frame: int
    picture: np.ndarray  # (H, W, 3) uint8 RGB
    mask: np.ndarray  # (H, W) uint8, 0 background to 255 person


@dataclass
class Clip:
    """One person's motion, and (unless it is motion alone) the pictures that let it be drawn again."""

    fps: Fraction
    camera: Camera
    width: int  # canvas, pixels
    height: int
    keypoints: np.ndarray  # (T, 23, 3) float32, metres, camera space, in the order of KEYPOINT_NAMES
    body: str  # name of the body model, "anny" by default
    shape: np.ndarray  # (S,) float32, the body model's shape coefficients, one set a clip
    references: list[Reference] = field(default_factory=list)  # empty: a motion without video
    plate: np.ndarray | None = None  # (H, W, 3) uint8 RGB background as the first reference's camera sees it
    moving_camera: bool = False  # the background moved while filming
    # Where the corners of every frame's canvas lie in the plate, (T, 4, 2) float32, pixels of the first
    # reference's canvas (its own corners are the canvas's), from the top left, clockwise. None: the plate
    # stands still. With it the plate may be larger than the canvas, whose top left is at ``plate_origin``.
    views: np.ndarray | None = None
    plate_origin: tuple[int, int] = (0, 0)  # (left, top) of the plate's first pixel, 0 or less
    # How certain each of BODY_REGIONS is, (T, 6) float32 from 0 (a guess) to 1 (seen). None: it is not known.
    certainty: np.ndarray | None = None
    # The picture of the body's UV map, (S, S, 3) uint8 RGB, the first row at v = 1. None: decoding paints it
    # of what the references show.
    texture: np.ndarray | None = None

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.keypoints)

    def background(self, frame: int) -> np.ndarray:
        """Return the background of a frame, ``(H, W, 3)`` uint8 RGB: the plate as its camera sees it.

        Beyond the plate's edge the edge goes on. Without a plate it is the first reference's picture.
        """
        plate = self.references[0].picture if self.plate is None else self.plate
        if self.views is None:
            return plate
        return seen_background(plate, self.plate_origin, self.views[frame], self.width, self.height)


@dataclass
class Person:
    """One of the people of a shot, in those frames in which they are there."""

    keypoints: np.ndarray  # as of a Clip, (n, 23, 3)
    body: str
    shape: np.ndarray
    references: list[Reference] = field(default_factory=list)  # their frames are the shot's
    certainty: np.ndarray | None = None  # (n, 6)
    texture: np.ndarray | None = None  # (S, S, 3)
    first: int = 0  # the shot's frame that is the first of ``keypoints``


@dataclass
class Shot:
    """What one camera filmed without a break: what all people in it share, and one to eight people.

    Fields are those of a :class:`Clip`, of all frames of the shot; the first reference is that of the first
    person who has one.
    """

    fps: Fraction
    camera: Camera
    width: int
    height: int
    frames: int
    people: list[Person]
    plate: np.ndarray | None = None
    moving_camera: bool = False
    views: np.ndarray | None = None
    plate_origin: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, clip: Clip) -> Shot:
        """Return the shot of one person who is there throughout."""
        person = Person(clip.keypoints, clip.body, clip.shape, clip.references, clip.certainty, clip.texture)
        return cls(
            fps=clip.fps,
            camera=clip.camera,
            width=clip.width,
            height=clip.height,
            frames=clip.frames,
            people=[person],
            plate=clip.plate,
            moving_camera=clip.moving_camera,
            views=clip.views,
            plate_origin=clip.plate_origin,
        )


def seen_background(
    plate: np.ndarray, origin: tuple[int, int], view: np.ndarray, width: int, height: int
) -> np.ndarray:
    """Return the ``plate`` as a frame's camera sees it, ``(height, width, 3)`` uint8 RGB.

    ``origin`` and ``view`` ``(4, 2)`` are :attr:`Clip.plate_origin` and the frame's of :attr:`Clip.views`.
    """
    # Corners lie between pixels, and OpenCV counts from the centre of the first pixel.
    canvas = canvas_corners(width, height) - 0.5
    to_plate = cv2.getPerspectiveTransform(
        canvas.astype(np.float32), (view - origin - 0.5).astype(np.float32)
    )
    return cv2.warpPerspective(
        plate,
        to_plate,
        (width, height),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
