"""Which labelled examples an output module gets right when they are held out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modtools.outputs import (
    N_FOLDS,
    StandardizedRows,
    cold_fold_codes,
    one_hot,
    ridge_basis,
    ridge_leave_one_out,
)
from modtools.tasks import Labels

__all__ = ["LEARNING_RATE", "held_out_rates"]

# The error of an output module falls about as a power of its labels (median over tasks).
LEARNING_RATE = 0.2


def held_out_rates(
    features: NDArray[Any], labels: Labels, *, seed: int, groups: NDArray[np.intp] | None = None
) -> NDArray[np.float64]:
    """Return how right held-out predictions of each example are, by each of two output modules.

    One is logistic, in five folds, its errors scaled by the labels that a fold lacks; the other is
    ridge with one example left out. The first reads a little high where classes are balanced in
    every fold by design, the second low where leaving one out unbalances few labels. A singleton
    class counts as a guess: while its example is held out the class is unknown.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features)
        Finite features.
    labels : Labels
        Classes.
    seed : int
        Seed of the folds.
    groups : ndarray of shape (n_samples,), optional
        Group of each example; a group is held out as a whole.

    Returns
    -------
    ndarray of shape (2, n_samples)
        Between 0 and 1, logistic first; their mean estimates the accuracy of a retrained output
        module, and their disagreement how far that may be off beside chance.

    Examples
    --------
    >>> from modtools.tasks import encode_labels
    >>> labels = encode_labels(np.repeat([0, 1], 5))
    >>> held_out_rates(np.arange(10.0)[:, None] ** 3, labels, seed=0).mean() > 0.5
    np.True_
    """
    present, codes = np.unique(np.asarray(labels.codes), return_inverse=True)
    rows = StandardizedRows.of(features)
    folds = cold_fold_codes(rows, codes, len(present), seed=seed, groups=groups)
    lacking = (1 - 1 / N_FOLDS) ** LEARNING_RATE
    logistic = 1 - lacking * (folds != codes)
    targets = one_hot(codes, len(present))
    left_out = ridge_leave_one_out(ridge_basis(rows), targets, groups=groups)
    ridge = left_out.decisions.argmax(axis=1) == codes
    rates = np.stack([logistic, ridge])
    rates[:, np.bincount(codes)[codes] == 1] = 1 / len(present)
    return rates
