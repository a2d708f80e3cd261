"""Scores of pairs of examples without an n x n matrix: k nearest neighbours, and PARC."""

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
# Further candidates that are compared by exact differences too.
_SPARE = 4
# If fewer pairs than this fraction improve the candidates, they are merged one by one.
_FEW_HITS = 0.02
_FLOAT32_SIZE = 10_000_000
# Distances that differ by fewer units of their rounding error are equal; likewise sums of votes.
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
    """Leave-one-out accuracy of the k-nearest-neighbours classifier.

    An example is never its own neighbour; exact copies of it are. Neighbours at equal distance (to
    within rounding) share the votes that the nearer ones leave. Of classes with equal votes, the
    one whose voters have the smallest mean distance wins. If the true class is one of m that still
    tie, the example counts 1 / m. So neither the order of the examples nor the names of classes
    matter.

    Parameters
    ----------
    k : int, default=1
        Number of neighbours that vote.
    metric : {"euclidean", "cosine"}, default="euclidean"
        Distance, measured after the standardisation.
    standardize : bool, default=True
        Whether columns are divided by their standard deviation.

    Returns
    -------
    float
        Accuracy in [0, 1]; higher is better. For real targets the leave-one-out R^2 of the
        neighbours' mean, at most 1: the mean of all other examples has 0, noise about -1/k.

    Raises
    ------
    ModtoolsError
        Fewer than k possible neighbours of an example.

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
        # Angles, unlike distances, depend on the origin, so the mean is not subtracted.
        rows = replace(rows, mean=np.zeros_like(rows.mean))
    points = rows.dense(np.float32 if features.size >= _FLOAT32_SIZE else np.float64)
    if metric == "cosine":
        norms = np.linalg.norm(points, axis=1, keepdims=True)
        points /= np.where(norms > 0, norms, 1)
    blocks = _voter_blocks(points, k, groups)
    if labels.kind == "regression":
        targets = labels.target_matrix()
        predicted = np.empty_like(targets)
        for block in blocks:
            predicted[block.rows] = block.weighted(targets) / k
        return Estimate(explained_variance(predicted, targets))
    codes, n_classes = present_codes(labels)
    right = np.empty(len(codes))
    for block in blocks:
        right[block.rows] = _right_shares(*block.votes(codes, n_classes), codes[block.rows])
    return share_of(right)


def _check_k(k: int, n_samples: int, groups: NDArray[np.intp] | None) -> None:
    """Raise if an example has fewer than k possible neighbours."""
    largest = 1 if groups is None else int(np.bincount(groups).max())
    if check_integer(k, name="k") > n_samples - largest:
        raise ModtoolsError(
            f"k must be at most the number of possible neighbours of each example; got k={k} with "
            f"{n_samples} examples{'' if groups is None else f' and a group of {largest}'}."
        )


def nearest_rows(
    points: FloatArray, k: int, groups: NDArray[np.intp] | None = None
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the k nearest neighbours of each example and their squared distances.

    Each block of pairs is computed once for both directions, while a list of candidates is kept.
    The candidates are then compared by exact differences.

    Parameters
    ----------
    points : ndarray of shape (n_samples, n_features)
        Centred features.
    k : int
        Number of neighbours, less than n_samples.
    groups : ndarray of shape (n_samples,), optional
        Examples of the same group are not neighbours.

    Returns
    -------
    neighbours, distances : ndarray of shape (n_samples, k)
        Indices and squared distances, nearest first, ties to the lower index.

    Examples
    --------
    >>> nearest_rows(np.array([[0.0], [1.0], [5.0]]), 1)[0].ravel().tolist()
    [1, 0, 1]
    """
    groups = np.arange(len(points)) if groups is None else groups
    candidates = _find_candidates(points, k, groups)
    neighbours, distances = _nearest_first(points, candidates, groups)
    return neighbours[:, :k], distances[:, :k]


