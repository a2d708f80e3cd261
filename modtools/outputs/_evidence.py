"""The strength of a ridge machine by its evidence, without a spectral decomposition.

A tridiagonal form of the scatter serves every strength: determinants and solutions then cost as
little as reading it. It takes a fraction of the time of eigenvectors, which are not needed.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dormqr, dpttrf, dpttrs, dsytrd, dsytrd_lwork

from modtools._types import FloatMatrix
from modtools.outputs._ridge import RidgeBasis, strength_grid

__all__ = ["strength_of_evidence"]


def strength_of_evidence(basis: RidgeBasis, targets: FloatMatrix) -> float:
    """Return the strength of the largest evidence summed over target columns, ties to the larger.

    Weights are Gaussian, the intercept has a flat prior, and each column has its own noise level
    at its best value: centring leaves n - 1 dimensions.

    Parameters
    ----------
    basis : RidgeBasis
        The rows, centred by their own mean.
    targets : ndarray of shape (n_samples, n_targets)
        One-hot, 0/1 or real targets.

    Returns
    -------
    float
        One of `strength_grid`.

    Examples
    --------
    >>> from modtools.outputs._ridge import ridge_basis
    >>> from modtools.outputs._standardize import StandardizedRows
    >>> rows = StandardizedRows.of(np.arange(10.0)[:, None])
    >>> round(strength_of_evidence(ridge_basis(rows), rows.dense()), 9)  # no noise: the smallest
    1e-05
    """
    centred = targets - targets.mean(axis=0)
    total = np.square(centred).sum(axis=0)
    n_samples, n_targets = targets.shape
    strengths = strength_grid(n_samples)
    reduced = _reduce(basis, centred, float(strengths[0]))
    evidence = np.empty(len(strengths))
    for i, strength in enumerate(strengths):
        explained, log_determinant = reduced.at(strength)
        # With the Gram matrix the product is the residual itself, which spares a difference.
        residual = explained if basis.is_dual else total - explained / strength
        floor = np.finfo(float).eps * total
        fit = (n_samples - 1) * np.log(np.maximum(residual, floor)).sum()
        evidence[i] = -fit - n_targets * log_determinant
    return float(strengths[np.flatnonzero(evidence == evidence.max())[-1]])


class _Reduced(NamedTuple):
    """Coordinates in which the scatter is tridiagonal: its diagonals, and the targets in them."""

    diagonal: FloatMatrix
    off_diagonal: FloatMatrix
    projected: FloatMatrix

    def at(self, strength: float) -> tuple[FloatMatrix, float]:
        """Return z' M^-1 z of each target column z, and log det M; M is I + scatter / strength."""
        pivots, factors, _ = dpttrf(self.diagonal / strength + 1, self.off_diagonal / strength)
        solved, _ = dpttrs(pivots, factors, self.projected)
        return np.asarray((self.projected * solved).sum(axis=0)), float(np.log(pivots).sum())


def _reduce(basis: RidgeBasis, centred: FloatMatrix, smallest: float) -> _Reduced:
    """Return the tridiagonal form, or the spectrum where a strength is lost in its rounding."""
    cross = centred if basis.is_dual else basis.cross(centred)
    if len(cross) > 2:
        reduced = _tridiagonal(basis.product, cross)
        largest = np.abs(reduced.diagonal).max() + 2 * np.abs(reduced.off_diagonal).max()
        if smallest > len(cross) * np.finfo(float).eps * largest:
            return reduced
    # Eigenvalues that are rounding count as 0 there, so that the matrix stays positive definite.
    off_diagonal = np.zeros(max(len(cross) - 1, 1))
    return _Reduced(basis.eigenvalues, off_diagonal, basis.vectors.T @ cross)


def _tridiagonal(product: FloatMatrix, cross: FloatMatrix) -> _Reduced:
    """Return Q' product Q as diagonals, and Q' cross, by Householder reflections."""
    size = len(product)
    lwork = int(dsytrd_lwork(size, lower=1)[0])
    # The transpose has the filled triangle below, where the reflections are those of a QR.
    reflections, diagonal, off_diagonal, tau, _ = dsytrd(product.T, lower=1, lwork=lwork)
    rotated = np.array(cross, order="F")
    lwork = 32 * cross.shape[1]
    rotated[1:] = dormqr("L", "T", reflections[1:, :-1], tau, rotated[1:], lwork)[0]
    return _Reduced(diagonal, off_diagonal, rotated)
