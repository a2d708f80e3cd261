"""How near examples are to class means, and to the mean of their own class without them."""

import numpy as np

from modtools._types import ClassCodes, FloatMatrix

__all__ = ["METRICS", "mean_decisions", "own_decisions_without", "unit_rows"]

METRICS = ("euclidean", "cosine")


def unit_rows(rows: FloatMatrix) -> FloatMatrix:
    """Return the rows divided by their lengths; a row of zeros stays.

    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0)[:, None])


def mean_decisions(block: FloatMatrix, means: FloatMatrix, metric: str) -> FloatMatrix:
    """Return minus the squared distance, or the cosine, of each example to each mean.

    Parameters
    ----------
    block : ndarray of shape (n_samples, n_features)
        Standardised examples.
    means : ndarray of shape (n_means, n_features)
        Means of standardised examples.
    metric : {"euclidean", "cosine"}
        An example of zeros has cosine 0 to everything.

    Returns
    -------
    ndarray of shape (n_samples, n_means)
        Decisions; the largest is that of the nearest mean.

    Examples
    --------
    >>> mean_decisions(np.array([[1.0, 0.0]]), np.array([[3.0, 0.0], [0.0, 1.0]]), "cosine")
    array([[1., 0.]])
    """
    if metric == "cosine":
        return np.asarray(unit_rows(block) @ unit_rows(means).T)
    squares = np.einsum("ij,ij->i", block, block)[:, None] + np.square(means).sum(axis=1)
    return np.asarray(-np.maximum(squares - 2 * block @ means.T, 0.0))


def own_decisions_without(
    block: FloatMatrix, sums: FloatMatrix, counts: ClassCodes, metric: str
) -> FloatMatrix:
    """Return the decision of each example for its own class, whose mean is computed without it.

    Parameters
    ----------
    block : ndarray of shape (n_samples, n_features)
        Standardised examples.
    sums : ndarray of shape (n_samples, n_features)
        Sum of all examples of each example's class, itself included.
    counts : ndarray of shape (n_samples,)
        Number of these examples.
    metric : {"euclidean", "cosine"}
        As in `mean_decisions`.

    Returns
    -------
    ndarray of shape (n_samples,)
        Decisions; minus infinity for a singleton class.

    Examples
    --------
    >>> own_decisions_without(np.array([[2.0]]), np.array([[3.0]]), np.array([2]), "euclidean")
    array([-1.])
    """
    left = sums - block
    if metric == "cosine":
        away = np.einsum("ij,ij->i", unit_rows(left), unit_rows(block))
    else:
        away = -np.square(left / np.maximum(counts - 1, 1)[:, None] - block).sum(axis=1)
    return np.asarray(np.where(counts > 1, away, -np.inf))