def _find_candidates(points: FloatArray, k: int, groups: NDArray[np.intp]) -> "_Candidates":
    """Return the k nearest neighbours and a few more, by distances with rounding errors."""
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
    """The nearest neighbours so far of each example, in no particular order."""

    def __init__(self, n_samples: int, n_kept: int, dtype: Any) -> None:
        # An unused entry holds the example itself, which is never a neighbour.
        self.rows = np.repeat(np.arange(n_samples)[:, None], n_kept, axis=1)
        self.distances = np.full((n_samples, n_kept), np.inf, dtype=dtype)

    def update(self, rows: slice, columns: slice, distances: FloatArray) -> None:
        """Update the candidates of the examples `rows` by the examples `columns`."""
        near = distances < self.distances[rows].max(axis=1, keepdims=True)
        hits = np.flatnonzero(near.ravel(order="K"))
        if len(hits) > _FEW_HITS * near.size:
            self._update_all(rows, columns, np.ascontiguousarray(distances))
        elif len(hits):
            # Positions in memory: row-major, or column-major for a transposed block.
            own, other = np.divmod(hits, near.shape[1])
            if not near.flags.c_contiguous:
                other, own = np.divmod(hits, near.shape[0])
            names = other + columns.start
            self._update_hits(own + rows.start, names, distances[own, other])

    def _update_all(self, rows: slice, columns: slice, distances: FloatArray) -> None:
        n_kept = self.rows.shape[1]
        last = min(n_kept, distances.shape[1]) - 1
        nearest = np.argpartition(distances, last, axis=1)[:, :n_kept]
        near = np.take_along_axis(distances, nearest, axis=1)
        pool = np.concatenate([self.distances[rows], near], axis=1)
        names = np.concatenate([self.rows[rows], nearest + columns.start], axis=1)
        best = np.argpartition(pool, n_kept - 1, axis=1)[:, :n_kept]
        self.distances[rows] = np.take_along_axis(pool, best, axis=1)
        self.rows[rows] = np.take_along_axis(names, best, axis=1)

    def _update_hits(
        self, own: NDArray[np.intp], names: NDArray[np.intp], distances: FloatArray
    ) -> None:
        """Merge single pairs (example, neighbour, distance) into the candidates."""
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
    """Return the candidates sorted by exact squared distance, ties to the lower index."""
    neighbours, nearest = np.empty_like(candidates.rows), np.empty(candidates.rows.shape)
    step = rows_per_block(points.shape[1] * candidates.rows.shape[1], 8)
    for start in range(0, len(points), step):
        rows = slice(start, start + step)
        others = candidates.rows[rows]
        differences = points[others].astype(np.float64) - points[rows, None]
        distances = np.einsum("ijk,ijk->ij", differences, differences)
        distances[groups[others] == groups[rows, None]] = np.inf
        order = np.lexsort((others, distances), axis=1)
        neighbours[rows] = np.take_along_axis(others, order, axis=1)
        nearest[rows] = np.take_along_axis(distances, order, axis=1)
    return neighbours, nearest


class _Voters(NamedTuple):
    """The voting neighbours of a block of examples.

    Attributes
    ----------
    rows : ndarray of shape (n_rows,)
        Indices of the examples.
    voters : ndarray of shape (n_rows, n_voters)
        Indices of their neighbours.
    distances : ndarray of shape (n_rows, n_voters)
        Squared distances, infinite for examples that must not vote.
    weights : ndarray of shape (n_rows, n_voters)
        Votes, which sum to k; 0 beyond the k nearest.
    """

    rows: NDArray[np.intp]
    voters: NDArray[np.intp]
    distances: FloatMatrix
    weights: FloatMatrix

    def weighted(self, targets: FloatMatrix) -> FloatMatrix:
        """Return the sum of the voters' targets (n_rows, n_targets)."""
        return np.asarray(np.einsum("ij,ijk->ik", self.weights, targets[self.voters]))

    def votes(self, codes: NDArray[np.intp], n_classes: int) -> tuple[FloatMatrix, FloatMatrix]:
        """Return the votes for each class, and their summed distances (n_rows, n_classes)."""
        cells = codes[self.voters] + n_classes * np.arange(len(self.rows))[:, None]
        lengths = np.sqrt(np.where(self.weights > 0, self.distances, 0.0))
        size = len(cells) * n_classes

        def by_class(amounts: FloatMatrix) -> FloatMatrix:
            sums = np.bincount(cells.ravel(), weights=amounts.ravel(), minlength=size)
            return np.asarray(sums, dtype=np.float64).reshape(-1, n_classes)

        return by_class(self.weights), by_class(self.weights * lengths)


