# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture networks keep their budget, take any canvas, and start from the plain warp."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from sparse2dense.inference.backends import WEIGHTS
from sparse2dense.models.dense_motion import warp
from sparse2dense.models.generator import Generator, ReferenceEncoder
from sparse2dense.models.training.export_pictures import example_inputs, export_pictures
from torch.utils.flop_counter import FlopCounterMode

PICTURES = ("reference", "mask", "plate")


def draw(inputs):
    encoder, generator = ReferenceEncoder().eval(), Generator().eval()
    with torch.no_grad():
        half, quarter = encoder(**{name: inputs[name] for name in PICTURES})
        return generator.layers(**inputs, half=half, quarter=quarter)


def test_a_frame_costs_less_than_two_gmac():
    inputs = example_inputs(256, 256)
    encoder, generator = ReferenceEncoder(), Generator()
    with torch.no_grad():
        half, quarter = encoder(**{name: inputs[name] for name in PICTURES})
        with FlopCounterMode(display=False) as counter:
            generator(**inputs, half=half, quarter=quarter)
    assert 0.5e9 < counter.get_total_flops() / 2 < 2e9


def test_the_shipped_weights_are_small():
    files = [
        WEIGHTS / f"{name}.{kind}"
        for name in ("reference_encoder", "generator")
        for kind in ("onnx", "safetensors")
    ]
    assert sum(file.stat().st_size for file in files) < 10e6


@pytest.mark.slow
def test_exported_files_hold_no_paths_of_the_machine_that_made_them(tmp_path):
    export_pictures(ReferenceEncoder(), Generator(), tmp_path)
    here = str(Path(__file__).resolve().parents[2]).encode()
    for name in ("reference_encoder", "generator"):
        for folder in (tmp_path, WEIGHTS):
            data = (folder / f"{name}.onnx").read_bytes()
            assert here not in data and b'File "' not in data


@pytest.mark.parametrize("size", [(64, 64), (256, 456), (40, 88)])
def test_any_canvas_of_whole_blocks_is_drawn_between_black_and_white(size):
    picture = draw(example_inputs(*size)).picture
    assert picture.shape == (1, 3, size[1], size[0])
    assert picture.min() >= 0 and picture.max() <= 1


def test_a_flow_is_in_canvas_pixels_at_every_scale():
    picture = torch.rand(1, 1, 16, 16)
    for scale in (1, 2, 4):
        flow = torch.zeros(1, 2, 16, 16)
        flow[:, 0], flow[:, 1] = 3 * scale, -2 * scale
        moved = warp(picture, flow, scale)
        assert torch.allclose(moved[..., 2:, :-3], picture[..., :-2, 3:], atol=1e-5)


def test_a_part_of_a_frame_is_warped_as_the_whole_is():
    picture, flow = torch.rand(1, 3, 40, 64), torch.randn(1, 2, 40, 64) * 30
    part = warp(picture, flow[..., 8:24, 16:48], 2, torch.tensor([[32.0, 16.0]]))
    assert torch.allclose(part, warp(picture, flow, 2)[..., 8:24, 16:48], atol=1e-4)


def test_untrained_the_person_is_the_warped_reference_over_the_plate():
    inputs = example_inputs(64, 64)
    inputs["mask"][:] = 1
    inputs["reference_coverage"][:] = 0
    inputs["motion"][:, 0], inputs["motion"][:, 1] = 4, 0
    left = inputs["motion"][..., 2, :, :]
    left[..., :16], left[..., 16:] = 1, 0
    inputs["mask"][..., 40:] = 0
    picture = draw(inputs).picture
    moved = inputs["reference"][..., 4:28]
    assert torch.allclose(picture[..., :24], moved, atol=0.02)
    assert torch.allclose(picture[..., 40:], inputs["plate"][..., 40:], atol=0.02)
