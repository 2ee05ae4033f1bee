# SPDX-License-Identifier: GPL-3.0-or-later
"""Cleaning a clip's motion up: smoothing, another body, mirror, ground snap and foot lock, in this order.

All of it works on the decoded keypoints, before vertices are predicted from them, so that the mesh, the
skeleton and the keypoints agree and the file stays as it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from ...models.errors import InputError
from ...models.keypoints import ANKLES, BONES, FEET, HIPS, KEYPOINT_INDEX, KEYPOINT_NAMES, MIRRORED
from ...models.measures import MEASURES, BodyMeasures
from ...models.rotations import relative_to_parents
from ...models.shaped_body import ShapedBody
from .floor import Floor, facing

STRONGEST = 10.0
"""Smoothing strength that is still accepted."""

_ROUNDING = 1e-3  # of a measure, that a slider at its end may lose
_SMOOTHING_SECONDS = 0.06  # standard deviation of smoothing of strength 1: halves a swing of 3 Hz
_FRAMES_AT_ONCE = 512
_FIRST, _SECOND = np.array(BONES).T
_KNEES = [KEYPOINT_INDEX["left_knee"], KEYPOINT_INDEX["right_knee"]]
_LEGS = [*_KNEES, *ANKLES, *FEET]
_LEG_BONES = np.array([i for i, bone in enumerate(BONES) if set(bone) & set(_LEGS)])

_CONTACT_SMOOTHING = 0.05  # seconds, of the feet in whose motion contacts are looked for
_ENTER, _LEAVE = (0.07, 0.25, 0.25), (0.1, 0.5, 0.5)  # m above the lowest, m/s over ground, m/s up or down
_LOWEST_WITHIN = 0.75  # seconds either side in which a foot is compared with the lowest
_BELOW_FEET = 0.15  # metres that a hand may be below the feet of who stands
_SHORTEST = 0.1  # seconds, of a contact and of a gap between two
_BLEND = 0.2  # seconds over which a lock comes and goes
_FARTHEST_LOCK = 0.1  # metres; a foot that goes further while planted does slide
_LENGTH_SMOOTHING = 0.5  # seconds; what changes faster is no bone but noise, which would rock a planted foot
_SNAP_SMOOTHING = 0.05  # seconds
_SINKS = 0.003  # metres that a foot below the floor stays in it
_SNAP_REACH = 0.25  # metres from the floor beyond which a contact is one with something else


@dataclass(frozen=True)
class Edits:
    """What is to be done to a motion; nothing by default.

    Attributes:
        smoothing: strength of smoothing beyond the file's own; 1 halves swings of 3 Hz, 2 of 1.5 Hz.
        foot_lock: 0 to 1, how far planted feet are held still.
        ground_snap: whether the lowest foot is put on the floor wherever it is in contact.
        mirror: whether left and right are swapped, the person staying in place.
        measures: measures of the body that the motion goes to, of :data:`..models.measures.MEASURES`.
    """

    smoothing: float = 0.0
    foot_lock: float = 0.0
    ground_snap: bool = False
    mirror: bool = False
    measures: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return what differs from doing nothing, as :func:`read_edits` reads it."""
        return {name: value for name, value in asdict(self).items() if value}


def read_edits(given: str) -> Edits:
    """Read edits from JSON, or from the JSON file that ``given`` names; InputError ``edits`` for a fault."""
    text = given
    if not given.lstrip().startswith("{"):
        try:
            text = Path(given).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise InputError("edits", f"Edits {given}: neither a JSON object nor a file.") from error
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError("edits", f"Edits: this is not JSON ({error}).") from error
    if not isinstance(content, dict):
        raise InputError("edits", 'Edits: a JSON object is needed, such as {"smoothing": 1}.')
    unknown = sorted(set(content) - {known.name for known in fields(Edits)})
    if unknown:
        raise InputError("edits", f"Edits: there is no edit '{unknown[0]}'.")
    measures = content.get("measures", {})
    if not isinstance(measures, dict):
        raise InputError("edits", 'Edits: measures are an object, such as {"stature": 1.9}.')
    for name in set(measures) - set(MEASURES):
        raise InputError("edits", f"Edits: there is no measure '{name}': use {', '.join(MEASURES)}.")
    return Edits(
        smoothing=_number(content, "smoothing", 0, STRONGEST),
        foot_lock=_number(content, "foot_lock", 0, 1),
        ground_snap=_flag(content, "ground_snap"),
        mirror=_flag(content, "mirror"),
        measures={name: _number(measures, name, 0, 1000) for name in measures},
    )


