# SPDX-License-Identifier: GPL-3.0-or-later
"""The standard skeleton fitted to a clip's vertices, and ``skeleton.npz``, for Blender's armatures.

    vertices ──▶ bone lengths of the clip ──▶ rotations of every frame
    mesh.pc2 ──────────────────────────────────────────────────────────▶ skeleton.npz

Frames are taken batch by batch, so that memory grows by the rotations alone, about 850 bytes a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ...models.array_files import write_arrays
from ...models.shaped_body import ShapedBody
from ...models.skeleton import INFLUENCES, Skeleton, build_skeleton, calibrate, fit_pose, local_quaternions
from ..runtime.progress import Progress
from .point_cache import floor_origin, read_pc2, to_blender
from .vertices import batches

_CALIBRATION_FRAMES = 64
"""Frames that the bone lengths are taken from, evenly spread: more change them by less than a millimetre."""


@dataclass(frozen=True)
class SkeletonMotion:
    """A skeleton and its motion in T frames, in the axes of the skeleton.

    Attributes:
        skeleton: the bones at rest and the mesh that they carry.
        rotations: ``(T, J, 3, 3)`` float32, of each bone in the world since rest.
        roots: ``(T, 3)``, metres, where the root's head stands.
    """

    skeleton: Skeleton
    rotations: np.ndarray
    roots: np.ndarray


def fit_skeleton(
    body: ShapedBody, vertices: Callable[[int, int], np.ndarray], frames: int, progress: Progress
) -> SkeletonMotion:
    """Fit the standard skeleton of ``body`` to all ``frames`` of a clip, in camera space.

    ``vertices(start, stop)`` gives those of some frames ``(stop - start, V, 3)``. It is asked first for
    single frames all over the clip, which tell the bones' lengths, then for all in order, batch by batch.
    """
    sample = np.unique(np.linspace(0, frames - 1, _CALIBRATION_FRAMES).astype(int))
    shown = np.concatenate([vertices(frame, frame + 1) for frame in sample.tolist()])
    skeleton = calibrate(build_skeleton(body), shown)
    rotations, roots = np.empty((frames, len(skeleton.names), 3, 3), np.float32), np.empty((frames, 3))
    for start, stop in batches(0, frames):
        rotations[start:stop], roots[start:stop] = fit_pose(skeleton, vertices(start, stop))
        progress("skeleton", stop, frames)
    return SkeletonMotion(skeleton, rotations, roots)


def write_skeleton(path: Path, body: ShapedBody, cache: Path, frames: int, progress: Progress) -> None:
    """Fit the standard skeleton to all ``frames`` of a PC2 ``cache`` of ``body`` and write it to ``path``.

    Arrays, float32 where nothing else is said; J bones, V vertices, T frames; Blender's axes, metres:

    - ``names`` ``(J,)``, ``parents`` ``(J,)`` int32, -1 for the root, which comes first;
    - ``heads``, ``tails`` ``(J, 3)`` and ``matrices`` ``(J, 4, 4)`` (Blender's ``matrix_local``) of the bones
      at rest: the soles at z = 0, facing -y, over the origin;
    - ``rest_vertices`` ``(V, 3)``, the mesh in that rest, with the bone lengths of the clip;
    - ``weight_bones`` ``(V, 4)`` uint8 and ``weight_values`` ``(V, 4)``, rows sum to 1;
    - ``rotations`` ``(T, J, 4)``, continuous unit quaternions, w first, as pose bones take them;
    - ``locations`` ``(T, 3)``, where the root's head stands, the camera at the origin. The root pose bone's
      own ``location`` is ``matrices[0][:3, :3].T @ (locations - heads[0])``.
    """
    motion = fit_skeleton(body, partial(read_pc2, cache), frames, progress)
    arrays = {
        **_rest_arrays(motion.skeleton),
        "rotations": local_quaternions(motion.skeleton, motion.rotations),
        "locations": to_blender(motion.roots).astype(np.float32),
    }
    write_arrays(path, arrays)


def _rest_arrays(skeleton: Skeleton) -> dict[str, np.ndarray]:
    vertices = to_blender(skeleton.vertices)
    origin = floor_origin(vertices)
    heads, tails = (to_blender(points) - origin for points in (skeleton.heads, skeleton.tails))
    matrices = np.tile(np.eye(4), (len(heads), 1, 1))
    matrices[:, :3, :3] = np.swapaxes(to_blender(np.swapaxes(skeleton.axes, 1, 2)), 1, 2)
    matrices[:, :3, 3] = heads
    bones = np.argsort(-skeleton.weights, axis=1)[:, :INFLUENCES]
    return {
        "names": np.array(skeleton.names),
        "parents": skeleton.parents.astype(np.int32),
        "heads": heads.astype(np.float32),
        "tails": tails.astype(np.float32),
        "matrices": matrices.astype(np.float32),
        "rest_vertices": (vertices - origin).astype(np.float32),
        "weight_bones": bones.astype(np.uint8),
        "weight_values": np.take_along_axis(skeleton.weights, bones, axis=1).astype(np.float32),
    }
