"""Alpha of the largest evidence: the spectral formula, rounding, ties, degenerate rows."""

import numpy as np
import pytest

from modtools.outputs import _ridge
from modtools.outputs._ridge import alpha_grid, alpha_of_evidence, ridge_basis
from modtools.outputs._standardize import StandardizedRows

pytestmark = pytest.mark.floating_point


def make_rows(shape, seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=shape) * np.geomspace(1, 30, shape[1]) + 5
    targets = features @ rng.normal(size=(shape[1], 3)) / 30
    return features, targets + noise * rng.normal(size=targets.shape)


def evidences(rows, targets):
    """Return the log evidence of each alpha from the eigenvalues of the Gram matrix."""
    n_samples, n_targets = targets.shape
    centred = targets - targets.mean(axis=0)
    values, vectors = np.linalg.eigh(rows.dense() @ rows.dense().T)
    values, squares = np.maximum(values, 0), np.square(vectors.T @ centred)
    found = []
    for alpha in alpha_grid(n_samples):
        residual = (squares * (alpha / (values + alpha))[:, None]).sum(axis=0)
        fit = (n_samples - 1) * np.log(residual).sum()
        found.append(-fit - n_targets * np.log1p(values / alpha).sum())
    return np.array(found)


@pytest.mark.parametrize("shape", [(60, 1), (60, 2), (60, 3), (50, 17), (30, 30), (25, 80)])
@pytest.mark.parametrize("noise", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("rescale", [True, False])
def test_agrees_with_the_spectral_formula(shape, noise, rescale):
    features, targets = make_rows(shape, noise=noise)
    rows = StandardizedRows.of(features, rescale=rescale)
    expected = alpha_grid(shape[0])[evidences(rows, targets).argmax()]
    assert alpha_of_evidence(ridge_basis(rows), targets) == expected


@pytest.mark.parametrize("shape", [(40, 6), (12, 30)])
def test_tridiagonal_and_spectral_coordinates_give_the_same_evidence(shape):
    features, targets = make_rows(shape)
    basis = ridge_basis(StandardizedRows.of(features))
    centred = targets - targets.mean(axis=0)
    tridiagonal = _ridge._reduce(basis, centred, smallest=1.0)
    spectral = _ridge._reduce(basis, centred, smallest=0.0)
    assert tridiagonal.off_diagonal.any()
    assert not spectral.off_diagonal.any()
    for alpha in (1e-3, 1.0, 1e4):
        for found, expected in zip(tridiagonal.at(alpha), spectral.at(alpha), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_no_eigenvectors_are_computed():
    features, targets = make_rows((40, 6))
    basis = ridge_basis(StandardizedRows.of(features))
    alpha_of_evidence(basis, targets)
    assert "_spectrum" not in vars(basis)


@pytest.mark.parametrize(("shape", "unit"), [((40, 6), 1e9), ((40, 6), 1e-30), ((12, 30), 1e-30)])
def test_alpha_beyond_the_size_of_the_features(shape, unit):
    features, targets = make_rows(shape)
    basis = ridge_basis(StandardizedRows.of(features * unit, rescale=False))
    # Every alpha is nothing beside the scatter, or everything: only the determinant, or nothing,
    # tells them apart.
    assert alpha_of_evidence(basis, targets) == alpha_grid(shape[0])[-1]
    assert ("_spectrum" in vars(basis)) == (unit > 1)


@pytest.mark.parametrize("width", [1, 2, 5])
def test_ties_go_to_the_larger_alpha(width):
    basis = ridge_basis(StandardizedRows.of(np.ones((8, width))))
    assert alpha_of_evidence(basis, np.eye(8)[:, :2]) == alpha_grid(8)[-1]


def test_the_level_of_a_target_counts_for_nothing():
    features, targets = make_rows((40, 6))
    basis = ridge_basis(StandardizedRows.of(features))
    expected = alpha_of_evidence(basis, targets)
    assert alpha_of_evidence(basis, targets + 1e4) == expected
    assert alpha_of_evidence(basis, targets * np.array([1e-6, 1.0, 1e6])) == expected
