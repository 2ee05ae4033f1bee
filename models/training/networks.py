# SPDX-License-Identifier: GPL-3.0-or-later
"""All networks as one, from keypoint windows to frames, with a gradient all the way through.

    windows ──▶ vertex predictor ──▶ vertices ──▶ projected mesh's motion ─┐
    references, masks, plate ──▶ reference encoder ──▶ features ───────────┴─▶ generator ──▶ layers

This is the way of decoding (:mod:`...inference.decoding.vertices`,
:mod:`...inference.decoding.synthesis`), on batches.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..body import BodyModel
from ..dense_motion import positions
from ..generator import Generator, Layers, ReferenceEncoder
from ..vertex_predictor import INPUTS, VertexPredictor
from ..windows import network_inputs
from .config import JointConfig
from .mesh_motion_torch import Surfaces

_KEYPOINT_REACH = 12.0  # pixels, how far a keypoint's motion reaches where there is no mesh


class Drawn(NamedTuple):
    """What the networks make of a batch of N examples with R references and T frames."""

    layers: Layers  # of N T frames, frame after frame
    vertices: Tensor  # (N, R + T, V, 3), metres, the references' first


def predictor_inputs(body: BodyModel, windows: np.ndarray, shape: np.ndarray) -> dict[str, np.ndarray]:
    """Return what :meth:`JointNetworks.vertices` needs of ``windows`` ``(N, M, 15, 23, 3)``.

    ``shape`` ``(N, S)`` is each body's; arrays have a first axis of ``N M``, but ``rest`` ``(N, V, 3)``.
    """
    moments = windows.shape[1]
    rest = body.vertices_mean + np.tensordot(shape, body.vertices_basis, 1)
    joints = np.repeat(body.joints_mean + np.tensordot(shape, body.joints_basis, 1), moments, 0)
    inputs, axes, origin = network_inputs(
        body,
        windows.reshape(-1, *windows.shape[2:]),
        np.repeat(shape, moments, 0),
        np.repeat(body.keypoints(rest), moments, 0),
        joints,
    )
    inputs |= {"axes": axes, "trunk": origin, "joints": joints, "rest": rest}
    return {f"body_{name}": np.asarray(value, np.float32) for name, value in inputs.items()}


def keypoint_motion(keypoints: Tensor, reference_keypoints: Tensor, like: Tensor, origin: Tensor) -> Tensor:
    """Return motion maps ``(B, R, 4, h, w)`` that no mesh guides, laid out as the mesh's.

    Each pixel of ``like`` ``(B, C, h, w)`` moves as the keypoints ``(B, K, 2)`` near it move to the
    ``reference_keypoints`` ``(B, R, K, 2)``; nothing is covered, and all counts as visible.
    """
    at = positions(like, 1, origin)
    distance = (at[:, None] - keypoints[..., None, None]).square().sum(2)  # (B, K, h, w)
    near = torch.softmax(distance * (-0.5 / _KEYPOINT_REACH**2), 1)
    flow = torch.einsum("bkhw,brkc->brchw", near, reference_keypoints - keypoints[:, None])
    return torch.cat([flow, torch.zeros_like(flow[:, :, :1]), torch.ones_like(flow[:, :, :1])], 2)


class JointNetworks(nn.Module):
    """The vertex predictor, the reference encoder and the generator, trained together."""

    faces: Tensor
    skinning: Tensor
    clothing: Tensor | None

    def __init__(self, body: BodyModel, config: JointConfig) -> None:
        super().__init__()
        self.mesh, self.joint = config.mesh, config.joint
        self.vertex_predictor = VertexPredictor(body)
        self.encoder = ReferenceEncoder()
        self.generator = Generator()
        for name, value in (("faces", body.faces.astype(np.int64)), ("skinning", body.weights)):
            self.register_buffer(name, torch.from_numpy(value), persistent=False)
        clothing = None if body.clothing is None else torch.from_numpy(body.clothing)[:, None]
        self.register_buffer("clothing", clothing, persistent=False)

    def forward(self, batch: dict[str, Tensor]) -> Drawn:
        """Draw the frames of a batch from :func:`.batches.prepare`."""
        vertices = self.vertices(batch)
        references, frames = batch["references"].shape[1], batch["frames"].shape[1]
        motion, coverage = self._motion(batch, vertices, references)
        device = vertices.device.type
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            pictures = (batch[f"reference{name}"].flatten(0, 1) for name in ("s", "_masks", "_plates"))
            half, quarter = self.encoder(*pictures)
            of_references = {
                "references": batch["references"],
                "masks": batch["reference_masks"],
                "half": half.unflatten(0, (-1, references)),
                "quarter": quarter.unflatten(0, (-1, references)),
                "reference_coverage": coverage,
                "reference_keypoints": batch["reference_keypoints"],
                "origin": batch["origin"],
            }
            repeated = {name: value.repeat_interleave(frames, 0) for name, value in of_references.items()}
            plates, keypoints = (batch[name].flatten(0, 1) for name in ("plates", "keypoints"))
            layers = self.generator.layers(**repeated, plate=plates, keypoints=keypoints, motion=motion)
        return Drawn(layers, vertices)

    def vertices(self, batch: dict[str, Tensor]) -> Tensor:
        """Predict the vertices ``(N, R + T, V, 3)`` in camera space of a batch's keypoint windows."""
        inputs = {name: batch[f"body_{name}"] for name in INPUTS}
        rotations, places = self.vertex_predictor(**inputs)
        axes, trunk, joints = (batch[f"body_{name}"] for name in ("axes", "trunk", "joints"))
        rest = batch["body_rest"].repeat_interleave(len(rotations) // len(batch["body_rest"]), 0)
        # Bones lie in the trunk's frame: turned and moved back to the camera's after blending.
        skinned = skin(self.skinning, rest, joints, rotations, places)
        vertices = skinned @ axes.transpose(1, 2) + trunk[:, None]
        return vertices.unflatten(0, (len(batch["body_rest"]), -1))

    def _motion(self, batch: dict[str, Tensor], vertices: Tensor, references: int) -> tuple[Tensor, Tensor]:
        """Return the motion ``(N T, R, 4, h, w)`` of the part to draw, and the references' coverage."""
        height, width = batch["references"].shape[-2:]
        part = batch["frames"].shape[-2:]
        frames = vertices.shape[1] - references
        origin = batch["origin"].repeat_interleave(frames, 0)
        if not self.mesh:
            motion = keypoint_motion(
                batch["keypoints"].flatten(0, 1),
                batch["reference_keypoints"].repeat_interleave(frames, 0),
                batch["frames"].flatten(0, 1),
                origin,
            )
            return motion, motion.new_zeros(len(vertices), references, 1, height, width)
        points = project(self._dressed(vertices if self.joint else vertices.detach()), batch["camera"])
        of_references, of_frames = (
            Surfaces(self.faces, each.flatten(0, 1), height, width)
            for each in (points[:, :references], points[:, references:])
        )
        motion = of_frames.motion_to(of_references, len(points)).flatten(0, 1)
        cut = [
            of_frame[..., y : y + part[0], x : x + part[1]]
            for of_frame, (x, y) in zip(motion, origin.long().tolist(), strict=True)
        ]
        return torch.stack(cut), of_references.coverage.unflatten(0, (-1, references))

    def _dressed(self, vertices: Tensor) -> Tensor:
        """Do what :meth:`..body.BodyModel.dressed` does of vertices ``(N, M, V, 3)``, normals as given."""
        if self.clothing is None:
            return vertices
        with torch.no_grad():
            a, b, c = (vertices.index_select(2, corner) for corner in self.faces.unbind(1))
            across = torch.cross(b - a, c - a, dim=-1)
            normals = torch.zeros_like(vertices)
            for corner in self.faces.unbind(1):
                normals.index_add_(2, corner, across)
        return vertices + self.clothing * F.normalize(normals, dim=-1)


def skin(weights: Tensor, rest: Tensor, joints: Tensor, rotations: Tensor, places: Tensor) -> Tensor:
    """Pose vertices ``(N, V, 3)`` by linear blend skinning with ``weights`` ``(V, B)``.

    ``rest`` ``(N, V, 3)`` and ``joints`` ``(N, B, 3)`` are each body's own at rest; ``rotations``
    ``(N, B, 3, 3)`` are since rest, and ``places`` ``(N, B, 3)`` where the joints go.
    """
    shift = places - (rotations @ joints[..., None])[..., 0]
    blend = weights @ torch.cat([rotations.flatten(2), shift], -1)  # (N, V, 12)
    return (blend[..., :9].unflatten(-1, (3, 3)) * rest[..., None, :]).sum(-1) + blend[..., 9:]


def project(points: Tensor, camera: Tensor) -> Tensor:
    """Project ``(N, …, 3)`` metres by ``camera`` ``(N, 4)`` (fx, fy, cx, cy): pixels x, y, and the depth."""
    camera = camera.view(len(camera), *[1] * (points.dim() - 2), 4)
    depth = points[..., 2:]
    pixels = points[..., :2] / depth.clamp(min=0.01) * camera[..., :2] + camera[..., 2:]
    return torch.cat([pixels, depth], -1)
