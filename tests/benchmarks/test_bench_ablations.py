# SPDX-License-Identifier: GPL-3.0-or-later
"""Each variant differs from the others in what its title says, and is measured as it was trained."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("anny")

import torch
from sparse2dense.benchmarks.bench_ablations import (
    VARIANTS,
    _draw_examples,
    _train,
    _Trained,
    _varied,
    tables,
)
from sparse2dense.models.body_catalogue import load_body
from sparse2dense.models.training import train_joint
from sparse2dense.models.training.config import read_config
from sparse2dense.models.training.export_pictures import example_inputs
from sparse2dense.models.training.networks import JointNetworks
from sparse2dense.models.training.train_joint import SliceOptions


def test_variants_differ_from_the_whole_in_one_thing_each():
    base = read_config("tiny")
    whole, *others = (_varied(base, changes) for changes in VARIANTS.values())
    for config in others:
        assert sum(a != b for a, b in zip(*map(dataclasses.astuple, (whole, config)), strict=True)) == 1
    assert {config.references for config in others} == {1, 2, 4}


@pytest.mark.parametrize("mesh", [True, False])
def test_a_variant_draws_in_the_bench_as_it_was_trained(mesh):
    torch.manual_seed(0)
    config = dataclasses.replace(read_config("tiny"), mesh=mesh)
    networks = JointNetworks(load_body(), config).eval()
    trained = _Trained(networks, config)
    inputs = {name: value.numpy() for name, value in example_inputs(64, 64, 1).items()}
    inputs["reference_keypoints"] = inputs["keypoints"][:, None] + 40
    pictures = {name: inputs[name][:, 0] for name in ("references", "masks")}
    with torch.no_grad():
        encoded = trained.load("reference_encoder")(
            reference=pictures["references"], mask=pictures["masks"], plate=inputs["plate"]
        )
        features = {name: value[:, None] for name, value in encoded.items()}
        picture = trained.load("generator")(**inputs | features | {"origin": np.zeros((1, 2), np.float32)})
        flow = trained.flow(inputs["reference_keypoints"][0, 0])
        assert trained.flow(inputs["reference_keypoints"][0, 0] + 5) is None  # another reference
    assert picture["picture"].shape == (1, 3, 64, 64)
    wanted = inputs["motion"][0, 0, :2] if mesh else np.full((2, 64, 64), 40)
    np.testing.assert_allclose(flow, wanted, atol=1e-3)


def test_all_variants_train_on_the_same_examples(tmp_path, monkeypatch):
    """They are drawn once, before any training, and no variant's own number of references adds others."""
    told = []
    monkeypatch.setattr(train_joint, "start_renderers", lambda *drawn: told.append(drawn) or [])
    monkeypatch.setattr(train_joint, "train", lambda config, options: told.append((config, options)))
    options = SliceOptions(tmp_path, tmp_path, tmp_path / "examples", renderers=2, device="cpu")
    base = dataclasses.replace(read_config("tiny"), references=4)
    _draw_examples(base, options, end=0.0)
    _train(_varied(base, {"references": 1}), options, tmp_path / "one", 1.0)
    (rendering, processes), (config, given) = told
    assert (rendering.references, processes, config.references, given.renderers) == (4, 2, 1, 0)
    assert given.cache == rendering.folder
    assert (given.out, given.minutes, given.resume) == (tmp_path / "one", 1.0, False)


def test_a_table_has_a_row_a_variant():
    region = {"vggcos": 0.1, "ssimulacra2": 1.0, "psnr": 25.0}
    measured = {
        "steps": 9,
        "vertices_mm": 7.5,
        "sets": {
            "people": {"ours": {"person": region}, "flow_error": {"ours": {"body": 1.25}}},
            "clip.mp4": {"ours": {"person": region}},
        },
    }
    lines = tables({"whole": measured, "less": measured})
    assert len(lines) == 4
    assert lines[3] == "| less | 9 | 0.1000 | 25.00 | 0.1000 | 25.00 | 1.25 | 7.50 |"
    assert len({line.count("|") for line in lines}) == 1
