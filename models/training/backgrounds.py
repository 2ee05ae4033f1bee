# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands behind synthetic people: crops of photographs, and rooms and yards drawn from nothing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from ..camera import Camera
from ..errors import InputError

FOLDER = "backgrounds"
"""Where photographs are looked for in the data folder, if no other folder is named."""

_LONG_SIDE = 1280
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".avif"}
_TILE = 256
_SURFACES = 40


HELD_OUT = frozenset(
    {
        "Dragonfly_by_Bolly",
        "EveningGlow",
        "Grey",
        "Kite",
        "Picture_0B_by_freespace",
        "RainDrops",
        "aitzgorri_by_Aitzol_Berasategi",
        "greentock_by_Peter_Nerlich",
    }
)
"""Photographs, of those that ``THIRD_PARTY.md`` names, that only the ``held_out`` split stands before."""


def is_held_out(name: str) -> bool:
    """Tell whether a photograph is kept from training, by its file's name."""
    return Path(name).stem in HELD_OUT


def photographs(folder: Path) -> list[Path]:
    """Return the photographs in ``folder``, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)


def read_photograph(path: Path) -> np.ndarray:
    """Read a photograph as ``(H, W, 3)`` uint8 RGB, as large as training uses it.

    InputError ``background`` where it is none.
    """
    picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise InputError("background", f"{path} is not a picture: remove it from the folder.")
    scale = _LONG_SIDE / max(picture.shape[:2])
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return picture


class Backgrounds:
    """Makes pictures of places for one split; without photographs it draws rooms and yards only."""

    def __init__(self, folder: Path | None, split: str) -> None:
        paths = photographs(folder) if folder else []
        ours = (path for path in paths if is_held_out(path.name) == (split == "held_out"))
        self._photographs = [read_photograph(path) for path in ours]
        seed = ("train", "held_out").index(split)
        self._surfaces = [_surface(np.random.default_rng([seed, i])) for i in range(_SURFACES)]

    def make(
        self,
        size: tuple[int, int],
        camera: Camera,
        view: np.ndarray,
        rng: np.random.Generator,
        others: np.ndarray | None = None,
    ) -> Place:
        """Choose one place for a camera whose axes in the world are ``view``.

        ``view (3, 4)`` takes world points (floor at y = 0, y down) to camera space; ``others (n, 3, 4)``
        are the views beside it from which the place is to be seen, if the camera moves.
        """
        if self._photographs and rng.random() < 0.75:
            photograph = self._photographs[rng.integers(len(self._photographs))]
            scene: _Photograph | _Room = _Photograph(photograph, size, camera, view, others, rng)
        else:
            scene = _Room(size, camera, view, self._surfaces, rng)
        blur = rng.uniform(0.5, 2.5) * size[0] / 256 if rng.random() < 0.3 else 0.0
        gain = rng.uniform(0.7, 1.2) * rng.uniform(0.9, 1.1, 3)
        table = np.clip(np.arange(256)[:, None] * gain + rng.uniform(-10, 20), 0, 255)
        return Place(size, scene, blur, table.astype(np.uint8)[None])


class Place:
    """A place that stands still, seen from any view near the one that it was made for."""

    def __init__(
        self, size: tuple[int, int], scene: _Photograph | _Room, blur: float, table: np.ndarray
    ) -> None:
        self.size, self._scene, self._blur, self._table = size, scene, blur, table

    def seen(self, view: np.ndarray) -> np.ndarray:
        """Return the picture ``(H, W, 3)`` uint8 RGB from ``view (3, 4)``."""
        picture = self._scene.draw(view)
        if self._blur:
            picture = cv2.GaussianBlur(picture, (0, 0), self._blur)
        return cv2.LUT(picture, self._table)

    def homography(self, view: np.ndarray) -> np.ndarray:
        """Return the ``(3, 3)`` from the canvas pixels of the first view to those of ``view``.

        Exact for photographs, which hang on a plane; of a room for what lies as far as its middle.
        """
        return _homography(self._scene.camera, self._scene.view, view, self._scene.depth)


def _homography(camera: Camera, start: np.ndarray, end: np.ndarray, depth: float) -> np.ndarray:
    """Return how the plane at ``depth`` (m) before the view ``start`` moves on the canvas (3, 3).

    Hartley and Zisserman, Multiple View Geometry, 2nd edition, equation 13.2.
    """
    turn = end[:, :3] @ start[:, :3].T
    shift = end[:, 3] - turn @ start[:, 3]
    moved = turn.copy()
    moved[:, 2] += shift / depth
    matrix = camera.matrix()
    return matrix @ moved @ np.linalg.inv(matrix)


class _Photograph:
    """A crop of a photograph on a plane far behind the person, as large as all views of it need."""

    def __init__(
        self,
        photograph: np.ndarray,
        size: tuple[int, int],
        camera: Camera,
        view: np.ndarray,
        others: np.ndarray | None,
        rng: np.random.Generator,
    ) -> None:
        self.camera, self.view, self._size = camera, view, size
        self.depth = 2.5 * float(np.linalg.norm(view[:, 3]))
        height, width = photograph.shape[:2]
        low, high = np.zeros(2, int), np.array(size[::-1])
        if others is not None:
            corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float64) * high
            back = [np.linalg.inv(_homography(camera, view, other, self.depth)) for other in others]
            reached = np.concatenate([cv2.perspectiveTransform(corners[None], one)[0] for one in back])
            low, high = np.floor(reached.min(0)).astype(int) - 1, np.ceil(reached.max(0)).astype(int) + 1
        wide, tall = (int(side) for side in high - low)
        scale = min(height / tall, width / wide) * rng.uniform(0.35, 1.0)
        rows, columns = int(tall * scale), int(wide * scale)
        top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
        crop = photograph[top : top + rows, left : left + columns]
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        self._picture = cv2.resize(crop, (wide, tall), interpolation=cv2.INTER_AREA)
        self._low = low

    def draw(self, view: np.ndarray) -> np.ndarray:
        """Return the picture from ``view``."""
        if self._picture.shape[:2] == self._size:
            return self._picture
        shift = np.eye(3)
        shift[:2, 2] = self._low
        moved = on_centres(_homography(self.camera, self.view, view, self.depth) @ shift)
        return cv2.warpPerspective(self._picture, moved, self._size[::-1], borderMode=cv2.BORDER_REPLICATE)


def on_centres(homography: np.ndarray) -> np.ndarray:
    """Turn a homography of pixels ``(3, 3)`` into OpenCV's, to which pixel centres are whole numbers."""
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return np.linalg.inv(half) @ homography @ half


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


