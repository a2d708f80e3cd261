"""The ridge decomposition and its leave-one-out: golden PRESS, brute force, choice of alpha."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from modtools.exceptions import ModtoolsError
from modtools.outputs._ridge import alpha_grid, ridge_basis, ridge_leave_one_out
from modtools.outputs._standardize import StandardizedRows

pytestmark = pytest.mark.floating_point


def golden():
    i = np.arange(14)
    features = np.sin(1.7 * i[:, None] + 0.9 * np.arange(3))
    features += (i % 3)[:, None] == np.arange(3)
    return features, np.eye(3)[i % 3]


def refitted(rows, targets, alpha):
    """Leave each row out, centre, solve, predict."""
    decisions = np.empty_like(targets)
    for i in range(len(rows)):
        X, T = np.delete(rows, i, axis=0), np.delete(targets, i, axis=0)
        centred = X - X.mean(axis=0)
        scatter = centred.T @ centred + alpha * np.eye(X.shape[1])
        weights = np.linalg.solve(scatter, centred.T @ (T - T.mean(axis=0)))
        decisions[i] = T.mean(axis=0) + (rows[i] - X.mean(axis=0)) @ weights
    return decisions


def test_golden_press():
    features, targets = golden()
    basis = ridge_basis(StandardizedRows.of(features, rescale=False))
    assert ridge_leave_one_out(basis, targets, 0.5).press == pytest.approx(5.3627477735, abs=5e-11)


@pytest.mark.parametrize("shape", [(40, 6), (15, 15), (14, 15), (12, 50)])
@pytest.mark.parametrize("alpha", [1e-2, 1.0, 300.0])
def test_decisions_by_refitting(shape, alpha):
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=shape) + 10, rng.normal(size=(shape[0], 2))
    rows = StandardizedRows.of(features, rescale=False)
    left_out = ridge_leave_one_out(ridge_basis(rows), targets, alpha)
    expected = refitted(features, targets, alpha)
    np.testing.assert_allclose(left_out.decisions, expected, atol=1e-9)
    assert left_out.press == pytest.approx(np.square(targets - expected).sum(), rel=1e-9)


@pytest.mark.parametrize("shape", [(40, 6), (12, 50)])
def test_alpha_of_the_smallest_press_is_chosen(shape):
    rng = np.random.default_rng(1)
    features = rng.normal(size=shape)
    targets = features[:, :1] + rng.normal(size=(shape[0], 1))
    rows = StandardizedRows.of(features)
    grid = alpha_grid(shape[0])
    by_hand = [np.square(targets - refitted(rows.dense(), targets, s)).sum() for s in grid]
    chosen = ridge_leave_one_out(ridge_basis(rows), targets)
    assert chosen.alpha == grid[np.argmin(by_hand)]
    assert chosen.press == pytest.approx(min(by_hand), rel=1e-7)


@pytest.mark.parametrize("shape", [(40, 6), (14, 15), (12, 50)])
def test_whole_groups_by_refitting(shape):
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=shape) + 10, rng.normal(size=(shape[0], 2))
    groups = rng.permutation(shape[0]) % 5
    basis = ridge_basis(StandardizedRows.of(features, rescale=False))
    left_out = ridge_leave_one_out(basis, targets, 0.8, groups)
    expected = np.empty_like(targets)
    for group in range(5):
        own = groups == group
        machine = Ridge(alpha=0.8).fit(features[~own], targets[~own])
        expected[own] = machine.predict(features[own])
    np.testing.assert_allclose(left_out.decisions, expected, atol=1e-9)
    assert left_out.press == pytest.approx(np.square(targets - expected).sum())


@pytest.mark.parametrize("shape", [(40, 6), (12, 50)])
def test_groups_of_one_row_are_plain_leave_one_out(shape):
    features = np.random.default_rng(1).normal(size=shape)
    basis, targets = ridge_basis(StandardizedRows.of(features)), features[:, :2].copy()
    alone = ridge_leave_one_out(basis, targets, groups=np.arange(shape[0]))
    plain = ridge_leave_one_out(basis, targets)
    assert alone.alpha == plain.alpha
    np.testing.assert_allclose(alone.decisions, plain.decisions, atol=1e-7)


def test_grid_is_the_documented_one():
    grid = alpha_grid(10)
    assert len(grid) == 17
    np.testing.assert_allclose(grid, 10 * 10.0 ** np.linspace(-6, 2, 17))


def test_ties_go_to_the_larger_alpha():
    rows = StandardizedRows.of(np.ones((8, 3)))
    chosen = ridge_leave_one_out(ridge_basis(rows), np.eye(2)[np.arange(8) % 2])
    assert chosen.alpha == alpha_grid(8)[-1]


def test_an_alpha_without_effect_is_refused():
    rows = StandardizedRows.of(np.random.default_rng(0).normal(size=(6, 30)))
    with pytest.raises(ModtoolsError, match="too small: an example has leverage 1"):
        ridge_leave_one_out(ridge_basis(rows), np.eye(2)[np.arange(6) % 2], 1e-12)


@pytest.mark.parametrize("shape", [(30, 7), (7, 30)])
def test_basis_reproduces_rows_and_weights(shape):
    rng = np.random.default_rng(0)
    rows = StandardizedRows.of(rng.normal(size=shape))
    basis, dense = ridge_basis(rows), rows.dense()
    coordinates = basis.dense()
    np.testing.assert_allclose(coordinates @ coordinates.T, dense @ dense.T, atol=1e-10)
    targets = rng.normal(size=(shape[0], 2))
    np.testing.assert_allclose(basis.project(targets), coordinates.T @ targets, atol=1e-10)
    weights = rng.normal(size=(coordinates.shape[1], 2)) * (basis.eigenvalues > 0)[:, None]
    np.testing.assert_allclose(dense @ basis.weights(weights), coordinates @ weights, atol=1e-10)
