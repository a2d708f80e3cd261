"""ridge, lda, class_mean: golden values, refitting without each row, limits."""

import numpy as np
import pytest

from modtools.exceptions import ModtoolsError, ModtoolsWarning
from modtools.outputs import ClassMeanOutput, RidgeOutput
from modtools.tasks._labels import encode_labels
from modtools.transferability import SCORES, class_mean, lda, ridge
from tests.transferability import row_definitions
from tests.transferability.definitions import golden

pytestmark = pytest.mark.floating_point


def make_rows(n_samples=50, n_features=4, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n_samples)
    labels[:n_classes] = np.arange(n_classes)
    centres = rng.normal(size=(n_classes, n_features))
    return rng.normal(size=(n_samples, n_features)) + centres[labels] + 2, labels


@pytest.mark.parametrize(
    ("score", "options", "value"),
    [
        (ridge, {"alpha": 0.5}, 0.6428571429),
        (lda, {"alpha": 0.5}, 0.7142857143),
        (class_mean, {}, 0.6428571429),
    ],
)
def test_golden_values(score, options, value):
    features, labels, _ = golden()
    assert score(features, labels, standardize=False, **options) == pytest.approx(value, abs=5e-11)


@pytest.mark.parametrize("shape", [(50, 4), (20, 20), (15, 40)])
@pytest.mark.parametrize("alpha", [0.1, 20.0])
def test_ridge_by_refitting(shape, alpha):
    features, labels = make_rows(*shape)
    standard = row_definitions.standardized(features)
    decisions = row_definitions.ridge_left_out(standard, np.eye(3)[labels], alpha)
    expected = np.mean(decisions.argmax(axis=1) == labels)
    assert ridge(features, labels, alpha=alpha) == expected


@pytest.mark.parametrize("n_features", [4, 80])
def test_ridge_is_the_accuracy_of_its_output_module(n_features):
    features, labels = make_rows(n_features=n_features)
    left_out = RidgeOutput().leave_one_out(features, labels)
    assert ridge(features, labels) == np.mean(left_out == labels)


@pytest.mark.parametrize("columns", [1, 3])
def test_ridge_of_real_targets_is_r_squared(columns):
    features, _ = make_rows()
    noise = np.random.default_rng(1).normal(size=(50, columns))
    targets = features[:, :columns] + 0.5 * noise
    standard = row_definitions.standardized(features)
    decisions = row_definitions.ridge_left_out(standard, targets, 3.0)
    means = (targets.sum(axis=0) - targets) / (len(targets) - 1)
    errors = np.square(targets - decisions).sum(axis=0)
    expected = np.mean(1 - errors / np.square(targets - means).sum(axis=0))
    labels = targets[:, 0] if columns == 1 else targets
    assert ridge(features, labels, alpha=3.0) == pytest.approx(expected, rel=1e-10)


def test_ridge_of_noise_is_near_zero_for_real_targets():
    rng = np.random.default_rng(0)
    assert ridge(rng.normal(size=(200, 5)), rng.normal(size=200)) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("shape", [(50, 4), (20, 20), (15, 40)])
@pytest.mark.parametrize("alpha", [0.1, 20.0])
def test_lda_by_refitting(shape, alpha):
    features, labels = make_rows(*shape)
    standard = row_definitions.standardized(features)
    expected = row_definitions.lda(standard, labels, alpha)
    assert lda(features, labels, alpha=alpha) == expected


@pytest.mark.parametrize("shape", [(50, 4), (15, 40)])
def test_lda_alpha_is_a_hundredth_of_the_mean_within_variance(shape):
    features, labels = make_rows(*shape)
    features = np.column_stack([features, np.ones(shape[0])])
    within = row_definitions.within_scatter(row_definitions.standardized(features), labels)
    alpha = 0.01 * np.trace(within) / shape[1]
    assert lda(features, labels) == lda(features, labels, alpha=alpha)


def test_lda_counts_the_priors():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [95, 5])
    assert lda(rng.normal(size=(100, 2)), labels) == pytest.approx(0.95, abs=0.02)


def test_lda_of_classes_without_spread():
    features = np.repeat(np.eye(3), 4, axis=0)
    assert lda(features, np.repeat([0, 1, 2], 4)) == 1.0


@pytest.mark.parametrize("shape", [(50, 4), (15, 40)])
def test_class_mean_by_refitting(shape):
    features, labels = make_rows(*shape)
    standard = row_definitions.standardized(features)
    assert class_mean(features, labels) == row_definitions.class_mean(standard, labels)
    left_out = ClassMeanOutput().leave_one_out(features, labels)
    assert class_mean(features, labels) == np.mean(left_out == labels)


def test_class_mean_leaves_whole_groups_out():
    features, labels = make_rows()
    groups = np.random.default_rng(0).integers(0, 12, len(labels))
    standard = row_definitions.standardized(features)
    expected = row_definitions.class_mean(standard, labels, groups)
    assert class_mean(features, labels, groups=groups) == expected
    names = np.array([f"patient {group}" for group in groups])
    assert class_mean(features, labels, groups=names) == expected


def test_groups_of_one_row_are_plain_leave_one_out():
    features, labels = make_rows()
    alone = class_mean(features, labels, groups=np.arange(len(labels)))
    assert alone == class_mean(features, labels)


def test_group_that_holds_a_whole_class_makes_errors():
    features, labels = make_rows()
    assert class_mean(features, labels, groups=labels) == 0.0


@pytest.mark.parametrize(
    ("groups", "message"),
    [([0, 1], "one whole number or str per example"), ([1] * 50, "at least two groups")],
)
def test_bad_groups_are_refused(groups, message):
    with pytest.raises(ModtoolsError, match=message):
        class_mean(*make_rows(), groups=groups)


def test_class_mean_of_constant_features_is_the_frequency_limit():
    labels = [0, 0, 0, 1, 1]
    with pytest.warns(ModtoolsWarning, match="MT001: features carry no variation"):
        assert class_mean(np.zeros((5, 3)), labels) == 0.6


@pytest.mark.parametrize("score", [ridge, lda])
@pytest.mark.parametrize("alpha", [0, -2.0, np.nan])
def test_bad_alpha_is_refused(score, alpha):
    with pytest.raises(ModtoolsError, match="alpha must be a finite number above 0"):
        score(*make_rows(), alpha=alpha)


def test_standard_error_is_binomial():
    features, labels = make_rows()
    for estimate in (
        SCORES["ridge"].compute(features, encode_labels(labels)),
        SCORES["lda"].compute(features, encode_labels(labels)),
    ):
        p = estimate.value
        assert estimate.standard_error == pytest.approx(np.sqrt(p * (1 - p) / 50))


@pytest.mark.parametrize("name", ["lite0-d1__fashion-tops", "lite0-d2__digits"])
def test_real_features_by_refitting_some_rows(reference_features, name):
    features, labels, _ = reference_features[name]
    standard = row_definitions.standardized(features)
    codes = np.unique(labels, return_inverse=True)[1]
    output = RidgeOutput().fit(features, labels)
    left_out = RidgeOutput().leave_one_out(features, labels)
    for i in range(0, len(labels), 97):
        others, targets = row_definitions.without(i, standard, np.eye(codes.max() + 1)[codes])
        decision = row_definitions.ridge_decision(standard[i], others, targets, output.alpha_)
        assert output.classes_[decision.argmax()] == left_out[i]
