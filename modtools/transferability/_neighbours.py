"""Leave-one-out accuracy of the nearest neighbours, without an n x n matrix."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modtools._validation import FloatArray, check_choice, check_integer, rows_per_block
from modtools.exceptions import ModtoolsError
from modtools.tasks._labels import Labels
from modtools.transferability._estimate import Estimate
from modtools.transferability._held_out import (
    accuracy_of,
    explained_variance,
    group_codes,
    present_codes,
    standardized,
    without_features,
)
from modtools.transferability._inputs import check_rows

__all__ = ["knn", "knn_of_rows", "nearest_rows"]

_BLOCK_ROWS = 1024
# Candidates beyond k that are compared again by exact differences.
_SPARE = 4
# Below this share of pairs nearer than the worst candidate, they are merged one by one.
_FEW_HITS = 0.02
_FLOAT32_SIZE = 10_000_000


def knn_of_rows(
    features: FloatArray,
    labels: Labels,
    seed: int = 0,
    *,
    k: int = 1,
    metric: str = "euclidean",
    standardize: bool = True,
    groups: NDArray[np.intp] | None = None,
) -> Estimate:
    """Nearest neighbours of checked rows; see `knn`. Nothing is random, `seed` is not used."""
    rows = standardized(features, score="knn", rescale=standardize)
    if rows.n_varying == 0:
        return without_features(labels)
    if metric == "cosine" and not standardize:
        # Angles, unlike distances, depend on the origin, which stays where it is.
        rows = replace(rows, mean=np.zeros_like(rows.mean))
    points = rows.dense(np.float32 if features.size >= _FLOAT32_SIZE else np.float64)
    if metric == "cosine":
        norms = np.linalg.norm(points, axis=1, keepdims=True)
        points /= np.where(norms > 0, norms, 1)
    neighbours, distances = nearest_rows(points, k, groups)
    if labels.kind == "regression":
        targets = labels.target_matrix()
        return Estimate(explained_variance(targets[neighbours].mean(axis=1), targets))
    codes, n_classes = present_codes(labels)
    return accuracy_of(_vote(codes[neighbours], distances, n_classes), codes)


def knn(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    k: int = 1,
    metric: str = "euclidean",
    standardize: bool = True,
    groups: Any = None,
) -> float:
    """Leave-one-out accuracy of the k nearest neighbours.

    A row is never its own neighbour, also when exact copies of it exist. Rows at equal distance
    count in the order in which they come; equal votes count for the class whose neighbours are
    nearer in the mean, then for the first class.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Output of a module; not changed.
    labels : array-like of shape (n_samples,) or (n_samples, n_targets)
        Classes, or real targets.
    k : int, default=1
        Number of neighbours that vote.
    metric : {"euclidean", "cosine"}, default="euclidean"
        How distances are measured, after the standardisation.
    standardize : bool, default=True
        Whether columns are divided by their standard deviation.
    groups : array-like of shape (n_samples,), optional
        Group of each row, for copies or crops of one example: rows of one group are never
        neighbours.

    Returns
    -------
    float
        Accuracy in [0, 1]; higher is better. For real targets R^2 of the neighbours' mean, at most
        1: 0 is as good as the mean of all other rows, and noise is about -1/k.

    Raises
    ------
    ModtoolsError
        Features that are not finite, lengths that differ, fewer than two classes, or fewer than k
        possible neighbours.

    References
    ----------
    Cover & Hart, "Nearest neighbor pattern classification", IEEE TIT 1967.

    Examples
    --------
    >>> knn([[0.0], [1.0], [3.0], [4.0]], [0, 0, 1, 1])
    1.0
    """
    matrix, encoded = check_rows(
        features, labels, kinds=("classification", "regression"), score="knn"
    )
    check_choice(metric, ["euclidean", "cosine"], name="metric")
    left_out = group_codes(groups, len(matrix))
    largest = 1 if left_out is None else int(np.bincount(left_out).max())
    if check_integer(k, name="k") > len(matrix) - largest:
        raise ModtoolsError(
            f"k must leave k other rows for each row; got k={k} with {len(matrix)} rows"
            f"{'' if left_out is None else f' and a group of {largest}'}."
        )
    return knn_of_rows(
        matrix, encoded, k=k, metric=metric, standardize=standardize, groups=left_out
    ).value


def nearest_rows(
    points: FloatArray, k: int, groups: NDArray[np.intp] | None = None
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the k nearest other rows of each row and their squared distances.

    Blocks of pairs are visited once for both directions and a running list of candidates is kept;
    the candidates are then compared by exact differences.

    Parameters
    ----------
    points : ndarray of shape (n_samples, n_features)
        Centred rows.
    k : int
        Number of neighbours, fewer than rows.
    groups : ndarray of shape (n_samples,), optional
        Rows of one group are not neighbours.

    Returns
    -------
    neighbours, distances : ndarray of shape (n_samples, k)
        Nearest first, ties to the lower row number.

    Examples
    --------
    >>> nearest_rows(np.array([[0.0], [1.0], [5.0]]), 1)[0].ravel().tolist()
    [1, 0, 1]
    """
    groups = np.arange(len(points)) if groups is None else groups
    candidates = _Candidates(len(points), min(k + _SPARE, len(points) - 1), points.dtype)
    squares = np.einsum("ij,ij->i", points, points)
    blocks = [slice(start, start + _BLOCK_ROWS) for start in range(0, len(points), _BLOCK_ROWS)]
    for first, rows in enumerate(blocks):
        doubled = -2 * points[rows]
        for columns in blocks[first:]:
            distances = doubled @ points[columns].T
            distances += squares[rows, None]
            distances += squares[columns]
            if columns is rows or len(groups) > groups.max() + 1:
                distances[groups[rows, None] == groups[columns]] = np.inf
            candidates.update(rows, columns, distances)
            if columns is not rows:
                candidates.update(columns, rows, distances.T)
    return _nearest_first(points, candidates, k, groups)


