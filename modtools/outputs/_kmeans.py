"""k-means that stays fast with many rows: its starts are compared on a sample of them."""

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning

from modtools._types import ClassCodes, FloatArray

__all__ = ["kmeans"]

_N_STARTS = 10
# The best of ten starts is as good when found on this many rows, and all rows refine it.
_MOST_ROWS_OF_STARTS = 10_000
# With more clusters, small batches of rows move the centres, as in the code of TypiClust.
_MOST_EXACT_CLUSTERS = 50
_N_BATCH_STARTS = 3


def kmeans(rows: FloatArray, n_clusters: int, *, seed: int = 0) -> tuple[FloatArray, ClassCodes]:
    """Return the centres of k-means and the cluster of each row.

    Up to 50 clusters, the best of ten starts; with more than 10,000 rows the starts are run on as
    many of them, drawn at random, and the best one is continued with all rows. Beyond 50 clusters,
    the best of three starts of mini-batch k-means.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
        Rows whose squares stay in the range of their type, which is that of the arithmetic; not
        changed.
    n_clusters : int
        Number of clusters, at most the number of rows.
    seed : int, default=0
        Seed of the sample and of the starts.

    Returns
    -------
    centres : ndarray of shape (n_clusters, n_features)
        Fewer are distinct where fewer rows are.
    clusters : ndarray of shape (n_samples,)
        Position of the nearest centre.

    Examples
    --------
    >>> centres, clusters = kmeans(np.array([[0.0], [1.0], [9.0], [10.0]]), 2)
    >>> np.sort(centres, axis=0).ravel().tolist()
    [0.5, 9.5]
    >>> np.flatnonzero(clusters == clusters[0]).tolist()
    [0, 1]
    """
    with warnings.catch_warnings():
        # Fewer distinct rows than clusters: the centres coincide, which callers allow for.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = _fit(rows, n_clusters, seed)
    return np.asarray(fitted.cluster_centers_), np.asarray(fitted.labels_, dtype=np.intp)


def _fit(rows: FloatArray, n_clusters: int, seed: int) -> KMeans | MiniBatchKMeans:
    if n_clusters > _MOST_EXACT_CLUSTERS:
        return MiniBatchKMeans(n_clusters, n_init=_N_BATCH_STARTS, random_state=seed).fit(rows)
    starts = KMeans(n_clusters, n_init=_N_STARTS, random_state=seed)
    if len(rows) <= _MOST_ROWS_OF_STARTS:
        return starts.fit(rows)
    sample: NDArray[np.intp] = np.random.default_rng(seed).permutation(len(rows))
    centres = starts.fit(rows[np.sort(sample[:_MOST_ROWS_OF_STARTS])]).cluster_centers_
    return KMeans(n_clusters, init=centres, n_init=1, random_state=seed).fit(rows)
