import errno
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from modtools.exceptions import ModtoolsError, ModtoolsWarning
from modtools.modules import (
    Cache,
    PretrainedModule,
    _cache as cache_file,
    clear_cache,
    extract,
    image_preprocess,
    run,
)
from modtools.modules._identity import network_digest
from modtools.tasks import Task
from tests.rounding import assert_same_but_for_rounding

pytestmark = pytest.mark.floating_point

ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "kept"


@pytest.fixture
def cache(folder):
    return Cache(folder)


def files(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def test_put_get_size_clear(cache, folder):
    assert cache.get("k") is None
    assert cache.size == 0
    cache.put("k", ROWS)
    found = cache.get("k")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, ROWS)
    assert cache.size > ROWS.nbytes
    assert files(folder) == ["k.features"]
    cache.clear()
    assert files(folder) == []


def test_places(tmp_path, monkeypatch):
    monkeypatch.setenv("MODTOOLS_CACHE", str(tmp_path / "env"))
    assert Cache().folder == tmp_path / "env"
    assert Cache(tmp_path / "given").folder == tmp_path / "given"
    monkeypatch.delenv("MODTOOLS_CACHE")
    assert "modtools" in str(Cache().folder)


def test_clear_cache_clears_the_default_one(linear):
    extract(linear, np.ones((2, 4), np.float32), cache=True)
    assert Cache().size > 0
    clear_cache()
    assert Cache().size == 0


def test_clear_leaves_other_files_alone(cache, folder):
    cache.put("k", ROWS)
    (folder / "mine.txt").write_text("mine")
    cache.clear()
    assert files(folder) == ["mine.txt"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[:-4],
        lambda data: data[:-3],
        lambda data: data + b"\0\0\0\0",
        lambda data: b"",
        lambda data: b"\x80\x04" + data,
        lambda data: data.replace(b"[3, 2]", b"[2, 2]"),
        lambda data: data.replace(b'"sha256"', b'"sha999"'),
        lambda data: b"x" * 10_000,
        lambda data: b"3\n" + data,
    ],
)
def test_a_damaged_entry_warns_and_is_forgotten(cache, folder, damage):
    cache.put("k", ROWS)
    path = folder / "k.features"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(ModtoolsWarning, match=r"MT002: the cache entry .*k.features is damaged"):
        assert cache.get("k") is None
    assert files(folder) == []


def test_a_damaged_entry_is_computed_again(linear, folder):
    inputs = np.ones((2, 4), np.float32)
    expected = extract(linear, inputs, cache=folder)
    path = next(folder.iterdir())
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.warns(ModtoolsWarning, match="MT002"):
        again = extract(linear, inputs, cache=folder)
    assert_same_but_for_rounding(again, expected)
    np.testing.assert_array_equal(extract(linear, inputs, cache=folder), again)


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_disk_leaves_no_half_file_and_loses_no_result(linear, folder, monkeypatch, function):
    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache_file.os, function, full)
    with pytest.warns(ModtoolsWarning, match=r"MT007: features were not kept.*No space left"):
        found = extract(linear, np.ones((2, 4), np.float32), cache=folder)
    assert found.shape == (2, 3)
    assert files(folder) == []


