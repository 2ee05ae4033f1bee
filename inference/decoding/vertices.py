# SPDX-License-Identifier: GPL-3.0-or-later
"""From decoded keypoints to the body's vertices, any run of frames at a time.

keypoints (T, 23, 3) -> windows -> network -> bones -> one matrix product -> vertices (n, V, 3)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...models.shaped_body import ShapedBody
from ...models.smpl import model_file, predictor_name
from ...models.windows import VertexNetwork, predict_bones, radius_frames, sample_windows

BATCH = 32
"""Frames that go through the network together: enough to keep it busy, few enough to stay small."""


class VertexDecoder:
    """Predicts the vertices of one clip's body; what depends on the shape alone is computed once.

    Args:
        body: the clip's body.
        fps: frames a second of the keypoints.
        network: the network trained for the body, as ``load_network("vertex_predictor")`` gives Anny's, or
            None for the closed-form bones that it starts from: the way of bodies that none was trained for.

    Example:
        ``VertexDecoder(body, clip.fps, network).predict(clip.keypoints, 0, 10)``
    """

    def __init__(self, body: ShapedBody, fps: float, network: VertexNetwork | None) -> None:
        self.body, self._fps, self._network = body, float(fps), network

    @property
    def radius_frames(self) -> int:
        """How many frames either side of a frame its prediction looks at."""
        return radius_frames(self._fps)

    def bones(self, keypoints: np.ndarray, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the bones' world rotations since rest ``(n, B, 3, 3)`` and joint places ``(n, B, 3)``.

        Arguments as of :meth:`predict`.
        """
        windows = sample_windows(np.asarray(keypoints, np.float32), self._fps, start, stop)
        return predict_bones(self.body, windows, self._network)

    def predict(self, keypoints: np.ndarray, start: int, stop: int) -> np.ndarray:
        """Predict the vertices ``(stop - start, V, 3)``, float32, of frames ``start`` to ``stop``.

        ``keypoints`` ``(T, 23, 3)`` are in metres in camera space, and so are the vertices. A frame depends
        on :attr:`radius_frames` frames either side alone, so that a part of a clip gives what the whole
        gives; beyond its ends the clip is held still.
        """
        vertices = np.empty((stop - start, *self.body.vertices.shape), np.float32)
        for first, last in batches(start, stop):
            vertices[first - start : last - start] = self.body.skin(*self.bones(keypoints, first, last))
        return vertices


def batches(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield where each :data:`BATCH` of the frames ``start`` to ``stop`` begins and ends."""
    for first in range(start, stop, BATCH):
        yield first, min(first + BATCH, stop)


def vertex_network(name: str, path: str | Path | None = None) -> str | Path | None:
    """Return the network that predicts the vertices of an opened body, as :func:`.load_network` takes it.

    That of a user's own body lies beside its model file; None where none has been trained for it.
    """
    if name == "anny":
        return "vertex_predictor"
    file = model_file(name, path)
    network = file.with_name(predictor_name(file)).absolute()
    return network if Path(f"{network}.onnx").is_file() else None


def untrained_warning(name: str, path: str | Path | None) -> str:
    """Return what to say of a body that :func:`vertex_network` has no network for."""
    return (
        f"No vertex predictor has been trained for {model_file(name, path)}, so the mesh follows the "
        "keypoints in closed form, less exactly: train one with "
        f"s2d train vertices --body {name} --body-path FILE."
    )
