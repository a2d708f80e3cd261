"""A name in a zoo stands for one whole module, whoever saves, reads or is killed meanwhile."""

import os
import subprocess
import sys
import threading

import pytest
import torch
from torch import nn

from modtools import _folders, _locks
from modtools.exceptions import ModtoolsError
from modtools.modules import PretrainedModule, Zoo, _zoo as zoo_file

BUILD = ("torch.nn:Linear", {"in_features": 4, "out_features": 3})


def version(number):
    """Return a module that shows in its weights and in its card which version it is."""
    network = nn.Linear(4, 3)
    with torch.no_grad():
        network.bias.fill_(number)
    pooling = "max" if number % 2 else "mean"
    return PretrainedModule(network, name="small", build=BUILD, pooling=pooling)


def number_of(module):
    """Return the version of a loaded module, of which all parts must be."""
    number = int(module.network.bias[0])
    assert module.network.bias.tolist() == [number] * 3
    assert module.pooling == ("max" if number % 2 else "mean")
    return number


def names(folder):
    return sorted(os.listdir(folder))


@pytest.fixture
def zoo(tmp_path):
    made = Zoo(tmp_path / "zoo")
    made.save(version(0))
    return made


@pytest.fixture(params=[True, False], ids=["exchanged", "renamed twice"])
def exchanges(request, monkeypatch):
    """Both ways of replacing a folder; some file systems know only renames."""
    if not request.param:
        monkeypatch.setattr(_folders, "_exchange", lambda *_: False)
    return request.param


