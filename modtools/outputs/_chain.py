"""The ridge machine one step ahead: what it predicts for each row from the rows before it.

One Cholesky factor of the kernel matrix holds every prediction; with more rows than columns the
same factor is built block by block from d x d matrices, exactly, in memory that does not grow
with the square of the rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.linalg.blas import dsyrk, dtrsm
from scipy.linalg.lapack import dpotrf

from modtools._types import ClassCodes, FloatMatrix
from modtools.outputs._evidence import strength_of_evidence
from modtools.outputs._ridge import mirrored, one_hot, row_products
from modtools.outputs._standardize import StandardizedRows, standardize

__all__ = [
    "CodeTeller",
    "Prequential",
    "RidgeChain",
    "Whitened",
    "prequential",
    "ridge_factor",
    "strength_of_evidence",
    "whiten",
]

_LARGEST_DENSE = 5000
# A block of b rows costs d^3/3 + 2 d^2 b + d b^2 + b^3/3: least a row near this share of d.
_SMALLEST_BLOCK, _BLOCK_SHARE = 256, 0.6
_ROWS_AT_ONCE = 1024
_ROUNDING = 1e-12
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

    def predictions(self, targets: FloatMatrix, sums: FloatMatrix | None = None) -> FloatMatrix:
        """Return what the machine of the rows before it predicts for each row; 0 for the first.

        `sums` (n_targets + 1,), over the rows before these, is what intercepts are made of; the
        sums of these rows are added to it.
        """
        products = self.ones * np.column_stack([self.residuals, self.ones])
        before = np.zeros_like(products[0]) if sums is None else sums
        running = np.cumsum(np.vstack([before, products]), axis=0)
        before[:] = running[-1]
        # No row has come before the very first, whose sums are 0.
        squares = np.where(running[:-1, -1:] > 0, running[:-1, -1:], 1.0)
        surprise = self.residuals - self.ones * (running[:-1, :-1] / squares)
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
        return cls(rows, strength, mirrored(row_products(rows)))

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
        predictions = np.empty_like(targets)
        for block, predicted in self.steps(targets, order):
            predictions[block] = predicted
        return predictions

    def steps(self, targets: FloatMatrix, order: ClassCodes) -> Iterator[tuple[slice, FloatMatrix]]:
        """Yield the predictions of consecutive places of an order, block by block."""
        if self.kernel is not None:
            learned = targets[order]
            factor = ridge_factor(self.kernel[np.ix_(order, order)], self.strength)
            yield slice(0, len(order)), whiten(factor, learned).predictions(learned)
            return
        sums = np.zeros(targets.shape[1] + 1)
        for block, whitened in self._whiten_blocks(targets, order):
            yield block, whitened.predictions(targets[order[block]], sums)

    def _whiten_blocks(
        self, targets: FloatMatrix, order: ClassCodes
    ) -> Iterator[tuple[slice, Whitened]]:
        """Whiten through the posterior of the weights after each block of rows."""
        d = self.rows.n_features
        # Lower triangles only, in the memory order of LAPACK, so that nothing is copied.
        precision = np.asfortranarray(self.strength * np.eye(d))
        cross = np.zeros((d, targets.shape[1] + 1), order="F")
        step = max(_SMALLEST_BLOCK, round(_BLOCK_SHARE * d))
        for start in range(0, len(order), step):
            block = slice(start, min(start + step, len(order)))
            own = order[block]
            rows = standardize(self.rows.features[own], self.rows.mean, self.rows.scale)
            learned = np.column_stack([targets[own], np.ones(len(own))])
            factor, _ = dpotrf(precision, lower=1, clean=0)
            solved = dtrsm(1.0, factor, cross, lower=1)
            precision = dsyrk(1.0, rows.T, beta=1.0, c=precision, lower=1, overwrite_c=1)
            cross += rows.T @ learned
            spread = dtrsm(1.0, factor, rows.T, lower=1, overwrite_b=1)
            # Given the earlier rows, this block's kernel is the Schur complement of the whole.
            schur = dsyrk(self.strength, spread, trans=1, lower=1)
            schur[np.diag_indices_from(schur)] += self.strength
            local, _ = dpotrf(schur, lower=1, clean=0, overwrite_a=1)
            whitened = dtrsm(1.0, local, learned - spread.T @ solved, lower=1)
            yield block, Whitened(whitened[:, :-1], whitened[:, -1:], np.diag(local)[:, None])


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
    parts, teller = [], CodeTeller(predictions.shape[1])
    for start in range(0, len(codes), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        parts.append(teller.tell(predictions[rows], codes[rows]))
    return Prequential(*(np.concatenate(kind) for kind in zip(*parts, strict=True)))


class CodeTeller:
    """What `prequential` returns, told block by block; it keeps what the labels so far have cost.

    Parameters
    ----------
    n_classes : int
        Number of classes.
    """

    def __init__(self, n_classes: int) -> None:
        self._counts = np.zeros(n_classes, dtype=np.intp)
        self._losses = np.zeros(len(_TEMPERATURES))

    def tell(self, predictions: FloatMatrix, codes: ClassCodes) -> Prequential:
        """Return bits and temperatures of the next labels, as `prequential` does.

        >>> teller = CodeTeller(2)
        >>> [float(teller.tell(np.zeros((1, 2)), np.array([0])).bits[0].round(4)) for _ in range(2)]
        [1.0, 0.415]
        """
        n_known, n_classes = int(self._counts.sum()), len(self._counts)
        losses = self._losses_of(predictions, codes)
        running = np.cumsum(np.vstack([self._losses, losses]), axis=0)
        # Losses that differ by rounding are equal, and the smallest temperature has them.
        smallest = running.min(axis=1, keepdims=True)
        best = (running <= smallest * (1 + _ROUNDING)).argmax(axis=1)
        best[np.arange(n_known, n_known + len(best)) < n_classes] = _NO_TEMPERATURE
        self._losses = running[-1]
        self._counts += np.bincount(codes, minlength=n_classes)
        bits = losses[np.arange(len(codes)), best[:-1]]
        return Prequential(bits, _TEMPERATURES[best[1:]])

    def _losses_of(self, predictions: FloatMatrix, codes: ClassCodes) -> FloatMatrix:
        """Return the code length of each label at each temperature."""
        counts = np.vstack([self._counts, one_hot(codes, len(self._counts))[:-1]])
        decisions = np.where(np.cumsum(counts, axis=0) > 0, predictions, -np.inf)
        if not self._counts.any():
            decisions[0] = 0
        decisions = np.ascontiguousarray(decisions.T)  # sums over few classes are slow along rows
        decisions -= decisions.max(axis=0)
        own = decisions[codes, np.arange(len(codes))]
        share = 1 / (self._counts.sum() + np.arange(1, len(codes) + 1))
        right, powers = np.empty((len(_TEMPERATURES), len(codes))), np.empty_like(decisions)
        for one, temperature in zip(right, _TEMPERATURES, strict=True):
            np.exp(np.divide(decisions, temperature, out=powers), out=powers)
            np.divide(np.exp(own / temperature), powers.sum(axis=0), out=one)
        return np.asarray(-np.log2((1 - share) * right + share / len(self._counts)).T)
