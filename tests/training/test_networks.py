"""The reference networks: shapes, names, sizes, and that a card rebuilds them."""

import copy
import json

import pytest
import torch
from torch import nn
from torch.nn import functional

from modtools import ModtoolsError, PretrainedModule, Zoo
from modtools.training import networks
from modtools.training.networks import (
    NETWORKS,
    CompactConvNet,
    FeatureMap,
    MultilayerPerceptron,
    ResNet18,
)
from modtools.transferability import FEATURE_MAPS

pytestmark = pytest.mark.floating_point

MAKERS = {
    "compact_convnet": lambda **options: CompactConvNet(5, 2, **options),
    "multilayer_perceptron": lambda **options: MultilayerPerceptron([128, 32, 16, 5], **options),
    "resnet18": lambda **options: ResNet18(5, 2, **options),
}


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(params=MAKERS)
def network(request):
    return MAKERS[request.param]()


@pytest.fixture
def images():
    return torch.rand(3, 2, 8, 8)


def n_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_every_network_has_a_function_of_its_name():
    assert list(NETWORKS) == list(MAKERS)
    for name, make in NETWORKS.items():
        made = make([64, 16, 5]) if name == "multilayer_perceptron" else make(5, 2)
        assert make is getattr(networks, name)
        assert type(made) is type(MAKERS[name]())
        assert made.output.out_features == 5


