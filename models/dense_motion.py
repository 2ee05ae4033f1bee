# SPDX-License-Identifier: GPL-3.0-or-later
"""The dense motion network: from mesh motion and keypoints to flow and occlusion.

    mesh motion, keypoints, reference ──▶ encoder 1/4 ──▶ 1/8 (dilated) ──▶ 1/4 ─┬─▶ change of the flow
                                                                                 ├─▶ occlusion
                                                                                 ├─▶ preference
                                                                                 └─▶ hidden features

It looks at one reference at a time; its preference is what it says for that reference against others. The
flow is the mesh's, which is sharp to the pixel, and what is changed of it: it turns where the keypoints'
motion candidates (First Order Motion Model, Siarohin et al., 2019, section 3.2) explain the frame better,
and ends with a free residual. All flows are backward, in canvas pixels: position in the reference minus
position in the frame.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .keypoints import KEYPOINT_NAMES
from .mesh_motion import MOTION_CHANNELS

HIDDEN = 48
_HEAT_RADIUS = 5.0  # pixels, standard deviation of a keypoint's heat map
_CANDIDATE_RADIUS = 12.0  # pixels, how far a keypoint's motion is a likely candidate before training
_MAX_RESIDUAL = 24.0  # pixels


def positions(like: Tensor, scale: int, origin: Tensor | None = None) -> Tensor:
    """Return canvas positions ``(1, 2, h, w)`` (x, y; pixels) of the cells of ``like`` ``(B, C, h, w)``.

    ``origin`` ``(B, 2)`` is where the corner of the first cell lies, the canvas's own if None.
    """
    rows = torch.arange(like.shape[2], dtype=torch.float32, device=like.device)
    columns = torch.arange(like.shape[3], dtype=torch.float32, device=like.device)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    at = (torch.stack([x, y])[None] + 0.5) * scale
    return at if origin is None else at + origin[:, :, None, None]


def warp(features: Tensor, flow: Tensor, scale: int, origin: Tensor | None = None) -> Tensor:
    """Sample ``features`` ``(B, C, h, w)`` of the whole canvas at each cell's position plus its ``flow``.

    ``flow`` is ``(B, 2, h', w')``, of the whole canvas too or of the part of it that begins at
    ``origin``; ``scale`` is the number of canvas pixels a cell. Flow is in canvas pixels at every scale.
    """
    at = positions(flow, scale, origin) + flow.float()
    if torch.compiler.is_exporting():
        return _gather_bilinear(features, at / scale - 0.5)
    size = torch.tensor([features.shape[3] * scale, features.shape[2] * scale], dtype=torch.float32)
    where = at.permute(0, 2, 3, 1) * (2 / size.to(flow.device)) - 1
    return F.grid_sample(
        features, where.to(features.dtype), mode="bilinear", padding_mode="border", align_corners=False
    )


def _gather_bilinear(features: Tensor, at: Tensor) -> Tensor:
    """Do what ``grid_sample`` does, for ``(B, C, h, w)`` at cells ``(B, 2, h', w')``, by whole cells.

    ONNX Runtime's GridSample goes through every channel by itself on the processor; fetching all
    channels of a cell at once is three to six times as fast.
    """
    count, channels, height, width = features.shape
    cells = features.flatten(2).transpose(1, 2).reshape(count * height * width, channels)
    first = torch.arange(count)[:, None] * (height * width)
    x, y = at[:, 0].flatten(1).clamp(0, width - 1), at[:, 1].flatten(1).clamp(0, height - 1)
    left, top = x.floor(), y.floor()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    across, down = x - left, y - top

    def taken(row: Tensor, column: Tensor, weight: Tensor) -> Tensor:
        index = (row * width + column).long() + first
        found = cells.index_select(0, index.flatten()).reshape(count, -1, channels)
        return found.transpose(1, 2) * weight[:, None]

    sampled = (
        taken(top, left, (1 - down) * (1 - across))
        + taken(top, right, (1 - down) * across)
        + taken(bottom, left, down * (1 - across))
        + taken(bottom, right, down * across)
    )
    return sampled.reshape(count, channels, at.shape[2], at.shape[3])


def enlarge(x: Tensor) -> Tensor:
    """Double the height and width, bilinearly."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def activate(x: Tensor) -> Tensor:
    """Apply the activation that all networks here use."""
    return F.leaky_relu(x, 0.1)