class _Room:
    """A floor with walls or a sky, and boxes and panels standing about, drawn in perspective."""

    def __init__(
        self,
        size: tuple[int, int],
        camera: Camera,
        view: np.ndarray,
        surfaces: list[np.ndarray],
        rng: np.random.Generator,
    ) -> None:
        self.camera, self.view, self._size = camera, view, size
        self._yaw = Rotation.from_euler("y", rng.uniform(-0.6, 0.6)).as_matrix()
        eye = self._stand(view)[1]
        # Distances from the room's middle to the side walls, the ceiling and the wall behind.
        self._reach = np.array([rng.uniform(2, 6), rng.uniform(1.2, 4) - eye[1], rng.uniform(1.0, 6)])
        self.depth = float(np.linalg.norm(view[:, 3]) + self._reach[2] / 2)
        self._outdoor = rng.random() < 0.35
        self._sides = []
        for _ in range(3):
            colour = rng.uniform(0.15, 0.95) * (1 - rng.uniform(0, 0.5) * rng.uniform(0, 1, 3))
            surface = surfaces[rng.integers(len(surfaces))]
            self._sides.append((colour, surface, _TILE * rng.uniform(0.3, 1.5)))
        if self._outdoor:
            brightness = rng.uniform(0.6, 1.0)
            self._sky = np.linspace(brightness, 1.0, size[0])[:, None, None] * rng.uniform(
                (0.5, 0.6, 0.7), 1.0
            )
        else:
            self._ceiling = rng.uniform(0.5, 1.0)
            self._lamp = np.array(
                [rng.uniform(-2, 2), -self._reach[1] * 0.8, rng.uniform(-1, self._reach[2])], np.float32
            )
            self._lit = np.float32(rng.uniform(2, 10))
        self._boxes = [self._box(eye, rng) for _ in range(rng.integers(0, 9))]

    def _stand(self, view: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rotation ``(3, 3)`` from the room to the camera of ``view``, and where it stands."""
        rotation = view[:, :3] @ self._yaw
        return rotation, -rotation.T @ view[:, 3]

    def _box(
        self, eye: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Choose centre, half extent and colour of a box (furniture, a door, a picture on the wall).

        None if it would stand before the person.
        """
        flat = rng.random() < 0.4
        half = rng.uniform((0.1, 0.1, 0.01), (0.8, 1.0, 0.02)) if flat else rng.uniform(0.1, 0.6, 3)
        centre = np.array([rng.uniform(-self._reach[0], self._reach[0]), -half[1], self._reach[2] - half[2]])
        if flat:
            centre[1] -= rng.uniform(0, 1.5)
        else:
            centre[2] -= rng.uniform(0, 0.5)
        if centre[2] + half[2] - eye[2] < 1.5:
            return None
        return centre, half, rng.uniform(10, 230) * (1 - rng.uniform(0, 0.8) * rng.uniform(0, 1, 3))

    def draw(self, view: np.ndarray) -> np.ndarray:
        """Return the picture from ``view``."""
        camera, (height, width) = self.camera, self._size
        rotation, eye = self._stand(view)
        column, row = np.meshgrid(
            np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32) + 0.5
        )
        local = np.stack(
            [(column - camera.cx) / camera.fx, (row - camera.cy) / camera.fy, np.ones_like(row)], -1
        )
        ray = local @ rotation.astype(np.float32) + np.float32(1e-9)
        behind = (self._reach[0], 0.0, self._reach[2]) - eye
        before = (-self._reach[0], -self._reach[1], -30.0) - eye
        distance = np.where(ray > 0, behind.astype(np.float32), before.astype(np.float32)) / ray
        axis = distance.argmin(-1)
        hit = eye.astype(np.float32) + ray * np.take_along_axis(distance, axis[..., None], -1)
        picture = np.empty((height, width, 3), np.float32)
        for normal, others in enumerate(((2, 1), (0, 2), (0, 1))):  # side walls, floor, wall behind
            colour, surface, texels = self._sides[normal]
            where = axis == normal
            texel = (hit[where][:, others] * texels).astype(np.int32) % _TILE
            picture[where] = surface[texel[:, 1], texel[:, 0], None] * colour
        ceiling = (axis == 1) & (ray[..., 1] < 0)
        if self._outdoor:
            picture = np.where((axis != 1)[..., None] | ceiling[..., None], self._sky, picture)
        else:
            picture[ceiling] = self._ceiling
            away = ((hit - self._lamp) ** 2).sum(-1, keepdims=True)
            picture *= 0.45 + 1.0 / (1 + away / self._lit)
        picture = np.ascontiguousarray(picture * 220, np.float32)
        for box in self._boxes:
            if box is not None:
                _paint_box(picture, camera, rotation, eye, *box)
        return np.clip(picture, 0, 255).astype(np.uint8)


def _paint_box(
    picture: np.ndarray,
    camera: Camera,
    rotation: np.ndarray,
    eye: np.ndarray,
    centre: np.ndarray,
    half: np.ndarray,
    colour: np.ndarray,
) -> None:
    """Paint the sides of one box that face the camera into ``picture``."""
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
