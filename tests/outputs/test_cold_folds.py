"""Cold logistic folds: against scikit-learn, against leaking labels, folds."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from modtools.outputs import _logistic_folds
from modtools.outputs._folds import row_content, stratified_folds
from modtools.outputs._logistic_folds import cold_fold_codes, minimise_folds
from modtools.outputs._standardize import StandardizedRows

pytestmark = pytest.mark.floating_point


def make_rows(n_samples=200, n_features=6, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, n_classes, n_samples)
    return rng.normal(size=(n_samples, n_features)) + rng.normal(size=(3, n_features))[codes], codes


@pytest.mark.parametrize("n_features", [6, 150])
def test_converges_to_scikit_learn(n_features):
    features, codes = make_rows(n_features=n_features)
    rows = StandardizedRows.of(features).dense()
    design = np.column_stack([rows, np.ones(len(rows))])
    penalty = np.append(np.full(n_features, 2.0), 0)
    folds = stratified_folds(codes, 3, seed=0)
    training = folds[:, None] != np.arange(3)
    weights = minimise_folds(design, codes, 3, training, penalty, n_iterations=300)
    for fold in range(3):
        used = training[:, fold]
        reference = LogisticRegression(C=0.5, tol=1e-10, max_iter=5000).fit(rows[used], codes[used])
        np.testing.assert_allclose(weights[:-1, fold].T, reference.coef_, atol=1e-5)
        intercepts = weights[-1, fold] - weights[-1, fold].mean()
        np.testing.assert_allclose(intercepts, reference.intercept_, atol=1e-5)


@pytest.mark.parametrize("shape", [(400, 10), (200, 30), (150, 300)])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_few_iterations_agree_with_converged_folds(shape, n_classes):
    features, codes = make_rows(*shape, n_classes=n_classes)
    rows = StandardizedRows.of(features)
    folds = stratified_folds(codes, 5, seed=0, content=row_content(rows))
    expected = np.empty_like(codes)
    for fold in range(5):
        used = folds != fold
        probe = LogisticRegression(max_iter=5000).fit(rows.dense()[used], codes[used])
        expected[~used] = probe.predict(rows.dense()[~used])
    predicted = cold_fold_codes(rows, codes, n_classes)
    assert np.mean(predicted != expected) <= 0.02
    assert abs(np.mean(predicted == codes) - np.mean(expected == codes)) <= 0.01


@pytest.mark.parametrize("shape", [(500, 20), (100, 400)])
def test_labels_do_not_leak(shape):
    rng = np.random.default_rng(0)
    rows = StandardizedRows.of(rng.normal(size=shape))
    accuracies = []
    for _ in range(5):
        codes = rng.integers(0, 2, shape[0])
        accuracies.append(np.mean(cold_fold_codes(rows, codes, 2) == codes))
    assert np.mean(accuracies) == pytest.approx(0.5, abs=0.08)


def test_held_out_rows_do_not_influence_their_own_prediction():
    features, codes = make_rows()
    rows = StandardizedRows.of(features)
    folds = stratified_folds(codes, 5, seed=0)
    training = folds[:, None] != np.arange(5)
    design = np.column_stack([rows.dense(), np.ones(len(codes))])
    penalty = np.append(np.ones(6), 0)
    weights = minimise_folds(design, codes, 3, training, penalty)
    other = np.where(folds == 2, (codes + 1) % 3, codes)
    changed = minimise_folds(design, other, 3, training, penalty)
    np.testing.assert_allclose(changed[:, 2], weights[:, 2], atol=1e-12)
    assert np.abs(changed[:, 0] - weights[:, 0]).max() > 1e-3


def test_blocks_of_rows_change_nothing(monkeypatch):
    features, codes = make_rows()
    rows = StandardizedRows.of(features)
    expected = cold_fold_codes(rows, codes, 3)
    monkeypatch.setattr(_logistic_folds, "rows_per_block", lambda *_: 17)
    assert np.mean(cold_fold_codes(rows, codes, 3) == expected) > 0.99


def test_absent_class_is_never_predicted():
    features, codes = make_rows()
    codes[0] = 3
    assert cold_fold_codes(StandardizedRows.of(features), codes, 4)[0] != 3


def test_constant_features_predict_the_largest_class():
    codes = np.array([0] * 30 + [1] * 10)
    predicted = cold_fold_codes(StandardizedRows.of(np.ones((40, 3))), codes, 2)
    assert not predicted.any()


@pytest.mark.parametrize("n_folds", [2, 3, 5])
def test_folds_are_stratified_and_even(n_folds):
    codes = np.repeat([0, 1, 2, 3], [40, 17, 3, 2])
    folds = stratified_folds(codes, n_folds, seed=3)
    sizes = np.bincount(folds, minlength=n_folds)
    assert np.ptp(sizes) <= 1
    for code in range(4):
        own = np.bincount(folds[codes == code], minlength=n_folds)
        assert np.ptp(own) <= 1
        assert np.count_nonzero(own) >= 2


def test_folds_keep_groups_together():
    groups = np.random.default_rng(0).permutation(200) % 40
    codes = groups % 4
    folds = stratified_folds(codes, 5, seed=0, groups=groups)
    assert all(len(np.unique(folds[groups == group])) == 1 for group in range(40))
    np.testing.assert_array_equal(np.unique(folds), np.arange(5))
    assert all(len(np.unique(folds[codes == code])) == 5 for code in range(4))


def test_folds_ignore_the_names_of_classes_and_follow_the_seed():
    codes = np.random.default_rng(0).integers(0, 4, 50)
    folds = stratified_folds(codes, 5, seed=0)
    np.testing.assert_array_equal(stratified_folds((codes + 1) % 4, 5, seed=0), folds)
    assert (stratified_folds(codes, 5, seed=1) != folds).any()
