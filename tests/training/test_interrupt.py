"""Ctrl-C during a training, and the checkpoint of a training that has come to its end."""

import signal
import threading

import numpy as np
import pytest
import torch
from torch import nn

from modtools.exceptions import ModtoolsError
from modtools.tasks import Task
from modtools.training import _trainer, train_end_to_end, train_modular
from modtools.training._checkpoint import Interrupt


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    return Task((rng.normal(size=(40, 3)) + labels[:, None]).astype(np.float32), labels)


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def test_ctrl_c_in_the_last_moment_is_heard():
    with pytest.raises(KeyboardInterrupt, match="go on"), Interrupt("go on"):
        signal.raise_signal(signal.SIGINT)


def test_where_ctrl_c_is_ignored_it_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupt("go on") as interrupt:
            signal.raise_signal(signal.SIGINT)
        assert not interrupt.asked
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_signals_keep_the_handler_of_the_caller():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: seen.append(number))
    try:
        with Interrupt("go on") as interrupt:
            signal.raise_signal(signal.SIGTERM)
        assert (seen, interrupt.asked) == ([signal.SIGTERM], False)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_changes_no_handler():
    before, inside = signal.getsignal(signal.SIGINT), []

    def enter():
        with Interrupt("go on"):
            inside.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert inside == [before]


@pytest.mark.parametrize("train", [train_modular, train_end_to_end])
def test_a_kept_checkpoint_gives_the_trained_network_at_once(train, rows, tmp_path, monkeypatch):
    options = {"epochs": 2, "checkpoint": tmp_path / "run.pt"}
    first = train(small_network(), rows, **options, keep_checkpoint=True)
    assert (tmp_path / "run.pt").is_file()
    monkeypatch.setattr(_trainer.Trainer, "_step", lambda *_: pytest.fail("trained again"))
    again = train(small_network(), rows, **options)
    for name, weights in first.network.state_dict().items():
        assert torch.equal(weights, again.network.state_dict()[name])
    assert first.history.equals(again.history)
    assert list(tmp_path.iterdir()) == []  # kept no longer than asked for


def test_a_link_to_a_checkpoint_is_followed_and_stays(rows, tmp_path):
    (tmp_path / "link.pt").symlink_to("there/run.pt")
    options = {"epochs": 1, "checkpoint": tmp_path / "link.pt"}
    train_end_to_end(small_network(), rows, **options, keep_checkpoint=True)
    assert (tmp_path / "there" / "run.pt").is_file()
    train_end_to_end(small_network(), rows, **options)
    assert (tmp_path / "link.pt").is_symlink()
    assert not (tmp_path / "there" / "run.pt").exists()


def test_a_checkpoint_is_a_file(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "modtools.training._trainer.Trainer.__init__", lambda *_: pytest.fail("it ran")
    )
    for place in (tmp_path, "/dev/null"):
        with pytest.raises(ModtoolsError, match="is not a complete checkpoint of a training run"):
            train_end_to_end(small_network(), rows, epochs=1, checkpoint=place)
    with pytest.raises(ModtoolsError, match=r"the checkpoint .* cannot be written: File name too"):
        train_end_to_end(small_network(), rows, epochs=1, checkpoint=tmp_path / ("n" * 300))
