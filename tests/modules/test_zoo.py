import hashlib
import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from modtools import _folders
from modtools.exceptions import ModtoolsError
from modtools.modules import (
    PretrainedModule,
    Zoo,
    _zoo as zoo_file,
    extract,
    image_preprocess,
    pixels,
    run,
)
from modtools.modules._zoo import UnknownModuleError
from tests.rounding import assert_same_but_for_rounding

pytestmark = pytest.mark.floating_point

BUILD = ("torch.nn:TransformerEncoderLayer", {"d_model": 4, "nhead": 2, "batch_first": True})


def encoder(name="enc", **changes):
    torch.manual_seed(1)
    network = nn.TransformerEncoderLayer(4, 2, batch_first=True)
    return PretrainedModule(
        network, **{"name": name, "layers": ["norm1", "linear1"], "build": BUILD, **changes}
    )


@pytest.fixture
def zoo(tmp_path, linear):
    made = Zoo(tmp_path / "zoo")
    made.save(encoder(), source_task="nothing", description="A test.")
    made.save(linear)
    return made


def rewrite_card(folder, **changes):
    path = Path(folder) / "card.json"
    card = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in card.items() if v is not ...}))


def restate_digest(folder, name="module.safetensors"):
    digest = hashlib.sha256((Path(folder) / name).read_bytes()).hexdigest()
    rewrite_card(folder, sha256={name: digest})


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def test_it_is_a_mapping_of_layers(zoo):
    assert list(zoo) == ["enc@norm1", "enc@linear1", "small"]
    assert len(zoo) == 3
    assert zoo.names == ("enc", "small")
    assert repr(zoo).endswith("zoo': 2 modules, 3 layers)")
    for key in (*zoo, "enc"):
        assert key in zoo
    for key in ("enc@nope", "none", 3, None):
        assert key not in zoo
    assert [module.names for module in zoo.values()] == [(key,) for key in zoo]
    assert zoo.get("none") is None


def test_names_give_all_layers_one_layer_or_another_layer(zoo):
    assert zoo["enc"].layers == zoo.load("enc").layers == ("norm1", "linear1")
    assert zoo["enc@linear1"].layers == ("linear1",)
    assert zoo["enc@linear2"].layers == ("linear2",)
    assert zoo["small"].layers == (None,)


def test_the_output_beside_other_layers(tmp_path):
    zoo = Zoo(tmp_path)
    zoo.save(encoder(layers=["norm1", None]))
    assert list(zoo) == ["enc@norm1", "enc"]
    assert zoo["enc"].layers == (None,)
    assert zoo.load("enc").layers == ("norm1", None)


def test_what_comes_back_gives_the_same_features(zoo, linear):
    tokens = np.random.default_rng(0).random((3, 5, 4), dtype=np.float32)
    expected, found = extract(encoder(), tokens), extract(zoo["enc"], tokens)
    for layer in expected:
        assert_same_but_for_rounding(found[layer], expected[layer])
    rows = np.ones((2, 4), np.float32)
    assert_same_but_for_rounding(extract(zoo["small"], rows), extract(linear, rows))
    assert not zoo["enc"].network.training


def test_every_setting_comes_back(tmp_path):
    module = PretrainedModule(
        nn.Conv2d(3, 2, 3),
        name="conv",
        pooling="max",
        preprocess=image_preprocess((5, 7), mean=(0.1, 0.2, 0.3), std=0.5),
        source_head=True,
        build=("torch.nn:Conv2d", {"in_channels": 3, "out_channels": 2, "kernel_size": [3, 3]}),
    )
    zoo = Zoo(tmp_path)
    zoo.save(module)
    back = zoo["conv"]
    assert back.preprocess == module.preprocess
    assert hash(back.preprocess) == hash(module.preprocess)
    assert (back.pooling, back.source_head, back.build) == ("max", True, module.build)
    images = np.random.default_rng(0).integers(0, 255, (2, 9, 9), dtype=np.uint8)
    found, expected = run(back, images), run(module, images)
    assert_same_but_for_rounding(found.source_probabilities, expected.source_probabilities)


