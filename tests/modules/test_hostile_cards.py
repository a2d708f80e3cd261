"""A card may come from anywhere: one clear error that names the folder, and nothing is run."""

import copy
import hashlib
import json
import sys
import types
from contextlib import suppress

import numpy as np
import pytest
import torch
from torch import nn

from modtools.exceptions import ModtoolsError
from modtools.modules import PretrainedModule, Zoo, extract, image_preprocess
from modtools.modules._rebuild import ALLOWED_PACKAGES, build_network, check_build


@pytest.fixture
def trap(monkeypatch):
    """A package of the user's whose network takes any argument and remembers that it was run."""
    package = types.ModuleType("trap_package")
    package.ran = []

    class Net(nn.Linear):
        def __init__(self, **arguments):
            package.ran.append(arguments)
            super().__init__(2, 1)

    Net.__module__ = "trap_package"
    package.Net = Net
    monkeypatch.setitem(sys.modules, "trap_package", package)
    return package


def build(arguments):
    return build_network("trap_package:Net", arguments, ["trap_package"])


TRUTHY = [1, 0, 0.0, -1, 0.5, True, "x", "False", [True], [], [0], {}, {"a": None}, [[]], 10**12]
FETCHING = [
    "pretrained",
    "PRETRAINED",
    "Pretrained",
    "pre_trained",
    "preTrained",
    "use_pretrained_backbone",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "pretrained_backbone",
    "load_pretrained",
    "pretrained_model_name_or_path",
    "weights",
    "Weights",
    "weights_backbone",
    "weights_path",
    "backbone_weights",
    "checkpoint",
    "checkpoint_path",
    "checkpointPath",
    "ckpt",
    "ckpt_path",
    "state_dict",
    "stateDict",
    "cache_dir",
    "cacheDir",
    "url",
    "uri",
    "urls",
    "model_url",
    "file",
    "config_file",
    "filename",
    "file_name",
    "path",
    "paths",
    "model_path",
    "dir",
    "folder",
    "subfolder",
    "repo",
    "repo_id",
    "hub",
    "hf_hub_id",
    "hf-hub-id",
    "revision",
    "code_revision",
    "trust_remote_code",
    "trustRemoteCode",
    "TRUST_REMOTE_CODE",
    "auto_map",
    "_name_or_path",
    "name_or_path",
    "backbone",
    "token",
    "use_auth_token",
    "force_download",
    "download",
    "proxies",
    "endpoint",
    "attn_implementation",
    "_attn_implementation",
]


@pytest.mark.parametrize("key", FETCHING)
def test_only_false_none_and_empty_text_pass_where_something_could_be_fetched(trap, key):
    for value in TRUTHY:
        for arguments in ({key: value}, {"a": {key: value}}, {"a": [[{"b": [{key: value}]}]]}):
            with pytest.raises(ModtoolsError, match="may fetch weights or code; it is refused"):
                build(arguments)
    assert trap.ran == []
    for value in (False, None, ""):
        build({key: value})
        build({"a": [{key: value}]})
    assert len(trap.ran) == 6


@pytest.mark.parametrize(
    "value",
    [
        "hf-hub:user",
        "hf_hub:resnet18",
        "HF-HUB:resnet18",
        "local-dir:model",
        "file:model",
        "https:example",
        "s3:bucket",
        "user/model",
        "weights.pth",
        "weights.PTH",
        "weights.pth\n",
        "weights.gguf",
        "weights.h5",
        "code.pyc",
        "library.so",
        "config.yaml",
        "..",
        "~user",
        "a\0b",
    ],
)
def test_texts_that_lead_somewhere_are_refused_at_any_depth(trap, value):
    for arguments in ({"a": value}, {"a": [value]}, {"a": {"b": [{"c": value}]}}):
        with pytest.raises(ModtoolsError, match="looks like a path, an address or a hub name"):
            build(arguments)
    assert trap.ran == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"device": "cuda:0"},
        {"drop_path_rate": 0.1, "drop_path": 0.2, "path_dropout": 0.1, "use_mem_eff_path": True},
        {"pretrained_window_sizes": [0, 12]},
        {"init_weights": True, "scale_attn_weights": True, "weight_init": "jax"},
        {"use_cache": True, "return_class_token": True, "num_experts_per_token": 8},
        {"bidirectional": True, "profile": "x", "backbone_config": {"depths": [2, 2]}},
        {"hidden_act": "gelu_new", "name": "efficientnet-lite0", "eps": 1e-5, "n": -3},
    ],
)
def test_settings_that_only_sound_alike_pass(trap, arguments):
    build(arguments)
    assert trap.ran == [arguments]


def nested(depth, inner=None):
    value = inner
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (nested(17), "nested more than 16 deep"),
        (nested(100_000), "nested more than 16 deep"),
        (float("nan"), "must be a finite number"),
        (float("inf"), "must be a finite number"),
        (10**400, "must be a finite number within"),
        (b"x", "must be plain JSON"),
        (object(), "must be plain JSON"),
        ({1: 2}, "a key that is not text"),
    ],
)
def test_what_json_does_not_hold_is_refused(trap, value, message):
    with pytest.raises(ModtoolsError, match=message):
        build({"a": value})
    assert trap.ran == []


