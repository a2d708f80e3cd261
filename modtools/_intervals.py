"""Intervals: quantiles, Wilson, Agresti-Coull, and the two-way bootstrap of studies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from modtools._types import FloatMatrix

__all__ = [
    "NORMAL_95",
    "ROUNDED_80",
    "ROUNDED_95",
    "MeasuredAccuracy",
    "Resamples",
    "agresti_coull",
    "percentile_interval",
    "student_95",
    "wilson",
]

_TAIL: Final = 0.025
# Quantiles of the normal distribution, rounded as results have always been computed with them: to
# 2e-8, and in predictions, learning curves and forecasts to 5e-5, of a half width.
NORMAL_95: Final = 1.959964
ROUNDED_95: Final = 1.96
ROUNDED_80: Final = 1.2816
_N_RESAMPLES: Final = 1000
_COUNTS: Final = 256  # label counts that are unpacked at a time


class MeasuredAccuracy(NamedTuple):
    """An accuracy on held-out examples, with its 95 % interval where known; all in [0, 1]."""

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: float, n_samples: int) -> "MeasuredAccuracy":
        """Return an accuracy with its Wilson interval: the examples as a sample.

        >>> [round(number, 3) for number in MeasuredAccuracy.of(1.0, 100)]
        [1.0, 0.963, 1.0]
        """
        return cls(value, *map(float, wilson(value, n_samples)))


@overload
def wilson(shares: float, n_samples: int, *, quantile: float = ...) -> tuple[float, float]: ...


@overload
def wilson(
    shares: FloatMatrix, n_samples: int, *, quantile: float = ...
) -> tuple[FloatMatrix, FloatMatrix]: ...


def wilson(
    shares: float | FloatMatrix, n_samples: int, *, quantile: float = NORMAL_95
) -> tuple[float | FloatMatrix, float | FloatMatrix]:
    """Return the Wilson (1927) score interval of shares that were counted on so many examples.

    The same as ``scipy.stats.binomtest(k, n).proportion_ci(method="wilson")``, for many at once.

    Parameters
    ----------
    shares : float or ndarray
        In [0, 1].
    n_samples : int
        On how many examples they were counted.
    quantile : float, optional
        Of the normal distribution, which sets the level; 95 % by default.

    Returns
    -------
    low, high : float or ndarray
        In [0, 1], like `shares`.

    Examples
    --------
    >>> low, high = wilson(np.array([0.5, 1.0]), 100)
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([0.404, 0.963], [0.596, 1.0])
    """
    spread = quantile**2 / n_samples
    centre = shares + spread / 2
    half = quantile * np.sqrt(shares * (1 - shares) / n_samples + spread / (4 * n_samples))
    low, high = (centre - half) / (1 + spread), (centre + half) / (1 + spread)
    return np.maximum(low, 0.0), np.minimum(high, 1.0)


def agresti_coull(shares: ArrayLike, n_samples: int) -> FloatMatrix:
    """Return shares moved by two successes and two failures (Agresti & Coull 1998).

    Their p (1 - p) is a variance that does not vanish at shares of 0 and 1.

    >>> agresti_coull([0.5, 1.0], 96).tolist()
    [0.5, 0.98]
    """
    return np.asarray((n_samples * np.asarray(shares, dtype=float) + 2) / (n_samples + 4))


def student_95(degrees: int) -> float:
    """Return the two-sided 95 % quantile of Student's t distribution.

    >>> round(student_95(4), 3)
    2.776
    """
    return float(stdtrit(degrees, 1 - _TAIL))


@dataclass(frozen=True)
class Resamples:
    """Weights of draws and of test rows, the same for every line, so that lines stay paired.

    Attributes
    ----------
    draws : dict of int to ndarray of shape (n_resamples, n_draws)
        For each number of draws their weights; a row sums to 1, and may hold negative weights.
    tests : ndarray of shape (n_test, n_resamples)
        How often each test row is taken.

    Examples
    --------
    >>> resamples = Resamples.of([3], n_test=8, seed=0)
    >>> right = np.packbits(np.ones((3, 2, 8), dtype=bool), axis=2)  # 3 draws, 2 label counts
    >>> resamples.accuracies(right).shape, resamples.accuracies(right).min().round(6)
    ((1000, 2), np.float64(1.0))
    """

    draws: dict[int, FloatMatrix]
    tests: NDArray[np.float32]

    @classmethod
    def of(cls, n_draws: Sequence[int], *, n_test: int, seed: int) -> "Resamples":
        """Draw the weights.

        Parameters
        ----------
        n_draws : sequence of int
            Numbers of draws that occur.
        n_test : int
            Number of test rows.
        seed : int
            Of the resampling.
        """
        rng = np.random.default_rng([seed, n_test])
        tests = _times_taken(rng, n_test).T.astype(np.float32)
        return cls({n: _draw_weights(n, seed) for n in set(n_draws)}, tests)

    def accuracies(self, right: NDArray[np.uint8]) -> FloatMatrix:
        """Return the mean accuracy of every resample (n_resamples, n_counts), in [0, 1].

        Parameters
        ----------
        right : ndarray of shape (n_draws, n_counts, n_bytes)
            Which test rows are right, eight to a byte.
        """
        n_test, n_resamples = self.tests.shape
        weights, totals = self.draws[len(right)], np.zeros((right.shape[1], n_resamples))
        for start in range(0, right.shape[1], _COUNTS):
            place = slice(start, start + _COUNTS)
            for number, packed in enumerate(right):
                bits = np.unpackbits(packed[place], axis=1, count=n_test).astype(np.float32)
                totals[place] += (bits @ self.tests) * weights[:, number]
        # Weights below 0 reach beyond what an accuracy can be.
        return np.asarray(np.clip(totals.T / n_test, 0.0, 1.0))

    def means(self, values: FloatMatrix) -> FloatMatrix:
        """Return the weighted mean over draws of every resample (n_resamples, n_counts).

        Parameters
        ----------
        values : ndarray of shape (n_draws, n_counts)
            One number a draw and label count; test rows are held fixed.
        """
        return np.asarray(self.draws[len(values)] @ values)


def _draw_weights(n_draws: int, seed: int) -> FloatMatrix:
    """Return weights (n_resamples, n_draws) whose means vary as a t interval of the mean is wide.

    Taking n out of n is too narrow by the factor sqrt((n-1)/n), and percentiles know nothing of
    Student's t: the weights lie further from 1/n by as much as both. They sum to 1, and those of
    few draws may be negative.
    """
    if n_draws == 1:
        return np.ones((_N_RESAMPLES, 1))
    wide = student_95(n_draws - 1) / NORMAL_95 * np.sqrt(n_draws / (n_draws - 1))
    taken = _times_taken(np.random.default_rng([seed, n_draws, 1]), n_draws) / n_draws
    return np.asarray(1 / n_draws + wide * (taken - 1 / n_draws))


def _times_taken(rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    """Return how often each of n is taken when n are, in every resample."""
    taken = (rng.integers(0, n, n) for _ in range(_N_RESAMPLES))
    return np.stack([np.bincount(chosen, minlength=n) for chosen in taken])


def percentile_interval(resampled: FloatMatrix) -> tuple[FloatMatrix, FloatMatrix]:
    """Return the 95 % percentile interval over the first axis.

    Infinite values, which stand for what lies beyond the label counts, are ordered, never averaged.

    >>> percentile_interval(np.arange(101.0))
    (array(2.), array(98.))
    """
    low = np.quantile(resampled, _TAIL, axis=0, method="lower")
    high = np.quantile(resampled, 1 - _TAIL, axis=0, method="higher")
    return np.asarray(low), np.asarray(high)
