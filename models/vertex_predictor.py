# SPDX-License-Identifier: GPL-3.0-or-later
"""The vertex predictor: graph convolutions from a window of keypoints to the bones, and so to all vertices.

    windows (N, 15, 23, 3) --time basis--> 23 keypoint nodes --graph convolutions--> unpooled to B bone nodes
    closed-form bones (N, B, 21) ---------------------------------------------------------> + --graph
    convolutions--> a choice between each bone's denoised and raw closed-form rotation and place,
    and a residual on it (N, B, 10)

The vertices follow by one matrix product with :meth:`.body.BodyModel.skinning_matrix`, which depends on the
clip's shape alone. (Sparse2Dense, arXiv 2509.23169, section III: the vertex predictor.) The network works in
the trunk's frame, see :mod:`.windows`.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .body import BodyModel
from .keypoints import BONES, KEYPOINT_NAMES
from .windows import WINDOW

HEADS = 4
"""Adjacency matrices a graph convolution learns; each serves its share of the channels."""

BONE_FEATURES = 21
"""Numbers a bone brings: denoised and raw closed-form rotation (6) and place (3), and rest joint (3)."""

INPUTS = ("windows", "noise", "rest_keypoints", "bones", "shape")
"""What the network takes, as :func:`.windows.network_inputs` names it."""


class NodeLinear(nn.Module):
    """A linear map with weights of its own for every node: ``(N, K, I) -> (N, K, O)``."""

    def __init__(self, nodes: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(nodes, inputs, outputs) / math.sqrt(inputs))
        self.bias = nn.Parameter(torch.zeros(nodes, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply each node's own map."""
        return torch.matmul(x.transpose(0, 1), self.weight).transpose(0, 1) + self.bias


class GraphMixing(nn.Module):
    """Sum node features along learned adjacency matrices, one for each share of the channels.

    ``(N, K, C) -> (N, M, C)``; with M different from K it pools or unpools.
    """

    def __init__(self, adjacency: torch.Tensor) -> None:
        super().__init__()
        noise = 0.02 * torch.randn(HEADS, *adjacency.shape)
        self.adjacency = nn.Parameter(adjacency.expand(HEADS, -1, -1) + noise)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mix the nodes."""
        count, nodes, channels = x.shape
        shares = x.reshape(count, nodes, HEADS, channels // HEADS).permute(0, 2, 1, 3)
        mixed = torch.matmul(self.adjacency, shares)  # (N, HEADS, M, C / HEADS)
        return mixed.permute(0, 2, 1, 3).reshape(count, -1, channels)


class GraphBlock(nn.Module):
    """A residual graph convolution: normalise, map, mix along the graph, and map back."""

    def __init__(self, adjacency: torch.Tensor, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.enter = nn.Linear(channels, channels)
        self.mix = GraphMixing(adjacency)
        self.leave = nn.Linear(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, K, C) -> (N, K, C)``."""
        return x + self.leave(functional.silu(self.mix(self.enter(self.norm(x)))))


def _adjacency(count: int, edges: list[tuple[int, int]]) -> torch.Tensor:
    """Return the graph's symmetric adjacency with self-loops, rows summing to one."""
    matrix = torch.eye(count)
    for a, b in edges:
        matrix[a, b] = matrix[b, a] = 1.0
    return matrix / matrix.sum(dim=1, keepdim=True)


def rotation_from_columns(columns: torch.Tensor) -> torch.Tensor:
    """Orthonormalise two columns ``(..., 6)`` into rotations ``(..., 3, 3)`` (Zhou et al., CVPR 2019)."""
    first, second = columns[..., :3], columns[..., 3:]
    x = first / (first.norm(dim=-1, keepdim=True) + 1e-8)
    y = second - (x * second).sum(-1, keepdim=True) * x
    y = y / (y.norm(dim=-1, keepdim=True) + 1e-8)
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1)


