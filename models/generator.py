# SPDX-License-Identifier: GPL-3.0-or-later
"""The generator: a frame from the warped references, the background plate and what it invents.

    once a reference:   reference, mask, plate ──▶ reference encoder ──▶ features 1/2, 1/4
    every frame, for    mesh motion, keypoints ──▶ dense motion ──▶ flow, occlusion, preference
    each reference:     flow ──▶ warped features and pixels
    every frame:        blend by visibility ──▶ decoder ──▶ layers ──▶ picture

The picture is made of layers, as the design asks: the person (the references' own pixels, moved, so that
real texture is kept; where those are occluded, invented colour) over the plate. Before training the
network returns the plain mesh warp over the plate, so it can only be better than that after it.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dense_motion import HIDDEN, DenseMotion, activate, enlarge, warp

HALF, QUARTER = 16, 48
"""Channels of the reference's features at half and quarter size."""

_DECODED = 32  # channels of the decoder at half size
_CERTAIN = 0.005  # opacities are kept this far from 0 and 1, where a logit would be infinite
_OPAQUE_LOGIT = 6.0  # how sure an untrained network is that nothing is occluded
_HIDDEN_SHARE = 0.02  # how much a reference counts where it hides a point, against 1 where it shows it


class ReferenceEncoder(nn.Module):
    """Features of the reference picture at half and quarter size; run once a clip."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(7, 16, 3, padding=1),
                nn.Conv2d(16, 32, 3, stride=2, padding=1),
                nn.Conv2d(32, 32, 3, padding=1),
                nn.Conv2d(32, 64, 3, stride=2, padding=1),
                nn.Conv2d(64, 64, 3, padding=1),
            ]
        )
        self.half_features = nn.Conv2d(32, HALF, 1)
        self.quarter_features = nn.Conv2d(64, QUARTER, 1)

    def forward(self, reference: Tensor, mask: Tensor, plate: Tensor) -> tuple[Tensor, Tensor]:
        """Encode ``reference`` and ``plate`` ``(B, 3, H, W)`` and ``mask`` ``(B, 1, H, W)``, all 0 to 1.

        Returns features ``(B, 16, H/2, W/2)`` and ``(B, 48, H/4, W/4)``.
        """
        x = torch.cat([reference, mask, plate], 1) * 2 - 1
        for layer in self.layers[:3]:
            x = activate(layer(x))
        half = self.half_features(x)
        for layer in self.layers[3:]:
            x = activate(layer(x))
        return half, self.quarter_features(x)


class Layers(NamedTuple):
    """A frame and what it was made from; training looks at all of it."""

    picture: Tensor  # (B, 3, H, W), 0 to 1
    opacity: Tensor  # (B, 1, H, W), the person's
    warped: Tensor  # (B, 3, H, W), the references moved by their flow and blended
    flow: Tensor  # (B, R, 2, H, W), canvas pixels
    occlusion: Tensor  # (B, 1, H, W), how far the person is invented, 0 to 1
    shares: Tensor  # (B, R, 1, H/2, W/2), how much each reference counts, summing to 1


def person_opacity(
    coverage: Tensor, reference_mask: Tensor, reference_coverage: Tensor, at_least: float = 0.0
) -> Tensor:
    """Return how opaque the person is where the mesh alone decides.

    Where the mesh is, the warped mask of the reference counts. Beside it that mask counts only as far
    as the mesh did not cover the sampled point of the reference either (clothes, hair): else an arm
    that moved away would leave a copy of the chest behind.
    """
    return (reference_mask * (coverage + (1 - coverage) * (1 - reference_coverage))).clamp(
        at_least, 1 - at_least
    )


def _shuffle_pixels(x: Tensor) -> Tensor:
    """Do what ``pixel_shuffle(x, 2)`` does: ``(B, 4 C, h, w)`` to ``(B, C, 2 h, 2 w)``.

    In two steps, columns then rows, since on the processor ONNX Runtime does both at once four times
    as slowly.
    """
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels // 2, 2, height * width).transpose(2, 3)
    x = x.reshape(batch, channels // 4, 2, height, 2 * width).transpose(2, 3)
    return x.reshape(batch, channels // 4, 2 * height, 2 * width)


class Generator(nn.Module):
    """Dense motion and decoder; run every frame."""

    def __init__(self) -> None:
        super().__init__()
        self.dense_motion = DenseMotion()
        self.decode_quarter = nn.Conv2d(QUARTER + HIDDEN, 48, 3, padding=1)
        self.refine_quarter = nn.Conv2d(48, 48, 3, padding=1)
        self.up_to_half = nn.Conv2d(48, 24, 1)
        self.decode_half = nn.Conv2d(24 + HALF + 3 + 3 + 2, _DECODED, 3, padding=1)
        self.refine_half = nn.Conv2d(_DECODED, _DECODED, 3, padding=1)
        self.up_to_full = nn.Conv2d(_DECODED, 4 * 12, 1)
        self.decode_full = nn.Conv2d(12 + 3 + 3 + 1, 12, 3, padding=1)
        # Residual (3), invented colour (3), opacity, occlusion; zero: start from the plain warp.
        self.heads = nn.Conv2d(12, 8, 3, padding=1)
        for values in self.heads.parameters():
            nn.init.zeros_(values)

    def layers(
        self,
        references: Tensor,
        masks: Tensor,
        plate: Tensor,
        half: Tensor,
        quarter: Tensor,
        reference_coverage: Tensor,
        motion: Tensor,
        keypoints: Tensor,
        reference_keypoints: Tensor,
        origin: Tensor | None = None,
        shares: Tensor | None = None,
    ) -> Layers:
        """Draw a frame, or a part of one, from R references and return its layers.

        ``references`` ``(B, R, 3, H, W)`` and ``masks`` ``(B, R, 1, H, W)`` are as for
        :class:`ReferenceEncoder`, ``half`` and ``quarter`` its features ``(B, R, …)`` and
        ``reference_coverage`` ``(B, R, 1, H, W)``: these are of the whole canvas. ``plate``
        ``(B, 3, h, w)`` and ``motion`` ``(B, R, 4, h, w)``, from :class:`.mesh_motion.Surface`, are
        of the part to draw, whose first pixel's corner is ``origin`` ``(B, 2)``; without it, of the whole
        canvas. ``keypoints`` ``(B, K, 2)``, ``reference_keypoints`` ``(B, R, K, 2)`` and ``origin`` are in
        canvas pixels. All heights and widths are multiples of 8.

        Each point is drawn from the references that show it, as far as ``shares`` ``(B, R)``, 0 to 1 and
        not all 0, lets each count at all: all fully without it.
        """
        count = references.shape[1]

        def for_each(x: Tensor) -> Tensor:
            return x.unsqueeze(1).expand(-1, count, *x.shape[1:]).flatten(0, 1)

        def blend(x: Tensor, weights: Tensor) -> Tensor:
            return (x * weights).unflatten(0, (-1, count)).sum(1)

        pictures = torch.cat([references, masks, reference_coverage], 2).flatten(0, 1)
        motion, origins = motion.flatten(0, 1), None if origin is None else for_each(origin)
        small_motion, sources = F.avg_pool2d(motion, 2), F.avg_pool2d(pictures, 2)
        coverage, visible = small_motion[:, 2:3], small_motion[:, 3:]
        by_mesh = warp(sources, small_motion[:, :2], 2, origins)
        prior = person_opacity(coverage, by_mesh[:, 3:4], by_mesh[:, 4:])
        plate_half = F.avg_pool2d(plate, 2)
        small = F.avg_pool2d(torch.cat([by_mesh[:, :4], prior, for_each(plate_half)], 1), 2)
        change, occlusion, hidden, preference = self.dense_motion(
            small_motion,
            small[:, :4],
            small[:, 4:5],
            small[:, 5:],
            for_each(keypoints),
            reference_keypoints.flatten(0, 1),
            origins,
        )
        logits = (torch.log(F.avg_pool2d(visible.float(), 2) + _HIDDEN_SHARE) + preference).unflatten(
            0, (-1, count)
        )
        if shares is not None:
            logits = logits + torch.log(shares)[..., None, None, None]
        at_quarter = torch.softmax(logits, 1).flatten(0, 1)
        at_half = enlarge(at_quarter)

        change = enlarge(change)
        flow = small_motion[:, :2] + change
        x = torch.cat([warp(quarter.flatten(0, 1), F.avg_pool2d(flow, 2), 4, origins), hidden], 1)
        x = activate(self.decode_quarter(blend(x, at_quarter)))
        x = x + activate(self.refine_quarter(x))
        x = enlarge(self.up_to_half(x))
        moved = warp(torch.cat([half.flatten(0, 1), sources], 1), flow, 2, origins)
        prior = person_opacity(coverage, moved[:, -2:-1], moved[:, -1:])
        blended = blend(torch.cat([moved[:, :-2], prior, visible], 1), at_half)
        x = torch.cat([x, blended[:, :-2], plate_half, blended[:, -2:]], 1)
        x = activate(self.decode_half(x))
        x = x + activate(self.refine_half(x))
        x = _shuffle_pixels(self.up_to_full(x))

        flow = motion[:, :2] + enlarge(change)
        warped = warp(pictures, flow, 1, origins)
        opacity = person_opacity(motion[:, 2:3], warped[:, 3:4], warped[:, 4:], _CERTAIN)
        blended = blend(torch.cat([warped[:, :3], opacity], 1), enlarge(at_half))
        warped, opacity = blended[:, :3], blended[:, 3:]
        x = activate(self.decode_full(torch.cat([activate(x), warped, plate, opacity], 1)))
        heads = self.heads(x).float()
        occlusion = enlarge(enlarge(blend(occlusion, at_quarter)))
        hidden_part = torch.sigmoid(heads[:, 7:] + occlusion - _OPAQUE_LOGIT)
        invented = torch.sigmoid(heads[:, 3:6])
        person = warped + hidden_part * (invented - warped)
        opacity = torch.sigmoid(torch.logit(opacity.float()) + 8 * torch.tanh(heads[:, 6:7]))
        picture = plate + opacity * (person - plate) + torch.tanh(heads[:, :3])
        flow, at_half = (x.unflatten(0, (-1, count)) for x in (flow, at_half))
        return Layers(picture.clamp(0, 1), opacity, warped, flow, hidden_part, at_half)

    # The exporter reads the inputs' names from the signature; a module's own says nothing of them.
    @functools.wraps(layers, assigned=())
    def forward(  # type: ignore[override]
        self, **inputs: Tensor
    ) -> Tensor:
        """Draw a frame ``(B, 3, H, W)``, 0 to 1; the inputs are those of :meth:`layers`."""
        return self.layers(**inputs).picture
