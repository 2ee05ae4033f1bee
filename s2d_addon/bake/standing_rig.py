# SPDX-License-Identifier: GPL-3.0-or-later
"""The skeleton that an armature is baked of: upright on the floor at rest, fitted to the skin. NumPy alone.

    clip's skeleton ─▶ a rig's bones and names ─▶ A-pose or T-pose over the origin ─▶ fitted to vertices
                                                                        ─▶ a root bone on the floor

Everything is in the world's axes: z up, the rest pose faces -y.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np

from ...models.errors import InputError
from ...models.rotations import (
    apply,
    continuous,
    from_vectors,
    relative_to_parents,
    swing,
    to_quaternions,
    unit,
)
from ...models.skeleton import INFLUENCES, Skeleton, fit_pose, fit_stretched, pose_stretched
from ..translating import say
from .clip_skeleton import ClipSkeleton
from .keys import Progress
from .rig_presets import RigPreset
from .skin_refit import refit_skin, telling_frames

_FRAMES_AT_ONCE = 32
_UNIFORM = 1e-3  # share by which a clip's scales may differ
_SAMPLE = 48
"""Frames that the mesh at rest is taken from."""

_TRUST_IN_REST = 0.3
"""Weight of the rest pose's own mesh against what a frame shows."""

_BALL = 0.7  # of the way from heel to toes, where toes bend
_BEND = 0.06  # of the foot's length over which the skin goes from the foot to the toes, either way
_ARM_DROP = {"A": np.radians(45.0), "T": 0.0}
_WAY_SECONDS = 0.25  # standard deviation of the smoothing that makes the hips' way the root's
_ASIDE = 5e-4
"""Radians by which bones that may move point past the next: Blender's FBX importer connects a bone that
begins just where it thinks that another ends, and what is connected cannot move."""
_ROOT_LENGTH = 0.15  # of the body's height


class PlacedPoints:
    """Points ``(T, V, 3)`` of a clip, ``matrix`` ``(4, 4)`` taken to the world as they are read."""

    def __init__(self, points: np.ndarray, matrix: np.ndarray) -> None:
        self._points = points
        self._turn, self._shift = matrix[:3, :3].astype(np.float32), matrix[:3, 3].astype(np.float32)

    def before(self, count: int) -> PlacedPoints:
        """Return the points without the last ``count`` frames, of at least the first frame."""
        placed = copy(self)
        placed._points = self._points[: max(len(self) - count, 1)]
        return placed

    def __len__(self) -> int:
        """Return T."""
        return len(self._points)

    def __getitem__(self, frames: slice | np.ndarray) -> np.ndarray:
        """Return the points of some frames, in the world."""
        return self._points[frames] @ self._turn.T + self._shift


def even_scale(matrix: np.ndarray, name: str) -> float:
    """Return how much larger a matrix ``(4, 4)`` makes what ``name`` is; InputError ``scale`` if unevenly."""
    scales = np.linalg.norm(matrix[:3, :3], axis=0)
    if np.ptp(scales) > _UNIFORM * scales.max() or np.linalg.det(matrix[:3, :3]) <= 0:
        said = say('"{name}" is scaled unevenly: give it the same scale in x, y and z.', name=name)
        raise InputError("scale", said)
    return float(scales.mean())


@dataclass(frozen=True)
class RigOptions:
    """What the user chose: the ``preset``; the ``rest_pose``, ``A`` or ``T``; whether the root bone carries
    the way (``root_motion``) or stays at the origin; whether bones may leave their places a little to
    follow the skin (``stretch``); and of a loop, how many of the last frames go over into the first
    (``seam``), 0 for none."""

    preset: RigPreset
    rest_pose: str = "A"
    root_motion: bool = True
    stretch: bool = True
    seam: int = 0