def test_the_files_of_a_module(zoo):
    folder = zoo.folder / "enc"
    assert names(folder) == ["README.md", "card.json", "module.safetensors"]
    card = zoo.card("enc")
    stated = {"format": 1, "name": "enc", "source_task": "nothing", "n_parameters": 18532}
    assert stated.items() <= card.items()
    assert card["target"] == BUILD[0]
    assert card["arguments"] == BUILD[1]
    assert card["layers"] == ["norm1", "linear1"]
    assert {"created", "sha256", "versions", "proxy", "pooling", "preprocess"} <= set(card)
    text = (folder / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: modtools\n")
    assert "# enc\n\nA test.\n" in text
    assert "| Source task | nothing |" in text


def test_pixels_can_be_saved(tmp_path):
    zoo = Zoo(tmp_path)
    zoo.save(pixels())
    images = np.full((2, 3, 3), 255, np.uint8)
    np.testing.assert_array_equal(extract(zoo["pixels"], images), np.ones((2, 9)))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(3, 3, bias=False)
        self.decode = nn.Linear(3, 3, bias=False)
        self.decode.weight = self.encode.weight
        self.register_buffer("whole", torch.arange(6.0))
        self.register_buffer("first", self.whole[:3])
        self.register_buffer("turned", torch.arange(6.0).reshape(2, 3).T)
        self.register_buffer("empty", torch.zeros(0))

    def forward(self, x):
        return self.decode(self.encode(x)) + self.first


def test_shared_weights_are_stored_once_and_stay_shared(tmp_path, monkeypatch):
    monkeypatch.setattr(nn, "Tied", Tied, raising=False)
    monkeypatch.setattr(Tied, "__module__", "torch.nn")
    network = Tied()
    zoo = Zoo(tmp_path)
    zoo.save(PretrainedModule(network, name="tied", build=("torch.nn:Tied", {})))
    with safe_open(tmp_path / "tied" / "module.safetensors", framework="pt") as file:
        assert set(file.keys()) == {"encode.weight", "whole", "first", "turned", "empty"}
    back = zoo["tied"].network
    assert back.decode.weight is back.encode.weight
    for name, value in network.state_dict().items():
        assert torch.equal(back.state_dict()[name], value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_number_types_are_kept(tmp_path, linear, dtype):
    linear.network.to(dtype)
    zoo = Zoo(tmp_path)
    zoo.save(linear)
    assert zoo["small"].network.weight.dtype == dtype
    assert torch.equal(zoo["small"].network.weight, linear.network.weight)


def test_loading_leaves_the_random_state_alone(zoo):
    state = torch.get_rng_state()
    zoo.load("enc")
    assert torch.equal(torch.get_rng_state(), state)


def test_a_zoo_that_is_not_there_is_empty(tmp_path):
    zoo = Zoo(tmp_path / "none")
    assert len(zoo) == 0
    assert list(zoo) == []
    assert not (tmp_path / "none").exists()


def test_unknown_names(zoo):
    with pytest.raises(KeyError):
        zoo["smal"]
    with pytest.raises(UnknownModuleError) as caught:
        zoo["smal"]
    assert isinstance(caught.value, ModtoolsError)
    assert str(caught.value).endswith(
        'holds no module "smal"; did you mean "small"? It holds enc, small.'
    )
    with pytest.raises(ModtoolsError, match=r'layer "norm9" does not exist in enc'):
        zoo["enc@norm9"]
    with pytest.raises(ModtoolsError, match="It holds nothing"):
        Zoo(zoo.folder / "none")["enc"]


@pytest.mark.parametrize("name", ["../zoo/enc", "..", ".", "/etc", "enc/../enc", "", ".hidden"])
def test_names_do_not_leave_the_zoo(zoo, name):
    with pytest.raises(ModtoolsError, match="holds no module"):
        zoo[name]


def test_saving_twice_needs_to_be_said(zoo, linear):
    with pytest.raises(ModtoolsError, match="exists; give another name, or overwrite=True"):
        zoo.save(linear)
    with torch.no_grad():
        linear.network.bias.fill_(7)
    zoo.save(linear, overwrite=True)
    assert zoo["small"].network.bias.tolist() == [7, 7, 7]
    assert names(zoo.folder) == ["enc", "small"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"build": None}, r'cannot be saved: it lacks build=\("package:Class"'),
        ({"preprocess": lambda batch: batch}, "preprocess= is not one of modtools' own"),
        ({"preprocess": nn.Identity()}, "preprocess= is not one of modtools' own"),
        ({"source_head": lambda output: output}, "source_head= is a function"),
        ({"build": ("torch.nn:ReLU", {})}, "makes a network with other weights"),
        ({"build": ("torch.nn:Linear", {"in_features": 4, "out_features": 2})}, "other weights"),
        ({"build": ("mine:Net", {})}, r'Zoo\(folder, allow=\["mine"\]\)'),
        ({"build": ("torch.nn:Linear", {"in_features": "a/b"})}, "looks like a path"),
        ({"network": torch.relu}, "a plain callable"),
    ],
)
def test_what_cannot_be_rebuilt_is_not_saved(tmp_path, changes, message):
    settings = {
        "network": nn.Linear(4, 3),
        "name": "small",
        "build": ("torch.nn:Linear", {"in_features": 4, "out_features": 3}),
        **changes,
    }
    with pytest.raises(ModtoolsError, match=message):
        Zoo(tmp_path / "zoo").save(PretrainedModule(**settings))
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize("place", ["save_weights", "readme", "file_digest", "new_folder"])
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_full_disk_leaves_nothing_behind(zoo, linear, monkeypatch, place, overwrite):
    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    before = (zoo.folder / "small" / "card.json").read_bytes()
    monkeypatch.setattr(zoo_file, place, full)
    module = linear if overwrite else encoder("other")
    with pytest.raises(ModtoolsError, match=r"No space left on device\. Nothing was left behind"):
        zoo.save(module, overwrite=overwrite)
    assert names(zoo.folder) == ["enc", "small"]
    assert (zoo.folder / "small" / "card.json").read_bytes() == before


