"""The value of every score stays the same when the examples come in another order."""

import numpy as np
import pytest

from modtools.transferability import SCORES, _accuracies, score

KINDS = [(name, kind) for name, entry in SCORES.items() for kind in entry.kinds]
DIVIDING = ["logistic", "linear_probe", "half_split", "codelength"]
GROUPED = [name for name, entry in SCORES.items() if entry.knows_groups]
pytestmark = pytest.mark.filterwarnings("ignore::modtools.exceptions.ModtoolsWarning")


@pytest.fixture(autouse=True)
def _quick_probe(monkeypatch):
    """Choose among two alphas, not five: what is tested here is not the choice."""
    monkeypatch.setattr(_accuracies, "_INVERSE_ALPHAS", (0.01, 1.0))


def overlapping(n_samples, n_features, seed=0):
    """Three classes that no score tells apart without errors, so that each division shows."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n_samples) % 3
    return rng.normal(size=(n_samples, n_features)) + 0.6 * np.eye(3, n_features)[codes], codes


def copies():
    """Rows given three times, one copy in four of another class than its row."""
    features, codes = overlapping(14, 4)
    codes = np.tile(codes, 3)
    codes[::4] = (codes[::4] + 1) % 3
    return np.tile(features, (3, 1)), codes


def binary(n_samples=47):
    """All codes of four bits, some of them more often than others, and labels that follow two."""
    rng = np.random.default_rng(1)
    features = (np.arange(n_samples)[:, None] >> np.arange(4) & 1).astype(float)
    noise = rng.random(n_samples) < 0.2
    return features, np.where(noise, rng.integers(0, 3, n_samples), features[:, 0] + features[:, 1])


def parity():
    """Classes that no sum of first or second powers of the columns tells apart."""
    features = (np.arange(48)[:, None] >> np.arange(3) & 1) * 2.0 - 1
    return features, (features.prod(axis=1) > 0).astype(int)


ROWS = {
    "even": overlapping(60, 5),
    "odd": overlapping(61, 5),
    "single precision": (overlapping(61, 5)[0].astype(np.float32), overlapping(61, 5)[1]),
    "few": overlapping(9, 4),
    "wide": overlapping(20, 50),
    "one column": overlapping(31, 1),
    "copies": copies(),
    "binary codes": binary(),
    "parity": parity(),
    "offset": (overlapping(40, 4)[0] + 1e5, overlapping(40, 4)[1]),
}


def labels_of_kind(codes, features, kind):
    if kind == "classification":
        return codes.astype(int)
    rng = np.random.default_rng(2)
    if kind == "regression":
        return codes + np.round(rng.normal(size=len(codes)), 1)
    return np.column_stack([codes > 0, rng.random(len(codes)) > 0.5, codes != 1]).astype(int)


def value(name, features, labels, **options):
    probabilities = options.pop("probabilities", None)
    return score(features, labels, [name], source_probabilities=probabilities, **options)[name]


def permutations_of(n_samples, n=3):
    rng = np.random.default_rng(5)
    return [np.arange(n_samples)[::-1], *(rng.permutation(n_samples) for _ in range(n - 1))]


@pytest.mark.parametrize("rows", list(ROWS))
@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_another_order_of_the_examples_gives_the_same_value(name, kind, rows):
    features, codes = ROWS[rows]
    if name == "parc" and features.shape[1] == 1:
        pytest.skip("parc correlates columns")
    labels = labels_of_kind(codes, features, kind)
    probabilities = np.random.default_rng(3).dirichlet(np.ones(5), size=len(codes))
    expected = value(name, features, labels, probabilities=probabilities)
    tolerance = 1e-4 if features.dtype == np.float32 else 1e-7
    for order in permutations_of(len(codes)):
        found = value(name, features[order], labels[order], probabilities=probabilities[order])
        assert found == pytest.approx(expected, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("name", GROUPED)
@pytest.mark.parametrize("n_groups", [11, 20])
def test_neither_order_nor_names_of_groups_change_the_value(name, n_groups):
    features, labels = overlapping(61, 4)
    groups = np.random.default_rng(4).integers(0, n_groups, 61)  # groups of several classes
    expected = value(name, features, labels, groups=groups)
    for order in permutations_of(61):
        found = value(name, features[order], labels[order], groups=groups[order])
        assert found == pytest.approx(expected, rel=1e-9)
        names = np.array([f"group {i}" for i in order])[groups]
        assert value(name, features, labels, groups=names) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", DIVIDING)
def test_order_of_columns_their_signs_and_copied_constants_divide_nothing(name):
    features, labels = overlapping(45, 6)
    expected = value(name, features, labels)
    order = np.random.default_rng(0).permutation(6)
    assert value(name, features[:, order], labels) == pytest.approx(expected, rel=1e-9)
    signs = np.array([1, -1, -1, 1, -1, 1])
    assert value(name, features * signs, labels) == pytest.approx(expected, rel=1e-9)
    wider = np.column_stack([np.ones(45), features, np.ones(45)])
    assert value(name, wider, labels) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", DIVIDING)
def test_the_last_digits_of_another_processor_divide_nothing(name):
    features, labels = overlapping(60, 5)
    other = features * (1 + 1e-12 * np.random.default_rng(0).normal(size=features.shape))
    assert value(name, other, labels) == pytest.approx(value(name, features, labels), rel=1e-6)


@pytest.mark.parametrize("name", ["class_mean", "lda", "ridge", "knn", "half_split", "codelength"])
@pytest.mark.parametrize("seed", range(8))
def test_rounding_does_not_decide_between_classes_that_tie(name, seed):
    """Every point but one is in either class, so that classes are equally near to many rows."""
    points = np.random.default_rng(seed).normal(size=(16, 5))
    features, labels = np.repeat(points, 2, axis=0)[:31], np.arange(31) % 2
    if seed % 2:
        features, labels = features[:30], labels[:30]
    expected = value(name, features, labels)
    for order in permutations_of(len(labels), n=6):
        found = value(name, features[order], labels[order])
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)
        renamed = np.array(["b", "a"])[labels[order]]
        assert value(name, features[order], renamed) == pytest.approx(expected, rel=1e-9, abs=1e-9)