def standing_rig(
    clip: ClipSkeleton,
    points: PlacedPoints,
    scale: float,
    fps: float,
    options: RigOptions,
    progress: Progress,
) -> ClipSkeleton:
    """Return the skeleton to bake of a clip's, moving as ``points`` do, which are ``scale`` times as large.

    ``fps`` is how many of them a second lasts.
    """
    skeleton = _scaled(_with_toes(_of_clip(clip)), scale)
    skeleton = _in_rest_pose(_as_preset(skeleton, options.preset), clip.names, options)
    sample = np.unique(np.linspace(0, len(points) - 1, _SAMPLE).astype(int))
    skeleton = _with_rest_of(skeleton, points[sample], stretch=options.stretch)
    frames, bones = len(points), len(skeleton.names)
    rotations, shifts = np.empty((frames, bones, 3, 3)), np.empty((frames, bones, 3))
    missed, worst = np.zeros(len(skeleton.vertices)), np.empty(frames)
    for start in range(0, frames, _FRAMES_AT_ONCE):
        some = slice(start, start + _FRAMES_AT_ONCE)
        rotations[some], shifts[some] = _fit(skeleton, points[some], stretch=options.stretch)
        off = np.linalg.norm(pose_stretched(skeleton, rotations[some], shifts[some]) - points[some], axis=2)
        missed, worst[some] = np.maximum(missed, off.max(axis=0)), off.max(axis=1)
        progress(start / frames)
    telling = telling_frames(worst)
    heads = _heads(skeleton, rotations[telling], shifts[telling])
    skeleton = refit_skin(skeleton, points[telling], rotations[telling], heads, missed, scale)
    rig = _on_root(skeleton, rotations, shifts, fps, options)
    return _closed(rig, options.seam) if options.seam else rig


# ---- bones -----------------------------------------------------------------------------------


def _of_clip(clip: ClipSkeleton) -> Skeleton:
    weights = np.zeros((len(clip.rest_vertices), len(clip.names)))
    np.put_along_axis(weights, clip.weight_bones.astype(np.int64), clip.weight_values, axis=1)
    rest = clip.rest_vertices.astype(np.float64)
    heads, tails = clip.heads.astype(np.float64), clip.tails.astype(np.float64)
    return Skeleton(tuple(clip.names), clip.parents, heads, tails, clip.matrices[:, :3, :3], rest, weights)


def _scaled(skeleton: Skeleton, scale: float) -> Skeleton:
    sizes = {name: scale * getattr(skeleton, name) for name in ("heads", "tails", "vertices")}
    return replace(skeleton, **sizes)


def _with_toes(skeleton: Skeleton) -> Skeleton:
    """Give feet without toes a bone that bends where toes do; it moves as the foot, as the mesh does."""
    for side in "LR":
        foot, toe = f"foot.{side}", f"toe.{side}"
        if foot not in skeleton.names or toe in skeleton.names:
            continue
        bone = skeleton.names.index(foot)
        head, tail = skeleton.heads[bone], skeleton.tails[bone]
        ahead = unit((tail - head) * (1, 1, 0))
        own = skeleton.weights[:, bone] > 0.5
        along = skeleton.vertices @ ahead
        heel, tip = along[own].min(), along[own].max()
        ball = heel + _BALL * (tip - heel)
        share = _smooth_step((along - ball) / (_BEND * (tip - heel)))
        near = own & (np.abs(along - ball) < 0.1 * (tip - heel))
        joint = skeleton.vertices[near].mean(axis=0) if near.any() else (head + tail) / 2
        end = joint + (tip - joint @ ahead) * ahead
        skeleton = _cut(skeleton, bone, (foot, toe), joint, end, share)
    return skeleton


def _as_preset(skeleton: Skeleton, preset: RigPreset) -> Skeleton:
    """Give the bones a preset's names; merge those that it lacks, and cut those of which it has two."""
    names = dict(zip(skeleton.names, map(preset.names, skeleton.names), strict=True))
    for ours, theirs in names.items():
        if len(theirs) == 2:
            bone = skeleton.names.index(ours)
            head, way = skeleton.heads[bone], skeleton.tails[bone] - skeleton.heads[bone]
            along = (skeleton.vertices - head) @ way / (way @ way)
            share = _smooth_step((along - 0.5) / 0.5)
            skeleton = _cut(skeleton, bone, (ours, theirs[1]), head + way / 2, skeleton.tails[bone], share)
    for ours in [ours for ours, theirs in names.items() if not theirs]:
        skeleton = _merged(skeleton, skeleton.names.index(ours))
    new = tuple(names[name][0] if name in names else name for name in skeleton.names)
    return replace(skeleton, names=new, weights=_strongest(skeleton.weights))


