"""How well scores rank modules as achieved accuracies do, with intervals from a two-way bootstrap.

The bootstrap takes tasks and modules with replacement. Copies of one module are tied in both lists,
so each measure can be written as a sum over the modules in which the numbers of copies are weights:
one product of matrices serves all resamples.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import comb

from modtools._intervals import Resamples, percentile_interval
from modtools._types import FloatMatrix
from modtools.studies._tables import Key, Pairs

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "MEASURES",
    "Resampled",
    "concordances",
    "rank_agreement",
    "resample",
    "spread",
    "with_interval",
]


Counts = NDArray[np.intp]
Mask = NDArray[np.bool_]

_TOPS: Final = {"regret": 1, "regret_3": 3, "regret_5": 5}
MEASURES: Final = ("weighted_tau", "weighted_tau_by_score", "kendall", "pearson", *_TOPS)
# Correlations lie in [-1, 1], regrets in [0, 100] points.
_IS_REGRET = np.array([name.startswith("regret") for name in MEASURES])
_RANGES = np.where(_IS_REGRET, [[0.0], [100.0]], [[-1.0], [1.0]])


def rank_agreement(scores: FloatMatrix, achieved: FloatMatrix, copies: Counts) -> FloatMatrix:
    """Return every measure under every resample, in the order of `MEASURES`.

    Parameters
    ----------
    scores : ndarray of shape (n_modules,)
        Higher is better; NaN where the score leaves a module out.
    achieved : ndarray of shape (n_modules,)
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
    taken, covered = copies[known], achieved[known]
    correlations = _correlations(scores[known], covered, taken)
    best = np.where(copies > 0, achieved[:, None], -np.inf).max(axis=0)
    picked = _expected_best(scores[known], covered, taken > 0)
    return np.array([*correlations, *(100.0 * (best - found) for found in picked)])


def _correlations(scores: FloatMatrix, achieved: FloatMatrix, copies: Counts) -> list[FloatMatrix]:
    by_score = np.sign(np.subtract.outer(scores, scores))
    by_accuracy = np.sign(np.subtract.outer(achieved, achieved))
    weights = copies.astype(np.float64)
    # Per module, over all copies of the others: pairs in order minus pairs out of order, and the
    # pairs that each list can order at all.
    agree = (by_score * by_accuracy) @ weights
    apart = _apart(by_score, weights), _apart(by_accuracy, weights)

    def tau(leading: FloatMatrix) -> FloatMatrix:
        return _cosine(_dot(leading, agree), _dot(leading, apart[0]), _dot(leading, apart[1]))

    first = tau(_hyperbolic(scores, achieved, copies))
    second = tau(_hyperbolic(achieved, scores, copies))
    varies = (_dot(weights, apart[0]) > 0) & (_dot(weights, apart[1]) > 0)
    pearson = np.where(varies, _pearson(scores, achieved, weights), 0.0)
    return [(first + second) / 2, first, tau(weights), pearson]


def _apart(signs: FloatMatrix, weights: FloatMatrix) -> FloatMatrix:
    """Return with how many copies of others each module is not tied."""
    n_tied = np.count_nonzero(signs == 0)
    return weights.sum(axis=0) - weights if n_tied == len(signs) else np.abs(signs) @ weights


def _dot(first: FloatMatrix, second: FloatMatrix) -> FloatMatrix:
    return np.asarray(np.einsum("ij,ij->j", first, second))


def _cosine(product: FloatMatrix, first: FloatMatrix, second: FloatMatrix) -> FloatMatrix:
    """Return the product over the norms: 0 where there is nothing to order, never above 1."""
    norm = np.sqrt(first * second)
    return np.clip(np.divide(product, norm, out=np.zeros_like(norm), where=norm > 0), -1.0, 1.0)


def _hyperbolic(leading: FloatMatrix, other: FloatMatrix, copies: Counts) -> FloatMatrix:
    """Return the sum of 1/(rank+1) over the copies of each module, best first, ties by `other`."""
    order = np.lexsort((other, leading))[::-1]
    last = np.cumsum(copies[order], axis=0)
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, last[-1].max() + 1))])
    weights = np.empty(copies.shape)
    weights[order] = harmonic[last] - harmonic[last - copies[order]]
    return weights


def _pearson(scores: FloatMatrix, achieved: FloatMatrix, weights: FloatMatrix) -> FloatMatrix:
    first, second = (_centred(values, weights) for values in (scores, achieved))
    weighed = weights * first
    return _cosine(_dot(weighed, second), _dot(weighed, first), _dot(weights * second, second))


