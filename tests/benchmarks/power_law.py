"""The power law of version 0.1, err(n) = e + a n^-b: a reference that `ErrorLaw` is compared with.

Two families, with and without an error e that never vanishes, are fitted to the mean curve and to
every resample by weighted least squares, and averaged with Akaike weights. It was
modtools/studies/_power_law.py until version 0.1; what it refused is refused elsewhere.
"""

import numpy as np
from scipy.special import ndtri

_TAIL = 30  # the power law is fitted from a 30th of the largest label count on: earlier it bends
_EXPONENTS = np.geomspace(0.02, 2, 60)
_TAILS = (0.1, 0.9)
_BEND = 0.15  # per e-fold of labels: 80 % intervals then covered 80 % on five sets of features


def power_law(curve, resampled, counts, n_labels):
    """Return accuracy, lower and upper end of the 80 % interval (3, n) at n label counts.

    The curve (n_counts,) and its resamples (n_resamples, n_counts) are mean accuracies at counts.
    """
    tail = counts >= counts[-1] / _TAIL
    weights = 1 / np.maximum(resampled[:, tail].var(axis=0), 1e-8)
    errors = 1 - np.vstack([curve, resampled])[:, tail]
    found, shares = _extrapolated(errors, counts[tail], weights, np.asarray(n_labels, dtype=float))
    values = []
    for place, ahead in enumerate(n_labels):
        own = found[:, place].copy()
        own[1:] *= _bends(len(resampled), np.log(ahead / counts[-1]))
        own = np.minimum(own, 1.0)  # no accuracy lies below 0
        low, high = _weighted_quantiles(own[1:].ravel(), shares[1:].ravel())
        values.append((1 - (own[0] * shares[0]).sum(), 1 - high, 1 - low))
    return np.array(values).T


def _extrapolated(errors, counts, weights, n_labels):
    """Return errors (n_curves, n, 2) in both families, and the families' shares (n_curves, 2)."""
    found, criteria = [], []
    for with_floor in (False, True):
        best = np.full(len(errors), np.inf)
        value = np.zeros((len(errors), len(n_labels)))
        for exponent in _EXPONENTS:
            powers = (counts / counts[-1]) ** -exponent
            floor, factor = _fit(errors, powers, weights, with_floor=with_floor)
            misfit = errors - floor[:, None] - factor[:, None] * powers
            loss = (weights * misfit**2).sum(axis=1)
            is_better = loss < best
            further = floor[:, None] + factor[:, None] * (n_labels / counts[-1]) ** -exponent
            best = np.where(is_better, loss, best)
            value = np.where(is_better[:, None], further, value)
        found.append(value)
        criteria.append(best + 2 * (3 if with_floor else 2))
    relative = np.exp(-(np.array(criteria) - np.min(criteria, axis=0)) / 2)
    return np.stack(found, axis=2), (relative / relative.sum(axis=0)).T


def _fit(errors, powers, weights, *, with_floor):
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


def _bends(n_resamples, distance):
    """Return factors of the error for curves that do not go on as they did: wider the further."""
    ranks = (np.random.default_rng(0).permutation(n_resamples) + 0.5) / n_resamples
    return np.exp(_BEND * distance * ndtri(ranks))[:, None]


def _weighted_quantiles(values, shares):
    order = np.argsort(values)
    reached = np.cumsum(shares[order]) / shares.sum()
    return tuple(values[order[np.searchsorted(reached, tail)]] for tail in _TAILS)
