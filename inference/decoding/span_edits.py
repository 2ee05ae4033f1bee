# SPDX-License-Identifier: GPL-3.0-or-later
"""What is mended in a part of a motion: sides are exchanged, motion is redone, bent bodies straightened.

They come before the edits of the whole clip (:mod:`.edits`), in this order whatever the order they are listed
in: what is exchanged first, then what is redone, then what is straightened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...models.body import PART_NAMES, apply_readout, stack_transforms
from ...models.keypoints import (
    ANKLES,
    BONES,
    FEET,
    HIPS,
    KEYPOINT_INDEX,
    KEYPOINT_NAMES,
    MIRRORED,
    REGION_KEYPOINTS,
    TRUNK,
)
from ...models.rotations import apply, from_vectors, relative_to_parents, to_vectors, unit
from ...models.shaped_body import ShapedBody
from .edit_tools import (
    KNEES,
    LEG_BONES,
    LEGS,
    bone_lengths,
    cut_in_blocks,
    gaussian,
    hold_lengths,
    leg_mobility,
    runs,
)
from .floor import Floor

SWAP, REDO, STRAIGHTEN = KINDS = ("swap", "redo", "straighten")
"""The kinds of spans, see :class:`Span`."""

LIMBS: tuple[str, ...] = ("head", "left_arm", "right_arm", "left_leg", "right_leg")
"""The parts of the body that can be redone by themselves, of :data:`..models.keypoints.BODY_REGIONS`."""

_FRAMES_FOR_SPEED = 0.07  # seconds beside a gap that tell how fast all moves there
_CARRIED_ON = 0.6, 1.0  # seconds for which joints, and the body, go on as they moved, at most
_FADE = 0.25  # seconds outside a span over which straightening comes and goes
_STRAIGHTENED = np.radians((40.0, 90.0)), np.radians((30.0, 60.0))
"""Up to where knees and trunk are straightened wholly, and from where on they are bent on purpose."""
_RAISED = 0.05, 0.2  # metres above the other from where on a foot goes along with the body, and does wholly
_RISE_SMOOTHING = 0.05  # seconds, where the other leg becomes the one that stands
_HEAD = REGION_KEYPOINTS["head"]
_SHOULDERS = [KEYPOINT_INDEX["left_shoulder"], KEYPOINT_INDEX["right_shoulder"]]
_ARMS = REGION_KEYPOINTS["left_arm"], REGION_KEYPOINTS["right_arm"]
_UPPER = [point for point in range(len(KEYPOINT_NAMES)) if point not in LEGS]


@dataclass(frozen=True)
class Span:
    """Frames of a clip, and what is done in them.

    Attributes:
        kind: ``swap`` exchanges left and right, and near and far, of who was taken for seen from the other
            side; ``redo`` drops the motion and fills it in from what is around; ``straighten`` takes the bend
            out of knees and trunk.
        start, stop: the first frame, and the first after it.
        strength: 0 to 1, of ``straighten``.
        part: of ``redo``, which of :data:`LIMBS` is redone alone; empty for the whole body.
    """

    kind: str
    start: int
    stop: int
    strength: float = 1.0
    part: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as :func:`.edits.read_edits` reads it."""
        content = asdict(self)
        if self.kind != STRAIGHTEN:
            del content["strength"]
        if not self.part:
            del content["part"]
        return content


def edit_spans(
    keypoints: np.ndarray, fps: float, body: ShapedBody, floor: Floor, spans: Sequence[Span]
) -> np.ndarray:
    """Edit keypoints ``(T, 23, 3)`` in camera space, of ``body`` on ``floor``; returns them as float32."""
    exchanged = exchanged_frames(spans, len(keypoints))
    if exchanged.any():
        keypoints = keypoints.copy()
        keypoints[exchanged] = _exchange(keypoints[exchanged], floor)
    for part, dropped in redone_frames(spans, len(keypoints)).items():
        keypoints = _redo(keypoints, fps, body, dropped, part)
    if straightened := [span for span in spans if span.kind == STRAIGHTEN and span.strength]:
        keypoints = _straighten(keypoints, fps, body, floor, _strengths(straightened, len(keypoints), fps))
    return keypoints


def exchanged_frames(spans: Iterable[Span], frames: int) -> np.ndarray:
    """Tell where ``(frames,)`` bool left and right are exchanged: twice is not at all."""
    found = np.zeros(frames, bool)
    for span in spans:
        if span.kind == SWAP:
            found[span.start : span.stop] ^= True
    return found


