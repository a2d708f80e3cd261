"""How near rows are to means, in either metric, and what a row's own mean is without the row."""

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
    """Return minus the squared distance, or the cosine, of each row to each mean.

    Parameters
    ----------
    block : ndarray of shape (n_samples, n_features)
        Standardised rows.
    means : ndarray of shape (n_means, n_features)
        Means of standardised rows.
    metric : {"euclidean", "cosine"}
        A row of zeros has cosine 0 to everything.

    Returns
    -------
    ndarray of shape (n_samples, n_means)
        The largest is the nearest.

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
    """Return the decision of each row for its own class, whose mean is computed without the row.

    Parameters
    ----------
    block : ndarray of shape (n_samples, n_features)
        Standardised rows.
    sums : ndarray of shape (n_samples, n_features)
        Sum of all rows of each row's class, the row included.
    counts : ndarray of shape (n_samples,)
        Number of these rows.
    metric : {"euclidean", "cosine"}
        As in `mean_decisions`.

    Returns
    -------
    ndarray of shape (n_samples,)
        Decisions; minus infinity for a row that is alone in its class.

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
