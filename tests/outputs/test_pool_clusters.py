"""Class means with an unlabelled pool: names, evidence, fewer labels than classes, bad input."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import SkipTestWarning
from sklearn.utils.estimator_checks import check_estimator

from modtools.exceptions import ModtoolsError
from modtools.outputs import ClassMeanOutput
from modtools.outputs._clusters import held_out_names, name_clusters
from modtools.outputs._mean_decisions import mean_decisions
from tests.rounding import assert_same_but_for_rounding

pytestmark = pytest.mark.floating_point

N_CLASSES = 6


def make_pool(distance=8.0, seed=0, n_samples=180):
    """Return rows around six centres and the class of each."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n_samples) % N_CLASSES
    centres = distance * rng.normal(size=(N_CLASSES, 5))
    return rng.normal(size=(n_samples, 5)) + centres[classes], classes


def one_of_each(classes, seed=0):
    rng = np.random.default_rng(seed)
    return np.array([rng.choice(np.flatnonzero(classes == c)) for c in range(classes.max() + 1)])


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_one_label_a_class_is_as_good_as_all(metric):
    pool, classes = make_pool()
    rows = one_of_each(classes)
    output = ClassMeanOutput(metric=metric, pool=pool).fit(pool[rows], classes[rows])
    assert output.uses_pool_
    assert output.evidence_ == 1.0
    assert output.score(pool, classes) == 1.0
    assert output.nameless_means_.shape == (0, 5)
    assert not output.is_nameless(pool).any()


def test_any_draw_of_one_label_a_class_gives_the_same_predictions():
    pool, classes = make_pool(distance=4.0)
    predictions = []
    for seed in range(5):
        rows = one_of_each(classes, seed)
        output = ClassMeanOutput(pool=pool).fit(pool[rows], classes[rows])
        assert output.uses_pool_
        predictions.append(output.predict(pool))
    assert all((prediction == predictions[0]).all() for prediction in predictions)


def test_two_labels_in_one_cluster_still_name_two():
    decisions = np.array([[-1.0, -5.0, -9.0], [-2.0, -3.0, -9.0], [-9.0, -9.0, 0.0]])
    assert name_clusters(decisions, np.array([0, 1, 2]), 3).tolist() == [0, 1, 2]


def test_more_labels_outvote_a_stray_one():
    decisions = np.array([[0.0, -4.0], [-4.0, 0.0], [-4.0, 0.0], [0.0, -4.0], [-4.0, 0.0]])
    assert name_clusters(decisions, np.array([0, 1, 1, 1, 0]), 2).tolist() == [0, 1]


def test_fewer_labels_than_classes_leave_clusters_nameless():
    pool, classes = make_pool()
    rows = one_of_each(classes)[:4]
    output = ClassMeanOutput(pool=pool, n_classes=N_CLASSES).fit(pool[rows], classes[rows])
    assert output.uses_pool_
    np.testing.assert_array_equal(output.classes_, [0, 1, 2, 3])
    assert output.nameless_means_.shape == (2, 5)
    np.testing.assert_array_equal(output.is_nameless(pool), classes >= 4)
    named = classes < 4
    assert output.score(pool[named], classes[named]) == 1.0
    assert set(output.predict(pool[~named])) <= {0, 1, 2, 3}


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_nameless_clusters_have_numbers(metric):
    pool, classes = make_pool()
    rows = one_of_each(classes)[:4]
    output = ClassMeanOutput(metric=metric, pool=pool, n_classes=N_CLASSES)
    clusters = output.fit(pool[rows], classes[rows]).nameless_clusters(pool)
    np.testing.assert_array_equal(clusters[classes < 4], -1)
    # The number is the position of the centre: the mean of the rows that have it, in either metric.
    for number in range(2):
        own = (pool[clusters == number] - output.mean_) / output.scale_
        nearness = mean_decisions(own, output.nameless_means_, metric)
        np.testing.assert_array_equal(nearness.argmax(axis=1), number)
        assert len(np.unique(classes[clusters == number])) == 1


def test_clusters_that_do_not_follow_the_classes_are_not_used():
    pool, _ = make_pool()
    rng = np.random.default_rng(1)
    labels = rng.integers(0, N_CLASSES, len(pool))
    output = ClassMeanOutput(pool=pool).fit(pool, labels)
    assert not output.uses_pool_
    assert abs(output.evidence_) < 0.15
    plain = ClassMeanOutput().fit(pool, labels)
    np.testing.assert_allclose(output.decision_values(pool), plain.decision_values(pool))
    np.testing.assert_array_equal(
        ClassMeanOutput(pool=pool).leave_one_out(pool, labels),
        ClassMeanOutput().leave_one_out(pool, labels),
    )
    assert not output.is_nameless(pool).any()