def redone_frames(spans: Sequence[Span], frames: int) -> dict[str, np.ndarray]:
    """Tell where ``(frames,)`` bool the motion is dropped and filled in, by part, the whole body first."""
    found = {}
    for part in ("", *LIMBS):
        if here := [span for span in spans if span.kind == REDO and span.part == part]:
            found[part] = np.zeros(frames, bool)
            for span in here:
                found[part][span.start : span.stop] = True
    return found


# ---- left and right --------------------------------------------------------------------------


def _exchange(keypoints: np.ndarray, floor: Floor) -> np.ndarray:
    """Exchange left and right, and near and far, so that what is seen stays where it is in the picture.

    Who faces a camera looks much as if seen from behind with the sides exchanged, and a leg in front much as
    the one behind it: a capture that takes one for the other has both wrong, the side and the depth. So the
    body is mirrored in the upright plane across the line of sight through its middle, and its sides change
    their names; feet keep their height above the floor, and bones their lengths.
    """
    middle = keypoints.mean(axis=1, keepdims=True)
    away = unit(middle - (middle @ floor.up)[..., None] * floor.up)
    behind = ((keypoints - middle) * away).sum(axis=-1, keepdims=True)
    return (keypoints - 2 * behind * away)[:, MIRRORED]


# ---- a gap filled in -------------------------------------------------------------------------


def _redo(keypoints: np.ndarray, fps: float, body: ShapedBody, dropped: np.ndarray, part: str) -> np.ndarray:
    """Fill in a part in the frames ``dropped (T,)`` from those around; at the clip's ends from one side."""
    result = keypoints.copy()
    reach = max(1, round(_FRAMES_FOR_SPEED * fps))
    for start, stop in runs(dropped):
        first, last = start - 1, stop  # that are known
        before, after = max(first - reach, 0), min(last + reach, len(keypoints) - 1)
        while before < first and dropped[before:first].any():
            before += 1
        while after > last and dropped[last + 1 : after + 1].any():
            after -= 1
        known = [(first, before)] if first >= 0 else []
        known += [(last, after)] if last < len(keypoints) else []
        if known:
            result[start:stop] = _fill(keypoints, fps, body, np.arange(start, stop), known, part)
    return result


def _fill(
    keypoints: np.ndarray,
    fps: float,
    body: ShapedBody,
    frames: np.ndarray,
    known: list[tuple[int, int]],
    part: str,
) -> np.ndarray:
    """Fill ``frames`` in from those that are ``known``, each with one beyond it, which tells the speed.

    Every joint turns the shortest way from its one pose to the other, slowly at first and last, and goes on
    for a while as it moved, so that there is no jerk where the gap begins and ends. Of a ``part`` alone the
    joints turn so, on the body as it moves.
    """
    ends = [frame for frame, _ in known]
    posed = keypoints[[*ends, *(beyond for _, beyond in known)]].astype(np.float64)
    local, offsets, left_over = _joints(body, posed)
    parents, places = body.model.parents, offsets

    count = len(known)
    seconds = np.abs(frames[:, None] - np.array(ends)) / fps  # (n, E) from the ends
    length = seconds.sum(axis=1)[0] if count == 2 else np.inf
    share = (seconds[:, 0] / length) if count == 2 else np.zeros(len(frames))
    share = share**2 * (3 - 2 * share)
    spin, speed = np.zeros((2, len(parents), 3)), np.zeros((2, 3))
    for end, (frame, beyond) in enumerate(known):
        if frame != beyond:
            passed = (beyond - frame) / fps
            turned = np.swapaxes(local[end], -1, -2) @ local[count + end]
            spin[end] = to_vectors(turned) / passed
            speed[end] = (places[count + end, 0] - places[end, 0]) / passed
    signs = [1.0 if frame < frames[0] else -1.0 for frame in ends]

    def carried_on(end: int, longest: float) -> np.ndarray:
        """Return for how many seconds ``(n,)`` all has gone on as it moved at an end."""
        time = seconds[:, end]
        return signs[end] * time * np.maximum(1 - time / min(longest, length), 0) ** 2

    joints, whole = ([carried_on(end, longest) for end in range(count)] for longest in _CARRIED_ON)
    turns = from_vectors(joints[0][:, None, None] * spin[0])
    root = places[0, 0] + whole[0][:, None] * speed[0]
    if count == 2:
        across = to_vectors(np.swapaxes(local[0], -1, -2) @ local[1])
        turns = turns @ from_vectors(share[:, None, None] * across)
        turns = turns @ from_vectors(joints[1][:, None, None] * spin[1])
        root = root + share[:, None] * (places[1, 0] - places[0, 0]) + whole[1][:, None] * speed[1]

    def between(values: np.ndarray) -> np.ndarray:
        return values[0] + share.reshape(-1, *[1] * (values.ndim - 1)) * (values[count - 1] - values[0])

    turned, offsets = local[0] @ turns, between(offsets)
    offsets[:, 0] = root
    moving, bones = list(range(len(KEYPOINT_NAMES))), np.array(BONES)
    if part:
        moving = REGION_KEYPOINTS[part]
        bones = bones[np.isin(bones, moving).any(axis=1)]
        others = ~_bones_of(body, part)
        seen, apart, _ = _joints(body, keypoints[frames].astype(np.float64))
        turned[:, others], offsets[:, others] = seen[:, others], apart[:, others]
    stand, place = np.empty_like(turned), np.empty(turned.shape[:-1])
    stand[:, 0], place[:, 0] = turned[:, 0], offsets[:, 0]
    for bone in range(1, body.model.bone_count):
        parent = parents[bone]
        stand[:, bone] = stand[:, parent] @ turned[:, bone]
        place[:, bone] = place[:, parent] + apply(stand[:, parent], offsets[:, bone])
    points = keypoints[frames].astype(np.float64)
    points[:, moving] = (_posed(body, stand, place) + between(left_over))[:, moving]
    mobility = np.diag(np.isin(range(len(KEYPOINT_NAMES)), moving).astype(float))
    return hold_lengths(points, bones, between(bone_lengths(posed, bones)), mobility)


