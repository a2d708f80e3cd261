import sys
import types

import pytest
import torch
from torch import nn

from modtools.exceptions import ModtoolsError
from modtools.modules._rebuild import ALLOWED_PACKAGES, build_network


def build(target, arguments=None, allow=ALLOWED_PACKAGES):
    return build_network(target, {} if arguments is None else arguments, allow)


@pytest.fixture
def trap(monkeypatch):
    """A package of the user's, which remembers what was run in it."""
    package = types.ModuleType("trap_package")
    package.ran = []

    class Net(nn.Linear):
        def __init__(self, width=2):
            package.ran.append(("init", width))
            super().__init__(width, 1)

        @classmethod
        def from_config(cls, width):
            package.ran.append(("from_config", width))
            return cls(width)

        @classmethod
        def from_name(cls):
            return "no network"

        @classmethod
        def from_pretrained(cls):
            package.ran.append("from_pretrained")

    Net.__module__ = "trap_package"
    package.Net = Net
    package.launch = lambda: package.ran.append("launch")
    package.borrowed = nn.Linear
    monkeypatch.setitem(sys.modules, "trap_package", package)
    return package


def test_a_class_and_its_classmethods(trap):
    assert isinstance(build("torch.nn:Linear", {"in_features": 2, "out_features": 3}), nn.Linear)
    assert build("trap_package:Net", {"width": 5}, ["trap_package"]).in_features == 5
    assert build("trap_package:Net.from_config", {"width": 4}, ["trap_package"]).in_features == 4
    assert trap.ran == [("init", 5), ("from_config", 4), ("init", 4)]


def test_the_random_state_is_not_touched():
    state = torch.get_rng_state()
    build("torch.nn:Linear", {"in_features": 9, "out_features": 9})
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "target",
    [
        "os:system",
        "os.system",
        "builtins:eval",
        "subprocess:Popen",
        "torchevil:Net",
        "torch_evil.nn:Net",
        "trap_package:Net",
    ],
)
def test_other_packages_are_refused_and_not_run(trap, target):
    with pytest.raises(ModtoolsError, match=r"allowed package|is written"):
        build(target)
    assert trap.ran == []


@pytest.mark.parametrize(
    "target",
    [
        "",
        "torch",
        "torch.nn.Linear",
        "torch:nn.Linear",
        "torch.nn:Linear:x",
        "torch.nn:Linear()",
        "torch.nn:__class__",
        "torch.utils.bottleneck.__main__:Net",
        "torch.testing._internal.common_fsdp:Net",
        ".torch:Net",
        "torch..nn:Net",
        "torch/nn:Net",
        "trap_package:Net.from_pretrained",
        "trap_package:Net.__init__",
        "trap_package:Net.from_config.__func__",
        None,
        3,
        ["torch.nn", "Linear"],
    ],
)
def test_malformed_targets(trap, target):
    with pytest.raises(ModtoolsError, match='a target is written "package:Class"'):
        build(target, allow=["torch", "trap_package"])
    assert trap.ran == []


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("torch.nn:Linaer", "cannot be imported"),
        ("torch.no_such_part:Net", "cannot be imported"),
        ("torch:load", "is not a torch.nn.Module class"),
        ("torch.hub:load", "is not a torch.nn.Module class"),
        ("torch.nn:functional", "is not a torch.nn.Module class"),
        ("torch.serialization:pickle", "is not a torch.nn.Module class"),
        ("torch.utils.data:DataLoader", "is not a torch.nn.Module class"),
        ("trap_package:launch", "is not a torch.nn.Module class"),
        ("trap_package:borrowed", "cannot be built"),
        ("trap_package:Net.from_name", "did not build a torch.nn.Module"),
        ("torch.nn:Linear.from_config", "cannot be built"),
    ],
)
def test_targets_that_are_no_networks(trap, target, message):
    with pytest.raises(ModtoolsError, match=message):
        build(target, allow=["torch", "trap_package"])
    assert trap.ran == []


def test_a_class_from_elsewhere_is_refused(trap):
    with pytest.raises(ModtoolsError, match="class of that package"):
        build("trap_package:borrowed", allow=["trap_package"])


@pytest.mark.parametrize(
    "arguments",
    [
        {"a": "/etc/passwd"},
        {"a": "weights.pth"},
        {"a": "model.safetensors"},
        {"a": "https://example.org"},
        {"a": "user/model"},
        {"a": "C:\\model"},
        {"a": "~"},
        {"a": "../up"},
        {"a": ["fine", {"b": "hf-hub:user/model"}]},
        {"trust_remote_code": True},
        {"a": {"trust_remote_code": True}},
        {"pretrained": True},
        {"use_pretrained_backbone": True},
        {"backbone": "resnet50"},
        {"weights": "DEFAULT"},
        {"weights_path": "x"},
        {"checkpoint": "x"},
        {"auto_map": {"AutoModel": "code"}},
        {"_name_or_path": "bert"},
        {"config_file": "x"},
        {"url": "x"},
        {"a": object()},
        {"a": b"bytes"},
        {"a": {3: "x"}},
        [],
        "text",
    ],
)
def test_arguments_that_lead_somewhere_are_refused(trap, arguments):
    with pytest.raises(ModtoolsError):
        build("trap_package:Net", arguments, allow=["trap_package"])
    assert trap.ran == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"drop_path_rate": 0.1},
        {"pretrained_window_sizes": [0, 0]},
        {"pretrained": False},
        {"trust_remote_code": False},
        {"gradient_checkpointing": False},
        {"init_weights": True},
        {"activation": "gelu"},
        {"name": "efficientnet-lite0", "profile": "small", "n": None},
    ],
)
def test_ordinary_arguments_are_let_through(arguments):
    with pytest.raises(ModtoolsError, match=r"cannot be built.*unexpected keyword"):
        build("torch.nn:Linear", arguments)


@pytest.mark.real_modules("hub")
def test_a_hugging_face_class_takes_its_configuration():
    small = {
        "vocab_size": 11,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
    }
    network = build("transformers:BertModel", small)
    assert network.config.vocab_size == 11
    with pytest.raises(ModtoolsError, match=r"not a torch.nn.Module class"):
        build("transformers:AutoModel", {})
