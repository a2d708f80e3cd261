"""Which examples to label from where they lie: typical ones of clusters, or covering balls."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from modtools._types import FloatArray
from modtools.outputs import kmeans
from modtools.retraining._distances import SquaredDistances

__all__ = ["choose_cover", "choose_typical"]

_MOST_CLUSTERS: Final = 500
_SMALLEST_CLUSTER: Final = 6
_NEIGHBOURS: Final = 20
_PURITY: Final = 0.95
_MOST_JUDGED_BALLS: Final = 5000


def _cluster(rows: FloatArray, n: int, seed: int) -> NDArray[np.intp]:
    """Return the k-means cluster of each example; fewer than n where fewer examples differ."""
    return kmeans(rows, min(n, _MOST_CLUSTERS, len(rows)), seed=seed)[1]


def choose_typical(rows: FloatArray, n: int, seed: int) -> NDArray[np.intp]:
    """Return the most typical example of each cluster: large ones first, then again where needed.

    Typicality is 1 / (mean distance to the nearest neighbours in the cluster). Clusters of at most
    five examples are visited only when the others are used up.

    >>> rows = np.r_[np.arange(7.0), 50 + np.arange(8.0)][:, None]
    >>> [int(rows[row, 0]) // 50 for row in choose_typical(rows, 2, seed=0)]
    [1, 0]
    """
    clusters = _cluster(rows, n, seed)
    sizes = np.bincount(clusters)
    queues = [_by_typicality(rows, np.flatnonzero(clusters == c)) for c in range(len(sizes))]
    # Every example has a turn: first the first ones, by size of cluster; small clusters last.
    turns = np.concatenate([np.arange(len(queue)) for queue in queues])
    owners = np.concatenate([np.full(len(queue), c) for c, queue in enumerate(queues)])
    order = np.lexsort((owners, -sizes[owners], turns, sizes[owners] < _SMALLEST_CLUSTER))
    return np.asarray(np.concatenate(queues)[order[:n]], dtype=np.intp)


def _by_typicality(rows: FloatArray, members: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the examples of a cluster, the most typical first, ties to the lowest number."""
    n_neighbours = min(_NEIGHBOURS, len(members) // 2)
    if n_neighbours == 0:
        return members
    own = rows[members]
    distances = NearestNeighbors(n_neighbors=n_neighbours).fit(own).kneighbors()[0]
    return np.asarray(members[np.argsort(distances.mean(axis=1), kind="stable")])


def choose_cover(rows: FloatArray, n: int, seed: int) -> NDArray[np.intp]:
    """Return examples whose balls cover the most others, one after the other; then the farthest.

    What a ball would add is counted once for all examples, and subtracted around each example that
    becomes covered. No graph is kept: distances are computed again where they are needed, which is
    once per example.

    >>> rows = np.r_[np.arange(5.0), 50 + np.arange(7.0)][:, None]
    >>> choose_cover(rows, 2, seed=0).tolist()
    [5, 0]
    """
    distances = SquaredDistances(rows)
    # One cluster alone would set no limit to the balls.
    radius = _squared_radius(distances, _cluster(rows, max(n, 2), seed), seed)
    gains = _ball_sizes(distances, radius)
    is_covered, is_free = np.zeros(len(rows), dtype=bool), np.ones(len(rows), dtype=bool)
    nearest = np.full(len(rows), np.inf)
    chosen = np.empty(n, dtype=np.intp)
    for position in range(n):
        wanted = nearest if is_covered.all() else gains
        pick = int(np.where(is_free, wanted, -np.inf).argmax())
        chosen[position], is_free[pick] = pick, False
        away = distances.to_row(pick)
        np.minimum(nearest, away, out=nearest)
        away[pick] = -np.inf  # whatever the radius, an example lies in its own ball
        fresh = np.flatnonzero((away < radius) & ~is_covered)
        is_covered[fresh] = True
        gains[fresh] -= 1
        for _, columns, tile in distances.tiles(fresh):
            gains[columns] -= np.count_nonzero(tile < radius, axis=0)
    return chosen


def _ball_sizes(distances: SquaredDistances, radius: float) -> NDArray[np.intp]:
    """Return how many examples lie in the ball of each example, itself included."""
    sizes = np.ones(len(distances), dtype=np.intp)
    for rows, _, tile in distances.tiles(np.arange(len(distances))):
        sizes[rows] += np.count_nonzero(tile < radius, axis=1)
    return sizes


def _squared_radius(distances: SquaredDistances, clusters: NDArray[np.intp], seed: int) -> float:
    """Return the largest squared radius at which 95 % of the balls lie within one cluster.

    A ball is pure below the distance to the nearest example of another cluster, so the radius is a
    quantile of these distances and needs no search; 5000 examples estimate it.
    """
    judged = np.arange(len(clusters))
    if len(judged) > _MOST_JUDGED_BALLS:
        judged = np.random.default_rng(seed).permutation(judged)[:_MOST_JUDGED_BALLS]
    foreign = np.full(len(judged), np.inf)
    for place, columns, tile in distances.tiles(judged):
        tile[clusters[judged[place], None] == clusters[columns]] = np.inf
        np.minimum(foreign[place], tile.min(axis=1), out=foreign[place])
    allowed = int((1 - _PURITY) * len(judged))  # this many balls may be impure
    # Distances are rounded, each time differently: what equals the radius must lie outside.
    rounding = 16 * np.finfo(distances.squares.dtype).eps * distances.squares.max()
    return float(np.partition(foreign, allowed)[allowed] - rounding)
