# SPDX-License-Identifier: GPL-3.0-or-later
"""A body's measures in words that people use, and the body that has other ones.

A shape space's axes are principal components: none of them is "taller" or "broader shouldered". Here each
measure is a function of the body at rest, and a body of given measures is the most probable one: the
smallest change of the shape coefficients, in standard deviations of grown people, that brings the measures
asked for while the others keep their proportion to the stature. Any body with a linear shape space has the
sizes; the traits (sex, age, muscle) are those that its model names.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .body import BodyModel
from .keypoints import KEYPOINT_INDEX

DENSITY = 985.0
"""Kilogrammes a cubic metre of a whole body, lungs half full."""

RANGE = 2.5
"""Standard deviations of the body model's people, either side of the mean, that a measure is offered in."""

_SMALLEST_SPREAD = 1e-3  # relative standard deviation below which a body model cannot vary a measure
_GIVEN, _KEPT = 1e-4, 0.01  # standard deviations of a quantity asked for, and of one or a proportion kept
_MISSED = 0.003  # of a quantity: further off than this the body does not have it
_FARTHEST = 15.0  # standard deviations; a body that much less likely looks like none
_ITERATIONS = 30
_LONGEST_STEP = 2.0  # standard deviations


@dataclass(frozen=True)
class Measure:
    """What a measure is, and how it grows with the stature of people alike in build.

    One with a ``scale`` is a trait: a number that the body model itself knows (:attr:`.BodyModel.traits`),
    and what people call it at some of its values, with straight lines between. The others are sizes.
    """

    label: str
    unit: str
    description: str
    power: int = 0
    widest: float = 0.0  # natural logarithm of how far from the mean it is offered at most, to stay human
    spans: tuple[tuple[str, str], ...] = ()  # keypoints whose distances add up to it
    scale: tuple[tuple[float, float], ...] = ()  # the model's number, and the measure

    def quantity(self, value: float) -> float:
        """Return what is computed with: a size's natural logarithm, a trait's own number."""
        if not self.scale:
            return float(np.log(value))
        own, shown = zip(*self.scale, strict=True)
        return float(np.interp(value, shown, own))

    def value(self, quantity: float) -> float:
        """Return the measure of such a quantity; a trait's beyond its scale is that of the scale's end."""
        if not self.scale:
            return float(np.exp(quantity))
        own, shown = zip(*self.scale, strict=True)
        return float(np.interp(quantity, own, shown))


def _both_sides(*joints: str) -> tuple[tuple[str, str], ...]:
    sides = ("left", "right")
    return tuple((f"{side}_{a}", f"{side}_{b}") for a, b in pairwise(joints) for side in sides)


MEASURES: dict[str, Measure] = {
    "stature": Measure("Stature", "m", "Height from the soles to the top of the head", 1, 0.25),
    "weight": Measure(
        "Weight", "kg", "Weight of the body in kilogrammes: a slimmer or a heavier build", 2, 0.6
    ),
    "leg_length": Measure(
        "Leg Length",
        "m",
        "From hip to ankle along a straight leg",
        1,
        0.15,
        _both_sides("hip", "knee", "ankle"),
    ),
    "arm_length": Measure(
        "Arm Length",
        "m",
        "From shoulder to wrist along a straight arm",
        1,
        0.15,
        _both_sides("shoulder", "elbow", "wrist"),
    ),
    "shoulder_width": Measure(
        "Shoulder Width",
        "m",
        "From one shoulder joint to the other",
        1,
        0.25,
        (("left_shoulder", "right_shoulder"),),
    ),
    "hip_width": Measure(
        "Hip Width", "m", "From one hip joint to the other", 1, 0.25, (("left_hip", "right_hip"),)
    ),
    "sex": Measure("Sex", "", "0 for a woman's build, 1 for a man's", scale=((0, 0), (1, 1))),
    "age": Measure("Age", "years", "Years of a body like this", scale=((1 / 3, 12), (2 / 3, 25), (1, 90))),
    "muscle": Measure("Muscle", "", "0 for none to speak of, 1 for an athlete's", scale=((0, 0), (1, 1))),
}
_NAMES, _KINDS = tuple(MEASURES), tuple(MEASURES.values())
_TRAITS = np.array([bool(measure.scale) for measure in MEASURES.values()])
_POWERS = np.array([measure.power for measure in MEASURES.values()], np.float64)
_WIDEST = np.array([measure.widest for measure in MEASURES.values()])


