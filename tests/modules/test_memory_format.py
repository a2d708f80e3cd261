"""A saved network comes back as its weights lay in memory, so that its products round alike."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from modtools.exceptions import ModtoolsError
from modtools.modules import PretrainedModule
from modtools.modules._weights import load_weights, save_weights

pytestmark = pytest.mark.floating_point


class Tied(nn.Module):
    """A network whose two layers share one weight."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight


def network_of(kind):
    torch.manual_seed(0)
    return {
        "linear": lambda: nn.Linear(4, 3),
        "one column": lambda: nn.Linear(1, 3),
        "convolution": lambda: nn.Conv2d(2, 3, 3),
        "one channel": lambda: nn.Conv2d(1, 3, 3),
        "volume": lambda: nn.Conv3d(2, 3, 3),
        "tied": Tied,
    }[kind]()


def turn(network):
    """Reverse the order of the axes in memory, and nothing else."""
    for tensor in network.state_dict(keep_vars=True).values():
        backwards = list(range(tensor.ndim))[::-1]
        turned = tensor.data.permute(backwards).clone(memory_format=torch.contiguous_format)
        tensor.data = turned.permute(backwards)
    return network


def lie(network):
    return {name: (t.stride(), t.tolist()) for name, t in network.state_dict().items()}


@pytest.mark.parametrize("change", [turn, nn.Module.double, nn.Module.eval])
@pytest.mark.parametrize(
    "kind", ["linear", "one column", "convolution", "one channel", "volume", "tied"]
)
def test_weights_come_back_as_they_lay_in_memory(kind, change, tmp_path):
    saved, loaded = change(network_of(kind)), network_of(kind)
    save_weights(saved, tmp_path / "weights")
    load_weights(loaded, tmp_path / "weights")
    assert lie(loaded) == lie(saved)
    if kind == "tied":
        assert loaded.second.weight is loaded.first.weight


def test_the_memory_format_of_the_network_in_a_zoo_is_kept(zoo_of_one):
    assert zoo_of_one.load("conv").network.weight.stride() == (18, 1, 6, 2)


@pytest.fixture
def zoo_of_one(tmp_path):
    from modtools.modules import Zoo

    build = ("torch.nn:Conv2d", {"in_channels": 2, "out_channels": 3, "kernel_size": 3})
    network = network_of("convolution").to(memory_format=torch.channels_last)
    zoo = Zoo(tmp_path / "zoo")
    zoo.save(PretrainedModule(network, name="conv", build=build))
    return zoo


def test_weights_that_lie_row_by_row_need_no_word_on_it(tmp_path):
    save_weights(network_of("convolution"), tmp_path / "weights")
    with safe_open(tmp_path / "weights", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}


@pytest.mark.parametrize(
    "orders",
    [
        "{",
        "null",
        "[1]",
        "[" * 100_000,
        *(
            json.dumps({"weight": order})
            for order in ([0], [0, 0], [0, -1], [0, 2], "01", [0, None], 1, {}, [0, 10**30])
        ),
    ],
    ids=lambda text: text[:25],
)
def test_orders_that_are_not_those_of_the_weights_are_refused(orders, tmp_path):
    network = network_of("linear")
    save_weights(network, tmp_path / "weights")
    tensors = load_file(tmp_path / "weights")
    save_file(tensors, tmp_path / "weights", metadata={"memory_orders": orders})
    with pytest.raises(ModtoolsError, match="does not hold the weights of this network"):
        load_weights(network, tmp_path / "weights")
