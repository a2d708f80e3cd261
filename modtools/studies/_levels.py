"""With how many labels a curve reaches a level: monotone curves, read backwards."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modtools._intervals import percentile_interval
from modtools._types import FloatMatrix
from modtools.retraining import labels_at

__all__ = ["factors", "reach"]


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
