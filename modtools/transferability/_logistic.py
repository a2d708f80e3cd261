"""Cheap estimate of the held-out accuracy of the logistic output module."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modtools._checks import check_integer, check_positive
from modtools._types import FloatArray
from modtools.outputs import cold_fold_codes
from modtools.tasks import Labels
from modtools.transferability._estimate import Estimate
from modtools.transferability._held_out import (
    accuracy_of,
    group_codes,
    present_codes,
    standardized,
    warn_about_lone_rows,
)
from modtools.transferability._inputs import check_rows

__all__ = ["logistic", "logistic_of_rows"]


def logistic_of_rows(
    features: FloatArray,
    labels: Labels,
    seed: int = 0,
    *,
    strength: float = 1.0,
    groups: NDArray[np.intp] | None = None,
) -> Estimate:
    """Cross-validated logistic accuracy of checked rows; see `logistic`."""
    rows = standardized(features, score="logistic")
    codes, n_classes = present_codes(labels)
    warn_about_lone_rows(codes, score="logistic")
    held_out = cold_fold_codes(rows, codes, n_classes, strength=strength, seed=seed, groups=groups)
    return accuracy_of(held_out, codes)


def logistic(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    strength: float = 1.0,
    groups: Any = None,
    seed: int = 0,
) -> float:
    """Estimate of the held-out accuracy of the logistic output module, `LogisticOutput`.

    Five stratified folds are fitted side by side on features standardised once with all rows, each
    from a cold start; no fold ever starts from a fit that saw its rows, which would leak their
    labels. Few rows and weights are fitted to the end, others for 20 iterations, or more until the
    loss is within about a hundredth of its minimum. A row that is alone in its class is wrong, with
    warning MT006; a fold that does not converge is told by MT005.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Output of a module; not changed.
    labels : array-like of shape (n_samples,)
        Classes.
    strength : float, default=1.0
        Penalty strength/2 |W|^2 beside the summed log loss (scikit-learn's 1/C).
    groups : array-like of shape (n_samples,), optional
        Group of each row, for copies or crops of one example: a group is never split between folds.
    seed : int, default=0
        Seed of the folds, which follow the content of the rows: the order in which they come and
        the names of classes and groups change nothing.

    Returns
    -------
    float
        Accuracy in [0, 1]; higher is better. Within about half a percentage point of converged
        cold folds at the same strength.

    Raises
    ------
    ModtoolsError
        Features that are not finite, lengths that differ, fewer than two classes.

    Examples
    --------
    >>> logistic([[0.0], [1.0], [8.0], [9.0]], [0, 0, 1, 1])
    1.0
    """
    matrix, encoded = check_rows(features, labels, score="logistic")
    seed = check_integer(seed, name="seed", minimum=0)
    strength = check_positive(strength, name="strength")
    units = group_codes(groups, len(matrix))
    return logistic_of_rows(matrix, encoded, seed, strength=strength, groups=units).value
