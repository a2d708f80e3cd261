"""With how many labels a curve reaches a level: one meaning for curves, forecasts and studies."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

from modtools._types import FloatMatrix

__all__ = ["LabelsToReach", "first_reaching", "labels_at", "rising"]

_ROUNDING = 1e-12  # the mean of subsets that are all .95 may lie below .95 by as little


class LabelsToReach(NamedTuple):
    """With how many labels an accuracy is reached: of curves, forecasts and studies alike.

    Attributes
    ----------
    n_labels : float
        Labels in all; the label count that is the bound where the accuracy is not reached.
    n_labels_low, n_labels_high : float
        Interval of the labels; an end beyond the label counts is infinite, or in a study 0. It
        holds `n_labels`, or lies beyond where more are needed.
    status : {"reached", "more_than", "below_first"}
        Whether `n_labels` reach it, more than `n_labels` are needed, or `n_labels`, the smallest
        label count, suffice and fewer may.
    """

    n_labels: float
    n_labels_low: float
    n_labels_high: float
    status: Literal["reached", "more_than", "below_first"]

    @classmethod
    def of(cls, found: float, low: float, high: float, counts: ArrayLike) -> "LabelsToReach":
        """Return what `labels_at` found as an answer: 0 and infinity are a status.

        Parameters
        ----------
        found : float
            Labels; 0 where the smallest count suffices already, infinite where the largest does
            not.
        low, high : float
            Interval of the labels.
        counts : array-like of shape (n_counts,)
            Rising label counts.

        Examples
        --------
        >>> LabelsToReach.of(np.inf, 80.0, np.inf, [10, 100])
        LabelsToReach(n_labels=100.0, n_labels_low=80.0, n_labels_high=inf, status='more_than')
        >>> LabelsToReach.of(0, 0.0, 0.0, [10, 100])[:3]
        (10.0, 0.0, 10.0)
        """
        first, last = map(float, np.atleast_1d(counts)[[0, -1]])
        if np.isinf(found):
            return cls(last, float(low), np.inf, "more_than")
        n_labels = first if found == 0 else float(found)
        # So many suffice, whatever they were of which the interval is.
        ends = min(float(low), n_labels), max(float(high), n_labels)
        return cls(n_labels, *ends, "below_first" if found == 0 else "reached")


def rising(curves: FloatMatrix) -> FloatMatrix:
    """Return the nearest curves (..., n_counts) that never fall, by isotonic regression.

    >>> rising(np.array([[0.1, 0.5, 0.3, 0.9]])).tolist()
    [[0.1, 0.4, 0.4, 0.9]]
    """
    flat = curves.reshape(-1, curves.shape[-1])
    return np.array([isotonic_regression(curve).x for curve in flat]).reshape(curves.shape)


def labels_at(
    curves: FloatMatrix,
    levels: FloatMatrix,
    counts: NDArray[np.intp] | FloatMatrix,
    *,
    tolerance: float = _ROUNDING,
) -> FloatMatrix:
    """Return where each curve reaches its level: linear in the logarithm of the label count.

    Parameters
    ----------
    curves : ndarray of shape (n_curves, n_counts)
        Curves that never fall.
    levels : ndarray of shape (n_curves,)
        One level per curve.
    counts : ndarray of shape (n_counts,)
        Rising label counts.
    tolerance : float, optional
        By how much a curve that reaches its level may lie below it.

    Returns
    -------
    ndarray of shape (n_curves,)
        Label counts; 0 where the smallest lies above the level already, infinity where the largest
        does not reach it.

    Examples
    --------
    >>> curves = np.array([[0.2, 0.4]] * 4)
    >>> labels_at(curves, np.array([0.1, 0.2, 0.3, 0.5]), np.array([1, 100])).round(9).tolist()
    [0.0, 1.0, 10.0, inf]
    """
    is_above = curves[:, 0] > levels + tolerance
    levels = levels - tolerance
    places = np.count_nonzero(curves < levels[:, None], axis=1)
    inside = np.clip(places, 1, max(len(counts) - 1, 1))
    at = np.arange(len(curves))
    low, high = curves[at, inside - 1], curves[at, np.minimum(inside, len(counts) - 1)]
    step = np.where(high > low, high - low, 1.0)
    is_there = np.abs(high - levels) <= 2 * tolerance  # at a count, which is then the answer
    logs = np.log(counts)
    width = logs[np.minimum(inside, len(counts) - 1)] - logs[inside - 1]
    share = np.clip((levels - low) / step, 0.0, 1.0)
    found = np.exp(logs[inside - 1] + share * width)
    found = np.where(is_there, counts[np.minimum(inside, len(counts) - 1)], found)
    found = np.where(places == 0, np.where(is_above, 0.0, counts[0]), found)
    return np.where(places == len(counts), np.inf, found)


def first_reaching(n_labels: ArrayLike, accuracy: ArrayLike, wanted: float) -> float:
    """Return the number of labels from which a curve stays at an accuracy, or infinity.

    The curve is made monotone first.

    Parameters
    ----------
    n_labels : array-like of shape (n_counts,)
        Rising label counts.
    accuracy : array-like of shape (n_counts,)
        Accuracy at each.
    wanted : float
        The accuracy asked for.

    Returns
    -------
    float
        Labels, rounded up to a whole number; the smallest count where it suffices already.

    Examples
    --------
    >>> first_reaching([10, 40], [0.6, 0.8], 0.7)
    20.0
    """
    counts = np.asarray(n_labels, dtype=float)
    curve = rising(np.asarray(accuracy, dtype=float))
    found = labels_at(curve[None], np.array([wanted]), counts)[0]
    return float(np.ceil(max(found, counts[0]) - 1e-9))