def _voter_blocks(points: FloatArray, k: int, groups: NDArray[np.intp] | None) -> Iterator[_Voters]:
    """Yield the voters of blocks of examples; neighbours at equal distance have equal votes."""
    groups = np.arange(len(points)) if groups is None else groups
    nearest, exact = _nearest_first(points, _find_candidates(points, k, groups), groups)
    squares = np.einsum("ij,ij->i", points, points, dtype=np.float64)
    boundary, eps = exact[:, k - 1], _ROUNDING_UNITS * float(np.finfo(points.dtype).eps)
    rounding = eps * np.sqrt(boundary) * (np.sqrt(squares) + np.sqrt(boundary))
    # If the last candidate may tie with the k-th, so may examples that are not candidates.
    crowded = exact[:, -1] <= boundary + np.maximum(rounding, eps * (squares + boundary))
    crowded &= nearest.shape[1] < len(points) - 1
    plain = np.flatnonzero(~crowded)
    for start in range(0, len(plain), _BLOCK_ROWS):
        rows = plain[start : start + _BLOCK_ROWS]
        weights = _weights(exact[rows], boundary[rows], rounding[rows, None], k)
        yield _Voters(rows, nearest[rows], exact[rows], weights)
    everyone, rows_of_crowd = np.arange(len(points)), np.flatnonzero(crowded)
    step = rows_per_block(len(points), 8)
    for start in range(0, len(rows_of_crowd), step):
        rows = rows_of_crowd[start : start + step]
        distances = _distances_to_all(points, squares, rows)
        distances[groups[rows, None] == groups] = np.inf
        slack = _ROUNDING_UNITS * float(np.finfo(float).eps) * (squares[rows, None] + squares)
        weights = _weights(distances, boundary[rows], rounding[rows, None] + slack, k)
        yield _Voters(rows, np.broadcast_to(everyone, distances.shape), distances, weights)


def _distances_to_all(
    points: FloatArray, squares: FloatMatrix, rows: NDArray[np.intp]
) -> FloatMatrix:
    """Return float64 squared distances (n_rows, n_samples) of some examples to all, in blocks."""
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
    """Return vote weights: 1 if nearer than the k-th neighbour; those that tie with it share.

    >>> _weights(np.array([[0.0, 2.0, 2.0, 5.0]]), np.array([2.0]), np.array([[0.1]]), 2)
    array([[1. , 0.5, 0.5, 0. ]])
    """
    beyond = distances - boundary[:, None]
    nearer, tied = beyond < -rounding, np.abs(beyond) <= rounding
    left = k - nearer.sum(axis=1, keepdims=True)
    return np.asarray(nearer + tied * (left / np.maximum(tied.sum(axis=1, keepdims=True), 1)))


def _right_shares(votes: FloatMatrix, away: FloatMatrix, own: NDArray[np.intp]) -> FloatMatrix:
    """Return how correct each prediction is: 1, 0, or 1 / m if m classes tie with the true one.

    >>> _right_shares(np.array([[1.0, 1.0], [2.0, 0.0]]), np.ones((2, 2)), np.array([0, 1]))
    array([0.5, 0. ])
    """
    tied = votes >= votes.max(axis=1, keepdims=True) * (1 - _SAME)
    nearest = np.where(tied, away, np.inf).min(axis=1, keepdims=True)
    winners = tied & (away <= nearest * (1 + _SAME))
    return np.asarray(winners[np.arange(len(own)), own] / winners.sum(axis=1))


# PARC: rank correlation of feature and label distances ------------------------------------------

# Up to this size all pairs are sorted (8 bytes per pair); beyond, distances are binned finely.
_LARGEST_SORTED = 10_000
_LEVEL_BITS = 22
_DISTANCE_UNITS = 2.0**38
_BINS_PER_UNIT = 2.0**19
_CHUNK = 1 << 20


