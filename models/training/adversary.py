# SPDX-License-Identifier: GPL-3.0-or-later
"""The adversary: a small PatchGAN (Isola et al., CVPR 2017, section 3.2.2) that tells drawn from true."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

_CHANNELS = (32, 64, 128)


class Discriminator(nn.Module):
    """Judge overlapping patches of 34 pixels a side."""

    def __init__(self) -> None:
        super().__init__()
        layers, width = [], 3
        for channels in _CHANNELS:
            layers.append(spectral_norm(nn.Conv2d(width, channels, 4, stride=2, padding=1)))
            width = channels
        self.layers = nn.ModuleList(layers)
        self.verdict = spectral_norm(nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, picture: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return a logit a patch (positive: true) of ``picture`` ``(B, 3, H, W)``, and all features."""
        x, features = picture * 2 - 1, []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.verdict(x), features


def discriminator_loss(judge: Discriminator, drawn: Tensor, true: Tensor) -> Tensor:
    """Return the hinge loss by which the adversary learns."""
    return F.relu(1 - judge(true)[0]).mean() + F.relu(1 + judge(drawn.detach())[0]).mean()


def generator_losses(judge: Discriminator, drawn: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the generator loses to the adversary, and how far its features are from the true ones.

    The latter is feature matching (Wang et al., CVPR 2018, section 3.3): the mean absolute difference of
    each layer's features, averaged over the layers.
    """
    verdict, found = judge(drawn)
    wanted = judge(true)[1]
    matching = sum((a - b.detach()).abs().mean() for a, b in zip(found, wanted, strict=True)) / len(found)
    return -verdict.mean(), matching