class VertexPredictor(nn.Module):
    """Predict where every bone stands in the middle of each window.

    Example: ``VertexPredictor(load_body())(windows, rest_keypoints, bones, shape)``.
    """

    time_basis: torch.Tensor
    window_mean: torch.Tensor
    window_scale: torch.Tensor
    bone_mean: torch.Tensor

    def __init__(self, body: BodyModel, channels: int = 96, blocks: tuple[int, int] = (2, 3)) -> None:
        super().__init__()
        keypoints, bones = len(KEYPOINT_NAMES), body.bone_count
        rest, joints = body.rest(np.zeros(body.shape_size))
        # At first a bone listens to the keypoints that lie nearest at rest.
        distance = np.linalg.norm(joints[:, None] - body.keypoints(rest)[None], axis=-1)
        nearest = torch.softmax(torch.tensor(-distance / 0.1, dtype=torch.float32), dim=1)
        moments = torch.arange(WINDOW) + 0.5
        cosines = torch.cos(math.pi / WINDOW * torch.arange(WINDOW)[:, None] * moments) * math.sqrt(
            2 / WINDOW
        )
        self.register_buffer("time_basis", cosines)
        self.register_buffer("window_mean", torch.zeros(WINDOW, keypoints, 3))
        self.register_buffer("window_scale", torch.ones(WINDOW, 1, 1))
        self.register_buffer("bone_mean", torch.zeros(bones, BONE_FEATURES))
        self.embed_keypoints = NodeLinear(keypoints, 3 * WINDOW + 5, channels)
        self.embed_bones = NodeLinear(bones, BONE_FEATURES, channels)
        self.embed_shape = nn.Linear(body.shape_size, 2 * channels)
        skeleton = _adjacency(keypoints, list(BONES))
        tree = _adjacency(bones, [(int(parent), bone) for bone, parent in enumerate(body.parents) if bone])
        self.coarse = nn.ModuleList([GraphBlock(skeleton, channels) for _ in range(blocks[0])])
        self.unpool = GraphMixing(nearest)
        self.fine = nn.ModuleList([GraphBlock(tree, channels) for _ in range(blocks[1])])
        self.norm = nn.LayerNorm(channels)
        self.head = NodeLinear(bones, channels, 10)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias[:, 9], -1.0)

    @torch.no_grad()
    def standardise(self, windows: torch.Tensor, bones: torch.Tensor) -> None:
        """Take the inputs' means and the time basis' scales from a batch; once, before training."""
        coefficients = torch.einsum("fw,nwkd->nfkd", self.time_basis, windows)
        self.window_mean.copy_(coefficients.mean(dim=0))
        self.window_scale.copy_(
            (coefficients - self.window_mean).std(dim=(0, 2, 3))[:, None, None].clamp_min(1e-3)
        )
        self.bone_mean.copy_(bones.mean(dim=0))

    def forward(
        self,
        windows: torch.Tensor,
        noise: torch.Tensor,
        rest_keypoints: torch.Tensor,
        bones: torch.Tensor,
        shape: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rotations since rest ``(N, B, 3, 3)`` and joint places ``(N, B, 3)`` in the trunk's frame.

        Inputs as from :func:`.windows.network_inputs`.
        """
        count = windows.shape[0]  # len() would be a constant in the exported network
        spectrum = torch.matmul(self.time_basis, windows.flatten(2)).unflatten(2, windows.shape[2:])
        spectrum = (spectrum - self.window_mean) / self.window_scale  # (N, 15, 23, 3)
        spectrum = spectrum.transpose(1, 2).reshape(count, windows.shape[2], -1)
        of_shape = self.embed_shape(shape).unsqueeze(1)
        channels = self.norm.normalized_shape[0]
        noise = torch.stack([100 * noise, torch.log(noise + 5e-4) + 6], dim=-1)
        x = self.embed_keypoints(torch.cat([spectrum, noise, 3 * rest_keypoints], dim=-1))
        x = x + of_shape[..., :channels]
        for block in self.coarse:
            x = block(x)
        y = self.unpool(x) + self.embed_bones(3 * (bones - self.bone_mean)) + of_shape[..., channels:]
        for block in self.fine:
            y = block(y)
        residual = self.head(self.norm(y))
        start = torch.lerp(bones[..., :9], bones[..., 9:18], torch.sigmoid(residual[..., 9:]))
        rotations = rotation_from_columns(start[..., :6] + 0.3 * residual[..., :6])
        return rotations, start[..., 6:] + 0.05 * residual[..., 6:9]
