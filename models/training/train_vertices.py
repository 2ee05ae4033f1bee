# SPDX-License-Identifier: GPL-3.0-or-later
"""Training the vertex predictor: bodies of all shapes in CMU motion, seen as noisy keypoints.

The body is Anny, or one of the SMPL family from the user's own model file, beside which its weights then lie.
Batches are made while training (:mod:`.window_sampler`); the loss looks at a random few of the vertices.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR

from ..body import BodyModel
from ..body_catalogue import load_body
from ..errors import InputError
from ..outputs import JSON, ONNX, SAFETENSORS, Kind
from ..shipped import WEIGHTS
from ..smpl import model_file, predictor_name
from ..vertex_predictor import BONE_FEATURES, INPUTS, VertexPredictor
from ..whole_files import check_writable, whole_file, write_whole
from ..windows import WINDOW
from .checkpoints import CHECKPOINTS, of_this_training, read_checkpoint, write_checkpoint
from .evaluate_vertices import NETWORK_NAME, record
from .networks import skin
from .schedule import running_average, warm_cosine
from .window_sampler import WindowSampler

BATCH = 128
LEARNING_RATE = 2e-3
WARM_UP = 300
STEPS = 13000
SAVE_SECONDS = 45
AVERAGING, AVERAGING_RAMP = 0.999, 10
"""Of the running average of the weights, which is what is exported."""

_LEAST_RATE = 0.005  # share of the largest learning rate


class WindowLoss:
    """The mean distance of a few vertices from where they should be; its bodies lie on ``device``."""

    def __init__(self, body: BodyModel, device: torch.device | str = "cpu") -> None:
        self._weights, self._mean, self._basis, self._joints, self._joints_basis = (
            torch.tensor(value, device=device)
            for value in (
                body.weights,
                body.vertices_mean,
                body.vertices_basis,
                body.joints_mean,
                body.joints_basis,
            )
        )

    def __call__(self, network: VertexPredictor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the loss (m) of a batch from :meth:`WindowSampler.batch`, weighed by how clean it is."""
        rotations, positions = network(**{name: batch[name] for name in INPUTS})
        predicted = self._vertices(batch["shape"], rotations, positions, batch["chosen"])
        truth = batch["true_rotations"], batch["true_positions"]
        true = self._vertices(batch["true_shape"], *truth, batch["chosen"])
        turn = (rotations - truth[0]).square().sum((-1, -2)).clamp_min(1e-8).sqrt().mean(dim=1)
        # Relative to what the noise allows, so that clean keypoints count as much as noisy ones.
        ease = 0.012 / (0.006 + batch["noise"].mean(dim=1))
        distance = (predicted - true).norm(dim=-1).mean(dim=1)
        return (ease * (distance + 0.01 * turn)).mean()

    def _vertices(
        self, shape: torch.Tensor, rotations: torch.Tensor, positions: torch.Tensor, chosen: torch.Tensor
    ) -> torch.Tensor:
        """Skin the chosen vertices ``(N, n, 3)`` of a body of its own in each sample."""
        joints = self._joints + torch.tensordot(shape, self._joints_basis, 1)
        rest = self._mean[chosen] + torch.tensordot(shape, self._basis[:, chosen], 1)
        return skin(self._weights[chosen], rest, joints, rotations, positions)


class Trainer:
    """The network, its optimiser and all else that a checkpoint holds, so that a slice resumes exactly."""

    def __init__(
        self, folder: Path | None, seed: int = 0, steps: int = STEPS, body: BodyModel | None = None
    ) -> None:
        torch.manual_seed(seed)
        self.body = body or load_body()
        self.sampler = WindowSampler(self.body, folder, seed)
        self.network = VertexPredictor(self.body)
        self.average = running_average(self.network, AVERAGING, AVERAGING_RAMP)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=LEARNING_RATE, weight_decay=1e-3)
        self.step, self.steps, self.seed, self.seconds = 0, steps, seed, 0.0
        self.schedule = LambdaLR(self.optimiser, self._rate)
        self._window_loss = WindowLoss(self.body)

    def loss(self, count: int = BATCH) -> torch.Tensor:
        """Draw a batch and return its loss; the very first one gives the network its inputs' means."""
        batch = {name: torch.from_numpy(value) for name, value in self.sampler.batch(count).items()}
        if self.step == 0:
            self.network.standardise(batch["windows"], batch["bones"])
        return self._window_loss(self.network, batch)

    def _rate(self, step: int) -> float:
        return max(warm_cosine(step, step / self.steps, WARM_UP), _LEAST_RATE)

    def train(self, minutes: float, checkpoint: Path) -> None:
        """Train until the last step or for ``minutes``; the checkpoint is never more than a minute behind."""
        deadline, saved = time.monotonic() + 60 * minutes, time.monotonic()
        shown: list[float] = []
        self.network.train()
        while self.step < self.steps:
            begun = time.monotonic()
            loss = self.loss()
            self.optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 0.1)
            self.optimiser.step()
            self.schedule.step()
            self.average.update_parameters(self.network)
            self.step += 1
            shown.append(loss.item())
            now = time.monotonic()
            self.seconds += now - begun
            if now - saved > SAVE_SECONDS:
                self.save(checkpoint)
                saved = now
            if self.step % 100 == 0:
                print(f"step {self.step}/{self.steps} loss {1000 * np.mean(shown):.2f} mm", flush=True)
                shown.clear()
            if now > deadline:
                break
        self.save(checkpoint)

    def averaged(self) -> VertexPredictor:
        """Return the network with the running average of its weights."""
        network = VertexPredictor(self.body)
        network.load_state_dict(self.average.module.state_dict())
        return network.eval()

    def save(self, checkpoint: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "network": self.network.state_dict(), "average": self.average.module.state_dict(),
            "optimiser": self.optimiser.state_dict(), "rng": self.sampler.rng.bit_generator.state,
            "step": self.step, "steps": self.steps, "seed": self.seed, "seconds": self.seconds,
            "body": self.body.name,
        }  # fmt: skip
        write_checkpoint(checkpoint, state)

    def resume(self, checkpoint: Path) -> None:
        """Go on from a checkpoint exactly where it was written.

        InputError ``checkpoint`` where there is none, or it is of another body or training.
        """
        state = read_checkpoint(checkpoint)
        trained = state.get("body", "anny")  # checkpoints from before there were others do not say
        if trained != self.body.name:
            raise InputError(
                "checkpoint",
                f"{checkpoint} is a training of the body {trained}, not {self.body.name}: name another "
                f"checkpoint, or --body {trained}.",
            )
        with of_this_training(checkpoint):
            self.network.load_state_dict(state["network"])
            self.average.module.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.sampler.rng.bit_generator.state = state["rng"]
            self.step, self.steps, self.seed = state["step"], state["steps"], state["seed"]
            self.seconds = state["seconds"]
        self.average.n_averaged.fill_(self.step)
        self.schedule.last_epoch = self.step


