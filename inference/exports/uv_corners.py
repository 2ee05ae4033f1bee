# SPDX-License-Identifier: GPL-3.0-or-later
"""A body's mesh for formats in which a vertex has one place in the texture: split where UVs have a seam."""

from __future__ import annotations

import numpy as np

from ...models.body import BodyModel


def split_at_seams(body: BodyModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which vertex ``(N,)`` and which UV ``(N,)`` each split vertex is, and their faces ``(F, 3)``.

    Vertices that no face has are left out.
    """
    corners = np.stack([body.faces.ravel(), body.faces_uv.ravel()], axis=1)
    pairs, faces = np.unique(corners, axis=0, return_inverse=True)
    return pairs[:, 0], pairs[:, 1], faces.reshape(body.faces.shape)
