# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a picture is from the filmed one, in numbers that need no further weights.

VGGcos (HED) is the unweighted cosine distance between VGG-16 features (mean over its five stages, each
averaged over all places); it is LPIPS's construction without LPIPS's weights, and not LPIPS.
"""

from __future__ import annotations

import io

import cv2
import numpy as np
import torch

from .losses import Vgg, cosine_distances

NAMES = ("vggcos", "ssimulacra2", "psnr")
"""Lower is better for the first, higher for the others."""


def psnr(picture: np.ndarray, truth: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB of two ``(H, W, 3)`` uint8 pictures."""
    error = np.mean((picture.astype(np.float64) - truth) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-3)))


def ssimulacra2(picture: np.ndarray, truth: np.ndarray) -> float:
    """Return SSIMULACRA2 of two ``(H, W, 3)`` uint8 pictures: 100 is the same, it may be far below 0."""
    from ssimulacra2 import compute_ssimulacra2

    files = [io.BytesIO(cv2.imencode(".png", image[..., ::-1])[1].tobytes()) for image in (truth, picture)]
    return float(compute_ssimulacra2(*files))


@torch.no_grad()
def vggcos(vgg: Vgg, picture: np.ndarray, truth: np.ndarray) -> float:
    """Return VGGcos (HED) of two ``(H, W, 3)`` uint8 pictures: 0 is the same."""
    both = torch.from_numpy(np.stack([picture, truth])).permute(0, 3, 1, 2).float() / 255
    features = vgg(both.to(vgg.mean.device))
    return float(cosine_distances([f[:1] for f in features], [f[1:] for f in features]).mean())


def measure(vgg: Vgg, picture: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return every metric of :data:`NAMES`."""
    return {
        "vggcos": vggcos(vgg, picture, truth),
        "ssimulacra2": ssimulacra2(picture, truth),
        "psnr": psnr(picture, truth),
    }


def person_region(
    picture: np.ndarray, truth: np.ndarray, mask: np.ndarray, margin: int = 12
) -> tuple[np.ndarray, np.ndarray]:
    """Cut both pictures to the person: the box around ``mask`` ``(H, W)`` plus ``margin`` pixels.

    Within the box, what is farther than ``margin`` from the person is set to the truth in both, so
    that only the person and its outline count.
    """
    near = cv2.dilate((mask > 127).astype(np.uint8), np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)) > 0
    if not near.any():
        return picture, truth
    rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.where(near[..., None], picture, truth)[box], truth[box]
