"""Fidelity: whether a gap between two scores says how far apart the modules really are.

A score can order modules well and still say nothing by the size of its gaps. Four questions, over
pairs of modules of one task: do gaps of the score follow gaps of the accuracy; are larger gaps more
often in the right direction; is the order right among modules of one size; and what accuracy does a
score predict on a task that its calibration never saw?
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.stats import rankdata

from modtools._intervals import percentile_interval
from modtools._types import FloatMatrix
from modtools.exceptions import ModtoolsError
from modtools.studies._rank_agreement import Resampled, spread, with_interval
from modtools.studies._tables import Key, Pairs

__all__ = ["fidelity"]

_QUARTERS: Final = 4
_SAME_SIZE: Final = 1.5
_BAND: Final = (0.1, 0.9)  # the residuals between which an 80 % band lies
_SHARES: Final = ["ordered", *(f"ordered_q{q}" for q in range(1, _QUARTERS + 1)), "same_size"]
Mask: TypeAlias = NDArray[np.bool_]
Columns: TypeAlias = dict[str, float]


@dataclass(frozen=True)
class _Cell:
    """One score on one repeat of one task: the modules it covers, their values and copies."""

    known: Mask
    scores: FloatMatrix
    achieved: FloatMatrix
    copies: FloatMatrix

    def gaps(self) -> tuple[FloatMatrix, FloatMatrix]:
        """Return the differences of the scores and of the accuracies of every ordered pair."""
        scores, achieved = self.scores, self.achieved
        return scores[:, None] - scores, achieved[:, None] - achieved


def fidelity(
    pairs: Pairs, resampled: Resampled, sizes: Mapping[str, float] | None
) -> dict[Key, Columns]:
    """Return for each score (and label count) what its gaps are worth, with 95 % intervals."""
    close = _same_size(pairs.predicted.columns.tolist(), sizes)
    found: dict[Key, dict[str, list[_Cell]]] = {}
    for key, task, scores, achieved in pairs.cells():
        known = np.isfinite(scores)
        copies = resampled.copies[known].astype(np.float64)
        cell = _Cell(known, scores[known], achieved[known], copies)
        found.setdefault(key, {}).setdefault(task, []).append(cell)
    return {
        key: {
            **_gap_columns(list(by_task.values()), resampled),
            **_share_columns(list(by_task.values()), resampled, close),
            **_calibrated_columns(list(by_task.values()), resampled),
        }
        for key, by_task in found.items()
    }


def _same_size(modules: Sequence[str], sizes: Mapping[str, float] | None) -> Mask | None:
    """Return which pairs of modules are within a factor of 1.5; those without a size are not."""
    if sizes is None:
        return None
    if not isinstance(sizes, Mapping):
        raise ModtoolsError(f"sizes must be {{module: number}}; got {type(sizes).__name__}.")
    known = {name: sizes[name] for name in modules if name in sizes}
    for module, size in known.items():
        is_number = isinstance(size, Real) and not isinstance(size, bool)
        if not is_number or float(size) < 0 or np.isinf(size):
            raise ModtoolsError(f'sizes must be finite and at least 0; "{module}" has {size!r}.')
    numbers = np.array([float(known.get(module, np.nan)) for module in modules])
    larger = np.fmax(numbers[:, None], numbers)
    return np.asarray(larger <= _SAME_SIZE * np.minimum(numbers[:, None], numbers))


def _quadratic(form: FloatMatrix, copies: FloatMatrix) -> FloatMatrix:
    """Return the sum of a form over all pairs of copies, under every resample."""
    return np.asarray(np.einsum("mb,mb->b", form @ copies, copies))


def _gap_columns(tasks: Sequence[Sequence[_Cell]], resampled: Resampled) -> Columns:
    """Return the correlations of score gaps with accuracy gaps, all pairs of all tasks pooled.

    Within one task the Pearson correlation of the gaps is that of the values; over tasks it also
    asks whether a gap means the same everywhere.
    """
    gaps = [[cell.gaps() for cell in task] for task in tasks]
    found: Columns = {}
    for name in ("pearson", "spearman"):
        first, second = (
            _leveled([[pair[side] for pair in task] for task in gaps], ranked=name == "spearman")
            for side in (0, 1)
        )
        sums = np.array(
            [
                np.mean(
                    [_products(x, y, cell.copies) for x, y, cell in zip(*parts, strict=True)],
                    axis=0,
                )
                for parts in zip(first, second, tasks, strict=True)
            ]
        )
        found |= with_interval(f"gap_{name}", *_pooled(sums, resampled.weights[len(tasks)]))
    return found


def _leveled(gaps: list[list[FloatMatrix]], *, ranked: bool) -> list[list[FloatMatrix]]:
    """Return gaps scaled by the largest of all, or their centred ranks among all."""
    flat = np.concatenate([gap.ravel() for task in gaps for gap in task])
    flat = rankdata(flat) - (len(flat) + 1) / 2 if ranked else flat
    flat = flat / max(float(np.abs(flat).max()), float(np.finfo(float).tiny))
    ends = np.cumsum([gap.size for task in gaps for gap in task])[:-1]
    parts: Iterator[FloatMatrix] = iter(np.split(flat, ends))
    return [[next(parts).reshape(gap.shape) for gap in task] for task in gaps]


def _products(first: FloatMatrix, second: FloatMatrix, copies: FloatMatrix) -> FloatMatrix:
    forms = (first * second, first**2, second**2)
    return np.array([_quadratic(form, copies) for form in forms])


def _pooled(sums: FloatMatrix, weights: FloatMatrix) -> tuple[float, float, float]:
    """Return a correlation of sums over tasks (n_tasks, 3, ..) with its interval.

    Weights of tasks act to first order, so that those below 0 cannot make a variance negative.
    """
    both, first, second = means = sums.mean(axis=0)
    norm = np.sqrt(first * second)
    if norm[0] == 0:
        return 0.0, 0.0, 0.0
    inverse = np.divide(1.0, means, out=np.zeros_like(means), where=means != 0)
    scale = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)
    whole = both * scale
    pull = sums[:, 0] * scale - whole / 2 * (sums[:, 1] * inverse[1] + sums[:, 2] * inverse[2])
    spreads = whole[1:] + np.einsum("bt,tb->b", weights, pull[:, 1:])
    low, high = np.clip(percentile_interval(spreads), -1.0, 1.0)
    return float(whole[0]), float(low), float(high)


def _share_columns(
    tasks: Sequence[Sequence[_Cell]], resampled: Resampled, close: Mask | None
) -> Columns:
    """Return the fractions of pairs in order: of all, by quarter of the gap, of one size."""
    per_task = []
    for task in tasks:
        shares = np.array([_shares(cell, close) for cell in task])
        there = np.isfinite(shares[:, :, :1])
        total, count = np.where(there, shares, 0.0).sum(axis=0), there.sum(axis=0)
        per_task.append(np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0))
    found: Columns = {}
    for place, name in enumerate(_SHARES):
        values = [part[place] for part in per_task if np.isfinite(part[place]).all()]
        if values:
            mean, low, high = spread(np.array(values)[:, None], resampled.weights)[:, 0]
            found |= with_interval(name, mean, *np.clip([low, high], 0.0, 1.0))
    return found


def _shares(cell: _Cell, close: Mask | None) -> FloatMatrix:
    """Return the fraction of pairs that the score puts in order (n_shares, ..); NaN without pairs.

    Pairs of equal accuracy have no order; a tie of the score counts half.
    """
    scores, achieved = cell.gaps()
    decided = achieved != 0
    upper = np.triu(decided)
    ranks = np.zeros(scores.shape)
    ranks[upper] = rankdata(np.abs(scores[upper]))
    quarter = np.ceil(_QUARTERS * (ranks + ranks.T) / max(1, int(np.count_nonzero(upper))))
    near = np.zeros_like(decided) if close is None else close[np.ix_(cell.known, cell.known)]
    chosen = [decided, *(decided & (quarter == q + 1) for q in range(_QUARTERS)), decided & near]
    right = np.sign(scores) * np.sign(achieved)
    found = []
    for mask in chosen:
        n_pairs = _quadratic(mask.astype(np.float64), cell.copies)
        balance = _quadratic(right * mask, cell.copies)
        share = np.divide(balance, n_pairs, out=np.full_like(n_pairs, np.nan), where=n_pairs > 0)
        # A resample without any such pair says nothing: the whole stands in for it.
        found.append(0.5 + 0.5 * np.where(np.isnan(share), share[0], share))
    return np.array(found)


def _calibrated_columns(tasks: Sequence[Sequence[_Cell]], resampled: Resampled) -> Columns:
    """Return how far off a calibrated score is on a task left out, and what its 80 % band holds.

    The calibration is the rising function nearest to the other tasks. The band spans the middle
    80 % of the errors that such calibrations make on tasks that they were not fitted to either.
    """
    n_tasks = len(tasks)
    if n_tasks < 3:
        return {}
    scores = [np.concatenate([cell.scores for cell in task]) for task in tasks]
    achieved = [np.concatenate([cell.achieved for cell in task]) for task in tasks]
    copies = [np.vstack([cell.copies for cell in task]) for task in tasks]
    off: dict[tuple[int, int], FloatMatrix] = {}  # errors on the first task, fitted without both
    for one in range(n_tasks):
        for other in range(one, n_tasks):
            rest = [place for place in range(n_tasks) if place not in (one, other)]
            fit = _rising([scores[t] for t in rest], [achieved[t] for t in rest])
            for left, out in ((one, other), (other, one)):
                off[left, out] = achieved[left] - np.interp(scores[left], *fit)
    measures, widths = [], []
    for task in range(n_tasks):
        others = np.concatenate([off[t, task] for t in range(n_tasks) if t != task])
        low, high = np.quantile(others, _BAND)
        errors = off[task, task]
        held = (errors >= low) & (errors <= high)
        taken = copies[task] / np.maximum(copies[task].sum(axis=0), 1.0)
        measures.append([100.0 * np.abs(errors) @ taken, held @ taken])
        widths.append(100.0 * (high - low))
    found = spread(np.array(measures), resampled.weights)
    error, coverage = found[:, 0], found[:, 1]
    return {
        **with_interval("error", error[0], *np.clip(error[1:], 0.0, 100.0)),
        **with_interval("coverage", coverage[0], *np.clip(coverage[1:], 0.0, 1.0)),
        "band": float(np.mean(widths)),
    }


def _rising(
    scores: Sequence[FloatMatrix], achieved: Sequence[FloatMatrix]
) -> tuple[FloatMatrix, FloatMatrix]:
    """Return the corners of the rising function nearest to the accuracies, every value alike."""
    values, place = np.unique(np.concatenate(scores), return_inverse=True)
    counts = np.bincount(place)
    means = np.bincount(place, np.concatenate(achieved)) / counts
    return values, np.asarray(isotonic_regression(means, weights=counts.astype(float)).x)
