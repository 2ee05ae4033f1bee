# SPDX-License-Identifier: GPL-3.0-or-later
"""The joint training: one gradient from picture to keypoints, slices that resume, shares that add up."""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("h5py")

import cv2
import h5py
import torch
from safetensors.torch import load_file, save_file
from sparse2dense.inference.decoding.vertices import VertexDecoder
from sparse2dense.models.camera import Camera
from sparse2dense.models.errors import InputError, S2DError
from sparse2dense.models.shaped_body import ShapedBody
from sparse2dense.models.shipped import WEIGHTS
from sparse2dense.models.training import train_joint
from sparse2dense.models.training.batches import StepBatches
from sparse2dense.models.training.checkpoints import read_checkpoint
from sparse2dense.models.training.config import FOLDER, JointConfig, read_config
from sparse2dense.models.training.losses import LossWeights, Vgg
from sparse2dense.models.training.networks import predictor_inputs
from sparse2dense.models.training.window_sampler import WindowSampler
from sparse2dense.models.windows import sample_windows

EXPORTED = {"vertex_predictor": "vertex_predictor", "reference_encoder": "encoder", "generator": "generator"}
CAMERA = Camera(230, 230, 80, 112)
SIZE = (224, 160)
CONFIG = JointConfig(
    steps=50,
    people=2,
    examples=3,
    first=3,
    part=(96, 96),
    motion_windows=0,
    perceptual_stages=1,
    perceptual_side=32,
    pretrained_predictor=False,
)


def example(body, held_out, rng):
    """A person cut out of one cloth before a plain plate, in poses of a held-out motion, as it is stored."""
    vertices = held_out["vertices"] - held_out["vertices"].reshape(-1, 3).mean(0) + [0, 0, 1.4]
    vertices = vertices.astype(np.float32)
    windows = sample_windows(body.keypoints(vertices), 30, 0, len(vertices))
    poses = np.array([0, 20, 10, 11])  # two references, two frames in a row
    cloth = cv2.resize(rng.integers(0, 255, (30, 20, 3)).astype(np.uint8), SIZE[::-1])
    plate = np.full((*SIZE, 3), 90, np.uint8)
    masks = np.zeros((len(poses), *SIZE), np.uint8)
    for mask, pose in zip(masks, poses, strict=True):
        for triangle in np.round(CAMERA.project(vertices[pose])[body.faces]).astype(np.int32):
            cv2.fillConvexPoly(mask, triangle, 255)
    pictures = np.where(masks[..., None] > 0, cloth, plate)
    shift = (
        CAMERA.project(vertices[poses[:2]]).mean(1)[None]
        - CAMERA.project(vertices[poses[2:]]).mean(1)[:, None]
    )
    person = masks[2:, ::2, ::2] > 0
    root = vertices[0].mean(0)
    return {
        "references": pictures[:2],
        "reference_masks": masks[:2],
        "reference_plates": plate[None],
        "plates": plate[None],
        "frames": pictures[2:],
        "masks": masks[2:],
        "flow": np.broadcast_to(shift[..., None, None], (2, 2, 2, 112, 80)).astype(np.float16),
        "known": person,
        "visible": np.repeat(person[:, None], 2, 1),
        "vertices": (vertices[poses[2:]] - root).astype(np.float16),
        "reference_vertices": (vertices[poses[:2]] - root).astype(np.float16),
        "root": root,
        "shape": held_out["shape"].astype(np.float32),
        "windows": windows[poses[2:]].astype(np.float32),
        "reference_windows": windows[poses[:2]].astype(np.float32),
        "known_shape": held_out["shape"].astype(np.float32),
        "camera": np.float32([CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy]),
    }


