"""Log loss of held-out halves: tells modules apart where few labels leave accuracies tied."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modtools._checks import check_integer
from modtools._types import FloatArray
from modtools.outputs import HeldOutJudge, refitted_decisions, row_content
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

# `select_modules` judges sums of kernels alike, but in 3 to 20 divisions and at one strength: it
# tries many sums, and one inverse then serves all divisions. A score judges a module once, so it
# affords more of them, and a strength that follows each training half.
_FEWEST_SPLITS, _MOST_SPLITS = 4, 30


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
    judge = HeldOutJudge(
        codes,
        n_classes,
        seed,
        fewest=_FEWEST_SPLITS,
        most=_MOST_SPLITS,
        groups=groups,
        content=row_content(rows),
    )
    losses = judge.log_losses(refitted_decisions(rows, codes, n_classes, judge.divisions(2)))
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
