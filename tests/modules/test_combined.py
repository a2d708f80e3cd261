"""Several modules as one: columns in order, each network run once, the rest as for one module."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from modtools.exceptions import ModtoolsError
from modtools.modules import CombinedModule, PretrainedModule, extract, iter_features, run
from modtools.selection import rank_modules
from modtools.tasks import Task
from tests.rounding import assert_same_but_for_rounding

pytestmark = pytest.mark.floating_point


class Counted(nn.Module):
    """Two layers that count their forward passes outside of what the cache sees."""

    def __init__(self, passes):
        super().__init__()
        self.first, self.second = nn.Linear(6, 4), nn.Linear(4, 3)
        self.first.register_forward_hook(passes)

    def forward(self, rows):
        return self.second(torch.tanh(self.first(rows)))


def count(_module, _inputs, _output):
    PASSES.append(len(_output))


PASSES = []


@pytest.fixture
def network():
    PASSES.clear()
    torch.manual_seed(0)
    return Counted(count)


@pytest.fixture
def inputs():
    return np.random.default_rng(0).normal(size=(10, 6)).astype(np.float32)


@pytest.fixture
def other():
    return PretrainedModule(nn.Flatten(), name="raw")


@pytest.fixture
def combined(network, other):
    deep = PretrainedModule(network, name="net")
    return CombinedModule([deep.at("second"), other, deep.at("first")])


def test_features_stand_side_by_side_in_the_order_given(combined, network, other, inputs):
    deep = PretrainedModule(network, name="net")
    wanted = [extract(deep.at("second"), inputs), inputs, extract(deep.at("first"), inputs)]
    assert_same_but_for_rounding(extract(combined, inputs), np.hstack(wanted))
    assert combined.members == ("net@second", "raw", "net@first")
    assert combined.names == (combined.name,) == ("net@second + raw + net@first",)


def test_layers_of_one_network_share_a_pass(combined, inputs):
    extract(combined, inputs, batch_size=4)
    assert PASSES == [4, 4, 2]


def test_batches_stream_and_leave_the_networks_as_they_were(combined, network, inputs):
    network.train()
    blocks = list(iter_features(combined, inputs, batch_size=4))
    assert [len(block) for block in blocks] == [4, 4, 2]
    assert_same_but_for_rounding(np.vstack(blocks), extract(combined, inputs))
    assert network.training
    assert network.first.training


def test_the_cache_is_shared_with_the_modules_alone(combined, network, inputs, tmp_path):
    task = Task(inputs, np.arange(10) % 2)
    network.first._forward_hooks.clear()
    network.first.register_forward_hook(count)
    extract(
        PretrainedModule(network, name="alone", layers=["first", "second"]), task, cache=tmp_path
    )
    PASSES.clear()
    cached = extract(combined, task, cache=tmp_path)
    assert PASSES == []
    assert_same_but_for_rounding(cached, extract(combined, task))


def test_parameters_are_counted_once_a_network(combined, other):
    assert combined.n_parameters() == 6 * 4 + 4 + 4 * 3 + 3
    assert "2 networks, 43 parameters" in repr(combined)


def test_a_network_loaded_twice_is_one(network, inputs):
    twin = copy.deepcopy(network)
    pair = [PretrainedModule(network, name="net", layers="first")]
    pair.append(PretrainedModule(twin, name="net", layers="second"))
    combined = CombinedModule(pair)
    assert len(combined.networks) == 1
    extract(combined, inputs, batch_size=64)
    assert len(PASSES) == 1


def test_many_members_have_a_short_name(other):
    parts = [PretrainedModule(nn.Flatten(), name=f"raw{i}") for i in range(5)]
    assert CombinedModule(parts).name == "raw0 and 4 more"


def test_a_combination_can_be_ranked_beside_its_members(combined, other, inputs):
    task = Task(inputs, np.arange(10) % 2)
    ranking = rank_modules([combined, other], task, by="ridge")
    assert set(ranking.frame()["module"]) == {combined.name, "raw"}
    assert run(combined, task).source_probabilities is None


def test_says_what_cannot_be_combined(network, other):
    with pytest.raises(ModtoolsError, match="two or more modules of different names; got raw"):
        CombinedModule([other])
    with pytest.raises(ModtoolsError, match="different names; got raw, raw"):
        CombinedModule([other, other])
    with pytest.raises(ModtoolsError, match="got none"):
        CombinedModule([])
    with pytest.raises(ModtoolsError, match="must be PretrainedModule; got str"):
        CombinedModule(["raw", "net"])
    changed = copy.deepcopy(network)
    with torch.no_grad():
        changed.first.weight.zero_()
    pair = [
        PretrainedModule(n, name="net", layers=t)
        for n, t in ((network, "first"), (changed, "second"))
    ]
    with pytest.raises(ModtoolsError, match='two different modules are named "net"'):
        CombinedModule(pair)
    pooled = PretrainedModule(network, name="net", layers="second", pooling="max")
    with pytest.raises(ModtoolsError, match='two different modules are named "net"'):
        CombinedModule([pair[0], pooled])
