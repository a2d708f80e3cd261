"""codelength: against refitting before every row, temperatures, unseen classes, limits."""

import numpy as np
import pytest
from scipy.linalg import null_space
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from scipy.stats import multivariate_normal
from sklearn.linear_model import Ridge

from modtools.exceptions import ModtoolsError, ModtoolsWarning
from modtools.outputs import _ridge_curve, _ridge_path
from modtools.outputs._folds import row_content
from modtools.outputs._ridge import alpha_grid, alpha_of_evidence, ridge_basis
from modtools.outputs._standardize import StandardizedRows
from modtools.tasks._labels import encode_labels
from modtools.transferability import SCORES, codelength
from tests.transferability import row_definitions

pytestmark = pytest.mark.floating_point


def make_rows(n_samples=60, n_features=4, n_classes=3, seed=0, gap=1.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n_samples)
    centres = gap * rng.normal(size=(n_classes, n_features))
    return rng.normal(size=(n_samples, n_features)) + centres[labels], labels


def bits_row_by_row(features, labels, alpha, temperatures):
    """Refit before every row, choose the temperature from the rows before, add up the bits."""
    n_classes, decisions, losses = labels.max() + 1, [], []

    def loss(i, temperature):
        share = 1 / (i + 1)
        known = np.isin(np.arange(n_classes), labels[:i])
        right = softmax(decisions[i][known] / temperature)[np.cumsum(known)[labels[i]] - 1]
        right = right if known[labels[i]] else 0.0
        return -np.log2((1 - share) * right + share / n_classes)

    for i, label in enumerate(labels):
        if i == 0:
            decisions.append(None)
            losses.append(np.log2(n_classes))
            continue
        machine = Ridge(alpha=alpha).fit(features[:i], np.eye(n_classes)[labels[:i]])
        decisions.append(machine.predict(features[i : i + 1])[0])
        before = [sum(loss(j, t) for j in range(1, i)) for t in temperatures]
        best = temperatures[np.argmin(before)] if i >= n_classes else 1.0
        losses.append(loss(i, best))
        assert label == labels[i]
    return np.mean(losses)


@pytest.mark.parametrize("shape", [(36, 4), (18, 40)])
def test_by_refitting_before_every_row(monkeypatch, shape):
    monkeypatch.setattr(_ridge_curve, "_TEMPERATURES", _ridge_curve._TEMPERATURES[::8])
    monkeypatch.setattr(_ridge_curve, "_NO_TEMPERATURE", 4)
    features, labels = make_rows(*shape)
    standard = row_definitions.standardized(features)
    targets = np.eye(3)[labels]
    basis = ridge_basis(StandardizedRows.of(features))
    alpha = alpha_of_evidence(basis, targets)
    expected, in_place = [], row_content(StandardizedRows.of(features)).order(labels)
    for order in range(5):
        rows = in_place[np.random.default_rng([7, order]).permutation(len(labels))]
        expected.append(
            bits_row_by_row(standard[rows], labels[rows], alpha, _ridge_curve._TEMPERATURES)
        )
    estimate = SCORES["codelength"].compute(features, encode_labels(labels), seed=7)
    assert estimate.value == pytest.approx(-np.mean(expected), rel=1e-9)
    assert estimate.standard_error == pytest.approx(np.std(expected, ddof=1) / np.sqrt(5), rel=1e-6)


@pytest.mark.parametrize("shape", [(40, 5), (20, 50)])
def test_alpha_has_the_largest_gaussian_evidence(shape):
    features, labels = make_rows(*shape)
    rows = StandardizedRows.of(features)
    targets = np.eye(3)[labels]
    centred = targets - targets.mean(axis=0)

    inside = null_space(np.ones((1, len(labels))))

    def log_evidence(alpha, column):
        kernel = rows.dense() @ rows.dense().T / alpha + np.eye(len(labels))
        kernel = inside.T @ kernel @ inside
        return -minimize_scalar(
            lambda log: -multivariate_normal.logpdf(inside.T @ column, cov=np.exp(log) * kernel),
            bounds=(-20, 3),
            method="bounded",
        ).fun

    grid = alpha_grid(len(labels))
    sums = [sum(log_evidence(s, column) for column in centred.T) for s in grid]
    found = alpha_of_evidence(ridge_basis(rows), targets)
    assert found == grid[np.argmax(sums)]


def test_better_features_need_fewer_bits():
    values = [codelength(*make_rows(n_samples=200, gap=gap)) for gap in (0.0, 0.5, 1.5, 6.0)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(-np.log2(3), abs=0.15)
    assert -0.25 < values[-1] < 0


def test_all_classes_new_is_finite():
    value = codelength(np.eye(6) + 0.1 * np.arange(6), np.arange(6))
    assert -6 < value < 0


def test_constant_features_need_about_the_entropy():
    labels = np.repeat([0, 1], [150, 50])
    with pytest.warns(ModtoolsWarning, match="MT001"):
        value = codelength(np.ones((200, 3)), labels)
    assert value == pytest.approx(-0.811, abs=0.06)


def test_block_form_gives_the_same_bits(monkeypatch):
    features, labels = make_rows()
    expected = codelength(features, labels)
    monkeypatch.setattr(_ridge_path, "_LARGEST_DENSE", 0)
    monkeypatch.setattr(_ridge_path, "_SMALLEST_BLOCK", 16)
    assert codelength(features, labels) == pytest.approx(expected, rel=1e-12)


def test_seed_decides_the_orders():
    rows = make_rows()
    first, again, other = (codelength(*rows, seed=seed) for seed in (1, 1, 2))
    assert again == pytest.approx(first, rel=1e-12)
    assert other != pytest.approx(first, rel=1e-6)


def test_only_for_classes():
    features, _ = make_rows()
    with pytest.raises(ModtoolsError, match="codelength is defined for classification"):
        codelength(features, features[:, 0])


def test_ranks_real_features_like_their_accuracy(reference_features):
    values = {
        name: codelength(features, labels) / np.log2(labels.max() + 1)
        for name, (features, labels, _) in reference_features.items()
    }
    assert -1 < values["lite0-d1__fashion-tops"] < values["lite0-d2__digits"] < 0
