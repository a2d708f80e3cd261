"""Confidence intervals: quantiles, Wilson, Agresti-Coull, and the two-way bootstrap of studies."""

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
# Rounded quantiles of the normal distribution. Published results were computed with these digits:
# the half widths are off by 2e-8 of themselves, in predictions, curves and forecasts by 5e-5.
NORMAL_95: Final = 1.959964
ROUNDED_95: Final = 1.96
ROUNDED_80: Final = 1.2816
_N_RESAMPLES: Final = 1000
_COUNTS: Final = 256  # label counts that are unpacked at once


class MeasuredAccuracy(NamedTuple):
    """An accuracy on held-out examples, with its 95 % interval if known.

    Attributes
    ----------
    value : float
        Accuracy, in [0, 1].
    low, high : float or None
        Ends of the interval, in [0, 1].
    """

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: float, n_samples: int) -> "MeasuredAccuracy":
        """Return an accuracy on `n_samples` independent test examples with its Wilson interval.

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
    """Return the Wilson score interval of proportions of `n_samples` examples.

    The same as ``scipy.stats.binomtest(k, n).proportion_ci(method="wilson")``, for many at once.

    Parameters
    ----------
    shares : float or ndarray
        Proportions, in [0, 1].
    n_samples : int
        Number of examples.
    quantile : float, optional
        Two-sided quantile of the normal distribution, which sets the level; 95 % by default.

    Returns
    -------
    low, high : float or ndarray
        Ends of the intervals, in [0, 1]; of the shape of `shares`.

    References
    ----------
    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.

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
    """Return proportions after adding two successes and two failures (Agresti & Coull 1998).

    Their variance p (1 - p) does not vanish where the plain proportion is 0 or 1.

    >>> agresti_coull([0.5, 1.0], 96).tolist()
    [0.5, 0.98]
    """
    return np.asarray((n_samples * np.asarray(shares, dtype=float) + 2) / (n_samples + 4))


def student_95(degrees: int) -> float:
    """Return the two-sided 95 % quantile of Student's t distribution with `degrees` of freedom.

    >>> round(student_95(4), 3)
    2.776
    """
    return float(stdtrit(degrees, 1 - _TAIL))


@dataclass(frozen=True)
class Resamples:
    """Two-way bootstrap: weights of repeats (random subsets of labels) and of test examples.

    The weights are the same for every curve, so that curves stay paired.

    Attributes
    ----------
    draws : dict of int to ndarray of shape (n_resamples, n_draws)
        Weights of the repeats, for each number of repeats; each row sums to 1, and weights may be
        negative.
    tests : ndarray of shape (n_test, n_resamples)
        How often each test example is drawn.

    Examples
    --------
    >>> resamples = Resamples.of([3], n_test=8, seed=0)
    >>> right = np.packbits(np.ones((3, 2, 8), dtype=bool), axis=2)  # 3 repeats, 2 label counts
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
            Numbers of repeats that occur.
        n_test : int
            Number of test examples.
        seed : int
            Seed of the resampling.
        """
        rng = np.random.default_rng([seed, n_test])
        tests = _times_taken(rng, n_test).T.astype(np.float32)
        return cls({n: _draw_weights(n, seed) for n in set(n_draws)}, tests)

    def accuracies(self, right: NDArray[np.uint8]) -> FloatMatrix:
        """Return the mean accuracy of every resample (n_resamples, n_counts), in [0, 1].

        Parameters
        ----------
        right : ndarray of shape (n_draws, n_counts, n_bytes)
            Which test examples are classified correctly, eight bits per byte.
        """
        n_test, n_resamples = self.tests.shape
        weights, totals = self.draws[len(right)], np.zeros((right.shape[1], n_resamples))
        for start in range(0, right.shape[1], _COUNTS):
            place = slice(start, start + _COUNTS)
            for number, packed in enumerate(right):
                bits = np.unpackbits(packed[place], axis=1, count=n_test).astype(np.float32)
                totals[place] += (bits @ self.tests) * weights[:, number]
        # With negative weights the mean can leave the range of an accuracy.
        return np.asarray(np.clip(totals.T / n_test, 0.0, 1.0))

    def means(self, values: FloatMatrix) -> FloatMatrix:
        """Return the weighted mean over repeats of every resample (n_resamples, n_counts).

        Parameters
        ----------
        values : ndarray of shape (n_draws, n_counts)
            One number per repeat and label count; test examples are held fixed.
        """
        return np.asarray(self.draws[len(values)] @ values)


def _draw_weights(n_draws: int, seed: int) -> FloatMatrix:
    """Return weights (n_resamples, n_draws) whose means are spread as widely as a t interval.

    The bootstrap of n values is too narrow by the factor sqrt((n-1)/n), and its percentiles are
    those of a normal distribution instead of Student's t. The deviations of the weights from 1/n
    are enlarged by both factors. The weights sum to 1; with few repeats some are negative.
    """
    if n_draws == 1:
        return np.ones((_N_RESAMPLES, 1))
    wide = student_95(n_draws - 1) / NORMAL_95 * np.sqrt(n_draws / (n_draws - 1))
    taken = _times_taken(np.random.default_rng([seed, n_draws, 1]), n_draws) / n_draws
    return np.asarray(1 / n_draws + wide * (taken - 1 / n_draws))


def _times_taken(rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    """Return how often each of n items is drawn in n draws with replacement, per resample."""
    drawn = (rng.integers(0, n, n) for _ in range(_N_RESAMPLES))
    return np.stack([np.bincount(chosen, minlength=n) for chosen in drawn])


def percentile_interval(resampled: FloatMatrix) -> tuple[FloatMatrix, FloatMatrix]:
    """Return the 95 % percentile interval over the first axis.

    Infinite values, which stand for label counts out of range, are ordered but never averaged.

    >>> percentile_interval(np.arange(101.0))
    (array(2.), array(98.))
    """
    low = np.quantile(resampled, _TAIL, axis=0, method="lower")
    high = np.quantile(resampled, 1 - _TAIL, axis=0, method="higher")
    return np.asarray(low), np.asarray(high)
