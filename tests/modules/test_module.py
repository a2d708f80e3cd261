import functools

import pytest
from torch import nn

from modtools.exceptions import ModtoolsError
from modtools.modules import PretrainedModule
from modtools.modules._module import check_module_name


def test_names_layers_and_repr(module):
    assert module.layers == ("stem", "norm", "blocks.1", None)
    assert module.names == ("tiny@stem", "tiny@norm", "tiny@blocks.1", "tiny")
    assert repr(module) == (
        "PretrainedModule(tiny@stem ... tiny (4 layers): TinyNet, pooling=mean, 139 parameters)"
    )
    assert "\n" not in repr(module)


def test_at_shares_the_network_and_all_settings(network):
    def preprocess(batch):
        return batch

    module = PretrainedModule(
        network, name="tiny", pooling="max", preprocess=preprocess, source_head=True
    )
    moved = module.at(["stem", None])
    assert moved.network is network
    assert (moved.pooling, moved.preprocess, moved.source_head) == ("max", preprocess, True)
    assert moved.layers == ("stem", None)
    assert module.layers == (None,)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [("stem", 40), ("norm", 48), ("blocks.1", 88), ("head", 133), (None, 139)],
)
def test_parameters_up_to_a_layer(module, layer, expected):
    assert module.n_parameters(layer) == expected


def test_shared_weights_count_once():
    layer = nn.Linear(3, 3)
    module = PretrainedModule(nn.Sequential(layer, nn.ReLU(), layer), name="tied")
    assert module.n_parameters() == 12
    assert module.at("2").names == ("tied@2",)


def test_a_callable_has_no_layers_and_no_parameters():
    module = PretrainedModule(functools.partial(pow, 2), name="plain")
    assert module.n_parameters() == 0
    assert repr(module).startswith("PretrainedModule(plain: partial")
    with pytest.raises(ModtoolsError, match=r'layer "x" needs a torch.nn.Module'):
        module.at("x")


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            "blocks.99",
            'layer "blocks.99" does not exist in tiny; layers at that depth: '
            "blocks.0, blocks.1, blocks.2.",
        ),
        ("steem", 'layer "steem" does not exist in tiny; did you mean "stem"?'),
        (
            "zzz",
            'layer "zzz" does not exist in tiny; layers at that depth: '
            "stem, norm, act, blocks, drop, head, unused.",
        ),
        (
            "zzz.qqq",
            'layer "zzz.qqq" does not exist in tiny; its parts are: '
            "stem, norm, act, blocks, drop, head, unused.",
        ),
        ("", 'layer "" does not exist in tiny; layers at that depth: '),
    ],
)
def test_unknown_layers_name_the_nearest(network, layer, message):
    with pytest.raises(ModtoolsError) as caught:
        PretrainedModule(network, name="tiny", layers=layer)
    assert str(caught.value).startswith(message)


def test_many_siblings_give_the_nearest_numbers():
    network = nn.Sequential(*(nn.ReLU() for _ in range(16)))
    with pytest.raises(ModtoolsError, match=r"layers at that depth: 13, 14, 15\."):
        PretrainedModule(network, name="deep", layers="99")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": 3}, "network must be callable; got int"),
        ({"layers": []}, "layers must name one or more different"),
        ({"layers": ["stem", "stem"]}, "layers must name one or more different"),
        ({"layers": 3}, "layers must name"),
        ({"layers": [3]}, "layers must name"),
        ({"pooling": "maen"}, 'unknown pooling "maen"; did you mean "mean"'),
        ({"source_head": "heads"}, 'layer "heads" does not exist'),
        ({"source_head": 3}, "source_head must be True, the name of an inner module or callable"),
        ({"preprocess": 3}, "preprocess must be callable; got int"),
        ({"build": "torch.nn:ReLU"}, r'build must be \("package:Class", \{arguments\}\); got'),
        ({"build": ("torch.nn:ReLU",)}, "build must be"),
        ({"network": nn.ReLU(), "layers": "0"}, '"0" does not exist in tiny; it has no parts'),
        ({"name": "a/b"}, "a module's name"),
    ],
)
def test_bad_arguments(network, arguments, message):
    with pytest.raises(ModtoolsError, match=message):
        PretrainedModule(**{"network": network, "name": "tiny", **arguments})


@pytest.mark.parametrize("name", ["lite0", "raw pixels", "a.b-c_d+e", "été", "0"])
def test_good_names(name):
    assert check_module_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "a\\b", "a@b", "a ", "a.", "a\n", "x" * 101, None, 3]
)
def test_bad_names(name):
    with pytest.raises(ModtoolsError, match="a module's name"):
        check_module_name(name)
