# SPDX-License-Identifier: GPL-3.0-or-later
"""Cleaning a clip's motion up: what is mended in spans of frames (:mod:`.span_edits`), smoothing, another
body, mirror, ground snap and foot lock, in this order.

All of it works on the decoded keypoints, before vertices are predicted from them, so that the mesh, the
skeleton and the keypoints agree and the file stays as it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from ...models.errors import InputError
from ...models.keypoints import ANKLES, BONES, FEET, HIPS, MIRRORED
from ...models.measures import MEASURES, BodyMeasures
from ...models.rotations import relative_to_parents
from ...models.shaped_body import ShapedBody
from .edit_tools import (
    KNEES,
    LEG_BONES,
    bone_lengths,
    cut_in_blocks,
    gaussian,
    hold_lengths,
    leg_mobility,
    runs,
)
from .floor import Floor, facing
from .span_edits import KINDS, LIMBS, REDO, STRAIGHTEN, Span, edit_spans, redone_frames

STRONGEST = 10.0
"""Smoothing strength that is still accepted."""

_ROUNDING = 1e-3  # of a measure, that a slider at its end may lose
_SMOOTHING_SECONDS = 0.06  # standard deviation of smoothing of strength 1: halves a swing of 3 Hz
_MOST_SPANS, _MOST_CONTACTS = 1000, 100_000
_LAST_FRAME = 2**31 - 1

_CONTACT_SMOOTHING = 0.05  # seconds, of the feet in whose motion contacts are looked for
_ENTER, _LEAVE = (0.07, 0.25, 0.25), (0.1, 0.5, 0.5)  # m above the lowest, m/s over ground, m/s up or down
_LOWEST_WITHIN = 0.75  # seconds either side in which a foot is compared with the lowest
_BELOW_FEET = 0.15  # metres that a hand may be below the feet of who stands
_SHORTEST = 0.1  # seconds, of a contact and of a gap between two
_BLEND = 0.2  # seconds over which a lock comes and goes
_FARTHEST_LOCK = 0.1  # metres; a foot that goes further while planted does slide
_FARTHEST_GIVEN = 0.5  # metres, where it is the user who says that the foot is held
_LENGTH_SMOOTHING = 0.5  # seconds; what changes faster is no bone but noise, which would rock a planted foot
_SNAP_SMOOTHING = 0.05  # seconds
_SINKS = 0.003  # metres that a foot below the floor stays in it
_SNAP_REACH = 0.25  # metres from the floor beyond which a contact is one with something else


SIDES = ("left", "right")
"""The feet of :class:`Contact`, in the order of the keypoints."""


@dataclass(frozen=True)
class Contact:
    """Frames in which a foot is held where it stands: the first, the first after it, and which foot."""

    start: int
    stop: int
    foot: str  # of SIDES, the person's own as the edited motion has them


@dataclass(frozen=True)
class Edits:
    """What is to be done to a motion; nothing by default.

    Attributes:
        spans: what is mended in parts of it.
        smoothing: strength of smoothing beyond the file's own; 1 halves swings of 3 Hz, 2 of 1.5 Hz.
        foot_lock: 0 to 1, how far planted feet are held still.
        ground_snap: whether the lowest foot is put on the floor wherever it is in contact.
        mirror: whether left and right are swapped, the person staying in place.
        measures: measures of the body that the motion goes to, of :data:`..models.measures.MEASURES`.
        contacts: when feet are held, in place of when they are found to stand; None for the latter.
    """

    spans: tuple[Span, ...] = ()
    smoothing: float = 0.0
    foot_lock: float = 0.0
    ground_snap: bool = False
    mirror: bool = False
    measures: dict[str, float] = field(default_factory=dict)
    contacts: tuple[Contact, ...] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what differs from doing nothing, as :func:`read_edits` reads it."""
        content = {name: value for name, value in asdict(self).items() if value}
        if self.spans:
            content["spans"] = [span.as_json() for span in self.spans]
        if self.contacts is not None:
            content["contacts"] = [list(asdict(contact).values()) for contact in self.contacts]
        return content

    def check_frames(self, frames: int) -> None:
        """Raise InputError where a span or a contact is not among so many frames of a clip."""
        parts: list[Span | Contact] = [*self.spans, *(self.contacts or ())]
        for part in parts:
            if part.stop > frames:
                raise InputError(
                    "edits",
                    f"Edits: frames {part.start} to {part.stop - 1} are not all in the clip, which has "
                    f"0 to {frames - 1}.",
                )
        if any(dropped.all() for dropped in redone_frames(self.spans, frames).values()):
            raise InputError(
                "edits", "Edits: the whole clip is to be redone, so that nothing is left to redo it from."
            )


