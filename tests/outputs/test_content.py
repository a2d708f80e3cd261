"""The order of rows by content: the same for any order, units, columns and names."""

import numpy as np
import pytest

from modtools.outputs import ClassMeanOutput, LogisticOutput
from modtools.outputs._clusters import find_clusters
from modtools.outputs._folds import row_content, stratified_folds
from modtools.outputs._standardize import StandardizedRows
from modtools.retraining import _extrapolation

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(90, 5))
CODES = RNG.integers(0, 3, 90)


def content_of(features):
    return row_content(StandardizedRows.of(features))


def folds_of(features, codes, groups=None):
    return stratified_folds(codes, 5, 0, groups, content=content_of(features))


@pytest.mark.parametrize("seed", range(4))
def test_a_row_keeps_its_fold_in_any_order(seed):
    order = np.random.default_rng(seed).permutation(90)
    moved = folds_of(FEATURES[order], CODES[order])
    np.testing.assert_array_equal(moved, folds_of(FEATURES, CODES)[order])


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x * 1e-9,
        lambda x: x * np.logspace(-4, 4, 5),
        lambda x: x + 1e6,
        lambda x: -x,
        lambda x: x[:, ::-1],
        lambda x: np.column_stack([np.ones(90), x]),
        lambda x: x.astype(np.float32),
    ],
    ids=["unit", "units", "offset", "sign", "columns", "constant", "float32"],
)
def test_a_row_keeps_its_fold_in_other_units_and_columns(change):
    np.testing.assert_array_equal(folds_of(change(FEATURES), CODES), folds_of(FEATURES, CODES))


def test_a_rotation_keeps_the_folds_of_features_that_are_only_centred():
    turn = np.linalg.qr(RNG.normal(size=(5, 5)))[0]
    plain, turned = (
        row_content(StandardizedRows.of(rows, rescale=False))
        for rows in (FEATURES, FEATURES @ turn)
    )
    np.testing.assert_array_equal(turned.order(CODES), plain.order(CODES))


def test_names_of_classes_and_groups_divide_nothing():
    groups = RNG.integers(0, 25, 90)
    expected = folds_of(FEATURES, CODES, groups)
    np.testing.assert_array_equal(folds_of(FEATURES, np.array([2, 0, 1])[CODES], groups), expected)
    names = RNG.permutation(25)
    np.testing.assert_array_equal(folds_of(FEATURES, CODES, names[groups]), expected)
    order = RNG.permutation(90)
    moved = folds_of(FEATURES[order], CODES[order], groups[order])
    np.testing.assert_array_equal(moved, expected[order])


def test_different_rows_never_tie_in_a_balanced_code():
    code = (np.arange(512)[:, None] >> np.arange(9) & 1).astype(float)
    gaps = np.diff(np.sort(content_of(code).keys))
    assert gaps.min() > 1e3 * np.finfo(float).eps


def test_groups_of_the_same_rows_with_other_labels_differ():
    features = np.array([[0.0], [1.0], [0.0], [1.0], [5.0], [9.0]])
    codes, groups = np.array([0, 1, 1, 0, 0, 1]), np.array([0, 0, 1, 1, 2, 2])
    _, _, content = content_of(features).of_groups(codes, groups)
    assert abs(content.keys[0] - content.keys[1]) > 1e-3


def test_seeds_divide_evenly_at_random():
    together = np.zeros((90, 90))
    content = content_of(FEATURES)
    for seed in range(200):
        folds = stratified_folds(CODES, 5, seed, content=content)
        together += folds[:, None] == folds
    off = together[~np.eye(90, dtype=bool)] / 200
    assert off.mean() == pytest.approx(17 / 89, abs=1e-9)
    assert off.max() < 0.36


def test_one_column_and_no_variation_have_an_order():
    assert sorted(content_of(np.ones((4, 2))).order(np.array([0, 1, 0, 1]))) == [0, 1, 2, 3]
    codes = np.array([0, 0, 1, 1])
    np.testing.assert_array_equal(
        folds_of(np.array([[0.0], [1.0], [2.0], [3.0]]), codes)[::-1],
        folds_of(np.array([[3.0], [2.0], [1.0], [0.0]]), codes[::-1]),
    )


def test_the_chosen_alpha_does_not_follow_the_order_of_rows():
    labels = np.where(RNG.random(90) < 0.4, CODES, (FEATURES[:, 0] > 0).astype(int))
    chosen = []
    for seed in range(6):
        order = np.random.default_rng(seed).permutation(90)
        output = LogisticOutput(random_state=3).fit(FEATURES[order], labels[order])
        held_out = output.leave_one_out(FEATURES[order], labels[order])
        chosen.append((output.alpha_, np.mean(held_out == labels[order])))
    assert len(set(chosen)) == 1


def test_clusters_do_not_follow_the_order_of_unlabelled_examples():
    rng = np.random.default_rng(2)
    pool, codes = rng.normal(size=(150, 4)), np.arange(150) % 3  # no clusters: starts decide
    centres = []
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(150)
        rows = StandardizedRows.of(pool[order])
        centres.append(find_clusters(rows, 6))
        output = ClassMeanOutput().fit(pool[order], codes[order], pool[order])
        assert output.evidence_ == pytest.approx(ClassMeanOutput().fit(pool, codes, pool).evidence_)
    for found in centres[1:]:
        np.testing.assert_allclose(found, centres[0], atol=1e-10)


@pytest.mark.parametrize("most", [2000, 60])
def test_a_forecast_does_not_follow_the_order_of_rows(monkeypatch, most):
    monkeypatch.setattr(_extrapolation, "_MOST_FACTORED", most)
    labels = np.where(RNG.random(90) < 0.7, (FEATURES[:, 0] > 0).astype(int), CODES % 2)
    slopes = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(90)
        slopes.append(_extrapolation.measure(FEATURES[order], labels[order], seed=0).slope)
    assert slopes == pytest.approx([slopes[0]] * 3, rel=1e-9)
