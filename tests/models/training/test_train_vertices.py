# SPDX-License-Identifier: GPL-3.0-or-later
"""The vertex predictor learns, goes on as if it had never stopped, and is exported as it was trained."""

import numpy as np
import pytest
from sparse2dense.models.errors import InputError
from sparse2dense.models.shipped import WEIGHTS
from sparse2dense.models.training import train_vertices as training
from sparse2dense.models.training import window_sampler
from sparse2dense.models.training.evaluate_vertices import exported_network

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def small_training(held_out):
    """Train on the excerpt in tests/data alone, with few fitted shapes: seconds instead of an hour."""
    patch = pytest.MonkeyPatch()
    motion = ("excerpt", held_out["rotations"], held_out["translation"])
    patch.setattr(window_sampler, "load_motions", lambda folder, subjects, body: [motion])
    patch.setattr(window_sampler, "FIT_POOL", 20)
    patch.setattr(training, "BATCH", 32)
    patch.setattr(training, "WARM_UP", 5)
    yield lambda steps=15, seed=0: training.Trainer(None, seed, steps)
    patch.undo()


@pytest.fixture(scope="module")
def network():
    return exported_network(WEIGHTS)


def tensors(inputs):
    return {name: torch.from_numpy(value) for name, value in inputs.items()}


def test_the_loss_falls_and_a_slice_resumes_exactly(small_training, tmp_path):
    checkpoint = tmp_path / "runs" / "vertices.pt"
    whole = small_training()

    def loss_on_fixed_windows():
        whole.sampler.rng = np.random.default_rng(1)
        with torch.no_grad():
            return np.mean([whole.loss(64).item() for _ in range(3)])

    before = loss_on_fixed_windows()
    whole.train(5, tmp_path / "whole.pt")
    assert loss_on_fixed_windows() < 0.97 * before

    part = small_training()
    part.train(0, checkpoint)  # a slice of no time is one step long
    assert part.step == 1
    resumed = small_training(seed=5)
    resumed.resume(checkpoint)
    part.train(5, tmp_path / "ignored.pt")
    resumed.train(5, tmp_path / "ignored.pt")
    for name, value in resumed.network.state_dict().items():
        torch.testing.assert_close(value, part.network.state_dict()[name], rtol=0, atol=0)


def test_a_checkpoint_of_earlier_versions_is_gone_on_from(small_training, tmp_path):
    """They kept the rate of the last step with the optimiser, and nothing else of the schedule."""
    part = small_training()
    part.train(0, tmp_path / "new.pt")
    state = torch.load(tmp_path / "new.pt", weights_only=True)
    for group in state["optimiser"]["param_groups"]:
        del group["initial_lr"]
    del state["body"]
    torch.save(state, tmp_path / "old.pt")
    resumed = small_training(seed=5)
    resumed.resume(tmp_path / "old.pt")
    part.train(5, tmp_path / "ignored.pt")
    resumed.train(5, tmp_path / "ignored.pt")
    assert resumed.step == part.step == 15
    for name, value in resumed.averaged().state_dict().items():
        torch.testing.assert_close(value, part.averaged().state_dict()[name], rtol=0, atol=0)


def test_the_rate_of_the_last_steps_is_the_least(small_training, tmp_path):
    trainer, rates = small_training(), []
    loss = trainer.loss
    trainer.loss = lambda: rates.append(trainer.optimiser.param_groups[0]["lr"]) or loss()
    trainer.train(5, tmp_path / "vertices.pt")
    assert rates[0] == pytest.approx(2e-3 / 5)
    assert max(rates) == rates[4] == pytest.approx(1e-3 * (1 + np.cos(np.pi * 4 / 15)))
    assert rates[-1] == pytest.approx(1e-3 * (1 + np.cos(np.pi * 14 / 15)))
    assert trainer.optimiser.param_groups[0]["lr"] == pytest.approx(1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"body": "smplx"}, "is a training of the body smplx, not anny"),
        ({"network": {}}, "another configuration"),
        ({"optimiser": {}}, "another configuration"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(small_training, tmp_path, changes, said):
    path = tmp_path / "vertices.pt"
    small_training().save(path)
    torch.save(torch.load(path, weights_only=True) | changes, path)
    with pytest.raises(InputError, match=said) as refused:
        small_training().resume(path)
    assert refused.value.code == "checkpoint"
    with pytest.raises(InputError, match="no checkpoint") as refused:
        small_training().resume(tmp_path / "none.pt")
    assert refused.value.code == "checkpoint"


def test_the_exported_network_equals_the_trained_one(small_training, tmp_path):
    trainer = small_training()
    trainer.train(0.01, tmp_path / "vertices.pt")
    training.export(trainer.averaged(), tmp_path)
    inputs, _, _ = trainer.sampler.inputs(trainer.sampler.draw(12))
    exported = exported_network(tmp_path)(**inputs)
    with torch.inference_mode():
        rotations, positions = trainer.averaged()(**tensors(inputs))
    np.testing.assert_allclose(exported["rotations"], rotations, atol=1e-5)
    np.testing.assert_allclose(exported["positions"], positions, atol=1e-5)
    assert (tmp_path / "vertex_predictor.safetensors").stat().st_size < 3_000_000


def test_the_shipped_onnx_and_torch_weights_are_one_network(body, network, small_training):
    from safetensors.torch import load_file
    from sparse2dense.models.vertex_predictor import VertexPredictor

    module = VertexPredictor(body)
    module.load_state_dict(load_file(WEIGHTS / "vertex_predictor.safetensors"))
    trainer = small_training()
    inputs, _, _ = trainer.sampler.inputs(trainer.sampler.draw(12))
    exported = network(**inputs)
    with torch.inference_mode():
        rotations, positions = module.eval()(**tensors(inputs))
    np.testing.assert_allclose(exported["rotations"], rotations, atol=1e-5)
    np.testing.assert_allclose(exported["positions"], positions, atol=1e-5)
