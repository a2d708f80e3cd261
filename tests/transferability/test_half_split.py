"""half_split: against machines of scikit-learn on the same halves, limits, groups."""

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import Ridge

from modtools.exceptions import ModtoolsError, ModtoolsWarning
from modtools.outputs._folds import row_content, stratified_folds
from modtools.outputs._standardize import StandardizedRows
from modtools.tasks._labels import encode_labels
from modtools.transferability import SCORES, half_split
from tests.transferability import row_definitions

pytestmark = pytest.mark.floating_point


def make_rows(n_samples=60, n_features=4, n_classes=3, seed=0, gap=1.0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n_samples) % n_classes
    centres = gap * rng.normal(size=(n_classes, n_features))
    return rng.normal(size=(n_samples, n_features)) + centres[labels], labels


def losses_of_halves(features, labels, n_splits, seed):
    """Fit scikit-learn's ridge on each half and add up the losses of the other."""
    standard, n_classes = row_definitions.standardized(features), labels.max() + 1
    losses, content = np.zeros(len(labels)), row_content(StandardizedRows.of(features))
    for split in range(n_splits):
        halves = stratified_folds(labels, 2, (seed, split), content=content)
        for half in (0, 1):
            training, other = standard[halves != half], halves == half
            kernel = training - training.mean(axis=0)
            alpha = np.trace(kernel @ kernel.T) / (len(training) - 1)
            machine = Ridge(alpha=alpha).fit(training, np.eye(n_classes)[labels[halves != half]])
            logs = log_softmax(6 * machine.predict(standard[other]), axis=1)
            losses[other] -= logs[np.arange(other.sum()), labels[other]] / n_splits
    return losses


@pytest.mark.parametrize(("shape", "n_splits"), [((60, 4), 15), ((24, 50), 30)])
def test_against_machines_of_scikit_learn(shape, n_splits):
    features, labels = make_rows(*shape)
    losses = losses_of_halves(features, labels, n_splits, seed=5)
    estimate = SCORES["half_split"].compute(features, encode_labels(labels), seed=5)
    assert estimate.value == pytest.approx(-losses.mean(), rel=1e-9)
    expected_error = losses.std(ddof=1) / np.sqrt(len(losses))
    assert estimate.standard_error == pytest.approx(expected_error, rel=1e-9)


def test_more_distance_between_classes_is_better():
    values = [half_split(*make_rows(gap=gap)) for gap in (0.0, 0.5, 1.5, 6.0)]
    assert values == sorted(values)
    assert values[0] < -1.0
    assert values[-1] > -0.2


def test_the_seed_decides_the_halves():
    rows = make_rows(n_samples=18)
    first, again, other = (half_split(*rows, seed=seed) for seed in (1, 1, 2))
    assert again == pytest.approx(first, rel=1e-12)
    assert other != pytest.approx(first, rel=1e-6)


def test_features_that_do_not_vary_are_guesses_by_frequency():
    labels = np.arange(40) % 4
    with pytest.warns(ModtoolsWarning, match="MT001"):
        assert half_split(np.ones((40, 3)), labels) == pytest.approx(-np.log(4), abs=0.01)


def test_one_row_a_class_is_finite_and_warned_about():
    with pytest.warns(ModtoolsWarning, match="MT006"):
        value = half_split(np.eye(6) + 0.1 * np.arange(6), np.arange(6))
    assert -6 < value < -1


def test_copies_in_a_group_are_never_apart():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(20, 60)), np.arange(20) % 2
    twice, both = np.repeat(features, 2, axis=0), np.repeat(labels, 2)
    groups = np.repeat(np.arange(20), 2)
    assert half_split(twice, both) > half_split(twice, both, groups=groups)
    assert half_split(twice, both, groups=groups) < -0.6


def test_regression_is_refused():
    features, _ = make_rows()
    with pytest.raises(ModtoolsError, match="half_split is defined for classification"):
        half_split(features, features[:, 0])
