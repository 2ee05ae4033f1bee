# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of captured motion: its error over time, the mean posture, and the mesh from front and side.

From where a film is taken nearly every motion looks right; what is wrong with it shows from the side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..models.mesh_motion import Surface
from ..models.rotations import apply, unit
from ..models.whole_files import write_whole
from .motion_metrics import JOINTS, root_aligned
from .results import save_figure

_STICKS = [
    (JOINTS.index(a), JOINTS.index(b))
    for side in ("left", "right")
    for a, b in (
        (f"{side}_shoulder", f"{side}_elbow"),
        (f"{side}_elbow", f"{side}_wrist"),
        (f"{side}_shoulder", f"{side}_hip"),
        (f"{side}_hip", f"{side}_knee"),
        (f"{side}_knee", f"{side}_ankle"),
    )
] + [(0, 1), (JOINTS.index("left_hip"), JOINTS.index("right_hip"))]
_HEIGHT, _WIDTH = 320, 240  # pixels of a sheet's tile
_ROUND = 1.5  # of the person's largest extent, that a picture is cut to
_ROOM = 1.15  # of what the person takes, that a tile shows
_SKIN = np.array([196, 190, 182], np.float32)


def draw_errors(curves: Mapping[str, Mapping[str, Sequence[float]]], path: Path) -> None:
    """Draw root-aligned errors (mm, a truth's frame) over time, a panel a film, a line an estimate."""
    pyplot = _pyplot()
    figure, panels = pyplot.subplots(
        len(curves), 1, figsize=(8, 1.9 * len(curves)), squeeze=False, sharex=True, layout="constrained"
    )
    for axes, (film, lines) in zip(panels[:, 0], curves.items(), strict=True):
        for name, errors in lines.items():
            axes.plot(errors, label=name, linewidth=2 if name == "Sparse2Dense" else 1)
        axes.set_title(film, fontsize=9)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.set_ylabel("mm")
    panels[-1, 0].set_xlabel("frame of the truth")
    panels[0, 0].legend(fontsize=7)
    save_figure(figure, path)


def draw_postures(films: Mapping[str, tuple[np.ndarray, np.ndarray]], path: Path) -> None:
    """Draw the mean posture from the front and from their left, ours on the true one, a column a film.

    Each film has our joints and the true ones ``(T, 12, 3)``; every frame is turned about the picture's
    vertical until its own hips and shoulders face the front: a camera that looks down sees everybody lean.
    """
    pyplot = _pyplot()
    figure, panels = pyplot.subplots(
        2, len(films), figsize=(2.3 * len(films), 6.4), squeeze=False, layout="constrained"
    )
    for column, (film, (joints, true)) in enumerate(films.items()):
        for points, colour, name in (
            (_facing_front(true - true[:, 6:8].mean(axis=1, keepdims=True)), "0.5", "truth"),
            (_facing_front(root_aligned(joints, true)), "tab:red", "Sparse2Dense"),
        ):
            mean = points.mean(axis=0)
            for row, axis in enumerate((0, 2)):
                axes = panels[row, column]
                for start, end in _STICKS:
                    axes.plot(*mean[[start, end]][:, [axis, 1]].T, color=colour, linewidth=2)
                axes.plot([], [], color=colour, label=name)
                axes.set(aspect="equal", xlim=(-0.7, 0.7), ylim=(1.05, -0.75))
                axes.axis("off")
        panels[0, column].set_title(film, fontsize=8)
    panels[0, 0].legend(fontsize=7)
    for row, view in enumerate(("front", "side: they face left")):
        panels[row, 0].text(-0.65, 1.0, view, fontsize=8)
    save_figure(figure, path)


def draw_sheet(
    pictures: Sequence[np.ndarray], vertices: Sequence[np.ndarray], faces: np.ndarray, path: Path
) -> None:
    """Draw frames in columns: the film's picture, the mesh from its camera's side, and from its right.

    ``pictures`` are ``(H, W, 3)`` uint8 RGB, ``vertices`` ``(V, 3)`` metres in camera space.
    """
    middles = [(mesh.min(axis=0) + mesh.max(axis=0)) / 2 for mesh in vertices]
    extent = _ROOM * max(float(np.ptp(mesh, axis=0).max()) for mesh in vertices)
    from_right = np.array([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])
    rows = [
        np.hstack([_fitted(picture) for picture in pictures]),
        *(
            np.hstack(
                [
                    _shaded((mesh - middle) @ turn.T, faces, extent)
                    for mesh, middle in zip(vertices, middles, strict=True)
                ]
            )
            for turn in (np.eye(3), from_right)
        ),
    ]
    coded = cv2.imencode(".png", np.vstack(rows)[..., ::-1])[1]
    write_whole(path, coded.tobytes())


def around(pictures: Sequence[np.ndarray], places: np.ndarray) -> list[np.ndarray]:
    """Return pictures ``(H, W, 3)`` cut to the person, alike in size, as far as there is a picture.

    ``places`` ``(T, K, 2)`` are the person's points, as shares of the picture's width and height.
    """
    height, width = pictures[0].shape[:2]
    pixels = places * (width, height)
    low, high = pixels.min(axis=1), pixels.max(axis=1)
    side = _ROUND * float((high - low).max())
    reach = np.array([side * _WIDTH / _HEIGHT, side]) / 2
    cut = []
    for picture, middle in zip(pictures, (low + high) / 2, strict=True):
        left, top = np.clip(middle - reach, 0, (width - 1, height - 1)).astype(int)
        right, bottom = np.clip(middle + reach, (left + 1, top + 1), (width, height)).astype(int)
        cut.append(picture[top:bottom, left:right])
    return cut


def _facing_front(joints: np.ndarray) -> np.ndarray:
    """Turn each frame about the vertical until the person faces the viewer."""
    across = (joints[:, [0, 6]] - joints[:, [1, 7]]).sum(axis=1) * (1, 0, 1)
    x = unit(across)
    down = np.broadcast_to([0.0, 1.0, 0.0], x.shape)
    axes = np.stack([x, down, np.cross(x, down)], axis=1)
    return apply(axes[:, None], joints)


def _shaded(vertices: np.ndarray, faces: np.ndarray, extent: float) -> np.ndarray:
    """Draw a mesh about the origin, seen along z, without perspective, ``extent`` metres high."""
    scale = _HEIGHT / extent
    pixels = vertices[:, :2] * scale + (_WIDTH / 2, _HEIGHT / 2)
    surface = Surface(faces, pixels, vertices[:, 2] + extent, _WIDTH, _HEIGHT)
    corners = vertices[faces[surface.triangles]]
    normals = unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    light = 0.35 + 0.65 * np.abs(normals @ unit(np.array([-0.4, -0.6, -1.0])))
    tile = np.full((_HEIGHT * _WIDTH, 3), 255, np.uint8)
    tile[surface.cells] = light[:, None] * _SKIN
    return tile.reshape(_HEIGHT, _WIDTH, 3)


def _fitted(picture: np.ndarray) -> np.ndarray:
    scale = min(_HEIGHT / picture.shape[0], _WIDTH / picture.shape[1])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tile = np.full((_HEIGHT, _WIDTH, 3), 255, np.uint8)
    top, left = (_HEIGHT - small.shape[0]) // 2, (_WIDTH - small.shape[1]) // 2
    tile[top : top + small.shape[0], left : left + small.shape[1]] = small[:_HEIGHT, :_WIDTH]
    return tile


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot
