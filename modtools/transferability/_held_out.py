"""What the scores that judge held-out predictions share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modtools.exceptions import warn
from modtools.outputs import StandardizedRows
from modtools.tasks import Labels
from modtools.transferability._registry import Estimate

__all__ = [
    "accuracy_of",
    "explained_variance",
    "present_codes",
    "right_shares",
    "share_of",
    "standardized",
    "warn_about_lone_rows",
    "without_features",
]

_SAME = 1e-10  # decisions nearer to each other than this share of their size are equal


def present_codes(labels: Labels) -> tuple[NDArray[np.intp], int]:
    """Return codes that count only the classes with rows, and their number.

    >>> labels = Labels("classification", np.array(["a", "b", "c"]), codes=np.array([2, 0]))
    >>> present_codes(labels)
    (array([1, 0]), 2)
    """
    present, codes = np.unique(np.asarray(labels.codes), return_inverse=True)
    return codes.astype(np.intp), len(present)


def standardized(features: Any, *, score: str, rescale: bool = True) -> StandardizedRows:
    """Return the rows standardised with all rows; warn when no column varies."""
    rows = StandardizedRows.of(features, rescale=rescale)
    if rows.n_varying == 0:
        warn("MT001", f"features carry no variation: {score} only reflects the class frequencies.")
    return rows


def warn_about_lone_rows(codes: NDArray[np.intp], *, score: str) -> None:
    """Warn when folds must count rows as errors because nothing else is of their class."""
    alone = int(np.count_nonzero(np.bincount(codes) == 1))
    if alone:
        noun = "class has" if alone == 1 else "classes have"
        warn("MT006", f"{alone} {noun} one row, which {score} counts as an error.")


def without_features(labels: Labels) -> Estimate:
    """Return what the other rows' labels alone predict: their largest class, or their mean.

    >>> without_features(Labels("classification", np.arange(2), codes=np.array([0, 0, 0, 1])))
    Estimate(value=0.75, standard_error=0.2165...)
    """
    if labels.kind == "regression":
        return Estimate(0.0)
    codes, n_classes = present_codes(labels)
    others = np.bincount(codes) - np.eye(n_classes, dtype=np.intp)
    return accuracy_of(others.argmax(axis=1)[codes], codes)


def accuracy_of(predicted: NDArray[np.intp], codes: NDArray[np.intp]) -> Estimate:
    """Return the share of right predictions with its binomial standard error.

    >>> accuracy_of(np.array([0, 1, 1, 1]), np.array([0, 1, 1, 0]))
    Estimate(value=0.75, standard_error=0.2165...)
    """
    return share_of(predicted == codes)


def right_shares(decisions: NDArray[np.float64], codes: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return 1 where the decision of a row's class is the largest, a share where others tie, and 0.

    Equal to within rounding is equal: else the order of the rows would decide.

    >>> right_shares(np.array([[1.0, 1.0], [2.0, 0.0]]), np.array([0, 1]))
    array([0.5, 0. ])
    """
    size = np.abs(np.where(np.isfinite(decisions), decisions, 0.0)).max(axis=1, keepdims=True)
    winners = decisions >= decisions.max(axis=1, keepdims=True) - _SAME * size
    return np.asarray(winners[np.arange(len(codes)), codes] / winners.sum(axis=1))


def share_of(right: NDArray[Any]) -> Estimate:
    """Return the mean of what is right of each row (n_samples,) with its binomial standard error.

    >>> share_of(np.array([1.0, 0.5, 1.0, 0.5]))
    Estimate(value=0.75, standard_error=0.2165...)
    """
    share = float(np.mean(right))
    return Estimate(share, float(np.sqrt(share * (1 - share) / len(right))))


def explained_variance(predicted: NDArray[Any], targets: NDArray[Any]) -> float:
    """Return held-out R^2, the mean over target columns that vary.

    The yardstick is the leave-one-out mean of a column: 0 is as good as no features at all, and bad
    predictions are negative.

    >>> explained_variance(np.array([[1.0], [0.5], [0.0]]), np.array([[0.0], [0.5], [1.0]]))
    -0.777...
    """
    n_samples = len(targets)
    centred = targets - targets.mean(axis=0)
    yardstick = np.square(centred).sum(axis=0) * (n_samples / (n_samples - 1)) ** 2
    varies = np.ptp(targets, axis=0) > 0
    errors = np.square(targets - predicted).sum(axis=0)
    return float(np.mean(1 - errors[varies] / yardstick[varies]))