def _cut(
    skeleton: Skeleton,
    bone: int,
    names: tuple[str, str],
    joint: np.ndarray,
    end: np.ndarray,
    share: np.ndarray,
) -> Skeleton:
    """Cut a bone in two at ``joint``; the second, which ends at ``end``, carries what it carried.

    The second takes a ``share`` ``(V,)`` of its skin.
    """
    at = bone + 1
    parents = skeleton.parents + (skeleton.parents >= at)
    parents[parents == bone] = at
    tails = skeleton.tails.copy()
    tails[bone] = joint
    weights = np.insert(skeleton.weights, at, skeleton.weights[:, bone] * share, axis=1)
    weights[:, bone] *= 1 - share
    cut = replace(
        skeleton,
        names=(*skeleton.names[:bone], *names, *skeleton.names[at:]),
        parents=np.insert(parents, at, bone),
        heads=np.insert(skeleton.heads, at, joint, axis=0),
        tails=np.insert(tails, at, end, axis=0),
        axes=np.insert(skeleton.axes, at, skeleton.axes[bone], axis=0),
        weights=weights,
    )
    axes = cut.axes.copy()
    for half in (bone, at):
        along = unit(cut.tails[half] - cut.heads[half])
        axes[half] = swing(axes[half, :, 1], along) @ axes[half]
    return replace(cut, axes=axes)


def _merged(skeleton: Skeleton, bone: int) -> Skeleton:
    """Make a bone part of the one that carries it."""
    above = int(skeleton.parents[bone])
    parents = np.where(skeleton.parents == bone, above, skeleton.parents)
    parents = np.delete(parents - (parents > bone), bone)
    weights, tails, axes = skeleton.weights.copy(), skeleton.tails.copy(), skeleton.axes.copy()
    weights[:, above] += weights[:, bone]
    if np.allclose(tails[above], skeleton.heads[bone], atol=1e-5):
        tails[above] = tails[bone]
        axes[above] = swing(axes[above, :, 1], unit(tails[above] - skeleton.heads[above])) @ axes[above]
    return replace(
        skeleton,
        names=tuple(np.delete(skeleton.names, bone).tolist()),
        parents=parents,
        heads=np.delete(skeleton.heads, bone, axis=0),
        tails=np.delete(tails, bone, axis=0),
        axes=np.delete(axes, bone, axis=0),
        weights=np.delete(weights, bone, axis=1),
    )


def _strongest(weights: np.ndarray) -> np.ndarray:
    """Keep each row's strongest weights, as many as programs take, and let rows sum to 1."""
    kept = weights.copy()
    np.put_along_axis(kept, np.argsort(-weights, axis=1)[:, INFLUENCES:], 0.0, axis=1)
    return kept / kept.sum(axis=1, keepdims=True)


def _smooth_step(values: np.ndarray) -> np.ndarray:
    """Go from 0 at -1 to 1 at 1."""
    x = np.clip((values + 1) / 2, 0, 1)
    return x * x * (3 - 2 * x)


# ---- at rest ---------------------------------------------------------------------------------


