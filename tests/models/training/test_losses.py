# SPDX-License-Identifier: GPL-3.0-or-later
"""Each part of the loss sees the fault that it is there for, and no other."""

import pytest

pytest.importorskip("torch")

import torch
from sparse2dense.models.errors import InputError
from sparse2dense.models.generator import Layers
from sparse2dense.models.training.losses import LossWeights, Target, Vgg, picture_losses, vertex_loss

SIZE = (32, 24)
HALF = (16, 12)


def truth(examples=1, frames=2, references=2):
    generator = torch.Generator().manual_seed(0)
    count = examples * frames
    mask = torch.zeros(count, 1, *SIZE)
    mask[:, :, 8:24, 6:18] = 1
    known = mask[:, :, ::2, ::2]
    return Target(
        picture=torch.rand(count, 3, *SIZE, generator=generator),
        mask=mask,
        flow=torch.randn(count, references, 2, *HALF, generator=generator),
        known=known,
        visible=known[:, None].repeat(1, references, 1, 1, 1),
        details=torch.tensor([12.0, 10.0, 2.0]).expand(count, 1, 3),
        frames=frames,
    )


def perfect(target):
    count, references = target.flow.shape[:2]
    return Layers(
        picture=target.picture.clone(),
        opacity=target.mask.clone(),
        warped=target.picture.clone(),
        flow=target.flow.repeat_interleave(2, -1).repeat_interleave(2, -2),
        occlusion=torch.zeros(count, 1, *SIZE),
        shares=torch.full((count, references, 1, *HALF), 1 / references),
    )


def raised(target, drawn):
    """Return the names of the parts that are worse than of a perfect frame."""
    weights = LossWeights()
    best, found = (picture_losses(layers, target, weights) for layers in (perfect(target), drawn))
    return {name for name, value in found.items() if value > best[name] + 1e-6}


def test_a_perfect_frame_costs_next_to_nothing():
    losses = picture_losses(perfect(truth()), truth(), LossWeights())
    assert all(value < 1e-3 for value in losses.values())


def test_flicker_is_what_the_temporal_part_sees():
    target = truth()
    steady, flickering = perfect(target), perfect(target)
    steady.picture.add_(0.1)
    flickering.picture[1] += 0.1
    assert raised(target, steady) == {"pixels"}
    assert raised(target, flickering) == {"pixels", "temporal"}


def test_the_flow_of_each_reference_counts():
    target = truth()
    for reference in range(2):
        drawn = perfect(target)
        drawn.flow[:, reference, 0] += 2
        assert raised(target, drawn) == {"flow"}


def test_what_no_reference_shows_should_be_invented_and_what_one_shows_taken_from_it():
    target = truth()
    target.visible[:, 1] = 0
    drawn = perfect(target)
    drawn.shares[:, 0], drawn.shares[:, 1] = 0.1, 0.9
    assert raised(target, drawn) == {"visibility"}
    target.visible[:, 0] = 0
    drawn = perfect(target)
    best = picture_losses(drawn._replace(occlusion=torch.ones_like(drawn.occlusion)), target, LossWeights())
    assert best["occlusion"] < 1e-3
    assert picture_losses(drawn, target, LossWeights())["occlusion"] > 0.3


def test_head_and_hands_count_most_and_the_background_least():
    target = truth()

    def cost(row, column):
        drawn = perfect(target)
        drawn.picture[:, :, row, column] += 0.5
        return picture_losses(drawn, target, LossWeights())["pixels"]

    head, elsewhere, background = cost(10, 12), cost(21, 7), cost(30, 22)
    assert head > 1.4 * elsewhere
    assert elsewhere > 3 * background


def test_shares_of_a_batch_average_to_the_whole():
    target = truth(examples=2)
    target.mask[2:, :, 12:] = 0
    target.known[2:, :, 5:] = 0
    target.visible[:2, :, :, :, 6:] = 0
    drawn = perfect(target)
    for value in drawn:
        value.add_(0.1 * torch.rand(value.shape, generator=torch.Generator().manual_seed(1)))

    def part(frames):
        cut = Target(*(getattr(target, name)[frames] for name in list(vars(target))[:-1]), frames=2)
        return picture_losses(Layers(*(value[frames] for value in drawn)), cut, LossWeights())

    whole, first, second = part(slice(None)), part(slice(0, 2)), part(slice(2, 4))
    for name, value in whole.items():
        torch.testing.assert_close(value, (first[name] + second[name]) / 2)


def test_vertices_are_compared_with_their_middles_together():
    body = torch.rand(2, 50, 3)
    assert vertex_loss(body + 0.3, body) < 1e-6
    bent = body.clone()
    bent[:, :25, 0] += 0.1
    torch.testing.assert_close(vertex_loss(bent, body), torch.tensor(0.05))


@pytest.fixture
def first_stage(tmp_path):
    """The first stage of VGG-16 alone, as Keras writes it, with random weights."""
    h5py = pytest.importorskip("h5py")
    path, channels = tmp_path / "hed.h5", 3
    with h5py.File(path, "w") as file:
        for index in range(2):
            group = f"block1/layers/conv2d{f'_{index}' if index else ''}/vars"
            file[f"{group}/0"] = torch.randn(3, 3, channels, 64).numpy()
            file[f"{group}/1"] = torch.randn(64).numpy()
            channels = 64
    return path


def test_features_are_those_of_the_file_s_convolutions(first_stage):
    h5py = pytest.importorskip("h5py")
    x = torch.rand(2, 3, 8, 6)
    [found] = Vgg(first_stage, 1)(x)
    x = 255 * x.flip(1) - torch.tensor([104.00699, 116.66877, 122.67892]).view(3, 1, 1)
    with h5py.File(first_stage) as file:
        for name in ("conv2d", "conv2d_1"):
            kernel, bias = (torch.from_numpy(file[f"block1/layers/{name}/vars/{i}"][()]) for i in "01")
            x = torch.nn.functional.conv2d(x, kernel.permute(3, 2, 0, 1), bias, padding=1).relu()
    torch.testing.assert_close(found, x)


def test_a_file_without_the_features_that_are_compared_is_refused(first_stage, tmp_path):
    with pytest.raises(InputError, match="does not hold 2 stages") as refused:
        Vgg(first_stage, 2)
    assert refused.value.code == "hed"
    (tmp_path / "other.h5").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"other\.h5 does not hold"):
        Vgg(tmp_path / "other.h5", 1)