# Each save runs in a child that kills itself before the n-th call that touches a file; the next
# child gets one call further, until one comes to its end.
KILLED_AT_EVERY_CALL = """
import itertools, os, signal, sys
import torch
from torch import nn
from modtools import _folders
from modtools.modules import PretrainedModule, Zoo

zoo, can_exchange = Zoo(sys.argv[1]), sys.argv[2] == "True"
TOUCHES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.scandir", "ctypes.dlsym"}
if not can_exchange:
    _folders._exchange = lambda *_: False

def save(number, *, overwrite=True):
    network = nn.Linear(4, 3)
    with torch.no_grad():
        network.bias.fill_(number)
    build = ("torch.nn:Linear", {"in_features": 4, "out_features": 3})
    module = PretrainedModule(
        network, name="small", build=build, pooling="max" if number % 2 else "mean"
    )
    zoo.save(module, overwrite=overwrite)

def arm(last):
    count = 0
    def die(event, _):
        nonlocal count
        if event in TOUCHES:
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(die)

save(0)
held = 0
for number in itertools.count(1):
    child = os.fork()
    if not child:
        arm(number)
        save(number)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    loaded = zoo.load("small")
    found = int(loaded.network.bias[0])
    assert found in (held, number), (held, number, found)
    assert loaded.network.bias.tolist() == [found] * 3
    assert loaded.pooling == ("max" if found % 2 else "mean")
    assert zoo.names == ("small",)
    held = found
    if os.WIFEXITED(status):
        break
assert number > 20, number
assert os.listdir(zoo.folder) == ["small"], os.listdir(zoo.folder)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("can_exchange", [True, False], ids=["exchanged", "renamed twice"])
def test_a_kill_at_any_call_leaves_the_old_or_the_new_module(tmp_path, can_exchange):
    command = [sys.executable, "-c", KILLED_AT_EVERY_CALL, tmp_path / "zoo", str(can_exchange)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("overwrite", [False, True])
def test_of_two_that_save_at_once_exactly_one_is_there(tmp_path, monkeypatch, overwrite, exchanges):
    """Both have seen that the name is free before either takes it."""
    save_weights, meet = zoo_file.save_weights, threading.Barrier(2, timeout=60)

    def together(*arguments):
        meet.wait()
        save_weights(*arguments)
        meet.wait()

    monkeypatch.setattr(zoo_file, "save_weights", together)
    zoo, refused = Zoo(tmp_path / "zoo"), []

    def save(number):
        try:
            zoo.save(version(number), overwrite=overwrite)
        except ModtoolsError as error:
            refused.append((number, str(error)))

    threads = [threading.Thread(target=save, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == (0 if overwrite else 1)
    assert all("small exists; give another name, or overwrite=True." in r[1] for r in refused)
    assert number_of(zoo.load("small")) not in [number for number, _ in refused]
    assert names(zoo.folder) == ["small"]


STEPS = ["read_card", "check_files", "build_network", "load_weights", "read_preprocess"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_module_that_is_replaced_while_it_is_read_comes_whole(
    zoo, monkeypatch, step, when, exchanges
):
    whole, todo = getattr(zoo_file, step), [1, 2, 3]

    def disturbed(*arguments, **options):
        result = whole(*arguments, **options) if when == "after" else None
        if todo:
            number = todo.pop(0)
            monkeypatch.setattr(zoo_file, step, whole)  # saving may take the same step
            zoo.save(version(number), overwrite=True)
            monkeypatch.setattr(zoo_file, step, disturbed)
        return whole(*arguments, **options) if when == "before" else result

    monkeypatch.setattr(zoo_file, step, disturbed)
    assert number_of(zoo.load("small")) == 3
    assert todo == []


def test_a_reader_beside_a_writer_never_fails(zoo, exchanges):
    def write():
        for number in range(1, 40):
            zoo.save(version(number), overwrite=True)

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    while writer.is_alive():
        seen.append(number_of(zoo.load("small")))
        assert zoo.card("small")["name"] == "small"
    writer.join()
    assert seen == sorted(seen)
    assert number_of(zoo.load("small")) == 39
    assert names(zoo.folder) == ["small"]


def test_a_writer_may_finish_while_a_reader_looks_at_its_work_folder(zoo, tmp_path, monkeypatch):
    work = zoo.folder / f".modtools-{'0' * 32}"
    (work / "old" / "small").mkdir(parents=True)

    def finished_meanwhile(look):
        def look_late(folder):
            if os.path.basename(folder) == "old":
                work.rename(tmp_path / "removed")
            return look(folder)

        return look_late

    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, finished_meanwhile(getattr(os, name)))
    assert zoo.names == ("small",)
    assert (tmp_path / "removed").exists()


def test_a_module_that_changes_all_the_time_is_given_up_with_a_clear_error(zoo, monkeypatch):
    load = zoo_file.load_weights

    def disturbed(*arguments):
        zoo.save(version(1), overwrite=True)
        load(*arguments)

    monkeypatch.setattr(zoo_file, "load_weights", disturbed)
    monkeypatch.setattr(_folders, "_TRIES", 3)
    with pytest.raises(ModtoolsError, match=r"small was replaced 3 times while it was read"):
        zoo.load("small")


def test_what_a_live_process_writes_is_left_alone(zoo):
    with _folders.new_folder(zoo.folder / "other", overwrite=False) as fresh:
        (fresh / "card.json").write_text("{}")
        zoo.save(version(1), overwrite=True)
        assert len(names(zoo.folder)) == 2  # one of them hidden
        assert zoo.names == ("small",)
    assert names(zoo.folder) == ["other", "small"]


def test_what_was_left_behind_goes_and_what_is_not_ours_stays(zoo, tmp_path):
    left = zoo.folder / f".modtools-{'0' * 32}"
    (left / "new").mkdir(parents=True)
    (left / "new" / "module.safetensors").write_text("half")
    (zoo.folder / ".modtools-mine").mkdir()
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "old" / "thing").mkdir(parents=True)
    (zoo.folder / f".modtools-{'1' * 32}").symlink_to(elsewhere)
    inside = zoo.folder / f".modtools-{'2' * 32}"
    inside.mkdir()
    (inside / "old").symlink_to(elsewhere / "old")
    zoo.save(version(1), overwrite=True)
    assert names(zoo.folder) == [f".modtools-{'1' * 32}", ".modtools-mine", "small"]
    assert (elsewhere / "old" / "thing").is_dir()
    assert zoo.names == ("small",)


def test_only_a_saved_module_is_replaced(zoo, tmp_path):
    (zoo.folder / "notes").mkdir()
    (zoo.folder / "notes" / "mine.txt").write_text("mine")
    (zoo.folder / "file").write_text("mine")
    (zoo.folder / "link").symlink_to(zoo.folder / "small")
    (zoo.folder / "dangling").symlink_to(tmp_path / "none")
    for name in ("notes", "file", "link", "dangling"):
        module = PretrainedModule(nn.Linear(4, 3), name=name, build=BUILD)
        with pytest.raises(ModtoolsError, match=f"{name} is not a saved module or model"):
            zoo.save(module, overwrite=True)
        with pytest.raises(ModtoolsError, match=f"{name} exists; give another name"):
            zoo.save(module)
    assert (zoo.folder / "notes" / "mine.txt").read_text() == "mine"
    assert (zoo.folder / "link").is_symlink()


def test_where_folders_cannot_be_locked_saves_work_and_nothing_is_taken_for_left_behind(
    zoo, monkeypatch
):
    def without(_path):
        raise OSError("no locks here")

    monkeypatch.setattr(_locks, "open_held", without)
    left = zoo.folder / f".modtools-{'0' * 32}"
    left.mkdir()
    zoo.save(version(1), overwrite=True)
    assert number_of(zoo.load("small")) == 1
    assert names(zoo.folder) == [left.name, "small"]


def test_a_name_as_long_as_the_system_allows_can_be_saved(zoo):
    long = PretrainedModule(nn.Linear(4, 3), name="ä" * 100, build=BUILD)
    zoo.save(long)
    zoo.save(long, overwrite=True)
    assert zoo.load(long.name).name == long.name
