"""Scores of pairs of examples, without an n x n matrix: nearest neighbours, and PARC."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modtools._checks import check_choice, check_integer, rows_per_block
from modtools._types import FloatArray, FloatMatrix
from modtools.exceptions import ModtoolsError, warn
from modtools.outputs import StandardizedRows
from modtools.tasks import Labels
from modtools.transferability._declare import register_score
from modtools.transferability._held_out import (
    explained_variance,
    present_codes,
    share_of,
    standardized,
    without_features,
)
from modtools.transferability._registry import Estimate

__all__ = ["knn", "nearest_rows", "parc"]

# Nearest neighbours -----------------------------------------------------------------------------

_BLOCK_ROWS = 1024
# Candidates beyond k that are compared again by exact differences.
_SPARE = 4
# Below this share of pairs nearer than the worst candidate, they are merged one by one.
_FEW_HITS = 0.02
_FLOAT32_SIZE = 10_000_000
# Distances nearer to each other than so many units of their rounding are equal; and sums of votes.
_ROUNDING_UNITS, _SAME = 32, 1e-9


@register_score(
    needs="features",
    kinds=("classification", "regression"),
    passes="all pairs",
    is_accuracy=True,
    range="[0, 1], leave-one-out accuracy; R2 <= 1 for regression",
    reference="Cover & Hart, IEEE TIT 1967",
)
def knn(
    features: FloatArray,
    labels: Labels,
    *,
    k: int = 1,
    metric: str = "euclidean",
    standardize: bool = True,
    groups: Any = None,
) -> Estimate:
    """Leave-one-out accuracy of the k nearest neighbours.

    A row is never its own neighbour, also when exact copies of it exist. Rows at equal distance, to
    within rounding, share the votes that the nearer ones leave. Equal votes count for the class
    whose neighbours are nearer in the mean; classes that are equal in that too share the row, which
    then is right by half or less. So neither the order of rows nor a name decides.

    Parameters
    ----------
    k : int, default=1
        Number of neighbours that vote.
    metric : {"euclidean", "cosine"}, default="euclidean"
        How distances are measured, after the standardisation.
    standardize : bool, default=True
        Whether columns are divided by their standard deviation.

    Returns
    -------
    float
        Accuracy in [0, 1]; higher is better. For real targets R^2 of the neighbours' mean, at most
        1: 0 is as good as the mean of all other rows, and noise is about -1/k.

    Raises
    ------
    ModtoolsError
        Fewer than k possible neighbours.

    References
    ----------
    Cover & Hart, "Nearest neighbor pattern classification", IEEE TIT 1967.

    Examples
    --------
    >>> knn([[0.0], [1.0], [3.0], [4.0]], [0, 0, 1, 1])
    1.0
    """
    check_choice(metric, ["euclidean", "cosine"], name="metric")
    _check_k(k, len(features), groups)
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
    electorates = _electorates(points, k, groups)
    if labels.kind == "regression":
        targets = labels.target_matrix()
        predicted = np.empty_like(targets)
        for own in electorates:
            predicted[own.rows] = own.weighted(targets) / k
        return Estimate(explained_variance(predicted, targets))
    codes, n_classes = present_codes(labels)
    right = np.empty(len(codes))
    for own in electorates:
        right[own.rows] = _right_shares(*own.votes(codes, n_classes), codes[own.rows])
    return share_of(right)


def _check_k(k: int, n_samples: int, groups: NDArray[np.intp] | None) -> None:
    """Raise where a row has fewer than k possible neighbours."""
    largest = 1 if groups is None else int(np.bincount(groups).max())
    if check_integer(k, name="k") > n_samples - largest:
        raise ModtoolsError(
            f"k must leave k other rows for each row; got k={k} with {n_samples} rows"
            f"{'' if groups is None else f' and a group of {largest}'}."
        )


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
    candidates = _find_candidates(points, k, groups)
    found, exact = _nearest_first(points, candidates, groups)
    return found[:, :k], exact[:, :k]


def _find_candidates(points: FloatArray, k: int, groups: NDArray[np.intp]) -> "_Candidates":
    """Return the k nearest rows of each row and some more, by distances with rounding errors."""
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
    return candidates


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
    points: FloatArray, candidates: _Candidates, groups: NDArray[np.intp]
) -> tuple[NDArray[np.intp], FloatMatrix]:
    """Return the candidates of each row by exact differences, ties to the lower row."""
    neighbours, nearest = np.empty_like(candidates.rows), np.empty(candidates.rows.shape)
    step = rows_per_block(points.shape[1] * candidates.rows.shape[1], 8)
    for start in range(0, len(points), step):
        rows = slice(start, start + step)
        found = candidates.rows[rows]
        differences = points[found].astype(np.float64) - points[rows, None]
        distances = np.einsum("ijk,ijk->ij", differences, differences)
        distances[groups[found] == groups[rows, None]] = np.inf
        order = np.lexsort((found, distances), axis=1)
        neighbours[rows] = np.take_along_axis(found, order, axis=1)
        nearest[rows] = np.take_along_axis(distances, order, axis=1)
    return neighbours, nearest


class _Electorate(NamedTuple):
    """Who votes on some rows.

    Attributes
    ----------
    rows : ndarray of shape (n_rows,)
        Row numbers.
    voters : ndarray of shape (n_rows, n_voters)
        Row numbers of their neighbours.
    distances : ndarray of shape (n_rows, n_voters)
        Squared, infinite where a row must not vote.
    weights : ndarray of shape (n_rows, n_voters)
        Votes, k in all; 0 beyond the k nearest.
    """

    rows: NDArray[np.intp]
    voters: NDArray[np.intp]
    distances: FloatMatrix
    weights: FloatMatrix

    def weighted(self, targets: FloatMatrix) -> FloatMatrix:
        """Return the sum of the voters' targets (n_rows, n_targets)."""
        return np.asarray(np.einsum("ij,ijk->ik", self.weights, targets[self.voters]))

    def votes(self, codes: NDArray[np.intp], n_classes: int) -> tuple[FloatMatrix, FloatMatrix]:
        """Return the votes of each class, and their summed distances (n_rows, n_classes)."""
        cells = codes[self.voters] + n_classes * np.arange(len(self.rows))[:, None]
        lengths = np.sqrt(np.where(self.weights > 0, self.distances, 0.0))
        size = len(cells) * n_classes

        def by_class(amounts: FloatMatrix) -> FloatMatrix:
            sums = np.bincount(cells.ravel(), weights=amounts.ravel(), minlength=size)
            return np.asarray(sums, dtype=np.float64).reshape(-1, n_classes)

        return by_class(self.weights), by_class(self.weights * lengths)


