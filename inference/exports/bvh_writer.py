# SPDX-License-Identifier: GPL-3.0-or-later
"""A skeleton's motion as a BVH file: centimetres, y up, rotations in the order Z, X, Y.

That is what programs that take BVH expect (MotionBuilder, iClone, Cascadeur); in Blender, import it with the
scale 0.01. Joints have the world's axes at rest, as BVH has no others. The root's ``OFFSET`` is zero and its
position channels say where it stands: programs disagree on whether the two are added, and so need not.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from ...models.rotations import relative_to_parents
from ...models.skeleton import Skeleton
from ..decoding.skeleton_fit import SkeletonMotion

_UNITS = 100  # a metre


def write_bvh(path: Path, motion: SkeletonMotion, fps: Fraction) -> None:
    """Write a motion that stands with y up (:mod:`.standing`). OSError where the file cannot be written."""
    skeleton = motion.skeleton
    head = ["HIERARCHY", *_hierarchy(skeleton, 0), "MOTION"]
    head += [f"Frames: {len(motion.roots)}", f"Frame Time: {float(1 / fps):.12f}", ""]
    local = relative_to_parents(motion.rotations, skeleton.parents)
    angles = [_euler_angles(local[:, bone].astype(np.float64)) for bone in _depth_first(skeleton, 0)]
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write("\n".join(head))
        np.savetxt(file, np.concatenate([motion.roots * _UNITS, *angles], axis=1), "%.4f")


def _hierarchy(skeleton: Skeleton, bone: int) -> list[str]:
    """Return the lines of a bone and all that hangs on it."""
    parent, children = skeleton.parents[bone], _children(skeleton, bone)
    offset = np.zeros(3) if parent < 0 else skeleton.heads[bone] - skeleton.heads[parent]
    place = "6 Xposition Yposition Zposition" if parent < 0 else "3"
    inside = [f"OFFSET {_numbers(offset)}", f"CHANNELS {place} Zrotation Xrotation Yrotation"]
    for child in children:
        inside += _hierarchy(skeleton, child)
    if not children:
        end = _numbers(skeleton.tails[bone] - skeleton.heads[bone])
        inside += ["End Site", "{", f"\tOFFSET {end}", "}"]
    kind = "ROOT" if parent < 0 else "JOINT"
    return [f"{kind} {skeleton.names[bone]}", "{", *(f"\t{line}" for line in inside), "}"]


def _depth_first(skeleton: Skeleton, bone: int) -> list[int]:
    """Return a bone and all that hangs on it in the hierarchy's order, which the channels follow."""
    return [bone, *(below for child in _children(skeleton, bone) for below in _depth_first(skeleton, child))]


def _children(skeleton: Skeleton, bone: int) -> list[int]:
    return [int(child) for child in np.flatnonzero(skeleton.parents == bone)]


def _numbers(vector: np.ndarray) -> str:
    return " ".join(f"{value * _UNITS:.4f}" for value in vector)


def _euler_angles(rotations: np.ndarray) -> np.ndarray:
    """Return rotations ``(T, 3, 3)`` as degrees ``(T, 3)`` about z, x and y that run on from frame to frame.

    They are the factors of ``R = Rz Rx Ry``. Each rotation has two such triples; that nearer to the frame
    before is taken, so that a program that blends two frames does not turn a bone around.
    """
    z = np.arctan2(-rotations[:, 0, 1], rotations[:, 1, 1])
    x = np.arctan2(rotations[:, 2, 1], np.hypot(rotations[:, 0, 1], rotations[:, 1, 1]))
    # Of what the turn about z leaves: where x is a right angle, only z and y together are known.
    across = np.cos(z)[:, None] * rotations[:, 0] + np.sin(z)[:, None] * rotations[:, 1]
    y = np.arctan2(across[:, 2], across[:, 0])
    angles = np.stack([z, x, y], axis=1)
    others = np.stack([z + np.pi, np.pi - x, y + np.pi], axis=1)
    kept, changed = (_turned(later[1:] - angles[:-1]) for later in (angles, others))
    # The other triple's way from frame to frame is as long, so a change now holds until the next.
    changes = np.concatenate([[False], changed < kept])
    angles = np.where(np.logical_xor.accumulate(changes)[:, None], others, angles)
    return np.degrees(np.unwrap(angles, axis=0))


def _turned(angles: np.ndarray) -> np.ndarray:
    """Return how far differences of angles ``(T, 3)`` turn together, whole turns aside."""
    return np.abs((angles + np.pi) % (2 * np.pi) - np.pi).sum(axis=1)
