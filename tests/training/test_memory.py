"""Bytes that a forward pass keeps, against numbers counted by hand."""

import gc
import weakref

import pytest
import torch
from torch import nn

from modtools.training._split import count_saved_bytes
from modtools.training.networks import CompactConvNet

pytestmark = pytest.mark.floating_point

FLOAT = 4


def saved_by(module, inputs):
    with count_saved_bytes([*module.parameters(), *module.buffers()]) as saved:
        module(inputs)
    return saved.n_bytes


def tiny_net():
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, bias=False),
        nn.BatchNorm2d(2),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2, 5),
    )


def tiny_bytes(n):
    inputs = n * 1 * 4 * 4  # the convolution keeps them for the gradient of its weight
    convolved = n * 2 * 4 * 4  # batch norm
    statistics = 2 * 2  # mean and inverse deviation of two channels
    rectified = n * 2 * 4 * 4  # the sign decides the gradient of the ReLU
    averaged = n * 2  # the linear layer
    return FLOAT * (inputs + convolved + statistics + rectified + averaged)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_a_small_network_against_a_count_by_hand(n):
    assert saved_by(tiny_net(), torch.rand(n, 1, 4, 4)) == tiny_bytes(n)


def test_pooling_keeps_its_places_as_well():
    pool = nn.MaxPool2d(2)
    inputs = torch.rand(1, 1, 4, 4, requires_grad=True)
    assert saved_by(pool, inputs) == 16 * FLOAT + 4 * 8


def test_what_two_operations_save_counts_once():
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    inputs = torch.rand(3, 4)
    with count_saved_bytes([first.weight, second.weight]) as saved:
        hidden = first(inputs).relu()
        second(hidden)
        second(hidden)
    assert saved.n_bytes == FLOAT * 2 * 3 * 4


def test_parameters_count_only_where_they_are_not_excluded():
    layer = nn.Linear(4, 3, bias=False)
    inputs = torch.rand(2, 4, requires_grad=True)
    with count_saved_bytes([layer.weight]) as without:
        layer(inputs)
    with count_saved_bytes([]) as everything:
        layer(inputs)
    with count_saved_bytes([layer.weight, inputs]) as nothing:
        layer(inputs)
    found = [without.n_bytes, everything.n_bytes, nothing.n_bytes]
    assert found == [2 * 4 * FLOAT, (2 * 4 + 4 * 3) * FLOAT, 0]


def test_a_view_counts_the_storage_that_it_keeps():
    layer = nn.Linear(4, 3)
    assert saved_by(layer, torch.rand(10, 4)[:2]) == 10 * 4 * FLOAT


def test_nothing_is_saved_without_a_gradient():
    with torch.no_grad():
        assert saved_by(tiny_net(), torch.rand(2, 1, 4, 4)) == 0


def test_the_count_can_be_read_at_any_time_and_ends_with_the_block():
    layer = nn.Linear(4, 4, bias=False)
    with count_saved_bytes([layer.weight]) as saved:
        assert saved.n_bytes == 0
        hidden = layer(torch.rand(2, 4))
        assert saved.n_bytes == 2 * 4 * FLOAT
        hidden = layer(hidden)
    layer(hidden)
    assert saved.n_bytes == 2 * 2 * 4 * FLOAT


def test_memory_that_is_freed_and_used_again_counts_again():
    layer = nn.Linear(64, 64, bias=False)
    with count_saved_bytes([layer.weight]) as saved:
        for _ in range(20):
            layer(torch.rand(8, 64)).sum().backward()
    assert saved.n_bytes == 20 * 8 * 64 * FLOAT


def test_the_count_keeps_no_memory():
    layer = nn.Linear(4, 4)
    with count_saved_bytes([]) as saved:
        inputs = torch.rand(2, 4)
        outputs = layer(inputs).relu()
        alive = [weakref.ref(inputs), weakref.ref(outputs)]
        gc.disable()  # a reference cycle would be collected only later
        try:
            del inputs, outputs
            assert [reference() for reference in alive] == [None, None]
        finally:
            gc.enable()
    assert saved.n_bytes > 0


def test_losses_and_gradients_are_the_same_as_without_counting():
    torch.manual_seed(0)
    network, images = CompactConvNet(3), torch.rand(4, 1, 8, 8)
    gradients = []
    for count in (False, True):
        network.zero_grad()
        if count:
            with count_saved_bytes([]):
                loss = network(images).logsumexp(1).sum()
        else:
            loss = network(images).logsumexp(1).sum()
        loss.backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    for plain, counted in zip(*gradients, strict=True):
        torch.testing.assert_close(counted, plain)


def test_an_example_takes_about_half_in_half_precision():
    network = CompactConvNet(3)

    def bytes_of_an_example():  # without the copies of the weights, which are there once
        return saved_by(network, torch.rand(3, 1, 16, 16)) - saved_by(
            network, torch.rand(2, 1, 16, 16)
        )

    full = bytes_of_an_example()
    with torch.autocast("cpu", torch.bfloat16):
        half = bytes_of_an_example()
    assert 0.5 < half / full < 0.65  # places of maxima do not shrink
