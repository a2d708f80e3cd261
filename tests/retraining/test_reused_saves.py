"""A path stands for one whole model, whoever saves, loads or is killed meanwhile."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from modtools import _folders
from modtools.exceptions import ModtoolsError
from modtools.modules import pixels
from modtools.retraining import ReusedModel, _reused_files as files, retrain
from modtools.tasks import Task


def a_model(n_classes):
    """Return a model that shows in its arrays and in its card which one it is."""
    labels = np.repeat(np.arange(n_classes), 4)
    images = np.random.default_rng(0).random((len(labels), 3, 3), dtype=np.float32)
    return retrain(pixels(), Task(images, labels, name=f"of {n_classes}"), output="class_mean")


def number_of(model):
    assert len(model.classes) == len(model.output.classes_)
    assert model.task_name == f"of {len(model.classes)}"
    return len(model.classes)


@pytest.fixture(params=[True, False], ids=["exchanged", "renamed twice"])
def exchanges(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(_folders, "_exchange", lambda *_: False)
    return request.param


def test_of_two_that_save_at_once_exactly_one_is_there(tmp_path, monkeypatch):
    save_file, meet, refused = files.save_file, threading.Barrier(2, timeout=60), []

    def together(*arguments):
        meet.wait()
        save_file(*arguments)
        meet.wait()

    def save(number):
        try:
            a_model(number).save(tmp_path / "model")
        except ModtoolsError as error:
            refused.append((number, str(error)))

    monkeypatch.setattr(files, "save_file", together)
    threads = [threading.Thread(target=save, args=(number,)) for number in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert "exists; give another path, or overwrite=True" in refused[0][1]
    assert number_of(ReusedModel.load(tmp_path / "model")) == 5 - refused[0][0]
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("step", ["_read_card", "_read_module", "load_file", "_rebuild"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_model_that_is_replaced_while_it_is_read_comes_whole(
    tmp_path, monkeypatch, step, when, exchanges
):
    path, models = tmp_path / "model", [a_model(3), a_model(4)]
    a_model(2).save(path)
    whole = getattr(files, step)

    def disturbed(*arguments):
        result = whole(*arguments) if when == "after" else None
        if models:
            models.pop(0).save(path, overwrite=True)
        return whole(*arguments) if when == "before" else result

    monkeypatch.setattr(files, step, disturbed)
    assert number_of(ReusedModel.load(path)) == 4
    assert os.listdir(tmp_path) == ["model"]


def test_a_link_is_not_replaced(tmp_path):
    model = a_model(2)
    model.save(tmp_path / "model")
    (tmp_path / "link").symlink_to(tmp_path / "model")
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    for name in ("link", "dangling"):
        for overwrite in (True, False):
            with pytest.raises(ModtoolsError, match=f"{name} exists; give another path"):
                model.save(tmp_path / name, overwrite=overwrite)
    assert (tmp_path / "link").is_symlink()


# As in tests/modules/test_zoo_saves.py, but only around the calls that move or remove something.
KILLED_AT_EVERY_MOVE = """
import itertools, os, signal, sys
import numpy as np
from modtools import _folders
from modtools.modules import pixels
from modtools.retraining import ReusedModel, retrain
from modtools.tasks import Task

if sys.argv[2] == "renamed twice":
    _folders._exchange = lambda *_: False
path = sys.argv[1] + "/model"

def a_model(n_classes):
    labels = np.repeat(np.arange(n_classes), 4)
    images = np.random.default_rng(0).random((len(labels), 3, 3), dtype=np.float32)
    return retrain(pixels(), Task(images, labels, name=f"of {n_classes}"), output="class_mean")

def arm(last):
    count = 0
    def die(event, _):
        nonlocal count
        if event in {"os.rename", "os.remove", "os.rmdir", "ctypes.dlsym"}:
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(die)

models = [a_model(2), a_model(3)]
models[0].save(path)
held = 2
for number in itertools.count(1):
    child = os.fork()
    if not child:
        arm(number)
        models[number % 2].save(path, overwrite=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    model = ReusedModel.load(path)
    assert len(model.classes) in (held, 2 + number % 2)
    assert model.task_name == f"of {len(model.classes)}"
    held = len(model.classes)
    if os.WIFEXITED(status):
        break
assert number > 5, number
assert os.listdir(sys.argv[1]) == ["model"], os.listdir(sys.argv[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize(
    "how", ["exchanged", pytest.param("renamed twice", marks=pytest.mark.slow)]
)
def test_a_kill_at_any_move_leaves_the_old_or_the_new_model(tmp_path, how):
    command = [sys.executable, "-c", KILLED_AT_EVERY_MOVE, tmp_path, how]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
