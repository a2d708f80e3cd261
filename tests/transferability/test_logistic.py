"""logistic and linear_probe: against converged scikit-learn folds, determinism, limits."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modtools.exceptions import ModtoolsError, ModtoolsWarning
from modtools.outputs import LogisticOutput
from modtools.outputs._folds import row_content, stratified_folds
from modtools.outputs._standardize import StandardizedRows
from modtools.tasks._labels import encode_labels
from modtools.transferability import SCORES, _accuracies, linear_probe, logistic
from tests.transferability import row_definitions

pytestmark = pytest.mark.floating_point


def make_rows(n_samples=150, n_features=6, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n_samples)
    centres = rng.normal(size=(n_classes, n_features))
    return rng.normal(size=(n_samples, n_features)) + centres[labels], labels


def folds_of(features, labels, n_folds=5):
    codes = np.unique(labels, return_inverse=True)[1]
    content = row_content(StandardizedRows.of(features))
    return stratified_folds(codes, n_folds, seed=0, content=content)


def converged_folds(features, labels, alpha=1.0):
    standard = row_definitions.standardized(features)
    folds = folds_of(features, labels)
    right = 0
    for fold in range(5):
        probe = LogisticRegression(C=1 / alpha, max_iter=5000)
        probe.fit(standard[folds != fold], labels[folds != fold])
        right += np.count_nonzero(probe.predict(standard[folds == fold]) == labels[folds == fold])
    return right / len(labels)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 10.0])
def test_logistic_agrees_with_converged_folds_on_real_features(reference_features, alpha):
    differences = [
        logistic(features, labels, alpha=alpha) - converged_folds(features, labels, alpha)
        for features, labels, _ in reference_features.values()
    ]
    assert np.abs(differences).mean() <= 0.007


@pytest.mark.parametrize("n_rows", [150, 300])
def test_logistic_agrees_with_converged_folds_on_few_rows(reference_features, n_rows):
    differences = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        for features, labels, _ in reference_features.values():
            rows = rng.choice(len(labels), n_rows, replace=False)
            few = features[rows], labels[rows]
            differences.append(logistic(*few) - converged_folds(*few))
    assert np.abs(differences).mean() <= 0.014


def test_logistic_is_the_held_out_accuracy_of_its_output_module():
    features, labels = make_rows()
    held_out = LogisticOutput(alpha=2.0, random_state=3).leave_one_out(features, labels)
    assert logistic(features, labels, alpha=2.0, seed=3) == np.mean(held_out == labels)


def test_logistic_standard_error_is_binomial():
    features, labels = make_rows()
    estimate = SCORES["logistic"].compute(features, encode_labels(labels))
    p = estimate.value
    assert estimate.standard_error == pytest.approx(np.sqrt(p * (1 - p) / 150))


@pytest.mark.parametrize("score", [logistic, linear_probe])
def test_row_alone_in_its_class_is_an_error_with_a_warning(score):
    features, labels = make_rows()
    labels[7] = 9
    with pytest.warns(ModtoolsWarning, match="MT006: 1 class has one example, which"):
        value = score(features, labels)
    assert 0.3 < value < 1


@pytest.mark.parametrize("score", [logistic, linear_probe])
def test_constant_features_are_at_the_frequency_limit(score):
    labels = np.repeat([0, 1], [60, 30])
    with pytest.warns(ModtoolsWarning, match="MT001"):
        assert score(np.zeros((90, 2)), labels) == pytest.approx(2 / 3)


@pytest.mark.parametrize("score", [logistic, linear_probe])
def test_seed_decides_the_folds(score):
    features, labels = make_rows(n_samples=60, n_features=2)
    values = [score(features, labels, seed=seed) for seed in (0, 0, 1, 2)]
    assert values[0] == values[1]
    assert len(set(values)) > 1
    assert np.ptp(values) < 0.15


@pytest.mark.parametrize("score", [logistic, linear_probe])
@pytest.mark.parametrize("seed", [-1, 0.5, None])
def test_bad_seed_is_refused(score, seed):
    with pytest.raises(ModtoolsError, match="seed must be a whole number"):
        score(*make_rows(), seed=seed)


def probe(features, labels, inverse_alpha):
    return make_pipeline(StandardScaler(), LogisticRegression(C=inverse_alpha, max_iter=2000)).fit(
        features, labels
    )


def test_probe_is_nested_cross_validation():
    features, labels = make_rows(n_samples=120, n_features=15)
    grid = [1e-3, 1e-2, 1e-1, 1, 10]
    content, accuracies = row_content(StandardizedRows.of(features)), []
    folds = folds_of(features, labels)
    for fold in range(5):
        used = folds != fold
        X, y = features[used], labels[used]
        inner = stratified_folds(y, 3, seed=0, content=content.take(used))
        right = [
            sum(
                np.count_nonzero(
                    probe(X[inner != i], y[inner != i], c).predict(X[inner == i]) == own
                )
                for i, own in ((i, y[inner == i]) for i in range(3))
            )
            for c in grid
        ]
        best = probe(X, y, grid[np.argmax(right)])
        accuracies.append(best.score(features[~used], labels[~used]))
    # The inner fits start warm, so a row near a boundary may fall on the other side.
    assert linear_probe(features, labels) == pytest.approx(np.mean(accuracies), abs=2.1 / 120)


def test_probe_standard_error_counts_shared_training_rows():
    accuracies = [0.8, 0.9, 0.7, 0.8, 0.6]
    expected = np.sqrt((1 / 5 + 24 / 96) * np.var(accuracies, ddof=1))
    assert _accuracies._corrected_standard_error(accuracies) == pytest.approx(expected)
    features, labels = make_rows(n_samples=60)
    assert 0 < SCORES["linear_probe"].compute(features, encode_labels(labels)).standard_error < 0.2


def test_probe_says_when_fits_stopped_early(monkeypatch):
    monkeypatch.setattr(_accuracies, "_MAX_ITERATIONS", 2)
    with pytest.warns(ModtoolsWarning, match="MT005: .* probe fits stopped at 2 iterations"):
        linear_probe(*make_rows())


@pytest.mark.parametrize("score", [logistic, linear_probe])
def test_very_few_rows(score):
    features = [[0.0, 1.0], [0.2, 0.9], [5.0, 0.1], [5.1, 0.3]]
    assert 0 <= score(features, [0, 0, 1, 1]) <= 1