class _Candidates:
    """The nearest rows seen so far, for each row, in no particular order."""

    def __init__(self, n_rows: int, n_kept: int, dtype: Any) -> None:
        # A free place holds the row itself, which is never a neighbour.
        self.rows = np.repeat(np.arange(n_rows)[:, None], n_kept, axis=1)
        self.distances = np.full((n_rows, n_kept), np.inf, dtype=dtype)

    def update(self, rows: slice, columns: slice, distances: FloatArray) -> None:
        """Take the nearest of the known candidates and the rows `columns`."""
        near = distances < self.distances[rows].max(axis=1, keepdims=True)
        hits = np.flatnonzero(near.ravel(order="K"))
        if len(hits) > _FEW_HITS * near.size:
            self._update_all(rows, columns, np.ascontiguousarray(distances))
        elif len(hits):
            # Positions in memory: row by row, or column by column for a transposed block.
            own, other = np.divmod(hits, near.shape[1])
            if not near.flags.c_contiguous:
                other, own = np.divmod(hits, near.shape[0])
            names = other + columns.start
            self._update_hits(own + rows.start, names, distances[own, other])

    def _update_all(self, rows: slice, columns: slice, distances: FloatArray) -> None:
        n_kept = self.rows.shape[1]
        found = np.argpartition(distances, min(n_kept, distances.shape[1]) - 1, axis=1)[:, :n_kept]
        near = np.take_along_axis(distances, found, axis=1)
        pool = np.concatenate([self.distances[rows], near], axis=1)
        names = np.concatenate([self.rows[rows], found + columns.start], axis=1)
        best = np.argpartition(pool, n_kept - 1, axis=1)[:, :n_kept]
        self.distances[rows] = np.take_along_axis(pool, best, axis=1)
        self.rows[rows] = np.take_along_axis(names, best, axis=1)

    def _update_hits(
        self, own: NDArray[np.intp], names: NDArray[np.intp], distances: FloatArray
    ) -> None:
        """Merge single pairs (own row, other row, distance) into the candidates of their rows."""
        n_kept = self.rows.shape[1]
        changed, place = np.unique(own, return_inverse=True)
        place = np.concatenate([np.repeat(np.arange(len(changed)), n_kept), place])
        names = np.concatenate([self.rows[changed].ravel(), names])
        distances = np.concatenate([self.distances[changed].ravel(), distances])
        order = np.lexsort((distances, place))
        start = np.searchsorted(place[order], np.arange(len(changed)))
        best = order[start[:, None] + np.arange(n_kept)]
        self.distances[changed], self.rows[changed] = distances[best], names[best]


def _nearest_first(
    points: FloatArray, candidates: _Candidates, k: int, groups: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the k best candidates of each row by exact differences, ties to the lower row."""
    neighbours = np.empty((len(points), k), dtype=np.intp)
    nearest = np.empty((len(points), k))
    step = rows_per_block(points.shape[1] * candidates.rows.shape[1], 8)
    for start in range(0, len(points), step):
        rows = slice(start, start + step)
        found = candidates.rows[rows]
        differences = points[found].astype(np.float64) - points[rows, None]
        distances = np.einsum("ijk,ijk->ij", differences, differences)
        distances[groups[found] == groups[rows, None]] = np.inf
        order = np.lexsort((found, distances), axis=1)[:, :k]
        neighbours[rows] = np.take_along_axis(found, order, axis=1)
        nearest[rows] = np.take_along_axis(distances, order, axis=1)
    return neighbours, nearest


def _vote(
    codes: NDArray[np.intp], squared_distances: NDArray[np.float64], n_classes: int
) -> NDArray[np.intp]:
    """Return the class with most of the k votes; ties to the nearer neighbours, then the first."""
    if codes.shape[1] == 1:
        return codes[:, 0]
    votes = codes[:, :, None] == np.arange(n_classes)
    counts = votes.sum(axis=1)
    away = (votes * np.sqrt(squared_distances)[:, :, None]).sum(axis=1)
    tied = counts == counts.max(axis=1, keepdims=True)
    return np.asarray(np.where(tied, away, np.inf).argmin(axis=1))
