# SPDX-License-Identifier: GPL-3.0-or-later
"""``skeleton.npz``: the standard skeleton fitted to a finished point cache, for Blender's armatures.

    mesh.pc2 ──▶ bone lengths of the clip ──▶ rotations of every frame ──▶ skeleton.npz

Frames are read batch by batch, so that memory grows by the rotations alone, about 350 bytes a frame.
"""

from __future__ import annotations

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
    sample = np.unique(np.linspace(0, frames - 1, _CALIBRATION_FRAMES).astype(int))
    shown = np.concatenate([read_pc2(cache, frame, frame + 1) for frame in sample])
    skeleton = calibrate(build_skeleton(body), shown)
    rotations, roots = np.empty((frames, len(skeleton.names), 3, 3), np.float32), np.empty((frames, 3))
    for start, stop in batches(0, frames):
        rotations[start:stop], roots[start:stop] = fit_pose(skeleton, read_pc2(cache, start, stop))
        progress("skeleton", stop, frames)
    arrays = {
        **_rest_arrays(skeleton),
        "rotations": local_quaternions(skeleton, rotations),
        "locations": to_blender(roots).astype(np.float32),
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
