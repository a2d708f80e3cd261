"""Log loss of held-out halves: tells modules apart where few labels leave accuracies tied."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve
from scipy.special import logsumexp

from modtools._validation import FloatArray, check_integer
from modtools.outputs._folds import stratified_folds
from modtools.outputs._ridge import one_hot, ridge_basis
from modtools.tasks._labels import Labels
from modtools.transferability._estimate import Estimate
from modtools.transferability._held_out import (
    group_codes,
    present_codes,
    standardized,
    warn_about_lone_rows,
)
from modtools.transferability._inputs import check_rows

__all__ = ["half_split", "half_split_of_rows"]

# Logits are so many times the decision values, which aim at 0 and 1; larger values punish single
# rows, smaller ones leave all probabilities alike.
_SHARPNESS = 6.0
# With few labels a split says little, so there are more of them.
_FEWEST_SPLITS, _MOST_SPLITS, _ROWS_PER_CLASS = 4, 30, 300


def half_split_of_rows(
    features: FloatArray,
    labels: Labels,
    seed: int = 0,
    *,
    groups: NDArray[np.intp] | None = None,
) -> Estimate:
    """Held-out log loss of checked rows; see `half_split`."""
    rows = standardized(features, score="half_split")
    codes, n_classes = present_codes(labels)
    warn_about_lone_rows(codes, score="half_split")
    coordinates, targets = ridge_basis(rows).dense(), one_hot(codes, n_classes)
    n_splits = _n_splits(len(codes), n_classes)
    losses = np.zeros(len(codes))
    for split in range(n_splits):
        halves = stratified_folds(codes, 2, (seed, split), groups)
        for half in (halves == 0, halves == 1):
            losses[half] += _losses(coordinates, targets, ~half, half) / n_splits
    return Estimate(-float(losses.mean()), float(losses.std(ddof=1) / np.sqrt(len(losses))))


def half_split(
    features: ArrayLike, labels: ArrayLike, *, groups: Any = None, seed: int = 0
) -> float:
    """Minus the log loss of rows that are held out, half of them at a time.

    A ridge output module (one-hot targets, intercept) is fitted on one stratified half and predicts
    the other, with probabilities softmax(6 decision); both ways round, and again for 4 to 30 seeded
    splits, more of them the fewer rows a class has. The strength is the mean squared distance of
    the training rows from their centre (the trace of their kernel over the rows less one). Losses
    change with every row where accuracies of few rows are tied: below about 100 labels a class this
    tells modules apart better than any held-out accuracy. The standardisation uses all rows.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Output of a module; not changed.
    labels : array-like of shape (n_samples,)
        Classes.
    groups : array-like of shape (n_samples,), optional
        Group of each row, for copies or crops of one example: a group is never split.
    seed : int, default=0
        Seed of the splits.

    Returns
    -------
    float
        Nats a label, at most 0; higher is better. Guessing evenly among C classes is -log(C); sure
        and wrong predictions are worse than that.

    Raises
    ------
    ModtoolsError
        Features that are not finite, lengths that differ, fewer than two classes.

    Examples
    --------
    >>> labels = np.arange(40) % 2
    >>> half_split(labels[:, None] + 0.01 * np.sin(np.arange(40))[:, None], labels)
    -0.0...
    """
    matrix, encoded = check_rows(features, labels, score="half_split")
    seed = check_integer(seed, name="seed", minimum=0)
    return half_split_of_rows(matrix, encoded, seed, groups=group_codes(groups, len(matrix))).value


def _n_splits(n_samples: int, n_classes: int) -> int:
    """Return the number of splits: 30 up to 10 rows a class, 4 from 75 on.

    >>> [_n_splits(10 * per_class, 10) for per_class in (5, 20, 100)]
    [30, 15, 4]
    """
    wanted = round(_ROWS_PER_CLASS * n_classes / n_samples)
    return min(max(wanted, _FEWEST_SPLITS), _MOST_SPLITS)


def _losses(
    coordinates: NDArray[np.float64],
    targets: NDArray[np.float64],
    training: NDArray[np.bool_],
    held_out: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return the log loss of each held-out row under the machine of the training rows."""
    decisions = _SHARPNESS * _decisions(
        coordinates[training], targets[training], coordinates[held_out]
    )
    own = decisions[targets[held_out] == 1]
    return np.asarray(logsumexp(decisions, axis=1) - own)


def _decisions(
    rows: NDArray[np.float64], targets: NDArray[np.float64], others: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return decision values of a ridge machine, by the smaller of its two systems."""
    mean, level = rows.mean(axis=0), targets.mean(axis=0)
    centred = rows - mean
    strength = np.square(centred).sum() / max(len(rows) - 1, 1)
    if strength == 0:
        return np.tile(level, (len(others), 1))
    if len(rows) < rows.shape[1]:
        system, right = centred @ centred.T, targets - level
    else:
        system, right = centred.T @ centred, centred.T @ (targets - level)
    system[np.diag_indices_from(system)] += strength
    solution = solve(system, right, assume_a="pos", overwrite_a=True)
    weights = centred.T @ solution if len(rows) < rows.shape[1] else solution
    return np.asarray((others - mean) @ weights + level)
