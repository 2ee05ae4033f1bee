# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands behind synthetic people: crops of photographs, and rooms and yards drawn from nothing."""

from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np

from ...inference.clip import Camera
from ...inference.errors import InputError

FOLDER = "backgrounds"
"""Where photographs are looked for in the data folder, if no other folder is named."""

_LONG_SIDE = 1280
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".avif"}
_TILE = 256
_SURFACES = 40


def is_held_out(name: str) -> bool:
    """Tell whether a photograph is kept from training, by its file's name (one in six).

    A number at the end does not count: ``street_1`` and ``street_2`` are of one place and go together.
    """
    return zlib.crc32(Path(name).stem.rstrip("0123456789_").encode()) % 6 == 0


class Backgrounds:
    """Makes pictures of places for one split; without photographs it draws rooms and yards only."""

    def __init__(self, folder: Path | None, split: str) -> None:
        self._photographs: list[np.ndarray] = []
        paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES) if folder else []
        for path in (p for p in paths if is_held_out(p.name) == (split == "held_out")):
            picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB)
            if picture is None:
                raise InputError("background", f"{path} is not a picture: remove it from the folder.")
            scale = _LONG_SIDE / max(picture.shape[:2])
            if scale < 1:
                picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            self._photographs.append(picture)
        seed = ("train", "held_out").index(split)
        self._surfaces = [_surface(np.random.default_rng([seed, i])) for i in range(_SURFACES)]

    def make(
        self, size: tuple[int, int], camera: Camera, view: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Return one place as ``(H, W, 3)`` uint8 RGB for a camera whose axes in the world are ``view``.

        ``view (3, 4)`` takes world points (floor at y = 0, y down) to camera space.
        """
        if self._photographs and rng.random() < 0.75:
            picture = self._crop(size, rng)
        else:
            picture = _room(size, camera, view, self._surfaces, rng)
        if rng.random() < 0.3:
            picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 2.5) * size[0] / 256)
        gain = rng.uniform(0.7, 1.2) * rng.uniform(0.9, 1.1, 3)
        table = np.clip(np.arange(256)[:, None] * gain + rng.uniform(-10, 20), 0, 255)
        return cv2.LUT(picture, table.astype(np.uint8)[None])

    def _crop(self, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        photograph = self._photographs[rng.integers(len(self._photographs))]
        height, width = photograph.shape[:2]
        scale = min(height / size[0], width / size[1]) * rng.uniform(0.35, 1.0)
        rows, columns = int(size[0] * scale), int(size[1] * scale)
        top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
        crop = photograph[top : top + rows, left : left + columns]
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        return cv2.resize(crop, size[::-1], interpolation=cv2.INTER_AREA)


def _surface(rng: np.random.Generator) -> np.ndarray:
    """Return a surface that repeats, ``(256, 256)`` float32 about 1."""
    surface = np.ones((_TILE, _TILE), np.float32)
    kind = rng.integers(5)
    if kind == 0:  # planks
        count = rng.integers(4, 12)
        boards = rng.uniform(0.75, 1.1, count).astype(np.float32)
        surface *= np.repeat(boards, -(-_TILE // count))[:_TILE][None]
        surface[:, :: -(-_TILE // count)] *= 0.5
    elif kind == 1:  # bricks
        rows = int(rng.integers(4, 14))
        step = _TILE // rows
        for row in range(0, _TILE, step):
            surface[row : row + step] *= rng.uniform(0.85, 1.1)
            surface[row : row + 2] *= 0.6
            surface[row : row + step, (row // step % 2) * step :: 2 * step] *= 0.6
    elif kind == 2:  # tiles
        step = _TILE // int(rng.integers(1, 6))
        cell = np.arange(_TILE) // step
        surface *= np.where((cell[:, None] + cell[None]) % 2, 1, rng.uniform(0.5, 1)).astype(np.float32)
        surface[::step] *= 0.7
        surface[:, ::step] *= 0.7
    for cells, strength in ((8, 0.15), (64, 0.12), (_TILE, 0.08)):
        noise = rng.standard_normal((cells, cells), np.float32) * (strength * rng.uniform(0, 1.5))
        # Wrapped round before it is enlarged, so that the surface has no seam where it repeats.
        wrapped = np.pad(noise, 2, mode="wrap")
        margin = 2 * _TILE // cells
        smooth = cv2.resize(wrapped, (_TILE + 2 * margin,) * 2, interpolation=cv2.INTER_CUBIC)
        surface *= 1 + smooth[margin:-margin, margin:-margin]
    return surface


def _room(
    size: tuple[int, int],
    camera: Camera,
    view: np.ndarray,
    surfaces: list[np.ndarray],
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw a floor with walls or a sky, and boxes and panels standing about, in perspective."""
    height, width = size
    turn = rng.uniform(-0.6, 0.6)
    yaw = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    rotation = view[:, :3] @ yaw  # room to camera
    eye = -rotation.T @ view[:, 3]
    column, row = np.meshgrid(
        np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32) + 0.5
    )
    local = np.stack([(column - camera.cx) / camera.fx, (row - camera.cy) / camera.fy, np.ones_like(row)], -1)
    ray = local @ rotation.astype(np.float32) + np.float32(1e-9)
    # Distances from the room's middle to the side walls, the ceiling and the wall behind.
    reach = np.array([rng.uniform(2, 6), rng.uniform(1.2, 4) - eye[1], rng.uniform(1.0, 6)])
    behind, before = (reach[0], 0.0, reach[2]) - eye, (-reach[0], -reach[1], -30.0) - eye
    distance = np.where(ray > 0, behind.astype(np.float32), before.astype(np.float32)) / ray
    axis = distance.argmin(-1)
    hit = eye.astype(np.float32) + ray * np.take_along_axis(distance, axis[..., None], -1)
    outdoor = rng.random() < 0.35
    picture = np.empty((height, width, 3), np.float32)
    for normal, others in enumerate(((2, 1), (0, 2), (0, 1))):  # side walls, floor, wall behind
        colour = rng.uniform(0.15, 0.95) * (1 - rng.uniform(0, 0.5) * rng.uniform(0, 1, 3))
        surface = surfaces[rng.integers(len(surfaces))]
        where = axis == normal
        texel = (hit[where][:, others] * (_TILE * rng.uniform(0.3, 1.5))).astype(np.int32) % _TILE
        picture[where] = surface[texel[:, 1], texel[:, 0], None] * colour
    ceiling = (axis == 1) & (ray[..., 1] < 0)
    if outdoor:
        sky = np.linspace(rng.uniform(0.6, 1.0), 1.0, height)[:, None, None] * rng.uniform(
            (0.5, 0.6, 0.7), 1.0
        )
        picture = np.where((axis != 1)[..., None] | ceiling[..., None], sky, picture)
    else:
        picture[ceiling] = rng.uniform(0.5, 1.0)
        lamp = np.array([rng.uniform(-2, 2), -reach[1] * 0.8, rng.uniform(-1, reach[2])], np.float32)
        away = ((hit - lamp) ** 2).sum(-1, keepdims=True)
        picture *= 0.45 + 1.0 / (1 + away / np.float32(rng.uniform(2, 10)))
    picture = np.ascontiguousarray(picture * 220, np.float32)
    for _ in range(rng.integers(0, 9)):
        _box(picture, camera, rotation, eye, reach, rng)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _box(
    picture: np.ndarray,
    camera: Camera,
    rotation: np.ndarray,
    eye: np.ndarray,
    reach: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Paint one box (furniture, a door, a picture on the wall) into ``picture``."""
    flat = rng.random() < 0.4
    half = rng.uniform((0.1, 0.1, 0.01), (0.8, 1.0, 0.02)) if flat else rng.uniform(0.1, 0.6, 3)
    centre = np.array([rng.uniform(-reach[0], reach[0]), -half[1], reach[2] - half[2]])
    if flat:
        centre[1] -= rng.uniform(0, 1.5)
    else:
        centre[2] -= rng.uniform(0, 0.5)
    if centre[2] + half[2] - eye[2] < 1.5:
        return
    colour = rng.uniform(10, 230) * (1 - rng.uniform(0, 0.8) * rng.uniform(0, 1, 3))
    for axis in range(3):
        side = -np.sign(centre[axis] - eye[axis])
        others = [a for a in range(3) if a != axis]
        corners = np.tile(centre, (4, 1))
        corners[:, axis] += side * half[axis]
        corners[:, others] += np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half[others]
        local = (corners - eye) @ rotation.T
        if (local[:, 2] < 0.2).any():
            continue
        polygon = np.clip(camera.project(local), -4096, 8192)
        cv2.fillConvexPoly(
            picture,
            np.round(polygon * 16).astype(np.int32),
            (colour * (0.6, 1.0, 0.85)[axis]).tolist(),
            cv2.LINE_AA,
            shift=4,
        )
