# SPDX-License-Identifier: GPL-3.0-or-later
"""The measuring of pictures at a rate is right, and so is what is made of the figures."""

import numpy as np
import pytest

pytest.importorskip("anny")
pytest.importorskip("imageio_ffmpeg")
pytest.importorskip("bjontegaard")
pytest.importorskip("flip_evaluator")

import torch
from sparse2dense.benchmarks.rate_clips import PACKAGED, Prepared, forth_and_back
from sparse2dense.benchmarks.rate_curves import crossing, front
from sparse2dense.benchmarks.rate_metrics import bursts, ms_ssim
from sparse2dense.benchmarks.rate_summary import compare, summarise, tables
from sparse2dense.benchmarks.results import Cache, read_results, write_results
from sparse2dense.inference.cli import main
from sparse2dense.inference.film.reader import VideoReader
from sparse2dense.models.errors import InputError


@pytest.mark.slow
def test_the_quick_form_finds_the_measuring_right(tmp_path, capsys):
    assert main(["bench", "rate", "--quick", "--out", str(tmp_path), "--debug"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 50
    assert all(line.startswith("ok ") for line in lines)
    assert {line.split()[1] for line in lines} >= {"vvc", "x265", "x264", "svtav1", "BD-rate", "VMAF"}


def test_a_short_clip_is_played_forth_and_back():
    assert forth_and_back(4, 9).tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert forth_and_back(300, 5).tolist() == [0, 1, 2, 3, 4]
    assert forth_and_back(1, 3).tolist() == [0, 0, 0]


def test_a_filmed_person_is_found_on_the_film_alone():
    """Whatever capture makes of it, the same region is measured: the man, without the coat behind him."""
    frames = np.stack(
        [*VideoReader(PACKAGED, fps=25, size=256, end=0.4), *[np.zeros((456, 256, 3), np.uint8)] * 3]
    )
    clip = Prepared("balance", "filmed", PACKAGED, frames, captured=None, drawn_masks=None)
    masks = clip.masks([2, 8, len(frames) - 1])
    assert sorted(masks) == [2, 8, len(frames) - 1]
    for number in (2, 8):
        rows, columns = np.nonzero(masks[number] > 127)
        assert 0.05 < len(rows) / masks[number].size < 0.12
        assert 85 < np.median(columns) < 120
        assert masks[number][70:115, 88:104].mean() < 64  # the coat
    assert not masks[len(frames) - 1].any()


def test_bursts_are_neighbours_spread_over_the_clip():
    runs = bursts(250, 4)
    assert runs == [[29, 30, 31], [92, 93, 94], [154, 155, 156], [217, 218, 219]]
    with pytest.raises(InputError, match="too few"):
        bursts(11, 4)


def test_ms_ssim_of_a_constant_shift_is_its_luminance_term():
    """Structure does not change, so only SSIM's luminance term at the coarsest scale is left."""
    dark = np.full((256, 256, 3), 100, np.uint8)
    light = np.full((256, 256, 3), 140, np.uint8)
    c1 = (0.01 * 255) ** 2
    luminance = (2 * 100 * 140 + c1) / (100**2 + 140**2 + c1)
    assert ms_ssim(light, dark) == pytest.approx(luminance**0.1333, abs=1e-6)


def test_a_crossing_is_told_from_always_and_never():
    low, high = front([(4, 1.0), (40, 2.0)]), front([(4, 3.0), (40, 4.0)])
    assert crossing(low, high) == {"kind": "always", "kbps": pytest.approx(4)}
    assert crossing(high, low) == {"kind": "never", "kbps": pytest.approx(40)}
    ours, steep = front([(3, 1.0), (6, 1.2)]), front([(5, 0.0), (80, 2.0)])
    met = crossing(ours, steep)
    assert met["kind"] == "crosses"
    assert met["kbps"] == pytest.approx(5 * 16 ** (1.2 / 2), rel=5e-3)


def test_a_clip_s_figures_add_up_to_a_table():
    def points(rates, values):
        return [
            {
                "kbps": rate,
                "metrics": {region: {"psnr": value, "flip": -value} for region in ("whole", "person")},
            }
            for rate, value in zip(rates, values, strict=True)
        ]

    entry = {
        "kind": "filmed",
        "size": 256,
        "ours": points([4, 8, 16], [20, 24, 26]),
        "anchors": {"vvc-ra": {"points": points([8, 16, 32], [20, 24, 26])}},
    }
    compare(entry)
    found = entry["anchors"]["vvc-ra"]
    for metric in ("psnr", "flip"):  # less is better for the one, more for the other
        assert found["bd_rate"]["whole"][metric]["percent"] == pytest.approx(-50, abs=1e-6)
        assert found["crossing"]["person"][metric]["kbps"] == pytest.approx(32, rel=1e-2)
    assert found["bd_rate"]["whole"]["flip"]["overlap"] == [-26, -20]
    text = "\n".join(tables({"summary": summarise({"a": entry, "b": entry})}))
    assert "| vvc-ra | 2 | -50 % (2); 32.0 | -50 % (2); 32.0 |" in text


def test_results_carry_where_they_come_from(tmp_path):
    write_results("rate", {"figures": [1]}, tmp_path)
    found = read_results("rate", tmp_path)
    assert found["figures"] == [1]
    assert {"machine", "versions", "commit", "date", "command"} <= set(found)
    assert read_results("speed", tmp_path) is None


def test_the_cache_finds_only_the_very_same_measurement(tmp_path):
    Cache(tmp_path).put({"psnr": 30.5}, clip="a", level=3)
    assert Cache(tmp_path).get(level=3, clip="a") == {"psnr": 30.5}
    assert Cache(tmp_path).get(clip="a", level=4) is None


@pytest.mark.slow
def test_lpips_and_dists_order_distortions_on_the_user_s_weights(tmp_path):
    from sparse2dense.benchmarks.deep_metrics import deep_metrics

    torch.manual_seed(0)
    sizes = {
        0: (3, 64),
        2: (64, 64),
        5: (64, 128),
        7: (128, 128),
        10: (128, 256),
        12: (256, 256),
        14: (256, 256),
    }
    sizes |= {17: (256, 512)} | dict.fromkeys((19, 21, 24, 26, 28), (512, 512))
    weights = {}
    for number, (inputs, outputs) in sizes.items():
        layer = torch.nn.Conv2d(inputs, outputs, 3)
        torch.nn.init.kaiming_normal_(layer.weight)
        weights[f"features.{number}.weight"], weights[f"features.{number}.bias"] = layer.weight, layer.bias
    torch.save(weights, tmp_path / "vgg16.pth")
    rng = np.random.default_rng(0)
    truth = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    noisy = [np.clip(truth + rng.normal(0, s, truth.shape), 0, 255).astype(np.uint8) for s in (10, 60)]
    for metric in deep_metrics(tmp_path / "vgg16.pth").values():
        assert metric(truth, truth) == pytest.approx(0, abs=1e-5)
        assert 0.001 < metric(noisy[0], truth) < metric(noisy[1], truth)
    (tmp_path / "other.pth").write_bytes(b"no weights")
    with pytest.raises(InputError, match="no file of network weights"):
        deep_metrics(tmp_path / "other.pth")