def test_a_failed_rename_puts_the_old_module_back(zoo, linear, monkeypatch):
    rename = Path.rename

    def fails_in_place(self, target):
        if self.name == "new" and not Path(target).exists():
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(_folders, "_exchange", lambda *_: False)  # as some file systems
    monkeypatch.setattr(Path, "rename", fails_in_place)
    with pytest.raises(ModtoolsError, match="Input/output error"):
        zoo.save(linear, overwrite=True)
    monkeypatch.undo()
    assert names(zoo.folder) == ["enc", "small"]
    assert zoo["small"].n_parameters() == 15


def truncate(folder):
    path = folder / "module.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def truncate_and_restate(folder):
    truncate(folder)
    restate_digest(folder)


def huge_header(folder):
    path = folder / "module.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 60) + path.read_bytes()[8:])
    restate_digest(folder)


def pickle_inside(folder):
    torch.save({"weight": torch.ones(1)}, folder / "module.safetensors")
    restate_digest(folder)


def other_weights(folder):
    save_file({"weight": torch.zeros(3, 4)}, folder / "module.safetensors")
    restate_digest(folder)


def other_shape(folder):
    tensors = {"weight": torch.zeros(3, 5), "bias": torch.zeros(3)}
    save_file(tensors, folder / "module.safetensors")
    restate_digest(folder)


def false_alias(folder):
    tensors = {"weight": torch.zeros(3, 4)}
    save_file(tensors, folder / "module.safetensors", metadata={"bias": "nothing"})
    restate_digest(folder)


def link_weights(folder):
    path = folder / "module.safetensors"
    path.rename(folder.parent / "elsewhere")
    path.symlink_to(folder.parent / "elsewhere")


def link_card(folder):
    path = folder / "card.json"
    path.rename(folder.parent / "elsewhere")
    path.symlink_to(folder.parent / "elsewhere")


def link_folder(folder):
    folder.rename(folder.parent.parent / "elsewhere")
    folder.symlink_to(folder.parent.parent / "elsewhere")


def remove_weights(folder):
    (folder / "module.safetensors").unlink()


def write_card(text):
    return lambda folder: (folder / "card.json").write_text(text)


