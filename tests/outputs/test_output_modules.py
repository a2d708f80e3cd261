"""Output modules: scikit-learn's contract, leave-one-out by refitting, invariances, bad input."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.exceptions import SkipTestWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from modtools.exceptions import ModtoolsError, ModtoolsWarning
from modtools.outputs import ClassMeanOutput, LogisticOutput, RidgeOutput, _standardize
from tests.rounding import assert_same_but_for_rounding

pytestmark = pytest.mark.floating_point

OUTPUTS = [RidgeOutput, LogisticOutput, ClassMeanOutput]


def make_rows(n_samples=60, n_features=5, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n_samples) % n_classes
    centres = rng.normal(size=(n_classes, n_features))
    return rng.normal(size=(n_samples, n_features)) + 0.8 * centres[y] + 3, y


def standardized(X):
    deviation = X.std(axis=0)
    return (X - X.mean(axis=0)) / np.where(deviation > 0, deviation, 1)


@pytest.mark.parametrize("output", OUTPUTS)
def test_scikit_learn_contract(output):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        check_estimator(output())


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("factor", [6e-10, 1e-9, 1e9])
def test_size_of_the_features_changes_nothing(output, factor):
    X, y = make_rows()
    expected = output().fit(X, y).predict(X)
    np.testing.assert_array_equal(output().fit(X * factor, y).predict(X * factor), expected)
    np.testing.assert_array_equal(
        output().leave_one_out(X * factor, y), output().leave_one_out(X, y)
    )


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("names", [[3, 7, 9], [-5, 0, 2], ["cat", "dog", "eel"]])
def test_labels_of_any_name(output, names):
    X, y = make_rows()
    named = np.array(names)[y]
    model = output().fit(X, named)
    np.testing.assert_array_equal(model.classes_, names)
    np.testing.assert_array_equal(model.predict(X), np.array(names)[output().fit(X, y).predict(X)])
    assert set(output().leave_one_out(X, named)) <= set(names)


@pytest.mark.parametrize("output", OUTPUTS)
def test_constant_columns_change_nothing(output):
    X, y = make_rows()
    wider = np.column_stack([X, np.full(len(X), 7.0), np.zeros(len(X))])
    model = output().fit(wider, y)
    np.testing.assert_array_equal(model.predict(wider), output().fit(X, y).predict(X))
    np.testing.assert_array_equal(output().leave_one_out(wider, y), output().leave_one_out(X, y))
    # A column that was constant in training says nothing later either.
    wider[:, -1] = 1e6
    np.testing.assert_array_equal(model.predict(wider), output().fit(X, y).predict(X))


@pytest.mark.parametrize("output", OUTPUTS)
def test_more_columns_than_rows(output):
    X, y = make_rows(n_samples=30, n_features=100)
    model = output().fit(X, y)
    assert model.score(X, y) > 0.9
    assert np.mean(output().leave_one_out(X, y) == y) > 0.4


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_row_alone_in_its_class_is_always_wrong(output):
    X, y = make_rows()
    y[0] = 3
    assert output().leave_one_out(X, y)[0] != 3


@pytest.mark.parametrize("output", OUTPUTS)
def test_models_survive_pickling_and_leave_their_input_alone(output):
    X, y = make_rows()
    X_before, y_before = X.copy(), y.copy()
    model = output().fit(X, y)
    output().leave_one_out(X, y)
    np.testing.assert_array_equal(X, X_before)
    np.testing.assert_array_equal(y, y_before)
    again = pickle.loads(pickle.dumps(model))
    assert_same_but_for_rounding(again.decision_values(X), model.decision_values(X))


@pytest.mark.parametrize("output", OUTPUTS)
def test_decisions_in_both_shapes(output):
    X, y = make_rows(n_classes=2)
    model = output().fit(X, y)
    values = model.decision_values(X)
    assert values.shape == (len(X), 2)
    np.testing.assert_allclose(model.decision_function(X), values[:, 1] - values[:, 0])
    np.testing.assert_array_equal(model.predict(X), values.argmax(axis=1))


@pytest.mark.parametrize("output", OUTPUTS)
def test_one_class_is_refused(output):
    X, _ = make_rows()
    with pytest.raises(ModtoolsError, match=r"at least two classes; got 1 class, 0\."):
        output().fit(X, np.zeros(len(X), dtype=int))
    with pytest.raises(ModtoolsError, match="at least two classes"):
        output().leave_one_out(X, np.zeros(len(X), dtype=int))


@pytest.mark.parametrize("output", [RidgeOutput, LogisticOutput])
@pytest.mark.parametrize("alpha", [0, -1.0, np.inf, "1"])
def test_bad_alpha_is_refused(output, alpha):
    X, y = make_rows()
    with pytest.raises(ModtoolsError, match="alpha must be a finite number above 0"):
        output(alpha=alpha).fit(X, y)


@pytest.mark.parametrize("output", [RidgeOutput, LogisticOutput])
def test_several_labels_an_example_by_one_against_the_rest(output):
    X, y = make_rows()
    labels = np.column_stack([y == 0, y != 2, y == 2]).astype(int)
    model = OneVsRestClassifier(output(alpha=1.0)).fit(X, labels)
    predicted = model.predict(X)
    assert predicted.shape == labels.shape
    assert np.mean(predicted == labels) > 0.8
    np.testing.assert_array_equal(predicted[:, 1], 1 - predicted[:, 2])


def make_label_matrix(n_samples=60, n_features=5):
    X, y = make_rows(n_samples, n_features)
    return X, np.column_stack([y == 0, y != 2, y == 2, np.zeros_like(y)]).astype(int)


@pytest.mark.parametrize("shape", [(60, 5), (20, 40)])
def test_ridge_learns_several_labels_an_example(shape):
    X, labels = make_label_matrix(*shape)
    model = RidgeOutput(alpha=3.0).fit(X, labels)
    reference = Ridge(alpha=3.0).fit(standardized(X), labels)
    values = reference.predict(standardized(X))
    np.testing.assert_allclose(model.decision_values(X), values, atol=1e-10)
    np.testing.assert_allclose(model.decision_function(X), values - 0.5, atol=1e-10)
    np.testing.assert_array_equal(model.predict(X), (values > 0.5).astype(int))
    assert model.is_multilabel_
    np.testing.assert_array_equal(model.classes_, np.arange(4))
    assert not model.predict(X)[:, 3].any()


def test_ridge_leave_one_out_of_several_labels_by_refitting():
    X, labels = make_label_matrix()
    alpha = RidgeOutput().fit(X, labels).alpha_
    Z = standardized(X)
    expected = [
        Ridge(alpha=alpha)
        .fit(np.delete(Z, i, axis=0), np.delete(labels, i, axis=0))
        .predict(Z[i : i + 1])[0]
        > 0.5
        for i in range(len(X))
    ]
    np.testing.assert_array_equal(RidgeOutput().leave_one_out(X, labels), expected)


def test_a_matrix_of_other_numbers_is_no_label():
    X, labels = make_label_matrix()
    with pytest.raises(ModtoolsError, match="must be a 0/1 matrix"):
        RidgeOutput().fit(X, labels + 1)


def test_decisions_of_many_rows_need_no_standardised_copy(monkeypatch):
    X, y = make_rows(n_samples=500)
    model = RidgeOutput().fit(X, y)
    expected = model.decision_values(X)
    monkeypatch.setattr(_standardize, "rows_per_block", lambda *_: 7)
    np.testing.assert_allclose(model.decision_values(X), expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(60, 5), (20, 40)])
def test_ridge_solves_the_normal_equations(shape):
    X, y = make_rows(*shape)
    model = RidgeOutput(alpha=3.0).fit(X, y)
    reference = Ridge(alpha=3.0).fit(standardized(X), np.eye(3)[y])
    np.testing.assert_allclose(model.coef_, reference.coef_, atol=1e-10)
    np.testing.assert_allclose(model.decision_values(X), reference.predict(standardized(X)))


@pytest.mark.parametrize("shape", [(60, 5), (20, 40)])
@pytest.mark.parametrize("rescale", [True, False])
def test_ridge_leave_one_out_by_refitting(shape, rescale):
    X, y = make_rows(*shape)
    alpha = RidgeOutput(standardize=rescale).fit(X, y).alpha_
    Z = standardized(X) if rescale else X
    expected = [
        Ridge(alpha=alpha)
        .fit(np.delete(Z, i, axis=0), np.eye(3)[np.delete(y, i)])
        .predict(Z[i : i + 1])
        .argmax()
        for i in range(len(y))
    ]
    np.testing.assert_array_equal(RidgeOutput(standardize=rescale).leave_one_out(X, y), expected)


@pytest.mark.parametrize("rescale", [True, False])
def test_class_means_by_refitting(rescale):
    X, y = make_rows()
    Z = standardized(X) if rescale else X
    model = ClassMeanOutput(standardize=rescale)
    np.testing.assert_array_equal(
        model.fit(X, y).predict(X), NearestCentroid().fit(Z, y).predict(Z)
    )
    expected = [
        NearestCentroid().fit(np.delete(Z, i, axis=0), np.delete(y, i)).predict(Z[i : i + 1])[0]
        for i in range(len(y))
    ]
    np.testing.assert_array_equal(model.leave_one_out(X, y), expected)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_logistic_agrees_with_scikit_learn(n_classes):
    X, y = make_rows(n_classes=n_classes)
    model = LogisticOutput(alpha=0.5).fit(X, y)
    Z = StandardScaler().fit_transform(X)
    reference = LogisticRegression(C=2.0, max_iter=2000).fit(Z, y)
    np.testing.assert_allclose(model.decision_function(X), reference.decision_function(Z))
    np.testing.assert_array_equal(model.predict(X), reference.predict(Z))
    np.testing.assert_allclose(model.predict_proba(X), reference.predict_proba(Z), atol=1e-9)


def test_logistic_says_when_it_stopped_early():
    X, y = make_rows()
    with pytest.warns(ModtoolsWarning, match="MT005: the logistic fit stopped at max_iter=1"):
        LogisticOutput(max_iter=1, alpha=1e-4).fit(X, y)


@pytest.mark.parametrize("max_iter", [0, 1.5, None])
def test_logistic_refuses_a_number_of_iterations_wherever_it_is_used(max_iter):
    X, y = make_rows()
    output = LogisticOutput(max_iter=max_iter)
    for call in (output.fit, output.leave_one_out):
        with pytest.raises(ModtoolsError, match="max_iter must be a whole number of at least 1"):
            call(X, y)


def test_logistic_held_out_labels_depend_on_the_seed_alone():
    X, y = make_rows(n_samples=300)
    first = LogisticOutput(random_state=1).leave_one_out(X, y)
    np.testing.assert_array_equal(first, LogisticOutput(random_state=1).leave_one_out(X, y))
    assert (first != LogisticOutput(random_state=2).leave_one_out(X, y)).any()