def export(network: VertexPredictor, folder: Path = WEIGHTS, name: str = NETWORK_NAME) -> None:
    """Write the network as ``<name>.safetensors`` and ``<name>.onnx`` into ``folder``."""
    from safetensors.torch import save

    tensors = {key: value.contiguous() for key, value in network.state_dict().items()}
    write_whole(folder / f"{name}.safetensors", save(tensors))
    keypoints, bones = (len(nodes.weight) for nodes in (network.embed_keypoints, network.embed_bones))
    shapes = {
        "windows": (WINDOW, keypoints, 3),
        "noise": (keypoints,),
        "rest_keypoints": (keypoints, 3),
        "bones": (bones, BONE_FEATURES),
        "shape": (network.embed_shape.in_features,),
    }
    with whole_file(folder / f"{name}.onnx") as aside:
        torch.onnx.export(
            network, tuple(torch.rand(2, *shape) for shape in shapes.values()), aside,
            input_names=list(shapes), output_names=["rotations", "positions"], opset_version=17, dynamo=False,
            dynamic_axes={tensor: {0: "frames"} for tensor in (*shapes, "rotations", "positions")},
        )  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``s2d train vertices``."""
    parser.add_argument("--data", type=Path, help="folder of the training data (default: S2D_DATA)")
    parser.add_argument(
        "--body", choices=("anny", "smpl", "smplh", "smplx"), default="anny", help="body model (anny)"
    )
    parser.add_argument(
        "--body-path", type=Path, metavar="FILE", help="your own model of an SMPL body, or its folder"
    )
    parser.add_argument(
        "--checkpoint", type=Path, help="state to write (runs/vertices.pt, or vertices_BODY.pt)"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--minutes", type=float, default=120.0, help="stop after this long; resume later")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of the whole training")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and data")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument(
        "--output", type=Path, metavar="DIR",
        help="folder of the weights (the package's; of your own body where its model file is, for decoding)",
    )  # fmt: skip


def outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    """Return the files that :func:`run` writes, each with its kind."""
    checkpoint, folder, name = _places(args)
    kinds = {"onnx": ONNX, "safetensors": SAFETENSORS, "json": JSON}
    return {checkpoint: CHECKPOINTS} | {folder / f"{name}.{ending}": kind for ending, kind in kinds.items()}


def _places(args: argparse.Namespace) -> tuple[Path, Path, str]:
    """Return the checkpoint, and the folder and the name of the weights."""
    if args.body == "anny":
        return args.checkpoint or Path("runs/vertices.pt"), args.output or WEIGHTS, NETWORK_NAME
    file = model_file(args.body, args.body_path)
    checkpoint = args.checkpoint or Path(f"runs/vertices_{args.body}.pt")
    return checkpoint, args.output or file.parent, predictor_name(file)


def run(args: argparse.Namespace) -> None:
    """Train a slice, export the weights, and once trained to the end measure them on held-out people."""
    torch.set_num_threads(args.threads)
    body = load_body(args.body, args.body_path)
    checkpoint, folder, name = _places(args)
    check_writable(folder, checkpoint.parent)
    trainer = Trainer(args.data, args.seed, args.steps, body)
    if args.resume:
        trainer.resume(checkpoint)
    trainer.train(args.minutes, checkpoint)
    print(f"step {trainer.step} of {trainer.steps}; go on with --resume --checkpoint {checkpoint}")
    export(trainer.averaged(), folder, name)
    print(folder / f"{name}.onnx")
    if trainer.step == trainer.steps:
        minutes = round(trainer.seconds / 60, 1)
        record(folder, name, args.data, body, {"steps": trainer.steps, "minutes": minutes})