class DenseMotion(nn.Module):
    """Flow and occlusion of a frame against its reference (see the module's drawing)."""

    def __init__(self) -> None:
        super().__init__()
        keypoints = len(KEYPOINT_NAMES)
        inputs = MOTION_CHANNELS + 3 + 1 + 1 + 3 + keypoints
        self.stem = nn.Conv2d(inputs, HIDDEN, 3, padding=1)
        self.down = nn.Conv2d(HIDDEN, 64, 3, stride=2, padding=1)
        self.context = nn.ModuleList(
            nn.Conv2d(64, 64, 3, padding=dilation, dilation=dilation) for dilation in (1, 2, 4)
        )
        self.up = nn.Conv2d(64, HIDDEN, 1)
        self.merge = nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1)
        self.candidates = nn.Conv2d(HIDDEN, keypoints, 1)
        # Gate, residual x and y, occlusion; zero so that training starts from the mesh's own motion.
        self.heads = nn.Conv2d(HIDDEN, 4, 1)
        self.preference = nn.Conv2d(HIDDEN, 1, 1)
        for head in (self.candidates, self.heads, self.preference):
            for values in head.parameters():
                nn.init.zeros_(values)

    def forward(
        self,
        motion: Tensor,
        warped: Tensor,
        prior: Tensor,
        plate: Tensor,
        keypoints: Tensor,
        reference_keypoints: Tensor,
        origin: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Estimate how the flow differs from the mesh's.

        ``motion`` ``(B, 4, H/2, W/2)`` is :class:`.mesh_motion.Surface`'s at half size; at quarter size
        the reference's colours and person mask warped by it ``(B, 4, H/4, W/4)``, the person's
        opacity that this alone gives (``prior``, one channel) and the ``plate``; ``keypoints`` and
        ``reference_keypoints`` ``(B, K, 2)`` in canvas pixels; ``origin`` as in :func:`positions`.

        Returns, at quarter size, what the flow differs by from the mesh's ``(B, 2, H/4, W/4)``, the occlusion
        logit, hidden features and the preference for this reference, a logit too.
        """
        quarter = F.avg_pool2d(motion, 2)
        mesh_flow = quarter[:, :2]
        at = positions(quarter, 4, origin)
        distance = self._squared_distance(at, keypoints)  # (B, K, H/4, W/4)
        heat = torch.exp(distance * (-0.5 / _HEAT_RADIUS**2)) - torch.exp(
            self._squared_distance(at, reference_keypoints) * (-0.5 / _HEAT_RADIUS**2)
        )
        x = torch.cat([mesh_flow / 16, quarter[:, 2:], warped, prior, plate, heat.to(warped.dtype)], 1)
        skip = activate(self.stem(x))
        x = activate(self.down(skip))
        for layer in self.context:
            x = x + activate(layer(x))
        hidden = activate(self.merge(skip + enlarge(self.up(x))))

        likely = distance * (-0.5 / _CANDIDATE_RADIUS**2) + self.candidates(hidden).float()
        weights = torch.softmax(likely, 1)
        candidates = (reference_keypoints - keypoints).float()  # (B, K, 2)
        by_keypoints = torch.einsum("bkhw,bkc->bchw", weights, candidates)
        heads = self.heads(hidden).float()
        gate = torch.tanh(heads[:, :1])
        residual = _MAX_RESIDUAL * torch.tanh(heads[:, 1:3])
        change = gate * (by_keypoints - mesh_flow) + residual
        return change, heads[:, 3:], hidden, self.preference(hidden).float()

    @staticmethod
    def _squared_distance(at: Tensor, keypoints: Tensor) -> Tensor:
        across = at[:, :1] - keypoints[:, :, 0, None, None]
        down = at[:, 1:] - keypoints[:, :, 1, None, None]
        return across * across + down * down
