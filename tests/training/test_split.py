"""Cutting networks into modules, by name and where the saved activations are fewest."""

import copy
from collections import OrderedDict
from itertools import combinations, pairwise

import pytest
import torch
from torch import nn

from modtools import ModtoolsError
from modtools.training._split import count_saved_bytes, split
from modtools.training.networks import MultilayerPerceptron, ResNet18

pytestmark = pytest.mark.floating_point

EXAMPLE = torch.linspace(0, 1, 128).reshape(2, 1, 8, 8)


def names(modules):
    return [[name for name, _ in module.named_children()] for module in modules]


def training_bytes(modules, inputs):
    """Return what each module saves when it is trained on the detached output of the others."""
    found = []
    for module in copy.deepcopy(modules):
        module.train()
        with count_saved_bytes([*module.parameters(), *module.buffers()]) as saved:
            outputs = module(inputs)
        found.append(saved.n_bytes)
        inputs = outputs.detach().clone()
    return found


def convolutional():
    """Return named blocks whose maps shrink and widen."""
    sizes = {"block1": (1, 6), "block2": (6, 8), "block3": (8, 4), "block4": (4, 10)}
    blocks = {
        name: nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride=1 + (name == "block3"), padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(inplace=True),
        )
        for name, (n_in, n_out) in sizes.items()
    }
    blocks["block5"] = nn.Sequential(nn.Conv2d(10, 3, 1), nn.ReLU())
    blocks["features"] = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 7))
    blocks["output"] = nn.Linear(7, 4)
    return nn.Sequential(OrderedDict(blocks))


def lopsided():
    """Return a list of blocks of very different sizes, with a dropout and a layer in place."""
    sizes = [6, 50, 3, 3, 40, 40, 8]
    blocks = [nn.Linear(n_in, n_out) for n_in, n_out in pairwise(sizes)]
    return [*blocks[:3], nn.ReLU(inplace=True), nn.Dropout(), *blocks[3:]]


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield convolutional()


def test_modules_are_cut_after_the_named_blocks(network):
    modules = split(network, at=["block3", "features"])
    assert names(modules) == [
        ["block1", "block2", "block3"],
        ["block4", "block5", "features"],
        ["output"],
    ]
    assert all(type(module) is nn.Sequential for module in modules)


def test_cut_points_in_any_order_and_a_single_one(network):
    expected = names(split(network, at=["block1", "block4"]))
    assert names(split(network, at=("block4", "block1"))) == expected
    assert names(split(network, at="features")) == names(split(network, at=["features"]))


def test_modules_share_the_blocks_of_the_network(network):
    first, second = split(network, at=["block2"])
    assert first.block1 is network.block1
    shared = [*first.parameters(), *second.parameters()]
    assert [id(p) for p in shared] == [id(p) for p in network.parameters()]
    with torch.no_grad():
        second.output.bias.add_(1)
    assert bool((network.output.bias == second.output.bias).all())


def test_modules_one_after_the_other_are_the_network(network):
    network.eval()
    outputs = EXAMPLE
    for module in split(network, at=4, example=EXAMPLE):
        outputs = module(outputs)
    torch.testing.assert_close(outputs, network(EXAMPLE))


def test_the_last_block_of_a_module_is_a_layer_of_the_network(network):
    children = dict(network.named_children())
    for module in split(network, at=3, example=EXAMPLE):
        layer, block = list(module.named_children())[-1]
        assert children[layer] is block


def test_two_modules_are_the_features_and_the_output(network):
    assert names(split(network, at=2)) == [list(dict(network.named_children()))[:-1], ["output"]]
    assert names(split([nn.Flatten(), nn.Linear(64, 3)], at=2)) == [["0"], ["1"]]


def test_as_many_modules_as_blocks(network):
    modules = split(network, at=7, example=EXAMPLE)
    assert names(modules) == [[name] for name in dict(network.named_children())]


@pytest.mark.parametrize("n_modules", [3, 4, 5])
@pytest.mark.parametrize("case", ["convolutional", "lopsided", "perceptron"])
def test_the_automatic_cut_is_the_best_of_all(case, n_modules):
    blocks, example = {
        "convolutional": (convolutional(), EXAMPLE),
        "lopsided": (lopsided(), torch.rand(3, 6)),
        "perceptron": (MultilayerPerceptron([6, 30, 4, 20, 20, 5, 3]), torch.rand(3, 6)),
    }[case]
    found = split(blocks, at=n_modules, example=example)
    assert len(found) == n_modules
    assert len(found[-1]) == 1
    hidden = names(split(blocks, at=2))[0]
    largest = {
        max(training_bytes(split(blocks, at=[*cuts, hidden[-1]]), example)[:-1])
        for cuts in combinations(hidden[:-1], n_modules - 2)
    }
    assert len(largest) > 1
    assert max(training_bytes(found, example)[:-1]) == min(largest)