def _in_rest_pose(skeleton: Skeleton, clip_names: Sequence[str], options: RigOptions) -> Skeleton:
    """Stretch arms and legs, turn the feet ahead, and stand the body over the origin."""
    drop = _ARM_DROP[options.rest_pose]
    points_to = {}
    for letter, side in (("L", 1.0), ("R", -1.0)):
        arm = np.array([side * np.cos(drop), 0.0, -np.sin(drop)])
        for limb in ("upper_arm", "forearm", "hand"):
            points_to[f"{limb}.{letter}"] = arm
        for limb in ("thigh", "shin"):
            points_to[f"{limb}.{letter}"] = np.array([0.0, 0.0, -1.0])
    theirs = {
        name: ours for ours in (*clip_names, "toe.L", "toe.R") for name in options.preset.names(ours)[:1]
    }
    turns = np.tile(np.eye(3), (len(skeleton.names), 1, 1))
    heads = skeleton.heads.copy()
    for bone, name in enumerate(skeleton.names):
        ours, above = theirs.get(name, ""), int(skeleton.parents[bone])
        if above >= 0:
            turns[bone] = turns[above]
            heads[bone] = heads[above] + turns[above] @ (skeleton.heads[bone] - skeleton.heads[above])
        along = skeleton.tails[bone] - skeleton.heads[bone]
        if ours in points_to:
            turns[bone] = swing(turns[bone] @ along, points_to[ours]) @ turns[bone]
        elif ours.startswith("foot"):  # as flat as the body has it, however the leg is turned
            turns[bone] = swing(along * (1, 1, 0), np.array([0.0, -1.0, 0.0]))
    tails = heads + apply(turns, skeleton.tails - skeleton.heads)
    vertices = skeleton.pose(turns[None].astype(np.float32), heads[None, 0])[0].astype(np.float64)
    origin = np.array([heads[0, 0], heads[0, 1], vertices[:, 2].min()])
    return replace(
        skeleton,
        heads=heads - origin,
        tails=tails - origin,
        axes=turns @ skeleton.axes,
        vertices=vertices - origin,
    )


