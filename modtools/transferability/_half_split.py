"""Log loss of held-out halves: tells modules apart where few labels leave accuracies tied."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve
from scipy.linalg.blas import dsyrk
from scipy.special import logsumexp

from modtools._checks import check_integer
from modtools._types import ClassCodes, FloatArray, FloatMatrix
from modtools.outputs import (
    StandardizedRows,
    mirrored,
    one_hot,
    row_content,
    row_products,
    stratified_folds,
)
from modtools.tasks import Labels
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
# Equal rows, less their mean, leave no more than this of their size.
_RESOLUTION = 100 * float(np.finfo(float).eps)
Half: TypeAlias = NDArray[np.bool_]


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
    content, n_splits = row_content(rows), _n_splits(len(codes), n_classes)
    splits = [
        stratified_folds(codes, 2, (seed, split), groups, content=content) == 1
        for split in range(n_splits)
    ]
    losses_of_splits = _through_kernel if len(rows) < rows.n_features else _through_scatters
    losses = losses_of_splits(rows, codes, n_classes, splits) / n_splits
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
        Seed of the splits, which follow the content of the rows: the order in which they come and
        the names of classes and groups change nothing.

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


def _through_kernel(
    rows: StandardizedRows, codes: ClassCodes, n_classes: int, splits: list[Half]
) -> FloatMatrix:
    """Return the summed losses of each row (n_samples,), from the products of all rows."""
    kernel, losses = mirrored(row_products(rows)), np.zeros(len(rows))
    for split in splits:
        for training in (split, ~split):
            targets, level = _centred_targets(codes[training], n_classes)
            own = kernel[np.ix_(training, training)]
            towards = own.mean(axis=0)
            resolution = _RESOLUTION * float(np.trace(own))
            own += towards.mean() - towards - towards[:, None]
            solution = _solve(own, targets, len(targets), resolution)
            # The solution sums to 0, so what is common to a row's products drops out.
            others = kernel[np.ix_(~training, training)] - towards
            losses[~training] += _log_losses(others @ solution + level, codes[~training])
    return losses


def _through_scatters(
    rows: StandardizedRows, codes: ClassCodes, n_classes: int, splits: list[Half]
) -> FloatMatrix:
    """Return the summed losses of each row (n_samples,), from two scatters a split."""
    losses = np.zeros(len(rows))
    for split, means in zip(splits, _means_of_halves(rows, splits), strict=True):
        machines = [
            _machine(rows, codes, n_classes, half, mean)
            for half, mean in zip((~split, split), means, strict=True)
        ]
        for own, block in rows.blocks():
            for side, held_out in enumerate((split[own], ~split[own])):
                weights, level = machines[side]
                decisions = (block[held_out] - means[side]) @ weights + level
                losses[own][held_out] += _log_losses(decisions, codes[own][held_out])
    return losses


def _means_of_halves(rows: StandardizedRows, splits: list[Half]) -> FloatMatrix:
    """Return the mean of either half of each split (n_splits, 2, n_features), in one pass."""
    sums = np.zeros((2 * len(splits), rows.n_features))
    for own, block in rows.blocks():
        halves = [half for split in splits for half in (~split[own], split[own])]
        sums += np.array(halves, dtype=np.float64) @ block
    counts = [np.count_nonzero(half) for split in splits for half in (~split, split)]
    return (sums / np.array(counts)[:, None]).reshape(len(splits), 2, -1)


def _machine(
    rows: StandardizedRows, codes: ClassCodes, n_classes: int, half: Half, mean: FloatMatrix
) -> tuple[FloatMatrix, FloatMatrix]:
    """Return weights (n_features, n_classes) and level of the ridge machine of half of the rows."""
    targets, level = _centred_targets(codes[half], n_classes)
    scatter = np.zeros((rows.n_features, rows.n_features), order="F")
    cross, square, start = np.zeros((rows.n_features, n_classes)), 0.0, 0
    for own, block in rows.blocks():
        part = block[half[own]]
        square += float(np.vdot(part, part))
        part -= mean
        scatter = dsyrk(1.0, part.T, beta=1.0, c=scatter, overwrite_c=1)
        cross += part.T @ targets[start : start + len(part)]
        start += len(part)
    resolution = _RESOLUTION**2 * square
    return _solve(scatter, cross, len(targets), resolution), level


def _centred_targets(codes: ClassCodes, n_classes: int) -> tuple[FloatMatrix, FloatMatrix]:
    """Return one-hot targets about their mean, and that mean."""
    targets = one_hot(codes, n_classes)
    level = targets.mean(axis=0)
    targets -= level
    return targets, level


def _solve(system: FloatMatrix, right: FloatMatrix, n_rows: int, resolution: float) -> FloatMatrix:
    """Return the solution at the strength of the trace; 0 where the trace is rounding."""
    trace = float(np.trace(system))
    if trace <= resolution:
        return np.zeros_like(right)
    system[np.diag_indices_from(system)] += trace / max(n_rows - 1, 1)
    return np.asarray(solve(system, right, assume_a="pos", overwrite_a=True))


def _log_losses(decisions: FloatMatrix, codes: ClassCodes) -> FloatMatrix:
    """Return the log loss of each row."""
    logits = _SHARPNESS * decisions
    return np.asarray(logsumexp(logits, axis=1) - logits[np.arange(len(codes)), codes])