@pytest.fixture(scope="module")
def cache(body, held_out, tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("examples")
    for index in range(3):
        np.savez(folder / f"{index:06d}.npz", **example(body, held_out, np.random.default_rng(index)))
    return folder


@pytest.fixture(scope="module")
def hed(tmp_path_factory):
    """A folder with random weights laid out as HED's file is."""
    path = tmp_path_factory.mktemp("hed") / train_joint.HED_WEIGHTS
    rng, channels = np.random.default_rng(0), 3
    with h5py.File(path, "w") as file:
        for stage, (count, width) in enumerate(((2, 64), (2, 128)), 1):
            for index in range(count):
                group = f"block{stage}/layers/conv2d{f'_{index}' if index else ''}/vars"
                scale = (9 * channels) ** -0.5
                file[f"{group}/0"] = rng.normal(0, scale, (3, 3, channels, width)).astype(np.float32)
                file[f"{group}/1"] = np.zeros(width, np.float32)
                channels = width
    return path


@pytest.fixture
def training(body, hed):
    def make(**changes):
        config = dataclasses.replace(CONFIG, **changes)
        return train_joint.Joint(config, body, "cpu", Vgg(hed, config.perceptual_stages))

    return make


def batch_of(cache, body, step=0, config=CONFIG, share=slice(None)):
    return StepBatches(cache, body, config, share=share)[step]


def parameters(networks):
    return {name: value.clone() for name, value in networks.state_dict().items()}


def test_batches_made_ahead_are_those_of_their_steps(cache, body):
    """Whoever makes them, and a process's share of one is that part of the whole."""
    source = StepBatches(cache, body, CONFIG).from_step(3, loaders=1)
    for step in (3, 4):
        made, wanted, share = (
            next(source),
            batch_of(cache, body, step),
            batch_of(cache, body, step, share=slice(1, 2)),
        )
        for name, value in wanted.items():
            torch.testing.assert_close(made[name], value, rtol=0, atol=0)
            torch.testing.assert_close(share[name], value[len(value) // 2 :], rtol=1e-4, atol=1e-5)


def test_shipped_configurations_are_read():
    names = [path.stem for path in FOLDER.glob("*.toml")]
    assert {"release", "finish", "tiny", "gpu"} <= set(names)
    for name in names:
        assert read_config(name).steps > 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps = 3\nstep_size = 2", "unknown key 'step_size'"),
        ("steps = 3\n[losses]\npixel = 1.0", "unknown key 'pixel'"),
        ("people = 3", "'steps' is missing"),
        ("steps = true", "steps = True"),
        ("steps = 3\nlearning_rate = -1", "learning_rate"),
        ("steps = 3\npart = [100, 96]", "multiples of 8"),
        ("steps =", "not TOML"),
    ],
)
def test_a_configuration_that_is_wrong_is_refused(tmp_path, text, said):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_config(path)


def test_predicted_vertices_are_decodings(training, body, held_out):
    """The same keypoints give the same vertices here and where clips are decoded."""
    networks = training().networks
    keypoints, shape = held_out["keypoints"].astype(np.float32), held_out["shape"].astype(np.float32)
    windows = sample_windows(keypoints, 30, 10, 13)[None].astype(np.float32)

    def network(**inputs):
        found = networks.vertex_predictor(**{name: torch.from_numpy(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in zip(("rotations", "positions"), found, strict=True)}

    with torch.no_grad():
        inputs = predictor_inputs(body, windows, shape[None])
        found = networks.vertices({name: torch.from_numpy(value) for name, value in inputs.items()})
        wanted = VertexDecoder(ShapedBody(body, shape), 30, network).predict(keypoints, 10, 13)
    np.testing.assert_allclose(found[0].numpy(), wanted, atol=1e-5)


def test_the_pictures_losses_reach_the_vertex_predictor_only_when_joint(training, cache, body):
    batch = batch_of(cache, body)
    alone = LossWeights(vertices=0, perceptual=0)
    for as_one in (True, False):
        networks = (subject := training(joint=as_one, losses=alone)).networks
        losses, _ = subject.losses(batch, networks(batch))
        losses["pixels"].backward()
        gradients = [value.grad for value in networks.vertex_predictor.parameters()]
        reached = sum(0.0 if grad is None else float(grad.abs().sum()) for grad in gradients)
        assert (reached > 0) == as_one
        assert float(networks.generator.heads.weight.grad.abs().sum()) > 0


def test_motion_without_pictures_leads_the_vertex_predictor(training, cache, body, data_folder):
    """Its gradient is not drowned in the pictures', which is as large and mostly noise."""
    config = dataclasses.replace(CONFIG, motion_windows=32)
    batch = StepBatches(cache, body, config, WindowSampler(body, data_folder, 0))[0]
    subject = training(motion_windows=32)
    losses, _ = subject.losses(batch, subject.networks(batch))
    learning = list(subject.networks.vertex_predictor.parameters())
    size = {}
    for name in ("windows", "perceptual", "pixels"):
        gradients = torch.autograd.grad(losses[name], learning, retain_graph=True, allow_unused=True)
        size[name] = sum(float(each.square().sum()) for each in gradients if each is not None) ** 0.5
    assert size["windows"] > size["perceptual"] > 0
    assert size["windows"] > size["pixels"] > 0


def test_without_a_mesh_the_keypoints_own_motion_leads(training, cache, body):
    subject = training(mesh=False)
    batch = batch_of(cache, body)
    flow = subject.networks(batch).layers.flow
    moved = (batch["reference_keypoints"][:, None] - batch["keypoints"][:, :, None]).flatten(0, 1)
    low, high = moved.amin(2)[..., None, None], moved.amax(2)[..., None, None]
    assert ((flow >= low - 1e-3) & (flow <= high + 1e-3)).all()
    assert "vertices" in subject.step(batch)


def test_steps_lower_the_loss_and_a_checkpoint_goes_on_exactly(training, cache, body, tmp_path, monkeypatch):
    monkeypatch.setattr(train_joint, "_WARM_UP", 1)
    subject = training()
    batch = batch_of(cache, body, config=dataclasses.replace(CONFIG, people=1))
    losses = [subject.step(batch, 1.0)["total"] for _ in range(6)]
    assert losses[-1] < 0.98 * losses[0]
    subject.save(tmp_path / "joint.pt")
    assert (tmp_path / "joint.pt").stat().st_size < 15e6
    again = training()
    again.load(tmp_path / "joint.pt")
    assert (again.steps, again.seconds) == (6, 6.0)
    for each in (subject, again):
        each.step(batch_of(cache, body, each.steps), 1.0)
    for name, value in parameters(again.networks).items():
        torch.testing.assert_close(value, subject.networks.state_dict()[name], rtol=0, atol=0)
    for name, value in parameters(again.average).items():
        torch.testing.assert_close(value, subject.average.state_dict()[name], rtol=0, atol=0)


def test_a_checkpoint_of_earlier_versions_is_gone_on_from(training, cache, body, tmp_path):
    """They kept the rate of the last step with the optimiser, and nothing else of the schedule."""
    subject = training(people=1, minutes=1.0)
    for step in range(2):
        subject.step(batch_of(cache, body, step, subject.config), 15.0)
    subject.save(tmp_path / "new.pt")
    state = torch.load(tmp_path / "new.pt", weights_only=True)
    assert set(state) == {"networks", "average", "judge", "optimiser", "steps", "seconds"}
    for group in state["optimiser"]["param_groups"]:
        del group["initial_lr"]
    torch.save(state, tmp_path / "old.pt")
    again = training(people=1, minutes=1.0)
    again.load(tmp_path / "old.pt")
    for step in range(2, 4):
        for each in (subject, again):
            each.step(batch_of(cache, body, step, subject.config), 15.0)
    for one, other in ((subject.networks, again.networks), (subject.average, again.average)):
        for name, value in parameters(one).items():
            torch.testing.assert_close(other.state_dict()[name], value, rtol=0, atol=0)


def test_rates_rise_first_and_fall_with_steps_or_with_time(training, cache, body, monkeypatch):
    monkeypatch.setattr(train_joint, "_WARM_UP", 2)
    subject = training(people=1, steps=8, minutes=1.0)
    largest = [CONFIG.learning_rate, CONFIG.predictor_learning_rate]

    def shares():
        rates = [group["lr"] for group in subject.optimiser.param_groups]
        return [rate / most for rate, most in zip(rates, largest, strict=True)]

    batch = batch_of(cache, body, config=subject.config)
    assert shares() == pytest.approx([0.5, 0.5])
    subject.step(batch, 0.0)
    assert subject.done == 1 / 8
    assert shares() == pytest.approx([0.02 + 0.49 * (1 + np.cos(np.pi / 8))] * 2)
    subject.step(batch, 30.0)  # half of its time, a quarter of its steps
    assert subject.done == 0.5
    assert shares() == pytest.approx([0.51, 0.51])
    subject.step(batch, 30.0)
    assert subject.done == 1.0
    assert shares() == pytest.approx([0.02, 0.02])


def test_a_step_that_is_not_finite_changes_nothing_and_many_end_the_training(
    training, cache, body, monkeypatch
):
    monkeypatch.setattr(train_joint, "_MAX_BAD_STEPS", 2)
    subject = training(people=1)
    batch = batch_of(cache, body, config=subject.config)
    before = parameters(subject.networks)
    bad = batch | {"frames": batch["frames"] * float("nan")}
    assert subject.step(bad) == {}
    for name, value in before.items():
        torch.testing.assert_close(subject.networks.state_dict()[name], value)
    with pytest.raises(S2DError, match="diverged"):
        for _ in range(3):
            subject.step(bad)


def test_an_adversary_learns_too(training, cache, body, tmp_path):
    subject = training(people=1, losses=LossWeights(adversarial=0.1))
    before = parameters(subject.judge)
    losses = subject.step(batch_of(cache, body, config=subject.config))
    assert losses["features"] > 0
    assert any((before[name] != value).any() for name, value in subject.judge.state_dict().items())
    subject.save(tmp_path / "joint.pt")
    assert (tmp_path / "joint.pt").stat().st_size < 15e6
    with pytest.raises(InputError, match="another configuration"):
        training().load(tmp_path / "joint.pt")


def test_networks_of_an_earlier_training_start_a_new_one(training, tmp_path):
    """Also those that drew from one reference alone, and knew no vertex predictor."""
    old = {
        name: torch.full_like(value, 0.25)
        for name, value in training().networks.state_dict().items()
        if not name.startswith("vertex_predictor.") and "preference" not in name
    }
    subject = training()
    subject.start_from(old, "old.pt")
    for networks in (subject.networks, subject.average):
        assert networks.generator.decode_half.weight.eq(0.25).all()
        assert not networks.generator.dense_motion.preference.weight.any()
    with pytest.raises(InputError, match=r"decode_half"):
        subject.start_from({"generator.decode_half.weight": torch.zeros(3)}, "old.pt")


@pytest.fixture
def arguments(cache, hed, tmp_path):
    def make(config, *more):
        path = tmp_path / "config.toml"
        values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
        values |= {"losses": {}, "part": list(config.part)}
        path.write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items()))
        folders = {"config": path, "data": hed.parent, "out": tmp_path / "run", "cache": cache}
        given = [text for name, value in folders.items() for text in (f"--{name}", str(value))]
        return [*given, "--renderers", "0", "--loaders", "0", "--threads", "1", "--device", "cpu", *more]

    return make


def run_command(arguments):
    parser = argparse.ArgumentParser()
    train_joint.add_arguments(parser)
    train_joint.run(parser.parse_args(arguments))


def test_slices_train_to_the_end_and_leave_curves_and_sheets(arguments, cache, tmp_path, monkeypatch):
    exported, recorded = {}, []
    monkeypatch.setattr(
        train_joint, "export_pictures", lambda encoder, *_: exported.update(encoder.state_dict())
    )
    monkeypatch.setattr(train_joint, "record", lambda folder, *given: recorded.append((folder, given[-1])))
    config = dataclasses.replace(CONFIG, people=1, steps=4)
    run_command(arguments(config, "--minutes", "0.001"))
    with pytest.raises(InputError, match="--resume"):
        run_command(arguments(config))
    run_command(arguments(config, "--resume", "--export", str(tmp_path / "weights")))
    state = read_checkpoint(tmp_path / "run" / train_joint.CHECKPOINT)
    assert state["steps"] == 4
    assert state["average"]["vertex_predictor.window_mean"].any()  # it starts from nothing here
    assert len(list((tmp_path / "run").glob("sheet_*.jpg"))) == 2
    assert list((tmp_path / "run" / "curves").glob("events*"))
    assert (tmp_path / "weights" / "vertex_predictor.onnx").is_file()
    for name, value in exported.items():
        torch.testing.assert_close(value, state["average"][f"encoder.{name}"])
    [(folder, told)] = recorded  # once trained to the end, the vertices are measured
    assert (folder, told["joint steps"]) == (tmp_path / "weights", 4)


def test_what_is_no_checkpoint_is_refused(arguments, tmp_path):
    (tmp_path / "evil.pt").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(InputError, match=r"evil\.pt"):
        run_command(arguments(CONFIG, "--init", str(tmp_path / "evil.pt")))


def test_it_goes_on_from_the_shipped_weights(arguments, tmp_path):
    run_command(arguments(dataclasses.replace(CONFIG, steps=1), "--init", str(WEIGHTS)))
    state = read_checkpoint(tmp_path / "run" / train_joint.CHECKPOINT)["networks"]
    for name in ("reference_encoder", "generator"):
        for key, value in load_file(WEIGHTS / f"{name}.safetensors").items():
            torch.testing.assert_close(state[f"{EXPORTED[name]}.{key}"], value, atol=1e-3, rtol=0)
    with pytest.raises(InputError, match="vertex_predictor"):
        run_command(arguments(CONFIG, "--init", str(tmp_path), "--out", str(tmp_path / "other")))


def test_it_starts_from_the_average_of_several_trainings(arguments, tmp_path):
    shipped = {name: load_file(WEIGHTS / f"{name}.safetensors") for name in EXPORTED}
    for name, weights in shipped.items():
        save_file({key: value + 2 for key, value in weights.items()}, tmp_path / f"{name}.safetensors")
    several = ("--init", str(WEIGHTS), str(WEIGHTS), str(tmp_path))
    run_command(arguments(dataclasses.replace(CONFIG, steps=1), *several, "--minutes", "0"))
    state = read_checkpoint(tmp_path / "run" / train_joint.CHECKPOINT)["average"]
    for name, weights in shipped.items():
        for key, value in weights.items():
            found = state[f"{EXPORTED[name]}.{key}"]
            torch.testing.assert_close(found, value + 2 / 3, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_two_processes_give_what_one_gives(arguments, tmp_path):
    config = dataclasses.replace(CONFIG, steps=3)
    command = arguments(config)
    run_command(command)
    alone = read_checkpoint(tmp_path / "run" / train_joint.CHECKPOINT)
    command[command.index("--out") + 1] = str(tmp_path / "shared")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [*launch, "-m", "sparse2dense.inference", "train", "joint", *command],
        check=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=Path(tmp_path),
    )
    shared = read_checkpoint(tmp_path / "shared" / train_joint.CHECKPOINT)
    assert shared["steps"] == alone["steps"] == 3
    for name, value in alone["networks"].items():
        torch.testing.assert_close(shared["networks"][name], value, rtol=1e-3, atol=2e-5)