def test_a_folder_that_cannot_be_made(linear, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(ModtoolsWarning, match="MT007"):
        assert extract(linear, np.ones((2, 4), np.float32), cache=tmp_path / "file" / "x").size


def test_an_interrupted_write_leaves_no_half_file(cache, folder, monkeypatch):
    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache_file.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.put("k", ROWS)
    assert files(folder) == []


def test_the_least_recently_used_goes_first(folder):
    one = len(_entry_bytes(folder))
    cache = Cache(folder, limit=3.5 * one / 1e9)
    for age, key in enumerate("abc"):
        cache.put(key, ROWS)
        os.utime(folder / f"{key}.features", (age, age))
    cache.get("a")  # used now, so "b" is the oldest
    cache.put("d", ROWS)
    assert files(folder) == ["a.features", "c.features", "d.features"]


def _entry_bytes(folder):
    Cache(folder).put("x", ROWS)
    data = (folder / "x.features").read_bytes()
    Cache(folder).clear()
    return data


@pytest.mark.parametrize("limit", ["0", "-1", "ten", "nan"])
def test_bad_limit(monkeypatch, limit):
    monkeypatch.setenv("MODTOOLS_CACHE_LIMIT", limit)
    with pytest.raises(ModtoolsError, match="limit of the cache in gigabytes"):
        Cache()


def test_limit_from_the_environment(monkeypatch):
    monkeypatch.setenv("MODTOOLS_CACHE_LIMIT", "2.5")
    assert Cache().limit == 2.5


WRITER = """
import sys
import numpy as np
from modtools.modules import Cache
step = 0
print("ready", flush=True)
while sys.stdin.read(1):  # a line asks for several entries; the end of the input ends it
    for _ in range(10):
        Cache(sys.argv[1]).put("k", np.full((200, 50), step, np.float32))
        step += 1
    print("done", flush=True)
"""


def test_two_processes_at_once(folder, cache):
    other = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline() == "ready\n"
    seen = []
    for _ in range(5):
        other.stdin.write("x")
        other.stdin.flush()
        for _ in range(10):
            cache.put("k", np.full((200, 50), -1, np.float32))
            seen.append(cache.get("k"))
        assert other.stdout.readline() == "done\n"
    other.communicate()
    assert other.returncode == 0
    for found in seen:
        assert found.shape == (200, 50)
        assert (found == found[0, 0]).all()
    assert files(folder) == ["k.features"]


def test_what_is_kept_is_not_run_again(module, images, folder):
    expected = extract(module, images, cache=folder)
    calls = module.network.calls
    again = extract(module, images, cache=folder)
    assert module.network.calls == calls
    for name in module.names:
        np.testing.assert_array_equal(again[name], expected[name])
    extract(module.at(["stem", "blocks.0"]), images, cache=folder)
    assert module.network.calls == calls + 1
    extract(module.at("blocks.0"), images, cache=folder)
    assert module.network.calls == calls + 1


def test_source_probabilities_are_kept_too(network, images, folder):
    module = PretrainedModule(network, name="tiny", layers="stem", source_head=True)
    extract(module, images, cache=folder)
    first = run(module, images, cache=folder)
    calls = network.calls
    again = run(module, images, cache=folder)
    assert network.calls == calls
    np.testing.assert_array_equal(again.source_probabilities, first.source_probabilities)
    np.testing.assert_array_equal(again.features["tiny@stem"], first.features["tiny@stem"])
    other = PretrainedModule(network, name="tiny", layers="stem", source_head="head")
    run(other, images, cache=folder)
    assert network.calls == calls + 1


def module_like(network, **changes):
    return PretrainedModule(network, **{"name": "tiny", "layers": "stem", **changes})


def change_weight(network):
    with torch.no_grad():
        network.stem.bias[0] += 1e-3


def change_buffer(network):
    network.norm.running_mean[0] += 1e-3


def change_setting(network):
    network.norm.eps = 1e-3


def change_part(network):
    network.act = nn.Tanh()


def change_hook(network):
    network.stem.register_forward_hook(lambda *_: None)


@pytest.mark.parametrize(
    "change", [change_weight, change_buffer, change_setting, change_part, change_hook]
)
def test_another_network_is_another_entry(network, images, folder, change):
    extract(module_like(network), images, cache=folder)
    change(network)
    extract(module_like(network), images, cache=folder)
    assert len(files(folder)) == 2


def test_every_setting_is_part_of_the_key(network, images, folder):
    grey = image_preprocess(channels=1)
    asked = [
        {},
        {"layers": "norm"},
        {"layers": None},
        {"pooling": "max"},
        {"preprocess": grey},
        {"preprocess": image_preprocess(channels=1, std=0.5)},
        {"preprocess": nn.Identity()},
        {"preprocess": torch_tensor},
    ]
    images = torch.from_numpy(images)
    for changes in [*asked, *asked]:
        extract(module_like(network, **changes), images, cache=folder)
    extract(module_like(network), images, cache=folder, precision="bfloat16")
    extract(module_like(network), images / 2, cache=folder)
    extract(module_like(network), Task(images, range(7)), cache=folder)
    assert len(files(folder)) == len(asked) + 3


def test_what_does_not_change_features_is_not_part_of_the_key(network, images, folder):
    extract(module_like(network), images, cache=folder)
    extract(module_like(network.train(), name="other"), images, cache=folder, batch_size=2)
    assert len(files(folder)) == 1


def torch_tensor(batch):
    return torch.as_tensor(batch)


@dataclass(frozen=True)
class Scale:
    factor: float

    def __call__(self, batch):
        return torch.tensor(batch) * self.factor


def test_a_users_dataclass_can_be_identified(network, images, folder):
    for factor in (1.0, 2.0, 1.0):
        extract(module_like(network, preprocess=Scale(factor)), images, cache=folder)
    assert len(files(folder)) == 2


def closure(factor):
    def preprocess(batch):
        return torch.tensor(batch) * factor

    return preprocess


@pytest.mark.parametrize(
    "preprocess", [lambda batch: torch.tensor(batch), closure(2), torch_tensor.__call__]
)
def test_what_cannot_be_identified_is_not_kept_and_said(network, images, folder, preprocess):
    module = module_like(network, preprocess=preprocess)
    with pytest.warns(ModtoolsWarning, match=r"MT007: the preprocess of tiny cannot be identified"):
        found = extract(module, images, cache=folder)
    assert_same_but_for_rounding(found, extract(module, images))
    assert not folder.exists()


def test_a_plain_callable_and_a_function_as_head_are_not_kept(network, images, folder):
    with pytest.warns(ModtoolsWarning, match="MT007: plain is a plain callable"):
        extract(PretrainedModule(lambda x: x.flatten(1), name="plain"), images, cache=folder)
    module = module_like(network, source_head=lambda output: output.softmax(1))
    with pytest.warns(ModtoolsWarning, match="MT007: the source head of tiny"):
        run(module, images, cache=folder)
    assert not folder.exists()


@pytest.mark.parametrize("cache", [3, ["a"], object()])
def test_bad_cache_argument(linear, cache):
    with pytest.raises(ModtoolsError, match="cache must be True, a folder or None"):
        extract(linear, np.ones((2, 4), np.float32), cache=cache)


def test_nothing_is_kept_unless_asked(linear):
    extract(linear, np.ones((2, 4), np.float32))
    extract(linear, np.ones((2, 4), np.float32), cache=False)
    assert Cache().size == 0


def test_the_file_is_plain(cache, folder):
    cache.put("k", ROWS)
    header, rows = (folder / "k.features").read_bytes().split(b"\n", 1)
    assert json.loads(header)["shape"] == [3, 2]
    assert rows == ROWS.tobytes()


def test_the_digest_is_the_same_for_equal_networks_and_sees_plain_attributes():
    def make(**settings):
        torch.manual_seed(0)
        network = nn.Sequential(nn.MultiheadAttention(4, settings.pop("heads", 2)))
        for name, value in settings.items():
            setattr(network[0], name, value)
        return network_digest(network)

    assert make() == make()
    variants = [
        make(),
        make(heads=4),
        make(table=np.arange(3)),
        make(table=np.arange(4)),
        make(table=torch.arange(3)),
        make(table={"a": 1}),
        make(table={"a": [1, 2.5, None]}),
        make(function=torch_tensor),
        make(function=closure),
        make(function=object()),
        make(scale=Scale(1.0)),
        make(scale=Scale(2.0)),
        make(hidden=[nn.Linear(1, 1)]),
        make(hidden=[nn.Linear(1, 2)]),
    ]
    assert len(set(variants)) == len(variants)


def test_objects_that_refer_to_each_other_have_a_digest():
    network = nn.ReLU()
    network.owner = type("Owner", (), {})()
    network.owner.network = network
    assert network_digest(network) == network_digest(network)
