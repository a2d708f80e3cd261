"""A run that was killed or stopped goes on to the very result of one that was not.

The same bit for bit, because it makes the same steps from the same numbers, with one thread: a
forked child can have no more.
"""

import itertools
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from modtools import ModtoolsError
from modtools.tasks import load_task
from modtools.training import Augmentation, Recipe, _trainer, train_end_to_end, train_modular
from modtools.training._objective import HeldOut

pytestmark = pytest.mark.floating_point

EPOCHS, BATCH, ROWS = 3, 16, 64
STEPS = EPOCHS * ROWS // BATCH
# (phase, step) where each run is killed, and the step where it goes on: behind a checkpoint.
KILLED = {
    "sequential": ((0, 8), (0, 6)),
    "sequential, second module": ((1, 1), (1, 0)),
    "sequential, output module": ((2, 11), (2, 9)),
    "simultaneous": ((0, 7), (0, 6)),
    "simultaneous, output module": ((1, 1), (1, 0)),
    "end_to_end": ((0, STEPS - 1), (0, STEPS - 3)),
    "validated": ((1, 10), (1, 9)),
}


def small_task():
    task = load_task("digits")
    return task.few_labels(n=ROWS, seed=0), task.subset(slice(-50, None))


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3)),
        nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12)),
        nn.Sequential(nn.Dropout(0.2), nn.Linear(12, 10)),
    )


def train(case, checkpoint=None, **options):
    """Train a small network with all that draws at random: augmentation, dropout, heads."""
    task, held_out = small_task()
    recipe = Recipe(batch_size=BATCH, augmentation=Augmentation(shift=1, flip=True))
    options = {"epochs": EPOCHS, "recipe": recipe, "checkpoint": checkpoint, "seed": 5, **options}
    method = case.partition(",")[0]
    if method == "end_to_end":
        return train_end_to_end(small_network(), task, **options)
    if method == "validated":
        method, options = "sequential", {**options, "validation": held_out, "patience": 2}
    proxy = ["supcon", "local_classifier"]
    return train_modular(
        small_network(), task, proxy=proxy, schedule=method, at=["0", "1"], **options
    )


def save_every_third_step(phase_and_step=None, act=None):
    """Have a checkpoint written every third step; do something at the end of one step."""
    maybe_save, step = _trainer.Trainer._maybe_save, _trainer.Trainer._step

    def saving(self, phase, position, interrupt):
        _trainer._SAVE_SECONDS = -1.0 if position.step % 3 == 0 else math.inf
        maybe_save(self, phase, position, interrupt)

    def stepping(self, phase, position, progress):
        losses = step(self, phase, position, progress)
        if (phase.number, position.step) == phase_and_step:
            act()
        return losses

    _trainer.Trainer._maybe_save, _trainer.Trainer._step = saving, stepping


def be_killed(folder):
    """Run every case in a process of its own, which is killed in the middle; no clean-up."""
    for number, (case, (place, _)) in enumerate(KILLED.items()):
        child = os.fork()
        if child == 0:
            save_every_third_step(place, lambda: os.kill(os.getpid(), signal.SIGKILL))
            train(case, Path(folder) / f"{number}.pt")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), f"{case} came to its end"
        assert os.WTERMSIG(status) == signal.SIGKILL, f"{case} ended otherwise"


def assert_same(result, expected):
    """Assert that weights, history (but for the time) and accuracy are the same bit for bit."""
    weights = result.network.state_dict()
    for name, tensor in expected.network.state_dict().items():
        assert torch.equal(weights[name], tensor), name
    untimed = [one.history.drop(columns="seconds") for one in (result, expected)]
    assert untimed[0].equals(untimed[1])
    assert result.history["seconds"].is_monotonic_increasing
    assert result.peak_activation_bytes == expected.peak_activation_bytes
    test = small_task()[1]
    assert result.accuracy(test) == expected.accuracy(test)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Return the folder of the checkpoints that killed runs left."""
    folder = tmp_path_factory.mktemp("killed")
    subprocess.run([sys.executable, __file__, str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def whole():
    """Return the results of runs that nothing disturbed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("modtools.training._trainer._OUTPUT_STEPS", 12)
        return {case: train(case) for case in {case.partition(",")[0] for case in KILLED}}