def _electorates(
    points: FloatArray, k: int, groups: NDArray[np.intp] | None
) -> Iterator[_Electorate]:
    """Yield who votes on blocks of rows; rows at one distance have equal votes."""
    groups = np.arange(len(points)) if groups is None else groups
    found, exact = _nearest_first(points, _find_candidates(points, k, groups), groups)
    squares = np.einsum("ij,ij->i", points, points, dtype=np.float64)
    boundary, eps = exact[:, k - 1], _ROUNDING_UNITS * float(np.finfo(points.dtype).eps)
    rounding = eps * np.sqrt(boundary) * (np.sqrt(squares) + np.sqrt(boundary))
    # Where the last candidate may be as near as the k-th, rows that are no candidates may be too.
    crowded = exact[:, -1] <= boundary + np.maximum(rounding, eps * (squares + boundary))
    crowded &= found.shape[1] < len(points) - 1
    plain = np.flatnonzero(~crowded)
    for start in range(0, len(plain), _BLOCK_ROWS):
        rows = plain[start : start + _BLOCK_ROWS]
        weights = _weights(exact[rows], boundary[rows], rounding[rows, None], k)
        yield _Electorate(rows, found[rows], exact[rows], weights)
    everyone, rows_of_crowd = np.arange(len(points)), np.flatnonzero(crowded)
    step = rows_per_block(len(points), 8)
    for start in range(0, len(rows_of_crowd), step):
        rows = rows_of_crowd[start : start + step]
        distances = _distances_to_all(points, squares, rows)
        distances[groups[rows, None] == groups] = np.inf
        slack = _ROUNDING_UNITS * float(np.finfo(float).eps) * (squares[rows, None] + squares)
        weights = _weights(distances, boundary[rows], rounding[rows, None] + slack, k)
        yield _Electorate(rows, np.broadcast_to(everyone, distances.shape), distances, weights)


