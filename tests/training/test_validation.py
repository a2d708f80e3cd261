"""Held-out rows are measured after each epoch, and say when to stop."""

import numpy as np
import pytest
import torch
from torch import nn

from modtools.outputs import ClassMeanOutput
from modtools.training import Recipe, train_end_to_end, train_modular
from modtools.training._objective import HeldOut

pytestmark = pytest.mark.floating_point

RECIPE = Recipe(batch_size=20)
SCHEDULES = ["sequential", "simultaneous"]


@pytest.fixture
def measured(monkeypatch):
    """Return a function that has validation losses be what a list says, epoch by epoch."""

    def pretend(losses):
        left = iter(losses)

        def measure(self, learners):
            loss = next(left)
            return {
                learner.name: {"validation_loss": loss, "validation_accuracy": 0.5}
                for learner in learners
            }

        monkeypatch.setattr(HeldOut, "measure", measure)

    return pretend


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_history_has_what_was_measured(schedule, images, held_out, conv, recipe):
    result = train_modular(
        conv(),
        images,
        schedule=schedule,
        at=["second", "features"],
        epochs=2,
        recipe=recipe,
        validation=held_out,
    )
    history = result.history
    assert list(history) == [
        "module",
        "epoch",
        "step",
        "seconds",
        "learning_rate",
        "loss",
        "validation_loss",
        "validation_accuracy",
    ]
    assert history["module"].drop_duplicates().tolist() == ["second", "features", "output"]
    assert history.query("module == 'features'")["epoch"].tolist() == [1.0, 2.0]
    assert history.query("module == 'features'")["step"].tolist() == [5, 10]
    assert history["validation_loss"].gt(0).all()
    assert history["validation_accuracy"].between(0, 1).all()
    assert history["seconds"].is_monotonic_increasing
    assert history["validation_accuracy"].iloc[-1] == result.accuracy(held_out)


def test_without_validation_the_columns_are_empty(rows, mlp):
    history = train_end_to_end(mlp(), rows, epochs=2).history
    assert history[["validation_loss", "validation_accuracy"]].isna().all(axis=None)
    assert history["loss"].notna().all()


def test_the_accuracy_of_a_hidden_module_is_that_of_class_means(images, held_out, conv, recipe):
    result = train_modular(
        conv(), images, at=["second"], epochs=1, recipe=recipe, validation=held_out
    )
    network, prepare = result.network, result.modules[0].preprocess
    with torch.no_grad():
        features, others = (
            network[:2](prepare(torch.as_tensor(task.inputs))).mean((2, 3)).numpy()
            for task in (images, held_out)
        )
    means = ClassMeanOutput().fit(features, images.labels)
    expected = np.mean(means.predict(others) == held_out.labels)
    found = result.history.query("module == 'second'")["validation_accuracy"]
    assert found.tolist() == [pytest.approx(expected)]


def test_the_loss_does_not_depend_on_the_order_of_the_rows(rows, mlp, monkeypatch):
    # Rows sorted by class, in blocks of one class, would leave a proxy no pair to compare.
    monkeypatch.setattr("modtools.training._batches._READ_ROWS", 20)
    losses = []
    mixed = np.arange(60).reshape(3, 20).T.ravel()
    for order in (slice(None), mixed):
        options = {"proxy": "alignment", "epochs": 1, "validation": rows.subset(order)}
        history = train_modular(mlp(), rows, recipe=RECIPE, **options).history
        losses.append(history.query("module == '2'")["validation_loss"].item())
    assert losses[0] == pytest.approx(losses[1], rel=0.2)
    assert losses[0] < -0.5  # some class is told from another


def test_layers_that_work_in_place_spoil_no_measurement(rows):
    # The second module overwrites what the first returned; accuracies must be of the originals.
    accuracies = []
    for inplace in (False, True):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Linear(5, 3), nn.ReLU(inplace=inplace), nn.Linear(3, 6), nn.Linear(6, 3)
        )
        result = train_modular(
            network,
            rows,
            schedule="simultaneous",
            at=["0", "2"],
            epochs=2,
            recipe=RECIPE,
            validation=rows,
        )
        accuracies.append(result.history["validation_accuracy"].tolist())
    assert accuracies[0] == accuracies[1]


def test_patience_ends_a_phase_and_returns_to_the_best(rows, mlp, measured, state, differ):
    measured([3.0, 2.0, 2.5, 1.0, 1.5, 1.0, 0.0])
    whole = mlp()
    options = {"recipe": Recipe(batch_size=20, curve="constant"), "validation": rows}
    result = train_end_to_end(whole, rows, epochs=9, patience=2, **options)
    # Epoch 4 was the best; 5 was worse and 6 no better.
    assert result.history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    measured([1.0] * 4)
    best = mlp()
    train_end_to_end(best, rows, epochs=4, **options)
    assert not differ(state(whole), state(best))


def test_patience_returns_to_the_best_also_at_the_end(rows, mlp, measured, state, differ):
    measured([2.0, 1.0, 3.0])
    whole, best = mlp(), mlp()
    options = {"recipe": Recipe(batch_size=20, curve="constant"), "validation": rows}
    train_end_to_end(whole, rows, epochs=3, patience=5, **options)
    measured([1.0] * 2)
    train_end_to_end(best, rows, epochs=2, **options)
    assert not differ(state(whole), state(best))


def test_each_phase_has_patience_of_its_own(rows, mlp, measured):
    measured([1.0, 2.0, 5.0, 6.0, 4.0, 4.5])
    result = train_modular(
        mlp(), rows, at=["0", "2"], epochs=7, recipe=RECIPE, validation=rows, patience=1
    )
    assert result.history["module"].tolist() == ["0", "0", "2", "2", "3", "3"]


def test_a_validation_loss_that_is_nan_is_never_the_best(rows, mlp, measured, state, differ):
    nan = float("nan")
    measured([1.0, nan, nan])
    network, best = mlp(), mlp()
    options = {"recipe": Recipe(batch_size=20, curve="constant"), "validation": rows}
    train_end_to_end(network, rows, epochs=9, patience=2, **options)
    measured([1.0])
    train_end_to_end(best, rows, epochs=1, **options)
    assert not differ(state(network), state(best))
