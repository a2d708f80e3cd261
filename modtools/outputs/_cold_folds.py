"""Multinomial logistic regression on all cross-validation folds at once, each from a cold start.

A fold that starts from a fit that saw its rows remembers their labels; here every fold starts from
zero. What the folds share is free of labels: the standardised rows and their scatter.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from modtools._validation import rows_per_block
from modtools.outputs._base import ClassCodes
from modtools.outputs._content import row_content
from modtools.outputs._folds import stratified_folds
from modtools.outputs._ridge import ridge_basis
from modtools.outputs._standardize import StandardizedRows

__all__ = ["N_FOLDS", "cold_fold_codes", "fold_design", "minimise_folds"]

N_FOLDS = 5
# Iterations after which the held-out accuracy no longer moves (tests compare with converged fits).
N_ITERATIONS = 20
_MEMORY = 10
_MAX_HALVINGS = 20
Pair: TypeAlias = tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]
# With this many rows a column, the curvature of the loss is near a multiple of the scatter.
_ROWS_PER_COLUMN = 5
# Mean of p (1 - p) in a typical fit; Boehning's bound, 1/2, is far too cautious.
_CURVATURE = 0.05


def cold_fold_codes(
    rows: StandardizedRows,
    codes: ClassCodes,
    n_classes: int,
    *,
    strength: float = 1.0,
    seed: int = 0,
    groups: ClassCodes | None = None,
) -> ClassCodes:
    """Return the class predicted for each row by a fit on the folds that do not hold it.

    Parameters
    ----------
    rows : StandardizedRows
        Features.
    codes : ndarray of shape (n_samples,)
        Class of each row.
    n_classes : int
        Number of classes.
    strength : float, default=1.0
        Penalty strength/2 |W|^2 beside the summed log loss, the intercept free; for two classes W
        is the one difference of weights, as in scikit-learn.
    seed : int, default=0
        Seed of the folds, which follow the content of the rows, not their order.
    groups : ndarray of shape (n_samples,), optional
        Group of each row; a group is never split between folds.

    Returns
    -------
    ndarray of shape (n_samples,)
        Predicted class codes; a class without training rows is never predicted.

    Examples
    --------
    >>> rows = StandardizedRows.of(np.array([[0.0], [1.0], [8.0], [9.0]]))
    >>> cold_fold_codes(rows, np.array([0, 0, 1, 1]), 2).tolist()
    [0, 0, 1, 1]
    """
    folds = stratified_folds(codes, N_FOLDS, seed, groups, content=row_content(rows))
    n_folds = int(folds.max()) + 1
    # Each of two symmetric weight vectors is half the difference: |w|^2 = 2 (|w/2|^2 + |w/2|^2).
    design, penalty = fold_design(rows, strength * (2 if n_classes == 2 else 1))
    training = folds[:, None] != np.arange(n_folds)
    weights = minimise_folds(design, codes, n_classes, training, penalty)
    predicted = np.empty(len(codes), dtype=np.intp)
    for fold in range(n_folds):
        known = np.bincount(codes[training[:, fold]], minlength=n_classes) > 0
        held_out = folds == fold
        decisions = design[held_out] @ weights[:, fold]
        predicted[held_out] = np.where(known, decisions, -np.inf).argmax(axis=1)
    return predicted


def fold_design(rows: StandardizedRows, strength: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return float32 coordinates with a last column for the intercept, and their penalties.

    Fewer rows than columns are turned into their principal coordinates, which changes no decision
    and leaves fewer weights. With many rows a column, principal coordinates are divided by the root
    of their expected curvature, which makes the problem nearly round; the penalty is divided with
    them.

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
        penalty = np.full(n_columns + 1, strength, dtype=np.float32)
        penalty[-1] = 0
        return design, penalty
    basis = ridge_basis(rows)
    curvature = np.append(_CURVATURE * basis.eigenvalues + strength, _CURVATURE * n_samples)
    unit = 1 / np.sqrt(curvature)
    design = np.full((n_samples, len(unit)), unit[-1], dtype=np.float32)
    for block_rows, block in basis.blocks():
        design[block_rows, :-1] = block * unit[:-1]
    penalty = strength * np.square(unit)
    penalty[-1] = 0
    return design, penalty.astype(np.float32)


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

    Parameters
    ----------
    design : ndarray of shape (n_samples, n_columns)
        Rows; their type is the type of the arithmetic.
    codes : ndarray of shape (n_samples,)
        Class of each row.
    n_classes : int
        Number of classes.
    training : ndarray of shape (n_samples, n_folds)
        Whether a fold is trained on a row.
    penalty : ndarray of shape (n_columns,) or (n_columns, n_folds)
        Each column's weights w cost penalty/2 |w|^2, in all folds alike or in each its own.
    n_iterations : int, default=20
        Number of steps, each with one pass over the rows.

    Returns
    -------
    ndarray of shape (n_columns, n_folds, n_classes)
        Weights.
    """

    def objective(weights: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        return _losses(design, codes, training, penalty, weights)

    weights = np.zeros((design.shape[1], training.shape[1], n_classes), dtype=design.dtype)
    loss, gradient = objective(weights)
    history: list[Pair] = []
    for _ in range(n_iterations):
        direction = -_inverse_hessian_times(gradient, history)
        slope = _dot(gradient, direction)
        step = 1 / np.maximum(np.sqrt(-slope), 1e-30) if not history else np.ones_like(loss)
        # Below the resolution of the loss nothing can be decided, so the step is taken.
        slack = 8 * np.finfo(design.dtype).eps * np.abs(loss)
        for _ in range(_MAX_HALVINGS):
            moved = step[:, None].astype(design.dtype) * direction
            new_loss, new_gradient = objective(weights + moved)
            falls = new_loss <= loss + 1e-4 * step * slope + slack
            if falls.all():
                break
            step = np.where(falls, step, step / 2)
        bent = new_gradient - gradient
        history = [*history[-_MEMORY + 1 :], (moved, bent, _dot(moved, bent))]
        weights, loss, gradient = weights + moved, new_loss, new_gradient
    return weights


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
    gradient = np.zeros_like(flat)
    step = rows_per_block(n_folds * n_classes)
    for start in range(0, len(design), step):
        rows = slice(start, start + step)
        logits = (design[rows] @ flat).reshape(-1, n_folds, n_classes)
        logits -= logits.max(axis=2, keepdims=True)
        each = np.arange(len(logits))
        own = logits[each, :, codes[rows]]
        np.exp(logits, out=logits)
        total = logits.sum(axis=2)
        used = training[rows]
        losses += ((np.log(total) - own) * used).sum(axis=0, dtype=np.float64)
        logits *= (used / total).astype(design.dtype)[:, :, None]
        logits[each, :, codes[rows]] -= used
        gradient += design[rows].T @ logits.reshape(len(logits), -1)
    return losses, gradient.reshape(weights.shape) + penalised


def _inverse_hessian_times(gradient: NDArray[Any], history: list[Pair]) -> NDArray[Any]:
    """Return the L-BFGS estimate of (inverse Hessian) x gradient, for each fold on its own."""
    result, factors = gradient, []
    for moved, bent, curvature in reversed(history):
        factor = _ratio(_dot(moved, result), curvature)
        factors.append(factor)
        result = result - _scaled(factor, bent)
    if history:
        _, bent, curvature = history[-1]
        result = _scaled(_ratio(curvature, _dot(bent, bent)), result)
    for (moved, bent, curvature), factor in zip(history, reversed(factors), strict=True):
        result = result + _scaled(factor - _ratio(_dot(bent, result), curvature), moved)
    return result


def _dot(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """Return the inner product of each fold."""
    return np.asarray((left * right).sum(axis=(0, 2), dtype=np.float64))


def _scaled(factors: NDArray[np.float64], arrays: NDArray[Any]) -> NDArray[Any]:
    """Return each fold's array times its factor, type unchanged."""
    return np.asarray(factors.astype(arrays.dtype)[:, None] * arrays)


def _ratio(numerator: NDArray[np.float64], positive: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return numerator / positive, and 0 for a fold that no longer moves."""
    return np.divide(numerator, positive, out=np.zeros_like(numerator), where=positive > 0)
