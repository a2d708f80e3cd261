"""How a curve goes on beyond its budgets: err(n) = e + a n^-b, or the reason why nobody can say."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from modtools._types import FloatMatrix

__all__ = ["go_on", "why_not"]

_TAIL = 30  # the power law is fitted from a 30th of the largest budget on: earlier it bends
_FEWEST, _LEAST_SPAN, _FURTHEST, _WIDEST = 4, 10, 10, 0.1
_EXPONENTS = np.geomspace(0.02, 2, 60)
_TAILS = (0.1, 0.9)
_BEND = 0.15  # per e-fold of labels: 80 % intervals then covered 80 % on five sets of features


def why_not(
    curve: FloatMatrix, resampled: FloatMatrix, counts: NDArray[np.intp], n_labels: int
) -> str:
    """Return why a curve cannot be extrapolated to a label count, or the empty string.

    Parameters
    ----------
    curve : ndarray of shape (n_counts,)
        Mean accuracy at each label count.
    resampled : ndarray of shape (n_resamples, n_counts)
        The same of every resample.
    counts : ndarray of shape (n_counts,)
        Rising label counts.
    n_labels : int
        How far.
    """
    tail = counts >= counts[-1] / _TAIL
    if n_labels <= counts[-1]:
        return f"{n_labels} lies within the budgets: read frame()"
    if n_labels > _FURTHEST * counts[-1]:
        return f"{n_labels} is more than {_FURTHEST} times the largest budget, {counts[-1]}"
    if np.count_nonzero(tail) < _FEWEST or counts[-1] < _LEAST_SPAN * counts[tail][0]:
        return f"at least {_FEWEST} budgets over a factor of {_LEAST_SPAN} are needed"
    if curve[tail].max() == 1:
        return "no error is left to extrapolate"
    # The last half of the tail on a logarithmic axis must rise in nearly every resample.
    middle = np.searchsorted(counts, np.sqrt(counts[tail][0] * counts[-1]))
    middle = min(int(middle), len(counts) - 2)
    slopes = _slopes(resampled[:, middle:], np.log(counts[middle:]))
    if np.quantile(slopes, _TAILS[0]) <= 0:
        return "accuracy does not rise beyond its noise over the last budgets"
    return ""


def _slopes(curves: FloatMatrix, logs: FloatMatrix) -> FloatMatrix:
    centred = logs - logs.mean()
    return np.asarray(curves @ centred / (centred @ centred))


def go_on(
    curve: FloatMatrix, resampled: FloatMatrix, counts: NDArray[np.intp], n_labels: int
) -> dict[str, Any]:
    """Return accuracy and 80 % interval at a label count beyond the budgets, or why not.

    Two families, with and without an error that never vanishes, are fitted to the mean curve and
    to every resample, and averaged with Akaike weights.

    Parameters
    ----------
    curve, resampled, counts, n_labels
        As in `why_not`.

    Returns
    -------
    dict
        n_labels, accuracy, accuracy_low, accuracy_high, refused.
    """
    values = dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high"), np.nan)
    refused = why_not(curve, resampled, counts, n_labels)
    if not refused:
        tail = counts >= counts[-1] / _TAIL
        weights = 1 / np.maximum(resampled[:, tail].var(axis=0), 1e-8)
        errors = 1 - np.vstack([curve, resampled])[:, tail]
        found, shares = _extrapolated(errors, counts[tail], weights, n_labels)
        found[1:] *= _bends(len(resampled), np.log(n_labels / counts[-1]))
        found = np.minimum(found, 1.0)  # no accuracy lies below 0
        low, high = _weighted_quantiles(found[1:].ravel(), shares[1:].ravel())
        if high - low > 2 * _WIDEST:
            refused = (
                f"the data do not say: the 80 % interval spans {100 * (high - low):.0f} points"
            )
        else:
            error = float((found[0] * shares[0]).sum())
            values = {"accuracy": 1 - error, "accuracy_low": 1 - high, "accuracy_high": 1 - low}
    return {"n_labels": n_labels, **values, "refused": refused}


def _extrapolated(
    errors: FloatMatrix, counts: NDArray[np.intp], weights: FloatMatrix, n_labels: int
) -> tuple[FloatMatrix, FloatMatrix]:
    """Return the error of each curve at n_labels in both families, and the families' shares."""
    found, criteria = [], []
    for with_floor in (False, True):
        best = np.full(len(errors), np.inf)
        value = np.zeros(len(errors))
        for exponent in _EXPONENTS:
            powers = (counts / counts[-1]) ** -exponent
            floor, factor = _fit(errors, powers, weights, with_floor=with_floor)
            misfit = errors - floor[:, None] - factor[:, None] * powers
            loss = (weights * misfit**2).sum(axis=1)
            is_better = loss < best
            further = floor + factor * (n_labels / counts[-1]) ** -exponent
            best, value = np.where(is_better, loss, best), np.where(is_better, further, value)
        found.append(value)
        criteria.append(best + 2 * (3 if with_floor else 2))
    relative = np.exp(-(np.array(criteria) - np.min(criteria, axis=0)) / 2)
    return np.array(found).T, (relative / relative.sum(axis=0)).T


def _fit(
    errors: FloatMatrix, powers: FloatMatrix, weights: FloatMatrix, *, with_floor: bool
) -> tuple[FloatMatrix, FloatMatrix]:
    """Return floor and factor, both at least 0, of weighted least squares for one exponent."""
    own = weights * powers
    factor = errors @ own / (powers @ own)
    floor = np.zeros(len(errors))
    if with_floor:
        mean, centre = errors @ weights / weights.sum(), own.sum() / weights.sum()
        spread = weights * (powers - centre)
        free = (errors - mean[:, None]) @ spread / ((powers - centre) @ spread)
        level = mean - free * centre
        is_inside = (free > 0) & (level > 0)
        factor, floor = np.where(is_inside, free, factor), np.where(is_inside, level, floor)
    return floor, np.maximum(factor, 0.0)


def _bends(n_resamples: int, distance: float) -> FloatMatrix:
    """Return factors of the error for curves that do not go on as they did: wider the further."""
    ranks = (np.random.default_rng(0).permutation(n_resamples) + 0.5) / n_resamples
    return np.asarray(np.exp(_BEND * distance * ndtri(ranks))[:, None])


def _weighted_quantiles(values: FloatMatrix, shares: FloatMatrix) -> tuple[float, float]:
    order = np.argsort(values)
    reached = np.cumsum(shares[order]) / shares.sum()
    low, high = (values[order[np.searchsorted(reached, tail)]] for tail in _TAILS)
    return float(low), float(high)
