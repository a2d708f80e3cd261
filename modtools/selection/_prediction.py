"""From held-out predictions of all candidates to accuracies and the probability of being best."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from modtools._intervals import ROUNDED_95, agresti_coull
from modtools._types import FloatMatrix

__all__ = ["Prediction", "predict_accuracies"]


# Other labelled examples would also train other output modules: the variance of an accuracy is so
# many times that of a fraction of n examples. Calibrated on retrained output modules
# (docs/picking.md).
TRAINING_DRAW = 1.4
_LOG2_POINTS = 14
_LEAST_WEIGHT = 1e-3
_TIE = 1e-6  # of accuracy; what differs by less is equal
_DIGITS = 9  # to which numbers are compared where rounding must not decide
_ROUNDING = 1e-12  # differences of scores below this share of them are rounding


@dataclass(frozen=True)
class Prediction:
    """Predicted accuracies of retrained output modules, and how they may be off together.

    Accuracies are jointly normal with one `covariance`: the intervals, the differences in pairs
    with theirs, the probability of being the best and so the pick all follow from it.

    Attributes
    ----------
    modules : tuple of str
        Names of the modules.
    accuracy : ndarray of shape (n_modules,)
        Predicted accuracy, shrunk to the mean of the candidates by as much as labels are too few,
        so that the picked module is not flattered by having been picked.
    deviation : ndarray of shape (n_modules,)
        Standard deviation of whether one example is right, sqrt(p (1 - p)).
    correlation : ndarray of shape (n_modules, n_modules)
        Correlation of that between modules: what is hard for one is often hard for another.
    disagreement : ndarray of shape (n_modules,)
        Half the difference of the two estimates whose mean the level is, with its sign: two
        modules on which both output modules err alike can still be compared.
    n_samples : int
        Labelled examples.
    weight : float
        Share of the spread between modules that is signal, 0 (labels tell nothing) to 1.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rates = (rng.random((3, 2, 200)) < np.array([0.9, 0.6, 0.5])[:, None, None]).astype(float)
    >>> found = predict_accuracies(("a", "b", "c"), rates, rates.mean(axis=2))
    >>> found.accuracy.round(1).tolist(), found.probability_best().round(1).tolist()
    ([0.9, 0.6, 0.5], [1.0, 0.0, 0.0])
    """

    modules: tuple[str, ...]
    accuracy: FloatMatrix
    deviation: FloatMatrix
    correlation: FloatMatrix
    disagreement: FloatMatrix
    n_samples: int
    weight: float

    @property
    def standard_error(self) -> FloatMatrix:
        """Standard error of each accuracy (n_modules,)."""
        return self.half_widths() / ROUNDED_95

    def covariance(self, n_test: int | None = None) -> FloatMatrix:
        """Return how accuracies may be off together, or what is measured of them on n examples.

        Chance, which modules share on an example, and the disagreement of the two estimates, which
        is one question for all modules: which of the two is right. Labels too few to say how
        accuracies differ cannot say how variances do either: as `weight` falls to 0, every module
        gets the mean variance and every pair the mean covariance, copies of one module aside. Then
        the highest prediction is the most probable best one; otherwise the least certain would be.
        """
        measured = 0.0 if n_test is None else 1 / n_test
        chance = self.correlation * np.outer(self.deviation, self.deviation)
        chance *= TRAINING_DRAW / self.n_samples + measured
        found = chance + np.outer(self.disagreement, self.disagreement)
        n_modules = len(found)
        if n_modules == 1:
            return np.asarray(found)
        variance = np.trace(found) / n_modules
        shared = (found.sum() - np.trace(found)) / (n_modules * (n_modules - 1))
        apart = np.diag(found)[:, None] + np.diag(found) - 2 * found
        alike = np.where(apart < _TIE**2, variance, shared)
        return np.asarray(self.weight * found + (1 - self.weight) * alike)

    def half_widths(self, n_test: int | None = None) -> FloatMatrix:
        """Return half of each 95 % interval: of the accuracy, or measured on n examples."""
        return np.asarray(ROUNDED_95 * np.sqrt(np.diag(self.covariance(n_test))))

    def differences(self, place: int, n_test: int | None = None) -> tuple[FloatMatrix, FloatMatrix]:
        """Return how far one module is ahead of each, and half the 95 % interval, in pairs.

        A difference that is rounding is 0, within an interval of 0.
        """
        found = self.covariance(n_test)
        variance = np.maximum(found[place, place] + np.diag(found) - 2 * found[place], 0.0)
        ahead, half = self.accuracy[place] - self.accuracy, ROUNDED_95 * np.sqrt(variance)
        is_rounding = (np.abs(ahead) < _TIE) & (half < _TIE)
        return np.where(is_rounding, 0.0, ahead), np.where(is_rounding, 0.0, half)

    def probability_best(self) -> FloatMatrix:
        """Return how probable it is that each module is the most accurate (n_modules,).

        It does not depend on the order or the names of the modules, and modules that are alike
        have the same. For two modules it is exact: the probability that their difference is
        positive.
        """
        return self._probability_best.copy()

    @cached_property
    def _probability_best(self) -> FloatMatrix:
        if len(self.modules) == 2:
            _, (_, half) = self.differences(0)
            ahead = self.accuracy[0] - self.accuracy[1]
            first = float(ndtr(ROUNDED_95 * ahead / max(half, _TIE)))
            return np.array([first, 1 - first])
        found = self.covariance()
        # What a module is, whatever its name and place: alike modules have one number.
        signs = np.column_stack([self.accuracy, np.diag(found), np.sort(found, axis=1)])
        alike = np.unique(np.round(signs, _DIGITS), axis=0, return_inverse=True)[1].reshape(-1)
        order = np.argsort(alike, kind="stable")
        shares = np.empty(len(order))
        shares[order] = _shares_of_wins(self.accuracy[order], found[np.ix_(order, order)])
        return np.asarray((np.bincount(alike, shares) / np.bincount(alike))[alike])

    def order(self) -> NDArray[np.intp]:
        """Return the places of the modules, the pick first, in whatever order they were given.

        The pick is the module that is most probably the best, of several the one with the higher
        prediction. The others follow by their prediction, equal ones by their probability.
        What is equal to rounding is in the order of the names.
        """
        rounded = (-np.round(x, _DIGITS) for x in (self._probability_best, self.accuracy))
        probability, level = rounded
        names = np.array(self.modules)
        pick = np.lexsort((names, level, probability))[0]
        others = np.lexsort((names, probability, level))
        return np.concatenate([[pick], others[others != pick]])


def predict_accuracies(
    modules: Sequence[str], rates: FloatMatrix, evidence: FloatMatrix
) -> Prediction:
    """Predict the accuracy of each module's output module from all candidates together.

    Held-out accuracy is regressed on the mean z-score of the evidence. What the line explains, and
    what it leaves over, are each shrunk by as much as chance would give (empirical Bayes): noise
    alone spreads the accuracies of n examples by the mean paired variance of the rates over n.

    Parameters
    ----------
    modules : sequence of str
        Names of the modules.
    rates : ndarray of shape (n_modules, 2, n_samples)
        How right two held-out predictions of each example are, 0 to 1, the same examples for every
        module.
    evidence : ndarray of shape (n_modules, n_scores)
        Scores that order the modules, higher is better, each in its own unit.

    Returns
    -------
    Prediction
        Accuracies and how they vary together.

    References
    ----------
    Efron & Morris, "Stein's estimation rule and its competitors", JASA 1973, for the shrinkage;
    Agresti & Coull, The American Statistician 1998, for the variance of small samples.
    """
    n_modules, _, n_samples = rates.shape
    disagreement = np.diff(rates.mean(axis=2), axis=1)[:, 0] / 2
    rates = rates.mean(axis=1)
    level = rates.mean(axis=1)
    smoothed = agresti_coull(level, n_samples)
    deviation = np.sqrt(smoothed * (1 - smoothed))
    correlation = _correlation(rates)
    ranks = _z_scores(_z_scores(evidence).mean(axis=1, keepdims=True))[:, 0]
    slope = float(ranks @ (level - level.mean())) / n_modules
    covariance = correlation * np.outer(deviation, deviation) / n_samples
    noise = max(float(np.trace(covariance) / n_modules - covariance.mean()), 0.0)
    explained = max(slope, 0.0) * ranks
    left_over = level - level.mean() - explained
    # However weak the evidence is, it is the best order there is.
    weight = max(_signal(level - level.mean(), noise, n_lost=1), _LEAST_WEIGHT)
    own = _signal(left_over, noise, n_lost=2 if slope > 0 else 1)
    accuracy = np.clip(level.mean() + weight * explained + own * left_over, 0.0, 1.0)
    return Prediction(
        tuple(modules), accuracy, deviation, correlation, disagreement, n_samples, weight
    )


def _shares_of_wins(mean: FloatMatrix, covariance: FloatMatrix) -> FloatMatrix:
    """Return how often each of jointly normal values is the largest; equal ones share.

    Quasi Monte Carlo with fixed points: right to about half a percent, the same in every call.

    >>> _shares_of_wins(np.zeros(4), np.eye(4)).round(2).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    from scipy.stats import qmc

    points = qmc.Sobol(len(mean), scramble=False).random_base2(_LOG2_POINTS)
    points = (points + np.random.default_rng(0).random(len(mean))) % 1.0
    values, vectors = np.linalg.eigh(covariance)
    # The symmetric root: rounding cannot turn it as it turns eigenvectors of one eigenvalue.
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    sampled = mean + ndtri(np.clip(points, _ROUNDING, 1 - _ROUNDING)) @ root
    wins = sampled >= sampled.max(axis=1, keepdims=True) - _TIE
    return np.asarray((wins / wins.sum(axis=1, keepdims=True)).mean(axis=0))


