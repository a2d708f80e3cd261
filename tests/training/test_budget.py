"""Limits of time: all modules share it, none goes without a step, and rates end where it does."""

import itertools

import pytest

from modtools.training import Recipe, _train, _trainer, train_end_to_end, train_modular
from modtools.training._trainer import Trainer

METHODS = ["sequential", "simultaneous", "end_to_end"]


@pytest.fixture
def train(rows, mlp):
    """Return a function that trains a perceptron on rows by a method."""

    def train(method, **options):
        if method == "end_to_end":
            return train_end_to_end(mlp(), rows, **options)
        return train_modular(mlp(), rows, schedule=method, at=["0", "2"], **options)

    return train


@pytest.fixture
def steady(monkeypatch):
    """Have a step take one second of the run's clock, and nothing else any time."""
    now = itertools.count()
    clock = {"seconds": 0.0}
    step = _trainer.Trainer._step

    def stepping(self, *arguments):
        clock["seconds"] = float(next(now)) + 1
        return step(self, *arguments)

    monkeypatch.setattr(_trainer.Trainer, "_step", stepping)
    monkeypatch.setattr(_trainer.Clock, "seconds", lambda self: clock["seconds"])
    monkeypatch.setattr(Trainer, "seconds_to_read", lambda self: 0.0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seconds", [1e-6, 0.01])
def test_every_module_is_trained_however_short_the_time(method, seconds, train, mlp, differ, state):
    result = train(method, max_seconds=seconds)
    changed = differ(state(mlp()), state(result.network))
    assert {name for name in changed if "weight" in name} == {"0.weight", "2.0.weight", "3.weight"}
    assert (result.history["step"] >= 1).all()
    assert result.settings["max_seconds"] == seconds
    assert result.settings["epochs"] is None


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize("method", METHODS)
def test_training_ends_with_its_time(method, train, monkeypatch):
    monkeypatch.setattr(_trainer, "_OUTPUT_STEPS", 1)
    result = train(method, max_seconds=100)
    assert 100 <= result.seconds <= 103  # each of three phases may end a step of one second late
    assert result.history["seconds"].iloc[-1] == result.seconds
    end = result.history.groupby("module")["learning_rate"].last()
    assert (end < 1e-3).all()


@pytest.mark.usefixtures("steady")
class TestSteadyClock:
    def test_hidden_modules_share_the_time_equally(self, train, monkeypatch):
        monkeypatch.setattr(_train, "_OUTPUT_SHARE", 0.1)
        monkeypatch.setattr(_trainer, "_OUTPUT_STEPS", 1)
        history = train("sequential", max_seconds=100, recipe=Recipe(batch_size=60)).history
        assert history.groupby("module")["step"].max().to_dict() == {"0": 45, "2": 45, "3": 10}

    def test_modules_at_once_have_all_of_it(self, train, monkeypatch):
        monkeypatch.setattr(_train, "_OUTPUT_SHARE", 0.1)
        monkeypatch.setattr(_trainer, "_OUTPUT_STEPS", 1)
        history = train("simultaneous", max_seconds=50, recipe=Recipe(batch_size=60)).history
        assert history.groupby("module")["step"].max().to_dict() == {"0": 45, "2": 45, "3": 5}

    def test_time_for_the_features_of_the_output_module_is_kept(self, train, monkeypatch):
        monkeypatch.setattr(_train, "_OUTPUT_SHARE", 0.1)
        monkeypatch.setattr(_train, "_SLOWER", 2.0)
        monkeypatch.setattr(Trainer, "seconds_to_read", lambda self: 15.0)
        history = train("simultaneous", max_seconds=100, recipe=Recipe(batch_size=60)).history
        assert history.groupby("module")["step"].max().to_dict() == {"0": 60, "2": 60, "3": 40}

    def test_that_time_is_half_of_all_at_most(self, train, monkeypatch):
        monkeypatch.setattr(Trainer, "seconds_to_read", lambda self: 1e9)
        history = train("simultaneous", max_seconds=40, recipe=Recipe(batch_size=60)).history
        assert history.groupby("module")["step"].max().to_dict() == {"0": 20, "2": 20, "3": 20}

    def test_an_output_module_takes_its_steps_also_after_its_time(self, train):
        # Its rate goes up and down within these steps, so that few are enough.
        history = train("sequential", max_seconds=1, recipe=Recipe(batch_size=60)).history
        steps = history.query("module == '3'")
        assert steps["step"].max() == 12
        rates = steps["learning_rate"]
        assert rates.iloc[0] < rates.max() / 2
        assert rates.iloc[-1] < rates.max() / 5

    def test_rates_follow_the_time(self, train):
        recipe = Recipe(batch_size=60, learning_rate=1.0, warmup=0.25)
        history = train("end_to_end", max_seconds=40, recipe=recipe).history
        rates = history["learning_rate"]
        assert rates.idxmax() == 10
        assert rates.max() == 1
        expected = [recipe.learning_rate_at(done / 40) for done in range(40)]
        assert rates.tolist() == pytest.approx(expected)

    def test_what_ends_first_ends_the_phase(self, train):
        recipe = Recipe(batch_size=60)
        assert len(train("end_to_end", max_seconds=30, epochs=5, recipe=recipe).history) == 5
        assert len(train("end_to_end", max_seconds=5, epochs=30, recipe=recipe).history) < 30

    def test_a_part_of_an_epoch_is_in_the_history(self, train):
        history = train("end_to_end", max_seconds=7, recipe=Recipe(batch_size=15)).history
        assert history["epoch"].tolist() == [1.0, 1.75]
        assert history["step"].tolist() == [4, 7]


def test_epochs_are_ten_by_default(rows, mlp):
    result = train_end_to_end(mlp(), rows, recipe=Recipe(batch_size=30))
    assert result.history["epoch"].tolist() == list(range(1, 11))
    assert result.history["step"].iloc[-1] == 20
    assert result.history["learning_rate"].iloc[-1] < 0.05 * Recipe().learning_rate


@pytest.mark.usefixtures("all_output_steps")
def test_output_modules_take_at_least_300_steps(train):
    recipe = Recipe(batch_size=15)
    steps = train("sequential", epochs=1, recipe=recipe).history.groupby("module")["step"].max()
    assert steps.to_dict() == {"0": 4, "2": 4, "3": 300}


def test_rows_that_fill_no_batch_wait_for_another_epoch(rows, mlp, monkeypatch):
    seen, rows_of = [], _trainer.Trainer._rows

    def noting(self, phase, step):
        seen.append(rows_of(self, phase, step))
        return seen[-1]

    monkeypatch.setattr(_trainer.Trainer, "_rows", noting)
    train_end_to_end(mlp(), rows, epochs=3, recipe=Recipe(batch_size=25))
    assert [len(part) for part in seen] == [25] * 6
    epochs = [set(seen[k]) | set(seen[k + 1]) for k in (0, 2, 4)]
    assert [len(epoch) for epoch in epochs] == [50] * 3
    assert len(set.union(*epochs)) > 50


def test_a_batch_larger_than_the_task_is_the_task(rows, mlp):
    result = train_end_to_end(mlp(), rows, epochs=2, recipe=Recipe(batch_size=1000))
    assert result.history["step"].tolist() == [1, 2]
