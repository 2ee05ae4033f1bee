# SPDX-License-Identifier: GPL-3.0-or-later
"""A small skeleton with a skin, as the engine writes one."""

import numpy as np
from scipy.spatial.transform import Rotation
from sparse2dense.s2d_addon.bake.clip_skeleton import ClipSkeleton

PARENTS = [-1, 0, 1, 0]
HEADS = np.array([[0, 0, 1.0], [0, 0.1, 1.4], [0.3, 0, 1.5], [0, 0, 0.9]])
TAILS = np.array([[0, 0.1, 1.4], [0.3, 0, 1.5], [0.6, 0, 1.5], [0, 0, 0.1]])


def waving(frames, seed=0, step=0.02):
    """Rotations ``(T,)`` that wander smoothly, from none."""
    steps = np.random.default_rng(seed).normal(size=(frames + 20, 3))
    smooth = np.stack([np.convolve(column, np.hanning(21), "valid") for column in steps.T], axis=1)
    vectors = np.cumsum(step * smooth, axis=0)
    return Rotation.from_rotvec(vectors - vectors[0])


def small_skeleton(frames=40, vertices=60, **fields):
    """A trunk with an arm of two bones and a leg, each vertex on two of them."""
    rng = np.random.default_rng(7)
    matrices = np.tile(np.eye(4), (4, 1, 1))
    matrices[:, :3, :3] = Rotation.random(4, random_state=3).as_matrix()
    matrices[:, :3, 3] = HEADS
    bones = np.stack([np.arange(vertices) % 4, (np.arange(vertices) + 1) % 4], axis=1)
    values = np.tile([0.7, 0.3], (vertices, 1))
    values[::3] = (1, 0)
    along = rng.random((vertices, 1))
    rest = (
        HEADS[bones[:, 0]] + along * (TAILS - HEADS)[bones[:, 0]] + rng.normal(scale=0.04, size=(vertices, 3))
    )
    turns = [waving(frames, seed).as_quat(scalar_first=True) for seed in range(4)]
    walk = waving(frames, 9, 0.01).as_rotvec()
    arrays = {
        "names": ["trunk", "upper_arm", "forearm", "thigh"],
        "parents": np.array(PARENTS, np.int32),
        "heads": HEADS,
        "tails": TAILS,
        "matrices": matrices,
        "rest_vertices": rest.astype(np.float32),
        "weight_bones": bones.astype(np.uint8),
        "weight_values": values.astype(np.float32),
        "rotations": np.stack(turns, axis=1),
        "locations": HEADS[0] + walk,
    }
    return ClipSkeleton(**arrays | fields)


def skinned(skeleton, motion):
    """The vertices ``(T, V, 3)``, worked out bone by bone as Blender does."""
    total = 0.0
    for bone, matrix in enumerate(skeleton.matrices):
        weights = np.where(skeleton.weight_bones == bone, skeleton.weight_values, 0).sum(axis=1)
        local = (skeleton.rest_vertices - matrix[:3, 3]) @ matrix[:3, :3]
        posed = local @ np.swapaxes(motion.rotations[:, bone], 1, 2) + motion.heads[:, None, bone]
        total = total + weights[:, None] * posed
    return total


def rope(frames=80, bones=8):
    """Bones of half a metre in a row, turned alike, each with vertices at its end: strays add up there."""
    names = [f"bone {i}" for i in range(bones)]
    along = np.array([0.5, 0, 0])
    heads = np.arange(bones)[:, None] * along
    matrices = np.tile(np.eye(4), (bones, 1, 1))
    matrices[:, :3, :3] = Rotation.random(bones, random_state=1).as_matrix()
    matrices[:, :3, 3] = heads
    swing = np.sin(np.linspace(0, 9, frames) ** 1.3)[:, None] * [0, 0, 0.1]
    turns = [Rotation.from_rotvec(swing @ own[:3, :3]).as_quat(scalar_first=True) for own in matrices]
    tips = np.repeat(heads + along, 4, axis=0)
    tips += 0.05 * np.tile([(0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)], (bones, 1))
    return ClipSkeleton(
        names=names,
        parents=np.arange(bones) - 1,
        heads=heads,
        tails=heads + along,
        matrices=matrices,
        rest_vertices=tips.astype(np.float32),
        weight_bones=np.stack([np.repeat(np.arange(bones), 4), np.zeros(4 * bones)], axis=1).astype(np.uint8),
        weight_values=np.tile(np.array([1, 0], np.float32), (4 * bones, 1)),
        rotations=np.stack(turns, axis=1),
        locations=np.zeros((frames, 3)),
    )
