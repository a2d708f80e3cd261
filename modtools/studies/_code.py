"""Areas over label counts: mean accuracy over their logarithm, and what learning costs in nats."""

import numpy as np
from numpy.typing import NDArray

from modtools._types import FloatMatrix

__all__ = ["description_length", "mean_area"]


def mean_area(curves: FloatMatrix, counts: NDArray[np.intp]) -> FloatMatrix:
    """Return the mean of curves (..., n_counts) over the logarithm of the label count.

    >>> float(mean_area(np.array([0.2, 0.4, 0.4]), np.array([1, 10, 100])).round(12))
    0.35
    """
    logs = np.log(counts)
    return np.asarray(_trapezoids(curves, logs) / float(logs[-1] - logs[0]))


def _trapezoids(curves: FloatMatrix, places: FloatMatrix) -> FloatMatrix:
    heights = (curves[..., 1:] + curves[..., :-1]) / 2
    return np.asarray((heights * np.diff(places)).sum(axis=-1))


def description_length(
    losses: FloatMatrix, counts: NDArray[np.intp], eps: float, uniform: float
) -> FloatMatrix:
    """Return the nats that the labels cost beyond `eps` each: trapezoids between label counts.

    Parameters
    ----------
    losses : ndarray of shape (..., n_counts)
        Test loss in nats at each label count.
    counts : ndarray of shape (n_counts,)
        Rising label counts.
    eps : float
        Loss that costs nothing; 0 gives the whole description length.
    uniform : float
        Loss of guessing, which the labels before the first count are charged.

    Examples
    --------
    >>> float(description_length(np.array([2.0, 1.0]), np.array([2, 4]), 0.5, 3.0))
    7.0
    """
    surplus = np.maximum(losses - eps, 0.0)
    first = counts[0] * max(uniform - eps, 0.0)
    return np.asarray(first + _trapezoids(surplus, counts.astype(np.float64)))
