"""Multinomial logistic regression on all cross-validation folds at once, each from a cold start.

A fold that starts from a fit on its held-out examples remembers their labels; here every fold
starts from zero. What the folds share is free of labels: the standardised features and their
scatter. Held-out predictions and the choice of alpha come from the same folds. The equations
of L-BFGS are those of Nocedal & Wright, "Numerical Optimization", 2006.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from modtools._checks import rows_per_block
from modtools._types import ClassCodes, FloatMatrix
from modtools.exceptions import warn
from modtools.outputs._folds import row_content, stratified_folds
from modtools.outputs._newton import newton_weights
from modtools.outputs._ridge import ridge_basis
from modtools.outputs._standardize import StandardizedRows

__all__ = [
    "LOGISTIC_ALPHAS",
    "N_FOLDS",
    "choose_logistic_alpha",
    "cold_fold_codes",
    "fold_design",
    "minimise_folds",
]

# A step s, the change y of the gradient along it, and 1 / s'y in each fold.
Pair: TypeAlias = tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]

LOGISTIC_ALPHAS = 10.0 ** np.arange(-2, 4)
# Weak penalties converge slowly, and a fit that stopped early flatters them.
_N_ITERATIONS_OF_CHOICE = 60
_WITHOUT_EVIDENCE = 1.0
# Losses come from float32 weights: nearer ones are tied.
_TIE = 1e-5

N_FOLDS = 5
# Iterations after which the held-out accuracy no longer moves (tests compare with converged fits).
N_ITERATIONS = 20
# A fold that is still far from its solution continues until here.
_MOST_ITERATIONS = 300
# As many iterations as cost this (examples times weights) are always made. A small problem, which
# affords many, is solved to convergence in float64: that takes little time.
_AFFORDABLE_WORK = 1e7
_MANY_ITERATIONS = 100
# What the loss may still fall by, as a share of itself, in a fold that may stop, and in one that
# has converged.
_NEAR = 1e-2
_CONVERGED = {"float32": 1e-11, "float64": 1e-16}
_MEMORY = 10
_MAX_HALVINGS = 30
# No step is longer than so many times the way from the start, or than this from the start.
_LONGEST_STEP = 10.0
# The logit of a class without a training example: its probability is 0 in any arithmetic.
_NEVER = -1e4
_LONG_ROW = 32
# With this many examples per column, the curvature of the loss is near a multiple of the scatter.
_ROWS_PER_COLUMN = 5
# Mean of p (1 - p) in a typical fit; the bound of Boehning ("Multinomial logistic regression
# algorithm", Ann. Inst. Statist. Math. 44, 1992), 1/2, is far too cautious.
CURVATURE = 0.05


def cold_fold_codes(
    rows: StandardizedRows,
    codes: ClassCodes,
    n_classes: int,
    *,
    alpha: float = 1.0,
    seed: int = 0,
    groups: ClassCodes | None = None,
) -> ClassCodes:
    """Return the class predicted for each example by a fit on the folds that do not hold it.

    Parameters
    ----------
    rows : StandardizedRows
        Features.
    codes : ndarray of shape (n_samples,)
        Class of each example.
    n_classes : int
        Number of classes.
    alpha : float, default=1.0
        Penalty alpha/2 |W|^2 beside the summed log loss, the intercept free; for two classes W
        is the one difference of weights, as in scikit-learn.
    seed : int, default=0
        Seed of the folds, which follow the content of the examples, not their order.
    groups : ndarray of shape (n_samples,), optional
        Group of each example; a group is never split between folds.

    Returns
    -------
    ndarray of shape (n_samples,)
        Predicted class codes; a class without a training example is never predicted.

    Examples
    --------
    >>> rows = StandardizedRows.of(np.array([[0.0], [1.0], [8.0], [9.0]]))
    >>> cold_fold_codes(rows, np.array([0, 0, 1, 1]), 2).tolist()
    [0, 0, 1, 1]
    """
    folds = stratified_folds(codes, N_FOLDS, seed, groups, content=row_content(rows))
    n_folds = int(folds.max()) + 1
    training = folds[:, None] != np.arange(n_folds)
    known = known_classes(codes, n_classes, training)
    design, penalty = fold_design(rows, alpha)
    weights = minimise_folds(
        design,
        codes,
        n_classes,
        training,
        fold_penalties(penalty, known),
        # The weaker the penalty, the slower the convergence.
        n_iterations=int(N_ITERATIONS * max(1.0, alpha**-0.25)),
    )
    predicted = np.empty(len(codes), dtype=np.intp)
    for fold in range(n_folds):
        held_out = folds == fold
        decisions = design[held_out] @ weights[:, fold]
        predicted[held_out] = np.where(known[fold], decisions, -np.inf).argmax(axis=1)
    return predicted


def choose_logistic_alpha(
    rows: StandardizedRows, codes: ClassCodes, n_classes: int, *, seed: int = 0
) -> float:
    """Return the alpha whose held-out log loss is the smallest, ties to the larger.

    The tried alphas are 10^k, k = -2, -1, ..., 3. All folds of all alphas are fitted side by
    side, each from zero. The loss decides, not the accuracy, which with few labels is the same for
    many alphas. Examples whose class no training fold holds are not judged; if none is left (one
    label per class), alpha is 1.

    Parameters
    ----------
    rows : StandardizedRows
        Features.
    codes : ndarray of shape (n_samples,)
        Class of each example.
    n_classes : int
        Number of classes.
    seed : int, default=0
        Seed of the five stratified folds, which follow the content of the examples, not their
        order.

    Returns
    -------
    float
        Alpha.

    Examples
    --------
    >>> rows = StandardizedRows.of(np.array([[0.0], [1.0], [8.0], [9.0]]))
    >>> choose_logistic_alpha(rows, np.array([0, 0, 1, 1]), 2)
    0.01
    """
    folds = stratified_folds(codes, N_FOLDS, seed, content=row_content(rows))
    training = folds[:, None] != np.arange(folds.max() + 1)
    is_known = _known_in_training(codes, folds, n_classes)
    if not is_known.any():
        return _WITHOUT_EVIDENCE
    n_folds, n_alphas = training.shape[1], len(LOGISTIC_ALPHAS)
    design, penalty = fold_design(rows, 1.0)
    penalties = fold_penalties(penalty, known_classes(codes, n_classes, training))
    weights = minimise_folds(
        design,
        codes,
        n_classes,
        np.tile(training, (1, n_alphas)),
        np.hstack([np.float32(alpha) * penalties for alpha in LOGISTIC_ALPHAS]),
        n_iterations=_N_ITERATIONS_OF_CHOICE,
    ).reshape(len(penalty), n_alphas, n_folds, n_classes)
    losses = np.zeros(n_alphas)
    for fold in range(n_folds):
        judged = is_known & (folds == fold)
        if judged.any():
            losses += _summed_losses(design[judged], codes[judged], weights[:, :, fold])
    best = np.flatnonzero(losses <= losses.min() * (1 + _TIE))[-1]
    return float(LOGISTIC_ALPHAS[best])


def _known_in_training(codes: ClassCodes, folds: ClassCodes, n_classes: int) -> NDArray[np.bool_]:
    """Return whether another fold than an example's own holds its class (n_samples,)."""
    counts = np.zeros((folds.max() + 1, n_classes), dtype=np.intp)
    np.add.at(counts, (folds, codes), 1)
    return np.asarray((counts.sum(axis=0) > counts)[folds, codes])


