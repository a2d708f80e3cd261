"""The ridge machine one step ahead: what it predicts for each row from the rows before it.

One Cholesky factor of the kernel matrix holds every prediction; with more rows than columns the
same factor is built block by block from d x d matrices, exactly, in memory that does not grow
with the square of the rows.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from modtools.outputs._base import ClassCodes, FloatMatrix
from modtools.outputs._evidence import strength_of_evidence
from modtools.outputs._ridge import one_hot
from modtools.outputs._standardize import StandardizedRows, standardize

__all__ = [
    "Prequential",
    "RidgeChain",
    "Whitened",
    "prequential",
    "ridge_factor",
    "strength_of_evidence",
    "whiten",
]

_LARGEST_DENSE = 5000
_SMALLEST_BLOCK = 256
_TEMPERATURES = 10.0 ** (np.arange(-32, 17) / 16)
_NO_TEMPERATURE = 32  # the position of 1


class Whitened(NamedTuple):
    """Targets and ones in the coordinates of a Cholesky factor L of kernel + strength I.

    Attributes
    ----------
    residuals : ndarray of shape (n_samples, n_targets)
        L^-1 targets: one-step-ahead residuals, each in units of its deviation.
    ones : ndarray of shape (n_samples, 1)
        L^-1 1, from which the intercept follows.
    deviations : ndarray of shape (n_samples, 1)
        The diagonal of L.
    """

    residuals: FloatMatrix
    ones: FloatMatrix
    deviations: FloatMatrix

    def intercepts(self) -> FloatMatrix:
        """Return the intercepts (n_samples, n_targets) of the machines with 1, ..., n rows."""
        sums = np.cumsum(self.ones * self.residuals, axis=0)
        return np.asarray(sums / np.cumsum(np.square(self.ones), axis=0))

    def predictions(self, targets: FloatMatrix) -> FloatMatrix:
        """Return what the machine of the rows before it predicts for each row; 0 for the first."""
        intercepts = np.zeros_like(targets)
        intercepts[1:] = self.intercepts()[:-1]
        surprise = self.residuals - self.ones * intercepts
        return np.asarray(targets - self.deviations * surprise)


def ridge_factor(kernel: NDArray[Any], strength: float) -> NDArray[Any]:
    """Return the lower Cholesky factor of kernel + strength I, written over the kernel.

    >>> ridge_factor(np.array([[3.0]]), 1.0)
    array([[2.]])
    """
    kernel[np.diag_indices_from(kernel)] += strength
    # The transpose of a symmetric matrix is itself, in the memory order that needs no copy.
    return np.asarray(cholesky(kernel.T, lower=True, overwrite_a=True, check_finite=False))


def whiten(factor: NDArray[Any], targets: FloatMatrix) -> Whitened:
    """Return targets and ones in the coordinates of a factor, in float64.

    >>> whiten(np.array([[2.0]]), np.array([[3.0]])).residuals
    array([[1.5]])
    """
    with_ones = np.column_stack([targets, np.ones(len(targets))]).astype(factor.dtype)
    whitened = solve_triangular(factor, with_ones, lower=True, check_finite=False)
    whitened = whitened.astype(np.float64)
    deviations = np.diag(factor)[:, None].astype(np.float64)
    return Whitened(whitened[:, :-1], whitened[:, -1:], deviations)


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
        if self.kernel is None:
            return self._whiten_blocks(learned, order).predictions(learned)
        factor = ridge_factor(self.kernel[np.ix_(order, order)], self.strength)
        return whiten(factor, learned).predictions(learned)

    def _whiten_blocks(self, learned: FloatMatrix, order: ClassCodes) -> Whitened:
        """Whiten through the posterior of the weights after each block of rows."""
        d = self.rows.n_features
        targets = np.column_stack([learned, np.ones(len(order))])
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
        return Whitened(whitened[:, :-1], whitened[:, -1:], deviations)


class Prequential(NamedTuple):
    """How well labels were predicted one step ahead.

    Attributes
    ----------
    bits : ndarray of shape (n_samples,)
        Code length of each label given the labels before it.
    temperatures : ndarray of shape (n_samples,)
        Temperature after 1, ..., n labels.
    """

    bits: FloatMatrix
    temperatures: FloatMatrix


def prequential(predictions: FloatMatrix, codes: ClassCodes) -> Prequential:
    """Return code lengths and temperatures of one-step-ahead predictions.

    Probabilities are softmax(prediction / T) over the classes seen so far, T the one of smallest
    loss on the labels before (1 for fewer labels than classes); after m labels the share 1/(m+1)
    is spread evenly over all classes, so that a new class costs finitely many bits.

    Parameters
    ----------
    predictions : ndarray of shape (n_samples, n_classes)
        As returned by `RidgeChain.predictions`.
    codes : ndarray of shape (n_samples,)
        Class codes in the same order.

    Returns
    -------
    Prequential
        Bits of each label and the temperature after it.

    Examples
    --------
    >>> prequential(np.zeros((2, 2)), np.array([0, 0])).bits
    array([1.   , 0.4150...])
    """
    n_samples, n_classes = predictions.shape
    seen = np.zeros((n_samples, n_classes), dtype=bool)
    seen[1:] = np.cumsum(one_hot(codes, n_classes), axis=0)[:-1] > 0
    decisions = np.where(seen, predictions, -np.inf)
    decisions[0] = 0
    decisions -= decisions.max(axis=1, keepdims=True)
    own = decisions[np.arange(n_samples), codes]
    share = 1 / np.arange(1, n_samples + 1)
    losses = np.empty((n_samples, len(_TEMPERATURES)))
    for column, temperature in enumerate(_TEMPERATURES):
        right = np.exp(own / temperature) / np.exp(decisions / temperature).sum(axis=1)
        losses[:, column] = -np.log2((1 - share) * right + share / n_classes)
    best = np.full(n_samples + 1, _NO_TEMPERATURE)  # after 0, ..., n labels
    best[n_classes:] = np.cumsum(losses, axis=0)[n_classes - 1 :].argmin(axis=1)
    return Prequential(losses[np.arange(n_samples), best[:-1]], _TEMPERATURES[best[1:]])
