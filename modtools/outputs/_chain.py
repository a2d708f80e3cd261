"""The ridge machine one step ahead: what it predicts for each row from the rows before it.

One Cholesky factor of the kernel matrix holds every prediction; with more rows than columns the
same factor is built block by block from d x d matrices, exactly, in memory that does not grow
with the square of the rows.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from modtools.outputs._base import ClassCodes, FloatMatrix
from modtools.outputs._standardize import StandardizedRows, standardize

__all__ = ["RidgeChain"]

_LARGEST_DENSE = 5000
_SMALLEST_BLOCK = 256


@dataclass(frozen=True)
class RidgeChain:
    """A ridge machine with intercept and one absolute strength that learns row by row.

    Attributes
    ----------
    rows : StandardizedRows
        Features.
    strength : float
        Penalty added to the scatter.
    kernel : ndarray of shape (n_samples, n_samples) or None
        Products of all rows, shared by all orders; None where blocks of rows cost less.

    Examples
    --------
    >>> rows = StandardizedRows.of(np.array([[0.0], [1.0], [2.0]]), rescale=False)
    >>> targets = np.array([[0.0], [1.0], [2.0]])
    >>> RidgeChain.of(rows, 1e-9).predictions(targets, np.arange(3)).round(6).ravel().tolist()
    [0.0, 0.0, 2.0]
    """

    rows: StandardizedRows
    strength: float
    kernel: FloatMatrix | None

    @classmethod
    def of(cls, rows: StandardizedRows, strength: float) -> "RidgeChain":
        """Return the chain, its kernel matrix computed where it will be used."""
        if len(rows) > max(rows.n_features, min(4 * rows.n_features, _LARGEST_DENSE)):
            return cls(rows, strength, None)
        dense = rows.dense()
        return cls(rows, strength, dense @ dense.T)

    def predictions(self, targets: FloatMatrix, order: ClassCodes) -> FloatMatrix:
        """Return what the machine that learned the earlier rows of an order predicts for each row.

        Parameters
        ----------
        targets : ndarray of shape (n_samples, n_targets)
            One-hot or real targets, row by row as in `rows`.
        order : ndarray of shape (n_samples,)
            Row numbers in the order in which they are learned.

        Returns
        -------
        ndarray of shape (n_samples, n_targets)
            Predictions in that order; the first is 0.
        """
        learned = targets[order]
        with_ones = np.column_stack([learned, np.ones(len(order))])
        if self.kernel is None:
            whitened, deviations = self._whiten_blocks(with_ones, order)
        else:
            whitened, deviations = self._whiten_dense(self.kernel[np.ix_(order, order)], with_ones)
        residuals, ones = whitened[:, :-1], whitened[:, -1:]
        intercepts = np.zeros_like(learned)
        intercepts[1:] = np.cumsum(ones * residuals, axis=0)[:-1]
        intercepts[1:] /= np.cumsum(np.square(ones), axis=0)[:-1]
        return np.asarray(learned - deviations * (residuals - ones * intercepts))

    def _whiten_dense(
        self, kernel: FloatMatrix, targets: FloatMatrix
    ) -> tuple[FloatMatrix, FloatMatrix]:
        """Return L^-1 targets and the diagonal of L (n_samples, 1), L L' = kernel + strength I."""
        kernel[np.diag_indices_from(kernel)] += self.strength
        # The transpose of a symmetric matrix is itself, in the memory order that needs no copy.
        factor = cholesky(kernel.T, lower=True, overwrite_a=True, check_finite=False)
        whitened = solve_triangular(factor, targets, lower=True, check_finite=False)
        return whitened, np.diag(factor)[:, None].copy()

    def _whiten_blocks(
        self, targets: FloatMatrix, order: ClassCodes
    ) -> tuple[FloatMatrix, FloatMatrix]:
        """Do the same through the posterior of the weights after each block of rows."""
        d = self.rows.n_features
        whitened, deviations = np.empty_like(targets), np.empty((len(targets), 1))
        precision, cross = self.strength * np.eye(d), np.zeros((d, targets.shape[1]))
        step = max(_SMALLEST_BLOCK, d)
        for start in range(0, len(order), step):
            block_rows = slice(start, start + step)
            own = self.rows.features[order[block_rows]]
            block = standardize(own, self.rows.mean, self.rows.scale)
            factor = cholesky(precision, lower=True, check_finite=False)
            spread = solve_triangular(factor, block.T, lower=True, check_finite=False)
            mean = spread.T @ solve_triangular(factor, cross, lower=True, check_finite=False)
            # Given the earlier rows, this block's kernel is the Schur complement of the whole.
            schur = self.strength * (spread.T @ spread + np.eye(len(block)))
            local = cholesky(schur, lower=True, overwrite_a=True, check_finite=False)
            whitened[block_rows] = solve_triangular(
                local, targets[block_rows] - mean, lower=True, check_finite=False
            )
            deviations[block_rows, 0] = np.diag(local)
            precision += block.T @ block
            cross += block.T @ targets[block_rows]
        return whitened, deviations