def _distances_to_all(
    points: FloatArray, squares: FloatMatrix, rows: NDArray[np.intp]
) -> FloatMatrix:
    """Return float64 squared distances of some rows to all (n_rows, n_samples), block by block."""
    own = points[rows].astype(np.float64)
    distances = squares[rows, None] + squares
    step = rows_per_block(points.shape[1], 8)
    for start in range(0, len(points), step):
        others = slice(start, start + step)
        distances[:, others] -= 2 * own @ points[others].astype(np.float64).T
    return np.maximum(distances, 0.0)


def _weights(
    distances: FloatMatrix, boundary: FloatMatrix, rounding: FloatMatrix, k: int
) -> FloatMatrix:
    """Return 1 for rows nearer than the k-th; rows as far as it share what they leave of k.

    >>> _weights(np.array([[0.0, 2.0, 2.0, 5.0]]), np.array([2.0]), np.array([[0.1]]), 2)
    array([[1. , 0.5, 0.5, 0. ]])
    """
    beyond = distances - boundary[:, None]
    nearer, tied = beyond < -rounding, np.abs(beyond) <= rounding
    left = k - nearer.sum(axis=1, keepdims=True)
    return np.asarray(nearer + tied * (left / np.maximum(tied.sum(axis=1, keepdims=True), 1)))


def _right_shares(votes: FloatMatrix, away: FloatMatrix, own: NDArray[np.intp]) -> FloatMatrix:
    """Return 1 where a row's class wins, a share where it ties with others, and 0.

    >>> _right_shares(np.array([[1.0, 1.0], [2.0, 0.0]]), np.ones((2, 2)), np.array([0, 1]))
    array([0.5, 0. ])
    """
    tied = votes >= votes.max(axis=1, keepdims=True) * (1 - _SAME)
    nearest = np.where(tied, away, np.inf).min(axis=1, keepdims=True)
    winners = tied & (away <= nearest * (1 + _SAME))
    return np.asarray(winners[np.arange(len(own)), own] / winners.sum(axis=1))


# PARC: distances of features and of labels, ranked ----------------------------------------------

# Up to here all pairs are sorted (8 bytes a pair); beyond, distances are counted in fine bins.
_LARGEST_SORTED = 10_000
_LEVEL_BITS = 22
_DISTANCE_UNITS = 2.0**38
_BINS_PER_UNIT = 2.0**19
_CHUNK = 1 << 20


class _LabelDistances(NamedTuple):
    """Distances between label rows as ranks.

    Attributes
    ----------
    patterns : ndarray of shape (n_samples,)
        Which distinct label row each sample has.
    levels : ndarray of shape (n_patterns, n_patterns)
        Which distinct distance a pair of patterns has.
    ranks : ndarray of shape (n_levels,)
        Mean rank of that distance among all pairs of rows, centred.
    variance : float
        Sum of squared centred ranks over all pairs.
    """

    patterns: NDArray[np.intp]
    levels: NDArray[np.intp]
    ranks: NDArray[np.float64]
    variance: float


