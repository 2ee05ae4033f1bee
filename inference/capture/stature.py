# SPDX-License-Identifier: GPL-3.0-or-later
"""How tall and how heavy a filmed person is taken to be: the body of their bones, as adults are built.

One camera does not tell how large a person is, and the estimator's metres make everybody small; bones do not
tell how stout somebody is. So the proportions are the film's, and stature and weight are mostly an adult's.
"""

from __future__ import annotations

import contextlib

import numpy as np

from ...models.body import BodyModel
from ...models.keypoints import BONES
from ...models.measures import BodyMeasures
from ...models.shaped_body import ShapedBody

_FIRST, _SECOND = np.array(BONES).T
_STATURE = 1.70  # metres, of adults
_STATURE_SPREAD, _MEASURED_SPREAD = 0.055, 0.12  # of its logarithm: adults', and of the estimator's metres
_BODY_MASS_INDEX = 23.0  # kilogrammes a square metre, of adults


def filmed_shape(body: BodyModel, lengths: np.ndarray) -> np.ndarray:
    """Return the shape ``(S,)`` float32 of a filmed person with bones of ``lengths`` (m, NaN where unknown).

    Bones keep their proportions to each other. Between the measured stature and the usual one the more
    certain counts more; the weight is the usual one for the stature, if a body with such bones can have it.
    """
    measures = BodyMeasures(body)
    shape = body.fit_shape(lengths)
    own = measures.of(shape)
    if "stature" in own:
        trust = 1 / (1 + (_MEASURED_SPREAD / _STATURE_SPREAD) ** 2)  # in the estimator's metres
        larger = (_STATURE / own["stature"].value) ** (1 - trust)
        points = ShapedBody(body, shape).keypoints.astype(np.float64)
        shape = body.fit_shape(larger * np.linalg.norm(points[_FIRST] - points[_SECOND], axis=-1))
        own = measures.of(shape)
    if "weight" in own:
        weight = _BODY_MASS_INDEX * own["stature"].value ** 2
        with contextlib.suppress(ValueError):  # nobody with such bones has that weight
            shape = measures.shape_of(shape, {"weight": weight}, keep_bones=True)
    return shape
