"""Two-way bootstrap of rank agreement: other tasks and other modules at once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from modtools.outputs._base import FloatMatrix
from modtools.studies._agreement_pairs import Pairs
from modtools.studies._bootstrap import Resamples, interval
from modtools.studies._rank_agreement import MEASURES, rank_agreement

__all__ = ["Key", "Resampled", "resample"]

Key: TypeAlias = tuple[Any, ...]  # a score, and its label budget where there are budgets


@dataclass(frozen=True)
class Resampled:
    """The measures of every score on every task, as they are and under every resample.

    Attributes
    ----------
    measures : dict
        For each score (and budget) and each task an array (n_measures, 1 + n_resamples), the mean
        over draws; the first column is the measure itself. Modules are resampled, alike everywhere.
    draws : dict of int to ndarray of shape (n_resamples, n_tasks)
        Weights of the tasks in every resample, alike for every score.
    """

    measures: dict[Key, dict[str, FloatMatrix]]
    draws: dict[int, FloatMatrix]

    def mean(self, key: Key) -> FloatMatrix:
        """Return mean, low and high of every measure over the tasks of a score (3, n_measures)."""
        return self._spread(list(self.measures[key].values()), _RANGES)

    def difference(self, key: Key, other: Key) -> tuple[FloatMatrix, int]:
        """Return mean, low and high of `key` less `other` over the tasks of both, and how many."""
        first, second = self.measures[key], self.measures[other]
        tasks = [task for task in first if task in second]
        if not tasks:
            return np.zeros((3, len(MEASURES))), 0
        parts = [first[task] - second[task] for task in tasks]
        widest = _RANGES[1] - _RANGES[0]
        return self._spread(parts, np.array([-widest, widest])), len(tasks)

    def _spread(self, parts: Sequence[FloatMatrix], ranges: FloatMatrix) -> FloatMatrix:
        tasks = np.array(parts)
        weights = self.draws[len(tasks)]
        resampled = np.einsum("bt,tmb->bm", weights, tasks[:, :, 1:])
        # Weights below 0 reach beyond what a measure can be.
        low, high = np.clip(interval(resampled), ranges[0], ranges[1])
        return np.array([tasks[:, :, 0].mean(axis=0), low, high])


# Correlations lie in [-1, 1], regrets in [0, 100] points.
_IS_REGRET = np.array([name.startswith("regret") for name in MEASURES])
_RANGES = np.where(_IS_REGRET, [[0.0], [100.0]], [[-1.0], [1.0]])


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
    names = list(pairs.predicted.index.names)
    axes = [names.index(axis) for axis in ("score", "budget") if axis in names]
    sums: dict[Key, dict[str, FloatMatrix]] = {}
    n_draws: Counter[tuple[Any, ...]] = Counter()
    own = []
    rows = zip(pairs.predicted.index, pairs.predicted.to_numpy(), pairs.truths(), strict=True)
    for where, scores, truth in rows:
        tried = np.isfinite(truth)
        measures = rank_agreement(scores[tried], truth[tried], copies[tried])
        own.append(measures[:, 0])
        key, task = tuple(where[axis] for axis in axes), where[names.index("task")]
        by_task = sums.setdefault(key, {})
        by_task[task] = by_task.get(task, 0.0) + measures
        n_draws[key, task] += 1
    means = {
        key: {task: total / n_draws[key, task] for task, total in by_task.items()}
        for key, by_task in sums.items()
    }
    return Resampled(means, resamples.draws), np.array(own)