@register_score(
    needs="features",
    kinds=("classification", "multilabel"),
    passes="all pairs",
    range="[-100, 100]; without ties at most 100 sqrt(3 p q)",
    reference="Bolya et al., NeurIPS 2021",
)
def parc(features: FloatArray, labels: Labels) -> float:
    """PARC: 100 x Spearman correlation of feature distance and label distance over all pairs.

    The distance of two rows is one minus their Pearson correlation, of standardised features and of
    label rows (one-hot for classes, where it only says whether the classes differ). Equal distances
    share their mean rank; all-0 and all-1 rows of a 0/1 matrix have no correlation and are left
    out. There is no PCA before. For C balanced classes and feature distances that
    differ the value is at most 100 sqrt(3 p (1 - p)), p = 1 - 1/C: values of tasks with different
    classes do not compare.

    Up to 10 000 rows all pairs are sorted, in 4 n^2 bytes. Beyond, distances are counted in bins of
    2e-6, in memory that does not grow with n^2.

    Returns
    -------
    float
        A value in [-100, 100]; higher is better. 0, with warning MT001, for constant features.

    Raises
    ------
    ModtoolsError
        Features of one column, or fewer than three usable examples.

    References
    ----------
    Bolya, Mittapalli & Hoffman, "Scalable diverse model selection for accessible transfer
    learning", NeurIPS 2021.

    Examples
    --------
    >>> features = [[1.0, 0.0, 0.1], [0.9, 0.1, 0.0], [0.0, 1.0, 0.1], [0.1, 0.9, 0.2]]
    >>> round(parc(features, [0, 0, 1, 1]), 1)
    86.6
    """
    features, labels = _with_direction(features, labels)
    rows = StandardizedRows.of(features)
    if rows.n_varying == 0:
        warn("MT001", "features carry no variation: parc is 0.")
        return 0.0
    directions, kept = _directions(rows)
    label_distances = _rank_labels(labels.take(kept))
    if label_distances.variance == 0:
        raise ModtoolsError(
            "parc needs label rows at different distances from each other; all pairs are alike."
        )
    blocks = _pair_blocks(directions, label_distances)
    n_pairs = len(directions) * (len(directions) - 1) // 2
    is_sorted = len(directions) <= _LARGEST_SORTED
    groups = (
        _sorted_groups(blocks, n_pairs, label_distances.ranks)
        if is_sorted
        else _binned_groups(blocks, label_distances.ranks)
    )
    return 100 * _spearman(groups, n_pairs, label_distances.variance)


def _with_direction(features: FloatArray, labels: Labels) -> tuple[FloatArray, Labels]:
    """Return the rows whose label row has a correlation with others, at least three."""
    if features.shape[1] < 2:
        raise ModtoolsError("parc needs at least two feature columns to correlate rows; got one.")
    if labels.kind == "multilabel":
        varying = np.ptp(labels.target_matrix(), axis=1) > 0
        if not varying.all():
            features, labels = features[varying], labels.take(varying)
    if len(features) < 3:
        raise ModtoolsError(f"parc needs at least 3 rows with varying labels; got {len(features)}.")
    return features, labels


def _lengths(rows: FloatArray) -> NDArray[np.float64]:
    """Return the length of each row, without a squared copy of all of them."""
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64)))


def _directions(rows: StandardizedRows) -> tuple[FloatArray, NDArray[np.intp]]:
    """Return the rows centred over columns and of length one, and which rows have a direction."""
    is_large = rows.features.size >= _FLOAT32_SIZE
    directions = rows.dense(np.float32 if is_large else np.float64)
    lengths = _lengths(directions)
    directions -= directions.mean(axis=1, keepdims=True)
    centred = _lengths(directions)
    # Standardised rows have a common size, against which rounding is told from a direction.
    kept = np.flatnonzero(centred > 8 * np.finfo(directions.dtype).eps * lengths.max())
    if len(kept) < 3:
        raise ModtoolsError("parc needs at least 3 rows whose features differ between columns.")
    directions /= np.where(centred > 0, centred, 1)[:, None]
    return (directions if len(kept) == len(directions) else directions[kept]), kept


def _rank_labels(labels: Labels) -> _LabelDistances:
    """Rank the label distances of all pairs from the counts of distinct label rows."""
    if labels.kind == "classification":
        patterns, n_classes = present_codes(labels)
        levels = 1 - np.eye(n_classes, dtype=np.intp)
    else:
        distinct, patterns = np.unique(labels.target_matrix(), axis=0, return_inverse=True)
        patterns = patterns.reshape(-1)
        distances = np.round(1 - np.atleast_2d(np.corrcoef(distinct)), 9)
        levels = np.unique(distances, return_inverse=True)[1].reshape(distances.shape)
    counts = np.bincount(patterns).astype(np.float64)
    pairs = (np.outer(counts, counts) - np.diag(counts)) / 2
    sizes = np.bincount(levels.ravel(), weights=pairs.ravel())
    ranks = np.cumsum(sizes) - sizes / 2 - sizes.sum() / 2
    return _LabelDistances(patterns, levels, ranks, float(sizes @ np.square(ranks)))