def _summed_losses(design: FloatMatrix, codes: ClassCodes, weights: FloatMatrix) -> FloatMatrix:
    """Return the log loss of each alpha, summed over the examples (n_alphas,)."""
    logits = np.tensordot(design.astype(np.float64), weights.astype(np.float64), axes=1)
    of_true = logits[np.arange(len(codes)), :, codes]
    return np.asarray((logsumexp(logits, axis=2) - of_true).sum(axis=0))


def fold_design(rows: StandardizedRows, alpha: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return float32 coordinates with a last column for the intercept, and their penalties.

    Fewer examples than columns are turned into their principal coordinates, which changes no
    decision and leaves fewer weights. With many examples per column, principal coordinates are
    divided by the root of their expected curvature, which makes the problem well conditioned; the
    penalty is divided with them.

    >>> fold_design(StandardizedRows.of(np.array([[0.0], [2.0]])), 3.0)[0]
    array([[-1.,  1.],
           [ 1.,  1.]], dtype=float32)
    """
    n_samples = len(rows)
    if n_samples < _ROWS_PER_COLUMN * rows.n_features:
        n_columns = min(n_samples, rows.n_features)
        design = np.ones((n_samples, n_columns + 1), dtype=np.float32)
        is_wide = n_samples < rows.n_features
        for block_rows, block in ridge_basis(rows).blocks() if is_wide else rows.blocks():
            design[block_rows, :-1] = block
        penalty = np.full(n_columns + 1, alpha, dtype=np.float32)
        penalty[-1] = 0
        return design, penalty
    basis = ridge_basis(rows)
    curvature = np.append(CURVATURE * basis.eigenvalues + alpha, CURVATURE * n_samples)
    unit = 1 / np.sqrt(curvature)
    design = np.full((n_samples, len(unit)), unit[-1], dtype=np.float32)
    for block_rows, block in basis.blocks():
        design[block_rows, :-1] = block * unit[:-1]
    penalty = alpha * np.square(unit)
    penalty[-1] = 0
    return design, penalty.astype(np.float32)


def known_classes(
    codes: ClassCodes, n_classes: int, training: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return whether a fold is trained on a class (n_folds, n_classes).

    >>> known_classes(np.array([0, 1]), 2, np.array([[True, True], [True, False]]))
    array([[ True,  True],
           [ True, False]])
    """
    counts = np.zeros((training.shape[1], n_classes), dtype=np.intp)
    np.add.at(counts.T, codes, training)
    return np.asarray(counts > 0)


def fold_penalties(penalty: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the penalties (n_columns, n_folds): doubled in a fold with two classes.

    For two classes W is one difference of weights. Each of two symmetric weight vectors is half of
    it: |w|^2 = 2 (|w/2|^2 + |w/2|^2).

    >>> fold_penalties(np.array([3.0]), np.array([[True, True, False], [True, True, True]]))
    array([[6., 3.]])
    """
    return np.asarray(
        penalty[:, None] * np.where(known.sum(axis=1) == 2, 2, 1).astype(penalty.dtype)
    )


def minimise_folds(
    design: NDArray[Any],
    codes: ClassCodes,
    n_classes: int,
    training: NDArray[np.bool_],
    penalty: NDArray[Any],
    *,
    n_iterations: int = N_ITERATIONS,
) -> NDArray[Any]:
    """Minimise the penalised multinomial loss of each fold by L-BFGS, all folds side by side.

    A fold that has converged is left alone. The results are checked fold by fold, and a fold that
    is not near its solution is solved by Newton's method; warning MT005 where that fails too.

    Parameters
    ----------
    design : ndarray of shape (n_samples, n_columns)
        Design matrix; its type is the type of the result, and of the arithmetic unless the problem
        is small. The last column is constant, for the intercept.
    codes : ndarray of shape (n_samples,)
        Class of each example.
    n_classes : int
        Number of classes.
    training : ndarray of shape (n_samples, n_folds)
        Whether a fold is trained on an example.
    penalty : ndarray of shape (n_columns,) or (n_columns, n_folds)
        Each column's weights w cost penalty/2 |w|^2, the same in all folds or one per fold; 0
        for the last.
    n_iterations : int, default=20
        Number of steps, each with one pass over the examples, after which being near the solution
        is enough; more in small problems, which cost little.

    Returns
    -------
    ndarray of shape (n_columns, n_folds, n_classes)
        Weights; those of a class that a fold is not trained on leave it probability 0.
    """
    n_folds, dtype = training.shape[1], design.dtype
    penalty = np.broadcast_to(penalty.reshape(len(penalty), -1), (len(penalty), n_folds))
    n_iterations = max(n_iterations, int(_AFFORDABLE_WORK / (design.size * n_folds * n_classes)))
    if n_iterations >= _MANY_ITERATIONS:
        design, penalty, n_iterations = (
            design.astype(np.float64),
            penalty.astype(np.float64),
            _MOST_ITERATIONS,
        )
    folds = _Folds(design, codes, training, penalty)
    known = known_classes(codes, n_classes, training)
    weights = np.zeros((design.shape[1], n_folds, n_classes), dtype=design.dtype)
    weights[-1][~known] = _NEVER / design[0, -1]
    search, converged = _Search.at(folds, weights), _CONVERGED[design.dtype.name]
    left, active = np.full(n_folds, np.inf), np.arange(n_folds)
    for iteration in range(_MOST_ITERATIONS):
        direction = search.direction()
        left[active] = search.decrease_left(direction)
        enough = converged if iteration < n_iterations else _NEAR
        done = search.is_stuck | (left[active] <= enough)
        if done.any():
            weights[:, active[done]] = search.weights[:, done]
            active, search = active[~done], search.some(~done)
        if not active.size:
            break
        search.move(direction[:, ~done])
    weights[:, active] = search.weights
    _solve_the_rest(folds, known, weights, np.flatnonzero(~(left <= _NEAR)))
    return weights.astype(dtype)


def _solve_the_rest(
    folds: "_Folds", known: NDArray[np.bool_], weights: NDArray[Any], rest: NDArray[np.intp]
) -> None:
    """Write the solutions of single folds over their weights."""
    n_unsolved = 0
    for fold in rest:
        used, classes = folds.training[:, fold], known[fold]
        codes = np.searchsorted(np.flatnonzero(classes), folds.codes[used])
        rows, penalty, start = (
            part.astype(np.float64)
            for part in (folds.design[used], folds.penalty[:, fold], weights[:, fold, classes])
        )
        solution = newton_weights(rows, codes, penalty, start)
        weights[:, fold, classes] = solution.weights
        n_unsolved += not solution.has_converged
    if n_unsolved:
        warn("MT005", f"{n_unsolved} of {len(known)} logistic folds did not converge.")


class _Folds(NamedTuple):
    """What is minimised: examples, and for each fold those it is trained on and its penalties."""

    design: NDArray[Any]
    codes: ClassCodes
    training: NDArray[np.bool_]
    penalty: NDArray[Any]

    def squares(self) -> NDArray[Any]:
        """Return the sum of squares of each column over the examples of each fold."""
        sums = np.zeros((self.design.shape[1], self.training.shape[1]), dtype=self.design.dtype)
        step = rows_per_block(self.design.shape[1])
        for start in range(0, len(self.design), step):
            rows = slice(start, start + step)
            sums += np.square(self.design[rows]).T @ self.training[rows].astype(sums.dtype)
        return sums

    def some(self, chosen: NDArray[Any]) -> "_Folds":
        """Return the chosen folds."""
        return self._replace(training=self.training[:, chosen], penalty=self.penalty[:, chosen])


@dataclass
class _Search:
    """The state of L-BFGS in each fold.

    Attributes
    ----------
    folds : _Folds
        The folds that are still moving.
    start, weights, gradient : ndarray of shape (n_columns, n_folds, n_classes)
        Weights at the start and now, and the gradient of the loss there.
    alone : ndarray of shape (n_columns, n_folds, n_classes)
        Inverse Hessian, roughly, if each column were alone, whatever its scale.
    loss : ndarray of shape (n_folds,)
        Penalised loss.
    unit : ndarray of shape (n_folds,)
        Inverse Hessian, as one number, before the pairs are counted.
    is_stuck : ndarray of shape (n_folds,)
        Whether no step made the loss smaller.
    pairs : list
        The last moves, changes of the gradient, and one over their products: 0 where a product is
        no more than rounding, so that the pair does not count in that fold.
    """

    folds: _Folds
    start: NDArray[Any]
    weights: NDArray[Any]
    gradient: NDArray[Any]
    alone: NDArray[Any]
    loss: NDArray[np.float64]
    unit: NDArray[np.float64]
    is_stuck: NDArray[np.bool_]
    pairs: list[Pair]

    @classmethod
    def at(cls, folds: _Folds, start: NDArray[Any]) -> "_Search":
        """Return a search that has not moved; its first step has length 1."""
        loss, gradient = _losses(*folds, start)
        squares = folds.squares()
        alone = _ratio(np.ones_like(squares), CURVATURE * squares + folds.penalty)
        alone = np.repeat(alone[:, :, None], start.shape[2], axis=2)
        unit = _ratio(np.ones_like(loss), np.sqrt(_dot(gradient, gradient)))
        is_stuck = np.zeros(len(loss), dtype=bool)
        return cls(folds, start, start.copy(), gradient, alone, loss, unit, is_stuck, [])

    def some(self, chosen: NDArray[np.bool_]) -> "_Search":
        """Return the search in the chosen folds."""
        return _Search(
            self.folds.some(chosen),
            self.start[:, chosen],
            self.weights[:, chosen],
            self.gradient[:, chosen],
            self.alone[:, chosen],
            self.loss[chosen],
            self.unit[chosen],
            self.is_stuck[chosen],
            [(moved[:, chosen], bent[:, chosen], c[chosen]) for moved, bent, c in self.pairs],
        )

    def direction(self) -> NDArray[Any]:
        """Return minus the L-BFGS estimate of (inverse Hessian) x gradient.

        The two-loop recursion (algorithm 7.4), all folds side by side.
        """
        result, factors = -self.gradient, []
        for moved, bent, inverse in reversed(self.pairs):
            factor = _dot(moved, result) * inverse
            factors.append(factor)
            result -= _scaled(factor, bent)
        # The Hessian before the pairs is the identity over s'y / y'y (equation 7.20).
        result = _scaled(self.unit, result)
        for (moved, bent, inverse), factor in zip(self.pairs, reversed(factors), strict=True):
            result += _scaled(factor - _dot(bent, result) * inverse, moved)
        return result

    def decrease_left(self, direction: NDArray[Any]) -> NDArray[np.float64]:
        """Return about how far the loss of each fold is above its minimum, as a share of it.

        L-BFGS underestimates it where columns that it has not moved are small beside the others, so
        moving single columns is considered too.
        """
        alone = _dot(self.gradient, self.alone * self.gradient)
        left = np.maximum(-_dot(self.gradient, direction), alone) / 2
        share = np.where(left > 0, np.inf, 0.0)
        return np.asarray(np.divide(left, self.loss, out=share, where=self.loss > 0))

    def move(self, direction: NDArray[Any]) -> None:
        """Take a step along the direction that makes the loss of each fold smaller, or none."""
        eps = np.finfo(direction.dtype).eps
        way = self.weights - self.start
        longest = _LONGEST_STEP * (1 + np.sqrt(_dot(way, way)))
        length = np.sqrt(_dot(direction, direction))
        step = longest / np.maximum(longest, length)
        slope = _dot(self.gradient, direction)
        # Below the resolution of the loss nothing can be decided, so the step is taken.
        slack = eps * (8 * self.loss + self.folds.training.sum(axis=0))
        moved = _scaled(step, direction)
        loss, gradient = _losses(*self.folds, self.weights + moved)
        # Armijo's condition (equation 3.4), halving the step only in the folds that miss it.
        for _ in range(_MAX_HALVINGS):
            rises = np.flatnonzero(~(loss <= self.loss + 1e-4 * step * slope + slack))
            if not rises.size:
                break
            step[rises] /= 2
            moved[:, rises] = _scaled(step[rises], direction[:, rises])
            tried = self.weights[:, rises] + moved[:, rises]
            loss[rises], gradient[:, rises] = _losses(*self.folds.some(rises), tried)
        self.is_stuck = ~(loss <= self.loss + slack)
        moved[:, self.is_stuck] = 0
        self._remember(moved, gradient - self.gradient)
        self.weights = self.weights + moved
        self.loss = np.where(self.is_stuck, self.loss, loss)
        self.gradient = np.where(self.is_stuck[:, None], self.gradient, gradient)

    def _remember(self, moved: NDArray[Any], bent: NDArray[Any]) -> None:
        """Keep a move where the gradient changed along it by more than its rounding."""
        curvature, bent_squared = _dot(moved, bent), _dot(bent, bent)
        rounding = np.finfo(moved.dtype).eps * np.sqrt(_dot(moved, moved) * bent_squared)
        # Only a pair of positive curvature keeps the estimate positive definite (equation 6.7).
        bends = curvature > 8 * rounding
        inverse = np.divide(1.0, curvature, out=np.zeros_like(curvature), where=bends)
        self.pairs = [*self.pairs[-_MEMORY + 1 :], (moved, bent, inverse)]
        self.unit = np.divide(curvature, bent_squared, out=self.unit.copy(), where=bends)


def _losses(
    design: NDArray[Any],
    codes: ClassCodes,
    training: NDArray[np.bool_],
    penalty: NDArray[Any],
    weights: NDArray[Any],
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Return the penalised loss of each fold (n_folds,) and its gradient, shaped as `weights`."""
    n_folds, n_classes = weights.shape[1:]
    penalised = penalty.reshape(len(penalty), -1, 1) * weights
    losses = _dot(weights, penalised) / 2
    flat = weights.reshape(len(weights), -1)
    gradient, ones = np.zeros_like(flat), np.ones(n_classes, dtype=flat.dtype)
    step = rows_per_block(n_folds * n_classes)
    for start in range(0, len(design), step):
        rows = slice(start, start + step)
        logits = (design[rows] @ flat).reshape(-1, n_folds, n_classes)
        # The largest logit is taken off, so that no exponential overflows.
        logits -= _largest(logits.reshape(-1, n_classes)).reshape(-1, n_folds, 1)
        each = np.arange(len(logits))
        of_true = logits[each, :, codes[rows]]
        np.exp(logits, out=logits)
        total = (logits.reshape(-1, n_classes) @ ones).reshape(-1, n_folds)  # a sum, but faster
        used = training[rows]
        losses += ((np.log(total) - of_true) * used).sum(axis=0, dtype=np.float64)
        logits *= (used / total).astype(design.dtype)[:, :, None]
        logits[each, :, codes[rows]] -= used
        gradient += design[rows].T @ logits.reshape(len(logits), -1)
    return losses, gradient.reshape(weights.shape) + penalised


def _largest(values: NDArray[Any]) -> NDArray[Any]:
    """Return the largest value of each row; short rows are read column by column, which is fast."""
    if values.shape[1] > _LONG_ROW:
        return np.asarray(values.max(axis=1))
    return np.asarray(np.ascontiguousarray(values.T).max(axis=0))


def _dot(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """Return the inner product of each fold."""
    products = (left * right).reshape(len(left), -1)
    sums = np.ones(len(left), dtype=left.dtype) @ products  # several times as fast as a sum
    return np.asarray(sums.reshape(left.shape[1:]).sum(axis=1, dtype=np.float64))


def _scaled(factors: NDArray[np.float64], arrays: NDArray[Any]) -> NDArray[Any]:
    """Return each fold's array times its factor, type unchanged."""
    each = np.repeat(factors.astype(arrays.dtype), arrays.shape[2])
    return np.asarray((arrays.reshape(len(arrays), -1) * each).reshape(arrays.shape))


def _ratio(numerator: NDArray[Any], positive: NDArray[Any]) -> NDArray[Any]:
    """Return numerator / positive, and 0 where that is 0."""
    result = np.zeros_like(numerator)
    return np.asarray(np.divide(numerator, positive, out=result, where=positive > 0))
