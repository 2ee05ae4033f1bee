# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipped networks run, and the two runtimes agree."""

import subprocess
import sys

import numpy as np
import pytest
from sparse2dense.inference.decoding.vertices import VertexDecoder
from sparse2dense.inference.runtime import backends
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.errors import InputError, S2DError
from sparse2dense.models.shaped_body import ShapedBody

RANDOM = np.random.default_rng(7)


def noise(*shape, low=0.0, high=1.0):
    return RANDOM.uniform(low, high, shape).astype(np.float32)


@pytest.fixture(scope="module")
def pictures():
    return {"reference": noise(1, 3, 64, 96), "mask": noise(1, 1, 64, 96), "plate": noise(1, 3, 64, 96)}


def test_missing_weights_and_unknown_devices_are_said_in_one_line():
    with pytest.raises(S2DError, match=r"nothing\.onnx is missing"):
        backends.load_network("nothing", "cpu")
    with pytest.raises(InputError, match="choose one of"):
        backends.load_network("generator", "toaster")


def test_the_processor_is_what_runs_where_no_gpu_is(monkeypatch):
    monkeypatch.setattr(backends, "_nvidia_gpu_present", lambda: False)
    assert backends.resolve_device() == backends.resolve_device("cpu") == "cpu"
    monkeypatch.setattr(backends, "_nvidia_gpu_present", lambda: True)
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None)
    assert backends.resolve_device() == "cpu"
    for device in ("cuda", "mps"):
        with pytest.raises(InputError, match=f"--device {device} needs PyTorch.*--device cpu") as caught:
            backends.resolve_device(device)
        assert caught.value.code == "device"


@pytest.mark.parametrize(("device", "found"), [("auto", "cuda"), ("cuda", "cuda"), ("mps", "mps")])
def test_a_gpu_is_used_where_pytorch_can_use_it(monkeypatch, device, found):
    import torch

    monkeypatch.setattr(backends, "_nvidia_gpu_present", lambda: True)
    for usable in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda usable=usable: usable and device != "mps")
        monkeypatch.setattr(
            torch.backends.mps, "is_available", lambda usable=usable: usable and device == "mps"
        )
        if usable or device == "auto":
            assert backends.resolve_device(device) == (found if usable else "cpu")
        else:
            with pytest.raises(InputError, match=f"no usable {device} device"):
                backends.resolve_device(device)


def test_a_network_of_ones_own_is_looked_at(tmp_path):
    (tmp_path / "mine.onnx").write_bytes(b"no network")
    with pytest.raises(InputError, match=r"mine\.onnx is no network.*train it again") as caught:
        backends.load_network(tmp_path / "mine", "cpu")
    assert caught.value.code == "weights"


def test_decoding_on_the_processor_never_loads_torch():
    program = (
        "import sys\n"
        "from sparse2dense.inference import decode\n"
        "from sparse2dense.inference.runtime.backends import load_network\n"
        "load_network('generator', 'cpu')\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("references", [1, 2, 3])
def test_torch_and_onnx_runtime_draw_the_same_part_of_a_picture(pictures, references):
    """Equal to a 1/1000 of full scale: a quarter of one of a picture's 256 steps."""
    from sparse2dense.inference.runtime.backend_torch import TorchNetwork

    drawn = {}
    for kind, load in (
        ("onnx", lambda name: backends.load_network(name, "cpu")),
        ("torch", lambda name: TorchNetwork(name, "cpu")),
    ):
        RANDOM.bit_generator.state = np.random.default_rng(8).bit_generator.state
        features = load("reference_encoder")(**pictures)
        drawn[kind] = load("generator")(
            **{name: np.stack([value] * references, 1) for name, value in features.items()},
            references=noise(1, references, 3, 64, 96),
            masks=noise(1, references, 1, 64, 96),
            plate=pictures["plate"][..., 16:56, 8:88],
            reference_coverage=noise(1, references, 1, 64, 96),
            motion=np.concatenate(
                [noise(1, references, 2, 40, 80, low=-30, high=30), noise(1, references, 2, 40, 80)], axis=2
            ),
            keypoints=noise(1, 23, 2, high=64),
            reference_keypoints=noise(1, references, 23, 2, high=64),
            origin=np.float32([[8, 16]]),
            shares=noise(1, references),
        )["picture"]
    assert drawn["onnx"].shape == (1, 3, 40, 80) and np.ptp(drawn["onnx"]) > 0.1
    np.testing.assert_allclose(drawn["torch"], drawn["onnx"], atol=1e-3)


def test_torch_and_onnx_runtime_place_the_same_vertices(make_motion):
    """Within a tenth of a millimetre."""
    from sparse2dense.inference.runtime.backend_torch import TorchNetwork

    clip, body = make_motion(8), load_body()
    networks = (backends.load_network("vertex_predictor", "cpu"), TorchNetwork("vertex_predictor", "cpu"))
    by_onnx, by_torch = (
        VertexDecoder(ShapedBody(body, clip.shape), clip.fps, network).predict(clip.keypoints, 0, 8)
        for network in networks
    )
    np.testing.assert_allclose(by_torch, by_onnx, atol=1e-4)