def _joints(body: ShapedBody, keypoints: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the bones of keypoints ``(T, 23, 3)``: rotations, places, and what they leave of the points.

    ``(T, B, 3, 3)`` and ``(T, B, 3)`` of each bone on its parent, the root's in space, and ``(T, 23, 3)``.
    """
    world, places = (found.astype(np.float64) for found in body.solve_pose(keypoints))
    above, offsets = body.model.parents[1:], places.copy()
    offsets[:, 1:] = apply(np.swapaxes(world[:, above], -1, -2), places[:, 1:] - places[:, above])
    return (
        relative_to_parents(world, body.model.parents),
        offsets,
        keypoints - _posed(body, world, places),
    )


def _bones_of(body: ShapedBody, part: str) -> np.ndarray:
    """Tell which bones ``(B,)`` are mostly of one of :data:`LIMBS`."""
    side, _, limb = part.rpartition("_")
    halves = {"arm": ("upper_arm", "forearm", "forearm_twist", "hand"), "leg": ("thigh", "shin", "foot")}
    names = [f"{side}_{half}" for half in halves[limb]] if side else [part]
    first, second = body.model.bone_parts.T
    mostly = np.where(body.model.bone_blend < 0.5, first, second)
    return np.isin(mostly, [PART_NAMES.index(name) for name in names])


def _posed(body: ShapedBody, world: np.ndarray, places: np.ndarray) -> np.ndarray:
    return apply_readout(body.keypoint_skinning, stack_transforms(world, places, body.joints))


# ---- upright ---------------------------------------------------------------------------------


def _strengths(spans: Sequence[Span], frames: int, fps: float) -> np.ndarray:
    """Return how far each frame is straightened ``(frames,)``: it comes and goes smoothly outside."""
    at, result = np.arange(frames), np.zeros(frames)
    for span in spans:
        outside = np.maximum(np.maximum(span.start - at, at - (span.stop - 1)), 0) / max(_FADE * fps, 1.0)
        result = np.maximum(result, span.strength * (1 + np.cos(np.pi * np.minimum(outside, 1))) / 2)
    return result


def _straighten(
    keypoints: np.ndarray, fps: float, body: ShapedBody, floor: Floor, strengths: np.ndarray
) -> np.ndarray:
    """Take so much of the bend out of knees and trunk, feet that stand staying where they are.

    The trunk turns about its middle towards upright, forward and back alone; arms and head go along without
    turning. Then the body rises as far as the leg that stands is straightened, which bends as much as at
    rest at most. Feet in the air go along with the body.
    """
    result, straight = keypoints.copy(), _knee_angles(body.keypoints[None].astype(np.float64)).mean()
    rise = np.zeros(len(keypoints))
    legs, mobility = np.array(BONES)[LEG_BONES], leg_mobility()
    parts = [part for part in cut_in_blocks(len(keypoints)) if strengths[part].any()]
    for part in parts:
        before = keypoints[part].astype(np.float64)
        upright = _upright(before, floor, strengths[part])
        rise[part] = _rise(before, upright, floor, strengths[part], float(straight))
    rise = gaussian(rise, _RISE_SMOOTHING * fps)
    for part in parts:
        before = keypoints[part].astype(np.float64)
        points = _upright(before, floor, strengths[part])
        points[:, _UPPER] += rise[part, None, None] * floor.up
        shift = points[:, HIPS] - before[:, HIPS]
        along = (1 - _standing(before, floor))[..., None] * shift
        for side in range(2):
            foot = [ANKLES[side], *FEET[2 * side : 2 * side + 2]]
            points[:, foot] += along[:, side, None]
            points[:, KNEES[side]] += (shift[:, side] + along[:, side]) / 2
        held = hold_lengths(points, legs, bone_lengths(before, legs), mobility)
        changed = strengths[part] > 0
        result[part][changed] = held[changed]
    return result


def _upright(points: np.ndarray, floor: Floor, strengths: np.ndarray) -> np.ndarray:
    """Turn the trunks of points ``(T, 23, 3)`` towards upright; legs stay."""
    left, right, up = points[:, TRUNK[:2]].mean(axis=1), points[:, TRUNK[2:]].mean(axis=1), floor.up
    across = left - right
    across = unit(across - (across @ up)[:, None] * up)
    hips, shoulders = points[:, HIPS].mean(axis=1), points[:, _SHOULDERS].mean(axis=1)
    spine = unit(shoulders - hips)
    lean = np.arctan2((spine * np.cross(across, up)).sum(axis=-1), spine @ up)
    bent = np.arccos(np.clip(spine @ up, -1, 1))
    turn = from_vectors((-strengths * lean * _unmeant(bent, 1))[:, None] * across)
    trunk = points[:, TRUNK]
    middle = trunk.mean(axis=1, keepdims=True)
    result = points.copy()
    result[:, TRUNK] = middle + apply(turn[:, None], trunk - middle)
    moved = result[:, _SHOULDERS] - points[:, _SHOULDERS]
    for side, arm in enumerate(_ARMS):
        result[:, arm] += moved[:, side, None]
    result[:, _HEAD] += moved.mean(axis=1, keepdims=True)
    return result


def _rise(
    before: np.ndarray, upright: np.ndarray, floor: Floor, strengths: np.ndarray, straight: float
) -> np.ndarray:
    """Return how far ``(T,)`` the upper body goes up until the leg that stands is as straight as asked."""
    angle = _knee_angles(before)
    bent = np.maximum(straight - angle, 0)
    wanted = angle + strengths[:, None] * bent * _unmeant(bent, 0)
    standing = _standing(before, floor)
    angle = straight + standing * (wanted - straight)  # a leg in the air may be as straight as at rest
    thigh, shin = (
        np.linalg.norm(before[:, upper] - before[:, lower], axis=-1)
        for upper, lower in ((HIPS, KNEES), (KNEES, ANKLES))
    )
    reach = thigh**2 + shin**2 - 2 * thigh * shin * np.cos(angle)  # squared
    leg = before[:, HIPS] + standing[..., None] * (upright - before)[:, HIPS] - before[:, ANKLES]
    high = leg @ floor.up
    aside = (leg**2).sum(axis=-1) - high**2
    rise = np.sqrt(np.maximum(reach - aside, 0)) - high
    return (rise / np.maximum(standing, 1e-3)).min(axis=1)


def _standing(points: np.ndarray, floor: Floor) -> np.ndarray:
    """Tell how far each foot is one that stands ``(T, 2)``, 0 to 1: it is about as low as the other."""
    low = floor.heights(points[:, FEET]).reshape(-1, 2, 2).min(axis=2)
    least, most = _RAISED
    raised = np.clip((low - low.min(axis=1, keepdims=True) - least) / (most - least), 0, 1)
    return 1 - raised**2 * (3 - 2 * raised)


def _knee_angles(points: np.ndarray) -> np.ndarray:
    """Return the angles ``(T, 2)`` between thighs and shins of points ``(T, 23, 3)``, pi if straight."""
    thigh, shin = (unit(points[:, ends] - points[:, KNEES]) for ends in (HIPS, ANKLES))
    return np.arccos(np.clip((thigh * shin).sum(axis=-1), -1, 1))


def _unmeant(bent: np.ndarray, part: int) -> np.ndarray:
    """Tell how much of a bend (radians) is taken out: all of a little one, nothing of one that is meant."""
    least, most = _STRAIGHTENED[part]
    return np.clip((most - bent) / (most - least), 0, 1)