def test_four_modules_of_resnet_keep_at_most_half_of_what_backpropagation_keeps():
    example = torch.rand(2, 1, 16, 16)
    network = ResNet18()
    modules = split(network, at=4, example=example)
    whole = training_bytes([network], example)[0]
    assert max(training_bytes(modules, example)) <= whole / 2
    assert names(modules)[-1] == ["output"]


def test_nothing_changes_while_the_memory_is_measured(network):
    network.eval()
    network.block2.requires_grad_(False)
    blocks = [*network, nn.Dropout(), nn.Linear(4, 2)]
    before = copy.deepcopy(network.state_dict())
    example, state = EXAMPLE.clone(), torch.get_rng_state()
    modules = split(blocks, at=4, example=example)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(example, EXAMPLE)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    assert not any(part.training for part in network.modules())
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert {name.partition(".")[0] for name in frozen} == {"block2"}
    assert all(p.grad is None for module in modules for p in module.parameters())


def test_a_frozen_block_counts_as_it_will_when_it_is_trained(network):
    expected = names(split(network, at=4, example=EXAMPLE))
    network.requires_grad_(False)
    assert names(split(network, at=4, example=EXAMPLE)) == expected


def test_an_example_that_is_part_of_a_data_set_does_not_count_all_of_it(network):
    data = torch.rand(500, 1, 8, 8)
    expected = names(split(network, at=4, example=data[:2].clone()))
    assert names(split(network, at=4, example=data[:2])) == expected


def test_a_block_may_stand_at_two_places():
    relu = nn.ReLU()
    blocks = [nn.Linear(4, 4), relu, nn.Linear(4, 4), relu, nn.Linear(4, 2)]
    modules = split(nn.Sequential(*blocks), at=["1"])
    assert [len(module) for module in modules] == [2, 3]
    assert modules[0][1] is modules[1][1] is relu


def test_a_parameter_may_belong_to_one_module_only():
    tied = nn.Linear(4, 4)
    blocks = [tied, tied, nn.Linear(4, 2)]
    assert [len(module) for module in split(blocks, at=["1"])] == [2, 1]
    with pytest.raises(ModtoolsError, match=r"modules 0 and 1 share the parameter 1\.weight"):
        split(blocks, at=["0"])


class WithSkip(nn.Sequential):
    def forward(self, inputs):
        return super().forward(inputs) + inputs


class Pair(nn.Module):
    def forward(self, inputs):
        return inputs, inputs


@pytest.mark.parametrize(
    ("blocks", "reason"),
    [
        (nn.Linear(4, 2), "Linear is not a sequence of blocks"),
        ("network", "str is not a sequence of blocks"),
        ([nn.Linear(4, 2), torch.relu], "list is not a sequence of blocks"),
        (WithSkip(nn.Linear(4, 4), nn.ReLU()), "WithSkip has a forward pass of its own"),
        (nn.Sequential(nn.Linear(4, 2)), "it has 1 block"),
        ([], "it has 0 blocks"),
        ([Pair(), nn.Linear(4, 4), nn.Linear(4, 2)], 'block "0" returns tuple, not a tensor'),
    ],
)
def test_networks_that_cannot_be_cut(blocks, reason):
    with pytest.raises(ModtoolsError, match=f"the network cannot be cut into modules: {reason}"):
        split(blocks, at=3, example=torch.rand(2, 4))


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (["blok3"], 'unknown cut point "blok3"; did you mean "block3".* The blocks are block1,'),
        ("feature", 'unknown cut point "feature"; did you mean "features"'),
        ([3], 'unknown cut point "3"'),
        (["output"], 'a cut after "output" leaves nothing to the output module. Cut before it'),
        ([], r"at must name one or more different blocks; got \[\]"),
        (["block1", "block1"], "at must name one or more different blocks"),
        (1, "at=, the number of modules, must be a whole number of at least 2; got 1"),
        (2.0, "at=, the number of modules, must be a whole number of at least 2; got 2.0"),
        (8, r"at=8 asks for more modules than the network has blocks \(7: block1,"),
    ],
)
def test_cut_points_that_do_not_fit(network, at, message):
    with pytest.raises(ModtoolsError, match=message):
        split(network, at=at, example=EXAMPLE)


def test_an_automatic_cut_needs_an_example_that_fits(network):
    with pytest.raises(ModtoolsError, match="at=3 needs example=, a small batch of inputs"):
        split(network, at=3)
    wrong = r'block "block1" failed on the example, where it gets shape \(2, 3, 8, 8\): .*\.$'
    with pytest.raises(ModtoolsError, match=wrong):
        split(network, at=3, example=torch.rand(2, 3, 8, 8))