def _signal(deviations: FloatMatrix, noise: float, *, n_lost: int) -> float:
    """Return the share of the variance of deviations that noise does not explain, 0 to 1.

    >>> _signal(np.array([-1.0, 1.0]), 0.5, n_lost=1)
    0.75
    """
    degrees = len(deviations) - n_lost
    variance = float(np.square(deviations).sum()) / degrees if degrees > 0 else 0.0
    return max(0.0, 1 - noise / variance) if variance > 0 else 0.0


def _z_scores(columns: FloatMatrix) -> FloatMatrix:
    """Return columns with mean 0 and deviation 1; one that does not vary becomes 0.

    >>> _z_scores(np.array([[1.0, 5.0], [3.0, 5.0]])).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    centred = columns - columns.mean(axis=0)
    largest = np.abs(centred).max(axis=0)
    varies = largest > _ROUNDING * np.abs(columns).max(axis=0)
    # Values of very different size: scaled first, so that no square leaves the range of floats.
    unit = np.where(varies, largest, np.inf)
    scaled = centred / unit
    deviation = scaled.std(axis=0)
    return np.asarray(np.divide(scaled, deviation, out=np.zeros_like(scaled), where=deviation > 0))


def _correlation(rates: FloatMatrix) -> FloatMatrix:
    """Return the correlation of the rows of `rates`; those that do not vary have none."""
    centred = rates - rates.mean(axis=1, keepdims=True)
    norms = np.sqrt(np.square(centred).sum(axis=1))
    unit = np.divide(centred, norms[:, None], out=np.zeros_like(centred), where=norms[:, None] > 0)
    result = unit @ unit.T
    np.fill_diagonal(result, 1.0)
    return np.asarray(result)