def _pair_blocks(
    directions: FloatArray, labels: _LabelDistances
) -> Iterator[tuple[FloatArray, NDArray[np.intp]]]:
    """Yield feature distance and label level of pairs i < j, each pair once."""
    patterns, all_levels = labels.patterns, labels.levels
    step = rows_per_block(len(directions), 8)
    for start in range(0, len(directions), step):
        stop = min(start + step, len(directions))
        own, later = slice(start, stop), slice(stop, None)
        upper = np.triu_indices(stop - start, 1)
        distances = 1 - directions[own] @ directions[own].T
        yield (
            np.clip(distances[upper], 0, 2),
            all_levels[patterns[own][:, None], patterns[own]][upper],
        )
        distances = 1 - directions[own] @ directions[later].T
        levels = all_levels[patterns[own][:, None], patterns[later]]
        yield np.clip(distances, 0, 2, out=distances).ravel(), levels.ravel()


class _Tied(NamedTuple):
    """Groups of pairs at equal distance, ascending: their sizes and sums of label ranks."""

    sizes: NDArray[np.float64]
    label_ranks: NDArray[np.float64]


def _sorted_groups(
    blocks: Iterable[tuple[FloatArray, NDArray[np.intp]]],
    n_pairs: int,
    ranks: NDArray[np.float64],
) -> Iterator[_Tied]:
    """Yield tied groups after sorting keys that hold the distance above the label level."""
    keys = np.empty(n_pairs, dtype=np.uint64)
    filled = 0
    for distances, levels in blocks:
        part = keys[filled : filled + len(distances)]
        part[:] = np.rint(distances.astype(np.float64) * _DISTANCE_UNITS)
        np.left_shift(part, np.uint64(_LEVEL_BITS), out=part)
        np.bitwise_or(part, levels.astype(np.uint64), out=part)
        filled += len(distances)
    keys.sort()
    start = 0
    while start < n_pairs:
        last = keys[min(start + _CHUNK, n_pairs) - 1] | np.uint64((1 << _LEVEL_BITS) - 1)
        stop = int(np.searchsorted(keys, last, side="right"))
        chunk = keys[start:stop]
        heights = chunk >> np.uint64(_LEVEL_BITS)
        firsts = np.flatnonzero(np.append(True, heights[1:] != heights[:-1]))
        own = ranks[(chunk & np.uint64((1 << _LEVEL_BITS) - 1)).astype(np.intp)]
        sizes = np.diff(np.append(firsts, len(chunk))).astype(np.float64)
        yield _Tied(sizes, np.add.reduceat(own, firsts))
        start = stop


def _binned_groups(
    blocks: Iterable[tuple[FloatArray, NDArray[np.intp]]], ranks: NDArray[np.float64]
) -> Iterator[_Tied]:
    """Yield one group per bin of distances; needs no memory for the pairs."""
    n_bins = int(2 * _BINS_PER_UNIT) + 1
    sizes, sums = np.zeros(n_bins), np.zeros(n_bins)
    for distances, levels in blocks:
        bins = np.rint(distances * _BINS_PER_UNIT).astype(np.intp)
        sizes += np.bincount(bins, minlength=n_bins)
        sums += np.bincount(bins, weights=ranks[levels], minlength=n_bins)
    yield _Tied(sizes, sums)


def _spearman(groups: Iterable[_Tied], n_pairs: int, label_variance: float) -> float:
    """Return the correlation of mean ranks; the label ranks are centred already."""
    before = 0.0
    covariance = variance = 0.0
    for sizes, label_ranks in groups:
        ends = before + np.cumsum(sizes)
        ranks = ends - sizes / 2 - n_pairs / 2
        covariance += float(ranks @ label_ranks)
        variance += float(np.square(ranks) @ sizes)
        before = float(ends[-1])
    return covariance / math.sqrt(variance * label_variance) if variance > 0 else 0.0
