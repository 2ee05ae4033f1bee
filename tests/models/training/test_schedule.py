# SPDX-License-Identifier: GPL-3.0-or-later
"""Learning rates rise and fall as the model card says, and the exported weights are an average."""

import pytest

pytest.importorskip("torch")

import torch
from sparse2dense.models.training.schedule import running_average, warm_cosine


def test_the_rate_rises_and_falls_as_a_cosine():
    assert warm_cosine(0, 0.0, 100) == pytest.approx(0.01)
    assert warm_cosine(49, 0.0, 100) == pytest.approx(0.5)
    assert warm_cosine(99, 0.0, 100) == warm_cosine(500, 0.0, 100) == 1.0
    assert warm_cosine(500, 1 / 3, 100) == pytest.approx(0.75)
    assert warm_cosine(500, 0.5, 100) == pytest.approx(0.5)
    assert warm_cosine(500, 1.0, 100) == pytest.approx(0.0)


def test_the_rate_ends_at_the_least_share():
    assert warm_cosine(500, 0.0, 100, least=0.1) == pytest.approx(1.0)
    assert warm_cosine(500, 0.5, 100, least=0.1) == pytest.approx(0.55)
    assert warm_cosine(500, 1.0, 100, least=0.1) == pytest.approx(0.1)


@pytest.fixture
def network():
    network = torch.nn.BatchNorm1d(1)
    with torch.no_grad():
        network.weight.fill_(8.0)
    return network


def take_in(average, network, weight):
    with torch.no_grad():
        network.weight.fill_(weight)
    average.update_parameters(network)
    return float(average.module.weight)


def test_the_average_forgets_the_untrained_weights_and_then_few_steps_count_little(network):
    average = running_average(network, most=0.5, ramp=3)
    assert float(average.module.weight) == 8.0
    assert take_in(average, network, 1.0) == 1.0
    assert take_in(average, network, 5.0) == pytest.approx(0.25 * 1 + 0.75 * 5)  # of one step 1 / (1 + 3)
    assert take_in(average, network, 0.0) == pytest.approx(0.4 * 4)  # of two steps 2 / (2 + 3)
    assert take_in(average, network, 0.0) == pytest.approx(0.5 * 1.6)
    assert take_in(average, network, 0.0) == pytest.approx(0.5 * 0.8)  # and never more than half


def test_the_average_is_the_network_s_in_all_but_its_weights(network):
    average = running_average(network, most=0.9, ramp=5)
    network(torch.tensor([[2.0], [4.0]]))
    take_in(average, network, 1.0)
    assert float(average.module.running_mean) == float(network.running_mean) != 0
    assert not any(weights.requires_grad for weights in average.parameters())
    assert all(weights.requires_grad for weights in network.parameters())