def test_better_class_means_win_over_clusters():
    rng = np.random.default_rng(0)
    classes = np.arange(200) % 2
    # The first column splits the pool in two; only the second tells the classes apart.
    apart = 10.0 * (-1) ** (np.arange(200) // 2)
    pool = np.column_stack([apart, classes + 0.01 * rng.normal(size=200)])
    output = ClassMeanOutput(pool=pool, standardize=False).fit(pool, classes)
    assert not output.uses_pool_
    assert output.score(pool, classes) == 1.0


@pytest.mark.parametrize("n_clusters", [6, 10])
def test_evidence_is_zero_on_average_for_unrelated_single_labels(n_clusters):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        decisions = -rng.random((5, n_clusters))
        found.append(held_out_names(decisions, np.arange(5), 5).evidence)
    assert abs(np.mean(found)) < 0.15
    assert np.mean(np.array(found) >= 0.5) < 0.3


def test_leave_one_out_with_clusters_names_without_the_row():
    pool, classes = make_pool()
    rows = np.concatenate([one_of_each(classes, 0), one_of_each(classes, 1)[:3]])
    labels = classes[rows]
    left_out = ClassMeanOutput(pool=pool).leave_one_out(pool[rows], labels)
    lone = np.bincount(labels)[labels] == 1
    np.testing.assert_array_equal(left_out[~lone], labels[~lone])
    assert (left_out[lone] != labels[lone]).all()


def test_many_labels_are_judged_in_folds():
    pool, classes = make_pool(n_samples=300)
    labels = classes.copy()
    labels[0] = (labels[0] + 1) % N_CLASSES
    left_out = ClassMeanOutput(pool=pool).leave_one_out(pool, labels)
    np.testing.assert_array_equal(left_out, classes)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("factor", [1e-9, 1e9])
@pytest.mark.parametrize("rescale", [True, False])
def test_size_of_the_features_changes_nothing(metric, factor, rescale):
    pool, classes = make_pool(distance=4.0)
    rows = one_of_each(classes)
    options = {"metric": metric, "standardize": rescale}
    plain = ClassMeanOutput(pool=pool, **options).fit(pool[rows], classes[rows])
    scaled = ClassMeanOutput(pool=pool * factor, **options).fit(pool[rows] * factor, classes[rows])
    np.testing.assert_array_equal(scaled.predict(pool * factor), plain.predict(pool))
    assert scaled.evidence_ == plain.evidence_


def test_features_that_are_all_zero_fall_back():
    pool, labels = np.zeros((20, 3)), np.arange(10) % 2
    output = ClassMeanOutput(pool=pool).fit(np.zeros((10, 3)), labels)
    assert not output.uses_pool_
    assert (output.predict(pool) == 0).all()


@pytest.mark.parametrize("shape", [(40, 5), (12, 30)])
@pytest.mark.parametrize("rescale", [True, False])
def test_cosine_leave_one_out_by_refitting(shape, rescale):
    rng = np.random.default_rng(0)
    y = np.arange(shape[0]) % 3
    X = rng.normal(size=shape) + rng.normal(size=(3, shape[1]))[y]
    Z = X - X.mean(axis=0)
    Z = Z / X.std(axis=0) if rescale else Z
    expected = []
    for i in range(len(y)):
        others = np.arange(len(y)) != i
        means = np.array([Z[others & (y == c)].mean(axis=0) for c in range(3)])
        expected.append(mean_decisions(Z[i : i + 1], means, "cosine").argmax())
    output = ClassMeanOutput(metric="cosine", standardize=rescale)
    np.testing.assert_array_equal(output.leave_one_out(X, y), expected)


def test_cosine_ignores_the_length_of_rows():
    pool, classes = make_pool()
    output = ClassMeanOutput(metric="cosine").fit(pool, classes)
    moved = output.mean_ + 3 * (pool - output.mean_)
    np.testing.assert_allclose(output.decision_values(moved), output.decision_values(pool))
    assert np.abs(output.decision_values(pool)).max() <= 1 + 1e-12


def test_scikit_learn_contract_of_the_cosine():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        check_estimator(ClassMeanOutput(metric="cosine"))


def test_cloned_and_pickled_with_their_pool():
    pool, classes = make_pool()
    before = pool.copy()
    rows = one_of_each(classes)
    output = ClassMeanOutput(pool=pool).fit(pool[rows], classes[rows])
    np.testing.assert_array_equal(pool, before)
    again = clone(output).fit(pool[rows], classes[rows])
    copied = pickle.loads(pickle.dumps(output))
    assert_same_but_for_rounding(again.decision_values(pool), output.decision_values(pool))
    assert_same_but_for_rounding(copied.decision_values(pool), output.decision_values(pool))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "cosin"}, 'unknown metric "cosin"; did you mean "cosine"'),
        ({"n_classes": 8}, "n_classes needs pool=, features without labels; got none"),
        ({"pool": np.ones((9, 4))}, "pool must have the columns of X, 5; got 4"),
        ({"pool": np.full((9, 5), np.nan)}, "pool must be finite: 45 NaN in 9 rows"),
        ({"pool": np.ones((4, 5))}, "between the 6 classes of y and the 4 rows of pool; got 6"),
        ({"pool": np.ones((9, 5)), "n_classes": 5}, "between the 6 classes of y and the 9 rows"),
        ({"random_state": -1}, "random_state must be a whole number"),
    ],
)
def test_bad_options_are_refused(options, message):
    features, classes = make_pool()
    with pytest.raises(ModtoolsError, match=message):
        ClassMeanOutput(**options).fit(features, classes)
    with pytest.raises(ModtoolsError, match=message):
        ClassMeanOutput(**options).leave_one_out(features, classes)