def _centred(values: FloatMatrix, weights: FloatMatrix) -> FloatMatrix:
    """Return the values less their weighted mean, scaled: products of tiny scores would vanish."""
    values = values / max(np.abs(values).max(), np.finfo(float).tiny)
    values = values - values.mean()
    values = values / max(np.abs(values).max(), np.finfo(float).tiny)
    return np.asarray(values[:, None] - (values @ weights) / weights.sum(axis=0))


def _expected_best(scores: FloatMatrix, achieved: FloatMatrix, present: Mask) -> list[FloatMatrix]:
    """Return the accuracy of the best of the 1, 3 and 5 picked, the mean over orders of ties."""
    order = np.lexsort((achieved, scores))[::-1]
    falling, sorted_, present = -scores[order], achieved[order][:, None], present[order]
    seen = np.cumsum(present, axis=0)
    through = seen[np.searchsorted(falling, falling, side="right") - 1]
    is_tied = bool((falling[1:] == falling[:-1]).any())
    found = []
    for k in _TOPS.values():
        whole = np.where(present & (through <= k), sorted_, -np.inf).max(axis=0)
        if is_tied:
            before = np.vstack([np.zeros_like(seen[:1]), seen])
            above = before[np.searchsorted(falling, falling, side="left")]
            is_cut = present & (above < k) & (k < through)
            chance = _chances(through - above, seen - present - above, k - above, is_cut)
            mixed = (chance * np.where(is_cut, np.maximum(whole, sorted_), 0.0)).sum(axis=0)
            whole = np.where(is_cut.any(axis=0), mixed, whole)
        found.append(whole)
    return found


def _chances(n_tied: Counts, n_better: Counts, n_picked: Counts, is_cut: Mask) -> FloatMatrix:
    """Return how likely each module is the best of those picked from the ties at the k-th place.

    Of t tied modules j are picked; one with r better ones among the tied is the best of these in
    C(t-1-r, j-1) of C(t, j) ways.
    """
    most = int(n_tied.max())
    ways = comb(np.arange(most + 1)[:, None], np.arange(max(_TOPS.values()) + 1))
    n_tied, n_better, n_picked = (np.where(is_cut, n, 1) for n in (n_tied, n_better, n_picked))
    others = np.maximum(n_tied - 1 - n_better, 0)
    return np.where(is_cut, ways[others, n_picked - 1] / ways[n_tied, n_picked], 0.0)


@dataclass(frozen=True)
class Resampled:
    """The measures of every score on every task, as they are and under every resample.

    Attributes
    ----------
    measures : dict
        For each score (and label count) and each task an array (n_measures, 1 + n_resamples), the
        mean over repeats; the first column is the measure itself. Modules are resampled, alike
        everywhere.
    weights : dict of int to ndarray of shape (n_resamples, n_tasks)
        Weights of the tasks in every resample, alike for every score.
    copies : ndarray of shape (n_modules, 1 + n_resamples)
        How often each module is taken, in the same columns as the measures.
    """

    measures: dict[Key, dict[str, FloatMatrix]]
    weights: dict[int, FloatMatrix]
    copies: NDArray[np.intp]

    def mean(self, key: Key) -> FloatMatrix:
        """Return mean, low and high of every measure over the tasks of a score (3, n_measures)."""
        return _clipped(spread(np.array([*self.measures[key].values()]), self.weights), _RANGES)

    def difference(self, key: Key, other: Key) -> tuple[FloatMatrix, int]:
        """Return mean, low and high of `key` less `other` over the tasks of both, and how many."""
        first, second = self.measures[key], self.measures[other]
        tasks = [task for task in first if task in second]
        if not tasks:
            return np.zeros((3, len(MEASURES))), 0
        parts = np.array([first[task] - second[task] for task in tasks])
        widest = _RANGES[1] - _RANGES[0]
        return _clipped(spread(parts, self.weights), np.array([-widest, widest])), len(tasks)


def spread(parts: FloatMatrix, weights: Mapping[int, FloatMatrix]) -> FloatMatrix:
    """Return mean, low and high (3, n_measures) over tasks (n_tasks, n_measures, 1 + n_resamples).

    >>> spread(np.array([[[0.5, 0.5, 0.5]]]), {1: np.ones((2, 1))}).tolist()
    [[0.5], [0.5], [0.5]]
    """
    resampled = np.einsum("bt,tmb->bm", weights[len(parts)], parts[:, :, 1:])
    return np.array([parts[:, :, 0].mean(axis=0), *percentile_interval(resampled)])


def with_interval(name: str, mean: Any, low: Any, high: Any) -> dict[str, float]:
    """Return a number and its interval under the names of their columns.

    >>> with_interval("kendall", 0.5, 0.25, 1)
    {'kendall': 0.5, 'kendall_low': 0.25, 'kendall_high': 1.0}
    """
    return {name: float(mean), f"{name}_low": float(low), f"{name}_high": float(high)}