@pytest.mark.parametrize("size", [8, 28, 32])
def test_the_compact_net_takes_images_of_many_sizes(size):
    network = CompactConvNet(10, 1)
    assert network(torch.rand(2, 1, size, size)).shape == (2, 10)
    with torch.no_grad():
        maps = network[:-2](torch.rand(2, 1, size, size))
    assert maps.shape[2:] == (size // 4, size // 4)


@pytest.mark.parametrize("size", [8, 15])
def test_the_resnet_takes_images_of_many_sizes(size):
    assert ResNet18(10, 3)(torch.rand(2, 3, size, size)).shape == (2, 10)


def test_sizes_of_the_networks():
    assert 200_000 < n_parameters(CompactConvNet(10, 1)) < 400_000
    assert n_parameters(ResNet18(10, 3)) == 11_173_962  # the published CIFAR form
    assert n_parameters(MultilayerPerceptron([64, 32, 10])) == 64 * 32 + 2 * 32 + 33 * 10


def test_blocks_are_named_and_the_output_module_comes_last(network, images):
    names = list(dict(network.named_children()))
    assert names[-2:] == ["features", "output"]
    assert type(network.output) is nn.Linear
    assert type(network.features[-1]) is FeatureMap
    assert network(images).shape == (3, 5)


def test_names_of_the_blocks():
    children = [list(dict(make().named_children())) for make in MAKERS.values()]
    blocks = [f"block{number}" for number in range(1, 5)]
    layers = [f"layer{layer}_{number}" for layer in range(1, 5) for number in (0, 1)]
    assert children == [
        [*blocks, "features", "output"],
        ["block1", "features", "output"],
        ["stem", *layers, "features", "output"],
    ]


def test_the_smallest_perceptron_flattens_in_its_features():
    network = MultilayerPerceptron((64, 16, 5))
    assert list(dict(network.named_children())) == ["features", "output"]
    assert network(torch.rand(3, 1, 8, 8)).shape == (3, 5)


def test_last_features_are_rows_of_the_kernel(network, images):
    with torch.no_grad():
        features = network[:-1](images)
    assert features.ndim == 2
    assert bool((features >= 0).all())
    torch.testing.assert_close(features.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("name", FEATURE_MAPS)
def test_the_feature_map_can_be_chosen(name, images):
    for make in MAKERS.values():
        network = make(feature_map=name)
        assert network.arguments["feature_map"] == network.features[-1].name == name
        assert bool(network(images).isfinite().all())


@pytest.mark.parametrize("name", FEATURE_MAPS)
def test_the_layer_is_the_map_of_the_statistics(name):
    rows = torch.randn(4, 6, dtype=torch.float64)
    torch.testing.assert_close(FeatureMap(name)(rows), FEATURE_MAPS[name](rows))
    assert FeatureMap(name)(rows.bfloat16()).dtype == torch.float32
    assert repr(FeatureMap(name)) == f"FeatureMap({name!r})"


def test_last_features_stay_precise_under_autocast(images):
    network = CompactConvNet(5, 2)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        features = network[:-1](images)
        assert network.output(features).dtype == torch.bfloat16
    torch.testing.assert_close(features.norm(dim=1), torch.ones(3), rtol=0, atol=1e-6)


def test_a_network_is_rebuilt_from_its_arguments(network, images):
    arguments = json.loads(json.dumps(network.arguments))
    rebuilt = type(network)(**arguments)
    rebuilt.load_state_dict(network.state_dict())
    assert rebuilt.arguments == network.arguments
    torch.testing.assert_close(rebuilt.eval()(images), network.eval()(images))


def test_a_zoo_saves_and_loads_a_network(network, images, tmp_path):
    build = (f"modtools.training.networks:{type(network).__name__}", network.arguments)
    layers = [next(name for name, _ in network.named_children()), "features"]
    zoo = Zoo(tmp_path)
    zoo.save(PretrainedModule(network.eval(), name="mine", layers=layers, build=build))
    loaded = zoo.load("mine")
    assert type(loaded.network) is type(network)
    assert loaded.names == (f"mine@{layers[0]}", "mine@features")
    torch.testing.assert_close(loaded.network(images), network(images))


def test_a_copy_is_a_network_of_its_own(network, images):
    twin = copy.deepcopy(network)
    assert twin.arguments == network.arguments
    with torch.no_grad():
        twin.output.bias.add_(1)
    torch.testing.assert_close(twin.eval()(images), network.eval()(images) + 1)


def test_a_slice_is_a_part_with_the_same_blocks(network):
    part = network[:-1]
    assert type(part) is nn.Sequential
    assert list(dict(part.named_children())) == list(dict(network.named_children()))[:-1]
    assert part.features is network.features
    assert network[-1] is network.output


def test_no_block_changes_what_it_is_given(network, images):
    outputs = images
    for block in network:
        before = outputs.detach().clone()
        following = block(outputs)
        torch.testing.assert_close(outputs.detach(), before, rtol=0, atol=0)
        outputs = following


def test_every_parameter_learns(network, images):
    functional.cross_entropy(network(images), torch.tensor([0, 1, 4])).backward()
    for name, parameter in network.named_parameters():
        assert bool(parameter.grad.isfinite().all()), name
        assert bool(parameter.grad.any()), name


def test_channels_last_gives_the_same(images):
    network = CompactConvNet(5, 2).eval()
    expected = network(images)
    network.to(memory_format=torch.channels_last)
    found = network(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_one_seed_gives_one_network():
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(CompactConvNet(5).state_dict())
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CompactConvNet(1), "n_classes must be a whole number of at least 2; got 1"),
        (lambda: CompactConvNet(in_channels=0), "in_channels must be a whole number of at least 1"),
        (lambda: ResNet18("10"), "n_classes must be a whole number of at least 2; got '10'"),
        (lambda: ResNet18(feature_map="relu"), 'unknown feature_map "relu"'),
        (lambda: FeatureMap("relu_normalized"), 'did you mean "relu_normalised"'),
        (lambda: MultilayerPerceptron([64, 10]), r"sizes must be .* got \[64, 10\]"),
        (lambda: MultilayerPerceptron("64,32,10"), "sizes must be"),
        (lambda: MultilayerPerceptron([64, 0, 10]), "each of sizes must be .* got 0"),
        (lambda: MultilayerPerceptron([64, 8.5, 10]), "each of sizes must be .* got 8.5"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ModtoolsError, match=message):
        make()
