# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture networks keep their budget, take any canvas, and start from the plain warp."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from sparse2dense.models.dense_motion import warp
from sparse2dense.models.generator import Generator, ReferenceEncoder
from sparse2dense.models.shipped import WEIGHTS
from sparse2dense.models.training.export_pictures import example_inputs, export_pictures
from torch.utils.flop_counter import FlopCounterMode

SHARED = ("plate", "keypoints")  # by all references of a frame


def draw(inputs, generator=None):
    with torch.no_grad():
        return (generator or Generator()).eval().layers(**inputs)


def of_references(inputs, *chosen):
    """The inputs with only some of their references, in that order."""
    return {name: value if name in SHARED else value[:, list(chosen)] for name, value in inputs.items()}


@pytest.fixture(scope="module")
def shipped():
    from safetensors.torch import load_file

    generator = Generator()
    generator.load_state_dict(load_file(WEIGHTS / "generator.safetensors"))
    return generator


def test_a_frame_from_two_references_costs_at_most_one_and_a_half_gmac():
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        Generator()(**example_inputs(256, 256, 2))
    assert 1e9 < counter.get_total_flops() / 2 <= 1.5e9


def test_a_second_reference_that_is_the_same_or_has_no_share_changes_nothing(shipped):
    inputs = example_inputs(64, 64, 2)
    alone = draw(of_references(inputs, 0), shipped).picture
    assert torch.allclose(draw(of_references(inputs, 0, 0), shipped).picture, alone, atol=1e-5)
    shares = torch.tensor([[1.0, 0.0]])
    assert torch.allclose(draw(inputs | {"shares": shares}, shipped).picture, alone, atol=1e-5)
    assert not torch.allclose(draw(inputs, shipped).picture, alone, atol=1e-2)


def test_the_order_of_references_does_not_matter(shipped):
    inputs = example_inputs(64, 64, 3)
    drawn, reordered = (draw(of_references(inputs, *order), shipped) for order in ((0, 1, 2), (2, 0, 1)))
    assert torch.allclose(drawn.picture, reordered.picture, atol=1e-5)
    assert torch.allclose(drawn.flow[:, [2, 0, 1]], reordered.flow, atol=1e-4)


def test_each_point_comes_from_the_reference_that_shows_it():
    inputs = example_inputs(64, 64, 2)
    inputs["motion"][:, :, :2] = 0
    inputs["motion"][:, :, 3] = 0
    inputs["motion"][:, 0, 3, :, :32] = 1
    inputs["motion"][:, 1, 3, :, 32:] = 1
    warped, (first, second) = draw(inputs).warped, inputs["references"][0]
    assert torch.allclose(warped[0, :, :, :28], first[:, :, :28], atol=0.05)
    assert torch.allclose(warped[0, :, :, 36:], second[:, :, 36:], atol=0.05)


def test_a_batch_is_drawn_as_its_frames_one_by_one(shipped):
    frames = [example_inputs(64, 64, 2) | {"origin": torch.full((1, 2), 8.0 * i)} for i in range(2)]
    frames = [frame | {"plate": frame["plate"][..., 16:48, 8:56]} for frame in frames]
    frames = [frame | {"motion": frame["motion"][..., 16:48, 8:56]} for frame in frames]
    together = draw({name: torch.cat([frame[name] for frame in frames]) for name in frames[0]}, shipped)
    one_by_one = torch.cat([draw(frame, shipped).picture for frame in frames])
    assert torch.allclose(together.picture, one_by_one, atol=1e-5)


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
    inputs["masks"][:] = 1
    inputs["reference_coverage"][:] = 0
    inputs["motion"][:, :, 0], inputs["motion"][:, :, 1] = 4, 0
    left = inputs["motion"][..., 2, :, :]
    left[..., :32], left[..., 32:] = 1, 0
    inputs["masks"][..., 40:] = 0
    picture = draw(inputs).picture
    moved = inputs["references"][:, 0, ..., 4:28]
    assert torch.allclose(picture[..., :24], moved, atol=0.02)
    assert torch.allclose(picture[..., 40:], inputs["plate"][..., 40:], atol=0.02)