@dataclass(frozen=True)
class MeasureRange:
    """A body's own value of a measure, and the least and the most that it is offered in."""

    value: float
    least: float
    most: float


class BodyMeasures:
    """Measures the shapes of one body model, and finds the shape that has given measures.

    Example: ``BodyMeasures(body).shape_of(clip.shape, {"stature": 1.9})``
    """

    def __init__(self, body: BodyModel) -> None:
        self._body = body
        self._keypoint_mean = body.keypoints(body.vertices_mean).astype(np.float64)
        self._keypoint_basis = body.keypoints(np.asarray(body.vertices_basis)).astype(np.float64)
        mean, slopes = self._evaluate(np.zeros(body.shape_size))
        spread = np.linalg.norm(slopes, axis=1)
        reach = np.minimum(RANGE * spread, _WIDEST)
        self._least, self._most = mean - reach, mean + reach
        for end, limits in ((0, self._least), (-1, self._most)):
            limits[_TRAITS] = [kind.scale[end][0] for kind in _KINDS if kind.scale]
        self._unlikely = np.linalg.cholesky(body.grown_up[1]).T
        varied = np.isfinite(mean) & (spread > _SMALLEST_SPREAD)
        self._offered = [i for i in range(len(_NAMES)) if varied[i]]

    def of(self, shape: np.ndarray) -> dict[str, MeasureRange]:
        """Measure the body of shape coefficients ``(S,)``; what its model cannot vary is left out."""
        values, _ = self._evaluate(np.asarray(shape, np.float64))
        least, most = np.minimum(values, self._least), np.maximum(values, self._most)
        return {
            _NAMES[i]: MeasureRange(*(_KINDS[i].value(at[i]) for at in (values, least, most)))
            for i in self._offered
        }

    def quantities(self, shape: np.ndarray) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """Return the measures' :meth:`Measure.quantity`, and how they grow with each coefficient ``(S,)``."""
        values, slopes = self._evaluate(np.asarray(shape, np.float64))
        return (
            {_NAMES[i]: float(values[i]) for i in self._offered},
            {_NAMES[i]: slopes[i] for i in self._offered},
        )

    def shape_of(self, shape: np.ndarray, measures: dict[str, float]) -> np.ndarray:
        """Return the shape ``(S,)`` float32 nearest to ``shape`` that has ``measures`` (name to value).

        The stature stays unless it is given, and what else is not given keeps its proportion to it (the
        weight, to its square; a trait stays) as nearly as the body can. Only where a trait is given, limbs
        and widths become what such people have. Damped Gauss-Newton. ValueError where the body has no such
        measure or cannot reach it.
        """
        offered = self._offered
        unknown = [name for name in measures if name not in {_NAMES[i] for i in offered}]
        if unknown:
            raise ValueError(f"this body has no measure '{unknown[0]}'")
        start = np.asarray(shape, np.float64)
        own, _ = self._evaluate(start)
        given = np.array([_NAMES[i] in measures or _NAMES[i] == "stature" for i in offered])
        by_trait = any(MEASURES[name].scale for name in measures)
        free = np.array([by_trait and bool(_KINDS[i].spans) for i in offered]) & ~given
        asked = {name: MEASURES[name].quantity(value) for name, value in measures.items()}
        target = np.array([asked.get(_NAMES[i], own[i]) for i in offered])
        powers = np.where(given, 0.0, _POWERS[offered])  # a measure that is kept counts against the stature
        target -= powers * own[0]
        weight = np.where(given, 1 / _GIVEN, np.where(free, 0, 1 / _KEPT))
        found = start.copy()
        for _ in range(_ITERATIONS):
            values, slopes = self._evaluate(found)
            miss = target - (values[offered] - powers * values[0])
            rows = slopes[offered] - powers[:, None] * slopes[0]
            wanted = [self._unlikely, rows * weight[:, None]]
            missing = [self._unlikely @ (start - found), miss * weight]
            step = np.linalg.lstsq(np.concatenate(wanted), np.concatenate(missing))[0]
            found += step * min(1.0, _LONGEST_STEP / max(float(np.linalg.norm(step)), 1e-12))
            if np.abs(step).max() < 1e-4:
                break
        self._check_reached(found, measures)
        if np.linalg.norm(found - start) > _FARTHEST:
            raise ValueError("no body is built like that: bring the measures closer to its own")
        return found.astype(np.float32)

    def _check_reached(self, shape: np.ndarray, measures: dict[str, float]) -> None:
        values, _ = self._evaluate(shape)
        for name, asked in measures.items():
            kind, reached = MEASURES[name], float(values[_NAMES.index(name)])
            if not abs(reached - kind.quantity(asked)) < _MISSED:
                raise ValueError(
                    f"this body cannot have {kind.label.lower()} {asked:.2f} {kind.unit}".rstrip()
                    + f" with the other measures (the nearest is {kind.value(reached):.2f})"
                )

    def _evaluate(self, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the quantities ``(M,)`` of all measures, and their slopes ``(M, S)`` in the shape.

        They are not a number where the body has no such measure.
        """
        body, basis = self._body, self._body.vertices_basis
        vertices = body.rest(shape)[0].astype(np.float64)
        keypoints = body.keypoints(vertices)
        values, slopes = np.full(len(_NAMES), np.nan), np.full((len(_NAMES), len(shape)), np.nan)
        top, sole = vertices[:, 1].argmin(), vertices[:, 1].argmax()
        values[0] = vertices[sole, 1] - vertices[top, 1]
        slopes[0] = basis[:, sole, 1] - basis[:, top, 1]
        volume, gradient = _volume(vertices, body.faces)
        values[1] = DENSITY * volume
        slopes[1] = DENSITY * (basis.reshape(len(shape), -1) @ gradient.ravel().astype(np.float32))
        for i, kind in enumerate(MEASURES.values()):
            if not kind.spans:
                continue
            first, second = ([KEYPOINT_INDEX[span[end]] for span in kind.spans] for end in (0, 1))
            sides = 2 if kind.spans[0][1].startswith("left") else 1
            span = keypoints[first] - keypoints[second]
            length = np.linalg.norm(span, axis=-1, keepdims=True)
            moved = self._keypoint_basis[:, first] - self._keypoint_basis[:, second]
            values[i] = length.sum() / sides
            slopes[i] = (moved * (span / length)).sum(axis=(1, 2)) / sides
        with np.errstate(divide="ignore", invalid="ignore"):  # a mesh that encloses nothing has no weight
            slopes, values = slopes / values[:, None], np.log(values)
        for i, name in enumerate(_NAMES):
            if name in body.traits:
                slopes[i], values[i] = body.traits[name][:-1], body.traits[name] @ np.append(shape, 1)
        return values, slopes


def _volume(vertices: np.ndarray, faces: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the volume that a mesh encloses, and how it grows with each vertex ``(V, 3)``."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    gradient = np.zeros_like(vertices)
    for corner, area in enumerate((np.cross(b, c), np.cross(c, a), np.cross(a, b))):
        for axis in range(3):
            gradient[:, axis] += np.bincount(faces[:, corner], area[:, axis], len(vertices))
    gradient /= 6
    volume = float((gradient * vertices).sum()) / 3
    return abs(volume), gradient * np.sign(volume)
