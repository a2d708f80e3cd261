"""Functions shared by the scores that evaluate held-out predictions."""

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
    "warn_about_singletons",
    "without_features",
]

_SAME = 1e-10  # decisions that differ by less, relative to their size, count as equal


def present_codes(labels: Labels) -> tuple[NDArray[np.intp], int]:
    """Return codes that number only the classes with examples, and the number of these classes.

    >>> labels = Labels("classification", np.array(["a", "b", "c"]), codes=np.array([2, 0]))
    >>> present_codes(labels)
    (array([1, 0]), 2)
    """
    present, codes = np.unique(np.asarray(labels.codes), return_inverse=True)
    return codes.astype(np.intp), len(present)


def standardized(features: Any, *, score: str, rescale: bool = True) -> StandardizedRows:
    """Return features standardised with all examples; warn (MT001) if no column varies."""
    rows = StandardizedRows.of(features, rescale=rescale)
    if rows.n_varying == 0:
        warn("MT001", f"features carry no variation: {score} only reflects the class frequencies.")
    return rows


def warn_about_singletons(codes: NDArray[np.intp], *, score: str) -> None:
    """Warn (MT006) of singleton classes, whose only example is an error in every split."""
    n_singletons = int(np.count_nonzero(np.bincount(codes) == 1))
    if n_singletons:
        noun = "class has" if n_singletons == 1 else "classes have"
        warn("MT006", f"{n_singletons} {noun} one example, which {score} counts as an error.")


def without_features(labels: Labels) -> Estimate:
    """Return the leave-one-out score of the majority class, or of the mean for regression.

    >>> without_features(Labels("classification", np.arange(2), codes=np.array([0, 0, 0, 1])))
    Estimate(value=0.75, standard_error=0.2165...)
    """
    if labels.kind == "regression":
        return Estimate(0.0)
    codes, n_classes = present_codes(labels)
    others = np.bincount(codes) - np.eye(n_classes, dtype=np.intp)
    return accuracy_of(others.argmax(axis=1)[codes], codes)


def accuracy_of(predicted: NDArray[np.intp], codes: NDArray[np.intp]) -> Estimate:
    """Return the fraction of correct predictions with its binomial standard error.

    >>> accuracy_of(np.array([0, 1, 1, 1]), np.array([0, 1, 1, 0]))
    Estimate(value=0.75, standard_error=0.2165...)
    """
    return share_of(predicted == codes)


def right_shares(decisions: NDArray[np.float64], codes: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return how correct each decision is: 1, 0, or 1 / m if m classes tie with the true one.

    Decisions that are equal to within rounding tie; otherwise the order of the examples would
    matter.

    >>> right_shares(np.array([[1.0, 1.0], [2.0, 0.0]]), np.array([0, 1]))
    array([0.5, 0. ])
    """
    size = np.abs(np.where(np.isfinite(decisions), decisions, 0.0)).max(axis=1, keepdims=True)
    winners = decisions >= decisions.max(axis=1, keepdims=True) - _SAME * size
    return np.asarray(winners[np.arange(len(codes)), codes] / winners.sum(axis=1))


def share_of(right: NDArray[Any]) -> Estimate:
    """Return the mean correctness of the examples (n_samples,) with its binomial standard error.

    >>> share_of(np.array([1.0, 0.5, 1.0, 0.5]))
    Estimate(value=0.75, standard_error=0.2165...)
    """
    share = float(np.mean(right))
    return Estimate(share, float(np.sqrt(share * (1 - share) / len(right))))


def explained_variance(predicted: NDArray[Any], targets: NDArray[Any]) -> float:
    """Return held-out R^2, the mean over target columns that vary.

    The baseline is the leave-one-out mean of a column: 0 is as good as no features at all, and
    worse predictions are negative.

    >>> explained_variance(np.array([[1.0], [0.5], [0.0]]), np.array([[0.0], [0.5], [1.0]]))
    -0.777...
    """
    n_samples = len(targets)
    centred = targets - targets.mean(axis=0)
    baseline = np.square(centred).sum(axis=0) * (n_samples / (n_samples - 1)) ** 2
    varies = np.ptp(targets, axis=0) > 0
    errors = np.square(targets - predicted).sum(axis=0)
    return float(np.mean(1 - errors[varies] / baseline[varies]))