def _clipped(spread: FloatMatrix, ranges: FloatMatrix) -> FloatMatrix:
    """Keep intervals within what a measure can be: weights below 0 reach beyond."""
    return np.array([spread[0], *np.clip(spread[1:], ranges[0], ranges[1])])


def resample(pairs: Pairs, *, seed: int) -> tuple[Resampled, FloatMatrix]:
    """Return the resampled measures, and the measures themselves (n_rows, n_measures).

    Parameters
    ----------
    pairs : Pairs
        Predicted and achieved values.
    seed : int
        Of the resampling.
    """
    n_modules = pairs.predicted.shape[1]
    n_tasks = len(pairs.predicted.index.unique("task"))
    resamples = Resamples.of(range(1, n_tasks + 1), n_test=n_modules, seed=seed)
    whole = np.ones((n_modules, 1), dtype=np.intp)
    copies = np.hstack([whole, resamples.tests.astype(np.intp)])
    sums: dict[Key, dict[str, FloatMatrix]] = {}
    n_repeats: Counter[tuple[Any, ...]] = Counter()
    own = []
    for key, task, scores, achieved in pairs.cells():
        tried = np.isfinite(achieved)
        measures = rank_agreement(scores[tried], achieved[tried], copies[tried])
        own.append(measures[:, 0])
        by_task = sums.setdefault(key, {})
        by_task[task] = by_task.get(task, 0.0) + measures
        n_repeats[key, task] += 1
    means = {
        key: {task: total / n_repeats[key, task] for task, total in by_task.items()}
        for key, by_task in sums.items()
    }
    return Resampled(means, resamples.draws, copies), np.array(own)


def concordances(achieved: "pd.DataFrame", *, seed: int) -> list[dict[str, Any]]:
    """Return Kendall's W of the achieved accuracies, one row per label count.

    W is taken over the modules that were tried on every task, accuracies are means over repeats. It
    needs two tasks and two modules: where there are fewer, there is no row. Where all accuracies
    are the same there is no order, and W is 0.
    """
    cells = [axis for axis in ("n_labels", "task") if axis in achieved]
    means = achieved.groupby([*cells, "module"], sort=True)["achieved"].mean().unstack("module")
    parts = means.groupby(level="n_labels") if "n_labels" in achieved else [(None, means)]
    rows = []
    for n_labels, part in parts:
        values = part.dropna(axis="columns").to_numpy()
        if min(values.shape) < 2:
            continue
        named = {} if n_labels is None else {"n_labels": n_labels}
        sizes = {"n_tasks": values.shape[0], "n_modules": values.shape[1]}
        rows.append({**named, **_concordance(values, seed), **sizes})
    return rows


def _concordance(accuracies: FloatMatrix, seed: int) -> dict[str, float]:
    n_tasks, n_modules = accuracies.shape
    resamples = Resamples.of([n_tasks], n_test=n_modules, seed=seed)
    copies = resamples.tests.astype(np.float64)
    low, high = percentile_interval(_resampled(accuracies, copies, resamples.draws[n_tasks]))
    once, alike = np.ones((n_modules, 1)), np.full((1, n_tasks), 1 / n_tasks)
    whole = _resampled(accuracies, once, alike)[0]
    return with_interval("concordance", whole, low, high)


def _resampled(accuracies: FloatMatrix, copies: FloatMatrix, weights: FloatMatrix) -> FloatMatrix:
    """Return W (n_resamples,) for copies (n_modules, n_resamples) and weights (.., n_tasks).

    W with its correction for ties is the sum of the covariance matrix of the tasks' ranks over n
    times its trace. A task that is taken twice agrees with itself, which is no evidence: the
    covariances of different tasks are weighed to first order instead, as a mean over pairs is.
    """
    n_tasks = len(accuracies)
    signs = np.sign(accuracies[:, :, None] - accuracies[:, None, :])
    ranks = signs @ copies  # twice the rank less the mean rank, (n_tasks, n_modules, n_resamples)
    products = np.einsum("smb,tmb->bst", ranks * copies, ranks)
    own = np.einsum("btt->bt", products)
    others = (products.sum(axis=2) - own) / (n_tasks - 1)  # mean covariance with another task
    mean = others.mean(axis=1)
    between = mean + 2.0 * ((others - mean[:, None]) * weights).sum(axis=1)
    within = (own * weights).sum(axis=1)
    share = np.divide(between, within, out=np.full_like(within, -1.0), where=within > 0)
    return np.asarray(np.clip((1.0 + (n_tasks - 1) * share) / n_tasks, 0.0, 1.0))
