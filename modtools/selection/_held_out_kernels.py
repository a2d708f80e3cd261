"""Held-out predictions of ridge machines on sums of kernels: one inverse a sum, no refits."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.special import logsumexp

from modtools._types import FloatArray, FloatMatrix
from modtools.outputs import StandardizedRows, one_hot, stratified_folds

__all__ = ["HeldOut", "KernelJudge", "unit_kernel"]

Kernel = NDArray[np.float32]
# Penalty in units of a kernel's mean diagonal; the choice hardly depends on it.
_STRENGTH: Final = 1.0
# Logits are so many times the decision values, which aim at 0 and 1.
_SHARPNESS: Final = 6.0
_N_FOLDS: Final = 5
# With few labels a split says little, so there are more of them.
_ROWS_PER_CLASS: Final = 300
_FEWEST_SPLITS, _MOST_SPLITS = 3, 20
# Folds share most of their training rows, so their errors vary more than independent ones would.
_INFLATION: Final = 1.4
_NORMAL: Final = 1.959964


def unit_kernel(features: FloatArray) -> Kernel | None:
    """Return the kernel of standardised features, its mean diagonal 1; None without variance.

    >>> unit_kernel(np.array([[0.0], [2.0]]))
    array([[ 1., -1.],
           [-1.,  1.]], dtype=float32)
    """
    rows = StandardizedRows.of(features)
    if not rows.n_varying:
        return None
    dense = rows.dense(np.float32)
    return np.asarray(dense @ dense.T / np.float32(rows.n_varying))


class HeldOut(NamedTuple):
    """What the held-out predictions of one kernel are worth, row by row.

    Attributes
    ----------
    right : ndarray of shape (n_samples,)
        Share of the five-fold splits in which a row's class was predicted.
    losses : ndarray of shape (n_samples,)
        Log loss of a row where half of the rows were held out, in nats, the mean over splits.
    """

    right: FloatMatrix
    losses: FloatMatrix

    @property
    def accuracy(self) -> float:
        """Cross-validated accuracy, in [0, 1]."""
        return float(self.right.mean())

    @property
    def loss(self) -> float:
        """Mean log loss of held-out halves, in nats a label."""
        return float(self.losses.mean())

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the accuracy.

        >>> low, high = HeldOut(np.ones(100), np.zeros(100)).interval()
        >>> round(low, 3), high
        (0.949, 1.0)
        """
        n = len(self.right)
        # Two successes and two failures more keep an interval around accuracies of 0 and 1.
        centre = (n * self.accuracy + 2) / (n + 4)
        half = _NORMAL * np.sqrt(_INFLATION * centre * (1 - centre) / n)
        return max(0.0, float(centre - half)), min(1.0, float(centre + half))

    def gain(self, other: "HeldOut") -> tuple[float, float, float]:
        """Return the difference of the accuracies and its 95 % interval, rows paired.

        >>> HeldOut(np.ones(4), np.zeros(4)).gain(HeldOut(np.ones(4), np.zeros(4)))
        (0.0, 0.0, 0.0)
        """
        difference = self.right - other.right
        middle = float(difference.mean())
        half = float(_NORMAL * np.sqrt(_INFLATION * difference.var() / len(difference)))
        return middle, middle - half, middle + half


@dataclass(frozen=True)
class KernelJudge:
    """Judges kernels by ridge machines that did not see the row, on splits common to all kernels.

    The inverse of kernel plus penalty gives the held-out predictions of every split: with A that
    inverse, freed of the intercept, the rows F left out of a fit deviate from it by
    inverse(A[F, F]) (A y)[F]. So a sum of kernels costs one factorisation, whatever the splits.

    Attributes
    ----------
    codes : ndarray of shape (n_samples,)
        Class of each row, every class present.
    seed : int
        Seed of the splits.
    groups : ndarray of shape (n_samples,), optional
        Group of each row, at least two; a group is never split.
    """

    codes: NDArray[np.intp]
    seed: int
    groups: NDArray[np.intp] | None = None

    @cached_property
    def _targets(self) -> FloatMatrix:
        return one_hot(self.codes, int(self.codes.max()) + 1)

    def _splits(self, n_folds: int) -> list[NDArray[np.intp]]:
        wanted = round(_ROWS_PER_CLASS * self._targets.shape[1] / len(self.codes))
        n_splits = min(max(wanted, _FEWEST_SPLITS), _MOST_SPLITS)
        # As many fits in five folds as in halves.
        n_splits = max(1, round(n_splits * 2 / n_folds))
        seeds = [(self.seed, split) for split in range(n_splits)]
        return [stratified_folds(self.codes, n_folds, seed, self.groups) for seed in seeds]

    @cached_property
    def _halves(self) -> list[NDArray[np.intp]]:
        return self._splits(2)

    @cached_property
    def _folds(self) -> list[NDArray[np.intp]]:
        return self._splits(_N_FOLDS)

    def judge(self, kernel: NDArray[Any], *, total: float = 1.0) -> HeldOut:
        """Return what a kernel is worth, or a sum of as many unit kernels as `total` says.

        Parameters
        ----------
        kernel : ndarray of shape (n_samples, n_samples)
            Symmetric; not changed.
        total : float, default=1.0
            The mean of its diagonal.

        Returns
        -------
        HeldOut
            Right predictions and losses of each row.

        Examples
        --------
        >>> codes = np.arange(20) % 2
        >>> kernel = unit_kernel(codes[:, None] + 0.1 * np.sin(np.arange(20.0))[:, None])
        >>> KernelJudge(codes, seed=0).judge(kernel).accuracy
        1.0
        """
        inverse = _inverse(kernel, _STRENGTH * total)
        solved = inverse @ self._targets
        losses, right = np.zeros(len(self.codes)), np.zeros(len(self.codes))
        own = (np.arange(len(self.codes)), self.codes)
        for halves in self._halves:
            logits = _SHARPNESS * self._decisions(inverse, solved, halves)
            losses += (logsumexp(logits, axis=1) - logits[own]) / len(self._halves)
        for folds in self._folds:
            found = self._decisions(inverse, solved, folds).argmax(axis=1)
            right += (found == self.codes) / len(self._folds)
        return HeldOut(right, losses)

    def _decisions(
        self, inverse: FloatMatrix, solved: FloatMatrix, folds: NDArray[np.intp]
    ) -> FloatMatrix:
        """Return what the machine without a row's fold predicts for it (n_samples, n_classes)."""
        decisions = np.empty_like(solved)
        for fold in range(int(folds.max()) + 1):
            rows = np.flatnonzero(folds == fold)
            block = inverse[np.ix_(rows, rows)]
            deviations = solve(block, solved[rows], assume_a="pos", overwrite_a=True)
            decisions[rows] = self._targets[rows] - deviations
        return decisions


def _inverse(kernel: NDArray[Any], strength: float) -> FloatMatrix:
    """Return the inverse of kernel + strength I, freed of the intercept: its rows sum to 0."""
    system = np.array(kernel, dtype=np.float64, order="F")
    system[np.diag_indices_from(system)] += strength
    # Lower triangles: a kernel is symmetric up to rounding only.
    factor, _ = dpotrf(system, lower=1, overwrite_a=1)
    lower, _ = dpotri(factor, lower=1, overwrite_c=1)
    inverse = np.tril(lower) + np.tril(lower, -1).T
    sums = inverse.sum(axis=0)
    inverse -= np.outer(sums / sums.sum(), sums)
    return np.asarray(inverse)
