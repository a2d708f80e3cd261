"""How well one list of scores ranks what was achieved: four numbers, each by its definition."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["kendall", "pearson", "regret_of_pick", "weighted_tau"]

Values = NDArray[np.float64]


def _is_constant(*lists: Values) -> bool:
    return any(bool((values == values[0]).all()) for values in lists)


def weighted_tau(scores: Values, truth: Values) -> float:
    """Return Vigna's weighted tau, in which the top of the ranking counts most; constant lists: 0.

    Both rankings weigh in turn (``scipy.stats.weightedtau(scores, truth)``), so swapping the
    arguments changes nothing.

    >>> weighted_tau(np.array([3.0, 2.0, 1.0]), np.array([0.9, 0.8, 0.7]))
    1.0
    """
    if _is_constant(scores, truth):
        return 0.0
    from scipy import stats

    return float(stats.weightedtau(scores, truth).statistic)


def kendall(scores: Values, truth: Values) -> float:
    """Return Kendall's tau-b, in which every pair counts alike; constant lists: 0.

    >>> kendall(np.array([3.0, 2.0, 1.0]), np.array([0.9, 0.8, 0.7]))
    1.0
    """
    if _is_constant(scores, truth):
        return 0.0
    from scipy import stats

    return float(stats.kendalltau(scores, truth).statistic)


def pearson(scores: Values, truth: Values) -> float:
    """Return the linear correlation; constant lists: 0.

    >>> round(pearson(np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.2, 0.3])), 12)
    1.0
    """
    if _is_constant(scores, truth):
        return 0.0
    first, second = scores - scores.mean(), truth - truth.mean()
    # Each list is scaled first: the products of very small scores would vanish.
    first, second = first / np.abs(first).max(), second / np.abs(second).max()
    cosine = first @ second / np.sqrt((first @ first) * (second @ second))
    return float(np.clip(cosine, -1.0, 1.0))


def regret_of_pick(scores: Values, truth: Values, best: float) -> float:
    """Return how many points the picked module lies below the best one.

    Where several modules share the highest score, the pick is one of them at random, so the mean
    over them counts.

    >>> round(regret_of_pick(np.array([2.0, 2.0, 1.0]), np.array([0.9, 0.8, 0.7]), 0.9), 9)
    5.0
    """
    return float(100.0 * (best - truth[scores == scores.max()].mean()))
