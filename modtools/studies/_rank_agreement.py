"""How well one list of scores ranks what was achieved, for any numbers of copies of the modules.

The bootstrap takes modules with replacement. Copies of one module are tied in both lists, so each
measure can be written as a sum over the modules in which the numbers of copies are weights: one
product of matrices serves all resamples.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import comb

__all__ = ["MEASURES", "rank_agreement"]

Values = NDArray[np.float64]
Counts = NDArray[np.intp]
Mask = NDArray[np.bool_]

_TOPS: Final = {"regret": 1, "regret_3": 3, "regret_5": 5}
MEASURES: Final = ("weighted_tau", "weighted_tau_by_score", "kendall", "pearson", *_TOPS)


def rank_agreement(scores: Values, truth: Values, copies: Counts) -> Values:
    """Return every measure under every resample, in the order of `MEASURES`.

    Parameters
    ----------
    scores : ndarray of shape (n_modules,)
        Higher is better; NaN where the score leaves a module out.
    truth : ndarray of shape (n_modules,)
        Achieved accuracies in [0, 1].
    copies : ndarray of shape (n_modules, n_resamples)
        How often each module is taken. A resample that leaves fewer than two different modules
        with a score says nothing: every module counts once there.

    Returns
    -------
    ndarray of shape (n_measures, n_resamples)
        Vigna's weighted tau in which both rankings weigh in turn and in which only that by score
        does, Kendall's tau-b, the Pearson correlation (all 0 for constant lists), and regret@1, @3
        and @5 in points.

    Examples
    --------
    >>> once = np.ones((3, 1), dtype=int)
    >>> found = rank_agreement(np.array([3.0, 1.0, 2.0]), np.array([0.9, 0.8, 0.7]), once)
    >>> dict(zip(MEASURES, found[:, 0].round(3).tolist(), strict=True))["weighted_tau"]
    0.545
    """
    known = np.isfinite(scores)
    n_left = np.count_nonzero(copies[known], axis=0)
    if n_left.min() < 2:
        copies = np.where(n_left < 2, 1, copies)
    taken, achieved = copies[known], truth[known]
    correlations = _correlations(scores[known], achieved, taken)
    best = np.where(copies > 0, truth[:, None], -np.inf).max(axis=0)
    picked = _expected_best(scores[known], achieved, taken > 0)
    return np.array([*correlations, *(100.0 * (best - found) for found in picked)])


def _correlations(scores: Values, truth: Values, copies: Counts) -> list[Values]:
    by_score = np.sign(np.subtract.outer(scores, scores))
    by_truth = np.sign(np.subtract.outer(truth, truth))
    weights = copies.astype(np.float64)
    # Per module, over all copies of the others: pairs in order minus pairs out of order, and the
    # pairs that each list can order at all.
    agree = (by_score * by_truth) @ weights
    apart = _apart(by_score, weights), _apart(by_truth, weights)

    def tau(leading: Values) -> Values:
        return _cosine(_dot(leading, agree), _dot(leading, apart[0]), _dot(leading, apart[1]))

    first = tau(_hyperbolic(scores, truth, copies))
    second = tau(_hyperbolic(truth, scores, copies))
    varies = (_dot(weights, apart[0]) > 0) & (_dot(weights, apart[1]) > 0)
    pearson = np.where(varies, _pearson(scores, truth, weights), 0.0)
    return [(first + second) / 2, first, tau(weights), pearson]


def _apart(signs: Values, weights: Values) -> Values:
    """Return with how many copies of others each module is not tied."""
    n_tied = np.count_nonzero(signs == 0)
    return weights.sum(axis=0) - weights if n_tied == len(signs) else np.abs(signs) @ weights


def _dot(first: Values, second: Values) -> Values:
    return np.asarray(np.einsum("ij,ij->j", first, second))


def _cosine(product: Values, first: Values, second: Values) -> Values:
    """Return the product over the norms: 0 where there is nothing to order, never above 1."""
    norm = np.sqrt(first * second)
    return np.clip(np.divide(product, norm, out=np.zeros_like(norm), where=norm > 0), -1.0, 1.0)


def _hyperbolic(leading: Values, other: Values, copies: Counts) -> Values:
    """Return the sum of 1/(rank+1) over the copies of each module, best first, ties by `other`."""
    order = np.lexsort((other, leading))[::-1]
    last = np.cumsum(copies[order], axis=0)
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, last[-1].max() + 1))])
    weights = np.empty(copies.shape)
    weights[order] = harmonic[last] - harmonic[last - copies[order]]
    return weights


def _pearson(scores: Values, truth: Values, weights: Values) -> Values:
    first, second = (_centred(values, weights) for values in (scores, truth))
    weighed = weights * first
    return _cosine(_dot(weighed, second), _dot(weighed, first), _dot(weights * second, second))


def _centred(values: Values, weights: Values) -> Values:
    """Return the values less their weighted mean, scaled: products of tiny scores would vanish."""
    values = values / max(np.abs(values).max(), np.finfo(float).tiny)
    values = values - values.mean()
    values = values / max(np.abs(values).max(), np.finfo(float).tiny)
    return np.asarray(values[:, None] - (values @ weights) / weights.sum(axis=0))


def _expected_best(scores: Values, truth: Values, present: Mask) -> list[Values]:
    """Return the accuracy of the best of the 1, 3 and 5 picked, the mean over orders of ties."""
    order = np.lexsort((truth, scores))[::-1]
    falling, achieved, present = -scores[order], truth[order][:, None], present[order]
    seen = np.cumsum(present, axis=0)
    through = seen[np.searchsorted(falling, falling, side="right") - 1]
    is_tied = bool((falling[1:] == falling[:-1]).any())
    found = []
    for k in _TOPS.values():
        whole = np.where(present & (through <= k), achieved, -np.inf).max(axis=0)
        if is_tied:
            before = np.vstack([np.zeros_like(seen[:1]), seen])
            above = before[np.searchsorted(falling, falling, side="left")]
            is_cut = present & (above < k) & (k < through)
            chance = _chances(through - above, seen - present - above, k - above, is_cut)
            mixed = (chance * np.where(is_cut, np.maximum(whole, achieved), 0.0)).sum(axis=0)
            whole = np.where(is_cut.any(axis=0), mixed, whole)
        found.append(whole)
    return found


def _chances(n_tied: Counts, n_better: Counts, n_picked: Counts, is_cut: Mask) -> Values:
    """Return how likely each module is the best of those picked from the ties at the k-th place.

    Of t tied modules j are picked; one with r better ones among the tied is the best of these in
    C(t-1-r, j-1) of C(t, j) ways.
    """
    most = int(n_tied.max())
    ways = comb(np.arange(most + 1)[:, None], np.arange(max(_TOPS.values()) + 1))
    n_tied, n_better, n_picked = (np.where(is_cut, n, 1) for n in (n_tied, n_better, n_picked))
    others = np.maximum(n_tied - 1 - n_better, 0)
    return np.where(is_cut, ways[others, n_picked - 1] / ways[n_tied, n_picked], 0.0)
