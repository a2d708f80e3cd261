"""Checkpoints are whole or absent, belong to one run only, and their place is checked at once."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from modtools import ModtoolsError, _places
from modtools.modules import image_preprocess
from modtools.proxies import LocalClassifier, Pairs, SupCon
from modtools.training import Recipe, _trainer, train_end_to_end, train_modular
from modtools.training._checkpoint import read_checkpoint, write_checkpoint

pytestmark = pytest.mark.floating_point

CPU = torch.device("cpu")


def as_floats(batch):
    return torch.as_tensor(batch)


@pytest.fixture
def stopped(monkeypatch, tmp_path):
    """Return a function that stops a training after a step, and returns its checkpoint."""
    checkpoint = tmp_path / "run.pt"

    def stop(train, *arguments, **options):
        with monkeypatch.context() as patch:
            patch.setattr(_trainer, "_SAVE_SECONDS", -1.0)
            patch.setattr(_trainer.Interrupt, "raise_if_asked", lambda self: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                train(*arguments, checkpoint=checkpoint, **options)
        return checkpoint

    return stop


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "new" / "folder" / "run.pt"
    settings = {"recipe": {"betas": [0.9, 0.98], "augmentation": None}, "classes": ["a", 1, 2.5]}
    state = {"phase": 1, "network": {"w": torch.arange(3.0)}, "history": [{"loss": float("nan")}]}
    write_checkpoint(path, settings, state)
    found = read_checkpoint(path, settings, CPU)
    assert found["phase"] == 1
    assert torch.equal(found["network"]["w"], state["network"]["w"])
    assert np.isnan(found["history"][0]["loss"])
    assert [p.name for p in path.parent.iterdir()] == ["run.pt"]


def test_no_file_is_no_state(tmp_path):
    assert read_checkpoint(tmp_path / "run.pt", {}, CPU) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kept", "given", "difference"),
    [
        ({"seed": 0}, {"seed": 1}, "settings: seed is 0 there and 1 here."),
        ({"epochs": 3}, {}, "settings: epochs is 3 there and None here."),
        ({"recipe": {"lr": 1, "wd": 2}}, {"recipe": {"lr": 1, "wd": 3}}, "recipe.wd is 2 there"),
        ({"a": 1, "b": 2}, {"a": 2, "b": 1}, "a is 1 there and 2 here; b is 2 there and 1 here"),
        ({"augmentation": None}, {"augmentation": {"shift": 2}}, "augmentation is None there"),
    ],
)
def test_differences_are_named(tmp_path, kept, given, difference):
    write_checkpoint(tmp_path / "run.pt", kept, {})
    with pytest.raises(ModtoolsError, match="belongs to a run with other settings") as caught:
        read_checkpoint(tmp_path / "run.pt", given, CPU)
    assert difference in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04" + bytes(99), None])
def test_damaged_files_are_told_from_checkpoints(tmp_path, content):
    path = tmp_path / "run.pt"
    if content is None:  # cut off, as by a full disk
        write_checkpoint(path, {}, {"network": {"w": torch.zeros(999)}})
        content = path.read_bytes()[:-500]
    path.write_bytes(content)
    with pytest.raises(ModtoolsError, match=r"run\.pt is not a complete checkpoint") as caught:
        read_checkpoint(path, {}, CPU)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_other_files_of_torch_and_pickles_are_refused(tmp_path):
    path = tmp_path / "run.pt"
    torch.save([1, 2], path)
    with pytest.raises(ModtoolsError, match="is not a complete checkpoint"):
        read_checkpoint(path, {}, CPU)
    torch.save({"settings": {}, "state": Path("never unpickled")}, path)
    with pytest.raises(ModtoolsError, match=r"is not a complete checkpoint .*UnpicklingError"):
        read_checkpoint(path, {}, CPU)


@pytest.mark.parametrize("train", [train_modular, train_end_to_end])
def test_a_place_that_cannot_be_written_is_told_at_once(train, tmp_path, rows, mlp, monkeypatch):
    monkeypatch.setattr(_trainer.Trainer, "_step", lambda *_: pytest.fail("something was trained"))
    (tmp_path / "file").write_text("")
    with pytest.raises(ModtoolsError, match=r"checkpoint .*run\.pt cannot be written: Not a dir"):
        train(mlp(), rows, checkpoint=tmp_path / "file" / "run.pt")
    with pytest.raises(ModtoolsError, match="is not a complete checkpoint"):
        train(mlp(), rows, checkpoint=tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only_is_told_at_once(tmp_path, rows, mlp):
    tmp_path.chmod(0o500)
    with pytest.raises(ModtoolsError, match="cannot be written: Permission denied"):
        train_end_to_end(mlp(), rows, checkpoint=tmp_path / "run.pt")


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, rows, mlp, monkeypatch):
    path, writes, write = tmp_path / "run.pt", [], _places._write_all

    def filling(handle, content):
        writes.append(len(content))
        if len(writes) == 3:
            write(handle, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(handle, content)

    options = {"epochs": 8, "checkpoint": path}
    expected = train_end_to_end(mlp(), rows, epochs=8)
    with monkeypatch.context() as patch:
        patch.setattr(_places, "_write_all", filling)
        patch.setattr(_trainer, "_SAVE_SECONDS", -1.0)
        with pytest.raises(ModtoolsError, match=r"run\.pt could not be written: No space left"):
            train_end_to_end(mlp(), rows, **options)
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]
    assert torch.load(path, weights_only=True)["state"]["position"]["step"] == 2
    result = train_end_to_end(mlp(), rows, **options)
    untimed = [one.history.drop(columns="seconds") for one in (result, expected)]
    assert untimed[0].equals(untimed[1])


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"seed": 4}, r"seed is 0 there and 4 here"),
        ({"epochs": 5}, r"epochs is 2 there and 5 here"),
        ({"max_seconds": 9.0}, r"max_seconds is None there and 9.0 here"),
        ({"recipe": Recipe(batch_size=8)}, r"recipe.batch_size is \d+ there and 8 here"),
        ({"proxy": "nmse"}, r"proxy is \['supcon'\] there and \['nmse'\] here"),
        ({"proxy": SupCon(temperature=0.2)}, r"there and .*SupCon.*temperature=0.2"),
        ({"proxy": LocalClassifier(12, n_classes=3)}, r"\['LocalClassifier\(shape=\(12,\)"),
        ({"schedule": "simultaneous"}, r"schedule is 'sequential' there and 'simultaneous' here"),
        ({"at": ["2"]}, r"at is \['0'\] there and \['2'\] here"),
        ({"pairs": Pairs([0], [1], [True])}, r"pairs is None there and '1 pairs, sha256"),
        ({"preprocess": as_floats}, r"preprocess is None there and 'as_floats' here"),
        ({"precision": "bfloat16"}, r"precision is 'float32' there and 'bfloat16' here"),
    ],
)
def test_a_run_with_other_settings_is_refused(options, difference, stopped, rows, mlp):
    first = {"epochs": 2, "at": ["0"]}
    checkpoint = stopped(train_modular, mlp(), rows, **first)
    content = checkpoint.read_bytes()
    with pytest.raises(ModtoolsError, match=difference):
        train_modular(mlp(), rows, checkpoint=checkpoint, **{**first, **options})
    assert checkpoint.read_bytes() == content
    train_modular(mlp(), rows, checkpoint=checkpoint, **first)
    assert not checkpoint.exists()


def test_other_pairs_of_the_same_number_are_refused(stopped, rows, mlp):
    checkpoint = stopped(train_modular, mlp(), rows, pairs=Pairs([0, 1], [2, 30], [True, False]))
    with pytest.raises(ModtoolsError, match="pairs is '2 pairs, sha256"):
        train_modular(
            mlp(), rows, pairs=Pairs([0, 2], [2, 30], [True, False]), checkpoint=checkpoint
        )


def test_another_task_or_method_is_refused(stopped, rows, mlp):
    checkpoint = stopped(train_end_to_end, mlp(), rows)
    for other in (rows.subset(slice(59)), rows.subset(np.arange(60)[::-1])):
        with pytest.raises(ModtoolsError, match="task_fingerprint is"):
            train_end_to_end(mlp(), other, checkpoint=checkpoint)
    with pytest.raises(ModtoolsError, match="validation_fingerprint is None there"):
        train_end_to_end(mlp(), rows, validation=rows, checkpoint=checkpoint)
    with pytest.raises(ModtoolsError, match="schedule is 'end_to_end' there and 'sequential' here"):
        train_modular(mlp(), rows, checkpoint=checkpoint)


def test_another_preprocessing_is_refused(stopped, images, conv):
    checkpoint = stopped(train_end_to_end, conv(), images)
    other = image_preprocess(channels=1, mean=0.4)
    with pytest.raises(ModtoolsError, match=r"preprocess is 'ImagePreprocess\(size=\(8, 8\)"):
        train_end_to_end(conv(), images, preprocess=other, checkpoint=checkpoint)
