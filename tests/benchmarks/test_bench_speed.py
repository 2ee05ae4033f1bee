# SPDX-License-Identifier: GPL-3.0-or-later
"""What the speed bench times is what it says, and what it decodes is what it should."""

import sys
import time

import numpy as np
import pytest
from sparse2dense.benchmarks import bench_speed, watched
from sparse2dense.inference.format.container import read_clip


@pytest.fixture(scope="module")
def clip(filmed_clip):
    return read_clip(filmed_clip)


def test_times_are_of_one_unit_of_work():
    found = bench_speed.timed(lambda: time.sleep(0.05), runs=3, count=5)
    assert 10 <= found["wall_ms"] < 14
    assert found["processor_ms"] < 5


def test_a_watched_process_tells_its_own_memory_and_its_errors():
    ballast = bytearray(150 << 20)  # of the watcher's parent, not of what is watched
    command = [sys.executable, "-m", "sparse2dense.benchmarks.watched", sys.executable, "-c"]
    small, large = (
        bench_speed.json.loads(bench_speed.subprocess.check_output([*command, code]))
        for code in ("pass", "b = bytearray(80 << 20)")
    )
    del ballast
    if small["peak_mib"] is not None:  # Windows does not tell
        assert small["peak_mib"] < 60
        assert large["peak_mib"] - small["peak_mib"] == pytest.approx(80, abs=8)
    assert small["error"] is None
    failed = watched.watch([sys.executable, "-c", "raise SystemExit('no such thing')"])
    assert failed["error"] == "no such thing"


def test_longer_clips_go_to_and_fro_without_a_jump(clip):
    longer = bench_speed.lengthened(clip, 3 * clip.frames)
    assert longer.frames == 3 * clip.frames
    assert np.array_equal(longer.keypoints[: clip.frames], clip.keypoints)
    steps = np.abs(np.diff(longer.keypoints, axis=0)).max()
    assert steps == np.abs(np.diff(clip.keypoints, axis=0)).max()


def test_a_larger_canvas_shows_the_same(clip):
    larger = bench_speed.scaled(clip, 512)
    assert min(larger.width, larger.height) == 512
    point = clip.keypoints[0, 0]
    there = larger.camera.project(point) / [larger.width, larger.height]
    np.testing.assert_allclose(there, clip.camera.project(point) / [clip.width, clip.height], rtol=1e-5)
    assert larger.references[0].picture.shape == (larger.height, larger.width, 3)


def test_decoding_is_watched_from_outside(clip, tmp_path):
    found = bench_speed.measure_decoding(clip, 1.0, "mesh", tmp_path, threads=1, runs=1)
    assert found["frames"] == 25
    assert found["written_bytes"] > 25 * 13718 * 12
    assert found["seconds"] > 0
    assert not (tmp_path / "decoded").exists()


def test_the_costs_are_those_of_the_layers():
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from sparse2dense.models.generator import ReferenceEncoder

    inputs = {
        "reference": np.zeros((1, 3, 64, 64), np.float32),
        "mask": np.zeros((1, 1, 64, 64), np.float32),
        "plate": np.zeros((1, 3, 64, 64), np.float32),
    }
    products = []
    encoder = ReferenceEncoder()
    for layer in encoder.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(
                lambda layer, _, made: products.append(made[0].numel() * layer.weight[0].numel())
            )
    encoder(**{name: torch.from_numpy(value) for name, value in inputs.items()})
    found = bench_speed.measure_modules({"reference_encoder": inputs})["reference_encoder"]
    assert found["gmac"] == pytest.approx(sum(products) / 1e9)
    weights = sum(value.numel() for value in encoder.parameters())
    assert found["million_weights"] == pytest.approx(weights / 1e6)
