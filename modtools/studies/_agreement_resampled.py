"""Two-way bootstrap of rank agreement: other tasks and other modules at once."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modtools._intervals import Resamples, percentile_interval
from modtools._types import FloatMatrix
from modtools.studies._agreement_pairs import Key, Pairs
from modtools.studies._rank_agreement import MEASURES, rank_agreement

__all__ = ["Resampled", "resample", "spread"]


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
    copies : ndarray of shape (n_modules, 1 + n_resamples)
        How often each module is taken, in the same columns as the measures.
    """

    measures: dict[Key, dict[str, FloatMatrix]]
    draws: dict[int, FloatMatrix]
    copies: NDArray[np.intp]

    def mean(self, key: Key) -> FloatMatrix:
        """Return mean, low and high of every measure over the tasks of a score (3, n_measures)."""
        return _clipped(spread(np.array([*self.measures[key].values()]), self.draws), _RANGES)

    def difference(self, key: Key, other: Key) -> tuple[FloatMatrix, int]:
        """Return mean, low and high of `key` less `other` over the tasks of both, and how many."""
        first, second = self.measures[key], self.measures[other]
        tasks = [task for task in first if task in second]
        if not tasks:
            return np.zeros((3, len(MEASURES))), 0
        parts = np.array([first[task] - second[task] for task in tasks])
        widest = _RANGES[1] - _RANGES[0]
        return _clipped(spread(parts, self.draws), np.array([-widest, widest])), len(tasks)


def spread(parts: FloatMatrix, draws: Mapping[int, FloatMatrix]) -> FloatMatrix:
    """Return mean, low and high (3, n_measures) over tasks (n_tasks, n_measures, 1 + n_resamples).

    >>> spread(np.array([[[0.5, 0.5, 0.5]]]), {1: np.ones((2, 1))}).tolist()
    [[0.5], [0.5], [0.5]]
    """
    resampled = np.einsum("bt,tmb->bm", draws[len(parts)], parts[:, :, 1:])
    return np.array([parts[:, :, 0].mean(axis=0), *percentile_interval(resampled)])


def _clipped(spread: FloatMatrix, ranges: FloatMatrix) -> FloatMatrix:
    """Keep intervals within what a measure can be: weights below 0 reach beyond."""
    return np.array([spread[0], *np.clip(spread[1:], ranges[0], ranges[1])])


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
    sums: dict[Key, dict[str, FloatMatrix]] = {}
    n_draws: Counter[tuple[Any, ...]] = Counter()
    own = []
    for key, task, scores, truth in pairs.cells():
        tried = np.isfinite(truth)
        measures = rank_agreement(scores[tried], truth[tried], copies[tried])
        own.append(measures[:, 0])
        by_task = sums.setdefault(key, {})
        by_task[task] = by_task.get(task, 0.0) + measures
        n_draws[key, task] += 1
    means = {
        key: {task: total / n_draws[key, task] for task, total in by_task.items()}
        for key, by_task in sums.items()
    }
    return Resampled(means, resamples.draws, copies), np.array(own)