class _LabelDistances(NamedTuple):
    """Ranks of the distances between label vectors.

    Attributes
    ----------
    patterns : ndarray of shape (n_samples,)
        Number of the distinct label vector of each example.
    levels : ndarray of shape (n_patterns, n_patterns)
        Number of the distinct distance of two patterns.
    ranks : ndarray of shape (n_levels,)
        Mean rank of that distance among all pairs of examples, centred.
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

    The distance of two examples is one minus the Pearson correlation of their standardised
    features, or of their label vectors (one-hot for classes, where it only says whether the classes
    differ). Equal distances get their mean rank. Label vectors that are all 0 or all 1 have no
    correlation and are left out. Features are not reduced by PCA first. For C balanced classes and
    distinct feature distances the maximum is 100 sqrt(3 p (1 - p)) with p = 1 - 1/C, so values of
    tasks with different classes are not comparable.

    Up to 10 000 examples all pairs are sorted, in 4 n^2 bytes. Beyond, distances are counted in
    bins of 2e-6, in memory that does not grow with n^2.

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
            "parc needs label vectors at different distances; all pairs have the same distance."
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
    """Return the examples whose label vector can be correlated, at least three."""
    if features.shape[1] < 2:
        raise ModtoolsError("parc needs at least two features to correlate examples; got one.")
    if labels.kind == "multilabel":
        varying = np.ptp(labels.target_matrix(), axis=1) > 0
        if not varying.all():
            features, labels = features[varying], labels.take(varying)
    if len(features) < 3:
        raise ModtoolsError(
            f"parc needs at least 3 examples with varying labels; got {len(features)}."
        )
    return features, labels


def _lengths(rows: FloatArray) -> NDArray[np.float64]:
    """Return the length of each row, without a squared copy of the array."""
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64)))


def _directions(rows: StandardizedRows) -> tuple[FloatArray, NDArray[np.intp]]:
    """Return rows centred over their columns, of length one, and the indices of nonzero rows."""
    is_large = rows.features.size >= _FLOAT32_SIZE
    directions = rows.dense(np.float32 if is_large else np.float64)
    lengths = _lengths(directions)
    directions -= directions.mean(axis=1, keepdims=True)
    centred = _lengths(directions)
    # Standardised rows have similar lengths; much shorter centred rows are rounding errors.
    kept = np.flatnonzero(centred > 8 * np.finfo(directions.dtype).eps * lengths.max())
    if len(kept) < 3:
        raise ModtoolsError("parc needs at least 3 examples whose features differ between columns.")
    directions /= np.where(centred > 0, centred, 1)[:, None]
    return (directions if len(kept) == len(directions) else directions[kept]), kept


def _rank_labels(labels: Labels) -> _LabelDistances:
    """Rank the label distances of all pairs from the counts of distinct label vectors."""
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
    """Yield feature distances and label levels of the pairs i < j, each pair once."""
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
    """Groups of pairs at equal feature distance, ascending: sizes and sums of label ranks."""

    sizes: NDArray[np.float64]
    label_ranks: NDArray[np.float64]


def _sorted_groups(
    blocks: Iterable[tuple[FloatArray, NDArray[np.intp]]],
    n_pairs: int,
    ranks: NDArray[np.float64],
) -> Iterator[_Tied]:
    """Yield tied groups by sorting integer keys: distance in the high bits, label level below."""
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
        label_ranks = ranks[(chunk & np.uint64((1 << _LEVEL_BITS) - 1)).astype(np.intp)]
        sizes = np.diff(np.append(firsts, len(chunk))).astype(np.float64)
        yield _Tied(sizes, np.add.reduceat(label_ranks, firsts))
        start = stop


def _binned_groups(
    blocks: Iterable[tuple[FloatArray, NDArray[np.intp]]], ranks: NDArray[np.float64]
) -> Iterator[_Tied]:
    """Yield one tied group per bin of distances; needs no memory for the pairs."""
    n_bins = int(2 * _BINS_PER_UNIT) + 1
    sizes, sums = np.zeros(n_bins), np.zeros(n_bins)
    for distances, levels in blocks:
        bins = np.rint(distances * _BINS_PER_UNIT).astype(np.intp)
        sizes += np.bincount(bins, minlength=n_bins)
        sums += np.bincount(bins, weights=ranks[levels], minlength=n_bins)
    yield _Tied(sizes, sums)


def _spearman(groups: Iterable[_Tied], n_pairs: int, label_variance: float) -> float:
    """Return the correlation of the mean ranks; the label ranks are already centred."""
    before = 0.0
    covariance = variance = 0.0
    for sizes, label_ranks in groups:
        ends = before + np.cumsum(sizes)
        ranks = ends - sizes / 2 - n_pairs / 2
        covariance += float(ranks @ label_ranks)
        variance += float(np.square(ranks) @ sizes)
        before = float(ends[-1])
    return covariance / math.sqrt(variance * label_variance) if variance > 0 else 0.0
