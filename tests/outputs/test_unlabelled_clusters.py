"""Class means with unlabelled examples: clusters, evidence, missing classes, bad input."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import SkipTestWarning
from sklearn.utils.estimator_checks import check_estimator

from modtools.exceptions import ModtoolsError
from modtools.outputs import ClassMeanOutput
from modtools.outputs._clusters import assign_clusters, judge_clusters
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
def test_one_label_per_class_is_as_good_as_all(metric):
    pool, classes = make_pool()
    rows = one_of_each(classes)
    output = ClassMeanOutput(metric=metric).fit(pool[rows], classes[rows], pool)
    assert output.uses_clusters_
    assert output.evidence_ == 1.0
    assert output.score(pool, classes) == 1.0
    assert output.unassigned_means_.shape == (0, 5)
    assert not output.is_unassigned(pool).any()


def test_any_random_subset_of_one_label_per_class_gives_the_same_predictions():
    pool, classes = make_pool(distance=4.0)
    predictions = []
    for seed in range(5):
        rows = one_of_each(classes, seed)
        output = ClassMeanOutput().fit(pool[rows], classes[rows], pool)
        assert output.uses_clusters_
        predictions.append(output.predict(pool))
    assert all((prediction == predictions[0]).all() for prediction in predictions)


def test_two_labels_in_one_cluster_still_assign_two():
    decisions = np.array([[-1.0, -5.0, -9.0], [-2.0, -3.0, -9.0], [-9.0, -9.0, 0.0]])
    assert assign_clusters(decisions, np.array([0, 1, 2]), 3).tolist() == [0, 1, 2]


def test_more_labels_outvote_a_stray_one():
    decisions = np.array([[0.0, -4.0], [-4.0, 0.0], [-4.0, 0.0], [0.0, -4.0], [-4.0, 0.0]])
    assert assign_clusters(decisions, np.array([0, 1, 1, 1, 0]), 2).tolist() == [0, 1]


def test_fewer_labels_than_classes_leave_clusters_unassigned():
    pool, classes = make_pool()
    rows = one_of_each(classes)[:4]
    output = ClassMeanOutput(n_classes=N_CLASSES).fit(pool[rows], classes[rows], pool)
    assert output.uses_clusters_
    np.testing.assert_array_equal(output.classes_, [0, 1, 2, 3])
    assert output.unassigned_means_.shape == (2, 5)
    np.testing.assert_array_equal(output.is_unassigned(pool), classes >= 4)
    named = classes < 4
    assert output.score(pool[named], classes[named]) == 1.0
    assert set(output.predict(pool[~named])) <= {0, 1, 2, 3}


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_unassigned_clusters_have_numbers(metric):
    pool, classes = make_pool()
    rows = one_of_each(classes)[:4]
    output = ClassMeanOutput(metric=metric, n_classes=N_CLASSES)
    clusters = output.fit(pool[rows], classes[rows], pool).unassigned_clusters(pool)
    np.testing.assert_array_equal(clusters[classes < 4], -1)
    # The number is the position of the centre: the mean of the rows that have it, in either metric.
    for number in range(2):
        own = (pool[clusters == number] - output.mean_) / output.scale_
        nearness = mean_decisions(own, output.unassigned_means_, metric)
        np.testing.assert_array_equal(nearness.argmax(axis=1), number)
        assert len(np.unique(classes[clusters == number])) == 1


def test_clusters_that_do_not_follow_the_classes_are_not_used():
    pool, _ = make_pool()
    rng = np.random.default_rng(1)
    labels = rng.integers(0, N_CLASSES, len(pool))
    output = ClassMeanOutput().fit(pool, labels, pool)
    assert not output.uses_clusters_
    assert abs(output.evidence_) < 0.15
    plain = ClassMeanOutput().fit(pool, labels)
    np.testing.assert_allclose(output.decision_values(pool), plain.decision_values(pool))
    np.testing.assert_array_equal(
        ClassMeanOutput().leave_one_out(pool, labels, pool),
        ClassMeanOutput().leave_one_out(pool, labels),
    )
    assert not output.is_unassigned(pool).any()


def test_better_class_means_win_over_clusters():
    rng = np.random.default_rng(0)
    classes = np.arange(200) % 2
    # The first column splits the pool in two; only the second tells the classes apart.
    apart = 10.0 * (-1) ** (np.arange(200) // 2)
    pool = np.column_stack([apart, classes + 0.01 * rng.normal(size=200)])
    output = ClassMeanOutput(standardize=False).fit(pool, classes, pool)
    assert not output.uses_clusters_
    assert output.score(pool, classes) == 1.0


@pytest.mark.parametrize("n_clusters", [6, 10])
def test_evidence_is_zero_on_average_for_unrelated_single_labels(n_clusters):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        decisions = -rng.random((5, n_clusters))
        found.append(judge_clusters(decisions, np.arange(5), 5).evidence)
    assert abs(np.mean(found)) < 0.15
    assert np.mean(np.array(found) >= 0.5) < 0.3


def test_leave_one_out_with_clusters_assigns_them_without_the_example():
    pool, classes = make_pool()
    rows = np.concatenate([one_of_each(classes, 0), one_of_each(classes, 1)[:3]])
    labels = classes[rows]
    left_out = ClassMeanOutput().leave_one_out(pool[rows], labels, pool)
    is_singleton = np.bincount(labels)[labels] == 1
    np.testing.assert_array_equal(left_out[~is_singleton], labels[~is_singleton])
    assert (left_out[is_singleton] != labels[is_singleton]).all()


def test_many_labels_are_judged_in_folds():
    pool, classes = make_pool(n_samples=300)
    labels = classes.copy()
    labels[0] = (labels[0] + 1) % N_CLASSES
    left_out = ClassMeanOutput().leave_one_out(pool, labels, pool)
    np.testing.assert_array_equal(left_out, classes)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("factor", [1e-9, 1e9])
@pytest.mark.parametrize("rescale", [True, False])
def test_size_of_the_features_changes_nothing(metric, factor, rescale):
    pool, classes = make_pool(distance=4.0)
    rows = one_of_each(classes)
    options = {"metric": metric, "standardize": rescale}
    plain = ClassMeanOutput(**options).fit(pool[rows], classes[rows], pool)
    larger = pool * factor
    scaled = ClassMeanOutput(**options).fit(larger[rows], classes[rows], larger)
    np.testing.assert_array_equal(scaled.predict(larger), plain.predict(pool))
    assert scaled.evidence_ == plain.evidence_


def test_features_that_are_all_zero_fall_back():
    pool, labels = np.zeros((20, 3)), np.arange(10) % 2
    output = ClassMeanOutput().fit(np.zeros((10, 3)), labels, pool)
    assert not output.uses_clusters_
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


def test_cloned_and_pickled_after_a_fit_with_unlabelled_examples():
    pool, classes = make_pool()
    before = pool.copy()
    rows = one_of_each(classes)
    output = ClassMeanOutput().fit(pool[rows], classes[rows], pool)
    np.testing.assert_array_equal(pool, before)
    assert not any(value is pool for value in vars(output).values())
    again = clone(output).fit(pool[rows], classes[rows], pool)
    copied = pickle.loads(pickle.dumps(output))
    assert_same_but_for_rounding(again.decision_values(pool), output.decision_values(pool))
    assert_same_but_for_rounding(copied.decision_values(pool), output.decision_values(pool))


@pytest.mark.parametrize(
    ("options", "unlabelled", "message"),
    [
        ({"metric": "cosin"}, None, 'unknown metric "cosin"; did you mean "cosine"'),
        ({"n_classes": 8}, None, "n_classes needs unlabelled=, features without labels; got none"),
        ({}, np.ones((9, 4)), "unlabelled must have the columns of X, 5; got 4"),
        ({}, np.full((9, 5), np.nan), "unlabelled must be finite: 45 NaN in 9 rows"),
        ({}, np.ones((4, 5)), "the 6 classes of y and the 4 examples in unlabelled; got 6"),
        ({"n_classes": 5}, np.ones((9, 5)), "between the 6 classes of y and the 9 examples"),
        ({"random_state": -1}, None, "random_state must be a whole number"),
    ],
)
def test_bad_options_are_refused(options, unlabelled, message):
    features, classes = make_pool()
    with pytest.raises(ModtoolsError, match=message):
        ClassMeanOutput(**options).fit(features, classes, unlabelled)
    with pytest.raises(ModtoolsError, match=message):
        ClassMeanOutput(**options).leave_one_out(features, classes, unlabelled)
