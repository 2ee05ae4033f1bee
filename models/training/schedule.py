# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast networks learn, step by step, and the running average of their weights, which is exported."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.optim.swa_utils import PARAM_LIST, AveragedModel, get_ema_multi_avg_fn


def warm_cosine(step: int, done: float, warm_up: int, least: float = 0.0) -> float:
    """Return the share of the largest learning rate at ``step``, counted from 0.

    It rises over ``warm_up`` steps, and falls as half a cosine to ``least`` while ``done`` goes from 0 to 1.
    """
    return min(1.0, (step + 1) / warm_up) * (least + (1 - least) * 0.5 * (1 + math.cos(math.pi * done)))


def running_average(network: nn.Module, most: float, ramp: int) -> AveragedModel:
    """Return a running average of ``network``'s weights; ``update_parameters`` takes those of a step in.

    Of what n steps gave it keeps the share n / (n + ``ramp``), and never more than ``most``: so the first,
    untrained weights are soon forgotten. Buffers are the network's own. Nothing in it takes a gradient.
    """

    def keep(averages: PARAM_LIST, weights: PARAM_LIST, steps: Tensor | int) -> None:
        count = int(steps)
        get_ema_multi_avg_fn(min(most, count / (count + ramp)))(averages, weights, steps)

    return AveragedModel(network, multi_avg_fn=keep).requires_grad_(False)
