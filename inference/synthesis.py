# SPDX-License-Identifier: GPL-3.0-or-later
"""Drawing the frames of a clip from its reference pictures, its plate, and each frame's body."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..models.body import BodyModel
from ..models.mesh_motion import MeshMotion
from .backends import Network, NetworkLoader
from .clip import Clip, Reference
from .errors import InputError


class FrameSynthesiser:
    """Draws any frame of a clip from that frame's keypoints and vertices alone.

    ``clip`` carries the references, the plate, the camera and the keypoints at the references' frames;
    ``reference_vertices`` are the body's ``(V, 3)`` at each reference's frame. ``load`` gives the
    networks ``reference_encoder``, run here once a reference, and ``generator``. InputError for a
    canvas whose sides are not multiples of 8, or a clip without pictures.
    """

    def __init__(
        self, clip: Clip, body: BodyModel, reference_vertices: Sequence[np.ndarray], load: NetworkLoader
    ) -> None:
        if not clip.references:
            raise InputError("no_picture", "This clip is a motion without pictures: it has no video to draw.")
        if clip.width % 8 or clip.height % 8:
            raise InputError(
                "bad_canvas", f"The canvas is {clip.width}x{clip.height}; both sides must be multiples of 8."
            )
        self._camera = clip.camera
        self._generator = load("generator")
        encoder = load("reference_encoder")
        plate = clip.references[0].picture if clip.plate is None else clip.plate
        self._sources = [
            _Source(clip, reference, vertices, body, plate, encoder)
            for reference, vertices in zip(clip.references, reference_vertices, strict=True)
        ]

    def frame(self, keypoints: np.ndarray, vertices: np.ndarray) -> np.ndarray:
        """Draw ``(H, W, 3)`` uint8 RGB from ``keypoints`` ``(23, 3)`` and ``vertices`` ``(V, 3)``, metres.

        Of several references the one that shows most of this frame's visible body is used.
        """
        pixels, depth = self._camera.project(vertices), vertices[:, 2]
        motions = [source.motion(pixels, depth) for source in self._sources]
        best = int(np.argmax([(motion[2] * motion[3]).sum() for motion in motions]))
        drawn = self._generator(
            **self._sources[best].inputs,
            motion=motions[best][None],
            keypoints=self._camera.project(keypoints)[None].astype(np.float32),
        )["picture"]
        return np.rint(drawn[0].transpose(1, 2, 0) * 255).astype(np.uint8)


class _Source:
    """A reference picture made ready: its motion to other frames, and what the generator takes of it."""

    def __init__(
        self,
        clip: Clip,
        reference: Reference,
        vertices: np.ndarray,
        body: BodyModel,
        plate: np.ndarray,
        encoder: Network,
    ) -> None:
        project = clip.camera.project
        self.motion = MeshMotion(body.faces, project(vertices), vertices[:, 2], clip.width, clip.height)
        pictures = {
            "reference": _as_tensor(reference.picture),
            "mask": _as_tensor(reference.mask[..., None]),
            "plate": _as_tensor(plate),
        }
        keypoints = project(np.asarray(clip.keypoints[reference.frame]))
        self.inputs = (
            pictures
            | encoder(**pictures)
            | {
                "reference_coverage": self.motion.coverage[None, None],
                "reference_keypoints": keypoints[None].astype(np.float32),
            }
        )


def _as_tensor(picture: np.ndarray) -> np.ndarray:
    """Turn ``(H, W, C)`` uint8 into ``(1, C, H, W)`` float32, 0 to 1."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32) / 255
