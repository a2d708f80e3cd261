"""The ridge machine one step ahead: what it predicts for each row from the rows before it.

One Cholesky factor of the kernel matrix holds every prediction; with more rows than columns the
same factor is built block by block from d x d matrices, exactly, in memory that does not grow
with the square of the rows.
"""

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from modtools.outputs._base import FloatMatrix
from modtools.outputs._standardize import StandardizedRows

__all__ = ["chain_predictions"]

_LARGEST_DENSE = 5000
_SMALLEST_BLOCK = 256


def chain_predictions(rows: StandardizedRows, targets: FloatMatrix, strength: float) -> FloatMatrix:
    """Return the one-step-ahead predictions of a ridge machine with intercept.

    Row i is predicted by the machine fitted on rows 0..i-1 with the same absolute strength; row 0
    gets 0.

    Parameters
    ----------
    rows : StandardizedRows
        Features in the order in which they are learned.
    targets : ndarray of shape (n_samples, n_targets)
        One-hot or real targets in the same order.
    strength : float
        Penalty added to the scatter.

    Returns
    -------
    ndarray of shape (n_samples, n_targets)
        Predictions.

    Examples
    --------
    >>> rows = StandardizedRows.of(np.array([[0.0], [1.0], [2.0]]), rescale=False)
    >>> chain_predictions(rows, np.array([[0.0], [1.0], [2.0]]), 1e-9).round(6).ravel().tolist()
    [0.0, 0.0, 2.0]
    """
    n_samples, d = len(rows), rows.n_features
    with_ones = np.column_stack([targets, np.ones(n_samples)])
    if n_samples <= max(d, min(4 * d, _LARGEST_DENSE)):
        whitened, deviations = _whiten_dense(rows, with_ones, strength)
    else:
        whitened, deviations = _whiten_blocks(rows, with_ones, strength)
    residuals, ones = whitened[:, :-1], whitened[:, -1:]
    sums = np.cumsum(ones * residuals, axis=0)[:-1]
    intercepts = np.zeros_like(targets)
    intercepts[1:] = sums / np.cumsum(np.square(ones), axis=0)[:-1]
    return targets - deviations * (residuals - ones * intercepts)


def _whiten_dense(
    rows: StandardizedRows, targets: FloatMatrix, strength: float
) -> tuple[FloatMatrix, FloatMatrix]:
    """Return L^-1 targets and the diagonal of L (n_samples, 1), L L' = kernel + strength I."""
    dense = rows.dense()
    kernel = dense @ dense.T
    kernel[np.diag_indices_from(kernel)] += strength
    factor = cholesky(kernel, lower=True, overwrite_a=True, check_finite=False)
    whitened = solve_triangular(factor, targets, lower=True, check_finite=False)
    return whitened, np.diag(factor)[:, None].copy()


def _whiten_blocks(
    rows: StandardizedRows, targets: FloatMatrix, strength: float
) -> tuple[FloatMatrix, FloatMatrix]:
    """Do the same through the posterior of the weights after each block of rows."""
    d = rows.n_features
    whitened, deviations = np.empty_like(targets), np.empty((len(targets), 1))
    precision, cross = strength * np.eye(d), np.zeros((d, targets.shape[1]))
    for block_rows, block in rows.blocks(size=max(_SMALLEST_BLOCK, d)):
        factor = cholesky(precision, lower=True, check_finite=False)
        spread = solve_triangular(factor, block.T, lower=True, check_finite=False)
        mean = spread.T @ solve_triangular(factor, cross, lower=True, check_finite=False)
        # Given the earlier rows, this block's kernel is the Schur complement of the whole.
        schur = strength * (spread.T @ spread + np.eye(len(block)))
        local = cholesky(schur, lower=True, overwrite_a=True, check_finite=False)
        whitened[block_rows] = solve_triangular(
            local, targets[block_rows] - mean, lower=True, check_finite=False
        )
        deviations[block_rows, 0] = np.diag(local)
        precision += block.T @ block
        cross += block.T @ targets[block_rows]
    return whitened, deviations
