"""Rows to label from the shape of the pool: the middle of each cluster, or balls that cover it."""

import warnings
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestNeighbors

from modtools._validation import rows_per_block

__all__ = ["choose_cover", "choose_typical"]

_LARGEST_CLUSTERING: Final = 500
_EXACT_CLUSTERS: Final = 50  # beyond, k-means reads small batches, as in the paper's code
_SMALLEST_CLUSTER: Final = 6
_NEIGHBOURS: Final = 20
_PURITY: Final = 0.95


def _cluster(rows: NDArray[np.float64], n: int, seed: int) -> NDArray[np.intp]:
    """Return the k-means cluster of each row; fewer than n where fewer rows differ."""
    n_clusters = min(n, _LARGEST_CLUSTERING, len(rows))
    kind = KMeans if n_clusters <= _EXACT_CLUSTERS else MiniBatchKMeans
    n_init = 10 if n_clusters <= _EXACT_CLUSTERS else 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different rows than clusters
        fitted = kind(n_clusters, n_init=n_init, random_state=seed).fit(rows)
    return np.asarray(fitted.labels_, dtype=np.intp)


def choose_typical(rows: NDArray[np.float64], n: int, seed: int) -> NDArray[np.intp]:
    """Return the most typical row of each cluster: large clusters first, then again where needed.

    Typicality is 1 / (mean distance to the nearest neighbours in the cluster). Clusters of at most
    five rows are visited only when the others are used up.

    >>> rows = np.r_[np.arange(7.0), 50 + np.arange(8.0)][:, None]
    >>> [int(rows[row, 0]) // 50 for row in choose_typical(rows, 2, seed=0)]
    [1, 0]
    """
    clusters = _cluster(rows, n, seed)
    sizes = np.bincount(clusters)
    queues = [_by_typicality(rows, np.flatnonzero(clusters == c)) for c in range(len(sizes))]
    # Every row has a turn: first rows of clusters, by size, then second ones, small ones last.
    turns = np.concatenate([np.arange(len(queue)) for queue in queues])
    owners = np.concatenate([np.full(len(queue), c) for c, queue in enumerate(queues)])
    order = np.lexsort((owners, -sizes[owners], turns, sizes[owners] < _SMALLEST_CLUSTER))
    return np.asarray(np.concatenate(queues)[order[:n]], dtype=np.intp)


def _by_typicality(rows: NDArray[np.float64], members: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the rows of a cluster, the most typical first, ties to the lowest row."""
    n_neighbours = min(_NEIGHBOURS, len(members) // 2)
    if n_neighbours == 0:
        return members
    own = rows[members]
    distances = NearestNeighbors(n_neighbors=n_neighbours).fit(own).kneighbors()[0]
    return np.asarray(members[np.argsort(distances.mean(axis=1), kind="stable")])


def choose_cover(rows: NDArray[np.float64], n: int, seed: int) -> NDArray[np.intp]:
    """Return rows whose balls cover the most rows, one after the other; then the farthest ones.

    >>> rows = np.r_[np.arange(5.0), 50 + np.arange(7.0)][:, None]
    >>> choose_cover(rows, 2, seed=0).tolist()
    [5, 0]
    """
    # One cluster alone would set no limit to the balls.
    near = _graph(rows, _cluster(rows, max(n, 2), seed))
    degrees = np.array([len(neighbours) for neighbours in near])
    is_covered, is_free = np.zeros(len(rows), dtype=bool), np.ones(len(rows), dtype=bool)
    nearest = np.full(len(rows), np.inf)
    chosen = np.empty(n, dtype=np.intp)
    for position in range(n):
        gains = degrees if (degrees[is_free] > 0).any() else nearest
        pick = int(np.where(is_free, gains, -np.inf).argmax())
        chosen[position], is_free[pick] = pick, False
        nearest = np.minimum(nearest, np.square(rows - rows[pick]).sum(axis=1))
        fresh = near[pick][~is_covered[near[pick]]]
        is_covered[fresh] = True
        for row in fresh:  # balls are symmetric: who covers this row gains it no more
            degrees[near[row]] -= 1
    return chosen


def _graph(rows: NDArray[np.float64], clusters: NDArray[np.intp]) -> list[NDArray[Any]]:
    """Return the rows in the ball of each row, at the radius at which 95 % of balls are pure.

    A ball is pure below the distance to the nearest row of another cluster, so the radius is a
    quantile of these distances and needs no search.
    """
    foreign = np.concatenate(
        [
            np.where(clusters[part, None] == clusters, np.inf, distances).min(axis=1)
            for part, distances in _distances(rows)
        ]
    )
    allowed = int((1 - _PURITY) * len(rows))  # this many balls may be impure
    radius = float(np.sort(foreign)[allowed])
    return [
        np.flatnonzero(row).astype(np.int32)
        for _, distances in _distances(rows)
        for row in (distances < radius)
    ]


def _distances(rows: NDArray[np.float64]) -> Any:
    """Yield (slice, squared distances to all rows), block by block; a row is at 0 from itself."""
    squares = np.einsum("ij,ij->i", rows, rows)
    step = rows_per_block(len(rows), 8)
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        distances = squares[part, None] + squares - 2 * rows[part] @ rows.T
        np.maximum(distances, 0, out=distances)
        distances[np.arange(len(distances)), start + np.arange(len(distances))] = -1.0
        yield part, distances
