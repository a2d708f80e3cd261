"""Distances between tasks from how modules serve them, and how well two sets of them agree."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from modtools._intervals import student_95
from modtools._types import FloatMatrix

__all__ = ["Association", "associate", "embed", "task_distances"]

_N_PERMUTATIONS = 999
_LARGEST = 1 - 1e-6  # of a correlation: Fisher's transform of 1 is infinite
_EQUAL = 1e-12  # of the largest value: below it a spread is rounding


class Association(NamedTuple):
    """A rank correlation over pairs of tasks, its 95 % interval and a permutation p-value."""

    spearman: float
    spearman_low: float
    spearman_high: float
    p_value: float


def task_distances(values: FloatMatrix, own: NDArray[np.bool_]) -> FloatMatrix:
    """Return the distances between the rows of `values` (n_tasks, n_tasks), from 0 to 1.

    Parameters
    ----------
    values : ndarray of shape (n_tasks, n_modules)
        One score.
    own : ndarray of shape (n_tasks, n_modules)
        Whether a module was trained on a task. A pair of tasks is compared on the modules that
        were trained on neither.

    Examples
    --------
    >>> values = np.array([[0.9, 0.8, 0.7], [0.6, 0.5, 0.4], [0.1, 0.2, 0.3]])
    >>> task_distances(values, np.zeros((3, 3), dtype=bool)).round(6).tolist()
    [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]
    """
    n_tasks = len(values)
    distances = np.zeros((n_tasks, n_tasks))
    for one in range(n_tasks):
        for other in range(one + 1, n_tasks):
            pair = [one, other]
            first, second = _directions(values[pair][:, ~own[pair].any(axis=0)])
            apart = np.linalg.norm(first - second) / 2
            distances[one, other] = distances[other, one] = apart if apart > _EQUAL else 0.0
    return distances


def _directions(rows: FloatMatrix) -> FloatMatrix:
    """Return rows of mean 0 and length 1; a row of equal values becomes zeros."""
    largest = np.abs(rows).max(axis=1, keepdims=True)
    scaled = rows / np.where(largest > 0, largest, 1.0)
    centred = scaled - scaled.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(np.where(lengths > _EQUAL, centred / np.maximum(lengths, _EQUAL), 0.0))


def embed(distances: FloatMatrix) -> tuple[FloatMatrix, float]:
    """Return places in the plane (n_tasks, 2) by classical scaling, and the fraction they keep.

    The fraction is that of the squared distances. Each axis points to where its largest place is
    positive, so that the same distances give the same picture.

    Examples
    --------
    >>> places, share = embed(np.array([[0.0, 3.0, 4.0], [3.0, 0.0, 5.0], [4.0, 5.0, 0.0]]))
    >>> round(float(np.linalg.norm(places[1] - places[2])), 9), round(share, 9)
    (5.0, 1.0)
    """
    from scipy.linalg import eigh

    n_tasks = len(distances)
    centring = np.eye(n_tasks) - 1 / n_tasks
    spectrum, axes = eigh(-0.5 * centring @ distances**2 @ centring)
    kept = np.clip(spectrum[::-1][:2], 0.0, None)
    places = axes[:, ::-1][:, :2] * np.sqrt(kept)
    places = places * np.where(places[np.abs(places).argmax(axis=0), range(2)] < 0, -1.0, 1.0)
    total = float(np.clip(spectrum, 0.0, None).sum())
    return np.asarray(places), float(kept.sum()) / total if total > 0 else 1.0


def associate(first: FloatMatrix, second: FloatMatrix, *, seed: int) -> Association:
    """Compare two matrices of distances between the same tasks, over pairs of different tasks.

    The interval leaves out each task in turn (jackknife on Fisher's scale, Student's t): pairs that
    share a task vary together, which an interval over pairs would not see. The p-value is
    Mantel's: how often tasks permuted at random agree as well.

    Examples
    --------
    >>> places = np.random.default_rng(0).normal(size=(8, 2))
    >>> distances = np.linalg.norm(places[:, None] - places, axis=2)
    >>> found = associate(distances, distances**2, seed=0)
    >>> found.spearman, found.p_value
    (1.0, 0.001)
    """
    spearman = _spearman(first, second)
    n_tasks = len(first)
    if n_tasks < 4:  # three tasks less one have one pair
        return Association(spearman, -1.0, 1.0, _mantel(first, second, seed))
    kept = [np.delete(np.arange(n_tasks), task) for task in range(n_tasks)]
    without = [_spearman(first[np.ix_(k, k)], second[np.ix_(k, k)]) for k in kept]
    scale = np.arctanh(np.clip([spearman, *without], -_LARGEST, _LARGEST))
    spread = ((scale[1:] - scale[1:].mean()) ** 2).sum()
    half = student_95(n_tasks - 1) * np.sqrt((n_tasks - 1) / n_tasks * spread)
    low, high = np.tanh([scale[0] - half, scale[0] + half])
    p_value = _mantel(first, second, seed)
    return Association(spearman, min(float(low), spearman), max(float(high), spearman), p_value)


def _ranks(distances: FloatMatrix) -> FloatMatrix:
    """Return the centred ranks of the pairs of different tasks, scaled to length 1, else zeros."""
    from scipy.stats import rankdata

    rows, columns = np.triu_indices(len(distances), 1)
    # Rounded, because equal distances come from different sums.
    ranks = rankdata(distances[rows, columns].round(12))
    return np.asarray(_directions(ranks[None])[0])


def _spearman(first: FloatMatrix, second: FloatMatrix) -> float:
    """Return the rank correlation over pairs of tasks; 0 where all distances are equal."""
    return float(np.clip(_ranks(first) @ _ranks(second), -1.0, 1.0).round(12))


def _mantel(first: FloatMatrix, second: FloatMatrix, seed: int) -> float:
    """Return the fraction of permutations of the tasks that agree at least as well."""
    n_tasks, rng = len(first), np.random.default_rng(seed)
    rows, columns = np.triu_indices(n_tasks, 1)
    ranks, square = _ranks(first), np.zeros((n_tasks, n_tasks))
    square[rows, columns] = square[columns, rows] = _ranks(second)
    found = ranks @ square[rows, columns] - _EQUAL
    orders = (rng.permutation(n_tasks) for _ in range(_N_PERMUTATIONS))
    n_better = sum(bool(ranks @ square[o[rows], o[columns]] >= found) for o in orders)
    return (1 + n_better) / (1 + _N_PERMUTATIONS)