def _fit(skeleton: Skeleton, vertices: np.ndarray, *, stretch: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return world rotations since rest and heads' shifts, the root's first, of vertices ``(T, V, 3)``."""
    if stretch:
        return fit_stretched(skeleton, vertices)
    rotations, root = fit_pose(skeleton, vertices)
    shifts = np.zeros((*rotations.shape[:2], 3))
    shifts[:, 0] = root
    return rotations, shifts


def _heads(skeleton: Skeleton, rotations: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Return where bones begin ``(T, J, 3)`` that are turned and shifted as :func:`_fit` has it."""
    heads = shifts.copy()
    for bone, parent in enumerate(skeleton.parents):
        if parent >= 0:
            heads[:, bone] += heads[:, parent]
            heads[:, bone] += apply(rotations[:, parent], skeleton.heads[bone] - skeleton.heads[parent])
    return heads


def _with_rest_of(skeleton: Skeleton, vertices: np.ndarray, *, stretch: bool) -> Skeleton:
    """Give the mesh at rest the form of which the bones make ``vertices`` ``(T, V, 3)`` most exactly.

    Skinning to straight limbs and back does not give the skin of bent ones again. Where a vertex is at rest
    enters a posed one linearly, so three equations a vertex say where it should be.
    """
    rotations, shifts = _fit(skeleton, vertices, stretch=stretch)
    left_over = vertices - pose_stretched(skeleton, rotations, shifts)
    blended = np.tensordot(skeleton.weights, rotations, (1, 1)).transpose(1, 0, 2, 3)  # (T, V, 3, 3)
    normal = np.einsum("tvki,tvkj->vij", blended, blended, optimize=True)
    pull = np.einsum("tvki,tvk->vi", blended, left_over, optimize=True)
    normal += _TRUST_IN_REST * len(vertices) * np.eye(3)
    moved = skeleton.vertices + np.linalg.solve(normal, pull[..., None])[..., 0]
    moved[:, 2] -= moved[:, 2].min()
    return replace(skeleton, vertices=moved)


# ---- the way ---------------------------------------------------------------------------------


def _on_root(
    skeleton: Skeleton, rotations: np.ndarray, shifts: np.ndarray, fps: float, options: RigOptions
) -> ClipSkeleton:
    """Hang the bones on a root bone on the floor, and return all that as pose bones take it."""
    frames = len(rotations)
    turn, place = np.tile(np.eye(3), (frames, 1, 1)), np.zeros((frames, 3))
    if options.root_motion:
        turn, place = _way(rotations[:, 0], shifts[:, 0], _WAY_SECONDS * fps)
    world = np.concatenate([turn[:, None], rotations], axis=1)
    parents = np.concatenate([[-1], skeleton.parents + 1])
    own_axes = np.concatenate([[_ROOT_AXES], skeleton.axes])
    heads = np.concatenate([[np.zeros(3)], skeleton.heads])
    length = _ROOT_LENGTH * np.ptp(skeleton.vertices[:, 2])
    tails = np.concatenate([[[0.0, -length, 0.0]], skeleton.tails])
    lengths = np.linalg.norm(tails - heads, axis=1, keepdims=True)
    if options.preset.along == "X":
        own_axes[1:] = own_axes[1:] @ _X_ALONG
    elif options.stretch:
        own_axes[1:] = own_axes[1:] @ from_vectors(np.array([0.0, 0.0, _ASIDE]))
    tails = heads + lengths * own_axes[:, :, 1]
    matrices = np.tile(np.eye(4), (len(heads), 1, 1))
    matrices[:, :3, :3], matrices[:, :3, 3] = own_axes, heads
    local = relative_to_parents(world, parents)
    local = np.swapaxes(own_axes, -1, -2) @ local @ own_axes
    moved = np.concatenate([np.zeros((frames, 1, 3)), shifts], axis=1)
    moved[:, 1] -= place + apply(turn, heads[1])
    above = np.swapaxes(world[:, parents[1:]], -1, -2)
    stretch = apply(np.swapaxes(own_axes[1:], -1, -2), apply(above, moved[:, 1:]))
    weights = np.concatenate([np.zeros((len(skeleton.weights), 1)), skeleton.weights], axis=1)
    strongest = np.argsort(-weights, axis=1)[:, :INFLUENCES]
    return ClipSkeleton(
        names=[options.preset.root, *skeleton.names],
        parents=parents,
        heads=heads,
        tails=tails,
        matrices=matrices,
        rest_vertices=skeleton.vertices.astype(np.float32),
        weight_bones=strongest.astype(np.uint8),
        weight_values=np.take_along_axis(weights, strongest, axis=1).astype(np.float32),
        rotations=continuous(to_quaternions(local)),
        locations=place,
        moves=stretch if options.stretch else stretch[:, :1],
    )


_ROOT_AXES = np.array([(-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)])
"""Columns: the root bone points ahead, its z up."""

_X_ALONG = np.array([(0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)])
"""From axes of which y is along the bone to such of which x is."""


def _way(hips: np.ndarray, places: np.ndarray, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the turns ``(T, 3, 3)`` about z and places ``(T, 3)`` on the floor of who goes as the hips do.

    ``hips`` ``(T, 3, 3)`` are turns since rest, ``places`` ``(T, 3)`` the hips'. ``spread`` is the standard
    deviation, in frames, of the smoothing: the root goes the way, the hips sway.
    """
    ahead = _smoothed(hips[:, :2, 1] * -1, spread)  # shorter, and so of less weight, where the person lies
    angle = np.arctan2(ahead[:, 0], -ahead[:, 1])
    turn = np.tile(np.eye(3), (len(hips), 1, 1))
    turn[:, 0, 0] = turn[:, 1, 1] = np.cos(angle)
    turn[:, 1, 0], turn[:, 0, 1] = np.sin(angle), -np.sin(angle)
    place = np.concatenate([_smoothed(places[:, :2], spread), np.zeros((len(places), 1))], axis=1)
    return turn, place


def _closed(rig: ClipSkeleton, seam: int) -> ClipSkeleton:
    """Let the last ``seam`` frames go over into the first frame's pose; the root's way goes on."""
    seam = min(seam, len(rig.rotations) - 1)
    share = np.zeros((len(rig.rotations), 1, 1))
    share[len(share) - 1 - seam :, 0, 0] = _smooth_step(np.linspace(-1, 1, seam + 1))
    first, last = rig.rotations[0], rig.rotations[-1]
    first = first * np.where((first * last).sum(-1, keepdims=True) < 0, -1.0, 1.0)
    turned = rig.rotations + share * (first - last)
    moves = rig.moves
    return replace(
        rig,
        rotations=turned / np.linalg.norm(turned, axis=-1, keepdims=True),
        moves=None if moves is None else moves + share * (moves[0] - moves[-1]),
    )


def _smoothed(values: np.ndarray, spread: float) -> np.ndarray:
    """Smooth values ``(T, C)`` over time, held still beyond their ends."""
    reach = max(1, round(3 * spread))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(spread, 1e-3)) ** 2)
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, kernel / kernel.sum(), "valid") for column in padded.T], axis=1)
