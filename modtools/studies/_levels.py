"""With how many labels a curve reaches a level: monotone curves, read backwards."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from modtools._intervals import percentile_interval
from modtools._types import FloatMatrix

__all__ = ["factors", "labels_at", "reach", "rising"]

_ROUNDING = 1e-12  # the mean of draws that are all .95 may lie below .95 by as little


def rising(curves: FloatMatrix) -> FloatMatrix:
    """Return the nearest curves (..., n_counts) that never fall, by isotonic regression.

    >>> rising(np.array([[0.1, 0.5, 0.3, 0.9]])).tolist()
    [[0.1, 0.4, 0.4, 0.9]]
    """
    flat = curves.reshape(-1, curves.shape[-1])
    return np.array([isotonic_regression(curve).x for curve in flat]).reshape(curves.shape)


def labels_at(curves: FloatMatrix, levels: FloatMatrix, counts: NDArray[np.intp]) -> FloatMatrix:
    """Return where each curve reaches its level: linear in the logarithm of the label count.

    Parameters
    ----------
    curves : ndarray of shape (n_curves, n_counts)
        Curves that never fall.
    levels : ndarray of shape (n_curves,)
        One level a curve.
    counts : ndarray of shape (n_counts,)
        Rising label counts.

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
    is_above = curves[:, 0] > levels + _ROUNDING
    levels = levels - _ROUNDING
    places = np.count_nonzero(curves < levels[:, None], axis=1)
    inside = np.clip(places, 1, max(len(counts) - 1, 1))
    at = np.arange(len(curves))
    low, high = curves[at, inside - 1], curves[at, np.minimum(inside, len(counts) - 1)]
    step = np.where(high > low, high - low, 1.0)
    logs = np.log(counts)
    width = logs[np.minimum(inside, len(counts) - 1)] - logs[inside - 1]
    share = np.clip((levels - low) / step, 0.0, 1.0)
    found = np.exp(logs[inside - 1] + share * width)
    found = np.where(places == 0, np.where(is_above, 0.0, counts[0]), found)
    return np.where(places == len(counts), np.inf, found)


def reach(
    curve: FloatMatrix, resampled: FloatMatrix, level: float, counts: NDArray[np.intp]
) -> dict[str, Any]:
    """Return label count, 95 % interval and censoring of one level.

    Parameters
    ----------
    curve : ndarray of shape (n_counts,)
        A curve that never falls.
    resampled : ndarray of shape (n_resamples, n_counts)
        The same of every resample.
    level : float
        What is to be reached.
    counts : ndarray of shape (n_counts,)
        Rising label counts.

    Returns
    -------
    dict
        n_labels, low, high, censored.
    """
    found = float(labels_at(curve[None], np.array([level]), counts)[0])
    low, high = percentile_interval(labels_at(resampled, np.full(len(resampled), level), counts))
    censored = "below" if found == 0 else "above" if np.isinf(found) else ""
    bound = {"below": float(counts[0]), "above": float(counts[-1])}.get(censored, found)
    return {"n_labels": bound, "low": float(low), "high": float(high), "censored": censored}


def factors(
    ours: tuple[FloatMatrix, FloatMatrix],
    theirs: tuple[FloatMatrix, FloatMatrix],
    counts: NDArray[np.intp],
) -> dict[str, Any]:
    """Return how many labels of a baseline each label count is worth.

    Parameters
    ----------
    ours, theirs : tuple of ndarray
        Monotone mean curve (n_counts,) and resampled curves (n_resamples, n_counts) of the method
        and of the baseline; resamples are paired.
    counts : ndarray of shape (n_counts,)
        Rising label counts.

    Returns
    -------
    dict of str to ndarray
        n_labels, accuracy, equivalent, factor, factor_low, factor_high, saved, censored.
    """
    (curve, resampled), (other, others) = ours, theirs
    repeated = np.broadcast_to(other, (len(counts), len(counts)))
    found = labels_at(repeated, curve, counts)
    censored = np.where(found == 0, "below", np.where(np.isinf(found), "above", ""))
    equivalent = np.clip(found, counts[0], counts[-1])
    ratios = [
        labels_at(others, level, counts) / n for level, n in zip(resampled.T, counts, strict=True)
    ]
    low, high = percentile_interval(np.array(ratios).T)
    return {
        "n_labels": counts,
        "accuracy": curve,
        "equivalent": equivalent,
        "factor": equivalent / counts,
        "factor_low": low,
        "factor_high": high,
        "saved": 1 - counts / equivalent,
        "censored": censored,
    }
