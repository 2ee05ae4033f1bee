# SPDX-License-Identifier: GPL-3.0-or-later
"""LPIPS and DISTS, for those who have torchvision's VGG-16.

Their own weights (the linear layers of LPIPS v0.1, the channel weights of DISTS) are fetched from the
packages that carry them and fit no other VGG-16. Both are measured at the pictures' own size.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.errors import InputError
from ..models.fetch import fetch
from ..models.shipped import WEIGHTS
from .rate_metrics import PairMetric, as_tensor

_STAGES = (
    (0, 2),
    (5, 7),
    (10, 12, 14),
    (17, 19, 21),
    (24, 26, 28),
)  # convolutions in torchvision's numbering
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def deep_metrics(vgg16: Path) -> dict[str, PairMetric]:
    """Return LPIPS (Zhang et al., 2018) and DISTS (Ding et al., 2020) on the network in the file ``vgg16``.

    The file is the state dictionary that torchvision publishes as ``vgg16-397923af.pth``.
    Raises InputError where it is something else.
    """
    for name in ("lpips", "dists"):
        fetch(name)
    network = _Vgg16(Path(vgg16))
    linear = _load(WEIGHTS / "lpips" / "vgg.pth")
    channels = _load(WEIGHTS / "dists" / "weights.pt")

    @torch.no_grad()
    def lpips(picture: np.ndarray, truth: np.ndarray) -> float:
        pairs = zip(network(as_tensor(picture), False), network(as_tensor(truth), False), strict=True)
        total = torch.zeros(())
        for stage, (x, y) in enumerate(pairs):
            apart = (F.normalize(x, dim=1, eps=1e-10) - F.normalize(y, dim=1, eps=1e-10)) ** 2
            total = total + (apart * linear[f"lin{stage}.model.1.weight"]).sum(1).mean()
        return float(total)

    @torch.no_grad()
    def dists(picture: np.ndarray, truth: np.ndarray) -> float:
        x, y = as_tensor(picture), as_tensor(truth)
        first, second = [x, *network(x, True)], [y, *network(y, True)]
        sizes = [features.shape[1] for features in first]
        whole = channels["alpha"].sum() + channels["beta"].sum()
        alike = torch.zeros(())
        texture = torch.split(channels["alpha"] / whole, sizes, dim=1)
        structure = torch.split(channels["beta"] / whole, sizes, dim=1)
        for a, b, alpha, beta in zip(first, second, texture, structure, strict=True):
            mean_a, mean_b = a.mean((2, 3), keepdim=True), b.mean((2, 3), keepdim=True)
            spread_a, spread_b = ((a - mean_a) ** 2).mean((2, 3)), ((b - mean_b) ** 2).mean((2, 3))
            shared = ((a - mean_a) * (b - mean_b)).mean((2, 3))
            alike = alike + (alpha * (2 * mean_a * mean_b + 1e-6) / (mean_a**2 + mean_b**2 + 1e-6)).sum()
            alike = alike + (beta[..., 0, 0] * (2 * shared + 1e-6) / (spread_a + spread_b + 1e-6)).sum()
        return float(1 - alike)

    return {"lpips": lpips, "dists": dists}


class _Vgg16:
    """The last feature map of each of VGG-16's five stages."""

    def __init__(self, path: Path) -> None:
        weights = _load(path)
        try:
            self._stages = [
                [(weights[f"features.{i}.weight"], weights[f"features.{i}.bias"]) for i in stage]
                for stage in _STAGES
            ]
        except (KeyError, TypeError) as error:
            raise InputError("bad_weights", f"{path}: these are not torchvision's VGG-16 weights.") from error
        self._mean, self._deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in (_MEAN, _DEVIATION))

    def __call__(self, picture: Tensor, l2_pooling: bool) -> list[Tensor]:
        x = (picture - self._mean) / self._deviation
        features = []
        for stage, layers in enumerate(self._stages):
            if stage:
                x = _l2_pool(x) if l2_pooling else F.max_pool2d(x, 2)
            for weight, bias in layers:
                x = F.relu(F.conv2d(x, weight, bias, padding=1))
            features.append(x)
        return features


def _l2_pool(x: Tensor) -> Tensor:
    """Halve ``x`` by the root of its squares' weighted mean (DISTS, section 3.1)."""
    line = torch.hann_window(5, periodic=False)[1:-1]
    kernel = torch.outer(line, line)
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, 3, 3)
    return (F.conv2d(x**2, kernel, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError("not_found", f"{path}: there is no such file.") from error
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise InputError("bad_weights", f"{path}: this is no file of network weights.") from error
