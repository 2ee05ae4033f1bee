# SPDX-License-Identifier: GPL-3.0-or-later
"""The joint training of vertex predictor, dense motion and generator on synthetic people.

``s2d train joint --config NAME --data DIR --out DIR`` trains for ``--minutes`` (a slice) and goes on from
the folder's checkpoint with ``--resume``; ``--export DIR`` writes the weights that decoding loads. Video
reconstruction, flow, occlusion, mask and vertices train together (Sparse2Dense, arXiv 2509.23169, section
III): the picture's losses reach the vertex predictor through the motion that its projected mesh drives.

Under ``torchrun`` each process takes its share of every batch and gradients are averaged in one go:
networks this small gain nothing from more. What the processes compute is what one alone would.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeVar, cast

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn
from torch.optim.lr_scheduler import LambdaLR

from ...inference.runtime.backends import resolve_device
from ..body import BodyModel
from ..body_catalogue import load_body
from ..errors import InputError, S2DError
from ..fetch import fetch
from ..outputs import JSON, ONNX, SAFETENSORS, Kind
from ..shipped import WEIGHTS
from ..whole_files import check_writable, write_whole
from .adversary import Discriminator, discriminator_loss, generator_losses
from .batches import StepBatches
from .checkpoints import CHECKPOINTS, of_this_training, read_checkpoint, write_checkpoint
from .config import JointConfig, read_config
from .evaluate_vertices import NETWORK_NAME, record
from .export_pictures import export_pictures
from .losses import Target, Vgg, cosine_distances, picture_losses, vertex_loss
from .networks import Drawn, JointNetworks
from .picture_cache import Rendering, start_renderers
from .schedule import running_average, warm_cosine
from .train_vertices import WindowLoss
from .train_vertices import export as export_predictor
from .window_sampler import WindowSampler

CHECKPOINT = "joint.pt"
HED_WEIGHTS = "hed_bsds500.weights.h5"

_CLIP = 1.0  # largest norm of the gradient of the networks that draw
_CLIP_PREDICTOR = 0.1
_MAX_BAD_STEPS = 20
_WARM_UP = 100  # steps
_LEAST_RATE = 0.02  # share of the largest learning rates
_AVERAGING, _AVERAGING_RAMP = 0.998, 5
_SAVE_EVERY = 40.0  # seconds
_SHEET_EVERY = 300.0  # seconds
_FILES = {"encoder": "reference_encoder"}  # parts that are called otherwise as files
_TORCHRUN = {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}


_Module = TypeVar("_Module", bound=nn.Module)


class Joint:
    """Networks, adversary and optimisers, a step of learning, and their state on disk.

    ``average`` are the networks with the running average of their weights, which is what is exported.
    """

    def __init__(
        self,
        config: JointConfig,
        body: BodyModel,
        device: torch.device | str,
        vgg: Vgg,
    ) -> None:
        self.config, self.device = config, torch.device(device)
        torch.manual_seed(0)
        self.networks = _channels_last(JointNetworks(body, config), self.device)
        self.judge = Discriminator().to(self.device) if config.losses.adversarial else None
        self.vgg = _channels_last(vgg, self.device)
        self._window_loss = WindowLoss(body, self.device)
        self._running = running_average(self.networks, _AVERAGING, _AVERAGING_RAMP)
        self.average = cast(JointNetworks, self._running.module)
        drawing = [*self.networks.encoder.parameters(), *self.networks.generator.parameters()]
        predicting = list(self.networks.vertex_predictor.parameters())
        groups = [
            {"params": drawing, "lr": config.learning_rate, "limit": _CLIP},
            {"params": predicting, "lr": config.predictor_learning_rate, "limit": _CLIP_PREDICTOR},
        ]
        if self.judge is not None:
            judging = list(self.judge.parameters())
            groups.append({"params": judging, "lr": config.discriminator_learning_rate, "limit": _CLIP})
        self.optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.99))
        if config.compile and self.device.type == "cuda":
            self.networks.encoder.compile()
            generator = self.networks.generator
            generator.layers = torch.compile(generator.layers)  # type: ignore[method-assign]
        self.steps, self.seconds, self._bad_steps = 0, 0.0, 0
        self.schedule = LambdaLR(
            self.optimiser, lambda step: warm_cosine(step, self.done, _WARM_UP, _LEAST_RATE)
        )

    # ---- state ---------------------------------------------------------------------------------

    def start_from(self, networks: dict[str, Tensor], where: object, share: float = 1.0) -> None:
        """Take over the weights ``networks``, or go a ``share`` of the way to them; others stay as they are.

        InputError ``checkpoint`` where something in it is not ours or of another shape.
        """
        ours = self.networks.state_dict()
        for name, value in networks.items():
            if name not in ours or ours[name].shape != value.shape:
                raise InputError("checkpoint", f"{where} holds other networks: '{name}' does not fit.")
        moved = {
            name: torch.lerp(ours[name], value.to(self.device), share) for name, value in networks.items()
        }
        for module in (self.networks, self.average):
            module.load_state_dict(moved, strict=False)

    def standardise(self, batch: dict[str, Tensor]) -> None:
        """Give a vertex predictor that starts from nothing the means of its inputs."""
        for networks in (self.networks, self.average):
            windows, bones = (batch[f"body_{name}"].to(self.device) for name in ("windows", "bones"))
            networks.vertex_predictor.standardise(windows, bones)

    def save(self, path: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "networks": self.networks.state_dict(),
            "average": self.average.state_dict(),
            "judge": None if self.judge is None else self.judge.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "steps": self.steps,
            "seconds": self.seconds,
        }
        write_checkpoint(path, state)

    def load(self, path: Path) -> None:
        """Go on from the checkpoint; InputError ``checkpoint`` where it is of another configuration."""
        state = read_checkpoint(path, self.device)
        with of_this_training(path):
            self.networks.load_state_dict(state["networks"])
            self.average.load_state_dict(state["average"])
            if self.judge is not None:
                self.judge.load_state_dict(state["judge"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.steps, self.seconds = state["steps"], state["seconds"]
        self._running.n_averaged.fill_(self.steps)
        self.schedule.last_epoch = self.steps

    # ---- learning ------------------------------------------------------------------------------

    @property
    def done(self) -> float:
        """How far the whole training has come, 0 to 1."""
        by_time = self.seconds / (60 * self.config.minutes) if self.config.minutes else 0.0
        return min(1.0, max(self.steps / self.config.steps, by_time))

    def step(self, batch: dict[str, Tensor], seconds: float = 0.0) -> dict[str, float]:
        """Learn from one batch, which took ``seconds`` since the last; return the parts of the loss.

        A step whose gradient is not finite is left out, and returns nothing; S2DError after many in a row.
        """
        drawn = self.networks(batch)
        losses, judged = self.losses(batch, drawn)
        total = torch.stack(list(losses.values())).sum()
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        if self.judge is not None and judged is not None:
            self.judge.zero_grad(set_to_none=True)  # what reached it so far was the generator's
            discriminator_loss(self.judge, *judged).backward()
        self.seconds += self._average_over_processes(seconds)
        norms = [
            nn.utils.clip_grad_norm_(group["params"], group["limit"]) for group in self.optimiser.param_groups
        ]
        if not torch.isfinite(torch.stack(norms)).all():
            self._bad_steps += 1
            if self._bad_steps > _MAX_BAD_STEPS:
                raise S2DError("diverged", "The training has diverged: go on with smaller learning rates.")
            return {}
        self._bad_steps = 0
        self.optimiser.step()
        self.steps += 1
        self.schedule.step()
        self._running.update_parameters(self.networks)
        return {name: float(value.detach()) for name, value in (losses | {"total": total}).items()}

    def losses(
        self, batch: dict[str, Tensor], drawn: Drawn
    ) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor] | None]:
        """Return the weighted parts of the loss, and the drawn and true parts that the adversary judges."""
        weights = self.config.losses
        picture, mask, flow, known, visible, details = (
            batch[name].flatten(0, 1) for name in ("frames", "masks", "flow", "known", "visible", "details")
        )
        target = Target(picture, mask, flow, known, visible, details, batch["frames"].shape[1])
        losses = picture_losses(drawn.layers, target, weights)
        close = self._looked_at(drawn.layers.picture, batch), self._looked_at(target.picture, batch)
        if weights.perceptual:
            losses["perceptual"] = weights.perceptual * self._perceptual(*close)
        if self.judge is not None:
            adversarial, features = generator_losses(self.judge, *close)
            losses["adversarial"] = weights.adversarial * adversarial
            losses["features"] = weights.features * features
        if weights.vertices:
            true = torch.cat([batch["reference_vertices"], batch["vertices"]], 1).flatten(0, 1)
            losses["vertices"] = weights.vertices * vertex_loss(drawn.vertices.flatten(0, 1), true)
        drawn_windows = {name[7:]: value for name, value in batch.items() if name.startswith("window_")}
        if weights.windows and drawn_windows:
            of_windows = self._window_loss(self.networks.vertex_predictor, drawn_windows)
            losses["windows"] = weights.windows * of_windows
        return losses, None if self.judge is None else close

    def _looked_at(self, pictures: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Cut out of ``pictures`` ``(N T, 3, H, W)`` the square an example that is looked at closely."""
        pictures = pictures.unflatten(0, batch["frames"].shape[:2])
        squares = []
        for example, (frame, top, left, side) in zip(pictures, batch["look"].tolist(), strict=True):
            square = example[frame : frame + 1, :, top : top + side, left : left + side]
            squares.append(F.adaptive_avg_pool2d(square, min(side, self.config.perceptual_side)))
        return torch.cat(squares).contiguous(memory_format=torch.channels_last)

    def _perceptual(self, drawn: Tensor, true: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            with torch.no_grad():
                wanted = self.vgg(true)
            found = self.vgg(drawn)
        return cosine_distances(found, wanted).sum(0).mean()

    def _average_over_processes(self, seconds: float) -> float:
        """Average the gradients, and ``seconds``, over all processes of the training."""
        if not distributed.is_initialized():
            return seconds
        gradients = [
            parameter.grad
            for group in self.optimiser.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        flat = torch.cat([torch.tensor([seconds], device=self.device), *(g.flatten() for g in gradients)])
        distributed.all_reduce(flat)
        flat /= distributed.get_world_size()
        averaged = flat[1:].split([g.numel() for g in gradients])
        for gradient, value in zip(gradients, averaged, strict=True):
            gradient.copy_(value.view_as(gradient))
        return float(flat[0])

    @torch.no_grad()
    def sheet(self, batch: dict[str, Tensor]) -> np.ndarray:
        """Draw a row a frame, uint8 RGB: references, plain mesh warp, the networks' picture, the truth."""
        plain = JointNetworks(load_body(), self.config).to(self.device)
        plain.vertex_predictor.load_state_dict(self.average.vertex_predictor.state_dict())
        ours, baseline = (networks(batch).layers.picture for networks in (self.average, plain))
        height, width = self.config.part
        frames = batch["frames"].shape[1]
        corners = (batch["origin"].long()).repeat_interleave(frames, 0).tolist()
        rows = []
        for index, truth in enumerate(batch["frames"].flatten(0, 1)):
            x, y = corners[index]
            references = batch["references"][index // frames][..., y : y + height, x : x + width]
            rows.append(torch.cat([*references, baseline[index], ours[index], truth], 2))
        return (torch.cat(rows, 1).permute(1, 2, 0).float().cpu().numpy() * 255).round().astype(np.uint8)


def _channels_last(module: _Module, device: torch.device) -> _Module:
    # A way of calling it that PyTorch documents and its types lack.
    return module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


# ---- the command -------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``s2d train joint``."""
    parser.add_argument("--config", default="release", help="a TOML file, or the name of one that is shipped")
    parser.add_argument("--data", type=Path, default=os.environ.get("S2D_DATA"), help="folder of the assets")
    parser.add_argument("--backgrounds", type=Path, help="folder of photographs to stand people before")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint, curves and sheets")
    parser.add_argument("--cache", type=Path, help="folder of the drawn examples (OUT/examples)")
    parser.add_argument("--renderers", type=int, default=1, help="processes that draw them; 0: none")
    parser.add_argument("--loaders", type=int, default=1, help="processes that make batches; 0: none")
    parser.add_argument("--minutes", type=float, default=9, help="of this slice")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in OUT")
    parser.add_argument(
        "--init",
        type=Path,
        nargs="+",
        metavar="CHECKPOINT",
        help="start from another training's networks, of several from their average, or from those exported "
        "to a folder",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--export", type=Path, metavar="DIR", help="write the weights there after this slice")


@dataclass(frozen=True)
class SliceOptions:
    """What one slice of a training is told beside its configuration.

    Attributes:
        data: folder of the assets.
        out: folder of the checkpoint, curves and sheets.
        cache: folder of the drawn examples.
        backgrounds: folder of photographs to stand people before; without it, the data's, if there are any.
        renderers, loaders: processes that draw examples, and that make batches of them; may be 0.
        minutes: of this slice.
        resume: go on from the checkpoint in ``out``.
        init: what to start from: checkpoints, and folders of exported weights.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        threads: of the processor; as PyTorch has them where None.
        export: folder to write the weights to after this slice.
    """

    data: Path
    out: Path
    cache: Path
    backgrounds: Path | None = None
    renderers: int = 1
    loaders: int = 1
    minutes: float = 9
    resume: bool = False
    init: tuple[Path, ...] = ()
    device: str = "auto"
    threads: int | None = None
    export: Path | None = None


def outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    """Return the files that :func:`run` writes, each with its kind."""
    found: dict[Path, Kind] = {args.out / CHECKPOINT: CHECKPOINTS}
    if args.export:
        for name in (NETWORK_NAME, "reference_encoder", "generator"):
            found |= {args.export / f"{name}.onnx": ONNX, args.export / f"{name}.safetensors": SAFETENSORS}
        found[args.export / f"{NETWORK_NAME}.json"] = JSON
    return found


def run(args: argparse.Namespace) -> None:
    """Train one slice of the configuration that was asked for."""
    if args.data is None:
        raise InputError(
            "no_data", "Say where the data is: --data DIR, or the environment variable S2D_DATA."
        )
    options = SliceOptions(
        data=Path(args.data),
        out=args.out,
        cache=args.cache or args.out / "examples",
        backgrounds=args.backgrounds,
        renderers=args.renderers,
        loaders=args.loaders,
        minutes=args.minutes,
        resume=args.resume,
        init=tuple(args.init or ()),
        device=args.device,
        threads=args.threads,
        export=args.export,
    )
    train(read_config(args.config), options)


def train(config: JointConfig, options: SliceOptions) -> None:
    """Train one slice.

    InputError ``checkpoint`` where there is one and it is not to be gone on from, or the other way round;
    ``output_unwritable`` where a folder cannot be written.
    """
    checkpoint = options.out / CHECKPOINT
    if checkpoint.exists() != options.resume:
        found = "holds no checkpoint" if options.resume else "holds a checkpoint already: use --resume"
        raise InputError("checkpoint", f"{options.out} {found}.")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    with _processes(options.device) as (device, rank, world):
        if rank == 0:  # which alone writes; two that try would take each other's folders away
            check_writable(options.out, options.export)
        if config.people % world:
            raise InputError("config", f"{config.people} people cannot be shared by {world} processes.")
        vgg = Vgg(hed_weights(options.data), config.perceptual_stages)
        body = load_body()
        training = Joint(config, body, device, vgg)
        if options.resume:
            training.load(checkpoint)
        else:
            _initialise(training, options.init)
        with _examples(options, config, device, draws=rank == 0):
            each = config.people // world
            windows = WindowSampler(body, options.data, 0) if config.motion_windows else None
            share = slice(rank * each, (rank + 1) * each)
            batches = StepBatches(options.cache, body, config, windows, share)
            shown = StepBatches(options.cache, body, config, seed=1)[config.references - 1]
            if training.steps == 0 and not (config.pretrained_predictor or options.init):
                training.standardise(shown)
            _train_slice(training, batches, shown, options, rank)
        if options.export and rank == 0:
            export(training, options.export)
            if training.done >= 1 or not options.minutes:
                told: dict[str, float] = {
                    "joint steps": training.steps,
                    "minutes": round(training.seconds / 60, 1),
                }
                if len(options.init) > 1:
                    told["started from the average of"] = len(options.init)
                record(options.export, NETWORK_NAME, options.data, body, told)


def export(training: Joint, folder: Path) -> None:
    """Write the averaged networks as the files that decoding loads."""
    average = copy.deepcopy(training.average).cpu().eval()
    export_predictor(average.vertex_predictor, folder)
    export_pictures(average.encoder, average.generator, folder)


def hed_weights(data: Path) -> Path:
    """Return where HED's weights lie: beside the training data, as in a bundle, or fetched."""
    packed = Path(data) / HED_WEIGHTS
    if packed.is_file():
        return packed
    fetch("hed")
    return WEIGHTS / "hed" / HED_WEIGHTS


def _initialise(training: Joint, init: Sequence[Path]) -> None:
    """Give the networks their first weights: of several trainings the average.

    Networks that were trained on from one another lie in one basin, where the average of the weights is about
    as good as the best of them (Wortsman et al., Model soups, 2022).
    """
    if training.config.pretrained_predictor:
        training.start_from(_exported(WEIGHTS, "vertex_predictor"), WEIGHTS)
    for count, path in enumerate(init, start=1):
        if path.is_dir():
            parts = [_exported(path, part) for part in ("vertex_predictor", "encoder", "generator")]
            found = {name: value for part in parts for name, value in part.items()}
        else:
            found = _checkpointed(path)
        training.start_from(found, path, 1 / count)


def _checkpointed(path: Path) -> dict[str, Tensor]:
    """Read the averaged weights of a training's checkpoint."""
    state = read_checkpoint(path)
    if "average" not in state:
        raise InputError("checkpoint", f"{path} is no checkpoint of networks that draw.")
    return state["average"]


def _exported(folder: Path, part: str) -> dict[str, Tensor]:
    """Read a ``part`` of the networks as :func:`export` wrote it."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / f"{_FILES.get(part, part)}.safetensors"
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError("checkpoint", f"{path} cannot be read ({error}).") from None
    return {f"{part}.{name}": value for name, value in weights.items()}


@contextlib.contextmanager
def _processes(device: str) -> Iterator[tuple[torch.device, int, int]]:
    """Join the processes of a ``torchrun``; yields this one's device and rank, and how many they are."""
    world, rank, local = (int(os.environ.get(name, alone)) for name, alone in _TORCHRUN.items())
    chosen = resolve_device(device)
    if chosen == "cuda":
        chosen = f"cuda:{local}"
        torch.cuda.set_device(local)
    if world == 1:
        yield torch.device(chosen), 0, 1
        return
    distributed.init_process_group("nccl" if chosen.startswith("cuda") else "gloo")
    try:
        yield torch.device(chosen), rank, world
        # None leaves while another still exports: torchrun ends all where one fails at its exit. And gloo's
        # threads let go of the last gradients before the interpreter, whose lock that takes, is gone.
        distributed.barrier()
    finally:
        distributed.destroy_process_group()


def draw_examples(options: SliceOptions, config: JointConfig, device: str) -> list[BaseProcess]:
    """Start the processes that draw the configuration's examples; ``device`` is a type, such as ``cuda``."""
    rendering = Rendering(
        options.data,
        options.cache,
        config.examples,
        options.backgrounds,
        targets=config.targets,
        references=config.references,
        device="cuda" if device == "cuda" else None,
    )
    return start_renderers(rendering, options.renderers)


@contextlib.contextmanager
def _examples(
    options: SliceOptions, config: JointConfig, device: torch.device, draws: bool
) -> Iterator[None]:
    """Have the examples drawn while the training goes on; begins once there are enough."""
    renderers = draw_examples(options, config, device.type) if draws else []
    try:
        while len(list(options.cache.glob("*.npz"))) < min(config.first, config.examples):
            if draws and not any(renderer.is_alive() for renderer in renderers):
                raise S2DError(
                    "no_examples", f"Drawing the examples in {options.cache} failed, or nothing draws them."
                )
            time.sleep(1)
        yield
    finally:
        for renderer in renderers:
            renderer.terminate()


def _train_slice(
    training: Joint, batches: StepBatches, shown: dict[str, Tensor], options: SliceOptions, rank: int
) -> None:
    def on_device(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.to(training.device) for name, value in batch.items()}

    source = batches.from_step(training.steps, options.loaders)
    with _Record(options.out, training, on_device(shown), rank) as record:
        deadline, before = training.seconds + 60 * options.minutes, time.monotonic()
        while training.done < 1 and training.seconds < deadline:
            batch = on_device(next(source))
            now = time.monotonic()
            record(training.step(batch, now - before))
            before = now


class _Record:
    """What a training leaves on disk as it goes: checkpoint, TensorBoard curves and sample sheets."""

    def __init__(self, folder: Path, training: Joint, shown: dict[str, Tensor], rank: int) -> None:
        self._folder, self._training, self._shown, self._rank = folder, training, shown, rank
        self._sums: list[dict[str, float]] = []

    def __enter__(self) -> Callable[[dict[str, float]], None]:
        if self._rank:
            return lambda losses: None
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(self._folder / "curves", purge_step=self._training.steps)
        self._saved = self._drawn = time.monotonic()
        return self._after_step

    def __exit__(self, kind: type | None, *_: object) -> None:
        if not self._rank:
            if kind is None:
                self._save()
                self._draw()
            self._writer.close()

    def _after_step(self, losses: dict[str, float]) -> None:
        self._sums += [losses] if losses else []
        now = time.monotonic()
        if now - self._saved > _SAVE_EVERY:
            self._save()
            self._saved = now
        if now - self._drawn > _SHEET_EVERY:
            self._draw()
            self._drawn = now

    def _save(self) -> None:
        training = self._training
        training.save(self._folder / CHECKPOINT)
        if self._sums:
            names = dict.fromkeys(name for losses in self._sums for name in losses)
            means = {name: float(np.mean([x[name] for x in self._sums if name in x])) for name in names}
            for name, value in means.items():
                self._writer.add_scalar(f"loss/{name}", value, training.steps)
            self._writer.add_scalar("rate", training.optimiser.param_groups[0]["lr"], training.steps)
            self._writer.flush()
            shown = " ".join(f"{name} {value:.4f}" for name, value in means.items())
            print(f"step {training.steps} minute {training.seconds / 60:.1f} {shown}", flush=True)
            self._sums = []

    def _draw(self) -> None:
        sheet = self._training.sheet(self._shown)
        self._writer.add_image("sheet", sheet, self._training.steps, dataformats="HWC")
        coded = cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        write_whole(self._folder / f"sheet_{self._training.steps:06d}.jpg", coded.tobytes())
