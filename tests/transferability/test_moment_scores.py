"""Scores from moments: golden values, definitions by another route, invariances, limits."""

import warnings

import numpy as np
import pytest

import modtools.transferability as transferability
from modtools import ModtoolsError, Moments
from modtools.exceptions import ModtoolsWarning
from modtools.transferability import SCORES, score
from tests.transferability import definitions

pytestmark = pytest.mark.floating_point

GOLDEN = {
    "nce": -0.9902102579,
    "leep": -1.0778276073,
    "hscore": 1.2621607487,
    "regularized_hscore": 0.0626281452,
    "logme": -0.7909285932,
    "transrate": 0.2601931269,
    "gbc": -3.8686817738,
    "sfda": 0.7236429350,
    "lfc": 0.2697235598,
    "alignment": 0.6993665962,
    "upper_triangle_alignment": 0.6280090312,
    "nmse": -0.2250212820,
    "raw": -0.0897772925,
    "centered_alignment": 0.3246961926,
    "hsic": 0.1172581220,
    "nhsic": 1.2620892749,
}
VARIANTS = [
    ("transrate", {"weights": "uniform"}, 0.2830953198),
    ("gbc", {"covariance": "spherical"}, -3.8941920604),
    ("gbc", {"covariance": "public_spherical"}, -3.8962412925),
    ("raw", {"negatives_only": True}, -0.4071631653),
    ("hsic", {"biased": True}, 0.2265969022),
]
FEATURE_SCORES = [name for name in GOLDEN if name not in {"nce", "leep"}]
SHIFT_INVARIANT = [
    "hscore",
    "regularized_hscore",
    "transrate",
    "gbc",
    "sfda",
    "centered_alignment",
    "hsic",
    "nhsic",
]
SCALE_INVARIANT = [
    "hscore",
    "regularized_hscore",
    "logme",
    "lfc",
    "alignment",
    "upper_triangle_alignment",
    "nmse",
    "raw",
    "centered_alignment",
]


def compute(name, features, labels, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModtoolsWarning)
        return getattr(transferability, name)(features, labels, **options)


def example(n, d, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(n_classes), rng.choice(n_classes, p=[0.6, 0.3, 0.1], size=n - 3)]
    return rng.normal(size=(n, d)) + 0.8 * np.eye(n_classes, d)[labels], labels


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_value(name):
    features, labels, probabilities = definitions.golden()
    given = probabilities if name in {"nce", "leep"} else features
    assert compute(name, given, labels) == pytest.approx(GOLDEN[name], abs=6e-11)


@pytest.mark.parametrize(("name", "options", "value"), VARIANTS)
def test_golden_value_of_a_variant(name, options, value):
    features, labels, _ = definitions.golden()
    assert compute(name, features, labels, **options) == pytest.approx(value, abs=6e-11)


def test_golden_evidence_of_each_class():
    features, labels, _ = definitions.golden()
    from modtools.transferability._logme import evidence_by_target

    evidence = evidence_by_target(Moments.from_features(features, labels).summary())
    expected = [-0.8370616707, -0.7703590176, -0.7653650914]
    np.testing.assert_allclose(evidence, expected, atol=6e-11)


# Primal (n > d), dual (n < d), and many dead ReLU rows.
@pytest.mark.parametrize("shape", [(41, 6), (24, 40), (30, 3)])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", FEATURE_SCORES)
def test_value_by_definition(name, seed, shape):
    features, labels = example(*shape, seed=seed)
    if name == "sfda" and shape == (24, 40):
        features = features / 4  # keeps the definition's matrix inverse well conditioned
    expected = getattr(definitions, name)(features, labels)
    tolerance = {"logme": 1e-7, "sfda": 1e-8}.get(name, 1e-9)
    assert compute(name, features, labels) == pytest.approx(expected, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("name", ["nce", "leep"])
@pytest.mark.parametrize("seed", range(4))
def test_value_of_probability_scores_by_definition(name, seed):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(6, 0.3), size=70)
    probabilities[:, 5] = 0  # a source class that is never predicted
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    labels = rng.choice(["a", "b", "c"], size=70)
    expected = getattr(definitions, name)(probabilities, labels)
    found = compute(name, probabilities, labels)
    assert found == pytest.approx(expected, rel=1e-12)
    share = np.unique(labels, return_counts=True)[1] / 70
    assert (share * np.log(share)).sum() - 1e-12 <= found <= 0