@pytest.fixture
def stopping(monkeypatch):
    """Return `save_every_third_step`, which is undone after the test."""
    for name in ("_maybe_save", "_step"):
        monkeypatch.setattr(_trainer.Trainer, name, getattr(_trainer.Trainer, name))
    monkeypatch.setattr(_trainer, "_SAVE_SECONDS", _trainer._SAVE_SECONDS)
    return save_every_third_step


@pytest.mark.parametrize(("number", "case"), list(enumerate(KILLED)))
def test_a_killed_run_is_resumed_to_the_same_result(number, case, killed, whole, monkeypatch):
    checkpoint, steps = killed / f"{number}.pt", []
    assert checkpoint.exists()
    step = _trainer.Trainer._step

    def noting(self, phase, position, progress):
        steps.append((phase.number, position.step))
        return step(self, phase, position, progress)

    monkeypatch.setattr(_trainer.Trainer, "_step", noting)
    monkeypatch.setattr("modtools.training._trainer._OUTPUT_STEPS", 12)
    assert_same(train(case, checkpoint), whole[case.partition(",")[0]])
    assert steps[0] == KILLED[case][1]
    assert list(killed.glob(f"*{number}.pt*")) == []


def test_checkpoints_leave_the_result_alone(whole, stopping, tmp_path):
    stopping()
    assert_same(train("sequential", tmp_path / "run.pt"), whole["sequential"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", [(0, 0), (0, 4), (1, STEPS - 1), (2, 3), (2, STEPS - 1)])
def test_ctrl_c_keeps_a_checkpoint_that_leads_to_the_same_result(place, whole, stopping, tmp_path):
    checkpoint = tmp_path / "run.pt"
    before = signal.getsignal(signal.SIGINT)
    stopping(place, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match=r"same call resumes from the checkpoint .*run\.pt"):
        train("sequential", checkpoint)
    assert signal.getsignal(signal.SIGINT) is before
    state = torch.load(checkpoint, weights_only=True)["state"]
    assert (state["phase"], state["position"]["step"]) == (place[0], place[1] + 1)
    stopping()
    assert_same(train("sequential", checkpoint), whole["sequential"])
    assert not checkpoint.exists()


def test_ctrl_c_twice_in_one_run(whole, stopping, tmp_path):
    checkpoint, places = tmp_path / "run.pt", iter([(0, 2), (1, 4)])
    for place in places:
        stopping(place, lambda: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            train("simultaneous", checkpoint)
    stopping()
    assert_same(train("simultaneous", checkpoint), whole["simultaneous"])


def test_ctrl_c_without_a_checkpoint_says_that_nothing_was_kept(stopping):
    stopping((0, 1), lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match=r"nothing was saved \(checkpoint= makes"):
        train("end_to_end")


def test_a_second_ctrl_c_stops_in_the_middle_of_a_step(stopping, tmp_path):
    reached = []

    def impatient():
        signal.raise_signal(signal.SIGINT)
        reached.append("after the first")
        signal.raise_signal(signal.SIGINT)
        reached.append("after the second")

    stopping((0, 4), impatient)
    with pytest.raises(KeyboardInterrupt):
        train("end_to_end", tmp_path / "run.pt")
    assert reached == ["after the first"]
    state = torch.load(tmp_path / "run.pt", weights_only=True)["state"]
    assert state["position"]["step"] == 3


@pytest.fixture
def measuring(monkeypatch):
    """Return a function that has validation losses be what it is given, epoch by epoch."""

    def pretend(*losses):
        left = iter(losses)
        measured = {"validation_accuracy": 0.5}
        monkeypatch.setattr(
            HeldOut,
            "measure",
            lambda *_: {"network": {"validation_loss": next(left), **measured}},
        )

    return pretend


def test_the_best_weights_survive_a_stop(stopping, measuring, tmp_path):
    options = {"validation": small_task()[1], "patience": 5}
    measuring(1.0, 2.0, 3.0)
    expected = train("end_to_end", **options)
    measuring(1.0, 2.0, 3.0)
    stopping((0, STEPS - 2), lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train("end_to_end", tmp_path / "run.pt", **options)
    stopping()
    assert_same(train("end_to_end", tmp_path / "run.pt", **options), expected)


def test_ctrl_c_in_the_last_validation_is_heard(stopping, monkeypatch, tmp_path):
    # Patience ends the phase, and the run, with the epoch in which Ctrl-C came.
    losses = itertools.chain([1.0, 2.0], itertools.repeat(3.0))

    def measure(self, learners):
        loss = next(losses)
        if loss == 3.0:
            signal.raise_signal(signal.SIGINT)
        return {"network": {"validation_loss": loss, "validation_accuracy": 0.5}}

    monkeypatch.setattr(HeldOut, "measure", measure)
    options = {"validation": small_task()[1], "patience": 2, "checkpoint": tmp_path / "run.pt"}
    with pytest.raises(KeyboardInterrupt):
        train("end_to_end", epochs=9, **options)
    result = train("end_to_end", epochs=9, **options)
    assert result.history["epoch"].tolist() == [1, 2, 3]


def test_seconds_go_on_where_the_first_part_ended(stopping, tmp_path):
    checkpoint = tmp_path / "run.pt"
    stopping((1, 2), lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train("sequential", checkpoint)
    content = torch.load(checkpoint, weights_only=True)
    content["state"]["seconds"] = 1000.0
    torch.save(content, checkpoint)
    stopping()
    result = train("sequential", checkpoint)
    assert result.seconds > 1000
    in_second = result.history["module"].eq("1")
    assert (result.history["seconds"][in_second & result.history["step"].gt(4)] > 1000).all()


def test_a_checkpoint_appears_within_seconds_although_phases_are_short(monkeypatch, tmp_path):
    # The time since the last checkpoint runs on from one phase to the next.
    now = itertools.count(step=2)  # so that a hidden phase of four steps takes 12 seconds
    monkeypatch.setattr(_trainer.Clock, "seconds", lambda self: float(next(now)))
    written = []
    monkeypatch.setattr(
        "modtools.training._trainer.write_checkpoint",
        lambda path, settings, state: written.append(state),
    )
    train("sequential", tmp_path / "run.pt", epochs=1)
    assert [state["phase"] for state in written] == [1, 2]


def test_nothing_of_another_network_is_taken_over(stopping, tmp_path):
    checkpoint = tmp_path / "run.pt"
    stopping((0, 0), lambda: signal.raise_signal(signal.SIGINT))
    task = small_task()[0]
    with pytest.raises(KeyboardInterrupt):
        train_end_to_end(
            nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.Linear(5, 10)),
            task,
            epochs=2,
            checkpoint=checkpoint,
        )
    stopping()
    same_size = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False), nn.Linear(10, 10))
    with pytest.raises(ModtoolsError, match="other settings: n_parameters is"):
        train_end_to_end(same_size, task, epochs=2, checkpoint=checkpoint)
    renamed = nn.Sequential(nn.Flatten(), nn.Identity(), nn.Linear(64, 5), nn.Linear(5, 10))
    with pytest.raises(ModtoolsError, match=r"belongs to another network: .*Missing key"):
        train_end_to_end(renamed, task, epochs=2, checkpoint=checkpoint)
    assert checkpoint.exists()


if __name__ == "__main__":
    from modtools.training import _trainer

    torch.set_num_threads(1)
    _trainer._OUTPUT_STEPS = 12
    np.seterr(all="ignore")
    train("sequential", epochs=1)  # whatever is imported late is imported once for all children
    be_killed(sys.argv[1])
