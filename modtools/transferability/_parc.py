"""PARC: whether rows that are far apart in the features also differ in their labels."""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from modtools._checks import rows_per_block
from modtools._types import FloatArray
from modtools.exceptions import ModtoolsError, warn
from modtools.outputs import StandardizedRows
from modtools.tasks import Labels
from modtools.transferability._declare import register_score
from modtools.transferability._held_out import present_codes

__all__ = ["parc"]

_FLOAT32_SIZE = 10_000_000
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