@pytest.mark.parametrize("unit", [1e-10, 1.0, 1e10, 1e30])
def test_nhsic_of_dependent_targets_is_that_of_the_independent_ones(unit):
    features, _ = example(40, 6)
    targets = features[:, :2] + np.random.default_rng(1).normal(size=(40, 2))
    targets[:, 0] *= 1e12  # large beside the ridge, as the second column need not be
    dependent = np.column_stack([targets[:, 0], targets[:, 0] * unit, targets[:, 1] * 1e6])
    expected = compute("nhsic", features, targets * [1, 1e6])
    assert 0.5 < expected < 2
    assert compute("nhsic", features, dependent) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("regularization", [1e-18, 1e-300])
def test_nhsic_with_a_vanishing_ridge_is_the_hscore(regularization):
    features, labels = example(40, 6)
    found = transferability.nhsic(features, labels, regularization=regularization)
    assert found == pytest.approx(transferability.hscore(features, labels), rel=1e-9)


@pytest.mark.parametrize("name", ["logme", "centered_alignment", "hsic", "nhsic"])
@pytest.mark.parametrize("shape", [(40, 6), (20, 30)])
@pytest.mark.parametrize("kind", ["multilabel", "regression", "regression-1d"])
def test_other_kinds_by_definition(name, shape, kind):
    features, _ = example(*shape)
    rng = np.random.default_rng(1)
    labels = rng.normal(size=(shape[0], 2)) + features[:, :2]
    if kind == "multilabel":
        labels = (labels > 0.3).astype(int)
    if kind == "regression-1d":
        labels = labels[:, 0]
    expected = getattr(definitions, name)(features, labels)
    tolerance = 1e-6 if name == "logme" else 1e-9
    assert compute(name, features, labels) == pytest.approx(expected, rel=tolerance, abs=1e-9)


def test_alignment_of_many_labels_by_definition():
    features, _ = example(40, 6)
    labels = (np.random.default_rng(1).random((40, 3)) < 0.4).astype(int)
    expected = definitions.alignment(features, labels)
    assert compute("alignment", features, labels) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", GOLDEN)
def test_names_of_classes_and_order_of_rows_do_not_matter(name):
    features, labels = example(60, 5)
    given = features
    if name in {"nce", "leep"}:
        given = np.exp(features) / np.exp(features).sum(axis=1, keepdims=True)
    value = compute(name, given, labels)
    renamed = np.array(["z", "a", "m"])[labels]
    order = np.random.default_rng(0).permutation(60)
    for other in (renamed, np.array([-5, 700, 3])[labels], labels.tolist(), labels == 99):
        if len(set(np.asarray(other).tolist())) == 3:
            assert compute(name, given, other) == pytest.approx(value, rel=1e-9)
    assert compute(name, given[order], labels[order]) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("name", SHIFT_INVARIANT)