@dataclass(frozen=True)
class EditedMotion:
    """A motion as edits leave it.

    Attributes:
        keypoints: ``(T, 23, 3)`` float32 in camera space.
        contacts: when feet are held, in order of time; None without foot lock.
    """

    keypoints: np.ndarray
    contacts: list[Contact] | None


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
    contacts = content.get("contacts")
    return Edits(
        spans=tuple(_span(each) for each in _list(content.get("spans", []), "spans", _MOST_SPANS)),
        smoothing=_number(content, "smoothing", 0, STRONGEST),
        foot_lock=_number(content, "foot_lock", 0, 1),
        ground_snap=_flag(content, "ground_snap"),
        mirror=_flag(content, "mirror"),
        measures={name: _number(measures, name, 0, 1000) for name in measures},
        contacts=None
        if contacts is None
        else tuple(_contact(each) for each in _list(contacts, "contacts", _MOST_CONTACTS)),
    )


def _list(value: object, name: str, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise InputError("edits", f"Edits: {name} are a list of at most {most}.")
    return value


def _span(content: object) -> Span:
    example = '{"kind": "swap", "start": 10, "stop": 20}'
    if not isinstance(content, dict) or not {"kind", "start", "stop"} <= set(content):
        raise InputError("edits", f"Edits: a span is an object such as {example}, not {content!r:.60}.")
    kind = content["kind"]
    if kind not in KINDS:
        raise InputError("edits", f"Edits: there is no span '{kind!r:.60}': use {', '.join(KINDS)}.")
    known = {"kind", "start", "stop"} | {STRAIGHTEN: {"strength"}, REDO: {"part"}}.get(kind, set())
    if unknown := sorted(set(content) - known):
        raise InputError("edits", f"Edits: a {kind} has no '{unknown[0]:.60}'.")
    strength = _number(content, "strength", 0, 1) if "strength" in content else 1.0
    part = content.get("part", "")
    if "part" in content and part not in LIMBS:
        raise InputError("edits", f"Edits: there is no part {part!r:.60} to redo: use {', '.join(LIMBS)}.")
    return Span(kind, *_frames(content["start"], content["stop"]), strength, part)


def _contact(content: object) -> Contact:
    if not isinstance(content, list) or len(content) != 3 or content[2] not in SIDES:
        raise InputError(
            "edits", f'Edits: a contact is a list such as [10, 20, "left"], not {content!r:.60}.'
        )
    return Contact(*_frames(*content[:2]), content[2])


def _frames(start: object, stop: object) -> tuple[int, int]:
    """Return the first frame, and the first after it, as what they are."""
    for frame in (start, stop):
        if isinstance(frame, bool) or not isinstance(frame, int) or not 0 <= frame <= _LAST_FRAME:
            raise InputError("edits", f"Edits: a frame is a whole number from 0, not {frame!r:.60}.")
    assert isinstance(start, int) and isinstance(stop, int)
    if start >= stop:
        raise InputError("edits", f"Edits: frame {stop} does not come after frame {start}.")
    return start, stop


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
            raise InputError(
                "edits", f"Edits: the body model {body.model.name} has no measure '{name}': leave it out."
            )
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

    See :func:`edit_motion`.
    """
    return edit_motion(keypoints, fps, body, target, floor, edits).keypoints


def edit_motion(
    keypoints: np.ndarray, fps: float, body: ShapedBody, target: ShapedBody, floor: Floor, edits: Edits
) -> EditedMotion:
    """Edit keypoints ``(T, 23, 3)`` in camera space, of ``body`` on ``floor``; InputError for other frames.

    They then belong to ``target``, which :func:`edited_body` gives. About 2 kB a frame are held at most: a
    minute of video takes 4 MB.
    """
    edits.check_frames(len(keypoints))
    keypoints, fps = np.array(keypoints, np.float32), float(fps)
    if edits.spans:
        keypoints = edit_spans(keypoints, fps, body, floor, edits.spans)
    if edits.smoothing:
        keypoints = _smooth_motion(keypoints, edits.smoothing * _SMOOTHING_SECONDS * fps)
    if edits.measures:
        keypoints = _move_to_body(keypoints, body, target, floor)
    if edits.mirror:
        keypoints = _mirror(keypoints, floor)
    on_floor = np.zeros(len(keypoints))
    if edits.ground_snap:
        keypoints, on_floor = _snap_to_ground(keypoints, fps, target.sole_heights, floor)
    contacts: list[Contact] | None = None
    if edits.foot_lock:
        keypoints, contacts = _lock_feet(keypoints, fps, floor, edits.foot_lock, edits.contacts)
    if on_floor.any():
        keypoints = _keep_above_ground(keypoints, fps, target.sole_heights, floor, on_floor)
    return EditedMotion(keypoints, contacts)


# ---- smoothing -------------------------------------------------------------------------------


def _smooth_motion(keypoints: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth keypoints without delay, their bones keeping the lengths they had."""
    result, everywhere = np.empty_like(keypoints), np.eye(keypoints.shape[1])
    bones, margin = np.array(BONES), math.ceil(3 * sigma)
    for block in cut_in_blocks(len(keypoints)):
        first = max(block.start - margin, 0)
        around, here = keypoints[first : block.stop + margin], slice(block.start - first, block.stop - first)
        smooth, lengths = (gaussian(each, sigma)[here] for each in (around, bone_lengths(around, bones)))
        result[block] = hold_lengths(smooth, bones, lengths, everywhere)
    return result


# ---- another body ----------------------------------------------------------------------------


def _move_to_body(keypoints: np.ndarray, body: ShapedBody, target: ShapedBody, floor: Floor) -> np.ndarray:
    """Give the motion to the body ``target``: the same rotations, the way over the floor to its scale.

    What the first body's own bones leave of the keypoints goes along, so that an equal body moves equally.
    """
    scale = target.hip_height / body.hip_height
    result = np.empty_like(keypoints)
    for block in cut_in_blocks(len(keypoints)):
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
        for start, stop in runs(maybe[:, point]):
            result[start:stop, point] = surely[start:stop, point].any()
        for start, stop in runs(~result[:, point]):  # too short a gap to be a step
            result[start:stop, point] |= stop - start < shortest and start > 0 and stop < len(result)
        for start, stop in runs(result[:, point]):
            result[start:stop, point] = stop - start >= shortest
    return result


def _on_feet(keypoints: np.ndarray, floor: Floor) -> np.ndarray:
    """Tell where ``(T,)`` bool no part of the body is far below the feet, as of who is upside down."""
    return floor.heights(keypoints[:, FEET]).min(axis=1) < floor.heights(keypoints).min(axis=1) + _BELOW_FEET


def _sliding_minimum(values: np.ndarray, reach: int) -> np.ndarray:
    padded = np.pad(values, reach, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).min(axis=1)


def _sole_motion(
    keypoints: np.ndarray, fps: float, floor: Floor
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the smoothed soles' heights (m), speeds over ground and rising speeds (m/s), ``(T, 4)`` each."""
    soles = gaussian(keypoints[:, FEET], _CONTACT_SMOOTHING * fps)
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
    offset = gaussian(np.interp(frames, known, -lowest[known]), _SNAP_SMOOTHING * fps)
    on_floor = np.interp(frames, contacts, near[contacts])
    # Where both feet are below the floor the person is too low, however little they are known to stand.
    by_foot = (floor.heights(keypoints[:, FEET]) - soles + offset[:, None]).reshape(-1, 2, 2).min(axis=2)
    offset += gaussian(on_floor * _too_deep(by_foot.max(axis=1)), _SNAP_SMOOTHING * fps)
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


def _lock_feet(
    keypoints: np.ndarray, fps: float, floor: Floor, strength: float, given: Sequence[Contact] | None
) -> tuple[np.ndarray, list[Contact]]:
    """Hold planted heels and toes still; knees and, where a leg is too short, the body follow.

    Heel and toe are planted each on its own, so that a foot rolls over. A lock comes and goes smoothly: what
    it moved a point by at its ends fades away outside. Feet stand when they are ``given`` to, or found to;
    that is returned with the keypoints.
    """
    heights, along, rising = _sole_motion(keypoints, fps, floor)
    found = _contacts(heights, along, rising, _on_feet(keypoints, floor), fps)
    planted = found if given is None else _given_contacts(found, given)
    feet = planted[:, ::2] | planted[:, 1::2]
    contacts = sorted(
        (
            Contact(start, stop, foot)
            for side, foot in enumerate(SIDES)
            for start, stop in runs(feet[:, side])
        ),
        key=lambda contact: (contact.start, contact.foot),
    )
    if not planted.any():
        return keypoints, contacts
    locks = [
        _lock_point(keypoints[:, FEET[point]], planted[:, point], found[:, point], fps)
        for point in range(len(FEET))
    ]
    shifts, holds = (np.stack([lock[part] for lock in locks], axis=1) for part in (0, 1))
    return _move_feet(keypoints, strength * shifts, holds, fps), contacts


def _given_contacts(found: np.ndarray, given: Sequence[Contact]) -> np.ndarray:
    """Return when the soles' points are planted ``(T, 4)`` of feet that are held as given.

    Whether it is the heel or the toe that stands is as ``found (T, 4)``, and both where neither is.
    """
    result = np.zeros_like(found)
    for contact in given:
        at = slice(contact.start, contact.stop), slice(2 * SIDES.index(contact.foot), None)
        own = found[at][:, :2]
        result[at][:, :2] = own | ~own.any(axis=1, keepdims=True)
    return result


def _move_feet(keypoints: np.ndarray, shifts: np.ndarray, holds: np.ndarray, fps: float) -> np.ndarray:
    """Move the soles' points by ``shifts (T, 4, 3)``; what ``holds (T, 4)`` lets go follows its foot's other.

    Knees and, where a leg is too short, the body follow.
    """
    result = np.empty_like(keypoints)
    mobility, bones = leg_mobility(), np.array(BONES)[LEG_BONES]
    lengths = gaussian(bone_lengths(keypoints, bones), _LENGTH_SMOOTHING * fps)
    for block in cut_in_blocks(len(keypoints)):
        points = keypoints[block].astype(np.float64)
        for foot in range(2):
            soles = slice(2 * foot, 2 * foot + 2)  # heel and toe
            both, hold = shifts[block, soles], holds[block, soles, None]
            moved = both + both[:, ::-1] * (1 - hold)  # a free heel goes along with its planted toe
            points[:, FEET[soles]] += moved
            points[:, ANKLES[foot]] += moved.mean(axis=1)
            points[:, KNEES[foot]] += moved.mean(axis=1) / 2
        result[block] = hold_lengths(points, bones, lengths[block], mobility)
    return result


def _lock_point(
    places: np.ndarray, planted: np.ndarray, found: np.ndarray, fps: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the shift ``(T, 3)`` that holds a point still while planted, and how far it does ``(T,)``.

    One that is planted where it was not ``found`` to be, since the user says so, is held from further away.
    """
    frames = np.arange(len(places))
    total, weights = np.zeros(places.shape), np.zeros(len(places))
    for start, stop in runs(planted):
        distance = np.maximum(np.maximum(start - frames, frames - (stop - 1)), 0) / max(_BLEND * fps, 1.0)
        weight = (1 + np.cos(np.pi * np.minimum(distance, 1))) / 2
        held = places[start:stop].mean(axis=0) - places[np.clip(frames, start, stop - 1)]
        far = np.linalg.norm(held, axis=-1, keepdims=True)
        far /= _FARTHEST_LOCK if found[start:stop].all() else _FARTHEST_GIVEN
        total += weight[:, None] * held / (1 + far**4) ** 0.25
        weights += weight
    share = np.maximum(weights, 1.0)
    return total / share[:, None], weights / share
