# SPDX-License-Identifier: GPL-3.0-or-later
"""The pose lifter: temporal convolutions from an estimator's landmarks to the body's keypoints.

    features (N, T, F) ──▶ 1x1 ──▶ residual blocks, dilated 1, 3, 9, 27 ──▶ points (N, T, 23, 3)
                                                                      ├──▶ spread (N, T, 23)
                                                                      └──▶ bone_spread (N, T, 27)

After VideoPose3D (Pavllo et al., CVPR 2019, section 3), but every moment of a clip is lifted in one go, and
what it says is a Laplace distribution: where a point is seen, in metres from the trunk's middle, and how far
it lies behind that; and the spreads of points in the picture, where the mean error is twice as large, and of
bones in depth, where it is as large.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .keypoints import BONES, KEYPOINT_NAMES

DILATIONS = (1, 3, 9, 27)
"""Of the blocks: together they see 40 moments either side."""

_UNIT = 0.3  # metres: outputs of 1
_USUAL_SPREAD = 0.04  # metres: what is expected before anything is learnt
_FARTHEST = 6.0  # standard deviations from which on an input counts no more
_WIDEST = 4.0  # of the spreads' logarithm, either side of the usual


class PoseLifter(nn.Module):
    """Lift landmarks of which ``features`` numbers a moment are known.

    Example: ``points, spread, bone_spread = PoseLifter(202)(torch.zeros(1, 100, 202))``.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, features: int, channels: int = 256, dropout: float = 0.1) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.enter = nn.Linear(features, channels)
        self.blocks = nn.ModuleList(_Block(channels, dilation, dropout) for dilation in DILATIONS)
        self.head = nn.Linear(channels, 4 * len(KEYPOINT_NAMES) + len(BONES))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @torch.no_grad()
    def standardise(self, features: Tensor) -> None:
        """Take the inputs' means and spreads from ``(n, F)`` of them; once, before training."""
        self.mean.copy_(features.mean(0))
        self.spread.copy_(features.std(0) + 0.02)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return points ``(N, T, 23, 3)`` and the spreads ``(N, T, 23)``, ``(N, T, 27)``, all metres."""
        x = self.enter(((features - self.mean) / self.spread).clamp(-_FARTHEST, _FARTHEST))
        for block in self.blocks:
            x = block(x)
        said = self.head(F.silu(x))
        count = len(KEYPOINT_NAMES)
        points = _UNIT * said[..., : 3 * count].unflatten(-1, (count, 3))
        spreads = _USUAL_SPREAD * said[..., 3 * count :].clamp(-_WIDEST, _WIDEST).exp()
        return points, spreads[..., :count], spreads[..., count:]


class _Block(nn.Module):
    """A residual block: normalise, look about in time, normalise, mix."""

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.reach = dilation
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.look = nn.Conv1d(channels, channels, 3, dilation=dilation)
        self.mix = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, T, C) -> (N, T, C)``; beyond its ends a clip is held still."""
        y = F.silu(self.norms[0](x)).transpose(1, 2)
        y = self.look(F.pad(y, (self.reach, self.reach), mode="replicate")).transpose(1, 2)
        y = self.mix(F.silu(self.norms[1](self.dropout(y))))
        return x + self.dropout(y)
