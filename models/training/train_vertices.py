# SPDX-License-Identifier: GPL-3.0-or-later
"""Training the vertex predictor: bodies of all shapes in CMU motion, seen as noisy keypoints.

The body is Anny, or one of the SMPL family from the user's own model file, beside which its weights then lie.
Batches are made while training: poses are cached local rotations, a keypoint is a fixed combination of
bone transforms (so no mesh is posed for the input), and the loss looks at a random few of the vertices.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from ..body import BodyModel, stack_transforms
from ..body_catalogue import load_body
from ..rotations import from_vectors
from ..shipped import WEIGHTS
from ..smpl import model_file, predictor_name
from ..vertex_predictor import BONE_FEATURES, INPUTS, VertexPredictor
from ..whole_files import whole_file, write_whole
from ..windows import WINDOW, network_inputs
from .keypoint_faults import fitted_shape, spoil
from .motion import TRAINING_SUBJECTS, bone_roles, load_motions, mirrored
from .pack_body import people_of

NETWORK_NAME = "vertex_predictor"

BATCH = 128
CHUNK_WINDOWS, CHUNK_SPACING = 4, 6
"""Windows cut from one posed stretch of motion, and frames between them (posing is dear)."""
LOSS_VERTICES = 256
LEARNING_RATE = 2e-3
WARM_UP = 300
STEPS = 13000
SAVE_SECONDS = 45
AVERAGING = 0.999
"""Decay of the running average of the weights, which is what is exported."""

FIT_POOL = 3000

WOBBLE = {
    "spine04": 0.08, "neck02": 0.1, "head": 0.1,
    **{
        f"{bone}.{side}": sigma
        for side in "LR"
        for bone, sigma in (
            ("clavicle", 0.08), ("upperarm01", 0.15), ("lowerarm01", 0.1), ("wrist", 0.15),
            ("upperleg01", 0.1), ("lowerleg01", 0.08), ("foot", 0.12),
        )
    },
}  # fmt: skip
"""Radians by which a bone may be turned, the same through a window, beyond the captured poses."""

LIMB_GROUPS = ("spine", "neck", "head"), ("clavicle", "shoulder", "upperarm", "lowerarm", "wrist")


class WindowSampler:
    """Draws training windows: poses of mixed motions, shapes, and keypoints with an estimator's faults."""

    def __init__(self, body: BodyModel, folder: Path | None, seed: int, noisy: bool = True) -> None:
        self.body, self.noisy = body, noisy
        self.rng = np.random.default_rng(seed)
        motions = load_motions(folder, TRAINING_SUBJECTS, body)
        roles = bone_roles(body)
        pieces = [piece for _, piece, _ in motions]
        pieces += [mirrored(body, piece) for piece in pieces]
        places = [place for _, _, place in motions]
        self.places = np.concatenate(places + [place * np.array([-1, 1, 1], np.float32) for place in places])
        self.legs = [roles.index(role) for role in ("upperleg01.L", "foot.L")]
        lengths = np.array([len(piece) for piece in pieces])
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        self.rotations = np.concatenate(pieces)
        self.piece_start, self.piece_stop = np.repeat(starts, lengths), np.repeat(starts + lengths, lengths)
        groups = np.zeros(body.bone_count, np.int64)  # legs and root
        for bone, role in enumerate(roles):
            if role.startswith(LIMB_GROUPS[0]):
                groups[bone] = 1
            elif role.startswith(LIMB_GROUPS[1]):
                groups[bone] = 2 if role.endswith(".L") else 3
        self.groups = groups
        # What rides on a bone of the same role (fingers, toes, eyes) turns with it alone.
        self.wobbling = [
            bone for bone, role in enumerate(roles) if role in WOBBLE and roles.index(role) == bone
        ]
        self.wobble = np.array([WOBBLE[roles[bone]] for bone in self.wobbling])
        people = people_of(body, held_out=False)
        pool = np.random.default_rng(0)  # the same whatever the seed, so that a checkpoint finds it again
        self.shapes = people[pool.integers(0, len(people), FIT_POOL)]
        self.shapes = (self.shapes + pool.normal(0, 0.3, self.shapes.shape)).astype(np.float32)
        self.fitted = np.stack([fitted_shape(body, shape, pool) for shape in self.shapes])
        self.keypoint_mean = body.keypoint_skinning(np.zeros(body.shape_size))
        self.keypoint_basis = np.stack(
            [body.keypoint_skinning(unit) - self.keypoint_mean for unit in np.eye(body.shape_size)]
        )
        corners = body.vertices_mean[body.faces]
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1)
        share = np.cumsum(np.bincount(body.faces.ravel(), np.repeat(area, 3), len(body.vertices_mean)))
        self._area = share / share[-1]

    def rest_of(self, shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return keypoints ``(N, 23, 3)`` and joints ``(N, B, 3)`` at rest of shapes ``(N, S)``."""
        joints = self.body.joints_mean + np.tensordot(shapes, self.body.joints_basis, 1)
        readout = self.keypoint_mean + np.tensordot(shapes, self.keypoint_basis, 1)
        eye = np.broadcast_to(np.eye(3, dtype=np.float32), (*joints.shape, 3))
        return np.matmul(readout, stack_transforms(eye, joints, joints)), joints

    def batch(self, count: int) -> dict[str, np.ndarray]:
        """Draw ``count`` windows with all that :class:`WindowLoss` needs of them, but for the bodies.

        The network's :data:`INPUTS`, the bones' truth in the trunk's frame, the ``true_shape``, and which
        vertices to look at (``chosen``).
        """
        drawn = self.draw(count)
        inputs, axes, origin = self.inputs(drawn)
        # Half of them by area: the mesh is densest in face and hands, and the trunk must not drown in them.
        uniform = self.rng.integers(0, len(self._area), LOSS_VERTICES // 2)
        by_area = np.searchsorted(self._area, self.rng.random(LOSS_VERTICES // 2))
        truth = {
            "true_shape": drawn["shape"],
            "true_rotations": np.swapaxes(axes, 1, 2)[:, None] @ drawn["rotations"],
            "true_positions": (drawn["positions"] - origin[:, None]) @ axes,
        }
        chosen = np.concatenate([uniform, by_area])
        return inputs | {name: x.astype(np.float32) for name, x in truth.items()} | {"chosen": chosen}

    def inputs(self, drawn: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Turn drawn windows into the network's inputs, and the trunk frames that lead back."""
        rest_keypoints, joints = self.rest_of(drawn["known_shape"])
        return network_inputs(self.body, drawn["windows"], drawn["known_shape"], rest_keypoints, joints)

    def draw(self, count: int) -> dict[str, np.ndarray]:
        """Draw ``count`` windows (a multiple of ``CHUNK_WINDOWS``).

        Returns keypoints ``windows (N, 15, 23, 3)``, the true ``shape`` and what is known of it
        (``known_shape``), and the true bone ``rotations``, ``positions`` and ``joints`` in the middle.
        """
        rng, body, bones = self.rng, self.body, self.body.bone_count
        chunks, length = count // CHUNK_WINDOWS, WINDOW + (CHUNK_WINDOWS - 1) * CHUNK_SPACING
        centre = rng.integers(0, len(self.rotations), (chunks, 4))
        mixed = rng.random((chunks, 3)) < np.array([0.25, 0.15, 0.15])
        centre[:, 1] = np.where(mixed[:, 0], centre[:, 1], centre[:, 0])  # a trunk of another motion
        centre[:, 2] = np.where(mixed[:, 1], centre[:, 2], centre[:, 1])  # an arm of another one still
        centre[:, 3] = np.where(mixed[:, 2], centre[:, 3], centre[:, 1])
        stride = np.where(rng.random(chunks) < 0.15, 2, 1)
        moments = (np.arange(length) - length // 2) * stride[:, None]
        frames = centre[:, None] + moments[..., None]
        frames = np.clip(frames, self.piece_start[centre][:, None], self.piece_stop[centre][:, None] - 1)
        local = self.rotations[frames[..., self.groups], np.arange(bones)]  # (C, length, B, 3, 3)
        sigma = self.wobble * (rng.random((chunks, 1)) < 0.5)
        turn = from_vectors(rng.normal(size=(chunks, len(self.wobbling), 3)) * sigma[..., None])
        local[:, :, self.wobbling] = local[:, :, self.wobbling] @ turn[:, None].astype(np.float32)

        person = rng.integers(0, len(self.shapes), chunks)
        shape = self.shapes[person]
        known = np.where((rng.random(chunks) < 0.5)[:, None], shape, self.fitted[person])
        joints = body.joints_mean + np.tensordot(shape, body.joints_basis, 1)
        flat_joints = np.repeat(joints, length, axis=0)
        leg, mean_leg = (
            np.linalg.norm(np.diff(j[..., self.legs, :], axis=-2), axis=-1)
            for j in (joints, body.joints_mean)
        )
        travel = (self.places[frames[..., 0]] - self.places[centre[:, :1]]) * (leg / mean_leg)[..., None]
        world, place = body.forward_kinematics(
            flat_joints, local.reshape(-1, bones, 3, 3), travel.reshape(-1, 3).astype(np.float32)
        )
        readout = self.keypoint_mean + np.tensordot(shape, self.keypoint_basis, 1)
        stacked = stack_transforms(world, place, flat_joints).reshape(chunks, length, -1, 3)
        keypoints = np.matmul(readout[:, None], stacked)
        starts = np.arange(CHUNK_WINDOWS) * CHUNK_SPACING
        windows = keypoints[:, starts[:, None] + np.arange(WINDOW)].reshape(count, WINDOW, -1, 3)
        middle = starts + WINDOW // 2
        return {
            "windows": (spoil(windows, rng) if self.noisy else windows).astype(np.float32),
            "shape": np.repeat(shape, CHUNK_WINDOWS, axis=0),
            "known_shape": np.repeat(known, CHUNK_WINDOWS, axis=0).astype(np.float32),
            "rotations": world.reshape(chunks, length, bones, 3, 3)[:, middle].reshape(count, bones, 3, 3),
            "positions": place.reshape(chunks, length, bones, 3)[:, middle].reshape(count, bones, 3),
        }


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
        shift = positions - (rotations @ joints[..., None])[..., 0]
        rest = self._mean[chosen] + torch.tensordot(shape, self._basis[:, chosen], 1)
        blend = torch.matmul(self._weights[chosen], torch.cat([rotations.flatten(2), shift], dim=-1))
        turned = (blend[..., :9].unflatten(-1, (3, 3)) * rest[..., None, :]).sum(-1)
        return turned + blend[..., 9:]


class Trainer:
    """The network, its optimiser and all else that a checkpoint holds, so that a slice resumes exactly."""

    def __init__(
        self, folder: Path | None, seed: int = 0, steps: int = STEPS, body: BodyModel | None = None
    ) -> None:
        torch.manual_seed(seed)
        self.body = body or load_body()
        self.sampler = WindowSampler(self.body, folder, seed)
        self.network = VertexPredictor(self.body)
        self.average = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=LEARNING_RATE, weight_decay=1e-3)
        self.step, self.steps, self.seed, self.seconds = 0, steps, seed, 0.0
        self._window_loss = WindowLoss(self.body)

    def loss(self, count: int = BATCH) -> torch.Tensor:
        """Draw a batch and return its loss; the very first one gives the network its inputs' means."""
        batch = {name: torch.from_numpy(value) for name, value in self.sampler.batch(count).items()}
        if self.step == 0:
            self.network.standardise(batch["windows"], batch["bones"])
        return self._window_loss(self.network, batch)

    def train(self, minutes: float, checkpoint: Path) -> None:
        """Train until the last step or for ``minutes``; the checkpoint is never more than a minute behind."""
        deadline, saved, shown = time.monotonic() + 60 * minutes, time.monotonic(), []
        self.network.train()
        while self.step < self.steps:
            begun = time.monotonic()
            warm = min(1.0, (self.step + 1) / WARM_UP)
            rate = LEARNING_RATE * warm * 0.5 * (1 + math.cos(math.pi * self.step / self.steps))
            for group in self.optimiser.param_groups:
                group["lr"] = max(rate, 1e-5)
            loss = self.loss()
            self.optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 0.1)
            self.optimiser.step()
            self.step += 1
            decay = min(AVERAGING, self.step / (self.step + 10))
            with torch.no_grad():
                for name, value in self.network.state_dict().items():
                    self.average[name].lerp_(value, 1 - decay)
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
        network.load_state_dict(self.average)
        return network.eval()

    def save(self, checkpoint: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "network": self.network.state_dict(), "average": self.average,
            "optimiser": self.optimiser.state_dict(), "rng": self.sampler.rng.bit_generator.state,
            "step": self.step, "steps": self.steps, "seed": self.seed, "seconds": self.seconds,
            "body": self.body.name,
        }  # fmt: skip
        with whole_file(checkpoint) as aside:
            torch.save(state, aside)

    def resume(self, checkpoint: Path) -> None:
        """Go on from a checkpoint exactly where it was written; OSError where it is of another body."""
        state = torch.load(checkpoint, weights_only=True)
        trained = state.get("body", "anny")  # checkpoints from before there were others do not say
        if trained != self.body.name:
            raise OSError(f"{checkpoint} is a training of the body {trained}, not {self.body.name}.")
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.sampler.rng.bit_generator.state = state["rng"]
        self.step, self.steps, self.seed = state["step"], state["steps"], state["seed"]
        self.seconds = state["seconds"]


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


