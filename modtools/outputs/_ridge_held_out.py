"""Decisions of ridge classifiers about held-out examples, and how good these decisions are.

The examples are divided into folds, in several ways; a classifier with a free intercept learns all
folds but one and decides about that one. With alpha the same in all folds, one inverse
serves every division (`KernelInverse`): let A = K^-1 - K^-1 1 1' K^-1 / (1' K^-1 1), K the kernel
of all examples plus alpha, which is the inverse freed of the intercept. The held-out
residuals of a fold F are then (A[F, F])^-1 (A Y)[F] [1]_; a fold of one example is the familiar
leave-one-out [2]_. Where alpha follows the training part, each is solved by itself
(`refitted_decisions`), through whichever of kernel and scatter is smaller.

References
----------
.. [1] An, Liu & Venkatesh, "Fast cross-validation algorithms for least squares support vector
   machine and kernel ridge regression", Pattern Recognition 40, 2007.
.. [2] Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006, equation 5.12.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve
from scipy.linalg.blas import dsyrk
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.special import logsumexp

from modtools._types import ClassCodes, FloatMatrix
from modtools.outputs._folds import RowContent, stratified_folds
from modtools.outputs._ridge import mirrored, one_hot, row_products
from modtools.outputs._standardize import StandardizedRows

__all__ = ["HeldOutDecisions", "HeldOutJudge", "KernelInverse", "refitted_decisions"]

# Which examples, each decided about without its fold, and their decision values
# (n_examples, n_classes).
HeldOutDecisions: TypeAlias = tuple[NDArray[np.intp] | slice, FloatMatrix]

# Equal examples, less their mean, leave no more than this of their size.
_RESOLUTION = 100 * float(np.finfo(float).eps)


@dataclass(frozen=True)
class HeldOutJudge:
    """Divides examples into folds again and again, and judges what is decided about them.

    Probabilities are softmax(sharpness x decision). A division says little where a class has few
    examples, so there are more of them then.

    Attributes
    ----------
    codes : ndarray of shape (n_samples,)
        Class of each example.
    n_classes : int
        Number of classes.
    seed : int
        Seed of the divisions.
    fewest, most : int
        Bounds on the number of divisions into halves.
    examples_per_class : int
        Up to the bounds, so many examples of a class are held out twice in all divisions together.
    sharpness : float
        Logits are so many times the decision values, whose targets are 0 and 1: larger values
        weight single examples more, smaller ones make all probabilities equal.
    groups : ndarray of shape (n_samples,), optional
        Group of each example; a group is never split.
    content : RowContent, optional
        What the divisions follow; by default the order of the examples.

    Examples
    --------
    >>> codes = [np.arange(10 * per_class) % 10 for per_class in (5, 20, 100)]
    >>> judges = [HeldOutJudge(each, 10, seed=0, fewest=4, most=30) for each in codes]
    >>> [(len(judge.divisions(2)), len(judge.divisions(5))) for judge in judges]
    [(30, 12), (15, 6), (4, 2)]
    """

    codes: ClassCodes
    n_classes: int
    seed: int
    fewest: int
    most: int
    examples_per_class: int = 300
    sharpness: float = 6.0
    groups: ClassCodes | None = None
    content: RowContent | None = None

    def divisions(self, n_folds: int) -> list[ClassCodes]:
        """Return the fold of each example in every division: as many fits as in halves.

        Parameters
        ----------
        n_folds : int
            Number of folds.

        Returns
        -------
        list of ndarray of shape (n_samples,)
            Fold numbers.
        """
        wanted = round(self.examples_per_class * self.n_classes / len(self.codes))
        n_halvings = min(max(wanted, self.fewest), self.most)
        seeds = [(self.seed, split) for split in range(max(1, round(n_halvings * 2 / n_folds)))]
        return [
            stratified_folds(self.codes, n_folds, seed, self.groups, content=self.content)
            for seed in seeds
        ]

    def log_losses(self, decisions: Iterable[HeldOutDecisions]) -> FloatMatrix:
        """Return the log loss of each example in nats, the mean over divisions.

        >>> judge = HeldOutJudge(np.array([0, 1]), 2, 0, fewest=1, most=1, sharpness=1.0)
        >>> judge.log_losses([(np.array([0, 1]), np.zeros((2, 2)))])
        array([0.693..., 0.693...])
        """
        return self._mean_over_divisions(decisions, self._log_losses)

    def accuracies(self, decisions: Iterable[HeldOutDecisions]) -> FloatMatrix:
        """Return the share of divisions in which each example is right.

        >>> judge = HeldOutJudge(np.array([0, 1]), 2, 0, fewest=1, most=1)
        >>> judge.accuracies([(np.array([1]), np.eye(2)[:1]), (np.array([0]), np.eye(2)[:1])])
        array([1., 0.])
        """
        return self._mean_over_divisions(
            decisions, lambda values, codes: values.argmax(axis=1) == codes
        )

    def _log_losses(self, decisions: FloatMatrix, codes: ClassCodes) -> FloatMatrix:
        logits = self.sharpness * decisions
        return np.asarray(logsumexp(logits, axis=1) - logits[np.arange(len(codes)), codes])

    def _mean_over_divisions(
        self,
        decisions: Iterable[HeldOutDecisions],
        measure: Callable[[FloatMatrix, ClassCodes], NDArray[Any]],
    ) -> FloatMatrix:
        sums, times = np.zeros(len(self.codes)), np.zeros(len(self.codes))
        for examples, values in decisions:
            sums[examples] += measure(values, self.codes[examples])
            times[examples] += 1
        return sums / times


@dataclass(frozen=True)
class KernelInverse:
    """The held-out decisions of every division from one inverse, at one alpha.

    Attributes
    ----------
    inverse : ndarray of shape (n_samples, n_samples)
        Inverse of kernel + alpha I, freed of the intercept: its rows sum to 0.
    targets, solved : ndarray of shape (n_samples, n_targets)
        One-hot or real targets, and the inverse times them.

    Examples
    --------
    >>> rows = np.array([[-1.0], [0.0], [1.0], [2.0]])
    >>> inverse = KernelInverse.of(rows @ rows.T, rows, alpha=1e-9)
    >>> [values.round(3).tolist() for _, values in inverse.decisions([np.array([0, 1, 1, 1])])]
    [[[-1.0], [-1.0], [-1.0], [-1.0]]]
    """

    inverse: FloatMatrix
    targets: FloatMatrix
    solved: FloatMatrix

    @classmethod
    def of(cls, kernel: NDArray[Any], targets: FloatMatrix, alpha: float) -> "KernelInverse":
        """Invert kernel + alpha I; the kernel (n_samples, n_samples) is not changed."""
        system = np.array(kernel, dtype=np.float64, order="F")
        system[np.diag_indices_from(system)] += alpha
        # Lower triangles: a kernel is symmetric up to rounding only.
        factor, _ = dpotrf(system, lower=1, overwrite_a=1)
        lower, _ = dpotri(factor, lower=1, overwrite_c=1)
        inverse = np.tril(lower) + np.tril(lower, -1).T
        # To project the ones out is to leave the intercept without a penalty.
        sums = inverse.sum(axis=0)
        inverse -= np.outer(sums / sums.sum(), sums)
        return cls(np.asarray(inverse), targets, inverse @ targets)

    def decisions(self, divisions: Iterable[ClassCodes]) -> Iterator[HeldOutDecisions]:
        """Yield what is decided about each example without its fold, one division at a time.

        Parameters
        ----------
        divisions : iterable of ndarray of shape (n_samples,)
            Fold numbers.

        Yields
        ------
        examples : slice
            All of them.
        decisions : ndarray of shape (n_samples, n_targets)
            Decision values.
        """
        for folds in divisions:
            decisions = np.empty_like(self.solved)
            for fold in range(int(folds.max()) + 1):
                held_out = np.flatnonzero(folds == fold)
                block = self.inverse[np.ix_(held_out, held_out)]
                residuals = solve(block, self.solved[held_out], assume_a="pos", overwrite_a=True)
                decisions[held_out] = self.targets[held_out] - residuals
            yield slice(None), decisions


def refitted_decisions(
    rows: StandardizedRows, codes: ClassCodes, n_classes: int, divisions: Sequence[ClassCodes]
) -> Iterator[HeldOutDecisions]:
    """Yield what is decided about held-out folds, at an alpha that follows the training part.

    It is the mean squared distance of the training examples from their centre: the trace of their
    scatter, or centred kernel, over the examples less one.

    Parameters
    ----------
    rows : StandardizedRows
        Features.
    codes : ndarray of shape (n_samples,)
        Class of each example.
    n_classes : int
        Number of classes.
    divisions : sequence of ndarray of shape (n_samples,)
        Fold numbers.

    Yields
    ------
    examples : ndarray of int
        Examples of a fold, all of them or a block.
    decisions : ndarray of shape (n_examples, n_classes)
        Decision values.

    Examples
    --------
    >>> rows = StandardizedRows.of(np.array([[0.0], [8.0], [1.0], [9.0]]))
    >>> codes, folds = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    >>> decisions = refitted_decisions(rows, codes, 2, [folds])
    >>> [(examples.tolist(), values.argmax(axis=1).tolist()) for examples, values in decisions]
    [([0, 1], [0, 1]), ([2, 3], [0, 1])]
    """
    decide = _through_kernel if len(rows) < rows.n_features else _through_scatters
    return decide(rows, codes, n_classes, divisions)


def _through_kernel(
    rows: StandardizedRows, codes: ClassCodes, n_classes: int, divisions: Sequence[ClassCodes]
) -> Iterator[HeldOutDecisions]:
    """Decide from the products of all examples, which all divisions share."""
    kernel = mirrored(row_products(rows))
    for folds in divisions:
        for fold in range(int(folds.max()) + 1):
            held_out, training = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
            targets, level = _centred_targets(codes[training], n_classes)
            system = kernel[np.ix_(training, training)]
            towards = system.mean(axis=0)
            # The products are of size trace before their means are taken off: so is the rounding.
            resolution = _RESOLUTION * float(np.trace(system))
            # Centred over the training part, as the free intercept asks.
            system += towards.mean() - towards - towards[:, None]
            solution = _solve_at_trace(system, targets, len(targets), resolution)
            # The solution sums to 0, so what is common to an example's products drops out.
            products = kernel[np.ix_(held_out, training)] - towards
            yield held_out, products @ solution + level


def _through_scatters(
    rows: StandardizedRows, codes: ClassCodes, n_classes: int, divisions: Sequence[ClassCodes]
) -> Iterator[HeldOutDecisions]:
    """Decide from one scatter per fold, block by block: no matrix of all pairs, nor a copy."""
    for folds, means in zip(divisions, _training_means(rows, divisions), strict=True):
        fitted = [
            _fit_by_scatter(rows, codes, n_classes, folds != fold, mean)
            for fold, mean in enumerate(means)
        ]
        for place, block in rows.blocks():
            for fold, (weights, level) in enumerate(fitted):
                held_out = np.flatnonzero(folds[place] == fold)
                yield place.start + held_out, (block[held_out] - means[fold]) @ weights + level


def _training_means(rows: StandardizedRows, divisions: Sequence[ClassCodes]) -> list[FloatMatrix]:
    """Return the means (n_folds, n_features) of the training parts, all in one pass."""
    numbers = [np.arange(int(folds.max()) + 1)[:, None] for folds in divisions]
    n_fits = sum(len(each) for each in numbers)
    sums, sizes = np.zeros((n_fits, rows.n_features)), np.zeros((n_fits, 1))
    for place, block in rows.blocks():
        masks = [folds[place] != each for folds, each in zip(divisions, numbers, strict=True)]
        training = np.concatenate(masks).astype(np.float64)
        sums += training @ block
        sizes += training.sum(axis=1, keepdims=True)
    return np.split(sums / sizes, np.cumsum([len(each) for each in numbers])[:-1])


def _fit_by_scatter(
    rows: StandardizedRows,
    codes: ClassCodes,
    n_classes: int,
    training: NDArray[np.bool_],
    mean: FloatMatrix,
) -> tuple[FloatMatrix, FloatMatrix]:
    """Return weights (n_features, n_classes) of features less `mean`, and the level."""
    targets, level = _centred_targets(codes[training], n_classes)
    scatter = np.zeros((rows.n_features, rows.n_features), order="F")
    cross, square, start = np.zeros((rows.n_features, n_classes)), 0.0, 0
    for place, block in rows.blocks():
        part = block[training[place]]
        square += float(np.vdot(part, part))
        part -= mean
        scatter = dsyrk(1.0, part.T, beta=1.0, c=scatter, overwrite_c=1)
        cross += part.T @ targets[start : start + len(part)]
        start += len(part)
    # Centred before they are multiplied: what rounding leaves of equal examples is squared too.
    resolution = _RESOLUTION**2 * square
    return _solve_at_trace(scatter, cross, len(targets), resolution), level


def _centred_targets(codes: ClassCodes, n_classes: int) -> tuple[FloatMatrix, FloatMatrix]:
    """Return one-hot targets about their mean, and that mean."""
    targets = one_hot(codes, n_classes)
    level = targets.mean(axis=0)
    targets -= level
    return targets, level


def _solve_at_trace(
    system: FloatMatrix, right: FloatMatrix, n_samples: int, resolution: float
) -> FloatMatrix:
    """Return the solution at the alpha of the trace; 0 where the trace is rounding."""
    trace = float(np.trace(system))
    if trace <= resolution:
        return np.zeros_like(right)
    system[np.diag_indices_from(system)] += trace / max(n_samples - 1, 1)
    return np.asarray(solve(system, right, assume_a="pos", overwrite_a=True))