def card_with(**changes):
    return lambda folder: rewrite_card(folder, **changes)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "sha256 of module.safetensors differs. It was changed or damaged."),
        (truncate_and_restate, "does not hold the weights of this network"),
        (huge_header, "does not hold the weights of this network"),
        (pickle_inside, "does not hold the weights of this network"),
        (other_weights, "does not hold the weights of this network"),
        (other_shape, "does not hold the weights of this network"),
        (false_alias, "does not hold the weights of this network"),
        (link_weights, "missing, or not a plain file"),
        (link_card, "not a link"),
        (link_folder, "not a link"),
        (remove_weights, "missing, or not a plain file"),
        (write_card("{"), "is not valid JSON"),
        (write_card("[" * 100_000), "is not valid JSON"),
        (write_card("[]"), "has format None"),
        (write_card('"' + "x" * (1 << 20) + '"'), "larger than a card can be"),
        (card_with(format=2), "has format 2; this modtools reads 1"),
        (card_with(name="other"), 'belongs to "other"'),
        (card_with(name=...), "lacks or mistypes name"),
        (card_with(layers="norm1"), "lacks or mistypes layers"),
        (card_with(layers=[3]), "lacks or mistypes layers"),
        (card_with(layers=["nope"]), 'layer "nope" does not exist'),
        (card_with(layers=[]), "layers must name"),
        (card_with(pooling="median"), 'unknown pooling "median"'),
        (card_with(source_head="nope"), 'layer "nope" does not exist'),
        (card_with(sha256={}), "states no sha256 of module.safetensors"),
        (card_with(sha256={"module.safetensors": 3}), "sha256 of module.safetensors differs"),
        (card_with(target="os:system", arguments={"command": "true"}), "allowed package"),
        (card_with(target="os.system"), "a target is written"),
        (card_with(target="torch:load"), "is not a torch.nn.Module class"),
        (card_with(arguments={"in_features": 4, "file": "a/b"}), "looks like a path|may fetch"),
        (card_with(arguments={"in_features": 4}), "cannot be built"),
        (card_with(preprocess={"type": "os.system"}), "unknown preprocessing 'os.system'"),
        (card_with(preprocess={"type": ["x"]}), "unknown preprocessing"),
        (card_with(preprocess={"type": "ImagePreprocess", "hue": 3}), "does not fit"),
        (card_with(preprocess={"type": "ImagePreprocess", "size": -3}), "size must be"),
        (card_with(preprocess={"type": "TextPreprocess"}), "states no sha256 of tokenizer.json"),
    ],
)
def test_a_damaged_or_hostile_folder_gives_one_clear_error(zoo, damage, message):
    damage(zoo.folder / "small")
    with pytest.raises(ModtoolsError, match=message) as caught:
        zoo["small"]
    assert "\n" not in str(caught.value)
    assert str(zoo.folder / "small") in str(caught.value)


def test_files_outside_the_folder_are_not_read(zoo):
    card = zoo.card("small")
    rewrite_card(zoo.folder / "small", sha256={**card["sha256"], "../enc/card.json": "0"})
    with pytest.raises(ModtoolsError, match="not a plain file of this folder"):
        zoo["small"]


def test_a_hostile_target_is_not_run(zoo, tmp_path):
    proof = tmp_path / "proof"
    command = {"command": f"touch {proof.name}"}
    rewrite_card(zoo.folder / "small", target="os:system", arguments=command)
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        with pytest.raises(ModtoolsError):
            zoo["small"]
    finally:
        os.chdir(before)
    assert not proof.exists()


def test_a_package_that_the_caller_allows(tmp_path, monkeypatch, network):
    monkeypatch.setattr(type(network), "__module__", "conftest_networks")
    home = type(os)("conftest_networks")
    home.TinyNet = type(network)
    monkeypatch.setitem(__import__("sys").modules, "conftest_networks", home)
    module = PretrainedModule(network, name="tiny", build=("conftest_networks:TinyNet", {}))
    with pytest.raises(ModtoolsError, match="allowed package"):
        Zoo(tmp_path).save(module)
    Zoo(tmp_path, allow=["conftest_networks"]).save(module)
    with pytest.raises(ModtoolsError, match="allowed package"):
        Zoo(tmp_path)["tiny"]
    assert Zoo(tmp_path, allow=["conftest_networks"])["tiny"].n_parameters() == 139


def test_other_folders_in_a_zoo_are_left_alone(zoo):
    (zoo.folder / ".git").mkdir()
    (zoo.folder / "notes").mkdir()
    (zoo.folder / "README.md").write_text("mine")
    assert zoo.names == ("enc", "small")


@pytest.mark.parametrize("allow", ["timm", 3, None, ["timm", 3], [None]])
def test_packages_to_allow_are_a_list_of_names(tmp_path, allow):
    with pytest.raises(ModtoolsError, match=r"^allow must be a list of names of packages; got "):
        Zoo(tmp_path, allow=allow)


@pytest.mark.parametrize("key", [None, 3, ["tiny"], "", "@"])
def test_what_is_no_name_is_not_in_a_zoo(tmp_path, key):
    zoo = Zoo(tmp_path)
    assert key not in zoo
    assert zoo.get(key) is None
    with pytest.raises(UnknownModuleError, match="holds no module"):
        _ = zoo[key]