@pytest.mark.parametrize("shape", [(60, 5), (20, 30)])
def test_an_offset_of_a_million_changes_nothing(name, shape):
    features, labels = example(*shape)
    value = compute(name, features, labels)
    assert compute(name, features + 1e6, labels) == pytest.approx(value, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("name", SCALE_INVARIANT)
@pytest.mark.parametrize("scale", [6e-10, 1e9])
def test_the_scale_of_the_features_changes_nothing(name, scale):
    for shape in ((60, 5), (20, 30)):
        features, labels = example(*shape)
        value = compute(name, features, labels)
        assert compute(name, features * scale, labels) == pytest.approx(value, rel=1e-8)


IGNORES_A_CONSTANT = ["hscore", "centered_alignment", "nhsic", "hsic", "transrate"]
IGNORES_ZEROS = ["logme", "lfc", "alignment", "nmse", "raw", *IGNORES_A_CONSTANT]


@pytest.mark.parametrize("name", FEATURE_SCORES)
def test_columns_that_say_nothing_new_leave_a_finite_score(name):
    features, labels = example(60, 5)
    value = compute(name, features, labels)
    with_constant = compute(name, np.column_stack([features, np.ones(60)]), labels)
    with_zeros = compute(name, np.column_stack([features, np.zeros(60)]), labels)
    with_copy = compute(name, np.column_stack([features, features[:, 0]]), labels)
    assert np.isfinite([with_constant, with_zeros, with_copy]).all()
    if name in IGNORES_A_CONSTANT:
        assert with_constant == pytest.approx(value, rel=1e-9)
    if name in IGNORES_ZEROS:
        assert with_zeros == pytest.approx(value, rel=1e-9)


def test_400_columns_of_zeros_do_not_move_the_evidence():
    features, labels = example(30, 64)
    wider = np.hstack([features, np.zeros((30, 400))])
    assert compute("logme", wider, labels) == pytest.approx(
        compute("logme", features, labels), rel=1e-9
    )


def test_hscore_with_an_offset_of_a_million_against_the_definition():
    features, labels = example(4000, 12)
    exact = definitions.hscore(features, labels)
    assert compute("hscore", features + 1e6, labels) == pytest.approx(exact, rel=1e-9)
    rounded = (features + 1e6).astype(np.float32)
    exact = definitions.hscore(rounded.astype(np.float64) - 1e6, labels)
    blocks = Moments.from_features(rounded, labels, precision="float32")
    assert blocks.score(["hscore"])["hscore"] == pytest.approx(exact, rel=1e-4)


def test_few_rows_warn_that_hscore_says_nothing():
    features, labels = example(20, 30)
    with pytest.warns(ModtoolsWarning, match="MT003: n=20 examples, d=30 features: hscore equals"):
        assert transferability.hscore(features, labels) == pytest.approx(2.0, rel=1e-9)
    noise = np.random.default_rng(0).permutation(labels)
    assert compute("regularized_hscore", features, labels) > compute(
        "regularized_hscore", features, noise
    )


@pytest.mark.parametrize("name", [n for n in FEATURE_SCORES if n != "sfda"])
@pytest.mark.parametrize("shape", [(60, 5), (20, 30)])
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_features_without_variation_give_a_documented_limit(name, shape, value):
    _, labels = example(*shape)
    assert np.isfinite(compute(name, np.full(shape, value), labels))


def test_a_class_of_one_row_and_an_absent_class_are_legal():
    features, labels = example(60, 5)
    labels[labels == 2] = 0
    labels[5] = 2
    with pytest.warns(ModtoolsWarning, match="MT006"):
        result = score(features, labels)
    assert all(np.isfinite(value) for value in result.values())
    absent = Moments.from_features(features, labels, classes=[0, 1, 2, 3, 4])
    present = Moments.from_features(features, labels)
    for name, value in present.score().items():
        assert absent.score([name])[name] == pytest.approx(value, rel=1e-12), name


def test_float16_and_tensors_score_as_their_values():
    import torch

    features, labels = example(60, 5)
    features = features.astype(np.float16)
    names = [name for name, entry in SCORES.items() if entry.needs == "moments"]
    exact = score(features.astype(np.float64), labels, names)
    for same in (features, torch.from_numpy(features), torch.from_numpy(features).float()):
        assert score(same, labels, names) == pytest.approx(dict(exact), rel=1e-9)


def test_moments_score_as_features_do():
    features, labels = example(200, 8)
    identity = Moments.from_features(features, labels, class_second_moments=True)
    relu = Moments.from_features(features, labels, feature_map="relu_normalised")
    found = identity.score() | relu.score()
    expected = score(features, labels, list(found))
    assert len(found) == 13
    assert found == pytest.approx(dict(expected), rel=1e-9)


def test_scores_of_large_float32_data_repeat_in_float64_where_ill_conditioned(monkeypatch):
    monkeypatch.setattr("modtools.transferability._moments._EXACT_SIZE", 1000)
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=4000)
    features = rng.normal(size=(4000, 21))
    features[:, 20] = features[:, 0] + 1e-3 * (rng.normal(size=4000) + (labels == 1))
    features = features.astype(np.float32)
    wide = Moments.from_features(features, labels, precision="float64").score(["hscore", "logme"])
    assert score(features, labels, ["hscore", "logme"]) == pytest.approx(dict(wide), rel=1e-12)
    with pytest.warns(ModtoolsWarning, match="MT008"):
        Moments.from_features(features, labels).score(["hscore"])


def test_class_weights_balance_the_scores():
    features, labels = example(300, 5)
    weighted = Moments.from_features(features, labels, class_weights="balanced")
    rows = np.concatenate(
        [
            np.tile(np.flatnonzero(labels == c), 1000 // np.sum(labels == c) + 1)[:1000]
            for c in range(3)
        ]
    )
    repeated = Moments.from_features(features[rows], labels[rows])
    for name in ("hscore", "centered_alignment", "lfc"):
        found, expected = weighted.score([name])[name], repeated.score([name])[name]
        assert found == pytest.approx(expected, rel=0.03)
    with pytest.raises(ModtoolsError, match="hsic is not defined with class weights"):
        weighted.score(["hsic"])
