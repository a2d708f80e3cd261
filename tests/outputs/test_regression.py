"""Ridge output module for real targets: scikit-learn's contract, refitting, units, bad input."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import SkipTestWarning
from sklearn.linear_model import Ridge
from sklearn.utils.estimator_checks import check_estimator

from modtools.exceptions import ModtoolsError
from modtools.outputs import RidgeRegressionOutput

pytestmark = pytest.mark.floating_point


def make_rows(n_samples=60, n_features=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features)) + 3
    y = X @ rng.normal(size=(n_features, 2)) + rng.normal(size=(n_samples, 2))
    return X, y


def standardized(X):
    return (X - X.mean(axis=0)) / X.std(axis=0)


def test_scikit_learn_contract():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        check_estimator(RidgeRegressionOutput())


@pytest.mark.parametrize("shape", [(60, 5), (20, 40)])
def test_agrees_with_scikit_learn(shape):
    X, y = make_rows(*shape)
    model = RidgeRegressionOutput(alpha=3.0).fit(X, y)
    reference = Ridge(alpha=3.0).fit(standardized(X), y)
    np.testing.assert_allclose(model.predict(X), reference.predict(standardized(X)))


@pytest.mark.parametrize("shape", [(40, 5), (20, 40)])
@pytest.mark.parametrize("rescale", [True, False])
def test_leave_one_out_by_refitting(shape, rescale):
    X, y = make_rows(*shape)
    output = RidgeRegressionOutput(standardize=rescale)
    alpha = output.fit(X, y).alpha_
    Z = standardized(X) if rescale else X
    expected = [
        Ridge(alpha=alpha)
        .fit(np.delete(Z, i, axis=0), np.delete(y, i, axis=0))
        .predict(Z[i : i + 1])[0]
        for i in range(len(y))
    ]
    np.testing.assert_allclose(output.leave_one_out(X, y), expected, rtol=1e-6, atol=1e-8)


def test_one_target_is_flat():
    X, y = make_rows()
    flat = RidgeRegressionOutput().fit(X, y[:, 0])
    column = RidgeRegressionOutput().fit(X, y[:, :1])
    assert flat.predict(X).shape == (60,)
    np.testing.assert_allclose(column.predict(X), flat.predict(X)[:, None])
    assert flat.leave_one_out(X, y[:, 0]).shape == (60,)


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_units_of_features_and_targets_change_nothing(factor):
    X, y = make_rows()
    expected = RidgeRegressionOutput().fit(X, y)
    scaled = RidgeRegressionOutput().fit(X * factor, y)
    np.testing.assert_allclose(scaled.predict(X * factor), expected.predict(X))
    other_unit = y * np.array([1.0, factor])
    mixed = RidgeRegressionOutput().fit(X, other_unit)
    assert mixed.alpha_ == expected.alpha_
    np.testing.assert_allclose(mixed.predict(X), expected.predict(X) * np.array([1.0, factor]))


def test_constant_columns_and_constant_targets():
    X, y = make_rows()
    wider = np.column_stack([X, np.full(len(X), 7.0)])
    y[:, 1] = 4.0
    model = RidgeRegressionOutput().fit(wider, y)
    np.testing.assert_allclose(model.predict(wider), RidgeRegressionOutput().fit(X, y).predict(X))
    np.testing.assert_allclose(model.predict(wider)[:, 1], 4.0)


def test_bad_input_is_refused():
    X, y = make_rows()
    with pytest.raises(ModtoolsError, match="alpha must be a finite number above 0"):
        RidgeRegressionOutput(alpha=0).fit(X, y)
    y[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        RidgeRegressionOutput().leave_one_out(X, y)
    objects = np.array([None, *range(len(X) - 1)], dtype=object)
    for call in (RidgeRegressionOutput().fit, RidgeRegressionOutput().leave_one_out):
        with pytest.raises(ModtoolsError, match=r"^y must be finite numbers; 1 are missing"):
            call(X, objects)