def run(args: argparse.Namespace) -> None:
    """Train a slice, export the weights, and once trained to the end measure them on held-out people."""
    torch.set_num_threads(args.threads)
    body, folder, name = load_body(), WEIGHTS, NETWORK_NAME
    checkpoint = args.checkpoint or Path("runs/vertices.pt")
    if args.body != body.name:
        try:
            file = model_file(args.body, args.body_path)
            body, folder, name = load_body(args.body, file), file.parent, predictor_name(file)
        except ValueError as error:
            raise OSError(str(error)) from error
        checkpoint = args.checkpoint or Path(f"runs/vertices_{args.body}.pt")
    folder = args.output or folder
    _check_writable(folder)
    trainer = Trainer(args.data, args.seed, args.steps, body)
    if args.resume:
        trainer.resume(checkpoint)
    trainer.train(args.minutes, checkpoint)
    print(f"step {trainer.step} of {trainer.steps}; go on with --resume --checkpoint {checkpoint}")
    export(trainer.averaged(), folder, name)
    print(folder / f"{name}.onnx")
    if trainer.step == trainer.steps:
        from .evaluate_vertices import record

        minutes = round(trainer.seconds / 60, 1)
        record(folder, name, args.data, body, {"steps": trainer.steps, "minutes": minutes})


def _check_writable(folder: Path) -> None:
    """See that the weights can be written where they are to go, before hours of training."""
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