def _number(content: dict[str, Any], name: str, least: float, most: float) -> float:
    value = content.get(name, 0.0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise InputError("edits", f"Edits: {name} is a number from {least:g} to {most:g}, not {value!r}.")
    return float(value)


def _flag(content: dict[str, Any], name: str) -> bool:
    value = content.get(name, False)
    if not isinstance(value, bool):
        raise InputError("edits", f"Edits: {name} is true or false, not {value!r}.")
    return value


def edited_body(body: ShapedBody, edits: Edits) -> ShapedBody:
    """Return the body that the motion goes to; InputError where it cannot have the measures asked for."""
    if not edits.measures:
        return body
    measures = BodyMeasures(body.model)
    ranges = measures.of(body.shape)
    for name, value in edits.measures.items():
        kind, offered = MEASURES[name], ranges.get(name)
        if offered is None:
            raise InputError("edits", f"Edits: the body model {body.model.name} has no measure '{name}'.")
        if not offered.least * (1 - _ROUNDING) <= value <= offered.most * (1 + _ROUNDING):
            raise InputError(
                "edits",
                f"Edits: {name} is from {offered.least:.3f} to {offered.most:.3f} {kind.unit}, "
                f"not {value:g}.",
            )
    try:
        return ShapedBody(body.model, measures.shape_of(body.shape, edits.measures))
    except ValueError as error:
        raise InputError("edits", f"Edits: {error}.") from error


def apply_edits(
    keypoints: np.ndarray, fps: float, body: ShapedBody, target: ShapedBody, floor: Floor, edits: Edits
) -> np.ndarray:
    """Edit keypoints ``(T, 23, 3)`` in camera space, of ``body`` on ``floor``; returns them as float32.

    They then belong to ``target``, which :func:`edited_body` gives. About 2 kB a frame are held at most: a
    minute of video takes 4 MB.
    """
    keypoints, fps = np.array(keypoints, np.float32), float(fps)
    if edits.smoothing:
        keypoints = _smooth_motion(keypoints, edits.smoothing * _SMOOTHING_SECONDS * fps)
    if edits.measures:
        keypoints = _move_to_body(keypoints, body, target, floor)
    if edits.mirror:
        keypoints = _mirror(keypoints, floor)
    on_floor = np.zeros(len(keypoints))
    if edits.ground_snap:
        keypoints, on_floor = _snap_to_ground(keypoints, fps, target.sole_heights, floor)
    if edits.foot_lock:
        keypoints = _lock_feet(keypoints, fps, floor, edits.foot_lock)
    if on_floor.any():
        keypoints = _keep_above_ground(keypoints, fps, target.sole_heights, floor, on_floor)
    return keypoints


# ---- bones of constant length ----------------------------------------------------------------


def _hold_lengths(
    points: np.ndarray, bones: np.ndarray, lengths: np.ndarray, mobility: np.ndarray, passes: int = 6
) -> np.ndarray:
    """Move points ``(T, K, 3)`` as little as can be until bones have their lengths.

    ``bones`` is ``(N, 2)`` and ``lengths`` ``(T, N)``. ``mobility`` ``(K, K)`` is what one point's pull does
    to each: large where a point moves easily, off the diagonal where points move together. Newton's method on
    the constraints, each pass the least change in that metric (Goldenthal et al., SIGGRAPH 2007).
    """
    incidence = np.zeros((len(bones), points.shape[1]))
    incidence[np.arange(len(bones)), bones[:, 0]] = 1.0
    incidence[np.arange(len(bones)), bones[:, 1]] = -1.0
    spread = mobility @ incidence.T
    coupling = incidence @ spread
    damping = 1e-5 * np.trace(coupling) / len(bones) * np.eye(len(bones))
    points = points.astype(np.float64)
    for _ in range(passes):
        span = incidence @ points
        length = np.maximum(np.linalg.norm(span, axis=-1, keepdims=True), 1e-6)
        unit = span / length
        system = (unit @ np.swapaxes(unit, 1, 2)) * coupling + damping
        pull = np.linalg.solve(system, (lengths - length[..., 0])[..., None])
        points += spread @ (pull * unit)
    return points


def _lengths(points: np.ndarray, bones: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[:, bones[:, 0]] - points[:, bones[:, 1]], axis=-1).astype(np.float64)


def _blocks(frames: int) -> Iterator[slice]:
    """Yield the parts in which a long motion is worked on."""
    for start in range(0, frames, _FRAMES_AT_ONCE):
        yield slice(start, start + _FRAMES_AT_ONCE)


# ---- smoothing -------------------------------------------------------------------------------


def _gaussian(values: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth ``(T, ...)`` in time by a Gaussian of ``sigma`` frames.

    Beyond its ends the motion is continued point-symmetrically, so that a steady one stays steady.
    """
    reach = min(math.ceil(3 * sigma), len(values) - 1)
    if reach < 1:
        return np.asarray(values, np.float64)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    before = 2 * values[:1] - values[reach:0:-1]
    after = 2 * values[-1:] - values[-2 : -reach - 2 : -1]
    padded = np.concatenate([before, values, after]).astype(np.float64)
    return sum(weight * padded[i : i + len(values)] for i, weight in enumerate(kernel))


def _smooth_motion(keypoints: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth keypoints without delay, their bones keeping the lengths they had."""
    result, everywhere = np.empty_like(keypoints), np.eye(keypoints.shape[1])
    bones, margin = np.array(BONES), math.ceil(3 * sigma)
    for block in _blocks(len(keypoints)):
        first = max(block.start - margin, 0)
        around, here = keypoints[first : block.stop + margin], slice(block.start - first, block.stop - first)
        smooth, lengths = (_gaussian(each, sigma)[here] for each in (around, _lengths(around, bones)))
        result[block] = _hold_lengths(smooth, bones, lengths, everywhere)
    return result


# ---- another body ----------------------------------------------------------------------------


def _move_to_body(keypoints: np.ndarray, body: ShapedBody, target: ShapedBody, floor: Floor) -> np.ndarray:
    """Give the motion to the body ``target``: the same rotations, the way over the floor to its scale.

    What the first body's own bones leave of the keypoints goes along, so that an equal body moves equally.
    """
    scale = target.hip_height / body.hip_height
    result = np.empty_like(keypoints)
    for block in _blocks(len(keypoints)):
        points = keypoints[block]
        world, places = body.solve_pose(points)
        local = relative_to_parents(world, body.model.parents)
        root = places[:, 0]
        left_over = points - body.pose_keypoints(local, root)
        root = floor.point + scale * (root - floor.point)
        moved = target.pose_keypoints(local, root.astype(np.float32)) + left_over
        lowest = (floor.heights(points[:, FEET]) - body.sole_heights).min(axis=1)
        moved_lowest = (floor.heights(moved[:, FEET]) - target.sole_heights).min(axis=1)
        result[block] = moved + (scale * lowest - moved_lowest)[:, None, None] * floor.up
    return result


# ---- mirror ----------------------------------------------------------------------------------


def _mirror(keypoints: np.ndarray, floor: Floor) -> np.ndarray:
    """Swap left and right about the upright plane through the person's mean place, where they mostly face."""
    across = np.cross(facing(keypoints, floor.up), floor.up).astype(np.float32)
    middle = keypoints[:, HIPS].mean(axis=(0, 1))
    aside = (keypoints - middle) @ across
    return (keypoints - 2 * aside[..., None] * across)[:, MIRRORED]


# ---- feet ------------------------------------------------------------------------------------


def _contacts(
    heights: np.ndarray,
    over_ground: np.ndarray | None,
    rising: np.ndarray,
    on_feet: np.ndarray,
    fps: float,
) -> np.ndarray:
    """Find contacts ``(T, 4)`` of the soles' points with hysteresis; ``over_ground`` None lets feet slide.

    There are none but where the person is ``on_feet (T,)``, see :func:`_on_feet`.
    A point is near the ground where it is not far above the lowest of all points within a while. Where a
    person's depth is lost feet fall through the floor: those are not looked at.
    """
    seen = np.where((heights < 0) & (np.abs(rising) > _LEAVE[2]), np.inf, heights)
    lowest = _sliding_minimum(seen.min(axis=1), round(_LOWEST_WITHIN * fps))
    states = []
    for above, slide, rise in (_ENTER, _LEAVE):
        state = (heights - lowest[:, None] < above) & (np.abs(rising) < rise) & on_feet[:, None]
        states.append(state if over_ground is None else state & (over_ground < slide))
    surely, maybe = states
    result = np.zeros_like(surely)
    shortest = max(1, round(_SHORTEST * fps))
    for point in range(result.shape[1]):
        for start, stop in _runs(maybe[:, point]):
            result[start:stop, point] = surely[start:stop, point].any()
        for start, stop in _runs(~result[:, point]):  # too short a gap to be a step
            result[start:stop, point] |= stop - start < shortest and start > 0 and stop < len(result)
        for start, stop in _runs(result[:, point]):
            result[start:stop, point] = stop - start >= shortest
    return result


def _on_feet(keypoints: np.ndarray, floor: Floor) -> np.ndarray:
    """Tell where ``(T,)`` bool no part of the body is far below the feet, as of who is upside down."""
    return floor.heights(keypoints[:, FEET]).min(axis=1) < floor.heights(keypoints).min(axis=1) + _BELOW_FEET


def _runs(flags: np.ndarray) -> list[list[int]]:
    """Return ``[start, stop]`` of every unbroken run of true ``flags (T,)``."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return edges.reshape(-1, 2).tolist()


def _sliding_minimum(values: np.ndarray, reach: int) -> np.ndarray:
    padded = np.pad(values, reach, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).min(axis=1)


def _sole_motion(
    keypoints: np.ndarray, fps: float, floor: Floor
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the smoothed soles' heights (m), speeds over ground and rising speeds (m/s), ``(T, 4)`` each."""
    soles = _gaussian(keypoints[:, FEET], _CONTACT_SMOOTHING * fps)
    velocity = np.gradient(soles, axis=0) * fps if len(soles) > 1 else np.zeros_like(soles)
    rising = velocity @ floor.up
    along = np.linalg.norm(velocity - rising[..., None] * floor.up, axis=-1)
    return floor.heights(soles), along, rising


def _snap_to_ground(
    keypoints: np.ndarray, fps: float, soles: np.ndarray, floor: Floor
) -> tuple[np.ndarray, np.ndarray]:
    """Lift or lower the person so that the lowest foot stands on the floor where a foot is in contact.

    Between contacts the offset goes over from one to the next, so that jumps keep their height. Returns with
    the keypoints ``(T,)`` how far it is this floor that the person is on, 0 to 1: not where they stand on
    something else, and nowhere where they never touch it.
    """
    heights, _, rising = _sole_motion(keypoints, fps, floor)
    heights = heights - soles
    touching = _contacts(heights, None, rising, _on_feet(keypoints, floor), fps)
    lowest = np.where(touching, heights, np.inf).min(axis=1)
    contacts, near = np.flatnonzero(touching.any(axis=1)), np.abs(lowest) < _SNAP_REACH
    known = np.flatnonzero(near)
    if not len(known):
        return keypoints, np.zeros(len(keypoints))
    frames = np.arange(len(keypoints))
    offset = _gaussian(np.interp(frames, known, -lowest[known]), _SNAP_SMOOTHING * fps)
    on_floor = np.interp(frames, contacts, near[contacts])
    # Where both feet are below the floor the person is too low, however little they are known to stand.
    by_foot = (floor.heights(keypoints[:, FEET]) - soles + offset[:, None]).reshape(-1, 2, 2).min(axis=2)
    offset += _gaussian(on_floor * _too_deep(by_foot.max(axis=1)), _SNAP_SMOOTHING * fps)
    return (keypoints + (offset[:, None] * floor.up)[:, None]).astype(np.float32), on_floor


def _keep_above_ground(
    keypoints: np.ndarray, fps: float, soles: np.ndarray, floor: Floor, on_floor: np.ndarray
) -> np.ndarray:
    """Lift what of a foot is below the floor onto it, as far as ``on_floor (T,)`` says; the leg gives way."""
    lift = _too_deep(floor.heights(keypoints[:, FEET]) - soles) * on_floor[:, None]
    if not lift.any():
        return keypoints
    return _move_feet(keypoints, lift[..., None] * floor.up, np.ones_like(lift), fps)


def _too_deep(heights: np.ndarray) -> np.ndarray:
    """Return how far to lift what is at ``heights`` above the floor: with no jerk where it goes below."""
    depth = np.maximum(-heights, 0)
    return np.where(depth < 2 * _SINKS, depth**2 / (4 * _SINKS), depth - _SINKS)


def _lock_feet(keypoints: np.ndarray, fps: float, floor: Floor, strength: float) -> np.ndarray:
    """Hold planted heels and toes still; knees and, where a leg is too short, the body follow.

    Heel and toe are planted each on its own, so that a foot rolls over. A lock comes and goes smoothly: what
    it moved a point by at its ends fades away outside.
    """
    heights, along, rising = _sole_motion(keypoints, fps, floor)
    planted = _contacts(heights, along, rising, _on_feet(keypoints, floor), fps)
    if not planted.any():
        return keypoints
    locks = [_lock_point(keypoints[:, FEET[point]], planted[:, point], fps) for point in range(len(FEET))]
    shifts, holds = (np.stack([lock[part] for lock in locks], axis=1) for part in (0, 1))
    return _move_feet(keypoints, strength * shifts, holds, fps)


def _move_feet(keypoints: np.ndarray, shifts: np.ndarray, holds: np.ndarray, fps: float) -> np.ndarray:
    """Move the soles' points by ``shifts (T, 4, 3)``; what ``holds (T, 4)`` lets go follows its foot's other.

    Knees and, where a leg is too short, the body follow.
    """
    result = np.empty_like(keypoints)
    mobility, bones = _leg_mobility(), np.array(BONES)[_LEG_BONES]
    lengths = _gaussian(_lengths(keypoints, bones), _LENGTH_SMOOTHING * fps)
    for block in _blocks(len(keypoints)):
        points = keypoints[block].astype(np.float64)
        for foot in range(2):
            soles = slice(2 * foot, 2 * foot + 2)  # heel and toe
            both, hold = shifts[block, soles], holds[block, soles, None]
            moved = both + both[:, ::-1] * (1 - hold)  # a free heel goes along with its planted toe
            points[:, FEET[soles]] += moved
            points[:, ANKLES[foot]] += moved.mean(axis=1)
            points[:, _KNEES[foot]] += moved.mean(axis=1) / 2
        result[block] = _hold_lengths(points, bones, lengths[block], mobility)
    return result


def _lock_point(places: np.ndarray, planted: np.ndarray, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the shift ``(T, 3)`` that holds a point still while planted, and how far it does ``(T,)``."""
    frames = np.arange(len(places))
    total, weights = np.zeros(places.shape), np.zeros(len(places))
    for start, stop in _runs(planted):
        distance = np.maximum(np.maximum(start - frames, frames - (stop - 1)), 0) / max(_BLEND * fps, 1.0)
        weight = (1 + np.cos(np.pi * np.minimum(distance, 1))) / 2
        held = places[start:stop].mean(axis=0) - places[np.clip(frames, start, stop - 1)]
        total += weight[:, None] * held
        weights += weight
    share = np.maximum(weights, 1.0)
    shift = total / share[:, None]
    far = np.linalg.norm(shift, axis=-1, keepdims=True) / _FARTHEST_LOCK
    return shift / (1 + far**4) ** 0.25, weights / share


def _leg_mobility() -> np.ndarray:
    """Knees give way easily, ankles hardly, soles least; everything else moves as one, and hardly."""
    count = len(KEYPOINT_NAMES)
    mobility = np.zeros((count, count))
    rest = [point for point in range(count) if point not in _LEGS]
    mobility[np.ix_(rest, rest)] = 0.02
    for points, ease in ((_KNEES, 1.0), (ANKLES, 0.02), (FEET, 0.001)):
        mobility[points, points] = ease
    return mobility