def test_a_file_that_ends_the_program_when_imported_is_an_error(monkeypatch, tmp_path):
    (tmp_path / "script_package.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModtoolsError, match="cannot be imported"):
        build_network("script_package:Net", {}, ["script_package"])


def test_positional_arguments_do_not_exist():
    for arguments in ([True], (1,), "pretrained", None, 3):
        with pytest.raises(ModtoolsError, match="must be a dict"):
            check_build("torch.nn:Linear", arguments, ALLOWED_PACKAGES)


@pytest.fixture
def zoo(tmp_path):
    torch.manual_seed(0)
    made = Zoo(tmp_path / "zoo")
    module = PretrainedModule(
        nn.Conv2d(3, 2, 3),
        name="conv",
        layers=[None],
        preprocess=image_preprocess(5, mean=0.1),
        build=("torch.nn:Conv2d", {"in_channels": 3, "out_channels": 2, "kernel_size": [3, 3]}),
    )
    made.save(module, training={"proxy": "supcon", "recipe": {"batch_size": 8}})
    return made


HOSTILE = [
    None,
    True,
    False,
    0,
    1,
    -1,
    1.5,
    10**30,
    10**400,
    1e308,
    "",
    "x",
    "__class__",
    "../conv",
    "a\0b",
    "\n",
    "\x1b[2J",
    "ä" * 300,
    "x" * 5000,
    [],
    [None],
    [[]],
    [{}],
    [1, "x", None],
    ["x"] * 1000,
    nested(20),
    {},
    {"": ""},
    {"x": 1},
    {"type": []},
    {"type": {}},
    {"type": "ImagePreprocess", "size": [1, 2, 3]},
    {"type": "TextPreprocess", "inputs": ["x"]},
    {"a\0b": "0"},
    {"x" * 5000: "0"},
]
IMAGES = np.zeros((2, 8, 8), np.uint8)


def places(content, path=()):
    """Yield the path of everything in a card."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        yield (*path, key)
        if isinstance(value, dict | list) and key not in ("versions", "training"):
            yield from places(value, (*path, key))


def test_any_field_may_hold_anything(zoo):
    """What is loaded all the same works; everything else is one error that names the folder."""
    path = zoo.folder / "conv" / "card.json"
    card = json.loads(path.read_text())
    refused = []
    for place in places(card):
        for value in HOSTILE:
            changed = copy.deepcopy(card)
            inner = changed
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = value
            path.write_text(json.dumps(changed))
            try:
                loaded = zoo.load("conv")
            except ModtoolsError as error:
                refused.append(str(error))
                continue
            with suppress(ModtoolsError):  # another preprocessing than the network wants
                assert len(extract(loaded, IMAGES)) == 2
    assert len(refused) > 300
    assert all(str(zoo.folder / "conv") in text and text.isprintable() for text in refused)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not valid JSON"),
        ("\ufeff{}", "is not valid JSON"),
        ("{'name': 1}", "is not valid JSON"),
        ('{"format": NaN}', "NaN is no number"),
        ('{"format": -Infinity}', "-Infinity is no number"),
        ('{"format": 1e999}', "1e999. is no number"),
        ('{"format": ' + "9" * 5000 + "}", "is not valid JSON"),
        ('{"format": 1, "format": 1}', "it has a key twice"),
        ('{"format": 1, "a": {"b": 1, "b": 2}}', "it has a key twice"),
        ('{"format": 1, "a": "\\ud800"}', "is not valid JSON"),
        ('{"format": 1, "a": ' + "[" * 40 + "]" * 40 + "}", "nested more than 32 deep"),
        ('{"a":' * 900 + "1" + "}" * 900, "is not valid JSON"),
        ('{"format": true}', "has format True"),
        ('{"format": 1.0}', "has format 1.0"),
        ("null", "has format None"),
        ('"' + "x" * 1000 + '"', "has format None"),
    ],
)
def test_json_that_two_programs_could_read_in_two_ways(zoo, text, message):
    path = zoo.folder / "conv" / "card.json"
    path.write_bytes(text.encode())
    with pytest.raises(ModtoolsError, match=message) as caught:
        zoo.load("conv")
    assert str(path) in str(caught.value)


def test_bytes_that_are_no_text(zoo):
    path = zoo.folder / "conv" / "card.json"
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(ModtoolsError, match="is not valid JSON"):
        list(zoo)


@pytest.mark.real_modules("hub")
@pytest.mark.parametrize("tokenizer", ["", "{", "null", "[]", '{"model": 3}', "x" * 100])
def test_a_tokenizer_is_read_when_the_module_is(zoo, tokenizer):
    folder = zoo.folder / "conv"
    (folder / "tokenizer.json").write_text(tokenizer)
    card = json.loads((folder / "card.json").read_text())
    card["sha256"]["tokenizer.json"] = hashlib.sha256(tokenizer.encode()).hexdigest()
    card["preprocess"] = {"type": "TextPreprocess", "inputs": ["input_ids"]}
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModtoolsError, match="the preprocessing TextPreprocess does not fit") as e:
        zoo.load("conv")
    assert str(folder) in str(e.value)


@pytest.mark.parametrize(
    "told", [{"description": 3}, {"source_task": ["x"]}, {"proxy": {}}, {"description": "\ud800"}]
)
def test_what_a_card_could_not_give_back_is_not_saved(zoo, told):
    module = zoo.load("conv")
    with pytest.raises(ModtoolsError):
        zoo.save(module, overwrite=True, **told)
    zoo.load("conv")
